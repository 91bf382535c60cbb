//! How many replicas of a model there are, by the demand for it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use kube::core::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::eval_job::CRON;
use super::resources;
use super::routing_policy::DURATION;

/// Scales a model by the requests that gateways have for it: every two seconds the operator asks all gateways, and decides by the mean of the latest
/// minute, or by the latest six seconds where these are twice what the replicas bear. What is not known takes no replica away. `portfolio simulate
/// scaling` plays a trace of requests through the same rule. With `engine: HPA` metrics of your own decide instead.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.min <= self.max")
    .message("min is above max: lower min, or raise max").field_path(".min"))]
#[x_kube(validation = Rule::new("!has(self.scaleToZeroAfter) || self.min == 0 || (has(self.schedule) && self.schedule.exists(e, has(e.min) && e.min == 0))")
    .message("scaleToZeroAfter needs min: 0, here or in an entry of schedule; set that, or remove scaleToZeroAfter to keep replicas").field_path(".scaleToZeroAfter"))]
#[x_kube(validation = Rule::new("self.engine != 'HPA' || self.min > 0")
    .message("engine HPA keeps one replica at least: set min to 1 or more, or engine to Auto").field_path(".min"))]
#[x_kube(validation = Rule::new("self.engine != 'HPA' || !has(self.schedule) || self.schedule.all(e, !has(e.min) || e.min > 0)")
    .message("engine HPA keeps one replica at least: set min of each entry to 1 or more, or engine to Auto").field_path(".schedule"))]
#[x_kube(validation = Rule::new("!has(self.schedule) || self.schedule.all(e, (has(e.min) ? e.min : self.min) <= (has(e.max) ? e.max : self.max))")
    .message("an entry has min above max, where what it leaves out is that of scaling: lower its min, or raise its max").field_path(".schedule"))]
#[x_kube(validation = Rule::new("(self.engine == 'HPA') != has(self.target)")
    .message(Message::Expression("self.engine == 'HPA' ? 'target is for the engines Auto, Builtin and KEDA: with engine HPA the metrics have their own' : \
        'target is missing: inFlight: 16 suits most models'".to_owned())).field_path(".target"))]
#[x_kube(validation = Rule::new("(self.engine == 'HPA') == has(self.metrics)")
    .message(Message::Expression("self.engine == 'HPA' ? 'engine HPA needs metrics, as in a HorizontalPodAutoscaler: add some, or set engine to Auto' : \
        'metrics are for engine HPA: set that, or use target instead'".to_owned())).field_path(".metrics"))]
#[x_kube(validation = Rule::new("!has(self.sharing) || self.engine != 'HPA'")
    .message("sharing is for the engines Auto, Builtin and KEDA: a HorizontalPodAutoscaler knows nothing of other models").field_path(".sharing"))]
pub struct Scaling {
    /// The fewest replicas. With 0 the last one goes after `scaleToZeroAfter` without demand, and the next request wakes the model; what that request
    /// meets meanwhile is `spec.warmup` of the RoutingPolicy. A new model begins with one replica either way, so that it is known to work.
    /// Default: 1. Limit: 1000.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub min: u32,
    /// The most replicas, whatever the demand. Limit: from 1 to 1000.
    #[schemars(range(min = 1, max = 1000))]
    pub max: u32,
    /// What one replica is to bear; not with `engine: HPA`. Example: `{inFlight: 16}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ScalingTarget>,
    /// Who sets the number of replicas. Default: Auto.
    #[serde(default)]
    pub engine: ScalingEngine,
    /// With `engine: HPA`: what its HorizontalPodAutoscaler goes by, as in `spec.metrics` of one (`kubectl explain hpa.spec.metrics`); whoever
    /// serves these metrics must be installed. Limit: 8.
    /// Example: `[{type: External, external: {metric: {name: queue_depth}, target: {type: AverageValue, averageValue: "4"}}}]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "resources::metrics")]
    pub metrics: Option<Vec<Value>>,
    /// With `min: 0`, here or now by `schedule`: how long nobody may have wanted the model before its last replica goes. The time it takes to start does not count, and the
    /// clock begins anew when the operator is started anew. Default: 15m. Limit: from 10s to 24h. Example: `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(validation = ("duration(self) >= duration('10s') && duration(self) <= duration('24h')", "must be from 10s to 24h, such as 15m"))]
    pub scale_to_zero_after: Option<Duration>,
    /// How fast replicas come and go. Default: they come at once, and go when fewer would have done for five minutes.
    /// Example: `{down: {stabilisation: 10m, perMinute: 1}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<ScalingBehavior>,
    /// Other `min` and `max` at times that are known before. Each entry holds from each of its times on, until a time of any entry comes;
    /// `status.scaling.bounds` says which one does, and what comes next. Where the latest time of all was more than 366 days ago, `min` and `max` of
    /// `scaling` hold. Where two entries have a time in common and say different things, the larger `min` and the larger `max` hold from it on, and
    /// `ScalingActive` says so; an entry that cannot be understood counts as if it were not there, and is told likewise. Default: none. Limit: 16.
    /// Example: `[{cron: "0 8 * * 1-5", timeZone: Europe/Berlin, min: 2}, {cron: "0 20 * * 1-5", timeZone: Europe/Berlin, min: 0}]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub schedule: Option<Vec<ScheduledBounds>>,
    /// Takes part where accelerators are too few for all models, of whatever namespace, that name the same profile and take part too. What pods of one
    /// of them have found no node for, for 20 seconds, is taken from others: from lower tiers (`spec.tier`), the idle ones first; and from its own tier
    /// until each has its part by `weight`. Their pods drain as ever. Accelerators that nobody uses are not counted, so that lower tiers also give less than a
    /// replica needs; where no pod finds a node all the same, the event `RoomInVain` says so, and for an hour nothing more is taken for that model. The profile is to say by `nodeSelector` where its accelerators are: nodes
    /// without any would say that they have too few. Nobody has fewer than `min` because of it, and who made room does not try for more until five minutes
    /// after the last such pod waited: `ScalingActive` is `Shared`, or `NoShare` where none is left. Where there is room for all it changes nothing.
    /// Default: it takes no part, and keeps what it has. Example: `{weight: 2}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing: Option<Sharing>,
}

/// How a model takes part where accelerators are too few.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sharing {
    /// Of two models of one tier that want all they can get, the one with twice the weight has twice as many accelerators. Default: 1. Limit: from 1 to
    /// 1000.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: u32,
}

/// Bounds from some times on.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.min) || has(self.max)")
    .message("at least one of min and max must be set, such as min: 2"))]
pub struct ScheduledBounds {
    /// From when on: five fields, which are minute, hour, day of month, month, day of week. Example: `0 8 * * 1-5`. On the day clocks go forward a
    /// time in the missing hour comes right after it.
    #[schemars(length(max = 128), regex(pattern = CRON))]
    pub cron: String,
    /// An IANA time zone, such as `Europe/Berlin`. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// So much earlier than its times the entry holds, so that replicas which take long to start answer when they are needed. Default: 0s.
    /// Limit: 24h. Example: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(validation = ("duration(self) >= duration('0s') && duration(self) <= duration('24h')", "must be from 0s to 24h, such as 10m"))]
    pub ahead: Option<Duration>,
    /// The fewest replicas, as `scaling.min`: 0 lets the last one go after `scaleToZeroAfter`. Default: that of `scaling`. Limit: 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub min: Option<u32>,
    /// The most replicas, as `scaling.max`. Default: that of `scaling`. Limit: from 1 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max: Option<u32>,
}

/// Who sets the number of replicas: one owner at a time. Another HorizontalPodAutoscaler on the same pods always goes first, and
/// `ScalingActive` says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScalingEngine {
    /// KEDA where it is installed, else the operator.
    #[default]
    Auto,
    /// The operator.
    Builtin,
    /// A HorizontalPodAutoscaler that the operator makes, with `metrics` of your own; never less than one replica.
    #[serde(rename = "HPA")]
    Hpa,
    /// KEDA: the operator makes a ScaledObject, decides by `target` as ever, and tells KEDA. While KEDA is not installed, the operator sets the
    /// number.
    #[serde(rename = "KEDA")]
    Keda,
}

/// What one replica is to bear. Of several, the one that asks for most replicas decides.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.inFlight) || has(self.waiting) || has(self.cachePercent)")
    .message("at least one of inFlight, waiting and cachePercent must be set; inFlight: 16 suits most models"))]
pub struct ScalingTarget {
    /// Requests that a replica works on, or that wait for one at gateways. An engine's own limit, such as vLLM's `--max-num-seqs`, is too much: take
    /// what it bears at the latency that is wanted. Limit: from 1 to 10000. Example: `16`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub in_flight: Option<u32>,
    /// Requests that wait in a replica's engine, by its own metrics: also those that come by no gateway. Of the engines VLLM, SGLang, LlamaCpp and TGI.
    /// Limit: from 1 to 10000. Example: `4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub waiting: Option<u32>,
    /// How full the engine's cache of keys and values is, in percent of it, by its own metrics, in the mean over the replicas. Of the engines VLLM and
    /// SGLang. Limit: from 1 to 100. Example: `80`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub cache_percent: Option<u32>,
}

/// How fast replicas come and go.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingBehavior {
    /// How they come. Default: as many as are needed, at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<ScalingPace>,
    /// How they go. Default: when fewer would have done for five minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<ScalingPace>,
}

/// How fast replicas come, or go.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingPace {
    /// How many within a minute at most. Default: no limit. Limit: from 1 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub per_minute: Option<u32>,
    /// For how long the demand must have asked for it. Default: 0s for up, 5m for down. Limit: 1h. Example: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(validation = ("duration(self) >= duration('0s') && duration(self) <= duration('1h')", "must be from 0s to 1h, such as 5m"))]
    pub stabilisation: Option<Duration>,
}

/// What was decided about the number of replicas of late.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingStatus {
    /// How many replicas there are to be.
    pub desired_replicas: i32,
    /// Who sets it: `Builtin`, `HPA` or `KEDA`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Why it was changed last, in a word: `Up`, `Panic`, `AtMax`, `Wake`, `Down`, `ToZero`, `Bounds`, `Metrics`; `New` where it never was.
    pub reason: String,
    /// What it was decided from.
    pub message: String,
    /// When the number was changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_scale_time: Option<Time>,
    /// Not earlier may there be more of them: it is set where `behavior.up` has them wait, or where the model made room for others (`sharing`); what happens since may make it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_up_time: Option<Time>,
    /// Not earlier may there be fewer of them, however little demand there is; absent where there may not be fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_down_time: Option<Time>,
    /// How long the model takes from none to its first answer: the middle one of the latest five times. Example: `1m35s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cold_start: Option<String>,
    /// With `scaling.schedule`: which `min` and `max` hold now, and which ones next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<BoundsStatus>,
    /// The latest changes of the number, the last one first; twenty at most. `portfolio explain NAME` prints them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ScalingChange>,
}

/// A change of the number of replicas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingChange {
    /// When it was decided.
    pub time: Time,
    /// How many there were to be.
    pub from: i32,
    /// How many since.
    pub to: i32,
    /// Why, in a word.
    pub reason: String,
    /// What it was decided from.
    pub message: String,
}

/// What the pods of a model took of the cluster so far: counted whenever what they hold changes, and about once an hour in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Up to when the hours are counted. While the operator is away, what it saw last counts on.
    pub since: Time,
    /// Pods that are on a node since then.
    pub pods: i32,
    /// Accelerators that they hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerators: Option<i32>,
    /// What they cost by the hour in US dollars, by the `pricePerHourUSD` of the accelerator profile.
    #[serde(default, rename = "perHourUSD", skip_serializing_if = "Option::is_none")]
    pub per_hour_usd: Option<String>,
    /// The hours of all accelerators together, up to then. Example: `12.5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator_hours: Option<String>,
    /// What those hours cost in US dollars. Example: `10`.
    #[serde(default, rename = "costUSD", skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<String>,
}

/// The bounds that a schedule has come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BoundsStatus {
    /// The fewest replicas now.
    pub min: u32,
    /// The most replicas now.
    pub max: u32,
    /// What says so: `schedule[0]` is the first entry of `scaling.schedule`, `scaling` its own `min` and `max`.
    pub from: String,
    /// Since when they hold; absent where no entry has come yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// What holds next; absent where no entry will come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextBounds>,
}

/// The bounds that hold next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NextBounds {
    /// From when on.
    pub at: Time,
    /// The fewest replicas then.
    pub min: u32,
    /// The most replicas then.
    pub max: u32,
    /// What says so, as in `bounds.from`.
    pub from: String,
}

fn one() -> u32 {
    1
}
