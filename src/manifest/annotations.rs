//! Annotations and labels under our name that nobody reads: almost always one that is misspelt, and silently without effect.

use kube::ResourceExt;
use serde_json::Value;

use super::Portfolio;
use super::document::member;
use super::finding::{Finding, Origin, Severity};
use super::words::{closest, one_of};
use crate::api::GROUP;
use crate::plan::Invalid;
use crate::plan::names::{ANNOTATIONS, ENDPOINT_ANNOTATION, LABELS, RESET_DRIFT_ANNOTATION, RUN_NOW_ANNOTATION};

/// Adds the findings about annotations and labels to `portfolio`.
pub(super) fn check(portfolio: &mut Portfolio) {
    let mut found = Vec::new();
    for model in &portfolio.models {
        for name in model.object.annotations().keys() {
            if name == ENDPOINT_ANNOTATION && model.object.spec.api.is_some() {
                let invalid = Invalid::new(
                    place("annotations", name),
                    "is for self-hosted models, and not read here",
                    "write the address in spec.api.endpoint",
                );
                found.push(model.origin.finding(Severity::Warning, invalid));
            } else {
                found.extend(unread(
                    &model.origin,
                    "annotations",
                    name,
                    &[ENDPOINT_ANNOTATION],
                    "a ModelDeployment may have",
                ));
            }
        }
    }
    let policies = portfolio.policies.iter().map(|p| (&p.origin, p.object.annotations()));
    for (origin, annotations) in policies {
        found.extend(annotations.keys().filter_map(|name| unread(origin, "annotations", name, &[], "")));
    }
    for written in &portfolio.evaluations {
        let names = written.object.annotations().keys();
        let unread = |name: &String| {
            unread(
                &written.origin,
                "annotations",
                name,
                &[RUN_NOW_ANNOTATION, RESET_DRIFT_ANNOTATION],
                "an EvalJob may have",
            )
        };
        found.extend(names.filter_map(unread));
    }
    for other in &portfolio.others {
        for (what, known) in [("annotations", &ANNOTATIONS[..]), ("labels", &LABELS[..])] {
            let names = other.value.pointer(&format!("/metadata/{what}")).and_then(Value::as_object);
            let names = names.into_iter().flatten().map(|(name, _)| name);
            found.extend(names.filter_map(|name| unread(&other.origin, what, name, known, "there are")));
        }
    }
    portfolio.findings.extend(found);
}

fn place(what: &str, name: &str) -> String {
    member(&format!("metadata.{what}"), name)
}

/// That nobody reads `name`, if it is one of ours and none of those that are `known`.
fn unread(origin: &Origin, what: &str, name: &str, known: &[&str], there_are: &str) -> Option<Finding> {
    let is_ours = name.split_once('/').is_some_and(|(domain, _)| domain == GROUP);
    if !is_ours || known.contains(&name) {
        return None;
    }
    let remedy = match closest(name, known) {
        Some(meant) => format!("did you mean {meant}?"),
        None if known.is_empty() => "remove it".to_owned(),
        None => format!("remove it: {there_are} {}", one_of(known, "and")),
    };
    Some(origin.finding(Severity::Warning, Invalid::new(place(what, name), "nobody reads it", remedy)))
}
