//! What a run found out, answer by answer, in the layout of lm-evaluation-harness: for each model a folder that its own tools read.

use std::collections::BTreeMap;

use super::lm_eval::{Export, File, Json, Prompt, Sample, Seeds, files};
use super::progress::Entry;
use super::prompt::Body;
use super::run::AT_ONCE;
use super::suite::{Part, Suite};
use crate::plan::evaluation::run::Target;

/// What is the same in all exports of a run.
#[derive(Clone, Debug)]
pub(super) struct Frame<'a> {
    /// The namespace of the models.
    pub(super) namespace: &'a str,
    /// The URL that was asked.
    pub(super) url: String,
    /// In seconds since 1970.
    pub(super) begun: i64,
    /// Likewise.
    pub(super) ended: i64,
}

/// Hands over the files of each model and suite, one after the other, because all of them at once may be more than a pod holds.
///
/// # Errors
/// What cannot be written so that it is read as it was meant, or what `put` says.
pub(super) fn export(
    frame: &Frame<'_>,
    asked: &[&Target],
    suites: &[Suite],
    entries: &[Entry],
    put: impl Fn(Vec<File>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for (place, target) in asked.iter().enumerate() {
        for (number, suite) in suites.iter().enumerate() {
            let mut answers: BTreeMap<usize, Vec<&Entry>> = BTreeMap::new();
            for entry in entries
                .iter()
                .filter(|e| e.asked.target == place && e.asked.suite == number && e.text.is_some())
            {
                answers.entry(entry.asked.question).or_default().push(entry);
            }
            let Some(export) = of_suite(frame, target, suite, &answers) else {
                continue;
            };
            let files = files(&export).map_err(|why| anyhow::anyhow!("the answers of {} cannot be exported: {why}", target.model))?;
            let below = |file: File| File {
                path: format!("{}/{}", suite.name, file.path),
                ..file
            };
            put(files.into_iter().map(below).collect())?;
        }
    }
    Ok(())
}

/// None where nothing was answered.
fn of_suite(frame: &Frame<'_>, target: &Target, suite: &Suite, answers: &BTreeMap<usize, Vec<&Entry>>) -> Option<Export> {
    let (group, parts) = suite.parts();
    let answered = |Part { mut task, questions }: Part| {
        let places = questions.iter().enumerate();
        let samples = places.filter_map(|(doc_id, question)| Some(sample(suite, doc_id, *question, answers.get(question)?)));
        task.samples = samples.collect();
        (!task.samples.is_empty()).then_some(task)
    };
    let tasks: Vec<_> = parts.into_iter().filter_map(answered).collect();
    (!tasks.is_empty()).then(|| Export {
        model: format!("{}/{}", frame.namespace, target.model),
        base_url: frame.url.clone(),
        concurrency: u32::try_from(AT_ONCE).unwrap_or(u32::MAX),
        group,
        tasks,
        started: frame.begun as f64,
        ended: frame.ended as f64,
        // A pod that was lost at its end may have left the same answers, which these take the place of.
        named: frame.begun as f64,
        seeds: Seeds::default(),
        extra: Json::object([
            ("protocol", suite.protocol.as_str().into()),
            ("dataset_digest", suite.digest.as_str().into()),
        ]),
    })
}

fn sample(suite: &Suite, doc_id: usize, question: usize, entries: &[&Entry]) -> Sample {
    let responses: Vec<String> = entries.iter().filter_map(|entry| entry.text.clone()).collect();
    let prompt = match suite.prompt(question).body {
        Body::Chat(messages) => Prompt::Chat(messages.into_iter().map(|message| (message.role, message.content)).collect()),
        Body::Completion(text) => Prompt::Text(text),
    };
    Sample {
        doc_id: doc_id as u64,
        doc: suite.doc(question),
        target: suite.target(question),
        prompt,
        filtered: responses.first().map_or_else(String::new, |response| suite.found(response)),
        responses,
        values: vec![entries.iter().map(|entry| entry.score).sum::<f64>() / entries.len().max(1) as f64],
    }
}
