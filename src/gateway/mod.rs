//! The data plane: authenticates a client, finds what a name stands for, asks one model after another until one answers, and passes its
//! bytes on as they are. Reads snapshots that a feed replaces; where they come from (a cluster, files) it cannot tell.
//!
//! ```text
//! request ─► identity ─► body ─► peek ─► route ─► rule ─► attempt ─┬─► whole answer ───────────► client
//!                                                     ▲            ├─► begun answer ─► relay ──► client
//!                                                     └── failure ─┘   (until the first content byte)
//! ```

mod attempt;
mod body;
mod connect;
mod connections;
mod drain;
mod events;
mod feed;
mod headers;
mod identity;
mod metrics;
mod models;
mod quiet;
mod refusal;
mod relay;
mod request;
mod tokens;
mod upstream;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderValue, StatusCode, header};
use k8s_openapi::jiff::Timestamp;
use tokio_util::sync::CancellationToken;

pub use drain::{Drain, run};
pub use feed::{ApiKey, ApiKeys, Credentials, Feed, Source, feed};
pub use tokens::{ReviewUnavailable, TokenReview};

use identity::Identities;
use metrics::Metrics;
use quiet::Quiet;
use refusal::Refusal;
use upstream::Upstream;

use crate::tls::BadCertificates;

/// What a gateway is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether clients without credentials are served at all (the installer's `allowAnonymous`).
    pub allow_anonymous: bool,
    /// Certificates of the authorities to trust instead of the system's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// The largest request.
    pub max_body_bytes: usize,
    /// The room for all requests that are being read or tried.
    pub max_body_bytes_together: usize,
    /// The clock, to know when tokens expire.
    pub now: fn() -> Timestamp,
}

impl Options {
    /// The defaults, with this clock.
    #[must_use]
    pub fn new(now: fn() -> Timestamp) -> Self {
        Self {
            allow_anonymous: false,
            ca_file: None,
            // Requests with images or a million tokens of context are this large.
            max_body_bytes: 32 << 20,
            max_body_bytes_together: 512 << 20,
            now,
        }
    }
}

/// Everything that requests share.
pub struct Gateway {
    feed: Feed,
    identities: Identities,
    upstream: Upstream,
    quiet: Quiet,
    metrics: Metrics,
    bodies: body::Room,
    draining: AtomicBool,
    /// Cancelled when streams that are still open must end.
    closing: CancellationToken,
}

impl Gateway {
    /// A gateway that reads `feed`. Without `reviewer` no service account can call it.
    ///
    /// # Errors
    /// When the certificates of `options` cannot be read.
    pub fn new(feed: Feed, reviewer: Option<Arc<dyn TokenReview>>, options: &Options) -> Result<Arc<Self>, BadCertificates> {
        Ok(Arc::new(Self {
            feed,
            identities: Identities::new(reviewer, options.allow_anonymous, options.now),
            upstream: Upstream::new(options.ca_file.as_deref())?,
            quiet: Quiet::default(),
            metrics: Metrics::new(),
            bodies: body::Room::new(options.max_body_bytes, options.max_body_bytes_together),
            draining: AtomicBool::new(false),
            closing: CancellationToken::new(),
        }))
    }
}

/// The gateway's HTTP interface; needs no socket.
pub fn app(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(request::chat))
        .route("/v1/models", get(models::list))
        .route("/metrics", get(scrape))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .fallback(async |request: Request| Refusal::no_such_path(request.uri().path()))
        .method_not_allowed_fallback(async |request: Request| Refusal::wrong_method(request.method(), request.uri().path()))
        .layer(middleware::from_fn(identified))
        .with_state(gateway)
}

/// Gives every request an id, the client's own if it is fit to be one, and every answer the same.
async fn identified(mut request: Request, next: Next) -> Response {
    let id = headers::request_id(request.headers());
    request.headers_mut().insert(headers::REQUEST_ID, id.clone());
    let mut response = next.run(request).await;
    response.headers_mut().insert(headers::REQUEST_ID, id);
    response
}

async fn scrape(State(gateway): State<Arc<Gateway>>) -> Response {
    let text = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, HeaderValue::from_static(text))], gateway.metrics.text()).into_response()
}

/// Ready from the first route table on, until the gateway is told to stop.
async fn ready(State(gateway): State<Arc<Gateway>>) -> (StatusCode, &'static str) {
    if gateway.draining.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
    } else if gateway.feed.routes().is_none() {
        (StatusCode::SERVICE_UNAVAILABLE, "no routes yet\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}
