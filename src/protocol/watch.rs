//! Looking on while an answer passes unchanged: what each event is, and what the answer took.

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
}

/// Looks at the events of one stream, without copying them.
pub trait Watch: Send {
    /// Reads the data of the next event.
    fn look(&mut self, data: &[u8]) -> Piece;

    /// What the answer took, by the latest reports: of each figure the last that was given counts, and figures are never added up.
    fn tokens(&self) -> Option<Tokens>;

    /// Bytes of text in the answer so far, to estimate what it took when no report comes.
    fn text_bytes(&self) -> u64;
}
