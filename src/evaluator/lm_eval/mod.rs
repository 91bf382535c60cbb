//! Results in the layout that lm-evaluation-harness 0.4.13 writes with `--output_path` and `--log_samples`, for whatever reads those: its own tools,
//! leaderboards, notebooks. Pure: what was measured goes in, files come out, and nothing is known here of who measured.
//!
//! ```text
//!   <model>/results_<time>.json               the means and their standard errors, and how they came about
//!   <model>/samples_<task>_<time>.jsonl       for each task, a line for each question
//! ```
//!
//! What the harness writes and this does not: `device`, hashes of git and the environment are null or "N/A", and of `configs` only what readers
//! use. `llmportfolio` is ours; readers pass over it.

mod hashes;
mod json;
pub(super) mod mmlu_pro;
mod numbers;
mod results;
mod samples;

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use k8s_openapi::jiff::Timestamp;

pub use json::Json;

/// The harness' version whose layout is written, and which files name.
pub const VERSION: &str = "0.4.13";
/// What the harness says where its filter finds no answer.
pub const INVALID: &str = "[invalid]";

/// One model, asked some tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    /// The name that the model was asked for by.
    pub model: String,
    /// The URL that was asked, such as `https://gateway/v1/chat/completions`.
    pub base_url: String,
    /// How many requests were under way at once at most.
    pub concurrency: u32,
    /// What the tasks are parts of, where they are.
    pub group: Option<Group>,
    /// What was asked, each with at least one sample.
    pub tasks: Vec<Task>,
    /// When the first request was sent, in seconds since 1970.
    pub started: f64,
    /// When the last answer was there, likewise.
    pub ended: f64,
    /// The time that the files are named by, likewise, in UTC: of the same files the same, whenever they are written.
    pub named: f64,
    /// What randomness started from.
    pub seeds: Seeds,
    /// What else there is to say; written as `llmportfolio` unless it is null.
    pub extra: Json,
}

/// Tasks that have a number in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Such as `mmlu_pro`.
    pub name: String,
    /// How tables call it.
    pub alias: String,
    /// The version of the group, which is a text, not of its tasks.
    pub version: String,
}

/// Questions that are asked and scored alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Such as `mmlu_pro_law`; part of a file's name.
    pub name: String,
    /// How tables call it.
    pub alias: String,
    /// The version of the prompts and scores: a number or a text. Other versions are not comparable.
    pub version: Json,
    /// How many examples were shown before each question.
    pub shots: u32,
    /// How often each question was asked.
    pub repeats: u32,
    /// How the answer was found in the text.
    pub filter: Filter,
    /// What answers are measured by.
    pub metrics: Vec<Metric>,
    /// How answers were asked for, in the harness' words: `until`, `max_gen_toks`, `do_sample`, `temperature`.
    pub gen_kwargs: Json,
    /// How many questions the whole dataset has for this task.
    pub docs: u64,
    /// Further members of `configs`, such as `dataset_path` and `description`. Those that are written from the other fields give way.
    pub config: Vec<(String, Json)>,
    /// The questions that were answered, in the order of the file.
    pub samples: Vec<Sample>,
}

/// How the answer was found in a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// Part of the names of numbers; the harness calls it `none` where the whole text is the answer.
    pub name: String,
    /// Objects with the member `function`, in the harness' words; empty with `none`.
    pub steps: Vec<Json>,
}

/// A number of each sample, of which the task has the mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Such as `exact_match`.
    pub name: String,
    /// Whether more is better.
    pub higher_is_better: bool,
    /// Further members of `metric_list`, such as `ignore_case`.
    pub settings: Vec<(String, Json)>,
}

/// One question, and how it was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The place of the question in the whole dataset of its task, from 0; by it readers pair two models.
    pub doc_id: u64,
    /// The question's row, with its members in the order of the dataset's columns, on which its hash depends.
    pub doc: Json,
    /// The right answer.
    pub target: String,
    /// What the model was sent.
    pub prompt: Prompt,
    /// What it said, each time it was asked, after any block of thoughts: the harness takes those off before it looks for an answer.
    pub responses: Vec<String>,
    /// The answer that was found in the first of them; [`INVALID`] for none.
    pub filtered: String,
    /// A finite number for each of the task's metrics, in their order.
    pub values: Vec<f64>,
}

/// What a model was sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Prompt {
    /// The roles and contents of messages.
    Chat(Vec<(String, String)>),
    /// A text that the model goes on from.
    Text(String),
}

/// Seeds in the harness' four kinds; null where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seeds {
    /// `random_seed`
    pub random: Option<u64>,
    /// `numpy_seed`
    pub numpy: Option<u64>,
    /// `torch_seed`
    pub torch: Option<u64>,
    /// `fewshot_seed`
    pub fewshot: Option<u64>,
}

/// A file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Below the folder of all results, with `/` between.
    pub path: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// The files of an export: the results, then the samples of each task.
///
/// # Errors
/// One sentence: what in the export cannot be written so that the harness' readers read what was meant.
pub fn files(export: &Export) -> Result<Vec<File>, String> {
    check(export)?;
    let folder = sanitized(&export.model);
    let time = file_time(export.named)?;
    let mut samples = Vec::new();
    let mut hashes = Vec::new();
    for task in &export.tasks {
        let (bytes, hash) = samples::write(task);
        hashes.push((task.name.clone(), Json::from(hash)));
        samples.push(File {
            path: format!("{folder}/samples_{}_{time}.jsonl", task.name),
            bytes,
        });
    }
    let results = results::write(export, &folder, hashes);
    let mut files = vec![File {
        path: format!("{folder}/results_{time}.json"),
        bytes: results.indented().into_bytes(),
    }];
    files.append(&mut samples);
    Ok(files)
}

/// A model's name as that of a folder: each run of characters that some file system forbids becomes two underscores.
fn sanitized(model: &str) -> String {
    let mut name = String::with_capacity(model.len());
    let mut is_within = false;
    for c in model.chars() {
        let is_forbidden = r#""<>:/|\?*[]"#.contains(c);
        if !is_forbidden {
            name.push(c);
        } else if !is_within {
            name.push_str("__");
        }
        is_within = is_forbidden;
    }
    name
}

/// As in `2026-09-20T04-00-00.000000`: readers take the last in the order of texts for the latest.
fn file_time(seconds: f64) -> Result<String, String> {
    // What is beyond all calendars becomes the end of the range, which jiff refuses.
    let time = Timestamp::from_microsecond((seconds * 1e6).round() as i64);
    let time = time.map_err(|error| format!("named is no time: {error}"))?;
    Ok(time.strftime("%Y-%m-%dT%H-%M-%S.%6f").to_string())
}

fn check(export: &Export) -> Result<(), String> {
    if ["", ".", ".."].contains(&export.model.as_str()) {
        return Err(format!("model {:?} is no name of a folder", export.model));
    }
    if !export.started.is_finite() || !export.ended.is_finite() {
        return Err("started and ended are no times".to_owned());
    }
    if export.tasks.is_empty() {
        return Err("no task was asked".to_owned());
    }
    let mut names: HashSet<&str> = export.group.iter().map(|group| group.name.as_str()).collect();
    let is_chat = |task: &Task| task.samples.first().map(|sample| matches!(sample.prompt, Prompt::Chat(_)));
    let is_first_chat = export.tasks.first().and_then(is_chat);
    for task in &export.tasks {
        let name = &task.name;
        if name.is_empty() || name.contains(['/', '\\', '\0']) {
            return Err(format!("task {name:?} is no part of a file's name"));
        }
        if !names.insert(name) {
            return Err(format!("task {name} is there twice, or is called as its group is"));
        }
        if task.samples.is_empty() {
            return Err(format!("task {name} has no samples"));
        }
        let mut ids = HashSet::new();
        for sample in &task.samples {
            let id = sample.doc_id;
            if !ids.insert(id) {
                return Err(format!("task {name} has two samples of doc_id {id}"));
            }
            if sample.values.len() != task.metrics.len() || sample.values.iter().any(|value| !value.is_finite()) {
                return Err(format!("task {name}, doc_id {id}: not every metric has a number"));
            }
            if Some(matches!(sample.prompt, Prompt::Chat(_))) != is_first_chat {
                return Err(format!("task {name}, doc_id {id}: some prompts are chats and some are texts"));
            }
        }
        if let Some(metric) = task.metrics.iter().find(|metric| samples::MEMBERS.contains(&metric.name.as_str())) {
            return Err(format!("task {name}: a metric cannot be called {}", metric.name));
        }
    }
    Ok(())
}
