//! A plain answer that is too large to be held: its bytes pass, and what it says that it took is found on the way.

use super::FIELDS;
use crate::protocol::sieve::Sieve;
use crate::protocol::usage::Tokens;

/// A large answer without events.
#[derive(Debug)]
pub struct Plain {
    sieve: Sieve,
    read: fn(&[u8]) -> Option<Tokens>,
    bytes: u64,
}

impl Plain {
    /// An answer whose report is read so.
    pub(in crate::protocol) fn new(read: fn(&[u8]) -> Option<Tokens>) -> Self {
        Self {
            sieve: Sieve::new(None, FIELDS),
            read,
            bytes: 0,
        }
    }

    /// Looks at the next bytes.
    pub fn look(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        self.sieve.feed(piece);
    }

    /// What the answer took, if it has said so and that can be true.
    #[must_use]
    pub fn tokens(&self) -> Option<Tokens> {
        (self.read)(&self.sieve.kept()).and_then(Tokens::believed)
    }

    /// Bytes so far, to estimate what it took when no report comes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
