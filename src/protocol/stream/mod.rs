//! A streamed answer on its way to a client: its bytes pass as they are where both sides speak the same protocol, and are written anew where
//! they do not. Either way what it says is seen on the side, and a client never gets half an event.

mod passing;
mod plain;
#[cfg(test)]
mod tests;
mod translating;

use bytes::Bytes;

use super::error::{Error, Kind};
use super::redaction::Restoring;
use super::usage::Tokens;

pub use passing::{Passing, Words};
pub use plain::Plain;
pub use translating::{Framing, Translating};

/// The fields of an answer that tell what it took, in any protocol.
const FIELDS: &[&str] = &["usage", "service_tier", "tools"];

/// One streamed answer.
pub enum Stream {
    /// Its bytes pass.
    Passing(Passing),
    /// It is written anew.
    Translating(Translating),
    /// Either, and placeholders in it become what they stand for.
    Restored(Box<Self>, Restoring),
}

/// What has been seen of a streamed answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// A part of the answer, or its end.
    pub content: bool,
    /// The mark of the end: the answer is whole.
    pub done: bool,
    /// An error, or an answer that was given up.
    pub failed: bool,
    /// What the error says, where that is read.
    pub error: Option<Error>,
    /// Why it failed, where its model reported no error.
    pub fault: Option<Fault>,
}

/// What is wrong with a stream whose model reports nothing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It says what is nothing of its protocol, or ends before it said anything.
    Garbled,
    /// One of its events is larger than may be written in another protocol.
    TooLarge,
}

impl Fault {
    fn error(self) -> Error {
        let message = match self {
            Self::Garbled => "the model sent something that is no answer of its protocol",
            Self::TooLarge => "the model sent an event that is too long to be translated",
        };
        Error::new(Kind::Server, message)
    }
}

impl Seen {
    fn fail(&mut self, fault: Fault) {
        self.failed = true;
        self.error = Some(fault.error());
        self.fault = Some(fault);
    }
}

impl Stream {
    /// Takes the next bytes; returns those that the client gets now, all of them whole events. Of a stream that fails with them, those that
    /// came before the event that says so.
    pub fn pass(&mut self, piece: Bytes) -> Bytes {
        match self {
            Self::Passing(passing) => passing.pass(piece),
            Self::Translating(translating) => translating.pass(&piece),
            Self::Restored(stream, restoring) => restoring.pass(&stream.pass(piece)),
        }
    }

    /// Takes the end; returns the bytes that are left. Half an event is dropped unless it is the mark of the end.
    pub fn end(&mut self) -> Bytes {
        match self {
            Self::Passing(passing) => passing.end(),
            Self::Translating(translating) => translating.end(),
            Self::Restored(stream, restoring) => {
                let last = restoring.pass(&stream.end());
                [last, restoring.end()].concat().into()
            }
        }
    }

    /// The event that tells the client that its answer cannot be finished, and why.
    #[must_use]
    pub fn fail(&mut self, error: &Error) -> Bytes {
        match self {
            Self::Passing(passing) => passing.fail(error),
            Self::Translating(translating) => translating.fail(error),
            Self::Restored(stream, restoring) => [restoring.end(), stream.fail(error)].concat().into(),
        }
    }

    /// What has been seen so far.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        match self {
            Self::Passing(passing) => passing.seen(),
            Self::Translating(translating) => translating.seen(),
            Self::Restored(stream, _) => stream.seen(),
        }
    }

    /// What the answer took, by the latest report that can be true.
    #[must_use]
    pub fn tokens(&self) -> Option<Tokens> {
        match self {
            Self::Passing(passing) => passing.tokens().and_then(Tokens::believed),
            Self::Translating(translating) => translating.tokens(),
            Self::Restored(stream, _) => stream.tokens(),
        }
    }

    /// Bytes of text so far, to estimate what it took when no report comes.
    #[must_use]
    pub fn text_bytes(&self) -> u64 {
        match self {
            Self::Passing(passing) => passing.text_bytes(),
            Self::Translating(translating) => translating.text_bytes(),
            Self::Restored(stream, _) => stream.text_bytes(),
        }
    }
}
