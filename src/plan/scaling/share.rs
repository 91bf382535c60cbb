//! Who gives accelerators back where there are too few of them: models that share them, by tier and then by weight. Pure.
//!
//! ```text
//! pods that found no place ─► what their models lack, less what comes free already ─► taken once, from
//!                               1. lower tiers: who is idle first, then the lowest, never below min
//!                               2. its own tier: who has more for its weight, until they are even
//! ```
//! What was taken from a model it may not have again for a while: its most is bounded. Taking in steps towards max-min fairness with weights
//! (<https://en.wikipedia.org/wiki/Max-min_fairness>) needs no count of what there is, which nobody can tell of a cluster that grows and shrinks.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{is_within, schedule::Range, schedule::Source};
use crate::api::model_deployment::Tier;
use crate::plan::names::Key;

/// For so long a pod must have found no place before others make room: whoever adds nodes has seen it by then.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// For so long after the last pod found no place, whoever made room does not try for more.
pub const HOLDS: Duration = Duration::from_secs(300);
/// For so long after pods went, what they held may still find its new owner.
const SETTLES: Duration = Duration::from_secs(20);
/// For so long whoever is to have fewer replicas may take to begin with it.
const OBEYS: Duration = Duration::from_secs(60);

/// One of those who share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contender {
    /// Higher ones go first.
    pub tier: Tier,
    /// Of one tier, who has twice the weight gets twice as much.
    pub weight: u32,
    /// So many replicas nobody takes.
    pub min: u32,
    /// So many its load needs now, as far as that is known; else as many as there are.
    pub busy: u32,
    /// So many have a place, and are to stay.
    pub placed: u32,
    /// Accelerators of one replica.
    pub size: u64,
    /// Accelerators that its pods wait for, for [`PATIENCE`] at least.
    pub lacks: u64,
}

/// What a model that made room may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// So many replicas.
    pub max: u32,
    /// Until then.
    pub until: Timestamp,
    /// For whom it made room: models of this tier.
    pub tier: Tier,
    /// Since when.
    at: Timestamp,
}

impl Cap {
    /// Bounds that allow no more than this.
    #[must_use]
    pub fn bound(self, range: Range) -> Range {
        if self.max >= range.max {
            return range;
        }
        Range {
            max: self.max.max(range.min),
            source: Source::Sharing(self.tier),
            ..range
        }
    }
}

/// What came of a look at a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Accelerators were taken.
    Taken {
        /// From this model.
        from: Key,
        /// So many replicas of it.
        replicas: u32,
        /// For this one.
        to: Key,
    },
    /// Room was made for this one, and none of its pods found a place: nothing more is taken for it until all of them have one.
    InVain(Key),
}

/// What is known of the accelerators of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    caps: BTreeMap<Key, Cap>,
    /// The most accelerators that pods on their way out held of late, and when.
    leaving: Option<(Timestamp, u64)>,
    /// For whom room was made, with how many accelerators were left to all then.
    served: BTreeMap<Key, u64>,
    /// For whom it was made in vain: what came free was not where it was needed. Until they lack nothing, nothing is taken for them.
    vain: BTreeSet<Key>,
}

impl Pool {
    /// What a model may have, if it made room.
    #[must_use]
    pub fn cap(&self, model: &Key) -> Option<Cap> {
        self.caps.get(model).copied()
    }

    /// Sees how it stands, where pods on their way out hold `leaving` accelerators, and takes what is lacking.
    pub fn settle(&mut self, contenders: &BTreeMap<Key, Contender>, leaving: u64, now: Timestamp) -> Vec<News> {
        self.remember(contenders, leaving, now);
        let mut coming = self.leaving.map_or(0, |(_, most)| most) + self.undone(contenders, now);
        let mut left = contenders.clone();
        left.retain(|key, one| self.caps.get(key).is_none_or(|cap| one.placed <= cap.max));
        let mut news = Vec::new();
        let (held, mut served) = (self.held(contenders), Vec::new());
        for (key, one) in in_order(contenders) {
            let comes = coming.min(one.lacks);
            coming -= comes;
            let lacks = one.lacks - comes;
            if lacks == 0 || self.vain.contains(key) {
                continue;
            }
            // Where another of them was faster, it is tried again.
            if self.served.get(key).is_some_and(|before| held <= *before) {
                self.vain.insert(key.clone());
                news.push(News::InVain(key.clone()));
                continue;
            }
            for (from, replicas) in make_room(&mut left, key, lacks) {
                served.push(key.clone());
                let cap = Cap {
                    max: left.get(&from).map_or(0, |giver| giver.placed),
                    until: later(now),
                    tier: one.tier,
                    at: now,
                };
                self.caps.insert(from.clone(), cap);
                news.push(News::Taken {
                    from,
                    replicas,
                    to: key.clone(),
                });
            }
        }
        let held = self.held(contenders);
        self.served.extend(served.into_iter().map(|key| (key, held)));
        news
    }

    /// Accelerators of all replicas that are to stay.
    fn held(&self, contenders: &BTreeMap<Key, Contender>) -> u64 {
        let stays = |(key, one): (&Key, &Contender)| {
            let most = self.caps.get(key).map_or(one.placed, |cap| cap.max);
            one.with(one.placed.min(most)).accelerators
        };
        contenders.iter().map(stays).sum()
    }

    /// Forgets what is over.
    fn remember(&mut self, contenders: &BTreeMap<Key, Contender>, leaving: u64, now: Timestamp) {
        for (model, cap) in &mut self.caps {
            let waits = |(key, one): (&Key, &Contender)| key != model && one.lacks > 0 && one.tier >= cap.tier;
            if contenders.iter().any(waits) {
                cap.until = later(now);
            }
        }
        self.caps.retain(|key, cap| contenders.contains_key(key) && now <= cap.until);
        let lacks = |key: &Key| contenders.get(key).is_some_and(|one| one.lacks > 0);
        self.served.retain(|key, _| lacks(key));
        self.vain.retain(lacks);
        self.leaving = match self.leaving {
            Some((at, most)) if leaving < most && is_within(at, now, SETTLES) => Some((at, most)),
            _ => Some((now, leaving)),
        };
    }

    /// Accelerators of replicas that are to go, and have not begun to.
    fn undone(&self, contenders: &BTreeMap<Key, Contender>, now: Timestamp) -> u64 {
        let told = self.caps.iter().filter(|(_, cap)| is_within(cap.at, now, OBEYS));
        told.filter_map(|(key, cap)| {
            let one = contenders.get(key)?;
            Some(u64::from(one.placed.saturating_sub(cap.max)) * one.size)
        })
        .sum()
    }
}

fn later(now: Timestamp) -> Timestamp {
    let holds = SignedDuration::try_from(HOLDS).unwrap_or(SignedDuration::ZERO);
    now.checked_add(holds).unwrap_or(now)
}

/// Those who lack something: the highest tier first, and of one tier who has least for its weight.
fn in_order(contenders: &BTreeMap<Key, Contender>) -> Vec<(&Key, &Contender)> {
    let mut lacking: Vec<_> = contenders.iter().filter(|(_, one)| one.lacks > 0).collect();
    lacking.sort_by(|(_, one), (_, other)| other.tier.cmp(&one.tier).then_with(|| one.has().cmp_by_weight(&other.has())));
    lacking
}

/// Takes what `to` lacks, replica by replica of it: all that one needs, or nothing.
fn make_room(left: &mut BTreeMap<Key, Contender>, to: &Key, mut lacks: u64) -> BTreeMap<Key, u32> {
    let mut taken = BTreeMap::new();
    let Some(mut one) = left.get(to).copied() else { return taken };
    let mut spare = 0;
    while lacks > 0 {
        let needs = lacks.min(one.size.max(1));
        let before = (left.clone(), taken.clone());
        while spare < needs {
            let Some(from) = giver(left, to, &one, needs) else {
                (*left, taken) = before;
                return taken;
            };
            let giver = left.get_mut(&from);
            spare += giver.map_or(0, |giver| {
                giver.placed -= 1;
                giver.size
            });
            *taken.entry(from).or_default() += 1;
        }
        spare -= needs;
        lacks -= needs;
        one.placed += 1;
    }
    taken
}

/// Who gives the next replica.
fn giver(left: &BTreeMap<Key, Contender>, to: &Key, one: &Contender, needs: u64) -> Option<Key> {
    let with_it = Has {
        accelerators: one.has().accelerators + needs,
        ..one.has()
    };
    let gives = |(key, other): &(&Key, &Contender)| {
        *key != to
            && other.size > 0
            && other.placed > other.min
            && match other.tier.cmp(&one.tier) {
                Ordering::Less => true,
                // It stays even with whom it gives to, or whoever gives now would take next.
                Ordering::Equal => other.with(other.placed - 1).cmp_by_weight(&with_it).is_ge(),
                Ordering::Greater => false,
            }
    };
    let first = |(_, one): &(&Key, &Contender), (_, other): &(&Key, &Contender)| {
        // One that is idle gives before one that is busy, in whatever lower tier.
        let is_busy = |giver: &Contender| giver.placed <= giver.busy;
        let by_tier = (is_busy(one), one.tier).cmp(&(is_busy(other), other.tier));
        by_tier.then_with(|| other.has().cmp_by_weight(&one.has()))
    };
    let givers = left.iter().filter(gives);
    givers.min_by(first).map(|(key, _)| key.clone())
}

/// Accelerators, and the weight that they are measured by.
#[derive(Clone, Copy)]
struct Has {
    accelerators: u64,
    weight: u32,
}

impl Has {
    /// Compared as fractions, which have no ties that come and go.
    fn cmp_by_weight(self, other: &Self) -> Ordering {
        let times = |accelerators: u64, weight: u32| u128::from(accelerators) * u128::from(weight.max(1));
        times(self.accelerators, other.weight).cmp(&times(other.accelerators, self.weight))
    }
}

impl Contender {
    fn has(&self) -> Has {
        self.with(self.placed)
    }

    fn with(&self, placed: u32) -> Has {
        Has {
            accelerators: u64::from(placed) * self.size,
            weight: self.weight,
        }
    }
}

#[cfg(test)]
mod tests;
