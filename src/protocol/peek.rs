//! What a gateway must know of a request, whatever it asks for, and how it is passed on: every byte but the model's name, and the option
//! that asks for a report of tokens, stays as it came.

use std::io::IoSlice;
use std::ops::Range;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::chat::Unreadable;
use super::fees::{Fees, may_be_billed};
use super::misread::misread_body;
use super::outline::{Field, Outline, place};
use super::usage::Terms;

/// What a gateway must know of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peek {
    /// The model the client asks for.
    pub model: String,
    /// Whether the answer is to come as it is made.
    pub stream: bool,
    /// Whether a stream is to end with a report of tokens (OpenAI's `stream_options.include_usage`).
    pub usage_asked: bool,
    /// The terms that it asks for (`service_tier`).
    pub terms: Terms,
    /// What it asks for that is billed beside the tokens (`web_search_options`, `tools`, and `prompt` where the provider keeps it, with tools that
    /// are not seen here).
    pub fees: Fees,
    /// Whether its answer is made after it was told that it will be (`background`).
    pub is_background: bool,
    /// Where the body has the model's name, quotes included.
    model_at: Range<usize>,
    /// What makes the other side report tokens: a place in the body, and the text to put there.
    asking: Edit,
    /// Where it has what it may be asked about.
    pub(super) outline: Outline,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Edit {
    at: Range<usize>,
    text: &'static str,
}

#[derive(Deserialize)]
struct StreamOptions<'a> {
    #[serde(borrow, default, deserialize_with = "given")]
    include_usage: Option<&'a RawValue>,
}

/// Also a null that is written has a place in the body.
fn given<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// Reads the top-level `model`, `stream`, `stream_options`, and what tells how it is billed, checks that the whole body is one JSON object, and
/// notes where it has what may be asked about later. Nothing else is interpreted.
///
/// # Errors
/// When the body is not such an object, names a field twice, has no model, or one of the fields has another type.
pub fn peek(body: &[u8]) -> Result<Peek, Unreadable> {
    if let Some(message) = no_text(body) {
        return Err(Unreadable::new(None, message));
    }
    let start = body.len() - body.trim_ascii_start().len();
    if body.get(start).is_some_and(|first| *first != b'{') {
        return Err(Unreadable::new(None, "the body is not a request: it must be one JSON object"));
    }
    // What is not read is not checked either, and would be passed on.
    let text = std::str::from_utf8(body).map_err(|e| {
        let message = format!("the body is not a request in JSON: it is not UTF-8 at byte {}", e.valid_up_to());
        Unreadable::new(None, message)
    })?;
    let outline = Outline::of(text).map_err(|error| misread_body(&error))?;
    // None of these is there twice.
    let place = |field| outline.place(field).ok().flatten();
    let given = |field| place(field).map(|at| &text[at]);
    let model_at = place(Field::Model).ok_or_else(|| Unreadable::new(Some("model"), "model is required: name the model to ask"))?;
    let model: String =
        serde_json::from_str(&text[model_at.clone()]).map_err(|_| Unreadable::new(Some("model"), "model must be a string"))?;
    let stream = match given(Field::Stream) {
        None | Some("false" | "null") => false,
        Some("true") => true,
        Some(_) => return Err(Unreadable::new(Some("stream"), "stream must be true or false")),
    };
    let (usage_asked, asking) = reporting(text, start + 1, place(Field::StreamOptions))?;
    Ok(Peek {
        model,
        stream,
        usage_asked,
        terms: [
            given(Field::ServiceTier).map(Terms::of_value),
            given(Field::Speed).map(Terms::of_value),
            given(Field::InferenceGeo).map(Terms::of_place),
        ]
        .into_iter()
        .flatten()
        .fold(Terms::Unsaid, Terms::and),
        fees: fees(given),
        is_background: given(Field::Background) == Some("true"),
        model_at,
        asking,
        outline,
    })
}

fn fees<'a>(given: impl Fn(Field) -> Option<&'a str>) -> Fees {
    let is_searching = given(Field::WebSearchOptions).is_some_and(|options| options != "null");
    // In Completions it is a text, or several.
    let is_kept_there = given(Field::Prompt).is_some_and(|prompt| prompt.starts_with('{'));
    match is_kept_there || given(Field::Tools).is_some_and(|tools| may_be_billed(tools.as_bytes())) {
        _ if is_searching => Fees::Unreported,
        true => Fees::Reported,
        false => Fees::None,
    }
}

/// What a body that is no text of JSON is, and what to send instead.
fn no_text(body: &[u8]) -> Option<&'static str> {
    match body {
        [] => Some("the body is empty: send a request in JSON"),
        [0x1f, 0x8b, ..] => Some("the body is compressed with gzip: send it uncompressed"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("the body is compressed with zstd: send it uncompressed"),
        [0xef, 0xbb, 0xbf, ..] => Some("the body begins with a byte order mark (EF BB BF), which JSON must not have: send it without"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("the body is in UTF-16: send it in UTF-8"),
        _ => None,
    }
}

/// Whether tokens are to be reported at the end of a stream, and how the body is made to say so.
fn reporting(body: &str, opened: usize, options_at: Option<Range<usize>>) -> Result<(bool, Edit), Unreadable> {
    let edit = |at, text| Edit { at, text };
    let Some(at) = options_at else {
        return Ok((false, edit(opened..opened, r#""stream_options":{"include_usage":true},"#)));
    };
    let options = &body[at.clone()];
    if options == "null" {
        return Ok((false, edit(at, r#"{"include_usage":true}"#)));
    }
    let wrong = |_| {
        Unreadable::new(
            Some("stream_options"),
            "stream_options must be an object, include_usage in it true or false",
        )
    };
    let read: StreamOptions<'_> = serde_json::from_str(options).map_err(wrong)?;
    let inside = at.start + 1;
    match read.include_usage.map(|given| (given.get(), place(body, given))) {
        Some(("true", at)) => Ok((true, edit(at, "true"))),
        Some(("false" | "null", at)) => Ok((false, edit(at, "true"))),
        Some(_) => Err(Unreadable::new(
            Some("stream_options.include_usage"),
            "stream_options.include_usage must be true or false",
        )),
        None if options[1..].trim_start().starts_with('}') => Ok((false, edit(inside..inside, r#""include_usage":true"#))),
        None => Ok((false, edit(inside..inside, r#""include_usage":true,"#))),
    }
}

impl Peek {
    /// The request `body`, which this was read from, with another model's name; and, if `reported`, made to ask for a report of tokens.
    /// Copies nothing of the body.
    #[must_use]
    pub fn put(&self, body: &Bytes, model: &str, reported: bool) -> Spliced {
        let name = Bytes::from(serde_json::to_vec(model).expect("a string is always JSON"));
        let mut edits = [(self.model_at.clone(), name), (body.len()..body.len(), Bytes::new())];
        if reported {
            edits[1] = (self.asking.at.clone(), Bytes::from_static(self.asking.text.as_bytes()));
            edits.sort_by_key(|(at, _)| at.start);
        }
        let [(first, one), (second, other)] = edits;
        Spliced::new([
            body.slice(..first.start),
            one,
            body.slice(first.end..second.start),
            other,
            body.slice(second.end..),
        ])
    }
}

/// A body in parts, of which most are parts of another.
#[derive(Clone, Debug, Default)]
pub struct Spliced {
    parts: [Bytes; 5],
    at: usize,
}

impl Spliced {
    fn new(parts: [Bytes; 5]) -> Self {
        let mut body = Self { parts, at: 0 };
        body.skip_empty();
        body
    }

    fn skip_empty(&mut self) {
        while self.parts.get(self.at).is_some_and(Bytes::is_empty) {
            self.at += 1;
        }
    }
}

impl From<Bytes> for Spliced {
    fn from(whole: Bytes) -> Self {
        Self::new([whole, Bytes::new(), Bytes::new(), Bytes::new(), Bytes::new()])
    }
}

impl Buf for Spliced {
    fn remaining(&self) -> usize {
        self.parts.iter().skip(self.at).map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.parts.get(self.at).map_or(&[], |part| part)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let parts = self.parts.iter().skip(self.at).filter(|part| !part.is_empty());
        let filled = slices.iter_mut().zip(parts).map(|(slice, part)| *slice = IoSlice::new(part));
        filled.count()
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(part) = self.parts.get_mut(self.at) {
            let here = count.min(part.len());
            part.advance(here);
            count -= here;
            if !part.is_empty() {
                break;
            }
            self.at += 1;
        }
        self.skip_empty();
        assert!(count == 0, "not advanced past the end");
    }

    /// What is in one part is shared, not copied.
    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        if let Some(part) = self.parts.get_mut(self.at)
            && part.len() >= count
        {
            let taken = part.split_to(count);
            self.skip_empty();
            return taken;
        }
        let mut taken = BytesMut::with_capacity(count);
        taken.put(self.take(count));
        taken.freeze()
    }
}

#[cfg(test)]
mod tests;
