//! A stream for Anthropic's clients. Blocks open and close as what is said changes its kind; one is open at a time.
//!
//! ```text
//! nothing ── first words ──► message_start, block 0 … block n ── End ──► message_delta (reason, tokens), message_stop
//!    └────────────────────────── Failed ──────────────────────────────► error
//! ```

use serde::Serialize;

use super::answer::{id, stop_reason};
use super::error::error_event;
use super::usage::Report;
use crate::protocol::chat::{Delta, HELD_LIMIT, Said, Stop, WriteStream, too_long_to_hold};
use crate::protocol::error::{Error, Kind};
use crate::protocol::usage::Tokens;

/// Writes a stream.
#[derive(Debug)]
pub struct Writer {
    said: Said,
    id: Option<String>,
    has_begun: bool,
    is_over: bool,
    refused: Option<Error>,
    open: Option<Open>,
    /// The place of the block that is open, or of the next one.
    index: u32,
    has_declined: bool,
    stop: Option<Stop>,
    usage: Option<Tokens>,
}

/// The block that is open.
#[derive(Debug, PartialEq, Eq)]
enum Open {
    Text,
    /// With the seal so far: SDKs take the last part of it for all of it, so it is written in one piece.
    Thinking(String),
    Call(u32),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event<'a> {
    MessageStart { message: Message<'a> },
    ContentBlockStart { index: u32, content_block: Block<'a> },
    ContentBlockDelta { index: u32, delta: BlockDelta<'a> },
    ContentBlockStop { index: u32 },
    MessageDelta { delta: End<'a>, usage: Report },
    MessageStop,
}

#[derive(Serialize)]
struct Message<'a> {
    id: &'a str,
    r#type: &'static str,
    role: &'static str,
    content: [(); 0],
    model: &'a str,
    stop_reason: Option<()>,
    stop_sequence: Option<()>,
    usage: Report,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text { text: &'static str },
    Thinking { thinking: &'static str, signature: &'static str },
    RedactedThinking { data: &'a str },
    ToolUse { id: &'a str, name: &'a str, input: Empty },
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(tag = "type")]
enum BlockDelta<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
}

#[derive(Serialize)]
struct End<'a> {
    stop_reason: &'static str,
    stop_sequence: Option<&'a str>,
}

impl Event<'_> {
    const fn name(&self) -> &'static str {
        match self {
            Self::MessageStart { .. } => "message_start",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop => "message_stop",
        }
    }

    fn write(&self, events: &mut Vec<u8>) {
        events.extend_from_slice(b"event: ");
        events.extend_from_slice(self.name().as_bytes());
        events.extend_from_slice(b"\ndata: ");
        serde_json::to_writer(&mut *events, self).expect("texts and numbers are always JSON, and memory takes it");
        events.extend_from_slice(b"\n\n");
    }
}

impl Writer {
    /// A stream of the answer that `said` tells of.
    #[must_use]
    pub const fn new(said: Said) -> Self {
        Self {
            said,
            id: None,
            has_begun: false,
            is_over: false,
            refused: None,
            open: None,
            index: 0,
            has_declined: false,
            stop: None,
            usage: None,
        }
    }

    fn begin(&mut self, events: &mut Vec<u8>) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        let message = Message {
            id: &id(self.id.as_deref(), &self.said),
            r#type: "message",
            role: "assistant",
            content: [],
            model: &self.said.model,
            stop_reason: None,
            stop_sequence: None,
            usage: self.usage.unwrap_or_default().into(),
        };
        Event::MessageStart { message }.write(events);
    }

    /// Opens a block, after closing the one before.
    fn open(&mut self, open: Open, content_block: Block<'_>, events: &mut Vec<u8>) {
        self.begin(events);
        self.close(events);
        let index = self.index;
        Event::ContentBlockStart { index, content_block }.write(events);
        self.open = Some(open);
    }

    fn close(&mut self, events: &mut Vec<u8>) {
        let Some(open) = self.open.take() else { return };
        let index = self.index;
        if let Open::Thinking(signature) = &open
            && !signature.is_empty()
        {
            self.change(BlockDelta::Signature { signature }, events);
        }
        Event::ContentBlockStop { index }.write(events);
        self.index += 1;
    }

    fn change(&self, delta: BlockDelta<'_>, events: &mut Vec<u8>) {
        let index = self.index;
        Event::ContentBlockDelta { index, delta }.write(events);
    }

    fn text(&mut self, text: &str, events: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if self.open != Some(Open::Text) {
            self.open(Open::Text, Block::Text { text: "" }, events);
        }
        self.change(BlockDelta::Text { text }, events);
    }

    /// Thoughts after a seal are others, with a block of their own.
    fn think(&mut self, text: &str, events: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if self.open != Some(Open::Thinking(String::new())) {
            self.open_thoughts(events);
        }
        self.change(BlockDelta::Thinking { thinking: text }, events);
    }

    fn open_thoughts(&mut self, events: &mut Vec<u8>) {
        let block = Block::Thinking {
            thinking: "",
            signature: "",
        };
        self.open(Open::Thinking(String::new()), block, events);
    }

    fn seal(&mut self, part: &str, events: &mut Vec<u8>) {
        if !matches!(self.open, Some(Open::Thinking(_))) {
            self.open_thoughts(events);
        }
        if let Some(Open::Thinking(signature)) = &mut self.open {
            if signature.len() + part.len() > HELD_LIMIT {
                self.refused = Some(too_long_to_hold());
                return;
            }
            signature.push_str(part);
        }
    }

    /// Calls come one after the other here, and a block that was closed stays closed.
    fn call_on(&mut self, index: u32, json: &str, events: &mut Vec<u8>) {
        if self.open == Some(Open::Call(index)) {
            if !json.is_empty() {
                self.change(BlockDelta::InputJson { partial_json: json }, events);
            }
            return;
        }
        if !json.is_empty() {
            let message = "the model mixed up the calls of its tools, which cannot be told in this protocol";
            self.refused = Some(Error::new(Kind::Server, message));
        }
    }

    fn end(&mut self, events: &mut Vec<u8>) {
        self.begin(events);
        self.close(events);
        let (stop_reason, stop_sequence) = stop_reason(self.stop.as_ref().unwrap_or(&Stop::End), self.has_declined);
        let delta = End {
            stop_reason,
            stop_sequence,
        };
        Event::MessageDelta {
            delta,
            usage: self.usage.unwrap_or_default().into(),
        }
        .write(events);
        Event::MessageStop.write(events);
        self.is_over = true;
    }

    fn fail(&mut self, error: &Error, events: &mut Vec<u8>) {
        events.extend_from_slice(&error_event(error));
        self.is_over = true;
    }
}

impl WriteStream for Writer {
    fn write(&mut self, change: &Delta, events: &mut Vec<u8>) {
        if self.is_over {
            return;
        }
        match change {
            Delta::Begin { id } => self.id.clone_from(id),
            Delta::Usage(tokens) => self.usage = Some(*tokens),
            Delta::End => self.end(events),
            Delta::Failed(error) => self.fail(error, events),
            Delta::Text { choice: 0, text } => self.text(text, events),
            Delta::Refusal { choice: 0, text } => {
                self.has_declined = true;
                self.text(text, events);
            }
            Delta::Reasoning { choice: 0, text } => self.think(text, events),
            Delta::ReasoningSignature { choice: 0, signature } => self.seal(signature, events),
            Delta::RedactedReasoning { choice: 0, data } => {
                // Complete as it begins; whatever comes next closes it.
                self.open(Open::Text, Block::RedactedThinking { data }, events);
                self.close(events);
            }
            Delta::ToolCall {
                choice: 0,
                index,
                id,
                name,
            } => {
                self.open(Open::Call(*index), Block::ToolUse { id, name, input: Empty {} }, events);
            }
            Delta::Arguments { choice: 0, index, json } => self.call_on(*index, json, events),
            Delta::Stop { choice: 0, stop } => self.stop = Some(stop.clone()),
            // A message is one answer; no client of this protocol can ask for more.
            Delta::Text { .. }
            | Delta::Refusal { .. }
            | Delta::Reasoning { .. }
            | Delta::ReasoningSignature { .. }
            | Delta::RedactedReasoning { .. }
            | Delta::ToolCall { .. }
            | Delta::Arguments { .. }
            | Delta::Stop { .. } => {}
        }
    }

    fn refused(&self) -> Option<&Error> {
        self.refused.as_ref()
    }
}
