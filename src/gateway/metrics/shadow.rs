//! Copies of requests, told apart from the requests of clients: none of the other series has them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::family::Family;
use super::labels::{CopyLabels, ModelLabels, SkippedLabels, TokenLabels, UnpricedLabels};
use super::series::{SECONDS, label};
use crate::gateway::bill::Charge;
use crate::gateway::tally::Record;
use crate::plan::names::Key;
use crate::plan::price::Cost;
use crate::plan::routing::Route;
use crate::plan::traffic::OfShadow;

/// A good answer.
const ANSWERED: &str = "answered";
/// An answer that says that the request is at fault.
const REFUSED: &str = "refused";
/// It ended before its answer did, for a request of a client or because the gateway ended.
const GAVE_WAY: &str = "gave_way";

/// By policy and model.
type Seen = BTreeMap<(Key, Key), OfShadow>;

#[derive(Debug)]
pub(super) struct Shadows {
    pub(super) requests: Family<CopyLabels, Counter>,
    pub(super) skipped: Family<SkippedLabels, Counter>,
    pub(super) duration: Family<ModelLabels, Histogram>,
    pub(super) tokens: Family<TokenLabels, Counter>,
    pub(super) cost: Family<ModelLabels, Counter<f64, AtomicU64>>,
    pub(super) unpriced: Family<UnpricedLabels, Counter>,
    pub(super) estimated: Family<ModelLabels, Counter>,
    pub(super) in_flight: Gauge<i64, AtomicI64>,
    /// What the operator asks for.
    seen: Mutex<Seen>,
}

impl Shadows {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let all = Self {
            requests: Family::default(),
            skipped: Family::default(),
            duration: Family::new(|| Histogram::new(SECONDS)),
            tokens: Family::default(),
            cost: Family::default(),
            unpriced: Family::default(),
            estimated: Family::default(),
            in_flight: Gauge::default(),
            seen: Mutex::default(),
        };
        registry.register(
            "shadow_requests",
            "Copies of requests that shadows were sent, by how they ended",
            all.requests.clone(),
        );
        registry.register(
            "shadow_skipped",
            "Copies of requests that were due and not sent, or given up for a request of a client, by the reason",
            all.skipped.clone(),
        );
        registry.register(
            "shadow_duration_seconds",
            "From the copy of a request to the end of its answer, where that was good",
            all.duration.clone(),
        );
        registry.register("shadow_tokens", "Tokens that answers of shadows reported", all.tokens.clone());
        registry.register(
            "shadow_cost_usd",
            "What copies of requests cost in US dollars, as far as it is known",
            all.cost.clone(),
        );
        registry.register(
            "shadow_unpriced_requests",
            "Copies of requests whose cost is unknown, by what is missing",
            all.unpriced.clone(),
        );
        registry.register(
            "shadow_estimated_requests",
            "Copies of requests whose tokens are an estimate, because no report of them came",
            all.estimated.clone(),
        );
        registry.register("shadows_in_flight", "Copies of requests that have not ended", all.in_flight.clone());
        all
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, route: &Route, model: &Key, act: impl FnOnce(&mut OfShadow)) {
        if let Some(policy) = &route.policy {
            act(self.seen().entry((policy.clone(), model.clone())).or_default());
        }
    }

    /// What was counted of each policy since the start, by what it calls its models.
    pub(super) fn counts(&self) -> BTreeMap<String, BTreeMap<String, OfShadow>> {
        let mut counts: BTreeMap<String, BTreeMap<String, OfShadow>> = BTreeMap::new();
        for ((policy, model), of) in &*self.seen() {
            counts
                .entry(policy.to_string())
                .or_default()
                .insert(model.called_in(&policy.namespace), of.clone());
        }
        counts
    }

    /// Forgets what was counted of policies and models that are not to be kept.
    pub(super) fn retain(&self, keeps: impl Fn(&Key) -> bool) {
        self.seen().retain(|(policy, model), _| keeps(policy) && keeps(model));
    }

    /// One was not sent.
    pub(super) fn skip(&self, route: &Route, model: &Key, reason: &str) {
        self.see(route, model, |of| of.skip(reason));
        let labels = SkippedLabels {
            policy: label(route),
            model: model.to_string(),
            reason: reason.to_owned(),
        };
        self.skipped.of(labels).inc();
    }

    /// Counts one that has ended. Its route asks one model.
    pub(super) fn count(&self, record: &Record, elapsed: Duration) {
        let Some((route, model)) = record.route.as_deref().and_then(|route| Some((route, only(route)?))) else {
            return;
        };
        let outcome = match (record.broken, record.status, record.refused.as_deref()) {
            (Some(how), ..) => how,
            (None, Some(status), _) if status.is_success() => ANSWERED,
            (None, Some(_), why) => why.unwrap_or(REFUSED),
            (None, None, _) => GAVE_WAY,
        };
        if let Some(charge) = &record.charge {
            self.charge(route, model, charge);
        }
        if outcome == GAVE_WAY {
            return self.skip(route, model, GAVE_WAY);
        }
        let is_good = outcome == ANSWERED;
        self.see(route, model, |of| {
            of.requests = of.requests.saturating_add(1);
            match is_good {
                true => of.durations.note(elapsed),
                false => of.errors = of.errors.saturating_add(1),
            }
        });
        let (policy, model) = (label(route), model.to_string());
        if is_good {
            let labels = ModelLabels {
                policy: policy.clone(),
                model: model.clone(),
            };
            self.duration.of(labels).observe(elapsed.as_secs_f64());
        }
        let outcome = outcome.to_owned();
        self.requests.of(CopyLabels { policy, model, outcome }).inc();
    }

    /// What one took.
    pub(super) fn charge(&self, route: &Route, model: &Key, charge: &Charge) {
        let labels = ModelLabels {
            policy: label(route),
            model: model.to_string(),
        };
        for (kind, count) in charge.tokens.by_kind().into_iter().filter(|(_, count)| *count > 0) {
            let ModelLabels { policy, model } = labels.clone();
            self.tokens.of(TokenLabels { policy, model, kind }).inc_by(count);
        }
        if charge.is_estimated {
            self.estimated.of(labels.clone()).inc();
        }
        match charge.cost {
            Cost::Known(nanos) => {
                self.see(route, model, |of| of.cost = of.cost.saturating_add(nanos));
                self.cost.of(labels).inc_by(nanos as f64 / 1e9);
            }
            Cost::Unknown(why) => {
                self.see(route, model, |of| of.unpriced = of.unpriced.saturating_add(1));
                let (ModelLabels { policy, model }, reason) = (labels, why.word());
                self.unpriced.of(UnpricedLabels { policy, model, reason }).inc();
            }
        }
    }
}

/// The only model of a shadow's route.
fn only(route: &Route) -> Option<&Key> {
    route.candidates().next().map(|candidate| &candidate.model)
}
