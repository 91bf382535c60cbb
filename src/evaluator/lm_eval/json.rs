//! JSON as Python's `json.dumps(…, ensure_ascii=False)` writes it, to the byte, because hashes are taken of it: members keep their order, and numbers
//! are written as Python does.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// How deep values may be nested.
const DEEPEST: usize = 100;

/// A JSON value whose members have an order.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object: no member's name comes twice.
    Object(Vec<(String, Json)>),
}

/// A number as Python writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number(String);

impl Json {
    /// A float, which has a point or an exponent even if it is whole; null if it is infinite or none, which JSON cannot say.
    #[must_use]
    pub fn float(value: f64) -> Self {
        if value.is_finite() {
            Self::Number(Number(python_float(value)))
        } else {
            Self::Null
        }
    }

    /// An object of members in this order.
    #[must_use]
    pub fn object<const N: usize>(members: [(&str, Self); N]) -> Self {
        Self::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// What Python reads from a text: with the order of members, and numbers of any length. A member that comes twice has its last value, at its
    /// first place.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| error.to_string())?;
        parse(raw.get(), DEEPEST)
    }

    /// In one line, with a blank after each comma and colon.
    #[must_use]
    pub fn compact(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, None);
        out
    }

    /// A line for each element and member, indented by two blanks a level.
    #[must_use]
    pub fn indented(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, Some(0));
        out
    }

    fn write(&self, out: &mut String, level: Option<usize>) {
        let inner = level.map(|level| level + 1);
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(Number(number)) => out.push_str(number),
            Self::Text(text) => write_text(text, out),
            Self::List(list) if list.is_empty() => out.push_str("[]"),
            Self::List(list) => {
                out.push('[');
                for (place, element) in list.iter().enumerate() {
                    separate(out, inner, place == 0);
                    element.write(out, inner);
                }
                end_line(out, level);
                out.push(']');
            }
            Self::Object(members) if members.is_empty() => out.push_str("{}"),
            Self::Object(members) => {
                out.push('{');
                for (place, (name, value)) in members.iter().enumerate() {
                    separate(out, inner, place == 0);
                    write_text(name, out);
                    out.push_str(": ");
                    value.write(out, inner);
                }
                end_line(out, level);
                out.push('}');
            }
        }
    }
}

fn separate(out: &mut String, level: Option<usize>, is_first: bool) {
    if !is_first {
        out.push_str(if level.is_some() { "," } else { ", " });
    }
    end_line(out, level);
}

fn end_line(out: &mut String, level: Option<usize>) {
    if let Some(level) = level {
        out.push('\n');
        out.push_str(&"  ".repeat(level));
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out.push('"');
}

/// The shortest digits that name the float, with an exponent below 10⁻⁴ and from 10¹⁶ on.
fn python_float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = value.to_string();
    if plain.contains('.') { plain } else { format!("{plain}.0") }
}

/// Through raw pieces: floats are then read to the last digit, and whole numbers stay whole.
fn parse(text: &str, depth: usize) -> Result<Json, String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(format!("it is nested deeper than {DEEPEST} levels"));
    };
    let wrong = |error: serde_json::Error| error.to_string();
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let members = serde_json::Deserializer::from_str(text).deserialize_map(Members).map_err(wrong)?;
            let mut object: Vec<(String, Json)> = Vec::with_capacity(members.len());
            for (name, raw) in members {
                let value = parse(raw.get(), depth)?;
                match object.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, first)) => *first = value,
                    None => object.push((name, value)),
                }
            }
            Json::Object(object)
        }
        Some(b'[') => {
            let list: Vec<&RawValue> = serde_json::from_str(text).map_err(wrong)?;
            Json::List(list.into_iter().map(|raw| parse(raw.get(), depth)).collect::<Result<_, _>>()?)
        }
        Some(b'-' | b'0'..=b'9') => match text {
            "-0" => Json::from(0_u64),
            _ if text.contains(['.', 'e', 'E']) => Json::float(text.parse().map_err(|_| format!("{text} is no number"))?),
            _ => Json::Number(Number(text.to_owned())),
        },
        _ => Json::from(serde_json::from_str::<Value>(text).map_err(wrong)?),
    })
}

/// Members in the order of the text.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

/// Members are then in the order that `serde_json` keeps, which may be that of the alphabet.
impl From<Value> for Json {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => match number.as_f64() {
                Some(value) if number.is_f64() => Self::float(value),
                _ => Self::Number(Number(number.to_string())),
            },
            Value::String(text) => Self::Text(text),
            Value::Array(list) => Self::List(list.into_iter().map(Self::from).collect()),
            Value::Object(members) => Self::Object(members.into_iter().map(|(name, value)| (name, Self::from(value))).collect()),
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for Json {
    fn from(value: u64) -> Self {
        Self::Number(Number(value.to_string()))
    }
}

impl From<u32> for Json {
    fn from(value: u32) -> Self {
        Self::from(u64::from(value))
    }
}

impl<T: Into<Self>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By `repr` of CPython 3.11.
    #[test]
    fn floats_are_written_as_python_does() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1.0 / 3.0, "0.3333333333333333"),
            (123.456, "123.456"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (-1.5e-7, "-1.5e-07"),
            (1e15, "1000000000000000.0"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (1e22, "1e+22"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
        ] {
            assert_eq!(Json::float(value).compact(), text);
        }
        assert_eq!(Json::float(f64::NAN), Json::Null);
    }

    #[test]
    fn order_and_digits_are_kept() {
        let text = r#"{"z":[],"a":{},"n":[1.0,10e-1,-0,12345678901234567890123,1E2],"z":"é\u0041\n\u0001\u007f\/","b":[true,null,{"y":-1,"x":0.1}]}"#;
        let json = Json::parse(text).unwrap();
        assert_eq!(
            json.compact(),
            "{\"z\": \"éA\\n\\u0001\u{7f}/\", \"a\": {}, \"n\": [1.0, 1.0, 0, 12345678901234567890123, 100.0], \"b\": [true, null, {\"y\": -1, \"x\": 0.1}]}"
        );
        assert_eq!(
            Json::parse(r#"{"b":[1,[]],"a":{"c":{}}}"#).unwrap().indented(),
            "{\n  \"b\": [\n    1,\n    []\n  ],\n  \"a\": {\n    \"c\": {}\n  }\n}"
        );
    }

    #[test]
    fn what_is_nested_too_deep_is_refused() {
        assert!(Json::parse(&format!("{}{}", "[".repeat(99), "]".repeat(99))).is_ok());
        let refused = Json::parse(&format!("{}{}", "[".repeat(5000), "]".repeat(5000))).unwrap_err();
        assert_eq!(refused, "it is nested deeper than 100 levels");
        assert!(Json::parse("[1,").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_was(text: String, number: f64, whole: i64) {
            prop_assume!(number.is_finite());
            let value = serde_json::json!({"text": text, "list": [whole, {}, [], {"b": null, "a": [false]}]});
            for written in [Json::from(value.clone()).compact(), Json::from(value.clone()).indented()] {
                prop_assert_eq!(&serde_json::from_str::<Value>(&written).unwrap(), &value);
                prop_assert_eq!(Json::parse(&written).unwrap(), Json::from(value.clone()));
            }
            let float = Json::float(number);
            prop_assert_eq!(float.compact().parse::<f64>().unwrap().to_bits(), number.to_bits());
            prop_assert_eq!(Json::parse(&float.compact()).unwrap(), float);
        }
    }
}
