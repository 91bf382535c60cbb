//! Reading bodies into bounded memory: each body has a limit, and all of them together have one, with the answers that are held.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::refusal::Refusal;

/// A client that sends its request slower than this is refused.
const READ_TIME: Duration = Duration::from_secs(60);
/// How long a request waits for others to leave room.
const ROOM_TIME: Duration = Duration::from_secs(5);
/// The unit of room; small enough that a usual request takes one.
const PAGE: usize = 4096;

/// The room for bodies.
pub(super) struct Room {
    pages: Arc<Semaphore>,
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
        Self {
            pages: Arc::new(Semaphore::new((together / PAGE).clamp(1, Semaphore::MAX_PERMITS))),
        }
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
        match timeout(READ_TIME, self.collect(body, limit)).await {
            Ok(held) => held,
            Err(_) => Err(Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                "the request did not arrive in time",
            )),
        }
    }

    /// Takes room as the bytes come: what is only announced must not keep others out.
    async fn collect(&self, mut body: Body, limit: usize) -> Result<Held, Refusal> {
        let mut room = Taken::default();
        // Most bodies come in one piece, which is then passed on without a copy.
        let mut first = Bytes::new();
        let mut more = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "incomplete_request", "the request ended too early"))?;
            let Ok(piece) = frame.into_data() else { continue };
            let length = first.len().max(more.len()) + piece.len();
            if length > limit {
                return Err(Refusal::too_large(limit));
            }
            if !room.grow(self, length).await {
                return Err(Refusal::overloaded("the gateway holds as many requests as it can: try again later"));
            }
            if first.is_empty() && more.is_empty() {
                first = piece;
                continue;
            }
            if more.is_empty() {
                more.reserve(length);
                more.extend_from_slice(&std::mem::take(&mut first));
            }
            more.extend_from_slice(&piece);
        }
        let bytes = if more.is_empty() { first } else { more.freeze() };
        Ok(Held { bytes, _room: room })
    }
}

impl Taken {
    /// Whether there is room for so many bytes now, or soon.
    pub(super) async fn grow(&mut self, room: &Room, bytes: usize) -> bool {
        if self.grow_at_once(room, bytes) {
            return true;
        }
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

/// A body that is sent in one piece, and the room it takes until it is sent.
pub(super) struct Kept {
    pub(super) bytes: Bytes,
    pub(super) room: Taken,
}

impl Kept {
    pub(super) fn into_body(self) -> Body {
        if self.room.is_none() {
            return Body::from(self.bytes);
        }
        let Self { bytes, room } = self;
        // The room is given back with the last of the bytes, which the connection holds until it has written them.
        Body::from(Bytes::from_owner(Counted { bytes, _room: room }))
    }
}

struct Counted {
    bytes: Bytes,
    _room: Taken,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
