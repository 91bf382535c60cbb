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

mod accounts;
mod budget;
mod calendar;
mod foresight;
mod meter;
mod purse;
mod slice;
#[cfg(test)]
mod tests;

pub use accounts::Accounts;
pub use budget::{Account, Budget, Unit, subject};
pub use calendar::{Calendar, Span};
pub use foresight::{FLOOR, Mean, longest};
pub use meter::{Level, Meter, Over, Standing};
pub use purse::{Purse, Short};
pub use slice::{Ask, Grant, grant};
