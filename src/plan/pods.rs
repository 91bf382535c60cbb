//! Why pods do not start or do not stay, in the words of what they are for.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodCondition, Volume};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde::Deserialize;

use crate::plan::names::{ADAPTER_CLAIM, COPIER, FETCHER};
use crate::plan::scaling::is_within;

mod weights;

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
    /// The container that the pod is for; others are called by their own names.
    pub container: &'static str,
    /// What runs in the container.
    pub subject: &'static str,
    /// What to do when no node has room.
    pub room: &'static str,
    /// Where the image is named.
    pub image: &'static str,
    /// What to do when memory does not suffice.
    pub memory: &'static str,
    /// Where its volume claims are named.
    pub volumes: &'static str,
    /// Where what it fetches is named.
    pub source: &'static str,
    /// Where containers beside it are written.
    pub others: &'static str,
    /// Whether a pod of which a container ends is made anew, so that nothing is left of it to look at.
    pub is_remade: bool,
}

/// The longest part of a container's last line that is repeated.
const LINE_LIMIT: usize = 200;

/// The trouble of the latest pod that has any; pods that are being deleted do not count.
pub fn trouble<'a>(pods: impl Iterator<Item = &'a Pod>, words: &Words) -> Option<Trouble> {
    let mut pods: Vec<&Pod> = pods.filter(|p| p.metadata.deletion_timestamp.is_none()).collect();
    // The latest pod is of the present spec; by name for a stable message among equals.
    pods.sort_by_key(|p| (Reverse(p.creation_timestamp().map(|t| t.0)), p.name_any()));
    pods.iter()
        .find_map(|pod| without_node(pod, &pods, words).or_else(|| of_pod(pod, words)))
}

/// A pod that no node can take, with what all the waiting ones ask for.
fn without_node(pod: &Pod, all: &[&Pod], words: &Words) -> Option<Trouble> {
    let (reason, why) = waits_for_a_node(pod)?;
    if reason == "SchedulingGated" {
        return Some(Trouble {
            reason: "SchedulingGated",
            message: format!("the pod is held back until something admits it: {why}; look at its queue, or at who set the gate"),
            stalled: false,
        });
    }
    if let Some(claim) = missing_claim(why) {
        let namespace = pod.namespace().unwrap_or_default();
        let of_adapter = |volume: &Volume| {
            let source = volume.persistent_volume_claim.as_ref();
            volume.name.starts_with(ADAPTER_CLAIM) && source.is_some_and(|source| source.claim_name == claim)
        };
        let mut volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let field = if volumes.any(of_adapter) {
            "spec.selfHosted.custom.adapters"
        } else {
            words.volumes
        };
        return Some(Trouble {
            reason: "VolumeClaimNotFound",
            message: format!("PersistentVolumeClaim {namespace}/{claim} does not exist; create it, or name another in {field}"),
            stalled: false,
        });
    }
    if why.contains("unbound immediate PersistentVolumeClaims") {
        let namespace = pod.namespace().unwrap_or_default();
        return Some(Trouble {
            reason: "VolumeClaimUnbound",
            message: format!(
                "the pod's PersistentVolumeClaim is not bound to a volume: see `kubectl -n {namespace} describe pvc`; its StorageClass must exist, make \
                 volumes and offer the access mode; they are named in {}",
                words.volumes
            ),
            stalled: false,
        });
    }
    let waiting: Vec<&Pod> = all.iter().copied().filter(|pod| waits_for_a_node(pod).is_some()).collect();
    let short: Vec<String> = asked(pod, words.container)
        .into_iter()
        .filter(|(name, _)| why.contains(&format!("Insufficient {name}")))
        .map(|(name, amount)| match waiting.len() {
            1 => format!("1 pod waits for {name}: {amount}"),
            count => format!("{count} pods wait, each for {name}: {amount}"),
        })
        .collect();
    let short = if short.is_empty() {
        String::new()
    } else {
        format!("{}. ", short.join(", "))
    };
    Some(Trouble {
        reason: "Unschedulable",
        message: format!("no node can take the pod: {}. {short}{}", why.trim_end_matches('.'), words.room),
        stalled: false,
    })
}

/// Whether the scheduler has found no node for the pod. One that a gate holds back has not been looked at.
#[must_use]
pub fn is_unschedulable(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && waits_for_a_node(pod).is_some_and(|(reason, _)| reason == "Unschedulable")
}

/// How many of a resource the pod has waited for so long, because the nodes looked at have not as many to spare. A pod that something held back before
/// counts by when that was.
#[must_use]
pub fn lacks(pod: &Pod, resource: &str, for_so_long: Duration, now: Timestamp) -> u64 {
    let has_waited = |unscheduled: &&PodCondition| {
        let since = unscheduled.last_transition_time.as_ref();
        since.is_some_and(|since| !is_within(since.0, now, for_so_long))
    };
    let says_so = |unscheduled: &PodCondition| {
        let why = unscheduled.message.as_deref().unwrap_or_default();
        why.contains(&format!("Insufficient {resource}"))
    };
    if !is_unschedulable(pod) || !unscheduled(pod).filter(has_waited).is_some_and(says_so) {
        return 0;
    }
    let amount = asked(pod, "").remove(resource);
    amount.and_then(|amount| amount.parse().ok()).unwrap_or(0)
}

/// The claim that the scheduler does not find.
fn missing_claim(why: &str) -> Option<&str> {
    let (name, rest) = why.split_once("persistentvolumeclaim \"")?.1.split_once('"')?;
    rest.starts_with(" not found").then_some(name)
}

/// What says that the pod has no node yet.
fn unscheduled(pod: &Pod) -> Option<&PodCondition> {
    let mut conditions = pod.status.as_ref()?.conditions.iter().flatten();
    conditions.find(|c| c.type_ == "PodScheduled" && c.status == "False")
}

/// The scheduler's reason and words, if it has found no node for the pod.
fn waits_for_a_node(pod: &Pod) -> Option<(&str, &str)> {
    let unscheduled = unscheduled(pod)?;
    let why = unscheduled.message.as_deref().unwrap_or("no reason given");
    Some((unscheduled.reason.as_deref().unwrap_or_default(), why))
}

/// What the pod's main container asks for, by resource, and what only others ask for.
fn asked(pod: &Pod, main: &str) -> BTreeMap<String, String> {
    let mut containers: Vec<&Container> = pod.spec.iter().flat_map(|spec| &spec.containers).collect();
    containers.sort_by_key(|container| container.name == main);
    let requests = containers
        .into_iter()
        .flat_map(|container| container.resources.iter().flat_map(|r| r.requests.iter().flatten()));
    requests.map(|(name, Quantity(amount))| (name.clone(), amount.clone())).collect()
}

fn of_pod(pod: &Pod, words: &Words) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() == Some("Failed") && status.reason.as_deref() == Some("UnexpectedAdmissionError") {
        let why = status.message.as_deref().unwrap_or("no reason given");
        return Some(Trouble {
            reason: "DeviceUnavailable",
            message: format!("the node could not give the pod what it asks for: {why}"),
            stalled: false,
        });
    }
    // An init container that has done its work has ended, as it should.
    let is_done = |c: &&ContainerStatus| {
        c.state
            .as_ref()
            .and_then(|s| s.terminated.as_ref())
            .is_some_and(|ended| ended.exit_code == 0)
    };
    let init = status.init_container_statuses.iter().flatten().filter(|c| !is_done(c));
    let mut containers = init.chain(status.container_statuses.iter().flatten());
    containers
        .clone()
        .find_map(|container| of_container(pod, container, words))
        .or_else(|| containers.find_map(of_device))
}

/// A device of the container that its plugin calls unhealthy.
fn of_device(container: &ContainerStatus) -> Option<Trouble> {
    for resource in container.allocated_resources_status.iter().flatten() {
        if let Some(bad) = resource
            .resources
            .iter()
            .flatten()
            .find(|device| device.health.as_deref() == Some("Unhealthy"))
        {
            return Some(Trouble {
                reason: "DeviceUnhealthy",
                message: format!(
                    "the device {} ({}) is unhealthy: delete the pod to get another one, and look at the node's device",
                    bad.resource_id, resource.name
                ),
                stalled: false,
            });
        }
    }
    None
}

fn of_container(pod: &Pod, container: &ContainerStatus, words: &Words) -> Option<Trouble> {
    let last = container.last_state.as_ref().and_then(|s| s.terminated.as_ref());
    let current = container.state.as_ref().and_then(|s| s.terminated.as_ref());
    let waiting = container.state.as_ref().and_then(|s| s.waiting.as_ref());
    let detail = waiting.and_then(|w| w.message.as_deref()).unwrap_or_default();
    let volume = weights::of_volume(pod, detail);
    let image = volume.unwrap_or(&container.image);
    let of_weights = volume.is_some() || container.name == COPIER;
    let (subject, image_field, memory, log) = if container.name == words.container {
        (words.subject.to_owned(), words.image, words.memory.to_owned(), String::new())
    } else {
        let subject = format!("the container {:?}", container.name);
        let memory = format!("raise its memory limit in {}", words.others);
        (subject, words.others, memory, format!(" -c {}", container.name))
    };
    let image_field = if of_weights { words.volumes } else { image_field };
    let out_of_memory = [current, last]
        .into_iter()
        .flatten()
        .any(|t| t.reason.as_deref() == Some("OOMKilled"));
    let word = waiting.and_then(|w| w.reason.as_deref()).unwrap_or_default();
    match word {
        "InvalidImageName" => {
            let message = format!("{image:?} is not the name of an image; correct {image_field}");
            Some(Trouble {
                reason: "ImageNotAvailable",
                message,
                stalled: true,
            })
        }
        "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "RegistryUnavailable" => {
            let remedy = match refusal(detail) {
                Some(why) => format!(": {why}; check {image_field} and the node's access to its registry"),
                None => format!("; check {image_field} and the node's access to its registry"),
            };
            let message = format!("the image {image:?} cannot be pulled{remedy}");
            Some(Trouble {
                reason: "ImageNotAvailable",
                message,
                stalled: false,
            })
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            if let Some(trouble) = weights::not_mounted(pod, detail, words) {
                return Some(trouble);
            }
            let message = format!("the container cannot be made: {detail}; correct what it names");
            Some(Trouble {
                reason: "ContainerConfigInvalid",
                message,
                stalled: false,
            })
        }
        _ if out_of_memory && !container.ready => {
            let limit = limit(pod, &container.name).map_or_else(|| "the node's memory".to_owned(), |limit| format!("its limit of {limit}"));
            let message = format!("{subject} needs more memory than {limit} and was killed; {memory}");
            Some(Trouble {
                reason: "OutOfMemory",
                message,
                stalled: false,
            })
        }
        _ if word == "CrashLoopBackOff" || current.is_some() => {
            let ended = current.or(last);
            if let Some((field, secret)) = fetched(&container.name, words)
                && let Some(trouble) = ended.and_then(|t| fetch(t.message.as_deref()?, &field, &secret, words))
            {
                return Some(trouble);
            }
            if let Some(ended) = ended.filter(|_| container.name == COPIER) {
                return Some(weights::not_copied(image, ended, words));
            }
            let code = ended.map_or_else(String::new, |t| format!(" with exit code {}", t.exit_code));
            let said = ended.and_then(|t| t.message.as_deref()).and_then(last_line);
            let said = said.map_or_else(String::new, |line| format!(", last saying {line:?}"));
            let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
            let see = match words.is_remade {
                true => format!("its pods are made anew each time; follow `kubectl -n {namespace} logs {name}{log} -f`"),
                false => format!("see `kubectl -n {namespace} logs {name}{log} --previous`"),
            };
            let message = format!("{subject} keeps ending{code}{said}; {see}");
            Some(Trouble {
                reason: "CrashLooping",
                message,
                stalled: false,
            })
        }
        _ => None,
    }
}

/// What a fetch that failed says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fetch {
    reason: String,
    message: String,
    time_may_heal: bool,
}

/// Where the source and the Secret are named of what a container of that name fetches, if it does.
fn fetched(container: &str, words: &Words) -> Option<(String, String)> {
    match container.strip_prefix(FETCHER)? {
        "" => Some((words.source.to_owned(), "spec.selfHosted.source.secretRef".to_owned())),
        adapter => {
            let source = format!("spec.selfHosted.custom.adapters[{}].source", adapter.strip_prefix('-')?);
            Some((format!("{source}.uri"), format!("{source}.secretRef")))
        }
    }
}

/// The trouble of a fetch, if its last words can be understood.
fn fetch(last_words: &str, field: &str, secret: &str, words: &Words) -> Option<Trouble> {
    let said: Fetch = serde_json::from_str(last_words).ok()?;
    // By hand it is a variable; in a pod it comes from the specification.
    let message = said.message.replace("HF_TOKEN", secret);
    let field = if OF_THE_VOLUME.contains(&said.reason.as_str()) {
        words.volumes
    } else {
        field
    };
    Some(Trouble {
        reason: FETCH_REASONS
            .into_iter()
            .find(|known| *known == said.reason)
            .unwrap_or("FetchFailed"),
        message: format!("{field}: {message}"),
        stalled: !said.time_may_heal,
    })
}

/// Those that the place is at fault for, not what is to come there.
const OF_THE_VOLUME: [&str; 3] = ["NoSpace", "FolderInUse", "FolderUnusable"];

/// Of a fetch, as it names them.
pub(super) const FETCH_REASONS: [&str; 13] = [
    "InvalidSource",
    "SourceNotFound",
    "RevisionNotFound",
    "Unauthorized",
    "GatedModel",
    "UnsafeName",
    "NoSpace",
    "FolderInUse",
    "FolderUnusable",
    "ChecksumMismatch",
    "SourceChanged",
    "Unreachable",
    "Internal",
];

/// The kind of what the registry or the network said. Its own words carry a growing delay and a request's id, which would make the status
/// move by itself.
fn refusal(detail: &str) -> Option<&'static str> {
    let said = |words: &[&str]| words.iter().any(|word| detail.contains(word));
    match () {
        () if said(&["nauthorized", "403 Forbidden", "denied", "authorization failed"]) => Some("the registry refuses access"),
        () if said(&[
            "connection refused",
            "no such host",
            "i/o timeout",
            "network is unreachable",
            "deadline exceeded",
        ]) =>
        {
            Some("the registry cannot be reached")
        }
        () if said(&["x509", "certificate"]) => Some("the registry's certificate is not trusted"),
        () if said(&["not found", "manifest unknown"]) => Some("the registry does not have it"),
        () => None,
    }
}

/// The memory that a container may use.
fn limit<'a>(pod: &'a Pod, container: &str) -> Option<&'a str> {
    let init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let mut containers = pod.spec.iter().flat_map(|spec| &spec.containers).chain(init);
    let limits = containers.find(|c| c.name == container)?.resources.as_ref()?.limits.as_ref()?;
    limits.get("memory").map(|Quantity(limit)| limit.as_str())
}

/// The last line with something on it, cut to what fits into a condition.
fn last_line(text: &str) -> Option<String> {
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(LINE_LIMIT).collect())
}

#[cfg(test)]
mod tests;
