//! One request to one endpoint of one model, up to the point where its answer may be shown to the client. Until then a failure costs the
//! client nothing but time.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Body;
use tokio::time::{Instant, timeout_at};

use super::bill::Bill;
use super::body::{Room, Taken};
use super::failure::Failure;
use super::http1::Incoming;
use super::tally::Tally;
use super::upstream::Upstream;
use super::versions::Versions;
use crate::plan::routing::Backend;
use crate::plan::routing::Timeouts;
use crate::protocol::error::{Error, Kind};
use crate::protocol::exchange::{Asked, Back, Exchange, Whole};
use crate::protocol::stream::{Fault, Plain, Stream};
use crate::protocol::usage::Tokens;
use crate::protocol::{estimate, root_cause};

/// A plain answer up to this size needs no room: as many are held as there are requests in flight, and most are smaller.
const SMALL: usize = 64 << 10;
/// A plain answer up to this size is shown only when it is whole, so that one that breaks off can still be asked of another model.
const WHOLE_LIMIT: usize = 1 << 20;
/// The largest plain answer that is read to be written in another protocol, or with the identifiers that the model did not see.
const TRANSLATED_LIMIT: usize = 32 << 20;
/// So many times its bytes such an answer takes: as it came, as it is read, and as it is written.
const TRANSLATED_TAKES: usize = 4;
/// The opening of a stream that is held back until content comes, beside what repeats the request: OpenAI's Responses do, twice.
const OPENING_LIMIT: usize = 64 << 10;
/// A connection that is closed within it closed before the request came.
const AT_ONCE: Duration = Duration::from_secs(1);
/// What is read of an error, and for how long.
const ERROR_LIMIT: usize = 64 << 10;
const ERROR_TIME: Duration = Duration::from_secs(5);

/// What is sent where, and until when.
pub(super) struct Attempt<'a> {
    pub(super) url: &'a Uri,
    pub(super) headers: HeaderMap,
    /// What the client asked.
    pub(super) asked: &'a Asked,
    pub(super) exchange: &'a Exchange,
    /// Whether 404 says that this endpoint does not have the model yet, rather than that the request asks for what is nowhere.
    pub(super) may_be_lacking: bool,
    /// Where answers that are held are counted.
    pub(super) room: &'a Room,
    pub(super) timeouts: &'a Timeouts,
    /// When the time for the whole request is over.
    pub(super) deadline: Instant,
    /// What it costs, once it is sent.
    pub(super) bill: Bill,
    pub(super) tally: &'a mut Tally,
    /// Where it is noted which version answered.
    pub(super) versions: &'a Versions,
}

/// An answer that may be shown.
pub(super) enum Answer {
    /// All of it, in the client's protocol, and the room it takes.
    Whole(Parts, Whole, Taken),
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
    /// How it is looked at.
    pub(super) course: Course,
    /// The room that what has come takes.
    pub(super) room: Taken,
}

/// How an answer is looked at while it passes.
pub(super) enum Course {
    /// By its events.
    Events(Stream),
    /// As one document, too large to be held.
    Plain(Plain),
}

impl Course {
    /// Whether the mark of the end has come, if it has one.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Events(stream) => stream.seen().done,
            Self::Plain(_) => false,
        }
    }

    /// Whether it comes in events, which are known to be whole at their end.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Self::Events(_))
    }

    /// What the answer took, by the latest report.
    pub(super) fn tokens(&self) -> Option<Tokens> {
        match self {
            Self::Events(stream) => stream.tokens(),
            Self::Plain(plain) => plain.tokens(),
        }
    }

    /// Its tokens so far, by an estimate.
    pub(super) fn seen(&self) -> u64 {
        match self {
            Self::Events(stream) => estimate::of_text(stream.text_bytes()),
            Self::Plain(plain) => plain.estimate(),
        }
    }
}

/// A provider's word that the request is at fault.
pub(super) struct Refused {
    pub(super) head: Parts,
    /// Its own words.
    pub(super) body: Bytes,
    /// What they mean.
    pub(super) error: Error,
}

impl Refused {
    /// The same without what clients are not to see, where the other side repeats what it was shown: each of `hidden`, and what stands for it.
    pub(super) fn without(mut self, hidden: &[(&str, &str)]) -> Self {
        for (hidden, stand_in) in hidden.iter().filter(|(hidden, _)| !hidden.is_empty()) {
            if let Ok(text) = std::str::from_utf8(&self.body)
                && text.contains(hidden)
            {
                self.body = text.replace(hidden, stand_in).into();
            }
            let told = [Some(&mut self.error.message), self.error.code.as_mut(), self.error.param.as_mut()];
            for text in told.into_iter().flatten().filter(|text| text.contains(hidden)) {
                *text = text.replace(hidden, stand_in);
            }
        }
        self
    }
}

impl Attempt<'_> {
    /// Makes the attempt.
    pub(super) async fn make(self, upstream: &Upstream) -> Result<Answer, Failure> {
        // The first byte of an answer that is not streamed comes only when all of it is made.
        let began = Instant::now();
        let first_by = if self.asked.is_streamed() {
            (began + self.timeouts.first_token).min(self.deadline)
        } else {
            self.deadline
        };
        let mut request = Request::new(Full::new(self.exchange.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = self.headers;
        let model = Arc::clone(&self.bill.model);
        let waiting = Waiting {
            model: &model,
            versions: self.versions,
            asked: self.asked,
            back: &self.exchange.back,
            opening_limit: OPENING_LIMIT + 3 * self.exchange.body.remaining(),
            room: self.room,
            timeouts: self.timeouts,
            began,
            first_by,
            deadline: self.deadline,
        };
        let sent = || self.tally.sent(self.bill);
        let (head, body) = match timeout_at(first_by, upstream.send(request, self.timeouts.connect, sent)).await {
            Ok(Ok(response)) => response.into_parts(),
            Ok(Err(error)) if error.is_connect() => return Err(Failure::Unreachable(root_cause(&error))),
            // After a while it is no idle connection that was closed just then: something may have been made.
            Ok(Err(error)) if error.is_dropped() && began.elapsed() < AT_ONCE => return Err(Failure::Dropped),
            Ok(Err(error)) if error.is_not_http() => return Err(Failure::NotHttp(root_cause(&error))),
            Ok(Err(error)) => return Err(Failure::Cut(root_cause(&error))),
            Err(_) => return Err(waiting.silent()),
        };
        if self.may_be_lacking && head.status == StatusCode::NOT_FOUND {
            return Err(Failure::Lacking);
        }
        if !head.status.is_success() {
            return Box::pin(waiting.for_error(head, body)).await;
        }
        if is_compressed(&head.headers) {
            return Err(Failure::Compressed);
        }
        match (has_events(&head.headers), self.asked.is_streamed()) {
            (true, true) => waiting.for_content(head, body).await,
            (false, false) => waiting.for_all(head, body).await,
            // Neither is read by a client that expects the other.
            (true, false) => Err(Failure::Garbled),
            // An error may come so.
            (false, true) => match waiting.for_all(head, body).await? {
                refused @ Answer::Refused(_) => Ok(refused),
                Answer::Whole(..) | Answer::Begun(..) => Err(Failure::Garbled),
            },
        }
    }
}

struct Waiting<'a> {
    /// Who is asked.
    model: &'a Backend,
    versions: &'a Versions,
    asked: &'a Asked,
    back: &'a Back,
    opening_limit: usize,
    room: &'a Room,
    timeouts: &'a Timeouts,
    began: Instant,
    first_by: Instant,
    deadline: Instant,
}

impl Waiting<'_> {
    fn silent(&self) -> Failure {
        if self.first_by < self.deadline {
            Failure::Silent(self.timeouts.first_token)
        } else {
            self.out_of_time()
        }
    }

    fn out_of_time(&self) -> Failure {
        let was_long = self.began.elapsed() >= self.timeouts.first_token;
        Failure::OutOfTime { was_long }
    }

    /// Reads what went wrong, and whether it is the fault of the model, of us, or of the client: what is the client's fault is its answer.
    async fn for_error(&self, head: Parts, body: Incoming) -> Result<Answer, Failure> {
        let until = (Instant::now() + ERROR_TIME).min(self.deadline);
        let body = match timeout_at(until, Limited::new(body, ERROR_LIMIT).collect()).await {
            Ok(Ok(body)) if !is_compressed(&head.headers) => body.to_bytes(),
            // The status says enough.
            Ok(Ok(_) | Err(_)) | Err(_) => Bytes::new(),
        };
        let kind = head.headers.get("x-amzn-errortype").and_then(|kind| kind.to_str().ok());
        let error = self.back.error(head.status.as_u16(), kind, &body);
        let is_gone = head.status == StatusCode::NOT_FOUND && self.asked.goes_on_with_nothing(&error);
        if is_gone || is_the_clients(head.status, error.kind) {
            return Ok(Answer::Refused(Box::new(Refused { head, body, error })));
        }
        let in_body = || {
            self.back
                .advice(&body)
                .map(|wait| HeaderValue::from(wait.as_millis().div_ceil(1000) as u64))
        };
        let advice = head.headers.get(header::RETRY_AFTER).cloned().or_else(in_body);
        Err(Failure::Status(head.status, advice, error.label()))
    }

    /// Waits for the first content of a streamed answer.
    async fn for_content(&self, head: Parts, mut rest: Incoming) -> Result<Answer, Failure> {
        let mut stream = self.back.stream();
        let mut held = Bytes::new();
        let mut room = Taken::default();
        loop {
            let passed = match timeout_at(self.first_by, rest.frame()).await {
                Ok(Some(Ok(frame))) => frame.into_data().map(|piece| stream.pass(self.noted(piece))).unwrap_or_default(),
                Ok(Some(Err(error))) => return Err(Failure::Cut(root_cause(&error))),
                Ok(None) => {
                    let last = stream.end();
                    if !stream.seen().done && !stream.seen().failed {
                        return Err(Failure::Cut("the stream ended before its first content".to_owned()));
                    }
                    last
                }
                Err(_) => return Err(self.silent()),
            };
            held = joined(held, passed);
            let seen = stream.seen();
            match seen.fault {
                Some(Fault::Garbled) => return Err(Failure::Garbled),
                Some(Fault::TooLarge) => return Err(Failure::TooLarge),
                None if seen.failed => return self.failed(head, seen.error.clone()),
                None => {}
            }
            let has_room = held.len() <= SMALL || room.grow_at_once(self.room, held.len());
            if seen.content || held.len() > self.opening_limit || !has_room {
                let course = Course::Events(stream);
                return Ok(Answer::Begun(head, Box::new(Begun { held, rest, course, room })));
            }
        }
    }

    /// A piece as it came, once it is noted which version it says that it is of.
    fn noted(&self, piece: Bytes) -> Bytes {
        self.versions.note(self.model, &piece);
        piece
    }

    /// An error in place of an answer, under a status that promised one.
    fn failed(&self, mut head: Parts, error: Option<Error>) -> Result<Answer, Failure> {
        match error {
            Some(error) if matches!(error.kind, Kind::ContentFilter | Kind::ContextLength) => {
                head.status = StatusCode::BAD_REQUEST;
                let body = Bytes::new();
                Ok(Answer::Refused(Box::new(Refused { head, body, error })))
            }
            error => Err(Failure::Failed(error.map(|error| error.label()))),
        }
    }

    /// Waits for the end of a plain answer, or until it is too large to be held.
    async fn for_all(&self, head: Parts, mut rest: Incoming) -> Result<Answer, Failure> {
        let mut held = BytesMut::new();
        let mut taken = Taken::default();
        let mut until = self.first_by;
        let limit = if self.back.passes_in_parts() {
            WHOLE_LIMIT
        } else {
            TRANSLATED_LIMIT
        };
        loop {
            match timeout_at(until, rest.frame()).await {
                Ok(Some(Ok(frame))) => {
                    let piece = frame.into_data().unwrap_or_default();
                    // Most answers come in one piece, which is passed on without a copy.
                    if held.is_empty() && rest.is_end_stream() && !piece.is_empty() && piece.len() <= SMALL {
                        return self.whole(head, piece, taken);
                    }
                    held.extend_from_slice(&piece);
                }
                Ok(None) if held.is_empty() => return Err(Failure::Cut("the answer is empty".to_owned())),
                Ok(None) => return self.whole(head, held.freeze(), taken),
                Ok(Some(Err(error))) => return Err(Failure::Cut(root_cause(&error))),
                Err(_) if until == self.deadline => return Err(self.out_of_time()),
                Err(_) if held.is_empty() => return Err(self.silent()),
                Err(_) => return Err(Failure::Stalled(self.timeouts.idle)),
            }
            let has_room = held.len() <= SMALL || self.has_room(&mut taken, &held).await;
            if held.len() > limit || !has_room {
                if !self.back.passes_in_parts() {
                    return Err(if has_room { Failure::TooLarge } else { Failure::NoRoom });
                }
                let (held, room) = (self.noted(held.freeze()), taken);
                let mut plain = self.back.plain();
                plain.look(&held);
                let course = Course::Plain(plain);
                return Ok(Answer::Begun(head, Box::new(Begun { held, rest, course, room })));
            }
            until = (Instant::now() + self.timeouts.idle).min(self.deadline);
        }
    }

    /// Whether there is room for so much of a plain answer. One that must be read to be written anew waits for it; another is shown at once.
    async fn has_room(&self, taken: &mut Taken, held: &BytesMut) -> bool {
        if self.back.passes_in_parts() {
            return taken.grow_at_once(self.room, held.capacity());
        }
        taken.grow(self.room, held.capacity().max(TRANSLATED_TAKES * held.len())).await
    }

    fn whole(&self, head: Parts, body: Bytes, mut taken: Taken) -> Result<Answer, Failure> {
        match self.back.whole(self.noted(body)) {
            Ok(whole) => {
                if !self.back.passes_in_parts() && !taken.is_none() {
                    taken.shrink(whole.body.len());
                }
                Ok(Answer::Whole(head, whole, taken))
            }
            Err(Some(error)) => self.failed(head, Some(error)),
            Err(None) => Err(Failure::Garbled),
        }
    }
}

/// One after the other; without a copy where one is empty.
fn joined(held: Bytes, passed: Bytes) -> Bytes {
    if held.is_empty() {
        return passed;
    }
    let mut all = held.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    all.extend_from_slice(&passed);
    all.freeze()
}

/// Whether an error is the client's fault. Our key, our bill, a model or a path that is not there, their conflict or their load is not,
/// under whatever status: another model may do better.
fn is_the_clients(status: StatusCode, kind: Kind) -> bool {
    match kind {
        Kind::ContentFilter | Kind::ContextLength => true,
        Kind::InvalidRequest | Kind::TooLarge => matches!(status.as_u16(), 400 | 413 | 422),
        Kind::NotFound | Kind::Authentication | Kind::Permission | Kind::RateLimit | Kind::Overloaded | Kind::Timeout | Kind::Server => {
            false
        }
    }
}

/// Whether the body would have to be unpacked to be read, which was not asked for.
pub(super) fn is_compressed(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings.any(|encoding| !encoding.is_empty() && !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn has_events(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let starts_with = |kind: &[u8]| content_type.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind));
    starts_with(b"text/event-stream") || starts_with(b"application/vnd.amazon.eventstream")
}
