//! What was seen of one model, as far back as decisions look.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::window::GAP;
use super::{Bounds, STABLE, Sample, is_within};

/// The samples of the latest minutes, and since when nobody has wanted the model.
#[derive(Clone, Debug, Default)]
pub struct History {
    samples: Vec<Sample>,
    idle_since: Option<Timestamp>,
}

impl History {
    /// Another sample, later than the ones before. What is older than decisions by `bounds` look is forgotten.
    pub fn note(&mut self, sample: Sample, bounds: &Bounds) {
        let reach = reach(bounds);
        let forgotten = self.samples.partition_point(|seen| !is_within(seen.at, sample.at, reach));
        self.samples.drain(..forgotten);
        let follows = self.samples.last().is_some_and(|last| is_within(last.at, sample.at, GAP));
        self.idle_since = match sample.is_idle(bounds) {
            true => self.idle_since.filter(|_| follows).or(Some(sample.at)),
            false => None,
        };
        self.samples.push(sample);
    }

    /// The latest.
    #[must_use]
    pub fn latest(&self) -> Option<&Sample> {
        self.samples.last()
    }

    pub(super) fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// How long it has been known without a gap that nobody wants the model; `None` while somebody may.
    #[must_use]
    pub fn idle_for(&self, now: Timestamp) -> Option<Duration> {
        let since = self.idle_since?;
        Some(Duration::try_from(now.duration_since(since)).unwrap_or_default())
    }
}

impl Sample {
    /// Whether it is known that nobody wants the model. A replica that only starts has had no chance to be wanted.
    fn is_idle(&self, bounds: &Bounds) -> bool {
        let is_zero = |reading: Option<f64>, target: Option<f64>| target.is_none() || reading == Some(0.0);
        let targets = &bounds.targets;
        self.is_wanted == Some(false)
            && !self.is_partial
            && !self.is_starting
            && is_zero(self.in_flight, targets.in_flight)
            && is_zero(self.waiting, targets.waiting)
    }
}

/// How far back samples decide.
fn reach(bounds: &Bounds) -> Duration {
    bounds.down.stabilisation.max(bounds.up.stabilisation) + STABLE + GAP
}
