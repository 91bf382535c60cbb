//! The texts of a request, whatever its protocol and wherever they are: every string of its JSON, the names of fields included, because tools
//! are given objects of any shape. What a field means does not matter, so that none is forgotten.

use std::borrow::Cow;
use std::ops::{ControlFlow, Range};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::scan::end_of_text;

/// From this length on letters and digits without a space are no text but a file in base64.
const ENCODED: usize = 64;

/// A string or a number of a request.
#[derive(Debug)]
pub struct Text<'a> {
    /// Where the body has it, quotes included.
    pub at: Range<usize>,
    /// What it says.
    pub said: Cow<'a, str>,
    /// Whether it is a number, which has no quotes.
    pub is_number: bool,
}

/// Calls `see` with each text of a body that was found to be JSON. Files in base64 are none.
pub fn each<'a, B>(body: &'a [u8], mut see: impl FnMut(Text<'a>) -> ControlFlow<B>) -> Option<B> {
    let mut at = 0;
    while let Some(byte) = body.get(at) {
        let (end, said) = match byte {
            b'"' => {
                let end = end_of_text(body, at + 1).unwrap_or(body.len());
                let raw = body.get(at + 1..end - 1).unwrap_or_default();
                (end, (!is_encoded(raw)).then(|| said(raw)))
            }
            b'0'..=b'9' => {
                let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
                let length = body[at..].iter().position(|byte| !is_part(byte)).unwrap_or(body.len() - at);
                (at + length, Some(String::from_utf8_lossy(&body[at..at + length])))
            }
            _ => {
                at += 1;
                continue;
            }
        };
        if let Some(said) = said {
            let text = Text {
                at: at..end,
                said,
                is_number: *byte != b'"',
            };
            if let ControlFlow::Break(broken) = see(text) {
                return Some(broken);
            }
        }
        at = end;
    }
    None
}

/// Whether what is to be completed or embedded is given as numbers of tokens, which nobody here can read.
#[must_use]
pub fn has_tokens(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        input: Option<&'a RawValue>,
        #[serde(borrow)]
        prompt: Option<&'a RawValue>,
    }
    let is_number = |raw: &&RawValue| {
        let number = each(raw.get().as_bytes(), |text| match text.is_number {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        raw.get().starts_with('[') && number.is_some()
    };
    match serde_json::from_slice::<Fields<'_>>(body) {
        Ok(fields) => fields.input.iter().chain(&fields.prompt).any(is_number),
        // It cannot be told.
        Err(_) => true,
    }
}

/// Whether a string holds a file: in base64, with or without what a URL has before it.
fn is_encoded(raw: &[u8]) -> bool {
    let start = raw[..raw.len().min(128)].windows(8).position(|eight| eight == b";base64,");
    let data = match start.filter(|_| raw.starts_with(b"data:")) {
        Some(start) => &raw[start + 8..],
        None => raw,
    };
    let has = |kind: fn(&u8) -> bool| data[..data.len().min(4 * ENCODED)].iter().any(kind);
    data.len() >= ENCODED
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase)
        && data
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
}

/// What a string says, without its escapes. One that holds JSON itself, as the arguments of tools do, is also read without those of its
/// strings that need none: it means the same.
fn said(raw: &[u8]) -> Cow<'_, str> {
    if !raw.contains(&b'\\') {
        return String::from_utf8_lossy(raw);
    }
    let said = unescaped(raw);
    let is_nested = said.trim_start().starts_with(['{', '[']) && said.contains("\\u") && serde_json::from_str::<IgnoredAny>(&said).is_ok();
    Cow::Owned(if is_nested { without_needless_escapes(&said) } else { said })
}

/// Half a pair of surrogates says nothing.
fn unescaped(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let mut said = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some((plain, escaped)) = rest.split_once('\\') {
        said.push_str(plain);
        let mut chars = escaped.chars();
        match chars.next() {
            Some('u') => {
                let (c, length) = unit(escaped);
                said.push(c);
                rest = &escaped[length..];
                continue;
            }
            Some('n') => said.push('\n'),
            Some('t') => said.push('\t'),
            Some('r') => said.push('\r'),
            Some('b') => said.push('\u{8}'),
            Some('f') => said.push('\u{c}'),
            Some(other) => said.push(other),
            None => {}
        }
        rest = chars.as_str();
    }
    said.push_str(rest);
    said
}

/// The character that `uXXXX` or a pair of them stands for, and how long that is.
fn unit(escaped: &str) -> (char, usize) {
    let of = |from: usize| u32::from_str_radix(escaped.get(from..from + 4)?, 16).ok();
    let Some(first) = of(1) else {
        return (char::REPLACEMENT_CHARACTER, 1);
    };
    if let (0xd800..0xdc00, Some("\\u"), Some(second @ 0xdc00..0xe000)) = (first, escaped.get(5..7), of(7)) {
        let c = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER), 11);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 5)
}

fn without_needless_escapes(json: &str) -> String {
    let mut written = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        written.push_str(plain);
        let (c, length) = match escaped.starts_with('u') {
            true => unit(escaped),
            false => ('\\', escaped.chars().next().map_or(0, char::len_utf8)),
        };
        if matches!(c, '"' | '\\' | char::REPLACEMENT_CHARACTER) || c.is_control() {
            written.push('\\');
            written.push_str(&escaped[..length]);
        } else {
            written.push(c);
        }
        rest = &escaped[length..];
    }
    written.push_str(rest);
    written
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(body: &str) -> Vec<String> {
        let mut all = Vec::new();
        each::<()>(body.as_bytes(), |text| {
            all.push(text.said.into_owned());
            ControlFlow::Continue(())
        });
        all
    }

    #[test]
    fn every_string_and_number_is_a_text_and_names_of_fields_are() {
        let body = r#"{"a":["b",{"c\n":-12.5e3,"d":"\u00e9\ud83d\ude00\ud83d."}],"e":true}"#;
        assert_eq!(texts(body), ["a", "b", "c\n", "12.5e3", "d", "é😀\u{fffd}.", "e"]);
    }

    #[test]
    fn escapes_within_arguments_hide_nothing_and_those_that_mean_something_stay() {
        let arguments = r#"{"to":"a\u0040b.org\u0022\n\\u0040"}"#;
        let body = serde_json::json!({ "arguments": arguments }).to_string();
        assert_eq!(texts(&body)[1], r#"{"to":"a@b.org\u0022\n\\u0040"}"#);
        // What only looks so is left alone.
        let text = r"{not json: \u0040}";
        assert_eq!(texts(&serde_json::json!([text]).to_string())[0], text);
    }

    #[test]
    fn files_are_no_text_and_long_words_are() {
        let file = "iVBORw0KGgo".repeat(10);
        for (text, is_text) in [
            (file.clone(), false),
            (format!("data:image/png;base64,{file}"), false),
            (format!("data:image/png;base64,{file} a@b.org"), true),
            (format!("data:;base64, {file}"), true),
            ("+4930901820/".repeat(10), true),
            ("iVBORw0KGgo".to_owned(), true),
        ] {
            assert_eq!(texts(&format!("[{text:?}]")).len(), usize::from(is_text), "{text}");
        }
    }

    #[test]
    fn tokens_are_told_from_texts() {
        for (body, expected) in [
            (r#"{"input":[1,2,3]}"#, true),
            (r#"{"input":[[1],[2]]}"#, true),
            (r#"{"input":["a",[2]]}"#, true),
            (r#"{"prompt":[5]}"#, true),
            (r#"{"input":["a","1"],"max_tokens":3}"#, false),
            (r#"{"prompt":"1"}"#, false),
            (r#"{"input":"a","input":[1]}"#, true),
        ] {
            assert_eq!(has_tokens(body.as_bytes()), expected, "{body}");
        }
    }

    proptest! {
        #[test]
        fn what_a_string_says_is_what_json_means_by_it(text in any::<String>()) {
            let body = serde_json::to_string(&[&text]).unwrap();
            prop_assert_eq!(texts(&body), [text]);
        }

        #[test]
        fn no_body_makes_it_panic(body in "[\\[\\]{}\"\\\\u0-9a-f:, é-]{0,60}") {
            texts(&body);
            let _ = has_tokens(body.as_bytes());
        }

        #[test]
        fn arguments_mean_the_same_without_needless_escapes(text in "[a@\\\\\"\né😀]{0,20}") {
            let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            let json = format!("[\"{escaped}\"]");
            let shorter = without_needless_escapes(&json);
            prop_assert_eq!(serde_json::from_str::<Vec<String>>(&shorter).unwrap(), [text]);
        }
    }
}
