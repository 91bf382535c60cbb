//! Wrong JSON that is nearly right: one thing or a few changed in what is.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// One change, somewhere.
#[derive(Clone, Debug)]
pub(super) struct Mutation {
    at: prop::sample::Index,
    change: Change,
}

#[derive(Clone, Debug)]
enum Change {
    /// Another value in its place.
    Value(usize),
    /// Gone.
    Remove,
    /// Twice, in a list.
    Repeat(usize),
    /// Under another field's name.
    Rename(usize),
    /// Inside of so many lists.
    Nest(usize),
    /// Cut off here.
    Cut,
    /// This byte here.
    Byte(u8),
}

/// Names that mean something somewhere.
const NAMES: [&str; 24] = [
    "type",
    "text",
    "content",
    "role",
    "id",
    "index",
    "delta",
    "error",
    "usage",
    "name",
    "input",
    "arguments",
    "tool_calls",
    "messages",
    "model",
    "source",
    "image_url",
    "parts",
    "stop_reason",
    "choices",
    "data",
    "message",
    "thinking",
    "tools",
];

/// Values that are wrong nearly everywhere.
fn values() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(4_294_967_296_u64),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e300),
        json!(""),
        json!("a"),
        json!("\u{0}\u{1f}\"\\\u{7f}\u{2028}😀"),
        json!("x".repeat(3000)),
        json!("data:image/png;base64,"),
        json!("data:image/png;base64,iVBORw0KGgo="),
        json!("https://example.com/a.png"),
        json!("assistant"),
        json!("tool"),
        json!("tool_use"),
        json!([]),
        json!([null]),
        json!([[], {}]),
        json!({}),
        json!({"type": "text", "text": "t"}),
        json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"$ref": "#"}}}}}),
        json!({"a": {"b": {"c": [1, 2, {"d": null}]}}}),
        json!({"error": {"message": "m"}}),
    ]
}

/// None, one, or a few.
pub(super) fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let change = prop_oneof![
        8 => any::<usize>().prop_map(Change::Value),
        3 => Just(Change::Remove),
        2 => (0_usize..40).prop_map(Change::Repeat),
        3 => any::<usize>().prop_map(Change::Rename),
        1 => prop::sample::select(vec![1_usize, 3, 120, 5000]).prop_map(Change::Nest),
        1 => Just(Change::Cut),
        1 => any::<u8>().prop_map(Change::Byte),
    ];
    let one = (any::<prop::sample::Index>(), change).prop_map(|(at, change)| Mutation { at, change });
    prop::collection::vec(one, 0..5)
}

/// The text with these changes; those of its structure come first.
pub(super) fn mutated(json: &str, mutations: &[Mutation]) -> Vec<u8> {
    let mut value: Value = serde_json::from_str(json).unwrap_or_else(|_| Value::String(json.to_owned()));
    let mut nested = 0;
    for Mutation { at, change } in mutations {
        let count = count(&value);
        if let Change::Nest(levels) = change {
            nested += levels;
        }
        change_at(&mut value, &mut at.index(count), change);
    }
    let mut bytes = match value {
        // The mark of the end is no JSON.
        Value::String(text) if text == json => text.into_bytes(),
        value => value.to_string().into_bytes(),
    };
    if nested > 0 {
        let inside = String::from_utf8_lossy(&bytes).replace("\"nest here\"", &format!("{}{}", "[".repeat(nested), "]".repeat(nested)));
        bytes = inside.into_bytes();
    }
    for Mutation { at, change } in mutations {
        let here = at.index(bytes.len() + 1);
        match change {
            Change::Cut => bytes.truncate(here),
            Change::Byte(byte) if here < bytes.len() => bytes[here] = *byte,
            _ => {}
        }
    }
    bytes
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// Changes the value that so many others come before; true once it is done.
fn change_at(value: &mut Value, before: &mut usize, change: &Change) -> bool {
    if *before == 0 {
        match change {
            Change::Value(which) => {
                let values = values();
                *value = values[which % values.len()].clone();
            }
            Change::Nest(_) => *value = Value::String("nest here".to_owned()),
            Change::Repeat(times) => {
                let item = value.clone();
                if let Value::Array(items) = value {
                    let more: Vec<Value> = items.iter().cloned().cycle().take(*times).collect();
                    items.extend(more);
                } else {
                    *value = Value::Array(vec![item; *times]);
                }
            }
            Change::Remove | Change::Rename(_) | Change::Cut | Change::Byte(_) => {}
        }
        return true;
    }
    *before -= 1;
    match value {
        Value::Array(items) => {
            if matches!(change, Change::Remove) && *before < items.len() && before.is_multiple_of(2) {
                items.remove(*before);
                return true;
            }
            items.iter_mut().any(|item| change_at(item, before, change))
        }
        Value::Object(fields) => change_field(fields, before, change) || fields.values_mut().any(|field| change_at(field, before, change)),
        _ => false,
    }
}

/// Removes or renames the field here, if that is the change.
fn change_field(fields: &mut Map<String, Value>, before: &usize, change: &Change) -> bool {
    let Some(name) = fields.keys().nth(*before).cloned() else {
        return false;
    };
    match change {
        Change::Remove => fields.remove(&name).is_some(),
        Change::Rename(which) => {
            let field = fields.remove(&name).unwrap_or_default();
            fields.insert(NAMES[which % NAMES.len()].to_owned(), field);
            true
        }
        _ => false,
    }
}
