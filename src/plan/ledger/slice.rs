//! How much of a budget a gateway gets when it asks: the one rule, which every store follows.

use serde::{Deserialize, Serialize};

/// So many of what is left a gateway gets at once, so that little is stranded with one of them near the end.
const PARTS: u64 = 16;

/// What a gateway asks a store for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// What was spent beyond all that was taken: it counts, whatever is left.
    pub owed: u64,
    /// What is given back.
    pub returned: u64,
    /// What is needed now; less is of no use.
    pub at_least: u64,
    /// What would last for a while.
    pub wish: u64,
}

/// What a store answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What the gateway may spend more. None where less is left than it needs.
    pub amount: u64,
    /// What all gateways have taken of the account now.
    pub taken: u64,
}

/// What is granted of a budget of `limit` of which `taken` has been taken: what is needed, and what is wished for as far as that is little
/// of what is left. Never beyond the limit.
#[must_use]
pub fn grant(limit: u64, taken: u64, ask: Ask) -> Grant {
    let taken = taken.saturating_add(ask.owed).saturating_sub(ask.returned);
    let left = limit.saturating_sub(taken);
    let amount = match ask.at_least <= left {
        true => ask.at_least.max(ask.wish.min(left / PARTS)),
        false => 0,
    };
    Grant {
        amount,
        taken: taken + amount,
    }
}
