//! How much may be used under a policy's name: how fast (`limits`), and how much of money or tokens in a calendar window (`budgets`).

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::money::Usd;
use super::placement::LABEL;
use super::routing_policy::Fallback;

/// How fast a policy may be used. What is above a limit is refused with 429 and told when to come back. Each gateway counts for itself: with
/// several, as many times as much may pass, since a Service spreads requests over them. Example: `{per: Client, requestsPerMinute: 60, tokensPerMinute: 100000, concurrent: 8}`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.requestsPerMinute) || has(self.tokensPerMinute) || has(self.concurrent)",
    "at least one of requestsPerMinute, tokensPerMinute and concurrent must be set"))]
pub struct Limit {
    /// Who shares it: each client has one of its own, or all clients of the policy have one together.
    pub per: LimitPer,
    /// Requests in a minute. They may come at once; from then on room for one comes back every so many-th part of a minute. Default: no
    /// limit. Limit: from 1 to 1000000. Example: `60`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_minute: Option<u32>,
    /// Tokens in a minute, of prompts and answers together. A request counts with the longest answer it may get, and from its end on with what
    /// it took. One that may take more than a whole minute has waits until nothing else counts. Default: no limit. Limit: from 1 to
    /// 1000000000. Example: `100000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub tokens_per_minute: Option<u32>,
    /// Requests that are answered at one time, streams until their end. Default: no limit. Limit: from 1 to 100000. Example: `8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub concurrent: Option<u32>,
}

/// Who shares a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LimitPer {
    /// Each service account, each API key and each subject of an issuer has its own; clients without credentials have one together.
    Client,
    /// All requests of the policy together.
    Policy,
}

/// How much money or how many tokens may be spent in a calendar window. Before each attempt at a model the most that it may cost is reserved,
/// and afterwards what it did cost is counted, whatever became of the answer; so requests that run at the same time cannot exceed it together. It may
/// be exceeded only by what a request costs beyond what was reserved for it (a prompt with more tokens than estimated, an answer longer than
/// asked for): never by more than that of the requests in flight when it is used up. All gateways of a cluster share it, and it survives their restarts.
/// Example: `{per: Policy, usd: "500", window: Month, timeZone: Europe/Berlin}`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.usd) != has(self.tokens)", "exactly one of usd and tokens must be set"))]
pub struct Budget {
    /// A name for messages and metrics, by which what was spent is remembered. Default: its position, such as `1`. Example: `monthly`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: Option<String>,
    /// Who shares it.
    pub per: BudgetPer,
    /// So many US dollars. A model behind an API whose price is not known gets no requests then: set its `spec.price`. One in our own pods
    /// without a price costs nothing. Example: `"500"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<Usd>,
    /// So many tokens, of prompts and answers together. Limit: from 1 to 1000000000000. Example: `1000000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_u64))]
    pub tokens: Option<u64>,
    /// When it begins anew.
    pub window: Window,
    /// By whose clock, as an IANA time zone. Default: UTC. Example: `Europe/Berlin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"))]
    pub time_zone: Option<String>,
    /// From this part of it on the gateways warn in their logs. Default: no warning. Limit: from 1 to 99. Example: `80`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99))]
    pub warn_at_percent: Option<u32>,
    /// What happens to a request that may cost more than is left. Default: Reject.
    #[serde(default)]
    pub on_exhausted: OnExhausted,
}

/// Who shares a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum BudgetPer {
    /// All requests of the policy together.
    Policy,
    /// Each service account and each API key has its own; clients without credentials have one together.
    Client,
    /// Clients of the same team: the label `llmportfolio.dev/team`, or else `team`, of an API key's Secret, the claim `team` of a token, the
    /// namespace of a service account. Those without one have one together.
    Team,
    /// Service accounts of the same namespace; all other clients have one together.
    Namespace,
}

/// How long a budget lasts, by the calendar of its time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Window {
    /// From one full hour to the next.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first of a month to that of the next.
    Month,
}

/// What happens to a request that may cost more than is left.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.action != 'Reject' || !has(self.targets) || self.targets.size() == 0")
    .message("targets are for the action Downgrade: remove them, or set action to Downgrade").field_path(".targets"))]
#[x_kube(validation = Rule::new("self.action != 'Downgrade' || (has(self.targets) && self.targets.size() > 0)")
    .message("the action Downgrade needs at least one model to go to").field_path(".targets"))]
pub struct OnExhausted {
    /// Whether it is refused or goes to cheaper models. Default: Reject.
    #[serde(default)]
    pub action: Action,
    /// The models that are asked instead, in order, under the same requirements as all models of the policy. In a budget of dollars what they
    /// cost must fit too; in one of tokens what they take does not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub targets: Vec<Fallback>,
}

/// Whether what does not fit is refused or goes elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    /// It is refused with 429, and told when the budget begins anew.
    #[default]
    Reject,
    /// It goes to `targets` in place of the rule's models.
    Downgrade,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for BudgetPer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
