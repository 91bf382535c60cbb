//! EvalJob → when to run, the Job of a run, the verdict over its report, and the status. A run's life:
//!
//! ```text
//! slot due ──► Job applied ──► report in the pod's termination message ──► judged ──► recorded in the status, once
//! ```

pub mod check;
pub mod criteria;
pub mod drift;
mod evaluators;
pub mod external;
pub mod family;
pub mod job;
pub mod judge;
pub mod measure;
pub mod metric;
pub mod observe;
pub mod outlook;
pub mod record;
pub mod report;
pub mod run;
pub mod schedule;
pub mod status;
pub mod times;
pub mod versions;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use self::check::{Datasets, Models, Problem};
use self::job::Runner;
use self::observe::Run;
use self::record::Record;
use self::run::Evaluation;
use self::schedule::{Decision, Due};
use self::status::Facts;
use self::versions::Versions;
use crate::api::condition::{self, Kind};
use crate::api::eval_job::{EvalJobStatus, Trigger};
use crate::api::model_deployment::ModelDeploymentStatus;
use crate::api::{EvalJob, ModelDeployment};
use crate::plan::fingerprint;
use crate::plan::names::{self, Key};
use crate::plan::price::Book;
use crate::plan::schedule::Schedule;

/// How long a due run waits for targets that are still changing. Then it starts without them being settled, and says nothing about what
/// they become.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);

/// How soon a due run looks again whether another one has ended.
const QUEUE: SignedDuration = SignedDuration::from_secs(15);

/// Jobs of ended runs that are kept for their logs.
const KEPT_JOBS: usize = 3;

/// What was seen in the cluster.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// Every ModelDeployment.
    pub models: &'a [Arc<ModelDeployment>],
    /// The ConfigMaps that the EvalJob names; none when they were not looked at, which is enough unless `wants_datasets`.
    pub datasets: Option<&'a Datasets>,
    /// The EvalJob's runs, from `observe::runs`.
    pub runs: &'a [Run],
    /// Models that runs of other EvalJobs ask now, from `observe::asked_elsewhere`.
    pub elsewhere: &'a BTreeMap<String, String>,
    /// The pods of models.
    pub pods: &'a [Arc<Pod>],
    /// What models cost that do not say so themselves.
    pub prices: &'a Book,
    /// The versions that providers answer with, by the model as `namespace/name`.
    pub versions: &'a Versions,
}

/// What to do about an EvalJob. Apply, then write the status, then prune: a crash in between loses nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The Job of a run that is due.
    pub start: Option<Job>,
    /// The status, as it is once that Job is there.
    pub status: EvalJobStatus,
    /// Names of Jobs that are recorded in `status` and no longer needed.
    pub prune: Vec<String>,
    /// When time alone will change something.
    pub wake: Option<Timestamp>,
    /// Whether a dataset is missing or a name is taken: that this ends wakes nobody, so it must be asked for again.
    pub ask_again: bool,
}

/// Whether the datasets must be looked at: nothing else is wrong, and either their existence is not known for this generation or a run is
/// about to need them.
#[must_use]
pub fn wants_datasets(job: &EvalJob, seen: Seen<'_>, now: Timestamp) -> bool {
    let checked = check::accept(job).and_then(|schedule| Ok((schedule, check::resolve(job, seen.models, None, seen.prices, now)?)));
    let Ok((schedule, models)) = checked else { return false };
    let is_known = job.status.as_ref().is_some_and(|status| {
        status.observed_generation == job.metadata.generation && condition::is_true(&status.conditions, Kind::ResolvedRefs)
    });
    let is_about_to_start = || {
        let unsettled = unsettled(&models);
        let runs = overtaken(job, &schedule, &models, &unsettled, seen, now);
        let record = Record::of(job, &runs, &check::targets(job, seen.models));
        let is_outdated = !outdated(job, &record, seen.models).is_empty();
        let settled = settled(job, seen.models, &models, &unsettled).filter(|_| is_outdated);
        let images = images(job, &models, seen);
        let versions = versions::of_targets(job, &models.targets, seen.versions);
        let due = Due {
            job,
            schedule: &schedule,
            runs: &runs,
            settled: settled.as_deref(),
            images: images.as_deref(),
            is_another_version: versions::is_new(
                &versions::known(job, &runs, &versions),
                &versions,
                schedule::latest(job, &runs),
                now,
            ),
            alarm: drift::alarm(&record.drift.0),
            now,
        };
        let is_free = elsewhere(&models, seen).is_none();
        is_free && matches!(due.decide(), Decision::Start { .. }) && (unsettled.is_empty() || patience(job, now) <= now)
    };
    !is_known || is_about_to_start()
}

/// What to do about `job` now.
#[must_use]
pub fn plan(job: &EvalJob, seen: Seen<'_>, runner: &Runner, now: Timestamp) -> Plan {
    let resolve = || check::resolve(job, seen.models, seen.datasets, seen.prices, now);
    let checked = check::accept(job).and_then(|schedule| Ok((schedule, resolve()?)));
    let (schedule, models) = match checked {
        Ok(checked) => checked,
        Err(problem) => return refused(job, seen, &problem, now),
    };
    let unsettled = unsettled(&models);
    let runs = overtaken(job, &schedule, &models, &unsettled, seen, now);
    let record = Record::of(job, &runs, &check::targets(job, seen.models));
    let outdated = outdated(job, &record, seen.models);
    let versions = versions::of_targets(job, &models.targets, seen.versions);
    let mut facts = facts(job, record, &outdated, &runs);
    facts.provider_models = versions::known(job, &runs, &versions);
    let prune = needless(&runs, &facts.record);
    let look = look(&runs);
    let offset = schedule::offset(job);
    facts.next = schedule.next(now - offset).map(|slot| slot + offset).filter(|_| !job.spec.suspend);
    // That a target is no longer one makes no result outdated.
    let settled = settled(job, seen.models, &models, &unsettled).filter(|_| !outdated.is_empty());
    let images = images(job, &models, seen);
    let due = Due {
        job,
        schedule: &schedule,
        runs: &runs,
        settled: settled.as_deref(),
        images: images.as_deref(),
        is_another_version: versions::is_new(&facts.provider_models, &versions, schedule::latest(job, &runs), now),
        alarm: drift::alarm(&facts.record.drift.0),
        now,
    };
    let decision = due.decide();
    versions::begin(&mut facts.provider_models, &versions);
    let (start, wake) = match decision {
        Decision::Suspended => (None, look),
        Decision::Wait { until, missed } => {
            facts.missed = missed;
            (None, look.or(until))
        }
        Decision::Start { .. } if !unsettled.is_empty() && now < patience(job, now) => {
            facts.waiting_for = &unsettled;
            (None, Some(patience(job, now)))
        }
        // So that no model has more questions at once than one run asks, and no load is measured beside another.
        Decision::Start { .. } if let Some((model, run)) = elsewhere(&models, seen) => {
            facts.queued = Some(format!("{run} asks {model}"));
            (None, Some(now + QUEUE))
        }
        Decision::Start { slot } => {
            let fingerprints = fingerprints(job, seen.models, &models, &unsettled);
            let targets: Vec<&ModelDeployment> = models.targets.iter().map(AsRef::as_ref).collect();
            let run = Evaluation {
                drift: drift::told(job, &schedule, &served(&models.targets, &unsettled), slot),
                ..Evaluation::of(job, &targets, models.baseline.as_deref(), seen.prices, now).judged_by(&models.judges, seen.prices, now)
            };
            let mut start = job::job(job, &run, &fingerprints, runner, slot);
            facts.attempted = Some(fingerprint::digest(&fingerprints));
            if let Some(images) = images {
                start.annotations_mut().insert(names::IMAGES_ANNOTATION.to_owned(), images.clone());
                facts.attempted_images = Some(images);
            }
            let told = versions::told(&versions);
            if !told.is_empty() {
                start
                    .annotations_mut()
                    .insert(names::VERSIONS_ANNOTATION.to_owned(), job::json(&told));
                versions::note(&mut facts.provider_models, &versions);
            }
            if let Some(request) = schedule::pending(job, &runs) {
                start
                    .annotations_mut()
                    .insert(names::REQUESTED_ANNOTATION.to_owned(), request.clone());
                facts.answered = Some(request);
            }
            facts.active = Some((start.name_any(), slot));
            (Some(start), None)
        }
    };
    Plan {
        start,
        status: status::status(job, facts, now),
        prune,
        wake,
        ask_again: false,
    }
}

/// What to do about `job` when `problem` keeps its runs from starting.
#[must_use]
pub fn refused(job: &EvalJob, seen: Seen<'_>, problem: &Problem, now: Timestamp) -> Plan {
    let record = Record::of(job, seen.runs, &check::targets(job, seen.models));
    let outdated = outdated(job, &record, seen.models);
    let facts = Facts {
        problem: Some(problem),
        ..facts(job, record, &outdated, seen.runs)
    };
    Plan {
        start: None,
        prune: needless(seen.runs, &facts.record),
        status: status::status(job, facts, now),
        wake: look(seen.runs),
        ask_again: problem.claim == Kind::ResolvedRefs || problem.reason == check::NAME_TAKEN,
    }
}

/// The runs, with those given up that the next one takes the place of: once that one may start, and not while it would only wait.
fn overtaken<'a>(
    job: &EvalJob,
    schedule: &Schedule,
    models: &Models,
    unsettled: &[String],
    seen: Seen<'a>,
    now: Timestamp,
) -> Cow<'a, [Run]> {
    let would_wait = elsewhere(models, seen).is_some() || (!unsettled.is_empty() && now < patience(job, now));
    if would_wait {
        return Cow::Borrowed(seen.runs);
    }
    schedule::overtaken(job, schedule, seen.runs, now)
}

/// What the runs so far come to.
fn facts<'a>(job: &EvalJob, record: Record, outdated: &'a [String], runs: &'a [Run]) -> Facts<'a> {
    let active = going_on(runs).filter(|run| record.latest().is_none_or(|latest| run.slot > latest));
    Facts {
        problem: None,
        waiting_for: &[],
        queued: None,
        outdated,
        active: active.map(|run| (run.name.clone(), run.slot)),
        trouble: active.and_then(Run::trouble),
        next: None,
        missed: None,
        answered: schedule::answered(job, runs),
        attempted: schedule::attempted(job, runs),
        attempted_images: schedule::attempted_images(job, runs),
        provider_models: job.status.as_ref().map(|status| status.provider_models.clone()).unwrap_or_default(),
        record,
    }
}

/// When time alone will change what a run is.
fn look(runs: &[Run]) -> Option<Timestamp> {
    runs.iter().filter_map(Run::look).min()
}

/// A digest over the images of the targets' pods, where anybody asks for it and it is known.
fn images(job: &EvalJob, models: &Models, seen: Seen<'_>) -> Option<String> {
    let is_wanted = job.spec.triggers.contains(&Trigger::ImageChange);
    is_wanted.then(|| observe::images(models.targets.iter().map(AsRef::as_ref), seen.pods))?
}

/// A model of these that a run of another EvalJob asks now.
fn elsewhere<'a>(models: &Models, seen: Seen<'a>) -> Option<(&'a String, &'a String)> {
    let asked = models.iter().map(|model| model.name_any());
    asked
        .filter_map(|name| seen.elsewhere.get_key_value(names::asked_parts(&name).0))
        .next()
}

fn going_on(runs: &[Run]) -> Option<&Run> {
    runs.iter().find(|run| run.is_going_on())
}

/// Until when a due run waits for its targets.
fn patience(job: &EvalJob, now: Timestamp) -> Timestamp {
    status::waiting_since(job, now) + PATIENCE
}

fn unsettled(models: &Models) -> Vec<String> {
    let unsettled: BTreeSet<String> = models
        .iter()
        .filter(|model| !is_settled(model))
        .map(|model| model.name_any())
        .collect();
    unsettled.into_iter().collect()
}

/// Whether what answers for the model is what its spec says: ready, and nothing of it still changing; an adapter is on every pod.
fn is_settled(model: &ModelDeployment) -> bool {
    let name = model.name_any();
    let is_loaded = |status: &ModelDeploymentStatus| match names::asked_parts(&name).1 {
        Some(adapter) => status
            .adapters
            .iter()
            .any(|known| known.name == adapter && known.answers && known.lacking.is_empty()),
        None => true,
    };
    model.status.as_ref().is_some_and(|status| {
        status.observed_generation == model.metadata.generation
            && is_loaded(status)
            && condition::is_true(&status.conditions, Kind::Ready)
            && condition::find(&status.conditions, Kind::Reconciling).is_none()
            && condition::find(&status.conditions, Kind::Stalled).is_none()
    })
}

/// A digest over what all targets are, once all are settled, and their judges.
fn settled(job: &EvalJob, all: &[Arc<ModelDeployment>], models: &Models, unsettled: &[String]) -> Option<String> {
    unsettled
        .is_empty()
        .then(|| fingerprint::digest(&fingerprints(job, all, models, unsettled)))
}

/// What each target is now; nothing where that is not known, because it is changing, or who judges it is.
fn fingerprints(job: &EvalJob, all: &[Arc<ModelDeployment>], models: &Models, unsettled: &[String]) -> BTreeMap<String, String> {
    let judges_are_settled = models.judges.keys().all(|judge| !unsettled.contains(judge));
    let of = |model: &Arc<ModelDeployment>| {
        let name = model.name_any();
        let settled = judges_are_settled && !unsettled.contains(&name);
        (name, if settled { fingerprint::of(model, job, all) } else { String::new() })
    };
    models.targets.iter().map(of).collect()
}

/// What each settled target is, whatever is asked of it.
fn served(targets: &[Arc<ModelDeployment>], unsettled: &[String]) -> BTreeMap<String, String> {
    let named = targets.iter().map(|model| (model.name_any(), fingerprint::served(model)));
    named.filter(|(name, _)| !unsettled.contains(name)).collect()
}

/// Targets whose latest result is not about what they are now.
fn outdated(job: &EvalJob, record: &Record, models: &[Arc<ModelDeployment>]) -> Vec<String> {
    let namespace = Key::of(job).namespace;
    let is_current = |name: &String| {
        let model = check::find(models, &namespace, name);
        let result = record.targets.iter().find(|target| target.model == *name);
        matches!((model, result), (Ok(model), Some(result)) if result.fingerprint == fingerprint::of(&model, job, models))
    };
    let mut targets = check::targets(job, models);
    targets.retain(|name| !is_current(name));
    targets
}

/// Recorded runs that have not ended, such as those that were given up, and the ended ones but the latest few.
fn needless(runs: &[Run], record: &Record) -> Vec<String> {
    let is_recorded = |run: &&Run| record.latest().is_some_and(|latest| run.slot <= latest);
    let has_ended = |run: &&Run| matches!(run.state, observe::State::Ended(..));
    let (ended, stuck): (Vec<&Run>, Vec<&Run>) = runs.iter().filter(is_recorded).partition(has_ended);
    let superseded = &ended[..ended.len().saturating_sub(KEPT_JOBS)];
    superseded.iter().chain(&stuck).map(|run| run.name.clone()).collect()
}
