//! Which endpoint of a model gets a request: one that is well, and of those the one that knows the beginning of the conversation, unless it
//! has more to do than its share; without such a beginning, the less busy of two. What endpoints did is remembered across route tables.

mod affinity;
mod budget;
mod health;
mod pace;

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use tokio::time::Instant;

pub(super) use budget::Budgets;
use health::Health;
pub(super) use health::LONGEST_ADVICE;
use pace::Pace;

use super::queue::Turn;
use crate::plan::routing::{Backend, Live};

/// Endpoints remembered before those without requests are forgotten.
const REMEMBERED: usize = 4096;

/// Every endpoint that requests went to.
#[derive(Default)]
pub(super) struct Balancer(Mutex<HashMap<Address, Arc<Endpoint>>>);

/// A URL, compared as it is written: regardless of case, as `Uri` does it, costs more than all the rest of a choice.
#[derive(Clone)]
struct Address(Uri);

impl Address {
    fn text(&self) -> (Option<&str>, &str, &str) {
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        (self.0.scheme_str(), authority, self.0.path())
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text() && self.0.query() == other.0.query()
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (_, authority, path) = self.text();
        (authority, path).hash(state);
    }
}

/// What is known of one endpoint.
#[derive(Default)]
pub(super) struct Endpoint {
    in_flight: AtomicUsize,
    health: Mutex<Health>,
    /// Of plain answers, and of streams: a plain one begins when it is finished.
    paces: Mutex<[Pace; 2]>,
}

impl Endpoint {
    fn busy(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn health<T>(&self, act: impl FnOnce(&mut Health) -> T) -> T {
        act(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Balancer {
    /// An endpoint of `urls` that is not in `tried`, and a place there. One that rests is taken only where all do: a request is never
    /// refused unasked. `beginning` is a digest of how the conversation began.
    pub(super) fn pick<'a>(&self, urls: &'a [Uri], tried: &[&Uri], beginning: Option<u64>) -> Option<(&'a Uri, Place)> {
        let now = Instant::now();
        if let [only] = urls {
            let is_new = !tried.contains(&only);
            return is_new.then(|| (only, Place::new(self.endpoint(only), now)));
        }
        let all = self.endpoints(urls);
        let untried: Vec<usize> = (0..urls.len()).filter(|at| !tried.contains(&&urls[*at])).collect();
        let well: Vec<usize> = untried.iter().copied().filter(|at| all[*at].health(|h| h.is_well(now))).collect();
        let chosen = if well.is_empty() {
            untried.into_iter().min_by_key(|at| all[*at].health(|h| h.rests_until()))?
        } else {
            let busy = |at: &usize| all[*at].busy();
            match beginning.filter(|_| well.len() > 1) {
                Some(beginning) => affinity::choose(&well, beginning, |at| &urls[at], busy),
                None => less_busy(&well, busy),
            }?
        };
        Some((&urls[chosen], Place::new(all[chosen].clone(), now)))
    }

    /// Whether any of them that is not in `tried` is well.
    pub(super) fn any_is_well(&self, urls: &[Uri], tried: &[&Uri]) -> bool {
        let now = Instant::now();
        let all = self.endpoints(urls);
        let mut untried = urls.iter().zip(&all).filter(|(url, _)| !tried.contains(url));
        untried.any(|(_, endpoint)| endpoint.health(|h| h.is_well(now)))
    }

    /// How long answers at these endpoints took to begin of late, streams or plain ones, at the one where it was least. `None`: nobody has seen
    /// one, and nobody is about to.
    pub(super) fn latency(&self, urls: &[Uri], is_streamed: bool) -> Option<Duration> {
        let now = Instant::now();
        let all = self.endpoints(urls);
        let paces = all
            .iter()
            .map(|endpoint| endpoint.paces.lock().unwrap_or_else(PoisonError::into_inner)[usize::from(is_streamed)]);
        let seen = paces.filter_map(|pace| pace.mean(now)).min();
        // One request is enough to see.
        seen.or_else(|| all.iter().any(|endpoint| endpoint.busy() > 0).then_some(Duration::MAX))
    }

    /// Requests under way at these endpoints.
    pub(super) fn in_flight(&self, urls: &[Uri]) -> usize {
        self.endpoints(urls).iter().map(|endpoint| endpoint.busy()).sum()
    }

    /// Requests under way at these endpoints, in thousandths for each of them.
    pub(super) fn load(&self, urls: &[Uri]) -> usize {
        self.in_flight(urls).saturating_mul(1000) / urls.len().max(1)
    }

    fn endpoints(&self, urls: &[Uri]) -> Vec<Arc<Endpoint>> {
        urls.iter().map(|url| self.endpoint(url)).collect()
    }

    fn endpoint(&self, url: &Uri) -> Arc<Endpoint> {
        let address = Address(url.clone());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = known.get(&address) {
            return endpoint.clone();
        }
        if known.len() >= REMEMBERED {
            let now = Instant::now();
            // Whoever has a place at one, or is choosing among some, holds them.
            known.retain(|_, endpoint| Arc::strong_count(endpoint) > 1 || !endpoint.health(|h| h.is_well(now)));
        }
        known.entry(address).or_default().clone()
    }
}

impl Live for Balancer {
    fn latency(&self, model: &Backend, is_streamed: bool) -> Option<Duration> {
        Self::latency(self, &model.bases, is_streamed)
    }

    fn load(&self, model: &Backend) -> usize {
        Self::load(self, &model.bases)
    }
}

/// The less busy of two that are drawn; a fair coin decides between equals. With few endpoints this is as good as the least busy of all,
/// and no herd of gateways runs to the same one.
fn less_busy(among: &[usize], busy: impl Fn(&usize) -> usize) -> Option<usize> {
    let first = fastrand::usize(..among.len().max(1));
    let one = *among.get(first)?;
    let step = 1 + fastrand::usize(..(among.len() - 1).max(1));
    let other = among[(first + step) % among.len()];
    Some(if busy(&other) < busy(&one) { other } else { one })
}

/// A request in flight at an endpoint, until dropped.
pub(super) struct Place {
    endpoint: Arc<Endpoint>,
    began: Instant,
    /// Whether this request finds out how the endpoint is.
    tries: bool,
    /// Its turn at the model, where there are turns.
    turn: Option<Turn>,
}

impl Place {
    fn new(endpoint: Arc<Endpoint>, began: Instant) -> Self {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        let tries = endpoint.health(|h| h.begins(began));
        Self {
            endpoint,
            began,
            tries,
            turn: None,
        }
    }

    /// The endpoint answered: a stream has begun, or a plain answer is there.
    pub(super) fn answered(&self, is_streamed: bool) {
        self.endpoint.health(|h| h.answered(self.began));
        let now = Instant::now();
        let mut paces = self.endpoint.paces.lock().unwrap_or_else(PoisonError::into_inner);
        paces[usize::from(is_streamed)].began(now.saturating_duration_since(self.began), now);
    }

    /// Keeps the turn at the model for as long.
    pub(super) fn keep(&mut self, turn: Option<Turn>) {
        self.turn = turn;
    }

    /// It did not, or broke off.
    pub(super) fn failed(&self) {
        self.endpoint.health(|h| h.failed(Instant::now()));
    }

    /// It has no capacity left for now; `advice` is when to come back, if it says so.
    pub(super) fn throttled(&self, advice: Option<Duration>) {
        self.endpoint.health(|h| h.throttled(Instant::now(), advice));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.tries {
            self.endpoint.health(Health::ended);
        }
    }
}

#[cfg(test)]
mod tests;
