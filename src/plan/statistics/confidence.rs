//! How sure an interval is to be, and the quantiles that this takes.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// The share of runs in which an interval holds the true number: from a half to less than 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Confidence(f64);

impl Confidence {
    /// 95 of 100 runs, by which all verdicts go.
    pub const P95: Self = Self(0.95);

    /// `share` as one, such as 0.99; `None` where it is less than a half, which promises nothing, or so near 1 that no quantile is finite.
    #[must_use]
    pub fn new(share: f64) -> Option<Self> {
        (0.5..1.0 - 1e-12).contains(&share).then_some(Self(share))
    }

    /// The share of runs.
    #[must_use]
    pub fn share(self) -> f64 {
        self.0
    }

    /// That of each of so many looks, which are together as sure as this: each is held to its part of what is left.
    #[must_use]
    pub fn of_looks(self, looks: u8) -> Self {
        Self::new(1.0 - (1.0 - self.0) / f64::from(looks.max(1))).unwrap_or(self)
    }

    /// What is left beyond each end of a two-sided interval, as a share of runs.
    pub(super) fn tail(self) -> f64 {
        (1.0 - self.0) / 2.0
    }

    /// The quantile of the standard normal distribution that bounds a two-sided interval: 1.96 for 95 %.
    pub(super) fn two_sided_z(self) -> f64 {
        // The distribution is symmetric, and its quantiles are exact in the lower tail.
        -Normal::standard().inverse_cdf(self.tail())
    }

    /// The quantile that bounds one side alone: 1.645 for 95 %.
    #[must_use]
    pub fn one_sided_z(self) -> f64 {
        -Normal::standard().inverse_cdf(1.0 - self.0)
    }

    /// As [`Confidence::two_sided_z`], of Student's distribution of so many degrees of freedom, which must be more than 0: 2.04 for 95 % and 30.
    pub(super) fn two_sided_t(self, degrees: f64) -> f64 {
        -students(degrees, self.tail())
    }

    /// As [`Confidence::one_sided_z`], of Student's distribution: 1.70 for 95 % and 30.
    pub(super) fn one_sided_t(self, degrees: f64) -> f64 {
        -students(degrees, 1.0 - self.0)
    }
}

/// So many degrees of freedom make Student's distribution the normal one.
const NORMAL_FROM: f64 = 100_000.0;

fn students(degrees: f64, below: f64) -> f64 {
    // Beyond these the two differ by less than 2·10⁻⁵, and the series that Student's is from comes to no end.
    if degrees > NORMAL_FROM {
        return Normal::standard().inverse_cdf(below);
    }
    StudentsT::new(0.0, 1.0, degrees).map_or(f64::NAN, |distribution| distribution.inverse_cdf(below))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::statistics::near;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_share_is_no_confidence() {
        for share in [0.0, 0.4, 1.0, -0.1, 1.1, f64::NAN, f64::INFINITY, 1.0 - 1e-15] {
            assert_eq!(Confidence::new(share), None, "{share}");
        }
        assert_eq!(Confidence::new(0.95), Some(Confidence::P95));
        assert_eq!(Confidence::P95.share(), 0.95);
    }

    /// By SciPy 1.17.1: `norm.ppf((1 + c) / 2)` and `norm.ppf(c)`.
    #[test]
    fn quantiles_of_the_normal_distribution_are_as_scipy_has_them() {
        for (share, two, one) in [
            (0.8, 1.2815515655446004, 0.8416212335729143),
            (0.9, 1.6448536269514722, 1.2815515655446004),
            (0.95, 1.959963984540054, 1.6448536269514722),
            (0.99, 2.5758293035489004, 2.3263478740408408),
            (0.999, 3.2905267314919255, 3.090232306167813),
        ] {
            let confidence = Confidence::new(share).unwrap();
            near(confidence.two_sided_z(), two, 1e-12);
            near(confidence.one_sided_z(), one, 1e-12);
        }
    }

    /// By SciPy 1.17.1: `t.ppf((1 + c) / 2, degrees)` and `t.ppf(c, degrees)`.
    #[test]
    fn quantiles_of_students_distribution_are_as_scipy_has_them() {
        for (share, degrees, two, one) in [
            (0.8, 1.0, 3.0776835371752544, 1.3763819204711738),
            (0.95, 1.0, 12.706204736174694, 6.313751514675037),
            (0.95, 2.0, 4.302652729749462, 2.9199855803537242),
            (0.95, 4.0, 2.7764451051977934, 2.1318467863266495),
            (0.95, 13.0, 2.1603686564627913, 1.7709333959868725),
            (0.95, 499.0, 1.9647293909876886, 1.6479129840597124),
            (0.95, 12001.0, 1.9601616769354093, 1.6449806069943673),
            (0.999, 1.0, 636.6192487687897, 318.30883898555015),
            (0.999, 30.0, 3.6459586350420627, 3.3851848668293045),
            (0.999, 12001.0, 3.2913376562984196, 3.090911563744006),
        ] {
            let confidence = Confidence::new(share).unwrap();
            near(confidence.two_sided_t(degrees) / two, 1.0, 1e-9);
            near(confidence.one_sided_t(degrees) / one, 1.0, 1e-9);
        }
    }

    proptest! {
        #[test]
        fn more_confidence_and_fewer_degrees_ask_for_more(share in 0.51..0.99f64, degrees in 1.0..1000.0f64) {
            let (one, more) = (Confidence::new(share).unwrap(), Confidence::new(share + 0.005).unwrap());
            prop_assert!(one.two_sided_z() < more.two_sided_z() && one.one_sided_t(degrees) < more.one_sided_t(degrees));
            prop_assert!(one.two_sided_z() < one.two_sided_t(degrees) && one.two_sided_t(degrees + 1.0) < one.two_sided_t(degrees));
        }
    }
}
