//! The store of one gateway alone: what was taken is forgotten when the process ends.

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use super::store::{Store, Unavailable};
use crate::plan::ledger::{Account, Accounts, Ask, Grant};

/// What has been taken, in memory. Clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Accounts>>);

impl Store for Memory {
    fn take(&self, account: Account, limit: u64, ask: Ask) -> BoxFuture<'static, Result<Grant, Unavailable>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ready(Ok(all.take(&account, limit, ask))).boxed()
    }

    fn give_back(&self, account: Account, amount: u64) -> BoxFuture<'static, Result<(), Unavailable>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.give_back(&account, amount);
        ready(Ok(())).boxed()
    }
}
