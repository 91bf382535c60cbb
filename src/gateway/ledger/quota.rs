//! What the provider of a model lets us have (`spec.api.limits`), of all policies together.

use super::meters::Entered;
use super::{Ledger, visit};
use crate::gateway::bill::Bill;
use crate::plan::ledger::Over;

impl Ledger {
    /// Counts an attempt that is about to be made in what the model's provider lets us have, if it does.
    pub(in crate::gateway) fn within_quota(&self, bill: &Bill) -> Result<Option<Entered>, Over> {
        let Some(rates) = bill.model.limits else { return Ok(None) };
        // Nothing is reckoned for a limit that is not there.
        let tokens = match rates.tokens {
            Some(_) if bill.operation.is_charged() => visit::all(&bill.unseen(self).tokens),
            _ => 0,
        };
        let (entered, _) = self.quotas.enter(bill.model.model.clone(), rates, tokens, (self.now)());
        entered.map(Some)
    }
}
