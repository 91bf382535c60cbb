//! Errors: as Anthropic and the engines that speak its protocol word them, and as its SDKs read them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::protocol::error::{Error, Kind};

/// The most of a provider's words that is kept, in bytes.
const WORDS: usize = 1024;

/// What Claude Code looks for before it shortens a conversation on its own.
const TOO_LONG: &str = "prompt is too long";

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    error: Detail<'a>,
}

/// What an error is, in an answer or an event.
#[derive(Deserialize)]
pub(super) struct Detail<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    message: Option<Cow<'a, str>>,
}

impl Detail<'_> {
    /// In the common form. What its type leaves open, `status` tells.
    pub(super) fn error(&self, status: u16) -> Error {
        let kind = self.kind.as_deref().unwrap_or_default();
        match self.message.as_deref().filter(|message| !message.trim().is_empty()) {
            Some(message) => Error::new(kind_of(kind, message, status), bounded(message)),
            None => Error::new(kind_of(kind, "", status), wordless(status)),
        }
    }
}

/// Reads an answer that is an error. The message is the provider's own, at most 1 KiB of it; if it said nothing that can be read, a sentence
/// with the status.
#[must_use]
pub fn read_error(status: u16, body: &[u8]) -> Error {
    match serde_json::from_slice::<Body<'_>>(body) {
        Ok(body) => body.error.error(status),
        Err(_) => Error::new(Kind::of_status(status), wordless(status)),
    }
}

fn wordless(status: u16) -> String {
    format!("the model's server answered with status {status} and said nothing about it that can be read")
}

fn kind_of(kind: &str, message: &str, status: u16) -> Kind {
    match kind {
        "authentication_error" => Kind::Authentication,
        "permission_error" => Kind::Permission,
        "not_found_error" => Kind::NotFound,
        "request_too_large" => Kind::TooLarge,
        "rate_limit_error" | "billing_error" => Kind::RateLimit,
        "timeout_error" => Kind::Timeout,
        "overloaded_error" => Kind::Overloaded,
        "api_error" => Kind::Server,
        // llama-server's.
        "exceed_context_size_error" => Kind::ContextLength,
        "invalid_request_error" => by_words(message).unwrap_or(Kind::InvalidRequest),
        _ => match Kind::of_status(status) {
            Kind::InvalidRequest => by_words(message).unwrap_or(Kind::InvalidRequest),
            kind => kind,
        },
    }
}

/// What only the words tell. Anthropic's: "prompt is too long: 210012 tokens > 200000 maximum", "input length and `max_tokens` exceed context
/// limit", "Output blocked by content filtering policy", "Your credit balance is too low", "You have reached your specified API usage limits",
/// "This organization has been disabled"; vLLM's: "This model's maximum context length is 1024 tokens".
fn by_words(message: &str) -> Option<Kind> {
    let message = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    // What is about our account begins so: the rest of an error may repeat what the client wrote.
    let begins = |words: &[&str]| words.iter().any(|words| message.starts_with(words));
    if says(&[
        TOO_LONG,
        "exceed context limit",
        "maximum context length",
        "available context size",
        "context window",
    ]) {
        Some(Kind::ContextLength)
    } else if says(&["content filter", "usage policy"]) {
        Some(Kind::ContentFilter)
    } else if begins(&["your credit balance is too low", "you have reached your specified"]) {
        Some(Kind::RateLimit)
    } else if begins(&["this organization has been disabled", "your organization has been disabled"]) {
        Some(Kind::Permission)
    } else {
        None
    }
}

fn bounded(message: &str) -> String {
    let end = (0..=WORDS.min(message.len())).rev().find(|end| message.is_char_boundary(*end));
    message[..end.unwrap_or(0)].to_owned()
}

/// Anthropic's type for this kind of trouble.
const fn spelt(kind: Kind) -> &'static str {
    match kind {
        Kind::InvalidRequest | Kind::ContextLength | Kind::ContentFilter => "invalid_request_error",
        Kind::Authentication => "authentication_error",
        Kind::Permission => "permission_error",
        Kind::NotFound => "not_found_error",
        Kind::TooLarge => "request_too_large",
        Kind::RateLimit => "rate_limit_error",
        Kind::Server => "api_error",
        Kind::Timeout => "timeout_error",
        Kind::Overloaded => "overloaded_error",
    }
}

/// The body of an answer that is an error.
#[must_use]
pub fn write_error(error: &Error) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        error: Detail<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Detail<'a> {
        r#type: &'static str,
        message: Cow<'a, str>,
    }
    let is_unsaid = error.kind == Kind::ContextLength && !error.message.to_ascii_lowercase().contains(TOO_LONG);
    let body = Body {
        r#type: "error",
        error: Detail {
            r#type: spelt(error.kind),
            message: if is_unsaid {
                format!("{TOO_LONG}: {}", error.message).into()
            } else {
                error.message.as_str().into()
            },
        },
        request_id: error.request_id.as_deref(),
    };
    serde_json::to_vec(&body).expect("strings are always JSON")
}

/// The event that ends a streamed answer which cannot be finished.
#[must_use]
pub fn error_event(error: &Error) -> Vec<u8> {
    [b"event: error\ndata: ", write_error(error).as_slice(), b"\n\n"].concat()
}
