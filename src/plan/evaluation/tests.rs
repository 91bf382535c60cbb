//! The life of an EvalJob: slots, runs, crashes, verdicts.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use proptest::prelude::*;

use super::check::Datasets;
use super::judge::{Judgement, judge};
use super::measure::{Numbers, Scored, SuiteNumbers, quality};
use super::metric::Metric;
use super::report::{Counts, Report, Target};
use super::run::Evaluation;
use super::{Plan, Seen, fixtures, observe, plan, wants_datasets};
use crate::api::condition::{self, Kind};
use crate::api::eval_job::{EvalJobStatus, Verdict};
use crate::api::{EvalJob, ModelDeployment, Usd};
use crate::plan::evaluation::versions::Versions;
use crate::plan::price::Book;

/// The objects of a cluster with one EvalJob.
struct World {
    job: EvalJob,
    models: Vec<Arc<ModelDeployment>>,
    datasets: Datasets,
    jobs: Vec<Arc<Job>>,
    pods: Vec<Arc<Pod>>,
    elsewhere: BTreeMap<String, String>,
    versions: Versions,
    book: Book,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        Self {
            job: fixtures::job(),
            models: vec![Arc::new(fixtures::model("llama"))],
            datasets: fixtures::datasets(),
            jobs: vec![],
            pods: vec![],
            elsewhere: BTreeMap::new(),
            versions: Versions::new(),
            book: Book::default(),
            now: at("2026-05-01T12:00:00Z"),
        }
    }

    fn seen<'a>(&'a self, runs: &'a [observe::Run]) -> Seen<'a> {
        Seen {
            models: &self.models,
            datasets: None,
            runs,
            elsewhere: &self.elsewhere,
            pods: &[],
            prices: &self.book,
            versions: &self.versions,
        }
    }

    fn plan(&self) -> Plan {
        let runs = observe::runs(&self.job, &self.jobs, &self.pods, self.now);
        let seen = self.seen(&runs);
        let datasets = wants_datasets(&self.job, seen, self.now).then_some(&self.datasets);
        let seen = Seen { datasets, ..seen };
        plan(&self.job, seen, &fixtures::runner(), self.now)
    }

    /// One reconcile that dies after so many of its three writes.
    fn reconcile_until(&mut self, writes: usize) {
        let Plan { start, status, prune, .. } = self.plan();
        let is_new = |start: &Job| !self.jobs.iter().any(|job| job.name_any() == start.name_any());
        if writes > 0
            && let Some(start) = start.filter(is_new)
        {
            self.jobs.push(Arc::new(start));
        }
        if writes > 1 {
            self.job.status = Some(status);
        }
        if writes > 2 {
            self.jobs.retain(|job| !prune.contains(&job.name_any()));
        }
    }

    fn at(&mut self, now: &str) -> &mut Self {
        self.now = at(now);
        self.reconcile_until(3);
        self
    }

    /// The Job of that slot ends now, with so many right answers of 500.
    fn ends(&mut self, slot: &str, correct: u32) -> &mut Self {
        let end = format!(
            "{{conditions: [{{type: Complete, status: 'True', lastTransitionTime: '{}'}}]}}",
            self.now
        );
        let ended = fixtures::ran(slot, &end);
        for job in &mut self.jobs {
            if job.name_any() == ended.name_any() {
                let mut after = Job::clone(job);
                after.status.clone_from(&ended.status);
                *job = Arc::new(after);
            }
        }
        self.pods.push(fixtures::pod(slot, Some(&report(correct).encode())));
        self
    }

    fn status(&self) -> &EvalJobStatus {
        self.job.status.as_ref().unwrap()
    }

    fn condition(&self, kind: Kind) -> String {
        let found = condition::find(&self.status().conditions, kind).unwrap();
        format!("{} {}: {}", found.status, found.reason, found.message)
    }

    fn change_model(&mut self) {
        let mut model = ModelDeployment::clone(&self.models[0]);
        model.spec.api.as_mut().unwrap().model = "another".to_owned();
        self.models[0] = Arc::new(model);
    }

    fn unsettle(&mut self) {
        let mut model = ModelDeployment::clone(&self.models[0]);
        model.metadata.generation = Some(2);
        self.models[0] = Arc::new(model);
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn report(correct: u32) -> Report {
    let job = fixtures::job();
    let run = Evaluation::of(&job, &[&fixtures::model("llama")], None, &Book::default(), Timestamp::UNIX_EPOCH);
    let rules = run.rules(&run.targets[0]);
    let scored = |question: usize| Scored {
        question,
        cluster: None,
        stratum: None,
        score: f64::from(question < correct as usize),
    };
    let scores: Vec<Scored> = (0..500).map(scored).collect();
    let suite = SuiteNumbers {
        flaw: None,
        baseline_flaw: None,
        name: "claims".to_owned(),
        protocol: "exemplars".to_owned(),
        digest: "sha256:d".to_owned(),
        wanted: 500,
        counts: Counts {
            questions: 500,
            correct,
            ..Counts::default()
        },
        metrics: quality(&scores).map(|measured| (Metric::Accuracy, measured)).into_iter().collect(),
        comparison: None,
        baseline: None,
    };
    let suites = vec![suite.result(rules.confidence)];
    let numbers = Numbers {
        suites: vec![suite],
        ..Numbers::default()
    };
    let Judgement { verdict, message, .. } = judge(&rules, &numbers, None, None);
    Report {
        targets: vec![Target {
            model: "llama".to_owned(),
            verdict,
            message,
            drift: None,
            suites,
        }],
        tokens: [50_000, 1_000],
        cost: Some(72_500_000),
        ..Report::default()
    }
}

const SLOT: &str = "2026-05-02T02:00:00Z";

#[test]
fn a_model_that_another_run_asks_is_waited_for() {
    let mut world = World::new();
    world.at("2026-05-01T12:00:00Z");
    world.now = at(SLOT);
    world.elsewhere = [("llama".to_owned(), "other-29628120".to_owned())].into();
    let plan = world.plan();
    assert_eq!((plan.start, plan.wake), (None, Some(at("2026-05-02T02:00:15Z"))));
    let reconciling = condition::find(&plan.status.conditions, Kind::Reconciling).unwrap();
    assert_eq!(
        (reconciling.reason.as_str(), reconciling.message.as_str()),
        (
            "WaitingForRuns",
            "a run is due and waits its turn: other-29628120 asks llama, and each model is asked by one run at a time"
        )
    );
    assert_eq!(condition::find(&plan.status.conditions, Kind::Ready).unwrap().status, "Unknown");
    world.elsewhere.clear();
    assert!(world.plan().start.is_some());
}

#[test]
fn a_wait_for_targets_has_its_own_patience_after_one_for_another_run() {
    let mut world = World::new();
    world.at("2026-05-01T12:00:00Z");
    world.elsewhere = [("llama".to_owned(), "other-29628120".to_owned())].into();
    world.at(SLOT).at("2026-05-02T02:30:00Z");
    world.elsewhere.clear();
    world.unsettle();
    world.at("2026-05-02T02:30:15Z").at("2026-05-02T02:39:00Z");
    assert_eq!(world.plan().start, None, "it waits for the target since half past two");
    world.at("2026-05-02T02:40:20Z");
    assert!(world.status().active.is_some());
}

#[test]
fn another_version_of_a_providers_model_starts_one_run() {
    let mut world = World::new();
    let answers = |version: &str| Versions::from([("claims/llama".to_owned(), [version.to_owned()].into())]);
    world.job.spec.triggers = vec![crate::api::eval_job::Trigger::ProviderModelChange];
    world.versions = answers("gpt-4o-2024-05-13");
    world.at("2026-05-01T12:00:00Z");
    assert_eq!(world.status().active, None, "what is seen first is no change");
    world.versions = answers("gpt-4o-2024-08-06");
    world.at("2026-05-01T12:30:20Z");
    assert_eq!(world.status().active.as_deref(), Some("quality-29627310"));
    let known = &world.status().provider_models[0];
    assert_eq!((known.model.as_str(), known.versions.len()), ("llama", 2));
    world.ends("2026-05-01T12:30:00Z", 460).at("2026-05-01T12:40:00Z");
    for version in ["gpt-4o-2024-05-13", "gpt-4o-2024-08-06"] {
        world.versions = answers(version);
        world.at("2026-05-01T13:50:00Z");
        assert_eq!(world.status().active, None, "{version} had its run");
    }
    world.versions = answers("gpt-4o-2024-11-20");
    world.job.status.as_mut().unwrap().last_schedule_time =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at("2026-05-01T13:00:00Z")));
    world.at("2026-05-01T13:20:00Z");
    assert_eq!(world.status().active, None, "so soon after another one");
    world.at("2026-05-01T14:00:00Z");
    assert!(world.status().active.is_some());
    world.ends("2026-05-01T14:00:00Z", 460).at("2026-05-01T14:10:00Z");
    world.job.spec.triggers.clear();
    world.versions = answers("gpt-4o-2025-01-01");
    world.at("2026-05-01T16:55:00Z");
    assert_eq!((&world.status().active, world.status().provider_models.len()), (&None, 0));
}

#[test]
fn a_run_that_a_version_started_is_adopted_by_who_comes_after_a_crash() {
    let mut world = World::new();
    world.job.spec.triggers = vec![crate::api::eval_job::Trigger::ProviderModelChange];
    world.job.status = Some(fixtures::read("{providerModels: [{model: llama, asked: llama, versions: [a]}]}"));
    world.versions = [("claims/llama".to_owned(), ["b".to_owned()].into())].into();
    world.now = at("2026-05-01T12:30:20Z");
    world.reconcile_until(1);
    assert_eq!(world.jobs.len(), 1);
    world.at("2026-05-01T12:31:20Z");
    world.ends("2026-05-01T12:30:00Z", 460).at("2026-05-01T12:40:00Z");
    assert_eq!((world.jobs.len(), &world.status().active), (1, &None), "and no second one");
}

#[test]
fn a_run_gives_way_only_to_one_that_may_start() {
    let mut world = World::new();
    world.job.spec.schedule.concurrency_policy = crate::api::eval_job::ConcurrencyPolicy::Replace;
    world.at(SLOT);
    world.elsewhere = [("llama".to_owned(), "other-29628120".to_owned())].into();
    world.at("2026-05-03T02:00:00Z");
    assert_eq!(world.status().verdict, None, "it goes on");
    world.elsewhere.clear();
    world.at("2026-05-03T02:00:15Z");
    assert_eq!(world.status().verdict, Some(Verdict::Invalid));
    assert_eq!(world.status().active.as_deref(), Some("quality-29629560"));
}

#[test]
fn before_its_first_slot_it_is_ready_and_waits_for_it() {
    let mut world = World::new();
    world.at("2026-05-01T12:00:00Z");
    assert_eq!(world.condition(Kind::Ready), r#"True Scheduled: runs at "0 2 * * *" UTC"#);
    assert_eq!(world.condition(Kind::Passed), "Unknown NoRunYet: no run has ended yet");
    assert_eq!(world.status().next_schedule_time.as_ref().unwrap().0, at(SLOT));
    assert_eq!(world.plan().wake, Some(at(SLOT)));
}

#[test]
fn a_run_starts_at_its_slot_and_its_result_is_recorded() {
    let mut world = World::new();
    world.at(SLOT);
    assert_eq!(world.status().active.as_deref(), Some("quality-29628120"));
    assert_eq!(world.status().last_schedule_time.as_ref().unwrap().0, at(SLOT));

    world.now = at("2026-05-02T02:10:00Z");
    world.ends(SLOT, 460).at("2026-05-02T02:10:01Z");
    insta::assert_yaml_snapshot!(world.status());
}

#[test]
fn a_settled_evaluation_is_silent() {
    let mut world = World::new();
    world.at(SLOT).ends(SLOT, 460).at("2026-05-02T02:10:00Z");
    let settled = world.status().clone();
    for later in ["2026-05-02T02:10:01Z", "2026-05-02T12:00:00Z", "2026-05-03T01:59:59Z"] {
        world.now = at(later);
        let runs = observe::runs(&world.job, &world.jobs, &world.pods, world.now);
        assert!(!wants_datasets(&world.job, world.seen(&runs), world.now));
        let Plan { start, status, prune, .. } = world.plan();
        assert_eq!((start, status, prune), (None, settled.clone(), vec![]));
    }
}

#[test]
fn the_verdict_follows_the_latest_run() {
    let mut world = World::new();
    world.at(SLOT).ends(SLOT, 460).at("2026-05-02T02:10:00Z");
    assert!(
        world
            .condition(Kind::Passed)
            .starts_with("True Pass: llama: claims: accuracy 0.920")
    );
    world
        .at("2026-05-03T02:00:00Z")
        .ends("2026-05-03T02:00:00Z", 300)
        .at("2026-05-03T02:10:00Z");
    assert!(
        world
            .condition(Kind::Passed)
            .starts_with("False Fail: llama: claims: accuracy 0.600")
    );
    assert_eq!(world.status().verdict, Some(Verdict::Fail));
    assert_eq!(
        world.status().history.iter().map(|run| run.verdict).collect::<Vec<_>>(),
        [Verdict::Fail, Verdict::Pass]
    );
    assert_eq!(world.status().history[0].cost_usd, Some(Usd("0.0725".to_owned())));
}

#[test]
fn a_run_whose_start_was_not_noted_down_is_adopted() {
    let mut world = World::new();
    world.now = at(SLOT);
    world.reconcile_until(1);
    assert_eq!(world.jobs.len(), 1);
    world.at("2026-05-02T02:00:05Z");
    assert_eq!(world.jobs.len(), 1);
    assert_eq!(world.status().active.as_deref(), Some("quality-29628120"));
}

#[test]
fn a_job_that_was_deleted_while_it_ran_is_an_invalid_run_about_no_present_model() {
    let mut world = World::new();
    world.at(SLOT);
    world.jobs.clear();
    world.at("2026-05-02T02:05:00Z");
    assert_eq!(
        (world.status().verdict, world.status().active.clone()),
        (Some(Verdict::Invalid), None)
    );
    let lost = "Job quality-29628120 was deleted before its report was read; wait for the next run";
    assert_eq!(
        (
            world.status().targets[0].message.as_str(),
            world.status().targets[0].fingerprint.as_str()
        ),
        (lost, "")
    );
    let recorded = world.status().clone();
    world.at("2026-05-02T02:05:01Z");
    assert_eq!(*world.status(), recorded);
}

/// A world whose model has passed, and whose next run was then lost, `broken` in between.
fn passed_and_lost(broken: impl FnOnce(&mut World)) -> World {
    let mut world = World::new();
    world.at(SLOT).ends(SLOT, 460).at("2026-05-02T02:10:00Z");
    broken(&mut world);
    world.at("2026-05-03T02:00:00Z");
    world.jobs.clear();
    world.at("2026-05-03T02:05:00Z");
    world
}

#[test]
fn an_invalid_run_leaves_what_was_decided_about_an_unchanged_model() {
    let mut world = passed_and_lost(|_| {});
    let lost = |job: &str| {
        let why = format!("Job {job} was deleted before its report was read; wait for the next run");
        format!("claims: accuracy 0.920 (0.893 to 0.941), at least 0.8; the latest run was Invalid: {why}")
    };
    let kept = world.status().targets[0].clone();
    assert_eq!((kept.verdict, kept.message), (Verdict::Pass, lost("quality-29629560")));
    assert_eq!(
        kept.fingerprint,
        crate::plan::fingerprint::of(&world.models[0], &world.job, &world.models)
    );
    assert_eq!(kept.suites.len(), 1);
    assert_eq!(world.status().verdict, Some(Verdict::Invalid));
    assert_eq!(world.status().history[0].verdict, Verdict::Invalid);
    assert_eq!(
        world.condition(Kind::Passed),
        format!("Unknown Invalid: llama: {}", lost("quality-29629560"))
    );

    world.at("2026-05-04T02:00:00Z");
    world.jobs.clear();
    world.at("2026-05-04T02:05:00Z");
    let again = &world.status().targets[0].message;
    assert_eq!(*again, lost("quality-29631000"), "reasons do not pile up");

    let slot = "2026-05-05T02:00:00Z";
    world.at(slot).ends(slot, 300).at("2026-05-05T02:10:00Z");
    let decided = &world.status().targets[0];
    assert_eq!(decided.verdict, Verdict::Fail);
    assert!(!decided.message.contains("Invalid"), "{}", decided.message);
}

#[test]
fn an_invalid_run_over_a_changed_model_keeps_nothing() {
    let mut world = World::new();
    world.at(SLOT).ends(SLOT, 460).at("2026-05-02T02:10:00Z");
    world.change_model();
    let slot = "2026-05-03T02:00:00Z";
    world.at(slot).ends(slot, 300);
    world.pods.clear();
    world.at("2026-05-03T03:00:00Z");
    let changed = &world.status().targets[0];
    assert_eq!(changed.verdict, Verdict::Invalid);
    assert_eq!(
        changed.fingerprint,
        crate::plan::fingerprint::of(&world.models[0], &world.job, &world.models)
    );
    assert!(
        world
            .condition(Kind::Passed)
            .starts_with("Unknown Invalid: llama: the run left no report")
    );
}

#[test]
fn a_model_that_changed_in_a_lost_run_is_not_passed_by_what_it_was() {
    let world = passed_and_lost(World::change_model);
    assert!(world.condition(Kind::Passed).starts_with("Unknown Outdated: llama"));
    let kept = &world.status().targets[0];
    assert_ne!(
        kept.fingerprint,
        crate::plan::fingerprint::of(&world.models[0], &world.job, &world.models)
    );
}

#[test]
fn a_run_waits_for_its_judge_and_is_about_it() {
    let mut world = World::new();
    world.job.spec.suites[0].scorer = Some(fixtures::read("judge: {model: claude}"));
    world.job.spec.criteria[0].metric = "score".to_owned();
    let mut judge = fixtures::judge("claude");
    judge.metadata.generation = Some(2);
    world.models.push(Arc::new(judge));
    world.at(SLOT);
    assert!(world.jobs.is_empty());
    let waits = "a run is due and waits for claude: not ready yet, or still changing";
    assert!(world.condition(Kind::Ready).ends_with(waits), "{}", world.condition(Kind::Ready));

    // Nobody waits for ever; what is said then is about nobody who is known.
    let fingerprints = |world: &World| world.jobs[0].annotations()[crate::plan::names::EVALUATED_ANNOTATION].clone();
    world.at("2026-05-02T02:11:00Z");
    assert_eq!(fingerprints(&world), r#"{"llama":""}"#);

    world.jobs.clear();
    world.job.status = None;
    world.models[1] = Arc::new(fixtures::judge("claude"));
    world.at("2026-05-03T02:00:00Z");
    let known = crate::plan::fingerprint::of(&world.models[0], &world.job, &world.models);
    assert_eq!(fingerprints(&world), format!(r#"{{"llama":"{known}"}}"#));
    let pod = world.jobs[0].spec.clone().unwrap().template.spec.unwrap();
    let run = pod.containers[0].env.clone().unwrap().remove(0).value.unwrap();
    let run: Evaluation = serde_json::from_str(&run).unwrap();
    assert_eq!((run.judges[0].model.as_str(), run.judges[0].price.is_some()), ("claude", true));
}

#[test]
fn a_run_that_cannot_start_says_why_and_makes_room_for_the_next() {
    let mut world = World::new();
    world.at(SLOT);
    let mut started = Job::clone(&world.jobs[0]);
    started.status = Some(fixtures::read(&format!("{{active: 1, startTime: '{SLOT}'}}")));
    world.jobs[0] = Arc::new(started);
    let mut pod = Pod::clone(&fixtures::pod(SLOT, None));
    pod.status = Some(fixtures::read(
        "{conditions: [{type: PodScheduled, status: 'False', message: 0/3 nodes are available}]}",
    ));
    world.pods.push(Arc::new(pod));
    world.at("2026-05-02T02:00:10Z");
    let why = "no node can take the pod: 0/3 nodes are available. Free or add capacity";
    let told = format!("Unschedulable: quality-29628120 does not start: {why}");
    assert_eq!(world.condition(Kind::Ready), format!("False {told}"));
    assert_eq!(world.condition(Kind::Reconciling), format!("True {told}"));
    assert_eq!(world.plan().wake, Some(at("2026-05-02T02:15:00Z")));

    world.now = at("2026-05-02T02:15:00Z");
    assert_eq!(world.plan().prune, ["quality-29628120"]);
    world.reconcile_until(2);
    assert_eq!(
        (world.status().verdict, world.status().active.clone()),
        (Some(Verdict::Invalid), None)
    );
    let given_up = format!("the run did not start within 15 minutes: {why}");
    assert_eq!(world.status().targets[0].message, given_up);
    assert!(world.condition(Kind::Ready).starts_with("True Scheduled"));

    world.pods = vec![fixtures::pod(SLOT, None)];
    assert_eq!(
        world.plan().prune,
        ["quality-29628120"],
        "it is over, also when it starts after all"
    );
    world.at("2026-05-02T02:15:10Z");
    assert_eq!((world.jobs.len(), world.status().active.clone()), (0, None));
    world.at("2026-05-03T02:00:00Z");
    assert_eq!(world.status().active.as_deref(), Some("quality-29629560"));
}

#[test]
fn slots_that_fall_into_a_run_are_left_out() {
    let mut world = World::new();
    world.job.spec.schedule.cron = "*/10 * * * *".to_owned();
    world.at("2026-05-01T12:00:00Z");
    let slot = "2026-05-01T12:00:00Z";
    world.at("2026-05-01T12:35:00Z");
    assert_eq!(world.jobs.len(), 1);
    world.ends(slot, 460).at("2026-05-01T12:35:01Z");
    assert_eq!((world.jobs.len(), world.status().active.clone()), (1, None));
    world.at("2026-05-01T12:40:00Z");
    assert_eq!(world.jobs.len(), 2);
}

#[test]
fn a_suspended_evaluation_finishes_its_run_and_starts_none() {
    let mut world = World::new();
    world.at(SLOT);
    world.job.spec.suspend = true;
    world.ends(SLOT, 460).at("2026-05-02T02:10:00Z").at("2026-05-05T00:00:00Z");
    assert_eq!(world.status().verdict, Some(Verdict::Pass));
    assert_eq!(
        world.condition(Kind::Ready),
        "True Suspended: no run starts until spec.suspend is false, but those that a person asks for"
    );
    assert_eq!((world.jobs.len(), world.status().next_schedule_time.clone()), (1, None));
}

#[test]
fn a_run_waits_for_a_model_that_is_changing_but_not_for_ever() {
    let mut world = World::new();
    world.unsettle();
    world.at("2026-05-02T03:00:00Z").at("2026-05-02T03:05:00Z");
    let waiting = "True WaitingForTargets: a run is due and waits for llama: not ready yet, or still changing";
    assert_eq!(world.condition(Kind::Reconciling), waiting);
    assert_eq!((world.jobs.len(), world.plan().wake), (0, Some(at("2026-05-02T03:10:00Z"))));
    world.at("2026-05-02T03:10:00Z").ends(SLOT, 460).at("2026-05-02T03:20:00Z");
    assert!(condition::find(&world.status().conditions, Kind::Reconciling).is_none());
    assert_eq!(world.status().targets[0].fingerprint, "", "nobody knows which of the two it was");
    assert!(world.condition(Kind::Passed).starts_with("Unknown Outdated"));
}

#[test]
fn a_model_that_is_never_ready_does_not_hold_back_a_frequent_schedule_for_ever() {
    let mut world = World::new();
    world.job.spec.schedule.cron = "* * * * *".to_owned();
    world.unsettle();
    for minute in 0..=10 {
        world.at(&format!("2026-05-02T03:{minute:02}:00Z"));
    }
    assert_eq!(world.jobs.len(), 1);
}

#[test]
fn a_verdict_about_a_model_that_has_changed_since_is_outdated() {
    let mut world = World::new();
    world.at(SLOT).ends(SLOT, 460).at("2026-05-02T02:10:00Z");
    world.change_model();
    world.at("2026-05-02T03:00:00Z");
    assert_eq!(
        world.condition(Kind::Passed),
        "Unknown Outdated: llama or the evaluation changed since the latest run, which said Pass; the next run judges anew"
    );
}

#[test]
fn what_is_missing_holds_a_due_run_back_until_it_comes() {
    let mut world = World::new();
    let datasets = std::mem::take(&mut world.datasets);
    world.at("2026-05-02T03:00:00Z");
    let field = "spec.suites[claims].exemplars.dataset.configMapRef";
    let missing = format!(
        "ConfigMapNotFound: {field}: there is no ConfigMap claims/exemplars; create it with the key cases.jsonl, or change the name"
    );
    assert_eq!(world.condition(Kind::Ready), format!("False {missing}"));
    assert_eq!(world.condition(Kind::Reconciling), format!("True {missing}"));
    assert!(condition::find(&world.status().conditions, Kind::Stalled).is_none());
    assert_eq!((world.jobs.len(), world.plan().ask_again), (0, true));
    world.datasets = datasets;
    world.at("2026-05-02T03:00:10Z");
    assert_eq!(world.status().active.as_deref(), Some("quality-29628120"));
    assert!(condition::find(&world.status().conditions, Kind::Reconciling).is_none());
}

#[test]
fn a_model_that_comes_late_has_its_own_time_to_settle() {
    let mut world = World::new();
    world.unsettle();
    let models = std::mem::take(&mut world.models);
    world.at("2026-05-02T03:00:00Z");
    assert!(world.condition(Kind::Reconciling).starts_with("True TargetNotFound"));
    world.models = models;
    world.at("2026-05-02T04:00:00Z").at("2026-05-02T04:05:00Z");
    assert!(world.condition(Kind::Reconciling).starts_with("True WaitingForTargets"));
    assert_eq!(world.plan().wake, Some(at("2026-05-02T04:10:00Z")));
}

#[test]
fn a_broken_schedule_stalls_without_forgetting_what_is_known() {
    let mut world = World::new();
    world.at(SLOT).ends(SLOT, 460).at("2026-05-02T02:10:00Z");
    world.job.spec.schedule.time_zone = Some("Mars/Olympus".to_owned());
    world.at("2026-05-02T02:20:00Z");
    assert!(
        world
            .condition(Kind::Accepted)
            .starts_with("False InvalidSchedule: spec.schedule.timeZone")
    );
    assert!(world.condition(Kind::Stalled).starts_with("True InvalidSchedule"));
    assert!(!world.plan().ask_again);
    assert_eq!(world.status().verdict, Some(Verdict::Pass));
}

#[test]
fn a_target_that_is_no_longer_asked_for_is_forgotten() {
    let mut world = World::new();
    world.at(SLOT).ends(SLOT, 460).at("2026-05-02T02:10:00Z");
    world.models.push(Arc::new(fixtures::model("mistral")));
    world.job.spec.targets.models = vec!["mistral".to_owned()];
    world.at("2026-05-02T02:20:00Z");
    assert_eq!(world.status().targets, []);
    assert!(world.condition(Kind::Passed).starts_with("Unknown Outdated: mistral"));
}

#[test]
fn the_jobs_of_the_latest_three_runs_and_the_wanted_history_are_kept() {
    let mut world = World::new();
    world.job.spec.history.runs = 2;
    for day in 2..9 {
        let slot = format!("2026-05-0{day}T02:00:00Z");
        world.at(&slot).ends(&slot, 460).at(&format!("2026-05-0{day}T02:10:00Z"));
    }
    let kept: Vec<String> = world.jobs.iter().map(|job| job.name_any()).collect();
    assert_eq!(kept, ["quality-29633880", "quality-29635320", "quality-29636760"]);
    assert_eq!(world.status().history.len(), 2);
}

proptest! {
    #[test]
    fn dying_after_any_write_ends_in_the_same_state(deaths in prop::collection::vec(0usize..3, 0..12)) {
        let life = |deaths: &[usize]| {
            let mut world = World::new();
            let mut deaths = deaths.iter().copied();
            for day in 2..6 {
                let slot = format!("2026-05-0{day}T02:00:00Z");
                for now in [slot.clone(), format!("2026-05-0{day}T02:10:00Z")] {
                    world.now = at(&now);
                    world.reconcile_until(deaths.next().unwrap_or(3));
                    world.reconcile_until(deaths.next().unwrap_or(3));
                    world.reconcile_until(3);
                    if now == slot {
                        world.ends(&slot, 440);
                    }
                }
            }
            let jobs: Vec<String> = world.jobs.iter().map(|job| job.name_any()).collect();
            (world.job.status, jobs)
        };
        prop_assert_eq!(life(&deaths), life(&[]));
    }
}

#[test]
fn an_adapter_is_evaluated_once_every_pod_has_it() {
    let model = |lacking: &str| -> ModelDeployment {
        fixtures::read(&format!(
            r#"
            metadata: {{name: ft, namespace: claims, uid: u-3, generation: 1}}
            spec: {{selfHosted: {{engine: {{kind: VLLM}}, custom: {{baseModel: b, adapters: [{{name: fraud, source: {{uri: "hf://b/f"}}}}]}}}}}}
            status:
              observedGeneration: 1
              adapters: [{{name: fraud, ready: 1/2, answers: true, lacking: [{lacking}]}}]
              conditions:
              - {{type: Ready, status: "True", reason: Serving, message: "", lastTransitionTime: "2026-05-01T00:00:00Z", observedGeneration: 1}}
            "#
        ))
    };
    let mut world = World::new();
    world.job.spec.targets.models = vec!["ft:fraud".to_owned()];
    world.models = vec![Arc::new(model("{pod: a, message: it is being loaded}"))];
    world.now = at("2026-05-02T02:00:01Z");
    assert_eq!(world.plan().start, None);
    world.models = vec![Arc::new(model(""))];
    let start = world.plan().start.expect("it is due");
    let job = serde_json::to_string(&start).unwrap();
    assert!(job.contains(r#"\"model\":\"ft:fraud\""#), "{job}");
}
