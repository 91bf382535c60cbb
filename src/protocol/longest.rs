//! How much a request lets a model answer, in any protocol of clients.

use super::outline::Field;
use super::scan::Scan;

/// How long an answer may become, as far as the request says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Longest {
    /// The tokens of one answer at most.
    pub tokens: Option<u64>,
    /// So many answers are made, at least one.
    pub answers: u64,
}

/// What was said of it so far. Where a request says two things, or one twice, the larger counts: who knows which of them the model goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    tokens: Option<u64>,
    /// `n`, or the answers that the best is chosen from.
    choices: u64,
    /// `/v1/completions` takes several.
    prompts: u64,
}

impl Said {
    /// Takes what a field of the request says, if it is about this.
    pub(super) fn note(&mut self, field: Field, value: &str) {
        match field {
            Field::MaxTokens => self.tokens = self.tokens.max(count(value)),
            Field::N => self.choices = self.choices.max(count(value).unwrap_or_default()),
            Field::Prompt => self.prompts = self.prompts.max(prompts(value)),
            _ => {}
        }
    }

    pub(super) fn longest(self) -> Longest {
        Longest {
            tokens: self.tokens,
            answers: self.choices.max(1).saturating_mul(self.prompts.max(1)),
        }
    }
}

/// A number of anything; what is none says nothing.
fn count(value: &str) -> Option<u64> {
    // Some clients write whole numbers with a point.
    let whole = |number: f64| (number >= 0.0).then_some(number.ceil() as u64);
    value.parse().ok().or_else(|| value.parse().ok().and_then(whole))
}

/// How many texts, or lists of tokens, a list has: a number in it is a token of one prompt.
fn prompts(value: &str) -> u64 {
    if !value.starts_with('[') {
        return 1;
    }
    let mut count = 0;
    Scan::new(value.as_bytes()).list(|scan| {
        count += u64::from(scan.is_at(b'"') || scan.is_at(b'['));
        scan.skip()
    });
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::outline::Outline;

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
            (r#"{"max_tokens":-1,"max_output_tokens":1.5}"#, Some(2), 1),
            (r#"{"prompt":["a","b"],"n":2,"best_of":3,"max_tokens":1}"#, Some(1), 6),
            (r#"{"prompt":[1,2,3],"max_tokens":1}"#, Some(1), 1),
            (r#"{"prompt":[[1,2],[3]]}"#, None, 2),
            (r#"{"prompt": [ "a,[" , ["b"], 3 ] }"#, None, 2),
            (r#"{"prompt":"a"}"#, None, 1),
        ] {
            assert_eq!(Outline::of(body).unwrap().longest(), Longest { tokens, answers }, "{body}");
        }
    }
}
