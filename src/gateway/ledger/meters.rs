//! What was done in the latest minute at this gateway, and what goes on: a meter for each of those who have a limit.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::SWEEP;
use crate::plan::ledger::{Meter, Over, Rates, Standing};

/// The meters of all limits of one kind.
pub(super) struct Meters<K>(Mutex<Known<K>>);

struct Known<K> {
    meters: HashMap<K, Arc<Mutex<Meter>>>,
    swept: Instant,
}

/// A request that a limit counts, until dropped: at first with the tokens that it may take, at last with those that it took.
pub(in crate::gateway) struct Entered {
    meter: Arc<Mutex<Meter>>,
    rates: Rates,
    reserved: u64,
    used: u64,
    is_undone: bool,
}

impl<K> Default for Meters<K> {
    fn default() -> Self {
        Self(Mutex::new(Known {
            meters: HashMap::new(),
            swept: Instant::now(),
        }))
    }
}

impl<K: Eq + Hash> Meters<K> {
    /// Lets a request in that may take so many tokens, unless it would be above these rates; and what is left of them.
    pub(super) fn enter(&self, whose: K, rates: Rates, tokens: u64, now: Timestamp) -> (Result<Entered, Over>, Standing) {
        let meter = self.of(whose, now);
        let (result, standing) = {
            let mut meter = locked(&meter);
            (meter.enter(rates, tokens, now), meter.standing(rates, now))
        };
        let entered = result.map(|()| Entered {
            meter,
            rates,
            reserved: tokens,
            used: 0,
            is_undone: false,
        });
        (entered, standing)
    }

    /// Lets a request in that may as well be left out: only where that leaves half of each rate for others.
    pub(super) fn enter_spare(&self, whose: K, rates: Rates, tokens: u64, now: Timestamp) -> Option<Entered> {
        let meter = self.of(whose, now);
        {
            let mut meter = locked(&meter);
            if !meter.can_spare(rates, tokens, now) {
                return None;
            }
            meter.enter(rates, tokens, now).ok()?;
        }
        Some(Entered {
            meter,
            rates,
            reserved: tokens,
            used: 0,
            is_undone: false,
        })
    }

    fn of(&self, whose: K, now: Timestamp) -> Arc<Mutex<Meter>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.swept.elapsed() >= SWEEP {
            known.swept = Instant::now();
            // One that nobody holds and that says nothing.
            known
                .meters
                .retain(|_, meter| Arc::strong_count(meter) > 1 || !locked(meter).is_new(now));
        }
        known.meters.entry(whose).or_default().clone()
    }
}

impl Entered {
    /// So many tokens it took, all in all.
    pub(in crate::gateway) fn used(&mut self, tokens: u64) {
        self.used = tokens;
    }

    /// It is not to be counted: another limit refused it.
    pub(super) fn undo(mut self) {
        self.is_undone = true;
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut meter = locked(&self.meter);
        match self.is_undone {
            true => meter.undo(self.rates, self.reserved),
            false => meter.leave(self.rates, self.reserved, self.used),
        }
    }
}

fn locked(meter: &Mutex<Meter>) -> MutexGuard<'_, Meter> {
    meter.lock().unwrap_or_else(PoisonError::into_inner)
}
