//! A stream that is written anew, in the client's protocol.

use std::fmt;

use bytes::Bytes;

use super::{Fault, Seen};
use crate::protocol::bedrock::frames::Frames;
use crate::protocol::chat::{Delta, ReadStream, WriteStream};
use crate::protocol::error::Error;
use crate::protocol::sse::{EVENT_LIMIT, Splitter};
use crate::protocol::usage::Tokens;
use crate::protocol::watch::{self, Piece};

/// How a stream is cut into events.
pub enum Framing {
    /// Server-sent events.
    Events(Splitter),
    /// Amazon's event stream.
    Frames(Frames),
}

/// A stream in another protocol than the client's.
pub struct Translating {
    framing: Framing,
    reader: Box<dyn ReadStream>,
    writer: Box<dyn WriteStream>,
    changes: Vec<Delta>,
    has_stopped: bool,
    tokens: Option<Tokens>,
    text_bytes: u64,
    seen: Seen,
}

impl fmt::Debug for Translating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Translating").field("seen", &self.seen).finish_non_exhaustive()
    }
}

/// Reads an event. One that says nothing to the reader may be one that nobody can read; only then is it looked at once more. What is not
/// whole is not read: the answer would lack what it says, and nobody would know.
fn read(reader: &mut dyn ReadStream, data: &[u8], changes: &mut Vec<Delta>) -> Option<Fault> {
    if data.len() >= EVENT_LIMIT {
        return Some(Fault::TooLarge);
    }
    let before = changes.len();
    reader.read(data, changes);
    (changes.len() == before && watch::unread(data) == Piece::Garbled).then_some(Fault::Garbled)
}

impl Translating {
    /// A stream that `reader` reads and `writer` writes.
    #[must_use]
    pub fn new(framing: Framing, reader: Box<dyn ReadStream>, writer: Box<dyn WriteStream>) -> Self {
        Self {
            framing,
            reader,
            writer,
            changes: Vec::new(),
            has_stopped: false,
            tokens: None,
            text_bytes: 0,
            seen: Seen::default(),
        }
    }

    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    pub(super) fn tokens(&self) -> Option<Tokens> {
        self.tokens
    }

    pub(super) fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    pub(super) fn fail(&mut self, error: &Error) -> Bytes {
        let mut events = Vec::new();
        self.writer.write(&Delta::Failed(error.clone()), &mut events);
        events.into()
    }

    pub(super) fn pass(&mut self, piece: &[u8]) -> Bytes {
        let (reader, changes) = (&mut self.reader, &mut self.changes);
        let mut fault = None;
        match &mut self.framing {
            // What comes after a fault is not read: what came before it counts.
            Framing::Events(splitter) => {
                splitter.feed(piece, |data, _| {
                    if fault.is_none() {
                        fault = read(reader.as_mut(), data, changes);
                    }
                });
            }
            Framing::Frames(frames) => {
                let damaged = frames.feed(piece, |data| reader.read(data, changes)).is_err();
                fault = damaged.then_some(Fault::Garbled);
            }
        }
        let events = self.write();
        if let Some(fault) = fault
            && !self.seen.done
            && !self.seen.failed
        {
            self.seen.fail(fault);
        }
        events
    }

    pub(super) fn end(&mut self) -> Bytes {
        let (reader, changes) = (&mut self.reader, &mut self.changes);
        match &mut self.framing {
            Framing::Events(splitter) => {
                let mut fault = None;
                splitter.finish(|data| fault = read(reader.as_mut(), data, changes));
                // Half an event is nothing that anybody said: the stream was cut.
                if fault.is_some() {
                    return self.write();
                }
            }
            // Half a frame is a stream that was cut: it says nothing of an end.
            Framing::Frames(frames) if frames.finish().is_err() => return Bytes::new(),
            Framing::Frames(_) => {}
        }
        reader.finish(changes);
        let ends = changes.iter().any(|change| matches!(change, Delta::End | Delta::Failed(_)));
        let stops = changes.iter().any(|change| matches!(change, Delta::Stop { .. }));
        // Some providers have no mark of the end: the reason why an answer stopped is the last that they say.
        if !ends && !self.seen.done && (self.has_stopped || stops) {
            self.changes.push(Delta::End);
        }
        self.write()
    }

    fn write(&mut self) -> Bytes {
        let mut events = Vec::new();
        for change in std::mem::take(&mut self.changes) {
            if self.seen.done || self.seen.failed {
                break;
            }
            if matches!(&change, Delta::Usage(tokens) if tokens.believed().is_none()) {
                self.tokens = None;
                continue;
            }
            if change == Delta::End && !self.seen.content {
                self.seen.fail(Fault::Garbled);
                break;
            }
            self.seen.content |= change.is_content();
            match &change {
                Delta::Text { text, .. }
                | Delta::Reasoning { text, .. }
                | Delta::Refusal { text, .. }
                | Delta::Arguments { json: text, .. } => {
                    self.text_bytes += text.len() as u64;
                }
                Delta::Stop { .. } => self.has_stopped = true,
                Delta::Usage(tokens) => self.tokens = Some(*tokens),
                Delta::End => self.seen.done = true,
                Delta::Failed(error) => {
                    self.seen.failed = true;
                    self.seen.error = Some(error.clone());
                    // What the client is told of it is up to whoever holds the answer.
                    break;
                }
                Delta::Begin { .. } | Delta::ReasoningSignature { .. } | Delta::RedactedReasoning { .. } | Delta::ToolCall { .. } => {}
            }
            self.writer.write(&change, &mut events);
            if let Some(error) = self.writer.refused() {
                self.seen.failed = true;
                self.seen.error = Some(error.clone());
            }
        }
        events.into()
    }
}
