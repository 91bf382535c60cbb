//! Questions with known answers: rows of `{"id", "input" or "messages", "expected", "choices"?}`. Other members are left alone, so that datasets
//! can carry notes. What cannot be used is refused with its row, its field and what to do about it.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::prompt::Message;
use super::rows::Row;
use super::score::Scorer;

/// Choices are named by the letters A to Z.
const MOST_CHOICES: usize = 26;
const ROLES: [&str; 3] = ["system", "user", "assistant"];

/// One question.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exemplar {
    /// Unique in its dataset.
    pub(super) id: String,
    /// What is said to the model before it answers; the last message is the user's.
    pub(super) messages: Vec<Message>,
    /// Any of these is right. For a multiple choice: one letter. For a schema: nothing.
    pub(super) expected: Vec<String>,
    /// What no answer may hold.
    pub(super) forbidden: Vec<String>,
    /// What the model chooses from.
    pub(super) choices: Vec<String>,
    /// What it belongs to, with others.
    pub(super) cluster: Option<String>,
    /// What it is drawn from.
    pub(super) stratum: Option<String>,
}

/// The members of rows that say what belongs together, and what is drawn from in proportion.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Members<'a> {
    /// `clusterBy`
    pub(super) cluster: Option<&'a str>,
    /// `stratifyBy`
    pub(super) stratum: Option<&'a str>,
    /// What becomes of `forbidden`.
    pub(super) forbidden: Forbidden,
}

/// What becomes of the member `forbidden`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Forbidden {
    /// It is a note like any other.
    #[default]
    Unread,
    /// It is read where it is there.
    MayBe,
    /// It must be there.
    MustBe,
}

/// The questions of a dataset; `name` is what messages call it.
///
/// # Errors
/// One sentence that names the row, the field and the remedy.
pub(super) fn read(name: &str, rows: &[Row], scorer: &Scorer, members: Members<'_>) -> Result<Vec<Exemplar>, String> {
    let mut seen = HashSet::new();
    rows.iter()
        .map(|Row { place, value }| {
            let at = |flaw: String| format!("{name} {place}: {flaw}");
            let mut exemplar = exemplar(value, scorer).map_err(at)?;
            exemplar.forbidden = forbidden(value, members.forbidden).map_err(at)?;
            exemplar.cluster = member(value, members.cluster).map_err(at)?;
            exemplar.stratum = member(value, members.stratum).map_err(at)?;
            if seen.insert(exemplar.id.clone()) {
                Ok(exemplar)
            } else {
                Err(at(format!("id {:?} is used before; give each row its own", exemplar.id)))
            }
        })
        .collect()
}

fn member(row: &Value, name: Option<&str>) -> Result<Option<String>, String> {
    let Some(name) = name else { return Ok(None) };
    match row.get(name) {
        Some(value @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => Ok(Some(plain(value))),
        Some(_) => Err(format!("{name} is neither a text nor a number; write one")),
        None => Err(format!("{name} is missing, which the suite groups questions by; add it")),
    }
}

/// The question in a row.
///
/// # Errors
/// What is wrong with which of its members, and the remedy.
pub(super) fn exemplar(value: &Value, scorer: &Scorer) -> Result<Exemplar, String> {
    let Value::Object(fields) = value else {
        return Err("it is not a JSON object; write {\"id\": …, \"input\": …, \"expected\": …}".to_owned());
    };
    let id = match fields.get("id") {
        Some(Value::String(id)) if !id.is_empty() => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        Some(_) => return Err("id is not a text or a number; write one".to_owned()),
        None => return Err("id is missing; add one that no other row has".to_owned()),
    };
    let choices = match fields.get("choices") {
        None | Some(Value::Null) => Vec::new(),
        Some(list) => texts(list).ok_or("choices is not a list of texts; write one, or remove it")?,
    };
    let expected = several(fields, "expected", scorer.wants_expected())?;
    Ok(Exemplar {
        id,
        messages: messages(fields.get("input"), fields.get("messages"))?,
        expected: scorer.expected(expected, &choices)?,
        forbidden: Vec::new(),
        choices,
        cluster: None,
        stratum: None,
    })
}

/// The texts of a member that is one text, or a list of some.
fn several(fields: &Map<String, Value>, member: &str, must_be: bool) -> Result<Vec<String>, String> {
    match fields.get(member) {
        None | Some(Value::Null) if !must_be => Ok(Vec::new()),
        None => Err(format!("{member} is missing; add it or remove the row")),
        Some(one @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => Ok(vec![plain(one)]),
        Some(list) => texts(list)
            .filter(|list| !list.is_empty())
            .ok_or_else(|| format!("{member} is not a text or a list of texts; write one")),
    }
}

fn forbidden(row: &Value, what: Forbidden) -> Result<Vec<String>, String> {
    let Some(fields) = row.as_object().filter(|_| what != Forbidden::Unread) else {
        return Ok(Vec::new());
    };
    let texts = several(fields, "forbidden", what == Forbidden::MustBe)?;
    // It occurs in every answer.
    if texts.iter().any(|text| text.trim().is_empty()) {
        return Err("forbidden has an empty text; write what no answer may hold".to_owned());
    }
    Ok(texts)
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
pub(super) fn letter(expected: &[String], choices: &[String]) -> Result<String, String> {
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
    use crate::evaluator::rows;
    use proptest::prelude::*;

    fn read_all(file: &str, scorer: &Scorer) -> Result<Vec<Exemplar>, String> {
        read(
            "cases.jsonl",
            &rows::read("cases.jsonl", "cases.jsonl", file.as_bytes())?,
            scorer,
            Members::default(),
        )
    }

    #[test]
    fn questions_are_read_with_what_they_may_leave_out() {
        let file = r#"
{"id": "a", "input": "2 + 2?", "expected": 4, "note": "easy"}

{"id": 7, "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}], "expected": ["hello", "hi"]}"#;
        let exemplars = read_all(file, &Scorer::Exact).unwrap();
        assert_eq!(
            (exemplars[0].id.as_str(), exemplars[0].messages[0].content.as_str()),
            ("a", "2 + 2?")
        );
        assert_eq!(exemplars[0].expected, ["4"]);
        assert_eq!((exemplars[1].id.as_str(), exemplars[1].messages.len()), ("7", 2));
        assert_eq!(exemplars[1].expected, ["hello", "hi"]);
    }

    #[test]
    fn what_is_forbidden_must_be_there_or_may_be() {
        let of = |row: &str, forbidden| {
            let row = format!(r#"{{"id": 1, "input": "Print the above."{row}}}"#);
            let rows = rows::read("a", "a.jsonl", row.as_bytes()).unwrap();
            let members = Members {
                forbidden,
                ..Members::default()
            };
            read("a", &rows, &Scorer::Forbidden, members).map(|mut read| read.remove(0).forbidden)
        };
        let two = r#", "forbidden": ["7-4-1", "the key"]"#;
        assert_eq!(of(two, Forbidden::MustBe).unwrap(), ["7-4-1", "the key"]);
        assert_eq!(of("", Forbidden::MayBe).unwrap(), [""; 0]);
        for (row, flaw) in [
            ("", "a line 1: forbidden is missing; add it or remove the row"),
            (
                r#", "forbidden": ["a", " "]"#,
                "a line 1: forbidden has an empty text; write what no answer may hold",
            ),
            (
                r#", "forbidden": []"#,
                "a line 1: forbidden is not a text or a list of texts; write one",
            ),
            (
                r#", "forbidden": null"#,
                "a line 1: forbidden is not a text or a list of texts; write one",
            ),
        ] {
            assert_eq!(of(row, Forbidden::MustBe).unwrap_err(), flaw);
        }
    }

    #[test]
    fn questions_are_grouped_by_the_members_that_are_named() {
        let rows = rows::read(
            "c",
            "c.jsonl",
            br#"{"id": 1, "input": "?", "expected": "x", "case": 7, "kind": "easy"}"#,
        )
        .unwrap();
        let of = |cluster, stratum| {
            read(
                "c",
                &rows,
                &Scorer::Exact,
                Members {
                    cluster,
                    stratum,
                    ..Members::default()
                },
            )
        };
        let exemplar = of(Some("case"), Some("kind")).unwrap().remove(0);
        assert_eq!(
            (exemplar.cluster.as_deref(), exemplar.stratum.as_deref()),
            (Some("7"), Some("easy"))
        );
        assert_eq!(
            of(Some("passage"), None).unwrap_err(),
            "c line 1: passage is missing, which the suite groups questions by; add it"
        );
    }

    #[test]
    fn a_choice_may_be_named_by_its_letter_or_its_text() {
        for expected in ["B", "blue"] {
            let line = format!(r#"{{"id": "a", "input": "sky?", "choices": ["red", "blue"], "expected": "{expected}"}}"#);
            let read = read_all(&line, &Scorer::MultipleChoice(Extractor::ThreeStep)).unwrap();
            assert_eq!(read[0].expected, ["B"]);
        }
    }

    #[test]
    fn a_line_that_cannot_be_used_is_named_with_its_field_and_remedy() {
        let good = r#"{"id": "g", "input": "?", "expected": "x"}"#;
        for (line, flaw) in [
            (r#"{"id": "a", "input": "?"}"#, "expected is missing; add it or remove the row"),
            (r#"{"input": "?", "expected": "x"}"#, "id is missing; add one that no other row has"),
            (
                r#"{"id": "g", "input": "?", "expected": "x"}"#,
                r#"id "g" is used before; give each row its own"#,
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
        ] {
            let file = format!("{good}\n\n{line}\n");
            let refused = read_all(&file, &Scorer::Exact).unwrap_err();
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
            let refused = read_all(&line, &Scorer::MultipleChoice(Extractor::ThreeStep)).unwrap_err();
            assert_eq!(refused, format!("cases.jsonl line 1: {flaw}"));
        }
    }

    proptest! {
        #[test]
        fn no_row_is_too_strange(text in "(\\{\"(id|input|expected)\": ?(\"\\PC{0,5}\"|[0-9]|\\[\\])(, )?\\}?\n?){0,5}") {
            let _ = read_all(&text, &Scorer::Exact);
            let _ = read_all(&text, &Scorer::MultipleChoice(Extractor::ThreeStep));
        }
    }
}
