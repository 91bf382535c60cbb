//! How far a cache is, from its live objects.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde::Deserialize;

use crate::plan::names::FETCHER;
use crate::plan::pods::{self, Trouble, Words};

use super::objects::{EVICT, FILL, LIST};
use super::{Held, Listed, Wanted};

/// A Job that gave up is made again after so long: what was missing may be there.
const ANEW: Duration = Duration::from_secs(300);

/// What the pod of a Job that is over has said is not to be seen any more after so long.
const LOST: Duration = Duration::from_secs(60);

/// The label by which Kubernetes marks the pods of a Job.
const JOB_LABEL: &str = "batch.kubernetes.io/job-name";

/// What is there of a cache.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The Job that asks the source.
    pub list: Option<Arc<Job>>,
    /// The Job that fetches.
    pub fill: Option<Arc<Job>>,
    /// The Job that removes.
    pub evict: Option<Arc<Job>>,
    /// The claim, if it is ours.
    pub claim: Option<Arc<PersistentVolumeClaim>>,
    /// The pods of the Jobs.
    pub pods: Vec<Arc<Pod>>,
}

/// What is next.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// The source is to be asked.
    List,
    /// It is being asked.
    Listing(Option<Trouble>),
    /// It has answered: its files are to be fetched.
    Fill(Listed),
    /// They are being fetched; where the pod that does so says how far it is.
    Filling(Listed, Option<String>, Option<Trouble>),
    /// They are there.
    Held(Held),
    /// A Job gave up, and is made again in so long.
    Failed(Trouble, Duration),
    /// What was there is being removed: then it begins anew.
    Evicting,
    /// The claim is being removed under it.
    Losing,
    /// What these Jobs knew holds no longer: they go, and it begins anew.
    Anew(Vec<&'static str>),
}

/// What is next for the cache that `wanted` describes.
#[must_use]
pub fn stage(wanted: &Wanted<'_>, seen: &Seen, now: Timestamp) -> Stage {
    if let Some(evict) = &seen.evict {
        return if has_ended(evict) {
            Stage::Anew(vec![EVICT, FILL, LIST])
        } else {
            Stage::Evicting
        };
    }
    if seen.claim.as_ref().is_some_and(|claim| claim.metadata.deletion_timestamp.is_some()) {
        return Stage::Losing;
    }
    let of = |step: &str| -> Vec<&Pod> {
        let job = wanted.job(step).name;
        let is_its = |pod: &&Pod| pod.labels().get(JOB_LABEL) == Some(&job);
        seen.pods.iter().map(AsRef::as_ref).filter(is_its).collect()
    };
    if let Some(fill) = &seen.fill {
        let is_lost = wanted.makes_claim() && seen.claim.is_none();
        return match Listed::of_fill(fill).filter(|_| !is_lost) {
            None => Stage::Anew(vec![FILL]),
            Some(listed) if is_complete(fill) => Stage::Held(wanted.held(&listed)),
            Some(listed) => {
                let pod = latest(of(FILL));
                let trouble = pod.and_then(|pod| trouble(pod, wanted));
                gave_up(fill, FILL, trouble.as_ref(), now).unwrap_or_else(|| Stage::Filling(listed, pod.and_then(address), trouble))
            }
        };
    }
    let Some(list) = &seen.list else { return Stage::List };
    if is_complete(list) {
        return match (of(LIST).into_iter().find_map(listed), passed(list, "Complete", now) < LOST) {
            (Some(listed), _) => Stage::Fill(listed),
            // Its pod is seen a moment later.
            (None, true) => Stage::Listing(None),
            (None, false) => Stage::Anew(vec![LIST]),
        };
    }
    let trouble = latest(of(LIST)).and_then(|pod| trouble(pod, wanted));
    gave_up(list, LIST, trouble.as_ref(), now).unwrap_or(Stage::Listing(trouble))
}

/// Where a person mends the pods of a cache.
fn words(wanted: &Wanted<'_>) -> Words {
    Words {
        container: FETCHER,
        subject: "the fetch into the cache",
        room: "Free or add capacity; the pod needs no accelerator",
        image: "the operator's flag --image",
        memory: "raise the namespace's limits for memory",
        volumes: if wanted.makes_claim() {
            "spec.selfHosted.cache"
        } else {
            "spec.selfHosted.cache.claim"
        },
        source: "spec.selfHosted.source.uri",
        others: "the namespace's admission",
        is_remade: false,
    }
}

fn trouble(pod: &Pod, wanted: &Wanted<'_>) -> Option<Trouble> {
    // One that ended well has no trouble, though its Job does not say so yet.
    ended(pod).is_none_or(|ended| ended.exit_code != 0).then_some(())?;
    pods::trouble(std::iter::once(pod), &words(wanted))
}

/// Of several attempts the last one says how it is.
fn latest(pods: Vec<&Pod>) -> Option<&Pod> {
    pods.into_iter()
        .max_by_key(|pod| (pod.creation_timestamp().map(|time| time.0), pod.name_any()))
}

fn address(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref().filter(|status| status.phase.as_deref() == Some("Running"))?;
    status.pod_ip.clone()
}

/// What follows when a Job gave up: its pod's trouble is told, and after a while it is made again.
fn gave_up(job: &Job, step: &'static str, trouble: Option<&Trouble>, now: Timestamp) -> Option<Stage> {
    let failed = condition(job, "Failed")?;
    let left = ANEW.saturating_sub(passed(job, "Failed", now));
    if left.is_zero() {
        return Some(Stage::Anew(vec![step]));
    }
    let why = failed.message.as_deref().unwrap_or("no reason given");
    let unsaid = || Trouble {
        reason: "FetchFailed",
        message: format!("the Job {} gave up: {why}; it is made again", job.name_any()),
        stalled: false,
    };
    Some(Stage::Failed(trouble.cloned().unwrap_or_else(unsaid), left))
}

/// The last words of a fetch that only planned.
#[derive(Deserialize)]
struct Planned {
    revision: String,
    bytes: u64,
}

fn listed(pod: &Pod) -> Option<Listed> {
    let ended = ended(pod).filter(|ended| ended.exit_code == 0)?;
    let Planned { revision, bytes } = serde_json::from_str(ended.message.as_deref()?).ok()?;
    Some(Listed { revision, bytes })
}

fn ended(pod: &Pod) -> Option<&ContainerStateTerminated> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    let ours = containers.iter().find(|container| container.name == FETCHER)?;
    ours.state.as_ref()?.terminated.as_ref()
}

/// Whether a Job that fetches may have written something.
pub(super) fn has_begun(job: &Job, pods: &[Arc<Pod>]) -> bool {
    let waits = |pod: &Pod| pod.status.as_ref().is_none_or(|status| status.phase.as_deref() == Some("Pending"));
    let name = job.name_any();
    let is_its = |pod: &&Arc<Pod>| pod.namespace() == job.namespace() && pod.labels().get(JOB_LABEL) == Some(&name);
    let counted = job.status.as_ref().map_or(0, |status| {
        [status.failed, status.ready, status.succeeded].into_iter().flatten().sum::<i32>()
    });
    counted > 0 || has_ended(job) || pods.iter().filter(is_its).any(|pod| !waits(pod))
}

/// Whether a Job is over, one way or the other.
pub(super) fn has_ended(job: &Job) -> bool {
    is_complete(job) || condition(job, "Failed").is_some()
}

fn is_complete(job: &Job) -> bool {
    condition(job, "Complete").is_some()
}

/// How long a Job has had a condition.
fn passed(job: &Job, kind: &str, now: Timestamp) -> Duration {
    let since = condition(job, kind).and_then(|condition| Some(condition.last_transition_time.as_ref()?.0));
    Duration::try_from(now.duration_since(since.unwrap_or(now))).unwrap_or_default()
}

fn condition<'a>(job: &'a Job, kind: &str) -> Option<&'a JobCondition> {
    let mut conditions = job.status.as_ref()?.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == kind && condition.status == "True")
}
