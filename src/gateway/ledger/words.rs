//! How a client is told that it may not spend more, or not so fast: what is used up, until when, and whom to ask.

use std::fmt;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use k8s_openapi::jiff::Timestamp;

use super::limits::{self, Refused};
use super::store::Unavailable;
use super::visit::Unaffordable;
use crate::api::budget::{BudgetPer, LimitPer};
use crate::gateway::headers::SHOULD_RETRY;
use crate::gateway::refusal::Refusal;
use crate::plan::Invalid;
use crate::plan::ledger::Over;
use crate::plan::names::Key;
use crate::plan::price::Unpriced;
use crate::plan::routing::{Backend, Route};
use crate::protocol::Operation;

pub(super) fn is_anthropic(operation: Operation) -> bool {
    matches!(operation, Operation::Messages | Operation::CountTokens)
}

/// A request that comes too fast.
pub(super) fn too_fast(policy: &Key, refused: &Refused, operation: Operation, now: Timestamp) -> Refusal {
    let Refused { limit, over, standing } = refused;
    let whose = match limit.per {
        LimitPer::Client => "you may have",
        LimitPer::Policy => "all clients together may have",
    };
    let (what, wait) = match over {
        Over::Requests(wait) => (
            format!("{} requests in a minute", limit.requests_per_minute.unwrap_or_default()),
            *wait,
        ),
        Over::Tokens(wait) => (format!("{} tokens in a minute", limit.tokens_per_minute.unwrap_or_default()), *wait),
        Over::AtOnce => (
            format!("{} requests at one time", limit.concurrent.unwrap_or_default()),
            Duration::from_secs(1),
        ),
    };
    let message = format!("{whose} {what} under RoutingPolicy {policy} (spec.limits): come back later, or ask whoever keeps the policy");
    Refusal::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message)
        .retry_after(Some(seconds(wait)))
        .with(limits::headers(*standing, is_anthropic(operation), now))
}

/// A policy whose budgets cannot be understood answers nothing: it is not known what it may spend.
pub(super) fn invalid(route: &Route, invalid: &Invalid) -> Refusal {
    let message = format!("{} answers nothing until it is corrected: {invalid}", route.called());
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "invalid_policy", message)
}

impl Unaffordable {
    /// What the client is told where no other model answers.
    pub(in crate::gateway) fn refusal(&self, route: &Route, model: &Backend) -> Refusal {
        let name = &model.called;
        let called = route.called();
        match self {
            Self::Exhausted {
                budget: at,
                needs,
                exhausted,
                until,
                now,
            } => {
                let Some(allowance) = route.allowances.iter().flatten().nth(*at) else {
                    return Refusal::new(StatusCode::TOO_MANY_REQUESTS, "budget_exhausted", self.to_string());
                };
                let budget = &allowance.budget;
                let (needs, left, limit) = (budget.written(*needs), budget.written(exhausted.left), budget.written(budget.limit));
                let remedy = match exhausted.is_held {
                    true => "requests in flight hold what else is left: try again in a moment".to_owned(),
                    false => format!(
                        "it begins anew at {until}; ask whoever keeps the policy for more (spec.budgets), or allow a shorter answer"
                    ),
                };
                let shared = match budget.per {
                    BudgetPer::Policy => String::new(),
                    per => format!(" for each {per}"),
                };
                let message = format!(
                    "the budget {} of {called}, {limit} per {}{shared}, has {left} left, and this request to {name} may cost {needs}: {remedy}",
                    budget.name,
                    budget.calendar.window(),
                );
                let wait = if exhausted.is_held {
                    Duration::from_secs(1)
                } else {
                    between(*now, *until)
                };
                let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "budget_exhausted", message).retry_after(Some(seconds(wait)));
                match exhausted.is_held {
                    true => refusal,
                    false => refusal.with([(SHOULD_RETRY, HeaderValue::from_static("false"))].into_iter().collect()),
                }
            }
            Self::Unpriced(_) => {
                let message = format!("{called} has a budget in US dollars, and {name} gets no request under it: {self}");
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unknown_price", message)
            }
            Self::Unavailable(full @ Unavailable::Full(_)) => {
                tracing::warn!(error = %full, "a request is refused");
                let message = format!("{called} has a budget, and {self}: tell whoever keeps the installation");
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "ledger_full", message).retry_after(Some(seconds(Duration::from_secs(60))))
            }
            Self::Unavailable(unavailable) => {
                tracing::warn!(error = %unavailable, "a request is refused");
                let message = format!("{called} has a budget, and {self}: try again in a moment");
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable", message)
                    .retry_after(Some(seconds(Duration::from_secs(1))))
            }
        }
    }
}

impl fmt::Display for Unaffordable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhausted { .. } => f.write_str("may cost more than is left of a budget"),
            Self::Unpriced(Unpriced::SpecialTerms) => {
                f.write_str("what it costs on these terms (service_tier, tools of the provider) is not known: ask for the standard ones, without such tools")
            }
            Self::Unpriced(_) => {
                f.write_str("what it costs is not known: set spec.price of the ModelDeployment, or add it to the price book")
            }
            // What is behind it is for our logs.
            Self::Unavailable(Unavailable::Full(_)) => f.write_str("what is spent of it by one client more cannot be kept"),
            Self::Unavailable(Unavailable::Away(_)) => f.write_str("the store of what was spent does not answer"),
        }
    }
}

fn between(now: Timestamp, until: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(now)).unwrap_or_default()
}

/// Whole seconds, rounded up: whoever comes back then is let in.
fn seconds(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_millis().div_ceil(1_000).max(1).try_into().unwrap_or(u64::MAX))
}
