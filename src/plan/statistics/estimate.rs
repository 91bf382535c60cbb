//! A number that was measured, with its standard error.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use super::confidence::Confidence;

/// A mean, a difference or a ratio, and how far it may be from the true one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// What was measured, in the unit of what it was made of.
    pub value: f64,
    /// The standard deviation that such a measurement has from run to run, in the same unit.
    pub standard_error: f64,
    /// The degrees of freedom of Student's distribution, which the standard error is itself measured with; infinite for the normal one.
    pub degrees: f64,
}

/// Two ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The lower one.
    pub lower: f64,
    /// The upper one.
    pub upper: f64,
}

impl Estimate {
    /// The two-sided interval.
    #[must_use]
    pub fn interval(&self, confidence: Confidence) -> Bounds {
        let half = confidence.two_sided_t(self.degrees) * self.standard_error;
        Bounds {
            lower: self.value - half,
            upper: self.value + half,
        }
    }

    /// What the true number is at least, in so many runs.
    #[must_use]
    pub fn lower_bound(&self, confidence: Confidence) -> f64 {
        self.value - confidence.one_sided_t(self.degrees) * self.standard_error
    }

    /// What the true number is at most, in so many runs.
    #[must_use]
    pub fn upper_bound(&self, confidence: Confidence) -> f64 {
        self.value + confidence.one_sided_t(self.degrees) * self.standard_error
    }

    /// How likely so small a number, or a smaller one, would be were the true one `bound` or more. 1 of a number without a standard error, which
    /// proves nothing of what was not asked.
    #[must_use]
    pub fn p_if_at_least(&self, bound: f64) -> f64 {
        if self.standard_error > 0.0 {
            cumulative(self.degrees, (self.value - bound) / self.standard_error)
        } else {
            1.0
        }
    }

    /// How likely so large a number, or a larger one, would be were the true one `bound` or less.
    #[must_use]
    pub fn p_if_at_most(&self, bound: f64) -> f64 {
        self.times(-1.0).p_if_at_least(-bound)
    }

    /// How many times as many questions it would take, at what was seen so far, for the bound of one side to leave `bound`. `None` where no number
    /// would.
    #[must_use]
    pub fn times_to_decide(&self, bound: f64, confidence: Confidence) -> Option<f64> {
        let half = confidence.one_sided_t(self.degrees) * self.standard_error;
        let times = (half / (self.value - bound)).powi(2);
        (times.is_finite() && times > 0.0).then_some(times)
    }

    /// The same in a unit of which so many make one.
    #[must_use]
    pub fn times(&self, many: f64) -> Self {
        Self {
            value: self.value * many,
            standard_error: self.standard_error * many.abs(),
            degrees: self.degrees,
        }
    }
}

/// The share of Student's distribution of so many degrees of freedom that is below `t`.
pub(super) fn cumulative(degrees: f64, t: f64) -> f64 {
    if degrees.is_infinite() {
        return Normal::standard().cdf(t);
    }
    StudentsT::new(0.0, 1.0, degrees).map_or(1.0, |distribution| distribution.cdf(t))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::statistics::near;

    #[test]
    fn an_estimate_without_end_of_degrees_is_bounded_by_the_normal_distribution() {
        let estimate = Estimate {
            value: 10.0,
            standard_error: 2.0,
            degrees: f64::INFINITY,
        };
        let Bounds { lower, upper } = estimate.interval(Confidence::P95);
        near(lower, 10.0 - 2.0 * 1.959963984540054, 1e-12);
        near(upper, 10.0 + 2.0 * 1.959963984540054, 1e-12);
        near(estimate.lower_bound(Confidence::P95), 10.0 - 2.0 * 1.6448536269514722, 1e-12);
        near(
            estimate.times(-3.0).upper_bound(Confidence::P95),
            -30.0 + 6.0 * 1.6448536269514722,
            1e-12,
        );
    }
}
