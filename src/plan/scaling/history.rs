//! What was seen of one model, as far back as decisions look.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::window::GAP;
use super::{Bounds, STABLE, Sample, is_within};

/// The samples of the latest minutes, and since when nobody has wanted the model.
#[derive(Clone, Debug, Default)]
pub struct History {
    samples: Vec<Sample>,
    /// From when to when it is known that nobody wanted the model.
    idle: Option<(Timestamp, Timestamp)>,
}

/// Samples that are closer than this are one: a round that somebody's call brought looks at all models, and says no more of the others.
const CLOSE: Duration = Duration::from_secs(1);

impl History {
    /// Another sample, later than the ones before. What is older than decisions by `bounds` look is forgotten.
    pub fn note(&mut self, sample: Sample, bounds: &Bounds) {
        let reach = reach(bounds);
        let forgotten = self.samples.partition_point(|seen| !is_within(seen.at, sample.at, reach));
        self.samples.drain(..forgotten);
        self.idle = match (sample.is_idle(bounds), self.idle) {
            (true, Some((since, until))) if is_within(until, sample.at, GAP) => Some((since, sample.at)),
            (true, _) => Some((sample.at, sample.at)),
            // A short silence neither confirms nor denies it.
            (false, known) => known.filter(|_| !sample.is_busy(bounds)),
        };
        match self.samples.last_mut() {
            Some(last) if is_within(last.at, sample.at, CLOSE) => {
                let is_wanted = if last.is_wanted == Some(true) {
                    last.is_wanted
                } else {
                    sample.is_wanted
                };
                *last = Sample {
                    at: last.at,
                    is_wanted,
                    ..sample
                };
            }
            _ => self.samples.push(sample),
        }
    }

    /// The latest.
    #[must_use]
    pub fn latest(&self) -> Option<&Sample> {
        self.samples.last()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether nothing was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    pub(super) fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// How long it has been known that nobody wants the model, the latest sample included; `None` while somebody may. A short silence before that does
    /// not matter.
    #[must_use]
    pub fn idle_for(&self, now: Timestamp) -> Option<Duration> {
        let latest = self.samples.last()?.at;
        let (since, _) = self.idle.filter(|(_, until)| *until >= latest && is_within(*until, now, GAP))?;
        Some(Duration::try_from(now.duration_since(since)).unwrap_or_default())
    }
}

impl Sample {
    /// Whether it is known that nobody wants the model. A replica that only starts has had no chance to be wanted.
    fn is_idle(&self, bounds: &Bounds) -> bool {
        let targets = &bounds.targets;
        let asks_engines = targets.waiting.or(targets.cache).is_some();
        let readings = [
            (self.in_flight, targets.in_flight.is_some()),
            (self.waiting, targets.waiting.is_some()),
            // What comes by no gateway.
            (self.running, asks_engines),
        ];
        self.is_wanted == Some(false)
            && !self.is_partial
            && !self.is_starting
            && readings.iter().all(|(reading, is_asked)| !is_asked || *reading == Some(0.0))
    }

    /// Whether it is known that somebody wants the model, or may when it has started.
    fn is_busy(&self, bounds: &Bounds) -> bool {
        let targets = &bounds.targets;
        let loads = [
            self.in_flight.filter(|_| targets.in_flight.is_some()),
            self.waiting.filter(|_| targets.waiting.is_some()),
            self.running,
        ];
        self.is_wanted == Some(true) || self.is_starting || loads.into_iter().flatten().any(|load| load > 0.0)
    }
}

/// How far back samples decide.
fn reach(bounds: &Bounds) -> Duration {
    bounds.down.stabilisation.max(bounds.up.stabilisation) + STABLE + GAP
}
