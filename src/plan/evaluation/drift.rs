//! Whether a target becomes worse over the runs of the schedule: what a run is told about those before it, and what it leaves behind.
//!
//! ```text
//! run 1 … 5 ──► baseline, frozen ──► each later run is one step of the detector ──► alarm, until the target changes or a person begins anew
//! ```
//!
//! Only runs of the schedule are steps: the rate of false alarms is promised for so many steps a year.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

use super::schedule;
use crate::api::EvalJob;
use crate::api::condition::{Claim, Kind, Status};
use crate::api::eval_job::DriftStatus;
use crate::plan::names::RESET_DRIFT_ANNOTATION;
use crate::plan::schedule::Schedule;
use crate::plan::statistics::drift::{self, BASELINE_RUNS, State};

/// What is said of false alarms where nothing is.
const PER_YEAR: f64 = 1.0;
/// How much worse is as good where nothing is said.
const TOLERANCE: f64 = 0.01;
/// Slots by which it is told how many a year has.
const SLOTS: u32 = 1000;
const SECONDS_A_YEAR: f64 = 365.25 * 24.0 * 3600.0;

/// What a run is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Drift {
    /// How much worse is as good.
    pub tolerance: f64,
    /// How many steps there are to one false alarm.
    pub threshold: f64,
    /// What is known of each target; of one that was changing when the run started, nothing.
    pub targets: BTreeMap<String, Track>,
}

/// What is known of one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Track {
    /// What the target is.
    pub fingerprint: String,
    /// What was compared so far; empty where nothing was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// The runs whose answers are the baseline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baseline: Vec<String>,
    /// What the detector remembers.
    #[serde(default)]
    pub state: State,
}

/// What a run leaves behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Left {
    /// What it was told had been compared so far; none where that is what it compared too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// What it compared.
    pub about: String,
    /// The step it was; none of a run that is part of the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
    /// Why the baseline cannot be compared with, so that it begins anew with this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
}

/// One comparison.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// What the detector remembers now.
    #[serde(with = "few_digits")]
    pub state: State,
    /// From 0 to 1, which is an alarm.
    pub progress: f64,
    /// How much lower than the baseline the run scored.
    pub drop: f64,
    /// How far the baseline may be off by luck.
    pub standard_error: f64,
}

/// A report has little room, and a logarithm that is off by a ten-thousandth is as good.
mod few_digits {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::plan::statistics::drift::State;

    pub(super) fn serialize<S: Serializer>(State(logs): &State, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&logs.map(|log| format!("{log:.4}")).join(" "))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<State, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::read(&text).ok_or_else(|| serde::de::Error::custom("it has not five numbers"))
    }
}

/// What the run of `slot` is told; nothing where nobody asks for it, or the run is none of the schedule's.
#[must_use]
pub fn told(job: &EvalJob, schedule: &Schedule, fingerprints: &BTreeMap<String, String>, slot: Timestamp) -> Option<Drift> {
    let wanted = job.spec.drift.as_ref()?;
    let is_scheduled = schedule.next(before(slot)) == Some(slot);
    if !is_scheduled {
        return None;
    }
    let number = |text: &Option<String>, usual: f64| text.as_ref().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let known = known(job);
    let track = |(model, fingerprint): (&String, &String)| {
        let known = known.iter().find(|known| known.model == *model);
        let track = Track {
            fingerprint: fingerprint.clone(),
            about: known.map(|known| known.about.clone()).unwrap_or_default(),
            baseline: known.map(|known| known.baseline.clone()).unwrap_or_default(),
            state: known.and_then(|known| read(known.state.as_deref()?)).unwrap_or_default(),
        };
        (model.clone(), track)
    };
    Some(Drift {
        tolerance: number(&wanted.tolerance, TOLERANCE),
        threshold: drift::threshold(per_year(schedule, slot), number(&wanted.false_alarms_per_year, PER_YEAR)),
        targets: fingerprints.iter().filter(|(_, print)| !print.is_empty()).map(track).collect(),
    })
}

fn before(slot: Timestamp) -> Timestamp {
    Timestamp::from_second(slot.as_second() - 1).unwrap_or(slot)
}

/// How many slots a year has, by the next ones.
fn per_year(schedule: &Schedule, from: Timestamp) -> f64 {
    let mut at = from;
    let mut count = 0;
    while count < SLOTS
        && let Some(next) = schedule.next(at)
        && ((next.as_second() - from.as_second()) as f64) <= SECONDS_A_YEAR
    {
        at = next;
        count += 1;
    }
    let seconds = (at.as_second() - from.as_second()) as f64;
    if count < SLOTS || seconds <= 0.0 {
        return f64::from(count.max(1));
    }
    f64::from(count) * SECONDS_A_YEAR / seconds
}

/// What the status of `job` knows, less what a person said is over.
fn known(job: &EvalJob) -> Vec<DriftStatus> {
    let Some(status) = &job.status else { return Vec::new() };
    if job.spec.drift.is_none() || reset(job) != status.drift_reset {
        return Vec::new();
    }
    status.drift.clone()
}

/// The word by which a person began anew last. That the annotation is taken away is none.
#[must_use]
pub fn reset(job: &EvalJob) -> Option<String> {
    let word = job.annotations().get(RESET_DRIFT_ANNOTATION);
    let word = word.map(|text| schedule::word(text));
    word.or_else(|| job.status.as_ref()?.drift_reset.clone())
}

/// What is known of each target, over the runs that are recorded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory(pub Vec<DriftStatus>);

impl Memory {
    /// What the status of `job` knows.
    #[must_use]
    pub fn of(job: &EvalJob) -> Self {
        Self(known(job))
    }

    /// Adds what the run of that name and slot left behind about a model.
    pub fn add(&mut self, model: &str, left: &Left, run: &str, slot: Timestamp) {
        let place = self.0.iter().position(|known| known.model == model);
        let was = place.map_or("", |place| self.0[place].about.as_str());
        // A person has begun anew since the run started.
        if left.was.as_ref().unwrap_or(&left.about) != was {
            return;
        }
        if left.about != was || left.lost.is_some() {
            // That a report is gone makes no model better: an alarm about the same stands.
            let alarm = place.and_then(|place| self.0[place].alarm.clone()).filter(|_| left.about == was);
            let new = DriftStatus {
                model: model.to_owned(),
                about: left.about.clone(),
                baseline: vec![run.to_owned()],
                lost: left.lost.clone(),
                alarm,
                ..DriftStatus::default()
            };
            match place {
                Some(place) => self.0[place] = new,
                None => self.0.push(new),
            }
            return;
        }
        let Some(known) = place.map(|place| &mut self.0[place]) else {
            return;
        };
        let Some(step) = &left.step else {
            if known.baseline.len() < BASELINE_RUNS {
                known.baseline.push(run.to_owned());
            }
            return;
        };
        known.runs += 1;
        known.state = Some(write(step.state));
        known.progress = Some(format!("{:.3}", step.progress));
        known.drop = Some(format!("{:.4}", step.drop));
        known.standard_error = Some(format!("{:.4}", step.standard_error));
        if step.progress >= 1.0 {
            known.alarm.get_or_insert(Time(slot));
        }
    }

    /// Forgets who is no target any more.
    pub fn keep(&mut self, targets: &[String]) {
        self.0.retain(|known| targets.contains(&known.model));
    }
}

/// The latest slot whose run raised an alarm.
#[must_use]
pub fn alarm(known: &[DriftStatus]) -> Option<Timestamp> {
    known.iter().filter_map(|known| known.alarm.as_ref()).map(|time| time.0).max()
}

/// What there is to say; nothing where nobody asks for it.
#[must_use]
pub fn claim(job: &EvalJob, known: &[DriftStatus]) -> Option<Claim> {
    let wanted = job.spec.drift.as_ref()?;
    let claim = |status, reason, message: String| {
        Some(Claim {
            kind: Kind::Drifted,
            status,
            reason,
            message,
        })
    };
    let alarmed: Vec<String> = known.iter().filter_map(alarmed).collect();
    if !alarmed.is_empty() {
        let remedy = format!(
            "look at what changed; if it is to stay, kubectl annotate evj {} {RESET_DRIFT_ANNOTATION}=\"$(date)\" --overwrite",
            job.name_any()
        );
        return claim(Status::True, "DriftAlarm", format!("{}; {remedy}", alarmed.join("; ")));
    }
    let compared: Vec<String> = known
        .iter()
        .filter_map(|known| compared(known, wanted.tolerance.as_deref()))
        .collect();
    if compared.is_empty() {
        let has = known.iter().map(|known| known.baseline.len()).max().unwrap_or(0);
        let lost = known
            .iter()
            .find_map(|known| Some(format!("; {} began anew: {}", known.model, known.lost.as_ref()?)));
        let message = format!(
            "{has} of the {BASELINE_RUNS} runs of the schedule that later ones are compared with{}",
            lost.unwrap_or_default()
        );
        return claim(Status::Unknown, "BaselineIncomplete", message);
    }
    claim(Status::False, "AsBefore", compared.join("; "))
}

fn alarmed(known: &DriftStatus) -> Option<String> {
    let since = known.alarm.as_ref()?.0;
    let latest = known.drop.as_deref().and_then(points);
    let latest = latest.map_or_else(String::new, |drop| format!(", {drop} in the latest"));
    Some(format!(
        "{} became worse than in its first {BASELINE_RUNS} runs: alarm since the run of {since}{latest}",
        known.model
    ))
}

fn compared(known: &DriftStatus, tolerance: Option<&str>) -> Option<String> {
    let (progress, drop) = (known.progress.as_deref()?, points(known.drop.as_deref()?)?);
    let error: f64 = known.standard_error.as_deref()?.parse().ok()?;
    let tolerance: f64 = tolerance.and_then(|text| text.parse().ok()).unwrap_or(TOLERANCE);
    let advice = if tolerance < 2.0 * error {
        format!(
            ", which may be luck: spec.drift.tolerance {tolerance} is less than twice what the first {BASELINE_RUNS} runs may be off, {error:.4}; ask more questions, or raise it"
        )
    } else {
        String::new()
    };
    Some(format!(
        "{}: {drop} in the latest of {} runs, {progress} of the way to an alarm{advice}",
        known.model, known.runs
    ))
}

/// As people say it.
fn points(drop: &str) -> Option<String> {
    let drop: f64 = drop.parse().ok()?;
    let points = drop.abs() * 100.0;
    Some(if drop > 0.0 {
        format!("{points:.1} points lower")
    } else {
        format!("{points:.1} points higher")
    })
}

fn write(State(logs): State) -> String {
    logs.map(|log| log.to_string()).join(" ")
}

fn read(text: &str) -> Option<State> {
    let logs: Vec<f64> = text.split(' ').map(|log| log.parse().ok()).collect::<Option<_>>()?;
    Some(State(logs.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::evaluation::fixtures;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn schedule(cron: &str) -> Schedule {
        Schedule::parse(cron, None, "spec.schedule").unwrap()
    }

    fn job() -> EvalJob {
        let mut job = fixtures::job();
        job.spec.drift = Some(fixtures::read("{}"));
        job
    }

    fn step(progress: f64) -> Left {
        Left {
            was: None,
            about: "a".to_owned(),
            step: Some(Step {
                state: State([0.1, 0.2, 0.3, 0.4, 0.5]),
                progress,
                drop: 0.032,
                standard_error: 0.004,
            }),
            lost: None,
        }
    }

    fn first(was: &str, about: &str) -> Left {
        Left {
            was: Some(was.to_owned()),
            about: about.to_owned(),
            step: None,
            lost: None,
        }
    }

    /// A memory whose baseline is complete.
    fn complete() -> Memory {
        let mut memory = Memory::default();
        for run in 1..=BASELINE_RUNS {
            let was = if run == 1 { "" } else { "a" };
            memory.add("llama", &first(was, "a"), &format!("quality-{run}"), at("2026-05-01T02:00:00Z"));
        }
        memory
    }

    #[test]
    fn a_year_has_as_many_steps_as_the_schedule_has_slots() {
        let per_year = |cron: &str| per_year(&schedule(cron), at("2026-05-01T02:00:00Z"));
        assert_eq!(
            (per_year("0 2 * * *"), per_year("0 0 1 1 *"), per_year("0 2 * * 1")),
            (365.0, 1.0, 52.0)
        );
        let minutes = per_year("* * * * *");
        assert!((minutes - 525_960.0).abs() < 1.0, "{minutes}");
    }

    #[test]
    fn only_a_run_of_the_schedule_is_told_and_only_about_what_is_settled() {
        let (job, schedule) = (job(), schedule("0 2 * * *"));
        let fingerprints = [("llama".to_owned(), "f".to_owned()), ("gpt".to_owned(), String::new())].into();
        let told = |slot: &str| told(&job, &schedule, &fingerprints, at(slot));
        assert_eq!(told("2026-05-02T12:34:00Z"), None);
        let drift = told("2026-05-02T02:00:00Z").unwrap();
        assert_eq!((drift.tolerance, drift.threshold), (0.01, 365.0));
        assert_eq!(drift.targets.keys().collect::<Vec<_>>(), ["llama"]);
    }

    #[test]
    fn five_runs_are_the_baseline_and_later_ones_are_steps_that_the_next_run_is_told_of() {
        let mut memory = complete();
        assert_eq!(memory.0[0].baseline.len(), BASELINE_RUNS);
        memory.add("llama", &step(0.25), "quality-6", at("2026-05-07T02:00:00Z"));
        let mut job = job();
        job.status = Some(fixtures::read("{}"));
        job.status.as_mut().unwrap().drift = memory.0.clone();
        let fingerprints = [("llama".to_owned(), "f".to_owned())].into();
        let told = told(&job, &schedule("0 2 * * *"), &fingerprints, at("2026-05-08T02:00:00Z")).unwrap();
        let track = &told.targets["llama"];
        assert_eq!((track.about.as_str(), track.state), ("a", State([0.1, 0.2, 0.3, 0.4, 0.5])));
        assert_eq!(track.baseline, memory.0[0].baseline);
        assert_eq!((memory.0[0].runs, &memory.0[0].alarm), (1, &None));
    }

    #[test]
    fn an_alarm_stays_until_what_is_compared_changes() {
        let mut memory = complete();
        memory.add("llama", &step(1.0), "quality-6", at("2026-05-07T02:00:00Z"));
        memory.add("llama", &step(0.9), "quality-7", at("2026-05-08T02:00:00Z"));
        assert_eq!(alarm(&memory.0), Some(at("2026-05-07T02:00:00Z")));
        memory.add("llama", &first("a", "b"), "quality-8", at("2026-05-09T02:00:00Z"));
        assert_eq!((alarm(&memory.0), memory.0[0].baseline.len()), (None, 1));
    }

    #[test]
    fn a_baseline_whose_reports_are_gone_begins_anew() {
        let mut memory = complete();
        let gone = Left {
            lost: Some("there is no report".to_owned()),
            ..first("a", "a")
        };
        memory.add("llama", &gone, "quality-6", at("2026-05-07T02:00:00Z"));
        assert_eq!(
            (memory.0[0].baseline.as_slice(), alarm(&memory.0)),
            (&["quality-6".to_owned()][..], None)
        );
        let said = claim(&job(), &memory.0).unwrap().message;
        assert!(said.ends_with("llama began anew: there is no report"), "{said}");

        let mut memory = complete();
        memory.add("llama", &step(1.0), "quality-6", at("2026-05-07T02:00:00Z"));
        memory.add("llama", &gone, "quality-7", at("2026-05-08T02:00:00Z"));
        assert_eq!(alarm(&memory.0), Some(at("2026-05-07T02:00:00Z")), "it is no better for that");
        assert_eq!(claim(&job(), &memory.0).unwrap().reason, "DriftAlarm");
    }

    #[test]
    fn a_person_may_begin_anew_and_what_a_run_from_before_leaves_no_longer_counts() {
        let mut job = job();
        let mut status: crate::api::eval_job::EvalJobStatus = fixtures::read("{}");
        status.drift = complete().0;
        job.status = Some(status);
        assert_eq!(Memory::of(&job).0.len(), 1);
        job.annotations_mut().insert(RESET_DRIFT_ANNOTATION.to_owned(), "now".to_owned());
        let mut memory = Memory::of(&job);
        assert_eq!(memory, Memory::default());
        memory.add("llama", &step(1.0), "quality-6", at("2026-05-07T02:00:00Z"));
        assert_eq!(memory, Memory::default());

        let status = job.status.as_mut().unwrap();
        (status.drift, status.drift_reset) = (complete().0, Some("now".to_owned()));
        job.annotations_mut().clear();
        assert_eq!(
            (Memory::of(&job).0.len(), reset(&job).as_deref()),
            (1, Some("now")),
            "that it is taken away says nothing"
        );
    }

    #[test]
    fn the_condition_tells_how_far_it_is_and_what_to_do() {
        let said = |memory: &Memory| {
            let claim = claim(&job(), &memory.0).unwrap();
            format!("{} {}: {}", claim.status, claim.reason, claim.message)
        };
        let mut memory = complete();
        assert_eq!(
            said(&Memory::default()),
            "Unknown BaselineIncomplete: 0 of the 5 runs of the schedule that later ones are compared with"
        );
        memory.add("llama", &step(0.25), "quality-6", at("2026-05-07T02:00:00Z"));
        assert_eq!(
            said(&memory),
            "False AsBefore: llama: 3.2 points lower in the latest of 1 runs, 0.250 of the way to an alarm"
        );
        let mut unsure = step(0.25);
        unsure.step.as_mut().unwrap().standard_error = 0.02;
        memory.add("llama", &unsure, "quality-7", at("2026-05-08T02:00:00Z"));
        assert!(said(&memory).contains("which may be luck: spec.drift.tolerance 0.01 is less than twice"));
        memory.add("llama", &step(1.0), "quality-8", at("2026-05-09T02:00:00Z"));
        assert_eq!(
            said(&memory),
            "True DriftAlarm: llama became worse than in its first 5 runs: alarm since the run of 2026-05-09T02:00:00Z, 3.2 points lower in the \
             latest; look at what changed; if it is to stay, kubectl annotate evj quality llmportfolio.dev/reset-drift=\"$(date)\" --overwrite"
        );
        assert_eq!(claim(&fixtures::job(), &memory.0), None);
    }
}
