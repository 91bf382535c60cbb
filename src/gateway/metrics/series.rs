//! All series, and how one request counts in them. Those of good answers are found by what they are of; labels are only made for the rest.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::family::Family;
use super::gen_ai::{ByOperation, GenAi};
use super::known::Known;
use super::labels::{
    BudgetLabels, EndLabels, FallbackLabels, ModelLabels, OutcomeLabels, PolicyLabels, RequestLabels, TokenLabels, UnpricedLabels,
    WantedLabels,
};
use super::seen::{Answers, Requests};
use super::shadow::Shadows;
use crate::gateway::bill::Charge;
use crate::gateway::conventions;
use crate::gateway::tally::Record;
use crate::plan::names::Key;
use crate::plan::price::Cost;
use crate::plan::routing::{Backend, Route};
use crate::plan::traffic::Counts;
use crate::protocol::usage::Tokens;

/// Seconds, from what the gateway adds to what a long answer takes.
pub(super) const SECONDS: [f64; 16] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];

/// The class of answers that are what was asked for.
const GOOD: &str = "2xx";
/// The policy of names that clients make up.
const UNKNOWN: &str = "_unknown";
/// The policy of models that are called by their own names.
const DIRECT: &str = "_direct";

pub(super) struct Series {
    pub(super) requests: Family<RequestLabels, Counter>,
    pub(super) duration: Family<PolicyLabels, Histogram>,
    pub(super) first_content: Family<PolicyLabels, Histogram>,
    pub(super) in_flight: Gauge<i64, AtomicI64>,
    pub(super) is_current: Gauge<i64, AtomicI64>,
    pub(super) attempts: Family<OutcomeLabels, Counter>,
    pub(super) broken: Family<OutcomeLabels, Counter>,
    pub(super) fallbacks: Family<FallbackLabels, Counter>,
    pub(super) tokens: Family<TokenLabels, Counter>,
    pub(super) cost: Family<ModelLabels, Counter<f64, AtomicU64>>,
    pub(super) unpriced: Family<UnpricedLabels, Counter>,
    pub(super) estimated: Family<ModelLabels, Counter>,
    pub(super) redacted: Family<PolicyLabels, Counter>,
    pub(super) budgets: Family<BudgetLabels, Gauge<f64, AtomicU64>>,
    pub(super) ledger_answers: Gauge<i64, AtomicI64>,
    pub(super) warmups: Family<EndLabels, Counter>,
    pub(super) cached: Family<EndLabels, Counter>,
    pub(super) held_time: Family<PolicyLabels, Histogram>,
    pub(super) held: Family<WantedLabels, Gauge<i64, AtomicI64>>,
    pub(super) queued: Family<WantedLabels, Gauge<i64, AtomicI64>>,
    pub(super) price_entries: Gauge<i64, AtomicI64>,
    pub(super) prices_outdated: Gauge<i64, AtomicI64>,
    pub(super) gen_ai: GenAi,
    pub(super) shadows: Shadows,
    /// What requests count with, by the name that they call.
    pub(super) routes: Known<String, OfRoute>,
    /// Attempts at each model that were answered.
    pub(super) answered: Known<Key, Counter>,
}

/// The series of one name.
pub(super) struct OfRoute {
    pub(super) policy: Option<Key>,
    label: String,
    duration: Histogram,
    first_content: Histogram,
    seen: Requests,
    pub(super) models: Known<Key, OfModel>,
}

/// The series of one model under one name.
pub(super) struct OfModel {
    label: String,
    /// What the policy calls it, as its status does.
    called: String,
    /// Whose it is, in the conventions' word.
    provider: &'static str,
    /// Answered well.
    good: Counter,
    /// By kind, in the order of `Tokens::by_kind`; each is made when there is something to count.
    tokens: [OnceLock<Counter>; Tokens::KINDS],
    cost: OnceLock<Counter<f64, AtomicU64>>,
    seen: Answers,
    /// By operation.
    gen_ai: ByOperation,
}

impl Family<WantedLabels, Gauge<i64, AtomicI64>> {
    /// Says how many wait for each model; of others nothing is told any more.
    pub(super) fn set_all(&self, all: impl IntoIterator<Item = (Key, usize)>) {
        self.retain(|_| false);
        for (model, waiting) in all {
            let model = model.to_string();
            self.of(WantedLabels { model }).set(i64::try_from(waiting).unwrap_or(i64::MAX));
        }
    }
}

impl OfRoute {
    /// What was counted of it since the start.
    pub(super) fn counts(&self) -> Counts {
        let (requests, errors, durations) = self.seen.read();
        let mut models = BTreeMap::new();
        self.models.each(|_, of| {
            models.insert(of.called.clone(), of.seen.read());
        });
        Counts {
            requests,
            errors,
            durations: durations.collect(),
            models,
            shadows: BTreeMap::new(),
        }
    }
}

impl Series {
    pub(super) fn new(gen_ai: GenAi, shadows: Shadows) -> Self {
        Self {
            requests: Family::default(),
            duration: Family::new(|| Histogram::new(SECONDS)),
            first_content: Family::new(|| Histogram::new(SECONDS)),
            in_flight: Gauge::default(),
            is_current: Gauge::default(),
            attempts: Family::default(),
            broken: Family::default(),
            fallbacks: Family::default(),
            tokens: Family::default(),
            cost: Family::default(),
            unpriced: Family::default(),
            estimated: Family::default(),
            budgets: Family::default(),
            ledger_answers: Gauge::default(),
            warmups: Family::default(),
            cached: Family::default(),
            held_time: Family::new(|| Histogram::new(SECONDS)),
            held: Family::default(),
            queued: Family::default(),
            redacted: Family::default(),
            price_entries: Gauge::default(),
            prices_outdated: Gauge::default(),
            gen_ai,
            shadows,
            routes: Known::default(),
            answered: Known::default(),
        }
    }

    /// Counts a request that has ended.
    pub(super) fn count(&self, record: &Record, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64();
        let route = record.route.as_deref().map(|route| self.of_route(route));
        match &route {
            Some(route) => {
                route.duration.observe(seconds);
                route.seen.count(record, elapsed);
            }
            None => self
                .duration
                .of(PolicyLabels {
                    policy: UNKNOWN.to_owned(),
                })
                .observe(seconds),
        }
        let (Some(route), Some(model)) = (&route, &record.model) else {
            self.count_class(record, route.as_ref().map_or(UNKNOWN, |route| &route.label), "_none");
            self.gen_ai.count_error(record, seconds);
            return;
        };
        let model = self.of_model(route, model);
        model.seen.count(record.saved);
        if let Some(first) = record.first_content {
            route.first_content.observe(first.as_secs_f64());
        }
        if let Some(charge) = &record.charge {
            self.charge(route, &model, charge);
        }
        if let Some(outcome) = record.broken {
            let model = model.label.clone();
            self.broken.of(OutcomeLabels { model, outcome }).inc();
        }
        let gen_ai = model.gen_ai.of(record.operation);
        gen_ai.count_tokens(&self.gen_ai, record);
        if record.error_type().is_none() {
            gen_ai.count_good(&self.gen_ai, record, elapsed);
        } else {
            self.gen_ai.count_error(record, seconds);
        }
        if record.status.is_some_and(|status| status.is_success()) {
            model.good.inc();
        } else {
            self.count_class(record, &route.label, &model.label);
        }
    }

    fn count_class(&self, record: &Record, policy: &str, model: &str) {
        self.requests.of(requests(policy, model, class(record.status))).inc();
    }

    pub(super) fn fell_back(&self, route: Option<&Route>, from: &Key, to: &Key) {
        let policy = route.map_or_else(|| UNKNOWN.to_owned(), label);
        let (from, to) = (from.to_string(), to.to_string());
        self.fallbacks.of(FallbackLabels { policy, from, to }).inc();
    }

    pub(super) fn warmed(&self, route: &Route, outcome: &'static str, held: Option<Duration>) {
        let policy = label(route);
        if let Some(time) = held {
            self.held_time
                .of(PolicyLabels { policy: policy.clone() })
                .observe(time.as_secs_f64());
        }
        self.warmups.of(EndLabels { policy, outcome }).inc();
    }

    pub(super) fn redacted(&self, route: &Route, identifiers: usize) {
        let policy = label(route);
        self.redacted.of(PolicyLabels { policy }).inc_by(identifiers as u64);
    }

    pub(super) fn looked(&self, route: &Route, outcome: &'static str) {
        let policy = label(route);
        self.cached.of(EndLabels { policy, outcome }).inc();
    }

    /// An attempt that brought no answer, and costs all the same.
    pub(super) fn lost(&self, route: &Route, model: &Backend, charge: &Charge) {
        let route = self.of_route(route);
        self.charge(&route, &self.of_model(&route, model), charge);
    }

    fn of_route(&self, route: &Route) -> Arc<OfRoute> {
        let holds = |known: &OfRoute| known.policy == route.policy;
        self.routes.get_or_insert(&route.name, holds, || {
            let label = label(route);
            let labels = PolicyLabels { policy: label.clone() };
            OfRoute {
                policy: route.policy.clone(),
                duration: self.duration.of(labels.clone()),
                first_content: self.first_content.of(labels),
                seen: Requests::default(),
                models: Known::default(),
                label,
            }
        })
    }

    fn of_model(&self, route: &OfRoute, model: &Backend) -> Arc<OfModel> {
        let provider = conventions::provider(model);
        let holds = |known: &OfModel| known.provider == provider;
        route.models.get_or_insert(&model.model, holds, || {
            let label = model.model.to_string();
            OfModel {
                provider,
                good: self.requests.of(requests(&route.label, &label, GOOD)),
                tokens: Default::default(),
                cost: OnceLock::new(),
                seen: Answers::default(),
                gen_ai: ByOperation::default(),
                called: model.called.clone(),
                label,
            }
        })
    }

    /// What the answer took. The cost is counted where it is known, and where it is not, that.
    fn charge(&self, route: &OfRoute, model: &OfModel, charge: &Charge) {
        self.count_tokens(route, model, charge.tokens);
        model.seen.charge(charge.cost);
        let labels = || ModelLabels {
            policy: route.label.clone(),
            model: model.label.clone(),
        };
        match charge.cost {
            Cost::Known(nanos) => {
                let cost = model.cost.get_or_init(|| self.cost.of(labels()));
                cost.inc_by(nanos as f64 / 1e9);
            }
            Cost::Unknown(why) => {
                let ModelLabels { policy, model } = labels();
                let reason = why.word();
                self.unpriced.of(UnpricedLabels { policy, model, reason }).inc();
            }
        }
        if charge.is_estimated {
            self.estimated.of(labels()).inc();
        }
    }

    fn count_tokens(&self, route: &OfRoute, model: &OfModel, tokens: Tokens) {
        for ((kind, count), series) in tokens.by_kind().into_iter().zip(&model.tokens).filter(|((_, count), _)| *count > 0) {
            let make = || {
                self.tokens.of(TokenLabels {
                    policy: route.label.clone(),
                    model: model.label.clone(),
                    kind,
                })
            };
            series.get_or_init(make).inc_by(count);
        }
    }
}

pub(super) fn label(route: &Route) -> String {
    route.policy.as_ref().map_or_else(|| DIRECT.to_owned(), Key::to_string)
}

fn class(status: Option<StatusCode>) -> &'static str {
    match status.map(|status| status.as_u16()) {
        None => "gone",
        Some(200..=299) => GOOD,
        Some(500..=599) => "5xx",
        Some(_) => "4xx",
    }
}

fn requests(policy: &str, model: &str, class: &'static str) -> RequestLabels {
    RequestLabels {
        policy: policy.to_owned(),
        model: model.to_owned(),
        class,
    }
}
