//! What became of the evaluators that users bring, by what the kubelet says of their containers. One that fails ends its run: started again, as the
//! pod's restart policy has it, it would ask, and be paid for, anew each time.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::jiff::Timestamp;

use super::external::{EVALUATOR, MODEL, RELAY, SUITE};
use super::job::CONTAINER;
use super::report::Report;

/// Of an evaluator's last words, so many characters are told: their end, where errors are.
const WORDS: usize = 400;

/// What the kubelet says of a container that it has lost sight of, as when its node is started again: that is no program's end.
const LOST: [&str; 2] = ["Unknown", "ContainerStatusUnknown"];

/// An evaluator that failed, or asks on at a limit, and why the run has no verdict.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failed {
    /// When.
    pub(super) at: Timestamp,
    /// In one sentence.
    pub(super) why: String,
    /// The relay's report, where a limit of the run kept the evaluator from going on.
    pub(super) limit: Option<Report>,
}

/// The first evaluator in the pods of `job` that ended with anything but 0; or whichever is asking where the relay has ended at a limit: one that takes
/// a refusal for a reason to ask again would never end.
pub(super) fn failed<'a>(job: &Job, pods: impl Iterator<Item = &'a Pod>, now: Timestamp) -> Option<Failed> {
    // One that is evicted or deleted ends its containers, which are not to blame.
    let is_whole = |pod: &&Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        pod.metadata.deletion_timestamp.is_none() && phase != Some("Failed")
    };
    pods.filter(is_whole).find_map(|pod| {
        let limit = limit(pod);
        if let Some((status, ended)) = statuses(pod).find_map(|status| Some((status, failure(status)?))) {
            let at = ended.finished_at.as_ref().map_or(now, |time| time.0);
            let (why, limit) = (says(job, status, ended), limit.map(|(_, report)| report));
            return Some(Failed { at, why, limit });
        }
        // From there on the run itself knows what to make of a limit.
        let (at, report) = limit.filter(|_| !is_evaluating(pod))?;
        let why = report.invalid.clone().unwrap_or_default();
        let limit = Some(report);
        Some(Failed {
            at: at.unwrap_or(now),
            why,
            limit,
        })
    })
}

/// Whether the run's own container runs, or has.
fn is_evaluating(pod: &Pod) -> bool {
    let all = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let mut own = all.into_iter().flatten().filter(|status| status.name == CONTAINER);
    own.any(|status| has_run(status) || is_running(status))
}

/// Whether an evaluator in the pod runs, or has.
pub(super) fn have_started(pod: &Pod) -> bool {
    statuses(pod).any(|status| has_run(status) || is_running(status))
}

/// Since when the pod's next evaluator does not start though the one before it has ended well.
pub(super) fn wait_since(pod: &Pod) -> Option<Timestamp> {
    let waits = |status: &ContainerStatus| !has_run(status) && !is_running(status);
    if statuses(pod).any(is_running) || !statuses(pod).any(waits) {
        return None;
    }
    let ends = statuses(pod).filter_map(|status| status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
    ends.map(|time| time.0).max()
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let all = pod.status.as_ref().and_then(|status| status.init_container_statuses.as_ref());
    all.into_iter().flatten().filter(|status| status.name.starts_with(EVALUATOR))
}

fn is_running(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some())
}

fn has_run(status: &ContainerStatus) -> bool {
    status.restart_count > 0 || status.state.as_ref().is_some_and(|state| state.terminated.is_some())
}

/// How it failed, also where it was started again since.
fn failure(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let ends = [&status.last_state, &status.state];
    let mut ends = ends.into_iter().filter_map(|state| state.as_ref()?.terminated.as_ref());
    ends.find(|ended| ended.exit_code != 0 && !LOST.contains(&ended.reason.as_deref().unwrap_or_default()))
}

/// When and why the relay ended: at a limit, and with nothing else, it leaves a report.
fn limit(pod: &Pod) -> Option<(Option<Timestamp>, Report)> {
    let all = pod.status.as_ref()?.init_container_statuses.as_ref()?;
    let relay = all.iter().find(|status| status.name == RELAY)?;
    let ends = [&relay.last_state, &relay.state];
    let ends = ends.into_iter().filter_map(|state| state.as_ref()?.terminated.as_ref());
    let mut reports = ends.filter_map(|ended| {
        let report = Report::decode(ended.message.as_ref()?).ok()?;
        Some((ended.finished_at.as_ref().map(|time| time.0), report))
    });
    reports.find(|(_, report)| report.invalid.is_some())
}

fn says(job: &Job, status: &ContainerStatus, ended: &ContainerStateTerminated) -> String {
    let template = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let mut written = template.and_then(|pod| pod.init_containers.as_ref()).into_iter().flatten();
    let written = written.find(|container| container.name == status.name);
    let of = |name: &str| written.and_then(|container| variable(container, name)).unwrap_or("?");
    let (suite, model) = (of(SUITE), of(MODEL));
    let head = format!("suite {suite}: its evaluator for model {model}");
    if ended.reason.as_deref() == Some("OOMKilled") {
        let limits = written.and_then(|container| container.resources.as_ref()?.limits.as_ref()?.get("memory"));
        let limit = limits.map_or_else(|| "it has".to_owned(), |Quantity(amount)| format!("its limit of {amount}"));
        return format!("{head} needs more memory than {limit} and was killed; raise external.resources.limits.memory");
    }
    let code = ended.exit_code;
    match last_words(ended.message.as_deref().unwrap_or_default()) {
        Some(words) => format!("{head} ended with code {code}: {words}"),
        None => format!("{head} ended with code {code} and said nothing; have it write to stderr what is wrong"),
    }
}

fn variable<'a>(container: &'a Container, name: &str) -> Option<&'a str> {
    let found = container.env.iter().flatten().find(|variable| variable.name == name)?;
    found.value.as_deref()
}

/// The end of a text, on one line.
fn last_words(text: &str) -> Option<String> {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ");
    let length = line.chars().count();
    let end: String = line.chars().skip(length.saturating_sub(WORDS)).collect();
    let end = if length > WORDS { format!("…{end}") } else { end };
    (!end.is_empty()).then_some(end)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::api::eval_job::Verdict;
    use crate::plan::evaluation::fixtures;
    use crate::plan::evaluation::job::job;
    use crate::plan::evaluation::observe::{Run, State, runs};
    use crate::plan::evaluation::record::Record;
    use crate::plan::evaluation::run::Evaluation;
    use crate::plan::price::Book;

    const SLOT: &str = "2026-05-02T02:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn ended(name: &str, code: i32, message: &str) -> Value {
        json!({"name": name, "state": {"terminated": {"exitCode": code, "reason": if code == 137 { "OOMKilled" } else { "Error" }, "message": message,
            "finishedAt": "2026-05-02T02:04:00Z"}}})
    }

    fn waiting(name: &str, reason: &str) -> Value {
        json!({"name": name, "state": {"waiting": {"reason": reason}}})
    }

    fn running(name: &str) -> Value {
        json!({"name": name, "ready": true, "state": {"running": {}}})
    }

    /// How far a run is whose pod has these init containers, at that time.
    fn observed(containers: &[Value], now: &str) -> State {
        let mut owner = fixtures::job();
        owner
            .spec
            .suites
            .push(fixtures::read("{name: gsm8k, external: {image: 'example.com/e:1'}}"));
        let (llama, gpt) = (fixtures::model("llama"), fixtures::model("gpt"));
        let run = Evaluation::of(&owner, &[&llama, &gpt], None, &Book::default(), Timestamp::UNIX_EPOCH);
        let job = Job {
            status: Some(fixtures::read(&format!("{{active: 1, startTime: '{SLOT}'}}"))),
            ..job(&owner, &run, &[].into(), &fixtures::runner(), at(SLOT))
        };
        let mut pod = Arc::unwrap_or_clone(fixtures::pod(SLOT, None));
        let whole = |status: &Value| {
            let mut whole = json!({"image": "example.com/e:1", "imageID": "", "ready": false, "restartCount": 0});
            whole.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
            whole
        };
        let init: Vec<Value> = containers.iter().map(whole).collect();
        let main = whole(&waiting("evaluate", "PodInitializing"));
        pod.status =
            Some(serde_json::from_value(json!({"phase": "Pending", "initContainerStatuses": init, "containerStatuses": [main]})).unwrap());
        let mut runs = runs(&owner, &[Arc::new(job)], &[Arc::new(pod)], at(now));
        assert_eq!(runs.len(), 1);
        runs.remove(0).state
    }

    fn stuck(containers: &[Value]) -> String {
        match observed(containers, "2026-05-02T02:05:00Z") {
            State::Stuck(_, why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_evaluator_that_fails_ends_the_run_with_its_last_words() {
        let fails = |code, message| stuck(&[running(RELAY), ended("evaluator-0-0", code, message)]);
        assert_eq!(
            fails(3, "Traceback\n  KeyError: 'question'\n"),
            "suite gsm8k: its evaluator for model llama ended with code 3: Traceback KeyError: 'question'"
        );
        assert_eq!(
            fails(1, ""),
            "suite gsm8k: its evaluator for model llama ended with code 1 and said nothing; have it write to stderr what is wrong"
        );
        assert_eq!(
            fails(137, ""),
            "suite gsm8k: its evaluator for model llama needs more memory than its limit of 2Gi and was killed; raise \
             external.resources.limits.memory"
        );
    }

    #[test]
    fn one_that_was_started_again_has_failed_all_the_same() {
        let again = json!({"name": "evaluator-1-0", "restartCount": 1, "state": {"running": {}}, "lastState": ended("", 2, "no such task")["state"]});
        let why = stuck(&[running(RELAY), ended("evaluator-0-0", 0, ""), again]);
        assert_eq!(why, "suite gsm8k: its evaluator for model gpt ended with code 2: no such task");
    }

    #[test]
    fn where_a_limit_kept_it_from_going_on_the_limit_is_the_reason_and_what_was_spent_is_known() {
        let report = Report {
            tokens: [900, 100],
            cost: Some(7),
            ..Report::invalid("the run stopped at spec.limits.maxCostUSD")
        };
        let relay =
            json!({"name": RELAY, "restartCount": 1, "state": {"running": {}}, "lastState": ended("", 0, &report.encode())["state"]});
        let failed = ended("evaluator-0-0", 1, "402 Payment Required");
        // The relay may say so a moment later.
        let soon = "2026-05-02T02:04:01Z";
        assert_eq!(
            observed(&[running(RELAY), failed.clone()], soon),
            State::Ending(at("2026-05-02T02:04:05Z"))
        );
        assert_eq!(observed(&[relay, failed], soon), State::Stopped(at("2026-05-02T02:04:00Z"), report));
    }

    #[test]
    fn an_evaluator_that_asks_on_at_a_limit_is_ended() {
        let report = Report::invalid("the run stopped at spec.limits.maxTokens");
        let relay =
            json!({"name": RELAY, "restartCount": 1, "state": {"running": {}}, "lastState": ended("", 0, &report.encode())["state"]});
        assert_eq!(
            observed(&[relay, running("evaluator-0-0")], "2026-05-02T02:05:00Z"),
            State::Stopped(at("2026-05-02T02:04:00Z"), report)
        );
    }

    #[test]
    fn an_evaluator_is_not_blamed_for_a_node_that_was_started_again() {
        for (reason, code) in [("Unknown", 255), ("ContainerStatusUnknown", 137)] {
            let lost = json!({"terminated": {"exitCode": code, "reason": reason, "finishedAt": "2026-05-02T02:04:00Z"}});
            let again = json!({"name": "evaluator-0-0", "restartCount": 1, "state": {"running": {}}, "lastState": lost});
            assert_eq!(
                observed(&[running(RELAY), again], "2026-05-02T02:05:00Z"),
                State::Running,
                "{reason}"
            );
        }
    }

    #[test]
    fn a_limit_that_an_evaluator_met_is_recorded_with_what_was_spent() {
        let report = Report {
            tokens: [900, 100],
            cost: Some(7_000_000_000),
            ..Report::invalid("the run stopped at spec.limits.maxCostUSD")
        };
        let run = Run {
            name: "quality-29628120".to_owned(),
            slot: at(SLOT),
            fingerprints: [("llama".to_owned(), "f".to_owned())].into(),
            requested: None,
            images: None,
            versions: None,
            state: State::Stopped(at(SLOT), report),
        };
        let record = Record::of(&fixtures::job(), &[run], &["llama".to_owned()]);
        assert_eq!(record.verdict, Some(Verdict::Invalid));
        assert_eq!(record.targets[0].message, "the run stopped at spec.limits.maxCostUSD");
        let past = &record.history[0];
        assert_eq!((past.tokens, past.cost_usd.as_ref().map(|usd| usd.0.as_str())), (1000, Some("7")));
    }

    #[test]
    fn a_run_goes_on_while_evaluators_do_however_long() {
        let late = "2026-05-02T05:00:00Z";
        assert_eq!(observed(&[running(RELAY), running("evaluator-0-0")], late), State::Running);
        assert_eq!(
            observed(
                &[
                    running(RELAY),
                    ended("evaluator-0-0", 0, ""),
                    waiting("evaluator-1-0", "PodInitializing")
                ],
                late
            ),
            State::Running
        );
    }

    #[test]
    fn an_image_that_cannot_be_pulled_keeps_the_first_and_the_next_evaluator() {
        let missing = |name| waiting(name, "ImagePullBackOff");
        let says = "the image \"example.com/e:1\" cannot be pulled; check external of its suite and the node's access to its registry";
        let first = [running(RELAY), missing("evaluator-0-0")];
        let next = [running(RELAY), ended("evaluator-0-0", 0, ""), missing("evaluator-1-0")];
        for (containers, limit) in [(&first[..], "2026-05-02T02:15:00Z"), (&next[..], "2026-05-02T02:19:00Z")] {
            let State::Starting { trouble, look } = observed(containers, "2026-05-02T02:10:00Z") else {
                panic!("it is not known");
            };
            assert_eq!((trouble.unwrap().message.as_str(), look), (says, at(limit)));
            let State::Stuck(_, why) = observed(containers, limit) else {
                panic!("it waits on")
            };
            assert_eq!(why, format!("the run did not start within 15 minutes: {says}"));
        }
    }

    #[test]
    fn of_many_words_the_last_are_told_on_one_line() {
        assert_eq!(
            last_words("Traceback:\n  File\n\u{1b}[31mKeyError: 'q'\n").unwrap(),
            "Traceback: File [31mKeyError: 'q'"
        );
        assert_eq!(last_words(" \n"), None);
        let long = last_words(&"ä".repeat(1000)).unwrap();
        assert_eq!(long.chars().count(), WORDS + 1);
        assert!(long.starts_with('…'));
    }
}
