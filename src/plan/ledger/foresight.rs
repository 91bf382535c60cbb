//! What a request may take at most: how long an answer may become of which nobody says it, and what that costs.

use k8s_openapi::jiff::Timestamp;

use super::budget::Unit;
use crate::plan::price::{Cost, Unpriced};
use crate::plan::routing::Backend;
use crate::protocol::usage::{Terms, Tokens};

/// The shortest answer that is reckoned with where neither the request nor the model's `maxOutputTokens` bounds it.
pub const FLOOR: u64 = 1_000;

/// The tokens of one answer at most: what the request allows and what the model gives, or else what is `expected`. Every answer has one at least,
/// whatever is asked for: or what asks for none would pass where nothing is left.
#[must_use]
pub fn longest(asked: Option<u64>, most: Option<u64>, expected: impl FnOnce() -> u64) -> u64 {
    let tokens = match (asked, most) {
        (Some(asked), Some(most)) => asked.min(most),
        (Some(known), None) | (None, Some(known)) => known,
        (None, None) => expected(),
    };
    tokens.max(1)
}

/// What a request may take of a model at most. Budgets keep it, policies bound it, and an attempt of which nothing was seen is charged it: nobody
/// else reckons it.
#[derive(Clone, Copy, Debug)]
pub struct Foreseen<'a> {
    model: &'a Backend,
    /// The tokens.
    pub tokens: Tokens,
    /// What they cost.
    pub cost: Cost,
}

impl<'a> Foreseen<'a> {
    /// Of a prompt and of all answers to it, with so many tokens each, on the terms that the model is asked for. Vectors are no answer: they are
    /// not billed.
    #[must_use]
    pub fn of(model: &'a Backend, prompt: u64, answers: u64, asked: Terms, now: Timestamp) -> Self {
        let tokens = Tokens {
            input: prompt,
            output: answers,
            // Engines of our own repeat what they are asked for: what they cost, they cost.
            terms: if model.provider.is_some() { asked } else { Terms::Standard },
            ..Tokens::default()
        };
        let cost = model.pricing.cost(Some(&tokens), now);
        Self { model, tokens, cost }
    }

    /// What that is in the unit of a budget.
    ///
    /// # Errors
    /// When it is not known what it costs.
    pub fn amount(&self, unit: Unit) -> Result<u64, Unpriced> {
        unit.amount(&self.tokens, self.cost, self.model)
    }
}

/// The running mean of what answers of a model took; each new one has a sixteenth of the weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mean(Option<u64>);

impl Mean {
    /// An answer took so many tokens.
    pub fn note(&mut self, tokens: u64) {
        self.0 = Some(match self.0 {
            None => tokens,
            Some(mean) => (mean.saturating_mul(15)).saturating_add(tokens).div_ceil(16),
        });
    }

    /// What they took of late; 0 where there were none.
    #[must_use]
    pub fn of_late(self) -> u64 {
        self.0.unwrap_or_default()
    }

    /// What to reckon with: twice the mean, and at least [`FLOOR`].
    #[must_use]
    pub fn expected(self) -> u64 {
        self.0.unwrap_or_default().saturating_mul(2).max(FLOOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_token_whatever_is_asked_for() {
        for (asked, most, tokens) in [(Some(0), None, 1), (Some(7), Some(0), 1), (Some(7), Some(5), 5), (None, None, 1)] {
            assert_eq!(longest(asked, most, || 0), tokens, "{asked:?} {most:?}");
        }
    }

    #[test]
    fn what_is_reckoned_with_follows_what_was_seen() {
        let mut mean = Mean::default();
        assert_eq!(mean.expected(), FLOOR);
        mean.note(8_000);
        assert_eq!(mean.expected(), 16_000);
        for _ in 0..200 {
            mean.note(100);
        }
        assert_eq!(mean.expected(), FLOOR);
    }
}
