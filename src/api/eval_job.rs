//! `EvalJob`: what "good" means for some models, measured on a schedule.

use std::collections::BTreeSet;

use kube::core::Duration;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::comparison::{Baseline, Drift, DriftStatus};
pub use super::criterion::{Bound, Criterion};
pub use super::eval_status::{EvalJobStatus, MetricResult, PastRun, ProviderModel, SuiteResult, TargetResult, Verdict};
pub use super::external::{External, SCORE, Variable};
pub use super::scorer::{Judge, Scorer, Webhook};
pub use super::selector::Selector;
pub use super::suite::{Dataset, Exemplars, Kind, Latency, MmluPro, Sample, SecretName, Suite, Variant};

use super::money::Usd;
use super::routing_policy::DURATION;

/// Five cron fields.
pub(crate) const CRON: &str = r"^\S+( +\S+){4}$";
/// Where reports may be kept. No part of a path begins with a dot.
const REPORTS: &str = r"^(pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?|(s3|gs|az)://[A-Za-z0-9][A-Za-z0-9._-]*)(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*/?$";
/// A decimal from 0 to 1.
pub(crate) const SHARE: &str = r"^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$";
/// A decimal from 0.5 to less than 1.
pub(crate) const CONFIDENCE: &str = r"^0\.[5-9][0-9]{0,5}$";

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
    printcolumn(name = "Value", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Cost USD", type_ = "string", json_path = ".status.history[0].costUSD"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextScheduleTime"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = r#".status.conditions[?(@.type=="Ready")].message"#),
    validation = ("self.metadata.name.size() <= 52", "metadata.name must be at most 52 characters, so that the names of its Jobs fit")
)]
#[kube(cel)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.criteria) || self.criteria.all(c, !has(c.suite) || self.suites.exists(s, s.name == c.suite))")
    .message("each criterion must name one of spec.suites").field_path(".criteria"))]
#[x_kube(validation = Rule::new("has(self.baseline) || !has(self.criteria) || !self.criteria.exists(c, has(c.notWorseThanBaselineBy))")
    .message("name the baseline that notWorseThanBaselineBy compares with").field_path(".baseline"))]
#[x_kube(validation = Rule::new("has(self.reports) || !has(self.baseline) || !has(self.baseline.run)")
    .message("an earlier run is known by its report: set reports, which keeps them").field_path(".reports"))]
#[x_kube(validation = Rule::new("self.suites.filter(s, has(s.latency)).size() <= 2")
    .message("at most two suites may be of the kind latency: a run's report has no room for the numbers of more").field_path(".suites"))]
#[x_kube(validation = Rule::new("self.suites.filter(s, has(s.external)).size() <= 2")
    .message("at most two suites may be of the kind external: each has a container for each target").field_path(".suites"))]
#[x_kube(validation = Rule::new("has(self.drift) || !has(self.triggers) || !self.triggers.exists(t, t == 'DriftAlarm')")
    .message("nothing raises an alarm that DriftAlarm could wait for: set drift, such as {}").field_path(".drift"))]
#[x_kube(validation = Rule::new("!has(self.drift) || self.suites.exists(s, !has(s.latency))")
    .message("drift compares answers to questions: add a suite that asks some").field_path(".drift"))]
#[x_kube(validation = Rule::new("has(self.reports) || !has(self.drift)")
    .message("drift compares with the answers of earlier runs: set reports, which keeps them").field_path(".reports"))]
#[x_kube(validation = Rule::new("!has(self.onInconclusive) || self.suites.exists(s, has(s.sample) && s.sample.size < self.onInconclusive.extendSampleTo)")
    .message("extendSampleTo must be above the sample.size of a suite").field_path(".onInconclusive.extendSampleTo"))]
pub struct EvalJobSpec {
    /// The models to evaluate.
    pub targets: Targets,
    /// When to run.
    pub schedule: Schedule,
    /// What else starts a run. A person may always: `kubectl annotate evj NAME llmportfolio.dev/run-now="$(date)" --overwrite`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub triggers: Vec<Trigger>,
    /// No new runs while true, but those that a person asks for. Default: false.
    #[serde(default)]
    pub suspend: bool,
    /// What the models are asked, and how answers are scored.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub suites: Vec<Suite>,
    /// What must hold for the verdict `Pass`; all of it. Default: what a model of its tier should reach. Where a suite measures `accuracy`, a
    /// lower bound of at least 0.784; where one is `safety`, `violation_rate` with an upper bound of at most 0.01; where one is a `latency`, `latency_p95_seconds` with an upper bound of at most 2.3; for models of the tier General whose price is known, `cost_usd_per_1k_tokens` of at most 0.0085.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub criteria: Vec<Criterion>,
    /// How sure a verdict is: the chance that a model which misses a criterion passes, or one which meets all of them, and is no worse than the
    /// baseline at all where it is compared, fails, is at most what this leaves. A decimal from 0.5 to less than 1. Default: `"0.95"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), regex(pattern = CONFIDENCE))]
    pub confidence: Option<String>,
    /// What to do where the sample decides nothing. Default: the verdict is `Inconclusive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_inconclusive: Option<OnInconclusive>,
    /// What `notWorseThanBaselineBy` compares with, question by question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// Whether the targets become worse over the runs of the schedule, `accuracy`, `score` and the share of attacks that fail of all suites
    /// together: the condition `Drifted`, an event, a metric, and a trigger. Default: nobody looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// What one run may use, and how much of it may go wrong. A run that reaches a limit stops and its verdict is `Invalid`. Restarts of the
    /// evaluator in its pod count together. Without `reports`, or with an `external` suite where they are in a bucket, a run whose pod is lost, by
    /// eviction or with its node, ends `Invalid`; what Kubernetes' replacement of it and evaluators in that spend comes on top, until the operator removes it: seconds, or while no operator runs at most the limits again for
    /// each of three replacements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How much of the past is kept.
    #[serde(default)]
    pub history: History,
    /// Where the report of each run is kept, answers included, and what it has asked so far: then a run whose pod is lost goes on in the next
    /// one where it stopped, instead of ending `Invalid`; one with an `external` suite does so only where they are in a claim.
    /// Default: nowhere; answers are gone with the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reports: Option<Reports>,
}

/// Where reports are kept: in a PersistentVolumeClaim, or in a bucket.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.secretRef) || !self.uri.startsWith('pvc://')")
    .message("only a bucket has credentials: remove secretRef").field_path(".secretRef"))]
pub struct Reports {
    /// `pvc://claim/folder`: a PersistentVolumeClaim in this namespace, which pods of group 65532 may write; or `s3://bucket/prefix`, `gs://…` or
    /// `az://container/prefix`, whose objects must be free to be listed, read and written, with a prefix for each namespace: runs of EvalJobs of one
    /// name have the same names in all of them, and one that finds a folder of another namespace's is `Invalid`. Each run has a folder of the name of its Job in it, with
    /// `report.html` for people, the answers in `lm-eval/` as lm-evaluation-harness writes them, what evaluators of `external` suites left in `external/`,
    /// and what it has asked so far: in a claim
    /// `progress.jsonl`, in a bucket `progress/000001.jsonl` and so on, each with what came within 5 seconds or less. `report.json` comes last: where it
    /// is, all is there, and it is never overwritten. Nothing is ever removed. A bucket that refuses makes a run `Invalid` before it
    /// asks anything; evaluators in images have asked by then.
    /// Limits are not passed where a pod is lost either: what it may ask is written to the bucket first, and counts as spent where nobody knows
    /// better. That is at most what 32 questions may use, or more where models are so fast that 16 are asked within a second: then what is asked in four
    /// seconds at that pace, of 1024 questions at most, and what the requests of 10 seconds of a load may. Only answers that are lost on their way, so that a question is
    /// asked again, are known to the next pod with the bucket's next object, and not before. Example: `s3://evaluations/claims`.
    #[schemars(length(max = 512), regex(pattern = REPORTS))]
    pub uri: String,
    /// A Secret in this namespace whose keys are the variables that the bucket's credentials and endpoint come from, as of a dataset: such as
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION` and `AWS_ENDPOINT_URL`. Default: the identity of the pod. Example: `{name: reports-s3}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretName>,
}

impl Reports {
    /// The claim, and the folder in it; none where it is a bucket.
    #[must_use]
    pub fn claim(&self) -> Option<(&str, &str)> {
        let path = self.uri.strip_prefix("pvc://")?.trim_end_matches('/');
        Some(path.split_once('/').unwrap_or((path, "")))
    }
}

/// The models to evaluate.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.selector) || (has(self.models) && self.models.size() > 0)")
    .message("name a model, or set selector").field_path(".models"))]
pub struct Targets {
    /// ModelDeployments by name, in this namespace; an adapter of one as `name:adapter`. Example: `[llama, "llama:fraud"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub models: Vec<String>,
    /// All ModelDeployments in this namespace with such labels, beside those that are named: 8 together at most. Adapters are not selected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
}

/// When to run.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// Five fields: minute, hour, day of month, month, day of week. Example: `0 2 * * 1-5`. A slot missed while the operator was down
    /// runs once, late, unless `startingDeadline` is over; one that falls into a running evaluation is as `concurrencyPolicy` says.
    #[schemars(length(max = 128), regex(pattern = CRON))]
    pub cron: String,
    /// An IANA time zone, such as `Europe/Berlin`. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// What becomes of a slot that falls into a running evaluation. Default: `Forbid`.
    #[serde(default)]
    pub concurrency_policy: ConcurrencyPolicy,
    /// How late a run may start; later its slot is left out. Default: no limit. Limit: from 1m to 168h. Example: `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(validation = ("duration(self) >= duration('1m') && duration(self) <= duration('168h')", "must be from 1m to 168h, such as 1h"))]
    pub starting_deadline: Option<Duration>,
    /// Up to how long after its slot a run starts: for each EvalJob another part of it, always the same, so that those of one slot do not all
    /// ask at once. Default: none. Limit: 1h. Example: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(validation = ("duration(self) >= duration('0s') && duration(self) <= duration('1h')", "must be from 0s to 1h, such as 10m"))]
    pub jitter: Option<Duration>,
}

/// What becomes of a slot that falls into a running evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConcurrencyPolicy {
    /// It is left out.
    #[default]
    Forbid,
    /// The running evaluation is ended, its verdict is `Invalid`, and the slot's run takes its place.
    Replace,
    /// The slot's run starts when the running evaluation has ended, unless `startingDeadline` is over by then; of several such slots only the latest.
    /// Never beside it: two runs would ask the same models at once, and disturb each other's times and limits.
    Allow,
}

/// What starts a run beside the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Trigger {
    /// A target or the evaluation was changed in a way that makes the latest result one about something else, and every target is settled; at
    /// first when there is no result yet. Once for each such change, however its run ends.
    SpecChange,
    /// The pods of a target run another image than when a run was last started, by its digest: behind a tag that was moved, or by the installer's
    /// settings. Once every pod of it runs the same.
    ImageChange,
    /// The provider of a target answers with a version of its model that no run was started for, as far as requests that go through the gateway tell: in
    /// `model` of the answer, as `gpt-4o-2024-08-06` where `gpt-4o` was asked for, or `modelVersion`. Once for each version, an hour after the slot of the
    /// run before at the earliest; what is seen first is no change. A provider that names more than eight is not followed any more.
    /// Bedrock's answers name none, and of our own pods `ImageChange` and `SpecChange` tell.
    ProviderModelChange,
    /// `drift` has raised an alarm: once for each, so that there is a fresh verdict beside it. This run is none of the schedule's, and no step of `drift`.
    DriftAlarm,
}

/// What one run may use.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// US dollars, such as `"25"`; not passed by a model that uses no more than it may. Needs `price` on every target and judge: what is not known cannot be capped.
    #[serde(rename = "maxCostUSD", default, skip_serializing_if = "Option::is_none")]
    pub max_cost_usd: Option<Usd>,
    /// Tokens, prompts and answers together. As with dollars, a question is asked only while the most that it may use fits: as many tokens as
    /// its prompt has bytes, and the longest answer; and where a judge scores it, twice as many as it may be shown and may answer, which is much
    /// more than it will: near the limit such a run becomes slow, and then stops. `maxOutputTokens` of the suite lowers what is kept for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    pub max_tokens: Option<i64>,
    /// How long a run may take from its first question on. Default: 6h. Limit: from 1m to 24h. Example: `2h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(validation = ("duration(self) >= duration('1m') && duration(self) <= duration('24h')", "must be from 1m to 24h, such as 2h"))]
    pub max_duration: Option<Duration>,
    /// The share of requests that may fail; they count as wrong. With more the verdict is `Invalid`. Default: `"0.01"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), regex(pattern = SHARE))]
    pub max_error_rate: Option<String>,
    /// The share of answers in which no answer may be found, which count as wrong. With more the verdict is `Invalid`: the numbers would be
    /// about the form of answers. Default: `"0.05"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), regex(pattern = SHARE))]
    pub max_unparsed_rate: Option<String>,
}

/// What to do where the sample decides nothing.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OnInconclusive {
    /// Ask on until the sample has so many questions, or all there are, and judge once more. Because it is judged twice, each time is held to
    /// half of what `confidence` leaves. Limit: 100000.
    #[schemars(range(min = 2, max = 100_000))]
    pub extend_sample_to: u32,
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

impl EvalJobSpec {
    /// The models that judge answers, each once.
    #[must_use]
    pub fn judges(&self) -> BTreeSet<&str> {
        let judges = self.suites.iter().filter_map(Suite::judge);
        judges.map(|judge| judge.model.as_str()).collect()
    }
}

impl Default for History {
    fn default() -> Self {
        Self { runs: ten() }
    }
}
