//! `samples_<task>_<time>.jsonl`: a line for each question, with all that was sent and said.

use super::hashes::{self, Hashes};
use super::json::Json;
use super::{Prompt, Sample, Task};

/// The members that each line has beside those of its metrics, in their order.
pub(super) const MEMBERS: [&str; 11] = [
    "doc_id",
    "doc",
    "target",
    "arguments",
    "resps",
    "filtered_resps",
    "filter",
    "metrics",
    "doc_hash",
    "prompt_hash",
    "target_hash",
];

/// The file of a task, and the hash over its samples.
pub(super) fn write(task: &Task) -> (Vec<u8>, String) {
    let mut bytes = Vec::new();
    let mut all = Vec::with_capacity(task.samples.len());
    for sample in &task.samples {
        let hashes = hashes::of_sample(sample);
        bytes.extend_from_slice(line(task, sample, &hashes).compact().as_bytes());
        bytes.push(b'\n');
        all.push(hashes);
    }
    (bytes, hashes::of_task(&all))
}

fn line(task: &Task, sample: &Sample, hashes: &Hashes) -> Json {
    let Sample {
        doc_id,
        doc,
        target,
        prompt,
        responses,
        filtered,
        values,
    } = sample;
    let text = hashes::rendered(prompt).into();
    // The harness keeps messages as a tuple of one text, which JSON writes as a list.
    let argument = match prompt {
        Prompt::Chat(_) => Json::List(vec![text]),
        Prompt::Text(_) => text,
    };
    let arguments = Json::object([("arg_0", argument), ("arg_1", task.gen_kwargs.clone())]);
    let responses = responses.iter().map(|response| response.as_str().into()).collect();
    let names = task.metrics.iter().map(|metric| metric.name.as_str().into()).collect();
    let fixed = [
        ("doc_id", Json::from(*doc_id)),
        ("doc", doc.clone()),
        ("target", target.as_str().into()),
        ("arguments", Json::object([("gen_args_0", arguments)])),
        ("resps", Json::List(vec![Json::List(responses)])),
        ("filtered_resps", Json::List(vec![filtered.as_str().into()])),
        ("filter", task.filter.name.as_str().into()),
        ("metrics", Json::List(names)),
        ("doc_hash", hashes.doc.as_str().into()),
        ("prompt_hash", hashes.prompt.as_str().into()),
        ("target_hash", hashes.target.as_str().into()),
    ];
    let measured = task.metrics.iter().zip(values);
    let measured = measured.map(|(metric, value)| (metric.name.clone(), Json::float(*value)));
    Json::Object(
        fixed
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .chain(measured)
            .collect(),
    )
}
