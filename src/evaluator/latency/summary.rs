//! From how the requests of a load ended to the times that count, and to what a reader must know of them. Pure.

use std::time::Duration;

use super::stream::Ended;
use super::timing::{Timing, lateness, too_late};
use crate::plan::evaluation::times::{Metric, Times, Which};

/// An answer with less than this part of the tokens that were asked for is short.
const SHORT: f64 = 0.9;

/// What came of a load.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Requests that have ended, whichever way.
    pub requests: u32,
    /// Those of them that were not answered.
    pub failed: u32,
    /// Answers that a cache had a part in: they are in no quantile.
    pub cached: u32,
    /// Answers that ended before they were as long as asked for, of those that count.
    pub short: u32,
    /// Tokens of a prompt, on average, of those that count and tell.
    pub prompt_tokens: Option<f64>,
    /// Tokens of an answer, likewise.
    pub answer_tokens: Option<f64>,
    /// The p99 of how late requests were sent.
    pub late: Option<Duration>,
    /// Why the first request that was not answered was not.
    pub error: Option<String>,
    times: [Times; 3],
    median: f64,
}

impl Summary {
    /// Of a load that asked for answers of so many tokens.
    #[must_use]
    pub fn of(ends: &[Ended], output_tokens: u32) -> Self {
        let answered: Vec<&Timing> = ends.iter().filter_map(|ended| ended.outcome.as_ref().ok()).collect();
        let counted: Vec<&Timing> = answered.iter().copied().filter(|timing| !timing.is_cached()).collect();
        let failed = ends.len() - answered.len();
        let of = |time: fn(&Timing) -> f64| Times::new(counted.iter().map(|timing| time(timing)), failed);
        let late: Vec<Duration> = ends.iter().filter_map(|ended| ended.late).collect();
        let failure = ends.iter().find_map(|ended| ended.outcome.as_ref().err());
        let enough = f64::from(output_tokens) * SHORT;
        let is_short = |timing: &&&Timing| timing.answer_tokens().is_some_and(|tokens| (tokens as f64) < enough);
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            requests: count(ends.len()),
            failed: count(failed),
            cached: count(answered.len() - counted.len()),
            short: count(counted.iter().filter(is_short).count()),
            prompt_tokens: mean(counted.iter().filter_map(|timing| timing.prompt_tokens())),
            answer_tokens: mean(counted.iter().filter_map(|timing| timing.answer_tokens())),
            late: lateness(&late),
            error: failure.map(ToString::to_string),
            times: [
                of(|timing| timing.total),
                of(|timing| timing.ttft),
                // Who was not answered has no gaps, and neither has an answer in one piece.
                Times::new(counted.iter().filter_map(|timing| timing.inter_token), 0),
            ],
            median: median(counted.iter().map(|timing| timing.ttft).collect()),
        }
    }

    /// The times that `metric` is a quantile of.
    #[must_use]
    pub fn times(&self, metric: Metric) -> &Times {
        let [total, first_token, between_tokens] = &self.times;
        match metric.which() {
            Which::Total => total,
            Which::FirstToken => first_token,
            Which::BetweenTokens => between_tokens,
        }
    }

    /// Why this load is no measurement; none where it is one. That requests failed is no reason: how many may is for the limits of the run to say.
    #[must_use]
    pub fn invalid(&self) -> Option<String> {
        too_late(self.late?, self.median)
    }

    /// What the quantiles do not tell.
    #[must_use]
    pub fn text(&self) -> String {
        let mut said = vec![format!("{} requests, {} of them not answered", self.requests, self.failed)];
        let about = |what: &str, mean: Option<f64>| mean.map(|mean| format!("{what} of {mean:.0} tokens on average"));
        said.extend(about("prompts", self.prompt_tokens));
        said.extend(about("answers", self.answer_tokens));
        if self.short > 0 {
            said.push(format!("{} answers ended before they were as long as asked for", self.short));
        }
        if self.cached > 0 {
            said.push(format!(
                "{} answers are left out: a cache had more than a tenth of the prompt",
                self.cached
            ));
        }
        said.extend(
            self.late
                .map(|late| format!("99 of 100 requests were sent within {} ms of when they were due", late.as_millis())),
        );
        said.join("; ")
    }
}

fn mean(counts: impl Iterator<Item = u64>) -> Option<f64> {
    let (sum, n) = counts.fold((0.0, 0_u32), |(sum, n), count| (sum + count as f64, n + 1));
    (n > 0).then(|| sum / f64::from(n))
}

/// Of no values it is endless, and only what is always late counts as late.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::super::stream::Failure;
    use super::*;
    use crate::plan::statistics::Confidence;
    use crate::protocol::usage::Tokens;

    fn answered(index: u32, ttft: f64, cache_read: u64, output: u64) -> Ended {
        let tokens = Tokens {
            input: 1000 - cache_read,
            cache_read,
            output,
            ..Tokens::default()
        };
        Ended {
            index,
            late: Some(Duration::from_millis(1)),
            outcome: Ok(Timing {
                ttft,
                inter_token: Some(0.01),
                total: ttft + 3.0,
                chunks: 300,
                tokens: Some(tokens),
            }),
        }
    }

    fn failed(index: u32, failure: Failure) -> Ended {
        Ended {
            index,
            late: None,
            outcome: Err(failure),
        }
    }

    #[test]
    fn what_a_cache_answered_is_counted_and_in_no_quantile() {
        let mut ends: Vec<Ended> = (0..90).map(|index| answered(index, 0.5, 100, 300)).collect();
        ends.extend((90..100).map(|index| answered(index, 0.01, 101, 300)));
        let seen = Summary::of(&ends, 300);
        assert_eq!((seen.requests, seen.cached, seen.failed, seen.short), (100, 10, 0, 0));
        assert_eq!(seen.times(Metric::TtftP95).n(), 90);
        assert_eq!(
            seen.times(Metric::TtftP50).text(Metric::TtftP50, Confidence::P95),
            "0.500 (0.500 to 0.500)"
        );
        assert_eq!(
            seen.text(),
            "100 requests, 0 of them not answered; prompts of 1000 tokens on average; answers of 300 tokens on average; 10 answers are left out: a cache had more than a tenth of the prompt; 99 of 100 requests were sent within 1 ms of when they were due"
        );
        assert_eq!(seen.invalid(), None);
    }

    #[test]
    fn who_was_not_answered_has_no_gaps_and_waits_for_ever() {
        let ends = [
            answered(0, 0.5, 0, 20),
            failed(1, Failure::Refused("429 slow down".to_owned())),
            failed(2, Failure::NotSent(2048)),
        ];
        let seen = Summary::of(&ends, 300);
        assert_eq!((seen.requests, seen.failed, seen.short), (3, 2, 1));
        assert_eq!(
            [Metric::LatencyP95, Metric::TtftP95, Metric::InterTokenP95].map(|metric| seen.times(metric).n()),
            [3, 3, 1]
        );
        assert_eq!(seen.error.as_deref(), Some("429 slow down"));
        assert!(seen.text().contains("2 of them not answered") && seen.text().contains("1 answers ended before"));
    }

    #[test]
    fn a_load_that_was_sent_late_is_no_measurement() {
        let mut ends: Vec<Ended> = (0..100).map(|index| answered(index, 0.5, 0, 300)).collect();
        ends[3].late = Some(Duration::from_secs(2));
        assert_eq!(Summary::of(&ends, 300).invalid(), None, "one of a hundred");
        ends[4].late = Some(Duration::from_millis(51));
        let why = Summary::of(&ends, 300).invalid().unwrap();
        assert!(
            why.starts_with("one in a hundred requests was sent 51 ms or more after it was due, and 50 ms may be"),
            "{why}"
        );
        assert_eq!(Summary::of(&[], 300).invalid(), None);
    }
}
