//! Why a part of a request cannot be read, in the words of JSON and of its protocol instead of those of the library that read it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::chat::Unreadable;

/// How deep a place is looked for; below it the object around it is named.
const DEEPEST: usize = 16;
/// Of the name of a field that the client made up, so many bytes are told.
const NAME_LIMIT: usize = 64;
/// The longest number that is repeated.
const DIGITS: usize = 24;

/// What a value is, for the end of a sentence such as `messages must be a list, is a string`. Words of the client are not repeated.
pub(super) fn shown(raw: &RawValue) -> &str {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'[') => "a list",
        Some(b'{') => "an object",
        _ if text.len() > DIGITS => "a number",
        _ => text,
    }
}

/// Says why `raw`, which is at `at` in the request, could not be read: at which field of it, what is there and what should be.
pub(super) fn misread(raw: &RawValue, at: &str, error: &serde_json::Error) -> Unreadable {
    let (place, found, is_list) = located(raw, error);
    let at = format!("{at}{place}");
    let said = error.to_string();
    if is_list || (said.starts_with("invalid length") && found.get().starts_with('[')) {
        return Unreadable::new(Some(&at), format!("{at} must be an object, is a list"));
    }
    let said = said.split(" at line ").next().unwrap_or_default();
    let named = |start: &str| said.strip_prefix(start).and_then(|rest| rest.split('`').next());
    if let Some(name) = named("missing field `") {
        let at = format!("{at}.{name}");
        return Unreadable::new(Some(&at), format!("{at} is required"));
    }
    if let Some(name) = named("duplicate field `") {
        let at = format!("{at}.{name}");
        return Unreadable::new(Some(&at), format!("{at} is given twice"));
    }
    let wanted = said.rsplit_once("expected ").map(|(_, wanted)| wanted).and_then(wanted);
    let message = match wanted {
        Some(wanted) => format!("{at} must be {wanted}, is {}", shown(found)),
        None if said.starts_with("invalid") => format!("{at} is {}, which has no place there", shown(found)),
        None => format!("{at} cannot be read: {said}"),
    };
    Unreadable::new(Some(&at), message)
}

/// Says why a whole body, which is JSON, is no request.
pub(super) fn misread_body(error: &serde_json::Error) -> Unreadable {
    let said = error.to_string();
    match said.strip_prefix("duplicate field `").and_then(|rest| rest.split('`').next()) {
        Some(name) => Unreadable::new(Some(name), format!("{name} is given twice")),
        None if said.starts_with("invalid type") => Unreadable::new(None, "the body is not a request: it must be one JSON object"),
        None => Unreadable::new(None, format!("the body is not a request in JSON: {said}")),
    }
}

/// What the library expects, as JSON calls it.
fn wanted(by: &str) -> Option<&'static str> {
    Some(match by {
        "a sequence" => "a list",
        "a string" | "a borrowed string" | "string" | "str" => "a string",
        "a boolean" | "bool" => "true or false",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i32" | "i64" => "a whole number",
        "f32" | "f64" | "a number" | "a JSON number" => "a number",
        "a map" => "an object",
        _ if by.starts_with("struct ") => "an object",
        _ => return None,
    })
}

/// The value within `raw` that an error is about, its place there, such as `[0].role`, and whether it is a list right within a list: no request
/// has one, and the library takes its items for the fields of an object.
fn located<'a>(raw: &'a RawValue, error: &serde_json::Error) -> (String, &'a RawValue, bool) {
    let text = raw.get();
    let before = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum::<usize>();
    let target = text.as_ptr().addr() + before + error.column();
    let (mut place, mut found) = (String::new(), raw);
    // The reader stands before a list or object that it does not want, and behind everything else.
    for _ in 0..DEEPEST {
        let Some((name, member)) = member(found, target) else { break };
        if place.ends_with(']') && name.starts_with('[') {
            return (place, found, true);
        }
        place.push_str(&name);
        found = member;
    }
    (place, found, false)
}

fn has(raw: &RawValue, target: usize) -> bool {
    let start = raw.get().as_ptr().addr();
    (start..=start + raw.get().len()).contains(&target)
}

/// The value right within `raw` that has the place in memory, and its own place in `raw`.
fn member(raw: &RawValue, target: usize) -> Option<(String, &RawValue)> {
    serde_json::Deserializer::from_str(raw.get())
        .deserialize_any(Member { target })
        .ok()?
}

/// Looks for one of many values, and keeps no other.
struct Member {
    target: usize,
}

impl<'de> Visitor<'de> for Member {
    type Value = Option<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or an object")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Self::Value, S::Error> {
        let (mut found, mut index) = (None, 0_usize);
        while let Some(item) = list.next_element::<&'de RawValue>()? {
            if has(item, self.target) {
                found = Some((format!("[{index}]"), item));
            }
            index += 1;
        }
        Ok(found)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut found = None;
        while let Some((name, value)) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
            if has(value, self.target) {
                let printable: String = name.escape_default().take(NAME_LIMIT).collect();
                found = Some((format!(".{printable}"), value));
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only whether it can be read is of interest")]
    struct Message<'a> {
        #[serde(borrow)]
        role: Cow<'a, str>,
        #[serde(borrow)]
        content: Option<&'a RawValue>,
        count: Option<u64>,
        tags: Option<Vec<String>>,
        is: Option<bool>,
        part: Option<Box<Message<'a>>>,
    }

    fn said(text: &str) -> String {
        let raw: &RawValue = serde_json::from_str(text).unwrap();
        match serde_json::from_str::<Vec<Message<'_>>>(raw.get()) {
            Ok(_) => panic!("{text} can be read"),
            Err(error) => misread(raw, "messages", &error).message,
        }
    }

    #[test]
    fn a_value_of_a_wrong_type_is_told_by_its_place_without_words_of_the_library() {
        for (text, expected) in [
            (r#""x""#, "messages must be a list, is a string"),
            ("{}", "messages must be a list, is an object"),
            ("[7]", "messages[0] must be an object, is 7"),
            (
                r#"[{"role":"a"},{"role":{"x":[1]}}]"#,
                "messages[1].role must be a string, is an object",
            ),
            (
                "[{\"content\":[\n{\"role\":1}],\n \"role\" : null}]",
                "messages[0].role must be a string, is null",
            ),
            (
                r#"[{"role":"a","count":-1}]"#,
                "messages[0].count must be a whole number, 0 or more, is -1",
            ),
            (
                r#"[{"role":"a","count":1.5}]"#,
                "messages[0].count must be a whole number, 0 or more, is 1.5",
            ),
            (
                r#"[{"role":"a","tags":["é",{}]}]"#,
                "messages[0].tags[1] must be a string, is an object",
            ),
            (r#"[{"role":"a","is":"yes"}]"#, "messages[0].is must be true or false, is a string"),
            (
                r#"[{"role":"a","part":{"role":[]}}]"#,
                "messages[0].part.role must be a string, is a list",
            ),
            (r#"[{"role":"a","part":{}}]"#, "messages[0].part.role is required"),
            (r#"[{"content":1}]"#, "messages[0].role is required"),
            (r#"[[[["x"]]]]"#, "messages[0] must be an object, is a list"),
            (r#"[[{"role":"a"}]]"#, "messages[0] must be an object, is a list"),
            ("[[]]", "messages[0] must be an object, is a list"),
            (r#"[{"role":"a","role":"b"}]"#, "messages[0].role is given twice"),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
    }
}
