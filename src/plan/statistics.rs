//! Statistics for verdicts: how sure a share of right answers is, and how many questions would make it sure enough. Pure arithmetic.

/// The quantile of the standard normal distribution that a two-sided 95 % interval leaves 2.5 % above.
const Z_95: f64 = 1.959_963_984_540_054;

/// More questions than this are no advice.
const MOST_QUESTIONS: f64 = 10_000_000.0;

/// A share, and the interval that holds the true one in 95 of 100 runs.
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
        (asked > 0).then(|| wilson(f64::from(right.min(asked)) / f64::from(asked), f64::from(asked), Z_95))
    }
}

impl std::fmt::Display for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} ({:.3} to {:.3})", self.share, self.lower, self.upper)
    }
}

/// How many questions it takes, at the share of right answers seen so far, for the interval to leave `bound` to one side. `None`: the
/// share is so near the bound that no number worth asking would do.
#[must_use]
pub fn questions_to_decide(right: u32, asked: u32, bound: f64) -> Option<u32> {
    if asked == 0 {
        return None;
    }
    to_decide(f64::from(right.min(asked)) / f64::from(asked), bound, Z_95)
}

/// E. B. Wilson, "Probable inference, the law of succession, and statistical inference" (1927): unlike the textbook interval it stays
/// within 0 and 1 and keeps its promise for shares near either end, which is where good models are.
fn wilson(share: f64, n: f64, z: f64) -> Interval {
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

/// The ends of the interval are the bounds b at which (share − b)² = z²·b(1 − b)/n, so the question has a closed form.
fn to_decide(share: f64, bound: f64, z: f64) -> Option<u32> {
    let n = z * z * bound * (1.0 - bound) / (share - bound).powi(2);
    // Rounding down first and testing keeps the answer the smallest one in spite of rounding in the last place.
    let clears = |n: &f64| {
        let seen = wilson(share, *n, z);
        seen.lower >= bound || seen.upper < bound
    };
    if !n.is_finite() || n > MOST_QUESTIONS {
        return None;
    }
    let floor = n.floor().max(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and ten million")]
    [floor, floor + 1.0, floor + 2.0].into_iter().find(clears).map(|n| n as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// For the published figures that use a one-sided 95 % bound.
    const Z_90: f64 = 1.644_853_626_951_472;

    fn percent(x: f64) -> f64 {
        (x * 1000.0).round() / 10.0
    }

    #[test]
    fn the_interval_matches_published_figures() {
        for (share, lower, upper) in [(0.784, 74.6, 81.8), (0.98, 96.4, 98.9), (1.0, 99.2, 100.0)] {
            let Interval { lower: l, upper: u, .. } = wilson(share, 500.0, Z_95);
            assert_eq!((percent(l), percent(u)), (lower, upper), "{share}");
        }
        // Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I, method 3.
        for (right, asked, lower, upper) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let seen = Interval::wilson(right, asked).unwrap();
            assert!(
                (seen.lower - lower).abs() < 5e-5 && (seen.upper - upper).abs() < 5e-5,
                "{right}/{asked}: {seen:?}"
            );
        }
    }

    #[test]
    fn the_smallest_share_that_passes_matches_published_figures() {
        for (asked, observed) in [(300_u32, 82.3), (400, 82.0), (500, 81.6), (1000, 80.6), (12_032, 79.0)] {
            let smallest = (0..=asked)
                .map(|right| f64::from(right) / f64::from(asked))
                .find(|share| wilson(*share, f64::from(asked), Z_90).lower >= 0.784)
                .unwrap();
            assert_eq!(percent(smallest), observed, "{asked}");
        }
    }

    #[test]
    fn nothing_asked_has_no_interval() {
        assert_eq!(Interval::wilson(0, 0), None);
        assert_eq!(questions_to_decide(0, 0, 0.5), None);
    }

    #[test]
    fn a_share_on_the_bound_is_never_decided() {
        assert_eq!(questions_to_decide(1, 2, 0.5), None);
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
        fn the_number_that_decides_is_the_smallest(right in 0u32..200, wrong in 0u32..200, bound in 0.01..0.99f64) {
            prop_assume!(right + wrong > 0);
            if let Some(n) = questions_to_decide(right, right + wrong, bound) {
                let share = f64::from(right) / f64::from(right + wrong);
                let decides = |n: u32| {
                    let seen = wilson(share, f64::from(n), Z_95);
                    seen.lower >= bound || seen.upper < bound
                };
                prop_assert!(decides(n));
                prop_assert!(n == 1 || !decides(n - 1));
            }
        }
    }
}
