//! An answer as it is made: small changes, in the order in which they come.

use super::super::usage::Tokens;
use super::{Stop, answer};
use crate::protocol::error::{Error, Kind};

/// One change. Those without `choice` are about the answer as a whole.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// The answer begins: nothing that a person would see. Comes at most once, first.
    Begin {
        /// The provider's name for it, if it gave one.
        id: Option<String>,
    },
    /// More text.
    Text {
        /// Which of the answers.
        choice: u32,
        /// What is added.
        text: String,
    },
    /// More of its thoughts.
    Reasoning {
        /// Which of the answers.
        choice: u32,
        /// What is added.
        text: String,
    },
    /// The seal on the thoughts so far.
    ReasoningSignature {
        /// Which of the answers.
        choice: u32,
        /// The seal, or a part of it.
        signature: String,
    },
    /// Thoughts that only the provider can read.
    RedactedReasoning {
        /// Which of the answers.
        choice: u32,
        /// All of them.
        data: String,
    },
    /// More of the words with which the model declines.
    Refusal {
        /// Which of the answers.
        choice: u32,
        /// What is added.
        text: String,
    },
    /// A call of a tool begins.
    ToolCall {
        /// Which of the answers.
        choice: u32,
        /// Which call, counted from 0 within the answer.
        index: u32,
        /// What its result refers to.
        id: String,
        /// The tool's name.
        name: String,
    },
    /// More of the arguments of a call that has begun.
    Arguments {
        /// Which of the answers.
        choice: u32,
        /// Which call.
        index: u32,
        /// What is added.
        json: String,
    },
    /// One of the answers ended. Its last change.
    Stop {
        /// Which of the answers.
        choice: u32,
        /// Why.
        stop: answer::Stop,
    },
    /// What the answer took so far, all of it: a later one replaces an earlier one.
    Usage(Tokens),
    /// The answer is whole. The last one.
    End,
    /// The answer cannot be finished. The last one.
    Failed(Error),
}

impl Delta {
    /// Whether a person would see it, or it ends an answer: from here on the request cannot move to another model unnoticed.
    #[must_use]
    pub fn is_content(&self) -> bool {
        match self {
            Self::Begin { .. } | Self::Usage(_) | Self::Failed(_) => false,
            Self::Text { text, .. } | Self::Reasoning { text, .. } | Self::Refusal { text, .. } => !text.is_empty(),
            Self::ReasoningSignature { .. }
            | Self::RedactedReasoning { .. }
            | Self::ToolCall { .. }
            | Self::Arguments { .. }
            | Self::Stop { .. }
            | Self::End => true,
        }
    }

    /// One of the answers ended.
    #[must_use]
    pub fn stop(choice: u32, stop: Stop) -> Self {
        Self::Stop { choice, stop }
    }
}

/// Reads a provider's stream, event by event.
pub trait ReadStream: Send {
    /// Reads the data of one event. What it does not understand is nothing.
    fn read(&mut self, data: &[u8], changes: &mut Vec<Delta>);

    /// Reads the end of a stream that was not cut: some protocols have no other mark of it.
    fn finish(&mut self, _changes: &mut Vec<Delta>) {}
}

/// What every message of a client's protocol repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The model's name as the client called it.
    pub model: String,
    /// A name for the answer that is ours, for when the provider gave none: printable, without a prefix.
    pub id: String,
    /// When the answer began, in seconds since 1970.
    pub created: i64,
}

/// So many bytes of one answer a writer holds whose protocol repeats at the end what it said: more than any model says.
pub(in crate::protocol) const HELD_LIMIT: usize = 16 << 20;

/// Why an answer that a writer would have to hold more of cannot be finished.
pub(in crate::protocol) fn too_long_to_hold() -> Error {
    let limit = HELD_LIMIT >> 20;
    let message = format!("the model's answer is longer than {limit} MiB, the most that is held of a stream to be repeated at its end");
    Error::new(Kind::Server, message)
}

/// Writes a stream in a client's protocol.
pub trait WriteStream: Send {
    /// Writes what the client is to see of one change, as whole server-sent events. After `Delta::End` or `Delta::Failed` it writes no more.
    fn write(&mut self, change: &Delta, events: &mut Vec<u8>);

    /// What came that its protocol has no words for: the answer cannot be finished, and whoever holds it says so.
    fn refused(&self) -> Option<&Error> {
        None
    }
}
