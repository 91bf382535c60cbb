//! How much a request lets a model answer, in any protocol of clients. Reads the fields that say so and nothing else.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// How long an answer may become, as far as the request says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Longest {
    /// The tokens of one answer at most.
    pub tokens: Option<u64>,
    /// So many answers are made, at least one.
    pub answers: u64,
}

impl Longest {
    /// What a request allows. Where it says two things, or one twice, the larger counts: who knows which of them the model goes by.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        let Fields { tokens, choices, prompts } = serde_json::from_slice(body).unwrap_or_default();
        Self {
            tokens,
            answers: choices.max(1).saturating_mul(prompts.max(1)),
        }
    }
}

#[derive(Default)]
struct Fields {
    tokens: Option<u64>,
    /// `n`, or the answers that the best is chosen from.
    choices: u64,
    /// `/v1/completions` takes several.
    prompts: u64,
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a request")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
                    match &*key {
                        "max_tokens" | "max_completion_tokens" | "max_output_tokens" => {
                            let Count(tokens) = map.next_value()?;
                            fields.tokens = fields.tokens.max(tokens);
                        }
                        "n" | "best_of" => {
                            let Count(choices) = map.next_value()?;
                            fields.choices = fields.choices.max(choices.unwrap_or_default());
                        }
                        "prompt" => {
                            let Prompts(prompts) = map.next_value()?;
                            fields.prompts = fields.prompts.max(prompts);
                        }
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(fields)
            }
        }
        from.deserialize_map(Read)
    }
}

/// A number of anything; what is none says nothing.
struct Count(Option<u64>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = <&serde_json::value::RawValue>::deserialize(from)?.get();
        // Some clients write whole numbers with a point.
        let whole = |number: f64| (number >= 0.0).then_some(number.ceil() as u64);
        Ok(Self(value.parse().ok().or_else(|| value.parse().ok().and_then(whole))))
    }
}

/// How many texts, or lists of tokens, a list has.
struct Prompts(u64);

impl<'de> Deserialize<'de> for Prompts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        /// Whether it is a prompt of its own: a token of one is a number.
        struct IsWhole(bool);
        impl<'de> Deserialize<'de> for IsWhole {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let value = <&serde_json::value::RawValue>::deserialize(from)?.get();
                Ok(Self(value.starts_with(['"', '['])))
            }
        }
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = u64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of prompts")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<u64, A::Error> {
                let mut count = 0;
                while let Some(IsWhole(is_whole)) = items.next_element()? {
                    count += u64::from(is_whole);
                }
                Ok(count)
            }
        }
        let value = <&serde_json::value::RawValue>::deserialize(from)?.get();
        if !value.starts_with('[') {
            return Ok(Self(1));
        }
        serde_json::Deserializer::from_str(value)
            .deserialize_seq(Read)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_answer_is_what_any_field_allows() {
        for (body, tokens, answers) in [
            (r#"{"model":"a","messages":[{"max_tokens":9}]}"#, None, 1),
            (r#"{"max_tokens":100}"#, Some(100), 1),
            (r#"{"max_tokens":100,"max_completion_tokens":300,"n":4}"#, Some(300), 4),
            (r#"{"max_tokens":5,"max_tokens":500}"#, Some(500), 1),
            (r#"{"max\u005ftokens":7}"#, Some(7), 1),
            (r#"{"max_output_tokens":20,"n":0}"#, Some(20), 1),
            (r#"{"max_tokens":1e3}"#, Some(1_000), 1),
            (r#"{"max_tokens":null,"n":"x"}"#, None, 1),
            (r#"{"prompt":["a","b"],"n":2,"best_of":3,"max_tokens":1}"#, Some(1), 6),
            (r#"{"prompt":[1,2,3],"max_tokens":1}"#, Some(1), 1),
            (r#"{"prompt":[[1,2],[3]]}"#, None, 2),
            (r#"{"prompt":"a"}"#, None, 1),
        ] {
            assert_eq!(Longest::of(body.as_bytes()), Longest { tokens, answers }, "{body}");
        }
    }
}
