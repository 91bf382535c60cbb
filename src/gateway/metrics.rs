//! What the gateway counts: how many requests, how long, how often a model failed. Labels are names of objects or words of ours; what
//! clients make up is `_unknown`.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::plan::names::Key;
use crate::plan::price::Cost;
use crate::plan::routing::Route;
use crate::protocol::usage::Tokens;

use super::bill::Charge;

/// Seconds, from what the gateway adds to what a long answer takes.
const SECONDS: [f64; 16] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    policy: String,
    model: String,
    /// `2xx`, `4xx`, `5xx`, or `gone`: the client hung up.
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    policy: String,
    model: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UnpricedLabels {
    policy: String,
    model: String,
    /// What is not known: `no_price`, `no_rate`, `no_usage`.
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PolicyLabels {
    policy: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    model: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FallbackLabels {
    policy: String,
    from: String,
    to: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    policy: String,
    model: String,
    /// Where the tokens belong: see `Tokens`.
    kind: &'static str,
}

type Seconds = Family<PolicyLabels, Histogram, fn() -> Histogram>;

pub(super) struct Metrics {
    registry: Registry,
    series: Arc<Series>,
}

struct Series {
    requests: Family<RequestLabels, Counter>,
    duration: Seconds,
    first_content: Seconds,
    in_flight: Gauge<i64, AtomicI64>,
    is_current: Gauge<i64, AtomicI64>,
    attempts: Family<OutcomeLabels, Counter>,
    broken: Family<OutcomeLabels, Counter>,
    fallbacks: Family<FallbackLabels, Counter>,
    tokens: Family<TokenLabels, Counter>,
    cost: Family<ModelLabels, Counter<f64, AtomicU64>>,
    unpriced: Family<UnpricedLabels, Counter>,
    estimated: Family<ModelLabels, Counter>,
    price_entries: Gauge<i64, AtomicI64>,
    prices_outdated: Gauge<i64, AtomicI64>,
    /// What requests of each policy count with, found without making labels anew.
    policies: Known<Key, Policy>,
    /// The same for requests that name a model directly.
    direct: OnceLock<Arc<Policy>>,
    /// Attempts at each model that were answered.
    answered: Known<Key, Counter>,
}

/// Series by what they are of. As many as there are labels, so no more than the families have.
struct Known<K, V>(RwLock<HashMap<K, Arc<V>>>);

impl<K, V> Default for Known<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Clone + Eq + Hash, V> Known<K, V> {
    fn get_or_insert(&self, key: &K, make: impl FnOnce() -> V) -> Arc<V> {
        if let Some(found) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(key) {
            return found.clone();
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.entry(key.clone()).or_insert_with(|| Arc::new(make())).clone()
    }
}

/// The series of one policy.
struct Policy {
    label: String,
    duration: Histogram,
    first_content: Histogram,
    models: Known<Key, Model>,
}

/// The series of one model under one policy.
struct Model {
    label: String,
    /// Answered well.
    good: Counter,
    /// By kind, in the order of `KINDS`; each is made when there is something to count.
    tokens: [OnceLock<Counter>; KINDS.len()],
    cost: OnceLock<Counter<f64, AtomicU64>>,
}

impl Series {
    fn policy(&self, key: Option<&Key>) -> Arc<Policy> {
        let make = |label: String| {
            let labels = PolicyLabels { policy: label.clone() };
            Policy {
                label,
                duration: self.duration.get_or_create(&labels).clone(),
                first_content: self.first_content.get_or_create(&labels).clone(),
                models: Known::default(),
            }
        };
        match key {
            Some(key) => self.policies.get_or_insert(key, || make(key.to_string())),
            None => self.direct.get_or_init(|| Arc::new(make("_direct".to_owned()))).clone(),
        }
    }

    fn model(&self, policy: &Policy, key: &Key) -> Arc<Model> {
        policy.models.get_or_insert(key, || {
            let label = key.to_string();
            Model {
                good: self.requests.get_or_create(&requests(&policy.label, &label, GOOD)).clone(),
                tokens: Default::default(),
                cost: OnceLock::new(),
                label,
            }
        })
    }
}

/// The kinds of tokens: see `Tokens`.
const KINDS: [&str; 8] = [
    "input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "audio_input",
    "output",
    "reasoning",
    "audio_output",
];

/// The class of answers that are what was asked for.
const GOOD: &str = "2xx";

fn requests(policy: &str, model: &str, class: &'static str) -> RequestLabels {
    RequestLabels {
        policy: policy.to_owned(),
        model: model.to_owned(),
        class,
    }
}

impl Metrics {
    pub(super) fn new() -> Self {
        let seconds = || Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> Histogram);
        let series = Series {
            requests: Family::default(),
            duration: seconds(),
            first_content: seconds(),
            in_flight: Gauge::default(),
            is_current: Gauge::default(),
            attempts: Family::default(),
            broken: Family::default(),
            fallbacks: Family::default(),
            tokens: Family::default(),
            cost: Family::default(),
            unpriced: Family::default(),
            estimated: Family::default(),
            price_entries: Gauge::default(),
            prices_outdated: Gauge::default(),
            policies: Known::default(),
            direct: OnceLock::new(),
            answered: Known::default(),
        };
        let mut registry = Registry::with_prefix("portfolio_gateway");
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
            "price_book_entries",
            "Entries of the price book that costs are from",
            series.price_entries.clone(),
        );
        registry.register(
            "price_book_outdated",
            "1 while the files of the price book have errors, so that an earlier one is used",
            series.prices_outdated.clone(),
        );
        Self {
            registry,
            series: Arc::new(series),
        }
    }

    /// In Prometheus' text form.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        encode(&mut text, &self.registry).map(|()| text).unwrap_or_default()
    }

    /// Whether the routes follow what they are made from.
    pub(super) fn feed_is_current(&self, is_current: bool) {
        self.series.is_current.set(i64::from(is_current));
    }

    /// A request has come.
    pub(super) fn begin(&self) -> Tally {
        self.series.in_flight.inc();
        Tally {
            series: self.series.clone(),
            began: Instant::now(),
            policy: None,
            model: None,
            class: "gone",
        }
    }

    /// What the price book is.
    pub(super) fn tell_prices(&self, entries: usize, is_current: bool) {
        self.series.price_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.series.prices_outdated.set(i64::from(!is_current));
    }

    pub(super) fn attempted(&self, model: &Key, outcome: &'static str) {
        let count = || {
            let labels = OutcomeLabels {
                model: model.to_string(),
                outcome,
            };
            self.series.attempts.get_or_create(&labels).clone()
        };
        if outcome == ANSWERED {
            self.series.answered.get_or_insert(model, count).inc();
        } else {
            count().inc();
        }
    }
}

/// The outcome of an attempt that brought an answer.
pub(super) const ANSWERED: &str = "answered";

/// One request: counted when dropped, as `gone` if nothing ended it before.
pub(super) struct Tally {
    series: Arc<Series>,
    began: Instant,
    /// None for names that clients make up.
    policy: Option<Arc<Policy>>,
    /// None until a model has answered.
    model: Option<Arc<Model>>,
    class: &'static str,
}

impl Tally {
    pub(super) fn on(&mut self, route: &Route) {
        self.policy = Some(self.series.policy(route.policy.as_ref()));
    }

    pub(super) fn fell_back(&self, from: &Key, to: &Key) {
        let labels = FallbackLabels {
            policy: self.policy_label().to_owned(),
            from: from.to_string(),
            to: to.to_string(),
        };
        self.series.fallbacks.get_or_create(&labels).inc();
    }

    /// A model's answer is about to be shown.
    pub(super) fn answered_by(&mut self, model: &Key) {
        let Some(policy) = &self.policy else { return };
        policy.first_content.observe(self.began.elapsed().as_secs_f64());
        self.model = Some(self.series.model(policy, model));
    }

    /// What the answer took. The cost is counted where it is known, and where it is not, that.
    pub(super) fn charge(&self, charge: &Charge) {
        let (Some(policy), Some(model)) = (&self.policy, &self.model) else {
            return;
        };
        self.count_tokens(policy, model, charge.tokens);
        let labels = || ModelLabels {
            policy: policy.label.clone(),
            model: model.label.clone(),
        };
        match charge.cost {
            Cost::Known(nanos) => {
                let cost = model.cost.get_or_init(|| self.series.cost.get_or_create(&labels()).clone());
                cost.inc_by(nanos as f64 / 1e9);
            }
            Cost::Unknown(why) => {
                let ModelLabels { policy, model } = labels();
                let reason = why.word();
                self.series.unpriced.get_or_create(&UnpricedLabels { policy, model, reason }).inc();
            }
        }
        if charge.is_estimated {
            self.series.estimated.get_or_create(&labels()).inc();
        }
    }

    fn count_tokens(&self, policy: &Policy, model: &Model, tokens: Tokens) {
        let Tokens {
            input,
            cache_read,
            cache_write,
            cache_write_1h,
            audio_input,
            output,
            reasoning,
            audio_output,
        } = tokens;
        let counts = [
            input,
            cache_read,
            cache_write,
            cache_write_1h,
            audio_input,
            output,
            reasoning,
            audio_output,
        ];
        for ((kind, count), series) in KINDS.iter().zip(counts).zip(&model.tokens).filter(|((_, count), _)| *count > 0) {
            let make = || {
                let labels = TokenLabels {
                    policy: policy.label.clone(),
                    model: model.label.clone(),
                    kind,
                };
                self.series.tokens.get_or_create(&labels).clone()
            };
            series.get_or_init(make).inc_by(count);
        }
    }

    pub(super) fn broke(&self, outcome: &'static str) {
        let model = self.model_label().to_owned();
        self.series.broken.get_or_create(&OutcomeLabels { model, outcome }).inc();
    }

    pub(super) fn end(&mut self, status: StatusCode) {
        self.class = match status.as_u16() {
            200..=299 => GOOD,
            500..=599 => "5xx",
            _ => "4xx",
        };
    }

    fn policy_label(&self) -> &str {
        self.policy.as_ref().map_or("_unknown", |policy| &policy.label)
    }

    fn model_label(&self) -> &str {
        self.model.as_ref().map_or("_none", |model| &model.label)
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let seconds = self.began.elapsed().as_secs_f64();
        self.series.in_flight.dec();
        match &self.policy {
            Some(policy) => policy.duration.observe(seconds),
            None => {
                let policy = self.policy_label().to_owned();
                self.series.duration.get_or_create(&PolicyLabels { policy }).observe(seconds);
            }
        }
        match &self.model {
            Some(model) if self.class == GOOD => model.good.inc(),
            _ => {
                let labels = requests(self.policy_label(), self.model_label(), self.class);
                self.series.requests.get_or_create(&labels).inc()
            }
        };
    }
}
