//! What requests may spend and how fast, at this gateway: every attempt is paid for before it is made. The arithmetic is in `plan::ledger`.
//!
//! ```text
//! request ─► admit (limits) ─► reserve ─► attempt ─┬─ answered, or failed at a cost ─► charge
//!                                 ▲                └─ failed at no cost ─────────────► release
//!                                 └── the next attempt, at the price of its model ──┘
//! ```
//!
//! A request waits for the store only where what this gateway has taken is used up, for a second at most.

mod account;
mod file;
mod limits;
mod memory;
mod store;
mod visit;
mod words;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use crate::plan::ledger::{Account, Mean};
use crate::plan::names::Key;
use account::Entry;
use limits::Meters;

pub use file::{BadLedger, InFile};
pub use memory::Memory;
pub use store::{Store, Unavailable};
pub(super) use visit::{Unaffordable, Visit};

/// Between two looks at what may be forgotten.
const SWEEP: Duration = Duration::from_secs(60);
/// Models whose answers are remembered; beyond it all are forgotten.
const MODELS: usize = 4096;

/// All accounts and limits at this gateway.
pub(super) struct Ledger {
    store: Arc<dyn Store>,
    now: fn() -> Timestamp,
    accounts: Mutex<Accounts>,
    meters: Meters,
    means: Mutex<HashMap<Key, Mean>>,
}

struct Accounts {
    entries: HashMap<Account, Arc<Entry>>,
    swept: Instant,
}

impl Ledger {
    pub(super) fn new(store: Arc<dyn Store>, now: fn() -> Timestamp) -> Arc<Self> {
        Arc::new(Self {
            store,
            now,
            accounts: Mutex::new(Accounts {
                entries: HashMap::new(),
                swept: Instant::now(),
            }),
            meters: Meters::default(),
            means: Mutex::default(),
        })
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, account: Account) -> Arc<Entry> {
        let mut accounts = self.accounts();
        if accounts.swept.elapsed() >= SWEEP {
            accounts.swept = Instant::now();
            let now = (self.now)();
            accounts.entries.retain(|_, entry| !entry.is_over(now));
        }
        let entry = accounts.entries.entry(account.clone());
        entry
            .or_insert_with(|| Arc::new(Entry::new(account, self.store.clone(), self.now)))
            .clone()
    }

    /// What an answer of a model is reckoned with of which nobody says how long it may be.
    pub(super) fn expected(&self, model: &Key) -> u64 {
        let means = self.means.lock().unwrap_or_else(PoisonError::into_inner);
        means.get(model).copied().unwrap_or_default().expected()
    }

    fn learn(&self, model: &Key, tokens: u64) {
        let mut means = self.means.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mean) = means.get_mut(model) {
            return mean.note(tokens);
        }
        if means.len() >= MODELS {
            means.clear();
        }
        means.entry(model.clone()).or_default().note(tokens);
    }

    /// Which part was spent of each budget that all of a policy share, in the present window.
    pub(super) fn spent_ratios(&self) -> Vec<(String, String, f64)> {
        let now = (self.now)();
        let accounts = self.accounts();
        let shared = accounts.entries.values().filter(|entry| {
            let (start, end) = entry.account.window;
            entry.account.subject.is_empty() && start <= now && now < end
        });
        let told = |entry: &Arc<Entry>| {
            let Account { policy, budget, .. } = &entry.account;
            let name = budget.split('/').next().unwrap_or_default();
            (policy.clone(), name.to_owned(), entry.spent_ratio())
        };
        shared.map(told).collect()
    }

    /// Gives back what was taken and not spent.
    pub(super) async fn give_back(&self) {
        let now = (self.now)();
        let entries: Vec<Arc<Entry>> = self.accounts().entries.values().cloned().collect();
        for entry in entries.iter().filter(|entry| now < entry.account.window.1) {
            if let Err(error) = entry.give_back().await {
                tracing::warn!(%error, "what was taken of budgets and not spent stays taken until their windows end");
                return;
            }
        }
    }
}
