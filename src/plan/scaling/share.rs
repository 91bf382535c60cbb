//! Who gives accelerators back where there are too few of them: models that share them, by tier and then by weight. Pure.
//!
//! ```text
//! pods that found no place ─► what their models lack, less what comes free already ─► taken once, from
//!                               1. lower tiers: who is idle first, then the lowest, never below min; also where it alone is too little
//!                                  for a replica, because idle accelerators, which are not counted, may make up for the rest
//!                               2. its own tier: who has more for its weight, until they are even
//! ```
//! What was taken from a model it may not have again for a while: its most is bounded. Taking in steps towards max-min fairness with weights
//! (<https://en.wikipedia.org/wiki/Max-min_fairness>) needs no count of what there is, which nobody can tell of a cluster that grows and shrinks.

use std::cmp::Ordering;
use std::collections::BTreeMap;
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
pub const OBEYS: Duration = Duration::from_secs(60);
/// For so long nothing more is taken for whom room was made in vain: nodes change.
const VAIN_FOR: Duration = Duration::from_secs(3600);

/// One of those who share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contender {
    /// Higher ones go first.
    pub tier: Tier,
    /// Of one tier, who has twice the weight gets twice as much.
    pub weight: u32,
    /// So many replicas nobody takes.
    pub min: u32,
    /// So many there are to be.
    pub wanted: u32,
    /// So many its load needs now, as far as that is known; else as many as can be.
    pub busy: u32,
    /// So many have a place, and do not go; more than are wanted while a change brings new ones before old ones go.
    pub placed: u32,
    /// So many of them are about to go, whoever lacks what.
    pub going: u32,
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
    /// Bounds that allow no more than this, and no less than their least.
    #[must_use]
    pub fn bound(self, range: Range) -> Range {
        if self.max >= range.max {
            return range;
        }
        Range {
            max: self.max.max(range.min),
            source: if self.max < range.min {
                range.source
            } else {
                Source::Sharing(self.tier)
            },
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
    /// Room was made for this one, and none of its pods found a place: nothing more is taken for it until one does, or for an hour.
    InVain(Key),
}

/// What is known of the accelerators of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    caps: BTreeMap<Key, Cap>,
    /// The most accelerators that were about to come free of late, and when.
    coming: Option<(Timestamp, u64)>,
    /// For whom room was made, and what there was then.
    served: BTreeMap<Key, Before>,
    /// For whom it was made in vain, with how many replicas of it, and when: what came free was not where it was needed.
    vain: BTreeMap<Key, (u32, Timestamp)>,
}

/// What there was when room had been made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Before {
    /// Replicas of the model that it was made for.
    placed: u32,
    /// Accelerators that were left to all.
    held: u64,
    /// When that was.
    at: Timestamp,
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
        let mut coming = self.coming.map_or(0, |(_, most)| most);
        let is_all_there = coming == 0;
        let held = self.held(contenders);
        let mut left = contenders.clone();
        left.retain(|key, one| self.excess(key, one) == 0);
        for one in left.values_mut() {
            // What comes for the time of a change goes by itself.
            one.placed = one.placed.min(one.wanted);
        }
        let (mut news, mut served) = (Vec::new(), Vec::new());
        for (key, one) in in_order(contenders) {
            let comes = coming.min(one.lacks);
            coming -= comes;
            let lacks = one.lacks - comes;
            if lacks == 0 || self.vain.contains_key(key) {
                continue;
            }
            // Where another of them was faster, or who was to go did not, it is tried again.
            let is_vain = |before: &Before| one.placed <= before.placed && held <= before.held && !self.is_disobeyed(contenders, before.at);
            if is_all_there && self.served.get(key).is_some_and(is_vain) {
                self.vain.insert(key.clone(), (one.placed, now));
                news.push(News::InVain(key.clone()));
                continue;
            }
            let has = one.has().and(comes);
            let taken = make_room(&mut left, (key, one), has, lacks);
            if taken.is_empty() {
                continue;
            }
            served.push((key, one.placed));
            for (from, replicas) in taken {
                self.bound(&from, left.get(&from).map_or(0, |giver| giver.placed), one.tier, now);
                news.push(News::Taken {
                    from,
                    replicas,
                    to: key.clone(),
                });
            }
            // Or their pods, which wait as long, would be where room was made.
            for (lower, other) in contenders
                .iter()
                .filter(|(_, other)| other.tier < one.tier && other.placed < other.wanted)
            {
                let placed = left.get(lower).map_or(other.placed, |left| left.placed);
                self.bound(lower, placed, one.tier, now);
            }
        }
        let held = self.held(contenders);
        self.served.extend(
            served
                .into_iter()
                .map(|(key, placed)| (key.clone(), Before { placed, held, at: now })),
        );
        news
    }

    fn bound(&mut self, model: &Key, max: u32, tier: Tier, now: Timestamp) {
        let known = self.caps.get(model).map_or(u32::MAX, |cap| cap.max);
        let cap = Cap {
            max: max.min(known),
            until: later(now),
            tier,
            at: now,
        };
        self.caps.insert(model.clone(), cap);
    }

    /// Forgets what is over.
    fn remember(&mut self, contenders: &BTreeMap<Key, Contender>, leaving: u64, now: Timestamp) {
        let vain = &self.vain;
        for (model, cap) in &mut self.caps {
            let Some(giver) = contenders.get(model) else { continue };
            let goes_first = |one: &Contender| match one.tier.cmp(&giver.tier) {
                Ordering::Less => false,
                // Who has come to have more for its weight keeps nobody down.
                Ordering::Equal => one.has().cmp_by_weight(&giver.has()).is_le(),
                Ordering::Greater => true,
            };
            let waits = |(key, one): (&Key, &Contender)| key != model && one.lacks > 0 && !vain.contains_key(key) && goes_first(one);
            if contenders.iter().any(waits) {
                cap.until = later(now);
            }
        }
        self.caps.retain(|key, cap| contenders.contains_key(key) && now <= cap.until);
        let lacks = |key: &Key| contenders.get(key).is_some_and(|one| one.lacks > 0);
        self.served.retain(|key, _| lacks(key));
        self.vain.retain(|key, (placed, at)| {
            let has_more = contenders.get(key).is_some_and(|one| one.placed > *placed);
            lacks(key) && !has_more && is_within(*at, now, VAIN_FOR)
        });
        let coming = leaving + self.undone(contenders, now);
        self.coming = match self.coming {
            Some((at, most)) if coming < most && is_within(at, now, SETTLES) => Some((at, most)),
            _ => Some((now, coming)),
        };
    }

    /// Replicas of a model beyond what it may have.
    fn excess(&self, model: &Key, one: &Contender) -> u32 {
        self.caps
            .get(model)
            .map_or(0, |cap| one.placed.saturating_sub(cap.max.max(one.min)))
    }

    /// Accelerators of replicas that are to go, and have not begun to.
    fn undone(&self, contenders: &BTreeMap<Key, Contender>, now: Timestamp) -> u64 {
        let told = |key: &Key| self.caps.get(key).is_some_and(|cap| is_within(cap.at, now, OBEYS));
        let going = |(key, one): (&Key, &Contender)| {
            let taken = if told(key) { self.excess(key, one) } else { 0 };
            u64::from(taken.max(one.going)) * one.size
        };
        contenders.iter().map(going).sum()
    }

    /// Whether somebody who was told then to have fewer still has as many.
    fn is_disobeyed(&self, contenders: &BTreeMap<Key, Contender>, told: Timestamp) -> bool {
        let those = self.caps.iter().filter(|(_, cap)| cap.at == told);
        let has_more = |key: &Key| contenders.get(key).is_some_and(|one| self.excess(key, one) > 0);
        those.map(|(key, _)| key).any(has_more)
    }

    /// Accelerators of all replicas that are to stay.
    fn held(&self, contenders: &BTreeMap<Key, Contender>) -> u64 {
        let stays = |(key, one): (&Key, &Contender)| u64::from(one.placed - self.excess(key, one)) * one.size;
        contenders.iter().map(stays).sum()
    }
}

fn later(now: Timestamp) -> Timestamp {
    let holds = SignedDuration::try_from(HOLDS).unwrap_or(SignedDuration::ZERO);
    now.checked_add(holds).unwrap_or(now)
}

/// Those who lack something: the highest tier first, and of one tier who has least for its weight.
fn in_order(contenders: &BTreeMap<Key, Contender>) -> Vec<(&Key, &Contender)> {
    let mut lacking: Vec<_> = contenders.iter().filter(|(_, one)| one.lacks > 0).collect();
    lacking.sort_by(|(_, one), (_, other)| {
        let by_tier = other.tier.cmp(&one.tier);
        by_tier.then_with(|| one.has().cmp_by_weight(&other.has()))
    });
    lacking
}

/// Takes what one that `has` so much lacks, replica by replica of it: all that one needs, or what lower tiers have of that.
fn make_room(left: &mut BTreeMap<Key, Contender>, (to, one): (&Key, &Contender), mut has: Has, mut lacks: u64) -> BTreeMap<Key, u32> {
    let mut taken: BTreeMap<Key, u32> = BTreeMap::new();
    let mut spare = 0;
    while lacks > 0 {
        let needs = lacks.min(one.size.max(1));
        let (with_it, mut gives) = (has.and(needs), Vec::new());
        while spare < needs {
            let Some(from) = giver(left, (to, one.tier), &with_it) else { break };
            if let Some(giver) = left.get_mut(&from) {
                giver.placed -= 1;
                spare += giver.size;
            }
            gives.push(from);
        }
        let is_whole = spare >= needs;
        for from in gives {
            let giver = left.get_mut(&from).filter(|giver| !is_whole && giver.tier == one.tier);
            match giver {
                // Its own tier would have what is of no use to it.
                Some(giver) => giver.placed += 1,
                None => *taken.entry(from).or_default() += 1,
            }
        }
        if !is_whole {
            break;
        }
        spare -= needs;
        lacks -= needs;
        has = with_it;
    }
    taken
}

/// Who gives the next replica.
fn giver(left: &BTreeMap<Key, Contender>, (to, tier): (&Key, Tier), with_it: &Has) -> Option<Key> {
    let gives = |(key, other): &(&Key, &Contender)| {
        *key != to
            && other.size > 0
            && other.placed > other.min
            && match other.tier.cmp(&tier) {
                Ordering::Less => true,
                // It stays even with whom it gives to, or whoever gives now would take next.
                Ordering::Equal => other.with(other.placed - 1).cmp_by_weight(with_it).is_ge(),
                Ordering::Greater => false,
            }
    };
    let first = |(_, one): &(&Key, &Contender), (_, other): &(&Key, &Contender)| {
        // One that is idle gives before one that is busy, in whatever lower tier.
        let last = |giver: &Contender| (giver.tier == tier, giver.placed <= giver.busy, giver.tier);
        let by_tier = last(one).cmp(&last(other));
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

    /// With so many more.
    fn and(self, more: u64) -> Self {
        Self {
            accelerators: self.accelerators.saturating_add(more),
            ..self
        }
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
