//! Budgets in their checked form, and the accounts that they have.

use std::fmt;

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::calendar::{Calendar, Span};
use crate::api::budget::{self, BudgetPer, LimitPer};
use crate::plan::Invalid;
use crate::plan::names::Key;
use crate::plan::price::{Cost, Unpriced};
use crate::plan::routing::{Backend, Client};
use crate::protocol::usage::Tokens;

/// What a budget is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nano-dollars.
    Usd,
    /// Tokens.
    Tokens,
}

impl Unit {
    /// What an answer of a model is in it. What runs in our own pods and has no price costs no dollars.
    ///
    /// # Errors
    /// When it is not known what it costs.
    pub fn amount(self, tokens: &Tokens, cost: Cost, model: &Backend) -> Result<u64, Unpriced> {
        match (self, cost) {
            (Self::Tokens, _) => Ok(tokens.prompt().saturating_add(tokens.answer())),
            (Self::Usd, Cost::Known(nanos)) => Ok(nanos),
            (Self::Usd, Cost::Unknown(Unpriced::NoPrice)) if model.provider.is_none() => Ok(0),
            (Self::Usd, Cost::Unknown(why)) => Err(why),
        }
    }
}

/// A budget that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Its name, or its position from 1.
    pub name: String,
    /// Who shares it.
    pub per: BudgetPer,
    /// What it is counted in.
    pub unit: Unit,
    /// How much it is, in that.
    pub limit: u64,
    /// Its windows.
    pub calendar: Calendar,
    /// From so much on it is warned.
    pub warn_at: Option<u64>,
    /// Its name in accounts: its own, what it is counted in, and how long its windows are.
    pub id: String,
}

/// What is counted together: a budget, one of those who share it, and a window.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Account {
    /// The policy.
    pub policy: String,
    /// The budget, what it is counted in and how long its windows are: another of these is another account.
    pub budget: String,
    /// When the window begins, and ends.
    pub window: (Timestamp, Timestamp),
    /// Who shares it; empty where all do.
    pub subject: String,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            policy,
            budget,
            window: (start, _),
            subject,
        } = self;
        write!(f, "{policy}|{budget}|{}|{subject}", start.as_second())
    }
}

impl Budget {
    /// Understands the budget at this position of a policy's list.
    ///
    /// # Errors
    /// Names the field that cannot be understood.
    pub fn of(at: usize, budget: &budget::Budget) -> Result<Self, Invalid> {
        let name = budget.name.clone().unwrap_or_else(|| (at + 1).to_string());
        Self::read(&format!("spec.budgets[{at}]"), name, budget)
    }

    /// Understands the budget in this field, under this name.
    ///
    /// # Errors
    /// Names the field that cannot be understood.
    pub fn read(place: &str, name: String, budget: &budget::Budget) -> Result<Self, Invalid> {
        let field = |name: &str| format!("{place}.{name}");
        let (unit, limit) = match (&budget.usd, budget.tokens) {
            (Some(usd), None) => {
                let nanos = usd.nanos().ok_or_else(|| {
                    Invalid::new(
                        field("usd"),
                        format!("{:?} is not an amount of US dollars", usd.0),
                        r#"write it as "500""#,
                    )
                })?;
                (Unit::Usd, nanos)
            }
            (None, Some(tokens)) => (Unit::Tokens, tokens),
            _ => {
                let remedy = "set exactly one of usd and tokens";
                return Err(Invalid::new(place, "it is not said how much it is", remedy));
            }
        };
        let zone = budget.time_zone.as_deref().unwrap_or("UTC");
        let calendar = Calendar::new(budget.window, zone).ok_or_else(|| {
            let remedy = r#"use a name such as "Europe/Berlin", or leave it out for UTC"#;
            Invalid::new(field("timeZone"), format!("{zone:?} is not an IANA time zone"), remedy)
        })?;
        let counted = match unit {
            Unit::Usd => "usd",
            Unit::Tokens => "tokens",
        };
        let part = |percent: u32| u64::try_from(u128::from(limit) * u128::from(percent) / 100).unwrap_or(limit);
        Ok(Self {
            id: format!("{name}/{counted}/{}", calendar.window()),
            name,
            per: budget.per,
            unit,
            limit,
            calendar,
            warn_at: budget.warn_at_percent.map(part),
        })
    }

    /// The account that a client's requests count in now.
    #[must_use]
    pub fn account(&self, policy: &Key, client: &Client, now: Timestamp) -> Account {
        let Span { start, end } = self.calendar.at(now);
        Account {
            policy: policy.to_string(),
            budget: self.id.clone(),
            window: (start, end),
            subject: subject(self.per, client),
        }
    }

    /// An amount of it, as people write it.
    #[must_use]
    pub fn written(&self, amount: u64) -> String {
        let unit = match self.unit {
            Unit::Usd => "US dollars",
            Unit::Tokens => "tokens",
        };
        format!("{} {unit}", self.amount(amount))
    }

    /// An amount of it, as a number.
    #[must_use]
    pub fn amount(&self, amount: u64) -> String {
        match self.unit {
            Unit::Usd => crate::api::money::written(amount.into()),
            Unit::Tokens => amount.to_string(),
        }
    }
}

/// Which of those who share a budget the client is; empty where all do, `other` for those who are in no team or namespace.
#[must_use]
pub fn subject(per: BudgetPer, client: &Client) -> String {
    match (per, client) {
        (BudgetPer::Policy, _) => String::new(),
        (BudgetPer::Client, client) => client.id().into_owned(),
        (BudgetPer::Team, client) => client.team().map_or_else(other, |team| format!("team:{team}")),
        (BudgetPer::Namespace, Client::ServiceAccount { namespace, .. }) => format!("namespace:{namespace}"),
        (BudgetPer::Namespace, Client::ApiKey { .. } | Client::Jwt { .. } | Client::Anonymous) => other(),
    }
}

fn other() -> String {
    "other".to_owned()
}

impl From<LimitPer> for BudgetPer {
    fn from(per: LimitPer) -> Self {
        match per {
            LimitPer::Client => Self::Client,
            LimitPer::Policy => Self::Policy,
        }
    }
}
