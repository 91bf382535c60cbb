//! Two models on the same questions. What makes a question hard is in both scores and cancels out, so that a difference is told from chance by
//! half as many questions as with questions of each one's own (Miller, section on paired differences).

use super::estimate::Estimate;
use super::mean::{clustered_mean, mean};

/// The mean of the candidate's score less the baseline's, of pairs in this order: SE = sd(d)/√n, with n − 1 degrees of freedom. `None` for fewer
/// than two.
#[must_use]
pub fn paired_difference(pairs: &[(f64, f64)]) -> Option<Estimate> {
    let differences: Vec<f64> = pairs.iter().map(|(candidate, baseline)| candidate - baseline).collect();
    mean(&differences)
}

/// As [`paired_difference`], of questions in clusters, whose names come first. `None` for fewer than two clusters.
#[must_use]
pub fn clustered_difference<K: Ord>(pairs: impl IntoIterator<Item = (K, f64, f64)>) -> Option<Estimate> {
    clustered_mean(
        pairs
            .into_iter()
            .map(|(cluster, candidate, baseline)| (cluster, candidate - baseline)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::statistics::{Bounds, Confidence, near};

    const SCORES: [f64; 8] = [0.2, 1.0, 0.5, 0.0, 1.0, 0.75, 0.25, 1.0];
    const CLUSTERS: [char; 8] = ['a', 'a', 'a', 'b', 'b', 'c', 'd', 'd'];
    const BASELINE: [f64; 8] = [0.1, 0.8, 0.5, 0.25, 1.0, 0.5, 0.5, 0.75];

    /// By SciPy 1.17.1: `stats.sem` of the differences, and `t.interval(0.95, 7, …)`; `ttest_rel` has t = 0.5222329678670935.
    #[test]
    fn a_paired_difference_is_as_scipy_has_it() {
        let pairs: Vec<(f64, f64)> = SCORES.into_iter().zip(BASELINE).collect();
        let seen = paired_difference(&pairs).unwrap();
        near(seen.value, 0.0375, 1e-12);
        near(seen.standard_error, 0.07180703308172535, 1e-12);
        near(seen.value / seen.standard_error, 0.5222329678670935, 1e-12);
        let Bounds { lower, upper } = seen.interval(Confidence::P95);
        near(lower, -0.13229665185997308, 1e-10);
        near(upper, 0.2072966518599731, 1e-10);
        assert_eq!(paired_difference(&pairs[..1]), None);
    }

    /// By statsmodels 0.15.0: `OLS(differences, ones).fit(cov_type="cluster", cov_kwds={"groups": …}, use_t=True)`.
    #[test]
    fn a_clustered_difference_is_as_statsmodels_has_it() {
        let pairs = CLUSTERS.into_iter().zip(SCORES).zip(BASELINE);
        let seen = clustered_difference(pairs.map(|((cluster, candidate), baseline)| (cluster, candidate, baseline))).unwrap();
        near(seen.value, 0.0375, 1e-12);
        near(seen.standard_error, 0.06317345500023458, 1e-12);
        near(seen.interval(Confidence::P95).lower, -0.16354613, 1e-8);
        near(seen.interval(Confidence::P95).upper, 0.23854613, 1e-8);
    }
}
