//! One request to one endpoint of one model, up to the point where its answer may be shown to the client. Until then a failure costs the
//! client nothing but time.

use std::error::Error;
use std::time::Duration;
use std::{fmt, io};

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::events::Events;
use super::upstream::Upstream;
use crate::plan::routing::Timeouts;
use crate::protocol::Spliced;
use crate::protocol::root_cause;

/// A plain answer up to this size is shown only when it is whole, so that one that breaks off can still be asked of another model.
const WHOLE_LIMIT: usize = 1 << 20;
/// The opening of a stream that is held back until content comes.
const OPENING_LIMIT: usize = 64 << 10;

/// What is sent where, and until when.
pub(super) struct Attempt<'a> {
    pub(super) url: &'a Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Spliced,
    /// Whether a streamed answer was asked for. The first byte of any other comes only when all of it is made.
    pub(super) is_streamed: bool,
    /// Whether 404 says that this endpoint does not have the model yet, rather than that the request asks for what is nowhere.
    pub(super) may_be_lacking: bool,
    pub(super) timeouts: &'a Timeouts,
    /// When the time for the whole request is over.
    pub(super) deadline: Instant,
}

/// An answer that may be shown.
pub(super) enum Answer {
    /// All of it.
    Whole(Parts, Bytes),
    /// Its beginning; the rest is to come.
    Begun(Parts, Begun),
}

/// The beginning of an answer.
pub(super) struct Begun {
    /// What has come.
    pub(super) held: Bytes,
    /// What is to come.
    pub(super) rest: Incoming,
    /// How its events are read, if it has any.
    pub(super) events: Option<Events>,
}

/// Why an attempt brought no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection, or not in time; and why.
    Unreachable(String),
    /// Nothing came in time.
    Silent(Duration),
    /// The connection closed instead of an answer. An idle one may have been closed by the other side just when the request was sent.
    Dropped,
    /// It ended before it was whole, or before its first content; and why.
    Cut(String),
    /// An error where content was expected.
    Failed,
    /// A status that another model may not have.
    Status(StatusCode, Option<HeaderValue>),
    /// This endpoint does not have the adapter that is asked for.
    Lacking,
    /// The gateway has no credentials for it yet.
    NoCredentials,
    /// The time for the whole request is over.
    OutOfTime,
}

impl Attempt<'_> {
    /// Makes the attempt.
    pub(super) async fn make(self, upstream: &Upstream) -> Result<Answer, Failure> {
        let first_by = if self.is_streamed {
            (Instant::now() + self.timeouts.first_token).min(self.deadline)
        } else {
            self.deadline
        };
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = self.headers;
        let waiting = Waiting {
            timeouts: self.timeouts,
            first_by,
            deadline: self.deadline,
        };
        let (head, body) = match timeout_at(first_by, upstream.send(request, self.timeouts.connect)).await {
            Ok(Ok(response)) => response.into_parts(),
            Ok(Err(error)) if error.is_connect() => return Err(Failure::Unreachable(root_cause(&error))),
            Ok(Err(error)) if is_dropped(&error) => return Err(Failure::Dropped),
            Ok(Err(error)) => return Err(Failure::Cut(root_cause(&error))),
            Err(_) => return Err(waiting.silent()),
        };
        if self.may_be_lacking && head.status == StatusCode::NOT_FOUND {
            return Err(Failure::Lacking);
        }
        if let Some(failure) = Failure::of(&head) {
            return Err(failure);
        }
        if has_events(&head.headers) {
            waiting.for_content(head, body).await
        } else {
            waiting.for_all(head, body).await
        }
    }
}

struct Waiting<'a> {
    timeouts: &'a Timeouts,
    first_by: Instant,
    deadline: Instant,
}

impl Waiting<'_> {
    fn silent(&self) -> Failure {
        if self.first_by < self.deadline {
            Failure::Silent(self.timeouts.first_token)
        } else {
            Failure::OutOfTime
        }
    }

    /// Waits for the first content of a streamed answer.
    async fn for_content(&self, head: Parts, mut rest: Incoming) -> Result<Answer, Failure> {
        let mut events = Events::default();
        let mut held = Bytes::new();
        loop {
            let passed = match timeout_at(self.first_by, rest.frame()).await {
                Ok(Some(Ok(frame))) => frame.into_data().map(|piece| events.pass(piece)).unwrap_or_default(),
                Ok(Some(Err(error))) => return Err(Failure::Cut(root_cause(&error))),
                Ok(None) => {
                    let last = events.end();
                    if !events.seen().done {
                        return Err(Failure::Cut("the stream ended before its first content".to_owned()));
                    }
                    last
                }
                Err(_) => return Err(self.silent()),
            };
            held = if held.is_empty() { passed } else { [held, passed].concat().into() };
            let seen = events.seen();
            if seen.failed {
                return Err(Failure::Failed);
            }
            if seen.content || held.len() > OPENING_LIMIT {
                let events = Some(events);
                return Ok(Answer::Begun(head, Begun { held, rest, events }));
            }
        }
    }

    /// Waits for the end of a plain answer, or until it is too large to be held.
    async fn for_all(&self, head: Parts, mut rest: Incoming) -> Result<Answer, Failure> {
        let mut held = BytesMut::new();
        let mut until = self.first_by;
        loop {
            match timeout_at(until, rest.frame()).await {
                Ok(Some(Ok(frame))) => held.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Ok(None) if held.is_empty() && head.status == StatusCode::OK => return Err(Failure::Cut("the answer is empty".to_owned())),
                Ok(None) => return Ok(Answer::Whole(head, held.freeze())),
                Ok(Some(Err(error))) => return Err(Failure::Cut(root_cause(&error))),
                Err(_) if until == self.deadline => return Err(Failure::OutOfTime),
                Err(_) if held.is_empty() => return Err(self.silent()),
                Err(_) => return Err(Failure::Cut(format!("nothing more came within {:?}", self.timeouts.idle))),
            }
            if held.len() > WHOLE_LIMIT {
                let held = held.freeze();
                return Ok(Answer::Begun(head, Begun { held, rest, events: None }));
            }
            until = (Instant::now() + self.timeouts.idle).min(self.deadline);
        }
    }
}

/// Whether the connection closed before any byte of an answer.
fn is_dropped(error: &(dyn Error + 'static)) -> bool {
    let is_end = |error: &hyper::Error| error.is_incomplete_message() || error.is_closed() || error.is_canceled();
    let is_reset = |error: &io::Error| matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe);
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref().is_some_and(is_end) || error.downcast_ref().is_some_and(is_reset) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Events that can be read: compressed ones cannot, and pass as they are.
fn has_events(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_plain = headers.get(header::CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity");
    is_plain
        && content_type
            .get(..17)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"text/event-stream"))
}

impl Failure {
    /// Whether the status is the fault of the model or of us. What is the client's fault is the client's answer.
    fn of(head: &Parts) -> Option<Self> {
        let is_ours = match head.status.as_u16() {
            200..=299 => false,
            // Our key, our bill, their conflict or their load: another model may do better.
            401 | 402 | 403 | 407 | 408 | 409 | 425 | 429 => true,
            400..=499 => false,
            _ => true,
        };
        is_ours.then(|| Self::Status(head.status, head.headers.get(header::RETRY_AFTER).cloned()))
    }

    /// Whether another endpoint of the same model may do better. `reached` says whether one was reached before: a request that breaks the
    /// engine must not visit every pod.
    pub(super) fn is_of_the_endpoint(&self, reached: bool) -> bool {
        match self {
            Self::Unreachable(_) | Self::Lacking => true,
            Self::Dropped | Self::Cut(_) | Self::Failed => !reached,
            Self::Status(status, _) => !reached && (status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS),
            Self::Silent(_) | Self::NoCredentials | Self::OutOfTime => false,
        }
    }

    /// What the error behind it says: for our logs only, as it may name addresses.
    pub(super) fn cause(&self) -> Option<&str> {
        match self {
            Self::Unreachable(cause) | Self::Cut(cause) => Some(cause),
            Self::Silent(_) | Self::Dropped | Self::Failed | Self::Status(..) | Self::Lacking | Self::NoCredentials | Self::OutOfTime => {
                None
            }
        }
    }

    /// A word for metrics.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Silent(_) => "silent",
            Self::Dropped => "dropped",
            Self::Cut(_) => "cut",
            Self::Failed => "failed",
            Self::Status(StatusCode::TOO_MANY_REQUESTS, _) => "throttled",
            Self::Status(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) | Self::NoCredentials => "credentials",
            Self::Status(..) => "refused",
            Self::Lacking => "lacking",
            Self::OutOfTime => "out_of_time",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(_) => f.write_str("could not be reached"),
            Self::Silent(limit) => write!(f, "sent nothing within {limit:?}"),
            Self::Dropped => f.write_str("closed the connection without an answer"),
            Self::Cut(_) => f.write_str("broke off before its answer was there"),
            Self::Failed => f.write_str("reported an error before its answer began"),
            Self::Status(status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN), _) => {
                write!(f, "refused the gateway's credentials ({})", status.as_u16())
            }
            Self::Status(StatusCode::TOO_MANY_REQUESTS, _) => f.write_str("has no capacity or quota left (429)"),
            Self::Status(status, _) => write!(f, "answered {}", status.as_u16()),
            Self::Lacking => f.write_str("has not loaded the adapter (404)"),
            Self::NoCredentials => f.write_str("has no credentials at this gateway yet"),
            Self::OutOfTime => f.write_str("had not answered when the time for the request was over"),
        }
    }
}
