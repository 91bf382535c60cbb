//! How many questions find a difference of some size, and how small a difference so many questions find: n = (z_α + z_β)²·V/δ², with V the variance
//! of what one question adds to the difference (Miller, section on power).

use super::confidence::Confidence;

/// The promises of a comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Design {
    confidence: Confidence,
    sides: Sides,
    power: f64,
}

/// Which differences are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sides {
    /// Losses, or gains: of a gate.
    One,
    /// Both.
    Two,
}

impl Design {
    /// That of a gate: one-sided at 95 %, and a loss is found in 80 of 100 runs.
    pub const GATE: Self = Self {
        confidence: Confidence::P95,
        sides: Sides::One,
        power: 0.8,
    };

    /// A difference that is none is found in as many runs as `confidence` leaves, one that is as large as planned in the part `power` of them.
    /// `None` where that is not at least a half and less than 1.
    #[must_use]
    pub fn new(confidence: Confidence, sides: Sides, power: f64) -> Option<Self> {
        (0.5..1.0).contains(&power).then_some(Self { confidence, sides, power })
    }

    /// (z_α + z_β)²: 6.18 for a gate.
    fn factor(&self) -> f64 {
        let found = match self.sides {
            Sides::One => self.confidence.one_sided_z(),
            Sides::Two => self.confidence.two_sided_z(),
        };
        let missed = Confidence::new(self.power).map_or(f64::INFINITY, Confidence::one_sided_z);
        (found + missed).powi(2)
    }

    /// How many questions it takes to find a difference of `effect`, at so much variance of one question's difference. Of unpaired questions: for
    /// each model. `None` where no number that can be counted does.
    #[must_use]
    pub fn questions(&self, variance: f64, effect: f64) -> Option<u32> {
        let n = (self.factor() * variance / (effect * effect)).ceil();
        (variance >= 0.0 && n <= f64::from(u32::MAX)).then_some(n.max(1.0) as u32)
    }

    /// The smallest difference that so many questions find. `None` of no questions, and of what is no variance.
    #[must_use]
    pub fn smallest_effect(&self, variance: f64, questions: u32) -> Option<f64> {
        (questions > 0 && variance >= 0.0).then(|| (self.factor() * variance / f64::from(questions)).sqrt())
    }
}

/// The variance of one question's difference where each model has questions of its own, and these shares of right answers.
#[must_use]
pub fn unpaired_variance(candidate: f64, baseline: f64) -> f64 {
    candidate * (1.0 - candidate) + baseline * (1.0 - baseline)
}

/// The variance of one question's difference where both models have the same questions: by the share of those that only one of them answers right,
/// and the difference of their shares.
#[must_use]
pub fn paired_variance(discordance: f64, difference: f64) -> f64 {
    discordance - difference * difference
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::statistics::near;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_variance_and_no_effect_has_no_number_of_questions() {
        for (variance, effect) in [(f64::NAN, 0.03), (0.0, 0.0), (paired_variance(0.01, 0.2), 0.03), (0.1, f64::NAN)] {
            assert_eq!(Design::GATE.questions(variance, effect), None, "{variance} {effect}");
        }
        assert_eq!(Design::GATE.smallest_effect(-0.1, 10), None);
    }

    /// The published table for gates: by SciPy 1.17.1, the factor is `(norm.ppf(0.95) + norm.ppf(0.8))**2`.
    #[test]
    fn sizes_and_effects_match_the_published_table() {
        near(Design::GATE.factor(), 6.182557232019766, 1e-12);
        let two_sided = Design::new(Confidence::P95, Sides::Two, 0.8).unwrap();
        near(two_sided.factor(), 7.848879734349088, 1e-12);
        for (variance, questions, effects) in [
            (0.02, [1237, 310, 138, 50], [2.0, 1.8, 1.6, 1.1, 0.3]),
            (0.05, [3092, 773, 344, 124], [3.2, 2.8, 2.5, 1.8, 0.5]),
            (0.10, [6183, 1546, 687, 248], [4.5, 3.9, 3.5, 2.5, 0.7]),
            (0.18, [11_129, 2783, 1237, 446], [6.1, 5.3, 4.7, 3.3, 1.0]),
            (0.29, [17_930, 4483, 1993, 718], [7.7, 6.7, 6.0, 4.2, 1.2]),
            (
                unpaired_variance(0.784, 0.784),
                [20_940, 5235, 2327, 838],
                [8.4, 7.2, 6.5, 4.6, 1.3],
            ),
        ] {
            let seen = [0.01, 0.02, 0.03, 0.05].map(|effect| Design::GATE.questions(variance, effect).unwrap());
            assert_eq!(seen, questions, "{variance}");
            let seen = [300, 400, 500, 1000, 12_032].map(|questions| {
                let effect = Design::GATE.smallest_effect(variance, questions).unwrap();
                (effect * 1000.0).round() / 10.0
            });
            assert_eq!(seen, effects, "{variance}");
        }
    }

    /// 2,672 of 12,002 questions tell Gemini 1.5 Pro and Flash apart, 738 more in favour of one.
    #[test]
    fn pairs_vary_by_the_questions_that_tell_them_apart() {
        let (discordance, difference) = (2672.0 / 12_002.0, 738.0 / 12_002.0);
        near((paired_variance(discordance, difference) / 12_002.0).sqrt() * 100.0, 0.43, 0.005);
    }

    #[test]
    fn what_cannot_be_planned_is_not() {
        assert_eq!(Design::new(Confidence::P95, Sides::One, 1.0), None);
        assert_eq!(Design::new(Confidence::P95, Sides::One, 0.4), None);
        assert_eq!(Design::GATE.questions(0.2, 0.0), None);
        assert_eq!(Design::GATE.smallest_effect(0.2, 0), None);
    }

    proptest! {
        #[test]
        fn the_number_of_questions_is_the_smallest_that_finds_the_effect(variance in 0.01..0.5f64, effect in 0.005..0.2f64) {
            let n = Design::GATE.questions(variance, effect).unwrap();
            prop_assert!(Design::GATE.smallest_effect(variance, n).unwrap() <= effect);
            prop_assert!(n == 1 || Design::GATE.smallest_effect(variance, n - 1).unwrap() > effect);
        }
    }
}
