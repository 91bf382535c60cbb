//! The budgets of a policy, each with the models that are asked instead once it is used up: under the same requirements as all others.

use k8s_openapi::jiff::Timestamp;

use super::decide::Content;
use super::table::{Backend, Candidate};
use crate::api::budget::Action;
use crate::api::routing_policy::{Fallback, RoutingPolicySpec};
use crate::plan::Invalid;
use crate::plan::ledger::{Budget, FLOOR, longest};
use crate::plan::price::Unpriced;

/// A budget, and what happens to requests that may cost more than is left.
#[derive(Clone, Debug)]
pub struct Allowance {
    /// The budget.
    pub budget: Budget,
    /// The models that are asked instead, in order; `None`: the request is refused.
    pub instead: Option<Vec<Candidate>>,
}

impl Allowance {
    /// What a request with this content may take of the budget where `model` answers it, by what is known before any answer of the model.
    ///
    /// # Errors
    /// When it is not known what it costs.
    pub fn needs(&self, model: &Backend, content: &Content, now: Timestamp) -> Result<u64, Unpriced> {
        let most = model.capabilities.max_output_tokens.map(u64::from);
        let answer = longest(content.max_tokens, most, || FLOOR);
        content.foreseen(model, answer, now).amount(self.budget.unit)
    }
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
