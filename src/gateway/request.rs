//! One request, from start to end: who asks, for what, which models may answer, and which does.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::time::Instant;

use super::answered::Reply;
use super::answers::{Asker, Looked};
use super::attempt::is_compressed;
use super::hold::Held;
use super::ledger::Unaffordable;
use super::refusal::{Refusal, shown};
use super::sticky::Conversation;
use super::tally::Tally;
use super::trial::Trial;
use super::{Gateway, conventions, headers, shadow};
use crate::plan::names::Key;
use crate::plan::routing::{self, Backend, Client, Content, Decision, Draw, Facts, Refused, RefusedFor, Route, RouteTable, Texts, Warmup};
use crate::protocol::Operation;
use crate::protocol::chat::Unfit;
use crate::protocol::exchange::Asked;
use crate::protocol::fees::Fees;
use crate::protocol::longest::Longest;

/// An answer that was kept.
const HIT: &str = "hit";
/// When to come back to a model that starts, in seconds: nobody knows how long it takes.
const STARTING: &str = "10";

pub(super) async fn serve(operation: Operation, gateway: Arc<Gateway>, request: Request) -> Response {
    let began = Instant::now();
    let id = request.headers().get(headers::REQUEST_ID).cloned();
    let mut tally = Tally::new(&gateway, operation, request.headers());
    let response = match gateway.turns.take() {
        // Boxed, because whatever waits for it would have room for it once more, and is moved a few times.
        Some(turn) => match unless_closing(&gateway, Box::pin(answer(operation, &gateway, request, &mut tally))).await {
            Some(Ok(reply)) => {
                let limits = tally.told();
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
    tally.sends(response.body());
    response.map(Body::from)
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

async fn answer(operation: Operation, gateway: &Arc<Gateway>, request: Request, tally: &mut Tally) -> Result<Reply, Refusal> {
    let (head, body) = request.into_parts();
    let api_keys = gateway.feed.api_keys();
    let client = gateway.identities.of(&head.headers, &api_keys).await?;
    tally.from(&client);
    let mut table = gateway.feed.routes().ok_or_else(Refusal::not_ready)?;
    if is_compressed(&head.headers) {
        return Err(compressed(&head.headers));
    }
    let body = gateway.bodies.read(&head.headers, body, table.largest_body()).await?;
    // Also of a body that is no request.
    tally.received(body.bytes.len(), false);
    let asked = Arc::new(Asked::read(operation, body.bytes.clone()).map_err(Refusal::unreadable)?);
    tally.received(asked.body.len(), asked.is_streamed());

    let (began, roll) = (Instant::now(), fastrand::u64(..));
    let mut held: Option<Box<Held<'_>>> = None;
    // Whether others answer because nothing is woken for the request.
    let mut stands_in = false;
    // Once, unless it waits for a model: then everything is decided anew by each table that may change something.
    let (route, conversation, mut decision) = loop {
        let route = table.open_to(&client, &asked.peek.model)?;
        tally.on(route);
        tally.writes_down(|| gateway.desk.begin(&head.headers, &asked.body));
        if body.bytes.len() > route.max_body_bytes {
            return Err(Refusal::too_large(route.max_body_bytes));
        }
        let visit = match &held {
            None => gateway.ledger.admit(route, &client, &asked)?,
            Some(_) => gateway.ledger.admit_again(tally.leaves(), route, &client, &asked)?,
        };
        tally.admitted(visit);
        let conversation = Conversation::of(route, &client, &head.headers, &asked);
        let decision = decided(gateway, &table, route, &client, &head.headers, &asked, (conversation, roll));
        let mut decision = match decision {
            Ok(decision) => decision,
            Err(mut refused) => {
                let in_vain = unpaid(route, &refused.wakes, tally).await;
                if in_vain.is_some() {
                    refused.wakes.clear();
                }
                let is_starting = refused.reason == RefusedFor::Starting;
                let told = turned_away(gateway, route, refused, held.as_deref(), tally);
                return Err(match in_vain {
                    // Nothing starts for it.
                    Some((model, why)) if is_starting => why.refusal(route, model),
                    _ => told,
                });
            }
        };
        if let Some((model, why)) = unpaid(route, &decision.wakes, tally).await {
            stands_in = true;
            if !leave_asleep(&mut decision, &why, tally) {
                if let Some(held) = &held {
                    tally.held(held.time());
                    gateway.metrics.warmed(route, "refused", Some(held.time()));
                }
                return Err(why.refusal(route, model));
            }
        }
        let (Some(hold), Some(policy)) = (decision.hold, &route.policy) else {
            break (route, conversation, decision);
        };
        let wakes: Vec<Key> = decision.wakes.iter().map(|model| (*model).clone()).collect();
        let waited = match &mut held {
            Some(held) => held.wait(hold, &wakes).await,
            None => match Held::enter(gateway, policy, hold, decision.wakes[0]) {
                Ok(new) => held.insert(Box::new(new)).wait(hold, &wakes).await,
                Err(in_vain) => Err(in_vain),
            },
        };
        match waited {
            Ok(again) => {
                drop(decision);
                table = again.ok_or_else(Refusal::not_ready)?;
                // Whoever waited may have lost its right to call meanwhile.
                gateway.identities.of(&head.headers, &gateway.feed.api_keys()).await?;
            }
            Err(_) if !decision.models.is_empty() => break (route, conversation, decision),
            Err(in_vain) => {
                let refused = decision.starting(route, &in_vain.why());
                return Err(turned_away(gateway, route, refused, held.as_deref(), tally));
            }
        }
    };
    let is_meanwhile = warmed(gateway, route, &decision, held.as_deref(), tally) || stands_in;
    drop(held);
    let looked = route.cache.as_ref().map(|caching| {
        let class = table.class_of_request(route, &client, &head.headers).ok().flatten();
        let (client, headers, asked, decision) = (&client, &head.headers, &asked, &decision);
        let asker = Asker {
            client,
            class,
            headers,
            asked,
            route,
            decision,
        };
        gateway.answers.look(caching, &asker)
    });
    let keeping = match looked {
        None => None,
        Some(Looked::Hit(again)) => {
            tally.looked(HIT);
            return Ok(Reply::Again(again));
        }
        Some(Looked::Bypass) => {
            tally.looked("bypass");
            None
        }
        Some(Looked::Miss(keeping)) => {
            tally.looked("miss");
            Some(keeping)
        }
    };
    let mirrors = std::mem::take(&mut decision.mirrors);
    let first = decision.models.first().map(|model| model.model.clone());
    let mut reply = Trial::new(gateway, route, &client, &asked, &head.headers, began)
        .first_answer(decision, tally)
        .await?;
    if let Reply::Answered(answered) = &mut reply {
        // Nor is one kept that another model gives only until the rule's own answers, or until there is money again.
        answered.keeping = keeping.filter(|_| !is_meanwhile && first.as_ref() == Some(&answered.bill.model.model));
    }
    if let (Reply::Answered(answered), Some(conversation)) = (&reply, conversation)
        // It moves to the model that wakes, as soon as that answers.
        && !is_meanwhile
        && !tally.is_downgraded()
    {
        gateway.sticky.answered(conversation, &answered.bill.model.model, route);
    }
    if !mirrors.is_empty() && reply.is_good() {
        shadow::mirror(gateway, route, &mirrors, &asked, &head.headers, tally.link().as_ref());
    }
    Ok(reply)
}

/// Tells whoever counts what became of a request for a model that does not answer yet, if it is one; and whether another model answers it only
/// until that one does.
fn warmed(gateway: &Gateway, route: &Route, decision: &Decision<'_>, held: Option<&Held<'_>>, tally: &mut Tally) -> bool {
    let time = held.map(Held::time);
    if let Some(time) = time {
        tally.held(time);
    }
    if let Some(model) = decision.wakes.first() {
        gateway.demand.went_elsewhere(model);
    }
    let outcome = match &route.warmup {
        Some(Warmup::Spill(_)) if !decision.wakes.is_empty() => "spilled",
        Some(_) if !decision.wakes.is_empty() => "fallback",
        _ if held.is_some() => "held",
        _ => return false,
    };
    gateway.metrics.warmed(route, outcome, time);
    !decision.wakes.is_empty()
}

/// A model that this request would wake, and that a budget would not pay for it. Whoever has used up a budget keeps no pods awake.
async fn unpaid<'a>(route: &'a Route, wakes: &[&Key], tally: &Tally) -> Option<(&'a Backend, Unaffordable)> {
    let first = *wakes.first()?;
    let mut named = route.candidates().filter(|candidate| candidate.model == *first);
    let waking = named.find_map(|candidate| candidate.waking.as_deref())?;
    let why = Box::pin(tally.could_pay(waking)).await.err()?;
    Some((waking, why))
}

/// Goes on without the model that is not paid for: with those for when the budget is used up, if there are any. Whether anybody is left.
fn leave_asleep(decision: &mut Decision<'_>, why: &Unaffordable, tally: &mut Tally) -> bool {
    decision.wakes.clear();
    decision.hold = None;
    if let Unaffordable::Exhausted { budget, .. } = why
        && let Some(instead) = decision.instead.get(*budget).filter(|instead| !instead.is_empty())
    {
        decision.models.clone_from(instead);
        tally.downgraded(*budget);
    }
    !decision.models.is_empty()
}

/// The same of one that is refused.
fn turned_away(gateway: &Gateway, route: &Route, refused: Refused<'_>, held: Option<&Held<'_>>, tally: &mut Tally) -> Refusal {
    let time = held.map(Held::time);
    if let Some(time) = time {
        tally.held(time);
    }
    if let Some(model) = refused.wakes.first() {
        gateway.demand.refused(model);
    }
    if held.is_some() || refused.reason == RefusedFor::Starting {
        gateway.metrics.warmed(route, "refused", time);
    }
    refused.into()
}

/// Which models may have the request.
fn decided<'a>(
    gateway: &Gateway,
    table: &RouteTable,
    route: &'a Route,
    client: &Client,
    given: &HeaderMap,
    asked: &Asked,
    (conversation, roll): (Option<Conversation>, u64),
) -> Result<Decision<'a>, Refused<'a>> {
    let class = table.class_of_request(route, client, given)?;
    let texts = texts(asked);
    route.check(texts).map_err(|stopped| {
        if let Some(line) = stopped.line {
            let id = given.get(headers::REQUEST_ID).and_then(|id| id.to_str().ok());
            tracing::info!(id, policy = %route.called(), line, "a request has a blocked term, of this line of the list");
        }
        stopped.refused
    })?;
    let raised = table.raised(route, class, texts);
    let facts = Facts {
        client,
        headers: given,
        model: &asked.peek.model,
        operation: conventions::operation(asked.operation),
        is_streamed: asked.is_streamed(),
        data_class: raised.map(|raised| raised.to).or(class),
        raised,
        content: &|| content(asked),
        now: gateway.now(),
    };
    let home = conversation.and_then(|conversation| gateway.sticky.home(conversation));
    let draw = Draw {
        roll: conversation.map_or(roll, |Conversation(digest)| digest),
        stays_with: home.as_ref(),
        mirror: roll,
    };
    routing::decide(route, &table.classes, &facts, &gateway.balancer, draw)
}

/// What can be looked into.
fn texts(asked: &Asked) -> Texts<'_> {
    Texts {
        body: &asked.body,
        may_be_tokens: asked.may_be_tokens(),
    }
}

impl From<Refused<'_>> for Refusal {
    fn from(refused: Refused<'_>) -> Self {
        let status = StatusCode::from_u16(refused.reason.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let refusal = Self::new(status, refused.reason.code(), refused.message);
        match refused.reason {
            RefusedFor::UnknownModel => refusal.about("model"),
            RefusedFor::Starting => refusal.retry_after(Some(HeaderValue::from_static(STARTING))),
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
    let Longest { tokens, answers } = asked.longest();
    Ok(Content {
        input_tokens: needs.prompt_tokens,
        max_tokens: tokens,
        answers,
        tools: needs.tools,
        images: needs.images,
        json_schema: needs.json_schema,
        is_wordless: needs.embeddings,
        terms: asked.peek.terms.special_if(asked.peek.fees != Fees::None),
    })
}
