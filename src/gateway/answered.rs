//! A model's answer, ready to be shown: its headers, its body, or its beginning.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::answers::{Again, Keeping, Recording};
use super::attempt::{Answer, Refused};
use super::balance::Place;
use super::bill::Bill;
use super::body::{Kept, Taken};
use super::relay::{Relay, Terms, Whose};
use super::tally::Tally;
use super::turns::Turn;
use super::{Gateway, headers};
use crate::plan::names::Key;
use crate::protocol::estimate;
use crate::protocol::exchange::Exchange;

/// What a request comes to.
pub(super) enum Reply {
    /// A model answers.
    Answered(Box<Answered>),
    /// No model was asked: an estimate in the name of one.
    Estimate(Bytes, Key),
    /// No model was asked: an answer that was kept.
    Again(Arc<Again>),
}

impl Reply {
    /// Whether a model has begun to answer what was asked.
    pub(super) fn is_good(&self) -> bool {
        match self {
            Self::Answered(answered) => !matches!(answered.answer, Answer::Refused(_)),
            Self::Estimate(..) | Self::Again(_) => false,
        }
    }

    pub(super) fn into_response(self, gateway: &Gateway, mut tally: Tally, turn: Turn) -> Response {
        match self {
            Self::Answered(answered) => answered.into_response(gateway, tally, turn),
            Self::Estimate(body, model) => {
                tally.sends(&body);
                tally.end(StatusCode::OK);
                counted(body, &model)
            }
            Self::Again(again) => {
                tally.sends(&again.body);
                tally.end(StatusCode::OK);
                let mut headers = again.headers.clone();
                headers.insert(headers::ATTEMPTS, HeaderValue::from(0));
                headers.insert(headers::COST, HeaderValue::from_static("0"));
                headers.insert(header::AGE, HeaderValue::from(again.kept.elapsed().as_secs()));
                with(StatusCode::OK, headers, sent(again.body.clone(), Taken::default(), turn))
            }
        }
    }
}

/// A model's answer, and what it is shown with.
pub(super) struct Answered {
    pub(super) answer: Answer,
    pub(super) exchange: Box<Exchange>,
    pub(super) bill: Bill,
    pub(super) request_id: Option<HeaderValue>,
    pub(super) attempts: usize,
    pub(super) terms: Terms,
    pub(super) place: Place,
    /// Where it is kept, if it is.
    pub(super) keeping: Option<Keeping>,
}

impl Answered {
    fn into_response(self, gateway: &Gateway, mut tally: Tally, turn: Turn) -> Response {
        let Self {
            exchange,
            bill,
            attempts,
            keeping,
            ..
        } = self;
        // A fallback is not to answer for longer than it must.
        let keeping = keeping.filter(|_| attempts == 1);
        let (model, operation) = (bill.model.clone(), bill.operation);
        let shown = |head: &Parts, written| headers::to_client(&head.headers, &exchange, written, &model.model, attempts);
        let is_written = !exchange.back.is_unchanged();
        match self.answer {
            Answer::Whole(head, whole, room) => {
                let mut headers = shown(&head, is_written.then_some(headers::JSON));
                if let Some(keeping) = keeping.filter(|_| head.status == StatusCode::OK) {
                    keeping.keep(headers.clone(), &whole.body);
                }
                if operation.is_charged() {
                    let charge = tally.charge(&bill, whole.tokens, true, || estimate::of_json(&whole.body));
                    headers::add_cost(&mut headers, &charge);
                }
                tally.sends(&whole.body);
                tally.end(head.status);
                with(head.status, headers, sent(whole.body, room, turn))
            }
            // The provider's own words where they are of the client's protocol, else the same in that.
            Answer::Refused(refused) => {
                tally.end(refused.head.status);
                let Refused { head, body, mut error } = *refused;
                if exchange.back.is_unchanged() && operation.is_error(&body) {
                    let body = exchange.back.restored(body);
                    tally.sends(&body);
                    return with(head.status, shown(&head, None), sent(body, Taken::default(), turn));
                }
                error.request_id = self.request_id.and_then(|id| Some(id.to_str().ok()?.to_owned()));
                let body = operation.write_error(&error);
                tally.sends(&body);
                let headers = shown(&head, Some(headers::JSON));
                with(head.status, headers, sent(body.into(), Taken::default(), turn))
            }
            Answer::Begun(head, begun) => {
                let whose = Whose {
                    request_id: self.request_id,
                    model: model.model.clone(),
                    turn,
                };
                let mut headers = shown(&head, is_written.then_some(headers::EVENTS));
                let is_good = head.status == StatusCode::OK && begun.course.is_stream();
                let recording = keeping.filter(|_| is_good);
                let recording = recording.map(|keeping| Recording::new(keeping, headers.clone()));
                if self.terms.takes_trailers {
                    headers::announce_cost(&mut headers);
                }
                let bill = bill.settled(begun.course.tokens(), &gateway.ledger);
                let relay = Relay::new(whose, *begun, &self.terms, gateway.closing.clone(), tally, bill, self.place);
                let relay = relay.recorded(recording);
                with(head.status, headers, relay.into_body())
            }
        }
    }
}

/// A body in one piece; its request is in flight until it is sent.
fn sent(bytes: Bytes, room: Taken, turn: Turn) -> Body {
    let turn = Some(turn);
    Body::from(Bytes::from(Kept { bytes, room, turn }))
}

fn with(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// An answer that no model was asked for.
fn counted(body: Bytes, model: &Key) -> Response {
    let json = HeaderValue::from_static("application/json");
    let mut response = (StatusCode::OK, [(header::CONTENT_TYPE, json)], body).into_response();
    let headers = response.headers_mut();
    if let Ok(name) = HeaderValue::try_from(model.to_string()) {
        headers.insert(headers::MODEL, name);
    }
    headers.insert(headers::ESTIMATED, HeaderValue::from_static("true"));
    response
}
