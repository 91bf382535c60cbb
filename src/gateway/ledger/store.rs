//! Where it is kept what all gateways together have taken of each account.

use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::plan::ledger::{Account, Ask, Grant};

/// What has been taken of each account. Both calls are atomic: of several gateways that ask at once each finds what the ones before it took.
/// Of one account a gateway makes one call at a time; it gives up waiting for one ([`Self::patience`]), and makes another.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Takes some of an account whose budget is `limit`, as [`grant`](crate::plan::ledger::grant) says. What was taken and whose answer is lost
    /// stays taken.
    fn take(&self, account: Account, limit: u64, ask: Ask) -> BoxFuture<'static, Result<Grant, Unavailable>>;

    /// Gives back what was taken and not used.
    fn give_back(&self, account: Account, amount: u64) -> BoxFuture<'static, Result<(), Unavailable>>;

    /// How long a call is waited for, when nobody waits for it any more who asks for money. A store whose calls can be lost at any moment without
    /// harm says so by a short one.
    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// Whether it answers, where it is looked after; `None` where that shows when it is asked.
    fn answers(&self) -> Option<bool> {
        None
    }
}

/// Nothing is known of an account now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The store does not answer, or not as it should.
    #[error("what was spent is not known now: {0}")]
    Away(String),
    /// The store answers, and has no room for the account.
    #[error("what was spent cannot be kept: {0}")]
    Full(String),
}
