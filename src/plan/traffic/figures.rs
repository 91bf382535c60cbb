//! What a policy's status tells of its traffic.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

/// What all gateways together have seen of a policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// From when on it was looked at, where that is less than an hour ago.
    pub since: Option<Timestamp>,
    /// Requests that ended in the latest hour.
    pub requests: u64,
    /// Those of them that failed.
    pub errors: u64,
    /// What half of the good answers did not take longer than.
    pub p50: Option<Duration>,
    /// What 95 of 100 did not take longer than.
    pub p95: Option<Duration>,
    /// By the model that answered, or rests.
    pub models: BTreeMap<String, ModelFigures>,
    /// How many gateways were asked.
    pub gateways: usize,
    /// By the budgets' names in accounts.
    pub budgets: BTreeMap<String, BudgetFigures>,
    /// By the model that gets copies of requests.
    pub shadows: BTreeMap<String, ShadowFigures>,
}

impl Figures {
    /// Whether it says something else than `earlier` that somebody should hear of soon: a budget that is used up, or a model that rests.
    #[must_use]
    pub fn alarms_beside(&self, earlier: &Self) -> bool {
        self.exhausted().ne(earlier.exhausted()) || self.resting().ne(earlier.resting())
    }

    /// How many have used up each budget.
    fn exhausted(&self) -> impl Iterator<Item = (&String, u32)> {
        let budgets = self.budgets.iter().map(|(name, budget)| (name, budget.exhausted));
        budgets.filter(|(_, exhausted)| *exhausted > 0)
    }

    /// At how many gateways each model rests.
    fn resting(&self) -> impl Iterator<Item = (&String, usize)> {
        let models = self.models.iter().map(|(name, model)| (name, model.resting));
        models.filter(|(_, resting)| *resting > 0)
    }
}

/// What they have seen of one model of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelFigures {
    /// What it answered in the latest hour.
    pub requests: u64,
    /// What that cost in nano-dollars, as far as it is known.
    pub cost: u64,
    /// How much more the dearest model of the policy would have cost.
    pub saved: u64,
    /// Answers whose cost is not known.
    pub unpriced: u64,
    /// Gateways at which all its endpoints rest after failures.
    pub resting: usize,
}

/// What they have seen of copies of requests for one model in the latest hour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShadowFigures {
    /// Those that it was sent.
    pub requests: u64,
    /// Those of them that it did not answer well.
    pub errors: u64,
    /// What half of its good answers did not take longer than.
    pub p50: Option<Duration>,
    /// What 95 of 100 did not take longer than.
    pub p95: Option<Duration>,
    /// What they cost in nano-dollars, as far as it is known.
    pub cost: u64,
    /// Those whose cost is not known.
    pub unpriced: u64,
    /// Those that were not sent, or given up, by the reason.
    pub skipped: BTreeMap<String, u64>,
}

/// What they know of one budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetFigures {
    /// When its window ends.
    pub until: Timestamp,
    /// What was spent of it, reservations left out; of many accounts, of the one that spent most.
    pub spent: u64,
    /// Accounts that some gateway knows.
    pub accounts: u32,
    /// Those that are used up.
    pub exhausted: u32,
}
