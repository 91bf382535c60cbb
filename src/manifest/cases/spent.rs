//! Budgets of which a case says that so much is spent: what a gateway would reserve for the request must fit into the rest, or the budget's
//! other models are asked, or the request is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

use super::Ask;
use crate::api::budget::BudgetPer;
use crate::api::money;
use crate::plan::ledger::{Budget, Unit};
use crate::plan::routing::{Allowance, Backend, Content, Decision, Route};

/// How much is spent of the budgets of each kind, in what they are counted in: `{Policy: "500"}`.
pub(super) type Spent = BTreeMap<BudgetPer, Amount>;

/// Dollars or tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Amount {
    Text(String),
    Number(u64),
}

impl Amount {
    fn of(&self, unit: Unit) -> Option<u64> {
        let text = match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
        };
        match unit {
            Unit::Usd => money::Usd(text).nanos(),
            Unit::Tokens => text.parse().ok(),
        }
    }
}

/// What is wrong with what a case says of the budgets of a policy.
pub(super) fn problems(spent: &Spent, route: &Route) -> Vec<String> {
    let budgets: Vec<&Budget> = route.allowances.iter().flatten().map(|allowance| &allowance.budget).collect();
    let wrong = |(per, amount): (&BudgetPer, &Amount)| {
        let mut of_kind = budgets.iter().filter(|budget| budget.per == *per).peekable();
        if of_kind.peek().is_none() {
            return Some(format!("says spent for {per}, and {} has no budget per {per}", route.called()));
        }
        let bad = of_kind.find(|budget| amount.of(budget.unit).is_none())?;
        Some(format!(
            "says spent {amount:?}, which is no amount of the budget {}: {}",
            bad.name,
            bad.written(bad.limit)
        ))
    };
    spent.iter().filter_map(wrong).collect()
}

/// The models that are asked: those that can do it, the first of which every budget has enough left for; or the status and words that refuse
/// the request.
pub(super) fn asked<'a>(
    decision: &Decision<'a>,
    route: &Route,
    spent: &Spent,
    ask: &Ask,
    now: Timestamp,
) -> Result<Vec<&'a Arc<Backend>>, (u16, String)> {
    let allowances = route.allowances.as_ref().map(Vec::as_slice).unwrap_or_default();
    let content = ask.content();
    let mut models = decision.models.clone();
    let mut downgraded: Vec<usize> = Vec::new();
    let (mut unfit, mut unpriced) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(model) = models.get(at) {
        if let Some(why) = ask.unfit(model) {
            unfit.push(why);
            at += 1;
            continue;
        }
        match lacking(model, allowances, &downgraded, spent, &content, now) {
            Ok(None) => {
                let mut rest = models.split_off(at);
                rest.retain(|model| ask.unfit(model).is_none());
                return Ok(rest);
            }
            Ok(Some((budget, why))) => {
                let instead = decision.instead.get(budget).cloned().unwrap_or_default();
                if instead.is_empty() || downgraded.contains(&budget) {
                    return Err((429, why));
                }
                downgraded.push(budget);
                (models, at) = (instead, 0);
            }
            Err(why) => {
                unpriced.push(why);
                at += 1;
            }
        }
    }
    // A request that waits has asked nobody yet.
    if decision.hold.is_some() {
        return Ok(Vec::new());
    }
    match (unfit.is_empty(), unpriced.pop()) {
        (false, last) => {
            unfit.extend(unpriced.into_iter().chain(last));
            Err((400, format!("no model of {} can do this: {}", route.called(), unfit.join("; "))))
        }
        (true, Some(why)) => Err((503, why)),
        (true, None) => Ok(Vec::new()),
    }
}

/// The first budget with too little left for an answer of the model, and what is said then. An error says that nobody knows what it costs.
fn lacking(
    model: &Backend,
    allowances: &[Allowance],
    downgraded: &[usize],
    spent: &Spent,
    content: &Content,
    now: Timestamp,
) -> Result<Option<(usize, String)>, String> {
    let name = &model.called;
    for (at, allowance) in allowances.iter().enumerate() {
        let budget = &allowance.budget;
        if budget.unit == Unit::Tokens && downgraded.contains(&at) {
            continue;
        }
        let Ok(needs) = allowance.needs(model, content, now) else {
            return Err(format!(
                "what a request to {name} costs is not known, and budget {} is in US dollars",
                budget.name
            ));
        };
        let spent = spent.get(&budget.per).and_then(|amount| amount.of(budget.unit)).unwrap_or_default();
        let left = budget.limit.saturating_sub(spent);
        if needs > left {
            let (needs, left) = (budget.written(needs), budget.written(left));
            let why = format!(
                "the budget {} has {left} left, and this request to {name} may cost {needs}",
                budget.name
            );
            return Ok(Some((at, why)));
        }
    }
    Ok(None)
}
