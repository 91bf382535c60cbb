//! Why a model gets no request now, as statuses tell it: by what is known of it, and by the clock.

use k8s_openapi::jiff::Timestamp;

use super::eligible::Reason;
use super::table::{Backend, Candidate, Route, Rule};
use crate::plan::ledger::Unit;
use crate::plan::price::Unpriced;
use crate::protocol::usage::Tokens;

/// The reason of a model without pods that a request may wake.
const ASLEEP: &str = "Asleep";

/// Why a model gets no request now.
pub(super) struct Out {
    /// For machines.
    pub(super) reason: String,
    /// For a person: a sentence that begins with what the policy calls the model.
    pub(super) message: String,
}

impl Out {
    /// `None` where it gets some. `is_reckoned`: something is limited in US dollars, so that it must be known what the model costs.
    pub(super) fn of(candidate: &Candidate, is_reckoned: bool, now: Timestamp) -> Option<Self> {
        let called = &candidate.called;
        let model = match &candidate.backend {
            Ok(model) => model,
            Err(exclusion) => {
                let reason = match candidate.waking {
                    Some(_) => ASLEEP.to_owned(),
                    None => exclusion.reason.to_string(),
                };
                let message = exclusion.message.clone();
                return Some(Self { reason, message });
            }
        };
        if let Some(expiry) = candidate.passed_until.as_ref().filter(|expiry| expiry.at <= now) {
            let message = format!("{called} {}", expiry.message);
            let reason = Reason::NotEvaluated.to_string();
            return Some(Self { reason, message });
        }
        (is_reckoned && cost_of_many(model, now).is_err()).then(|| Self {
            reason: Reason::CostNotKnown.to_string(),
            message: format!(
                "{called} has no known price, and the policy limits what is spent in US dollars: set spec.price of the ModelDeployment, or add it \
                 to the price book"
            ),
        })
    }
}

impl Route {
    /// Whether something is limited in US dollars for every request.
    pub(super) fn counts_dollars(&self) -> bool {
        let mut budgets = self.allowances.iter().flatten().map(|allowance| &allowance.budget);
        budgets.any(|budget| budget.unit == Unit::Usd)
    }

    /// Whether something is limited in US dollars for requests of the rule.
    pub(super) fn reckons(&self, rule: &Rule) -> bool {
        rule.max_cost.is_some() || self.counts_dollars()
    }
}

/// What very many tokens cost with the model.
pub(super) fn cost_of_many(model: &Backend, now: Timestamp) -> Result<u64, Unpriced> {
    let many = Tokens {
        input: 1_000_000,
        output: 1_000_000,
        ..Tokens::default()
    };
    Unit::Usd.amount(&many, model.pricing.cost(Some(&many), now), model)
}
