//! The status of a RoutingPolicy: what the operator observed, and what gateways told it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::money::Usd;
use super::routing_policy::RoutingPolicySpec;

/// What the operator observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoutingPolicyStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready` says whether requests are answered; `Accepted` and `ResolvedRefs` say why not; `WithinBudget`, where there are budgets, says
    /// whether one is used up, or had too little left for the latest request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The specification that was last found to be good. Where the present one cannot be carried out, as with an expression that is none, this
    /// one goes on being in force, and the condition `Accepted` says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Accepted>,
    /// The models that get requests now, such as `llama 80, gpt 20`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Each model the policy names, whether it gets requests, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetStatus>,
    /// Each rule, with what part of its requests each of its models gets now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleStatus>,
    /// What gateways have seen of it in the latest hour, told once a minute at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_hour: Option<LastHour>,
    /// What was spent of each budget in its present window, as far as gateways know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetStatus>,
    /// Each model that gets copies of requests, whether it may, and how it did in the latest hour.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadow: Vec<ShadowStatus>,
}

/// A specification that was good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// Its generation.
    pub generation: i64,
    /// It, as `spec` had it.
    #[schemars(schema_with = "any_object")]
    pub spec: Value,
}

impl Accepted {
    /// The specification, unless it was written by another version that says things otherwise.
    #[must_use]
    pub fn read(&self) -> Option<RoutingPolicySpec> {
        RoutingPolicySpec::deserialize(&self.spec).ok()
    }
}

/// An object whose fields the API server keeps without knowing them.
fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Whether one model of a policy gets requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// The ModelDeployment's name, or `name:adapter` of it; before it `namespace/` where that is not the policy's.
    pub model: String,
    /// Whether it may get requests now, of the classes of data that it may see.
    pub eligible: bool,
    /// The classes of data that it may not see, by the installer's settings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub barred_from: Vec<String>,
    /// Why not, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Who answers what a rule is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleStatus {
    /// The rule's name, or its position from 1.
    pub name: String,
    /// Its targets, then its fallbacks, then the models of `spec.warmup` and of budgets that are used up.
    pub targets: Vec<RuleTargetStatus>,
}

/// One model of a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleTargetStatus {
    /// The ModelDeployment's name, or `name:adapter` of it; before it `namespace/` where that is not the policy's.
    pub model: String,
    /// Which part of the rule's requests is put to it first, in percent; absent where that is decided for each request, as by `LeastCost`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// Why so many: `Eligible`; `Standby`, while another one answers; `Fallback`, when a target fails; `Warmup`, while a target wakes; `Downgrade`, once a
    /// budget is used up; `Asleep`, while none of its pods answers, and a request would
    /// wake it or wait for it; `Resting`, after failures; `OverBudget`; or what keeps it from every request, such as
    /// `NotReady`, `CostNotKnown`, `RegionNotAllowed`, `NotEvaluated`, `RefNotPermitted`.
    pub reason: String,
    /// What it means and what to do, where there is something to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What gateways have seen of a policy in the latest hour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastHour {
    /// From when on they were looked at, where that is less than an hour ago, as after a restart of the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Requests that ended, whoever answered them.
    pub requests: i64,
    /// Those that ended with a status of 500 or above, or broke after they had begun.
    pub errors: i64,
    /// What half of the good answers did not take longer than, to the last byte, rounded up by a fifth at most. Example: `350ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50: Option<String>,
    /// What 95 of 100 good answers did not take longer than, rounded up by a fifth at most. Example: `1.8s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95: Option<String>,
    /// What its answers cost in US dollars, as far as it is known. What our own pods cost by the hour is not in it.
    #[serde(rename = "costUSD", default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<Usd>,
    /// How much more the same tokens would have cost with the dearest model of its rules, at its price then, for answers whose cost is known.
    #[serde(rename = "savedUSD", default, skip_serializing_if = "Option::is_none")]
    pub saved_usd: Option<Usd>,
    /// Answers whose cost is not known.
    #[serde(default, skip_serializing_if = "is_none")]
    pub unpriced: i64,
    /// The models that answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelLastHour>,
}

/// What one model of a policy has answered in the latest hour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelLastHour {
    /// The ModelDeployment's name, or `name:adapter` of it; before it `namespace/` where that is not the policy's.
    pub model: String,
    /// Requests that it answered.
    pub requests: i64,
    /// What that cost in US dollars, as far as it is known.
    #[serde(rename = "costUSD", default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<Usd>,
}

/// What was spent of a budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BudgetStatus {
    /// The budget's name, or its position from 1.
    pub name: String,
    /// What was spent, in what it is counted in: US dollars such as `12.4`, or tokens. Of a budget that each client, team or namespace has for
    /// itself, by the one that spent most.
    pub spent: String,
    /// How much it is.
    pub limit: String,
    /// When its window ends.
    pub until: Time,
    /// Those who have one for themselves and used it in this window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<i64>,
    /// Those of them whose latest request could have cost more than was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exhausted: Option<i64>,
}

/// A model that gets copies of requests. The counts are of the latest hour, as far as gateways have said; clients' requests are not in them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowStatus {
    /// The ModelDeployment's name, or `name:adapter` of it; before it `namespace/` where that is not the policy's.
    pub model: String,
    /// How many of 100 requests are copied.
    pub percent: u32,
    /// `Eligible`; `OverBudget`, until its budget begins anew; or what keeps it from every copy, such as `NotReady`, `RegionNotAllowed`.
    pub reason: String,
    /// What it means and what to do, where there is something to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The classes of data that it may not see, by the installer's settings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub barred_from: Vec<String>,
    /// Copies that it was sent.
    #[serde(default, skip_serializing_if = "is_none")]
    pub requests: i64,
    /// Those of them that it did not answer well: it failed, refused, or broke off.
    #[serde(default, skip_serializing_if = "is_none")]
    pub errors: i64,
    /// What half of its good answers did not take longer than, to the last byte, rounded up by a fifth at most. Example: `350ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50: Option<String>,
    /// What 95 of 100 good answers did not take longer than, rounded up by a fifth at most. Example: `1.8s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95: Option<String>,
    /// What the copies cost in US dollars, as far as it is known. What our own pods cost by the hour is not in it.
    #[serde(rename = "costUSD", default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<Usd>,
    /// Copies whose cost is not known.
    #[serde(default, skip_serializing_if = "is_none")]
    pub unpriced: i64,
    /// Copies that were due and not sent, or given up for a request of a client.
    #[serde(default, skip_serializing_if = "is_none")]
    pub skipped: i64,
    /// Why most of them, in the word of the metric `portfolio_gateway_shadow_skipped`. Example: `asleep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_because: Option<String>,
    /// What was spent of its budget in the present window, as far as gateways know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetStatus>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_none(count: &i64) -> bool {
    *count == 0
}
