//! Is an answer JSON of the shape that was asked for?

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ReferencingError, ValidationError, Validator};
use serde_json::{Deserializer, Value};

/// A JSON Schema that was checked, ready to be held against answers. The draft is the one that `$schema` names, else 2020-12, where `format` is
/// a remark and refuses nothing. Patterns take time in proportion to the text, so they know no look-around and no back-references.
#[derive(Clone, Debug)]
pub(in crate::evaluator) struct Schema(Validator);

impl Schema {
    /// Checks a schema. Nothing is fetched: a `$ref` must lead into the schema itself, or to the drafts that JSON Schema publishes.
    ///
    /// # Errors
    /// What is wrong with the schema, and where.
    pub(in crate::evaluator) fn new(schema: &Value) -> Result<Self, String> {
        let options = jsonschema::options().with_pattern_options(PatternOptions::regex()).offline();
        options.build(schema).map(Self).map_err(|error| remark(&error))
    }

    /// Does the JSON in an answer have the shape? It is the whole answer, or else what the first code fence for JSON or for no language
    /// encloses, or else the first object or array anywhere. None where there is no JSON. What is inside an object or array that breaks off
    /// or has a fault is not looked at alone.
    pub(in crate::evaluator) fn holds(&self, answer: &str) -> Option<bool> {
        json(answer).map(|value| self.0.is_valid(&value))
    }
}

/// One sentence without the values of the schema, which may be long.
fn remark(error: &ValidationError) -> String {
    let path = error.instance_path().as_str();
    let place = if path.is_empty() {
        "the schema".to_owned()
    } else {
        format!("its {path}")
    };
    match error.kind() {
        ValidationErrorKind::Referencing(ReferencingError::Unretrievable { uri, .. }) => {
            format!("it refers to {uri}, which is not fetched; write that schema under $defs and refer to it there")
        }
        ValidationErrorKind::Referencing(ReferencingError::UnknownSpecification { specification }) => {
            format!("its $schema is {specification}, which is no draft of JSON Schema")
        }
        ValidationErrorKind::Referencing(other) => format!("a reference in it leads nowhere: {other}"),
        ValidationErrorKind::Format { format } if format == "regex" => format!("{place} is not RE2 syntax, or too large"),
        ValidationErrorKind::AnyOf { .. } | ValidationErrorKind::OneOfNotValid { .. } => {
            format!("{place} has a value that JSON Schema does not know")
        }
        _ => error.masked_with(place).to_string(),
    }
}

fn json(answer: &str) -> Option<Value> {
    let read = |text: &str| serde_json::from_str(text.trim()).ok();
    read(answer).or_else(|| fenced(answer).and_then(read)).or_else(|| embedded(answer))
}

/// What the first fence of Markdown for JSON, or for no language, encloses: up to the end, if it is not closed.
fn fenced(answer: &str) -> Option<&str> {
    let mut open: Option<(usize, bool)> = None;
    let mut at = 0;
    for line in answer.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let line = line.trim();
        if !line.starts_with("```") {
            continue;
        }
        let language = line.trim_start_matches('`').trim();
        open = match open {
            None => Some((at, language.is_empty() || language.eq_ignore_ascii_case("json"))),
            Some((content, true)) if language.is_empty() => return Some(&answer[content..start]),
            Some((_, false)) if language.is_empty() => None,
            still_open => still_open,
        };
    }
    open.filter(|(_, is_for_json)| *is_for_json).map(|(content, _)| &answer[content..])
}

/// The first object or array in a text. After one that is faulty the search goes on where the fault is, so that a text is read once.
fn embedded(answer: &str) -> Option<Value> {
    let mut rest = answer;
    loop {
        rest = &rest[rest.find(['{', '['])?..];
        match Deserializer::from_str(rest).into_iter().next()? {
            Ok(value) => return Some(value),
            Err(error) => rest = &rest[fault(rest, &error)..],
        }
    }
}

/// Where in a text its JSON has a fault: after its first character.
fn fault(text: &str, error: &serde_json::Error) -> usize {
    let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    let byte = lines.map(str::len).sum::<usize>() + error.column();
    // The column is that of the character at fault, counted from one, or of the one before.
    (1..byte).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn schema(text: &Value) -> Schema {
        Schema::new(text).unwrap()
    }

    #[test]
    fn json_is_the_whole_answer_or_fenced_or_the_first_that_stands_in_it() {
        for (answer, wanted) in [
            ("\u{a0}{\"a\": 1}\n", Some(json!({ "a": 1 }))),
            ("42", Some(json!(42))),
            ("\"text\"", Some(json!("text"))),
            ("Here:\n```json\n{\"a\": 1}\n```\nor\n```\n[2]\n```", Some(json!({ "a": 1 }))),
            ("[1] says\n```\n\"b\"\n```", Some(json!("b"))),
            ("```python\nx = [1]\n```\n```JSON\n[2]\n```", Some(json!([2]))),
            ("  ````json\n  [2]", Some(json!([2]))),
            ("```json\n[2,]\n```\nor rather [3]", Some(json!([3]))),
            ("```json {\"a\": 1} ```", Some(json!({ "a": 1 }))),
            ("It is {\"a\": [1, \"}\"]}.", Some(json!({ "a": [1, "}"] }))),
            ("the set {é, {\"a\": 1}}", Some(json!({ "a": 1 }))),
            ("{[1]}", Some(json!([1]))),
            ("[\n\n é [1]", Some(json!([1]))),
            ("{\"a\": {\"b\": 1},}", None),
            ("{\"a\": {\"b\": 1}, \"c\": \"and so", None),
            ("{\"a\": {\"b\": 1},} or {\"a\": 2}", Some(json!({ "a": 2 }))),
            ("42 or \"text\"", None),
            ("```json\n```", None),
            ("", None),
        ] {
            assert_eq!(json(answer), wanted, "{answer:?}");
        }
    }

    #[test]
    fn an_answer_has_the_shape_or_not_or_no_json() {
        let schema = schema(&json!({
            "type": "object",
            "required": ["name", "age"],
            "properties": { "name": { "pattern": "^[A-Z]" }, "age": { "$ref": "#/$defs/age" } },
            "$defs": { "age": { "type": "integer", "minimum": 0 } },
        }));
        for (answer, wanted) in [
            (r#"{"name": "Ada", "age": 36}"#, Some(true)),
            (r#"Sure: {"name": "Ada", "age": 36}!"#, Some(true)),
            (r#"{"name": "ada", "age": 36}"#, Some(false)),
            (r#"{"name": "Ada", "age": -1}"#, Some(false)),
            (r#"{"name": "Ada"}"#, Some(false)),
            ("Ada is 36.", None),
        ] {
            assert_eq!(schema.holds(answer), wanted, "{answer:?}");
        }
    }

    #[test]
    fn a_wrong_schema_is_refused_with_its_place() {
        for (text, wanted) in [
            (json!(3), "the schema is not of types \"boolean\", \"object\""),
            (json!({ "required": "a" }), "its /required is not of type \"array\""),
            (
                json!({ "properties": { "a": { "type": "strnig" } } }),
                "its /properties/a/type has a value that JSON Schema does not know",
            ),
            (json!({ "pattern": "(a" }), "its /pattern is not RE2 syntax, or too large"),
            (json!({ "pattern": "(?=a)" }), "its /pattern is not RE2 syntax, or too large"),
            (
                json!({ "$schema": "https://example.com/a" }),
                "its $schema is https://example.com/a, which is no draft of JSON Schema",
            ),
            (
                json!({ "$ref": "#/$defs/a" }),
                "a reference in it leads nowhere: Pointer '/$defs/a' does not exist",
            ),
        ] {
            assert_eq!(Schema::new(&text).unwrap_err(), wanted, "{text}");
        }
    }

    #[test]
    fn nothing_is_fetched() {
        for uri in [
            "https://example.com/a.json",
            "http://127.0.0.1:1/a.json",
            "file:///etc/hostname",
            "a.json",
        ] {
            let error = Schema::new(&json!({ "$ref": uri })).unwrap_err();
            let wanted = format!("it refers to {uri}, which is not fetched; write that schema under $defs and refer to it there");
            assert_eq!(error, wanted);
            assert!(Schema::new(&json!({ "$schema": uri })).is_err());
        }
        assert!(Schema::new(&json!({ "$ref": "https://json-schema.org/draft/2020-12/schema" })).is_ok());
    }

    #[test]
    fn a_schema_that_refers_to_itself_comes_to_an_end() {
        let list = schema(&json!({ "type": ["object", "null"], "properties": { "next": { "$ref": "#" } } }));
        assert_eq!(list.holds(r#"{"next": {"next": null}}"#), Some(true));
        assert_eq!(list.holds(r#"{"next": {"next": 1}}"#), Some(false));
        for text in [json!({ "$ref": "#" }), json!({ "allOf": [{ "$ref": "#" }] })] {
            assert_eq!(schema(&text).holds("1"), Some(true));
        }
    }

    proptest! {
        #[test]
        fn an_object_is_found_in_prose(before in "[^\\[{`\"]{0,20}", key in "\\PC{0,5}", number in any::<i32>(), after in "\\PC{0,20}") {
            let wanted = json!({ key: [number] });
            prop_assert_eq!(json(&format!("{before} {wanted} {after}")), Some(wanted));
        }

        #[test]
        fn every_text_is_read_to_an_end(text in "(\\PC|[\\[\\]{}\":,`1é\\\\\n]|```){0,60}") {
            if let (Some(value), Err(_)) = (json(&text), serde_json::from_str::<Value>(&text)) {
                prop_assert!(value.is_object() || value.is_array() || text.contains("```"));
            }
        }
    }
}
