//! What the live children of a self-hosted model say about it, with the pod's own reason when one fails.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodSpec};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::api::ModelDeployment;
use crate::api::condition::{Claim, Kind, Status};
use crate::api::model_deployment::{ModelDeploymentStatus, SelfHosted};
use crate::plan::model;

use super::pod::CONTAINER;

/// What was seen of the children.
#[derive(Clone, Copy)]
pub struct Observed<'a> {
    /// The Deployment as the API server has it.
    pub deployment: &'a Deployment,
    /// The model's pods.
    pub pods: &'a [Arc<Pod>],
}

/// Why pods do not answer.
struct Trouble {
    reason: &'static str,
    message: String,
    /// Whether only a person can help.
    stalled: bool,
}

/// The status of `md`, served by `own`.
#[must_use]
pub fn status(md: &ModelDeployment, own: &SelfHosted, observed: Observed<'_>, now: Timestamp) -> ModelDeploymentStatus {
    let replicas = Replicas::of(observed.deployment, own.replicas);
    let trouble = trouble(observed);
    let mut claims = vec![Claim::new(Kind::Accepted, true, "Valid", "the specification can be carried out")];

    let progress = match &trouble {
        Some(trouble) => (trouble.reason, trouble.message.clone()),
        None if replicas.settled => ("Settled", String::new()),
        None => (
            "Starting",
            format!(
                "{} of {} pods of the present specification answer",
                replicas.ready_of_present, replicas.wanted
            ),
        ),
    };
    let ready = if replicas.wanted == 0 {
        Claim::new(
            Kind::Ready,
            false,
            "ScaledToZero",
            "spec.selfHosted.replicas is 0; raise it to serve the model",
        )
    } else if replicas.available > 0 {
        let also = if progress.1.is_empty() {
            String::new()
        } else {
            format!("; {}", progress.1)
        };
        Claim::new(
            Kind::Ready,
            true,
            "Serving",
            format!("{} of {} pods answer{also}", replicas.available, replicas.wanted),
        )
    } else {
        let status = if trouble.is_some() { Status::False } else { Status::Unknown };
        Claim {
            kind: Kind::Ready,
            status,
            reason: progress.0,
            message: progress.1.clone(),
        }
    };
    let workload = if replicas.settled && trouble.is_none() {
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
    if trouble.as_ref().is_some_and(|t| t.stalled) {
        claims.push(Claim::new(Kind::Stalled, true, progress.0, progress.1));
    } else if !replicas.settled {
        claims.push(Claim::new(Kind::Reconciling, true, progress.0, progress.1));
    }

    ModelDeploymentStatus {
        replicas: Some(replicas.total),
        ready_replicas: Some(replicas.available),
        readiness: Some(format!("{}/{}", replicas.available, replicas.wanted)),
        ..model::described(md, &claims, now)
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
    let is_of_it = |pod: &&Arc<Pod>| pod.metadata.deletion_timestamp.is_none() && is_made_from(pod, observed.deployment);
    let mut pods: Vec<&Arc<Pod>> = observed.pods.iter().filter(is_of_it).collect();
    // The latest first, by name among equals: the message must not move by itself.
    pods.sort_by_key(|p| (std::cmp::Reverse(p.creation_timestamp().map(|t| t.0)), p.name_any()));
    let from_pod = pods.into_iter().find_map(|pod| of_pod(pod));
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
        let message = "the pods do not answer within the deadline; see their logs";
        deadline.then(|| Trouble {
            reason: "StartDeadlineExceeded",
            message: message.to_owned(),
            stalled: true,
        })
    };
    from_pod.or_else(refused).or_else(late).map(|t| Trouble {
        stalled: t.stalled || deadline,
        ..t
    })
}

/// Whether the Deployment's controller has seen its latest spec.
fn is_current(deployment: &Deployment) -> bool {
    let observed = deployment.status.as_ref().and_then(|status| status.observed_generation);
    observed.is_some() && observed == deployment.metadata.generation
}

/// Whether a pod runs what the Deployment asks for now, in the fields that users correct. What the server adds to pods is not looked at.
fn is_made_from(pod: &Pod, deployment: &Deployment) -> bool {
    let Some(wanted) = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()) else {
        return false;
    };
    let Some(have) = &pod.spec else { return false };
    let of = |spec: &PodSpec| {
        let engine = spec.containers.iter().find(|container| container.name == CONTAINER)?;
        Some((
            engine.image.clone(),
            engine.args.clone(),
            engine.env.clone(),
            engine.resources.clone(),
            spec.node_selector.clone(),
        ))
    };
    of(have) == of(wanted)
}

fn of_pod(pod: &Pod) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let name = pod.name_any();
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "PodScheduled" && c.status == "False");
    if let Some(condition) = unscheduled {
        let why = condition.message.as_deref().unwrap_or("no reason given");
        let message = format!("no node can take the pod: {why}. Free or add capacity, or change spec.selfHosted.accelerator or resources");
        return Some(Trouble {
            reason: "Unschedulable",
            message,
            stalled: false,
        });
    }
    status
        .container_statuses
        .iter()
        .flatten()
        .find_map(|container| of_container(&name, container))
}

fn of_container(pod: &str, container: &ContainerStatus) -> Option<Trouble> {
    let last = container.last_state.as_ref().and_then(|s| s.terminated.as_ref());
    let current = container.state.as_ref().and_then(|s| s.terminated.as_ref());
    let waiting = container.state.as_ref().and_then(|s| s.waiting.as_ref());
    let image = &container.image;
    let out_of_memory = [current, last]
        .into_iter()
        .flatten()
        .any(|t| t.reason.as_deref() == Some("OOMKilled"));
    let word = waiting.and_then(|w| w.reason.as_deref()).unwrap_or_default();
    let detail = waiting.and_then(|w| w.message.as_deref()).unwrap_or_default();
    match word {
        "InvalidImageName" => {
            let message = format!("{image:?} is not the name of an image; correct spec.selfHosted.engine.image");
            Some(Trouble {
                reason: "ImageNotAvailable",
                message,
                stalled: true,
            })
        }
        "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "RegistryUnavailable" => {
            // The detail carries a growing delay and a request id, which would make the status move by itself.
            let message =
                format!("the image {image:?} cannot be pulled; check spec.selfHosted.engine.image and the node's access to its registry");
            Some(Trouble {
                reason: "ImageNotAvailable",
                message,
                stalled: false,
            })
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            let message = format!("the container cannot be made: {detail}; correct what it names");
            Some(Trouble {
                reason: "ContainerConfigInvalid",
                message,
                stalled: false,
            })
        }
        _ if out_of_memory && !container.ready => {
            let message =
                "the engine ran out of memory and was killed; raise spec.selfHosted.resources.limits.memory or serve a smaller model";
            Some(Trouble {
                reason: "OutOfMemory",
                message: message.to_owned(),
                stalled: false,
            })
        }
        _ if word == "CrashLoopBackOff" || current.is_some() => {
            let code = last
                .or(current)
                .map_or_else(String::new, |t| format!(" with exit code {}", t.exit_code));
            let message = format!("the engine keeps ending{code}; see `kubectl logs {pod} --previous`");
            Some(Trouble {
                reason: "CrashLooping",
                message,
                stalled: false,
            })
        }
        _ => None,
    }
}
