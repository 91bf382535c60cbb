//! Samples of questions, the same on every machine and for all time: no other crate draws them.
//!
//! The questions are put into one order, which depends on the seed alone, and a sample is its beginning: so a larger sample holds the smaller
//! one. Who comes next is decided as by a fair scheduler with one slot for each question (S. Baruah, N. Cohen, C. Plaxton and D. Varvel,
//! "Proportionate progress", Algorithmica 1996): a stratum with a share p of all questions has its n-th turn, from 0, in the slots from ⌊n/p⌋ up
//! to, and without, ⌈(n+1)/p⌉, and of those whose turn may come the one that is due first has it. Such a schedule always exists.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// The places of a sample of so many rows, or of all where there are not so many; `strata` says what each row is drawn from.
///
/// Guarantees, for every size, strata and seed:
/// - no place twice, and the sample of a size is the beginning of every larger one with the same seed;
/// - in it, and so in each of its beginnings, each stratum has its exact share rounded up or down;
/// - each stratum is in it from the smallest size on that the line above allows, which for strata of about the same size is their number;
/// - a stratum's rows are drawn without replacement, each order as likely, independently of the other strata.
///
/// Not guaranteed: largest remainders. No sample that holds the smaller ones can always have them (the "Alabama paradox").
pub(super) fn draw(strata: &[&str], size: usize, seed: u64) -> Vec<usize> {
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, stratum) in strata.iter().enumerate() {
        members.entry(stratum).or_default().push(place);
    }
    for (stratum, places) in &mut members {
        Random::of(seed, stratum).shuffle(places);
    }
    let sizes: Vec<usize> = members.values().map(Vec::len).collect();
    let mut members: Vec<_> = members.into_values().map(Vec::into_iter).collect();
    let turns = turns(&sizes, size.min(strata.len()));
    turns.into_iter().filter_map(|stratum| members[stratum].next()).collect()
}

/// Which of the strata has each of the first `count` slots.
fn turns(sizes: &[usize], count: usize) -> Vec<usize> {
    let total: usize = sizes.iter().sum();
    let everyone = everyone_by(sizes, total);
    let due = |stratum: usize, nth: usize| {
        let due = ((nth + 1) * total).div_ceil(sizes[stratum]);
        if nth == 0 { due.min(everyone) } else { due }
    };
    let mut taken = vec![0; sizes.len()];
    // By the slot from which on the next turn may come, and by the slot before which it must.
    let mut waiting: BinaryHeap<_> = (0..sizes.len()).map(|stratum| Reverse((0, stratum))).collect();
    let mut ready = BinaryHeap::new();
    let mut turns = Vec::with_capacity(count);
    for slot in 0..count {
        while let Some(Reverse((from, stratum))) = waiting.peek().copied()
            && from <= slot
        {
            waiting.pop();
            ready.push(Reverse((due(stratum, taken[stratum]), stratum)));
        }
        let Some(Reverse((_, stratum))) = ready.pop() else { break };
        turns.push(stratum);
        taken[stratum] += 1;
        if taken[stratum] < sizes[stratum] {
            waiting.push(Reverse((taken[stratum] * total / sizes[stratum], stratum)));
        }
    }
    turns
}

/// The smallest number of slots after which every stratum can have had a turn, and none is late from then on.
fn everyone_by(sizes: &[usize], total: usize) -> usize {
    let mut due = vec![0; total + 1];
    for size in sizes {
        (2..=*size).for_each(|turn| due[(turn * total).div_ceil(*size)] += 1);
    }
    // How many turns must have been after all slots; then fewer slots, as long as that many turns fit.
    let mut slots = total;
    let mut needed = total;
    while slots > sizes.len() {
        needed -= due[slots];
        if needed > slots - 1 {
            break;
        }
        slots -= 1;
    }
    slots
}

/// SplitMix64 (G. Steele, D. Lea and C. Flood, "Fast splittable pseudorandom number generators", 2014). Not for secrets.
struct Random(u64);

impl Random {
    /// A sequence of its own for each name, by the name's 64-bit FNV-1a hash.
    fn of(seed: u64, name: &str) -> Self {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(Self(seed).next() ^ hash)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; the likeliest is so by less than one in 2⁶⁴ / `bound`.
    fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.next()) * bound as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// By Fisher and Yates.
    fn shuffle(&mut self, places: &mut [usize]) {
        for end in (1..places.len()).rev() {
            places.swap(end, self.below(end + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of the authors' own code for this seed.
    #[test]
    fn the_generator_is_the_one_that_it_says() {
        let mut random = Random(1_234_567);
        assert_eq!(
            [random.next(), random.next(), random.next()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }
}
