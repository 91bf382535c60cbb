//! The connections of clients. HTTP/1.1 only: behind a Kubernetes Service each HTTP/2 client would stay at one replica. A client that does
//! not finish a request's head, or does not take its answer, loses its connection.

use std::io;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// How long the system is given when it has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
    app: Router,
    protocol: http1::Builder,
    open: GracefulShutdown,
    patience: Patience,
}

impl Connections {
    pub(super) fn new(app: Router, patience: Patience) -> Self {
        let mut protocol = http1::Builder::new();
        protocol.timer(TokioTimer::new()).header_read_timeout(patience.head);
        Self {
            app,
            protocol,
            open: GracefulShutdown::new(),
            patience,
        }
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
        if let Err(error) = socket
            .set_tcp_nodelay(true)
            .and_then(|()| socket.set_tcp_user_timeout(Some(self.patience.take)))
        {
            tracing::debug!(%error, "a connection is gone already");
            return;
        }
        let service = TowerToHyperService::new(self.app.clone());
        let connection = self.open.watch(self.protocol.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }

    /// Closes idle connections, and the others after their present answer. Returns when all are closed.
    pub(super) async fn finish(self) {
        self.open.shutdown().await;
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
