//! The budgets of a policy, each with the models that are asked instead once it is used up: under the same requirements as all others.

use super::table::Candidate;
use crate::api::budget::Action;
use crate::api::routing_policy::{Fallback, RoutingPolicySpec};
use crate::plan::Invalid;
use crate::plan::ledger::Budget;

/// A budget, and what happens to requests that may cost more than is left.
#[derive(Clone, Debug)]
pub struct Allowance {
    /// The budget.
    pub budget: Budget,
    /// The models that are asked instead, in order; `None`: the request is refused.
    pub instead: Option<Vec<Candidate>>,
}

/// The budgets of a policy.
///
/// # Errors
/// Names the first field that cannot be understood.
pub(super) fn allowances(spec: &RoutingPolicySpec, candidate: impl Fn(&Fallback) -> Candidate) -> Result<Vec<Allowance>, Invalid> {
    let budgets = spec.budgets.iter().enumerate();
    let allowance = |(at, budget): (usize, &crate::api::budget::Budget)| {
        let instead = match budget.on_exhausted.action {
            Action::Reject => None,
            Action::Downgrade => Some(budget.on_exhausted.targets.iter().map(&candidate).collect()),
        };
        Budget::of(at, budget).map(|budget| Allowance { budget, instead })
    };
    budgets.map(allowance).collect()
}
