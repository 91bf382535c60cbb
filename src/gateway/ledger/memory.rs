//! The store of one gateway alone: what was taken is forgotten when the process ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use super::store::{Store, Unavailable};
use crate::plan::ledger::{Account, Ask, Grant, grant};

/// How long the accounts of a window are kept after its end: requests that began in it may still be charged.
const KEPT_SECONDS: i64 = 24 * 60 * 60;

/// What has been taken of each account.
pub(super) type Taken = BTreeMap<Account, u64>;

/// Takes some of an account, and forgets those that ended long before it began.
pub(super) fn take(all: &mut Taken, account: &Account, limit: u64, ask: Ask) -> Grant {
    let began = account.window.0.as_second();
    all.retain(|other, _| other.window.1.as_second() + KEPT_SECONDS > began);
    let taken = all.entry(account.clone()).or_default();
    let granted = grant(limit, *taken, ask);
    *taken = granted.taken;
    granted
}

/// Gives some of an account back.
pub(super) fn give_back(all: &mut Taken, account: &Account, amount: u64) {
    if let Some(taken) = all.get_mut(account) {
        *taken = taken.saturating_sub(amount);
    }
}

/// What has been taken, in memory. Clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Taken>>);

impl Store for Memory {
    fn take(&self, account: Account, limit: u64, ask: Ask) -> BoxFuture<'static, Result<Grant, Unavailable>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ready(Ok(take(&mut all, &account, limit, ask))).boxed()
    }

    fn give_back(&self, account: Account, amount: u64) -> BoxFuture<'static, Result<(), Unavailable>> {
        give_back(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), &account, amount);
        ready(Ok(())).boxed()
    }
}
