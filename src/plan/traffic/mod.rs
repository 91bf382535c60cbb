//! What gateways have seen of late, as the statuses of policies tell it. Each gateway counts from its start; whoever asks them all from time to time
//! makes figures of the differences:
//!
//! ```text
//!  gateway ─┐
//!  gateway ─┼─► Report, every few seconds ─► Seen (differences, in slots of five minutes) ─► Figures of the latest hour
//!  gateway ─┘
//! ```

mod durations;
mod figures;
mod report;
mod seen;
mod shadow;
#[cfg(test)]
mod tests;

pub use durations::{BUCKETS, Durations, bucket};
pub use figures::{BudgetFigures, Figures, ModelFigures, ShadowFigures};
pub use report::{Counts, OfBudget, OfModel, OfPolicy, Report};
pub use seen::Seen;
pub use shadow::OfShadow;
