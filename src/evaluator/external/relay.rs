//! The server by which evaluators of users' ask: OpenAI's protocol on the pod's own loopback, one path for each model and suite, so that nobody needs a
//! token and nobody asks anything but the model under evaluation. Requests pass as they are written, once the limits of the run leave room for the
//! most that they may use.
//!
//! ```text
//! evaluator ──► turn, a few at once ──► body read ──► checked ──► room kept, noted ──► gateway ──► noted ──► passed on
//!                  429 where too many wait    400, 404, 413          402 at a limit        its own status, and Retry-After
//! ```

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::{Buf, Bytes};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::books::{Books, Outcome, Refusal};
use super::refused::Refused;
use super::request::check;
use crate::api::eval_job::External;
use crate::evaluator::client::{Client, Unsent, may_have_answered};
use crate::evaluator::files::Places;
use crate::evaluator::loads::UNTOLD;
use crate::evaluator::run::AT_ONCE;
use crate::plan::evaluation::external::suites;
use crate::plan::evaluation::report::Report;
use crate::plan::evaluation::run::Evaluation;
use crate::protocol::Operation;
use crate::protocol::exchange::Asked;
use crate::protocol::openai;
use crate::protocol::usage::Tokens;

/// The largest request.
const MOST_REQUEST_BYTES: usize = 4 << 20;
/// The largest answer: several at once, each with the probabilities of its tokens.
const MOST_ANSWER_BYTES: usize = 16 << 20;
/// How long a request may take to come, and one that waits, until the relay ends all the same.
const READING: Duration = Duration::from_secs(30);
/// Requests that may wait for a turn.
const WAITING: usize = 256;

/// The relay of one run.
pub struct Relay {
    books: Books,
    client: Client,
    /// One for each model that is asked.
    turns: Vec<Arc<Semaphore>>,
    waiting: Arc<Semaphore>,
}

impl Relay {
    /// For `run`, with what earlier processes of it have spent.
    ///
    /// # Errors
    /// When that cannot be read, or nothing be noted down.
    pub fn open(run: Evaluation, client: Client, places: &Places) -> anyhow::Result<Arc<Self>> {
        let turns = run.asked().map(|_| Arc::new(Semaphore::new(AT_ONCE))).collect();
        Ok(Arc::new(Self {
            books: Books::open(run, places)?,
            client,
            turns,
            waiting: Arc::new(Semaphore::new(WAITING)),
        }))
    }

    /// Serves until `stop`, or until a limit of the run is reached: then what is left is the report of a run that goes no further.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: impl Future<Output = ()>) -> anyhow::Result<Option<Report>> {
        let ends = tokio_util::sync::CancellationToken::new();
        let served = axum::serve(listener, app(Arc::clone(&self))).with_graceful_shutdown(ends.clone().cancelled_owned());
        let served = tokio::spawn(served.into_future());
        let report = tokio::select! {
            report = self.books.stopped() => Some(report),
            () = stop => None,
        };
        ends.cancel();
        // Whoever was refused is to be told; one who never reads it is not waited for.
        match tokio::time::timeout(READING, served).await {
            Ok(ended) => ended.context("the relay's task")?.context("the relay's socket")?,
            Err(_) => tracing::warn!("a connection to the relay is still open at its end"),
        }
        Ok(report)
    }

    /// Tokens and cost so far.
    #[cfg(test)]
    pub(in crate::evaluator) fn spent(&self) -> Report {
        self.books.spent()
    }

    /// The model at that place, and the suite, where such an evaluator is.
    fn model(&self, target: usize, suite: &str) -> Result<String, Refused> {
        let run = self.books.run();
        let is_known = suites(run).any(|(known, _): (_, &External)| known.name == suite);
        match run.asked().nth(target).filter(|_| is_known) {
            Some(model) => Ok(model.model.clone()),
            None => Err(Refused::new(
                404,
                "not_found",
                "this run has no such evaluator; use the variable OPENAI_BASE_URL",
            )),
        }
    }
}

/// Says to whom it may concern that the relay listens.
///
/// # Errors
/// When the socket fails.
pub async fn serve_health(listener: TcpListener) -> std::io::Result<()> {
    axum::serve(listener, Router::new().route("/healthz", get(async || "ok\n"))).await
}

fn app(relay: Arc<Relay>) -> Router {
    type To = State<Arc<Relay>>;
    let chat = async |State(relay): To, Path(place): Path<(usize, String)>, request: Request| {
        ask(relay, place, Operation::ChatCompletions, request).await
    };
    let text = async |State(relay): To, Path(place): Path<(usize, String)>, request: Request| {
        ask(relay, place, Operation::Completions, request).await
    };
    let unknown = async || Refused::new(404, "not_found", "only /chat/completions, /completions and /models are relayed").into_response();
    Router::new()
        .route("/{target}/{suite}/v1/chat/completions", post(chat))
        .route("/{target}/{suite}/v1/completions", post(text))
        .route("/{target}/{suite}/v1/models", get(models))
        .fallback(unknown)
        .with_state(relay)
}

/// The one model there is: what else the gateway has is none of the evaluator's business.
async fn models(State(relay): State<Arc<Relay>>, Path((target, suite)): Path<(usize, String)>) -> Response {
    match relay.model(target, &suite) {
        Ok(model) => {
            axum::Json(json!({"object": "list", "data": [{"id": model, "object": "model", "created": 0, "owned_by": "llm-portfolio"}]}))
                .into_response()
        }
        Err(refused) => refused.into_response(),
    }
}

async fn ask(relay: Arc<Relay>, place: (usize, String), operation: Operation, request: Request) -> Response {
    match relayed(relay, place, operation, request).await {
        Ok(response) => response,
        Err(refused) => refused.into_response(),
    }
}

async fn relayed(relay: Arc<Relay>, (target, suite): (usize, String), operation: Operation, request: Request) -> Result<Response, Refused> {
    let model = relay.model(target, &suite)?;
    let turn = turn(&relay, target).await?;
    let body = tokio::time::timeout(READING, Limited::new(request.into_body(), MOST_REQUEST_BYTES).collect()).await;
    let body = match body {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let message = format!("the request has more than {MOST_REQUEST_BYTES} bytes; send a shorter one");
            return Err(Refused::new(413, "request_too_large", message));
        }
        Ok(Err(_)) | Err(_) => return Err(Refused::new(408, "timeout", "the request did not come whole; send it again")),
    };
    let asked = Asked::read(operation, body)
        .map_err(|unreadable| Refused::new(400, "invalid_request", unreadable.message).about(unreadable.field))?;
    let bounds = check(&asked, &model, relay.books.is_limited())?;
    let name = format!("{}/{model}", relay.books.run().namespace);
    let mut named = asked.peek.put(&asked.body, &name, false);
    let body = named.copy_to_bytes(named.remaining());
    let reserved = match relay.books.reserve(target, &suite, bounds.0, bounds.1).await {
        Ok(reserved) => reserved,
        Err(Refusal::Limit(limit)) => return Err(Refused::at(limit)),
        Err(Refusal::Unpriced(why)) => return Err(Refused::new(402, "price_unknown", why)),
        Err(Refusal::TooMany) => {
            let why =
                "the evaluators of this run have asked more often than any may; ask fewer questions, and give up those that are refused";
            return Err(Refused::new(402, "too_many_requests", why));
        }
        Err(Refusal::Unnoted(why)) => {
            tracing::error!("no request can be noted down: {why}");
            return Err(Refused::new(
                503,
                "not_noted",
                "what this would cost cannot be noted down, so it is not asked",
            ));
        }
    };
    // On its own, so that what is paid for is also counted where the evaluator hangs up.
    let passed = tokio::spawn(async move {
        let (outcome, response) = pass(&relay, operation, body).await;
        relay.books.end(&reserved, outcome);
        drop(turn);
        response
    });
    passed
        .await
        .map_err(|_| Refused::new(500, "internal_error", "the relay failed at this request"))
}

/// A turn of the model, which others may have to wait for, but not too many.
async fn turn(relay: &Relay, target: usize) -> Result<OwnedSemaphorePermit, Refused> {
    let busy = || {
        let message = format!("more than {WAITING} requests wait; ask fewer at once");
        Refused::new(429, "too_many_requests", message).for_now()
    };
    let turns = relay.turns.get(target).ok_or_else(busy)?;
    let _waits = relay.waiting.try_acquire().map_err(|_| busy())?;
    Arc::clone(turns).acquire_owned().await.map_err(|_| busy())
}

/// Has the gateway answer, and says what that used.
async fn pass(relay: &Relay, operation: Operation, body: Bytes) -> (Outcome, Response) {
    let lost = |refused: Refused| {
        let outcome = Outcome {
            is_lost: true,
            ..Outcome::default()
        };
        (outcome, refused.into_response())
    };
    let (door, url, longest) = relay.client.passage(operation);
    let answered = tokio::time::timeout(longest, async {
        let (head, body) = door.send(url, body).await?.into_parts();
        let body = Limited::new(body, MOST_ANSWER_BYTES).collect().await;
        let body = body.map_err(|_| Unsent::Broken("the answer broke off, or is too long to be relayed".to_owned()))?;
        Ok::<_, Unsent>((head.status, head.headers, body.to_bytes()))
    });
    let (status, headers, body) = match answered.await {
        Ok(Ok(answered)) => answered,
        Ok(Err(Unsent::Unreachable(why))) => {
            let refused = Refused::new(503, "gateway_unreachable", why).for_now();
            return (Outcome::default(), refused.into_response());
        }
        Ok(Err(Unsent::Broken(why))) => return lost(Refused::new(502, "answer_lost", why)),
        Err(_) => return lost(Refused::new(504, "timeout", format!("no answer within {} s", longest.as_secs()))),
    };
    let is_answered = status.is_success();
    let tokens = openai::chat::tokens(&body).and_then(Tokens::believed);
    if is_answered && tokens.is_none() && relay.books.is_limited() {
        return lost(Refused::new(502, "usage_unknown", UNTOLD));
    }
    let outcome = Outcome {
        is_answered,
        tokens,
        is_lost: may_have_answered(status),
    };
    (outcome, as_it_came(status, &headers, body))
}

fn as_it_came(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Response {
    let mut response = (status, body).into_response();
    for name in [CONTENT_TYPE, RETRY_AFTER] {
        if let Some(value) = headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}
