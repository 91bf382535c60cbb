//! Intervals of shares by Wilson's method. E. B. Wilson, "Probable inference, the law of succession, and statistical inference" (1927):
//! unlike the textbook interval it stays within 0 and 1 and keeps its promise for shares near either end, which is where good models are.

use super::confidence::Confidence;

/// A share, and the interval that holds the true one in so many runs: 95 of 100 where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The observed share.
    pub share: f64,
    /// The lower end.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
}

impl Interval {
    /// The two-sided 95 % Wilson score interval of `right` out of `asked`, or `None` when nothing was asked. More right than asked counts
    /// as all right.
    #[must_use]
    pub fn wilson(right: u32, asked: u32) -> Option<Self> {
        Self::wilson_at(right, asked, Confidence::P95)
    }

    /// As [`Interval::wilson`], at any confidence.
    #[must_use]
    pub fn wilson_at(right: u32, asked: u32, confidence: Confidence) -> Option<Self> {
        Some(wilson(share(right, asked)?, f64::from(asked), confidence.two_sided_z()))
    }
}

impl std::fmt::Display for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} ({:.3} to {:.3})", self.share, self.lower, self.upper)
    }
}

/// The observed share; more right than asked counts as all right.
pub(super) fn share(right: u32, asked: u32) -> Option<f64> {
    (asked > 0).then(|| f64::from(right.min(asked)) / f64::from(asked))
}

/// `z` is the quantile of the standard normal distribution that the ends lie at.
pub(super) fn wilson(share: f64, n: f64, z: f64) -> Interval {
    let z2 = z * z;
    let centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = z * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt() / (1.0 + z2 / n);
    Interval {
        share,
        // At 0 and 1 the ends meet the share exactly; rounding may miss it by one digit of the last place.
        lower: (centre - half).clamp(0.0, share),
        upper: (centre + half).clamp(share, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::statistics::{Share, near};
    use proptest::prelude::*;

    fn percent(x: f64) -> f64 {
        (x * 1000.0).round() / 10.0
    }

    #[test]
    fn the_interval_matches_published_figures() {
        for (right, lower, upper) in [(392, 74.6, 81.8), (490, 96.4, 98.9), (500, 99.2, 100.0)] {
            let seen = Interval::wilson(right, 500).unwrap();
            assert_eq!((percent(seen.lower), percent(seen.upper)), (lower, upper), "{right}");
        }
        // Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I, method 3.
        for (right, asked, lower, upper) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let seen = Interval::wilson(right, asked).unwrap();
            near(seen.lower, lower, 5e-5);
            near(seen.upper, upper, 5e-5);
        }
    }

    /// By statsmodels 0.15.0: `proportion_confint(right, asked, alpha=1 - c, method="wilson")`.
    #[test]
    fn the_interval_is_as_statsmodels_has_it_at_any_confidence() {
        for (right, asked, share, lower, upper) in [
            (392, 500, 0.95, 0.7458371194720326, 0.8178322551458059),
            (1, 29, 0.99, 0.0040614941968838, 0.23825425313641296),
            (7, 10, 0.9, 0.44169979586983493, 0.873123416096802),
            (8444, 12_020, 0.95, 0.6942595195238043, 0.7106027715062252),
            (0, 20, 0.8, 0.0, 0.0758869791107644),
            (10, 10, 0.999, 0.4801329122211979, 1.0),
        ] {
            let seen = Interval::wilson_at(right, asked, Confidence::new(share).unwrap()).unwrap();
            near(seen.lower, lower, 1e-12);
            near(seen.upper, upper, 1e-12);
        }
    }

    /// By statsmodels 0.15.0, the ends of `proportion_confint(right, asked, alpha=2 * (1 - c), method="wilson")`.
    #[test]
    fn the_bounds_of_one_side_are_as_statsmodels_has_them() {
        for (right, asked, share, lower, upper) in [
            (392, 500, 0.95, 0.7522433950251706, 0.8126996490650793),
            (411, 500, 0.95, 0.792151694832346, 0.8483823199460355),
            (8444, 12_020, 0.99, 0.6927060379014991, 0.7121033809138648),
            (3, 7, 0.9, 0.22598811161452578, 0.6583029463790934),
        ] {
            let confidence = Confidence::new(share).unwrap();
            near(Share::of(right, asked).unwrap().lower_bound(confidence), lower, 1e-12);
            near(Share::of(right, asked).unwrap().upper_bound(confidence), upper, 1e-12);
        }
    }

    #[test]
    fn the_smallest_share_that_passes_matches_published_figures() {
        for (asked, observed) in [(300_u32, 82.3), (400, 82.0), (500, 81.6), (1000, 80.6), (12_032, 79.0)] {
            let passes = |right: &u32| Share::of(*right, asked).unwrap().lower_bound(Confidence::P95) >= 0.784;
            let smallest = (0..=asked).find(passes).unwrap();
            assert_eq!(percent(f64::from(smallest) / f64::from(asked)), observed, "{asked}");
        }
    }

    #[test]
    fn nothing_asked_has_no_interval() {
        assert_eq!(Interval::wilson(0, 0), None);
    }

    #[test]
    fn an_interval_reads_as_a_share_with_its_ends() {
        assert_eq!(Interval::wilson(406, 500).unwrap().to_string(), "0.812 (0.775 to 0.844)");
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_share_and_stays_within_zero_and_one(asked in 1u32..100_000, part in 0.0..=1.0f64) {
            let right = (f64::from(asked) * part) as u32;
            let seen = Interval::wilson(right, asked).unwrap();
            prop_assert!(0.0 <= seen.lower && seen.lower <= seen.share && seen.share <= seen.upper && seen.upper <= 1.0, "{:?}", seen);
        }

        #[test]
        fn the_interval_narrows_with_more_questions(right in 0u32..500, wrong in 0u32..500, times in 2u32..50) {
            prop_assume!(right + wrong > 0);
            let few = Interval::wilson(right, right + wrong).unwrap();
            let many = Interval::wilson(right * times, (right + wrong) * times).unwrap();
            prop_assert!(many.upper - many.lower < few.upper - few.lower);
        }

        #[test]
        fn more_confidence_is_wider_and_one_side_alone_is_nearer(right in 0u32..500, wrong in 0u32..500, share in 0.5..0.99f64) {
            prop_assume!(right + wrong > 0);
            let asked = right + wrong;
            let [less, more] = [share, share + 0.005].map(|share| Confidence::new(share).unwrap());
            let [narrow, wide] = [less, more].map(|confidence| Interval::wilson_at(right, asked, confidence).unwrap());
            prop_assert!(wide.lower <= narrow.lower && narrow.upper <= wide.upper);
            prop_assert!(Share::of(right, asked).unwrap().lower_bound(less) >= narrow.lower);
            prop_assert!(Share::of(right, asked).unwrap().upper_bound(less) <= narrow.upper);
        }
    }
}
