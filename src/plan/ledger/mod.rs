//! What may be spent under a policy's name, and how fast. Pure: stores and clocks are elsewhere, `now` is an argument.
//!
//! A store holds for each account (a budget, one of those who share it, and a window) how much has been taken of it, by all gateways together. A gateway takes a
//! slice, never beyond the budget, and spends from that without asking anybody:
//!
//! ```text
//!            take ≤ budget                reserve before an attempt      settle after it
//!  store ───────────────────► slice ────────────────────► reserved ───────────────────► spent
//!    ▲                          │ ▲                           │  not sent: release        │
//!    └── give back, at the end ─┘ └───────────────────────────┴── what it cost less ──────┘
//! ```
//!
//! **What holds.** What is taken never exceeds the budget by what is granted, and a gateway reserves only from what it has taken. So what is spent exceeds a budget
//! at most by what attempts cost beyond their reservations, and only of those that are in flight when a gateway makes its last reservation: the number of requests
//! in flight × the largest underestimate of one. A gateway that dies loses its slice, which counts as spent; if attempts had just cost more
//! than was reserved and it had not told the store yet, that comes on top, by the same bound. What was charged in one window never counts in the next.
//!
//! **Where gateways go on while the store is away** (`onFailure: Open`), each reserves what it has not taken as far as all that it knows of stays
//! within the budget: what all had taken at the store's latest answer, and what it owes since. So each gateway may spend once more what was left at
//! that answer, and one that began after it the whole budget: instead of one budget at most as many as gateways were there, or began anew,
//! while the store was away. What is owed is told when the store is back, so that its total is right again, but for what a gateway owed that died.

mod accounts;
mod budget;
mod calendar;
mod foresight;
mod meter;
mod purse;
mod slice;
#[cfg(test)]
mod tests;
mod turn;

pub use accounts::{Accounts, KEPT_SECONDS};
pub use budget::{Account, Budget, Unit, subject};
pub use calendar::{Calendar, Span};
pub use foresight::{FLOOR, Foreseen, Mean, longest};
pub use meter::{Level, Meter, Over, Rates, Standing};
pub use purse::{Purse, Short};
pub use slice::{Ask, Grant, grant};
pub use turn::{Latest, Turn, take};
