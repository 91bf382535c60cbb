//! What an evaluator is told whose request is not passed on, as OpenAI would say it.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

use crate::plan::evaluation::report::Limit;
use crate::protocol::error::{Error, Kind};
use crate::protocol::openai;

/// Seconds after which to ask again where nothing better is known.
const AGAIN: HeaderValue = HeaderValue::from_static("1");

/// A request that is not passed on.
#[derive(Debug)]
pub(super) struct Refused {
    status: u16,
    code: &'static str,
    message: String,
    param: Option<String>,
    again: Option<HeaderValue>,
}

impl Refused {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            param: None,
            again: None,
        }
    }

    /// The same, about that field of the request.
    pub(super) fn about(self, param: Option<String>) -> Self {
        Self { param, ..self }
    }

    /// The same, of which a moment heals what is wrong.
    pub(super) fn for_now(self) -> Self {
        Self {
            again: Some(AGAIN),
            ..self
        }
    }

    /// No time heals it, so nothing is said of when to ask again; and clients do not by themselves, as they would after 429.
    pub(super) fn at(limit: Limit) -> Self {
        let field = limit.field();
        Self::new(
            402,
            "limit_reached",
            format!("{field} of the run is reached, so nothing more is asked; {}", limit.remedy()),
        )
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let error = Error {
            code: Some(self.code.to_owned()),
            param: self.param,
            ..Error::new(Kind::of_status(self.status), self.message)
        };
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, [(CONTENT_TYPE, "application/json")], openai::write_error(&error)).into_response();
        response.headers_mut().extend(self.again.map(|again| (RETRY_AFTER, again)));
        response
    }
}
