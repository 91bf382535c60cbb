//! What a policy's status says of the models that get copies of requests.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use super::Shadow;
use crate::api::RoutingPolicy;
use crate::api::policy_status::ShadowStatus;
use crate::plan::names::Key;
use crate::plan::routing::DataClasses;
use crate::plan::routing::eligible::Reason;
use crate::plan::routing::named::Named;
use crate::plan::routing::table::{Candidate, Route};
use crate::plan::routing::traffic::{Used, usd, whole, written};
use crate::plan::traffic::{Figures, ShadowFigures};

/// What is decided about each shadow of a route, before anything of it was seen.
pub(in crate::plan::routing) fn statuses(route: &Route, classes: &DataClasses, now: Timestamp) -> Vec<ShadowStatus> {
    // What answers nothing has nothing to copy.
    if route.rules.is_empty() {
        return Vec::new();
    }
    let of = |(at, shadow): (usize, &Shadow)| {
        let (reason, message) = standing(route, at, shadow, now);
        let of_rules = || route.rules.iter().filter_map(|rule| rule.shadow.get(at));
        let open = of_rules().find_map(|candidate| candidate.backend.as_ref().ok());
        ShadowStatus {
            model: shadow.called.clone(),
            percent: shadow.percent,
            reason,
            message,
            barred_from: open
                .into_iter()
                .flat_map(|model| classes.barred(&model.nature))
                .map(str::to_owned)
                .collect(),
            ..ShadowStatus::default()
        }
    };
    route.shadows.iter().enumerate().map(of).collect()
}

/// Whether it may have copies of any rule's requests; and what keeps it from those of the others.
fn standing(route: &Route, at: usize, shadow: &Shadow, now: Timestamp) -> (String, Option<String>) {
    if let Err(invalid) = &shadow.route {
        return ("Invalid".to_owned(), Some(invalid.to_string()));
    }
    let of_rules = route.rules.iter().filter_map(|rule| Some((rule, rule.shadow.get(at)?)));
    let (out, open): (Vec<_>, Vec<_>) = of_rules
        .map(|(rule, candidate)| (rule, kept_out(candidate, now)))
        .partition(|(_, why)| why.is_some());
    let mut out = out.into_iter().filter_map(|(rule, why)| Some((rule, why?)));
    match (out.next(), open.is_empty()) {
        (None, _) => ("Eligible".to_owned(), None),
        (Some((_, (reason, message))), true) => (reason.to_string(), Some(message)),
        (Some(first), false) => {
            let of = std::iter::once(first).chain(out);
            let of: Vec<String> = of.map(|(rule, (_, why))| format!("rule {}, because {why}", rule.name)).collect();
            ("Eligible".to_owned(), Some(format!("gets no copies of {}", of.join("; "))))
        }
    }
}

/// What keeps a model from every copy of a rule's requests.
fn kept_out(candidate: &Candidate, now: Timestamp) -> Option<(Reason, String)> {
    let expiry = candidate.passed_until.as_ref().filter(|expiry| expiry.at <= now);
    match (&candidate.backend, expiry) {
        (Err(exclusion), _) => Some((exclusion.reason, exclusion.message.clone())),
        (Ok(_), Some(expiry)) => Some((Reason::NotEvaluated, format!("{} {}", candidate.called, expiry.message))),
        (Ok(_), None) => None,
    }
}

/// The same with what gateways have seen.
pub(in crate::plan::routing) fn seen(decided: &[ShadowStatus], policy: &RoutingPolicy, seen: &Figures) -> Vec<ShadowStatus> {
    let own = Key::of(policy).namespace;
    let budgets: BTreeMap<String, Used<'_>> = (policy.spec.shadow.iter().enumerate())
        .filter_map(|(at, given)| {
            let budget = super::budget(at, given, &own).ok()??;
            let used = Used::of(budget, "no copies are sent".to_owned(), seen)?;
            Some((Named::from(given).called(&own), used))
        })
        .collect();
    let nothing = ShadowFigures::default();
    let told = |status: &ShadowStatus| {
        let figures = seen.shadows.get(&status.model).unwrap_or(&nothing);
        let used = budgets.get(&status.model);
        let over = used.filter(|_| status.message.is_none()).and_then(Used::exhausted);
        ShadowStatus {
            reason: if over.is_some() {
                "OverBudget".to_owned()
            } else {
                status.reason.clone()
            },
            message: over.or_else(|| status.message.clone()),
            requests: whole(figures.requests),
            errors: whole(figures.errors),
            p50: figures.p50.map(written),
            p95: figures.p95.map(written),
            cost_usd: usd(figures.cost),
            unpriced: whole(figures.unpriced),
            skipped: whole(figures.skipped.values().fold(0, |sum, count| sum.saturating_add(*count))),
            // Of two as many, the first by name: a status is not to change with every look.
            skipped_because: (figures.skipped.iter().rev())
                .max_by_key(|(_, count)| **count)
                .map(|(reason, _)| reason.clone()),
            budget: used.map(Used::told),
            ..status.clone()
        }
    };
    decided.iter().map(told).collect()
}
