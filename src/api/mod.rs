//! The nouns users write: three custom resources of the group `llmportfolio.dev`, the installer's settings, and the words their
//! statuses use. Imports nothing else of ours. Documentation here is what `kubectl explain` shows.

#![allow(
    unreachable_pub,
    reason = "the derive of the schemas declares every struct a second time, inside a function"
)]

pub mod answer_cache;
pub mod budget;
pub mod cache;
pub mod client;
mod comparison;
pub mod condition;
mod criterion;
mod custom;
pub mod data_class;
pub mod eval_job;
mod eval_status;
mod external;
pub mod guardrails;
pub mod ledger;
pub mod logging;
pub mod model_deployment;
pub mod money;
pub mod parallelism;
pub mod placement;
pub mod policy_status;
pub mod price;
mod provider;
mod resources;
pub mod routing_policy;
pub mod scaling;
mod scorer;
mod selector;
pub mod settings;
pub mod shadow;
mod suite;
pub mod warmup;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

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
        .iter()
        .map(served)
        .collect()
}

/// Fits a derived CRD to the API server.
fn served(crd: &CustomResourceDefinition) -> CustomResourceDefinition {
    let mut crd = serde_json::to_value(crd).expect("a CRD is plain data");
    drop_unknown_formats(&mut crd);
    // A stored object without a status looks finished to kstatus. This default makes its observed generation older than any real one, so
    // that it is in progress from the moment it exists.
    for version in crd["spec"]["versions"].as_array_mut().into_iter().flatten() {
        let status = &mut version["schema"]["openAPIV3Schema"]["properties"]["status"];
        status["default"] = json!({ "observedGeneration": -1 });
        status.as_object_mut().map(|status| status.remove("nullable"));
    }
    serde_json::from_value(crd).expect("it was a CRD before")
}

/// The API server warns of formats that it does not know, and bounds say the same.
fn drop_unknown_formats(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| name != "format" || !value.as_str().is_some_and(|format| format.starts_with("uint")));
            fields.values_mut().for_each(drop_unknown_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_unknown_formats),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests;
