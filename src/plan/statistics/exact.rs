//! Exact intervals of shares, for what fails rarely: C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in
//! the case of the binomial" (1934). They hold the true share at least as often as promised, whatever it is, and are wider for it. After no
//! failure in n questions, the upper bound is about 3.7/n (3/n of one side alone).

use statrs::distribution::{Beta, ContinuousCDF};

use super::confidence::Confidence;
use super::interval::{Interval, share, upper_bound, wilson};

impl Interval {
    /// The two-sided Clopper-Pearson interval of `right` out of `asked`, or `None` when nothing was asked. More right than asked counts as
    /// all right. Of more than 100,000 it is Wilson's.
    #[must_use]
    pub fn exact(right: u32, asked: u32, confidence: Confidence) -> Option<Self> {
        let share = share(right, asked)?;
        if asked > MOST {
            return Some(wilson(share, f64::from(asked), confidence.two_sided_z()));
        }
        let tail = confidence.tail();
        Some(Self {
            share,
            lower: least(right.min(asked), asked, tail),
            upper: most(right.min(asked), asked, tail),
        })
    }

    /// What the true share is at most, in so many runs: the exact bound of one side. For a share of failures, say of unsafe answers. `None`
    /// when nothing was asked.
    #[must_use]
    pub fn exact_upper_bound(right: u32, asked: u32, confidence: Confidence) -> Option<f64> {
        if asked > MOST {
            return upper_bound(right, asked, confidence);
        }
        (asked > 0).then(|| most(right.min(asked), asked, 1.0 - confidence.share()))
    }
}

/// The share at which so many or more would be seen in the part `tail` of runs.
fn least(right: u32, asked: u32, tail: f64) -> f64 {
    if right == 0 { 0.0 } else { beta(right, asked - right + 1, tail) }
}

/// The share at which so many or fewer would be seen in the part `tail` of runs: what is not right is wrong.
fn most(right: u32, asked: u32, tail: f64) -> f64 {
    1.0 - least(asked - right, asked, tail)
}

/// Beyond so many the series that the exact ends are from comes to no end, and they are Wilson's to four digits.
const MOST: u32 = 100_000;

fn beta(a: u32, b: u32, below: f64) -> f64 {
    Beta::new(f64::from(a), f64::from(b)).map_or(f64::NAN, |distribution| distribution.inverse_cdf(below))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::statistics::near;
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
            let seen = Interval::exact(right, asked, Confidence::new(share).unwrap()).unwrap();
            near(seen.lower, lower, 1e-11);
            near(seen.upper, upper, 1e-11);
        }
    }

    #[test]
    fn no_failure_bounds_the_share_of_failures_by_about_three_in_n() {
        for asked in [100, 1000, 12_032] {
            let bound = Interval::exact_upper_bound(0, asked, Confidence::P95).unwrap();
            near(bound, 1.0 - 0.05_f64.powf(1.0 / f64::from(asked)), 1e-10);
            near(bound * f64::from(asked), 3.0, 0.05);
        }
        assert_eq!(Interval::exact_upper_bound(0, 0, Confidence::P95), None);
        assert_eq!(Interval::exact(0, 0, Confidence::P95), None);
    }

    proptest! {
        #[test]
        fn the_ends_hold_the_share_and_mirror_each_other(right in 0u32..3000, wrong in 0u32..3000) {
            prop_assume!(right + wrong > 0);
            let seen = Interval::exact(right, right + wrong, Confidence::P95).unwrap();
            let other = Interval::exact(wrong, right + wrong, Confidence::P95).unwrap();
            prop_assert!(0.0 <= seen.lower && seen.lower <= seen.share && seen.share <= seen.upper && seen.upper <= 1.0, "{:?}", seen);
            prop_assert!((seen.lower + other.upper - 1.0).abs() < 1e-12);
        }
    }
}
