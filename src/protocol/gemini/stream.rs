//! Reads streams. Each event is an answer in small: the parts that are new, and what all of it took so far. No mark follows the last one; it is
//! the one in which the last of the answers has its `finishReason`, and a stream without it was cut.

use std::collections::BTreeMap;

use super::super::chat::{Delta, ReadStream};
use super::super::error::{Error, Kind};
use super::super::usage::Tokens;
use super::answer::{Candidate, FunctionCall, Part, Response};
use super::ids::{self, Call, Place};
use super::usage::Usage;

/// Answers that are told apart: Google gives eight at most.
const CHOICES: u32 = 32;

/// Reads the events of one stream.
#[derive(Debug)]
pub struct Reader {
    /// How many answers were asked for.
    expected: usize,
    begun: bool,
    done: bool,
    response: Option<String>,
    choices: BTreeMap<u32, State>,
    usage: Option<Usage>,
    told: Option<Tokens>,
}

/// Where one of the answers stands.
#[derive(Debug, Default)]
struct State {
    calls: u32,
    stopped: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Reader {
    /// For a request that asks for so many answers.
    #[must_use]
    pub fn new(choices: usize) -> Self {
        Self {
            expected: choices,
            begun: false,
            done: false,
            response: None,
            choices: BTreeMap::new(),
            usage: None,
            told: None,
        }
    }

    pub(super) fn read_chunk(&mut self, chunk: Response<'_>, changes: &mut Vec<Delta>) {
        if self.done {
            return;
        }
        let mut failure = chunk.failure();
        if !self.begun && failure.is_none() {
            self.begun = true;
            self.response = chunk.response_id;
            let id = self.response.clone();
            changes.push(Delta::Begin { id });
        }
        if let Some(usage) = chunk.usage_metadata {
            self.usage.get_or_insert_default().update(usage);
        }
        for (position, candidate) in chunk.candidates.iter().flatten().enumerate() {
            if failure.is_none() {
                failure = self.candidate(position, candidate, changes).err();
            }
        }
        self.tell_usage(changes);
        let is_whole = self.choices.len() >= self.expected.max(1) && self.choices.values().all(|state| state.stopped);
        if let Some(error) = failure {
            self.done = true;
            changes.push(Delta::Failed(error));
        } else if is_whole {
            self.done = true;
            changes.push(Delta::End);
        }
    }

    fn tell_usage(&mut self, changes: &mut Vec<Delta>) {
        let tokens = self.usage.as_ref().map(Usage::tokens);
        if let Some(tokens) = tokens.filter(|_| tokens != self.told) {
            self.told = Some(tokens);
            changes.push(Delta::Usage(tokens));
        }
    }

    fn candidate(&mut self, position: usize, candidate: &Candidate<'_>, changes: &mut Vec<Delta>) -> Result<(), Error> {
        let choice = candidate.index.or(u32::try_from(position).ok()).unwrap_or(CHOICES);
        if choice >= CHOICES {
            return Ok(());
        }
        let response = self.response.as_deref();
        let state = self.choices.entry(choice).or_default();
        if state.stopped {
            return Ok(());
        }
        let stop = |state: &State| candidate.stop(state.calls > 0);
        let parts = candidate.content.as_ref().and_then(|content| content.parts.as_ref());
        for part in parts.into_iter().flatten() {
            state.part(choice, response, part, changes)?;
        }
        if let Some(stop) = stop(state) {
            changes.push(Delta::stop(choice, stop?));
            state.stopped = true;
        }
        Ok(())
    }
}

impl State {
    fn part(&mut self, choice: u32, response: Option<&str>, part: &Part<'_>, changes: &mut Vec<Delta>) -> Result<(), Error> {
        if part.inline_data.is_some() || part.file_data.is_some() {
            // No client's protocol has a place for it.
            return Err(Error::new(
                Kind::Server,
                "the model answered with a picture or a file instead of text",
            ));
        }
        if let Some(call) = &part.function_call {
            self.call(choice, response, call, part.thought_signature.as_ref(), changes);
            return Ok(());
        }
        if let Some(text) = part.text.clone().filter(|text| !text.is_empty()) {
            let is_thought = part.thought == Some(true);
            changes.push(if is_thought {
                Delta::Reasoning { choice, text }
            } else {
                Delta::Text { choice, text }
            });
        }
        if let Some(signature) = part.thought_signature.as_ref().filter(|signature| !signature.is_empty()) {
            let signature = ids::mark(signature);
            changes.push(Delta::ReasoningSignature { choice, signature });
        }
        Ok(())
    }

    fn call(&mut self, choice: u32, response: Option<&str>, call: &FunctionCall<'_>, seal: Option<&String>, changes: &mut Vec<Delta>) {
        let name = call.name.clone().unwrap_or_default();
        let json = call.args.map_or_else(|| "{}".to_owned(), |args| compact(args.get()));
        let index = self.calls;
        self.calls += 1;
        let place = Place {
            response,
            choice,
            index,
            name: &name,
            arguments: &json,
        };
        let held = Call {
            id: call.id.clone(),
            signature: seal.filter(|seal| !seal.is_empty()).cloned(),
        };
        let id = ids::encode(&held, &place);
        changes.push(Delta::ToolCall { choice, index, id, name });
        changes.push(Delta::Arguments { choice, index, json });
    }
}

impl ReadStream for Reader {
    fn read(&mut self, data: &[u8], changes: &mut Vec<Delta>) {
        if let Ok(chunk) = serde_json::from_slice(data) {
            self.read_chunk(chunk, changes);
        } else if !self.done && serde_json::from_slice::<Vec<serde::de::IgnoredAny>>(data).is_ok_and(|array| !array.is_empty()) {
            // An error may come as an array even here.
            self.done = true;
            changes.push(Delta::Failed(super::read_error(500, data)));
        }
    }
}

/// JSON without the white space between its parts: whole answers come indented.
fn compact(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |c: &char| {
        if in_string {
            in_string = escaped || *c != '"';
            escaped = !escaped && *c == '\\';
            return true;
        }
        in_string = *c == '"';
        !c.is_ascii_whitespace()
    };
    json.chars().filter(keep).collect()
}
