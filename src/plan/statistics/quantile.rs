//! Intervals of quantiles, such as of latencies: between two of the values themselves, by how many of so many lie below the true quantile, which
//! is binomial whatever their distribution. H. A. David and H. N. Nagaraja, "Order Statistics" (2003), section 7.1.

use statrs::distribution::{Binomial, DiscreteCDF};

use super::confidence::Confidence;

/// The observed quantile, and the interval that holds the true one in at least so many runs, in the unit of the values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantile {
    /// What was observed: the smallest value that so large a part of all does not exceed.
    pub value: f64,
    /// The lower end.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
}

/// Which of so many values, counted from 1 at the smallest, are the ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranks {
    /// The lower end.
    pub lower: u32,
    /// The upper end.
    pub upper: u32,
}

/// Why a quantile has no interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unbounded {
    /// No value is known to lie beyond the quantile: its bound is infinite.
    #[error("too few values bound this quantile; measure at least {needed}")]
    TooFew {
        /// How many would bound it.
        needed: u32,
    },
    /// It is not between 0 and 1.
    #[error("a quantile is more than 0 and less than 1; write 0.95 for p95")]
    NoQuantile,
}

/// The quantile of some values that are independent of each other, with its interval: p95 is 0.95.
///
/// # Errors
/// Where it has no interval.
pub fn quantile(values: &[f64], quantile: f64, confidence: Confidence) -> Result<Quantile, Unbounded> {
    let n = u32::try_from(values.len()).unwrap_or(u32::MAX);
    let Ranks { lower, upper } = ranks(n, quantile, confidence)?;
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |rank: u32| sorted.get(rank as usize - 1).copied().unwrap_or(f64::NAN);
    Ok(Quantile {
        value: at((quantile * f64::from(n)).ceil() as u32),
        lower: at(lower),
        upper: at(upper),
    })
}

/// The ranks of the ends among `n` values: the nearest ones beyond which the true quantile lies in at most half of the runs that the confidence
/// leaves, on each side.
///
/// # Errors
/// Where there are none, as for p99 of 300 values: the largest of them may be below it.
pub fn ranks(n: u32, quantile: f64, confidence: Confidence) -> Result<Ranks, Unbounded> {
    let below = Binomial::new(quantile, u64::from(n)).map_err(|_| Unbounded::NoQuantile)?;
    // The same of what is so small that 1 less it is 1.
    if quantile <= 0.0 || quantile >= 1.0 || 1.0 - quantile >= 1.0 {
        return Err(Unbounded::NoQuantile);
    }
    let tail = confidence.tail();
    let needed = needed(quantile, tail);
    if n < needed {
        return Err(Unbounded::TooFew { needed });
    }
    // The lower end is above the quantile when fewer values than its rank are below, the upper one below it when as many as its rank are.
    Ok(Ranks {
        // Rounding may have even the smallest one above the quantile often enough.
        lower: first(n, |rank| below.cdf(u64::from(rank)) > tail).max(1),
        upper: first(n, |rank| rank > 0 && below.sf(u64::from(rank) - 1) <= tail),
    })
}

/// How many values it takes for all of them to be on one side of the quantile in so few runs.
fn needed(quantile: f64, tail: f64) -> u32 {
    let part = quantile.max(1.0 - quantile);
    (tail.ln() / part.ln()).ceil().max(1.0) as u32
}

/// The first of 0 to `n` that is so, where all after it are.
fn first(n: u32, is_so: impl Fn(u32) -> bool) -> u32 {
    let (mut from, mut to) = (0, n);
    while from < to {
        let middle = from + (to - from) / 2;
        if is_so(middle) {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    from
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn few_values_and_little_confidence_end_at_the_smallest() {
        let half = Confidence::new(0.5).unwrap();
        let seen = quantile(&[1.0, 2.0], 0.5, half).unwrap();
        assert_eq!((seen.lower, seen.upper), (1.0, 2.0));
        assert_eq!(ranks(9, 1e-17, half), Err(Unbounded::NoQuantile));
    }

    /// By SciPy 1.17.1: `binom.ppf((1 - c) / 2, n, q)` and `binom.ppf((1 + c) / 2, n, q) + 1`. The first three are published.
    #[test]
    fn ranks_are_as_scipy_has_them() {
        for (n, quantile, share, lower, upper) in [
            (300, 0.95, 0.95, 277, 293),
            (500, 0.95, 0.95, 465, 485),
            (1000, 0.95, 0.95, 936, 964),
            (300, 0.5, 0.95, 133, 168),
            (500, 0.99, 0.95, 490, 500),
            (368, 0.99, 0.95, 360, 368),
            (20, 0.5, 0.9, 6, 15),
            (12_032, 0.99, 0.99, 11_883, 11_940),
            (59, 0.95, 0.9, 53, 59),
        ] {
            let seen = ranks(n, quantile, Confidence::new(share).unwrap());
            assert_eq!(seen, Ok(Ranks { lower, upper }), "{n} {quantile}");
        }
    }

    #[test]
    fn a_quantile_that_no_value_bounds_is_refused_with_how_many_would() {
        let needed = |n, quantile| ranks(n, quantile, Confidence::P95).unwrap_err();
        assert_eq!(needed(300, 0.99), Unbounded::TooFew { needed: 368 });
        assert_eq!(needed(367, 0.99), Unbounded::TooFew { needed: 368 });
        assert_eq!(needed(300, 0.01), Unbounded::TooFew { needed: 368 });
        assert_eq!(needed(0, 0.5), Unbounded::TooFew { needed: 6 });
        for quantile in [0.0, 1.0, -1.0, 95.0, f64::NAN] {
            assert_eq!(needed(1000, quantile), Unbounded::NoQuantile, "{quantile}");
        }
        assert!(needed(300, 0.99).to_string().ends_with("measure at least 368"));
    }

    #[test]
    fn the_ends_are_values_that_were_seen() {
        let values: Vec<f64> = (1..=300).rev().map(f64::from).collect();
        let seen = quantile(&values, 0.95, Confidence::P95).unwrap();
        assert_eq!((seen.value, seen.lower, seen.upper), (285.0, 277.0, 293.0));
    }

    proptest! {
        #[test]
        fn the_ranks_keep_their_promise_and_no_nearer_ones_do(n in 6u32..3000, quantile in 0.01..0.99f64) {
            let tail = 0.025;
            match ranks(n, quantile, Confidence::P95) {
                Ok(Ranks { lower, upper }) => {
                    let below = Binomial::new(quantile, u64::from(n)).unwrap();
                    let is_above = |rank: u32| below.cdf(u64::from(rank) - 1);
                    let is_below = |rank: u32| below.sf(u64::from(rank) - 1);
                    prop_assert!(1 <= lower && lower < upper && upper <= n, "{} {}", lower, upper);
                    prop_assert!(is_above(lower) <= tail && is_above(lower + 1) > tail);
                    prop_assert!(is_below(upper) <= tail && is_below(upper - 1) > tail);
                }
                Err(Unbounded::TooFew { needed }) => {
                    prop_assert!(needed > n);
                    prop_assert!(ranks(needed, quantile, Confidence::P95).is_ok());
                }
                Err(Unbounded::NoQuantile) => prop_assert!(false),
            }
        }
    }
}
