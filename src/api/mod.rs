//! The nouns users write: three custom resources of the group `llmportfolio.dev`, the installer's settings, and the words their
//! statuses use. Imports nothing else of ours. Documentation here is what `kubectl explain` shows.

#![allow(
    unreachable_pub,
    reason = "the derive of the schemas declares every struct a second time, inside a function"
)]

pub mod condition;
pub mod eval_job;
pub mod model_deployment;
pub mod money;
mod resources;
pub mod routing_policy;
pub mod settings;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSON;
use kube::CustomResourceExt;

pub use eval_job::EvalJob;
pub use model_deployment::ModelDeployment;
pub use money::Usd;
pub use routing_policy::RoutingPolicy;
pub use settings::Settings;

/// The API group of every kind and the prefix of every label and annotation of ours.
pub const GROUP: &str = "llmportfolio.dev";

/// Every CRD, as `portfolio crds` prints it and the CRD chart installs it.
#[must_use]
pub fn all_crds() -> Vec<CustomResourceDefinition> {
    [ModelDeployment::crd(), RoutingPolicy::crd(), EvalJob::crd()]
        .into_iter()
        .map(unobserved_until_seen)
        .collect()
}

/// A stored object without a status looks finished to kstatus. The default makes its observed generation older than any real one, so that
/// it is in progress from the moment it exists.
fn unobserved_until_seen(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let properties = version
            .schema
            .as_mut()
            .and_then(|s| s.open_api_v3_schema.as_mut())
            .and_then(|s| s.properties.as_mut());
        if let Some(status) = properties.and_then(|p| p.get_mut("status")) {
            status.default = Some(JSON(serde_json::json!({ "observedGeneration": -1 })));
            status.nullable = None;
        }
    }
    crd
}

#[cfg(test)]
mod tests;
