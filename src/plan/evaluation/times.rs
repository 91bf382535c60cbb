//! From times to numbers: quantiles by the names that criteria use, with their intervals, and how sure it is that one is below a bound. Pure;
//! knows nothing of how the times were come by.
//!
//! Nothing is assumed of how times are distributed: how many of so many are below the true quantile is binomial, whatever they are. What is
//! assumed is that they are independent, which under load they are not quite: a request that waits in line waits with its neighbours. The
//! nearer a server is to its limit, the more so, and the narrower intervals are than they should be.

use std::fmt;

use statrs::distribution::{Binomial, DiscreteCDF};

use crate::plan::statistics::{Confidence, Quantile, Share, Unbounded, quantile, ranks};

/// A quantile of times, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// What half of the answers took at most.
    LatencyP50,
    /// What 95 of 100 answers took at most.
    LatencyP95,
    /// What 99 of 100 answers took at most.
    LatencyP99,
    /// Of the times to the first token.
    TtftP50,
    /// Of the times to the first token.
    TtftP95,
    /// Of the times to the first token.
    TtftP99,
    /// Of the mean times between the tokens of an answer.
    InterTokenP50,
    /// Of the mean times between the tokens of an answer.
    InterTokenP95,
    /// Of the mean times between the tokens of an answer.
    InterTokenP99,
}

/// What was timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// From when a request was due to the end of its answer.
    Total,
    /// To its first token.
    FirstToken,
    /// For each token after the first.
    BetweenTokens,
}

impl Metric {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::LatencyP50,
        Self::LatencyP95,
        Self::LatencyP99,
        Self::TtftP50,
        Self::TtftP95,
        Self::TtftP99,
        Self::InterTokenP50,
        Self::InterTokenP95,
        Self::InterTokenP99,
    ];

    /// The metric of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// As criteria write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LatencyP50 => "latency_p50_seconds",
            Self::LatencyP95 => "latency_p95_seconds",
            Self::LatencyP99 => "latency_p99_seconds",
            Self::TtftP50 => "ttft_p50_seconds",
            Self::TtftP95 => "ttft_p95_seconds",
            Self::TtftP99 => "ttft_p99_seconds",
            Self::InterTokenP50 => "inter_token_p50_seconds",
            Self::InterTokenP95 => "inter_token_p95_seconds",
            Self::InterTokenP99 => "inter_token_p99_seconds",
        }
    }

    /// The part of requests that take no longer.
    #[must_use]
    pub fn quantile(self) -> f64 {
        match self {
            Self::LatencyP50 | Self::TtftP50 | Self::InterTokenP50 => 0.5,
            Self::LatencyP95 | Self::TtftP95 | Self::InterTokenP95 => 0.95,
            Self::LatencyP99 | Self::TtftP99 | Self::InterTokenP99 => 0.99,
        }
    }

    /// What was timed.
    #[must_use]
    pub fn which(self) -> Which {
        match self {
            Self::LatencyP50 | Self::LatencyP95 | Self::LatencyP99 => Which::Total,
            Self::TtftP50 | Self::TtftP95 | Self::TtftP99 => Which::FirstToken,
            Self::InterTokenP50 | Self::InterTokenP95 | Self::InterTokenP99 => Which::BetweenTokens,
        }
    }

    /// How many requests it takes for the metric to have an interval at all: with fewer even the longest time may be below the true quantile.
    /// 368 for p99 and 72 for p95 at 95 %.
    #[must_use]
    pub fn requests_for_interval(self, confidence: Confidence) -> u32 {
        match ranks(0, self.quantile(), confidence) {
            Err(Unbounded::TooFew { needed }) => needed,
            Ok(_) | Err(Unbounded::NoQuantile) => 0,
        }
    }

    /// How many it takes for the metric to be shown to be at most anything, where all of them are: one side alone needs fewer. 299 for p99 and
    /// 59 for p95 at 95 %.
    #[must_use]
    pub fn requests_for_bound(self, confidence: Confidence) -> u32 {
        ((1.0 - confidence.share()).ln() / self.quantile().ln()).ceil().max(1.0) as u32
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The times of all requests, in seconds. One that was not answered is in it as endless: who left it out would find a server the quicker the
/// more it refuses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Times(Vec<f64>);

impl Times {
    /// These, and so many requests that were not answered.
    #[must_use]
    pub fn new(answered: impl IntoIterator<Item = f64>, unanswered: usize) -> Self {
        let mut times: Vec<f64> = answered.into_iter().collect();
        times.extend(std::iter::repeat_n(f64::INFINITY, unanswered));
        Self(times)
    }

    /// How many there are.
    #[must_use]
    pub fn n(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// The quantile of `metric` and its two-sided interval. An end is infinite where so many requests were not answered.
    ///
    /// # Errors
    /// Where there are too few requests for it, and how many would do.
    pub fn quantile(&self, metric: Metric, confidence: Confidence) -> Result<Quantile, Unbounded> {
        quantile(&self.0, metric.quantile(), confidence)
    }

    /// The quantile that was observed; endless where so many were not answered, no number of none.
    #[must_use]
    pub fn value(&self, metric: Metric) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (metric.quantile() * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    /// How many requests would decide whether the quantile is below `bound`, at the part that was so far.
    #[must_use]
    pub fn requests_to_decide(&self, metric: Metric, bound: f64, confidence: Confidence) -> Option<u32> {
        let below = self.0.iter().filter(|time| **time < bound).count();
        Share::of(u32::try_from(below).ok()?, self.n())?.questions_to_decide(metric.quantile(), confidence)
    }

    /// How likely times so short, or shorter, would be were the true quantile `bound` or more: when unlikely, it is shown to be less. Exact: of so
    /// many requests, each is below the bound in at most that part of cases.
    #[must_use]
    pub fn p_if_at_least(&self, metric: Metric, bound: f64) -> f64 {
        let below = self.0.iter().filter(|time| **time < bound).count() as u64;
        let Some(binomial) = self.binomial(metric, bound) else { return 1.0 };
        below.checked_sub(1).map_or(1.0, |fewer| binomial.sf(fewer))
    }

    /// How likely times so long, or longer, would be were the true quantile `bound` or less: when unlikely, it is shown to be more.
    #[must_use]
    pub fn p_if_at_most(&self, metric: Metric, bound: f64) -> f64 {
        let up_to = self.0.iter().filter(|time| **time <= bound).count() as u64;
        self.binomial(metric, bound).map_or(1.0, |binomial| binomial.cdf(up_to))
    }

    /// None of a bound that is no number, which shows nothing.
    fn binomial(&self, metric: Metric, bound: f64) -> Option<Binomial> {
        Binomial::new(metric.quantile(), u64::from(self.n()))
            .ok()
            .filter(|_| !bound.is_nan())
    }

    /// As people read it: `1.843 (1.712 to 2.021)`, or why there is none.
    #[must_use]
    pub fn text(&self, metric: Metric, confidence: Confidence) -> String {
        match self.quantile(metric, confidence) {
            Ok(Quantile { value, lower, upper }) => {
                let [value, lower, upper] = [value, lower, upper].map(written);
                format!("{value} ({lower} to {upper})")
            }
            Err(why) => format!("{why}, {} were", self.n()),
        }
    }
}

/// To the millisecond; what is endless was not answered.
#[must_use]
pub fn written(seconds: f64) -> String {
    if seconds.is_finite() {
        format!("{seconds:.3}")
    } else {
        "unanswered".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn times(n: u32) -> Times {
        Times::new((1..=n).map(f64::from), 0)
    }

    fn near(seen: f64, expected: f64) {
        assert!((seen - expected).abs() <= 1e-12 + expected * 1e-9, "{seen} is not {expected}");
    }

    #[test]
    fn each_metric_is_found_by_its_name_alone() {
        for metric in Metric::ALL {
            assert_eq!(Metric::named(&metric.to_string()), Some(metric));
            let part = format!("_p{}_seconds", (metric.quantile() * 100.0).round());
            assert!(metric.name().ends_with(&part), "{metric}");
        }
        assert_eq!(Metric::named("latency_p90_seconds"), None);
    }

    #[test]
    fn a_p99_of_300_is_refused_with_how_many_it_takes() {
        let metric = Metric::TtftP99;
        assert_eq!(times(300).quantile(metric, Confidence::P95), Err(Unbounded::TooFew { needed: 368 }));
        assert_eq!(
            times(300).text(metric, Confidence::P95),
            "too few values bound this quantile; measure at least 368, 300 were"
        );
        assert_eq!(metric.requests_for_interval(Confidence::P95), 368);
        assert_eq!(metric.requests_for_bound(Confidence::P95), 299);
        let p95 = Metric::LatencyP95;
        assert_eq!(
            (p95.requests_for_interval(Confidence::P95), p95.requests_for_bound(Confidence::P95)),
            (72, 59)
        );
    }

    /// By the sums of the binomial's terms as fractions of whole numbers.
    #[test]
    fn how_likely_times_are_is_exact() {
        for (metric, n, k, at_least, at_most) in [
            (Metric::LatencyP95, 300, 292, 0.03406581352150657, 0.9840319992029127),
            (Metric::LatencyP95, 500, 470, 0.8691477021046097, 0.1764707426567138),
            (Metric::LatencyP99, 368, 368, 0.02476005539009371, 1.0),
            (Metric::TtftP50, 100, 61, 0.017600100108852407, 0.9895106321610742),
            (Metric::TtftP99, 299, 299, 0.04953625663766248, 1.0),
            (Metric::InterTokenP95, 59, 59, 0.048494525249423236, 1.0),
            (Metric::InterTokenP99, 1000, 985, 0.9521294142420528, 0.08241231951608875),
        ] {
            // As many below the bound as up to it.
            let bound = f64::from(k) + 0.5;
            near(times(n).p_if_at_least(metric, bound), at_least);
            near(times(n).p_if_at_most(metric, bound), at_most);
        }
    }

    #[test]
    fn a_time_at_the_bound_shows_neither() {
        let same = Times::new([2.0; 400], 0);
        assert_eq!(same.p_if_at_least(Metric::LatencyP95, 2.0), 1.0);
        assert_eq!(same.p_if_at_most(Metric::LatencyP95, 2.0), 1.0);
        let nothing = [Times::default(), same];
        assert!(nothing.iter().all(|times| times.p_if_at_most(Metric::LatencyP95, f64::NAN) == 1.0));
        assert_eq!(nothing[0].p_if_at_least(Metric::LatencyP95, 2.0), 1.0);
    }

    #[test]
    fn who_refuses_is_not_the_quicker_for_it() {
        let refusing = Times::new(vec![0.1; 360], 40);
        assert_eq!(refusing.text(Metric::LatencyP50, Confidence::P95), "0.100 (0.100 to 0.100)");
        assert_eq!(
            refusing.text(Metric::LatencyP95, Confidence::P95),
            "unanswered (unanswered to unanswered)"
        );
        assert!(refusing.p_if_at_least(Metric::LatencyP95, 60.0) > 0.999);
        assert!(refusing.p_if_at_most(Metric::LatencyP95, 60.0) < 0.001);
    }

    proptest! {
        /// What the lower and the upper end of an interval say, the tests say too.
        #[test]
        fn the_interval_and_the_tests_agree(
            values in prop::collection::vec(0.0..10.0f64, 72..600), metric in prop::sample::select(&Metric::ALL[..2]),
        ) {
            let times = Times::new(values, 0);
            let seen = times.quantile(metric, Confidence::P95).unwrap();
            let above = |end: f64| end + 1e-9;
            let below = |end: f64| end - 1e-9;
            let tail = 0.025 + 1e-12;
            prop_assert!(times.p_if_at_least(metric, above(seen.upper)) <= tail && times.p_if_at_least(metric, below(seen.upper)) > tail);
            prop_assert!(times.p_if_at_most(metric, below(seen.lower)) <= tail && times.p_if_at_most(metric, above(seen.lower)) > tail);
        }

        #[test]
        fn a_higher_bound_is_the_surer(values in prop::collection::vec(0.0..10.0f64, 0..300), bound in 0.0..10.0f64, more in 0.0..5.0f64) {
            let times = Times::new(values, 1);
            for metric in Metric::ALL {
                prop_assert!(times.p_if_at_least(metric, bound) >= times.p_if_at_least(metric, bound + more));
                prop_assert!(times.p_if_at_most(metric, bound) <= times.p_if_at_most(metric, bound + more));
            }
        }
    }
}
