//! How often requests of one route may be repeated at the same model: a share of the traffic, so that retries cannot multiply a failure. A
//! move to another model is no repetition: a fallback must carry all of the traffic.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Repetitions that are always in reserve, for routes with little traffic; one comes back each second.
const RESERVE: f64 = 10.0;
/// What can be saved up beyond the reserve: so a quiet hour is no licence for a storm.
const SAVED: f64 = 100.0;
/// Routes remembered; beyond it all are forgotten, which gives each its reserve anew.
const ROUTES: usize = 4096;

/// The budgets of all routes, by name.
#[derive(Default)]
pub(in crate::gateway) struct Budgets(Mutex<HashMap<String, Budget>>);

struct Budget {
    reserve: f64,
    saved: f64,
    at: Instant,
}

impl Budgets {
    /// A request of `route` begins: its share is saved.
    pub(in crate::gateway) fn save(&self, route: &str, percent: u32) {
        self.with(route, |budget| {
            budget.saved = (budget.saved + f64::from(percent) / 100.0).min(SAVED);
        });
    }

    /// Whether a request of `route` may be repeated; takes that from the budget.
    pub(in crate::gateway) fn spend(&self, route: &str) -> bool {
        self.with(route, |budget| budget.spend(Instant::now()))
    }

    fn with<T>(&self, route: &str, act: impl FnOnce(&mut Budget) -> T) -> T {
        let mut budgets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = budgets.get_mut(route) {
            return act(budget);
        }
        if budgets.len() >= ROUTES {
            budgets.clear();
        }
        act(budgets.entry(route.to_owned()).or_insert_with(|| Budget::new(Instant::now())))
    }
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self {
            reserve: RESERVE,
            saved: 0.0,
            at: now,
        }
    }

    fn spend(&mut self, now: Instant) -> bool {
        let passed: Duration = now.saturating_duration_since(self.at);
        self.reserve = (self.reserve + passed.as_secs_f64()).min(RESERVE);
        self.at = now;
        let from = if self.saved >= 1.0 { &mut self.saved } else { &mut self.reserve };
        let may = *from >= 1.0;
        if may {
            *from -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_a_share_of_the_traffic_beyond_a_reserve() {
        let budgets = Budgets::default();
        let spent = |route| (0..1000).filter(|_| budgets.spend(route)).count();
        assert_eq!(spent("quiet"), RESERVE as usize);
        (0..200).for_each(|_| budgets.save("busy", 20));
        assert_eq!(spent("busy"), 40 + RESERVE as usize);
        (0..10).for_each(|_| budgets.save("none", 0));
        assert_eq!(spent("none"), RESERVE as usize);
    }

    #[test]
    fn the_reserve_comes_back_and_savings_are_bounded() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        while budget.spend(now) {}
        assert!(!budget.spend(now + Duration::from_millis(900)));
        assert!(budget.spend(now + Duration::from_secs(3)));
        let budgets = Budgets::default();
        (0..100_000).for_each(|_| budgets.save("r", 20));
        assert_eq!((0..1000).filter(|_| budgets.spend("r")).count(), (SAVED + RESERVE) as usize);
    }
}
