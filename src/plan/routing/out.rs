//! Why a model gets no request now, as statuses tell it: by what is known of it, and by the clock.

use k8s_openapi::jiff::Timestamp;

use super::eligible::Reason;
use super::table::{Backend, Candidate, Rule};
use crate::plan::ledger::Unit;
use crate::protocol::usage::Tokens;

/// The reason of a model of which no pod answers, and that a request may wake.
const ASLEEP: &str = "Asleep";

/// What is said of a model whose price nobody knows, where US dollars are limited.
pub(super) const UNPRICED: &str = "has no known price, and the policy limits what is spent in US dollars: set spec.price of the ModelDeployment, or add it \
                                   to the price book";

/// Why a model gets no request now.
pub(super) struct Out {
    /// For machines.
    pub(super) reason: String,
    /// For a person: a sentence that begins with what the policy calls the model.
    pub(super) message: String,
}

impl Out {
    /// `None` where it gets some. `is_reckoned`: it must be known what it costs.
    pub(super) fn of(candidate: &Candidate, is_reckoned: bool, now: Timestamp) -> Option<Self> {
        let called = &candidate.called;
        // Nobody wakes it for requests that it may not have then.
        if let Some(expiry) = candidate.passed_until.as_ref().filter(|expiry| expiry.at <= now) {
            let message = format!("{called} {}", expiry.message);
            let reason = Reason::NotEvaluated.to_string();
            return Some(Self { reason, message });
        }
        let model = candidate.backend.as_ref().ok().or(candidate.waking.as_ref());
        if model.is_some_and(|model| is_reckoned && !is_priced(model, now)) {
            let (reason, message) = (Reason::CostNotKnown.to_string(), format!("{called} {UNPRICED}"));
            return Some(Self { reason, message });
        }
        let exclusion = candidate.backend.as_ref().err()?;
        let reason = match candidate.waking {
            Some(_) => ASLEEP.to_owned(),
            None => exclusion.reason.to_string(),
        };
        let message = exclusion.message.clone();
        Some(Self { reason, message })
    }

    /// Whether all that keeps it out is that nobody has woken it.
    pub(super) fn is_asleep(&self) -> bool {
        self.reason == ASLEEP
    }
}

impl Rule {
    /// Why one of its models gets none of its requests now.
    pub(super) fn out(&self, candidate: &Candidate, now: Timestamp) -> Option<Out> {
        Out::of(candidate, self.is_reckoned, now)
    }

    /// The targets that would get requests if they were awake, where none gets any now.
    pub(super) fn asleep(&self, now: Timestamp) -> impl Iterator<Item = &Candidate> {
        let used = || {
            self.targets
                .iter()
                .filter(|target| target.weight > 0)
                .map(|target| &target.candidate)
        };
        let is_open = used().any(|candidate| self.out(candidate, now).is_none());
        used().filter(move |candidate| !is_open && self.out(candidate, now).is_some_and(|out| out.is_asleep()))
    }
}

/// Whether it is known what requests cost with the model: those for vectors have no other tokens than these.
pub(super) fn is_priced(model: &Backend, now: Timestamp) -> bool {
    let some = Tokens {
        input: 1,
        ..Tokens::default()
    };
    Unit::Usd.amount(&some, model.pricing.cost(Some(&some), now), model).is_ok()
}
