//! Reading request bodies into bounded memory: each body has a limit, and all of them together have one.

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

/// A body, and the room it takes until it is dropped.
pub(super) struct Held {
    pub(super) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
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
        let mut room = None;
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
            let has = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits) * PAGE;
            if length > has {
                let more = self.pages(length - has).await?;
                match &mut room {
                    Some(room) => room.merge(more),
                    None => room = Some(more),
                }
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

    async fn pages(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let pages = u32::try_from(bytes.div_ceil(PAGE)).unwrap_or(u32::MAX);
        if let Ok(permit) = self.pages.clone().try_acquire_many_owned(pages) {
            return Ok(permit);
        }
        match timeout(ROOM_TIME, self.pages.clone().acquire_many_owned(pages)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => {
                let message = "the gateway holds as many requests as it can: try again later";
                Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message))
            }
        }
    }
}
