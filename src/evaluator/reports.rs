//! The report of a run in the folder that keeps it: written once, never changed, read by later runs.
//!
//! ```text
//! progress.jsonl     what has ended, while the run goes on and after
//! lm-eval/           the answers, as lm-evaluation-harness writes them
//! external/          what evaluators that users bring left, as they wrote it
//! report.html        the same on one page, for a person
//! report.json        what was asked, what came of it, and the verdicts; its presence says that all of it is there
//! ```

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::external::KEPT;
use super::latency::stream::Ended;
use super::lm_eval::File;
use super::loads::LoadSuite;
use super::progress::{End, Entry, Judgements};
use super::suite::Suite;
use crate::api::eval_job::{self as api, Verdict};
use crate::plan::evaluation::judge::Judgement;
use crate::plan::evaluation::measure::Numbers;
use crate::plan::evaluation::report::Report;
use crate::plan::evaluation::run::{Evaluation, Target};
use crate::protocol::usage::Tokens;

pub(super) const REPORT: &str = "report.json";
pub(super) const PAGE: &str = "report.html";
const EXPORT: &str = "lm-eval";

/// All that is known of a run.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole<'a> {
    evaluation: &'a Evaluation,
    /// What was known before anything was asked: what it would use and could find out.
    outlook: &'a [String],
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
    id: String,
    repeat: u32,
    end: End,
    score: f64,
    tokens: Option<Tokens>,
    /// What a judge said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    judge: Option<Said<'a>>,
    /// Why a program scored it so.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// How long it took, of a request of a load.
    #[serde(skip_serializing_if = "Option::is_none")]
    timed: Option<&'a Ended>,
}

/// What a judge said of one answer.
#[derive(Serialize)]
struct Said<'a> {
    /// Whose answer is better, with the candidate's first and with the reference first; none where one verdict could not be read.
    preferred: Option<[&'static str; 2]>,
    /// What each judgement used.
    tokens: &'a [Option<Tokens>],
    /// What was said.
    texts: &'a [String],
}

fn said(judgements: &Judgements) -> Said<'_> {
    let verdicts = judgements.verdicts.as_ref();
    Said {
        preferred: verdicts.map(|judged| [judged.candidate_first.word(), judged.reference_first.word()]),
        tokens: &judgements.tokens,
        texts: &judgements.texts,
    }
}

/// What was asked, and what came of it.
pub(super) struct Outcome<'a> {
    pub(super) run: &'a Evaluation,
    pub(super) asked: &'a [&'a Target],
    pub(super) suites: &'a [Suite],
    pub(super) loads: &'a [LoadSuite],
    pub(super) entries: &'a [Entry],
    pub(super) report: &'a Report,
    /// The numbers of each target, and what they say.
    pub(super) judged: &'a [(Numbers, Judgement)],
    /// The place and numbers of the baseline, where it is none of the targets.
    pub(super) baseline: Option<&'a (usize, Numbers)>,
    /// The earlier run that targets are compared with.
    pub(super) past: Option<&'a Past>,
    /// What was known before anything was asked.
    pub(super) outlook: &'a [String],
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

/// Writes the page that a person opens.
///
/// # Errors
/// When the folder cannot be written.
pub(super) fn put_page(folder: &Path, page: &str) -> anyhow::Result<()> {
    put(&folder.join(PAGE), page.as_bytes())
}

/// Whose run a report is of. Other namespaces may keep theirs in the same folder of a bucket, and runs of the same names.
#[derive(Deserialize)]
struct Of {
    namespace: String,
}

/// The verdicts and numbers of an earlier run of this namespace, without its answers.
///
/// # Errors
/// When there is no report, or it cannot be understood, or it is of another namespace.
pub(super) fn head(folder: &Path, namespace: &str) -> anyhow::Result<Report> {
    #[derive(Deserialize)]
    struct Head {
        evaluation: Of,
        report: Report,
    }
    let Head { evaluation, report } = serde_json::from_slice(&std::fs::read(folder.join(REPORT))?)?;
    anyhow::ensure!(evaluation.namespace == namespace, "it is of the namespace {}", evaluation.namespace);
    Ok(report)
}

/// The namespace whose run the report in the folder is of, where that can be read.
pub(super) fn namespace(folder: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Head {
        evaluation: Of,
    }
    let file = std::fs::File::open(folder.join(REPORT)).ok()?;
    let Head { evaluation } = serde_json::from_reader(io::BufReader::new(file)).ok()?;
    Some(evaluation.namespace)
}

/// Writes the report, after all else.
///
/// # Errors
/// When the folder cannot be written.
pub(super) fn write(folder: &Path, outcome: &Outcome<'_>) -> anyhow::Result<()> {
    let samples = outcome.entries.iter().filter_map(|entry| {
        let (suite, id) = match outcome.suites.get(entry.asked.suite) {
            Some(suite) => (suite.name.as_str(), suite.id(entry.asked.question).to_owned()),
            None => {
                let load = outcome.loads.iter().find(|load| load.place == entry.asked.suite)?;
                (load.name.as_str(), entry.asked.question.to_string())
            }
        };
        Some(One {
            model: &outcome.asked.get(entry.asked.target)?.model,
            suite,
            id,
            repeat: entry.asked.repeat,
            end: entry.end,
            score: entry.score,
            tokens: entry.tokens,
            judge: entry.judge.as_deref().map(said),
            reason: entry.reason.as_deref(),
            timed: entry.timed.as_deref(),
        })
    });
    let whole = Whole {
        evaluation: outcome.run,
        outlook: outcome.outlook,
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

/// What a later run reads in a report.
#[derive(Deserialize)]
struct Read {
    evaluation: Asked,
    report: Report,
    samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Asked {
    namespace: String,
    suites: Vec<api::Suite>,
    #[serde(default)]
    judges: Vec<Target>,
}

#[derive(Deserialize)]
struct Sample {
    model: String,
    suite: String,
    id: String,
    #[serde(default)]
    repeat: u32,
    end: End,
    score: f64,
}

type Answers = HashMap<(String, String, u32), (End, f64)>;

/// Why an earlier run is not known.
#[derive(Debug)]
pub(super) enum Unread {
    /// There is no report of it, or none that can be understood.
    Gone(String),
    /// It cannot be read now.
    Broken(String),
}

impl Unread {
    /// In a sentence.
    pub(super) fn why(self) -> String {
        match self {
            Self::Gone(why) | Self::Broken(why) => why,
        }
    }
}

/// An earlier run.
pub(super) struct Past {
    asked: Vec<api::Suite>,
    judges: Vec<Target>,
    report: Report,
    /// How each model fared, by the suite's name, the question's id, and which time it was asked.
    ended: HashMap<String, Answers>,
}

impl Past {
    /// Reads the report of the run of that name in the namespace, which is kept beside this one's `folder`.
    ///
    /// # Errors
    /// That it is not there, or of another namespace, or cannot be read.
    pub(super) fn read(folder: &Path, run: &str, namespace: &str) -> Result<Self, Unread> {
        let path = folder.with_file_name(run).join(REPORT);
        let file = std::fs::File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Unread::Gone(format!("spec.reports has no report of the run {run}")),
            _ => Unread::Broken(format!("the report of the run {run} cannot be read: {error}")),
        })?;
        let Read {
            evaluation: Asked {
                namespace: of,
                suites: asked,
                judges,
            },
            report,
            samples,
        } = serde_json::from_reader(io::BufReader::new(file)).map_err(|error| {
            let why = format!("the report of the run {run} cannot be understood: {error}");
            // What is no report will not be one later; what the disk did not give may come.
            if error.is_io() { Unread::Broken(why) } else { Unread::Gone(why) }
        })?;
        if of != namespace {
            let why = format!("the report of the run {run} in spec.reports is of the namespace {of}, and not of {namespace}");
            return Err(Unread::Gone(why));
        }
        let mut ended: HashMap<String, Answers> = HashMap::new();
        for Sample {
            model,
            suite,
            id,
            repeat,
            end,
            score,
        } in samples
        {
            ended.entry(model).or_default().insert((suite, id, repeat), (end, score));
        }
        Ok(Self {
            asked,
            judges,
            report,
            ended,
        })
    }

    /// Whether it asked what `suite` asks, and read answers likewise; `spec` is how the suite is specified now, and `judges` are those of today.
    ///
    /// # Errors
    /// What was otherwise.
    pub(super) fn is_like(&self, suite: &Suite, spec: &api::Suite, judges: &[Target]) -> Result<(), String> {
        let name = &suite.name;
        let Some(then) = self.asked.iter().find(|then| then.name == *name) else {
            return Err(format!("it had no suite {name}"));
        };
        let how = |spec: &api::Suite| (spec.scorer.clone(), spec.repeats.unwrap_or(1), spec.max_output_tokens);
        if how(then) != how(spec) {
            return Err(format!("its suite {name} had another scorer, repeats or maxOutputTokens"));
        }
        let judge = |judges: &[Target]| {
            let named = &spec.scorer.as_ref()?.judge.as_ref()?.model;
            judges
                .iter()
                .find(|judge| judge.model == *named)
                .map(|judge| judge.fingerprint.clone())
        };
        if judge(&self.judges) != judge(judges) {
            return Err(format!("another model judged its suite {name}, by the same name"));
        }
        let mut said = self.report.targets.iter().flat_map(|target| &target.suites);
        match said.find(|said| said.name == *name) {
            Some(said) if said.protocol == suite.protocol && said.digest == suite.digest => Ok(()),
            Some(said) => Err(format!(
                "its suite {name} asked {} as {}, and now it is {} as {}",
                said.digest, said.protocol, suite.digest, suite.protocol
            )),
            None => Err(format!("nothing in it was judged of the suite {name}")),
        }
    }

    /// How many of these questions have no end in it, all repetitions told.
    pub(super) fn lacks(&self, model: &str, suite: &Suite, questions: &[usize]) -> usize {
        let has = |question: &usize| (0..suite.repeats).all(|repeat| self.ended(model, &suite.name, suite.id(*question), repeat).is_some());
        questions.iter().filter(|question| !has(question)).count()
    }

    /// Whether the model was asked at all.
    pub(super) fn knows(&self, model: &str) -> bool {
        self.ended.contains_key(model)
    }

    /// Whether it measured nothing about the model that it judged: too many errors, or a judge that does not agree with itself.
    pub(super) fn is_invalid(&self, model: &str) -> bool {
        let mut targets = self.report.targets.iter();
        targets.any(|target| target.model == model && target.verdict == Verdict::Invalid)
    }

    /// How one answer ended, and its score.
    pub(super) fn ended(&self, model: &str, suite: &str, id: &str, repeat: u32) -> Option<(End, f64)> {
        let of_model = self.ended.get(model)?;
        of_model.get(&(suite.to_owned(), id.to_owned(), repeat)).copied()
    }

    /// Every answer of a model: the suite, the question's id, how it ended, its score.
    pub(super) fn all(&self, model: &str) -> impl Iterator<Item = (&str, &str, End, f64)> {
        let of_model = self.ended.get(model).into_iter().flatten();
        of_model.map(|((suite, id, _), (end, score))| (suite.as_str(), id.as_str(), *end, *score))
    }
}

/// The files of the export and what evaluators left, by their paths in the folder.
///
/// # Errors
/// When it cannot be read.
pub(super) fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![PathBuf::from(EXPORT), PathBuf::from(KEPT)];
    while let Some(below) = open.pop() {
        let path = folder.join(&below);
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            // Nothing was answered, or nobody brought an evaluator.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        for entry in entries {
            let entry = entry.with_context(|| format!("reading {}", path.display()))?;
            let path = below.join(entry.file_name());
            if entry.path().is_dir() {
                open.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// A reader sees all of a file or none of it.
///
/// # Errors
/// When it cannot be written.
pub(super) fn put(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let partial = path.with_extension("partial");
    let written = || -> io::Result<()> {
        std::fs::create_dir_all(path.parent().unwrap_or(path))?;
        std::fs::write(&partial, bytes)?;
        std::fs::rename(&partial, path)
    };
    written().with_context(|| format!("writing {}", path.display()))
}
