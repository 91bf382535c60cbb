//! The connections of clients. HTTP/1.1 only: behind a Kubernetes Service each HTTP/2 client would stay at one replica. A client that does
//! not finish a request's head, or does not take its answer, loses its connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use std::{io, net};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::Front;
use super::lanes::{Lanes, Place};

/// Connections beyond the most that are served, to say so to their clients; and how long each may take.
const SPARE: usize = 64;
const SPARE_TIME: Duration = Duration::from_secs(5);

/// How long the system is given when it has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The most of a request, or of an answer, that waits in a connection's own buffer; a slow client slows its model down. A head that does not
/// fit, with what one more read brings, is refused with 431.
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

/// One of the connections that there may be, until dropped.
struct Seat {
    _permit: OwnedSemaphorePermit,
    is_spare: bool,
}

/// All open connections.
pub(super) struct Connections {
    lanes: Lanes<(net::TcpStream, Watcher, Seat)>,
    seats: Arc<Semaphore>,
    spare: Arc<Semaphore>,
    open: GracefulShutdown,
    patience: Patience,
}

impl Connections {
    /// None yet.
    ///
    /// # Errors
    /// When the system gives no threads to serve them.
    pub(super) fn new(front: Front, patience: Patience) -> io::Result<Self> {
        let most = front.gateway.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        let mut protocol = http1::Builder::new();
        protocol
            .timer(TokioTimer::new())
            .header_read_timeout(patience.head)
            .max_buf_size(BUFFERED);
        let mut brief = protocol.clone();
        brief.header_read_timeout(SPARE_TIME);
        let serve = move |(stream, watcher, seat): (net::TcpStream, Watcher, Seat), place: Place| {
            let stream = match TcpStream::from_std(stream) {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be served");
                    return;
                }
            };
            let (front, is_spare) = (front.clone(), seat.is_spare);
            let service = service_fn(move |request| {
                let front = front.clone();
                async move { Ok::<_, Infallible>(front.answer(request, is_spare).await) }
            });
            let protocol = if is_spare { &brief } else { &protocol };
            let connection = watcher.watch(protocol.serve_connection(TokioIo::new(stream), service));
            tokio::spawn(async move {
                let _held = (place, seat);
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended early");
                }
            });
        };
        Ok(Self {
            lanes: Lanes::start(serve)?,
            seats: Arc::new(Semaphore::new(most)),
            spare: Arc::new(Semaphore::new(SPARE)),
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

    /// A seat, if there is one: beyond the most that are served some are left to say so, and beyond those connections are closed at once.
    fn seat(&self) -> Option<Seat> {
        let take = |seats: &Arc<Semaphore>| Arc::clone(seats).try_acquire_owned().ok();
        let seat = |is_spare| move |permit| Seat { _permit: permit, is_spare };
        take(&self.seats).map(seat(false)).or_else(|| take(&self.spare).map(seat(true)))
    }

    fn serve(&self, stream: TcpStream) {
        let Some(seat) = self.seat() else {
            return;
        };
        match prepared(stream, self.patience.take) {
            Ok(stream) => self.lanes.serve((stream, self.open.watcher(), seat)),
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

/// A client's connection that sends small pieces at once, and breaks when nothing of what is sent is taken for so long.
pub(super) fn prepared(stream: TcpStream, take: Duration) -> io::Result<net::TcpStream> {
    let socket = SockRef::from(&stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(take))?;
    stream.into_std()
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
