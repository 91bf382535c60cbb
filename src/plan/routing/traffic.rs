//! What gateways have seen of a policy, in its status: beside what is decided about its models, what they did, and what was spent.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::named::Named;
use crate::api::RoutingPolicy;
use crate::api::Usd;
use crate::api::budget::{Action, BudgetPer};
use crate::api::condition::{Claim, Kind, Status};
use crate::api::money;
use crate::api::policy_status::{BudgetStatus, LastHour, ModelLastHour, RuleStatus, RuleTargetStatus};
use crate::api::routing_policy::RoutingPolicySpec;
use crate::plan::ledger::Budget;
use crate::plan::names::Key;
use crate::plan::traffic::{BudgetFigures, Figures};

/// A budget of a policy that was used in its present window.
pub(super) struct Used<'a> {
    budget: Budget,
    /// What happens once it is used up, for a person.
    then: String,
    figures: &'a BudgetFigures,
}

/// The budgets of a policy that were used in their present windows.
pub(super) fn budgets<'a>(policy: &RoutingPolicy, seen: &'a Figures) -> Vec<Used<'a>> {
    let own = Key::of(policy).namespace;
    let used = |(at, given): (usize, &crate::api::budget::Budget)| {
        let budget = Budget::of(at, given).ok()?;
        let instead = given.on_exhausted.targets.iter().map(|target| Named::from(target).called(&own));
        let then = match given.on_exhausted.action {
            Action::Reject => "requests are refused".to_owned(),
            Action::Downgrade => format!("requests go to {}", instead.collect::<Vec<_>>().join(", ")),
        };
        Used::of(budget, then, seen)
    };
    policy.spec.budgets.iter().enumerate().filter_map(used).collect()
}

impl<'a> Used<'a> {
    /// A budget, and what happens once it is used up; `None` where it was not used in its present window.
    pub(super) fn of(budget: Budget, then: String, seen: &'a Figures) -> Option<Self> {
        let figures = seen.budgets.get(&budget.id())?;
        Some(Self { budget, then, figures })
    }

    /// What is told of one that all share and that is used up.
    pub(super) fn exhausted(&self) -> Option<String> {
        self.sentence()
            .and_then(|(is_exhausted, sentence)| is_exhausted.then_some(sentence))
    }

    fn is_shared(&self) -> bool {
        self.budget.per == BudgetPer::Policy
    }

    pub(super) fn told(&self) -> BudgetStatus {
        let own = |count: u32| (!self.is_shared()).then_some(i64::from(count));
        BudgetStatus {
            name: self.budget.name.clone(),
            spent: self.budget.amount(self.figures.spent),
            limit: self.budget.amount(self.budget.limit),
            until: Time(self.figures.until),
            accounts: own(self.figures.accounts),
            exhausted: own(self.figures.exhausted),
        }
    }

    /// What is told of it where it is used up, or nearly.
    fn sentence(&self) -> Option<(bool, String)> {
        let Self { budget, then, figures } = self;
        let (name, limit, until) = (&budget.name, budget.written(budget.limit), figures.until);
        let sentence = match (self.is_shared(), figures.exhausted) {
            (true, 0) if budget.warn_at.is_some_and(|from| figures.spent >= from) => {
                let from = budget.written(budget.warn_at.unwrap_or_default());
                return Some((false, format!("budget {name}: more than {from} of {limit} are spent until {until}")));
            }
            (_, 0) => return None,
            (true, _) => format!("budget {name} of {limit} is used up until {until}: {then}"),
            (false, count) => {
                let each = format!("{:?}", budget.per).to_lowercase();
                format!(
                    "budget {name} of {limit} for each {each} is used up for {count} of {} until {until}: their {then}",
                    figures.accounts
                )
            }
        };
        Some((true, sentence))
    }
}

/// Whether a budget is used up, by what gateways say, if they do; none where there is none.
pub(super) fn within(spec: &RoutingPolicySpec, used: Option<&[Used<'_>]>) -> Option<Claim> {
    if spec.budgets.is_empty() {
        return None;
    }
    let Some(used) = used else {
        let message = "no gateway has said what was spent; each holds the budgets by itself";
        return Some(Claim::new(Kind::WithinBudget, Status::Unknown, "NoGateway", message));
    };
    let (exhausted, warned): (Vec<_>, Vec<_>) = used.iter().filter_map(Used::sentence).partition(|(is_exhausted, _)| *is_exhausted);
    let joined = |sentences: Vec<(bool, String)>| sentences.into_iter().map(|(_, sentence)| sentence).collect::<Vec<_>>().join("; ");
    Some(match (exhausted.is_empty(), warned.is_empty()) {
        (false, _) => Claim::new(Kind::WithinBudget, false, "Exhausted", joined(exhausted)),
        (true, false) => Claim::new(Kind::WithinBudget, true, "NearLimit", joined(warned)),
        (true, true) => Claim::new(Kind::WithinBudget, true, "WithinBudget", "no budget is used up"),
    })
}

/// The rules, with what gateways say of their models.
pub(super) fn as_seen(rules: &[RuleStatus], seen: &Figures, used: &[Used<'_>]) -> Vec<RuleStatus> {
    let over = used.iter().find(|used| used.is_shared() && used.figures.exhausted > 0);
    let target = |target: &RuleTargetStatus| {
        let mut told = target.clone();
        if told.message.is_some() {
            return told;
        }
        let resting = seen.models.get(&told.model).map_or(0, |model| model.resting);
        if let Some(over) = over {
            let percent = told.percent.map(|_| 0);
            let (reason, message) = ("OverBudget".to_owned(), over.sentence().map(|(_, sentence)| sentence));
            return RuleTargetStatus {
                percent,
                reason,
                message,
                ..told
            };
        }
        if resting > 0 {
            told.reason = "Resting".to_owned();
            told.message = Some(format!(
                "its endpoints fail, and are asked last, at {resting} of {} gateways",
                seen.gateways
            ));
        }
        told
    };
    rules
        .iter()
        .map(|rule| RuleStatus {
            name: rule.name.clone(),
            targets: rule.targets.iter().map(target).collect(),
        })
        .collect()
}

pub(super) fn last_hour(seen: &Figures) -> LastHour {
    let sum = |of: fn(&crate::plan::traffic::ModelFigures) -> u64| seen.models.values().map(of).fold(0, u64::saturating_add);
    LastHour {
        since: seen.since.map(Time),
        requests: whole(seen.requests),
        errors: whole(seen.errors),
        p50: seen.p50.map(written),
        p95: seen.p95.map(written),
        cost_usd: usd(sum(|model| model.cost)),
        saved_usd: usd(sum(|model| model.saved)),
        unpriced: whole(sum(|model| model.unpriced)),
        models: (seen.models.iter())
            .filter(|(_, model)| model.requests > 0)
            .map(|(name, model)| ModelLastHour {
                model: name.clone(),
                requests: whole(model.requests),
                cost_usd: usd(model.cost),
            })
            .collect(),
    }
}

/// So many nano-dollars, where there are any.
pub(super) fn usd(nanos: u64) -> Option<Usd> {
    (nanos > 0).then(|| Usd(money::written(nanos.into())))
}

pub(super) fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// As people say it: `350ms`, `1.8s`, `95s`.
pub(super) fn written(duration: Duration) -> String {
    match duration.as_millis() {
        millis @ 0..1_000 => format!("{millis}ms"),
        millis @ 1_000..10_000 => format!("{:.1}s", millis as f64 / 1_000.0),
        millis => format!("{}s", millis.div_ceil(1_000)),
    }
}
