//! Statistics for verdicts: how sure a number is, whether two differ, and how many questions would make it sure enough. Pure arithmetic;
//! the special functions are `statrs`'.
//!
//! Questions are taken as a sample from all that might have been asked, as in E. Miller, "Adding Error Bars to Evals" (2024, arXiv
//! 2411.00640). Shares and scores are from 0 to 1; what costs and times are is for the caller to say.

mod confidence;
pub mod drift;
mod estimate;
mod exact;
mod holm;
mod interval;
mod kappa;
mod mean;
mod non_inferiority;
mod paired;
mod pairs;
mod power;
mod quantile;
mod ratio;
mod share;

#[cfg(test)]
mod simulations;

pub use confidence::Confidence;
pub use estimate::{Bounds, Estimate};
pub use holm::holm;
pub use interval::Interval;
pub use kappa::kappa;
pub use mean::{clustered_mean, mean, stratified_clustered_mean, stratified_mean};
pub use non_inferiority::{NonInferiority, non_inferiority};
pub use paired::{clustered_difference, paired_difference};
pub use pairs::{Pairs, mcnemar, mcnemar_two_sided};
pub use power::{Design, Sides, paired_variance, unpaired_variance};
pub use quantile::{Quantile, Ranks, Unbounded, quantile, ranks};
pub use ratio::{cost_per_thousand_tokens, ratio};
pub use share::{MOST_QUESTIONS, Share};

/// Panics where `seen` is not within `by` of `expected`.
#[cfg(test)]
#[track_caller]
pub(crate) fn near(seen: f64, expected: f64, by: f64) {
    assert!((seen - expected).abs() <= by, "{seen} is not {expected}");
}
