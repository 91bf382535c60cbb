//! How long an answer may become of which nobody says it.

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
