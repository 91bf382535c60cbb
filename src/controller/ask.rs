//! One request to a pod, its answer bounded. How long it may take is for whoever asks.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::protocol::root_cause;

/// Asks pods.
pub(super) struct Ask(Client<HttpConnector, Full<Bytes>>);

impl Ask {
    /// `to_connect` is how long that may take; `None`: as long as the request.
    pub(super) fn new(to_connect: Option<Duration>) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.set_connect_timeout(to_connect);
        // Kept connections would be one to every pod.
        Self(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(http))
    }

    /// What a pod answers to JSON, of at most `limit` bytes; else why it does not.
    pub(super) async fn ask(&self, method: Method, url: &str, body: Bytes, limit: usize) -> Result<(StatusCode, Bytes), String> {
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let answer = self.0.request(request).await.map_err(|error| root_cause(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), limit).collect().await;
        Ok((status, body.map_err(|error| root_cause(&*error))?.to_bytes()))
    }
}
