//! `EvalJob`: what "good" means for some models, measured on a schedule.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model_deployment::KeyRef;
use super::money::Usd;

/// Five cron fields.
pub(crate) const CRON: &str = r"^\S+( +\S+){4}$";
/// A decimal from 0 to 1.
pub(crate) const SHARE: &str = r"^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$";

/// Asks each target every exemplar through the gateway, at each slot of the schedule, and gives a verdict that RoutingPolicies obey.
/// Example: `{targets: {models: [llama]}, schedule: {cron: "0 2 * * *", timeZone: Europe/Berlin}, suites: [{name: claims, exemplars:
/// {dataset: {configMapRef: {name: claims, key: cases.jsonl}}}, scorer: {exact: {}}}], criteria: [{suite: claims, metric: accuracy,
/// lowerBoundAtLeast: "0.9"}]}`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "llmportfolio.dev",
    version = "v1alpha1",
    kind = "EvalJob",
    plural = "evaljobs",
    shortname = "evj",
    category = "portfolio",
    namespaced,
    status = "EvalJobStatus",
    derive = "PartialEq",
    doc = "A scheduled evaluation of models of the portfolio, with a verdict that routing obeys.",
    printcolumn(name = "Schedule", type_ = "string", json_path = ".spec.schedule.cron"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Last Run", type_ = "date", json_path = ".status.lastScheduleTime"),
    printcolumn(name = "Verdict", type_ = "string", json_path = ".status.verdict"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextScheduleTime"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = r#".status.conditions[?(@.type=="Ready")].message"#),
    validation = ("self.metadata.name.size() <= 52", "metadata.name must be at most 52 characters, so that the names of its Jobs fit")
)]
#[kube(cel)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.criteria.all(c, self.suites.exists(s, s.name == c.suite))")
    .message("each criterion must name one of spec.suites").field_path(".criteria"))]
pub struct EvalJobSpec {
    /// The models to evaluate.
    pub targets: Targets,
    /// When to run.
    pub schedule: Schedule,
    /// No new runs while true. Default: false.
    #[serde(default)]
    pub suspend: bool,
    /// What the models are asked, and how answers are scored.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub suites: Vec<Suite>,
    /// What must hold for the verdict `Pass`; all of it.
    #[schemars(length(min = 1, max = 16))]
    pub criteria: Vec<Criterion>,
    /// What one run may use. A run that reaches a limit stops and its verdict is `Invalid`. Restarts of the evaluator in its pod count
    /// together. A run whose pod is lost, by eviction or with its node, ends `Invalid`; what Kubernetes' replacement of it spends comes on
    /// top, until the operator removes it: seconds, or while no operator runs at most the limits again for each of three replacements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How much of the past is kept.
    #[serde(default)]
    pub history: History,
}

/// The models to evaluate.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Targets {
    /// ModelDeployments by name, in this namespace; an adapter of one as `name:adapter`. Example: `[llama, "llama:fraud"]`.
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub models: Vec<String>,
}

/// When to run.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// Five fields: minute, hour, day of month, month, day of week. Example: `0 2 * * 1-5`. A slot missed while the operator was down
    /// runs once, late; one that falls into a running evaluation is left out.
    #[schemars(length(max = 128), regex(pattern = CRON))]
    pub cron: String,
    /// An IANA time zone, such as `Europe/Berlin`. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
}

/// One set of questions and how its answers are scored.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suite {
    /// Its name, which criteria use.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The questions.
    pub exemplars: Exemplars,
    /// How an answer is compared with the expected one.
    pub scorer: Scorer,
}

/// Questions with known answers.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exemplars {
    /// Where they are.
    pub dataset: Dataset,
}

/// Where questions are kept.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dataset {
    /// A key of a ConfigMap in this namespace: one JSON object a line, `{"id", "input" or "messages", "expected", "choices"?}`.
    pub config_map_ref: KeyRef,
}

/// How an answer is scored; exactly one member is set.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("(has(self.exact) ? 1 : 0) + (has(self.regex) ? 1 : 0) + (has(self.multipleChoice) ? 1 : 0) == 1",
    "exactly one of exact, regex and multipleChoice must be set"))]
pub struct Scorer {
    /// Right when the answer equals `expected`, white space at both ends and case aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<Exact>,
    /// Right when what the pattern finds equals `expected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<Regex>,
    /// Right when the letter the answer settles on is `expected`. `choices` are shown to the model as `A. …`, `B. …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple_choice: Option<MultipleChoice>,
}

/// Equality, white space at both ends and case aside.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exact {}

/// Extraction by a regular expression.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Regex {
    /// A regular expression in RE2 syntax. Its first group, or its whole match without one, is the answer; the first match counts.
    #[schemars(length(min = 1, max = 512))]
    pub pattern: String,
}

/// The letter of one of the choices.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MultipleChoice {}

/// What must hold for `Pass`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Criterion {
    /// One of `spec.suites`.
    #[schemars(length(min = 1, max = 63))]
    pub suite: String,
    /// What is measured.
    pub metric: Metric,
    /// The lower end of the metric's two-sided 95 % interval must be at least this, a decimal from 0 to 1 such as `"0.784"`. `Fail` needs
    /// the upper end below it; anything between is `Inconclusive`.
    #[schemars(length(max = 8), regex(pattern = SHARE))]
    pub lower_bound_at_least: String,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The share of right answers among all questions; an answer that cannot be read counts as wrong.
    Accuracy,
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("accuracy")
    }
}

/// What one run may use.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// US dollars, such as `"25"`. Needs `price` on every target: what is not known cannot be capped.
    #[serde(rename = "maxCostUSD", default, skip_serializing_if = "Option::is_none")]
    pub max_cost_usd: Option<Usd>,
    /// Tokens, prompts and answers together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    pub max_tokens: Option<i64>,
}

/// How much of the past is kept.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// Runs listed in the status. Default: 10. Limit: 100. The Jobs of the latest three are kept for their logs.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 100))]
    pub runs: u32,
}

fn ten() -> u32 {
    10
}

impl Default for History {
    fn default() -> Self {
        Self { runs: ten() }
    }
}

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

/// What the operator observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvalJobStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: runs happen on schedule. `Passed`: the latest run's verdict, as in `verdict`; what routing obeys is in `targets`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The latest run's verdict over all targets: the worst of theirs. An `Invalid` one takes nothing away from what `targets` already
    /// says about models that have not changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
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
    /// `region`; `selfHosted.source`, `engine`, `accelerator` and `custom`. Of the EvalJob: `suites` and `criteria`. When one of them
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuiteResult {
    /// The suite's name.
    pub name: String,
    /// Questions asked.
    pub questions: u32,
    /// Right answers.
    pub correct: u32,
    /// Answers in which no answer could be found; they count as wrong.
    pub unparsed: u32,
    /// Requests that failed; any makes the run `Invalid`.
    pub errors: u32,
    /// The share of right answers, and its two-sided 95 % Wilson interval, such as `0.812 (0.776 to 0.843)`.
    pub accuracy: String,
}

/// One run of the past.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastRun {
    /// Its slot.
    pub slot: Time,
    /// Its verdict over all targets.
    pub verdict: Verdict,
    /// Tokens used, prompts and answers together.
    pub tokens: u64,
    /// US dollars spent, or absent when a price is unknown.
    #[serde(rename = "costUSD", default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<Usd>,
}
