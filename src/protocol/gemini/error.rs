//! Reads errors: Google's `Status` in an object, or as the only element of an array where a stream was asked for; and answers that are none.

use std::time::Duration;

use serde::Deserialize;

use super::super::error::{Error, Kind};
use super::answer;

/// The longest message that is passed on, in bytes.
const MESSAGE_LIMIT: usize = 1024;
/// What stands before a secret or begins it, and how much of that is none.
const SECRETS: &[(&str, usize)] = &[
    ("AIza", 0),
    ("api_key:", 8),
    ("projects/", 9),
    ("resource project ", 17),
    ("in project ", 11),
];
/// The longest wait that is believed.
const WAIT_LIMIT: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Default, Deserialize)]
pub(super) struct Status {
    code: Option<u16>,
    message: Option<String>,
    status: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    details: Vec<Detail>,
}

#[derive(Debug, Default, Deserialize)]
struct Detail {
    #[serde(rename = "@type", default)]
    kind: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(rename = "retryDelay", default)]
    retry_delay: Option<String>,
}

/// Details are of many types; one of another form must not hide the message.
fn lenient<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Detail>, D::Error> {
    let details: Option<Vec<serde_json::Value>> = Option::deserialize(deserializer)?;
    let read = |detail| serde_json::from_value(detail).unwrap_or_default();
    Ok(details.unwrap_or_default().into_iter().map(read).collect())
}

fn status(body: &[u8]) -> Option<Status> {
    #[derive(Deserialize)]
    struct Body {
        error: Status,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Array(Vec<Body>),
        Object(Body),
    }
    match serde_json::from_slice(body).ok()? {
        Form::Object(body) => Some(body.error),
        Form::Array(bodies) => Some(bodies.into_iter().next()?.error),
    }
}

/// What an answer with `status` and no content says. Reads answers with status 200 too, which may say that a filter stopped them or that the
/// model failed.
#[must_use]
pub fn read_error(status_code: u16, body: &[u8]) -> Error {
    if let Some(status) = status(body) {
        return status.error(status_code);
    }
    if let Some(error) = answer::failure(body) {
        return error;
    }
    let kind = Kind::of_status(status_code);
    Error::new(
        kind,
        format!("the model's server answered with status {status_code} and no message"),
    )
}

/// How long the body of an error asks to wait.
#[must_use]
pub fn retry_after(body: &[u8]) -> Option<Duration> {
    let details = status(body)?.details;
    let is_retry = |detail: &&Detail| detail.kind.as_deref().is_some_and(|kind| kind.ends_with("google.rpc.RetryInfo"));
    let delay = details.iter().find(is_retry)?.retry_delay.as_deref()?;
    let seconds: f64 = delay.strip_suffix('s')?.parse().ok()?;
    Some(Duration::try_from_secs_f64(seconds).ok()?.min(WAIT_LIMIT))
}

impl Status {
    pub(super) fn error(&self, status_code: u16) -> Error {
        let message = self.message.as_deref().unwrap_or_default().trim();
        let kind = self.kind(status_code, message);
        let code = match kind {
            Kind::ContextLength => Some("context_length_exceeded"),
            Kind::ContentFilter => Some("content_filter"),
            Kind::RateLimit => Some("rate_limit_exceeded"),
            _ => None,
        };
        let message = match message {
            "" => format!("the model's server answered with status {status_code} and no message"),
            message => discreet(message),
        };
        Error {
            code: code.map(str::to_owned),
            ..Error::new(kind, message)
        }
    }

    fn kind(&self, status_code: u16, message: &str) -> Kind {
        let reason = |reason: &str| self.details.iter().any(|detail| detail.reason.as_deref() == Some(reason));
        if reason("API_KEY_INVALID") || reason("API_KEY_EXPIRED") {
            return Kind::Authentication;
        }
        match self.status.as_deref() {
            Some("INVALID_ARGUMENT" | "OUT_OF_RANGE") => of_words(message),
            // The request is right, and our account or project is not in a state to make it: an unpaid one, one elsewhere.
            Some("FAILED_PRECONDITION") if message.contains("billing") => Kind::RateLimit,
            Some("FAILED_PRECONDITION") => Kind::Permission,
            Some("UNAUTHENTICATED") => Kind::Authentication,
            Some("PERMISSION_DENIED") => Kind::Permission,
            Some("NOT_FOUND") => Kind::NotFound,
            Some("RESOURCE_EXHAUSTED") => Kind::RateLimit,
            Some("UNAVAILABLE") => Kind::Overloaded,
            Some("DEADLINE_EXCEEDED") => Kind::Timeout,
            Some("INTERNAL" | "UNKNOWN" | "DATA_LOSS" | "CANCELLED" | "ABORTED" | "UNIMPLEMENTED") => Kind::Server,
            _ => match self.code.unwrap_or(status_code) {
                400 => of_words(message),
                code => Kind::of_status(code),
            },
        }
    }
}

/// Why an argument is wrong is said in words alone.
fn of_words(message: &str) -> Kind {
    let message = message.to_ascii_lowercase();
    let says = |words: &str| message.contains(words);
    if says("input token count") || says("exceeds the maximum number of tokens") || (says("token count") && says("exceed")) {
        Kind::ContextLength
    } else if says("payload size exceeds") {
        Kind::TooLarge
    } else if says("api key not valid") || says("api key expired") {
        Kind::Authentication
    } else {
        Kind::InvalidRequest
    }
}

/// The message within bounds, and without the key and the project that it may name: they are the gateway's, not the client's.
pub(super) fn discreet(message: &str) -> String {
    let mut rest = bounded(message);
    let mut said = String::with_capacity(rest.len());
    let first = |text: &str| {
        let found = SECRETS.iter().filter_map(|(before, kept)| Some((text.find(before)?, *kept)));
        found.min()
    };
    while let Some((at, kept)) = first(rest) {
        let (open, secret) = rest.split_at(at + kept);
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        let length = secret.bytes().take_while(is_name).count();
        said.push_str(open);
        said.push_str(if length > 0 { "…" } else { "" });
        rest = &secret[length..];
        if kept + length == 0 {
            break;
        }
    }
    said.push_str(rest);
    bounded(&said).to_owned()
}

fn bounded(message: &str) -> &str {
    let ends = message.char_indices().map(|(at, letter)| at + letter.len_utf8());
    let end = ends.take_while(|end| *end <= MESSAGE_LIMIT).last().unwrap_or(0);
    &message[..end]
}
