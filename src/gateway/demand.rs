//! Who wants a model that does not answer yet: what would wake it, and what it is scaled by. Counted by ModelDeployment, since its adapters wake
//! with it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::balance::Balancer;
use crate::plan::names::{Key, asked_parts};
use crate::plan::routing::RouteTable;

/// What one gateway knows of the demand for a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Requests that its pods answer now.
    pub in_flight: usize,
    /// Requests that wait for it now.
    pub held: usize,
    /// Requests that other models got because it did not answer yet, from the gateway's start on.
    pub elsewhere: u64,
    /// Requests that were refused because it did not answer yet, from the gateway's start on.
    pub refused: u64,
}

/// The demand for the models that do not answer.
#[derive(Default)]
pub(super) struct Demand(Arc<Mutex<HashMap<Key, Wanted>>>);

/// A request that waits for a model, until dropped.
pub(super) struct Waiting {
    all: Arc<Mutex<HashMap<Key, Wanted>>>,
    model: Key,
}

impl Demand {
    /// A request waits for `model`.
    pub(super) fn waits(&self, model: &Key) -> Waiting {
        let model = deployment(model);
        locked(&self.0).entry(model.clone()).or_default().held += 1;
        Waiting {
            all: self.0.clone(),
            model,
        }
    }

    /// Another model got a request for `model`.
    pub(super) fn went_elsewhere(&self, model: &Key) {
        locked(&self.0).entry(deployment(model)).or_default().elsewhere += 1;
    }

    /// A request for `model` was refused.
    pub(super) fn refused(&self, model: &Key) {
        locked(&self.0).entry(deployment(model)).or_default().refused += 1;
    }

    /// The demand for each model of our own pods, as this gateway sees it. Those that are in no table any more are forgotten.
    pub(super) fn report(&self, table: &RouteTable, balancer: &Balancer) -> BTreeMap<Key, Wanted> {
        let candidates = || table.routes().flat_map(|route| route.candidates());
        let named: HashSet<Key> = candidates().map(|candidate| deployment(&candidate.model)).collect();
        let mut all = locked(&self.0);
        all.retain(|model, wanted| wanted.held > 0 || named.contains(model));
        let mut report: BTreeMap<Key, Wanted> = all.iter().map(|(model, wanted)| (model.clone(), *wanted)).collect();
        drop(all);
        for model in candidates().filter_map(|candidate| candidate.backend.as_ref().ok()) {
            if model.provider.is_none() {
                report.entry(deployment(&model.model)).or_default().in_flight = balancer.in_flight(model);
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
