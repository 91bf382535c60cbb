//! Turns at a model of our own (`spec.selfHosted.queue`): so many requests are under way at once, and further ones wait, their clients in turn, so that
//! one with many keeps no other waiting for more than one answer.

mod line;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::plan::names::Key;
use crate::plan::routing::Queue as Limits;
use line::Line;

/// The queues of all models that have one.
#[derive(Default)]
pub(super) struct Queues(Mutex<BTreeMap<Key, Arc<Queue>>>);

/// The queue of one model.
#[derive(Default)]
pub(super) struct Queue(Mutex<State>);

#[derive(Default)]
struct State {
    under_way: usize,
    /// How many may be, by the latest request.
    most: usize,
    line: Line<oneshot::Sender<Turn>>,
    /// What is under way beside those, and gives way to them: the latest last.
    asides: Vec<CancellationToken>,
}

/// A request that is under way, until dropped.
pub(super) struct Turn(Arc<Queue>);

/// Something that nobody waits for is under way, until dropped. It counts for nobody: whoever wants its turn has it at once.
pub(super) struct Aside {
    queue: Arc<Queue>,
    /// Cancelled when it must end.
    pub(super) gives_way: CancellationToken,
}

/// Why a request gets no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoTurn {
    /// So many wait already, and none has more waiting than this one's client.
    Full(usize),
    /// It has waited for so long.
    TooLong(Duration),
}

impl Queues {
    /// A turn at a model with so many pods, at the latest after what the model's queue allows or `patience`.
    pub(super) async fn turn(&self, model: &Key, limits: Limits, pods: usize, client: &str, patience: Duration) -> Result<Turn, NoTurn> {
        let queue = self.all().entry(model.clone()).or_default().clone();
        queue.enter(limits, pods, client, patience).await
    }

    /// What nobody waits for may be under way at a model with so many pods, if nobody else wants that turn now.
    pub(super) fn aside(&self, model: &Key, limits: Limits, pods: usize) -> Option<Aside> {
        let queue = self.all().entry(model.clone()).or_default().clone();
        let mut state = queue.state();
        state.most = most(limits, pods);
        if state.line.len() > 0 || state.under_way + state.asides.len() >= state.most {
            return None;
        }
        let gives_way = CancellationToken::new();
        state.asides.push(gives_way.clone());
        drop(state);
        Some(Aside { queue, gives_way })
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<Queue>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait for each model. Those for which nobody waits or is under way are forgotten.
    pub(super) fn waiting(&self) -> Vec<(Key, usize)> {
        let mut all = self.all();
        all.retain(|_, queue| Arc::strong_count(queue) > 1);
        all.iter().map(|(model, queue)| (model.clone(), queue.state().line.len())).collect()
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn enter(self: &Arc<Self>, limits: Limits, pods: usize, client: &str, patience: Duration) -> Result<Turn, NoTurn> {
        let (turn, waiting) = oneshot::channel();
        let evicted;
        let place = {
            let mut state = self.state();
            state.most = most(limits, pods);
            if state.under_way < state.most && state.line.len() == 0 {
                state.begins();
                return Ok(Turn(self.clone()));
            }
            evicted = if state.line.len() < limits.waiting {
                None
            } else {
                match state.line.make_room(client) {
                    None => return Err(NoTurn::Full(state.line.len())),
                    latest => latest,
                }
            };
            let ticket = state.line.push(client, turn);
            Place {
                queue: self,
                client,
                ticket,
            }
        };
        // Its request is told that the queue is full.
        drop(evicted);
        // There may be more pods than when the last one left.
        self.admit();
        let patience = patience.min(limits.lasts);
        let answer = timeout(patience, waiting).await;
        drop(place);
        match answer {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) => Err(NoTurn::Full(limits.waiting)),
            Err(_) => Err(NoTurn::TooLong(patience)),
        }
    }

    /// Gives turns to those who are next, as many as there are.
    fn admit(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.state();
                if state.under_way >= state.most {
                    return;
                }
                let Some(next) = state.line.next() else { return };
                if next.is_closed() {
                    continue;
                }
                state.begins();
                next
            };
            // Whoever has gone at this moment gives it on.
            drop(next.send(Turn(self.clone())));
        }
    }
}

/// How many may be under way.
fn most(limits: Limits, pods: usize) -> usize {
    limits.at_once_per_pod.saturating_mul(pods).max(1)
}

impl State {
    /// One more is under way, and what has its place gives way.
    fn begins(&mut self) {
        self.under_way += 1;
        while self.under_way + self.asides.len() > self.most
            && let Some(latest) = self.asides.pop()
        {
            latest.cancel();
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // One that gave way is not there any more; of those that are, each goes by its own end.
        if !self.gives_way.is_cancelled() {
            self.gives_way.cancel();
            self.queue.state().asides.retain(|other| !other.is_cancelled());
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.state().under_way -= 1;
        self.0.admit();
    }
}

/// A place in the line, left when dropped.
struct Place<'a> {
    queue: &'a Queue,
    client: &'a str,
    ticket: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.state().line.leave(self.client, self.ticket);
    }
}
