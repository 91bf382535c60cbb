//! One account at this gateway: what it has taken of it, and how it gets more. Only one asks the store at a time; all others go on with what is
//! there, or wait for the answer.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use super::Keeping;
use super::store::Unavailable;
use crate::api::ledger::OnFailure;
use crate::plan::ledger::{Account, Ask, Budget, Purse};
use crate::plan::traffic::OfBudget;

/// How long whoever wants to spend waits for one call of the store.
const CALL: Duration = Duration::from_secs(1);
/// How long it is believed that too little is left, or that the store does not answer, and how long it is not asked for more in the background
/// after too little was got.
const BELIEVED: Duration = Duration::from_secs(1);

/// How long it is believed that the store has no room for an account.
const FULL: Duration = Duration::from_secs(60);

/// One account at this gateway.
pub(super) struct Entry {
    pub(super) account: Account,
    keeping: Arc<Keeping>,
    now: fn() -> Timestamp,
    state: Mutex<State>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    purse: Purse,
    limit: u64,
    /// What all gateways had taken at the store's latest answer.
    taken: u64,
    /// When the store granted less than was asked for, and what was left.
    refused: Option<(Instant, u64)>,
    /// When the store did not answer, and why, if that was the latest that it was asked.
    failed: Option<(Instant, Unavailable)>,
    /// Whether somebody asks in the background, and when it is not to be asked before.
    is_refilled: bool,
    rests_until: Option<Instant>,
    has_warned: bool,
}

/// An amount that an attempt may cost, kept until it is known what it did cost. Dropped, it is free again.
pub(super) struct Reserved {
    entry: Arc<Entry>,
    amount: u64,
}

/// Too little is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) struct Exhausted {
    pub(super) left: u64,
    /// Whether it would be enough if requests in flight cost nothing: then it is worth coming back soon.
    pub(super) is_held: bool,
}

/// Why nothing is reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    Exhausted(Exhausted),
    Unavailable(Unavailable),
}

impl Entry {
    pub(super) fn new(account: Account, keeping: Arc<Keeping>, now: fn() -> Timestamp) -> Self {
        Self {
            account,
            keeping,
            now,
            state: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `amount`; asks the store where less is there.
    pub(super) async fn reserve(self: &Arc<Self>, budget: &Budget, amount: u64) -> Result<Reserved, Denied> {
        let began = Instant::now();
        let deadline = began + CALL;
        loop {
            if let Some(decided) = self.decide(budget, amount) {
                self.refill_if_low();
                return decided;
            }
            // In a task of its own: an answer whose request is gone meanwhile must not be lost.
            let filled = tokio::spawn(self.clone().fill(amount, began));
            let unavailable = match tokio::time::timeout_at(deadline, filled).await {
                Ok(Ok(Ok(()))) if Instant::now() < deadline => continue,
                Ok(Ok(Err(unavailable))) => unavailable,
                Ok(Ok(Ok(())) | Err(_)) => no_answer(),
                // The call may have begun after the wait for it: who comes next is not to wait for the rest of it.
                Err(_) => {
                    self.failed(no_answer());
                    no_answer()
                }
            };
            let decided = self.without_store(&mut self.state(), unavailable, amount);
            self.refill_if_low();
            return decided;
        }
    }

    /// What is known without asking, if that is enough.
    fn decide(self: &Arc<Self>, budget: &Budget, amount: u64) -> Option<Result<Reserved, Denied>> {
        let now = (self.now)();
        let mut state = self.state();
        if state.limit != budget.limit {
            state.limit = budget.limit;
            state.refused = None;
        }
        let Err(short) = state.purse.reserve(amount, now) else {
            let entry = self.clone();
            return Some(Ok(Reserved { entry, amount }));
        };
        // Nobody waits again for a store that is away, not for the next model either. When it is back, who refills finds out, or the next to ask.
        if let Some((at, unavailable)) = state.failed.clone()
            && (self.keeping.on_failure == OnFailure::Open || at.elapsed() < believed(&unavailable))
        {
            return Some(self.without_store(&mut state, unavailable, amount));
        }
        let (at, left) = state.refused?;
        if at.elapsed() >= BELIEVED || short.by <= left {
            return None;
        }
        let exhausted = state.exhausted(amount, left.saturating_add(state.purse.free()));
        Some(Err(Denied::Exhausted(exhausted)))
    }

    /// What becomes of whoever needs more than is here while the store is away: refused, or kept as far as that is within the budget by all that is
    /// known here.
    fn without_store(self: &Arc<Self>, state: &mut State, unavailable: Unavailable, amount: u64) -> Result<Reserved, Denied> {
        if self.keeping.on_failure == OnFailure::Closed {
            return Err(Denied::Unavailable(unavailable));
        }
        let most = state.limit.saturating_sub(state.taken);
        match state.purse.reserve_owing(amount, most, (self.now)()) {
            Ok(()) => {
                let entry = self.clone();
                Ok(Reserved { entry, amount })
            }
            Err(short) => Err(Denied::Exhausted(state.exhausted(amount, amount.saturating_sub(short.by)))),
        }
    }

    /// Asks the store for so much that `amount` can be reserved, or so much that some is there for later. What was answered to others since
    /// `began` is not asked again.
    async fn fill(self: Arc<Self>, amount: u64, began: Instant) -> Result<(), Unavailable> {
        let _asking = match self.asking.try_lock() {
            Ok(asking) => asking,
            Err(_) => {
                // A call that takes long already: nobody waits behind it.
                if let Some((_, unavailable)) = &self.state().failed {
                    return Err(unavailable.clone());
                }
                self.asking.lock().await
            }
        };
        let (ask, limit) = {
            let mut state = self.state();
            if amount > 0 && state.purse.free() >= amount {
                return Ok(());
            }
            if let Some((_, unavailable)) = state.failed.as_ref().filter(|(at, _)| *at > began) {
                return Err(unavailable.clone());
            }
            (state.purse.ask(amount, (self.now)()), state.limit)
        };
        self.ask(ask, limit).await
    }

    /// Asks the store. Whoever calls this holds `asking`.
    async fn ask(&self, ask: Ask, limit: u64) -> Result<(), Unavailable> {
        let mut taking = self.keeping.store.take(self.account.clone(), limit, ask);
        let granted = match timeout(CALL, &mut taking).await {
            Ok(granted) => granted,
            Err(_) => {
                self.failed(no_answer());
                // What was taken is ours, however late we are told: it would be nobody's until the window ends.
                let rest = self.keeping.store.patience().saturating_sub(CALL);
                timeout(rest, taking).await.unwrap_or_else(|_| Err(no_answer()))
            }
        };
        let granted = granted.inspect_err(|unavailable| self.failed(unavailable.clone()))?;
        self.keeping.has_answered.store(true, Ordering::Relaxed);
        let mut state = self.state();
        state.failed = None;
        state.purse.fill(ask, granted, limit);
        state.taken = granted.taken;
        let is_refused = granted.amount < ask.at_least;
        state.refused = is_refused.then(|| (Instant::now(), limit.saturating_sub(granted.taken)));
        Ok(())
    }

    fn failed(&self, unavailable: Unavailable) {
        let has_answered = matches!(unavailable, Unavailable::Full(_));
        self.keeping.has_answered.store(has_answered, Ordering::Relaxed);
        self.state().failed = Some((Instant::now(), unavailable));
    }

    /// Asks for more before what is there is used up; nobody waits for it. While something is owed and the store does not answer, it asks again.
    fn refill_if_low(self: &Arc<Self>) {
        let mut state = self.state();
        let rests = state.purse.owed() == 0 && state.rests_until.is_some_and(|until| Instant::now() < until);
        if state.is_refilled || rests || !state.purse.is_low((self.now)()) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        state.is_refilled = true;
        drop(state);
        let entry = self.clone();
        runtime.spawn(async move {
            while entry.clone().fill(0, Instant::now()).await.is_err() && entry.state().purse.owed() > 0 {
                tokio::time::sleep(BELIEVED).await;
            }
            let mut state = entry.state();
            state.is_refilled = false;
            if state.failed.is_some() || state.purse.is_low((entry.now)()) {
                state.rests_until = Some(Instant::now() + BELIEVED);
            }
        });
    }

    /// Whether it may be forgotten: its window is over and all of it is told.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.account.window.1 <= now && self.state().purse.is_settled()
    }

    /// Which part of the budget was spent, as far as is known here; reservations and slices of other gateways count as spent.
    pub(super) fn spent_ratio(&self) -> f64 {
        let state = self.state();
        let unspent = state.purse.taken().saturating_sub(state.purse.spent());
        state.taken.saturating_sub(unspent).max(state.purse.spent()) as f64 / (state.limit.max(1)) as f64
    }

    /// What is known of it here.
    pub(super) fn standing(&self) -> OfBudget {
        let state = self.state();
        // What was spent beyond what was taken is owed, and will be taken.
        let unspent = state.purse.taken().saturating_sub(state.purse.spent());
        OfBudget {
            until: self.account.window.1,
            taken: state.taken.saturating_add(state.purse.owed()),
            unspent,
            accounts: 1,
            exhausted: u32::from(state.refused.is_some()),
        }
    }

    /// Tells what is owed, and gives back what is not used.
    pub(super) async fn give_back(&self) -> Result<(), Unavailable> {
        let _asking = timeout(CALL, self.asking.lock()).await.map_err(|_| no_answer())?;
        let (owed, limit) = {
            let state = self.state();
            (state.purse.owed(), state.limit)
        };
        if owed > 0 {
            let ask = Ask { owed, ..Ask::default() };
            return self.ask(ask, limit).await;
        }
        let (amount, has_failed) = {
            let mut state = self.state();
            (state.purse.empty(), state.failed.is_some())
        };
        // What the latest call may have taken unheard is given back with this one.
        if amount == 0 && !has_failed {
            return Ok(());
        }
        let given = timeout(CALL, self.keeping.store.give_back(self.account.clone(), amount)).await;
        given.unwrap_or_else(|_| Err(no_answer()))
    }

    fn warn(&self, budget: &Budget) {
        let mut state = self.state();
        let spent = state.taken.saturating_sub(state.purse.taken()).saturating_add(state.purse.spent());
        if budget.warn_at.is_some_and(|from| spent >= from) && !state.has_warned {
            state.has_warned = true;
            drop(state);
            let Account { policy, subject, .. } = &self.account;
            let (spent, limit) = (budget.written(spent), budget.written(budget.limit));
            tracing::warn!(%policy, budget = %budget.name, subject, "{spent} of {limit} are spent until {}", self.account.window.1);
        }
    }
}

impl State {
    /// More is needed than the `left` that there is.
    fn exhausted(&self, amount: u64, left: u64) -> Exhausted {
        let is_held = amount <= left.saturating_add(self.purse.reserved());
        Exhausted { left, is_held }
    }
}

fn believed(unavailable: &Unavailable) -> Duration {
    match unavailable {
        Unavailable::Away(_) => BELIEVED,
        Unavailable::Full(_) => FULL,
    }
}

fn no_answer() -> Unavailable {
    Unavailable::Away("no answer in time".to_owned())
}

impl Reserved {
    /// The attempt has cost `charge`; where that is not known, what was kept for it.
    pub(super) fn settle(mut self, charge: Option<u64>, budget: &Budget) {
        let reserved = std::mem::take(&mut self.amount);
        self.entry.state().purse.settle(reserved, charge.unwrap_or(reserved));
        self.entry.warn(budget);
        self.entry.refill_if_low();
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.amount > 0 {
            self.entry.state().purse.release(self.amount);
        }
    }
}

#[cfg(test)]
mod tests;
