//! All objects → what gateways do with requests, and what each policy's status says. One function decides both, so that a status cannot say
//! one thing while traffic does another. Whatever is unknown keeps a model out.

mod access;
mod allowance;
mod blocklist;
mod data_class;
mod decide;
mod demand;
mod eligible;
mod endpoints;
mod expression;
mod grants;
mod guard;
mod issuers;
mod made;
mod named;
mod out;
mod problems;
mod refused;
mod shadow;
mod status;
mod table;
mod terms;
#[cfg(test)]
mod tests;
mod traffic;
mod warmup;
mod when;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use super::names::Key;
use super::price::Book;
use crate::api::routing_policy::RoutingPolicySpec;
use crate::api::{EvalJob, ModelDeployment, RoutingPolicy, Settings};
use crate::plan::Invalid;

pub use access::{Admission, Client};
pub use allowance::Allowance;
pub use blocklist::{Blocklist, Terms};
pub use data_class::{DATA_CLASS_HEADER, DataClassId, DataClasses, Raised, UnknownDataClass, labels};
pub use decide::{Content, Decision, Draw, Facts, Live, decide, eliminated};
pub use demand::Nature;
pub use eligible::{Exclusion, Reason, served_name};
pub use endpoints::{addresses, endpoints};
pub use grants::Grants;
pub use guard::{Guard, Sight, Stopped, Texts};
pub use issuers::{Issuers, Looks, is_for};
use named::crosses;
pub use named::{Named, named};
pub use refused::{Refused, RefusedFor, shown};
pub use shadow::{Mirror, Shadow, Skipped, mirrors};
pub use status::{Earlier, PolicyVerdict, Unanswered, status};
pub use table::{Backend, Candidate, Expiry, Queue, Route, RouteTable, Rule, Target, operation};
pub use terms::{Caching, Retries, Sticky, StickyBy, Timeouts};
pub use traffic::Watched;
pub use warmup::{Hold, Warmup, may_wake};
pub use when::When;

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
    /// What the label `llmportfolio.dev/data-class` of each namespace that has one says.
    pub namespaces: &'a BTreeMap<String, String>,
    /// Which models of other namespaces policies may name.
    pub grants: &'a Grants,
    /// The terms that policies may block: see [`Terms::of`].
    pub terms: &'a Terms,
    /// What the installer decided.
    pub settings: &'a Settings,
    /// Whether anyone may call every model as `namespace/name` and `namespace/name:adapter`, whatever policies say. Never in a cluster.
    pub open_models: bool,
    /// Now: verdicts depend on it, the table does not.
    pub now: Timestamp,
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
    let classes = DataClasses::of(inputs.settings);
    let labels = inputs
        .namespaces
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), classes.labelled(value)?)));
    let namespaces: BTreeMap<String, DataClassId> = labels.collect();
    let held: Vec<InForce<'_>> = inputs.policies.iter().map(|policy| InForce::of(policy, &classes)).collect();
    let winners = winners(&held);
    let mut routes: HashMap<String, Arc<Route>> = HashMap::new();
    let mut verdicts = BTreeMap::new();
    for held in &held {
        let spec = &*held.spec;
        let class = namespaces.get(&held.key.namespace).copied();
        let route = made::route(&held.key, spec, &known, &classes, class);
        let winner = winners.get(spec.model.as_str()).filter(|winner| **winner != held.key);
        verdicts.insert(
            held.key.clone(),
            status::verdict(held, &route, &known, &classes, winner, inputs.now),
        );
        if winner.is_none() {
            routes.insert(spec.model.clone(), Arc::new(route));
        }
    }
    let callers = match inputs.open_models {
        true => made::Callers::Anyone,
        false => made::Callers::OfNamespace(&inputs.settings.direct_callers),
    };
    for key in known.models() {
        let class = namespaces.get(&key.namespace).copied();
        for adapter in std::iter::once(None).chain(known.adapters(key).map(Some)) {
            let route = made::direct(key, adapter, &known, class, &callers);
            routes.insert(route.name.clone(), Arc::new(route));
        }
    }
    Routing {
        table: RouteTable::new(routes, classes, namespaces),
        verdicts,
    }
}

/// What is wrong with a specification in itself, under these settings, that the API server cannot see.
#[must_use]
pub fn problems(spec: &RoutingPolicySpec, settings: &Settings) -> Vec<Invalid> {
    // In which namespace it will be is not known.
    problems::of(spec, "", &DataClasses::of(settings))
}

/// Whether the policy names a model of another namespace, in what it says or in what may be in force instead.
#[must_use]
pub fn may_cross(policy: &RoutingPolicy) -> bool {
    let accepted = policy.status.as_ref().and_then(|status| status.accepted.as_ref());
    let earlier = || {
        Some(RoutingPolicy {
            metadata: policy.metadata.clone(),
            spec: accepted?.read()?,
            status: None,
        })
    };
    crosses(policy) || earlier().is_some_and(|earlier| crosses(&earlier))
}

/// What of a policy is in force: what it says, or where that cannot be carried out, what it said when it last could.
struct InForce<'a> {
    key: Key,
    policy: &'a RoutingPolicy,
    spec: Cow<'a, RoutingPolicySpec>,
    /// What is wrong with what it says now.
    problems: Vec<Invalid>,
    /// The generation in force, where it is an earlier one.
    earlier: Option<i64>,
}

impl<'a> InForce<'a> {
    fn of(policy: &'a RoutingPolicy, classes: &DataClasses) -> Self {
        let key = Key::of(policy);
        let own = key.namespace.clone();
        let problems = problems::of(&policy.spec, &own, classes);
        let mut held = Self {
            key,
            policy,
            spec: Cow::Borrowed(&policy.spec),
            problems,
            earlier: None,
        };
        if held.problems.is_empty() {
            return held;
        }
        let accepted = policy.status.as_ref().and_then(|status| status.accepted.as_ref());
        let earlier = accepted.and_then(|accepted| Some((accepted.generation, accepted.read()?)));
        match earlier.filter(|(_, spec)| problems::of(spec, &own, classes).is_empty()) {
            Some((generation, spec)) => {
                held.spec = Cow::Owned(spec);
                held.earlier = Some(generation);
            }
            // Half of a policy might be wider than the whole.
            None => held.spec.to_mut().rules.clear(),
        }
        held
    }
}

/// Which policy has each name: the oldest, then the first by namespace and name.
fn winners<'a>(held: &'a [InForce<'_>]) -> HashMap<&'a str, Key> {
    let mut claims: Vec<_> = held
        .iter()
        .map(|held| {
            let created = held.policy.metadata.creation_timestamp.as_ref().map(|t| t.0);
            (created, held.key.clone(), held.spec.model.as_str())
        })
        .collect();
    claims.sort();
    let mut winners = HashMap::new();
    for (_, key, name) in claims {
        winners.entry(name).or_insert(key);
    }
    winners
}
