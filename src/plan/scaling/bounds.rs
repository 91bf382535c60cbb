//! What a specification says, with its defaults.

use std::time::Duration;

use super::schedule::Range;
use super::{Bounds, Pace, Targets};
use crate::api::scaling::{Scaling, ScalingPace};

/// How long fewer replicas must have been enough.
const DOWN_AFTER: Duration = Duration::from_secs(300);
/// How long nobody may have wanted a model.
const TO_ZERO_AFTER: Duration = Duration::from_secs(900);

impl Bounds {
    /// What it says itself, whatever its schedule has come to.
    #[must_use]
    pub fn own(spec: &Scaling) -> Self {
        Self::of(spec, Range::own(spec))
    }

    /// With what its schedule has come to. The CRD refuses what is out of bounds; where its rules are bypassed, what makes no sense is as if it were
    /// not said.
    #[must_use]
    pub fn of(spec: &Scaling, range: Range) -> Self {
        let behavior = spec.behavior.clone().unwrap_or_default();
        let target = spec.target.clone().unwrap_or_default();
        let to_zero_after = spec.scale_to_zero_after.and_then(given).unwrap_or(TO_ZERO_AFTER);
        Self {
            min: range.min,
            max: range.max,
            source: range.source,
            targets: Targets {
                in_flight: target.in_flight.map(|each| f64::from(each.max(1))),
                waiting: target.waiting.map(|each| f64::from(each.max(1))),
                cache: target.cache_percent.map(|percent| f64::from(percent.clamp(1, 100)) / 100.0),
            },
            up: pace(behavior.up.as_ref(), Duration::ZERO),
            down: pace(behavior.down.as_ref(), DOWN_AFTER),
            to_zero_after: (range.min == 0).then_some(to_zero_after),
        }
    }
}

fn pace(spec: Option<&ScalingPace>, stabilisation: Duration) -> Pace {
    Pace {
        per_minute: spec.and_then(|spec| spec.per_minute),
        stabilisation: spec.and_then(|spec| spec.stabilisation).and_then(given).unwrap_or(stabilisation),
    }
}

fn given(duration: kube::core::Duration) -> Option<Duration> {
    (!duration.is_negative()).then(|| Duration::from(duration))
}
