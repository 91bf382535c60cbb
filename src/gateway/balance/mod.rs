//! Which endpoint of a model gets a request: one that is well, and of those the one that knows the beginning of the conversation, unless it
//! has more to do than its share; without such a beginning, the less busy of two. What endpoints did is remembered across route tables.

mod affinity;
mod budget;
mod health;
mod pace;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
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

/// Endpoints to choose among. Those of one provider are the same for all its models, and each model has its own key and its own limits there: what
/// befalls one is nothing to another.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    urls: &'a [Uri],
    /// A digest of the model behind an API; 0 for our own pods.
    whose: u64,
}

impl<'a> From<&'a Backend> for At<'a> {
    fn from(model: &'a Backend) -> Self {
        let digest = || {
            let mut hasher = DefaultHasher::new();
            model.model.hash(&mut hasher);
            hasher.finish()
        };
        Self {
            urls: &model.bases,
            whose: model.provider.map_or(0, |_| digest()),
        }
    }
}

impl<'a> From<&'a Arc<Backend>> for At<'a> {
    fn from(model: &'a Arc<Backend>) -> Self {
        Self::from(&**model)
    }
}

#[cfg(test)]
impl<'a> From<&'a [Uri]> for At<'a> {
    fn from(urls: &'a [Uri]) -> Self {
        Self { urls, whose: 0 }
    }
}

/// A URL, compared as it is written: regardless of case, as `Uri` does it, costs more than all the rest of a choice. And whose it is.
#[derive(Clone)]
struct Address(Uri, u64);

impl Address {
    fn text(&self) -> (Option<&str>, &str, &str) {
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        (self.0.scheme_str(), authority, self.0.path())
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.1 == other.1 && self.text() == other.text() && self.0.query() == other.0.query()
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (_, authority, path) = self.text();
        (authority, path, self.1).hash(state);
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
    pub(super) fn pick<'a>(&self, at: impl Into<At<'a>>, tried: &[&Uri], beginning: Option<u64>) -> Option<(&'a Uri, Place)> {
        let at = at.into();
        let urls = at.urls;
        let now = Instant::now();
        if let [only] = urls {
            let is_new = !tried.contains(&only);
            return is_new.then(|| (only, Place::new(self.endpoint(only, at.whose), now)));
        }
        let all = self.endpoints(at);
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
    pub(super) fn any_is_well<'a>(&self, at: impl Into<At<'a>>, tried: &[&Uri]) -> bool {
        let (at, now) = (at.into(), Instant::now());
        let all = self.endpoints(at);
        let mut untried = at.urls.iter().zip(&all).filter(|(url, _)| !tried.contains(url));
        untried.any(|(_, endpoint)| endpoint.health(|h| h.is_well(now)))
    }

    /// How long answers at these endpoints took to begin of late, streams or plain ones, at the one where it was least. `None`: nobody has seen
    /// one, and nobody is about to.
    pub(super) fn latency<'a>(&self, at: impl Into<At<'a>>, is_streamed: bool) -> Option<Duration> {
        let now = Instant::now();
        let all = self.endpoints(at.into());
        let paces = all
            .iter()
            .map(|endpoint| endpoint.paces.lock().unwrap_or_else(PoisonError::into_inner)[usize::from(is_streamed)]);
        let seen = paces.filter_map(|pace| pace.mean(now)).min();
        // One request is enough to see.
        seen.or_else(|| all.iter().any(|endpoint| endpoint.busy() > 0).then_some(Duration::MAX))
    }

    /// Requests under way at these endpoints.
    pub(super) fn in_flight<'a>(&self, at: impl Into<At<'a>>) -> usize {
        self.endpoints(at.into()).iter().map(|endpoint| endpoint.busy()).sum()
    }

    /// Those of these endpoints that have requests under way, and how many.
    pub(super) fn busy<'a>(&self, at: impl Into<At<'a>>) -> Vec<(&'a Uri, usize)> {
        let at = at.into();
        let all = at.urls.iter().zip(self.endpoints(at));
        all.map(|(url, endpoint)| (url, endpoint.busy()))
            .filter(|(_, busy)| *busy > 0)
            .collect()
    }

    /// Requests under way at these endpoints, in thousandths for each of them.
    pub(super) fn load<'a>(&self, at: impl Into<At<'a>>) -> usize {
        let at = at.into();
        self.in_flight(at).saturating_mul(1000) / at.urls.len().max(1)
    }

    fn endpoints(&self, at: At<'_>) -> Vec<Arc<Endpoint>> {
        at.urls.iter().map(|url| self.endpoint(url, at.whose)).collect()
    }

    fn endpoint(&self, url: &Uri, whose: u64) -> Arc<Endpoint> {
        let address = Address(url.clone(), whose);
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
        Self::latency(self, model, is_streamed)
    }

    fn load(&self, model: &Backend) -> usize {
        Self::load(self, model)
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
