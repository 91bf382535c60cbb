//! The rest of an answer that has begun: piece by piece to the client, at the client's pace. It can no longer move to another model; when
//! it breaks, a stream says so in an event and gets no mark of its end, and a plain answer's connection is closed before its end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::body::{Body as HttpBody, Frame};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::attempt::{Begun, Course};
use super::balance::Place;
use super::bill::{Bill, Charge};
use super::headers;
use super::http1::Incoming;
use super::tally::Tally;
use super::turns::Turn;
use crate::plan::names::Key;
use crate::protocol::error::{Error, Kind};
use crate::protocol::estimate;

/// How often it is looked whether the time is over while pieces come without a pause: then nobody waits, and no timer wakes anybody.
const LOOK: Duration = Duration::from_millis(500);
/// How long the other side may take to end a stream after its mark of the end.
const AFTER_DONE: Duration = Duration::from_secs(1);

/// Which answer it is, for our logs.
pub(super) struct Whose {
    pub(super) request_id: Option<HeaderValue>,
    pub(super) model: Key,
    /// Its request is in flight until its end.
    pub(super) _turn: Turn,
}

/// What holds for the rest of an answer.
pub(super) struct Terms {
    /// How long its next piece may take.
    pub(super) idle: Duration,
    /// When the time for the whole request is over.
    pub(super) deadline: Instant,
    /// Whether the client takes fields after the body.
    pub(super) takes_trailers: bool,
}

/// The body of an answer that is still being made. Dropping it, as when the client hangs up, closes the connection to the model.
pub(super) struct Relay {
    whose: Whose,
    held: Option<Bytes>,
    rest: Incoming,
    course: Course,
    limits: Limits,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    is_over: bool,
    /// What follows the answer, for a client that takes it.
    trailers: Trailers,
    tally: Tally,
    bill: Bill,
    place: Place,
}

/// What is said of an answer only when it has ended: what it cost.
enum Trailers {
    /// The client does not take any.
    Unwanted,
    /// The answer goes on.
    Awaited,
    Due(HeaderMap),
}

impl Trailers {
    fn of(&mut self, charge: &Charge) {
        if matches!(self, Self::Awaited) {
            let mut trailers = HeaderMap::new();
            headers::add_cost(&mut trailers, charge);
            *self = Self::Due(trailers);
        }
    }

    fn take(&mut self) -> Option<HeaderMap> {
        match std::mem::replace(self, Self::Unwanted) {
            Self::Due(trailers) => Some(trailers),
            Self::Unwanted | Self::Awaited => None,
        }
    }
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

    fn error(self) -> Error {
        let kind = match self {
            Self::Cut | Self::Failed => Kind::Server,
            Self::Stalled | Self::OutOfTime => Kind::Timeout,
            Self::Closing => Kind::Overloaded,
        };
        Error {
            code: Some("incomplete_answer".to_owned()),
            ..Error::new(kind, format!("{self}: the answer is not whole"))
        }
    }
}

impl Relay {
    pub(super) fn new(
        whose: Whose,
        begun: Begun,
        terms: &Terms,
        closing: CancellationToken,
        tally: Tally,
        bill: Bill,
        place: Place,
    ) -> Self {
        let Begun { held, rest, course } = begun;
        Self {
            whose,
            held: Some(held),
            rest,
            course,
            limits: Limits::new(terms.idle, terms.deadline),
            closing: Box::pin(closing.cancelled_owned()),
            is_over: false,
            trailers: if terms.takes_trailers {
                Trailers::Awaited
            } else {
                Trailers::Unwanted
            },
            tally,
            bill,
            place,
        }
    }

    pub(super) fn into_body(self) -> Body {
        Body::new(self)
    }

    /// The next bytes for the client; `None` at the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        if let Some(held) = self.held.take().filter(|held| !held.is_empty()) {
            return Poll::Ready(Some(Ok(held)));
        }
        while !self.is_over {
            let Poll::Ready(piece) = Pin::new(&mut self.rest).poll_frame(cx) else {
                let broken = ready!(self.poll_broken(cx));
                return Poll::Ready(self.break_off(broken));
            };
            if self.limits.moved()
                && let Poll::Ready(broken) = self.poll_broken(cx)
            {
                return Poll::Ready(self.break_off(broken));
            }
            let piece = match piece {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(_)) => return Poll::Ready(self.break_off(Broken::Cut)),
                None => return Poll::Ready(self.end()),
            };
            let passing = match &mut self.course {
                Course::Events(stream) => {
                    let passing = stream.pass(piece);
                    if stream.seen().failed {
                        return Poll::Ready(self.break_off(Broken::Failed));
                    }
                    passing
                }
                Course::Plain(plain) => {
                    plain.look(&piece);
                    piece
                }
            };
            if !passing.is_empty() {
                return Poll::Ready(Some(Ok(passing)));
            }
        }
        Poll::Ready(None)
    }

    /// Ready when nothing more may be waited for.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<Broken> {
        if self.closing.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Broken::Closing);
        }
        self.limits.poll(cx, self.is_done())
    }

    fn is_done(&self) -> bool {
        self.course.is_done()
    }

    fn end(&mut self) -> Option<Result<Bytes, Broken>> {
        let last = match &mut self.course {
            Course::Events(stream) => {
                let last = stream.end();
                if !stream.seen().done {
                    return self.break_off(Broken::Cut);
                }
                last
            }
            Course::Plain(_) => Bytes::new(),
        };
        self.finish(true);
        (!last.is_empty()).then_some(Ok(last))
    }

    fn break_off(&mut self, broken: Broken) -> Option<Result<Bytes, Broken>> {
        let is_done = self.is_done();
        self.finish(is_done);
        // An error counts only before the mark of the end; both may have come at once.
        if is_done && broken != Broken::Failed {
            return None;
        }
        if matches!(broken, Broken::Cut | Broken::Failed | Broken::Stalled) {
            self.place.failed();
        }
        self.tally.broke(broken.outcome());
        let Whose { request_id, model, .. } = &self.whose;
        let id = request_id.as_ref().and_then(|id| id.to_str().ok());
        let cause = match &self.course {
            Course::Events(stream) => stream.seen().error.as_ref().map(|error| error.message.as_str()),
            Course::Plain(_) => None,
        };
        tracing::warn!(id, %model, cause, "an answer is not whole: {broken}");
        // Only whole events have passed, so this one stands by itself.
        Some(match &mut self.course {
            Course::Events(stream) => Ok(stream.fail(&broken.error())),
            Course::Plain(_) => Err(broken),
        })
    }

    fn finish(&mut self, is_whole: bool) {
        self.is_over = true;
        self.charge(is_whole);
        self.tally.end(StatusCode::OK);
    }

    /// Of an answer that is not whole, the model's last report says too little, if there is one.
    fn charge(&mut self, is_whole: bool) {
        let charge = match self.course.tokens() {
            Some(tokens) if is_whole => self.bill.reported(tokens),
            known => self.bill.estimated(known, estimate::of_text(self.course.text_bytes())),
        };
        self.trailers.of(&charge);
        self.tally.charge(&charge);
    }
}

/// The client hung up.
impl Drop for Relay {
    fn drop(&mut self) {
        if !self.is_over {
            self.charge(self.is_done());
        }
    }
}

impl HttpBody for Relay {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Poll::Ready(match ready!(self.poll_next(cx)) {
            Some(Ok(piece)) => {
                self.tally.sends(piece.len());
                Some(Ok(Frame::data(piece)))
            }
            Some(Err(broken)) => Some(Err(broken)),
            None => self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))),
        })
    }
}

/// How long the next piece may take. One timer for the whole answer: pieces only note that they came, and the timer looks when it is due.
struct Limits {
    idle: Duration,
    deadline: Instant,
    moved: Instant,
    looked: Instant,
    timer: Pin<Box<Sleep>>,
    is_done: bool,
}

impl Limits {
    fn new(idle: Duration, deadline: Instant) -> Self {
        let now = Instant::now();
        Self {
            idle,
            deadline,
            moved: now,
            looked: now,
            timer: Box::pin(sleep_until((now + idle).min(deadline))),
            is_done: false,
        }
    }

    /// A piece has come; whether it is time to look at what a timer would tell.
    fn moved(&mut self) -> bool {
        self.moved = Instant::now();
        let looks = self.moved - self.looked >= LOOK;
        if looks {
            self.looked = self.moved;
        }
        looks
    }

    fn poll(&mut self, cx: &mut Context<'_>, is_done: bool) -> Poll<Broken> {
        if is_done && !self.is_done {
            self.is_done = true;
            self.timer.as_mut().reset((self.moved + AFTER_DONE).min(self.deadline));
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let until = (self.moved + if is_done { AFTER_DONE } else { self.idle }).min(self.deadline);
            if until <= Instant::now() {
                return Poll::Ready(if until == self.deadline {
                    Broken::OutOfTime
                } else {
                    Broken::Stalled
                });
            }
            self.timer.as_mut().reset(until);
        }
    }
}
