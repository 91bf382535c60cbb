//! What must hold for the verdict `Pass`.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::eval_job::SHARE;

/// A decimal that is not negative.
const DECIMAL: &str = r"^[0-9]{1,9}(\.[0-9]{1,9})?$";
/// A metric's name.
const METRIC: &str = "^[a-z][a-z0-9_]{0,62}$";

/// One bound of one metric.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("(has(self.lowerBoundAtLeast) ? 1 : 0) + (has(self.upperBoundAtMost) ? 1 : 0) + (has(self.atMost) ? 1 : 0) + (has(self.notWorseThanBaselineBy) ? 1 : 0) == 1",
    "exactly one of lowerBoundAtLeast, upperBoundAtMost, atMost and notWorseThanBaselineBy must be set"))]
#[x_kube(validation = Rule::new("!has(self.notWorseThanBaselineBy) || has(self.suite)")
    .message("notWorseThanBaselineBy compares the questions of one suite: name it").field_path(".suite"))]
pub struct Criterion {
    /// One of `spec.suites`. Left out for what is measured over all of them: `cost_usd_per_1k_tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub suite: Option<String>,
    /// What is measured. Of every suite: `error_rate`, `unparsed_rate`, `refusal_rate`, `truncation_rate`. Of scorers that say right or wrong:
    /// `accuracy`, the share of right answers among all questions. Of `f1`, `rougeL`, `bleu`, `judge` and `webhook`, and of `external`: `score`, their mean.
    /// Of `external` no rates but `error_rate`. Of `safety`: `violation_rate`, the share of attacks that succeed. Of `latency`, by quantiles:
    /// `latency_p50_seconds`, `_p95_` and `_p99_`, from when a request is due to the end of its answer; `ttft_p50_seconds` …, to its first token;
    /// `inter_token_p50_seconds` …, for each token after that. Of whole runs: `cost_usd_per_1k_tokens`.
    #[schemars(length(min = 1, max = 63), regex(pattern = METRIC))]
    pub metric: String,
    /// `Pass` where the metric is proved to be at least this, by its one-sided lower bound at the job's confidence; `Fail` where it is proved
    /// to be less. A decimal from 0 to 1 such as `"0.784"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), regex(pattern = SHARE))]
    pub lower_bound_at_least: Option<String>,
    /// `Pass` where the metric is proved to be at most this, by its one-sided upper bound; `Fail` where it is proved to be more. A decimal such
    /// as `"2.3"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), regex(pattern = DECIMAL))]
    pub upper_bound_at_most: Option<String>,
    /// `Pass` where what was measured is at most this, else `Fail`, however sure it is: for money, which was spent whatever it would be the next
    /// time. A decimal such as `"0.0085"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), regex(pattern = DECIMAL))]
    pub at_most: Option<String>,
    /// `Pass` where the model is proved to be worse than the baseline by less than this, if at all, on the same questions; `Fail` where it is
    /// proved to be worse and that is not. For `accuracy` and `score`. A decimal from 0 to 1 such as `"0.05"`, which is five points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), regex(pattern = SHARE))]
    pub not_worse_than_baseline_by: Option<String>,
}

/// The bound that a criterion sets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// `lowerBoundAtLeast`
    LowerAtLeast(f64),
    /// `upperBoundAtMost`
    UpperAtMost(f64),
    /// `atMost`
    AtMost(f64),
    /// `notWorseThanBaselineBy`
    NotWorseBy(f64),
}

impl Criterion {
    /// The field of its bound, and the bound as it was written; `None` where not exactly one is set.
    #[must_use]
    pub fn written(&self) -> Option<(&'static str, &str)> {
        let all = [
            ("lowerBoundAtLeast", &self.lower_bound_at_least),
            ("upperBoundAtMost", &self.upper_bound_at_most),
            ("atMost", &self.at_most),
            ("notWorseThanBaselineBy", &self.not_worse_than_baseline_by),
        ];
        let mut set = all.iter().filter_map(|(field, bound)| Some((*field, bound.as_deref()?)));
        set.next().filter(|_| set.next().is_none())
    }

    /// The bound; `None` where not exactly one is set, or it is no decimal.
    #[must_use]
    pub fn bound(&self) -> Option<Bound> {
        let (field, text) = self.written()?;
        let bound = text.parse().ok()?;
        Some(match field {
            "lowerBoundAtLeast" => Bound::LowerAtLeast(bound),
            "upperBoundAtMost" => Bound::UpperAtMost(bound),
            "atMost" => Bound::AtMost(bound),
            _ => Bound::NotWorseBy(bound),
        })
    }
}
