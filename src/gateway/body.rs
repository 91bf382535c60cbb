//! Reading bodies into bounded memory: each body has a limit, and all of them together have one, with what is made of them and the answers
//! that are held.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;
use std::{io, iter};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::refusal::Refusal;
use super::turns::Turn;

/// How long the next piece of a body may take.
const PIECE_TIME: Duration = Duration::from_secs(30);
/// How long a whole body may take, and what more it is given for each second: a large one needs its time on a slow line, and one that comes
/// drop by drop is refused.
const READ_TIME: Duration = Duration::from_secs(60);
const LEAST_BYTES_PER_SECOND: usize = 64 << 10;
/// How long a request waits for others to leave room.
const ROOM_TIME: Duration = Duration::from_secs(5);
/// The unit of room; small enough that a usual request takes one.
const PAGE: usize = 4096;

/// The room for bodies.
pub(super) struct Room {
    pages: Arc<Semaphore>,
    most: usize,
    /// Told when a request finds no room at once.
    is_short: Notify,
}

/// Room that is taken until this is dropped.
#[derive(Debug, Default)]
pub(super) struct Taken(Option<OwnedSemaphorePermit>);

/// A body, and the room it takes until it is dropped.
pub(super) struct Held {
    pub(super) bytes: Bytes,
    _room: Taken,
}

impl Room {
    pub(super) fn new(together: usize) -> Self {
        let most = (together / PAGE).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            pages: Arc::new(Semaphore::new(most)),
            most,
            is_short: Notify::new(),
        }
    }

    /// Room for so many bytes that may be given up, if that leaves half of all room for those that may not.
    pub(super) fn spare(&self, bytes: usize) -> Option<Taken> {
        let leaves = self.pages.available_permits().checked_sub(bytes.div_ceil(PAGE))?;
        let mut taken = Taken::default();
        (leaves >= self.most / 2 && taken.grow_at_once(self, bytes)).then_some(taken)
    }

    /// Waits until somebody finds no room at once: what was only spared is to be given up then.
    pub(super) async fn is_short(&self) {
        self.is_short.notified().await;
    }

    /// Whether so many bytes would fit if there were nothing else.
    pub(super) fn could_hold(&self, bytes: usize) -> bool {
        bytes.div_ceil(PAGE) <= self.most
    }

    /// Reads a whole body of up to `limit` bytes.
    pub(super) async fn read(&self, headers: &HeaderMap, body: Body, limit: usize) -> Result<Held, Refusal> {
        let announced = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.parse::<usize>().ok());
        if announced.is_some_and(|length| length > limit) {
            return Err(Refusal::too_large(limit));
        }
        self.collect(body, announced, limit).await
    }

    /// Takes room as the bytes come: what is only announced must not keep others out.
    async fn collect(&self, mut body: Body, announced: Option<usize>, limit: usize) -> Result<Held, Refusal> {
        let mut room = Taken::default();
        // Most bodies come in one piece, which is then passed on without a copy.
        let mut first = Bytes::new();
        let mut more = BytesMut::new();
        let began = Instant::now();
        loop {
            let came = Duration::from_secs((first.len().max(more.len()) / LEAST_BYTES_PER_SECOND) as u64);
            let until = (Instant::now() + PIECE_TIME).min(began + READ_TIME + came);
            let Some(frame) = timeout_at(until, body.frame()).await.map_err(|_| too_slow())? else {
                break;
            };
            let frame = frame.map_err(|error| unread(&error))?;
            let Ok(piece) = frame.into_data() else { continue };
            let length = first.len().max(more.len()) + piece.len();
            if length > limit {
                return Err(Refusal::too_large(limit));
            }
            // What grows without a known end is given twice what it had, and is copied there.
            let is_known = announced.is_some() || (first.is_empty() && more.is_empty());
            if !room
                .grow(self, if is_known { length } else { length.max(2 * more.capacity()) })
                .await
            {
                return Err(Refusal::overloaded("the gateway holds as many requests as it can: try again later"));
            }
            if first.is_empty() && more.is_empty() {
                first = piece;
                continue;
            }
            if more.is_empty() {
                // Of what is only announced nothing is in memory before it is written.
                more.reserve(announced.unwrap_or(length).max(length));
                more.extend_from_slice(&std::mem::take(&mut first));
            }
            more.extend_from_slice(&piece);
        }
        let bytes = if more.is_empty() { first } else { more.freeze() };
        Ok(Held { bytes, _room: room })
    }
}

fn too_slow() -> Refusal {
    let message =
        "the request did not arrive in time: its next piece may take 30 seconds, and all of it a minute, and a second more for each 64 KiB";
    Refusal::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", message)
}

/// Why no more of a body can be read.
fn unread(error: &axum::Error) -> Refusal {
    let causes = iter::successors(error.source(), |error| (*error).source());
    let is_malformed = |error: &io::Error| matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData);
    let (code, message) = match causes.filter_map(|error| error.downcast_ref::<io::Error>()).any(is_malformed) {
        true => (
            "malformed_request",
            "the body is not in the chunks of HTTP/1.1 that its head announces: correct their sizes",
        ),
        false => ("incomplete_request", "the request ended too early"),
    };
    Refusal::new(StatusCode::BAD_REQUEST, code, message)
}

impl Taken {
    /// Whether there is room for so many bytes now, or soon.
    pub(super) async fn grow(&mut self, room: &Room, bytes: usize) -> bool {
        if self.grow_at_once(room, bytes) {
            return true;
        }
        room.is_short.notify_waiters();
        match timeout(ROOM_TIME, room.pages.clone().acquire_many_owned(self.missing(bytes))).await {
            Ok(Ok(more)) => {
                self.add(more);
                true
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Whether there is room for so many bytes now.
    pub(super) fn grow_at_once(&mut self, room: &Room, bytes: usize) -> bool {
        let missing = self.missing(bytes);
        if missing == 0 {
            return true;
        }
        let more = room.pages.clone().try_acquire_many_owned(missing);
        more.map(|more| self.add(more)).is_ok()
    }

    /// Gives back what is more than so many bytes need.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let pages = bytes.div_ceil(PAGE);
        if pages == 0 {
            self.0 = None;
        } else if let Some(room) = &mut self.0 {
            drop(room.split(room.num_permits().saturating_sub(pages)));
        }
    }

    /// Whether it is none.
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    fn missing(&self, bytes: usize) -> u32 {
        let has = self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        u32::try_from(bytes.div_ceil(PAGE).saturating_sub(has)).unwrap_or(u32::MAX)
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.0 {
            Some(room) => room.merge(more),
            None => self.0 = Some(more),
        }
    }
}

/// What is sent in one piece, with what is taken for it until it is sent.
pub(super) struct Kept {
    pub(super) bytes: Bytes,
    pub(super) room: Taken,
    /// Of an answer that ends with it.
    pub(super) turn: Option<Turn>,
}

impl From<Kept> for Bytes {
    fn from(kept: Kept) -> Self {
        if kept.room.is_none() && kept.turn.is_none() {
            return kept.bytes;
        }
        // Room and turn are given back with the last of the bytes, which the connection holds until it has written them.
        Self::from_owner(kept)
    }
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
