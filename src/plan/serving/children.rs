//! The objects a self-hosted ModelDeployment wants.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::api::resource::v1::ResourceClaimTemplate;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use crate::api::model_deployment::SelfHosted;
use crate::api::{ModelDeployment, Settings};
use crate::plan::cache::{Held, Place};
use crate::plan::names::INPUTS_ANNOTATION;
use crate::plan::{Invalid, names};

use super::rollout::Takes;
use super::workload::Pods;
use super::{adapters, claim, group, network, pod, scaled, split, startup, upgrade};

/// Every child. Taken apart without `..` where it is applied, so that none is forgotten.
#[derive(Clone, Debug, PartialEq)]
pub struct Serving {
    /// The pods; without a strategy, which [`super::decide`] chooses.
    pub pods: Pods,
    /// What each pod takes of accelerators, for that choice.
    pub takes: Takes,
    /// Their stable name; its EndpointSlices are what the gateways read.
    pub service: Service,
    /// What each pod's claim for devices is made from; only where the spec claims some.
    pub claim: Option<ResourceClaimTemplate>,
    /// Who may reach the pods.
    pub network: NetworkPolicy,
    /// Keeps all but one replica through node drains; only where there are two.
    pub budget: Option<PodDisruptionBudget>,
}

/// What plans need to know of the installation.
#[derive(Clone, Copy, Debug)]
pub struct Installation<'a> {
    /// What the installer decided.
    pub settings: &'a Settings,
    /// The namespace of the gateway and the operator.
    pub gateway_namespace: &'a str,
    /// The image of the operator, which also fetches.
    pub image: &'a str,
    /// Whether pods mount images; else what is in them is copied.
    pub mounts_images: bool,
}

/// Where pods served by `own` may run.
#[must_use]
pub fn place(own: &SelfHosted, settings: &Settings) -> Place {
    pod::profile(own, settings).map(|profile| Place::of(&profile)).unwrap_or_default()
}

/// The children of `md`, whose spec has `own` as its `selfHosted`. `held` are its weights, where it has a cache and they are there.
///
/// # Errors
/// What in the spec cannot be served, with its field and remedy.
pub fn plan(md: &ModelDeployment, own: &SelfHosted, installation: Installation<'_>, held: Option<&Held>) -> Result<Serving, Invalid> {
    plan_over(md, own, installation, held, None)
}

/// As [`plan`], where `live` may serve already: adapters that its pods take while they run make no other pods.
///
/// # Errors
/// What in the spec cannot be served, with its field and remedy.
pub fn plan_over(
    md: &ModelDeployment,
    own: &SelfHosted,
    installation: Installation<'_>,
    held: Option<&Held>,
    live: Option<&Deployment>,
) -> Result<Serving, Invalid> {
    let settings = installation.settings;
    adapters::read(&md.name_any(), own)?;
    let started = live.and_then(|live| {
        let started = adapters::started(&md.name_any(), own, live)?;
        let marks = upgrade::marks(&md.name_any(), &started, &pod::profile(own, settings).ok()?, settings, held);
        // Only where nothing else makes new pods: those start with all that is wanted.
        (live.annotations().get(INPUTS_ANNOTATION) == marks.get(INPUTS_ANNOTATION)).then_some(started)
    });
    let own = started.as_ref().unwrap_or(own);
    let name = names::engine(&md.name_any());
    let labels = names::labels(names::ENGINE, names::MODEL_LABEL, &md.name_any());
    let selector = names::engine_selector(&md.name_any());
    let profile = pod::profile(own, settings)?;
    let claim = own.accelerator.as_ref().and_then(|accelerator| accelerator.claim.as_ref());
    let claim = claim.map(|wanted| claim::template(md, wanted));
    let has_workers = split::nodes(own) > 1;
    // Kueue looks at the Deployment, and where it is only taught about pods, at those. A group that it took for single pods would be let in
    // one by one, and wait for each other.
    let queue = own.queue_name.iter().map(|queue| (names::QUEUE_LABEL.to_owned(), queue.clone()));
    let queued: BTreeMap<String, String> = labels.clone().into_iter().chain(queue).collect();
    let of_pod = if has_workers { &labels } else { &queued };
    let template = pod::template(md, own, installation, held, profile.clone(), claim.as_ref(), of_pod.clone())?;
    let takes = Takes::of(own, &profile, &template);

    let annotations: BTreeMap<_, _> = upgrade::marks(&md.name_any(), own, &profile, settings, held)
        .into_iter()
        .chain(adapters::mark(own))
        .collect();
    let mut pods = match group::set(md, own, annotations.clone(), queued.clone(), &template)? {
        Some(set) => Pods::Grouped(Box::new(set)),
        None => Pods::Single(Box::new(Deployment {
            metadata: ObjectMeta {
                annotations: Some(annotations),
                ..names::child(md, name.clone(), queued)
            },
            spec: Some(DeploymentSpec {
                replicas: Some(own.replicas),
                selector: LabelSelector {
                    match_labels: Some(selector.clone()),
                    ..LabelSelector::default()
                },
                progress_deadline_seconds: Some(startup::Deadlines::of(own, held, settings).whole),
                revision_history_limit: Some(3),
                template,
                ..DeploymentSpec::default()
            }),
            ..Deployment::default()
        })),
    };
    if own.scaling.is_some() {
        match &mut pods {
            Pods::Single(deployment) => scaled::leave_to_others(&mut **deployment),
            Pods::Grouped(set) => scaled::leave_to_others(&mut **set),
        }
    }
    let service = Service {
        metadata: names::child(md, name.clone(), labels.clone()),
        spec: Some(ServiceSpec {
            selector: Some(selector),
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
    let network = network::policy(
        names::child(md, name.clone(), labels.clone()),
        &md.name_any(),
        has_workers,
        installation,
    );
    let budget = (own.replicas > 1).then(|| PodDisruptionBudget {
        metadata: names::child(md, name, labels),
        spec: Some(PodDisruptionBudgetSpec {
            // One pod of a group takes all of it along: none of another group may go until every pod is back.
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(names::pod_selector(&md.name_any(), has_workers)),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    });
    Ok(Serving {
        pods,
        takes,
        service,
        claim,
        network,
        budget,
    })
}
