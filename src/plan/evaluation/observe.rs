//! The runs that exist: an EvalJob's Jobs and what their pods left behind.
//!
//! ```text
//! Starting ──► Running ──► Ending ──► Ended: a report, or why there is none
//!     │           │           │
//!     └───────────┴───────────┴──► Stuck: it did not start in time, its pod was lost, or an evaluator in it failed; recorded, then its Job is removed
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::evaluators::{self, Failed};
use super::job::{CONTAINER, is_kept};
use super::report::Report;
use super::versions::Versions;
use crate::api::{EvalJob, ModelDeployment};
use crate::plan::fingerprint;
use crate::plan::names::{self, Key};
use crate::plan::pods::{self, Trouble, Words};

/// Jobs and pods are watched apart, so a Job may be seen to end before its pod is. After so long the pod is not coming.
const POD_GRACE: SignedDuration = SignedDuration::from_secs(30);

/// How long a pod may take until its container runs: pulling an image and adding a node take minutes, what takes longer does not heal by
/// itself, and meanwhile no other run can start.
const START_LIMIT: SignedDuration = SignedDuration::from_mins(15);

/// An evaluator that a limit of the run keeps from going on may end before the relay that kept it has said so.
const WORDS_GRACE: SignedDuration = SignedDuration::from_secs(5);

/// How long a Job may be without a pod before it is said to have none.
const NO_POD_GRACE: SignedDuration = SignedDuration::from_mins(1);

/// Where a person mends the pods of runs.
const WORDS: Words = Words {
    container: CONTAINER,
    subject: "the evaluator",
    room: "Free or add capacity",
    image: "the value image of the chart",
    memory: "split the dataset into suites of fewer lines",
    others: "what adds it to the pods",
    volumes: "its Job",
    source: "its Job",
    is_remade: false,
};

/// The same of a pod with evaluators that users bring.
const WORDS_OF_EXTERNAL: Words = Words {
    others: "external of its suite",
    ..WORDS
};

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The Job's name.
    pub name: String,
    /// Its slot.
    pub slot: Timestamp,
    /// What each target was when the run started; empty for one that was changing then.
    pub fingerprints: BTreeMap<String, String>,
    /// The request that it was started for.
    pub requested: Option<String>,
    /// A digest over the images that the pods of its targets ran when it started.
    pub images: Option<String>,
    /// The versions that the providers of its targets answered with then.
    pub versions: Option<Versions>,
    /// How far it is.
    pub state: State,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// No container of the Job has started yet.
    Starting {
        /// What keeps it.
        trouble: Option<Trouble>,
        /// When to look again.
        look: Timestamp,
    },
    /// The Job goes on.
    Running,
    /// The Job, or an evaluator in it, has ended, and why has not been seen yet; look again at this time.
    Ending(Timestamp),
    /// It has ended at this time, with a report or the reason why there is none.
    Ended(Timestamp, Result<Report, String>),
    /// It was given up at this time for this reason, and its Job is still there.
    Stuck(Timestamp, String),
    /// The same of one whose evaluator met a limit, and of which the relay has reported what was spent.
    Stopped(Timestamp, Report),
}

impl Run {
    /// Whether no other run may start yet.
    #[must_use]
    pub fn is_going_on(&self) -> bool {
        self.end().is_none()
    }

    /// When it ended.
    #[must_use]
    pub fn end(&self) -> Option<Timestamp> {
        match self.state {
            State::Ended(at, _) | State::Stuck(at, _) | State::Stopped(at, _) => Some(at),
            State::Starting { .. } | State::Running | State::Ending(_) => None,
        }
    }

    /// When time alone will change what it is.
    #[must_use]
    pub fn look(&self) -> Option<Timestamp> {
        match self.state {
            State::Starting { look, .. } => Some(look),
            State::Ending(until) => Some(until),
            State::Running | State::Ended(..) | State::Stuck(..) | State::Stopped(..) => None,
        }
    }

    /// What keeps it from starting.
    #[must_use]
    pub fn trouble(&self) -> Option<&Trouble> {
        match &self.state {
            State::Starting { trouble, .. } => trouble.as_ref(),
            State::Running | State::Ending(_) | State::Ended(..) | State::Stuck(..) | State::Stopped(..) => None,
        }
    }
}

/// The runs of `owner` among `jobs`, the earliest first. Jobs of another EvalJob, or of a deleted one of the same name, are left out.
#[must_use]
pub fn runs(owner: &EvalJob, jobs: &[Arc<Job>], pods: &[Arc<Pod>], now: Timestamp) -> Vec<Run> {
    let Key { namespace, name } = Key::of(owner);
    let mut runs: Vec<Run> = jobs
        .iter()
        .filter(|job| Key::of(&***job).namespace == namespace && is_owned(job, owner))
        .filter_map(|job| {
            let slot = names::evaluation_slot(&name, &job.name_any())?;
            Some(Run {
                name: job.name_any(),
                slot,
                fingerprints: fingerprints(job),
                requested: job.annotations().get(names::REQUESTED_ANNOTATION).cloned(),
                images: job.annotations().get(names::IMAGES_ANNOTATION).cloned(),
                versions: job
                    .annotations()
                    .get(names::VERSIONS_ANNOTATION)
                    .and_then(|versions| serde_json::from_str(versions).ok()),
                state: state(job, pods, now),
            })
        })
        .collect();
    runs.sort_by_key(|run| run.slot);
    runs
}

/// A digest over the images that the pods of these models run, by what the nodes say they are. None while a model of our own has no pod, or
/// its pods do not all run the same.
#[must_use]
pub fn images<'a>(models: impl IntoIterator<Item = &'a ModelDeployment>, pods: &[Arc<Pod>]) -> Option<String> {
    let own = models.into_iter().filter(|model| model.spec.self_hosted.is_some());
    let of_each = own.map(|model| {
        let Key { namespace, name } = Key::of(model);
        let base = names::asked_parts(&name).0;
        let is_own = |pod: &&Arc<Pod>| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            let is_over = pod.metadata.deletion_timestamp.is_some() || matches!(phase, Some("Failed" | "Succeeded"));
            !is_over && pod.namespace().as_ref() == Some(&namespace) && names::is_pod_of(pod.labels(), base)
        };
        let known = pods.iter().filter(is_own).map(|pod| image(pod));
        let known: BTreeSet<Option<String>> = known.collect();
        let mut known = known.into_iter();
        match (known.next(), known.next()) {
            (Some(Some(image)), None) => Some((base.to_owned(), image)),
            _ => None,
        }
    });
    let known: BTreeMap<String, String> = of_each.collect::<Option<_>>()?;
    (!known.is_empty()).then(|| fingerprint::digest(&known))
}

/// What the node says that the containers of a pod run, once they do.
fn image(pod: &Pod) -> Option<String> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    let each = containers.iter().map(|container| (&container.name, &container.image_id));
    let each: BTreeMap<_, _> = each.filter(|(_, image)| !image.is_empty()).collect();
    (each.len() == containers.len() && !each.is_empty()).then(|| fingerprint::digest(&each))
}

/// The models that runs of other EvalJobs ask now, and the run that does.
#[must_use]
pub fn asked_elsewhere(owner: &EvalJob, jobs: &[Arc<Job>], now: Timestamp) -> BTreeMap<String, String> {
    let Key { namespace, name } = Key::of(owner);
    let is_other = |job: &&Arc<Job>| {
        let of = job.labels().get(names::EVAL_JOB_LABEL);
        Key::of(&***job).namespace == namespace && of.is_some_and(|of| *of != name) && end(job, now).is_none()
    };
    let others = jobs.iter().filter(is_other);
    others
        .flat_map(|job| asks(job).into_iter().map(|model| (model, job.name_any())))
        .collect()
}

/// The models that a run asks; of a Job of an earlier release its targets.
fn asks(job: &Job) -> Vec<String> {
    let told = job.annotations().get(names::ASKS_ANNOTATION);
    let told = told.and_then(|text| serde_json::from_str(text).ok());
    let targets = || fingerprints(job).into_keys().map(|model| names::asked_parts(&model).0.to_owned());
    told.unwrap_or_else(|| targets().collect())
}

fn is_owned(job: &Job, owner: &EvalJob) -> bool {
    owner
        .uid()
        .is_some_and(|uid| job.owner_references().iter().any(|reference| reference.uid == uid))
}

fn fingerprints(job: &Job) -> BTreeMap<String, String> {
    let text = job.annotations().get(names::EVALUATED_ANNOTATION);
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn state(job: &Job, pods: &[Arc<Pod>], now: Timestamp) -> State {
    let failed = evaluators::failed(job, of_job(job, pods), now);
    let Some((end, failure)) = end(job, now) else {
        return match failed {
            Some(Failed {
                at, limit: Some(report), ..
            }) => State::Stopped(at, report),
            Some(Failed { at, why, .. }) if now >= at + WORDS_GRACE => State::Stuck(at, why),
            Some(Failed { at, .. }) => State::Ending(at + WORDS_GRACE),
            None => unended(job, pods, now),
        };
    };
    if let Some(Failed { why, limit, .. }) = failed {
        return State::Ended(end, limit.ok_or(why));
    }
    if failure.is_none() && is_forgetful(job) {
        return State::Ended(end, Err(lost(job, pods)));
    }
    match message(job, pods) {
        Some(text) => State::Ended(end, read(&text, failure.as_deref())),
        None if failure.is_none() && now < end + POD_GRACE => State::Ending(end + POD_GRACE),
        None => {
            let why = failure.unwrap_or_else(|| "the pod was removed before its report was read".to_owned());
            let why = evicted(job, pods).map_or(why.clone(), |evicted| format!("{why}; a pod was evicted ({evicted})"));
            State::Ended(end, Err(format!("the run left no report: {why}; wait for the next run")))
        }
    }
}

/// Whether a pod was lost, and no other pod of the Job can know what it spent.
fn is_forgetful(job: &Job) -> bool {
    let failed = job.status.as_ref().and_then(|status| status.failed);
    failed.unwrap_or(0) > 0 && !is_kept(job)
}

/// Why its run has no verdict.
fn lost(job: &Job, pods: &[Arc<Pod>]) -> String {
    let how = evicted(job, pods).map_or_else(|| "lost".to_owned(), |why| format!("evicted ({why})"));
    format!("the run's pod was {how}, and with it what it had found and spent; wait for the next run")
}

/// Why the kubelet evicted a pod of the Job.
fn evicted<'a>(job: &Job, pods: &'a [Arc<Pod>]) -> Option<&'a str> {
    of_job(job, pods).find_map(|pod| {
        let status = pod.status.as_ref().filter(|status| status.reason.as_deref() == Some("Evicted"))?;
        Some(status.message.as_deref()?.trim().trim_end_matches('.'))
    })
}

/// How far a Job is that Kubernetes has not ended.
fn unended(job: &Job, pods: &[Arc<Pod>], now: Timestamp) -> State {
    let status = job.status.clone().unwrap_or_default();
    let is_failing = status
        .conditions
        .iter()
        .flatten()
        .any(|c| c.type_ == "FailureTarget" && c.status == "True");
    // A container that fails is started again in its pod; a pod that fails was evicted or its node is gone, and with it what was spent, unless
    // that is kept elsewhere.
    if !is_failing && is_forgetful(job) {
        return State::Stuck(now, lost(job, pods));
    }
    // One that is lost is listed on for a while, and says nothing about the one that takes over.
    let has_lost = is_kept(job) && status.failed.unwrap_or(0) > 0 && !is_failing;
    let (lost, own): (Vec<&Pod>, Vec<&Pod>) = of_job(job, pods).partition(|pod| has_lost && is_lost(pod));
    let words = if has_evaluators(job) { &WORDS_OF_EXTERNAL } else { &WORDS };
    let name = job.name_any();
    let mut start = status.start_time.or_else(|| job.creation_timestamp()).map_or(now, |time| time.0);
    if own.iter().any(|pod| has_started(pod)) {
        // The image of the next evaluator may be another one, which the node does not get.
        let waits = own.iter().find_map(|pod| evaluators::wait_since(pod));
        match waits.filter(|_| pods::trouble(own.iter().copied(), words).is_some()) {
            Some(since) => start = since,
            None => return State::Running,
        }
    }
    if has_lost {
        // Another pod takes over, and has as long to start as the first one had; to be there as well.
        let taken_over = own.iter().filter_map(|pod| pod.creation_timestamp()).map(|time| time.0).max();
        let since = taken_over.or_else(|| lost.iter().filter_map(|pod| lost_at(pod)).max());
        start = start.max(since.unwrap_or(now));
    }
    let trouble = if own.is_empty() && now >= start + NO_POD_GRACE {
        let message = format!(
            "the Job has no pod; see `kubectl describe job {name}` for what refuses it, such as a quota or a service account that is not there"
        );
        Some(Trouble {
            reason: "PodsRefused",
            message,
            stalled: false,
        })
    } else {
        pods::trouble(own.iter().copied(), words)
    };
    let limit = start + START_LIMIT;
    if now >= limit {
        let why = trouble.map_or_else(|| format!("see `kubectl describe job {name}`"), |trouble| trouble.message);
        let minutes = START_LIMIT.as_mins();
        return State::Stuck(limit, format!("the run did not start within {minutes} minutes: {why}"));
    }
    let without_pod = Some(start + NO_POD_GRACE).filter(|at| own.is_empty() && now < *at);
    State::Starting {
        trouble,
        look: without_pod.unwrap_or(limit),
    }
}

fn has_evaluators(job: &Job) -> bool {
    let pod = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    pod.is_some_and(|pod| pod.init_containers.is_some())
}

/// Whether it is gone, or is to be.
fn is_lost(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_some() || phase == Some("Failed")
}

/// When something last happened to it, as far as it tells.
fn lost_at(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let containers = status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    let ended = containers.filter_map(|container| container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
    let changed = conditions.filter_map(|condition| condition.last_transition_time.as_ref());
    let times = ended.chain(changed).chain(&pod.metadata.deletion_timestamp);
    times.map(|time| time.0).max()
}

fn has_started(pod: &Pod) -> bool {
    if evaluators::have_started(pod) {
        return true;
    }
    let status = pod.status.as_ref();
    let mut containers = status.and_then(|s| s.container_statuses.as_ref()).into_iter().flatten();
    containers.any(|container| {
        let is_waiting = container
            .state
            .as_ref()
            .is_none_or(|s| s.running.is_none() && s.terminated.is_none());
        !is_waiting || container.restart_count > 0
    })
}

/// When the Job ended and, if it failed, why.
fn end(job: &Job, now: Timestamp) -> Option<(Timestamp, Option<String>)> {
    let status = job.status.as_ref()?;
    let is = |kind: &str| {
        let conditions = status.conditions.as_deref().unwrap_or_default();
        conditions.iter().find(|c| c.type_ == kind && c.status == "True")
    };
    let at = |c: &JobCondition| c.last_transition_time.as_ref().map_or(now, |t| t.0);
    if let Some(failed) = is("Failed") {
        let reason = failed.reason.as_deref().unwrap_or("Failed");
        let message = failed.message.as_deref().unwrap_or("the Job failed");
        return Some((at(failed), Some(format!("{reason}: {message}"))));
    }
    is("Complete").map(|complete| (at(complete), None))
}

fn of_job<'a>(job: &Job, pods: &'a [Arc<Pod>]) -> impl Iterator<Item = &'a Pod> {
    let (namespace, name) = (job.namespace(), job.name_any());
    let is_own = move |pod: &&Pod| pod.namespace() == namespace && pod.labels().get("batch.kubernetes.io/job-name") == Some(&name);
    pods.iter().map(AsRef::as_ref).filter(is_own)
}

/// The termination message of the Job's pod that ended last.
fn message(job: &Job, pods: &[Arc<Pod>]) -> Option<String> {
    of_job(job, pods)
        .filter_map(|pod| {
            let container = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
            let ended = container.state.as_ref()?.terminated.as_ref()?;
            Some((ended.finished_at.as_ref().map(|t| t.0), ended.message.clone()?))
        })
        .max_by_key(|(at, _)| *at)
        .map(|(_, message)| message)
}

fn read(text: &str, failure: Option<&str>) -> Result<Report, String> {
    match (Report::decode(text), failure) {
        (Ok(report), None) => Ok(report),
        // The last attempt's own words are worth more than Kubernetes' count of attempts.
        (Ok(report), Some(failure)) => Err(report.invalid.unwrap_or_else(|| format!("the run failed: {failure}"))),
        (Err(_), Some(failure)) => Err(format!("the run failed: {failure}; the pod's log has the reasons")),
        (Err(_), None) if text.contains("\"counts\"") => {
            Err("the run's report was written by an earlier version of the evaluator; wait for the next run".to_owned())
        }
        (Err(error), None) => Err(format!("the run's report cannot be read ({error}); the pod's log has the reasons")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::evaluation::fixtures;

    const END: &str = "2026-05-02T02:10:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn observed(job_status: &str, pods: &[Arc<Pod>], now: &str) -> State {
        let job = fixtures::ran("2026-05-02T02:00:00Z", job_status);
        let mut runs = runs(&fixtures::job(), &[Arc::new(job)], pods, at(now));
        assert_eq!(runs.len(), 1);
        runs.remove(0).state
    }

    fn complete() -> String {
        format!("{{conditions: [{{type: Complete, status: 'True', lastTransitionTime: '{END}'}}]}}")
    }

    fn failed(reason: &str) -> String {
        format!(
            "{{conditions: [{{type: Failed, status: 'True', reason: {reason}, message: it was too much, lastTransitionTime: '{END}'}}]}}"
        )
    }

    #[test]
    fn what_pods_run_is_known_once_they_all_run_the_same() {
        let model: ModelDeployment =
            fixtures::read("{metadata: {name: own, namespace: claims}, spec: {selfHosted: {engine: {kind: VLLM}}}}");
        let pod = |image: &str| {
            let labels = names::labels("engine", names::MODEL_LABEL, "own");
            let mut pod: Pod = fixtures::read(&format!(
                "{{metadata: {{name: p, namespace: claims}}, status: {{containerStatuses: [{{name: engine, image: i, imageID: '{image}', ready: true, restartCount: 0}}]}}}}"
            ));
            pod.metadata.labels = Some(labels);
            Arc::new(pod)
        };
        let images = |pods: &[Arc<Pod>]| images([&model], pods);
        assert_eq!(
            [
                images(&[]),
                images(&[pod("")]),
                images(&[pod("a"), pod("b")]),
                images(&[pod("a"), pod("")])
            ],
            [None, None, None, None]
        );
        assert!(images(&[pod("a")]).is_some());
        let mut evicted = Pod::clone(&pod("b"));
        evicted.status.as_mut().unwrap().phase = Some("Failed".to_owned());
        assert_eq!(images(&[pod("a"), Arc::new(evicted)]), images(&[pod("a")]));
        assert_eq!(images(&[pod("a")]), images(&[pod("a"), pod("a")]), "however many there are");
        assert_ne!(images(&[pod("a")]), images(&[pod("b")]));
        assert_eq!(
            super::images([&fixtures::model("llama")], &[]),
            None,
            "nobody knows what a provider runs"
        );
    }

    #[test]
    fn who_else_asks_a_model_is_known_while_that_run_goes_on() {
        let jobs = |status: &str| [Arc::new(fixtures::ran("2026-05-02T02:00:00Z", status))];
        let mut other = fixtures::job();
        other.metadata.name = Some("other".to_owned());
        let asked = |owner: &EvalJob, status: &str| asked_elsewhere(owner, &jobs(status), at(END));
        let run = jobs("{}")[0].name_any();
        assert_eq!(asked(&other, "{active: 1}"), [("llama".to_owned(), run)].into());
        assert_eq!(asked(&other, &complete()), BTreeMap::new());
        let mut told = Job::clone(&jobs("{active: 1}")[0]);
        told.annotations_mut()
            .insert(names::ASKS_ANNOTATION.to_owned(), r#"["gpt","llama"]"#.to_owned());
        let all = asked_elsewhere(&other, &[Arc::new(told)], at(END));
        assert_eq!(all.keys().collect::<Vec<_>>(), ["gpt", "llama"], "judges and the baseline too");
        assert_eq!(
            asked(&fixtures::job(), "{active: 1}"),
            BTreeMap::new(),
            "its own runs are no others"
        );
        other.metadata.namespace = Some("elsewhere".to_owned());
        assert_eq!(asked(&other, "{active: 1}"), BTreeMap::new());
    }

    #[test]
    fn a_complete_job_yields_the_report_of_its_pod() {
        let report = Report::invalid("why");
        let pod = fixtures::pod("2026-05-02T02:00:00Z", Some(&report.encode()));
        assert_eq!(observed(&complete(), &[pod], END), State::Ended(at(END), Ok(report)));
    }

    #[test]
    fn a_job_whose_container_runs_is_running_for_as_long_as_kubernetes_lets_it() {
        let running = fixtures::pod("2026-05-02T02:00:00Z", None);
        assert_eq!(observed(STARTED, &[running], "2026-05-02T07:00:00Z"), State::Running);
    }

    const STARTED: &str = "{active: 1, startTime: '2026-05-02T02:00:00Z'}";

    fn waiting(pod_status: &str) -> Arc<Pod> {
        let mut pod = Pod::clone(&fixtures::pod("2026-05-02T02:00:00Z", None));
        pod.status = Some(fixtures::read(pod_status));
        Arc::new(pod)
    }

    #[test]
    fn a_pod_that_cannot_start_is_told_at_once_and_given_up_after_a_quarter_of_an_hour() {
        let unschedulable = "{conditions: [{type: PodScheduled, status: 'False', message: '0/3 nodes are available'}]}";
        let unpulled = "{containerStatuses: [{name: evaluate, image: 'nowhere:1', imageID: '', ready: false, restartCount: 0,
            state: {waiting: {reason: ImagePullBackOff, message: 'back-off 5m'}}}]}";
        for (status, reason, message) in [
            (
                unschedulable,
                "Unschedulable",
                "no node can take the pod: 0/3 nodes are available. Free or add capacity",
            ),
            (
                unpulled,
                "ImageNotAvailable",
                "the image \"nowhere:1\" cannot be pulled; check the value image of the chart and the node's access to its registry",
            ),
        ] {
            let limit = at("2026-05-02T02:15:00Z");
            let State::Starting {
                trouble: Some(trouble),
                look,
            } = observed(STARTED, &[waiting(status)], "2026-05-02T02:14:59Z")
            else {
                panic!("it is not told")
            };
            assert_eq!((trouble.reason, trouble.message.as_str(), look), (reason, message, limit));
            assert_eq!(
                observed(STARTED, &[waiting(status)], "2026-05-02T03:00:00Z"),
                State::Stuck(limit, format!("the run did not start within 15 minutes: {message}"))
            );
        }
    }

    #[test]
    fn a_job_without_a_pod_is_told_after_a_minute() {
        let minute = at("2026-05-02T02:01:00Z");
        let quiet = State::Starting {
            trouble: None,
            look: minute,
        };
        assert_eq!(observed(STARTED, &[], "2026-05-02T02:00:01Z"), quiet);
        let State::Starting { trouble, look } = observed(STARTED, &[], "2026-05-02T02:01:00Z") else {
            panic!("it is given up")
        };
        assert_eq!((trouble.unwrap().reason, look), ("PodsRefused", at("2026-05-02T02:15:00Z")));
    }

    #[test]
    fn a_job_whose_pod_was_lost_is_not_repeated() {
        let lost = "{active: 1, failed: 1, startTime: '2026-05-02T02:00:00Z'}";
        let State::Stuck(_, why) = observed(lost, &[fixtures::pod("2026-05-02T02:00:00Z", None)], END) else {
            panic!("it goes on")
        };
        assert!(why.starts_with("the run's pod was lost"), "{why}");
        let failing = "{failed: 1, startTime: '2026-05-02T02:00:00Z', conditions: [{type: FailureTarget, status: 'True'}]}";
        let ended = fixtures::pod("2026-05-02T02:00:00Z", Some("Killed"));
        assert_eq!(observed(failing, &[ended], END), State::Running);
    }

    #[test]
    fn a_run_that_another_pod_ended_without_knowing_what_the_first_one_spent_has_no_verdict() {
        let ended = complete().replacen('{', "{failed: 1, ", 1);
        let pod = fixtures::pod("2026-05-02T02:00:00Z", Some(&Report::invalid("why").encode()));
        let State::Ended(_, Err(why)) = observed(&ended, &[pod], END) else {
            panic!("its report is believed")
        };
        assert!(
            why.starts_with("the run's pod was lost, and with it what it had found and spent"),
            "{why}"
        );
    }

    #[test]
    fn why_a_pod_was_evicted_is_told() {
        let lost = "{active: 1, failed: 1, startTime: '2026-05-02T02:00:00Z'}";
        let evicted =
            waiting("{phase: Failed, reason: Evicted, message: 'Usage of EmptyDir volume \"results\" exceeds the limit \"4Gi\". '}");
        assert_eq!(
            observed(lost, &[evicted], END),
            State::Stuck(
                at(END),
                "the run's pod was evicted (Usage of EmptyDir volume \"results\" exceeds the limit \"4Gi\"), and with it what it had found and \
                 spent; wait for the next run"
                    .to_owned()
            )
        );
    }

    #[test]
    fn a_job_that_keeps_its_progress_goes_on_in_another_pod() {
        let mut job = fixtures::ran("2026-05-02T02:00:00Z", "{active: 1, failed: 1, startTime: '2026-05-02T02:00:00Z'}");
        let pod = job.spec.as_mut().and_then(|spec| spec.template.spec.as_mut()).unwrap();
        pod.containers = vec![fixtures::read(
            "{name: evaluate, env: [{name: REPORT_FOLDER, value: /reports/quality}]}",
        )];
        let pods = [fixtures::pod("2026-05-02T02:00:00Z", None)];
        let jobs = [Arc::new(job)];
        assert_eq!(runs(&fixtures::job(), &jobs, &pods, at(END))[0].state, State::Running);
        let hours_later = at("2026-05-02T04:00:00Z");
        let between = runs(&fixtures::job(), &jobs, &[], hours_later);
        assert!(
            matches!(between[0].state, State::Starting { trouble: None, .. }),
            "the next pod is not there yet: {between:?}"
        );
        // The one that was evicted is listed on, and another one cannot be made, or does not start.
        let mut evicted = Pod::clone(&pods[0]);
        evicted.status = Some(fixtures::read(
            "{phase: Failed, containerStatuses: [{name: evaluate, image: '', imageID: '', ready: false, restartCount: 0,
                state: {terminated: {exitCode: 137, finishedAt: '2026-05-02T02:30:00Z'}}}]}",
        ));
        let mut next = Pod::clone(&waiting(
            "{conditions: [{type: PodScheduled, status: 'False', message: '0/3 nodes are available'}]}",
        ));
        next.metadata.name = Some("next".to_owned());
        next.metadata.creation_timestamp = Some(fixtures::read("'2026-05-02T02:30:02Z'"));
        let evicted = Arc::new(evicted);
        for (pods, reason) in [
            (vec![Arc::clone(&evicted)], "PodsRefused"),
            (vec![evicted, Arc::new(next)], "Unschedulable"),
        ] {
            let state = |now| runs(&fixtures::job(), &jobs, &pods, at(now)).remove(0).state;
            let State::Starting {
                trouble: Some(trouble), ..
            } = state("2026-05-02T02:32:00Z")
            else {
                panic!("{:?}", state("2026-05-02T02:32:00Z"))
            };
            assert_eq!(trouble.reason, reason);
            let State::Stuck(_, why) = state("2026-05-02T02:45:02Z") else {
                panic!("it waits for the deadline of the run")
            };
            assert!(why.starts_with("the run did not start within 15 minutes"), "{why}");
        }
    }

    #[test]
    fn a_pod_that_is_seen_later_than_its_job_is_waited_for_but_not_for_ever() {
        let running = fixtures::pod("2026-05-02T02:00:00Z", None);
        let grace = at("2026-05-02T02:10:30Z");
        for pods in [vec![], vec![running]] {
            assert_eq!(observed(&complete(), &pods, END), State::Ending(grace));
            let lost = "the run left no report: the pod was removed before its report was read; wait for the next run";
            assert_eq!(
                observed(&complete(), &pods, "2026-05-02T02:10:30Z"),
                State::Ended(at(END), Err(lost.to_owned()))
            );
        }
    }

    #[test]
    fn a_failed_job_tells_the_pods_reason_or_its_own() {
        let own = fixtures::pod(
            "2026-05-02T02:00:00Z",
            Some(&Report::invalid("the gateway does not answer").encode()),
        );
        assert_eq!(
            observed(&failed("BackoffLimitExceeded"), &[own], END),
            State::Ended(at(END), Err("the gateway does not answer".to_owned()))
        );
        assert_eq!(
            observed(&failed("DeadlineExceeded"), &[], END),
            State::Ended(
                at(END),
                Err("the run left no report: DeadlineExceeded: it was too much; wait for the next run".to_owned())
            )
        );
    }

    #[test]
    fn a_message_that_is_no_report_is_a_reason_and_not_a_result() {
        let pod = fixtures::pod("2026-05-02T02:00:00Z", Some("Killed"));
        let State::Ended(_, Err(why)) = observed(&complete(), &[pod], END) else {
            panic!("no reason")
        };
        assert!(why.starts_with("the run's report cannot be read"), "{why}");
    }

    #[test]
    fn jobs_of_others_are_left_out() {
        let mut stranger = fixtures::ran("2026-05-02T02:00:00Z", "{}");
        stranger.metadata.owner_references = None;
        let mut predecessor = fixtures::ran("2026-05-02T02:00:00Z", "{}");
        predecessor.metadata.owner_references.as_mut().unwrap()[0].uid = "u-0".to_owned();
        let mut renamed = fixtures::ran("2026-05-02T02:00:00Z", "{}");
        renamed.metadata.name = Some("quality-by-hand".to_owned());
        let jobs = [stranger, predecessor, renamed].map(Arc::new);
        assert_eq!(runs(&fixtures::job(), &jobs, &[], at(END)), []);
    }
}
