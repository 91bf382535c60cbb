//! Who wants a model: what wakes it where it does not answer yet, and what it is scaled by. Counted by ModelDeployment, since its adapters wake
//! with it. Whoever scales asks again and again, and has an answer at once when a request finds its model asleep.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::Uri;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Gateway;
use super::balance::Balancer;
use super::queue::Queues;
use crate::plan::names::{Key, asked_parts};
use crate::plan::routing::RouteTable;
use crate::plan::scaling::demand::{Told, Wanted};

/// Where it is asked. With `?seen=CALLS` the answer comes when there have been other calls, or after [`HELD_OPEN`].
pub(super) const PATH: &str = "/demand";
/// How long an answer is kept back while nobody is to be woken.
const HELD_OPEN: Duration = Duration::from_secs(2);

/// What is wanted now, by whoever asks.
pub(super) async fn tell(State(gateway): State<Arc<Gateway>>, uri: Uri) -> Json<Told> {
    let seen = uri.query().and_then(|query| query.strip_prefix("seen=")?.parse::<u64>().ok());
    let mut calls = gateway.demand.calls.subscribe();
    if let Some(seen) = seen {
        // Once it is over, what there is is told.
        timeout(HELD_OPEN, calls.wait_for(|calls| *calls != seen)).await.ok();
    }
    let calls = *calls.borrow();
    let wanted = gateway.demand().into_iter().filter(|(_, wanted)| *wanted != Wanted::default());
    Json(Told {
        instance: gateway.instance,
        calls,
        models: wanted.map(|(model, wanted)| (model.to_string(), wanted)).collect(),
        pods: gateway
            .feed
            .routes()
            .map(|table| pods(&table, &gateway.balancer))
            .unwrap_or_default(),
    })
}

/// The pods that answer requests, and how many.
fn pods(table: &RouteTable, balancer: &Balancer) -> BTreeMap<String, u64> {
    let candidates = table.routes().flat_map(|route| route.candidates());
    let backends = candidates.filter_map(|candidate| candidate.backend.as_ref().ok());
    let of_ours = backends.filter(|backend| backend.provider.is_none());
    // Routes and adapters have pods in common, each told with all it answers.
    let busy = of_ours.flat_map(|backend| balancer.busy(backend));
    busy.filter_map(|(url, busy)| Some((url.authority()?.to_string(), busy as u64)))
        .collect()
}

/// The demand for the models that do not answer.
#[derive(Default)]
pub(super) struct Demand {
    all: Arc<Mutex<HashMap<Key, Wanted>>>,
    /// How many requests found their model asleep.
    calls: watch::Sender<u64>,
}

/// A request that waits for a model, until dropped.
pub(super) struct Waiting {
    all: Arc<Mutex<HashMap<Key, Wanted>>>,
    model: Key,
}

impl Demand {
    /// A request waits for `model`.
    pub(super) fn waits(&self, model: &Key) -> Waiting {
        let model = deployment(model);
        self.call(&model, |wanted| &mut wanted.held);
        Waiting {
            all: self.all.clone(),
            model,
        }
    }

    fn call(&self, model: &Key, count: impl FnOnce(&mut Wanted) -> &mut u64) {
        *count(locked(&self.all).entry(model.clone()).or_default()) += 1;
        self.calls.send_modify(|calls| *calls = calls.wrapping_add(1));
    }

    /// Another model got a request for `model`.
    pub(super) fn went_elsewhere(&self, model: &Key) {
        self.call(&deployment(model), |wanted| &mut wanted.elsewhere);
    }

    /// A request for `model` was refused.
    pub(super) fn refused(&self, model: &Key) {
        self.call(&deployment(model), |wanted| &mut wanted.refused);
    }

    /// The demand for each model of our own pods, as this gateway sees it. Those that are in no table any more are forgotten.
    pub(super) fn report(&self, table: &RouteTable, balancer: &Balancer, queues: &Queues) -> BTreeMap<Key, Wanted> {
        let candidates = || table.routes().flat_map(|route| route.candidates());
        let named: HashSet<Key> = candidates().map(|candidate| deployment(&candidate.model)).collect();
        let mut all = locked(&self.all);
        all.retain(|model, wanted| wanted.held > 0 || named.contains(model));
        let mut report: BTreeMap<Key, Wanted> = all.iter().map(|(model, wanted)| (model.clone(), *wanted)).collect();
        drop(all);
        for (model, waiting) in queues.waiting() {
            report.entry(deployment(&model)).or_default().queued += waiting as u64;
        }
        for model in candidates().filter_map(|candidate| candidate.backend.as_ref().ok()) {
            if model.provider.is_none() {
                // Adapters answer from the same pods, or from some of them.
                let wanted = report.entry(deployment(&model.model)).or_default();
                wanted.in_flight = wanted.in_flight.max(balancer.in_flight(model) as u64);
            }
        }
        report
    }
}

impl Waiting {
    /// Whether it is this model that is waited for.
    pub(super) fn is_for(&self, model: &Key) -> bool {
        self.model == deployment(model)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(wanted) = locked(&self.all).get_mut(&self.model) {
            wanted.held -= 1;
        }
    }
}

fn locked(all: &Mutex<HashMap<Key, Wanted>>) -> MutexGuard<'_, HashMap<Key, Wanted>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The ModelDeployment of `name:adapter`.
fn deployment(model: &Key) -> Key {
    Key::new(&model.namespace, asked_parts(&model.name).0)
}
