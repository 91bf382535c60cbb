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
use super::progress::{Noted, Progress};
use super::suite::{Row, Suite};
use super::tally::Tally;
use crate::api::eval_job::{self as api, External};
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
    pub(super) fn read(run: &Evaluation, spec: &api::Suite, external: &External, places: &Places) -> Result<(Suite, Self), String> {
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        let mut each: Vec<BTreeMap<String, f64>> = Vec::new();
        for (target, asked) in run.asked().enumerate() {
            let at = |why: String| format!("suite {}, model {}: {why}", spec.name, asked.model);
            let folder = places.results.join(place(target, &spec.name));
            let found = results::read(&folder, external).map_err(at)?;
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
        let digest = fingerprint::digest(&(asks(external), ids));
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

/// What decides which questions are asked, and how: not what its container is given.
fn asks(external: &External) -> External {
    External {
        resources: None,
        secret_ref: None,
        ..external.clone()
    }
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
pub(super) fn invalid(run: &Evaluation, tally: &Tally, why: String) -> Report {
    Report {
        tokens: tally.tokens(),
        cost: tally.cost().filter(|_| run.is_priced()),
        ..Report::invalid(why)
    }
}
