//! A share of right answers as a verdict needs it: its bounds, how likely it would be were the true one at some bound, and how many questions would
//! decide.
//!
//! Questions in clusters or strata, or asked several times, do not count as one each: they are as good as some other number of independent ones.
//! With that number in place of their own, Wilson's interval keeps what it is good at, shares near 0 and 1, as E. L. Korn and B. I. Graubard,
//! "Confidence intervals for proportions with small expected number of positive counts estimated from survey data" (1998), do for exact ones.

use super::confidence::Confidence;
use super::estimate::{Bounds, Estimate, cumulative};
use super::interval::wilson;

/// More questions than this are no advice.
pub const MOST_QUESTIONS: f64 = 10_000_000.0;

/// How many independent questions one that was drawn from a stratum, or graded, is taken for at most.
const MOST_GAIN: f64 = 1.5;

/// A share, and how much it was measured with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// The observed share.
    pub share: f64,
    /// How many independent questions it is as good as.
    pub questions: f64,
    /// How many were asked.
    pub asked: u32,
    /// The degrees of freedom that its error was found with; infinite where it follows from the share itself.
    pub degrees: f64,
}

impl Share {
    /// Of independent questions; `None` when nothing was asked. More right than asked counts as all right.
    #[must_use]
    pub fn of(right: u32, asked: u32) -> Option<Self> {
        (asked > 0).then(|| Self {
            share: f64::from(right.min(asked)) / f64::from(asked),
            questions: f64::from(asked),
            asked,
            degrees: f64::INFINITY,
        })
    }

    /// Of the mean of scores from 0 to 1 that has this error. Where it has none, because all scores are alike, it is as good as `alike` questions;
    /// it is never much better than as many independent ones as were asked, which an error that was itself found from few may seem to say.
    #[must_use]
    pub fn of_estimate(mean: &Estimate, alike: usize, asked: u32) -> Option<Self> {
        let share = mean.value.clamp(0.0, 1.0);
        let questions = share * (1.0 - share) / mean.standard_error.powi(2);
        let is_known = questions.is_finite() && questions > 0.0;
        let questions = if is_known {
            questions.min(f64::from(asked) * MOST_GAIN)
        } else {
            alike as f64
        };
        (asked > 0 && questions > 0.0 && mean.degrees > 0.0).then_some(Self {
            share,
            questions,
            asked,
            degrees: mean.degrees,
        })
    }

    /// Wilson's two-sided interval.
    #[must_use]
    pub fn interval(&self, confidence: Confidence) -> Bounds {
        let seen = wilson(self.share, self.questions, confidence.two_sided_t(self.degrees));
        Bounds {
            lower: seen.lower,
            upper: seen.upper,
        }
    }

    /// What the true share is at least, in so many runs.
    #[must_use]
    pub fn lower_bound(&self, confidence: Confidence) -> f64 {
        wilson(self.share, self.questions, confidence.one_sided_t(self.degrees)).lower
    }

    /// What the true share is at most, in so many runs.
    #[must_use]
    pub fn upper_bound(&self, confidence: Confidence) -> f64 {
        wilson(self.share, self.questions, confidence.one_sided_t(self.degrees)).upper
    }

    /// How likely so small a share, or a smaller one, would be were the true one `bound` or more: Wilson's test, below α just where the upper bound
    /// is below `bound`.
    #[must_use]
    pub fn p_if_at_least(&self, bound: f64) -> f64 {
        let error = (bound * (1.0 - bound) / self.questions).sqrt();
        if error > 0.0 {
            cumulative(self.degrees, (self.share - bound) / error)
        } else {
            f64::from(self.share >= bound)
        }
    }

    /// How likely so large a share, or a larger one, would be were the true one `bound` or less.
    #[must_use]
    pub fn p_if_at_most(&self, bound: f64) -> f64 {
        let complement = Self {
            share: 1.0 - self.share,
            ..*self
        };
        complement.p_if_at_least(1.0 - bound)
    }

    /// How many questions of this kind it takes, at the share seen so far, for the bound of one side to leave `bound`. `None`: the share is so near
    /// the bound that no number worth asking would do.
    #[must_use]
    pub fn questions_to_decide(&self, bound: f64, confidence: Confidence) -> Option<u32> {
        // The ends of the interval are the bounds b at which (share − b)² = z²·b(1 − b)/n, so the question has a closed form.
        let z = confidence.one_sided_t(self.degrees);
        let independent = z * z * bound * (1.0 - bound) / (self.share - bound).powi(2);
        let n = (independent * f64::from(self.asked) / self.questions).ceil();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and ten million")]
        (n <= MOST_QUESTIONS).then_some(n.max(1.0) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::statistics::{clustered_mean, near};
    use proptest::prelude::*;

    #[test]
    fn nothing_asked_is_no_share() {
        assert_eq!(Share::of(0, 0), None);
    }

    #[test]
    fn a_share_on_the_bound_is_never_decided() {
        assert_eq!(Share::of(1, 2).unwrap().questions_to_decide(0.5, Confidence::P95), None);
    }

    /// §3.1.7 of "Adding Error Bars to Evals" for 78.4 %: what must be seen so that the lower bound reaches it.
    #[test]
    fn to_prove_a_share_more_must_be_seen() {
        for (asked, share) in [(300, 0.823), (400, 0.820), (500, 0.816), (1000, 0.806)] {
            let least = (0..=asked).find(|right| Share::of(*right, asked).unwrap().lower_bound(Confidence::P95) >= 0.784);
            near(f64::from(least.unwrap()) / f64::from(asked), share, 0.0025);
        }
    }

    #[test]
    fn questions_in_clusters_are_as_good_as_fewer() {
        let doubled = (0..200).map(|i| (i / 2, f64::from(i / 2 % 4 != 0)));
        let seen = Share::of_estimate(&clustered_mean(doubled).unwrap(), 100, 200).unwrap();
        near(seen.share, 0.75, 1e-12);
        near(seen.questions, 100.0, 4.0);
        let alike = clustered_mean((0..200).map(|i| (i / 2, 1.0))).unwrap();
        near(Share::of_estimate(&alike, 100, 200).unwrap().questions, 100.0, 1e-12);
    }

    proptest! {
        #[test]
        fn tests_and_bounds_agree(right in 0u32..300, wrong in 0u32..300, bound in 0.01..0.99f64) {
            prop_assume!(right + wrong > 0);
            let seen = Share::of(right, right + wrong).unwrap();
            let upper = seen.upper_bound(Confidence::P95);
            prop_assume!((upper - bound).abs() > 1e-9);
            prop_assert_eq!(seen.p_if_at_least(bound) < 0.05, upper < bound);
            let lower = seen.lower_bound(Confidence::P95);
            prop_assume!((lower - bound).abs() > 1e-9);
            prop_assert_eq!(seen.p_if_at_most(bound) < 0.05, lower > bound);
        }

        #[test]
        fn the_number_that_decides_is_the_smallest(right in 0u32..200, wrong in 0u32..200, bound in 0.01..0.99f64) {
            prop_assume!(right + wrong > 0);
            let seen = Share::of(right, right + wrong).unwrap();
            if let Some(n) = seen.questions_to_decide(bound, Confidence::P95) {
                let decides = |n: u32| {
                    let of_so_many = Share { questions: f64::from(n), ..seen };
                    of_so_many.lower_bound(Confidence::P95) >= bound - 1e-9 || of_so_many.upper_bound(Confidence::P95) <= bound + 1e-9
                };
                prop_assert!(decides(n));
                prop_assert!(n == 1 || seen.share < 1e-9 || seen.share > 1.0 - 1e-9 || !decides_by_far(&seen, n - 1, bound));
            }
        }
    }

    fn decides_by_far(seen: &Share, n: u32, bound: f64) -> bool {
        let of_so_many = Share {
            questions: f64::from(n),
            ..*seen
        };
        of_so_many.lower_bound(Confidence::P95) > bound + 1e-9 || of_so_many.upper_bound(Confidence::P95) < bound - 1e-9
    }
}
