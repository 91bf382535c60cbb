//! Which models get a copy of a request, though another one answers it: as many requests as the policy says, drawn by chance, and only where the
//! model may have them by everything that a target is held to.

mod status;

use std::sync::Arc;

use super::decide::{Facts, Weighed};
use super::eligible::{Exclusion, Reason};
use super::named::Named;
use super::table::{Backend, Candidate, Route, Rule};
use super::{Allowance, DataClasses, Retries};
use crate::api::routing_policy::RoutingPolicySpec;
use crate::api::{budget, shadow};
use crate::plan::Invalid;
use crate::plan::ledger::Budget;
use crate::plan::names::Key;

pub(super) use status::{seen, statuses};

/// A model that gets copies of requests.
#[derive(Clone, Debug)]
pub struct Shadow {
    /// The ModelDeployment, or `name:adapter` of it.
    pub model: Key,
    /// What the policy calls it: by its name, with the namespace where that is not the policy's.
    pub called: String,
    /// How many of 100 requests are copied.
    pub percent: u32,
    /// On what terms it is asked: a name of its own that no client may call, under which only its own budget counts. What cannot be understood
    /// of that budget keeps every copy from it.
    pub route: Result<Arc<Route>, Invalid>,
}

/// What becomes of the copy of a request for one model.
#[derive(Clone, Debug)]
pub struct Mirror<'a> {
    /// The model.
    pub shadow: &'a Shadow,
    /// On what terms it gets the copy, or why it does not.
    pub to: Result<(&'a Arc<Route>, &'a Arc<Backend>), Skipped>,
}

/// Why a model gets no copy of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// For machines: a word.
    pub reason: &'static str,
    /// For a person: a sentence that begins with what the policy calls the model.
    pub message: String,
}

/// The budget of the shadow at this position of a policy of the namespace `own`, if it has one.
///
/// # Errors
/// Names the field that cannot be understood.
pub(super) fn budget(at: usize, given: &shadow::Shadow, own: &str) -> Result<Option<Budget>, Invalid> {
    let Some(of) = &given.budget else { return Ok(None) };
    // No budget of a policy can have such a name.
    let name = format!("shadow:{}", Named::from(given).called(own));
    Budget::read(&format!("spec.shadow[{at}].budget"), name, &budget::Budget::from(of)).map(Some)
}

/// The shadows of a policy whose own requests go by `route`.
pub(super) fn of(spec: &RoutingPolicySpec, route: &Route, own: &str, candidate: impl Fn(Named<'_>) -> Candidate) -> Vec<Shadow> {
    let shadow = |(at, given): (usize, &shadow::Shadow)| {
        let candidate = candidate(given.into());
        Shadow {
            model: candidate.model.clone(),
            called: candidate.called.clone(),
            // The CRD refuses more.
            percent: given.percent.min(100),
            route: budget(at, given, own).map(|budget| Arc::new(aside(route, candidate, budget))),
        }
    };
    spec.shadow.iter().enumerate().map(shadow).collect()
}

/// The terms of copies for one model: those of the requests, but for what is about clients and their money.
fn aside(route: &Route, candidate: Candidate, budget: Option<Budget>) -> Route {
    Route {
        // No policy can be called so.
        name: format!("{} (shadow {})", route.name, candidate.called),
        policy: route.policy.clone(),
        class: route.class,
        clients: Vec::new(),
        rules: vec![Rule::only(candidate)],
        sticky: None,
        warmup: None,
        cache: None,
        timeouts: route.timeouts,
        retries: Retries {
            attempts: 0,
            budget_percent: 0,
        },
        max_body_bytes: route.max_body_bytes,
        priced: Vec::new(),
        limits: Vec::new(),
        allowances: Ok(budget.map(|budget| Allowance { budget, instead: None }).into_iter().collect()),
        guard: route.guard.clone(),
        // What nobody sees is in no log.
        logs_content: false,
        shadows: Vec::new(),
    }
}

/// What would become of a copy for each of the policy's shadows, of a request for which `rule` decides.
#[must_use]
pub fn mirrors<'a>(route: &'a Route, rule: &'a Rule, classes: &DataClasses, facts: &Facts<'_>) -> Vec<Mirror<'a>> {
    Weighed::new(classes, facts).mirrors(route, rule, |_, _| true)
}

impl Weighed<'_> {
    /// The copies that are drawn by `roll`.
    pub(super) fn drawn_mirrors<'a>(&self, route: &'a Route, rule: &'a Rule, roll: u64) -> Vec<Mirror<'a>> {
        self.mirrors(route, rule, |at, percent| is_drawn(roll, at, percent))
    }

    fn mirrors<'a>(&self, route: &'a Route, rule: &'a Rule, is_due: impl Fn(usize, u32) -> bool) -> Vec<Mirror<'a>> {
        let all = route.shadows.iter().zip(&rule.shadow).enumerate();
        all.filter(|(at, (shadow, _))| is_due(*at, shadow.percent))
            .map(|(_, (shadow, candidate))| Mirror {
                shadow,
                to: self.mirror(rule, shadow, candidate),
            })
            .collect()
    }

    fn mirror<'a>(&self, rule: &Rule, shadow: &'a Shadow, candidate: &'a Candidate) -> Result<(&'a Arc<Route>, &'a Arc<Backend>), Skipped> {
        let name = &candidate.called;
        let route = shadow.route.as_ref().map_err(|invalid| Skipped {
            reason: "invalid",
            message: format!("{name} gets no copies: {invalid}"),
        })?;
        match &candidate.backend {
            Err(exclusion) => Err(Skipped {
                reason: word(exclusion, candidate),
                message: exclusion.message.clone(),
            }),
            Ok(model) => match self.barrier(rule, candidate, model) {
                Some((reason, why)) => Err(Skipped {
                    reason: reason.word(),
                    message: format!("{name} {why}"),
                }),
                None => Ok((route, model)),
            },
        }
    }
}

/// That it sleeps, or starts, is told apart from that it is not well.
fn word(exclusion: &Exclusion, candidate: &Candidate) -> &'static str {
    match exclusion.reason {
        Reason::NotReady if candidate.waking.is_some() => "asleep",
        reason => reason.word(),
    }
}

/// Whether the shadow at this position gets a copy of the request that `roll` was drawn for. Each draws for itself, and none as targets do.
fn is_drawn(roll: u64, at: usize, percent: u32) -> bool {
    let own = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed(roll.wrapping_add(own)) % 100 < u64::from(percent)
}

/// Every bit of the answer depends on every bit of what is given (the end of SplitMix64, Steele et al. 2014).
fn mixed(given: u64) -> u64 {
    let once = (given ^ (given >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let twice = (once ^ (once >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    twice ^ (twice >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// By chance that rolls are random, or that they are counted up.
        #[test]
        fn as_many_are_drawn_as_the_percent_says(percent in 1u32..=100, at in 0usize..4, seed: u64, counts: bool) {
            const REQUESTS: u32 = 20_000;
            let mut random = fastrand::Rng::with_seed(seed);
            let roll = |n: u32| if counts { seed.wrapping_add(u64::from(n)) } else { random.u64(..) };
            let drawn = (0..REQUESTS).map(roll).filter(|roll| is_drawn(*roll, at, percent)).count() as f64;
            let share = f64::from(percent) / 100.0;
            let deviation = (share * (1.0 - share) * f64::from(REQUESTS)).sqrt();
            let expected = share * f64::from(REQUESTS);
            prop_assert!((drawn - expected).abs() <= 6.0 * deviation, "{drawn} instead of {expected}");
        }

        /// What is drawn for one says nothing of what is drawn for another, nor of the target that is drawn by the same roll.
        #[test]
        fn shadows_are_drawn_apart_from_each_other_and_from_targets(seed: u64, weights in 2u64..100) {
            const REQUESTS: usize = 40_000;
            let mut random = fastrand::Rng::with_seed(seed);
            let rolls: Vec<u64> = (0..REQUESTS).map(|_| random.u64(..)).collect();
            let share = |is: &dyn Fn(u64) -> bool| rolls.iter().filter(|roll| is(**roll)).count() as f64 / REQUESTS as f64;
            let both = share(&|roll| is_drawn(roll, 0, 50) && is_drawn(roll, 1, 50));
            prop_assert!((both - 0.25).abs() < 0.02, "{both}");
            let is_first = |roll: u64| roll % weights < weights / 2;
            let (alone, with) = (share(&is_first), share(&|roll| is_first(roll) && is_drawn(roll, 0, 50)));
            prop_assert!((with - alone / 2.0).abs() < 0.02, "{with} of {alone}");
        }
    }
}
