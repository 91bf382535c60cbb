//! All objects → what gateways do with requests, and what each policy's status says. One function decides both, so that a status cannot say
//! one thing while traffic does another. Whatever is unknown keeps a model out.

mod access;
mod allowance;
mod eligible;
mod endpoints;
mod status;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::names::Key;
use super::price::Book;
use crate::api::{EvalJob, ModelDeployment, RoutingPolicy};

pub use access::{Admission, Client};
pub use allowance::Allowance;
pub use eligible::{Exclusion, Reason, served_name};
pub use endpoints::endpoints;
pub use status::{PolicyVerdict, status};
pub use table::{Backend, Candidate, Retries, Route, RouteTable, Rule, Target, Timeouts, operation};

/// Everything that routing depends on. The order of the objects does not matter.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Every ModelDeployment.
    pub models: &'a [Arc<ModelDeployment>],
    /// Every RoutingPolicy.
    pub policies: &'a [Arc<RoutingPolicy>],
    /// Every EvalJob.
    pub evaluations: &'a [Arc<EvalJob>],
    /// Where the ready pods of self-hosted models answer: base URLs such as `http://198.19.0.7:8080`. See [`endpoints`].
    pub endpoints: &'a BTreeMap<Key, Vec<String>>,
    /// What models cost that do not say so themselves.
    pub prices: &'a Book,
    /// Whether policies may admit clients without credentials (the installer's `allowAnonymous`).
    pub allow_anonymous: bool,
    /// Whether anyone may call every model as `namespace/name` and `namespace/name:adapter`, whatever policies say. Never in a cluster.
    pub open_models: bool,
}

/// What [`build`] decides.
#[derive(Clone, Debug, Default)]
pub struct Routing {
    /// What gateways hold.
    pub table: RouteTable,
    /// What each policy's status says.
    pub verdicts: BTreeMap<Key, PolicyVerdict>,
}

/// Decides which models may answer which names, for whom. The same objects give the same answer, in whatever order they come.
#[must_use]
pub fn build(inputs: &Inputs<'_>) -> Routing {
    let known = eligible::Known::new(inputs);
    let winners = winners(inputs.policies);
    let mut routes: HashMap<String, Arc<Route>> = HashMap::new();
    let mut verdicts = BTreeMap::new();
    for policy in inputs.policies {
        let key = Key::of(policy.as_ref());
        let route = table::route(policy, &known, inputs.allow_anonymous);
        let winner = winners.get(policy.spec.model.as_str()).filter(|winner| **winner != key);
        verdicts.insert(key, status::verdict(policy, &route, winner));
        if winner.is_none() {
            routes.insert(policy.spec.model.clone(), Arc::new(route));
        }
    }
    for key in known.models() {
        for adapter in std::iter::once(None).chain(known.adapters(key).map(Some)) {
            let route = table::direct(key, adapter, &known, inputs.open_models);
            routes.insert(route.name.clone(), Arc::new(route));
        }
    }
    Routing {
        table: RouteTable::new(routes),
        verdicts,
    }
}

/// Which policy has each name: the oldest, then the first by namespace and name.
fn winners(policies: &[Arc<RoutingPolicy>]) -> HashMap<&str, Key> {
    let mut claims: Vec<_> = policies
        .iter()
        .map(|p| {
            (
                p.metadata.creation_timestamp.as_ref().map(|t| t.0),
                Key::of(p.as_ref()),
                p.spec.model.as_str(),
            )
        })
        .collect();
    claims.sort();
    let mut winners = HashMap::new();
    for (_, key, name) in claims {
        winners.entry(name).or_insert(key);
    }
    winners
}
