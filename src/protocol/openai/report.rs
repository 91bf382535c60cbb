//! Reports of tokens in OpenAI's shape, and in those of its imitators: read field by field, so that of each figure the last one counts.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize as Derive, Serialize};

use crate::protocol::usage::{Terms, Tokens};
use crate::protocol::watch::Listed;

/// The figures that were reported so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Derive)]
#[serde(default)]
pub(in crate::protocol) struct Report {
    prompt_tokens: Count,
    completion_tokens: Count,
    total_tokens: Count,
    #[serde(deserialize_with = "or_default")]
    prompt_tokens_details: PromptDetails,
    #[serde(deserialize_with = "or_default")]
    completion_tokens_details: AnswerDetails,
    /// DeepSeek's name for cached tokens.
    prompt_cache_hit_tokens: Count,
    /// Moonshot's.
    cached_tokens: Count,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Derive)]
#[serde(default)]
struct PromptDetails {
    cached_tokens: Count,
    cache_write_tokens: Count,
    audio_tokens: Count,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Derive)]
#[serde(default)]
struct AnswerDetails {
    reasoning_tokens: Count,
    audio_tokens: Count,
}

impl Report {
    /// Takes in a later report: each of its figures replaces the earlier one.
    pub(in crate::protocol) fn update(&mut self, later: &Self) {
        let pairs = [
            (&mut self.prompt_tokens, later.prompt_tokens),
            (&mut self.completion_tokens, later.completion_tokens),
            (&mut self.total_tokens, later.total_tokens),
            (
                &mut self.prompt_tokens_details.cached_tokens,
                later.prompt_tokens_details.cached_tokens,
            ),
            (
                &mut self.prompt_tokens_details.cache_write_tokens,
                later.prompt_tokens_details.cache_write_tokens,
            ),
            (
                &mut self.prompt_tokens_details.audio_tokens,
                later.prompt_tokens_details.audio_tokens,
            ),
            (
                &mut self.completion_tokens_details.reasoning_tokens,
                later.completion_tokens_details.reasoning_tokens,
            ),
            (
                &mut self.completion_tokens_details.audio_tokens,
                later.completion_tokens_details.audio_tokens,
            ),
            (&mut self.prompt_cache_hit_tokens, later.prompt_cache_hit_tokens),
            (&mut self.cached_tokens, later.cached_tokens),
        ];
        for (figure, later) in pairs {
            figure.0 = later.0.or(figure.0);
        }
    }

    /// The tokens, each in one place. `None` when neither the prompt nor the answer was counted. Details that claim more than the whole has
    /// are cut down to it.
    pub(in crate::protocol) fn tokens(&self) -> Option<Tokens> {
        self.prompt_tokens.0.or(self.completion_tokens.0)?;
        let (prompt, mut answer) = (self.prompt_tokens.or_zero(), self.completion_tokens.or_zero());
        let reasoning = self.completion_tokens_details.reasoning_tokens.or_zero();
        // xAI counts reasoning beside the answer and not in it, which only the total shows.
        let sum = prompt.saturating_add(answer).saturating_add(reasoning);
        if reasoning > 0 && self.total_tokens.0 == Some(sum) {
            answer = answer.saturating_add(reasoning);
        }
        let details = &self.prompt_tokens_details;
        let cached = details.cached_tokens.0.or(self.prompt_cache_hit_tokens.0).or(self.cached_tokens.0);
        let (mut input, mut output) = (prompt, answer);
        Some(Tokens {
            cache_read: part(&mut input, cached.unwrap_or(0)),
            cache_write: part(&mut input, details.cache_write_tokens.or_zero()),
            cache_write_1h: 0,
            audio_input: part(&mut input, details.audio_tokens.or_zero()),
            input,
            reasoning: part(&mut output, reasoning),
            audio_output: part(&mut output, self.completion_tokens_details.audio_tokens.or_zero()),
            output,
            terms: Terms::Unsaid,
        })
    }
}

/// Takes so many out of `rest`, or all of it.
fn part(rest: &mut u64, claimed: u64) -> u64 {
    let part = claimed.min(*rest);
    *rest -= part;
    part
}

/// The tokens that a plain answer of chat completions, completions or embeddings reports, if any.
#[must_use]
pub fn tokens(answer: &[u8]) -> Option<Tokens> {
    #[derive(Derive)]
    struct Answer {
        #[serde(default, deserialize_with = "or_default")]
        usage: Report,
        #[serde(default, rename = "service_tier", deserialize_with = "Terms::read_tier")]
        terms: Terms,
    }
    let Answer { usage, terms } = serde_json::from_slice(answer).ok()?;
    usage.tokens().map(|tokens| Tokens { terms, ..tokens })
}

/// The same where it is an answer, with a list of what was asked for: `data` for vectors, else `choices`. `None` when it is an error, or is
/// none of these.
#[must_use]
pub fn answered(answer: &[u8], is_vectors: bool) -> Option<Option<Tokens>> {
    #[derive(Derive)]
    struct Answer {
        #[serde(default)]
        choices: Listed,
        #[serde(default)]
        data: Listed,
        error: Option<IgnoredAny>,
        #[serde(rename = "type")]
        _type: Option<IgnoredAny>,
        #[serde(default, deserialize_with = "or_default")]
        usage: Report,
        #[serde(default, rename = "service_tier", deserialize_with = "Terms::read_tier")]
        terms: Terms,
    }
    // A list of values would do for an object's fields.
    if !answer.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let answer = serde_json::from_slice::<Answer>(answer).ok()?;
    let terms = answer.terms;
    let tokens = || answer.usage.tokens().map(|tokens| Tokens { terms, ..tokens });
    let Listed(is_answer) = if is_vectors { answer.data } else { answer.choices };
    (is_answer && answer.error.is_none()).then(tokens)
}

/// A report as OpenAI writes it.
#[derive(Serialize)]
pub(super) struct Written {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: WrittenPrompt,
    completion_tokens_details: WrittenAnswer,
}

#[derive(Serialize)]
struct WrittenPrompt {
    cached_tokens: u64,
    #[serde(skip_serializing_if = "is_zero")]
    cache_write_tokens: u64,
    audio_tokens: u64,
}

#[derive(Serialize)]
struct WrittenAnswer {
    reasoning_tokens: u64,
    audio_tokens: u64,
    accepted_prediction_tokens: u64,
    rejected_prediction_tokens: u64,
}

impl From<&Tokens> for Written {
    fn from(tokens: &Tokens) -> Self {
        Self {
            prompt_tokens: tokens.prompt(),
            completion_tokens: tokens.answer(),
            total_tokens: tokens.prompt().saturating_add(tokens.answer()),
            prompt_tokens_details: WrittenPrompt {
                cached_tokens: tokens.cache_read,
                cache_write_tokens: tokens.cache_write.saturating_add(tokens.cache_write_1h),
                audio_tokens: tokens.audio_input,
            },
            completion_tokens_details: WrittenAnswer {
                reasoning_tokens: tokens.reasoning,
                audio_tokens: tokens.audio_output,
                accepted_prediction_tokens: 0,
                rejected_prediction_tokens: 0,
            },
        }
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A figure, if one was given. Anything that counts nothing (null, text, a negative number) is none, and spoils no other figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count(Option<u64>);

impl Count {
    fn or_zero(self) -> u64 {
        self.0.unwrap_or(0)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Counting)
    }
}

struct Counting;

impl<'de> Visitor<'de> for Counting {
    type Value = Count;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a number of tokens")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Count, E> {
        Ok(Count(Some(number)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Count, E> {
        Ok(Count(u64::try_from(number).ok()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Count, E> {
        // Larger numbers are no longer exact, and no answer has so many tokens.
        const LIMIT: f64 = (1_u64 << 53) as f64;
        Ok(Count((0.0..=LIMIT).contains(&number).then_some(number as u64)))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_unit<E>(self) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Count, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Count(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Count, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Count(None))
    }
}

/// A null is as good as nothing.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests;
