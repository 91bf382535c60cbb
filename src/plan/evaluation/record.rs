//! What an EvalJob's status remembers of its runs. Runs of one EvalJob never overlap, so the slot of the latest recorded one tells which have
//! been recorded: each is, exactly once, however often it is seen.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::drift::Memory;
use super::judge::worst;
use super::observe::{Run, State};
use super::report::Report;
use crate::api::eval_job::{PastRun, SuiteResult, TargetResult, Verdict};
use crate::api::{EvalJob, Usd};
use crate::plan::names;

/// Between what a target was last found to be and why the latest run could not find out.
const INVALID_SINCE: &str = "; the latest run was Invalid: ";

/// The memory of runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The verdict of the latest run that has ended.
    pub verdict: Option<Verdict>,
    /// The latest result of each present target; an `Invalid` one only where no earlier one is about the same fingerprint.
    pub targets: Vec<TargetResult>,
    /// Whether the targets become worse.
    pub drift: Memory,
    /// Runs that have ended, the latest first.
    pub history: Vec<PastRun>,
}

impl Record {
    /// What the status of `job` already has, and what `runs` add to it, about those who are `targets` now.
    #[must_use]
    pub fn of(job: &EvalJob, runs: &[Run], targets: &[String]) -> Self {
        let status = job.status.clone().unwrap_or_default();
        let mut record = Self {
            verdict: status.verdict,
            targets: status.targets,
            drift: Memory::of(job),
            history: status.history,
        };
        let vanished = vanished(job, runs, targets);
        let ended = runs.iter().filter_map(|run| match &run.state {
            State::Ended(_, result) => Some((run, result.as_ref().map_err(String::as_str))),
            State::Stuck(_, why) => Some((run, Err(why.as_str()))),
            State::Stopped(_, report) => Some((run, Ok(report))),
            State::Starting { .. } | State::Running | State::Ending(_) => None,
        });
        for (run, result) in ended.chain(vanished.iter().map(|(run, why)| (run, Err(why.as_str())))) {
            record.add(targets, run, result);
        }
        record.targets.retain(|target| targets.contains(&target.model));
        record.drift.keep(targets);
        record
            .targets
            .sort_by_key(|target| targets.iter().position(|model| *model == target.model));
        record
            .history
            .truncate(usize::try_from(job.spec.history.runs).unwrap_or(usize::MAX));
        record
    }

    /// The slot of the latest run that is recorded.
    #[must_use]
    pub fn latest(&self) -> Option<Timestamp> {
        self.history.first().map(|run| run.slot.0)
    }

    fn add(&mut self, targets: &[String], run: &Run, result: Result<&Report, &str>) {
        if self.latest().is_some_and(|latest| latest >= run.slot) {
            return;
        }
        let asked = targets.iter().filter_map(|model| Some((model, run.fingerprints.get(model)?)));
        let results: Vec<TargetResult> = asked
            .map(|(model, fingerprint)| {
                let (verdict, message, suites) = found(model, result);
                TargetResult {
                    model: model.clone(),
                    verdict,
                    message,
                    fingerprint: fingerprint.clone(),
                    slot: Some(Time(run.slot)),
                    suites,
                }
            })
            .collect();
        for target in result.iter().flat_map(|report| &report.targets) {
            if let Some(left) = &target.drift {
                self.drift.add(&target.model, left, &run.name, run.slot);
            }
        }
        let verdict = worst(results.iter().map(|target| target.verdict));
        self.verdict = Some(verdict);
        for new in results {
            match self.targets.iter_mut().find(|old| old.model == new.model) {
                Some(old) if outlives(old, &new) => {
                    let found = old.message.split(INVALID_SINCE).next().unwrap_or_default();
                    old.message = format!("{found}{INVALID_SINCE}{}", new.message);
                }
                Some(old) => *old = new,
                None => self.targets.push(new),
            }
        }
        let past = PastRun {
            slot: Time(run.slot),
            verdict,
            tokens: result.map_or(0, Report::tokens),
            cost_usd: result.ok().and_then(|report| report.cost).map(usd),
        };
        self.history.insert(0, past);
    }
}

/// What a run's report, or the reason why there is none, says about `model`.
fn found(model: &str, report: Result<&Report, &str>) -> (Verdict, String, Vec<SuiteResult>) {
    let invalid = |why: &str| (Verdict::Invalid, why.to_owned(), Vec::new());
    match report {
        Ok(report) => match (&report.invalid, report.targets.iter().find(|target| target.model == model)) {
            (Some(why), _) => invalid(why),
            (None, Some(target)) => (target.verdict, target.message.clone(), target.suites.clone()),
            (None, None) => invalid("the run has no numbers for it; wait for the next run"),
        },
        Err(why) => invalid(why),
    }
}

/// Whether `old` still stands after `new`: it was decided, and `new` decides nothing about anything else. An empty fingerprint is that of
/// nothing in particular; what `old` is about is compared with the present wherever it is used.
fn outlives(old: &TargetResult, new: &TargetResult) -> bool {
    let is_of_the_same = new.fingerprint == old.fingerprint || new.fingerprint.is_empty();
    new.verdict == Verdict::Invalid && old.verdict != Verdict::Invalid && !old.fingerprint.is_empty() && is_of_the_same
}

/// Whether the latest run said `verdict` about the target, whatever it kept from an earlier one.
#[must_use]
pub fn was_last(target: &TargetResult, verdict: Verdict) -> bool {
    let latest = if target.message.contains(INVALID_SINCE) {
        Verdict::Invalid
    } else {
        target.verdict
    };
    latest == verdict
}

/// The run that the status says is going on and whose Job is gone. What it asked is not known any more, so it says nothing about any
/// fingerprint.
fn vanished(job: &EvalJob, runs: &[Run], targets: &[String]) -> Option<(Run, String)> {
    let name = job.status.as_ref()?.active.as_ref()?;
    if runs.iter().any(|run| run.name == *name) {
        return None;
    }
    let run = Run {
        name: name.clone(),
        slot: names::evaluation_slot(&job.name_any(), name)?,
        fingerprints: targets.iter().map(|model| (model.clone(), String::new())).collect(),
        requested: None,
        images: None,
        versions: None,
        state: State::Running,
    };
    Some((
        run,
        format!("Job {name} was deleted before its report was read; wait for the next run"),
    ))
}

fn usd(nanos: u64) -> Usd {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    Usd(text.trim_end_matches('0').trim_end_matches('.').to_owned())
}
