//! Looking on while an answer passes unchanged: what each event is, and what the answer took.

use super::sse::EVENT_LIMIT;
use super::usage::Tokens;

/// What one event of a streamed answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Nothing that a person would see: the role, a ping, notes before the answer.
    Opening,
    /// A part of the answer, or anything that is not understood.
    Content,
    /// A report of tokens and nothing else: left out where the client did not ask for it.
    Usage,
    /// The mark of the end: the answer is whole.
    Done,
    /// An error, or an answer that the engine gave up: what follows does not make it whole.
    Failed,
    /// No event of any protocol: clients cannot read it, and what it should have said is missing.
    Garbled,
}

/// What an event is that has no known form: content to be on the safe side, unless it is no JSON at all. Of a monstrous one too little is
/// here to say so.
pub(crate) fn unread(data: &[u8]) -> Piece {
    let text = data.trim_ascii();
    if text.is_empty() {
        return Piece::Opening;
    }
    // OpenAI's mark of the end is sent in other protocols too.
    let is_judged = data.len() < EVENT_LIMIT && text != b"[DONE]";
    if is_judged && serde_json::from_slice::<serde::de::IgnoredAny>(data).is_err() {
        return Piece::Garbled;
    }
    Piece::Content
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
