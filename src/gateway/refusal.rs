//! Every answer of the gateway's own that is not an answer of a model: it knows its status and its words, and is written in the client's
//! protocol. The words say what to do next, and no internal address.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::headers;
pub(super) use crate::plan::routing::shown;
use crate::protocol::Operation;
use crate::protocol::chat::Unreadable;
use crate::protocol::error::{Error, Kind};

/// Why a request gets no answer of a model.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    error: Box<Error>,
    retry_after: Option<HeaderValue>,
    attempts: usize,
    more: Box<HeaderMap>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let kind = match status {
            // Of ours it says that the client was too slow.
            StatusCode::REQUEST_TIMEOUT => Kind::InvalidRequest,
            status => Kind::of_status(status.as_u16()),
        };
        let error = Error {
            code: Some(code.to_owned()),
            ..Error::new(kind, message)
        };
        Self {
            status,
            error: Box::new(error),
            retry_after: None,
            attempts: 0,
            more: Box::default(),
        }
    }

    /// The error's code.
    pub(super) fn code(&self) -> Option<&str> {
        self.error.code.as_deref()
    }

    pub(super) fn kind(mut self, kind: Kind) -> Self {
        self.error.kind = kind;
        self
    }

    pub(super) fn about(mut self, param: &str) -> Self {
        self.error.param = Some(param.to_owned());
        self
    }

    pub(super) fn retry_after(self, retry_after: Option<HeaderValue>) -> Self {
        Self { retry_after, ..self }
    }

    /// With these headers too.
    pub(super) fn with(self, more: HeaderMap) -> Self {
        let more = Box::new(more);
        Self { more, ..self }
    }

    /// Never to be sent again as it is: what it asks for may have begun, and would be done twice. SDKs repeat such statuses by themselves.
    pub(super) fn not_again(mut self) -> Self {
        self.more.insert(headers::SHOULD_RETRY, HeaderValue::from_static("false"));
        Self { retry_after: None, ..self }
    }

    pub(super) fn after_attempts(self, attempts: usize) -> Self {
        Self { attempts, ..self }
    }

    pub(super) fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
    }

    pub(super) fn unreadable(unreadable: Unreadable) -> Self {
        let mut refusal = Self::new(StatusCode::BAD_REQUEST, "invalid_request", unreadable.message);
        refusal.error.param = unreadable.field;
        refusal
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let message =
            format!("the request is larger than {limit} bytes, the most that is taken here (spec.maxBodyBytes of a RoutingPolicy)");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message)
    }

    /// For now: whoever comes back later may be served, and another replica may do it at once.
    pub(super) fn overloaded(message: impl Into<String>) -> Self {
        let soon = Some(HeaderValue::from_static("1"));
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message).retry_after(soon)
    }

    /// The answer did not come before the gateway ends. `has_begun`: a model may do by now what must not be done twice.
    pub(super) fn closing(has_begun: bool) -> Self {
        if has_begun {
            let message = "the gateway is shutting down, and the answer did not come in time: a model may have begun what must not be done \
                           twice, so look whether it was done before you send this again";
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "closing", message).not_again();
        }
        let message = "the gateway is shutting down, and the answer did not come in time: try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "closing", message).retry_after(Some(HeaderValue::from_static("1")))
    }

    pub(super) fn not_ready() -> Self {
        let message = "the gateway has not read its routes yet: try again in a moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", message)
    }

    pub(super) fn no_such_path(path: &str) -> Self {
        let message = format!(
            "there is nothing at {}: this gateway has POST /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/responses, \
             /v1/messages and /v1/messages/count_tokens, and GET /v1/models",
            shown(path)
        );
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn wrong_method(method: &Method, path: &str) -> Self {
        let message = format!(
            "{} does not take {}: use POST to ask a model, GET for /v1/models",
            shown(path),
            shown(method.as_str())
        );
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// The answer where no model was asked: in Anthropic's protocol to its clients, else in OpenAI's, which most clients read.
    pub(super) fn for_path(self, path: &str, asked: &HeaderMap) -> Response {
        let operation = match headers::is_anthropic(path, asked) {
            true => Operation::Messages,
            false => Operation::ChatCompletions,
        };
        self.in_protocol(operation, asked.get(headers::REQUEST_ID)).map(Body::from)
    }

    /// The answer in the protocol of what was asked for.
    pub(super) fn in_protocol(self, operation: Operation, request_id: Option<&HeaderValue>) -> Response<Bytes> {
        let json = HeaderValue::from_static("application/json");
        let mut error = *self.error;
        // SDKs of Anthropic tell people the id that is in the body.
        error.request_id = request_id.and_then(|id| id.to_str().ok()).map(str::to_owned);
        let mut response = Response::new(operation.write_error(&error).into());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, json);
        headers.extend(*self.more);
        if self.attempts > 0 {
            headers.insert(headers::ATTEMPTS, HeaderValue::from(self.attempts));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(retry_after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, retry_after);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_came_too_slowly_is_the_clients_to_mend() {
        let refusal = Refusal::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "too slow");
        assert_eq!(refusal.error.kind, Kind::InvalidRequest);
        let refusal = Refusal::new(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", "too slow");
        assert_eq!(refusal.error.kind, Kind::Timeout);
    }
}
