//! Standard errors of mean scores: of questions that have nothing to do with each other, of questions in clusters, and of questions in strata.
//! A question that was asked several times is one question: its scores are averaged first, or it is a cluster.

use std::collections::BTreeMap;

use super::estimate::Estimate;

/// The mean of scores of independent questions: SE = √(Σ(s − m)²/(n − 1)/n), with n − 1 degrees of freedom. `None` for fewer than two.
#[must_use]
pub fn mean(scores: &[f64]) -> Option<Estimate> {
    let n = scores.len() as f64;
    let value = average(scores)?;
    let squares: f64 = scores.iter().map(|score| (score - value).powi(2)).sum();
    (scores.len() > 1).then(|| Estimate {
        value,
        standard_error: (squares / (n - 1.0) / n).sqrt(),
        degrees: n - 1.0,
    })
}

/// The mean of scores of questions that share a passage, a case or a template, each with the name of its cluster (Miller, appendix A, with the
/// factor for finitely many clusters): SE = √(C/(C − 1)·Σ over clusters of (Σ within it of (s − m))²)/n, with C − 1 degrees of freedom. `None`
/// for fewer than two clusters.
///
/// Subjects of a benchmark, all of which are in it, are no clusters but strata ([`stratified_mean`]).
#[must_use]
pub fn clustered_mean<K: Ord>(scores: impl IntoIterator<Item = (K, f64)>) -> Option<Estimate> {
    let clusters = by_group(scores);
    let (n, c) = (count(&clusters), clusters.len() as f64);
    let value = average(clusters.values().flatten())?;
    let squares: f64 = clusters
        .values()
        .map(|scores| scores.iter().map(|score| score - value).sum::<f64>().powi(2))
        .sum();
    (clusters.len() > 1).then(|| Estimate {
        value,
        standard_error: (c / (c - 1.0) * squares).sqrt() / n,
        degrees: c - 1.0,
    })
}

/// The mean of scores of questions that were drawn from each of some strata, such as the subjects of a benchmark, each with the name of its
/// stratum: SE = √(Σ over strata of (n_k/N)²·s_k²/n_k), as W. G. Cochran, "Sampling Techniques" (1977), chapter 5, has it for proportional
/// sizes. What subjects differ by from each other is no error. N − K degrees of freedom. `None` where there is no stratum, or one has a single
/// question, whose spread nobody knows.
#[must_use]
pub fn stratified_mean<K: Ord>(scores: impl IntoIterator<Item = (K, f64)>) -> Option<Estimate> {
    let strata = by_group(scores);
    let (n, k) = (count(&strata), strata.len() as f64);
    let variances = strata.values().map(|scores| {
        let weight = scores.len() as f64 / n;
        Some((weight * mean(scores)?.standard_error).powi(2))
    });
    let variance = variances.sum::<Option<f64>>()?;
    Some(Estimate {
        value: average(strata.values().flatten())?,
        standard_error: variance.sqrt(),
        degrees: n - k,
    })
}

/// The mean of scores of questions that were drawn from strata and lie in clusters, each with the names of both, in this order. What clusters
/// deviate by from the means of their strata is summed: SE = √(C/(C − K)·Σ over clusters of (Σ within it of (s − m_k))²)/n, with C − K degrees of
/// freedom, which is [`clustered_mean`] of a single stratum. `None` where there are not more clusters than strata.
#[must_use]
pub fn stratified_clustered_mean<S: Ord + Clone, K: Ord>(scores: impl IntoIterator<Item = (S, K, f64)>) -> Option<Estimate> {
    let scores: Vec<(S, K, f64)> = scores.into_iter().collect();
    let value = average(scores.iter().map(|(.., score)| score))?;
    let strata = by_group(scores.iter().map(|(stratum, _, score)| (stratum.clone(), *score)));
    let means: BTreeMap<&S, f64> = strata.iter().filter_map(|(name, scores)| Some((name, average(scores)?))).collect();
    let n = count(&strata);
    let mut clusters: BTreeMap<&K, f64> = BTreeMap::new();
    for (stratum, cluster, score) in &scores {
        *clusters.entry(cluster).or_default() += score - means.get(stratum)?;
    }
    let (c, k) = (clusters.len() as f64, strata.len() as f64);
    let squares: f64 = clusters.values().map(|sum| sum.powi(2)).sum();
    (clusters.len() > strata.len()).then(|| Estimate {
        value,
        standard_error: (c / (c - k) * squares).sqrt() / n,
        degrees: c - k,
    })
}

/// In the order of names, so that sums are the same on every run.
fn by_group<K: Ord>(scores: impl IntoIterator<Item = (K, f64)>) -> BTreeMap<K, Vec<f64>> {
    let mut groups: BTreeMap<K, Vec<f64>> = BTreeMap::new();
    for (group, score) in scores {
        groups.entry(group).or_default().push(score);
    }
    groups
}

fn count<K>(groups: &BTreeMap<K, Vec<f64>>) -> f64 {
    groups.values().map(Vec::len).sum::<usize>() as f64
}

/// From the first one on: scores that are all alike differ by exactly nothing from it. `None` of no scores.
fn average<'a>(scores: impl IntoIterator<Item = &'a f64>) -> Option<f64> {
    let mut scores = scores.into_iter();
    let first = *scores.next()?;
    let (beyond, count) = scores.fold((0.0, 1.0), |(beyond, count), score| (beyond + score - first, count + 1.0));
    Some(first + beyond / count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::statistics::{Bounds, Confidence, near};
    use proptest::prelude::*;

    const SCORES: [f64; 8] = [0.2, 1.0, 0.5, 0.0, 1.0, 0.75, 0.25, 1.0];
    const CLUSTERS: [char; 8] = ['a', 'a', 'a', 'b', 'b', 'c', 'd', 'd'];

    fn is(estimate: Estimate, value: f64, standard_error: f64, degrees: f64) {
        near(estimate.value, value, 1e-12);
        near(estimate.standard_error, standard_error, 1e-12);
        assert_eq!(estimate.degrees, degrees);
    }

    /// By SciPy 1.17.1: `stats.sem`, `t.interval(0.95, 7, …)` and the one-sided bound by `t.ppf(0.95, 7)`.
    #[test]
    fn a_mean_is_as_scipy_has_it() {
        let seen = mean(&SCORES).unwrap();
        is(seen, 0.5875, 0.14353633188648987, 7.0);
        let Bounds { lower, upper } = seen.interval(Confidence::P95);
        near(lower, 0.24809050863653548, 1e-10);
        near(upper, 0.9269094913634646, 1e-10);
        near(seen.upper_bound(Confidence::P95), 0.8594408634452422, 1e-10);
    }

    /// By statsmodels 0.15.0: `OLS(scores, ones).fit(cov_type="cluster", cov_kwds={"groups": …}, use_t=True)`, whose correction for one
    /// coefficient is C/(C − 1).
    #[test]
    fn a_clustered_mean_is_as_statsmodels_has_it() {
        let seen = clustered_mean(CLUSTERS.into_iter().zip(SCORES)).unwrap();
        is(seen, 0.5875, 0.03723867277441556, 3.0);
        near(seen.interval(Confidence::P95).lower, 0.46898992, 1e-8);
    }

    /// By the formula over Python's `fractions`.
    #[test]
    fn a_stratified_mean_is_as_exact_arithmetic_has_it() {
        let strata = ['a', 'a', 'a', 'b', 'b', 'c', 'c', 'c'].into_iter().zip(SCORES);
        is(stratified_mean(strata).unwrap(), 0.5875, 0.17354304221143527, 5.0);
    }

    #[test]
    fn what_has_no_spread_to_see_has_no_standard_error() {
        assert_eq!(mean(&[]), None);
        assert_eq!(mean(&[1.0]), None);
        assert_eq!(clustered_mean([('a', 1.0), ('a', 0.0)]), None);
        assert_eq!(stratified_mean([('a', 1.0), ('a', 0.0), ('b', 1.0)]), None);
        assert_eq!(stratified_mean::<char>([]), None);
    }

    #[test]
    fn a_question_that_was_asked_twice_counts_once() {
        let once = mean(&[1.0, 0.0, 0.5]).unwrap();
        let twice = clustered_mean([('a', 1.0), ('a', 1.0), ('b', 0.0), ('b', 0.0), ('c', 1.0), ('c', 0.0)]).unwrap();
        near(once.standard_error, twice.standard_error, 1e-12);
    }

    proptest! {
        #[test]
        fn clusters_of_one_and_one_stratum_are_no_clusters_and_no_strata(scores in prop::collection::vec(0.0..1.0f64, 2..50)) {
            let plain = mean(&scores).unwrap();
            let alone = clustered_mean(scores.iter().copied().enumerate()).unwrap();
            let whole = stratified_mean(scores.iter().map(|score| ((), *score))).unwrap();
            for seen in [alone, whole] {
                prop_assert!((seen.value - plain.value).abs() < 1e-12 && (seen.standard_error - plain.standard_error).abs() < 1e-12);
                prop_assert_eq!(seen.degrees, plain.degrees);
            }
        }
    }
}
