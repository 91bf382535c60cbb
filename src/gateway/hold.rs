//! Requests that wait for a model to wake. Those that wait for the same models stand in one line, in the order in which they came; only the
//! first of a line looks at each route table, and when it goes on, or leaves, the next one does.
//!
//! ```text
//! decision: wait ─► place? ─► line ─► first ─► another table ─► decision: ask ─► on
//!                     └─ none           └─ time is over ─► fallbacks, or 503
//! ```
//! A client that hangs up leaves its place by being dropped, and so does everything else that ends a request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use super::Gateway;
use super::demand::Waiting;
use crate::plan::names::Key;
use crate::plan::routing::{Hold, RouteTable};

/// Every request that waits.
#[derive(Default)]
pub(super) struct Holds(Mutex<Lines>);

#[derive(Default)]
struct Lines {
    /// How many of each policy wait.
    places: HashMap<Key, usize>,
    lines: HashMap<Line, Arc<Semaphore>>,
}

/// Who stands in one line: requests of one policy for the same models, sorted.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Line {
    policy: Key,
    models: Vec<Key>,
}

/// Why a request waits no longer, though no model of its rule answers. In words that go on after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InVain {
    /// As many wait as may.
    Full(usize),
    /// Its time is over.
    OutOfTime(Duration),
}

impl InVain {
    pub(super) fn why(self) -> String {
        match self {
            Self::Full(max) => format!(", and as many requests as may wait do so ({max}, spec.warmup.max)"),
            Self::OutOfTime(lasts) => format!(", and it may be waited for {lasts:?} (spec.warmup.for)"),
        }
    }
}

/// A request that waits, until dropped.
pub(super) struct Held<'a> {
    gateway: &'a Gateway,
    policy: Key,
    began: Instant,
    routes: watch::Receiver<Option<Arc<RouteTable>>>,
    /// Its line, once it is the first of it.
    first_of: Option<(Line, OwnedSemaphorePermit)>,
    waiting: Waiting,
}

impl<'a> Held<'a> {
    /// Takes a place among those of `policy` that wait, if one is left.
    pub(super) fn enter(gateway: &'a Gateway, policy: &Key, hold: Hold, wanted: &Key) -> Result<Self, InVain> {
        let mut lines = gateway.holds.lines();
        let taken = lines.places.entry(policy.clone()).or_default();
        if *taken >= hold.max {
            return Err(InVain::Full(hold.max));
        }
        *taken += 1;
        drop(lines);
        Ok(Self {
            gateway,
            policy: policy.clone(),
            began: Instant::now(),
            routes: gateway.feed.follow_routes(),
            first_of: None,
            waiting: gateway.demand.waits(wanted),
        })
    }

    /// Waits until it is worth deciding anew, by the table that this answers with: it has become the first of its line, or the table is another.
    pub(super) async fn wait(&mut self, hold: Hold, wakes: &[Key]) -> Result<Option<Arc<RouteTable>>, InVain> {
        let until = self.began + hold.lasts;
        if let Some(wanted) = wakes.first().filter(|wanted| !self.waiting.is_for(wanted)) {
            self.waiting = self.gateway.demand.waits(wanted);
        }
        let line = Line::of(&self.policy, wakes);
        if self.first_of.as_ref().is_some_and(|(of, _)| *of != line) {
            self.leave_line();
        }
        let comes = async {
            match &self.first_of {
                Some(_) => match self.routes.changed().await {
                    Ok(()) => None,
                    // Nobody will ever say that the model answers.
                    Err(_) => std::future::pending().await,
                },
                None => match self.gateway.holds.line(&line).acquire_owned().await {
                    Ok(permit) => Some(permit),
                    Err(_) => std::future::pending().await,
                },
            }
        };
        let permit = timeout_at(until, comes).await.map_err(|_| InVain::OutOfTime(hold.lasts))?;
        if let Some(permit) = permit {
            self.first_of = Some((line, permit));
        }
        Ok(self.routes.borrow_and_update().clone())
    }

    /// How long it has waited.
    pub(super) fn time(&self) -> Duration {
        self.began.elapsed()
    }

    fn leave_line(&mut self) {
        if let Some((line, permit)) = self.first_of.take() {
            drop(permit);
            self.gateway.holds.lines().close_if_empty(&line);
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.leave_line();
        let mut lines = self.gateway.holds.lines();
        if let Some(taken) = lines.places.get_mut(&self.policy) {
            *taken -= 1;
            if *taken == 0 {
                lines.places.remove(&self.policy);
                // Nobody of the policy waits, not even one that had not come to be the first.
                lines.lines.retain(|line, _| line.policy != self.policy);
            }
        }
    }
}

impl Holds {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, line: &Line) -> Arc<Semaphore> {
        let mut lines = self.lines();
        // One at a time is the first.
        let one = lines.lines.entry(line.clone()).or_insert_with(|| Arc::new(Semaphore::new(1)));
        one.clone()
    }
}

impl Lines {
    /// Forgets a line in which nobody stands: whoever does holds it too.
    fn close_if_empty(&mut self, line: &Line) {
        if self.lines.get(line).is_some_and(|held| Arc::strong_count(held) == 1) {
            self.lines.remove(line);
        }
    }
}

impl Line {
    fn of(policy: &Key, models: &[Key]) -> Self {
        let mut models = models.to_vec();
        models.sort();
        Self {
            policy: policy.clone(),
            models,
        }
    }
}
