//! Why pods do not start or do not stay, in the words of what they are for.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

/// Why pods do not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// A stable CamelCase word for machines.
    pub reason: &'static str,
    /// What is wrong and what to do about it.
    pub message: String,
    /// Whether only a person can help.
    pub stalled: bool,
}

/// What a person calls the container, and where it is mended.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// What runs in the container.
    pub subject: &'static str,
    /// What to do when no node has room.
    pub room: &'static str,
    /// Where the image is named.
    pub image: &'static str,
    /// What to do when memory does not suffice.
    pub memory: &'static str,
}

/// The trouble of the latest pod that has any; pods that are being deleted do not count.
pub fn trouble<'a>(pods: impl Iterator<Item = &'a Pod>, words: &Words) -> Option<Trouble> {
    let mut pods: Vec<&Pod> = pods.filter(|p| p.metadata.deletion_timestamp.is_none()).collect();
    // The latest pod is of the present spec; by name for a stable message among equals.
    pods.sort_by_key(|p| (std::cmp::Reverse(p.creation_timestamp().map(|t| t.0)), p.name_any()));
    pods.into_iter().find_map(|pod| of_pod(pod, words))
}

fn of_pod(pod: &Pod, words: &Words) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let name = pod.name_any();
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "PodScheduled" && c.status == "False");
    if let Some(condition) = unscheduled {
        let why = condition.message.as_deref().unwrap_or("no reason given");
        let message = format!("no node can take the pod: {why}. {}", words.room);
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
        .find_map(|container| of_container(&name, container, words))
}

fn of_container(pod: &str, container: &ContainerStatus, words: &Words) -> Option<Trouble> {
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
            let message = format!("{image:?} is not the name of an image; correct {}", words.image);
            Some(Trouble {
                reason: "ImageNotAvailable",
                message,
                stalled: true,
            })
        }
        "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "RegistryUnavailable" => {
            // The detail carries a growing delay and a request id, which would make the status move by itself.
            let message = format!(
                "the image {image:?} cannot be pulled; check {} and the node's access to its registry",
                words.image
            );
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
            let message = format!("{} ran out of memory and was killed; {}", words.subject, words.memory);
            Some(Trouble {
                reason: "OutOfMemory",
                message,
                stalled: false,
            })
        }
        _ if word == "CrashLoopBackOff" || current.is_some() => {
            let code = last
                .or(current)
                .map_or_else(String::new, |t| format!(" with exit code {}", t.exit_code));
            let message = format!("{} keeps ending{code}; see `kubectl logs {pod} --previous`", words.subject);
            Some(Trouble {
                reason: "CrashLooping",
                message,
                stalled: false,
            })
        }
        _ => None,
    }
}
