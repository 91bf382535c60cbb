//! A model's stream of chat completions, read into the common form.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::read_stop;
use super::said::{Call, Said, Words, text};
use crate::protocol::chat::{Delta, ReadStream};
use crate::protocol::error::{Error, Kind};
use crate::protocol::openai::read_error;
use crate::protocol::openai::report::Report;
use crate::protocol::usage::{Terms, Tokens};

/// OpenAI's own limit of how many answers may be asked for.
const MOST_CHOICES: usize = 128;
/// More calls than any model makes in one answer; bounds what is remembered of a stream.
const MOST_CALLS: usize = 1024;

/// Reads a stream of OpenAI's, of an engine that imitates it, or of Mistral's.
#[derive(Debug, Default)]
pub struct Reader {
    has_begun: bool,
    is_over: bool,
    report: Report,
    terms: Terms,
    /// The calls of tools of each answer.
    choices: BTreeMap<u32, Vec<Known>>,
}

/// A call that has begun.
#[derive(Debug)]
struct Known {
    /// What the server counts it as.
    index: u64,
    id: String,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(default, rename = "service_tier", deserialize_with = "Terms::read_tier")]
    terms: Terms,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: u32,
    #[serde(borrow, default)]
    delta: Option<Said<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    stop_reason: Option<&'a RawValue>,
}

impl ReadStream for Reader {
    fn read(&mut self, data: &[u8], changes: &mut Vec<Delta>) {
        if self.is_over {
            return;
        }
        if data.trim_ascii() == b"[DONE]" {
            self.is_over = true;
            return changes.push(Delta::End);
        }
        let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(data) else {
            return;
        };
        if chunk.error.is_some() {
            return self.fail(read_error(200, data), changes);
        }
        if !self.has_begun {
            self.has_begun = true;
            changes.push(Delta::Begin { id: text(chunk.id) });
        }
        for choice in chunk.choices.iter().flatten() {
            if let Err(error) = self.read_choice(choice, changes) {
                return self.fail(error, changes);
            }
        }
        self.terms = self.terms.and(chunk.terms);
        if let Some(usage) = chunk.usage
            && let Ok(report) = serde_json::from_str(usage.get())
        {
            self.report.update(&report);
            let terms = self.terms;
            let tokens = self.report.tokens().map(|tokens| Tokens { terms, ..tokens });
            changes.extend(tokens.map(Delta::Usage));
        }
    }
}

impl Reader {
    fn fail(&mut self, error: Error, changes: &mut Vec<Delta>) {
        self.is_over = true;
        changes.push(Delta::Failed(error));
    }

    fn read_choice(&mut self, read: &Choice<'_>, changes: &mut Vec<Delta>) -> Result<(), Error> {
        let choice = read.index;
        if self.choices.len() >= MOST_CHOICES && !self.choices.contains_key(&choice) {
            return Err(Error::new(Kind::Server, "the model sent more answers than can be asked for"));
        }
        let known = self.choices.entry(choice).or_default();
        if let Some(said) = &read.delta {
            changes.extend(said.words().into_iter().map(|words| match words {
                Words::Text(text) => Delta::Text { choice, text },
                Words::Reasoning(text) => Delta::Reasoning { choice, text },
                Words::Refusal(text) => Delta::Refusal { choice, text },
            }));
            for (position, call) in said.calls().iter().enumerate() {
                read_call(choice, known, call, position as u64, changes)?;
            }
        }
        if let Some(reason) = text(read.finish_reason) {
            let stop = read_stop(&reason, text(read.stop_reason), !known.is_empty());
            let stop = stop.ok_or_else(|| Error::new(Kind::Server, format!("the model's server gave up the answer ({reason})")))?;
            changes.push(Delta::Stop { choice, stop });
        }
        Ok(())
    }
}

/// A call begins where the server counts on, or gives a name and another id: some count every call as the first.
fn read_call(choice: u32, known: &mut Vec<Known>, call: &Call<'_>, position: u64, changes: &mut Vec<Delta>) -> Result<(), Error> {
    let theirs = call.index.unwrap_or(position);
    let (id, name) = (call.id(), call.name());
    let at = known.iter().rposition(|known| known.index == theirs);
    let is_known = at.filter(|at| name.is_none() || id.as_ref().is_none_or(|id| *id == known[*at].id));
    let at = match is_known {
        Some(at) => at,
        None if known.len() >= MOST_CALLS => {
            return Err(Error::new(Kind::Server, "the model called more tools than an answer can hold"));
        }
        None => {
            let id = id.unwrap_or_else(|| format!("call_{choice}_{}", known.len()));
            changes.push(Delta::ToolCall {
                choice,
                index: known.len() as u32,
                id: id.clone(),
                name: name.unwrap_or_default(),
            });
            known.push(Known { index: theirs, id });
            known.len() - 1
        }
    };
    let json = call.arguments().into_owned();
    if !json.is_empty() {
        changes.push(Delta::Arguments {
            choice,
            index: at as u32,
            json,
        });
    }
    Ok(())
}
