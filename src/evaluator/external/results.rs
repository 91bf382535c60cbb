//! What an evaluator of the user's left: a line for each question, read as lm-evaluation-harness writes them, or as a program that is written for this
//! does. It was written by somebody else's program, so nothing of it is taken on trust: no link is followed, and everything has a limit.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::api::eval_job::External;

/// The file of a program that is written for this.
const SCORES: &str = "scores.jsonl";
/// How the names of lm-evaluation-harness' files begin and end.
const SAMPLES: (&str, &str) = ("samples_", ".jsonl");
/// The most lines of all files together.
const MOST_LINES: usize = 100_000;
/// The most bytes of one of them: a question, its examples, and all answers.
const MOST_LINE_BYTES: u64 = 8 << 20;
/// How deep folders are looked through, and how many things in them.
const MOST_DEPTH: usize = 8;
const MOST_ENTRIES: usize = 10_000;
/// The longest id, cluster or stratum, in bytes.
const MOST_NAME: usize = 200;
/// Of members and filters that a line may have meant, so many are named.
const MOST_NAMED: usize = 8;

/// One question, as an evaluator scored the answer to it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scored {
    pub(super) id: String,
    pub(super) score: f64,
    /// What it belongs to, with others.
    pub(super) cluster: Option<String>,
    /// What it was drawn from.
    pub(super) stratum: Option<String>,
}

/// Reads what is in the folder of one evaluator.
///
/// # Errors
/// In one sentence the file, the line, and what to do; nothing of what questions or answers say.
pub(super) fn read(folder: &Path, spec: &External) -> Result<Vec<Scored>, String> {
    let files = files(folder)?;
    let (own, of_harness): (Vec<PathBuf>, Vec<PathBuf>) = files
        .into_iter()
        .partition(|file| file.file_name().is_some_and(|name| name == SCORES));
    if !own.is_empty() && !of_harness.is_empty() {
        return Err(format!("there are both {SCORES} and samples_*.jsonl; write one of them"));
    }
    let has_tasks = of_harness.iter().map(|file| task(file)).collect::<BTreeSet<_>>().len() > 1;
    let mut read = Reading::default();
    for file in own.iter().chain(&of_harness) {
        let task = of_harness.first().map(|_| task(file));
        let shape = Shape {
            metric: spec.metric(),
            filter: spec.filter.as_deref(),
            id: if task.is_some() { "doc_id" } else { "id" },
            stratum: task.clone().filter(|_| has_tasks),
            task,
        };
        read.file(folder, file, &shape)?;
    }
    if !read.scored.is_empty() {
        return Ok(read.scored);
    }
    Err(format!(
        "it left no lines in a samples_*.jsonl or {SCORES} below the folder $(RESULTS); have it write one: lm-evaluation-harness does with --log_samples \
         --output_path $(RESULTS)"
    ))
}

/// The files below `folder` that are read, by their paths below it.
///
/// # Errors
/// When it cannot be looked through, or has too much in it.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    walk(folder, Path::new(""), 0, &mut 0, &mut files)?;
    files.sort();
    Ok(files)
}

fn walk(folder: &Path, below: &Path, depth: usize, seen: &mut usize, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let place = folder.join(below);
    let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}; see the log of its container", name(below));
    let entries = match fs::read_dir(&place) {
        // One that wrote nothing, in a run that is not in a pod.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(unreadable)?,
    };
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        *seen += 1;
        if *seen > MOST_ENTRIES {
            return Err(format!(
                "there are more than {MOST_ENTRIES} files below $(RESULTS); have it write elsewhere what is no result"
            ));
        }
        let inside = below.join(entry.file_name());
        // Of the entry itself: a link may lead to what only the run may see.
        let kind = entry.file_type().map_err(unreadable)?;
        let file_name = entry.file_name();
        let file_name = file_name.to_str().unwrap_or_default();
        let is_samples = file_name.starts_with(SAMPLES.0) && file_name.ends_with(SAMPLES.1);
        if kind.is_dir() && depth < MOST_DEPTH {
            walk(folder, &inside, depth + 1, seen, files)?;
        } else if kind.is_file() && (is_samples || file_name == SCORES) {
            files.push(inside);
        }
    }
    Ok(())
}

/// The task that a file of samples is of: between the beginning of its name and the time.
fn task(file: &Path) -> String {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let stem = stem.strip_prefix(SAMPLES.0).unwrap_or(stem);
    stem.rsplit_once('_').map_or(stem, |(task, _)| task).to_owned()
}

/// How lines of a file are read.
struct Shape<'a> {
    metric: &'a str,
    filter: Option<&'a str>,
    /// The member with the question's id.
    id: &'static str,
    /// What ids of several files are told apart by.
    task: Option<String>,
    /// Tasks of one suite are parts of a whole that does not vary.
    stratum: Option<String>,
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    scored: Vec<Scored>,
    ids: HashSet<String>,
    lines: usize,
    /// The filters that lines of the present file have.
    filters: BTreeSet<String>,
}

impl Reading {
    fn file(&mut self, folder: &Path, file: &Path, shape: &Shape<'_>) -> Result<(), String> {
        let name = name(file);
        let unreadable = |error: std::io::Error| format!("{name} cannot be read: {error}; see the log of its container");
        let mut lines = BufReader::new(File::open(folder.join(file)).map_err(unreadable)?);
        let mut line = Vec::new();
        let (lines_before, scored_before) = (self.lines, self.scored.len());
        self.filters.clear();
        for number in 1.. {
            line.clear();
            let mut bounded = (&mut lines).take(MOST_LINE_BYTES + 1);
            let length = bounded.read_until(b'\n', &mut line).map_err(unreadable)?;
            if length == 0 {
                break;
            }
            let at = |why: String| format!("{name}, line {number}: {why}");
            if length as u64 > MOST_LINE_BYTES {
                return Err(at(format!("it has more than {MOST_LINE_BYTES} bytes; write shorter lines")));
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            self.lines += 1;
            if self.lines > MOST_LINES {
                return Err(at(format!(
                    "this is one line more than the {MOST_LINES} that a suite may have; ask fewer questions"
                )));
            }
            self.line(&line, shape).map_err(at)?;
        }
        // A task without a score would be missing from the whole, and nobody would see it.
        match shape.filter {
            Some(filter) if self.lines > lines_before && self.scored.len() == scored_before => Err(match self.filters.is_empty() {
                false => format!(
                    "{name}: no line has the filter {filter:?}; set external.filter to one of {}",
                    named(&self.filters)
                ),
                true => format!("{name}: no line has the filter {filter:?}, or any; remove external.filter"),
            }),
            _ => Ok(()),
        }
    }

    fn line(&mut self, line: &[u8], shape: &Shape<'_>) -> Result<(), String> {
        let members: Map<String, Value> = serde_json::from_slice(line).map_err(|error| {
            let column = error.column();
            format!("it is no JSON object (at column {column}); write one on each line")
        })?;
        if let Some(filter) = members.get("filter").and_then(Value::as_str) {
            if self.filters.len() < MOST_NAMED {
                self.filters.insert(filter.chars().take(MOST_NAME).collect());
            }
            if shape.filter.is_some_and(|wanted| wanted != filter) {
                return Ok(());
            }
        } else if shape.filter.is_some() {
            return Ok(());
        }
        let id = match members.get(shape.id) {
            Some(Value::Number(id)) if id.is_u64() || id.is_i64() => id.to_string(),
            Some(Value::String(id)) => short(shape.id, id)?,
            Some(_) => return Err(format!("its {} is no whole number and no text; write the question's id", shape.id)),
            None => return Err(format!("it has no {}; add the question's id", shape.id)),
        };
        let id = match &shape.task {
            Some(task) => format!("{task}/{id}"),
            None => id,
        };
        let score = score(&members, shape)?;
        let group = |member: &str| match members.get(member).filter(|_| shape.task.is_none()) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(group)) => short(member, group).map(Some),
            Some(Value::Number(group)) => Ok(Some(group.to_string())),
            Some(_) => Err(format!(
                "its {member} is no text; write what the question belongs to, or leave it out"
            )),
        };
        let (cluster, stratum) = (group("cluster")?, group("stratum")?);
        if !self.ids.insert(id.clone()) {
            let remedy = match (shape.filter, self.filters.len()) {
                (None, 2..) => format!("set external.filter to one of {}", named(&self.filters)),
                _ => "write one line for each question, and keep no files of an earlier run".to_owned(),
            };
            return Err(format!("the question {id} has a line before it; {remedy}"));
        }
        self.scored.push(Scored {
            id,
            score,
            cluster,
            stratum: shape.stratum.clone().or(stratum),
        });
        Ok(())
    }
}

fn score(members: &Map<String, Value>, shape: &Shape<'_>) -> Result<f64, String> {
    let metric = shape.metric;
    let score = match members.get(metric) {
        Some(Value::Bool(is_right)) => f64::from(u8::from(*is_right)),
        Some(Value::Number(score)) => score.as_f64().unwrap_or(f64::NAN),
        Some(_) => return Err(format!("its {metric} is no number; write one from 0 to 1")),
        None => {
            let is_score = |(name, value): &(&String, &Value)| (value.is_number() || value.is_boolean()) && *name != shape.id;
            let names: BTreeSet<String> = members
                .iter()
                .filter(is_score)
                .map(|(name, _)| name.clone())
                .take(MOST_NAMED)
                .collect();
            return Err(match names.is_empty() {
                true => format!("it has no {metric}, and no other number; set external.metric to the member that is the score"),
                false => format!("it has no {metric}; set external.metric to one of {}", named(&names)),
            });
        }
    };
    if (0.0..=1.0).contains(&score) {
        return Ok(score);
    }
    Err(format!(
        "its {metric} is {score}, and a score is from 0 to 1; name another member in external.metric, or scale it"
    ))
}

fn short(member: &str, text: &str) -> Result<String, String> {
    let problem = match text {
        "" => "is empty",
        text if text.len() > MOST_NAME => "is longer than 200 bytes",
        text if text.chars().any(char::is_control) => "has control characters",
        text => return Ok(text.to_owned()),
    };
    Err(format!("its {member} {problem}; write a short name"))
}

/// What a file is called in messages.
fn name(file: &Path) -> String {
    let name: String = file
        .display()
        .to_string()
        .chars()
        .filter(|c| !c.is_control())
        .take(MOST_NAME)
        .collect();
    if name.is_empty() { "$(RESULTS)".to_owned() } else { name }
}

fn named(names: &BTreeSet<String>) -> String {
    let names: Vec<String> = names
        .iter()
        .map(|name| name.chars().filter(|c| !c.is_control()).take(60).collect())
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
