//! What gateways have seen of a policy, in its status: beside what is decided about its models, what they did, and what was spent.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::allowance::Allowance;
use super::status::PolicyVerdict;
use super::table::{Backend, Candidate, Route, Rule};
use crate::api::Usd;
use crate::api::budget::BudgetPer;
use crate::api::condition::{Claim, Kind, Status};
use crate::api::money;
use crate::api::policy_status::{BudgetStatus, LastHour, ModelLastHour, RuleStatus, RuleTargetStatus};
use crate::plan::ledger::{Budget, Unit};
use crate::plan::traffic::{BudgetFigures, Figures};
use crate::protocol::usage::Tokens;

/// A budget of a policy that holds, and what happens once too little of it is left.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    /// The budget.
    pub budget: Budget,
    /// What happens, for a person.
    pub then: String,
}

/// The budgets of a route, in their order.
pub(super) fn watched(route: &Route, now: Timestamp) -> Vec<Watched> {
    let watched = |(at, allowance): (usize, &Allowance)| Watched {
        budget: allowance.budget.clone(),
        then: match allowance.instead {
            Some(_) => downgrade(&route.rules, at, now),
            None => REFUSED.to_owned(),
        },
    };
    route.allowances.iter().flatten().enumerate().map(watched).collect()
}

/// The reason of a model that a used-up budget stops.
const OVER_BUDGET: &str = "OverBudget";
/// The reason of a model that answers once a budget is used up.
pub(super) const DOWNGRADE: &str = "Downgrade";

const REFUSED: &str = "requests are refused";

/// Where requests go that may cost more than is left of the budget at this position: to what may answer under each rule, and does.
fn downgrade(rules: &[Rule], at: usize, now: Timestamp) -> String {
    let of = |rule: &Rule| {
        let named = || rule.instead.get(at).into_iter().flatten();
        let out = |candidate: &Candidate| rule.out(candidate, now);
        let open: Vec<&str> = (named().filter(|candidate| out(candidate).is_none()))
            .map(|candidate| candidate.called.as_str())
            .collect();
        match open.as_slice() {
            [] => {
                let out: Vec<String> = named().filter_map(|candidate| Some(out(candidate)?.message)).collect();
                format!("are refused, because {}", out.join(", and "))
            }
            open => format!("go to {}", open.join(", ")),
        }
    };
    let of_rules: Vec<(&str, String)> = rules.iter().map(|rule| (rule.name.as_str(), of(rule))).collect();
    match of_rules.as_slice() {
        [] => REFUSED.to_owned(),
        [(_, first), others @ ..] if others.iter().all(|(_, other)| other == first) => format!("requests {first}"),
        several => {
            let each: Vec<String> = several
                .iter()
                .map(|(name, what)| format!("requests of rule {name} {what}"))
                .collect();
            each.join(" and ")
        }
    }
}

/// The models that cost no dollars, as our own pods without a price, by what the policy calls them.
pub(super) fn free(route: &Route, now: Timestamp) -> BTreeSet<String> {
    let many = Tokens {
        input: 1_000_000,
        output: 1_000_000,
        ..Tokens::default()
    };
    let is_free = |model: &Backend| Unit::Usd.amount(&many, model.pricing.cost(Some(&many), now), model) == Ok(0);
    let open = route.candidates().filter_map(|candidate| candidate.backend.as_ref().ok());
    open.filter(|model| is_free(model)).map(|model| model.called.clone()).collect()
}

/// A budget of a policy that was used in its present window.
pub(super) struct Used<'a> {
    budget: Budget,
    /// What happens once too little is left, for a person.
    then: String,
    figures: &'a BudgetFigures,
}

/// What there is to tell of a budget, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    /// Much of it is spent.
    Near,
    /// The latest request could have cost more than was left.
    Short,
    /// Nothing is left.
    UsedUp,
}

/// Those of the budgets that were used in their present windows.
pub(super) fn used<'a>(watched: &[Watched], seen: &'a Figures) -> Vec<Used<'a>> {
    let used = |of: &Watched| Used::of(of.budget.clone(), of.then.clone(), seen);
    watched.iter().filter_map(used).collect()
}

impl<'a> Used<'a> {
    /// A budget, and what happens once it is used up; `None` where it was not used in its present window.
    pub(super) fn of(budget: Budget, then: String, seen: &'a Figures) -> Option<Self> {
        let figures = seen.budgets.get(&budget.id)?;
        Some(Self { budget, then, figures })
    }

    /// What is told of one that all share and that is used up.
    pub(super) fn exhausted(&self) -> Option<String> {
        let (alarm, sentence) = self.sentence()?;
        (alarm == Alarm::UsedUp).then_some(sentence)
    }

    /// Whether requests to a model count in it, where these models cost no dollars.
    fn counts(&self, model: &str, free: &BTreeSet<String>) -> bool {
        self.budget.unit == Unit::Tokens || !free.contains(model)
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

    fn alarm(&self) -> Option<Alarm> {
        let Self { budget, figures, .. } = self;
        match figures.exhausted {
            0 if self.is_shared() && budget.warn_at.is_some_and(|from| figures.spent >= from) => Some(Alarm::Near),
            0 => None,
            _ if figures.spent < budget.limit => Some(Alarm::Short),
            _ => Some(Alarm::UsedUp),
        }
    }

    /// What is told of it where it is used up, or nearly.
    fn sentence(&self) -> Option<(Alarm, String)> {
        let Self { budget, then, figures } = self;
        let (name, limit, until) = (&budget.name, budget.written(budget.limit), figures.until);
        let (count, of) = (figures.exhausted, figures.accounts);
        let each = format!("{:?}", budget.per).to_lowercase();
        let alarm = self.alarm()?;
        let sentence = match (alarm, self.is_shared()) {
            (Alarm::Near, _) => {
                let from = budget.written(budget.warn_at.unwrap_or_default());
                format!("budget {name}: more than {from} of {limit} are spent until {until}")
            }
            (Alarm::Short, true) => {
                let left = budget.written(budget.limit.saturating_sub(figures.spent));
                format!("budget {name} of {limit} has {left} left until {until}, and the latest request could have cost more: then {then}")
            }
            (Alarm::Short, false) => format!(
                "budget {name} of {limit} for each {each}: the latest request of {count} of {of} could have cost more than was left until \
                 {until}: then their {then}"
            ),
            (Alarm::UsedUp, true) => format!("budget {name} of {limit} is used up until {until}: {then}"),
            (Alarm::UsedUp, false) => {
                format!("budget {name} of {limit} for each {each} is used up for {count} of {of} until {until}: their {then}")
            }
        };
        Some((alarm, sentence))
    }
}

/// Whether a budget is used up, by what gateways say, if they do; none where there is none.
pub(super) fn within(watched: &[Watched], used: Option<&[Used<'_>]>) -> Option<Claim> {
    if watched.is_empty() {
        return None;
    }
    let Some(used) = used else {
        let message = "no gateway has said what was spent; each holds the budgets by itself";
        return Some(Claim::new(Kind::WithinBudget, Status::Unknown, "NoGateway", message));
    };
    let all: Vec<(Alarm, String)> = used.iter().filter_map(Used::sentence).collect();
    let told = |from: Alarm| {
        let told = all.iter().filter(|(alarm, _)| *alarm >= from);
        told.map(|(_, sentence)| sentence.as_str()).collect::<Vec<_>>().join("; ")
    };
    Some(match all.iter().map(|(alarm, _)| *alarm).max() {
        Some(Alarm::UsedUp) => Claim::new(Kind::WithinBudget, false, "Exhausted", told(Alarm::Short)),
        Some(Alarm::Short) => Claim::new(Kind::WithinBudget, false, "TooLittleLeft", told(Alarm::Short)),
        Some(Alarm::Near) => Claim::new(Kind::WithinBudget, true, "NearLimit", told(Alarm::Near)),
        None => Claim::new(Kind::WithinBudget, true, "WithinBudget", "no budget is used up"),
    })
}

/// The rules, with what gateways say of their models.
pub(super) fn as_seen(verdict: &PolicyVerdict, seen: &Figures, used: &[Used<'_>]) -> Vec<RuleStatus> {
    let over = |model: &RuleTargetStatus| {
        // What a budget of tokens goes on with does not count in it any more.
        let counts =
            |used: &&Used<'_>| used.counts(&model.model, &verdict.free) && (model.reason != DOWNGRADE || used.budget.unit == Unit::Usd);
        let mut over = used.iter().filter(|used| used.is_shared()).filter(counts);
        over.find_map(Used::exhausted)
    };
    let target = |target: &RuleTargetStatus| {
        let mut told = target.clone();
        if told.message.is_some() {
            return told;
        }
        let resting = seen.models.get(&told.model).map_or(0, |model| model.resting);
        if let Some(over) = over(&told) {
            return RuleTargetStatus {
                percent: told.percent.map(|_| 0),
                reason: OVER_BUDGET.to_owned(),
                message: Some(over),
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
    let rules = &verdict.rules;
    rules
        .iter()
        .map(|rule| RuleStatus {
            name: rule.name.clone(),
            targets: gone_on_with(rule.targets.iter().map(target).collect()),
        })
        .collect()
}

/// Where a budget has stopped all others, the first that it goes on with gets their requests.
fn gone_on_with(mut targets: Vec<RuleTargetStatus>) -> Vec<RuleTargetStatus> {
    let is_stopped = targets.iter().any(|target| target.reason == OVER_BUDGET) && targets.iter().all(|target| target.percent == Some(0));
    let next = targets.iter_mut().find(|target| target.reason == DOWNGRADE);
    if let Some(next) = next.filter(|_| is_stopped) {
        next.percent = Some(100);
    }
    targets
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
