//! Answers that are kept, and given again to a client that asks the very same.

use kube::KubeSchema;
use kube::core::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::routing_policy::DURATION;

/// Answers that each gateway keeps for its clients. One is given again where everything is the same: the client, the class of data, every byte of
/// the request, the rule, and the models that may answer with their pods; so no client gets what another one asked for, and a change of the
/// policy, of a model or of a verdict on it leaves what was kept behind. It is the same answer word by word, with the same ids: a client that
/// wants another draw of a sampled answer sends `Cache-Control: no-cache`, and one that wants nothing kept `no-store`. Kept are good whole
/// answers, streams too, of up to 1 MiB each, and 64 MiB of all policies together, those used last; but none of a fallback, and none to a request
/// that does something beside being answered, or that the provider keeps. A hit costs nothing and counts in `limits` only; clients without
/// credentials count as one client. Example: `{mode: Exact, for: 10m}`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnswerCache {
    /// When two requests are the same.
    pub mode: CacheMode,
    /// How long an answer is kept. Limit: 24h. Example: `10m`.
    #[serde(rename = "for")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(validation = ("duration(self) > duration('0s') && duration(self) <= duration('24h')", "must be above 0s and at most 24h, such as 10m"))]
    pub lasts: Duration,
}

/// When two requests are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CacheMode {
    /// When they are so byte by byte.
    Exact,
}
