//! One request over one connection, until the head of its answer.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use http::{Request, Response};
use tokio::io::AsyncWrite;

use super::head::{self, Head, Outgoing};
use super::{Connection, Error, Incoming};

/// The parts of a request that are written at once: its head, and its body in five.
const PARTS: usize = 6;

/// The room for the head of a request.
const HEAD: usize = 1 << 10;

/// Sends a request and reads the head of its answer.
pub(in crate::gateway) async fn exchange<B: Buf>(mut connection: Connection, request: Request<B>) -> Result<Response<Incoming>, Error> {
    let (parts, body) = request.into_parts();
    let mut head = std::mem::take(&mut connection.head);
    head.reserve(HEAD);
    head::write(&mut head, &parts.method, &parts.uri, &parts.headers, body.remaining());
    let mut outgoing = Outgoing { head, body };
    let mut failed = None;
    let Head { parts, framing, is_kept } = poll_fn(|cx| connection.poll(cx, &mut outgoing, &mut failed)).await?;
    // One that answers before it has read everything will take the rest for another request.
    let is_kept = is_kept && !outgoing.has_remaining() && failed.is_none();
    outgoing.head.clear();
    connection.head = outgoing.head;
    Ok(Response::from_parts(parts, Incoming::new(connection, framing, is_kept)))
}

impl Connection {
    /// Writes what is left, and reads meanwhile: a server may answer before it has taken everything, and then take no more.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &mut Outgoing<impl Buf>,
        failed: &mut Option<io::Error>,
    ) -> Poll<Result<Head, Error>> {
        if failed.is_none()
            && let Poll::Ready(Err(error)) = self.poll_send(cx, outgoing)
        {
            // What it said before it closed is still there to be read.
            *failed = Some(error);
        }
        loop {
            let had = self.read.len();
            match self.poll_more(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => {
                    let end = failed.take().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
                    return Poll::Ready(Err(if had == 0 { Error::Dropped(end) } else { Error::Cut(end) }));
                }
                Poll::Ready(Err(error)) if had == 0 => return Poll::Ready(Err(Error::Dropped(error))),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Error::Cut(error))),
                Poll::Ready(Ok(_)) => {}
            }
            if let Some(head) = head::read(&mut self.read).transpose() {
                return Poll::Ready(head);
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, outgoing: &mut Outgoing<impl Buf>) -> Poll<io::Result<()>> {
        while outgoing.has_remaining() {
            let mut slices = [IoSlice::new(&[]); PARTS];
            let count = outgoing.chunks_vectored(&mut slices);
            let written = match Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count]) {
                Poll::Ready(written) => written?,
                Poll::Pending => return Poll::Pending,
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            outgoing.advance(written);
        }
        // TLS keeps what did not fit into the socket.
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}
