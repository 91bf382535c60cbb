//! Every answer of the gateway's own that is not an answer of a model: it knows its status and its words, in OpenAI's shape. The words say
//! what to do next, and no internal address.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, header};

use super::headers;
use crate::protocol::chat::Unreadable;
use crate::protocol::openai::ErrorBody;

/// Why a request gets no answer of a model.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    code: &'static str,
    message: String,
    param: Option<String>,
    retry_after: Option<HeaderValue>,
    attempts: usize,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            param: None,
            retry_after: None,
            attempts: 0,
        }
    }

    pub(super) fn about(self, param: &str) -> Self {
        Self {
            param: Some(param.to_owned()),
            ..self
        }
    }

    pub(super) fn retry_after(self, retry_after: Option<HeaderValue>) -> Self {
        Self { retry_after, ..self }
    }

    pub(super) fn after_attempts(self, attempts: usize) -> Self {
        Self { attempts, ..self }
    }

    pub(super) fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
    }

    pub(super) fn unreadable(unreadable: Unreadable) -> Self {
        Self {
            param: unreadable.field,
            ..Self::new(StatusCode::BAD_REQUEST, "invalid_request", unreadable.message)
        }
    }

    pub(super) fn not_ready() -> Self {
        let message = "the gateway has not read its routes yet: try again in a moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", message)
    }

    pub(super) fn no_such_path(path: &str) -> Self {
        let message = format!(
            "there is nothing at {}: this gateway has POST /v1/chat/completions and GET /v1/models",
            shown(path)
        );
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn wrong_method(method: &Method, path: &str) -> Self {
        let message = format!(
            "{} does not take {}: use POST for chat completions, GET for models",
            shown(path),
            shown(method.as_str())
        );
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    fn body(&self) -> ErrorBody<'_> {
        ErrorBody {
            message: &self.message,
            kind: self.kind(),
            param: self.param.as_deref(),
            code: self.code,
        }
    }

    /// The event that ends a stream which has begun.
    pub(super) fn to_event(&self) -> Vec<u8> {
        self.body().to_event()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        let mut response = (self.status, [(header::CONTENT_TYPE, json)], self.body().to_json()).into_response();
        let headers = response.headers_mut();
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

/// What a client sent, short enough to be sent back.
pub(super) fn shown(text: &str) -> String {
    const LIMIT: usize = 128;
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
