//! From what a policy says to the route that its name stands for.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::access::{Admission, admissions};
use super::allowance::allowances;
use super::data_class::{DataClassId, DataClasses};
use super::eligible::Known;
use super::guard::Guard;
use super::named::Named;
use super::shadow;
use super::table::{MAX_BODY_BYTES, Route, Rule, Target};
use super::terms::{self, Caching, Retries, Sticky, Timeouts};
use super::warmup::Warmup;
use super::when::When;
use crate::api::routing_policy::{Fallback, Requirements, RouteRule, RoutingPolicySpec};
use crate::plan::names::{self, Key};
use crate::plan::price::Pricing;
use crate::plan::quantity;

/// What a policy's name stands for, by a specification that [`problems`](super::problems::of) found nothing wrong with.
pub(super) fn route(key: &Key, spec: &RoutingPolicySpec, known: &Known<'_>, classes: &DataClasses, class: Option<DataClassId>) -> Route {
    let of_all: Vec<(&str, &Requirements)> = spec.require.iter().map(|require| ("the policy", require)).collect();
    let rules: Vec<Rule> = (spec.rules.iter().enumerate())
        .map(|(at, rule)| checked(at, rule, spec, &key.namespace, known, classes))
        .collect();
    let of_policy = |named: Named<'_>| known.candidate(&key.namespace, named, &of_all);
    let mut route = Route {
        name: spec.model.clone(),
        class,
        clients: admissions(&spec.clients, &key.namespace, known.allows_anonymous()),
        priced: priced(&rules),
        rules,
        sticky: spec.sticky.as_ref().and_then(Sticky::of),
        timeouts: Timeouts::of(spec),
        retries: Retries::of(spec),
        // The CRD refuses what is no quantity; where its rules are bypassed the default holds.
        max_body_bytes: spec.max_body_bytes.as_ref().and_then(bytes).unwrap_or(MAX_BODY_BYTES),
        limits: spec.limits.clone(),
        warmup: Warmup::of(spec, |to: &Fallback| of_policy(to.into())),
        cache: Caching::of(key, spec),
        allowances: allowances(spec, |to: &Fallback| of_policy(to.into())),
        guard: Guard::of(spec, &key.namespace, known.terms()),
        logs_content: terms::logs_content(spec),
        policy: Some(key.clone()),
        shadows: Vec::new(),
    };
    route.shadows = shadow::of(spec, &route, &key.namespace, of_policy);
    route
}

/// Who may call models directly.
pub(super) enum Callers<'a> {
    /// These service accounts of the model's namespace; none named: all.
    OfNamespace(&'a [String]),
    /// Whoever can reach the gateway.
    Anyone,
}

/// What `namespace/name` or `namespace/name:adapter` stands for: that model alone, whatever policies require, for the service accounts of its own namespace. This is
/// how evaluations reach a model that no policy admits yet.
pub(super) fn direct(key: &Key, adapter: Option<&str>, known: &Known<'_>, class: Option<DataClassId>, callers: &Callers<'_>) -> Route {
    let client = match callers {
        Callers::Anyone => Admission::Anyone,
        Callers::OfNamespace(names) => Admission::ServiceAccounts {
            namespaces: vec![key.namespace.clone()],
            names: names.to_vec(),
        },
    };
    let timeouts = Timeouts::default();
    Route {
        name: names::asked(&key.to_string(), adapter),
        policy: None,
        class,
        clients: vec![client],
        rules: vec![Rule::only(known.candidate(&key.namespace, Named::at_home(&key.name, adapter), &[]))],
        sticky: None,
        warmup: None,
        cache: None,
        // Nothing to fall back to, so nothing is gained by giving up early.
        timeouts: Timeouts {
            first_token: timeouts.total,
            ..timeouts
        },
        retries: Retries::default(),
        max_body_bytes: MAX_BODY_BYTES,
        priced: Vec::new(),
        limits: Vec::new(),
        allowances: Ok(Vec::new()),
        guard: Guard::default(),
        shadows: Vec::new(),
        logs_content: false,
    }
}

/// What the models cost that may answer and have a price, each model once.
fn priced(rules: &[Rule]) -> Vec<Pricing> {
    let models: BTreeMap<&Key, &Pricing> = (rules.iter())
        .flat_map(Rule::usable)
        .map(|(candidate, backend)| (&candidate.model, &backend.pricing))
        .filter(|(_, pricing)| pricing.is_known())
        .collect();
    models.into_values().cloned().collect()
}

fn bytes(quantity: &Quantity) -> Option<usize> {
    quantity::bytes(&quantity.0).and_then(|bytes| usize::try_from(bytes).ok())
}

fn checked(at: usize, rule: &RouteRule, spec: &RoutingPolicySpec, namespace: &str, known: &Known<'_>, classes: &DataClasses) -> Rule {
    let name = rule.name.clone().unwrap_or_else(|| (at + 1).to_string());
    let whose = format!("rule {name}");
    let of_all = spec.require.iter().map(|require| ("the policy", require));
    let required: Vec<(&str, &Requirements)> = of_all.chain(rule.require.iter().map(|require| (whose.as_str(), require))).collect();
    let candidate = |named: Named<'_>| known.candidate(namespace, named, &required);
    // The CRD refuses what is no amount; where its rules are bypassed nothing is cheap enough.
    let max_cost = (required.iter())
        .filter_map(|(_, require)| require.max_cost_per_request_usd.as_ref())
        .map(|limit| limit.nanos().unwrap_or(0))
        .min();
    Rule {
        when: When::of(rule.when.as_ref(), namespace, known.allows_anonymous(), classes),
        max_cost,
        is_reckoned: max_cost.is_some() || spec.budgets.iter().any(|budget| budget.usd.is_some()),
        strategy: rule.strategy,
        targets: (rule.targets.iter())
            .map(|t| Target {
                candidate: candidate(t.into()),
                weight: t.weight,
            })
            .collect(),
        fallback: rule.fallback.iter().map(|f| candidate(f.into())).collect(),
        instead: (spec.budgets.iter())
            .map(|budget| budget.on_exhausted.targets.iter().map(|f| candidate(f.into())).collect())
            .collect(),
        spill: (spec.warmup.iter())
            .flat_map(|warmup| &warmup.targets)
            .map(|f| candidate(f.into()))
            .collect(),
        shadow: spec.shadow.iter().map(|s| candidate(s.into())).collect(),
        name,
    }
}
