//! What the live children of a self-hosted model say about it, with the pod's own reason when one fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::jiff::Timestamp;

use crate::api::ModelDeployment;
use crate::api::condition::{Claim, Kind, Status};
use crate::api::model_deployment::{ModelDeploymentStatus, SelfHosted};
use crate::plan::model;
use crate::plan::pods::{self, Trouble, Words};

use super::answer::{self, Reply};
use super::pod::CONTAINER;
use super::rollout::Rollout;
use super::startup;

/// What was seen of the children.
#[derive(Clone, Copy)]
pub struct Observed<'a> {
    /// The Deployment as the API server has it.
    pub deployment: &'a Deployment,
    /// The model's pods.
    pub pods: &'a [Arc<Pod>],
    /// What is said of the cache that the weights are in, if they are in one.
    pub cached: Option<&'a Claim>,
    /// Whether any of them gets requests.
    pub is_routed: bool,
    /// What their engine says when it is asked for one token.
    pub reply: &'a Reply,
}

/// Where a person mends the pods of a model.
const WORDS: Words = Words {
    container: CONTAINER,
    subject: "the engine",
    room: "Free or add capacity, or change spec.selfHosted.accelerator or resources",
    image: "spec.selfHosted.engine.image",
    memory: "raise spec.selfHosted.resources.limits.memory or serve a smaller model",
    volumes: "spec.selfHosted.source.uri",
    source: "spec.selfHosted.source.uri",
    others: "spec.selfHosted.podTemplate",
};

/// The status of `md`, served by `own`.
#[must_use]
pub fn status(md: &ModelDeployment, own: &SelfHosted, observed: Observed<'_>, now: Timestamp) -> ModelDeploymentStatus {
    let replicas = Replicas::of(observed.deployment, own.replicas);
    let trouble = trouble(observed).or_else(|| answer::trouble(md, own, observed, now));
    let answered = match observed.reply {
        Reply::Answered(answered) => Some(answered),
        Reply::NotYet | Reply::Asked | Reply::Failed(_) => None,
    };
    let serves = answered.is_some() && observed.is_routed;
    let settled = replicas.settled && (serves || replicas.wanted == 0);
    let mut claims = vec![Claim::new(Kind::Accepted, true, "Valid", "the specification can be carried out")];

    let progress = match &trouble {
        Some(trouble) => (trouble.reason, trouble.message.clone()),
        None if settled => ("Settled", String::new()),
        None if replicas.settled => (
            "Warming",
            format!(
                "{} of {} pods run; {}",
                replicas.available,
                replicas.wanted,
                answer::awaited(observed.reply)
            ),
        ),
        None => {
            let (phase, doing) = startup::progress(observed.deployment, observed.pods);
            let message = format!(
                "{} of {} pods of the present specification answer{doing}{}",
                replicas.ready_of_present,
                replicas.wanted,
                replacing(observed.deployment)
            );
            (phase, message)
        }
    };
    let ready = if replicas.wanted == 0 {
        Claim::new(
            Kind::Ready,
            false,
            "ScaledToZero",
            "spec.selfHosted.replicas is 0; raise it to serve the model",
        )
    } else if replicas.available > 0 && serves {
        let also = if progress.1.is_empty() {
            String::new()
        } else {
            format!("; {}", progress.1)
        };
        Claim::new(
            Kind::Ready,
            true,
            "Serving",
            format!(
                "{} of {} pods answer{}{also}",
                replicas.available,
                replicas.wanted,
                answer::only(answered)
            ),
        )
    } else {
        let status = if trouble.is_some() { Status::False } else { Status::Unknown };
        Claim {
            kind: Kind::Ready,
            status,
            reason: progress.0,
            message: format!("{}{}", progress.1, answer::meanwhile(observed.deployment, observed.pods)),
        }
    };
    let workload = if settled && trouble.is_none() {
        Claim::new(
            Kind::WorkloadReady,
            true,
            "Settled",
            format!("{} of {} pods answer", replicas.available, replicas.wanted),
        )
    } else {
        Claim::new(Kind::WorkloadReady, false, progress.0, progress.1.clone())
    };
    claims.extend([ready, workload]);
    claims.extend(observed.cached.cloned());
    if trouble.as_ref().is_some_and(|t| t.stalled) {
        claims.push(Claim::new(Kind::Stalled, true, progress.0, progress.1));
    } else if !settled {
        claims.push(Claim::new(Kind::Reconciling, true, progress.0, progress.1));
    }

    let described = model::described(md, &claims, now);
    ModelDeploymentStatus {
        replicas: Some(replicas.total),
        ready_replicas: Some(replicas.available),
        readiness: Some(format!("{}/{}", replicas.available, replicas.wanted)),
        answered: match (answered, replicas.wanted) {
            (_, 0) => None,
            (Some(answered), _) => Some(answered.clone()),
            // Of an earlier template, to which a user may go back.
            (None, _) => described.answered.clone(),
        },
        ..described
    }
}

/// Whether a pod of the present specification finds no node.
#[must_use]
pub fn is_stuck(live: &Deployment, pods: &[Arc<Pod>]) -> bool {
    let present = pods.iter().filter(|pod| is_made_from(pod, live));
    present.into_iter().any(|pod| pods::is_unschedulable(pod))
}

/// How pods of an earlier specification are being replaced, if there are any.
fn replacing(deployment: &Deployment) -> String {
    let status = deployment.status.clone().unwrap_or_default();
    let are_left = is_current(deployment) && status.replicas > status.updated_replicas;
    match Rollout::of(deployment).filter(|_| are_left) {
        Some(Rollout { surges: true, why }) => format!("; earlier ones stay until new ones answer: {why}"),
        Some(Rollout { surges: false, why }) => format!("; earlier ones make room for new ones: {why}"),
        None => String::new(),
    }
}

struct Replicas {
    wanted: i32,
    total: i32,
    available: i32,
    ready_of_present: i32,
    /// Every wanted pod is of the present spec and answers, and none is left of another.
    settled: bool,
}

impl Replicas {
    fn of(deployment: &Deployment, wanted: i32) -> Self {
        let status = deployment.status.clone().unwrap_or_default();
        let current = is_current(deployment);
        let updated = if current { status.updated_replicas.unwrap_or(0) } else { 0 };
        let (total, available) = (status.replicas.unwrap_or(0), status.available_replicas.unwrap_or(0));
        Self {
            wanted,
            total,
            available,
            ready_of_present: updated.min(available),
            settled: current && updated == wanted && total == wanted && available == wanted,
        }
    }
}

/// Only what is of the present spec counts: the trouble of an earlier one may be what its correction is for.
fn trouble(observed: Observed<'_>) -> Option<Trouble> {
    if !is_current(observed.deployment) {
        return None;
    }
    let conditions = observed
        .deployment
        .status
        .as_ref()
        .and_then(|s| s.conditions.as_deref())
        .unwrap_or_default();
    let has =
        |kind: &str, status: &str| -> Option<&DeploymentCondition> { conditions.iter().find(|c| c.type_ == kind && c.status == status) };
    let deadline = has("Progressing", "False").is_some_and(|c| c.reason.as_deref() == Some("ProgressDeadlineExceeded"));
    let of_it: Vec<&Pod> = (observed.pods.iter().map(AsRef::as_ref))
        .filter(|pod| is_made_from(pod, observed.deployment))
        .collect();
    // A pod that failed is replaced, and stays to be looked at: it says something only until its successor is there.
    let has_ended = |pod: &Pod| {
        pod.status
            .as_ref()
            .is_some_and(|s| matches!(s.phase.as_deref(), Some("Failed" | "Succeeded")))
    };
    let is_succeeded = of_it.iter().any(|pod| !has_ended(pod));
    let of_it = of_it.into_iter().filter(|pod| !(is_succeeded && has_ended(pod)));
    let from_pod = pods::trouble(of_it, &WORDS);
    let refused = || {
        let condition = has("ReplicaFailure", "True")?;
        let message = condition.message.clone().unwrap_or_default();
        Some(Trouble {
            reason: "PodsRefused",
            message: format!("the cluster refuses the pods: {message}"),
            stalled: false,
        })
    };
    let late = || {
        deadline.then(|| Trouble {
            reason: "StartDeadlineExceeded",
            message: format!(
                "the pods do not answer within {} s, which spec.selfHosted.startupDeadline allows; see their logs, or raise it",
                startup::allowed(observed.deployment)
            ),
            stalled: true,
        })
    };
    from_pod.or_else(refused).or_else(late).map(|t| Trouble {
        stalled: t.stalled || deadline,
        ..t
    })
}

/// Whether the Deployment's controller has seen its latest spec.
pub(super) fn is_current(deployment: &Deployment) -> bool {
    let observed = deployment.status.as_ref().and_then(|status| status.observed_generation);
    observed.is_some() && observed == deployment.metadata.generation
}

/// Whether a pod runs what the Deployment asks for now, in the fields that users correct. What the server and queues add to pods is not
/// looked at.
pub(super) fn is_made_from(pod: &Pod, deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let (Some(wanted), Some(have)) = (wanted, &pod.spec) else {
        return false;
    };
    let nodes = have.node_selector.clone().unwrap_or_default();
    let is_placed = wanted
        .node_selector
        .iter()
        .flatten()
        .all(|(name, value)| nodes.get(name) == Some(value));
    // A claim that cannot be met is corrected by another one.
    let claims = have.resource_claims.clone().unwrap_or_default();
    let has_claims = wanted.resource_claims.iter().flatten().all(|claim| claims.contains(claim));
    let containers = |spec: &PodSpec| -> Vec<Container> {
        let first = spec.init_containers.iter().flatten();
        first.chain(&spec.containers).cloned().collect()
    };
    let have = containers(have);
    let runs = |wanted: Container| {
        let have = have.iter().find(|container| container.name == wanted.name);
        have.is_some_and(|have| {
            let variables = have.env.clone().unwrap_or_default();
            (&have.image, &have.command, &have.args) == (&wanted.image, &wanted.command, &wanted.args)
                && wanted.env.iter().flatten().all(|variable| variables.contains(variable))
                && grants(have.resources.clone(), wanted.resources)
        })
    };
    is_placed && has_claims && containers(wanted).into_iter().all(runs)
}

/// Requests default to limits, and a namespace may have defaults for both, so a pod may be given more than it was told to.
fn grants(have: Option<ResourceRequirements>, wanted: Option<ResourceRequirements>) -> bool {
    let (have, wanted) = (have.unwrap_or_default(), wanted.unwrap_or_default());
    let holds = |have: Option<BTreeMap<String, Quantity>>, wanted: Option<BTreeMap<String, Quantity>>| {
        let have = have.unwrap_or_default();
        wanted.into_iter().flatten().all(|(name, amount)| have.get(&name) == Some(&amount))
    };
    holds(have.requests, wanted.requests) && holds(have.limits, wanted.limits)
}
