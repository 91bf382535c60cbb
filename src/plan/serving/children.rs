//! The objects a self-hosted ModelDeployment wants.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use crate::api::model_deployment::SelfHosted;
use crate::api::{ModelDeployment, Settings};
use crate::plan::{Invalid, names};

use super::pod;

/// Every child. Taken apart without `..` where it is applied, so that none is forgotten.
#[derive(Clone, Debug, PartialEq)]
pub struct Serving {
    /// The pods.
    pub deployment: Deployment,
    /// Their stable name; its EndpointSlices are what the gateways read.
    pub service: Service,
    /// Keeps one pod at least through node drains; only where there are two.
    pub budget: Option<PodDisruptionBudget>,
}

/// How long a rollout may make no progress: weights are large, and a pod that downloads them is not broken.
const PROGRESS_DEADLINE_SECONDS: i32 = 1800;

/// The children of `md`, whose spec has `own` as its `selfHosted`.
///
/// # Errors
/// What in the spec cannot be served, with its field and remedy.
pub fn plan(md: &ModelDeployment, own: &SelfHosted, settings: &Settings) -> Result<Serving, Invalid> {
    let name = names::engine(&md.name_any());
    let labels = names::labels("engine", names::MODEL_LABEL, &md.name_any());
    let selector = names::engine_selector(&md.name_any());
    let profile = pod::profile(own, settings)?;
    let strategy = strategy(profile.resource.is_some());
    let template = pod::template(md, own, settings, profile, labels.clone())?;

    let deployment = Deployment {
        metadata: names::child(md, name.clone(), labels.clone()),
        spec: Some(DeploymentSpec {
            replicas: Some(own.replicas),
            selector: LabelSelector {
                match_labels: Some(selector.clone()),
                ..LabelSelector::default()
            },
            strategy: Some(strategy),
            progress_deadline_seconds: Some(PROGRESS_DEADLINE_SECONDS),
            revision_history_limit: Some(3),
            template,
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    };
    let service = Service {
        metadata: names::child(md, name.clone(), labels.clone()),
        spec: Some(ServiceSpec {
            selector: Some(selector.clone()),
            ports: Some(vec![ServicePort {
                name: Some(names::PORT_NAME.to_owned()),
                port: 80,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::String(names::PORT_NAME.to_owned())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    let budget = (own.replicas > 1).then(|| PodDisruptionBudget {
        metadata: names::child(md, name, labels),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(selector),
                ..LabelSelector::default()
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    });
    Ok(Serving {
        deployment,
        service,
        budget,
    })
}

/// A surge needs a free accelerator, which a full cluster does not have: there the old pod makes room first. Without accelerators the new
/// pod comes first.
fn strategy(on_accelerators: bool) -> DeploymentStrategy {
    let (surge, unavailable) = if on_accelerators { (0, 1) } else { (1, 0) };
    DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(surge)),
            max_unavailable: Some(IntOrString::Int(unavailable)),
        }),
    }
}
