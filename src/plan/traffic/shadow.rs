//! What was counted of copies of requests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::durations::Durations;
use super::figures::ShadowFigures;

/// Copies of requests of one policy for one model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OfShadow {
    /// Those that it was sent.
    pub requests: u64,
    /// Those of them that it did not answer well.
    pub errors: u64,
    /// How long good answers took, to the last byte.
    pub durations: Durations,
    /// What is known of their cost, in nano-dollars.
    pub cost: u64,
    /// Those whose cost is not known.
    pub unpriced: u64,
    /// Those that were not sent, or given up, by the reason.
    pub skipped: BTreeMap<String, u64>,
}

impl OfShadow {
    /// One more was not sent, or given up.
    pub fn skip(&mut self, reason: &str) {
        match self.skipped.get_mut(reason) {
            Some(count) => *count = count.saturating_add(1),
            None => {
                self.skipped.insert(reason.to_owned(), 1);
            }
        }
    }

    /// What was counted after `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let later = |(reason, count): (&String, &u64)| {
            let before = earlier.skipped.get(reason).copied().unwrap_or_default();
            (reason.clone(), count.saturating_sub(before))
        };
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            errors: self.errors.saturating_sub(earlier.errors),
            durations: self.durations.since(&earlier.durations),
            cost: self.cost.saturating_sub(earlier.cost),
            unpriced: self.unpriced.saturating_sub(earlier.unpriced),
            skipped: self.skipped.iter().map(later).filter(|(_, count)| *count > 0).collect(),
        }
    }

    /// These as well.
    pub(super) fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.errors = self.errors.saturating_add(other.errors);
        self.durations.add(&other.durations);
        self.cost = self.cost.saturating_add(other.cost);
        self.unpriced = self.unpriced.saturating_add(other.unpriced);
        for (reason, count) in &other.skipped {
            let known = self.skipped.entry(reason.clone()).or_default();
            *known = known.saturating_add(*count);
        }
    }
}

impl From<OfShadow> for ShadowFigures {
    fn from(of: OfShadow) -> Self {
        Self {
            requests: of.requests,
            errors: of.errors,
            p50: of.durations.percentile(50),
            p95: of.durations.percentile(95),
            cost: of.cost,
            unpriced: of.unpriced,
            skipped: of.skipped,
        }
    }
}
