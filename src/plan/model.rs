//! What the statuses of all ModelDeployments have in common, served or behind an API.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::api::ModelDeployment;
use crate::api::condition::{self, Claim, Kind};
use crate::api::model_deployment::ModelDeploymentStatus;

use super::{Invalid, names};

/// The status of a ModelDeployment that cannot be carried out.
#[must_use]
pub fn invalid(md: &ModelDeployment, invalid: &Invalid, now: Timestamp) -> ModelDeploymentStatus {
    let message = invalid.to_string();
    let claims = [
        Claim::new(Kind::Accepted, false, "Invalid", message.clone()),
        Claim::new(Kind::Ready, false, "Invalid", message.clone()),
        Claim::new(Kind::Stalled, true, "Invalid", message),
    ];
    let before = md.status.clone().unwrap_or_default();
    let mut described = described(md, &claims, now);
    keep_scaling(&mut described, &before.conditions);
    ModelDeploymentStatus {
        // The pods there are go on serving.
        adapters: before.adapters,
        replicas: before.replicas,
        ready_replicas: before.ready_replicas,
        readiness: before.readiness.or_else(|| described.readiness.clone()),
        cost: before.cost,
        scaling: before.scaling,
        ..described
    }
}

/// Keeps what is said of the number of replicas, which goes on whatever else is so.
pub(super) fn keep_scaling(status: &mut ModelDeploymentStatus, before: &[Condition]) {
    status.conditions.extend(condition::find(before, Kind::ScalingActive).cloned());
    status.conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
}

/// The status that states `claims`, and what can be told from the spec alone.
#[must_use]
pub fn described(md: &ModelDeployment, claims: &[Claim], now: Timestamp) -> ModelDeploymentStatus {
    let generation = md.metadata.generation;
    let previous = md.status.as_ref().map_or(&[][..], |s| &s.conditions);
    let conditions = condition::merge(previous, claims, generation, now);
    let base = ModelDeploymentStatus {
        observed_generation: generation,
        conditions,
        class: Some(md.spec.class()),
        ..Default::default()
    };
    match (&md.spec.self_hosted, &md.spec.api) {
        (Some(own), _) => ModelDeploymentStatus {
            model: Some(own.source.as_ref().map_or_else(|| md.name_any(), |source| short(&source.uri))),
            // A refused edit replaces no pod: who corrects it finds them as they were.
            answered: md.status.as_ref().and_then(|status| status.answered.clone()),
            base_model: own.custom.as_ref().map(|custom| custom.base_model.clone()),
            trained_on: own.custom.as_ref().and_then(|custom| custom.trained_on.clone()),
            selector: Some(
                names::engine_selector(&md.name_any())
                    .iter()
                    .map(|(k, v)| format!("{k}={v}"))
                    .collect::<Vec<_>>()
                    .join(","),
            ),
            ..base
        },
        (None, Some(api)) => ModelDeploymentStatus {
            model: Some(api.model.clone()),
            region: api.region.clone(),
            readiness: Some("-".to_owned()),
            ..base
        },
        (None, None) => base,
    }
}

/// `md` as what answers to its name alone, or to that of one of its adapters: called so, and with no other adapter, which would not change an
/// answer. `None`: it has no such adapter.
#[must_use]
pub fn asked(md: &ModelDeployment, adapter: Option<&str>) -> Option<ModelDeployment> {
    let mut asked = md.clone();
    if let Some(custom) = asked.spec.self_hosted.as_mut().and_then(|own| own.custom.as_mut()) {
        custom.adapters.retain(|other| Some(other.name.as_str()) == adapter);
    }
    if let Some(adapter) = adapter {
        let custom = asked.spec.self_hosted.as_ref().and_then(|own| own.custom.as_ref());
        custom.filter(|custom| !custom.adapters.is_empty())?;
        asked.metadata.name = Some(names::asked(&md.name_any(), Some(adapter)));
    }
    Some(asked)
}

/// The last part of a source's URI, without its revision and what follows `#`: what people call the model.
fn short(uri: &str) -> String {
    let path = uri.split(['@', '#']).next().unwrap_or(uri);
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path).to_owned()
}
