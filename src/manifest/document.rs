//! One YAML document as JSON, with the line of every field, so that a finding can point at what to change. A file is split at its `---`
//! lines first: a broken document does not hide the findings in the others.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

/// A value and where its fields are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Document {
    pub(super) value: Value,
    /// The line of each field, by its path; the whole document is the empty path.
    pub(super) lines: BTreeMap<String, u64>,
}

impl Document {
    /// The line of a field, or of the nearest thing around it when the field is absent.
    pub(super) fn line(&self, field: &str) -> u64 {
        let mut path = field;
        loop {
            if let Some(line) = self.lines.get(path) {
                return *line;
            }
            path = &path[..path.rfind(['.', '[']).unwrap_or(0)];
        }
    }
}

/// What keeps a document from being read, and where.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unreadable {
    pub(super) line: u64,
    pub(super) problem: String,
}

/// The documents of a file, in order; empty ones are left out.
pub(super) fn parse(text: &str) -> Vec<Result<Document, Unreadable>> {
    // Some editors begin a file with a byte order mark.
    split(text.trim_start_matches('\u{feff}'))
        .into_iter()
        .filter_map(|(first_line, part)| one(&part, first_line).transpose())
        .collect()
}

/// The path of a member: `spec.model`, or `metadata.labels[example.com/team]` when the key would be misread after a dot.
pub(super) fn member(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    match (path.is_empty(), plain) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{key}]"),
    }
}

/// The path of a list's item: `spec.rules[0]`.
pub(super) fn item(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// What the reader says, in one line and without the place that is told separately.
pub(super) fn without_place(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    // What it counts is the reader's own business.
    if ["too large or too complex", "alias replay", "alias expansion", "budget breached"]
        .iter()
        .any(|words| line.contains(words))
    {
        return "stands for more values than are read, as by aliases (*name) of aliases: write them out, or split it".to_owned();
    }
    let line = line.rfind(" at line ").map_or(line, |end| &line[..end]);
    // What follows is for programmers who use the reader.
    line.split(", set DuplicateKeyPolicy").next().unwrap_or(line).to_owned()
}

fn split(text: &str) -> Vec<(u64, String)> {
    let mut parts = vec![(1, String::new())];
    for (line, number) in text.lines().zip(1u64..) {
        let is_marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        if is_marker {
            parts.push((number, String::new()));
        }
        let (_, part) = parts.last_mut().expect("it begins with one part and never shrinks");
        part.push_str(if is_marker { line[3..].trim_start() } else { line });
        part.push('\n');
    }
    parts
}

fn one(text: &str, first_line: u64) -> Result<Option<Document>, Unreadable> {
    // Snippets of the source would repeat secrets in logs of CI jobs.
    let options = serde_saphyr::options! { with_snippet: false };
    let root: Spanned<Node> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(0, |at| at.line().saturating_sub(1));
        Unreadable {
            line: first_line + line,
            problem: without_place(&error),
        }
    })?;
    if root.value == Node::Null {
        return Ok(None);
    }
    let mut lines = BTreeMap::from([(String::new(), first_line)]);
    let value = root.value.into_json("", first_line - 1, &mut lines);
    lines.insert(String::new(), first_line + root.referenced.line().saturating_sub(1));
    Ok(Some(Document { value, lines }))
}

/// Any YAML value, each with its place.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Null,
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Node)>),
}

impl Node {
    /// The same as JSON; notes the line of each field on the way.
    fn into_json(self, path: &str, offset: u64, lines: &mut BTreeMap<String, u64>) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Scalar(value) => value,
            Self::List(items) => {
                let of_item = |(index, node): (usize, Spanned<Self>)| {
                    let path = item(path, index);
                    lines.insert(path.clone(), offset + node.referenced.line());
                    node.value.into_json(&path, offset, lines)
                };
                Value::Array(items.into_iter().enumerate().map(of_item).collect())
            }
            Self::Map(members) => {
                let mut map = Map::new();
                for (key, node) in members {
                    let path = member(path, &key.value);
                    lines.insert(path.clone(), offset + key.referenced.line());
                    map.insert(key.value, node.into_json(&path, offset, lines));
                }
                Value::Object(map)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNode)
    }
}

struct AnyNode;

/// Up to here every whole number is a float of its own.
const WHOLE_LIMIT: f64 = 9_007_199_254_740_992.0;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }
    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }
    /// As kubectl sends it: without a fraction it is a whole number.
    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        let whole = format!("{value:.0}")
            .parse::<i64>()
            .ok()
            .filter(|_| value.fract() == 0.0 && value.abs() < WHOLE_LIMIT);
        Ok(Node::Scalar(whole.map_or_else(|| value.into(), Value::from)))
    }
    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }
    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(node) = seq.next_element()? {
            items.push(node);
        }
        Ok(Node::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Node::Map(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const TWO: &str = "# a comment\n---\nkind: A\nspec:\n  rules:\n  - targets:\n    - {model: x,\n       weight: 2}\n---\n\n--- \nkind: B\nnote: |\n  --- no marker\n  text\n";

    #[test]
    fn every_field_has_its_line_and_its_path() {
        let documents = parse(TWO);
        assert_eq!(documents.len(), 2);
        let first = documents[0].as_ref().unwrap();
        assert_eq!(
            first.value,
            json!({"kind": "A", "spec": {"rules": [{"targets": [{"model": "x", "weight": 2}]}]}})
        );
        for (field, line) in [
            ("", 3),
            ("kind", 3),
            ("spec.rules", 5),
            ("spec.rules[0].targets[0].model", 7),
            ("spec.rules[0].targets[0].weight", 8),
            ("spec.rules[0].targets[0].absent", 7),
            ("spec.absent.deeper", 4),
            ("status", 3),
        ] {
            assert_eq!(first.line(field), line, "{field}");
        }
        let second = documents[1].as_ref().unwrap();
        assert_eq!(second.value, json!({"kind": "B", "note": "--- no marker\ntext\n"}));
        assert_eq!(second.line("note"), 13);
    }

    #[test]
    fn a_broken_document_does_not_hide_the_others() {
        let documents = parse("kind: [\n---\nkind: B\n---\na: 1\na: 2\n");
        assert_eq!(documents.len(), 3);
        assert!(documents[0].is_err());
        assert_eq!(documents[1].as_ref().unwrap().value, json!({"kind": "B"}));
        let twice = documents[2].as_ref().unwrap_err();
        assert_eq!(twice.line, 6, "{twice:?}");
        assert!(twice.problem.contains("duplicate"), "{twice:?}");
    }

    #[test]
    fn keys_that_a_dot_would_hide_are_bracketed() {
        assert_eq!(member("metadata.labels", "example.com/team"), "metadata.labels[example.com/team]");
        assert_eq!(member("", "spec"), "spec");
    }

    proptest! {
        #[test]
        fn whatever_is_written_as_yaml_is_read_back(text in "\\PC{0,40}", number in any::<i64>(), flag in any::<bool>()) {
            let value = json!({"text": text, "list": [number, flag, null, {"inner": text}]});
            let yaml = serde_saphyr::to_string(&value).unwrap();
            let documents = parse(&yaml);
            prop_assert_eq!(&documents[0].as_ref().unwrap().value, &value, "{}", yaml);
        }
    }
}
