//! Questions with known answers: one JSON object a line, `{"id", "input" or "messages", "expected", "choices"?}`. Other members are left
//! alone, so that datasets can carry notes. What cannot be used is refused with its line, its field and what to do about it.

use std::collections::HashSet;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::score::Scorer;
use crate::plan::fingerprint;

/// More than a ConfigMap can hold.
const MOST_BYTES: usize = 8 << 20;
/// Choices are named by the letters A to Z.
const MOST_CHOICES: usize = 26;
const ROLES: [&str; 3] = ["system", "user", "assistant"];

/// A readable set of questions.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// In the order of the file.
    pub exemplars: Vec<Exemplar>,
    /// The first 16 hex digits of the SHA-256 of the file.
    pub digest: String,
}

/// One question.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Unique in its dataset.
    pub id: String,
    /// What is said to the model before it answers; the last message is the user's.
    pub messages: Vec<Message>,
    /// Any of these is right. For a multiple choice: one letter.
    pub expected: Vec<String>,
    /// What the model chooses from.
    pub choices: Vec<String>,
}

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// Reads a dataset; `name` is what messages call it.
///
/// # Errors
/// One sentence that names the line, the field and the remedy.
pub fn read(name: &str, bytes: &[u8], scorer: &Scorer) -> Result<Dataset, String> {
    if bytes.len() > MOST_BYTES {
        return Err(format!("{name} has more than {MOST_BYTES} bytes; split it into several suites"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| format!("{name} is not UTF-8 text; save it as UTF-8"))?;
    let mut seen = HashSet::new();
    let mut exemplars = Vec::new();
    for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let at = |flaw: String| format!("{name} line {number}: {flaw}");
        let exemplar = exemplar(line, scorer).map_err(at)?;
        if !seen.insert(exemplar.id.clone()) {
            return Err(at(format!("id {:?} is used before; give each line its own", exemplar.id)));
        }
        exemplars.push(exemplar);
    }
    if exemplars.is_empty() {
        return Err(format!("{name} has no questions; add at least one line"));
    }
    Ok(Dataset {
        exemplars,
        digest: fingerprint::hex(&Sha256::digest(bytes)[..8]),
    })
}

fn exemplar(line: &str, scorer: &Scorer) -> Result<Exemplar, String> {
    let value: Value = serde_json::from_str(line).map_err(|e| format!("it is not JSON ({e}); write one JSON object on one line"))?;
    let Value::Object(fields) = &value else {
        return Err("it is not a JSON object; write {\"id\": …, \"input\": …, \"expected\": …}".to_owned());
    };
    let id = match fields.get("id") {
        Some(Value::String(id)) if !id.is_empty() => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        Some(_) => return Err("id is not a text or a number; write one".to_owned()),
        None => return Err("id is missing; add one that no other line has".to_owned()),
    };
    let choices = match fields.get("choices") {
        None | Some(Value::Null) => Vec::new(),
        Some(list) => texts(list).ok_or("choices is not a list of texts; write one, or remove it")?,
    };
    let expected = match fields.get("expected") {
        None => return Err("expected is missing; add it or remove the line".to_owned()),
        Some(one @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => vec![plain(one)],
        Some(list) => texts(list)
            .filter(|list| !list.is_empty())
            .ok_or("expected is not a text or a list of texts; write one")?,
    };
    let expected = match scorer {
        Scorer::MultipleChoice(_) => vec![letter(&expected, &choices)?],
        Scorer::Exact | Scorer::Regex(_) => expected,
    };
    Ok(Exemplar {
        id,
        messages: messages(fields.get("input"), fields.get("messages"))?,
        expected,
        choices,
    })
}

fn messages(input: Option<&Value>, messages: Option<&Value>) -> Result<Vec<Message>, String> {
    match (input, messages) {
        (Some(_), Some(_)) => Err("input and messages are both given; remove one".to_owned()),
        (None, None) => Err("input is missing; add the question, or messages".to_owned()),
        (Some(Value::String(input)), None) if !input.trim().is_empty() => Ok(vec![Message {
            role: "user".to_owned(),
            content: input.clone(),
        }]),
        (Some(_), None) => Err("input is not a text; write the question".to_owned()),
        (None, Some(list)) => {
            let remedy = r#"write a list of {"role": "system", "user" or "assistant", "content": "…"} that ends with the user"#;
            let read = |message: &Value| {
                let role = message.get("role")?.as_str().filter(|role| ROLES.contains(role))?;
                Some(Message {
                    role: role.to_owned(),
                    content: message.get("content")?.as_str()?.to_owned(),
                })
            };
            let read: Option<Vec<Message>> = list.as_array().and_then(|list| list.iter().map(read).collect());
            read.filter(|list| list.last().is_some_and(|last| last.role == "user"))
                .ok_or_else(|| format!("messages is not a chat; {remedy}"))
        }
    }
}

/// The letter of the right choice, which the dataset names by its letter or by its text.
fn letter(expected: &[String], choices: &[String]) -> Result<String, String> {
    if !(2..=MOST_CHOICES).contains(&choices.len()) {
        return Err(format!("choices has {} texts; write 2 to {MOST_CHOICES}", choices.len()));
    }
    let [expected] = expected else {
        return Err("expected has several texts; name one choice".to_owned());
    };
    let by_letter = choices.iter().zip('A'..='Z').find(|(_, letter)| letter.to_string() == *expected);
    let by_text = choices.iter().zip('A'..='Z').find(|(choice, _)| *choice == expected);
    match (by_letter, by_text) {
        (Some((_, a)), Some((_, b))) if a != b => Err(format!(
            "expected {expected:?} is the letter of one choice and the text of another; change the texts"
        )),
        (Some((_, letter)), _) | (None, Some((_, letter))) => Ok(letter.to_string()),
        (None, None) => Err(format!(
            "expected {expected:?} is none of choices; write a choice's letter or its text"
        )),
    }
}

fn texts(list: &Value) -> Option<Vec<String>> {
    let is_plain = |value: &Value| matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_));
    let list = list.as_array()?;
    list.iter().all(is_plain).then(|| list.iter().map(plain).collect())
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluator::extract::Extractor;
    use proptest::prelude::*;

    #[test]
    fn questions_are_read_with_what_they_may_leave_out() {
        let file = r#"
{"id": "a", "input": "2 + 2?", "expected": 4, "note": "easy"}

{"id": 7, "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}], "expected": ["hello", "hi"]}"#;
        let Dataset { exemplars, digest } = read("cases.jsonl", file.as_bytes(), &Scorer::Exact).unwrap();
        assert_eq!(digest.len(), 16);
        assert_eq!(
            (exemplars[0].id.as_str(), exemplars[0].messages[0].content.as_str()),
            ("a", "2 + 2?")
        );
        assert_eq!(exemplars[0].expected, ["4"]);
        assert_eq!((exemplars[1].id.as_str(), exemplars[1].messages.len()), ("7", 2));
        assert_eq!(exemplars[1].expected, ["hello", "hi"]);
    }

    #[test]
    fn a_choice_may_be_named_by_its_letter_or_its_text() {
        for expected in ["B", "blue"] {
            let line = format!(r#"{{"id": "a", "input": "sky?", "choices": ["red", "blue"], "expected": "{expected}"}}"#);
            let read = read("cases.jsonl", line.as_bytes(), &Scorer::MultipleChoice(Extractor::ThreeStep)).unwrap();
            assert_eq!(read.exemplars[0].expected, ["B"]);
        }
    }

    #[test]
    fn a_line_that_cannot_be_used_is_named_with_its_field_and_remedy() {
        let good = r#"{"id": "g", "input": "?", "expected": "x"}"#;
        for (line, flaw) in [
            (r#"{"id": "a", "input": "?"}"#, "expected is missing; add it or remove the line"),
            (
                r#"{"input": "?", "expected": "x"}"#,
                "id is missing; add one that no other line has",
            ),
            (
                r#"{"id": "g", "input": "?", "expected": "x"}"#,
                r#"id "g" is used before; give each line its own"#,
            ),
            (r#"{"id": "a", "expected": "x"}"#, "input is missing; add the question, or messages"),
            (
                r#"{"id": "a", "input": "?", "messages": [], "expected": "x"}"#,
                "input and messages are both given; remove one",
            ),
            (
                r#"{"id": "a", "input": ["?"], "expected": "x"}"#,
                "input is not a text; write the question",
            ),
            (
                r#"{"id": "a", "messages": [{"role": "assistant", "content": "x"}], "expected": "x"}"#,
                r#"messages is not a chat; write a list of {"role": "system", "user" or "assistant", "content": "…"} that ends with the user"#,
            ),
            (
                r#"{"id": "a", "input": "?", "expected": {}}"#,
                "expected is not a text or a list of texts; write one",
            ),
            (
                r#"{"id": "a", "input": "?", "expected": []}"#,
                "expected is not a text or a list of texts; write one",
            ),
            ("[1]", r#"it is not a JSON object; write {"id": …, "input": …, "expected": …}"#),
            (
                r#"{"id": "a""#,
                "it is not JSON (EOF while parsing an object at line 1 column 10); write one JSON object on one line",
            ),
        ] {
            let file = format!("{good}\n\n{line}\n");
            let refused = read("cases.jsonl", file.as_bytes(), &Scorer::Exact).unwrap_err();
            assert_eq!(refused, format!("cases.jsonl line 3: {flaw}"));
        }
    }

    #[test]
    fn choices_that_cannot_be_used_are_named() {
        for (members, flaw) in [
            (r#""expected": "A""#, "choices has 0 texts; write 2 to 26"),
            (
                r#""choices": ["a", "b"], "expected": "c""#,
                r#"expected "c" is none of choices; write a choice's letter or its text"#,
            ),
            (
                r#""choices": ["a", "b"], "expected": ["a", "b"]"#,
                "expected has several texts; name one choice",
            ),
            (
                r#""choices": ["B", "A"], "expected": "A""#,
                r#"expected "A" is the letter of one choice and the text of another; change the texts"#,
            ),
            (
                r#""choices": "ab", "expected": "A""#,
                "choices is not a list of texts; write one, or remove it",
            ),
        ] {
            let line = format!(r#"{{"id": "a", "input": "?", {members}}}"#);
            let refused = read("cases.jsonl", line.as_bytes(), &Scorer::MultipleChoice(Extractor::ThreeStep)).unwrap_err();
            assert_eq!(refused, format!("cases.jsonl line 1: {flaw}"));
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_at_all_is_refused() {
        assert_eq!(
            read("c", b"\n\n", &Scorer::Exact).unwrap_err(),
            "c has no questions; add at least one line"
        );
        assert_eq!(
            read("c", b"\xff", &Scorer::Exact).unwrap_err(),
            "c is not UTF-8 text; save it as UTF-8"
        );
        let large = vec![b' '; MOST_BYTES + 1];
        assert!(
            read("c", &large, &Scorer::Exact)
                .unwrap_err()
                .ends_with("split it into several suites")
        );
    }

    proptest! {
        #[test]
        fn no_file_is_too_strange(
            file in prop::collection::vec(any::<u8>(), 0..300),
            text in "(\\{\"(id|input|expected)\": ?(\"\\PC{0,5}\"|[0-9]|\\[\\])(, )?\\}?\n?){0,5}",
        ) {
            let _ = read("c", &file, &Scorer::Exact);
            let _ = read("c", text.as_bytes(), &Scorer::MultipleChoice(Extractor::ThreeStep));
        }
    }
}
