//! From when a request was due and when its answer came to its times, and whether whoever sent it was on time. Pure: moments come in.
//!
//! All times count from when a request was *due*. From when it was sent they would leave out the wait of a user who came while whoever asks
//! was held up, which is the longest of all ("coordinated omission": G. Tene, "How NOT to Measure Latency", 2013).

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::protocol::usage::Tokens;

/// The times of one answer, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// To the first token, be it a thought or of the call of a tool.
    pub ttft: f64,
    /// For each token after the first, on average over this answer: a pause in the middle is spread over all of them. None where the answer came
    /// in one piece, which shows nothing of this.
    pub inter_token: Option<f64>,
    /// To the end of the answer.
    pub total: f64,
    /// Pieces of the answer with a token in them.
    pub chunks: u32,
    /// What it used, when the gateway says so.
    pub tokens: Option<Tokens>,
}

impl Timing {
    /// Tokens of the prompt, as the model counts them.
    #[must_use]
    pub fn prompt_tokens(&self) -> Option<u64> {
        self.tokens.map(|tokens| tokens.prompt())
    }

    /// Tokens of the answer, thoughts included.
    #[must_use]
    pub fn answer_tokens(&self) -> Option<u64> {
        self.tokens.map(|tokens| tokens.answer())
    }

    /// Tokens of the prompt that a cache had.
    #[must_use]
    pub fn cached_tokens(&self) -> Option<u64> {
        self.tokens.map(|tokens| tokens.cache_read)
    }

    /// Whether a cache had more than a tenth of the prompt, so that the time to the first token is not that of such a prompt. The template of a model,
    /// which all prompts begin with, may be that much of a prompt of less than some 300 tokens. Of an answer that does not tell nothing is
    /// known (vLLM tells with `--enable-prompt-tokens-details`); there it is for the prompts to have nothing in common.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        let tokens = self.tokens.unwrap_or_default();
        tokens.cache_read.saturating_mul(10) > tokens.prompt()
    }
}

/// Notes down when an answer comes.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    due: Instant,
    tokens: Option<(Instant, Instant)>,
    chunks: u32,
    has_thoughts: bool,
}

impl Stopwatch {
    /// Of a request that was due at that moment.
    #[must_use]
    pub fn new(due: Instant) -> Self {
        Self {
            due,
            tokens: None,
            chunks: 0,
            has_thoughts: false,
        }
    }

    /// A piece with a token came.
    pub fn token(&mut self, at: Instant, is_thought: bool) {
        let (first, _) = self.tokens.unwrap_or((at, at));
        self.tokens = Some((first, at));
        self.chunks = self.chunks.saturating_add(1);
        self.has_thoughts |= is_thought;
    }

    /// When the last token came.
    #[must_use]
    pub fn last(&self) -> Option<Instant> {
        self.tokens.map(|(_, last)| last)
    }

    /// The times of an answer that ended at that moment. None of one without a token.
    #[must_use]
    pub fn end(self, at: Instant, tokens: Option<Tokens>) -> Option<Timing> {
        let (first, last) = self.tokens?;
        let counted = tokens.filter(|tokens| tokens.answer() > 0).map(|tokens| {
            // Thoughts that were not shown came before the first token, all of them.
            let hidden = if self.has_thoughts { 0 } else { tokens.reasoning };
            tokens.answer().saturating_sub(hidden)
        });
        let after = counted.unwrap_or(u64::from(self.chunks)).saturating_sub(1);
        Some(Timing {
            ttft: seconds(self.due, first),
            inter_token: (after > 0 && last > first).then(|| seconds(first, last) / after as f64),
            total: seconds(self.due, at),
            chunks: self.chunks,
            tokens,
        })
    }
}

fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
}

/// The part of the median time to the first token that requests may be late: it is the shortest of what counts from when they are due, so whatever
/// is late by this is less of all others.
const LATE: f64 = 0.1;
/// What is late by less is so because timers are good to a millisecond, and no model answers so soon that it matters.
const NEVER_LATE: Duration = Duration::from_millis(5);
/// Whatever the times are: who sends so late reads answers as late, and the gaps between tokens are no longer the model's.
const ALWAYS_LATE: Duration = Duration::from_millis(100);

/// The p99 of how late requests were sent, of all that were: the smallest that 99 of 100 do not exceed. None where none was.
#[must_use]
pub fn lateness(late: &[Duration]) -> Option<Duration> {
    let mut sorted = late.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * 99).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

/// Why a load that was sent so late, by its p99, is no measurement; none where it is one. `median` is that of the seconds to the first token.
///
/// That times count from when requests were due makes them longer for it, and never shorter; but the load was another than was asked for, and
/// what was measured is in part whoever asked.
#[must_use]
pub fn too_late(lateness: Duration, median: f64) -> Option<String> {
    let (least, most) = (NEVER_LATE.as_secs_f64(), ALWAYS_LATE.as_secs_f64());
    let limit = (median * LATE).clamp(least, most);
    (lateness.as_secs_f64() > limit).then(|| {
        format!(
            "one in a hundred requests was sent {} ms or more after it was due, and {:.0} ms may be: the evaluation itself was too slow to measure; \
             lower ratePerSecond, or give its pod more CPU",
            lateness.as_millis(),
            limit * 1000.0
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn used(output: u64, reasoning: u64) -> Option<Tokens> {
        Some(Tokens {
            input: 100,
            output,
            reasoning,
            ..Tokens::default()
        })
    }

    /// The times of an answer whose tokens came after so many milliseconds, and which ended 10 ms after the last.
    fn timing(came: &[u64], is_thought: bool, tokens: Option<Tokens>) -> Option<Timing> {
        let due = Instant::now();
        let at = |ms: u64| due + Duration::from_millis(ms);
        let mut watch = Stopwatch::new(due);
        came.iter().for_each(|ms| watch.token(at(*ms), is_thought));
        watch.end(at(came.last().unwrap_or(&0) + 10), tokens)
    }

    fn near(seen: f64, expected: f64) {
        assert!((seen - expected).abs() < 1e-9, "{seen} is not {expected}");
    }

    #[test]
    fn times_count_from_when_the_request_was_due() {
        let seen = timing(&[200, 250, 300], false, None).unwrap();
        near(seen.ttft, 0.2);
        near(seen.total, 0.31);
        near(seen.inter_token.unwrap(), 0.05);
    }

    #[test]
    fn tokens_are_counted_by_the_model_and_else_by_pieces() {
        let each = |tokens| timing(&[200, 250, 300], false, tokens).unwrap().inter_token;
        near(each(used(11, 0)).unwrap(), 0.01);
        near(each(used(0, 0)).unwrap(), 0.05);
        assert_eq!(each(used(1, 0)), None);
    }

    #[test]
    fn thoughts_that_are_not_shown_shorten_no_gap() {
        let each = |is_thought| timing(&[200, 300], is_thought, used(11, 90)).unwrap().inter_token.unwrap();
        near(each(false), 0.01);
        near(each(true), 0.001);
    }

    #[test]
    fn an_answer_in_one_piece_shows_no_gaps_and_an_empty_one_nothing() {
        assert_eq!(timing(&[200], false, used(300, 0)).unwrap().inter_token, None);
        assert_eq!(timing(&[200, 200], false, used(300, 0)).unwrap().inter_token, None);
        assert_eq!(timing(&[], false, used(300, 0)), None);
    }

    #[test]
    fn more_than_a_tenth_of_the_prompt_from_a_cache_is_a_hit() {
        let is_cached = |cache_read, input| {
            let tokens = Tokens {
                cache_read,
                input,
                ..Tokens::default()
            };
            timing(&[1], false, Some(tokens)).unwrap().is_cached()
        };
        assert!(is_cached(11, 89) && !is_cached(10, 90) && !is_cached(0, 100) && !is_cached(0, 0));
        assert!(!timing(&[1], false, None).unwrap().is_cached());
    }

    #[test]
    fn who_sends_late_is_told_so() {
        let ms = Duration::from_millis;
        for (late, median, is_late) in [
            (4, 0.001, false),
            (6, 0.001, true),
            (19, 0.2, false),
            (21, 0.2, true),
            (99, 30.0, false),
            (101, 30.0, true),
            (99, f64::INFINITY, false),
            (101, f64::INFINITY, true),
        ] {
            assert_eq!(too_late(ms(late), median).is_some(), is_late, "{late} {median}");
        }
        assert_eq!(
            too_late(ms(230), 1.0).unwrap(),
            "one in a hundred requests was sent 230 ms or more after it was due, and 100 ms may be: the evaluation itself was too slow to measure; lower ratePerSecond, or give its pod more CPU"
        );
    }

    proptest! {
        #[test]
        fn ninety_nine_of_a_hundred_were_no_later(late in prop::collection::vec(0u64..1000, 1..500)) {
            let late: Vec<Duration> = late.into_iter().map(Duration::from_millis).collect();
            let seen = lateness(&late).unwrap();
            let count = |is_so: &dyn Fn(&Duration) -> bool| late.iter().filter(|one| is_so(one)).count() * 100;
            prop_assert!(count(&|one| *one <= seen) >= late.len() * 99);
            prop_assert!(count(&|one| *one < seen) < late.len() * 99);
        }

        #[test]
        fn the_parts_of_an_answer_add_up(gaps in prop::collection::vec(1u64..1000, 1..50)) {
            let came: Vec<u64> = gaps.iter().scan(0, |sum, gap| { *sum += gap; Some(*sum) }).collect();
            let seen = timing(&came, false, None).unwrap();
            let between = seen.inter_token.unwrap_or(0.0) * (came.len() - 1) as f64;
            prop_assert!((seen.ttft + between + 0.01 - seen.total).abs() < 1e-9);
        }
    }
}
