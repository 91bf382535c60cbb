//! What policies require that none of their models can ever fulfil: decided by the very functions that decide about traffic, with every model of
//! the files ready and every evaluation passed. Where a model or a setting is not known here, nothing is doubted.

use k8s_openapi::jiff::Timestamp;

use super::cases::all_well;
use super::finding::{Finding, Severity};
use super::{Portfolio, Written};
use crate::api::routing_policy::{Requirements, RoutingPolicySpec};
use crate::api::{RoutingPolicy, Settings};
use crate::plan::Invalid;
use crate::plan::names::Key;
use crate::plan::price::Book;
use crate::plan::routing::{Candidate, Exclusion, Reason, Route, Rule, Unanswered, Warmup};

/// Who is certain of what.
#[derive(Clone, Copy)]
struct Sure<'a> {
    portfolio: &'a Portfolio,
    /// Whether the installer's settings are given: without them nobody knows where our own pods run.
    has_settings: bool,
    /// Whether identifiers are looked for, so that a model may see redacted data of a class that it must not see.
    detects: bool,
}

/// Adds them to `portfolio`, under `assumed`, which is no more than a guess where the installer's settings are not given.
pub(super) fn check(portfolio: &mut Portfolio, assumed: &Settings, has_settings: bool, book: &Book, now: Timestamp) {
    let seen = all_well(portfolio, now);
    let routing = seen.routing(assumed, book, false, now);
    let sure = Sure {
        portfolio,
        has_settings,
        detects: assumed.detection.is_some(),
    };
    let mut found: Vec<Finding> = Vec::new();
    for written in &portfolio.policies {
        let key = Key::of(&written.object);
        let route = routing.table.find(&written.object.spec.model);
        let route = route.filter(|route| route.policy.as_ref() == Some(&key));
        let (Some(route), Some(verdict)) = (route, routing.verdicts.get(&key)) else {
            continue;
        };
        let doubts = of_policy(written, route, &verdict.unanswered, sure);
        found.extend(doubts.into_iter().map(|doubt| written.origin.finding(Severity::Warning, doubt)));
    }
    portfolio.findings.extend(found);
}

fn of_policy(written: &Written<RoutingPolicy>, route: &Route, unanswered: &[Unanswered], sure: Sure<'_>) -> Vec<Invalid> {
    let spec = &written.object.spec;
    let mut doubts: Vec<Invalid> = Vec::new();
    for (at, rule) in route.rules.iter().enumerate() {
        let disjoint = disjoint(at, spec);
        if !disjoint.is_empty() {
            doubts.extend(disjoint);
            continue;
        }
        doubts.extend(match unanswered.iter().find(|unanswered| unanswered.rule == at) {
            None => None,
            Some(Unanswered {
                is_unseen: true, sentence, ..
            }) => unseeable(at, rule, spec, sentence, sure),
            Some(Unanswered { sentence, .. }) => unanswerable(at, rule, sentence, sure),
        });
    }
    doubts.extend(route.rules.iter().enumerate().filter_map(|(at, rule)| unasked(at, rule)));
    doubts.extend(aside(route, sure));
    doubts
}

/// An expression that refuses every request which lacks what it reads.
fn unasked(at: usize, rule: &Rule) -> Option<Invalid> {
    let (key, place) = rule.when.expression.as_ref()?.unasked()?;
    // The expression is asked only where these are there.
    if rule.when.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(key)) {
        return None;
    }
    let problem =
        format!("it reads {key:?} of every request, and one that does not have it is refused with 400, also where a later rule is for it");
    let remedy = format!("ask for it first, as in '{key}' in {place} && …");
    Some(Invalid::new(format!("spec.rules[{at}].when.expression"), problem, remedy))
}

/// What a rule requires and the policy excludes, whatever models there are.
fn disjoint(at: usize, spec: &RoutingPolicySpec) -> Vec<Invalid> {
    let (Some(of_all), Some(own)) = (&spec.require, spec.rules.get(at).and_then(|rule| rule.require.as_ref())) else {
        return Vec::new();
    };
    let lists = |require: &Requirements| {
        [
            ("tiers", require.tiers.iter().map(ToString::to_string).collect::<Vec<_>>()),
            ("classes", require.classes.iter().map(ToString::to_string).collect()),
            ("regions", require.regions.clone()),
            ("jurisdictions", require.jurisdictions.clone()),
        ]
    };
    let (of_all, own) = (lists(of_all), lists(own));
    let apart = |field: &str, all: &[String], own: &[String]| {
        let is_shared = own.iter().any(|one| all.iter().any(|other| other.eq_ignore_ascii_case(one)));
        (!is_shared && !all.is_empty() && !own.is_empty()).then(|| {
            let problem = format!(
                "no model can fulfil it: the rule requires {}, and the policy requires {}",
                own.join(" or "),
                all.join(" or ")
            );
            let remedy = format!("write {field} that spec.require.{field} has too, or change those");
            Invalid::new(format!("spec.rules[{at}].require.{field}"), problem, remedy)
        })
    };
    let both = of_all.iter().zip(&own);
    both.filter_map(|((field, all), (_, own))| apart(field, all, own)).collect()
}

/// A rule none of whose models fulfils what is required.
fn unanswerable(at: usize, rule: &Rule, sentence: &str, sure: Sure<'_>) -> Option<Invalid> {
    let exclusions: Vec<&Exclusion> = rule.candidates().filter_map(|candidate| candidate.backend.as_ref().err()).collect();
    // One that only has no share is for whoever gives it one.
    let is_all = exclusions.len() == rule.candidates().count();
    if !is_all || !exclusions.iter().all(|exclusion| sure.never(exclusion)) {
        return None;
    }
    let remedy = "correct what is required, or name a model that fulfils it";
    Some(Invalid::new(demanding(at, &exclusions), sentence, remedy))
}

/// The field that keeps all of these models out, or what is around several.
fn demanding(at: usize, exclusions: &[&Exclusion]) -> String {
    let places: Vec<(String, Option<&str>)> = exclusions
        .iter()
        .map(|exclusion| {
            let place = match exclusion.message.contains("the policy requires") {
                true => "spec.require".to_owned(),
                false => format!("spec.rules[{at}].require"),
            };
            (place, list(exclusion.reason))
        })
        .collect();
    match places.split_first() {
        Some(((place, Some(list)), rest)) if rest.iter().all(|other| *other == (place.clone(), Some(list))) => format!("{place}.{list}"),
        Some(((place, Some(_)), rest)) if rest.iter().all(|(other, list)| other == place && list.is_some()) => place.clone(),
        _ => format!("spec.rules[{at}].targets"),
    }
}

/// The list of requirements that a reason is about.
fn list(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::TierNotAllowed => Some("tiers"),
        Reason::ClassNotAllowed => Some("classes"),
        Reason::RegionNotAllowed => Some("regions"),
        Reason::JurisdictionNotAllowed => Some("jurisdictions"),
        _ => None,
    }
}

/// A rule for a class of data that none of its models may see.
fn unseeable(at: usize, rule: &Rule, spec: &RoutingPolicySpec, sentence: &str, sure: Sure<'_>) -> Option<Invalid> {
    let redacts = spec.guardrails.as_ref().is_some_and(|guardrails| !guardrails.redact.is_empty());
    if !sure.has_settings || (redacts && sure.detects) || !rule.candidates().all(|candidate| sure.is_known(candidate)) {
        return None;
    }
    let field = match rule.when.data_classes.is_empty() {
        true => format!("spec.rules[{at}].targets"),
        false => format!("spec.rules[{at}].when.dataClasses"),
    };
    let remedy = "name a model that may see it by the dataClasses of the settings";
    Some(Invalid::new(field, sentence, remedy))
}

/// Models beside those of the rules that what the policy requires of all keeps out.
fn aside(route: &Route, sure: Sure<'_>) -> Vec<Invalid> {
    let mut named: Vec<(String, &Candidate, &str)> = Vec::new();
    for (at, shadow) in route.shadows.iter().enumerate() {
        let candidates = shadow.route.iter().flat_map(|route| route.rules.iter().flat_map(Rule::candidates));
        named.extend(candidates.map(|candidate| (format!("spec.shadow[{at}]"), candidate, "so it gets no copy of any request")));
    }
    for (at, allowance) in route.allowances.iter().flatten().enumerate() {
        let instead = allowance.instead.iter().flatten().enumerate();
        let field = |index| format!("spec.budgets[{at}].onExhausted.targets[{index}]");
        named.extend(instead.map(|(index, candidate)| (field(index), candidate, "so it answers nothing once the budget is used up")));
    }
    if let Some(Warmup::Spill(targets)) = &route.warmup {
        let targets = targets.iter().enumerate();
        let field = |index| format!("spec.warmup.targets[{index}]");
        named.extend(targets.map(|(index, candidate)| (field(index), candidate, "so it answers nothing while another wakes")));
    }
    let doubt = |(field, candidate, so): (String, &Candidate, &str)| {
        let exclusion = candidate.backend.as_ref().err().filter(|exclusion| sure.never(exclusion))?;
        let remedy = "name a model that fulfils spec.require, or change that";
        Some(Invalid::new(field, format!("{}, {so}", exclusion.message), remedy))
    };
    named.into_iter().filter_map(doubt).collect()
}

impl Sure<'_> {
    /// Whether a model is out whatever else is applied or set.
    fn never(self, exclusion: &Exclusion) -> bool {
        let is_of_place = matches!(exclusion.reason, Reason::RegionNotAllowed | Reason::JurisdictionNotAllowed);
        list(exclusion.reason).is_some() && (self.has_settings || !is_of_place || self.is_api(&exclusion.model))
    }

    /// Whether nothing that these files do not have decides about it.
    fn is_known(self, candidate: &Candidate) -> bool {
        candidate.backend.as_ref().err().is_none_or(|exclusion| self.never(exclusion))
    }

    fn is_api(self, model: &Key) -> bool {
        let mut models = self.portfolio.models.iter().map(|written| &written.object);
        models.any(|md| Key::of(md) == *model && md.spec.api.is_some())
    }
}
