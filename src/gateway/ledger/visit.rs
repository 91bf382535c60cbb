//! One request under a policy that limits it: let in by every limit, and each of its attempts paid for by every budget.

use std::sync::Arc;

use http::HeaderMap;

use super::account::{Denied, Exhausted, Reserved};
use super::limits;
use super::meters::Entered;
use super::store::Unavailable;
use super::{Ledger, words};
use crate::gateway::bill::{Bill, Charge, at_most};
use crate::gateway::refusal::Refusal;
use crate::plan::ledger::{Budget, Foreseen, Standing, Unit};
use crate::plan::names::Key;
use crate::plan::price::Unpriced;
use crate::plan::routing::{Allowance, Backend, Client, Route};
use crate::protocol::Operation;
use crate::protocol::exchange::Asked;
use crate::protocol::longest::Longest;
use crate::protocol::usage::{Terms, Tokens};

/// One request under a policy that limits it. Dropped, it has left, and what was kept for it is free again.
pub(in crate::gateway) struct Visit {
    ledger: Arc<Ledger>,
    route: Arc<Route>,
    policy: Key,
    client: Client,
    operation: Operation,
    /// The tokens of its prompt, by an estimate.
    prompt: u64,
    longest: Longest,
    entered: Vec<Entered>,
    standing: Standing,
    /// What is kept for the attempt that goes on, and in which budget.
    reserved: Vec<(usize, Reserved)>,
    /// The budgets whose other models are asked.
    downgraded: Vec<usize>,
    /// The tokens of all its attempts.
    used: u64,
}

/// Why an attempt at a model is not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Unaffordable {
    /// It may cost more than is left of the budget at this position.
    Exhausted {
        budget: usize,
        needs: u64,
        exhausted: Exhausted,
        /// When the window ends.
        until: k8s_openapi::jiff::Timestamp,
        now: k8s_openapi::jiff::Timestamp,
    },
    /// It is not known what it costs.
    Unpriced(Unpriced),
    /// It is not known what is left.
    Unavailable(Unavailable),
}

impl Ledger {
    /// Lets a request in, if the limits of its policy do. Where a policy has neither limits nor budgets there is nothing to count.
    pub(in crate::gateway) fn admit(
        self: &Arc<Self>,
        route: &Arc<Route>,
        client: &Client,
        asked: &Asked,
    ) -> Result<Option<Box<Visit>>, Refusal> {
        let allowances = route.allowances.as_ref().map_err(|invalid| words::invalid(route, invalid))?;
        let Some(policy) = route.policy.as_ref().filter(|_| !allowances.is_empty() || !route.limits.is_empty()) else {
            return Ok(None);
        };
        let operation = asked.operation;
        let (prompt, longest) = match operation.is_charged() {
            true => (asked.tokens(), asked.longest()),
            false => (
                0,
                Longest {
                    tokens: Some(0),
                    answers: 1,
                },
            ),
        };
        let mut visit = Visit {
            ledger: self.clone(),
            route: route.clone(),
            policy: policy.clone(),
            client: client.clone(),
            operation,
            prompt,
            longest,
            entered: Vec::new(),
            standing: Standing::default(),
            reserved: Vec::new(),
            downgraded: Vec::new(),
            used: 0,
        };
        // Which model it will be is not known yet.
        let models = || {
            let candidates = route.candidates();
            candidates.filter_map(|candidate| candidate.backend.as_deref().ok().or(candidate.waking.as_deref()))
        };
        let answer = match longest.tokens {
            _ if operation == Operation::Embeddings => 0,
            Some(tokens) => tokens.saturating_mul(longest.answers),
            None => models().map(|model| visit.longest_of(model)).max().unwrap_or_default(),
        };
        let now = (self.now)();
        let tokens = prompt.saturating_add(answer);
        let entered = limits::enter(&self.meters, policy, &route.limits, client, tokens, now);
        let (entered, standing) = entered.map_err(|refused| words::too_fast(policy, &refused, operation, now))?;
        (visit.entered, visit.standing) = (entered, standing);
        Ok(Some(Box::new(visit)))
    }
}

impl Ledger {
    /// The same for a request that was let in before, and has waited since: the budgets of the policy as it is now hold, and what counts it in
    /// limits goes on counting it, unless they are others.
    pub(in crate::gateway) fn admit_again(
        self: &Arc<Self>,
        before: Option<Box<Visit>>,
        route: &Arc<Route>,
        client: &Client,
        asked: &Asked,
    ) -> Result<Option<Box<Visit>>, Refusal> {
        match before {
            Some(mut visit) if Some(&visit.policy) == route.policy.as_ref() && visit.route.limits == route.limits => {
                route.allowances.as_ref().map_err(|invalid| words::invalid(route, invalid))?;
                visit.route = route.clone();
                Ok(Some(visit))
            }
            // Dropped first: its place among those at one time may be the last.
            other => {
                drop(other);
                self.admit(route, client, asked)
            }
        }
    }
}

impl Visit {
    /// What is left of the limits, as headers.
    pub(in crate::gateway) fn limits(&self) -> HeaderMap {
        limits::headers(self.standing, words::is_anthropic(self.operation), (self.ledger.now)())
    }

    /// Keeps what an attempt may cost in every budget, or in none.
    pub(in crate::gateway) async fn reserve(&mut self, bill: &Bill) -> Result<(), Unaffordable> {
        self.release();
        let allowances = self.route.allowances.as_ref().map(Vec::as_slice).unwrap_or_default();
        if allowances.is_empty() || !self.operation.is_charged() {
            return Ok(());
        }
        let foreseen = bill.foreseen(&self.ledger);
        let mut reserved = Vec::with_capacity(allowances.len());
        for (at, Allowance { budget, .. }) in allowances.iter().enumerate() {
            // Or nobody could ever go on.
            if budget.unit == Unit::Tokens && self.downgraded.contains(&at) {
                continue;
            }
            reserved.push((at, self.kept(at, budget, foreseen.amount(budget.unit)).await?));
        }
        self.reserved = reserved;
        Ok(())
    }

    /// Whether every budget has enough left for an answer of this model of our own.
    pub(in crate::gateway) async fn could_pay(&self, model: &Backend) -> Result<(), Unaffordable> {
        let foreseen = Foreseen::of(model, self.prompt, self.longest_of(model), Terms::Standard, (self.ledger.now)());
        let allowances = self.route.allowances.iter().flatten().enumerate();
        for (at, Allowance { budget, .. }) in allowances.filter(|_| self.operation.is_charged()) {
            drop(self.kept(at, budget, foreseen.amount(budget.unit)).await?);
        }
        Ok(())
    }

    /// Keeps what is needed of the budget at this position.
    async fn kept(&self, at: usize, budget: &Budget, needs: Result<u64, Unpriced>) -> Result<Reserved, Unaffordable> {
        let needs = needs.map_err(Unaffordable::Unpriced)?;
        let now = (self.ledger.now)();
        let account = budget.account(&self.policy, &self.client, now);
        let until = account.window.1;
        let kept = self.ledger.entry(account).reserve(budget, needs).await;
        kept.map_err(|denied| match denied {
            Denied::Exhausted(exhausted) => Unaffordable::Exhausted {
                budget: at,
                needs,
                exhausted,
                until,
                now,
            },
            Denied::Unavailable(unavailable) => Unaffordable::Unavailable(unavailable),
        })
    }

    /// The models that a budget goes on with are asked now.
    pub(in crate::gateway) fn downgraded(&mut self, budget: usize) {
        self.downgraded.push(budget);
    }

    /// Whether models are asked that a budget goes on with.
    pub(in crate::gateway) fn is_downgraded(&self) -> bool {
        !self.downgraded.is_empty()
    }

    /// The attempt that something was kept for has cost this. Where the cost is not known, what was kept counts.
    pub(in crate::gateway) fn charge(&mut self, model: &Backend, charge: &Charge) {
        let Charge { tokens, is_estimated, .. } = charge;
        self.used = self.used.saturating_add(all(tokens));
        if !is_estimated && tokens.answer() > 0 {
            self.ledger.learn(&model.model, tokens);
        }
        let allowances = self.route.allowances.as_ref().map(Vec::as_slice).unwrap_or_default();
        for (at, reserved) in self.reserved.drain(..) {
            if let Some(Allowance { budget, .. }) = allowances.get(at) {
                reserved.settle(budget.unit.amount(tokens, charge.cost, model).ok(), budget);
            }
        }
    }

    /// Nothing came of the attempt that something was kept for, and it cost nothing.
    pub(in crate::gateway) fn release(&mut self) {
        self.reserved.clear();
    }

    /// The tokens of all its answers at most.
    fn longest_of(&self, model: &Backend) -> u64 {
        at_most(self.operation, self.longest, model, &self.ledger)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        for entered in &mut self.entered {
            entered.used(self.used);
        }
    }
}

/// The tokens that count in limits.
pub(in crate::gateway) fn all(tokens: &Tokens) -> u64 {
    tokens.prompt().saturating_add(tokens.answer())
}
