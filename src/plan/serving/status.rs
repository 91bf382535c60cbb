//! What the live children of a self-hosted model say about it, with the pod's own reason when one fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodTemplateSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::jiff::Timestamp;

use crate::api::ModelDeployment;
use crate::api::condition::{self, Claim, Kind, Status};
use crate::api::model_deployment::{ModelDeploymentStatus, SelfHosted};
use crate::plan::model;
use crate::plan::pods::{self, Trouble, Words};
use crate::plan::scaling::others::Other;

use super::answer::{self, Reply};
use super::pod::CONTAINER;
use super::rollout::Rollout;
use super::scaled::ASLEEP;
use super::workload::Workload;
use super::{group, startup};

/// What was seen of the children.
pub struct Observed<'a, W> {
    /// What makes the pods, as the API server has it.
    pub workload: &'a W,
    /// The model's pods.
    pub pods: &'a [Arc<Pod>],
    /// What is said of the cache that the weights are in, if they are in one.
    pub cached: Option<&'a Claim>,
    /// Whether any of them gets requests.
    pub is_routed: bool,
    /// What their engine says when it is asked for one token.
    pub reply: &'a Reply,
    /// Whoever else scales it.
    pub other: Option<&'a Other>,
}

/// Where a person mends the pods of a model.
pub(super) const WORDS: Words = Words {
    container: CONTAINER,
    subject: "the engine",
    room: "Free or add capacity, or change spec.selfHosted.accelerator or resources",
    image: "spec.selfHosted.engine.image",
    memory: "raise spec.selfHosted.resources.limits.memory or serve a smaller model",
    volumes: "spec.selfHosted.source.uri",
    source: "spec.selfHosted.source.uri",
    others: "spec.selfHosted.podTemplate",
    is_remade: false,
};

/// The status of `md`, served by `own`.
#[must_use]
pub fn status<W: Workload>(md: &ModelDeployment, own: &SelfHosted, observed: &Observed<'_, W>, now: Timestamp) -> ModelDeploymentStatus {
    let noun = W::REPLICAS;
    let replicas = Replicas::of(observed.workload, own.replicas);
    let trouble = trouble(observed)
        .or_else(|| remembered::<W>(md).filter(|_| !replicas.settled))
        .or_else(|| answer::trouble(md, own, observed, now));
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
                "{} of {} {noun} run; {}",
                replicas.available,
                replicas.wanted,
                answer::awaited(observed.reply)
            ),
        ),
        None => {
            let (phase, doing) = startup::progress(observed.workload, observed.pods);
            let message = format!(
                "{} of {} {noun} of the present specification answer{doing}{}",
                replicas.ready_of_present,
                replicas.wanted,
                replacing(observed.workload)
            );
            (phase, message)
        }
    };
    let ready = if replicas.wanted == 0 {
        Claim::new(
            Kind::Ready,
            false,
            ASLEEP,
            match (observed.other, &own.scaling) {
                (Some(other), _) if other.scales_workload => format!("HorizontalPodAutoscaler {} leaves it without any", other.name),
                (_, Some(_)) => "nobody wants it: the next request wakes it".to_owned(),
                (_, None) => "spec.selfHosted.replicas is 0; raise it to serve the model".to_owned(),
            },
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
                "{} of {} {noun} answer{}{also}",
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
            message: format!("{}{}", progress.1, answer::meanwhile(observed.workload, observed.pods)),
        }
    };
    let workload = if settled && trouble.is_none() {
        Claim::new(
            Kind::WorkloadReady,
            true,
            "Settled",
            format!("{} of {} {noun} answer", replicas.available, replicas.wanted),
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
pub fn is_stuck<W: Workload>(live: &W, pods: &[Arc<Pod>]) -> bool {
    let present = pods.iter().filter(|pod| is_made_from(pod, live));
    present.into_iter().any(|pod| pods::is_unschedulable(pod))
}

/// Whether a replica of the present specification answers.
#[must_use]
pub fn answers<W: Workload>(live: &W) -> bool {
    let seen = live.seen();
    seen.is_current && seen.updated.min(seen.available) > 0
}

/// How replicas of an earlier specification are being replaced, if there are any.
fn replacing<W: Workload>(live: &W) -> String {
    let seen = live.seen();
    let are_left = seen.is_current && seen.total > seen.updated;
    match Rollout::of(live).filter(|_| are_left) {
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
    fn of<W: Workload>(live: &W, wanted: i32) -> Self {
        let seen = live.seen();
        let updated = if seen.is_current { seen.updated } else { 0 };
        Self {
            wanted,
            total: seen.total,
            available: seen.available,
            ready_of_present: updated.min(seen.available),
            settled: seen.is_current && updated == wanted && seen.total == wanted && seen.available == wanted,
        }
    }
}

/// Only what is of the present spec counts: the trouble of an earlier one may be what its correction is for.
fn trouble<W: Workload>(observed: &Observed<'_, W>) -> Option<Trouble> {
    let seen = observed.workload.seen();
    if !seen.is_current {
        return None;
    }
    let words = Words {
        is_remade: W::IS_REMADE,
        ..WORDS
    };
    let of_it: Vec<&Pod> = (observed.pods.iter().map(AsRef::as_ref))
        .filter(|pod| is_made_from(pod, observed.workload))
        .collect();
    let why_remade = || {
        let ended = group::as_they_ended(observed.pods).into_iter().filter(|_| W::IS_REMADE);
        let ended: Vec<Pod> = ended.filter(|pod| is_made_from(pod, observed.workload)).collect();
        pods::trouble(ended.iter(), &words)
    };
    // A pod that failed is replaced, and stays to be looked at: it says something only until its successor is there.
    let has_ended = |pod: &Pod| {
        pod.status
            .as_ref()
            .is_some_and(|s| matches!(s.phase.as_deref(), Some("Failed" | "Succeeded")))
    };
    let is_succeeded = of_it.iter().any(|pod| !has_ended(pod));
    let from_pod = pods::trouble(of_it.iter().copied().filter(|pod| !(is_succeeded && has_ended(pod))), &words);
    let refused = || {
        seen.refused.clone().map(|message| Trouble {
            reason: "PodsRefused",
            message: format!("the cluster refuses the pods: {message}"),
            stalled: false,
        })
    };
    let late = || {
        seen.is_late.then(|| Trouble {
            reason: "StartDeadlineExceeded",
            message: format!(
                "the pods do not answer within {} s, which spec.selfHosted.startupDeadline allows; see their logs, or raise it",
                startup::allowed(observed.workload)
            ),
            stalled: true,
        })
    };
    from_pod.or_else(why_remade).or_else(refused).or_else(late).map(|t| Trouble {
        stalled: t.stalled || seen.is_late,
        ..t
    })
}

/// What a replica died of that was made anew since: nothing else is left of it. It is told until all answer, so that one which dies again and
/// again does not look like one that starts.
fn remembered<W: Workload>(md: &ModelDeployment) -> Option<Trouble> {
    const OF_CONTAINERS: [&str; 2] = ["CrashLooping", "OutOfMemory"];
    let conditions = md.status.as_ref().filter(|_| W::IS_REMADE).map(|status| &status.conditions)?;
    let told = condition::find(conditions, Kind::WorkloadReady)?;
    let reason = OF_CONTAINERS.into_iter().find(|reason| *reason == told.reason)?;
    (told.observed_generation == md.metadata.generation).then(|| Trouble {
        reason,
        message: told.message.clone(),
        stalled: false,
    })
}

/// Whether a pod runs what the workload asks for now, in the fields that users correct. What the server and queues add to pods is not
/// looked at.
pub(super) fn is_made_from<W: Workload>(pod: &Pod, live: &W) -> bool {
    live.templates().into_iter().any(|template| is_of(pod, template))
}

fn is_of(pod: &Pod, template: &PodTemplateSpec) -> bool {
    let (Some(wanted), Some(have)) = (&template.spec, &pod.spec) else {
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
