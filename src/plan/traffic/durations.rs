//! How long things took, in buckets that each end a fifth after the one before (2^¼): what is read from them is too long by that at most.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Buckets there are: the first ends at a millisecond, the last holds everything from about a quarter of an hour on.
pub const BUCKETS: usize = 81;
/// Where the first bucket ends.
const FIRST: f64 = 0.001;
/// Buckets from one duration to twice it.
const TO_DOUBLE: f64 = 4.0;

/// The bucket of a duration.
#[must_use]
pub fn bucket(duration: Duration) -> usize {
    let steps = ((duration.as_secs_f64() / FIRST).log2() * TO_DOUBLE).ceil();
    // No time at all is minus infinity, which is the first.
    (steps as usize).min(BUCKETS - 1)
}

/// Where a bucket ends.
fn end(bucket: usize) -> Duration {
    Duration::from_secs_f64(FIRST * (bucket.min(BUCKETS - 1) as f64 / TO_DOUBLE).exp2())
}

/// How many things took how long, by bucket; those in which there is none are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Durations(BTreeMap<usize, u64>);

impl FromIterator<u64> for Durations {
    /// From the counts of all buckets.
    fn from_iter<I: IntoIterator<Item = u64>>(counts: I) -> Self {
        Self(counts.into_iter().enumerate().filter(|(_, count)| *count > 0).collect())
    }
}

impl Durations {
    /// One more, that took so long.
    pub fn note(&mut self, duration: Duration) {
        let count = self.0.entry(bucket(duration)).or_default();
        *count = count.saturating_add(1);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Those that came after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let later = |(bucket, count): (&usize, &u64)| (*bucket, count.saturating_sub(earlier.0.get(bucket).copied().unwrap_or_default()));
        Self(self.0.iter().map(later).filter(|(_, count)| *count > 0).collect())
    }

    /// These as well.
    pub fn add(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            let known = self.0.entry(*bucket).or_default();
            *known = known.saturating_add(*count);
        }
    }

    /// What so many percent of them did not take longer than, to the end of its bucket; `None` of nothing.
    #[must_use]
    pub fn percentile(&self, percent: u32) -> Option<Duration> {
        let rank = (u128::from(self.count()) * u128::from(percent)).div_ceil(100).max(1);
        let mut before = 0;
        self.0.iter().find_map(|(bucket, count)| {
            before += u128::from(*count);
            (before >= rank).then(|| end(*bucket))
        })
    }
}
