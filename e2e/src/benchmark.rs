//! The benchmark MMLU-Pro and what real models answered to it, where the data is: a provider that answers with what was recorded is a real model,
//! of which it is known how good it is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use regex::Regex;
use serde_json::Value;

use crate::portfolio::repository;

const FOLDER: &str = "../shared/data/mmlu-pro";

/// The questions, one JSON line each; none where the data is not there.
pub fn questions() -> Result<Option<String>> {
    read("questions")
}

fn read(name: &str) -> Result<Option<String>> {
    let path = repository().join(FOLDER).join(format!("{name}.jsonl.gz"));
    if !path.exists() {
        return Ok(None);
    }
    let mut text = String::new();
    GzDecoder::new(File::open(&path)?)
        .read_to_string(&mut text)
        .with_context(|| format!("reading {}", path.display()))?;
    Ok(Some(text))
}

/// What a model answered.
pub struct Recorded {
    /// By what lm-evaluation-harness' task, without worked examples, has as the user's last message.
    pub answers: BTreeMap<String, String>,
    /// The share of all questions whose answer says the right letter first.
    pub accuracy: f64,
}

/// What the model of that name answered; none where the data is not there.
pub fn recorded(model: &str) -> Result<Option<Recorded>> {
    let (Some(questions), Some(outputs)) = (questions()?, read(&format!("recorded-{model}"))?) else {
        return Ok(None);
    };
    let outputs = outputs.lines().filter_map(|line| {
        let row: Value = serde_json::from_str(line).ok()?;
        Some((row["question_id"].as_i64()?, row["output"].as_str()?.to_owned()))
    });
    let outputs: BTreeMap<i64, String> = outputs.collect();
    let said = Regex::new(r"answer is \(?([A-J])\)?")?;
    let (mut answers, mut right, mut asked) = (BTreeMap::new(), 0, 0);
    for line in questions.lines() {
        let row: Value = serde_json::from_str(line)?;
        let id = row["question_id"].as_i64().context("a question without an id")?;
        asked += 1;
        let Some(output) = outputs.get(&id) else { continue };
        let letter = said.captures(output).and_then(|found| found.get(1));
        right += usize::from(letter.map(|letter| letter.as_str()) == row["answer"].as_str());
        answers.insert(asked_as(&row), output.clone());
    }
    Ok(Some(Recorded {
        answers,
        accuracy: right as f64 / f64::from(asked),
    }))
}

fn asked_as(row: &Value) -> String {
    let options = row["options"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let options: String = ('A'..='J')
        .zip(options)
        .map(|(letter, option)| format!("{letter}. {}\n", option.trim()))
        .collect();
    let question = row["question"].as_str().unwrap_or_default();
    format!("Question:\n{question}\nOptions:\n{options}Answer: Let's think step by step.")
}
