//! The rest of an answer that has begun: piece by piece to the client, at the client's pace. It can no longer move to another model; when
//! it breaks, a stream says so in an event and gets no `[DONE]`, and a plain answer's connection is closed before its end.

use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::attempt::Begun;
use super::events::Events;
use super::metrics::Tally;
use super::refusal::Refusal;
use super::upstream::Place;
use crate::plan::names::Key;

/// How long the other side may take to end a stream after its `[DONE]`.
const AFTER_DONE: Duration = Duration::from_secs(1);

/// Which answer it is, for our logs.
pub(super) struct Whose {
    pub(super) request_id: Option<HeaderValue>,
    pub(super) model: Key,
}

pub(super) struct Relay {
    whose: Whose,
    held: Option<Bytes>,
    rest: Incoming,
    events: Option<Events>,
    idle: Duration,
    deadline: Instant,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    is_over: bool,
    tally: Tally,
    _place: Place,
}

/// What ends an answer too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("the model broke off in the middle of its answer")]
    Cut,
    #[error("the model reported an error in the middle of its answer")]
    Failed,
    #[error("the model stopped in the middle of its answer")]
    Stalled,
    #[error("the time for the whole request is over")]
    OutOfTime,
    #[error("the gateway is shutting down")]
    Closing,
}

impl Broken {
    fn outcome(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Failed => "failed",
            Self::Stalled => "stalled",
            Self::OutOfTime => "out_of_time",
            Self::Closing => "closing",
        }
    }
}

impl Relay {
    pub(super) fn new(
        whose: Whose,
        begun: Begun,
        (idle, deadline): (Duration, Instant),
        closing: CancellationToken,
        tally: Tally,
        place: Place,
    ) -> Self {
        let Begun { held, rest, events } = begun;
        Self {
            whose,
            held: Some(held),
            rest,
            events,
            idle,
            deadline,
            closing: Box::pin(closing.cancelled_owned()),
            is_over: false,
            tally,
            _place: place,
        }
    }

    /// The body of the client's answer. Dropping it, as when the client hangs up, closes the connection to the model.
    pub(super) fn into_response(self, status: StatusCode) -> Response {
        let pieces = futures::stream::unfold(self, async |mut relay| relay.next().await.map(|piece| (piece, relay)));
        let mut response = Response::new(Body::from_stream(pieces));
        *response.status_mut() = status;
        response
    }

    async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        if let Some(held) = self.held.take().filter(|held| !held.is_empty()) {
            return Some(Ok(held));
        }
        while !self.is_over {
            let is_done = self.events.as_ref().is_some_and(|events| events.seen().done);
            let until = (Instant::now() + if is_done { AFTER_DONE } else { self.idle }).min(self.deadline);
            let piece = tokio::select! {
                biased;
                piece = self.rest.frame() => piece,
                () = sleep_until(until) => {
                    return self.break_off(if until == self.deadline { Broken::OutOfTime } else { Broken::Stalled });
                }
                () = &mut self.closing => return self.break_off(Broken::Closing),
            };
            let piece = match piece {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(_)) => return self.break_off(Broken::Cut),
                None => return self.end(),
            };
            let Some(events) = &mut self.events else { return Some(Ok(piece)) };
            let passing = events.pass(piece);
            if events.seen().failed {
                return self.break_off(Broken::Failed);
            }
            if !passing.is_empty() {
                return Some(Ok(passing));
            }
        }
        None
    }

    fn end(&mut self) -> Option<Result<Bytes, Broken>> {
        let last = match &mut self.events {
            Some(events) => {
                let last = events.end();
                if !events.seen().done {
                    return self.break_off(Broken::Cut);
                }
                last
            }
            None => Bytes::new(),
        };
        self.finish();
        (!last.is_empty()).then_some(Ok(last))
    }

    fn break_off(&mut self, broken: Broken) -> Option<Result<Bytes, Broken>> {
        let done = self.events.as_ref().map(|events| events.seen().done);
        if done == Some(true) {
            self.finish();
            return None;
        }
        self.finish();
        self.tally.broke(broken.outcome());
        let Whose { request_id, model } = &self.whose;
        let id = request_id.as_ref().and_then(|id| id.to_str().ok());
        tracing::warn!(id, %model, "an answer is not whole: {broken}");
        // Only whole events have passed, so this one stands by itself.
        let refusal = Refusal::new(
            StatusCode::BAD_GATEWAY,
            "incomplete_answer",
            format!("{broken}: the answer is not whole"),
        );
        Some(if done.is_some() {
            Ok(refusal.to_event().into())
        } else {
            Err(broken)
        })
    }

    fn finish(&mut self) {
        self.is_over = true;
        if let Some(usage) = self.events.as_ref().and_then(|events| events.seen().usage) {
            self.tally.used(usage);
        }
        self.tally.end(StatusCode::OK);
    }
}
