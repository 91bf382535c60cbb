//! How the gateway and webhooks are reached.

use std::time::Duration;

use anyhow::Context;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;

const CONNECT: Duration = Duration::from_secs(10);

/// Connections to `url`, by plain HTTP or TLS as it says.
///
/// # Errors
/// When the machine's certificate authorities are needed and cannot be read.
pub(super) fn connector(url: &str) -> anyhow::Result<HttpsConnector<HttpConnector>> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT));
    // Only TLS needs the authorities, and a minimal image may have none.
    let connector = if url.starts_with("https:") {
        HttpsConnectorBuilder::new()
            .with_native_roots()
            .context("reading the certificate authorities")?
    } else {
        let provider = rustls::crypto::ring::default_provider().into();
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("setting up TLS")?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        HttpsConnectorBuilder::new().with_tls_config(config)
    };
    Ok(connector.https_or_http().enable_http1().wrap_connector(http))
}
