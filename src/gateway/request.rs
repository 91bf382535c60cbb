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
use super::sticky::Conversation;
use super::tally::Tally;
use super::trial::Trial;
use super::{Gateway, conventions, headers};
use crate::plan::routing::{self, Client, Content, Decision, Draw, Facts, Refused, RefusedFor, Route, RouteTable};
use crate::protocol::Operation;
use crate::protocol::chat::Unfit;
use crate::protocol::exchange::Asked;
use crate::protocol::longest::Longest;

pub(super) async fn serve(operation: Operation, gateway: Arc<Gateway>, request: Request) -> Response {
    let began = Instant::now();
    let id = request.headers().get(headers::REQUEST_ID).cloned();
    let mut tally = Tally::new(&gateway, operation, request.headers());
    let response = match gateway.turns.take() {
        // Boxed, because whatever waits for it would have room for it once more, and is moved a few times.
        Some(turn) => match unless_closing(&gateway, Box::pin(answer(operation, &gateway, request, &mut tally))).await {
            Some(Ok(reply)) => {
                let limits = tally.limits();
                let mut response = reply.into_response(&gateway, tally, turn);
                response.headers_mut().extend(limits);
                response
            }
            Some(Err(refusal)) => refused(refusal, operation, id.as_ref(), tally),
            None => refused(Refusal::closing(tally.may_have_begun()), operation, id.as_ref(), tally),
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
async fn unless_closing<T>(gateway: &Gateway, answer: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        reply = answer => Some(reply),
        () = gateway.closing.cancelled() => None,
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

    let route = table.open_to(&client, &asked.peek.model)?;
    tally.on(route);
    if body.bytes.len() > route.max_body_bytes {
        return Err(Refusal::too_large(route.max_body_bytes));
    }
    tally.admitted(gateway.ledger.admit(route, &client, &asked)?);
    let conversation = Conversation::of(route, &client, &head.headers, &asked);
    let decision = decided(gateway, &table, route, &client, &head.headers, &asked, conversation)?;
    let reply = Trial::new(gateway, route, &asked, &head.headers)
        .first_answer(decision, tally)
        .await?;
    if let (Reply::Answered(answered), Some(conversation)) = (&reply, conversation) {
        gateway.sticky.answered(conversation, &answered.bill.model.model, route);
    }
    Ok(reply)
}

/// Which models may have the request.
fn decided<'a>(
    gateway: &Gateway,
    table: &RouteTable,
    route: &'a Route,
    client: &Client,
    headers: &HeaderMap,
    asked: &Asked,
    conversation: Option<Conversation>,
) -> Result<Decision<'a>, Refusal> {
    let facts = Facts {
        client,
        headers,
        model: &asked.peek.model,
        operation: conventions::operation(asked.operation),
        is_streamed: asked.is_streamed(),
        data_class: table.class_of_request(route, client, headers)?,
        content: &|| content(asked),
        now: gateway.now(),
    };
    let home = conversation.and_then(|conversation| gateway.sticky.home(conversation));
    let draw = Draw {
        roll: conversation.map_or_else(|| fastrand::u64(..), |Conversation(digest)| digest),
        stays_with: home.as_ref(),
    };
    Ok(routing::decide(route, &table.classes, &facts, &gateway.balancer, draw)?)
}

impl From<Refused<'_>> for Refusal {
    fn from(refused: Refused<'_>) -> Self {
        let status = StatusCode::from_u16(refused.reason.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let refusal = Self::new(status, refused.reason.code(), refused.message);
        match refused.reason {
            RefusedFor::UnknownModel => refusal.about("model"),
            _ => refusal,
        }
    }
}

fn compressed(headers: &HeaderMap) -> Refusal {
    let encoding = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes).unwrap_or_default();
    let message = format!(
        "the body is compressed (Content-Encoding: {}), which is not unpacked here: send it uncompressed",
        shown(&String::from_utf8_lossy(encoding))
    );
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "compressed_request", message)
}

/// What is in the body, as far as it can be read.
fn content(asked: &Asked) -> Result<Content, String> {
    let needs = asked.needs().map_err(|unfit| match unfit {
        Unfit::Unsupported(unsupported) => unsupported.to_string(),
        Unfit::Unreadable(unreadable) => unreadable.message,
    })?;
    // As budgets reckon it: where a request says two things, the larger counts.
    let Longest { tokens, answers } = Longest::of(&asked.body);
    Ok(Content {
        input_tokens: needs.prompt_tokens,
        max_tokens: tokens,
        answers,
        tools: needs.tools,
        images: needs.images,
        json_schema: needs.json_schema,
        is_wordless: needs.embeddings,
    })
}
