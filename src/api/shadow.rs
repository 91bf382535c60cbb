//! Models that get a copy of some requests, and whose answers nobody sees.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::budget::{Budget, BudgetPer, OnExhausted, Window};
use super::money::Usd;
use super::placement::{LABEL, NAME};

/// A model that some of the requests are sent to once more, to see how it would do: how long it takes, how often it fails, what it costs. Its
/// answers are read to their end and thrown away; the client gets the very bytes, and gets them as soon, as without it. A copy is sent when the
/// answer of the request has begun. None is sent of requests that were refused or failed, whose answer was kept (`cache`), that count tokens, that
/// do something beside being answered, or that the provider keeps. The model is held to everything that the targets of the request's rule are held
/// to: `require`, classes of data, what it can do, `guardrails`. It is never woken or waited for, and gives way: where it sleeps, rests after
/// failures, or has no place that no request of a client wants, nothing is sent to it, and the status says how often. What copies cost counts in
/// no `budgets` and no `limits` of the policy. Example: `{model: claims-llama-ft, percent: 5, budget: {usd: "20", window: Day}}`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shadow {
    /// A ModelDeployment's name; its namespace is a field of its own. Example: `claims-llama-ft`.
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME))]
    pub model: String,
    /// The model's namespace. One that is not the policy's own must let it: by a ReferenceGrant there (`gateway.networking.k8s.io`) from
    /// RoutingPolicies of the policy's namespace to the ModelDeployment. Without one the model gets no copies, and the condition
    /// `ResolvedRefs` says which grant is missing. Default: the policy's own. Example: `models`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub namespace: Option<String>,
    /// One of its `selfHosted.custom.adapters`, by name. Default: none, the model itself. Example: `fraud`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 57), regex(pattern = LABEL))]
    pub adapter: Option<String>,
    /// How many of 100 requests are copied, by chance, whoever asks. Limit: from 1 to 100. Example: `5`.
    #[x_kube(validation = ("self > 0 && self <= 100", "must be from 1 to 100; for none, remove the shadow"))]
    #[schemars(range(min = 1, max = 100))]
    pub percent: u32,
    /// How much the copies may cost in a calendar window; when it is used up, none are sent until the next. Default: any amount.
    /// Example: `{usd: "20", window: Day}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<ShadowBudget>,
}

/// How much copies of requests may cost. It is kept as `budgets` are: reserved before each, by all gateways together, across their restarts.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.usd) != has(self.tokens)", "exactly one of usd and tokens must be set"))]
pub struct ShadowBudget {
    /// So many US dollars. A model behind an API whose price is not known gets no copies then: set its `spec.price`. One in our own pods
    /// without a price costs nothing. Example: `"20"`.
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
}

impl From<&ShadowBudget> for Budget {
    /// The same as a budget of a policy that all share.
    fn from(given: &ShadowBudget) -> Self {
        let ShadowBudget {
            usd,
            tokens,
            window,
            time_zone,
        } = given;
        Self {
            name: None,
            per: BudgetPer::Policy,
            usd: usd.clone(),
            tokens: *tokens,
            window: *window,
            time_zone: time_zone.clone(),
            warn_at_percent: None,
            on_exhausted: OnExhausted::default(),
        }
    }
}
