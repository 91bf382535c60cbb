//! A pod template as a person wrote it: what Kubernetes does not know is refused with its place, never dropped.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Map, Value};

use crate::plan::Invalid;

/// The template that `written` is, at `field`.
pub(super) fn template(written: &Value, field: &str) -> Result<PodTemplateSpec, Invalid> {
    only_additions(written, field)?;
    let template: PodTemplateSpec = serde_json::from_value(written.clone()).map_err(|error| {
        let (below, value) = unreadable(written);
        let remedy = match value {
            Value::Number(_) | Value::Bool(_) if error.to_string().contains("expected a string") => "put it in quotes",
            _ => "correct it: `kubectl explain pod.spec` says what it may be",
        };
        Invalid::new(format!("{field}{below}"), error.to_string(), remedy)
    })?;
    let kept = serde_json::to_value(&template).unwrap_or_default();
    match lost(written, &kept) {
        Some((below, problem, remedy)) => Err(Invalid::new(format!("{field}{below}"), problem, remedy)),
        None => Ok(template),
    }
}

/// A template says what its pods are, not who they are.
fn only_additions(written: &Value, field: &str) -> Result<(), Invalid> {
    let members = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let whole = members(written);
    let metadata = members(whole.get("metadata").unwrap_or(&Value::Null));
    let strange = whole.keys().find(|name| !["metadata", "spec"].contains(&name.as_str()));
    if let Some(name) = strange {
        return Err(Invalid::new(
            format!("{field}.{name}"),
            "is not part of a pod template",
            "write metadata or spec",
        ));
    }
    let strange = metadata.keys().find(|name| !["labels", "annotations"].contains(&name.as_str()));
    match strange {
        Some(name) => Err(Invalid::new(
            format!("{field}.metadata.{name}"),
            "is not the template's to say",
            "remove it: only labels and annotations are added to the pods",
        )),
        None => Ok(()),
    }
}

/// Where a value that cannot be read goes wrong: the deepest part of it that cannot be read alone. Kubernetes' types have a default for
/// everything, so a part is readable without its neighbours.
fn unreadable(written: &Value) -> (String, Value) {
    let mut path: Vec<Step> = vec![];
    let mut at = written.clone();
    'deeper: loop {
        let parts: Vec<(Step, Value)> = match &at {
            Value::Object(members) => members.iter().map(|(name, v)| (Step::Member(name.clone()), v.clone())).collect(),
            Value::Array(items) => items.iter().enumerate().map(|(i, v)| (Step::Item(i), v.clone())).collect(),
            _ => break,
        };
        for (step, part) in parts {
            path.push(step);
            let alone = path.iter().rev().fold(part.clone(), |inner, step| match step {
                Step::Member(name) => Value::Object(Map::from_iter([(name.clone(), inner)])),
                Step::Item(_) => Value::Array(vec![inner]),
            });
            if serde_json::from_value::<PodTemplateSpec>(alone).is_err() {
                at = part;
                continue 'deeper;
            }
            path.pop();
        }
        break;
    }
    let below = path.iter().map(|step| match step {
        Step::Member(name) => member(name),
        Step::Item(index) => format!("[{index}]"),
    });
    (below.collect(), at)
}

enum Step {
    Member(String),
    Item(usize),
}

/// Names with dots (of labels and resources) are put in brackets.
fn member(name: &str) -> String {
    if name.contains(['.', '/']) {
        format!("[{name}]")
    } else {
        format!(".{name}")
    }
}

/// The first part of `written` that is not in `kept`: its place, the problem and the remedy.
fn lost(written: &Value, kept: &Value) -> Option<(String, String, &'static str)> {
    match (written, kept) {
        (Value::Null, _) => Some((
            String::new(),
            "is null, which removes nothing here".to_owned(),
            "remove the line, or give it a value",
        )),
        (Value::Object(written), Value::Object(kept)) => written.iter().find_map(|(name, value)| {
            let found = match kept.get(name) {
                _ if value.is_null() => lost(value, &Value::Null),
                None => Some((
                    String::new(),
                    "Kubernetes knows no such field".to_owned(),
                    "correct its name, or remove it",
                )),
                Some(kept) => lost(value, kept),
            };
            found.map(|(below, problem, remedy)| (format!("{}{below}", member(name)), problem, remedy))
        }),
        (Value::Array(written), Value::Array(kept)) => written.iter().zip(kept).enumerate().find_map(|(index, (value, kept))| {
            let (below, problem, remedy) = lost(value, kept)?;
            Some((format!("[{index}]{below}"), problem, remedy))
        }),
        // A quantity may be written as a number, and is a text ever after.
        (Value::Number(number), Value::String(text)) if number.to_string() == *text => None,
        _ if written == kept => None,
        _ => Some((String::new(), format!("would become {kept}"), "write it that way, or correct it")),
    }
}
