//! The run: every target, every suite, every question, a few at a time, each to a terminal end.
//!
//! ```text
//! not asked ──► under way ──► Right | Wrong | Unparsed | Error      noted down, never asked again
//!      ▲            │
//!      └────────────┘ the run is killed, or the gateway cannot be reached: a later attempt asks again
//! ```

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::bail;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::client::{Client, Failure};
use super::dataset::{self, Dataset};
use super::progress::{End, Entry, Progress};
use super::prompt;
use super::score::{Score, Scorer};
use super::tally::{Room, Tally};
use crate::plan::evaluation::report::{Limit, Report};
use crate::plan::evaluation::run::{Evaluation, Suite};
use crate::plan::fingerprint;
use crate::plan::price::Rates;

/// Questions under way at once: enough to keep a server busy, too few to crowd out its users.
pub const AT_ONCE: usize = 4;

/// Where things are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The folder with `<suite>.jsonl` for each suite.
    pub datasets: PathBuf,
    /// The progress file.
    pub progress: PathBuf,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Questions that have ended.
    pub ended: usize,
    /// All questions to all targets.
    pub total: usize,
    /// Those that ended in an error.
    pub errors: u32,
    /// Tokens used.
    pub tokens: u64,
}

/// Carries out `run`, telling `watch` of every end.
///
/// # Errors
/// What a later attempt may heal: the gateway cannot be reached, or the progress file not be written. What it cannot is in the report.
pub async fn run(run: &Evaluation, client: &Client, places: &Places, mut watch: impl FnMut(Standing)) -> anyhow::Result<Report> {
    let suites = match read(run, &places.datasets) {
        Ok(suites) => suites,
        Err(why) => return Ok(Report::invalid(why)),
    };
    let (scorers, datasets): (Vec<Scorer>, Vec<Dataset>) = suites.into_iter().unzip();
    let digests: Vec<&str> = datasets.iter().map(|dataset| dataset.digest.as_str()).collect();
    let (mut progress, noted) = Progress::open(&places.progress, &fingerprint::digest(&(run, digests)))?;

    let mut tally = Tally::new(run);
    noted.iter().for_each(|entry| tally.add(run, entry));
    let done: HashSet<(usize, usize, usize)> = noted.iter().map(|e| (e.target, e.suite, e.question)).collect();
    let all = questions(run.targets.len(), &datasets);
    let total = all.clone().count();
    let mut missing = all.filter(|question| !done.contains(question)).peekable();

    let mut under_way = FuturesUnordered::new();
    let mut stopped: Option<Limit> = None;
    loop {
        watch(tally.standing(total));
        while under_way.len() < AT_ONCE && stopped.is_none() {
            let Some((target, suite, question)) = missing.peek().copied() else {
                break;
            };
            let given_up = tally.is_given_up(target);
            if !given_up {
                match tally.room(run, under_way.len()) {
                    Room::Yes => {}
                    Room::Wait => break,
                    Room::No(limit) => {
                        stopped = Some(limit);
                        break;
                    }
                }
            }
            missing.next();
            if given_up {
                let entry = Entry {
                    target,
                    suite,
                    question,
                    end: End::Error,
                    tokens: None,
                };
                progress.note(&entry)?;
                tally.add(run, &entry);
                continue;
            }
            let (scorer, exemplar) = (&scorers[suite], &datasets[suite].exemplars[question]);
            let model = format!("{}/{}", run.namespace, run.targets[target].model);
            under_way.push(async move {
                let asked = client.ask(&model, &prompt::messages(exemplar, scorer)).await;
                (target, suite, question, asked)
            });
        }
        let Some((target, suite, question, asked)) = under_way.next().await else {
            break;
        };
        let (end, tokens) = match asked {
            Ok(answer) => {
                let tokens = answer.tokens;
                if tokens.is_none() && (run.limits.tokens.is_some() || run.limits.cost.is_some()) {
                    tally.failed(
                        &run.targets[target].model,
                        "the answer does not say what it used, so spec.limits cannot be kept",
                    );
                    (End::Error, None)
                } else {
                    (
                        end_of(scorers[suite].score(&datasets[suite].exemplars[question], &answer.text)),
                        tokens,
                    )
                }
            }
            Err(Failure::Refused(why)) => {
                let (suite, id) = (&run.suites[suite].name, &datasets[suite].exemplars[question].id);
                tracing::warn!(model = run.targets[target].model, suite, id, "no answer: {why}");
                tally.failed(&run.targets[target].model, &why);
                (End::Error, None)
            }
            Err(Failure::Unreachable(why)) => bail!("{why}"),
        };
        let entry = Entry {
            target,
            suite,
            question,
            end,
            tokens,
        };
        progress.note(&entry)?;
        tally.add(run, &entry);
    }
    watch(tally.standing(total));
    Ok(tally.report(run, &datasets, stopped))
}

fn end_of(score: Score) -> End {
    match score {
        Score::Right => End::Right,
        Score::Wrong => End::Wrong,
        Score::Unparsed => End::Unparsed,
    }
}

/// Every question to every target, by target, suite and line.
fn questions(targets: usize, datasets: &[Dataset]) -> impl Iterator<Item = (usize, usize, usize)> + Clone {
    (0..targets).flat_map(move |target| {
        let suites = datasets.iter().enumerate();
        suites.flat_map(move |(suite, dataset)| (0..dataset.exemplars.len()).map(move |question| (target, suite, question)))
    })
}

/// The scorers and questions of all suites, or why one cannot be used.
fn read(run: &Evaluation, folder: &Path) -> Result<Vec<(Scorer, Dataset)>, String> {
    if run.limits.cost.is_some()
        && let Some(unpriced) = run
            .targets
            .iter()
            .find(|target| !target.price.as_ref().is_some_and(Rates::price_text))
    {
        return Err(format!(
            "the price of {} is unknown, so spec.limits.maxCostUSD cannot be kept; set its price",
            unpriced.model
        ));
    }
    let of = |suite: &Suite| {
        let scorer = Scorer::of(&suite.scorer).map_err(|flaw| format!("suite {}: {flaw}", suite.name))?;
        let (map, key) = (&suite.dataset.name, &suite.dataset.key);
        let path = folder.join(format!("{}.jsonl", suite.name));
        let bytes =
            std::fs::read(&path).map_err(|_| format!("ConfigMap {map} has no key {key}; add it, or change the suite {}", suite.name))?;
        let dataset = dataset::read(&format!("ConfigMap {map}, {key}"), &bytes, &scorer)?;
        Ok((scorer, dataset))
    };
    run.suites.iter().map(of).collect()
}
