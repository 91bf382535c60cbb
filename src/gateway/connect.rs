//! Connecting to models: plain or TLS, without delay for small packets, within the time that the request's route gives.

use std::path::Path;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time::timeout;
use tower_service::Service;

use crate::tls::{self, BadCertificates};

/// Finds out that the other side is gone while nothing is sent.
const KEEPALIVE: Duration = Duration::from_secs(30);

tokio::task_local! {
    /// How long connecting may take, for the request whose task connects.
    static CONNECT_TIME: Duration;
}

/// Runs `request`; if it has to connect, that may take `limit`.
pub(super) async fn within<F: Future>(limit: Duration, request: F) -> F::Output {
    CONNECT_TIME.scope(limit, request).await
}

/// A connector with a time limit.
#[derive(Clone)]
pub(super) struct Connector(HttpsConnector<HttpConnector>);

impl Connector {
    /// Trusts the authorities in `ca_file`, or else the system's (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others).
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, BadCertificates> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls::trusting(ca_file)?)
            .https_or_http()
            .enable_http1();
        Ok(Self(https.wrap_connector(tcp)))
    }
}

impl Service<Uri> for Connector {
    type Response = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // Outside of `within` nobody connects; a limit there keeps a mistake from hanging.
        let limit = CONNECT_TIME.try_with(|limit| *limit).unwrap_or(Duration::from_secs(10));
        let connecting = self.0.call(uri);
        async move { timeout(limit, connecting).await? }.boxed()
    }
}
