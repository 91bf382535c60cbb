//! The data plane: authenticates a client, finds what a name stands for, asks one model after another until one answers, and passes its
//! bytes on as they are. Reads snapshots that a feed replaces; where they come from (a cluster, files) it cannot tell.
//!
//! ```text
//! request ─► identity ─► body ─► peek ─► route ─► rule ─► attempt ─┬─► whole answer ───────────► client
//!                                                     ▲            ├─► begun answer ─► relay ──► client
//!                                                     └── failure ─┘   (until the first content byte)
//! ```

mod access;
mod answered;
mod answers;
mod attempt;
mod authorize;
mod balance;
mod bill;
mod body;
mod connect;
mod connections;
mod content;
mod conventions;
mod demand;
mod drain;
mod failure;
mod feed;
mod fit;
mod google;
mod headers;
mod hold;
mod http1;
mod identity;
mod jwt;
mod lanes;
mod ledger;
mod metrics;
mod models;
mod queue;
mod quiet;
mod refusal;
mod relay;
mod report;
mod request;
mod shadow;
mod sticky;
mod tally;
mod tokens;
mod traces;
mod trial;
mod turns;
mod upstream;
mod versions;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderValue, Method, StatusCode, header};
use hyper::body::Incoming;
use k8s_openapi::jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

pub use access::TARGET as ACCESS;
pub use content::TARGET as CONTENT;
pub use drain::{Drain, run};
pub use feed::{ApiKeys, Credentials, Feed, Source, feed};
pub use ledger::{BadLedger, InFile, InRedis, Memory, Store, Unavailable};
pub use tokens::{ReviewUnavailable, TokenReview};
pub use traces::{BadTraces, Traces};

use answers::Answers;
use balance::{Balancer, Budgets};
use content::Desk;
use demand::Demand;
use hold::Holds;
use identity::Identities;
use ledger::Ledger;
use metrics::Metrics;
use queue::Queues;
use quiet::Quiet;
use refusal::Refusal;
use shadow::Shadows;
use sticky::Sticky;
use turns::Turns;
use upstream::Upstream;
use versions::Versions;

use crate::api::ledger::OnFailure;
use crate::plan::names::Key;
use crate::plan::scaling::demand::Wanted;
use crate::protocol::Operation;
use crate::tls::BadCertificates;

/// What a gateway is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether clients without credentials are served at all (the installer's `allowAnonymous`).
    pub allow_anonymous: bool,
    /// Certificates of the authorities to trust instead of the system's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// The room for all requests that are being read or tried, and for answers that are held until they are whole.
    pub max_body_bytes_together: usize,
    /// Requests that are answered at once; one more is refused with 503.
    pub max_requests: usize,
    /// Connections of clients that are served at once; requests that come by others are refused with 503.
    pub max_connections: usize,
    /// Whether each request is told in the log, under the target [`ACCESS`].
    pub access_log: bool,
    /// Where spans of requests go, if anywhere.
    pub traces: Option<Traces>,
    /// Where it is kept what was spent of budgets.
    pub ledger: Arc<dyn Store>,
    /// What becomes of requests under a budget while that does not answer.
    pub on_ledger_failure: OnFailure,
    /// The clock, to know when tokens expire and budgets begin anew.
    pub now: fn() -> Timestamp,
}

impl Options {
    /// The defaults, with this clock.
    #[must_use]
    pub fn new(now: fn() -> Timestamp) -> Self {
        Self {
            allow_anonymous: false,
            ca_file: None,
            max_body_bytes_together: 512 << 20,
            max_requests: 4096,
            max_connections: 10_000,
            access_log: false,
            traces: None,
            ledger: Arc::new(Memory::default()),
            on_ledger_failure: OnFailure::default(),
            now,
        }
    }
}

/// Everything that requests share.
pub struct Gateway {
    feed: Feed,
    identities: Identities,
    upstream: Arc<Upstream>,
    google: google::Tokens,
    balancer: Balancer,
    budgets: Budgets,
    ledger: Arc<Ledger>,
    quiet: Quiet,
    queues: Queues,
    sticky: Sticky,
    answers: Arc<Answers>,
    desk: Desk,
    holds: Holds,
    shadows: Shadows,
    demand: Demand,
    metrics: Metrics,
    versions: Versions,
    access_log: bool,
    traces: Option<Traces>,
    /// Another one for each gateway, and when it began.
    instance: u64,
    began: Instant,
    now: fn() -> Timestamp,
    bodies: body::Room,
    turns: Turns,
    max_connections: usize,
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
        let upstream = Arc::new(Upstream::new(options.ca_file.as_deref())?);
        Ok(Arc::new(Self {
            identities: Identities::new(reviewer, feed.clone(), upstream.clone(), options),
            feed,
            google: google::Tokens::new(google::over(upstream.clone()), options.now),
            upstream,
            balancer: Balancer::default(),
            budgets: Budgets::default(),
            ledger: Ledger::new(options.ledger.clone(), options.on_ledger_failure, options.now),
            quiet: Quiet::default(),
            queues: Queues::default(),
            sticky: Sticky::default(),
            answers: Arc::default(),
            desk: Desk::default(),
            holds: Holds::default(),
            shadows: Shadows::new(options.max_requests),
            demand: Demand::default(),
            metrics: Metrics::new(),
            versions: Versions::default(),
            access_log: options.access_log,
            traces: options.traces.clone(),
            instance: fastrand::u64(..),
            began: Instant::now(),
            now: options.now,
            bodies: body::Room::new(options.max_body_bytes_together),
            turns: Turns::new(options.max_requests),
            max_connections: options.max_connections,
            draining: AtomicBool::new(false),
            closing: CancellationToken::new(),
        }))
    }
}

impl Gateway {
    fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// Gives back what was taken of budgets and not spent, so that other gateways may spend it: at the end, when no request is left.
    pub async fn give_back(&self) {
        self.ledger.give_back().await;
    }

    /// The demand for each model in our own pods, as this gateway sees it: what they are scaled by.
    #[must_use]
    pub fn demand(&self) -> BTreeMap<Key, Wanted> {
        let table = self.feed.routes();
        table
            .map(|table| self.demand.report(&table, &self.balancer, &self.queues))
            .unwrap_or_default()
    }

    /// Says in the metrics how many entries the price book has that costs are from, and whether its files say the same now.
    pub fn tell_prices(&self, entries: usize, is_current: bool) {
        self.metrics.tell_prices(entries, is_current);
    }
}

/// What clients may ask for, and where.
const OPERATIONS: [(&str, Operation); 6] = [
    ("/v1/chat/completions", Operation::ChatCompletions),
    ("/v1/completions", Operation::Completions),
    ("/v1/embeddings", Operation::Embeddings),
    ("/v1/responses", Operation::Responses),
    ("/v1/messages", Operation::Messages),
    ("/v1/messages/count_tokens", Operation::CountTokens),
];

/// The gateway's HTTP interface; needs no socket.
pub fn app(gateway: Arc<Gateway>) -> Router {
    let asking = OPERATIONS.into_iter().fold(Router::new(), |router, (path, operation)| {
        let serve = move |State(gateway): State<Arc<Gateway>>, request: Request| request::serve(operation, gateway, request);
        router.route(path, post(serve))
    });
    asking
        .route(models::PATH, get(models::list))
        .route("/v1/models/{*name}", get(models::one))
        .route("/metrics", get(scrape))
        .route(report::PATH, get(report::tell))
        .route(demand::PATH, get(demand::tell))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .fallback(async |request: Request| {
            let path = request.uri().path();
            Refusal::no_such_path(path).for_path(path, request.headers())
        })
        .method_not_allowed_fallback(async |request: Request| {
            let path = request.uri().path();
            Refusal::wrong_method(request.method(), path).for_path(path, request.headers())
        })
        .layer(middleware::from_fn_with_state(gateway.clone(), identified))
        .with_state(gateway)
}

/// What connections ask. A model's answers take the short way past the router, which does the same for whoever has no socket.
#[derive(Clone)]
struct Front {
    gateway: Arc<Gateway>,
    app: Router,
}

impl Front {
    fn new(gateway: Arc<Gateway>) -> Self {
        Self {
            app: app(gateway.clone()),
            gateway,
        }
    }

    /// What comes by a connection too many (`is_spare`) gets no answer of a model; whoever watches over the gateway still does.
    async fn answer(&self, request: http::Request<Incoming>, is_spare: bool) -> Response {
        let asked = OPERATIONS.iter().find(|(path, _)| request.uri().path() == *path);
        if let Some((_, operation)) = asked.filter(|_| request.method() == Method::POST) {
            if is_spare {
                let answer = async |asked| request::turn_away(*operation, &self.gateway, &asked);
                let mut response = with_id(&self.gateway, request.map(Body::new), answer).await;
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                return response;
            }
            let answer = |asked| request::serve(*operation, self.gateway.clone(), asked);
            return with_id(&self.gateway, request.map(Body::new), answer).await;
        }
        // A router is always ready, and never fails.
        self.app.clone().call(request.map(Body::new)).await.into_response()
    }
}

/// Gives every request an id, the client's own if it is fit to be one, and every answer the same.
async fn identified(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let aside = gateway.access_log.then(|| aside(&request)).flatten();
    let response = with_id(&gateway, request, |request| next.run(request)).await;
    if let Some(operation) = aside {
        access::write_aside(operation, &response, began.elapsed());
    }
    response
}

/// What a client asks for beside a model's answer, in a word; none for what is told as a request for one, and for whoever watches over us.
fn aside(request: &Request) -> Option<&'static str> {
    let path = request.uri().path();
    if path == models::PATH || path.starts_with(models::BELOW) {
        return Some("list_models");
    }
    let is_told = request.method() == Method::POST && OPERATIONS.iter().any(|(known, _)| path == *known);
    (path.starts_with("/v1/") && !is_told).then_some("unknown")
}

async fn with_id<F: Future<Output = Response>>(gateway: &Gateway, mut request: Request, answer: impl FnOnce(Request) -> F) -> Response {
    let id = headers::request_id(request.headers());
    request.headers_mut().insert(headers::REQUEST_ID, id.clone());
    let is_anthropic = headers::is_anthropic(request.uri().path(), request.headers());
    let mut response = answer(request).await;
    if is_anthropic {
        response.headers_mut().insert(headers::ANTHROPIC_REQUEST_ID, id.clone());
    }
    response.headers_mut().insert(headers::REQUEST_ID, id);
    if gateway.draining.load(Ordering::Relaxed) {
        // The client's next request comes by another connection, which others take.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The form of metrics.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

async fn scrape(State(gateway): State<Arc<Gateway>>) -> Response {
    gateway.metrics.feed_is_current(gateway.feed.is_current());
    gateway.metrics.ledger_answers(gateway.ledger.store_answers());
    if let Some(table) = gateway.feed.routes() {
        gateway.metrics.forget(&table, Instant::now());
        gateway.metrics.tell_budgets(gateway.ledger.spent_ratios());
        let held = gateway.demand().into_iter().map(|(model, wanted)| (model, wanted.held as usize));
        gateway.metrics.tell_held(held);
        gateway.metrics.tell_queues(gateway.queues.waiting());
    }
    (
        [(header::CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS))],
        gateway.metrics.text(),
    )
        .into_response()
}

/// Ready from the first route table on, until the gateway is told to stop.
async fn ready(State(gateway): State<Arc<Gateway>>) -> (StatusCode, &'static str) {
    if gateway.draining.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
    } else if gateway.feed.routes().is_none() {
        (StatusCode::SERVICE_UNAVAILABLE, "no routes yet\n")
    } else if !gateway.feed.is_current() {
        // It goes on with what it knows: taking it out of traffic would help nobody.
        (
            StatusCode::OK,
            "ready, with what was known before the API server stopped answering\n",
        )
    } else {
        (StatusCode::OK, "ready\n")
    }
}
