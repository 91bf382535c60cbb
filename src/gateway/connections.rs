//! The connections of clients. HTTP/1.1 only: behind a Kubernetes Service each HTTP/2 client would stay at one replica. A client that does
//! not finish a request's head, or does not take its answer, loses its connection.

use std::time::Duration;
use std::{io, net};

use std::convert::Infallible;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::Front;
use super::lanes::{Lanes, Place};

/// How long the system is given when it has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The most of a request, or of an answer, that waits in a connection's own buffer; a slow client slows its model down.
const BUFFERED: usize = 64 << 10;

/// How long clients may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// To send the head of a request, and to send nothing in between two: longer than load balancers keep idle connections (60 s), so that
    /// it is they who close first.
    pub(super) head: Duration,
    /// To take any of what is sent.
    pub(super) take: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(90),
            take: Duration::from_secs(60),
        }
    }
}

/// All open connections.
pub(super) struct Connections {
    lanes: Lanes<(net::TcpStream, Watcher)>,
    open: GracefulShutdown,
    patience: Patience,
}

impl Connections {
    /// None yet.
    ///
    /// # Errors
    /// When the system gives no threads to serve them.
    pub(super) fn new(front: Front, patience: Patience) -> io::Result<Self> {
        let mut protocol = http1::Builder::new();
        protocol
            .timer(TokioTimer::new())
            .header_read_timeout(patience.head)
            .max_buf_size(BUFFERED);
        let serve = move |(stream, watcher): (net::TcpStream, Watcher), place: Place| {
            let stream = match TcpStream::from_std(stream) {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be served");
                    return;
                }
            };
            let front = front.clone();
            let service = service_fn(move |request| {
                let front = front.clone();
                async move { Ok::<_, Infallible>(front.answer(request).await) }
            });
            let connection = watcher.watch(protocol.serve_connection(TokioIo::new(stream), service));
            tokio::spawn(async move {
                let _place = place;
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended early");
                }
            });
        };
        Ok(Self {
            lanes: Lanes::start(serve)?,
            open: GracefulShutdown::new(),
            patience,
        })
    }

    /// Takes and serves connections until dropped.
    pub(super) async fn accept(&self, listener: &TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.serve(stream),
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be taken now");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn serve(&self, stream: TcpStream) {
        let socket = SockRef::from(&stream);
        let ready = socket
            .set_tcp_nodelay(true)
            .and_then(|()| socket.set_tcp_user_timeout(Some(self.patience.take)))
            .and_then(|()| stream.into_std());
        match ready {
            Ok(stream) => self.lanes.serve((stream, self.open.watcher())),
            Err(error) => tracing::debug!(%error, "a connection is gone already"),
        }
    }

    /// Closes idle connections, and the others after their present answer. Returns when all are closed.
    pub(super) async fn finish(self) {
        let Self { lanes, open, .. } = self;
        open.shutdown().await;
        drop(lanes);
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
