//! How many replicas a model should have, from what was seen of the demand for it. Pure: the samples of the latest minutes, the bounds, the clock.
//!
//! ```text
//! sample ─► load in replicas ─┬─ mean of a minute ──────────────► up, where more than there are
//!   (max over the targets)    ├─ median of seconds, if twice ───► up at once (panic)
//!                             ├─ highest mean for so long ──────► down, where fewer by a tenth
//!                             └─ nothing at all for so long ────► to zero
//! ```
//!
//! The two windows are those of Knative's autoscaler (<https://knative.dev/docs/serving/autoscaling/kpa-specific/>), the wait before going down is
//! that of the HorizontalPodAutoscaler (<https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#stabilization-window>).
//! What is missing, stale or absurd never takes a replica away, and never adds one.

mod bounds;
pub mod demand;
pub mod driver;
mod gauges;
mod history;
pub mod metrics;
pub mod others;
pub mod schedule;
pub mod share;
pub mod simulate;
mod told;
mod window;

use std::fmt;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use schedule::Source;
use window::Window;

pub use gauges::Gauges;
pub use history::History;
pub use told::{Bulletin, CHANGES, Change, Engines, NO_SHARE, Next, Standing};

/// What a usual decision is from.
pub const STABLE: Duration = Duration::from_secs(60);
/// What a decision is from when the load has come to twice what there is.
pub const PANIC: Duration = Duration::from_secs(6);
/// How much more than there is makes it one.
const PANIC_TIMES: f64 = 2.0;
/// Whoever goes down leaves so much room, or the next noise brings it up again.
const ROOM: f64 = 0.9;
/// A sample that is older says nothing of now.
pub const STALE: Duration = Duration::from_secs(20);
/// Readings beyond it are no demand: nobody has so many requests.
pub const ABSURD: f64 = 1_000_000.0;

/// What one replica is to bear. At least one is given.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Targets {
    /// Requests in flight or waiting at gateways, for each replica.
    pub in_flight: Option<f64>,
    /// Requests that wait in engines, for each replica.
    pub waiting: Option<f64>,
    /// Which part of its cache of keys and values an engine uses, from 0 to 1.
    pub cache: Option<f64>,
}

/// How fast replicas may come or go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// So many within a minute at most.
    pub per_minute: Option<u32>,
    /// So long the demand must have said so.
    pub stabilisation: Duration,
}

/// What decides, beside the demand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Never fewer.
    pub min: u32,
    /// Never more.
    pub max: u32,
    /// What says these two.
    pub source: Source,
    /// What one replica bears.
    pub targets: Targets,
    /// How fast replicas come.
    pub up: Pace,
    /// How fast they go.
    pub down: Pace,
    /// So long nobody may have wanted the model before its last replica goes; without it one stays.
    pub to_zero_after: Option<Duration>,
}

/// What was seen at one moment. What is not known is `None`, and no number that stands for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// How many replicas were wanted then.
    pub replicas: u32,
    /// Whether none of them answers yet, and one still may.
    pub is_starting: bool,
    /// Whether some of those who were asked said nothing: there may be more than was told.
    pub is_partial: bool,
    /// Whether anybody wanted the model since the sample before: a request was in flight, waited, went elsewhere or was refused. `None`: nobody
    /// could say.
    pub is_wanted: Option<bool>,
    /// Requests in flight, or waiting for the model at gateways.
    pub in_flight: Option<f64>,
    /// Requests that wait in engines.
    pub waiting: Option<f64>,
    /// Requests that engines work on.
    pub running: Option<f64>,
    /// The used parts of the replicas' caches, added.
    pub cache: Option<f64>,
}

/// What says how many there should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Requests in flight or waiting at gateways.
    InFlight,
    /// Requests waiting in engines.
    Waiting,
    /// The engines' cache.
    Cache,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InFlight => "inFlight",
            Self::Waiting => "waiting",
            Self::Cache => "cache",
        })
    }
}

/// Why there should be so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The demand is as it was.
    Steady,
    /// There is more of it than these replicas are to bear.
    Up,
    /// There is at least twice as much of it.
    Panic,
    /// There has been less of it for long enough.
    Down,
    /// There is less of it, and not for long enough yet.
    WaitsToGoDown,
    /// Nobody has wanted the model for long enough.
    ToZero,
    /// Somebody wants the model, and it has no replica.
    Wake,
    /// More are wanted than there may be.
    AtMax,
    /// The bounds say so.
    Bounds,
    /// More would come or go, and not within this minute.
    Pace,
    /// Nothing is known of now.
    Stale,
    /// What is told cannot be.
    Absurd,
    /// Some of what decides about going down is not known.
    Incomplete,
}

/// How many there should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// So many.
    pub replicas: u32,
    /// Why.
    pub why: Why,
    /// The load that it is from, in replicas, and what says so; `None` where nothing is known.
    pub load: Option<(f64, Signal)>,
}

impl Decision {
    /// The first replica, for whoever wants it.
    pub const WAKE: Self = Self {
        replicas: 1,
        why: Why::Wake,
        load: None,
    };
}

/// How many replicas there should be now, where there are `current`.
#[must_use]
pub fn desired(history: &History, bounds: &Bounds, current: u32, now: Timestamp) -> Decision {
    let samples = history.samples();
    let (min, max) = (bounds.min, bounds.max.max(bounds.min));
    let hold = |why, load| within(bounds, current, why, load);
    let Some(latest) = samples.last().filter(|latest| is_within(latest.at, now, STALE)) else {
        return hold(Why::Stale, None);
    };
    let window = Window::of(samples, &bounds.targets, max);
    // Whoever wants it is not kept waiting by what is not known.
    if current == 0 && min == 0 && latest.is_wanted == Some(true) {
        let load = window.mean(now).filter(|_| !window.is_absurd());
        let needed = load.map_or(1, |(load, _)| whole(load).max(1));
        return bounded(needed, current, Why::Wake, load, bounds, samples, now);
    }
    let Some((mean, signal)) = window.mean(now).filter(|_| !window.is_absurd()) else {
        return hold(if window.is_absurd() { Why::Absurd } else { Why::Stale }, None);
    };
    let load = match window.median(now) {
        Some(short) if counts_at_once(short.0, mean, current) => short,
        _ => (mean, signal),
    };
    let is_panic = is_panic(load.0, current);
    let needed = whole(load.0);
    if current == 0 && min == 0 {
        return match needed > 0 {
            true => bounded(needed, current, Why::Wake, Some(load), bounds, samples, now),
            false => hold(Why::Steady, Some(load)),
        };
    }
    if needed > current {
        let why = if is_panic { Why::Panic } else { Why::Up };
        let steady = window.lowest_mean(now, bounds.up.stabilisation);
        // Whoever wants to be sure first waits for that, also with twice the load.
        let needed = if bounds.up.stabilisation.is_zero() {
            needed
        } else {
            steady.map_or(current, whole).min(needed)
        };
        return match needed > current {
            true => bounded(needed, current, why, Some(load), bounds, samples, now),
            false => hold(Why::Steady, Some(load)),
        };
    }
    let fewer = whole(load.0 / ROOM);
    if fewer >= current && current > min.max(1) {
        return hold(Why::Steady, Some(load));
    }
    down(&window, history, bounds, current, load, now)
}

/// There is less than there was: down, or to zero, or later.
fn down(window: &Window, history: &History, bounds: &Bounds, current: u32, load: (f64, Signal), now: Timestamp) -> Decision {
    let told = |replicas: u32, why| within(bounds, replicas, why, Some(load));
    // One replica can only go to none.
    if current <= 1 {
        let Some(after) = bounds.to_zero_after.filter(|_| bounds.min == 0 && current == 1) else {
            return told(current, Why::Steady);
        };
        return match history.idle_for(now) {
            Some(idle) if idle >= after => told(0, Why::ToZero),
            Some(_) => told(current, Why::WaitsToGoDown),
            None => told(current, Why::Steady),
        };
    }
    let wait = bounds.down.stabilisation;
    if !window.is_whole(now, wait.max(STABLE)) {
        return told(current, Why::Incomplete);
    }
    let highest = window.highest(now, wait).map_or(current, |load| whole(load / ROOM));
    // The last one goes by another clock.
    let fewer = highest.max(1).max(bounds.min);
    if fewer >= current {
        let why = if current <= bounds.min { Why::Steady } else { Why::WaitsToGoDown };
        return told(current, why);
    }
    // What the mean gives up little by little goes in few steps.
    if changed(history.samples(), now, u32::abs_diff) > 0 {
        return told(current, Why::WaitsToGoDown);
    }
    let most = bounds.down.per_minute.unwrap_or(u32::MAX);
    match current - fewer <= most {
        true => told(fewer, Why::Down),
        false => told(current - most, if most == 0 { Why::Pace } else { Why::Down }),
    }
}

/// So many, unless the bounds say otherwise.
fn within(bounds: &Bounds, replicas: u32, why: Why, load: Option<(f64, Signal)>) -> Decision {
    let bounded = replicas.clamp(bounds.min, bounds.max.max(bounds.min));
    Decision {
        replicas: bounded,
        why: if bounded == replicas { why } else { Why::Bounds },
        load,
    }
}

/// More, as far as there may be.
fn bounded(
    needed: u32,
    current: u32,
    why: Why,
    load: Option<(f64, Signal)>,
    bounds: &Bounds,
    samples: &[Sample],
    now: Timestamp,
) -> Decision {
    let come = changed(samples, now, |before, after| after.saturating_sub(before));
    let most = bounds.up.per_minute.map_or(u32::MAX, |per_minute| per_minute.saturating_sub(come));
    let max = bounds.max.max(bounds.min);
    // However lately one came: without any, nobody is answered.
    let paced = current.saturating_add(most).max(1);
    let wanted = needed.min(paced).min(max);
    let replicas = wanted.max(bounds.min);
    let why = match replicas {
        _ if replicas > wanted => Why::Bounds,
        _ if needed > max && replicas == max => Why::AtMax,
        replicas if replicas == current => Why::Pace,
        _ => why,
    };
    Decision { replicas, why, load }
}

/// How many replicas came, or went, in the latest minute.
fn changed(samples: &[Sample], now: Timestamp, step: impl Fn(u32, u32) -> u32) -> u32 {
    let recent = samples
        .windows(2)
        .filter(|pair| is_within(pair[1].at, now, Duration::from_secs(60)));
    recent
        .map(|pair| step(pair[0].replicas, pair[1].replicas))
        .fold(0, u32::saturating_add)
}

impl Sample {
    fn reading(&self, signal: Signal) -> Option<f64> {
        match signal {
            Signal::InFlight => self.in_flight,
            Signal::Waiting => self.waiting,
            Signal::Cache => self.cache,
        }
    }
}

/// Whether what there is at once decides, and not the mean: because it is so much more than these replicas bear, or because the mean is more already, and
/// would only follow step by step.
fn counts_at_once(short: f64, mean: f64, replicas: u32) -> bool {
    short > mean && (is_panic(short, replicas) || whole(mean) > replicas)
}

/// Whether it is so much more than these replicas bear that nobody waits for a whole minute of it.
fn is_panic(load: f64, replicas: u32) -> bool {
    load >= PANIC_TIMES * f64::from(replicas.max(1))
}

fn is_sane(reading: f64) -> bool {
    (0.0..=ABSURD).contains(&reading)
}

/// Whether it was not longer ago than that; what a clock that was put back has in its future is not.
#[must_use]
pub fn is_within(at: Timestamp, now: Timestamp, duration: Duration) -> bool {
    Duration::try_from(now.duration_since(at)).map_or(at > now, |age| age <= duration)
}

/// So many whole replicas; a load that is all but a whole number is that.
fn whole(load: f64) -> u32 {
    (load - 1e-9).ceil().clamp(0.0, f64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests;
