//! What a policy lets its gateways log.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What gateways log of a policy's requests beside the line that tells how each went, which holds no word of them.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Logging {
    /// Whether what is asked and answered is logged.
    pub content: ContentLogging,
}

/// Whether what is asked and answered is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ContentLogging {
    /// No word of it, wherever it goes wrong.
    Never,
    /// The body of each request and of its answer as the client sends and gets them, the first 64 KiB of each, in one line of the target `content`.
    /// Whoever reads the gateways' logs reads them. Not together with `guardrails.redact`.
    Always,
}
