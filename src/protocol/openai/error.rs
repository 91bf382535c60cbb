//! OpenAI's errors, and those of the many servers that imitate them: read into the common form, and written for clients.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::protocol::error::{Error, Kind};

/// Of a provider's own words, so many bytes are told.
const MESSAGE_LIMIT: usize = 1024;

/// Words that say that a request has more tokens than the model can hold, where no code says so: vLLM's, llama.cpp's and Mistral's.
const TOO_LONG: &[&str] = &[
    "maximum context length",
    "max_model_len",
    "available context size",
    "context window",
    "context_length_exceeded",
];

/// How messages begin that say, under the status of a wrong request, that there is no such model, in lower case: DeepSeek's, Mistral's and
/// its imitators'. Only their beginning counts, as the rest may repeat what the client wrote.
const NO_MODEL: &[&str] = &["model not exist", "invalid model: ", "invalid model name "];

/// The same of our key: xAI's.
const NO_KEY: &[&str] = &["incorrect api key", "invalid api key"];

/// Reads an answer of this HTTP `status` that is an error, or (with status 200) an error in the midst of a stream. The words are the
/// provider's own, at most 1 KiB of them.
#[must_use]
pub fn read_error(status: u16, body: &[u8]) -> Error {
    let Some(said) = Said::read(body) else {
        return Error::new(
            Kind::of_status(status),
            format!("the model's server answered with status {status}, and nothing that explains it"),
        );
    };
    Error {
        code: said.code.clone(),
        param: said.param.clone(),
        ..Error::new(said.kind(status), bounded(said.message))
    }
}

/// What an error says, wherever it says it.
struct Said {
    message: String,
    /// The family, such as `invalid_request_error`.
    family: Option<String>,
    code: Option<String>,
    /// A code that is a number is an HTTP status.
    status: Option<u16>,
    param: Option<String>,
}

/// An error has these fields either at the top (Mistral, older vLLM) or under `error` (OpenAI and most others).
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    /// FastAPI's name for a message.
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    family: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    param: Option<&'a RawValue>,
}

impl Said {
    fn read(body: &[u8]) -> Option<Self> {
        let outer: Fields<'_> = serde_json::from_slice(body).ok()?;
        let inner = match outer.error {
            Some(error) => match serde_json::from_str::<Fields<'_>>(error.get()) {
                Ok(inner) => inner,
                Err(_) => {
                    let message = words(error)?;
                    return Some(Self {
                        message,
                        family: None,
                        code: None,
                        status: None,
                        param: None,
                    });
                }
            },
            None => outer,
        };
        let text = |raw: Option<&RawValue>| raw.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        let code = text(inner.code);
        let number = match &code {
            Some(code) => code.parse().ok(),
            None => inner.code.and_then(|code| serde_json::from_str::<u16>(code.get()).ok()),
        };
        Some(Self {
            message: inner.message.or(inner.detail).and_then(words)?,
            family: text(inner.family),
            status: number.filter(|status| (400..600).contains(status)),
            code: code.filter(|_| number.is_none()),
            param: text(inner.param),
        })
    }

    fn kind(&self, status: u16) -> Kind {
        let code = self.code.as_deref().unwrap_or_default();
        let family = self.family.as_deref().unwrap_or_default();
        match (code, family) {
            ("context_length_exceeded", _) | (_, "exceed_context_size_error") => return Kind::ContextLength,
            (
                "content_filter" | "content_policy_violation" | "moderation_blocked" | "invalid_prompt" | "ResponsibleAIPolicyViolation",
                _,
            ) => {
                return Kind::ContentFilter;
            }
            (
                "insufficient_quota" | "rate_limit_exceeded" | "billing_hard_limit_reached" | "billing_not_active" | "account_deactivated",
                _,
            ) => return Kind::RateLimit,
            ("invalid_api_key", _) => return Kind::Authentication,
            ("model_terms_required", _) => return Kind::Permission,
            // OpenAI's, Azure's, Groq's, and Mistral's, whose code is a number.
            ("model_not_found" | "DeploymentNotFound" | "OperationNotSupported" | "model_decommissioned" | "model_not_available", _)
            | (_, "invalid_model" | "model_not_found") => return Kind::NotFound,
            _ => {}
        }
        let known = if (400..600).contains(&status) { Some(status) } else { self.status };
        let is_about_the_request = match known {
            Some(status) => matches!(status, 400 | 413 | 422),
            None => is_family_of_requests(family),
        };
        let begins = |beginnings: &[&str]| {
            let begins_so = |words: &&str| {
                self.message
                    .get(..words.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(words))
            };
            is_about_the_request && beginnings.iter().any(begins_so)
        };
        match known {
            _ if begins(NO_MODEL) => Kind::NotFound,
            _ if begins(NO_KEY) => Kind::Authentication,
            _ if is_about_the_request && TOO_LONG.iter().any(|words| self.message.contains(words)) => Kind::ContextLength,
            Some(status) => Kind::of_status(status),
            None if is_about_the_request => Kind::InvalidRequest,
            None => match family {
                "rate_limit_error" | "rate_limit_exceeded" | "tokens" | "requests" | "insufficient_quota" => Kind::RateLimit,
                "overloaded_error" | "server_overloaded" => Kind::Overloaded,
                "timeout_error" => Kind::Timeout,
                _ => Kind::Server,
            },
        }
    }
}

fn is_family_of_requests(family: &str) -> bool {
    matches!(family, "invalid_request_error" | "BadRequestError" | "Bad Request")
}

/// A text as it is; anything else as its JSON.
fn words(raw: &RawValue) -> Option<String> {
    let text = serde_json::from_str::<String>(raw.get()).unwrap_or_else(|_| raw.get().to_owned());
    let text = text.trim();
    (!text.is_empty() && text != "null").then(|| text.to_owned())
}

fn bounded(mut message: String) -> String {
    let fits = |end: &usize| message.is_char_boundary(*end);
    let end = (0..=MESSAGE_LIMIT.min(message.len())).rev().find(fits).unwrap_or(0);
    message.truncate(end);
    message
}

/// The body of an answer that is this error; OpenAI's SDKs turn it into their exceptions.
#[must_use]
pub fn write_error(error: &Error) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        error: Inner<'a>,
    }
    #[derive(Serialize)]
    struct Inner<'a> {
        message: &'a str,
        #[serde(rename = "type")]
        family: &'a str,
        param: Option<&'a str>,
        code: Option<&'a str>,
    }
    let (family, code) = names(error.kind);
    let error = Inner {
        message: &error.message,
        family,
        param: error.param.as_deref(),
        code: error.code.as_deref().or(code),
    };
    serde_json::to_vec(&Body { error }).expect("strings are always JSON")
}

/// The event that ends a stream which has begun and cannot be finished: no `[DONE]` follows it.
#[must_use]
pub fn error_event(error: &Error) -> Vec<u8> {
    [b"data: ", write_error(error).as_slice(), b"\n\n"].concat()
}

/// The family of a kind of error, and its code where it has none of its own.
fn names(kind: Kind) -> (&'static str, Option<&'static str>) {
    match kind {
        Kind::InvalidRequest => ("invalid_request_error", None),
        Kind::ContextLength => ("invalid_request_error", Some("context_length_exceeded")),
        Kind::ContentFilter => ("invalid_request_error", Some("content_filter")),
        Kind::Authentication => ("authentication_error", Some("invalid_api_key")),
        Kind::Permission => ("permission_error", None),
        Kind::NotFound => ("invalid_request_error", Some("not_found")),
        Kind::TooLarge => ("invalid_request_error", Some("request_too_large")),
        Kind::RateLimit => ("rate_limit_error", Some("rate_limit_exceeded")),
        Kind::Overloaded => ("server_error", Some("overloaded")),
        Kind::Timeout => ("server_error", Some("timeout")),
        Kind::Server => ("server_error", None),
    }
}

#[cfg(test)]
mod tests;
