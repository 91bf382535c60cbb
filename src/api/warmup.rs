//! What happens to requests while the model that should answer them wakes.

use std::fmt;

use kube::KubeSchema;
use kube::core::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::routing_policy::{DURATION, Fallback};

/// What happens to a request while every target of its rule that may have it is in our own pods, and none of them answers yet, but one may: it
/// has no replicas now, or its pods start. Where the operator sees that they cannot (no node has room, the weights are not to be had), this does
/// not hold: then the fallbacks answer, or the request is refused. The fields are those of the mode.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.mode == 'Hold' || !has(self.max)")
    .message("max is for the mode Hold: remove it, or set mode to Hold").field_path(".max"))]
#[x_kube(validation = Rule::new("self.mode == 'Hold' || !has(self.__for__)")
    .message("for belongs to the mode Hold: remove it, or set mode to Hold").field_path(".for"))]
#[x_kube(validation = Rule::new("self.mode == 'Spill' || !has(self.targets) || self.targets.size() == 0")
    .message("targets are for the mode Spill: remove them, or set mode to Spill").field_path(".targets"))]
#[x_kube(validation = Rule::new("self.mode != 'Spill' || (has(self.targets) && self.targets.size() > 0)")
    .message("the mode Spill needs at least one model to go to").field_path(".targets"))]
pub struct Warmup {
    /// Whether it waits, goes elsewhere, or is refused.
    pub mode: WarmupMode,
    /// Of Hold: the requests of this policy that wait at one gateway at most. One more goes to the rule's fallbacks, or gets 503 `model_starting`
    /// with `Retry-After`. They count in the gateway's `--max-requests` and `--max-body-memory`. Default: 100. Limit: from 1 to 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max: Option<u32>,
    /// Of Hold: how long each of them waits at most; then the rule's fallbacks are asked, or it gets 503 `model_starting` with `Retry-After`. It
    /// counts in `timeouts.total`, and must be less. Nothing is sent to the client meanwhile, not even of a stream. Default: 2m, or half of
    /// `timeouts.total` where that is less. Limit: 1h. Example: `90s`.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(validation = ("duration(self) > duration('0s') && duration(self) <= duration('1h')", "must be above 0s and at most 1h, such as 90s"))]
    pub lasts: Option<Duration>,
    /// Of Spill: the models that answer meanwhile, in order, under the same requirements, classes of data and budgets as the rule's own; then the
    /// rule's fallbacks. As soon as a target of the rule answers it gets all requests, also those of conversations that were answered elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub targets: Vec<Fallback>,
}

/// What happens to a request while its model wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WarmupMode {
    /// It waits for the model, in the order in which requests came, and then goes the usual way.
    Hold,
    /// Other models answer.
    Spill,
    /// It is refused with 503 `model_starting` and `Retry-After` at once, also where the rule has fallbacks: those are for models that fail.
    Refuse,
}

impl fmt::Display for WarmupMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
