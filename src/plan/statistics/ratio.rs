//! Ratios of two sums over the same requests, such as what a thousand tokens cost. Both sums vary from run to run, and together: long answers cost
//! more. So the spread is that of what each request deviates from the ratio, which is W. G. Cochran's linearised estimate, "Sampling Techniques"
//! (1977), section 6.4. It needs no random numbers, as a bootstrap would, and agrees with one from some thirty requests on.

use super::estimate::Estimate;

/// The sum of the first numbers by that of the second: SE = √(n/(n − 1)·Σ(x − R·y)²)/Σy, with n − 1 degrees of freedom. `None` for fewer than two,
/// or where the second sum is not above 0.
#[must_use]
pub fn ratio(pairs: &[(f64, f64)]) -> Option<Estimate> {
    let n = pairs.len() as f64;
    let above: f64 = pairs.iter().map(|(above, _)| above).sum();
    let below: f64 = pairs.iter().map(|(_, below)| below).sum();
    let value = above / below;
    let squares: f64 = pairs.iter().map(|(above, below)| (above - value * below).powi(2)).sum();
    (pairs.len() > 1 && below > 0.0).then(|| Estimate {
        value,
        standard_error: (n / (n - 1.0) * squares).sqrt() / below,
        degrees: n - 1.0,
    })
}

/// What a thousand tokens cost over some requests, each with its cost and its tokens, in the currency of the costs: the total by the total, and not
/// the mean of what each one's tokens cost, in which short requests would weigh too much. `None` as for [`ratio`].
#[must_use]
pub fn cost_per_thousand_tokens(requests: &[(f64, u64)]) -> Option<Estimate> {
    let pairs: Vec<(f64, f64)> = requests.iter().map(|(cost, tokens)| (*cost, *tokens as f64)).collect();
    Some(ratio(&pairs)?.times(1_000.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::statistics::{Bounds, Confidence, near};

    /// By statsmodels 0.15.0: `WLS(cost / tokens, ones, weights=tokens).fit(cov_type="HC1")`, which is the same estimate; the interval by SciPy's
    /// `t.ppf(0.975, 5)`.
    #[test]
    fn a_ratio_is_as_statsmodels_has_it() {
        let requests = [
            (0.0031, 210),
            (0.0102, 702),
            (0.0007, 41),
            (0.0051, 350),
            (0.0023, 177),
            (0.0090, 566),
        ];
        let seen = cost_per_thousand_tokens(&requests).unwrap();
        near(seen.value, 0.014858260019550344, 1e-12);
        near(seen.standard_error, 0.0003894414015084543, 1e-12);
        let Bounds { lower, upper } = seen.interval(Confidence::P95);
        near(lower, 0.013857169026787958, 1e-10);
        near(upper, 0.015859351012312724, 1e-10);
    }

    #[test]
    fn a_price_that_is_the_same_for_all_tokens_is_sure() {
        let seen = cost_per_thousand_tokens(&[(0.01, 1000), (0.02, 2000), (0.005, 500)]).unwrap();
        near(seen.value, 0.01, 1e-15);
        near(seen.standard_error, 0.0, 1e-15);
    }

    #[test]
    fn without_tokens_or_with_one_request_nothing_is_known() {
        assert_eq!(cost_per_thousand_tokens(&[]), None);
        assert_eq!(cost_per_thousand_tokens(&[(0.01, 1000)]), None);
        assert_eq!(cost_per_thousand_tokens(&[(0.01, 0), (0.02, 0)]), None);
    }
}
