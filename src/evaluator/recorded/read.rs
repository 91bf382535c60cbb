//! Reads recorded outputs line by line, compressed or not, and scores each as it comes: of each only the id, the category, the right letter
//! and the score are kept, and no more lines than the suite has questions.

use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Agreement, Flaw, Recorded, Row, Suite};
use crate::evaluator::extract::Extractor;
use crate::evaluator::score::{after_thinking, chosen};
use crate::plan::Invalid;

/// A model says no more in one answer. Also keeps a small file that unpacks to one endless line from filling the memory.
const MOST_LINE_BYTES: u64 = 16 << 20;
/// How gzip begins.
const MAGIC: [u8; 2] = [0x1f, 0x8b];
const SHAPE: &str = r#"write one JSON object on one line: {"question_id": …, "category": …, "answer": …, "output": …}"#;

/// Reads and scores a file of recorded outputs: JSON Lines, or these in gzip, whatever its name is.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn read_file(path: &Path, suite: Suite, extractor: Extractor) -> Result<Recorded, Box<Flaw>> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| Box::new(Flaw::of_file(&name, unreadable(&error))))?;
    read(&name, file, suite, extractor)
}

/// As [`read_file`], of an open file; `name` is what messages call it, and promises gzip where it ends in `.gz`.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn read(name: &str, file: impl Read, suite: Suite, extractor: Extractor) -> Result<Recorded, Box<Flaw>> {
    let mut file = BufReader::new(file);
    let whole = |invalid| Box::new(Flaw::of_file(name, invalid));
    let begin = file.fill_buf().map_err(|error| whole(unreadable(&error)))?;
    let (is_empty, is_gzip) = (begin.is_empty(), begin.starts_with(&MAGIC));
    if !is_empty && !is_gzip && name.ends_with(".gz") {
        let remedy = "compress it, or take .gz off its name";
        return Err(whole(Invalid::new("", "it is not gzip, as its name says", remedy)));
    }
    let mut lines: Box<dyn BufRead + '_> = if is_gzip {
        Box::new(BufReader::new(MultiGzDecoder::new(file)))
    } else {
        Box::new(file)
    };
    let mut recorded = Recorded::default();
    let mut line = Vec::new();
    for number in 1.. {
        let at = |(column, invalid)| {
            Box::new(Flaw {
                line: Some(number),
                column,
                ..Flaw::of_file(name, invalid)
            })
        };
        if !next(&mut *lines, &mut line).map_err(|invalid| at((None, invalid)))? {
            break;
        }
        let text = line.strip_prefix("\u{feff}".as_bytes()).filter(|_| number == 1).unwrap_or(&line);
        let text = text.trim_ascii_end();
        if !text.is_empty() {
            add(&mut recorded, text, suite, extractor).map_err(at)?;
        }
    }
    if recorded.rows.is_empty() {
        return Err(whole(Invalid::new("", "it has no recorded outputs", SHAPE)));
    }
    Ok(recorded)
}

/// The next line; false at the end.
fn next(lines: &mut dyn BufRead, line: &mut Vec<u8>) -> Result<bool, Invalid> {
    line.clear();
    let mut bounded = lines.take(MOST_LINE_BYTES + 1);
    let read = bounded.read_until(b'\n', line).map_err(|error| unreadable(&error))?;
    if read as u64 > MOST_LINE_BYTES {
        let problem = format!("it has more than {MOST_LINE_BYTES} bytes");
        return Err(Invalid::new("", problem, "write each output on a line of its own, or shorten it"));
    }
    Ok(read > 0)
}

fn unreadable(error: &io::Error) -> Invalid {
    match error.kind() {
        // Only of gzip: lines of text may end anywhere.
        ErrorKind::UnexpectedEof => Invalid::new("", "it ends within its gzip data", "copy the whole file again"),
        ErrorKind::InvalidInput | ErrorKind::InvalidData => {
            Invalid::new("", format!("its gzip data is damaged ({error})"), "copy the file again")
        }
        _ => Invalid::new(
            "",
            format!("it cannot be read ({error})"),
            "name a file that is there and may be read",
        ),
    }
}

/// A line as it is written. Each field may have any type, so that a wrong one is told as such.
#[derive(Deserialize)]
struct Line {
    #[serde(default, deserialize_with = "present")]
    question_id: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    category: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    answer: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    stored_pred: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    output: Option<Value>,
}

/// A null is there; what is absent is not.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

type Wrong = (Option<usize>, Invalid);

fn add(recorded: &mut Recorded, text: &[u8], suite: Suite, extractor: Extractor) -> Result<(), Wrong> {
    let line = parsed(text)?;
    let (id, row, letter) = scored(&line, suite, extractor).map_err(|invalid| (None, invalid))?;
    if let Some(stored) = &line.stored_pred {
        let found = letter.map(String::from);
        let (Value::String(_) | Value::Null) = stored else {
            let remedy = "write the letter that was found, or null for none, or leave it out";
            return Err((None, Invalid::new("stored_pred", "it is not a text or null", remedy)));
        };
        let agreement = recorded.stored.get_or_insert(Agreement::default());
        agreement.lines += 1;
        agreement.same += u32::from(stored.as_str() == found.as_deref());
    }
    match recorded.rows.entry(id) {
        Entry::Vacant(place) => place.insert(row),
        Entry::Occupied(other) => {
            let problem = format!("{} is that of an earlier line too", other.key());
            let remedy = "keep one output for each question";
            return Err((None, Invalid::new("question_id", problem, remedy)));
        }
    };
    if recorded.rows.len() > suite.questions() as usize {
        let problem = format!("this is one question more than the {} of {suite}", suite.questions());
        let remedy = "score outputs for the current version of the suite";
        return Err((None, Invalid::new("question_id", problem, remedy)));
    }
    Ok(())
}

fn parsed(text: &[u8]) -> Result<Line, Wrong> {
    if !text.trim_ascii_start().starts_with(b"{") {
        return Err((Some(1), Invalid::new("", "it is not a JSON object", SHAPE)));
    }
    serde_json::from_slice(text).map_err(|error| {
        let place = format!(" at line {} column {}", error.line(), error.column());
        let said = error.to_string();
        let why = said.strip_suffix(&place).unwrap_or(&said);
        (
            Some(error.column()),
            Invalid::new("", format!("it is not JSON of the right form ({why})"), SHAPE),
        )
    })
}

/// The longest name of anything, in bytes.
const NAME_LIMIT: usize = 200;

/// What is kept for each row, and printed.
fn named(field: &'static str, name: &str) -> Result<String, Invalid> {
    let problem = match name {
        "" => "it is empty",
        name if name.len() > NAME_LIMIT => "it is longer than 200 bytes",
        name if name.chars().any(char::is_control) => "it has control characters",
        name => return Ok(name.to_owned()),
    };
    Err(Invalid::new(field, problem, "write a short name"))
}

/// The question's id, how the output fares, and the letter that was found in it.
fn scored(line: &Line, suite: Suite, extractor: Extractor) -> Result<(String, Row, Option<char>), Invalid> {
    let id = match &line.question_id {
        Some(Value::Number(id)) if id.is_u64() || id.is_i64() => id.to_string(),
        Some(Value::String(id)) => named("question_id", id)?,
        Some(_) => {
            return Err(Invalid::new(
                "question_id",
                "it is not a whole number or a text",
                "write the question's id",
            ));
        }
        None => return Err(Invalid::new("question_id", "it is missing", "add the question's id")),
    };
    let text = |field: &'static str, value: &'_ Option<Value>, remedy| match value {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(Invalid::new(field, "it is not a text", remedy)),
        None => Err(Invalid::new(field, "it is missing", remedy)),
    };
    let category = named("category", &text("category", &line.category, "write the question's subject")?)?;
    let answer = text("answer", &line.answer, "write the letter of the right choice")?;
    let Some(answer) = suite.letters().find(|letter| answer.chars().eq([*letter])) else {
        let last = suite.letters().last().unwrap_or('A');
        let problem = format!("{answer:?} is none of the letters A to {last}");
        return Err(Invalid::new("answer", problem, "write the letter of the right choice"));
    };
    let output = text("output", &line.output, r#"write what the model said, "" where that is nothing"#)?;
    let letter = extractor.letter(after_thinking(&output), suite.choices());
    let score = chosen(letter, |letter| letter == answer);
    Ok((id, Row { category, answer, score }, letter))
}
