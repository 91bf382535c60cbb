//! What the API server does with a value before any rule sees it: defaults, then types, names, bounds and patterns of the CRD's own schema.
//! Only the keywords that structural schemas may have, and of those the ones our CRDs use; every finding is kept, not just the first.

use std::collections::HashSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool};
use serde_json::Value;

use super::document::{item, member};
use super::words::{closest, first_sentence, kind_of, one_of, shown};
use crate::api::eval_job::SHARE;
use crate::api::money;
use crate::api::routing_policy::{BODY_BYTES, DURATION, DURATION_FORM, MODEL_NAME, NAMESPACE, SERVICE_ACCOUNT};
use crate::plan::Invalid;

/// Fills in defaults, and takes out nulls where null means absent: everywhere but where the schema gives them a meaning of their own.
pub(super) fn apply_defaults(schema: &JSONSchemaProps, value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, child) in schema.properties.iter().flatten() {
                if child.nullable != Some(true) && members.get(name) == Some(&Value::Null) {
                    members.remove(name);
                }
                if let Some(default) = &child.default {
                    members.entry(name).or_insert_with(|| default.0.clone());
                }
                if let Some(member) = members.get_mut(name) {
                    apply_defaults(child, member);
                }
            }
        }
        Value::Array(items) => {
            if let Some(JSONSchemaPropsOrArray::Schema(of_item)) = &schema.items {
                items.iter_mut().for_each(|item| apply_defaults(of_item, item));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

const UNKNOWN: &str = "unknown field";

/// Whether a finding is about a name that the schema does not have.
pub(super) fn is_unknown_field(found: &Invalid) -> bool {
    found.problem == UNKNOWN
}

/// Everything that is wrong with `value` at `path`.
pub(super) fn check(schema: &JSONSchemaProps, path: &str, value: &Value, found: &mut Vec<Invalid>) {
    if value.is_null() {
        if schema.nullable != Some(true) {
            found.push(Invalid::new(path, "must not be null", "give it a value or remove it"));
        }
        return;
    }
    let wanted = match schema.type_.as_deref() {
        _ if schema.x_kubernetes_int_or_string == Some(true) => "integer or string",
        Some(type_) => type_,
        None => return,
    };
    match (wanted, value) {
        ("object", Value::Object(_)) => object(schema, path, value, found),
        ("array", Value::Array(items)) => array(schema, path, items, found),
        ("string" | "integer or string", Value::String(text)) => string(schema, path, text, found),
        ("integer" | "integer or string", Value::Number(n)) if n.as_f64().is_some_and(|n| n.fract() == 0.0) => {
            number(schema, path, n, found);
        }
        ("number", Value::Number(n)) => number(schema, path, n, found),
        ("boolean", Value::Bool(_)) => {}
        _ => found.push(wrong_type(schema, path, wanted, value)),
    }
}

fn wrong_type(schema: &JSONSchemaProps, path: &str, wanted: &str, value: &Value) -> Invalid {
    let remedy = match (wanted, value) {
        ("string" | "integer or string", Value::Number(_)) if has_form(schema, &value.to_string()) => {
            format!("put it in quotes: \"{value}\"")
        }
        ("string", Value::Number(_)) => form_of(schema),
        ("string", Value::Bool(_)) => "put it in quotes: y, n, yes, no, on, off, true and false are no texts without them".to_owned(),
        ("integer" | "number" | "boolean", Value::String(_)) => "write it without quotes, or correct it".to_owned(),
        ("array", _) => "write a list: each item on a line of its own that begins with `- `".to_owned(),
        ("object", _) if has_no_fields(schema) => {
            format!("write {}: {{}}, for nothing is set in it", path.rsplit('.').next().unwrap_or(path))
        }
        ("object", _) if schema.properties.is_some() => format!("write a map of these fields: {}", one_of(&names(schema), "and")),
        _ => format!("write {}", kind_of(wanted)),
    };
    // A text in place of a map may be a key where a reference to its Secret belongs.
    let is = if wanted == "object" && value.is_string() {
        "a text".to_owned()
    } else {
        shown(value)
    };
    Invalid::new(path, format!("must be {}, is {is}", kind_of(wanted)), remedy)
}

/// Whether the map is there or not, and says no more.
fn has_no_fields(schema: &JSONSchemaProps) -> bool {
    schema.properties.as_ref().is_none_or(|fields| fields.is_empty())
        && !matches!(
            schema.additional_properties,
            Some(JSONSchemaPropsOrBool::Schema(_) | JSONSchemaPropsOrBool::Bool(true))
        )
        && schema.x_kubernetes_preserve_unknown_fields != Some(true)
}

fn has_form(schema: &JSONSchemaProps, text: &str) -> bool {
    let Some(pattern) = schema.pattern.as_deref() else { return true };
    // What cannot be judged here is left to the API server.
    regex::Regex::new(pattern).map_or(true, |regex| regex.is_match(text))
}

/// What a text must look like, for a person.
fn form_of(schema: &JSONSchemaProps) -> String {
    match (schema.pattern.as_deref(), schema.description.as_deref()) {
        (Some(money::PATTERN), _) => {
            "write US dollars as a decimal number of 0 or more, without a sign or unit and with up to nine decimals, such as \"1.25\""
                .to_owned()
        }
        (Some(DURATION), _) => DURATION_FORM.to_owned(),
        (Some(BODY_BYTES), _) => "write a whole number of bytes, or of K, M, G, Ki, Mi or Gi, such as 32Mi".to_owned(),
        (Some(SHARE), _) => "write a decimal from 0 to 1 in quotes, with up to six decimals, such as \"0.784\"".to_owned(),
        (Some(NAMESPACE), None) => "write the name of one namespace, such as claims: a pattern such as * matches none".to_owned(),
        (Some(SERVICE_ACCOUNT), None) => {
            "write the name of a service account alone, such as web: its namespace stands in namespaces".to_owned()
        }
        (Some(MODEL_NAME), _) => {
            "write letters and digits, and between them '-', '.', '_' or ':' too, such as assistant: '/' is for a model called directly, as \
             namespace/name"
                .to_owned()
        }
        (_, Some(meaning)) => meaning.replace('\n', " "),
        (_, None) => "correct it".to_owned(),
    }
}

fn names(schema: &JSONSchemaProps) -> Vec<&str> {
    schema.properties.iter().flatten().map(|(name, _)| name.as_str()).collect()
}

fn object(schema: &JSONSchemaProps, path: &str, value: &Value, found: &mut Vec<Invalid>) {
    let members = value.as_object().into_iter().flatten();
    let count = members.clone().count();
    let known = names(schema);
    for (name, child) in members {
        let path = member(path, name);
        match (schema.properties.as_ref().and_then(|p| p.get(name)), &schema.additional_properties) {
            (Some(of_member), _) => check(of_member, &path, child, found),
            (None, Some(JSONSchemaPropsOrBool::Schema(of_member))) => check(of_member, &path, child, found),
            (None, Some(JSONSchemaPropsOrBool::Bool(true))) => {}
            (None, _) if schema.x_kubernetes_preserve_unknown_fields == Some(true) => {}
            (None, _) => found.push(Invalid::new(path, UNKNOWN, unknown_remedy(name, &known))),
        }
    }
    for name in schema.required.iter().flatten().filter(|name| value.get(name).is_none()) {
        let meaning = schema
            .properties
            .as_ref()
            .and_then(|p| p.get(name))
            .and_then(|p| p.description.as_deref());
        let remedy = format!("add it: {}", meaning.map_or_else(|| "it has no default".to_owned(), first_sentence));
        found.push(Invalid::new(member(path, name), "is required", remedy));
    }
    size(path, count, "entries", (schema.min_properties, schema.max_properties), found);
}

fn unknown_remedy(name: &str, known: &[&str]) -> String {
    match closest(name, known) {
        Some(meant) => format!("did you mean {meant}?"),
        None if known.is_empty() => "remove it: nothing may be set here".to_owned(),
        None => format!("remove it, or use {}", one_of(known, "or")),
    }
}

fn array(schema: &JSONSchemaProps, path: &str, items: &[Value], found: &mut Vec<Invalid>) {
    size(path, items.len(), "items", (schema.min_items, schema.max_items), found);
    if let Some(JSONSchemaPropsOrArray::Schema(of_item)) = &schema.items {
        for (index, value) in items.iter().enumerate() {
            check(of_item, &item(path, index), value, found);
        }
    }
    let keys = schema.x_kubernetes_list_map_keys.as_deref().unwrap_or_default();
    let identity = |value: &Value| match schema.x_kubernetes_list_type.as_deref() {
        Some("set") => Some(value.to_string()),
        Some("map") => Some(
            keys.iter()
                .map(|k| value.get(k).unwrap_or(&Value::Null).to_string())
                .collect::<Vec<_>>()
                .join(", "),
        ),
        _ => None,
    };
    let mut seen = HashSet::new();
    for (index, value) in items.iter().enumerate() {
        let Some(identity) = identity(value) else { continue };
        let (field, what) = match keys {
            [key] => (member(&item(path, index), key), "name it differently or remove one"),
            _ => (item(path, index), "remove one of them"),
        };
        if !seen.insert(identity.clone()) {
            found.push(Invalid::new(field, format!("{identity} is in the list twice"), what));
        }
    }
}

fn string(schema: &JSONSchemaProps, path: &str, text: &str, found: &mut Vec<Invalid>) {
    let value = Value::from(text);
    if let Some(allowed) = &schema.enum_ {
        if !allowed.iter().any(|a| a.0 == value) {
            let names: Vec<&str> = allowed.iter().filter_map(|a| a.0.as_str()).collect();
            let remedy = match closest(text, &names) {
                Some(meant) => format!("did you mean {meant}? its values are {}", one_of(&names, "and")),
                None => format!("use {}", one_of(&names, "or")),
            };
            found.push(Invalid::new(path, format!("{} is not one of its values", shown(&value)), remedy));
        }
        return;
    }
    let length = text.chars().count();
    size(path, length, "characters", (schema.min_length, schema.max_length), found);
    // An empty text that must not be empty has been named above.
    let named = length == 0 && schema.min_length.unwrap_or(0) > 0;
    if let Some(pattern) = schema.pattern.as_deref().filter(|_| !named)
        && !has_form(schema, text)
    {
        // The pattern itself helps only where nothing says it in words.
        let form = if [DURATION, money::PATTERN, NAMESPACE, SERVICE_ACCOUNT].contains(&pattern) || schema.description.is_some() {
            "right form"
        } else {
            pattern
        };
        // A key that was written where its Secret is to be named is not repeated.
        let what = if path.ends_with("ecretRef.name") {
            "what is written".to_owned()
        } else {
            shown(&value)
        };
        let problem = format!("{what} does not have the {form}");
        found.push(Invalid::new(path, problem, form_of(schema)));
    }
}

fn number(schema: &JSONSchemaProps, path: &str, number: &serde_json::Number, found: &mut Vec<Invalid>) {
    let (least, most) = match schema.format.as_deref() {
        Some("int32") => (f64::from(i32::MIN), f64::from(i32::MAX)),
        _ => (f64::NEG_INFINITY, f64::INFINITY),
    };
    let (least, most) = (schema.minimum.unwrap_or(least), schema.maximum.unwrap_or(most));
    let value = number.as_f64().unwrap_or(f64::NAN);
    if value < least {
        found.push(Invalid::new(
            path,
            format!("must be at least {least}, is {number}"),
            between(least, most),
        ));
    } else if value > most {
        found.push(Invalid::new(
            path,
            format!("must be at most {most}, is {number}"),
            between(least, most),
        ));
    }
}

fn between(least: f64, most: f64) -> String {
    match (least.is_finite(), most.is_finite()) {
        (true, true) => format!("use a number from {least} to {most}"),
        (true, false) => format!("use {least} or more"),
        _ => format!("use {most} or less"),
    }
}

fn size(path: &str, size: usize, unit: &str, (least, most): (Option<i64>, Option<i64>), found: &mut Vec<Invalid>) {
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    if let Some(least) = least.filter(|least| size < *least) {
        let remedy = match (least, unit) {
            (1, "characters") => "write it".to_owned(),
            (1, _) => "add at least one".to_owned(),
            _ => format!("add {} more", least - size),
        };
        let problem = if size == 0 {
            "is empty".to_owned()
        } else {
            format!("has {size} {unit}, must have at least {least}")
        };
        found.push(Invalid::new(path, problem, remedy));
    }
    if let Some(most) = most.filter(|most| size > *most) {
        let remedy = format!("take out {}", size - most);
        found.push(Invalid::new(path, format!("has {size} {unit}, may have at most {most}"), remedy));
    }
}
