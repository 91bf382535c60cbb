//! The body of an answer, read when it is asked for. Its connection goes back to the pool when all of it has been taken; dropped before,
//! it closes.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::AsyncReadExt;

use super::framing::Framing;
use super::{Connection, Error, LEAST_ROOM, MOST_ROOM, ROOM};

/// The body of an answer.
pub(in crate::gateway) struct Incoming {
    /// Until all is taken, or it broke.
    connection: Option<Connection>,
    framing: Framing,
    is_kept: bool,
}

impl Incoming {
    pub(super) fn new(connection: Connection, framing: Framing, is_kept: bool) -> Self {
        let mut body = Self {
            connection: Some(connection),
            framing,
            is_kept,
        };
        if body.framing.is_done() {
            body.release();
        }
        body
    }

    /// Gives the connection back, if there is nothing in it that was not asked for.
    fn release(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.is_kept
            && connection.read.is_empty()
        {
            connection.go_home();
        }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        loop {
            let Some(connection) = &mut self.connection else {
                return Poll::Ready(None);
            };
            if !connection.read.is_empty() {
                let data = self.framing.take(&mut connection.read);
                if self.framing.is_done() {
                    self.release();
                }
                match data {
                    Ok(data) if data.is_empty() => continue,
                    Ok(data) => return Poll::Ready(Some(Ok(data))),
                    Err(error) => return self.fail(error),
                }
            }
            match ready!(connection.poll_more(cx)) {
                Ok(0) if self.framing == Framing::UntilClose => {
                    self.connection = None;
                    return Poll::Ready(None);
                }
                Ok(0) => return self.fail(Error::Cut(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) => return self.fail(Error::Cut(error)),
            }
        }
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<Bytes, Error>>> {
        self.connection = None;
        Poll::Ready(Some(Err(error)))
    }
}

impl Connection {
    /// Reads what there is; 0 at the end.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read.capacity() - self.read.len() < LEAST_ROOM {
            self.read.reserve(self.room);
        }
        let room = self.read.capacity() - self.read.len();
        let read = ready!(pin!(self.stream.read_buf(&mut self.read)).poll(cx))?;
        // More is likely to follow what fills its room.
        self.room = if read == room { (self.room * 2).min(MOST_ROOM) } else { self.room };
        Poll::Ready(Ok(read))
    }

    /// Whether it can take another request: the other side has neither closed it nor said what was not asked for.
    pub(super) fn is_silent(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll_more(cx).is_pending()
    }

    /// Puts it back into the pool it is of.
    pub(super) fn go_home(mut self) {
        // What a large answer needed is not kept for the next.
        if self.room > ROOM {
            self.room = ROOM;
            self.read = BytesMut::new();
        }
        let home = self.home.clone();
        home.put(self);
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.poll_data(cx).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.framing, &self.connection) {
            (Framing::Length(left), _) => SizeHint::with_exact(*left),
            (_, None) => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}
