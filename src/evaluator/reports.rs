//! The report of a run in the folder that keeps it: written once, never changed.
//!
//! ```text
//! progress.jsonl     what has ended, while the run goes on and after
//! lm-eval/           the answers, as lm-evaluation-harness writes them
//! report.json        what was asked, what came of it, and the verdicts; its presence says that all of it is there
//! ```

use std::io;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::lm_eval::File;
use super::progress::{End, Entry};
use super::suite::Suite;
use crate::plan::evaluation::report::Report;
use crate::plan::evaluation::run::{Evaluation, Target};
use crate::protocol::usage::Tokens;

const REPORT: &str = "report.json";
const EXPORT: &str = "lm-eval";

/// All that is known of a run.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole<'a> {
    evaluation: &'a Evaluation,
    report: &'a Report,
    /// In seconds since 1970.
    begun: i64,
    ended: i64,
    samples: Vec<One<'a>>,
}

/// How one answer ended. What was said is in the export.
#[derive(Serialize)]
struct One<'a> {
    model: &'a str,
    suite: &'a str,
    id: &'a str,
    repeat: u32,
    end: End,
    score: f64,
    tokens: Option<Tokens>,
}

/// What was asked, and what came of it.
pub(super) struct Outcome<'a> {
    pub(super) run: &'a Evaluation,
    pub(super) asked: &'a [&'a Target],
    pub(super) suites: &'a [Suite],
    pub(super) entries: &'a [Entry],
    pub(super) report: &'a Report,
    /// In seconds since 1970.
    pub(super) begun: i64,
    pub(super) ended: i64,
}

/// Whether the report is there.
pub(super) fn is_written(folder: &Path) -> bool {
    folder.join(REPORT).exists()
}

/// Writes what others read.
///
/// # Errors
/// When the folder cannot be written.
pub(super) fn put_export(folder: &Path, files: Vec<File>) -> anyhow::Result<()> {
    files
        .into_iter()
        .try_for_each(|File { path, bytes }| put(&folder.join(EXPORT).join(path), &bytes))
}

/// Writes the report, after all else.
///
/// # Errors
/// When the folder cannot be written.
pub(super) fn write(folder: &Path, outcome: &Outcome<'_>) -> anyhow::Result<()> {
    let samples = outcome.entries.iter().filter_map(|entry| {
        let suite = outcome.suites.get(entry.asked.suite)?;
        Some(One {
            model: &outcome.asked.get(entry.asked.target)?.model,
            suite: &suite.name,
            id: suite.id(entry.asked.question),
            repeat: entry.asked.repeat,
            end: entry.end,
            score: entry.score,
            tokens: entry.tokens,
        })
    });
    let whole = Whole {
        evaluation: outcome.run,
        report: outcome.report,
        begun: outcome.begun,
        ended: outcome.ended,
        samples: samples.collect(),
    };
    put(
        &folder.join(REPORT),
        &serde_json::to_vec(&whole).context("writing the report as JSON")?,
    )
}

/// A reader sees all of a file or none of it.
fn put(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let partial = path.with_extension("partial");
    let written = || -> io::Result<()> {
        std::fs::create_dir_all(path.parent().unwrap_or(path))?;
        std::fs::write(&partial, bytes)?;
        std::fs::rename(&partial, path)
    };
    written().with_context(|| format!("writing {}", path.display()))
}
