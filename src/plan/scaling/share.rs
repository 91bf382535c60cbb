//! Who has accelerators where there are too few of them: models that share them, by tier and then by weight. Pure.
//!
//! ```text
//! what there is ─► each one's min, the highest tier first ─► what each wants, the highest tier first,
//!                                                            within a tier by weight
//! ```
//! Within a tier whoever has least for its weight gets the next replica, which is max-min fairness with weights
//! (<https://en.wikipedia.org/wiki/Max-min_fairness>).

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::is_within;
use crate::api::model_deployment::Tier;

/// For so long a pod must have found no place before accelerators count as too few: whoever adds nodes has seen it by then.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// For so long nobody tries for more after the last pod found no place.
pub const HOLDS: Duration = Duration::from_secs(300);

/// One of those who share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contender {
    /// Higher ones go first.
    pub tier: Tier,
    /// Of one tier, who has twice the weight gets twice as much.
    pub weight: u32,
    /// As many replicas as it would have by itself.
    pub wanted: u32,
    /// As many as it is to have before others have more than that.
    pub min: u32,
    /// As many as have a place.
    pub placed: u32,
    /// Accelerators of one replica.
    pub size: u32,
}

/// What is known of the accelerators of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// When a pod found no place last, and as many accelerators as there were.
    short: Option<(Timestamp, u64)>,
}

impl Pool {
    /// Whether there are too few, where somebody `lacks` some now, or did a short while ago: then as many as there are.
    pub fn short(&mut self, contenders: &[Contender], lacks: bool, now: Timestamp) -> Option<u64> {
        let held = held(contenders);
        self.short = match self.short.filter(|(at, _)| is_within(*at, now, HOLDS)) {
            // What was there when somebody found no place is all there is.
            _ if lacks => Some((now, held)),
            // What one gave back another may have.
            Some((at, known)) => Some((at, known.max(held))),
            None => None,
        };
        self.short.map(|(_, known)| known)
    }
}

/// Accelerators of all replicas that have a place.
fn held(contenders: &[Contender]) -> u64 {
    let each = contenders
        .iter()
        .map(|contender| u64::from(contender.placed) * u64::from(contender.size));
    each.fold(0, u64::saturating_add)
}

/// How many replicas each of them is to have of `all` accelerators.
#[must_use]
pub fn share(contenders: &[Contender], all: u64) -> Vec<u32> {
    let mut given = vec![0; contenders.len()];
    let mut left = all;
    let mut tiers: Vec<Tier> = contenders.iter().map(|contender| contender.tier).collect();
    tiers.sort();
    tiers.dedup();
    let least: fn(&Contender) -> u32 = |contender| contender.min.min(contender.wanted);
    let wanted: fn(&Contender) -> u32 = |contender| contender.wanted;
    for most in [least, wanted] {
        for tier in tiers.iter().rev() {
            while let Some(next) = next(contenders, &given, *tier, most, left) {
                given[next] += 1;
                left -= u64::from(contenders[next].size);
            }
        }
    }
    given
}

/// Who gets the next replica of a tier: who has least for its weight, and of those who has a place for it.
fn next(contenders: &[Contender], given: &[u32], tier: Tier, most: fn(&Contender) -> u32, left: u64) -> Option<usize> {
    let may = |at: &usize| {
        let contender = &contenders[*at];
        contender.tier == tier && given[*at] < most(contender) && u64::from(contender.size) <= left
    };
    // Accelerators with the next replica, for each unit of weight: compared as fractions, which have no ties that come and go.
    let with_it = |at: usize| u128::from(given[at] + 1) * u128::from(contenders[at].size);
    let weight = |at: usize| u128::from(contenders[at].weight.max(1));
    let is_new = |at: usize| given[at] >= contenders[at].placed;
    (0..contenders.len()).filter(may).min_by(|one, other| {
        let by_weight = (with_it(*one) * weight(*other)).cmp(&(with_it(*other) * weight(*one)));
        by_weight.then_with(|| (is_new(*one), one).cmp(&(is_new(*other), other)))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use Tier::{General, MissionCritical, Regulated};

    fn contender(tier: Tier, weight: u32, wanted: u32, placed: u32) -> Contender {
        Contender {
            tier,
            weight,
            wanted,
            min: 0,
            placed,
            size: 1,
        }
    }

    #[test]
    fn higher_tiers_have_what_they_want_and_those_of_one_tier_what_their_weight_says() {
        let (critical, regulated) = (contender(MissionCritical, 1, 2, 0), contender(Regulated, 1, 3, 3));
        let general = contender(General, 1, 4, 4);
        assert_eq!(share(&[general, regulated, critical], 7), [2, 3, 2]);
        assert_eq!(share(&[general, regulated, critical], 4), [0, 2, 2]);
        assert_eq!(share(&[general, regulated, critical], 100), [4, 3, 2]);
        let keeps_one = Contender { min: 1, ..general };
        assert_eq!(share(&[keeps_one, regulated, critical], 4), [1, 1, 2]);
        let (one, three) = (contender(General, 1, 9, 0), contender(General, 3, 9, 8));
        assert_eq!(share(&[one, three], 8), [2, 6]);
        // Who wants less leaves it to others.
        assert_eq!(share(&[one, Contender { wanted: 2, ..three }], 8), [6, 2]);
        // Of two who are even, the one whose replica is there already keeps it.
        let (there, new) = (contender(General, 1, 1, 1), contender(General, 1, 1, 0));
        assert_eq!((share(&[new, there], 1), share(&[there, new], 1)), (vec![0, 1], vec![1, 0]));
        // A replica of four accelerators that does not fit leaves them to those that do.
        let large = Contender { size: 4, ..critical };
        assert_eq!(share(&[large, general], 6), [1, 2]);
        assert_eq!(share(&[large, general], 3), [0, 3]);
    }

    #[test]
    fn accelerators_are_too_few_from_a_pod_without_a_place_on_until_nobody_found_none_for_a_while() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut pool = Pool::default();
        let all = |placed| [contender(General, 1, 9, placed), contender(Regulated, 1, 9, 1)];
        assert_eq!(pool.short(&all(3), false, at(0)), None);
        assert_eq!(pool.short(&all(3), true, at(10)), Some(4));
        // One of them gave one back: there are as many.
        assert_eq!(pool.short(&all(2), false, at(20)), Some(4));
        // There are more than there were.
        assert_eq!(pool.short(&all(5), false, at(30)), Some(6));
        // Some are gone.
        assert_eq!(pool.short(&all(2), true, at(40)), Some(3));
        assert_eq!(pool.short(&all(2), false, at(340)), Some(3));
        assert_eq!(pool.short(&all(2), false, at(341)), None);
    }

    fn contenders() -> impl Strategy<Value = Vec<Contender>> {
        let one =
            (0..3_usize, 1..50_u32, 0..20_u32, 0..5_u32, 0..20_u32, 1..9_u32).prop_map(|(tier, weight, wanted, min, placed, size)| {
                Contender {
                    tier: [General, Regulated, MissionCritical][tier],
                    weight,
                    wanted,
                    min,
                    placed,
                    size,
                }
            });
        proptest::collection::vec(one, 0..8)
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_it_wants_nor_all_more_than_there_is_and_nothing_is_left_that_somebody_could_use(
            contenders in contenders(), all in 0..200_u64
        ) {
            let given = share(&contenders, all);
            let used: u64 = contenders.iter().zip(&given).map(|(contender, given)| u64::from(contender.size) * u64::from(*given)).sum();
            prop_assert!(used <= all);
            for (contender, given) in contenders.iter().zip(&given) {
                prop_assert!(*given <= contender.wanted);
                prop_assert!(*given == contender.wanted || u64::from(contender.size) > all - used);
            }
        }

        #[test]
        fn nobody_has_one_beyond_its_least_while_a_higher_tier_lacks_one_that_it_could_use(contenders in contenders(), all in 0..200_u64) {
            let even: Vec<Contender> = contenders.into_iter().map(|contender| Contender { size: 1, ..contender }).collect();
            let given = share(&even, all);
            for (higher, has) in even.iter().zip(&given).filter(|(higher, has)| **has < higher.wanted) {
                let lower = even.iter().zip(&given).filter(|(lower, _)| lower.tier < higher.tier);
                for (lower, given) in lower {
                    prop_assert!(*given <= lower.min, "{higher:?} has {has}, {lower:?} has {given}");
                }
            }
        }

        #[test]
        fn two_that_want_all_have_it_in_the_proportion_of_their_weights(weights in (1..5000_u32, 1..5000_u32), all in 1..2000_u64) {
            let one = |weight| contender(General, weight, u32::MAX, 0);
            let given = share(&[one(weights.0), one(weights.1)], all);
            let fair = all as f64 * f64::from(weights.0) / f64::from(weights.0 + weights.1);
            prop_assert!((f64::from(given[0]) - fair).abs() <= 1.0, "{given:?} of {all}");
        }

        #[test]
        fn with_more_accelerators_of_one_size_nobody_has_fewer(contenders in contenders(), all in 0..200_u64) {
            let even: Vec<Contender> = contenders.into_iter().map(|contender| Contender { size: 1, ..contender }).collect();
            let (fewer, more) = (share(&even, all), share(&even, all + 1));
            prop_assert!(fewer.iter().zip(&more).all(|(fewer, more)| fewer <= more));
        }
    }
}
