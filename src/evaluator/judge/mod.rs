//! A model as the judge of answers: which of two is better, the candidate's or the reference? Each pair is judged twice, with the answers the
//! other way round, because judges favour a place. Pure: what is asked, what an answer of the judge says, and what many of them come to.
//!
//! ```text
//! candidate's answer ─┐               ┌─► A: candidate, B: reference ─► judge ─► verdict ─┐
//!                     ├─ prompt::pair ┤                                                   ├─ verdict::Judged ─► 1 | 0.5 | 0
//! reference ──────────┘               └─► A: reference, B: candidate ─► judge ─► verdict ─┘         │
//!                                                                      agreement::Agreement ◄───────┘ over all pairs
//! ```
//!
//! The candidate's answer is hostile for all we know: it may hold instructions to the judge, verdicts and marks of its own. It cannot end what it
//! is fenced in, and nothing in it is read as a verdict. That it persuades the judge is another matter, which no form of the question rules out.

mod agreement;
mod prompt;
mod verdict;

pub(super) use agreement::Agreement;
pub(super) use prompt::{Pair, protocol};
pub(super) use verdict::{Judged, Letter};
