//! What a verdict is about. A model or an evaluation that changed in a way that can change answers has another fingerprint, so that an old
//! verdict no longer counts for it.

use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::api::{EvalJob, ModelDeployment};

/// The digest of what `model` answers with and what `evaluation` asks and demands, as the two objects state it. Replicas, resources, prices,
/// tiers, credentials, schedules and limits are left out: they do not change answers. So is what other objects hold, which may change them:
/// a dataset's lines, what a URI or tag points to, the installer's defaults of engines. A verdict over those lasts until the next run.
#[must_use]
pub fn of(model: &ModelDeployment, evaluation: &EvalJob) -> String {
    let served = json!({
        "api": model.spec.api.as_ref().map(|a| json!([a.provider, a.model, a.endpoint, a.region])),
        "selfHosted": model.spec.self_hosted.as_ref().map(|s| json!([s.source, s.engine, s.accelerator, s.custom])),
    });
    digest(&json!([served, evaluation.spec.suites, evaluation.spec.criteria]))
}

/// The first 16 hex digits of the SHA-256 of a value's JSON; stable over processes and versions of the compiler.
pub fn digest<T: Serialize>(value: &T) -> String {
    let bytes = serde_json::to_vec(value).expect("plain data with string keys is always JSON");
    hex(&Sha256::digest(bytes)[..8])
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
