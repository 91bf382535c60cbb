//! Exact intervals and tests of shares, for what fails rarely: C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits
//! illustrated in the case of the binomial" (1934). They hold the true share at least as often as promised, whatever it is, and are wider for it.
//! After no failure in n questions, the upper bound is about 3.7/n (3/n of one side alone).
//!
//! Questions that belong together count as the independent ones that they are as good as, and the ends are where the Beta distribution has them for
//! a number that is no whole one: E. L. Korn and B. I. Graubard (1998), as in [`super::share`].

use statrs::distribution::{Beta, ContinuousCDF};

use super::confidence::Confidence;
use super::estimate::Bounds;
use super::share::{MOST_QUESTIONS, Share};

/// Beyond so many the series that the exact ends are from comes to no end, and they are Wilson's to four digits.
const MOST: f64 = 100_000.0;

impl Share {
    /// The two-sided Clopper-Pearson interval. Of more than 100,000 it is Wilson's.
    #[must_use]
    pub fn exact_interval(&self, confidence: Confidence) -> Bounds {
        let seen = self.independent(confidence);
        if seen.questions > MOST {
            return seen.interval(confidence);
        }
        Bounds {
            lower: seen.least(confidence.tail()),
            upper: seen.most(confidence.tail()),
        }
    }

    /// How likely so small a share, or a smaller one, would be were the true one `bound` or more: below α just where the exact upper bound of one side
    /// is below `bound`.
    #[must_use]
    pub fn exact_p_if_at_least(&self, bound: f64) -> f64 {
        let usual = self.independent(Confidence::P95).p_if_at_least_of_all(bound);
        // How much wider few groups make an interval depends on how sure it is: as sure as this is, or more.
        match Confidence::new(1.0 - 2.0 * usual).filter(|sure| *sure > Confidence::P95) {
            Some(sure) => self.independent(sure).p_if_at_least_of_all(bound),
            None => usual,
        }
    }

    /// The same of questions that are independent.
    fn p_if_at_least_of_all(&self, bound: f64) -> f64 {
        let Self { share, questions: all, .. } = *self;
        if all > MOST {
            return self.p_if_at_least(bound);
        }
        // Of n questions of which each is one with the probability `bound`, k or fewer: I(1 − bound; n − k, k + 1).
        let seen = whole(share * all);
        if bound >= 1.0 {
            return f64::from(seen >= all);
        }
        if bound <= 0.0 || seen >= all {
            return 1.0;
        }
        below(all - seen, seen + 1.0, 1.0 - bound)
    }

    /// How likely so large a share, or a larger one, would be were the true one `bound` or less.
    #[must_use]
    pub fn exact_p_if_at_most(&self, bound: f64) -> f64 {
        self.complement().exact_p_if_at_least(1.0 - bound)
    }

    /// How many questions of this kind it takes, at the share seen so far, for the exact bound of one side to leave `bound`. `None`: the share is so
    /// near the bound that no number worth asking would do.
    #[must_use]
    pub fn exact_questions_to_decide(&self, bound: f64, confidence: Confidence) -> Option<u32> {
        let each = f64::from(self.asked) / self.questions;
        let decides = |asked: u32| {
            let so_many = Self {
                questions: f64::from(asked) / each,
                asked,
                ..*self
            };
            let left = 1.0 - confidence.share();
            so_many.exact_p_if_at_least(bound) < left || so_many.exact_p_if_at_most(bound) < left
        };
        let mut to = 1_u32;
        while !decides(to) {
            to = to.checked_mul(2).filter(|asked| f64::from(*asked) <= MOST_QUESTIONS)?;
        }
        let mut from = to / 2;
        while from + 1 < to {
            let middle = u32::midpoint(from, to);
            if decides(middle) {
                to = middle;
            } else {
                from = middle;
            }
        }
        Some(to)
    }

    /// As one whose error is known: with as many fewer questions as the wider interval of one that was found from few groups is worth.
    fn independent(&self, confidence: Confidence) -> Self {
        let times = confidence.two_sided_t(self.degrees) / confidence.two_sided_z();
        Self {
            questions: self.questions / times.powi(2),
            degrees: f64::INFINITY,
            ..*self
        }
    }

    fn complement(&self) -> Self {
        let share = 1.0 - self.share;
        Self { share, ..*self }
    }

    /// The share at which as much or more would be seen in the part `tail` of runs.
    fn least(&self, tail: f64) -> f64 {
        let (seen, all) = (whole(self.share * self.questions), self.questions);
        if seen <= 0.0 { 0.0 } else { beta(seen, all - seen + 1.0, tail) }
    }

    /// The share at which as much or less would be seen in the part `tail` of runs: what is not so is otherwise.
    fn most(&self, tail: f64) -> f64 {
        1.0 - self.complement().least(tail)
    }
}

/// Of so many out of so many the share times the number, which rounding may miss by the last digits.
fn whole(count: f64) -> f64 {
    let nearest = count.round();
    if (count - nearest).abs() < 1e-9 { nearest } else { count }
}

fn beta(a: f64, b: f64, below: f64) -> f64 {
    Beta::new(a, b).map_or(f64::NAN, |distribution| distribution.inverse_cdf(below))
}

fn below(a: f64, b: f64, x: f64) -> f64 {
    Beta::new(a, b).map_or(1.0, |distribution| distribution.cdf(x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::statistics::{clustered_mean, near};
    use proptest::prelude::*;

    /// By statsmodels 0.15.0: `proportion_confint(right, asked, alpha=1 - c, method="beta")`.
    #[test]
    fn the_exact_interval_is_as_statsmodels_has_it() {
        for (right, asked, share, lower, upper) in [
            (0, 300, 0.95, 0.0, 0.01222097469429355),
            (300, 300, 0.95, 0.9877790253057065, 1.0),
            (3, 1000, 0.95, 0.0006190999316495715, 0.008742023238478303),
            (392, 500, 0.95, 0.7453020937729691, 0.8193008639763387),
            (1, 29, 0.99, 0.0001728313327215184, 0.22960030657503938),
            (8444, 12_020, 0.95, 0.6942332319970166, 0.7106602850250392),
            (1, 1, 0.9, 0.05, 1.0),
            (5, 12_032, 0.999, 5.2574764628737695e-05, 0.0014462816035888482),
        ] {
            let confidence = Confidence::new(share).unwrap();
            let seen = Share::of(right, asked).unwrap().exact_interval(confidence);
            near(seen.lower, lower, 1e-11);
            near(seen.upper, upper, 1e-11);
        }
    }

    #[test]
    fn no_failure_bounds_the_share_of_failures_by_about_three_in_n() {
        for asked in [100, 1000, 12_032] {
            let none = Share::of(0, asked).unwrap();
            let bound = 1.0 - 0.05_f64.powf(1.0 / f64::from(asked));
            near(bound * f64::from(asked), 3.0, 0.05);
            assert!(none.exact_p_if_at_least(bound * 1.000_001) < 0.05 && none.exact_p_if_at_least(bound * 0.999_999) > 0.05);
        }
    }

    #[test]
    fn the_ends_of_what_is_possible_are_tested_like_the_rest() {
        let some = Share::of(3, 10).unwrap();
        assert_eq!((some.exact_p_if_at_least(0.0), some.exact_p_if_at_least(1.0)), (1.0, 0.0));
        assert_eq!((some.exact_p_if_at_most(0.0), some.exact_p_if_at_most(1.0)), (0.0, 1.0));
    }

    #[test]
    fn without_a_failure_it_takes_three_times_the_reciprocal_of_the_bound() {
        let none = Share::of(0, 50).unwrap();
        assert_eq!(none.exact_questions_to_decide(0.01, Confidence::P95), Some(299));
        assert_eq!(Share::of(1, 100).unwrap().exact_questions_to_decide(0.01, Confidence::P95), None);
    }

    #[test]
    fn the_surer_a_bound_is_to_be_the_more_it_tells_that_there_are_few_groups() {
        let few = Share {
            degrees: 4.0,
            ..Share::of(0, 5).unwrap()
        };
        // t of 4 degrees at 99.9 % and 95 %, both sides, to the normal quantiles: 8.610/3.291 and 2.776/1.960.
        let upper = |share: f64| few.exact_interval(Confidence::new(share).unwrap()).upper;
        for (share, times) in [(0.95, 2.776_445 / 1.959_964), (0.999, 8.610_302 / 3.290_527)] {
            let questions: f64 = 5.0 / (times * times);
            near(upper(share), 1.0 - ((1.0 - share) / 2.0).powf(1.0 / questions), 1e-5);
        }
        assert!(
            few.exact_p_if_at_least(0.999_9) > (1.0_f64 - 0.999_9).powf(5.0 / 2.0),
            "and so does a test"
        );
    }

    #[test]
    fn attacks_of_one_template_count_as_fewer() {
        let templates = (0..200).map(|i| (i / 4, f64::from(i / 4 % 25 == 0)));
        let clustered = Share::of_estimate(&clustered_mean(templates).unwrap(), 50, 200).unwrap();
        let plain = Share::of(8, 200).unwrap();
        near(clustered.share, plain.share, 1e-12);
        let upper = |share: &Share| share.exact_interval(Confidence::P95).upper;
        assert!(upper(&clustered) > upper(&plain) + 0.03, "{} {}", upper(&clustered), upper(&plain));
    }

    proptest! {
        #[test]
        fn the_ends_hold_the_share_and_mirror_each_other(right in 0u32..3000, wrong in 0u32..3000) {
            prop_assume!(right + wrong > 0);
            let share = Share::of(right, right + wrong).unwrap();
            let seen = share.exact_interval(Confidence::P95);
            let other = Share::of(wrong, right + wrong).unwrap().exact_interval(Confidence::P95);
            prop_assert!(0.0 <= seen.lower && seen.lower <= share.share + 1e-12 && share.share <= seen.upper + 1e-12 && seen.upper <= 1.0);
            prop_assert!((seen.lower + other.upper - 1.0).abs() < 1e-9);
        }

        #[test]
        fn exact_tests_and_exact_bounds_agree(right in 0u32..200, wrong in 0u32..200, bound in 0.01..0.99f64) {
            prop_assume!(right + wrong > 0);
            let seen = Share::of(right, right + wrong).unwrap();
            // The bounds of one side at 97.5 % are the ends of both sides at 95 %.
            let Bounds { lower, upper } = seen.exact_interval(Confidence::P95);
            prop_assume!((upper - bound).abs() > 1e-6 && (lower - bound).abs() > 1e-6);
            prop_assert_eq!(seen.exact_p_if_at_least(bound) < 0.025, upper < bound);
            prop_assert_eq!(seen.exact_p_if_at_most(bound) < 0.025, lower > bound);
        }
    }
}
