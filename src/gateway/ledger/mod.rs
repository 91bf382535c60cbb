//! What requests may spend and how fast, at this gateway: every attempt is paid for before it is made. The arithmetic is in `plan::ledger`.
//!
//! ```text
//! request ─► admit (limits) ─► reserve ─► attempt ─┬─ answered, or failed at a cost ─► charge
//!                                 ▲                └─ failed at no cost ─────────────► release
//!                                 └── the next attempt, at the price of its model ──┘
//! ```
//!
//! A request waits for the store only where what this gateway has taken is used up, for a second at most. What becomes of it where the store does
//! not answer is the installer's choice ([`OnFailure`]); what may be spent then is said in `plan::ledger`.

mod account;
mod file;
mod limits;
mod memory;
mod meters;
mod quota;
mod redis;
mod store;
mod visit;
mod words;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use crate::api::ledger::OnFailure;
use crate::plan::ledger::{Account, Mean};
use crate::plan::names::Key;
use crate::plan::traffic::OfBudget;
use crate::protocol::usage::Tokens;
use account::Entry;
use limits::Whose;
use meters::Meters;

pub use file::{BadLedger, InFile};
pub use memory::Memory;
pub(super) use meters::Entered;
pub use redis::InRedis;
pub use store::{Store, Unavailable};
pub(super) use visit::{Unaffordable, Visit, all};

/// Between two looks at what may be forgotten.
const SWEEP: Duration = Duration::from_secs(60);
/// Models whose answers are remembered; beyond it all are forgotten.
const MODELS: usize = 4096;

/// All accounts and limits at this gateway.
pub(super) struct Ledger {
    keeping: Arc<Keeping>,
    now: fn() -> Timestamp,
    accounts: Mutex<Accounts>,
    meters: Meters<Whose>,
    quotas: Meters<Key>,
    means: Mutex<HashMap<Key, Mean>>,
    /// The same of what its answers were thought over with.
    thoughts: Mutex<HashMap<Key, Mean>>,
}

/// Where and how it is kept what was spent.
struct Keeping {
    store: Arc<dyn Store>,
    on_failure: OnFailure,
    /// Whether the store answered its latest call.
    has_answered: AtomicBool,
}

struct Accounts {
    entries: HashMap<Account, Arc<Entry>>,
    swept: Instant,
}

impl Ledger {
    pub(super) fn new(store: Arc<dyn Store>, on_failure: OnFailure, now: fn() -> Timestamp) -> Arc<Self> {
        let keeping = Keeping {
            store,
            on_failure,
            has_answered: AtomicBool::new(true),
        };
        Arc::new(Self {
            keeping: Arc::new(keeping),
            now,
            accounts: Mutex::new(Accounts {
                entries: HashMap::new(),
                swept: Instant::now(),
            }),
            meters: Meters::default(),
            quotas: Meters::default(),
            means: Mutex::default(),
            thoughts: Mutex::default(),
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
            .or_insert_with(|| Arc::new(Entry::new(account, self.keeping.clone(), self.now)))
            .clone()
    }

    /// What an answer of a model is reckoned with of which nobody says how long it may be.
    pub(super) fn expected(&self, model: &Key) -> u64 {
        let means = self.means.lock().unwrap_or_else(PoisonError::into_inner);
        means.get(model).copied().unwrap_or_default().expected()
    }

    /// The tokens that a model thinks with before an answer; 0 where it was not seen to.
    pub(super) fn thinks(&self, model: &Key) -> u64 {
        let thoughts = self.thoughts.lock().unwrap_or_else(PoisonError::into_inner);
        thoughts.get(model).copied().unwrap_or_default().of_late()
    }

    fn learn(&self, model: &Key, tokens: &Tokens) {
        learn(&self.means, model, tokens.answer());
        if tokens.reasoning > 0 {
            learn(&self.thoughts, model, tokens.reasoning);
        }
    }

    /// Which part was spent of each budget that all of a policy share, in the present window.
    pub(super) fn spent_ratios(&self) -> Vec<(String, String, f64)> {
        let shared = self.present().into_iter().filter(|entry| entry.account.subject.is_empty());
        let told = |entry: Arc<Entry>| {
            let Account { policy, budget, .. } = &entry.account;
            // What it is counted in and its window come last; the name of a shadow's may have a namespace in it.
            let name = budget.rsplitn(3, '/').last().unwrap_or_default();
            (policy.clone(), name.to_owned(), entry.spent_ratio())
        };
        shared.map(told).collect()
    }

    /// What is known of each policy's budgets in their present windows, by their names in accounts. Those who share them are not told.
    pub(super) fn standings(&self) -> BTreeMap<String, BTreeMap<String, OfBudget>> {
        let mut all: BTreeMap<String, BTreeMap<String, OfBudget>> = BTreeMap::new();
        for entry in self.present() {
            let Account { policy, budget, .. } = &entry.account;
            let of = entry.standing();
            let policy = all.entry(policy.clone()).or_default();
            match policy.get_mut(budget) {
                None => {
                    policy.insert(budget.clone(), of);
                }
                Some(known) => *known = known.and(of),
            }
        }
        all
    }

    /// The accounts whose windows are not over.
    fn present(&self) -> Vec<Arc<Entry>> {
        let now = (self.now)();
        let is_present = |entry: &&Arc<Entry>| entry.account.window.0 <= now && now < entry.account.window.1;
        self.accounts().entries.values().filter(is_present).cloned().collect()
    }

    /// Whether the store answers, as far as that is known.
    pub(super) fn store_answers(&self) -> bool {
        let Keeping { store, has_answered, .. } = &*self.keeping;
        store.answers().unwrap_or_else(|| has_answered.load(Ordering::Relaxed))
    }

    /// Tells what is owed, and gives back what was taken and not spent.
    pub(super) async fn give_back(&self) {
        let now = (self.now)();
        let entries: Vec<Arc<Entry>> = self.accounts().entries.values().cloned().collect();
        for entry in entries.iter().filter(|entry| now < entry.account.window.1) {
            if let Err(error) = entry.give_back().await {
                tracing::warn!(%error, "what was taken of budgets and not spent stays taken until their windows end, and what was spent beyond it is not told");
                return;
            }
        }
    }
}

fn learn(means: &Mutex<HashMap<Key, Mean>>, model: &Key, tokens: u64) {
    let mut means = means.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(mean) = means.get_mut(model) {
        return mean.note(tokens);
    }
    if means.len() >= MODELS {
        means.clear();
    }
    means.entry(model.clone()).or_default().note(tokens);
}
