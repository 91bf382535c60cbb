//! What one gateway says of itself.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::durations::Durations;
use super::shadow::OfShadow;

/// What one gateway has counted since it started, and what it holds now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Another one at each start, so that counts which begin anew are known as such.
    pub instance: u64,
    /// How long it has counted.
    pub up_seconds: u64,
    /// By policy, as `namespace/name`.
    pub policies: BTreeMap<String, OfPolicy>,
    /// The version that the provider of a model said last that it answered with, by the model as `namespace/name`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<String, String>,
}

/// What is said of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OfPolicy {
    /// What was counted.
    pub counts: Counts,
    /// Its models whose endpoints all rest now, after failures.
    pub resting: BTreeSet<String>,
    /// Its budgets, as far as they were used in their present windows, by their names in accounts.
    pub budgets: BTreeMap<String, OfBudget>,
}

/// Requests of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counts {
    /// All that ended.
    pub requests: u64,
    /// Those that ended with a status of 500 or above, or broke after they had begun.
    pub errors: u64,
    /// How long good answers took, from the request to the last byte.
    pub durations: Durations,
    /// By the model that answered.
    pub models: BTreeMap<String, OfModel>,
    /// Copies of requests, which are none of the above, by the model that they are for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub shadows: BTreeMap<String, OfShadow>,
}

/// Answers of one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OfModel {
    /// How many.
    pub requests: u64,
    /// What is known of their cost, in nano-dollars.
    pub cost: u64,
    /// What the same tokens would have cost with the dearest model that the policy names, beyond that.
    pub saved: u64,
    /// Those whose cost is not known.
    pub unpriced: u64,
}

/// What is known of one budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfBudget {
    /// When its present window ends.
    pub until: Timestamp,
    /// What all gateways had taken of it, at the store's latest answer; of many accounts, that of which the most is spent.
    pub taken: u64,
    /// What this one has taken of that and not spent.
    pub unspent: u64,
    /// Who shares it: accounts that it knows.
    pub accounts: u32,
    /// Those of them with too little left for the latest request.
    pub exhausted: u32,
}

impl OfBudget {
    /// Of two accounts of one budget, with that of which more is spent.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let spent = |of: &Self| of.taken.saturating_sub(of.unspent);
        let more = if spent(&other) > spent(&self) { other } else { self };
        Self {
            accounts: self.accounts.saturating_add(other.accounts),
            exhausted: self.exhausted.saturating_add(other.exhausted),
            ..more
        }
    }
}

impl Counts {
    /// What was counted after `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let of = |name: &String| earlier.models.get(name).copied().unwrap_or_default();
        let nothing = OfShadow::default();
        let shadow = |name: &String| earlier.shadows.get(name).unwrap_or(&nothing);
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            errors: self.errors.saturating_sub(earlier.errors),
            durations: self.durations.since(&earlier.durations),
            models: (self.models.iter())
                .map(|(name, model)| (name.clone(), model.since(of(name))))
                .filter(|(_, model)| *model != OfModel::default())
                .collect(),
            shadows: (self.shadows.iter())
                .map(|(name, of)| (name.clone(), of.since(shadow(name))))
                .filter(|(_, of)| *of != nothing)
                .collect(),
        }
    }

    /// These as well.
    pub(super) fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.errors = self.errors.saturating_add(other.errors);
        self.durations.add(&other.durations);
        for (name, model) in &other.models {
            self.models.entry(name.clone()).or_default().add(*model);
        }
        for (name, shadow) in &other.shadows {
            self.shadows.entry(name.clone()).or_default().add(shadow);
        }
    }
}

impl OfModel {
    fn since(self, earlier: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            cost: self.cost.saturating_sub(earlier.cost),
            saved: self.saved.saturating_sub(earlier.saved),
            unpriced: self.unpriced.saturating_sub(earlier.unpriced),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.cost = self.cost.saturating_add(other.cost);
        self.saved = self.saved.saturating_add(other.saved);
        self.unpriced = self.unpriced.saturating_add(other.unpriced);
    }
}
