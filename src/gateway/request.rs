//! One request, from start to end: who asks, for what, which models may answer, and which does.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hyper::body::Body as _;
use tokio::time::Instant;

use super::answered::Reply;
use super::attempt::is_compressed;
use super::refusal::{Refusal, shown};
use super::tally::Tally;
use super::trial::Trial;
use super::{Gateway, headers, matching};
use crate::plan::routing::{Client, Route, Rule};
use crate::protocol::Operation;
use crate::protocol::exchange::Asked;

pub(super) async fn serve(operation: Operation, gateway: Arc<Gateway>, request: Request) -> Response {
    let began = Instant::now();
    let id = request.headers().get(headers::REQUEST_ID).cloned();
    let mut tally = Tally::new(&gateway, operation, request.headers());
    let response = match gateway.turns.take() {
        // Boxed, because whatever waits for it would have room for it once more, and is moved a few times.
        Some(turn) => match unless_closing(&gateway, Box::pin(answer(operation, &gateway, request, &mut tally))).await {
            Ok(reply) => {
                let limits = tally.limits();
                let mut response = reply.into_response(&gateway, tally, turn);
                response.headers_mut().extend(limits);
                response
            }
            Err(refusal) => refused(refusal, operation, id.as_ref(), tally),
        },
        None => refused(too_many(), operation, id.as_ref(), tally),
    };
    let head = response.headers();
    let (model, attempts) = (head.get(headers::MODEL), head.get(headers::ATTEMPTS));
    tracing::debug!(?id, status = response.status().as_u16(), ?model, ?attempts, after = ?began.elapsed(), "answering");
    response
}

fn refused(refusal: Refusal, operation: Operation, id: Option<&HeaderValue>, mut tally: Tally) -> Response {
    tally.refused(refusal.status, refusal.code());
    let limits = tally.limits();
    let mut response = refusal.in_protocol(operation, id);
    response.headers_mut().extend(limits);
    tally.sends(response.body().size_hint().lower() as usize);
    response
}

/// The answer, unless the gateway must end before there is one.
async fn unless_closing(gateway: &Gateway, answer: impl Future<Output = Result<Reply, Refusal>>) -> Result<Reply, Refusal> {
    tokio::select! {
        biased;
        reply = answer => reply,
        () = gateway.closing.cancelled() => Err(Refusal::closing()),
    }
}

fn too_many() -> Refusal {
    Refusal::overloaded("the gateway answers as many requests at once as it may (--max-requests): try again in a moment")
}

/// Refuses a request that came by a connection too many.
pub(super) fn turn_away(operation: Operation, gateway: &Gateway, request: &Request) -> Response {
    let refusal = Refusal::overloaded("the gateway has as many connections as it may (--max-connections): try again in a moment");
    let id = request.headers().get(headers::REQUEST_ID);
    refused(refusal, operation, id, Tally::new(gateway, operation, request.headers()))
}

async fn answer(operation: Operation, gateway: &Gateway, request: Request, tally: &mut Tally) -> Result<Reply, Refusal> {
    let (head, body) = request.into_parts();
    let api_keys = gateway.feed.api_keys();
    let client = gateway.identities.of(&head.headers, &api_keys).await?;
    tally.from(&client);
    let table = gateway.feed.routes().ok_or_else(Refusal::not_ready)?;
    if is_compressed(&head.headers) {
        return Err(compressed(&head.headers));
    }
    let body = gateway.bodies.read(&head.headers, body, table.largest_body()).await?;
    let asked = Asked::read(operation, body.bytes.clone()).map_err(Refusal::unreadable)?;
    tally.received(asked.body.len(), asked.is_streamed());

    let route = match table.find(&asked.peek.model) {
        Some(route) if route.admits(&client) => route,
        Some(route) => return Err(forbidden(&client, route)),
        None => return Err(unknown(&asked.peek.model, table.callable(&client))),
    };
    tally.on(route);
    if body.bytes.len() > route.max_body_bytes {
        return Err(Refusal::too_large(route.max_body_bytes));
    }
    tally.admitted(gateway.ledger.admit(route, &client, &asked)?);
    let rule = matching::rule(route, &head.headers).ok_or_else(|| no_rule(route))?;
    let models = rule.attempts(fastrand::u64(..));
    if models.is_empty() {
        return Err(nobody_may(route, rule));
    }
    Trial::new(gateway, route, &asked, &head.headers).first_answer(models, tally).await
}

/// As many names as a person reads.
const NAMED: usize = 20;

fn unknown(model: &str, callable: Vec<&str>) -> Refusal {
    let more = callable.len().saturating_sub(NAMED);
    let mut names = callable.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
    if names.is_empty() {
        "no model is open to you: a RoutingPolicy must admit you in spec.clients".clone_into(&mut names);
    } else {
        names = format!("you may call {names}");
    }
    if more > 0 {
        names = format!("{names} and {more} more (GET /v1/models)");
    }
    let message = format!("there is no model {:?} here: {names}", shown(model));
    Refusal::new(StatusCode::NOT_FOUND, "model_not_found", message).about("model")
}

fn compressed(headers: &HeaderMap) -> Refusal {
    let encoding = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes).unwrap_or_default();
    let message = format!(
        "the body is compressed (Content-Encoding: {}), which is not unpacked here: send it uncompressed",
        shown(&String::from_utf8_lossy(encoding))
    );
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "compressed_request", message)
}

fn forbidden(client: &Client, route: &Route) -> Refusal {
    let who = match client {
        Client::ServiceAccount { namespace, name } => format!("service account {namespace}/{name}"),
        Client::ApiKey { name, .. } => format!("API key {name}"),
        Client::Anonymous => "a client without known credentials".to_owned(),
    };
    let message = match &route.policy {
        Some(policy) => format!(
            "{who} may not call {}: RoutingPolicy {policy} must admit it in spec.clients",
            route.name
        ),
        None => format!(
            "{who} may not call {}: only service accounts of its own namespace may call a model directly",
            route.name
        ),
    };
    Refusal::new(StatusCode::FORBIDDEN, "not_admitted", message)
}

fn no_rule(route: &Route) -> Refusal {
    let message = format!("no rule of {} is for a request with these headers", matching::called(route));
    Refusal::new(StatusCode::BAD_REQUEST, "no_rule_matches", message)
}

/// No model is eligible; time or a person may change that.
fn nobody_may(route: &Route, rule: &Rule) -> Refusal {
    let message = format!(
        "no model of {} may answer now: {}",
        matching::called(route),
        rule.exclusions().join("; ")
    );
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "no_eligible_model", message)
}
