//! Wire formats: reading just enough of a request or answer, and changing as few bytes as possible. Pure; imports nothing of ours.

use std::error::Error;
use std::iter;

pub mod anthropic;
pub mod bedrock;
pub mod chat;
pub mod embeddings;
pub mod error;
pub mod estimate;
pub mod exchange;
pub mod fees;
mod fields;
pub mod gemini;
pub mod google;
pub mod identifiers;
pub mod longest;
mod misread;
pub mod models;
pub mod openai;
mod outline;
mod peek;
pub mod redaction;
pub mod responses;
mod scan;
mod sieve;
pub mod sigv4;
pub mod sse;
pub mod stream;
pub mod texts;
pub mod usage;
pub mod version;
pub mod vllm;
mod watch;
mod wire;

pub use peek::{Peek, Spliced, peek};
pub use watch::{Piece, Watch};
pub use wire::{Dialect, Operation};

/// The innermost error of a request that failed, which is the one that says something.
#[must_use]
pub fn root_cause(error: &(dyn Error + 'static)) -> String {
    let causes = iter::successors(Some(error), |error| (*error).source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}
