//! The events of a stream that is written: what chat completions and completions have in common.

use serde::Serialize;

use super::error_event;
use super::report::Written;
use crate::protocol::chat::Said;
use crate::protocol::error::Error;
use crate::protocol::usage::Tokens;

/// What all events of one stream repeat, and how the stream ends.
#[derive(Debug)]
pub(super) struct Frame {
    object: &'static str,
    said: Said,
    /// The answer's name.
    id: String,
    usage_asked: bool,
    usage: Option<Tokens>,
    is_over: bool,
}

#[derive(Serialize)]
struct Chunk<'a, T> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: &'a [T],
    /// Null on all but the last where the client asked for it, and not there where it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Written>>,
}

impl Frame {
    /// A stream of `object`s, whose name begins with `prefix` where the provider gave it none.
    pub(super) fn new(object: &'static str, prefix: &str, said: Said, usage_asked: bool) -> Self {
        Self {
            object,
            id: format!("{prefix}{}", said.id),
            said,
            usage_asked,
            usage: None,
            is_over: false,
        }
    }

    /// Whether nothing more may be written.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The provider's own name for the answer.
    pub(super) fn call_it(&mut self, id: &str) {
        id.clone_into(&mut self.id);
    }

    /// Keeps a report for the end; a later one replaces it.
    pub(super) fn report(&mut self, tokens: Tokens) {
        self.usage = Some(tokens);
    }

    /// Writes the event of one change of one of the answers.
    pub(super) fn write<T: Serialize>(&self, choice: T, events: &mut Vec<u8>) {
        self.write_chunk(&[choice], self.usage_asked.then_some(None), events);
    }

    fn write_chunk<T: Serialize>(&self, choices: &[T], usage: Option<Option<Written>>, events: &mut Vec<u8>) {
        events.extend_from_slice(b"data: ");
        let chunk = Chunk {
            id: &self.id,
            object: self.object,
            created: self.said.created,
            model: &self.said.model,
            choices,
            usage,
        };
        serde_json::to_writer(&mut *events, &chunk).expect("strings and numbers are always JSON");
        events.extend_from_slice(b"\n\n");
    }

    /// Writes the end of a whole answer. Tokens that nobody counted are not reported as none.
    pub(super) fn end(&mut self, events: &mut Vec<u8>) {
        if let Some(tokens) = self.usage.filter(|_| self.usage_asked) {
            self.write_chunk::<()>(&[], Some(Some(Written::from(&tokens))), events);
        }
        events.extend_from_slice(b"data: [DONE]\n\n");
        self.is_over = true;
    }

    /// Writes the end of an answer that cannot be finished.
    pub(super) fn fail(&mut self, error: &Error, events: &mut Vec<u8>) {
        events.extend_from_slice(&error_event(error));
        self.is_over = true;
    }
}
