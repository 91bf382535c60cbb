//! Connecting to models: plain or TLS, without delay for small packets, within the time that the request's route gives.

use std::path::{Path, PathBuf};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::Uri;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;
use tower_service::Service;

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

/// The certificates that were to be trusted cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("reading the certificates in {}", path.display())]
pub struct BadCertificates {
    path: PathBuf,
    source: BoxError,
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
            .with_tls_config(tls(ca_file)?)
            .https_or_http()
            .enable_http1();
        Ok(Self(https.wrap_connector(tcp)))
    }
}

fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, BadCertificates> {
    let builder = ClientConfig::builder();
    let Some(path) = ca_file else {
        let system = builder.clone().with_native_roots().map(|config| config.with_no_client_auth());
        return Ok(system.unwrap_or_else(|error| {
            tracing::warn!(%error, "the system has no certificates of authorities: providers behind https cannot be reached");
            builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
        }));
    };
    let roots = || -> Result<RootCertStore, BoxError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path)? {
            roots.add(certificate?)?;
        }
        if roots.is_empty() {
            return Err("it holds no certificate".into());
        }
        Ok(roots)
    };
    let roots = roots().map_err(|source| BadCertificates {
        path: path.to_owned(),
        source,
    })?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_cannot_be_read_are_named() {
        // A file that exists and holds no certificate, and one that does not exist.
        for path in [concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "/nonexistent/ca.pem"] {
            let error = Connector::new(Some(Path::new(path))).err().unwrap();
            assert_eq!(error.to_string(), format!("reading the certificates in {path}"));
        }
        assert!(Connector::new(None).is_ok());
    }
}
