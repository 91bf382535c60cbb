//! A plain answer that is too large to be held: its bytes pass, and what it says that it took is found on the way.

use super::FIELDS;
use crate::protocol::estimate::Meter;
use crate::protocol::sieve::Sieve;
use crate::protocol::usage::Tokens;

/// A large answer without events.
#[derive(Debug)]
pub struct Plain {
    sieve: Sieve,
    read: fn(&[u8]) -> Option<Tokens>,
    meter: Meter,
}

impl Plain {
    /// An answer whose report is read so.
    pub(in crate::protocol) fn new(read: fn(&[u8]) -> Option<Tokens>) -> Self {
        Self {
            sieve: Sieve::new(None, FIELDS),
            read,
            meter: Meter::default(),
        }
    }

    /// Looks at the next bytes.
    pub fn look(&mut self, piece: &[u8]) {
        self.meter.feed(piece);
        self.sieve.feed(piece);
    }

    /// What the answer took, if it has said so and that can be true.
    #[must_use]
    pub fn tokens(&self) -> Option<Tokens> {
        (self.read)(&self.sieve.kept()).and_then(Tokens::believed)
    }

    /// Its tokens so far, by an estimate, for when no report comes.
    #[must_use]
    pub fn estimate(&self) -> u64 {
        self.meter.tokens()
    }
}
