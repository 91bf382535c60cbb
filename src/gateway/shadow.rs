//! Copies of requests for models whose answers nobody sees (`spec.shadow`). The plan says which; here they are sent, each by a task of its own, once
//! the answer of the request has begun.
//!
//! ```text
//! request ─► decision (mirrors drawn) ─► answer begins ─┬─► client
//!                                                       └─► place? ─► room? ─► turn? ─► budget? ─► model ─► read to the end, counted
//!                                                             └───────┴───────┴─ none: skipped, and counted with the reason
//! ```
//!
//! **Nothing of it is felt by a client.** A copy has no place among the requests at once, and takes memory only while half of it is free; it is no
//! load that models are chosen or scaled by, and what it finds of their health is known to copies only; it waits in no queue. Where a request of
//! a client finds no memory or no turn at once, copies that have some are given up. What a provider lets us have (`spec.api.limits`) cannot be taken
//! back: of that copies take something only while half is left. Only the models themselves have more to do.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use opentelemetry::trace::SpanContext;
use tokio::time::Instant;

use super::answered::{Answered, Reply};
use super::attempt::Answer;
use super::balance::Balancer;
use super::body::Taken;
use super::ledger::Unaffordable;
use super::queue::Aside;
use super::relay::Terms;
use super::tally::Tally;
use super::trial::Trial;
use super::turns::{Turn, Turns};
use super::{Gateway, headers};
use crate::plan::routing::{Backend, Client, Mirror, Route};
use crate::protocol::Operation;
use crate::protocol::exchange::{Asked, Put};

/// There is one copy at once for so many requests at once, one at least.
const REQUESTS_FOR_ONE: usize = 16;

/// What copies share.
pub(super) struct Shadows {
    turns: Turns,
    /// How endpoints are, as copies found them.
    balancer: Balancer,
}

impl Shadows {
    /// Of a gateway that answers so many requests at once.
    pub(super) fn new(max_requests: usize) -> Self {
        Self {
            turns: Turns::new((max_requests / REQUESTS_FOR_ONE).max(1)),
            balancer: Balancer::default(),
        }
    }
}

/// A copy that is sent, and everything that it takes.
struct Copied {
    gateway: Arc<Gateway>,
    route: Arc<Route>,
    model: Arc<Backend>,
    operation: Operation,
    body: Bytes,
    headers: HeaderMap,
    link: Option<SpanContext>,
    turn: Turn,
    room: Taken,
}

/// Sends the copies of a request under `route` whose answer has begun. Nobody waits for them.
pub(super) fn mirror(
    gateway: &Arc<Gateway>,
    route: &Route,
    mirrors: &[Mirror<'_>],
    asked: &Asked,
    given: &HeaderMap,
    link: Option<&SpanContext>,
) {
    // Nothing is inferred.
    if !asked.operation.is_charged() {
        return;
    }
    for Mirror { shadow, to } in mirrors {
        let copy = match to {
            Ok((terms, model)) => Copied::of(gateway, terms, model, asked, given, link),
            Err(skipped) => Err(skipped.reason),
        };
        match copy {
            Ok(copy) => drop(tokio::spawn(copy.run())),
            Err(reason) => gateway.metrics.skipped_copy(route, &shadow.model, reason),
        }
    }
}

impl Copied {
    /// What it takes, or why it is not sent. The request waits for this, so that it is little.
    fn of(
        gateway: &Arc<Gateway>,
        route: &Arc<Route>,
        model: &Arc<Backend>,
        asked: &Asked,
        given: &HeaderMap,
        link: Option<&SpanContext>,
    ) -> Result<Self, &'static str> {
        if gateway.draining.load(Ordering::Relaxed) {
            return Err("closing");
        }
        let turn = gateway.shadows.turns.take().ok_or("too_many")?;
        let room = gateway.bodies.spare(asked.body.len()).ok_or("no_memory")?;
        Ok(Self {
            gateway: gateway.clone(),
            route: route.clone(),
            model: model.clone(),
            operation: asked.operation,
            body: asked.body.clone(),
            headers: headers::of_copy(given),
            link: link.cloned(),
            turn,
            room,
        })
    }

    async fn run(self) {
        let (gateway, route, model) = (self.gateway.clone(), self.route.clone(), self.model.clone());
        // Boxed: what is moved into a task is large.
        if let Err(reason) = Box::pin(self.send()).await {
            gateway.metrics.skipped_copy(&route, &model.model, reason);
        }
    }

    /// Asks the model, reads its answer and forgets it; or says why the model is not asked. What becomes of it then is its tally's to say.
    async fn send(self) -> Result<(), &'static str> {
        let Self {
            gateway,
            route,
            model,
            operation,
            body,
            headers,
            link,
            turn,
            room: _room,
        } = self;
        let gateway = &*gateway;
        let asked = Arc::new(Asked::read(operation, body).map_err(|_| UNFIT)?);
        if !asked.is_repeatable() {
            return Err("has_effects");
        }
        if asked.is_kept_elsewhere() {
            return Err("kept_elsewhere");
        }
        let is_well = |balancer: &Balancer| balancer.any_is_well(&*model, &[]);
        if !is_well(&gateway.balancer) || !is_well(&gateway.shadows.balancer) {
            return Err("resting");
        }
        // Whoever asked is nobody's business here: no limit and no budget of theirs counts it.
        let began = Instant::now();
        let trial = Trial::new(gateway, &route, &Client::Anonymous, &asked, &headers, began);
        let _more = gateway.bodies.spare(trial.takes(&model)).ok_or("no_memory")?;
        let Ok(Put::Send(exchange)) = trial.put(&model) else {
            return Err(UNFIT);
        };
        let aside = match model.queue {
            Some(queue) => Some(gateway.queues.aside(&model.model, queue, model.bases.len()).ok_or("no_turn")?),
            None => None,
        };
        let bill = trial.bill(&model, &exchange);
        let mut visit = gateway.ledger.admit(&route, &Client::Anonymous, &asked).map_err(|_| "invalid")?;
        if let Some(visit) = &mut visit {
            let reserved = tokio::select! {
                biased;
                () = must_end(gateway, aside.as_ref()) => return Err("gave_way"),
                reserved = visit.reserve(&bill) => reserved,
            };
            reserved.map_err(|unaffordable| word(&unaffordable))?;
        }
        let Some((base, place)) = gateway.shadows.balancer.pick(&*model, &[], None) else {
            return Err("resting");
        };
        let quota = gateway.ledger.within_spare_quota(&bill).map_err(|_| "over_limits")?;
        let mut tally = Tally::of_copy(gateway, &route, &asked, link);
        tally.admitted(visit);
        tally.spared(quota);
        let asking = async {
            let answer = match trial.attempt(&model, base, &exchange, bill, &mut tally).await {
                Ok(answer) => answer,
                Err(failure) => {
                    failure.tell(&place, gateway.now());
                    tally.failed(&failure);
                    tracing::debug!(model = %model.model, cause = failure.cause(), "the copy of a request brought no answer: it {failure}");
                    return tally.refused(StatusCode::BAD_GATEWAY, Some(failure.outcome()));
                }
            };
            if !matches!(answer, Answer::Refused(_)) {
                place.answered(asked.is_streamed());
            }
            tally.answered_by(&model);
            let answered = Answered {
                bill: trial.bill(&model, &exchange),
                answer,
                exchange,
                request_id: None,
                attempts: 1,
                terms: Terms {
                    idle: route.timeouts.idle,
                    deadline: began + route.timeouts.total,
                    takes_trailers: false,
                },
                place,
                keeping: None,
            };
            let response = Reply::Answered(Box::new(answered)).into_response(gateway, tally, turn);
            // Its tally is told on the way.
            let mut body = response.into_body();
            while let Some(Ok(_)) = body.frame().await {}
        };
        tokio::select! {
            biased;
            () = must_end(gateway, aside.as_ref()) => {}
            () = asking => {}
        }
        Ok(())
    }
}

/// The model cannot do what is asked, or not in words that are understood here.
const UNFIT: &str = "unfit";

/// Waits until something more important comes up: a request of a client wants the turn or the memory, or the gateway ends.
async fn must_end(gateway: &Gateway, aside: Option<&Aside>) {
    let turn_is_wanted = async {
        match aside {
            Some(aside) => aside.gives_way.cancelled().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = turn_is_wanted => {}
        () = gateway.bodies.is_short() => {}
        () = gateway.closing.cancelled() => {}
    }
}

fn word(unaffordable: &Unaffordable) -> &'static str {
    match unaffordable {
        Unaffordable::Exhausted { .. } => "over_budget",
        Unaffordable::Unpriced(_) => "unpriced",
        Unaffordable::Unavailable(_) => "ledger_unavailable",
    }
}
