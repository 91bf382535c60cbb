//! Decisions and desired objects. Pure: no async, no client, no clock; `now`, settings and observations are arguments, and desired objects,
//! statuses and route tables are what comes out. Imports `api` only.

pub mod api_key;
pub mod backend;
pub mod cache;
pub mod evaluation;
mod fetcher;
pub mod fingerprint;
pub mod fit;
mod hub;
pub mod leader_worker_set;
pub mod ledger;
pub mod model;
pub mod names;
pub mod pods;
pub mod price;
pub mod quantity;
pub mod reference_grant;
mod restricted;
pub mod routing;
pub mod scaled_object;
pub mod scaling;
pub mod schedule;
pub mod serving;
pub mod statistics;
pub mod traffic;

/// A specification that cannot be carried out: what is wrong where, and what to do about it. It becomes a condition, never an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The field's path, such as `spec.selfHosted.accelerator.profile`.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

impl Invalid {
    /// The problem of a field, and its remedy.
    pub fn new(field: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; {}", self.field, self.problem, self.remedy)
    }
}
