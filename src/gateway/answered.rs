//! A model's answer, ready to be shown: its headers, its body, or its beginning.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::time::Instant;

use super::attempt::{Answer, Refused};
use super::balance::Place;
use super::bill::Bill;
use super::metrics::Tally;
use super::relay::{Relay, Whose};
use super::{Gateway, headers};
use crate::plan::names::Key;
use crate::plan::routing::Backend;
use crate::protocol::Operation;
use crate::protocol::exchange::Exchange;

/// What a request comes to.
pub(super) enum Reply {
    /// A model answers.
    Answered(Box<Answered>),
    /// No model was asked: an estimate in the name of one.
    Estimate(Bytes, Key),
}

impl Reply {
    pub(super) fn into_response(self, gateway: &Gateway, mut tally: Tally) -> Response {
        match self {
            Self::Answered(answered) => answered.into_response(gateway, tally),
            Self::Estimate(body, model) => {
                tally.end(StatusCode::OK);
                estimate(body, &model)
            }
        }
    }
}

/// A model's answer, and what it is shown with.
pub(super) struct Answered {
    pub(super) answer: Answer,
    pub(super) exchange: Box<Exchange>,
    pub(super) operation: Operation,
    pub(super) request_id: Option<HeaderValue>,
    pub(super) model: Arc<Backend>,
    pub(super) attempts: usize,
    pub(super) request_bytes: usize,
    pub(super) idle: Duration,
    pub(super) deadline: Instant,
    pub(super) place: Place,
}

impl Answered {
    fn into_response(self, gateway: &Gateway, mut tally: Tally) -> Response {
        let Self {
            exchange, model, attempts, ..
        } = self;
        let operation_is_charged = self.operation != Operation::CountTokens;
        let bill = Bill {
            model: model.clone(),
            request_bytes: self.request_bytes,
            now: gateway.now,
        };
        let shown = |head: &Parts| headers::to_client(&head.headers, &exchange, &model.model, attempts);
        match self.answer {
            Answer::Whole(head, whole) => {
                let mut headers = shown(&head);
                if operation_is_charged {
                    let charge = match whole.tokens {
                        Some(tokens) => bill.reported(tokens),
                        None => bill.estimated(None, whole.body.len() as u64),
                    };
                    tally.charge(&charge);
                    headers::add_cost(&mut headers, &charge);
                }
                tally.end(head.status);
                with(head.status, headers, Body::from(whole.body))
            }
            Answer::Refused(refused) => {
                tally.end(refused.head.status);
                let headers = shown(&refused.head);
                let (status, body) = refusal(*refused, &exchange, self.operation);
                with(status, headers, Body::from(body))
            }
            Answer::Begun(head, begun) => {
                let whose = Whose {
                    request_id: self.request_id,
                    model: model.model.clone(),
                };
                let headers = shown(&head);
                let relay = Relay::new(
                    whose,
                    *begun,
                    (self.idle, self.deadline),
                    gateway.closing.clone(),
                    tally,
                    bill,
                    self.place,
                );
                with(head.status, headers, relay.into_body())
            }
        }
    }
}

/// The provider's own words where they are of the client's protocol, else the same in that.
fn refusal(refused: Refused, exchange: &Exchange, operation: Operation) -> (StatusCode, Bytes) {
    let Refused { head, body, error } = refused;
    if exchange.back.is_unchanged() && !body.is_empty() {
        return (head.status, body);
    }
    (head.status, operation.write_error(&error).into())
}

fn with(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// An answer that no model was asked for.
fn estimate(body: Bytes, model: &Key) -> Response {
    let json = HeaderValue::from_static("application/json");
    let mut response = (StatusCode::OK, [(header::CONTENT_TYPE, json)], body).into_response();
    let headers = response.headers_mut();
    if let Ok(name) = HeaderValue::try_from(model.to_string()) {
        headers.insert(headers::MODEL, name);
    }
    headers.insert(headers::ESTIMATED, HeaderValue::from_static("true"));
    response
}
