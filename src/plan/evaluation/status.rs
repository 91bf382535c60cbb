//! The status of an EvalJob. Nothing in it moves by itself: between two slots the same facts give the same status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::check::Problem;
use super::drift;
use super::record::{self, Record};
use crate::api::EvalJob;
use crate::api::condition::{self, Claim, Kind, Status, seconds};
use crate::api::eval_job::{EvalJobStatus, ProviderModel, TargetResult, Verdict};
use crate::plan::pods::Trouble;

/// Why a due run has not started: the reason of `Reconciling`, whose transition time then tells since when.
const WAITING: &str = "WaitingForTargets";

/// Why a due run has not started though its targets are settled.
const QUEUED: &str = "WaitingForRuns";

/// Since when a due run waits for targets to settle. Other reasons than waiting are `Reconciling` too and leave its transition time where it
/// is, but `Ready` is not `True` under them.
#[must_use]
pub fn waiting_since(job: &EvalJob, now: Timestamp) -> Timestamp {
    let conditions = job.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let since = |kind| {
        condition::find(conditions, kind)
            .filter(|c| c.reason == WAITING)
            .map(|c| c.last_transition_time.0)
    };
    since(Kind::Reconciling).max(since(Kind::Ready)).unwrap_or(now)
}

/// What the status is about.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Why no run can start.
    pub problem: Option<&'a Problem>,
    /// Targets whose present state is not settled, for which a due run waits.
    pub waiting_for: &'a [String],
    /// The run of another EvalJob for which a due run waits, and what it asks.
    pub queued: Option<String>,
    /// What the runs so far say.
    pub record: Record,
    /// Targets that the latest results say nothing about: they, or what they are asked, have changed since.
    pub outdated: &'a [String],
    /// The Job that goes on, and its slot.
    pub active: Option<(String, Timestamp)>,
    /// What keeps that Job from starting.
    pub trouble: Option<&'a Trouble>,
    /// When the next slot's run starts.
    pub next: Option<Timestamp>,
    /// The slot that was left out last, because its run could not start in time.
    pub missed: Option<Timestamp>,
    /// The request that a run was last started for.
    pub answered: Option<String>,
    /// A digest over what all targets were when a run was last started.
    pub attempted: Option<String>,
    /// A digest over the images of the targets' pods then.
    pub attempted_images: Option<String>,
    /// The versions that their providers answered with then.
    pub provider_models: Vec<ProviderModel>,
}

/// The status of `job` by `facts`.
#[must_use]
pub fn status(job: &EvalJob, facts: Facts<'_>, now: Timestamp) -> EvalJobStatus {
    let previous = job.status.clone().unwrap_or_default();
    let generation = job.metadata.generation;
    let claims = claims(job, &facts);
    let Facts {
        record,
        active,
        next,
        answered,
        attempted,
        attempted_images,
        provider_models,
        ..
    } = facts;
    let recorded = record.latest();
    let started = active.as_ref().map(|(_, slot)| *slot);
    let known = previous.last_schedule_time.map(|time| time.0);
    EvalJobStatus {
        observed_generation: generation,
        conditions: condition::merge(&previous.conditions, &claims, generation, now),
        verdict: record.verdict,
        summary: summary(&record),
        last_request: answered,
        drift_reset: drift::reset(job).filter(|_| job.spec.drift.is_some()),
        drift: record.drift.0,
        attempted,
        attempted_images,
        provider_models,
        last_schedule_time: [recorded, started, known].into_iter().flatten().max().map(Time),
        next_schedule_time: next.map(|slot| Time(seconds(slot))),
        active: active.map(|(name, _)| name),
        targets: record.targets,
        history: record.history,
    }
}

fn claims(job: &EvalJob, facts: &Facts<'_>) -> Vec<Claim> {
    let mut claims: Vec<Claim> = [passed(facts)]
        .into_iter()
        .chain(drift::claim(job, &facts.record.drift.0))
        .collect();
    if let Some(Problem { claim, reason, invalid }) = facts.problem {
        let message = invalid.to_string();
        if *claim == Kind::ResolvedRefs {
            claims.push(accepted());
        }
        // What is not there yet may be applied a moment later; what is wrong by itself needs a person.
        let hope = if *claim == Kind::ResolvedRefs {
            Kind::Reconciling
        } else {
            Kind::Stalled
        };
        let because = |kind, status: bool| Claim::new(kind, status, reason, message.clone());
        claims.extend([because(*claim, false), because(Kind::Ready, false), because(hope, true)]);
        return claims;
    }
    let resolved = Claim::new(Kind::ResolvedRefs, true, "Resolved", "every model and dataset that it names exists");
    if let Some(trouble) = facts.trouble {
        let job = facts.active.as_ref().map_or("", |(name, _)| name);
        let because = |kind, status: bool| Claim::new(kind, status, trouble.reason, format!("{job} does not start: {}", trouble.message));
        claims.extend([accepted(), resolved, because(Kind::Ready, false), because(Kind::Reconciling, true)]);
        return claims;
    }
    let ready = if !facts.waiting_for.is_empty() {
        let targets = facts.waiting_for.join(", ");
        (
            WAITING,
            format!("a run is due and waits for {targets}: not ready yet, or still changing"),
        )
    } else if let Some(other) = &facts.queued {
        (
            QUEUED,
            format!("a run is due and waits its turn: {other}, and each model is asked by one run at a time"),
        )
    } else if job.spec.suspend {
        (
            "Suspended",
            "no run starts until spec.suspend is false, but those that a person asks for".to_owned(),
        )
    } else {
        let zone = job.spec.schedule.time_zone.as_deref().unwrap_or("UTC");
        let missed = facts.missed.map_or_else(String::new, |slot| {
            format!("; the slot of {slot} was left out, because its run could not start within spec.schedule.startingDeadline")
        });
        ("Scheduled", format!("runs at {:?} {zone}{missed}", job.spec.schedule.cron))
    };
    if [WAITING, QUEUED].contains(&ready.0) {
        claims.push(Claim::new(Kind::Reconciling, true, ready.0, ready.1.clone()));
    }
    // Not `True`, so that a wait for targets that comes after it has its own beginning.
    let status = if ready.0 == QUEUED { Status::Unknown } else { Status::True };
    let ready = Claim {
        kind: Kind::Ready,
        status,
        reason: ready.0,
        message: ready.1,
    };
    claims.extend([accepted(), resolved, ready]);
    claims
}

/// Of each target the first number: what one would ask for first.
fn summary(record: &Record) -> Option<String> {
    let number = |target: &TargetResult| {
        let metric = target.suites.first()?.metrics.first()?;
        let ends = [&metric.upper, &metric.lower].map(|end| end.as_ref().and_then(|end| end.parse::<f64>().ok()));
        let half = match ends {
            [Some(upper), Some(lower)] => format!(" ±{:.3}", (upper - lower) / 2.0),
            _ => String::new(),
        };
        Some(format!("{} {}{half}", target.model, metric.value))
    };
    let numbers: Vec<String> = record.targets.iter().filter_map(number).collect();
    (!numbers.is_empty()).then(|| numbers.join(", "))
}

fn accepted() -> Claim {
    Claim::new(Kind::Accepted, true, "Valid", "the specification can be carried out")
}

fn passed(facts: &Facts<'_>) -> Claim {
    let record = &facts.record;
    let Some(verdict) = record.verdict else {
        return Claim {
            kind: Kind::Passed,
            status: Status::Unknown,
            reason: "NoRunYet",
            message: "no run has ended yet".to_owned(),
        };
    };
    if !facts.outdated.is_empty() {
        let targets = facts.outdated.join(", ");
        return Claim {
            kind: Kind::Passed,
            status: Status::Unknown,
            reason: "Outdated",
            message: format!("{targets} or the evaluation changed since the latest run, which said {verdict}; the next run judges anew"),
        };
    }
    let (status, reason) = match verdict {
        Verdict::Pass => (Status::True, "Pass"),
        Verdict::Fail => (Status::False, "Fail"),
        Verdict::Inconclusive => (Status::Unknown, "Inconclusive"),
        Verdict::Invalid => (Status::Unknown, "Invalid"),
    };
    let of_that_verdict = record.targets.iter().filter(|target| record::was_last(target, verdict));
    let reasons: Vec<String> = of_that_verdict
        .map(|target| format!("{}: {}", target.model, target.message))
        .collect();
    Claim {
        kind: Kind::Passed,
        status,
        reason,
        message: reasons.join("; "),
    }
}
