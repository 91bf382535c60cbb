//! One request to one endpoint of one model, up to the point where its answer may be shown to the client. Until then a failure costs the
//! client nothing but time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;
use super::http1::Incoming;
use super::upstream::Upstream;
use crate::plan::routing::Timeouts;
use crate::protocol::error::{Error, Kind};
use crate::protocol::exchange::{Back, Exchange, Whole};
use crate::protocol::root_cause;
use crate::protocol::stream::Stream;

/// A plain answer up to this size is shown only when it is whole, so that one that breaks off can still be asked of another model.
const WHOLE_LIMIT: usize = 1 << 20;
/// The largest plain answer that is read to be written in another protocol.
const TRANSLATED_LIMIT: usize = 32 << 20;
/// The opening of a stream that is held back until content comes.
const OPENING_LIMIT: usize = 64 << 10;
/// What is read of an error, and for how long.
const ERROR_LIMIT: usize = 64 << 10;
const ERROR_TIME: Duration = Duration::from_secs(5);

/// What is sent where, and until when.
pub(super) struct Attempt<'a> {
    pub(super) url: &'a Uri,
    pub(super) headers: HeaderMap,
    pub(super) exchange: &'a Exchange,
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
    /// All of it, in the client's protocol.
    Whole(Parts, Whole),
    /// Its beginning; the rest is to come.
    Begun(Parts, Box<Begun>),
    /// The request is at fault: what the provider says of it, which is no other's business.
    Refused(Box<Refused>),
}

/// The beginning of an answer.
pub(super) struct Begun {
    /// What has come.
    pub(super) held: Bytes,
    /// What is to come.
    pub(super) rest: Incoming,
    /// How its events are read, if it has any.
    pub(super) stream: Option<Stream>,
}

/// A provider's word that the request is at fault.
pub(super) struct Refused {
    pub(super) head: Parts,
    /// Its own words.
    pub(super) body: Bytes,
    /// What they mean.
    pub(super) error: Error,
}

impl Attempt<'_> {
    /// Makes the attempt.
    pub(super) async fn make(self, upstream: &Upstream) -> Result<Answer, Failure> {
        let first_by = if self.is_streamed {
            (Instant::now() + self.timeouts.first_token).min(self.deadline)
        } else {
            self.deadline
        };
        let mut request = Request::new(Full::new(self.exchange.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = self.headers;
        let waiting = Waiting {
            back: &self.exchange.back,
            timeouts: self.timeouts,
            first_by,
            deadline: self.deadline,
        };
        let (head, body) = match timeout_at(first_by, upstream.send(request, self.timeouts.connect)).await {
            Ok(Ok(response)) => response.into_parts(),
            Ok(Err(error)) if error.is_connect() => return Err(Failure::Unreachable(root_cause(&error))),
            Ok(Err(error)) if error.is_dropped() => return Err(Failure::Dropped),
            Ok(Err(error)) => return Err(Failure::Cut(root_cause(&error))),
            Err(_) => return Err(waiting.silent()),
        };
        if self.may_be_lacking && head.status == StatusCode::NOT_FOUND {
            return Err(Failure::Lacking);
        }
        if !head.status.is_success() {
            return waiting.for_error(head, body).await;
        }
        if has_events(&head.headers) {
            waiting.for_content(head, body).await
        } else {
            waiting.for_all(head, body).await
        }
    }
}

struct Waiting<'a> {
    back: &'a Back,
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

    /// Reads what went wrong, and whether it is the fault of the model, of us, or of the client: what is the client's fault is its answer.
    async fn for_error(&self, head: Parts, body: Incoming) -> Result<Answer, Failure> {
        let until = (Instant::now() + ERROR_TIME).min(self.deadline);
        let body = match timeout_at(until, Limited::new(body, ERROR_LIMIT).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            // The status says enough.
            Ok(Err(_)) | Err(_) => Bytes::new(),
        };
        let kind = head.headers.get("x-amzn-errortype").and_then(|kind| kind.to_str().ok());
        let error = self.back.error(head.status.as_u16(), kind, &body);
        if is_the_clients(head.status, error.kind) {
            return Ok(Answer::Refused(Box::new(Refused { head, body, error })));
        }
        let advice = head.headers.get(header::RETRY_AFTER).cloned();
        Err(Failure::Status(head.status, advice, error.message))
    }

    /// Waits for the first content of a streamed answer.
    async fn for_content(&self, head: Parts, mut rest: Incoming) -> Result<Answer, Failure> {
        let mut stream = self.back.stream();
        let mut held = Bytes::new();
        loop {
            let passed = match timeout_at(self.first_by, rest.frame()).await {
                Ok(Some(Ok(frame))) => frame.into_data().map(|piece| stream.pass(piece)).unwrap_or_default(),
                Ok(Some(Err(error))) => return Err(Failure::Cut(root_cause(&error))),
                Ok(None) => {
                    let last = stream.end();
                    if !stream.seen().done {
                        return Err(Failure::Cut("the stream ended before its first content".to_owned()));
                    }
                    last
                }
                Err(_) => return Err(self.silent()),
            };
            held = if held.is_empty() { passed } else { [held, passed].concat().into() };
            let seen = stream.seen();
            if seen.failed {
                return self.failed(head, seen.error.clone());
            }
            if seen.content || held.len() > OPENING_LIMIT {
                let stream = Some(stream);
                return Ok(Answer::Begun(head, Box::new(Begun { held, rest, stream })));
            }
        }
    }

    /// An error in place of an answer, under a status that promised one.
    fn failed(&self, mut head: Parts, error: Option<Error>) -> Result<Answer, Failure> {
        match error {
            Some(error) if matches!(error.kind, Kind::ContentFilter | Kind::ContextLength) => {
                head.status = StatusCode::BAD_REQUEST;
                let body = Bytes::new();
                Ok(Answer::Refused(Box::new(Refused { head, body, error })))
            }
            error => Err(Failure::Failed(error.map(|error| error.message))),
        }
    }

    /// Waits for the end of a plain answer, or until it is too large to be held.
    async fn for_all(&self, head: Parts, mut rest: Incoming) -> Result<Answer, Failure> {
        let mut held = BytesMut::new();
        let mut until = self.first_by;
        let limit = if self.back.is_unchanged() { WHOLE_LIMIT } else { TRANSLATED_LIMIT };
        loop {
            match timeout_at(until, rest.frame()).await {
                Ok(Some(Ok(frame))) => held.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Ok(None) if held.is_empty() => return Err(Failure::Cut("the answer is empty".to_owned())),
                Ok(None) => return self.whole(head, held.freeze()),
                Ok(Some(Err(error))) => return Err(Failure::Cut(root_cause(&error))),
                Err(_) if until == self.deadline => return Err(Failure::OutOfTime),
                Err(_) if held.is_empty() => return Err(self.silent()),
                Err(_) => return Err(Failure::Cut(format!("nothing more came within {:?}", self.timeouts.idle))),
            }
            if held.len() > limit {
                if !self.back.is_unchanged() {
                    return Err(Failure::Garbled);
                }
                let held = held.freeze();
                return Ok(Answer::Begun(head, Box::new(Begun { held, rest, stream: None })));
            }
            until = (Instant::now() + self.timeouts.idle).min(self.deadline);
        }
    }

    fn whole(&self, head: Parts, body: Bytes) -> Result<Answer, Failure> {
        match self.back.whole(body) {
            Ok(whole) => Ok(Answer::Whole(head, whole)),
            Err(Some(error)) => self.failed(head, Some(error)),
            Err(None) => Err(Failure::Garbled),
        }
    }
}

/// Whether an error is the client's fault. Our key, our bill, their conflict or their load is not: another model may do better.
fn is_the_clients(status: StatusCode, kind: Kind) -> bool {
    match kind {
        Kind::ContentFilter | Kind::ContextLength => true,
        Kind::InvalidRequest | Kind::NotFound | Kind::TooLarge => {
            status.is_client_error() && !matches!(status.as_u16(), 401..=403 | 407..=409 | 425 | 429)
        }
        Kind::Authentication | Kind::Permission | Kind::RateLimit | Kind::Overloaded | Kind::Timeout | Kind::Server => false,
    }
}

/// Events that can be read: compressed ones cannot, and pass as they are.
fn has_events(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_plain = headers.get(header::CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity");
    let starts_with = |kind: &[u8]| content_type.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind));
    is_plain && (starts_with(b"text/event-stream") || starts_with(b"application/vnd.amazon.eventstream"))
}
