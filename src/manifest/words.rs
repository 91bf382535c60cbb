//! How findings put things for a person: values, lists of names, and the name that was probably meant.

use serde_json::Value;

/// The longest value repeated in a message.
const VALUE_LIMIT: usize = 60;

/// A value as it may be repeated in a message: scalars as written, the rest by what it is.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) if text.chars().count() <= VALUE_LIMIT => format!("\"{text}\""),
        Value::String(text) => format!("\"{}…\"", text.chars().take(VALUE_LIMIT).collect::<String>()),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
    }
}

/// A schema's type in plain words, with its article.
pub(super) fn kind_of(type_: &str) -> &'static str {
    match type_ {
        "object" => "a map",
        "array" => "a list",
        "string" => "a text",
        "integer" => "a whole number",
        "integer or string" => "a whole number or a text",
        "number" => "a number",
        "boolean" => "true or false",
        _ => "something else",
    }
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn one_of(names: &[&str], word: &str) -> String {
    match names {
        [] => "nothing".to_owned(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} {word} {last}", first.join(", ")),
    }
}

/// The first sentence of a description, on one line and without its full stop.
pub(super) fn first_sentence(text: &str) -> String {
    let end = [". ", ".\n"].iter().filter_map(|stop| text.find(stop)).min().unwrap_or(text.len());
    text[..end].trim_end_matches('.').replace('\n', " ")
}

/// The known name that `name` was probably meant to be: the same but for case and at most a third of its letters.
pub(super) fn closest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let allowed = name.chars().count().div_ceil(3).min(3);
    known
        .iter()
        .map(|candidate| (distance(&name.to_lowercase(), &candidate.to_lowercase()), *candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be added, removed or changed to make `a` from `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_meant_is_found_or_nothing_is_guessed() {
        let known = ["api", "selfHosted", "tier", "price"];
        for (name, meant) in [
            ("selfhosted", Some("selfHosted")),
            ("tear", Some("tier")),
            ("pirce", Some("price")),
            ("aip", None),
            ("replicas", None),
            ("x", None),
        ] {
            assert_eq!(closest(name, &known), meant, "{name}");
        }
    }

    #[test]
    fn lists_read_as_a_person_would_say_them() {
        assert_eq!(one_of(&["a"], "or"), "a");
        assert_eq!(one_of(&["a", "b", "c"], "or"), "a, b or c");
        assert_eq!(first_sentence("The models that answer. More."), "The models that answer");
        assert_eq!(shown(&Value::from("é".repeat(70))), format!("\"{}…\"", "é".repeat(60)));
    }
}
