//! The way to models: pooled connections.

use std::path::Path;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::Full;
use rustls::RootCertStore;

use super::connect::Connector;
use super::http1::{Connection, Error, Incoming, Origin, Pool, exchange};
use crate::protocol::Spliced;
use crate::tls::BadCertificates;

/// Engines close idle connections after 5 s (vLLM's and llama.cpp's default); a request sent at that moment would be lost.
const POD_IDLE: Duration = Duration::from_secs(4);
/// Providers keep idle connections longer, and a TLS handshake costs two round trips.
const PROVIDER_IDLE: Duration = Duration::from_secs(50);

pub(super) struct Upstream {
    connector: Connector,
    pods: Pool,
    providers: Pool,
}

impl Upstream {
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, BadCertificates> {
        Connector::new(ca_file).map(Self::over)
    }

    /// Connections to those alone whom these authorities vouch for.
    pub(super) fn trusting(authorities: RootCertStore) -> Self {
        Self::over(Connector::trusting(authorities))
    }

    fn over(connector: Connector) -> Self {
        Self {
            connector,
            pods: Pool::new(POD_IDLE),
            providers: Pool::new(PROVIDER_IDLE),
        }
    }

    /// Sends a request; waits for the head of the answer. Calls `sent` when there is a connection for it.
    ///
    /// Dropping the answer before its end, or what waits for it, closes its connection.
    pub(super) async fn send(
        &self,
        request: Request<Full<Spliced>>,
        connect_time: Duration,
        sent: impl FnOnce(),
    ) -> Result<Response<Incoming>, Error> {
        let request = request.map(|body| body.into_inner().unwrap_or_default());
        let origin = Origin::of(request.uri()).ok_or_else(|| Error::Connect("its URL names no host".into()))?;
        let pool = if origin.is_https() { &self.providers } else { &self.pods };
        if let Some(idle) = pool.take(&origin).await {
            sent();
            let answer = exchange(idle, request).await;
            if answer.as_ref().is_err_and(Error::is_dropped) {
                // The others are as old; whoever tries again is to get a fresh one.
                pool.clear(&origin);
            }
            return answer;
        }
        // Boxed, as all that few requests wait for: the future of every request would have the room for it, and is moved a few times.
        let connecting = Box::pin(self.connector.connect(request.uri(), connect_time));
        let stream = connecting.await.map_err(Error::Connect)?;
        sent();
        exchange(Connection::new(stream, pool.home(origin)), request).await
    }
}
