//! What the operator asks for: counts of each policy and model since the start, beside those that Prometheus reads.

use std::array;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use crate::gateway::tally::Record;
use crate::plan::price::Cost;
use crate::plan::traffic::{BUCKETS, OfModel, bucket};

/// Requests under one name.
pub(super) struct Requests {
    all: AtomicU64,
    errors: AtomicU64,
    durations: [AtomicU32; BUCKETS],
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            all: AtomicU64::default(),
            errors: AtomicU64::default(),
            durations: array::from_fn(|_| AtomicU32::default()),
        }
    }
}

impl Requests {
    pub(super) fn count(&self, record: &Record, elapsed: Duration) {
        self.all.fetch_add(1, Ordering::Relaxed);
        if record.broken.is_some() || record.status.is_some_and(|status| status.is_server_error()) {
            self.errors.fetch_add(1, Ordering::Relaxed);
        } else if record.status.is_some_and(|status| status == StatusCode::OK) {
            self.durations[bucket(elapsed)].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Requests, errors, and good answers by how long they took.
    pub(super) fn read(&self) -> (u64, u64, impl Iterator<Item = u64>) {
        let durations = self.durations.iter().map(|count| u64::from(count.load(Ordering::Relaxed)));
        (self.all.load(Ordering::Relaxed), self.errors.load(Ordering::Relaxed), durations)
    }
}

/// Answers of one model under one name.
#[derive(Default)]
pub(super) struct Answers {
    all: AtomicU64,
    cost: AtomicU64,
    saved: AtomicU64,
    unpriced: AtomicU64,
}

impl Answers {
    pub(super) fn count(&self, saved: u64) {
        self.all.fetch_add(1, Ordering::Relaxed);
        self.saved.fetch_add(saved, Ordering::Relaxed);
    }

    pub(super) fn charge(&self, cost: Cost) {
        match cost {
            Cost::Known(nanos) => self.cost.fetch_add(nanos, Ordering::Relaxed),
            Cost::Unknown(_) => self.unpriced.fetch_add(1, Ordering::Relaxed),
        };
    }

    pub(super) fn read(&self) -> OfModel {
        OfModel {
            requests: self.all.load(Ordering::Relaxed),
            cost: self.cost.load(Ordering::Relaxed),
            saved: self.saved.load(Ordering::Relaxed),
            unpriced: self.unpriced.load(Ordering::Relaxed),
        }
    }
}
