//! Questions as the dataset has them: rows of `{"question_id", "question", "options", "answer", "answer_index", "category", "src"?, "cot_content"?}`.
//! Other members are left alone. What cannot be used is refused with its row, its field and what to do about it.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::evaluator::rows::Row;

/// How many options a question has at most.
pub(in crate::evaluator) const MOST_OPTIONS: usize = 10;
const FEWEST_OPTIONS: usize = 2;
/// The one question whose two answers disagree in the published data: its id, its letter and its index. All programs go by the letter.
const PUBLISHED_SO: (&str, char, u64) = ("3983", 'C', 1);

/// One question, or one worked example that is shown before others.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::evaluator) struct Question {
    /// `question_id`, unique in its file.
    pub(in crate::evaluator) id: String,
    /// What is asked, with the blanks and line breaks that the dataset has.
    pub(in crate::evaluator) question: String,
    /// What is chosen from, likewise.
    pub(in crate::evaluator) options: Vec<String>,
    /// The letter of the right option.
    pub(in crate::evaluator) answer: char,
    /// `cot_content`: how an example comes to its answer. Empty in questions that are asked.
    pub(in crate::evaluator) cot: String,
    /// The subject, one of fourteen.
    pub(in crate::evaluator) category: String,
    /// What the question was taken from, such as `ori_mmlu-virology`; empty where nothing is said.
    pub(in crate::evaluator) src: String,
}

/// The questions in rows.
///
/// # Errors
/// One sentence that names the place, the field and the remedy.
pub(in crate::evaluator) fn read(name: &str, rows: &[Row]) -> Result<Vec<Question>, String> {
    let mut seen = HashSet::new();
    let read = rows.iter().map(|Row { place, value }| {
        let at = |flaw: String| format!("{name} {place}: {flaw}");
        let question = from_value(value).map_err(at)?;
        if seen.insert(question.id.clone()) {
            Ok(question)
        } else {
            Err(at(format!("question_id {} is used before; give each row its own", question.id)))
        }
    });
    read.collect()
}

/// The question in one row. Numbers may be written as text, as they are in a table of texts.
///
/// # Errors
/// The field, what is wrong with it, and the remedy.
fn from_value(value: &Value) -> Result<Question, String> {
    if !value.is_object() {
        return Err("it is not a JSON object; write {\"question_id\": …, \"question\": …, \"options\": …, \"answer\": …}".to_owned());
    }
    let id = id(value)?;
    let options = options(value)?;
    let answer = answer(value, &id, options.len())?;
    Ok(Question {
        id,
        question: text(value, "question", "the question")?,
        options,
        answer,
        cot: optional(value, "cot_content")?,
        category: text(value, "category", "the question's subject")?,
        src: optional(value, "src")?,
    })
}

fn id(row: &Value) -> Result<String, String> {
    match row.get("question_id") {
        Some(Value::String(id)) if !id.trim().is_empty() => Ok(id.clone()),
        Some(Value::Number(id)) if !id.is_f64() => Ok(id.to_string()),
        None | Some(Value::Null) => Err("question_id is missing; add one that no other row has".to_owned()),
        Some(_) => Err("question_id is neither a whole number nor a text; write one".to_owned()),
    }
}

fn text(row: &Value, field: &str, what: &str) -> Result<String, String> {
    match row.get(field) {
        Some(Value::String(text)) if text.trim().is_empty() => Err(format!("{field} is empty; write {what}")),
        Some(Value::String(text)) => Ok(text.clone()),
        None | Some(Value::Null) => Err(format!("{field} is missing; write {what}")),
        Some(_) => Err(format!("{field} is not a text; write {what}")),
    }
}

fn optional(row: &Value, field: &str) -> Result<String, String> {
    match row.get(field) {
        Some(Value::String(text)) => Ok(text.clone()),
        None | Some(Value::Null) => Ok(String::new()),
        Some(_) => Err(format!("{field} is not a text; write one, or remove it")),
    }
}

fn options(row: &Value) -> Result<Vec<String>, String> {
    let remedy = format!("write {FEWEST_OPTIONS} to {MOST_OPTIONS}");
    let list = match row.get("options") {
        None | Some(Value::Null) => return Err(format!("options is missing; {remedy}")),
        Some(list) => list.as_array(),
    };
    let texts = list.and_then(|list| list.iter().map(|option| option.as_str().map(str::to_owned)).collect());
    let options: Vec<String> = texts.ok_or_else(|| format!("options is not a list of texts; {remedy}"))?;
    if (FEWEST_OPTIONS..=MOST_OPTIONS).contains(&options.len()) {
        Ok(options)
    } else {
        Err(format!("options has a length of {}; {remedy}", options.len()))
    }
}

/// The right letter, which the row says twice.
fn answer(row: &Value, id: &str, options: usize) -> Result<char, String> {
    let mut letters = ('A'..='Z').take(options);
    let last = letters.clone().last().unwrap_or('A');
    let answer = match row.get("answer") {
        Some(Value::String(answer)) => answer,
        None | Some(Value::Null) => return Err(format!("answer is missing; write a letter of A to {last}")),
        Some(_) => return Err(format!("answer is not a text; write a letter of A to {last}")),
    };
    let index = match row.get("answer_index") {
        Some(Value::Number(index)) => index.as_u64(),
        Some(Value::String(index)) => index.parse().ok(),
        None | Some(Value::Null) => return Err("answer_index is missing; write the place of the right option, from 0".to_owned()),
        Some(_) => None,
    };
    let index = index.ok_or("answer_index is not a whole number; write the place of the right option, from 0")?;
    let letter = letters.find(|letter| answer.chars().eq([*letter]));
    let letter = letter.ok_or_else(|| format!("answer {answer:?} is no letter of the {options} options; write one of A to {last}"))?;
    let place = u64::from(u32::from(letter) - u32::from('A'));
    if index == place || (id, letter, index) == PUBLISHED_SO {
        Ok(letter)
    } else {
        Err(format!(
            "answer_index {index} and answer {answer} disagree, which is {place}; correct one of them"
        ))
    }
}

/// Questions with the same text and the same options have the same number; each pair is numbered in the order of first use, from 0.
pub(in crate::evaluator) fn clusters(questions: &[Question]) -> Vec<usize> {
    let mut numbers: HashMap<(&str, &[String]), usize> = HashMap::new();
    let mut number = |question| {
        let next = numbers.len();
        *numbers.entry(question).or_insert(next)
    };
    questions.iter().map(|one| number((&one.question, &one.options))).collect()
}
