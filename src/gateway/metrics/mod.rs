//! What the gateway counts: how many requests, how long, how often a model failed. Labels are names of objects or words of ours; what
//! clients make up is `_unknown`. Series of objects that are gone are forgotten an hour later.

mod family;
mod forget;
mod gen_ai;
mod known;
mod labels;
mod seen;
mod series;
mod shadow;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::plan::names::Key;
use crate::plan::routing::{Backend, Route, RouteTable};
use crate::plan::traffic::Counts;

use super::bill::Charge;
use super::tally::Record;
use forget::Seen;
use gen_ai::GenAi;
use labels::{BudgetLabels, OutcomeLabels};
use series::Series;
use shadow::Shadows;

pub(super) struct Metrics {
    registry: Registry,
    series: Arc<Series>,
    seen: Mutex<Seen>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::default();
        let gen_ai = GenAi::new(&mut registry);
        let of_ours = registry.sub_registry_with_prefix("portfolio_gateway");
        let series = Series::new(gen_ai, Shadows::new(of_ours));
        register(of_ours, &series);
        Self {
            registry,
            series: Arc::new(series),
            seen: Mutex::default(),
        }
    }

    /// In Prometheus' text form.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        encode(&mut text, &self.registry).map(|()| text).unwrap_or_default()
    }

    /// Forgets the series of policies and models that have not been in the table for an hour. What is in none is first seen now.
    pub(super) fn forget(&self, table: &RouteTable, now: Instant) {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .forget(&self.series, table, now);
    }

    /// Whether the routes follow what they are made from.
    pub(super) fn feed_is_current(&self, is_current: bool) {
        self.series.is_current.set(i64::from(is_current));
    }

    /// Whether the store of what was spent answers.
    pub(super) fn ledger_answers(&self, answers: bool) {
        self.series.ledger_answers.set(i64::from(answers));
    }

    /// What was counted of each policy since the start.
    pub(super) fn counts(&self) -> BTreeMap<String, Counts> {
        let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
        self.series.routes.each(|_, route| {
            if let Some(policy) = &route.policy {
                counts.insert(policy.to_string(), route.counts());
            }
        });
        for (policy, shadows) in self.series.shadows.counts() {
            counts.entry(policy).or_default().shadows = shadows;
        }
        counts
    }

    /// A request has come.
    pub(super) fn begin(&self) -> Counting {
        self.series.in_flight.inc();
        Counting {
            series: self.series.clone(),
            is_copy: false,
        }
    }

    /// A copy of a request begins.
    pub(super) fn begin_copy(&self) -> Counting {
        self.series.shadows.in_flight.inc();
        Counting {
            series: self.series.clone(),
            is_copy: true,
        }
    }

    /// A copy of a request was due to this model and is not sent.
    pub(super) fn skipped_copy(&self, route: &Route, model: &Key, reason: &str) {
        self.series.shadows.skip(route, model, reason);
    }

    /// What the price book is.
    pub(super) fn tell_prices(&self, entries: usize, is_current: bool) {
        self.series.price_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.series.prices_outdated.set(i64::from(!is_current));
    }

    /// Which part of each budget was spent, by policy and budget; of others nothing is told any more.
    pub(super) fn tell_budgets(&self, ratios: impl IntoIterator<Item = (String, String, f64)>) {
        self.series.budgets.retain(|_| false);
        for (policy, budget, ratio) in ratios {
            self.series.budgets.of(BudgetLabels { policy, budget }).set(ratio);
        }
    }

    /// A request for a model that does not answer yet: what became of it, and how long it waited if it did.
    pub(super) fn warmed(&self, route: &Route, outcome: &'static str, held: Option<Duration>) {
        self.series.warmed(route, outcome, held);
    }

    /// How many requests wait for each model.
    pub(super) fn tell_held(&self, all: impl IntoIterator<Item = (Key, usize)>) {
        self.series.held.set_all(all);
    }

    /// How many requests wait for each model that has a queue; of others nothing is told any more.
    pub(super) fn tell_queues(&self, waiting: impl IntoIterator<Item = (Key, usize)>) {
        self.series.queued.set_all(waiting);
    }

    /// So many identifiers of a request were replaced before a model got it.
    pub(super) fn redacted(&self, route: &Route, identifiers: usize) {
        self.series.redacted(route, identifiers);
    }

    pub(super) fn attempted(&self, model: &Key, outcome: &'static str) {
        let count = || {
            let model = model.to_string();
            self.series.attempts.of(OutcomeLabels { model, outcome })
        };
        if outcome == ANSWERED {
            self.series.answered.get_or_insert(model, |_| true, count).inc();
        } else {
            count().inc();
        }
    }
}

/// The outcome of an attempt that brought an answer.
pub(super) const ANSWERED: &str = "answered";

/// One request that has not ended, or a copy of one: in flight until dropped.
pub(super) struct Counting {
    series: Arc<Series>,
    is_copy: bool,
}

impl Counting {
    pub(super) fn fell_back(&self, route: Option<&Route>, from: &Key, to: &Key) {
        self.series.fell_back(route, from, to);
    }

    /// What a model was asked in vain.
    pub(super) fn lost(&self, route: &Route, model: &Backend, charge: &Charge) {
        match self.is_copy {
            true => self.series.shadows.charge(route, &model.model, charge),
            false => self.series.lost(route, model, charge),
        }
    }

    /// Its answer was looked for among those that are kept.
    pub(super) fn looked(&self, route: &Route, outcome: &'static str) {
        self.series.looked(route, outcome);
    }

    /// It has ended.
    pub(super) fn count(&self, record: &Record, elapsed: Duration) {
        match self.is_copy {
            true => self.series.shadows.count(record, elapsed),
            false => self.series.count(record, elapsed),
        }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        match self.is_copy {
            true => self.series.shadows.in_flight.dec(),
            false => self.series.in_flight.dec(),
        };
    }
}

fn register(registry: &mut Registry, series: &Series) {
    registry.register(
        "requests",
        "Requests by policy, by the model that answered, and by how they ended",
        series.requests.clone(),
    );
    registry.register(
        "request_duration_seconds",
        "From the request to the end of its answer",
        series.duration.clone(),
    );
    registry.register(
        "first_content_seconds",
        "From the request to the first content of its answer",
        series.first_content.clone(),
    );
    registry.register("requests_in_flight", "Requests that have not ended", series.in_flight.clone());
    registry.register(
        "routes_current",
        "1 while the routes follow the cluster; 0 while the API server does not answer and they stay as they were",
        series.is_current.clone(),
    );
    registry.register(
        "upstream_attempts",
        "Attempts at models, by how they ended",
        series.attempts.clone(),
    );
    registry.register(
        "broken_answers",
        "Answers that broke after they had begun, by how",
        series.broken.clone(),
    );
    registry.register(
        "fallbacks",
        "Requests that moved from one model to another",
        series.fallbacks.clone(),
    );
    registry.register(
        "warmup_requests",
        "Requests whose rule had no target that answers yet, by policy and by what became of them: held until one did, spilled, sent to a \
         fallback, or refused",
        series.warmups.clone(),
    );
    registry.register(
        "held_seconds",
        "How long requests waited for a model to wake",
        series.held_time.clone(),
    );
    registry.register("requests_held", "Requests that wait for a model to wake", series.held.clone());
    registry.register(
        "cache_requests",
        "Requests of policies that keep answers, by whether theirs was kept: hit, miss, or bypass where the request wants none",
        series.cached.clone(),
    );
    registry.register("tokens", "Tokens that answers reported", series.tokens.clone());
    registry.register(
        "cost_usd",
        "What answers cost in US dollars, as far as it is known",
        series.cost.clone(),
    );
    registry.register(
        "unpriced_requests",
        "Answers whose cost is unknown, by what is missing",
        series.unpriced.clone(),
    );
    registry.register(
        "estimated_requests",
        "Answers whose tokens are an estimate, because no report of them came",
        series.estimated.clone(),
    );
    registry.register(
        "budget_spent_ratio",
        "Which part of a policy's budget of the present window was spent, by all gateways as far as this one knows",
        series.budgets.clone(),
    );
    registry.register(
        "ledger_answers",
        "1 while the store of what was spent of budgets answers; 0 while requests go on with what this gateway has taken of them",
        series.ledger_answers.clone(),
    );
    registry.register(
        "requests_queued",
        "Requests that wait for a turn at a model with a queue",
        series.queued.clone(),
    );
    registry.register(
        "redacted_identifiers",
        "Personal identifiers that were replaced before a model got a request, each once for every model",
        series.redacted.clone(),
    );
    registry.register(
        "price_book_entries",
        "Entries of the price book that costs are from",
        series.price_entries.clone(),
    );
    registry.register(
        "price_book_outdated",
        "1 while the files of the price book have errors, so that an earlier one is used",
        series.prices_outdated.clone(),
    );
}
