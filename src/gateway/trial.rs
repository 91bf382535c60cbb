//! Asking one model after another until one answers. Until the first content of an answer a failure costs the client nothing but time.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fastrand::Rng;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use tokio::time::{Instant, sleep_until};

use super::answered::{Answered, Reply};
use super::attempt::{Answer, Attempt};
use super::balance::Place;
use super::bill::{Bill, Prompt};
use super::body::Taken;
use super::failure::Failure;
use super::feed::Held;
use super::ledger::Unaffordable;
use super::metrics;
use super::queue::Turn;
use super::refusal::Refusal;
use super::relay::Terms;
use super::tally::Tally;
use super::{Gateway, fit, headers};
use crate::plan::routing::{Backend, Client, Decision, Route, operation};
use crate::protocol::chat::{Unfit, Unsupported};
use crate::protocol::error::Kind;
use crate::protocol::exchange::{Asked, Clean, Exchange, Put};
use crate::protocol::fees::Fees;
use crate::protocol::{Operation, usage};

/// Attempts for one request at most, however many endpoints there are.
const ATTEMPTS: usize = 10;
/// Before the only endpoint of a model is asked again: half of it at least, by chance.
const PAUSE: Duration = Duration::from_millis(400);

/// Everything that attempts for one request share.
pub(super) struct Trial<'a> {
    gateway: &'a Gateway,
    route: &'a Route,
    client: &'a Client,
    asked: &'a Arc<Asked>,
    headers: &'a HeaderMap,
    /// The request without what models behind an API must not see; made when the first of them is asked.
    clean: OnceLock<Result<Option<Clean>, Unfit>>,
    id: Cow<'a, str>,
    began: Instant,
    deadline: Instant,
}

/// What was tried so far.
#[derive(Default)]
struct Tried<'a> {
    failures: Vec<(&'a Backend, Failure)>,
    /// Models that cannot do what is asked.
    unfit: Vec<(&'a Backend, Unsupported)>,
    /// Models that a budget has not enough left for, or cannot reckon with.
    unaffordable: Vec<(&'a Backend, Unaffordable)>,
}

impl Tried<'_> {
    /// Whether one that found the request too long holds as much as this one.
    fn is_too_long_for(&self, model: &Backend) -> bool {
        let mut found = self.failures.iter().filter(|(_, failure)| *failure == Failure::TooLong);
        found.any(|(earlier, _)| !fit::holds_more(model, earlier))
    }
}

impl<'a> Trial<'a> {
    /// `began` is when the time for the whole request begins to count.
    pub(super) fn new(
        gateway: &'a Gateway,
        route: &'a Route,
        client: &'a Client,
        asked: &'a Arc<Asked>,
        headers: &'a HeaderMap,
        began: Instant,
    ) -> Self {
        Self {
            gateway,
            route,
            client,
            asked,
            headers,
            clean: OnceLock::new(),
            id: headers::printable_id(headers),
            began,
            deadline: began + route.timeouts.total,
        }
    }

    /// Asks one model after another; those whose endpoints all rest come last.
    pub(super) async fn first_answer(&self, decision: Decision<'a>, tally: &mut Tally) -> Result<Reply, Refusal> {
        let Decision { mut models, instead, .. } = decision;
        self.gateway.budgets.save(&self.route.name, self.route.retries.budget_percent);
        self.rested_last(&mut models);
        let mut tried = Tried::default();
        let mut room = Taken::default();
        let (mut at, mut seen) = (0, 0);
        while let Some(model) = models.get(at).copied() {
            at += 1;
            if tried.is_too_long_for(model) {
                continue;
            }
            self.take_room(&mut room, model).await?;
            let exchange = match self.put(model) {
                Ok(Put::Send(exchange)) => exchange,
                Ok(Put::Estimate(body)) => return Ok(Reply::Estimate(body, model.model.clone())),
                Err(Unfit::Unsupported(unsupported)) => {
                    tried.unfit.push((model, unsupported));
                    continue;
                }
                Err(Unfit::Unreadable(unreadable)) => return Err(Refusal::unreadable(unreadable)),
            };
            if let Some((earlier, _)) = tried.failures.last() {
                tally.fell_back(&earlier.model, &model.model);
            }
            let redacted = exchange.back.redacted();
            if redacted > 0 {
                self.gateway.metrics.redacted(self.route, redacted);
            }
            if let Some((answer, place)) = self.ask(model, &exchange, &models[at..], &mut tried, tally).await {
                tally.answered_by(model);
                return Ok(Reply::Answered(Box::new(Answered {
                    answer,
                    bill: self.bill(model, &exchange),
                    exchange,
                    request_id: self.headers.get(headers::REQUEST_ID).cloned(),
                    attempts: tried.failures.len() + 1,
                    terms: Terms {
                        idle: self.route.timeouts.idle,
                        deadline: self.deadline,
                        takes_trailers: headers::takes_trailers(self.headers),
                    },
                    place,
                    keeping: None,
                })));
            }
            if let Some((_, Unaffordable::Exhausted { budget, .. })) = tried.unaffordable.last()
                && tried.unaffordable.len() > seen
            {
                seen = tried.unaffordable.len();
                (models, at) = (self.instead(&instead, *budget, &tried)?, 0);
                self.rested_last(&mut models);
                tally.downgraded(*budget);
                continue;
            }
            if tried.failures.len() >= ATTEMPTS || Instant::now() >= self.deadline || self.must_end(&tried) {
                break;
            }
        }
        Err(self.nobody_did(&tried))
    }

    /// Those whose endpoints all rest come last.
    fn rested_last(&self, models: &mut [&'a Arc<Backend>]) {
        if models.len() > 1 {
            models.sort_by_key(|model| !self.gateway.balancer.any_is_well(*model, &[]));
        }
    }

    /// The models to go on with when the budget at this position has too little left, unless they have been.
    fn instead(&self, instead: &[Vec<&'a Arc<Backend>>], budget: usize, tried: &Tried<'_>) -> Result<Vec<&'a Arc<Backend>>, Refusal> {
        let again =
            |(_, earlier): &&(&Backend, Unaffordable)| matches!(earlier, Unaffordable::Exhausted { budget: at, .. } if *at == budget);
        let open = instead.get(budget).cloned().unwrap_or_default();
        let is_again = tried.unaffordable.iter().filter(again).count() > 1;
        match tried.unaffordable.last() {
            Some((model, why)) if is_again || open.is_empty() => Err(why.refusal(self.route, model).after_attempts(tried.failures.len())),
            _ => Ok(open),
        }
    }

    /// Whether nobody else may be asked: what has effects must not be done twice, and where there is no room there is none for another.
    fn must_end(&self, tried: &Tried<'_>) -> bool {
        let last = tried.failures.last().map(|(_, failure)| failure);
        last == Some(&Failure::NoRoom) || (last.is_some_and(Failure::may_have_begun) && !self.asked.is_repeatable())
    }

    /// Takes the room for what is made of the request when it is put to `model`; it is kept for those after it.
    async fn take_room(&self, room: &mut Taken, model: &Backend) -> Result<(), Refusal> {
        let (bodies, takes) = (&self.gateway.bodies, self.takes(model));
        if !bodies.could_hold(self.asked.body.len() + takes) {
            let message = format!(
                "the request is too large to be written in the protocol of {}: the gateway has less memory for all requests (--max-body-memory)",
                model.called
            );
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message));
        }
        match room.grow(bodies, takes).await {
            true => Ok(()),
            false => Err(Refusal::overloaded("the gateway holds as many requests as it can: try again later")),
        }
    }

    pub(super) fn put(&self, model: &Backend) -> Result<Put, Unfit> {
        let clean = self.clean_for(model)?;
        let asked = clean.map_or(&**self.asked, |clean| &clean.asked);
        fit::check(asked, &model.capabilities)?;
        let mut put = asked.put(&fit::recipient(model), &self.id, self.gateway.now().as_second())?;
        if let (Put::Send(exchange), Some(clean)) = (&mut put, clean) {
            exchange.restoring(clean.placeholders.clone());
        }
        Ok(put)
    }

    /// What a model may see instead of the request, if that must differ: our own pods see all of it.
    fn clean_for(&self, model: &Backend) -> Result<Option<&Clean>, Unfit> {
        let kinds = self.route.guard.redact;
        if kinds.is_empty() || model.provider.is_none() {
            return Ok(None);
        }
        let clean = self.clean.get_or_init(|| self.asked.without(kinds));
        clean.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    /// How many bytes are held of the request while it is put to `model`, beside its own.
    pub(super) fn takes(&self, model: &Backend) -> usize {
        let is_copied = !self.route.guard.redact.is_empty() && model.provider.is_some();
        fit::takes(self.asked, model) + if is_copied { 2 * self.asked.body.len() } else { 0 }
    }

    /// Asks one model, at one of its endpoints; at another one, or again, when that may help.
    async fn ask<'b>(
        &self,
        model: &'b Arc<Backend>,
        exchange: &Exchange,
        others: &[&Arc<Backend>],
        so_far: &mut Tried<'b>,
        tally: &mut Tally,
    ) -> Option<(Answer, Place)> {
        let Gateway {
            balancer, metrics: counts, ..
        } = self.gateway;
        let beginning = (model.provider.is_none() && model.bases.len() > 1)
            .then(|| self.asked.beginning())
            .flatten();
        let mut turn = match self.turn(model).await {
            Ok(turn) => turn,
            Err(failure) => {
                counts.attempted(&model.model, failure.outcome());
                so_far.failures.push((model, failure));
                return None;
            }
        };
        let mut tried: Vec<&Uri> = Vec::new();
        let mut repeated = 0;
        // What the budget of retries has to allow before the next attempt.
        let mut is_retry = false;
        while so_far.failures.len() < ATTEMPTS
            && !self.is_better_elsewhere(model, &tried, others)
            && let Some((base, mut place)) = balancer.pick(model, &tried, beginning)
            && (!is_retry || self.gateway.budgets.spend(&self.route.name))
        {
            let bill = self.bill(model, exchange);
            if let Err(unaffordable) = tally.reserve(&bill).await {
                so_far.unaffordable.push((model, unaffordable));
                return None;
            }
            if let Err(failure) = tally.enters(&bill) {
                counts.attempted(&model.model, failure.outcome());
                so_far.failures.push((model, failure));
                return None;
            }
            // Boxed here, where the most is: what is around it is moved when it begins.
            let failure = match Box::pin(self.attempt(model, base, exchange, bill, tally)).await {
                Ok(Answer::Refused(refused)) if refused.error.kind == Kind::ContextLength && fit::one_holds_more(model, others) => {
                    Failure::TooLong
                }
                Ok(answer) => {
                    // What is refused was not worked at: it tells neither how well the endpoint is nor how fast.
                    if !matches!(answer, Answer::Refused(_)) {
                        place.answered(self.asked.is_streamed());
                    }
                    counts.attempted(&model.model, metrics::ANSWERED);
                    place.keep(turn.take());
                    return Some((answer, place));
                }
                Err(failure) => failure,
            };
            tally.failed(&failure);
            failure.tell(&place, self.gateway.now());
            drop(place);
            counts.attempted(&model.model, failure.outcome());
            self.note(model, base, &failure);
            is_retry = !failure.is_free();
            let may = failure.may_repeat(self.asked.is_repeatable()) && (!is_retry || repeated < self.route.retries.attempts);
            repeated += u32::from(is_retry);
            let pause = self.pause(model, &failure, others.is_empty());
            // Where there is no other endpoint, a fresh connection to the same one may do.
            if model.bases.len() > 1 || (failure != Failure::Dropped && pause.is_none()) {
                tried.push(base);
            }
            so_far.failures.push((model, failure));
            if !may {
                break;
            }
            if let Some(pause) = pause {
                sleep_until((Instant::now() + pause).min(self.deadline)).await;
            }
        }
        None
    }

    /// A turn at a model that has a queue.
    async fn turn(&self, model: &Backend) -> Result<Option<Turn>, Failure> {
        let Some(queue) = model.queue else { return Ok(None) };
        let patience = self.deadline.saturating_duration_since(Instant::now());
        let client = self.client.id();
        let turn = self.gateway.queues.turn(&model.model, queue, model.bases.len(), &client, patience);
        turn.await.map(Some).map_err(Failure::NoTurn)
    }

    /// Whether the model's other endpoints rest, while another model has one that is well.
    fn is_better_elsewhere(&self, model: &Backend, tried: &[&Uri], others: &[&Arc<Backend>]) -> bool {
        let balancer = &self.gateway.balancer;
        !tried.is_empty() && !balancer.any_is_well(model, tried) && others.iter().any(|other| balancer.any_is_well(*other, &[]))
    }

    /// How long to wait before the only endpoint of the last model is asked again; `None`: it is not.
    fn pause(&self, model: &Backend, failure: &Failure, is_last: bool) -> Option<Duration> {
        let may_heal = matches!(failure, Failure::Status(status, None, _) if status.is_server_error());
        let left = self.deadline.saturating_duration_since(Instant::now());
        (model.bases.len() == 1 && is_last && may_heal && left > PAUSE).then(|| PAUSE.mul_f64(0.5 + 0.5 * Rng::new().f64()))
    }

    /// Says why an attempt failed, at times: clients are told less. A model at its limit is no news.
    fn note(&self, model: &Backend, base: &Uri, failure: &Failure) {
        if failure.is_limit() || !self.gateway.quiet.may_tell(&model.model, failure.outcome()) {
            return;
        }
        let id = self.headers.get(headers::REQUEST_ID).and_then(|id| id.to_str().ok());
        let hint = failure.hint(model.provider.is_some());
        let (model, cause) = (&model.model, failure.cause());
        tracing::warn!(id, %model, url = %base, cause, hint, "an attempt failed, and more may have since: it {failure}");
    }

    pub(super) async fn attempt(
        &self,
        model: &Arc<Backend>,
        base: &Uri,
        exchange: &Exchange,
        bill: Bill,
        tally: &mut Tally,
    ) -> Result<Answer, Failure> {
        let held = self.gateway.held_for(model)?;
        let url = operation(base, &exchange.path).ok_or_else(|| Failure::Unreachable("its address is no URL".to_owned()))?;
        let mut headers = headers::to_model(self.headers, exchange);
        tally.attempts(model, base, &mut headers);
        if let Some(held) = &held {
            self.gateway.authorize(model, held, &url, &exchange.body, &mut headers).await?;
        }
        let attempt = Attempt {
            url: &url,
            headers,
            exchange,
            asked: self.asked,
            may_be_lacking: model.may_be_lacking,
            room: &self.gateway.bodies,
            timeouts: &self.route.timeouts,
            deadline: self.deadline,
            bill,
            tally,
            versions: &self.gateway.versions,
        };
        let answer = attempt.make(self.gateway.way_to(held.as_deref())).await;
        let secrets = || held.as_deref().map(Held::secrets).unwrap_or_default();
        match answer {
            Ok(Answer::Refused(refused)) => {
                let secrets = secrets();
                let address = base.authority().map_or("", |authority| authority.as_str());
                let hidden = secrets.iter().map(|secret| (*secret, "[credential]"));
                let hidden: Vec<(&str, &str)> = hidden.chain([(address, "[address]")]).collect();
                Ok(Answer::Refused(Box::new(refused.without(&hidden))))
            }
            Ok(answer) => Ok(answer),
            Err(failure) => Err(failure.without(&secrets())),
        }
    }

    pub(super) fn bill(&self, model: &Arc<Backend>, exchange: &Exchange) -> Bill {
        // No tier is written in another protocol.
        let is_unchanged = exchange.back.is_unchanged();
        Bill {
            model: model.clone(),
            operation: self.asked.operation,
            prompt: Prompt::Unread(self.asked.clone()),
            asked_terms: if is_unchanged {
                self.asked.peek.terms
            } else {
                usage::Terms::Unsaid
            },
            fees: if is_unchanged { self.asked.peek.fees } else { Fees::None },
            is_background: is_unchanged && self.asked.operation == Operation::Responses && self.asked.peek.is_background,
            now: self.gateway.now,
        }
    }

    /// Every attempt failed, or no model can do it. A last model without capacity is told as such, with its own advice when to come back.
    fn nobody_did(&self, tried: &Tried<'_>) -> Refusal {
        let called = self.route.called();
        let failed = tried.failures.iter().map(|(model, failure)| format!("{} {failure}", model.called));
        let cannot = tried.unfit.iter().map(|(model, unfit)| format!("{}: {unfit}", model.called));
        let dear = tried.unaffordable.iter().map(|(model, why)| format!("{}: {why}", model.called));
        let sentences: Vec<String> = failed.chain(cannot).chain(dear).collect();
        let mut message = format!("no model of {called} answered: {}", sentences.join("; "));
        let is_final = !tried.failures.is_empty() && self.must_end(tried) && !self.asked.is_repeatable();
        if is_final {
            message.push_str("; no other was asked, because it may have begun what must not be done twice");
        }
        if let (None, None, Some((model, why))) = (tried.failures.last(), tried.unfit.first(), tried.unaffordable.last()) {
            return why.refusal(self.route, model);
        }
        let refusal = match (tried.failures.last(), tried.unfit.first()) {
            (None, Some((_, unfit))) => {
                let message = format!("no model of {called} can do this: {}", sentences.join("; "));
                Refusal::new(StatusCode::BAD_REQUEST, "unsupported", message).about(&unfit.field)
            }
            (Some((_, Failure::TooLong)), _) => {
                Refusal::new(StatusCode::BAD_REQUEST, "context_length_exceeded", message).kind(Kind::ContextLength)
            }
            (Some((_, last)), _) if last.is_no_capacity() => self.no_capacity(last, tried, message),
            (Some((_, Failure::NoRoom)), _) => Refusal::overloaded(message),
            (Some((_, Failure::Silent(_) | Failure::Stalled(_) | Failure::OutOfTime { .. })), _) => {
                Refusal::new(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", message)
            }
            _ => Refusal::new(StatusCode::BAD_GATEWAY, "upstream_failed", message),
        };
        tracing::debug!(after = ?self.began.elapsed(), "nobody answered");
        let refusal = if is_final { refusal.not_again() } else { refusal };
        refusal.after_attempts(tried.failures.len())
    }

    /// The last model has no capacity: the client may come back when the first of them says so.
    fn no_capacity(&self, last: &Failure, tried: &Tried<'_>, message: String) -> Refusal {
        let now = self.gateway.now();
        let advice = tried.failures.iter().filter_map(|(_, failure)| failure.advice_seconds(now)).min();
        let refusal = match last {
            Failure::Status(StatusCode::TOO_MANY_REQUESTS, ..) | Failure::OverLimits(_) => {
                Refusal::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message)
            }
            _ => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message),
        };
        refusal.retry_after(advice.map(HeaderValue::from))
    }
}
