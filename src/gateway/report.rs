//! What the gateway says of itself to the operator, which writes it into the statuses of policies: counts and sums, by names of objects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::Gateway;
use crate::plan::routing::Route;
use crate::plan::traffic::{OfPolicy, Report};

/// Where it is asked.
pub(super) const PATH: &str = "/report";

/// All that was counted since the start, and what is so now.
pub(super) async fn tell(State(gateway): State<Arc<Gateway>>) -> Json<Report> {
    Json(gateway.report())
}

impl Gateway {
    fn report(&self) -> Report {
        let mut policies: BTreeMap<String, OfPolicy> = BTreeMap::new();
        for (policy, counts) in self.metrics.counts() {
            policies.entry(policy).or_default().counts = counts;
        }
        for (policy, budgets) in self.ledger.standings() {
            policies.entry(policy).or_default().budgets = budgets;
        }
        let table = self.feed.routes().unwrap_or_default();
        for route in table.routes() {
            let resting = self.resting(route);
            if let Some(policy) = route.policy.as_ref().filter(|_| !resting.is_empty()) {
                policies.entry(policy.to_string()).or_default().resting = resting;
            }
        }
        Report {
            instance: self.instance,
            up_seconds: self.began.elapsed().as_secs(),
            policies,
            versions: self.versions.told(table.backends()),
        }
    }

    /// The models of a route whose endpoints all rest after failures.
    fn resting(&self, route: &Route) -> BTreeSet<String> {
        let open = route.candidates().filter_map(|candidate| candidate.backend.as_ref().ok());
        open.filter(|model| !self.balancer.any_is_well(&**model, &[]))
            .map(|model| model.called.clone())
            .collect()
    }
}
