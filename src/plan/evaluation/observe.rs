//! The runs that exist: an EvalJob's Jobs and what their pods left behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::report::Report;
use crate::api::EvalJob;
use crate::plan::names::{self, Key};

/// Jobs and pods are watched apart, so a Job may be seen to end before its pod is. After so long the pod is not coming.
const POD_GRACE: SignedDuration = SignedDuration::from_secs(30);

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The Job's name.
    pub name: String,
    /// Its slot.
    pub slot: Timestamp,
    /// What each target was when the run started; empty for one that was changing then.
    pub fingerprints: BTreeMap<String, String>,
    /// How far it is.
    pub state: State,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// The Job goes on.
    Running,
    /// The Job has ended, its pod's message has not been seen yet; look again at this time.
    Ending(Timestamp),
    /// It has ended at this time, with a report or the reason why there is none.
    Ended(Timestamp, Result<Report, String>),
}

impl Run {
    /// Whether no other run may start yet.
    #[must_use]
    pub fn is_going_on(&self) -> bool {
        !matches!(self.state, State::Ended(..))
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
                state: state(job, pods, now),
            })
        })
        .collect();
    runs.sort_by_key(|run| run.slot);
    runs
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
    let Some((end, failure)) = end(job, now) else {
        return State::Running;
    };
    match message(job, pods) {
        Some(text) => State::Ended(end, read(&text, failure.as_deref())),
        None if failure.is_none() && now < end + POD_GRACE => State::Ending(end + POD_GRACE),
        None => {
            let why = failure.unwrap_or_else(|| "the pod was removed before its report was read".to_owned());
            State::Ended(end, Err(format!("the run left no report: {why}; wait for the next run")))
        }
    }
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

/// The termination message of the Job's pod that ended last.
fn message(job: &Job, pods: &[Arc<Pod>]) -> Option<String> {
    let (namespace, name) = (job.namespace(), job.name_any());
    pods.iter()
        .filter(|pod| pod.namespace() == namespace && pod.labels().get("batch.kubernetes.io/job-name") == Some(&name))
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
    fn a_complete_job_yields_the_report_of_its_pod() {
        let report = Report::invalid("why");
        let pod = fixtures::pod("2026-05-02T02:00:00Z", Some(&report.encode()));
        assert_eq!(observed(&complete(), &[pod], END), State::Ended(at(END), Ok(report)));
    }

    #[test]
    fn a_job_without_an_end_is_running() {
        assert_eq!(observed("{active: 1}", &[], END), State::Running);
        assert_eq!(observed("{}", &[], END), State::Running);
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
