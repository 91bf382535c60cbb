//! Requests to models over HTTP/1.1. Each is carried out by the task that makes it, and its answer is read by the task that passes it on:
//! no task per connection, no channel and no wake-up in between.
//!
//! ```text
//! pool ──take──► exchange: write, read the head ──► Incoming: read the body ──whole──► pool
//!  └─none: connect ─►┘                                   └─dropped before its end: the connection closes
//! ```

mod exchange;
mod framing;
mod head;
mod incoming;
#[cfg(test)]
mod judge;
mod pool;
#[cfg(test)]
mod tests;

use std::io;

pub(super) use exchange::exchange;
pub(super) use incoming::Incoming;
pub(super) use pool::{Home, Origin, Pool};

use axum::BoxError;
use bytes::BytesMut;

use super::connect::Stream;

/// The room that is made for the next read: most answers and their heads, or many events.
const ROOM: usize = 8 << 10;
/// The least room that is read into: a read that fills its room costs another to learn that there is no more.
const LEAST_ROOM: usize = 2 << 10;
/// The most room, for bodies that fill what they are given.
const MOST_ROOM: usize = 64 << 10;

/// Why a request got no answer, or its answer no end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// There is no connection.
    #[error("connecting failed")]
    Connect(#[source] BoxError),
    /// The connection closed before the first byte of an answer. The request may have arrived or not.
    #[error("the connection closed before an answer came")]
    Dropped(#[source] io::Error),
    /// The connection broke in the middle of an answer.
    #[error("the connection broke in the middle of an answer")]
    Cut(#[source] io::Error),
    /// The answer is not one in HTTP/1.1.
    #[error("the answer is not HTTP: {0}")]
    NotHttp(&'static str),
}

impl Error {
    /// Whether nothing has been sent.
    pub(super) fn is_connect(&self) -> bool {
        matches!(self, Self::Connect(_))
    }

    /// Whether what came is not HTTP.
    pub(super) fn is_not_http(&self) -> bool {
        matches!(self, Self::NotHttp(_))
    }

    /// Whether the connection closed before any byte of an answer.
    pub(super) fn is_dropped(&self) -> bool {
        matches!(self, Self::Dropped(_))
    }
}

/// An open connection, and what was read from it and not yet used.
pub(super) struct Connection {
    stream: Stream,
    read: BytesMut,
    /// Where the heads of requests are written.
    head: BytesMut,
    /// How much room the next read gets.
    room: usize,
    home: Home,
}

impl Connection {
    pub(super) fn new(stream: Stream, home: Home) -> Self {
        Self {
            stream,
            read: BytesMut::new(),
            head: BytesMut::new(),
            room: ROOM,
            home,
        }
    }
}
