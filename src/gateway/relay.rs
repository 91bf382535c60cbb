//! The rest of an answer that has begun: piece by piece to the client, at the client's pace. It can no longer move to another model; when
//! it breaks, a stream says so in an event and gets no mark of its end, and a plain answer's connection is closed before its end.
//!
//! How long the model may take is counted while it is waited for, not while the client takes its time. When the time for the whole request
//! is over the model is let go at once, even if the client takes nothing: it is told when it does.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::body::{Body as HttpBody, Frame};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::answers::Recording;
use super::attempt::{Begun, Course};
use super::balance::Place;
use super::bill::{Bill, Charge};
use super::body::Kept;
use super::headers;
use super::http1::{self, Incoming};
use super::tally::Tally;
use super::turns::Turn;
use crate::plan::names::Key;
use crate::protocol::error::{Error, Kind};
use crate::protocol::stream::{Fault, Seen};

/// How often it is looked whether the time is over while pieces come without a pause: then nobody waits, and no timer wakes anybody.
const LOOK: Duration = Duration::from_millis(500);
/// How long the other side may take to end a stream after its mark of the end.
const AFTER_DONE: Duration = Duration::from_secs(1);

/// Which answer it is, for our logs.
pub(super) struct Whose {
    pub(super) request_id: Option<HeaderValue>,
    pub(super) model: Key,
    /// Its request is in flight until its end.
    pub(super) turn: Turn,
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

/// What an answer takes while it is made: its model, and its turn.
struct Live {
    rest: Incoming,
    place: Place,
    _turn: Turn,
}

/// Nobody asks for the next piece while the client takes none; so the end of the time is watched for from outside.
type Shared = Arc<Mutex<Option<Live>>>;

fn locked(live: &Shared) -> MutexGuard<'_, Option<Live>> {
    live.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The body of an answer that is still being made. Dropping it, as when the client hangs up, closes the connection to the model.
pub(super) struct Relay {
    request_id: Option<HeaderValue>,
    model: Key,
    held: Option<Bytes>,
    /// None when the time for the request is over.
    live: Shared,
    watching: JoinHandle<()>,
    course: Course,
    limits: Limits,
    /// What is told next: pieces came before it.
    breaking: Option<Broken>,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    is_over: bool,
    /// What follows the answer, for a client that takes it.
    trailers: Trailers,
    tally: Tally,
    bill: Bill,
    /// Where it is written down to be kept, if it is.
    recording: Option<Box<Recording>>,
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
    #[error("the model sent something that is no answer of its protocol in the middle of one")]
    Garbled,
    #[error("the model sent more at once than may be translated for this client")]
    TooLarge,
    #[error("the model stopped in the middle of its answer")]
    Stalled,
    #[error("the time for the whole request is over")]
    OutOfTime,
    #[error("the gateway is shutting down")]
    Closing,
}

impl Broken {
    /// What a stream broke by, of which this has been seen.
    fn by(seen: &Seen) -> Option<Self> {
        match seen.fault {
            Some(Fault::Garbled) => Some(Self::Garbled),
            Some(Fault::TooLarge) => Some(Self::TooLarge),
            None => seen.failed.then_some(Self::Failed),
        }
    }

    fn outcome(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Failed => "failed",
            Self::Garbled => "garbled",
            Self::TooLarge => "too_large",
            Self::Stalled => "stalled",
            Self::OutOfTime => "out_of_time",
            Self::Closing => "closing",
        }
    }

    fn error(self) -> Error {
        let kind = match self {
            Self::Cut | Self::Failed | Self::Garbled | Self::TooLarge => Kind::Server,
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
        let Begun { held, rest, course, room } = begun;
        let Whose { request_id, model, turn } = whose;
        let live = Shared::new(Mutex::new(Some(Live { rest, place, _turn: turn })));
        let (watched, deadline) = (live.clone(), terms.deadline);
        let watching = tokio::spawn(async move {
            sleep_until(deadline).await;
            locked(&watched).take();
        });
        let shown = Kept {
            bytes: held,
            room,
            turn: None,
        };
        Self {
            request_id,
            model,
            held: Some(shown.into()),
            live,
            watching,
            course,
            breaking: None,
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
            recording: None,
        }
    }

    /// Keeps the answer when it has ended well.
    pub(super) fn recorded(mut self, recording: Option<Recording>) -> Self {
        self.recording = recording.map(Box::new);
        self
    }

    pub(super) fn into_body(self) -> Body {
        Body::new(self)
    }

    /// The next bytes for the client; `None` at the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        if let Some(held) = self.held.take().filter(|held| !held.is_empty()) {
            return Poll::Ready(Some(Ok(held)));
        }
        if let Some(broken) = self.breaking.take() {
            return Poll::Ready(self.break_off(broken));
        }
        while !self.is_over {
            let Poll::Ready(piece) = self.poll_piece(cx) else {
                self.limits.waits();
                let broken = ready!(self.poll_broken(cx));
                return Poll::Ready(self.break_off(broken));
            };
            let mut broken = match self.limits.moved() {
                true => match self.poll_broken(cx) {
                    Poll::Ready(broken) => Some(broken),
                    Poll::Pending => None,
                },
                false => None,
            };
            let piece = match piece {
                Some(Ok(piece)) => piece,
                Some(Err(how)) => return Poll::Ready(self.break_off(broken.unwrap_or(how))),
                None => return Poll::Ready(self.end()),
            };
            let passing = match &mut self.course {
                Course::Events(stream) => {
                    let passing = stream.pass(piece);
                    broken = Broken::by(stream.seen()).or(broken);
                    passing
                }
                Course::Plain(plain) => {
                    plain.look(&piece);
                    piece
                }
            };
            match (passing.is_empty(), broken) {
                (true, None) => {}
                (true, Some(broken)) => return Poll::Ready(self.break_off(broken)),
                (false, broken) => {
                    self.breaking = broken;
                    return Poll::Ready(Some(Ok(passing)));
                }
            }
        }
        Poll::Ready(None)
    }

    /// The next piece of the model's answer, or why there is none.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        let mut live = locked(&self.live);
        let Some(Live { rest, .. }) = live.as_mut() else {
            return Poll::Ready(Some(Err(Broken::OutOfTime)));
        };
        let frame = ready!(Pin::new(rest).poll_frame(cx));
        let piece = frame.map(|frame: Result<_, http1::Error>| match frame {
            Ok(frame) => Ok(frame.into_data().unwrap_or_default()),
            Err(_) => Err(Broken::Cut),
        });
        Poll::Ready(piece)
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
                    let broken = Broken::by(stream.seen()).unwrap_or(Broken::Cut);
                    if last.is_empty() {
                        return self.break_off(broken);
                    }
                    self.breaking = Some(broken);
                    return Some(Ok(last));
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
        if is_done && !matches!(broken, Broken::Failed | Broken::Garbled | Broken::TooLarge) {
            return None;
        }
        self.recording = None;
        if matches!(broken, Broken::Cut | Broken::Failed | Broken::Garbled | Broken::Stalled)
            && let Some(Live { place, .. }) = locked(&self.live).as_ref()
        {
            place.failed();
        }
        self.tally.broke(broken.outcome());
        let is_copy = self.tally.is_copy;
        let (id, model) = (self.request_id.as_ref().and_then(|id| id.to_str().ok()), &self.model);
        let cause = match &self.course {
            Course::Events(stream) => stream.seen().error.as_ref().map(Error::label),
            Course::Plain(_) => None,
        };
        if !is_copy {
            tracing::warn!(id, %model, cause, "an answer is not whole: {broken}");
        }
        // Only whole events have passed, so this one stands by itself.
        Some(match &mut self.course {
            Course::Events(stream) => Ok(stream.fail(&broken.error())),
            Course::Plain(_) => Err(broken),
        })
    }

    /// What follows the answer. Now that all of it has been taken it is kept.
    fn last(&mut self) -> Option<HeaderMap> {
        if let Some(recording) = self.recording.take() {
            recording.keep();
        }
        self.trailers.take()
    }

    fn finish(&mut self, is_whole: bool) {
        self.is_over = true;
        if !is_whole {
            self.recording = None;
        }
        self.charge(is_whole);
        self.tally.end(StatusCode::OK);
    }

    fn charge(&mut self, is_whole: bool) {
        let Self {
            course,
            bill,
            tally,
            trailers,
            ..
        } = self;
        trailers.of(&tally.charge(bill, course.tokens(), is_whole, || course.seen()));
    }
}

/// The client hung up, or never took the end.
impl Drop for Relay {
    fn drop(&mut self) {
        self.watching.abort();
        if !self.is_over {
            let is_out_of_time = locked(&self.live).is_none();
            match self.breaking.or(is_out_of_time.then_some(Broken::OutOfTime)) {
                Some(broken) => drop(self.break_off(broken)),
                // Whoever has taken the mark of the end has had all of it.
                None if self.is_done() => self.finish(true),
                None => self.charge(false),
            }
        }
        // Now, and not when the task that watched the time is gone.
        locked(&self.live).take();
    }
}

impl HttpBody for Relay {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Poll::Ready(match ready!(self.poll_next(cx)) {
            Some(Ok(piece)) => {
                self.tally.sends(&piece);
                if self.recording.as_mut().is_some_and(|recording| !recording.write(&piece)) {
                    self.recording = None;
                }
                Some(Ok(Frame::data(piece)))
            }
            Some(Err(broken)) => Some(Err(broken)),
            None => self.last().map(|trailers| Ok(Frame::trailers(trailers))),
        })
    }
}

/// How long the next piece may take. One timer for the whole answer: pieces only note that they came, and the timer looks when it is due.
struct Limits {
    idle: Duration,
    deadline: Instant,
    /// When the last piece came, or when it was begun to wait for the next.
    moved: Instant,
    is_waiting: bool,
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
            is_waiting: false,
            looked: now,
            timer: Box::pin(sleep_until((now + idle).min(deadline))),
            is_done: false,
        }
    }

    /// A piece is waited for: only from now on, as nobody asked for it while the client took others.
    fn waits(&mut self) {
        if !self.is_waiting {
            self.is_waiting = true;
            self.moved = Instant::now();
        }
    }

    /// A piece has come; whether it is time to look at what a timer would tell.
    fn moved(&mut self) -> bool {
        self.is_waiting = false;
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
