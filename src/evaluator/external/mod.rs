//! Suites whose questions another program asks: an evaluator that a user brings as an image. It asks through the relay, and what it leaves is read
//! before the run asks anything itself.
//!
//! ```text
//! evaluator ──► relay ──► gateway          what it used: relayed.jsonl ─┐
//!     └──► results: samples_*.jsonl or scores.jsonl ────────────────────┴──► the run: questions, their scores, the cost
//! ```

mod books;
mod refused;
pub mod relay;
mod request;
mod results;
mod taken;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::Context;

use self::results::Scored;
use super::files::Places;
use super::progress::{Asked, End, Entry, Noted, Progress};
use super::suite::{Row, Suite};
use super::tally::Tally;
use crate::api::eval_job::{External, Suite as Spec};
use crate::plan::evaluation::external::{place, suites};
use crate::plan::evaluation::report::{Limit, Report};
use crate::plan::evaluation::run::{Evaluation, Target};
use crate::plan::fingerprint;

/// The folder with what they left, in that of a report that is kept.
pub(super) const KEPT: &str = "external";

/// What evaluators of one suite found: of each model, by its place among those that are asked, the scores of questions.
pub(super) struct Given(Vec<HashMap<usize, f64>>);

impl Given {
    /// The suite that its evaluators asked, one for each model, and what they found. A question that one of them has is a question of all.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence that names suite, model, file, line and remedy.
    pub(super) fn read(
        run: &Evaluation,
        spec: &Spec,
        external: &External,
        places: &Places,
        relayed: Option<&Noted>,
    ) -> Result<(Suite, Self), String> {
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        let mut each: Vec<BTreeMap<String, f64>> = Vec::new();
        for (target, asked) in run.asked().enumerate() {
            let at = |why: String| format!("suite {}, model {}: {why}", spec.name, asked.model);
            let folder = places.results.join(place(target, &spec.name));
            let found = results::read(&folder, external).map_err(at)?;
            if !is_answered(run, target, &spec.name, relayed) {
                let problem = "its evaluator left scores, and no answer of the model was passed on to it";
                return Err(at(format!("{problem}; have it ask at $(OPENAI_BASE_URL)")));
            }
            let mut scores = BTreeMap::new();
            for Scored {
                id,
                score,
                cluster,
                stratum,
            } in found
            {
                let row = Row {
                    id: id.clone(),
                    cluster,
                    stratum,
                };
                let known = rows.entry(id.clone()).or_insert_with(|| row.clone());
                if *known != row {
                    let problem = format!("the question {id} has another cluster or stratum than for another model");
                    return Err(at(format!("{problem}; give it the same for all of them")));
                }
                scores.insert(id, score);
            }
            each.push(scores);
        }
        let places: HashMap<String, usize> = rows.keys().cloned().zip(0..).collect();
        let scores = each.into_iter().map(|scores| {
            let placed = scores.into_iter().filter_map(|(id, score)| Some((*places.get(&id)?, score)));
            placed.collect()
        });
        let scores = scores.collect();
        let ids: Vec<&String> = rows.keys().collect();
        let digest = fingerprint::digest(&(external.asks(), ids));
        let suite = Suite::external(&spec.name, protocol(external), digest, rows.into_values().collect())?;
        Ok((suite, Self(scores)))
    }

    /// The score of a question to the model at that place.
    pub(super) fn score(&self, target: usize, question: usize) -> Option<f64> {
        self.0.get(target)?.get(&question).copied()
    }
}

/// How it is asked and read.
fn protocol(external: &External) -> String {
    let filter = external.filter.as_ref().map_or_else(String::new, |filter| format!(", {filter}"));
    format!("external {}, {}{filter}", external.image, external.metric())
}

/// What requests of an evaluator of the suite are noted under: behind the places of the run's own suites.
fn noted_as(run: &Evaluation, suite: &str) -> Option<usize> {
    let place = run
        .suites
        .iter()
        .position(|known| known.name == suite && known.external.is_some())?;
    Some(run.suites.len() + place)
}

/// Whether the model answered the suite's evaluator at all. Scores of one that asked nobody, or somebody else, say nothing about the model.
fn is_answered(run: &Evaluation, target: usize, suite: &str, relayed: Option<&Noted>) -> bool {
    let place = noted_as(run, suite);
    let mut answers = relayed.into_iter().flat_map(|noted| &noted.ended);
    answers.any(|entry| entry.end == End::Right && entry.asked.target == target && Some(entry.asked.suite) == place)
}

/// Of what was noted of evaluators' questions, only the latest: in another pod they may have found something else.
pub(super) fn keep_latest(entries: &mut Vec<Entry>, given: &BTreeMap<usize, Given>) {
    let mut latest: HashMap<Asked, usize> = HashMap::new();
    for (place, entry) in entries.iter().enumerate() {
        latest.insert(entry.asked, place);
    }
    let mut place = 0;
    entries.retain(|entry| {
        let is_latest = latest.get(&entry.asked) == Some(&place);
        place += 1;
        is_latest || !given.contains_key(&entry.asked.suite)
    });
}

/// Why a run cannot go on from what is noted: in a pod before this one its evaluators asked something else, so that what it asked and spent itself
/// is noted under another name. To begin anew would forget both.
///
/// # Errors
/// When it cannot be read.
pub(super) fn changed(run: &Evaluation, places: &Places, digest: &str) -> anyhow::Result<Option<String>> {
    let names: Vec<&str> = suites(run).map(|(suite, _)| suite.name.as_str()).collect();
    let is_noted = |noted: Noted| noted.begun > 0;
    if names.is_empty() || !is_noted(Progress::read_any(&places.progress)?) || is_noted(Progress::read(&places.progress, digest)?) {
        return Ok(None);
    }
    Ok(Some(format!(
        "the run's pod was lost, and in the next one the evaluator of suite {} asked other questions, so that what was found before does not belong to \
         them; have it ask the same in each run, or wait for the next run",
        names.join(" or ")
    )))
}

/// Keeps what evaluators left in the folder of the report, as they wrote it: the answers are in it, if anywhere.
///
/// # Errors
/// When it cannot be written.
pub(super) fn keep(folder: &Path, run: &Evaluation, places: &Places) -> anyhow::Result<()> {
    for (target, asked) in run.asked().enumerate() {
        for (suite, _) in suites(run) {
            let from = places.results.join(place(target, &suite.name));
            let to = folder.join(KEPT).join(asked.model.replace(':', "_")).join(&suite.name);
            for file in results::files(&from).map_err(anyhow::Error::msg)? {
                let place = to.join(&file);
                let context = || format!("keeping {}", place.display());
                std::fs::create_dir_all(place.parent().unwrap_or(&to)).with_context(context)?;
                std::fs::copy(from.join(&file), &place).with_context(context)?;
            }
        }
    }
    Ok(())
}

/// The file in which the relay notes down what evaluators use: beside the run's own, so that it is kept where that is.
pub(super) fn notes(progress: &Path) -> PathBuf {
    progress.with_file_name("relayed.jsonl")
}

/// What tells the relay's file from that of another run: without the questions, which it does not know.
fn digest(run: &Evaluation) -> String {
    fingerprint::digest(&(run, "relay"))
}

/// What the relay has noted; none of a run without evaluators.
///
/// # Errors
/// When it cannot be read: what was spent is not known then.
pub(super) fn noted(run: &Evaluation, places: &Places) -> anyhow::Result<Option<Noted>> {
    let file = notes(&places.progress);
    if suites(run).next().is_none() || !file.exists() {
        return Ok(None);
    }
    Progress::read(&file, &digest(run)).map(Some)
}

/// Counts what the relay has noted.
pub(super) fn count(noted: &Noted, asked: &[&Target], tally: &mut Tally) {
    for entry in &noted.ended {
        if let Some(target) = asked.get(entry.asked.target) {
            tally.relay(target, entry);
        }
    }
    noted.lost.iter().for_each(|lost| tally.lose(lost));
    tally.lose_unknown(noted.gone);
}

/// Counts what the run itself has used, in an attempt or a pod before this one.
fn count_own(run: &Evaluation, noted: &Noted, asked: &[&Target], tally: &mut Tally) {
    let of_questions: Vec<&Spec> = run.suites.iter().filter(|suite| suite.latency.is_none()).collect();
    for entry in &noted.ended {
        let suite = of_questions.get(entry.asked.suite);
        let (Some(target), false) = (asked.get(entry.asked.target), suite.is_some_and(|suite| suite.external.is_some())) else {
            continue;
        };
        let judge = suite.and_then(|suite| suite.judge());
        let judge = judge.and_then(|judge| run.judges.iter().position(|known| known.model == judge.model));
        tally.add(target, judge.map(|place| (asked.len() + place, &run.judges[place])), entry);
    }
    noted.lost.iter().for_each(|lost| tally.lose(lost));
    tally.lose_unknown(noted.gone);
}

/// What was spent until now: `relayed`, and what the run used itself, whatever it was to be asked then.
///
/// # Errors
/// When that cannot be read.
pub(super) fn spent(run: &Evaluation, places: &Places, relayed: &Tally) -> anyhow::Result<Tally> {
    let mut tally = relayed.clone();
    let asked: Vec<&Target> = run.asked().collect();
    count_own(run, &Progress::read_any(&places.progress)?, &asked, &mut tally);
    Ok(tally)
}

/// The report of a run that goes no further before it asks anything in this attempt, with what was spent until then.
///
/// # Errors
/// When that cannot be read.
pub(super) fn refused(run: &Evaluation, places: &Places, relayed: &Tally, why: String) -> anyhow::Result<Report> {
    if suites(run).next().is_none() {
        return Ok(Report::invalid(why));
    }
    Ok(invalid(run, &spent(run, places, relayed)?, why))
}

/// The report of a run whose evaluators met a limit: what they left is not what they would have.
pub(super) fn stopped(run: &Evaluation, tally: &Tally, limit: Limit) -> Report {
    let (field, remedy) = (limit.field(), limit.remedy());
    let names: Vec<&str> = suites(run).map(|(suite, _)| suite.name.as_str()).collect();
    let why = format!(
        "the run stopped at {field} while the evaluator of suite {} asked; {remedy}",
        names.join(" or ")
    );
    Report {
        stopped: Some(limit),
        ..invalid(run, tally, why)
    }
}

/// The report of a run that is `Invalid` after its evaluators were paid for.
fn invalid(run: &Evaluation, tally: &Tally, why: String) -> Report {
    Report {
        tokens: tally.tokens(),
        cost: tally.cost().filter(|_| run.is_priced()),
        ..Report::invalid(why)
    }
}
