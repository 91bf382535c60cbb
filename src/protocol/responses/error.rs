//! Errors: the body of a plain one, which is the same in all of OpenAI's protocols, and the event that ends a stream.

use serde::Serialize;

use super::event;
use super::response::Failure;
use crate::protocol::error::{Error, Kind};
use crate::protocol::openai::ErrorBody;

/// Writes the body of an answer that is an error.
#[must_use]
pub fn write_error(error: &Error) -> Vec<u8> {
    body(error).to_json()
}

/// Writes the event that ends a stream which passed unchanged. Its number is 0, since whoever passes a stream on does not count its events;
/// a `Writer` does.
#[must_use]
pub fn error_event(error: &Error) -> Vec<u8> {
    let mut events = Vec::new();
    write_event(&mut 0, &mut events, error);
    events
}

/// OpenAI's types have the error's fields in the event itself, and OpenAI sends them in an `error` in it as well, at which its SDKs raise
/// their exceptions.
#[derive(Serialize)]
struct Failing<'a> {
    code: &'a str,
    message: &'a str,
    param: Option<&'a str>,
    error: ErrorBody<'a>,
}

pub(super) fn write_event(number: &mut u64, events: &mut Vec<u8>, error: &Error) {
    let error = body(error);
    let failing = Failing {
        code: error.code,
        message: error.message,
        param: error.param,
        error,
    };
    event::write_event(number, events, "error", &failing);
}

fn body(error: &Error) -> ErrorBody<'_> {
    let (kind, code) = family(error.kind);
    ErrorBody {
        message: &error.message,
        kind,
        param: error.param.as_deref(),
        code: error.code.as_deref().unwrap_or(code),
    }
}

/// OpenAI's family of errors, and the code where nothing more is known.
fn family(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::InvalidRequest => ("invalid_request_error", "invalid_request"),
        Kind::ContextLength => ("invalid_request_error", "context_length_exceeded"),
        Kind::ContentFilter => ("invalid_request_error", "content_filter"),
        Kind::Authentication => ("authentication_error", "invalid_api_key"),
        Kind::Permission => ("permission_error", "permission_denied"),
        Kind::NotFound => ("invalid_request_error", "not_found"),
        Kind::TooLarge => ("invalid_request_error", "request_too_large"),
        Kind::RateLimit => ("rate_limit_error", "rate_limit_exceeded"),
        Kind::Overloaded => ("server_error", "server_is_overloaded"),
        Kind::Timeout => ("server_error", "timeout"),
        Kind::Server => ("server_error", "server_error"),
    }
}

/// The error inside a `response` that failed, with one of the codes that OpenAI's types list.
pub(super) fn failure(error: &Error) -> Failure<'_> {
    let code = match error.kind {
        Kind::RateLimit => "rate_limit_exceeded",
        Kind::InvalidRequest | Kind::ContextLength | Kind::ContentFilter | Kind::TooLarge => "invalid_prompt",
        Kind::Authentication | Kind::Permission | Kind::NotFound | Kind::Overloaded | Kind::Timeout | Kind::Server => "server_error",
    };
    let (kind, _) = family(error.kind);
    Failure {
        code,
        message: &error.message,
        param: error.param.as_deref(),
        kind,
    }
}
