//! Looking on while an answer of OpenAI's passes unchanged. An event's type is read from where OpenAI puts it, at the start; of the others
//! only additions and the last one are read any further.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::protocol::fees::is_billed;
use crate::protocol::sse::EVENT_LIMIT;
use crate::protocol::usage::{Terms, Tokens};
use crate::protocol::watch::{self, Piece};

/// Looks at the events of one stream.
#[derive(Debug, Default)]
pub struct Watch {
    tokens: Option<Tokens>,
    has_billed_tools: bool,
    text_bytes: u64,
}

impl watch::Watch for Watch {
    fn look(&mut self, data: &[u8]) -> Piece {
        match kind(data) {
            Some(kind) => self.piece(kind, data),
            None => self.any(data),
        }
    }

    fn report(&mut self, kept: &[u8]) {
        self.tokens = tokens(kept).or(self.tokens);
    }

    fn tokens(&self) -> Option<Tokens> {
        self.tokens.map(|tokens| Tokens {
            terms: tokens.terms.special_if(self.has_billed_tools),
            ..tokens
        })
    }

    fn text_bytes(&self) -> u64 {
        self.text_bytes
    }
}

/// The type of an event that begins with it.
fn kind(data: &[u8]) -> Option<&[u8]> {
    let rest = data.strip_prefix(b"{\"type\":\"")?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    Some(&rest[..end])
}

/// The length of the text that an event adds, as it is written there. A quote inside a text has a backslash before it, so that what is
/// looked for is a field and nothing else.
fn text_length(data: &[u8]) -> Option<usize> {
    const FIELD: &[u8] = b"\"delta\":\"";
    let at = data.windows(FIELD.len()).position(|window| window == FIELD)?;
    let text = &data[at + FIELD.len()..];
    let mut is_escaped = false;
    text.iter().position(|byte| {
        let ends = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    })
}

/// The same where an event is written in another way.
fn value_length(data: &[u8]) -> Option<usize> {
    #[derive(Deserialize)]
    struct Addition<'a> {
        #[serde(borrow)]
        delta: &'a RawValue,
    }
    let Addition { delta } = serde_json::from_slice(data).ok()?;
    let delta = delta.get();
    Some(if delta.starts_with('"') { delta.len() - 2 } else { delta.len() })
}

impl Watch {
    fn piece(&mut self, kind: &[u8], data: &[u8]) -> Piece {
        if kind.ends_with(b".delta") {
            return self.addition(data);
        }
        match kind {
            b"response.created"
            | b"response.queued"
            | b"response.in_progress"
            | b"response.output_item.added"
            | b"response.content_part.added"
            | b"response.reasoning_summary_part.added"
            | b"keepalive" => Piece::Opening,
            b"response.completed" | b"response.incomplete" => match self.last(data) {
                true => Piece::Done,
                false => Piece::Garbled,
            },
            b"response.failed" => {
                self.last(data);
                Piece::Failed
            }
            b"error" => Piece::Failed,
            _ => {
                self.has_billed_tools |= kind.strip_prefix(b"response.").is_some_and(is_billed);
                Piece::Content
            }
        }
    }

    /// More of a text, or of what is not text: then its size counts as written.
    fn addition(&mut self, data: &[u8]) -> Piece {
        let Some(bytes) = text_length(data).or_else(|| value_length(data)) else {
            return Piece::Content;
        };
        self.text_bytes = self.text_bytes.saturating_add(bytes as u64);
        if bytes == 0 { Piece::Opening } else { Piece::Content }
    }

    /// Reads the event with the whole answer; whether that is in it. Of a monstrous one too little is here to say that it is not.
    fn last(&mut self, data: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Last<'a> {
            #[serde(borrow)]
            response: &'a RawValue,
        }
        let Ok(Last { response }) = serde_json::from_slice(data) else {
            return data.len() >= EVENT_LIMIT;
        };
        self.tokens = tokens(response.get().as_bytes()).or(self.tokens);
        response.get().starts_with('{')
    }

    /// An event that does not begin with its type.
    fn any(&mut self, data: &[u8]) -> Piece {
        #[derive(Deserialize)]
        struct Event<'a> {
            #[serde(rename = "type", borrow)]
            kind: Option<Kind<'a>>,
            #[serde(borrow)]
            error: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Kind<'a>(#[serde(borrow)] Cow<'a, str>);
        match serde_json::from_slice(data) {
            Ok(Event {
                kind: Some(Kind(kind)), ..
            }) => self.piece(kind.as_bytes(), data),
            Ok(Event { error: Some(_), .. }) => Piece::Failed,
            Ok(_) | Err(_) => watch::unread(data),
        }
    }
}

/// What a whole answer took, if it says so.
#[must_use]
pub fn tokens(answer: &[u8]) -> Option<Tokens> {
    serde_json::from_slice::<Reporting<'_>>(answer).ok()?.tokens()
}

#[derive(Deserialize)]
struct Reporting<'a> {
    usage: Option<Usage>,
    #[serde(default, rename = "service_tier", deserialize_with = "Terms::read_tier")]
    terms: Terms,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
}

/// An item of an answer, or a tool.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<&'a RawValue>,
}

impl Reporting<'_> {
    fn tokens(self) -> Option<Tokens> {
        // Of what is too large to be held there is only the list of the tools that might be used.
        let items = self.output.or(self.tools).map_or("[]", RawValue::get);
        let items: Vec<Item<'_>> = serde_json::from_str(items).unwrap_or_default();
        let is_billed = |item: &Item<'_>| item.kind.is_some_and(|kind| is_billed(kind.get().trim_matches('"').as_bytes()));
        let terms = self.terms.special_if(items.iter().any(is_billed));
        let tokens = Tokens::from(self.usage?);
        Some(Tokens { terms, ..tokens })
    }
}

/// OpenAI's report: the details are parts of the totals.
#[derive(Deserialize)]
struct Usage {
    input_tokens: Option<u64>,
    input_tokens_details: Option<InputDetails>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Default, Deserialize)]
struct InputDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
    cache_write_tokens_details: Option<WriteDetails>,
}

#[derive(Default, Deserialize)]
struct WriteDetails {
    ttl_12h_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        let input = usage.input_tokens.unwrap_or_default();
        let output = usage.output_tokens.unwrap_or_default();
        let of_input = usage.input_tokens_details.unwrap_or_default();
        let cache_read = of_input.cached_tokens.unwrap_or_default().min(input);
        let written = of_input.cache_write_tokens.unwrap_or_default().min(input - cache_read);
        // OpenAI keeps for 30 minutes or for 12 hours: the longer has the place of the longer.
        let long = of_input.cache_write_tokens_details.unwrap_or_default().ttl_12h_tokens;
        let cache_write_1h = long.unwrap_or_default().min(written);
        let reasoning = usage.output_tokens_details.unwrap_or_default().reasoning_tokens;
        let reasoning = reasoning.unwrap_or_default().min(output);
        Self {
            input: input - cache_read - written,
            cache_read,
            cache_write: written - cache_write_1h,
            cache_write_1h,
            output: output - reasoning,
            reasoning,
            ..Self::default()
        }
    }
}
