//! What the operator observed of an EvalJob.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::comparison::DriftStatus;
use super::money::Usd;

/// What a run says about a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// Every criterion is proved.
    Pass,
    /// The opposite of a criterion is proved.
    Fail,
    /// Too few questions to prove either; the message says how many would do.
    Inconclusive,
    /// The run cannot be judged: errors, a limit reached, something missing.
    Invalid,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a provider calls what it answers with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderModel {
    /// The target.
    pub model: String,
    /// What its provider is asked for, as `gpt-4o`. When that changes, what is known begins anew.
    pub asked: String,
    /// What it says that it answered with, as `gpt-4o-2024-08-06`, eight at most.
    pub versions: Vec<String>,
}

/// What the operator observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvalJobStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: runs happen on schedule. `Passed`: the latest run's verdict, as in `verdict`; what routing obeys is in `targets`. `Drifted`, where
    /// `drift` is set: whether a target has become worse over the runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The latest run's verdict over all targets: the worst of theirs. An `Invalid` one takes nothing away from what `targets` already
    /// says about models that have not changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// What the latest results come to for a person: of each target the first number, as `llama 0.812 ±0.034`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The value of the annotation `llmportfolio.dev/run-now` that a run was last started for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_request: Option<String>,
    /// A digest over what every target was when a run was last started: `SpecChange` starts none for it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempted: Option<String>,
    /// A digest over the images that the pods of targets ran when a run was last started: `ImageChange` starts one for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempted_images: Option<String>,
    /// The versions of their models that providers of targets answered with when runs were started, or when first seen: `ProviderModelChange` starts one
    /// for another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["model"]))]
    pub provider_models: Vec<ProviderModel>,
    /// The value of the annotation `llmportfolio.dev/reset-drift` that `drift` last began anew for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_reset: Option<String>,
    /// How far each target is from an alarm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<DriftStatus>,
    /// The slot of the latest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,
    /// The next slot; absent while suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Time>,
    /// The Job that runs now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<String>,
    /// The latest result for each target. This is what routing obeys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetResult>,
    /// Earlier runs, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<PastRun>,
}

/// The latest result for one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetResult {
    /// The ModelDeployment's name.
    pub model: String,
    /// What the latest run that could decide says about it: an `Invalid` run, such as one whose pod was lost, leaves an earlier `Pass`,
    /// `Fail` or `Inconclusive` about the same fingerprint in force. `Invalid`: no run has decided yet about what the model is now.
    pub verdict: Verdict,
    /// Why, with the numbers; and, after an `Invalid` run, why that one decided nothing.
    pub message: String,
    /// What was evaluated: a digest over these fields and nothing else. Of the ModelDeployment: `api.provider`, `model`, `endpoint` and
    /// `region`; `selfHosted.source`, `engine`, `accelerator`, `custom`, `podTemplate` and `parallelism`. Of the EvalJob: `suites`, `criteria`,
    /// `confidence`, `onInconclusive`, `baseline` by its name, and the rates of `limits`; and of each judge the same fields as of the model. When one of them
    /// changes, this verdict no longer counts. Not in it, so that a change goes unnoticed until the next run: what is behind a name (the
    /// lines of a dataset's ConfigMap, the weights at a URI without revision, the image of a tag, the model of a provider's alias) and the
    /// images and arguments that the installer sets for each kind of engine. Empty: the model was changing when the run started, or what
    /// it was is not known.
    pub fingerprint: String,
    /// The slot of the run that said so: from there its age is counted where a policy limits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Time>,
    /// The numbers of each suite.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<SuiteResult>,
}

/// The numbers of one suite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuiteResult {
    /// The suite's name.
    pub name: String,
    /// How it was asked and read, such as `mmlu_pro LmEval, 5-shot`: results of different protocols are not comparable.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// The SHA-256 of the dataset.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// Answers asked for: questions, each as often as `repeats` says.
    pub questions: u32,
    /// Right answers.
    pub correct: u32,
    /// Answers that the provider or the model withheld; they count as wrong.
    #[serde(default)]
    pub refused: u32,
    /// Answers that were cut off before an answer could be found; they count as wrong.
    #[serde(default)]
    pub truncated: u32,
    /// Other answers in which no answer could be found; they count as wrong.
    pub unparsed: u32,
    /// Answers of which the judge's verdict could not be read; they count as worse than the reference.
    #[serde(default, skip_serializing_if = "is_none")]
    pub unjudged: u32,
    /// Requests that failed; they count as wrong.
    pub errors: u32,
    /// What was measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricResult>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_none(count: &u32) -> bool {
    *count == 0
}

/// One number and how sure it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricResult {
    /// Its name, such as `accuracy`. Of a judge: `judge_agreement`, the share of pairs of which it says the same whichever answer stands first;
    /// `judge_kappa`, that agreement beyond chance; `judge_first_rate`, how often the answer that it prefers is the one that stands first.
    pub name: String,
    /// What was measured.
    pub value: String,
    /// The lower end of the two-sided interval at the job's confidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<String>,
    /// Its upper end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<String>,
    /// How many questions or requests it is from.
    pub n: u32,
    /// How the interval was made: `wilson`, `stratified`, `clustered`, `t` or `ranks`; of a kappa `fleiss`; `none` where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

/// One run of the past.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastRun {
    /// Its slot.
    pub slot: Time,
    /// Its verdict over all targets.
    pub verdict: Verdict,
    /// Tokens used, prompts and answers together. 0 also where nobody knows, as of a run that left no report; the cost is absent then.
    pub tokens: u64,
    /// US dollars spent, or absent when a price, or what was used, is unknown.
    #[serde(rename = "costUSD", default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<Usd>,
}
