//! A small HTTP client for tests: JSON in, JSON or events out, and trust in one authority when asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{Stream, TryStreamExt};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, BodyStream, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

/// A small model answers within seconds; a stalled peer must not hold a test for ever.
const DEADLINE: Duration = Duration::from_secs(60);

/// A client that keeps connections.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<bytes::Bytes>>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// JSON, or a string where it is none.
    pub body: Value,
}

impl HttpClient {
    /// A client for http, and for https servers of this authority (PEM) only.
    pub fn new(ca: Option<&str>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in ca.iter().flat_map(|pem| CertificateDer::pem_slice_iter(pem.as_bytes())) {
            roots.add(certificate?)?;
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// GET.
    pub async fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        self.send(Method::GET, url, headers, None).await
    }

    /// POST of a JSON body.
    pub async fn post(&self, url: &str, headers: &[(&str, &str)], body: &Value) -> Result<Answer> {
        self.send(Method::POST, url, headers, Some(body)).await
    }

    /// POST of a JSON body; the status, and the answer as its bytes arrive. No deadline: it is the caller's.
    pub async fn stream(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<(StatusCode, impl Stream<Item = Result<bytes::Bytes>> + Unpin + use<>)> {
        let response = self
            .client
            .request(request(Method::POST, url, headers, Some(body))?)
            .await
            .with_context(|| url.to_owned())?;
        let (head, body) = response.into_parts();
        let bytes = BodyStream::new(body)
            .map_ok(|frame| frame.into_data().unwrap_or_default())
            .map_err(anyhow::Error::from);
        Ok((head.status, bytes))
    }

    async fn send(&self, method: Method, url: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Result<Answer> {
        let request = request(method, url, headers, body)?;
        let exchange = async {
            let (head, body) = self.client.request(request).await?.into_parts();
            anyhow::Ok((head, body.collect().await?.to_bytes()))
        };
        let (head, bytes) = tokio::time::timeout(DEADLINE, exchange)
            .await
            .context("no answer")?
            .with_context(|| url.to_owned())?;
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        Ok(Answer {
            status: head.status,
            headers: head.headers.iter().map(header).collect(),
            body,
        })
    }
}

fn request(method: Method, url: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Result<Request<Full<bytes::Bytes>>> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    Ok(request.body(Full::from(body.map(Value::to_string).unwrap_or_default()))?)
}
