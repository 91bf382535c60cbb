//! Looking on while an answer passes unchanged: what each event is, and what the answer took.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::sse::EVENT_LIMIT;
use super::usage::Tokens;

/// What one event of a streamed answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Nothing that a person would see: the role, a ping, notes before the answer, and what is not understood.
    Opening,
    /// A part of the answer.
    Content,
    /// A report of tokens and nothing else: left out where the client did not ask for it.
    Usage,
    /// The mark of the end: the answer is whole.
    Done,
    /// An error, or an answer that the engine gave up: what follows does not make it whole.
    Failed,
    /// No event of any protocol, or the end of an answer that never began: what it should have said is missing.
    Garbled,
}

/// What an event is that has no known form: nothing that an answer consists of, unless it is no JSON at all. Of a monstrous one too little is
/// here to say so: it counts as content, to be on the safe side.
pub(crate) fn unread(data: &[u8]) -> Piece {
    let text = data.trim_ascii();
    // OpenAI's mark of the end is sent in other protocols too.
    if text.is_empty() || text == b"[DONE]" {
        return Piece::Opening;
    }
    if data.len() >= EVENT_LIMIT {
        return Piece::Content;
    }
    match serde_json::from_slice::<serde::de::IgnoredAny>(data) {
        Ok(_) => Piece::Opening,
        Err(_) => Piece::Garbled,
    }
}

/// Whether a field of an answer is a list of objects, or of nothing: that much is looked at where its bytes pass. What it is instead spoils no
/// other field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Listed(pub(super) bool);

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let items = <&RawValue>::deserialize(from)?.get().strip_prefix('[');
        Ok(Self(items.is_some_and(|items| items.trim_ascii_start().starts_with(['{', ']']))))
    }
}

/// Looks at the events of one stream, without copying them.
pub trait Watch: Send {
    /// Reads the data of the next event.
    fn look(&mut self, data: &[u8]) -> Piece;

    /// Reads what was kept of the `response` of the last event, which was too large to be read whole.
    fn report(&mut self, _kept: &[u8]) {}

    /// What the answer took, by the latest reports: of each figure the last that was given counts, and figures are never added up.
    fn tokens(&self) -> Option<Tokens>;

    /// The mark of the end that is missing where all of the answer has come without it: the answer is whole.
    fn missing_end(&self) -> Option<&'static [u8]> {
        None
    }

    /// Bytes of text in the answer so far, to estimate what it took when no report comes.
    fn text_bytes(&self) -> u64;
}
