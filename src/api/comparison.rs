//! What a model is compared with: a baseline, and its own past.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A decimal from 0.01 to 99.
const PER_YEAR: &str = r"^(0\.(0[1-9]|[1-9][0-9]?)|[1-9][0-9]?(\.[0-9]{1,2})?)$";
/// A decimal from 0 to less than 1.
const TOLERANCE: &str = r"^0(\.[0-9]{1,6})?$";

/// What `notWorseThanBaselineBy` compares with.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.model) || has(self.run)", "name the model, the run, or both"))]
pub struct Baseline {
    /// A ModelDeployment in this namespace, or `name:adapter`, which is asked the same questions in the same run. With `run`, its answers in that
    /// run count, and it is not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub model: Option<String>,
    /// A run of the past whose answers `reports` keep, by the name of its Job. Without `model` each target is compared with what it was then.
    /// Only a run of the same datasets, asked and read in the same way, whose verdict about the model is not `Invalid`, can be compared with: any other
    /// makes the verdict `Invalid` before anything is asked. Example: `quality-29628120`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub run: Option<String>,
}

/// Whether models become worse over the runs of the schedule.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// How many false alarms a year are accepted for each target, on average, while it answers as it did. With fewer, a drop is found later.
    /// A decimal from 0.01 to 99. Default: `"1"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), regex(pattern = PER_YEAR))]
    pub false_alarms_per_year: Option<String>,
    /// How much worse is still as good: a share of the score, such as `"0.01"` for one point. It ought to be more than twice what the first
    /// runs may be off by luck, which the condition `Drifted` says. A decimal from 0 to less than 1. Default: `"0.01"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), regex(pattern = TOLERANCE))]
    pub tolerance: Option<String>,
}

/// How far a target is from an alarm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftStatus {
    /// The ModelDeployment's name.
    pub model: String,
    /// What is compared: a digest over what the target is, and over what it is asked. When that changes, the comparison begins anew.
    pub about: String,
    /// The Jobs of the first five runs, of whose answers the mean is what later ones are compared with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baseline: Vec<String>,
    /// Why it began anew with the first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
    /// Runs that were compared since.
    #[serde(default)]
    pub runs: u32,
    /// What the detector remembers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// How far it is on its way to an alarm, from `0` to `1`, which is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// How much lower than the baseline the latest run scored; below zero, higher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<String>,
    /// How far the baseline may be off by luck: one standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standard_error: Option<String>,
    /// The slot of the run that raised the alarm. It stays until the target or the evaluation changes, or a person begins anew:
    /// `kubectl annotate evj NAME llmportfolio.dev/reset-drift="$(date)" --overwrite`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<Time>,
}
