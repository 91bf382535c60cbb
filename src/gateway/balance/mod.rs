//! Which endpoint of a model gets a request: one that is well, and of those the one that knows the beginning of the conversation, unless it
//! has more to do than its share; without such a beginning, the less busy of two. What endpoints did is remembered across route tables.

mod affinity;
mod budget;
mod health;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Uri;

pub(super) use budget::Budgets;
use health::Health;

/// Endpoints remembered before those without requests are forgotten.
const REMEMBERED: usize = 4096;

/// Every endpoint that requests went to.
#[derive(Default)]
pub(super) struct Balancer(Mutex<HashMap<Uri, Arc<Endpoint>>>);

/// What is known of one endpoint.
#[derive(Default)]
pub(super) struct Endpoint {
    in_flight: AtomicUsize,
    health: Mutex<Health>,
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
        all[chosen].health(|h| h.begins(now));
        Some((&urls[chosen], Place::new(all[chosen].clone())))
    }

    /// Whether any of them is well.
    pub(super) fn any_is_well(&self, urls: &[Uri]) -> bool {
        let now = Instant::now();
        self.endpoints(urls).iter().any(|endpoint| endpoint.health(|h| h.is_well(now)))
    }

    fn endpoints(&self, urls: &[Uri]) -> Vec<Arc<Endpoint>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + urls.len() > REMEMBERED {
            let now = Instant::now();
            known.retain(|_, endpoint| endpoint.busy() > 0 || !endpoint.health(|h| h.is_well(now)));
        }
        let known = urls.iter().map(|url| match known.get(url) {
            Some(endpoint) => endpoint.clone(),
            None => known.entry(url.clone()).or_default().clone(),
        });
        known.collect()
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
pub(super) struct Place(Arc<Endpoint>);

impl Place {
    fn new(endpoint: Arc<Endpoint>) -> Self {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(endpoint)
    }

    /// The endpoint answered.
    pub(super) fn answered(&self) {
        self.0.health(Health::answered);
    }

    /// It did not, or broke off.
    pub(super) fn failed(&self) {
        self.0.health(|h| h.failed(Instant::now()));
    }

    /// It has no capacity left for now; `advice` is when to come back, if it says so.
    pub(super) fn throttled(&self, advice: Option<Duration>) {
        self.0.health(|h| h.throttled(Instant::now(), advice));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.0.health(Health::ended);
    }
}

#[cfg(test)]
mod tests;
