//! What the gateway counts: how many requests, how long, how often a model failed. Labels are names of objects or words of ours; what
//! clients make up is `_unknown`.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
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
use crate::plan::routing::Route;
use crate::protocol::openai::Usage;

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
    /// `prompt` or `answer`.
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
    attempts: Family<OutcomeLabels, Counter>,
    broken: Family<OutcomeLabels, Counter>,
    fallbacks: Family<FallbackLabels, Counter>,
    tokens: Family<TokenLabels, Counter>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let seconds = || Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> Histogram);
        let series = Series {
            requests: Family::default(),
            duration: seconds(),
            first_content: seconds(),
            in_flight: Gauge::default(),
            attempts: Family::default(),
            broken: Family::default(),
            fallbacks: Family::default(),
            tokens: Family::default(),
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

    /// A request has come.
    pub(super) fn begin(&self) -> Tally {
        self.series.in_flight.inc();
        Tally {
            series: self.series.clone(),
            began: Instant::now(),
            policy: "_unknown".to_owned(),
            model: "_none".to_owned(),
            class: "gone",
        }
    }

    pub(super) fn attempted(&self, model: &Key, outcome: &'static str) {
        let model = model.to_string();
        self.series.attempts.get_or_create(&OutcomeLabels { model, outcome }).inc();
    }
}

/// One request: counted when dropped, as `gone` if nothing ended it before.
pub(super) struct Tally {
    series: Arc<Series>,
    began: Instant,
    policy: String,
    model: String,
    class: &'static str,
}

impl Tally {
    pub(super) fn on(&mut self, route: &Route) {
        self.policy = route.policy.as_ref().map_or_else(|| "_direct".to_owned(), Key::to_string);
    }

    pub(super) fn fell_back(&self, from: &Key, to: &Key) {
        let labels = FallbackLabels {
            policy: self.policy.clone(),
            from: from.to_string(),
            to: to.to_string(),
        };
        self.series.fallbacks.get_or_create(&labels).inc();
    }

    /// A model's answer is about to be shown.
    pub(super) fn answered_by(&mut self, model: &Key) {
        self.model = model.to_string();
        let policy = self.policy.clone();
        self.series
            .first_content
            .get_or_create(&PolicyLabels { policy })
            .observe(self.began.elapsed().as_secs_f64());
    }

    pub(super) fn used(&self, usage: Usage) {
        for (kind, tokens) in [("prompt", usage.prompt_tokens), ("answer", usage.completion_tokens)] {
            let labels = TokenLabels {
                policy: self.policy.clone(),
                model: self.model.clone(),
                kind,
            };
            self.series.tokens.get_or_create(&labels).inc_by(tokens);
        }
    }

    pub(super) fn broke(&self, outcome: &'static str) {
        let model = self.model.clone();
        self.series.broken.get_or_create(&OutcomeLabels { model, outcome }).inc();
    }

    pub(super) fn end(&mut self, status: StatusCode) {
        self.class = match status.as_u16() {
            200..=299 => "2xx",
            500..=599 => "5xx",
            _ => "4xx",
        };
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.series.in_flight.dec();
        let policy = std::mem::take(&mut self.policy);
        let labels = PolicyLabels { policy };
        self.series
            .duration
            .get_or_create(&labels)
            .observe(self.began.elapsed().as_secs_f64());
        let labels = RequestLabels {
            policy: labels.policy,
            model: std::mem::take(&mut self.model),
            class: self.class,
        };
        self.series.requests.get_or_create(&labels).inc();
    }
}
