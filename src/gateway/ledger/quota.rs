//! What the provider of a model lets us have (`spec.api.limits`), of all policies together.

use super::meters::Entered;
use super::{Ledger, visit};
use crate::gateway::bill::Bill;
use crate::plan::ledger::{Over, Rates};

/// There is none to spare for a copy of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) struct NoneToSpare;

impl Ledger {
    /// Counts an attempt that is about to be made in what the model's provider lets us have, if it does.
    pub(in crate::gateway) fn within_quota(&self, bill: &Bill) -> Result<Option<Entered>, Over> {
        let Some(rates) = bill.model.limits else { return Ok(None) };
        let tokens = self.tokens_of(bill, rates);
        let (entered, _) = self.quotas.enter(bill.model.model.clone(), rates, tokens, (self.now)());
        entered.map(Some)
    }

    /// The same for a copy of a request, if that leaves half for requests of clients.
    pub(in crate::gateway) fn within_spare_quota(&self, bill: &Bill) -> Result<Option<Entered>, NoneToSpare> {
        let Some(rates) = bill.model.limits else { return Ok(None) };
        let tokens = self.tokens_of(bill, rates);
        let entered = self.quotas.enter_spare(bill.model.model.clone(), rates, tokens, (self.now)());
        entered.map(Some).ok_or(NoneToSpare)
    }

    /// What it may take. Nothing is reckoned for a limit that is not there.
    fn tokens_of(&self, bill: &Bill, rates: Rates) -> u64 {
        match rates.tokens {
            Some(_) if bill.operation.is_charged() => visit::all(&bill.unseen(self).tokens),
            _ => 0,
        }
    }
}
