//! Loads over a time: what every sample says in replicas, and what several say together.

use std::collections::VecDeque;
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{PANIC, STABLE, Sample, Signal, Targets, counts_at_once, is_sane, is_within};

/// Of so many samples the highest is left out of a mean: one reading alone decides nothing.
const TRIMMED_FROM: usize = 5;
/// So long may be between two samples before something is missing between them.
pub(super) const GAP: Duration = Duration::from_secs(15);

/// So many times what was the most within a minute is a leap, from so much on, and believed when it has gone on for so long.
const LEAP: f64 = 100.0;
const LITTLE: f64 = 10.0;
const LEAPS_FOR: Duration = Duration::from_secs(30);

/// What each sample says, in their order.
pub(super) struct Window(Vec<Seen>);

#[derive(Clone, Copy)]
struct Seen {
    at: Timestamp,
    /// The same in milliseconds: there are many to compare.
    millis: i64,
    replicas: u32,
    /// The highest of what is known.
    load: Option<(f64, Signal)>,
    /// Whether everything is known that has a target.
    is_whole: bool,
    /// Whether something is told that has a target, and none of it is believed.
    is_absurd: bool,
}

impl Window {
    /// No load is more than can be had: what is beyond it would only outweigh all else.
    pub(super) fn of(samples: &[Sample], targets: &Targets, max: u32) -> Self {
        let signals = [
            (Signal::InFlight, targets.in_flight),
            (Signal::Waiting, targets.waiting),
            (Signal::Cache, targets.cache),
        ];
        let aimed: Vec<(Signal, Vec<Option<f64>>, f64)> = signals
            .into_iter()
            .filter_map(|(signal, target)| Some((signal, target?)))
            .map(|(signal, target)| (signal, believed(samples, signal, target), target))
            .collect();
        let seen = |(index, sample): (usize, &Sample)| {
            let readings = || {
                aimed.iter().map(|(signal, readings, target)| {
                    let load = readings.get(index).copied().flatten().map(|reading| reading / target);
                    load.map(|load| (load.min(2.0 * f64::from(max)), *signal))
                })
            };
            let is_told = aimed.iter().any(|(signal, ..)| sample.reading(*signal).is_some());
            Seen {
                at: sample.at,
                millis: sample.at.as_millisecond(),
                replicas: sample.replicas,
                load: readings().flatten().max_by(|one, other| one.0.total_cmp(&other.0)),
                is_whole: !sample.is_partial && readings().all(|reading| reading.is_some()),
                is_absurd: is_told && readings().all(|reading| reading.is_none()),
            }
        };
        Self(samples.iter().enumerate().map(seen).collect())
    }

    /// Whether the latest sample says something, and nothing of it can be.
    pub(super) fn is_absurd(&self) -> bool {
        self.0.last().is_some_and(|seen| seen.is_absurd)
    }

    /// The mean load of the stable window up to `end`, and what made most of the highest of it.
    pub(super) fn mean(&self, end: Timestamp) -> Option<(f64, Signal)> {
        let mut highest: Option<(f64, Signal)> = None;
        let (mut sum, mut count) = (0.0, 0);
        for (load, signal) in self.loads(end, STABLE) {
            sum += load;
            count += 1;
            highest = highest.filter(|(most, _)| *most > load).or(Some((load, signal)));
        }
        let (most, signal) = highest?;
        let mean = match count {
            few if few < TRIMMED_FROM => sum / few as f64,
            count => (sum - most) / (count - 1) as f64,
        };
        Some((mean.max(0.0), signal))
    }

    /// The middle load of the panic window up to `end`; of two in the middle the lower one.
    pub(super) fn median(&self, end: Timestamp) -> Option<(f64, Signal)> {
        let mut loads: Vec<(f64, Signal)> = self.loads(end, PANIC).collect();
        loads.sort_by(|one, other| one.0.total_cmp(&other.0));
        let middle = loads.len().checked_sub(1)? / 2;
        loads.get(middle).copied()
    }

    /// The highest load that was decided by within `back` of `now`: the mean, or what there was at once if that was so much more.
    pub(super) fn highest(&self, now: Timestamp, back: Duration) -> Option<f64> {
        let within = self.0.iter().filter(|seen| seen.at <= now && is_within(seen.at, now, back));
        let decided = within.filter_map(|seen| {
            let (mean, _) = self.mean(seen.at)?;
            let short = self.median(seen.at).map(|(load, _)| load);
            Some(short.filter(|short| counts_at_once(*short, mean, seen.replicas)).unwrap_or(mean))
        });
        decided.chain(self.mean(now).map(|(mean, _)| mean)).max_by(f64::total_cmp)
    }

    /// The lowest of the means that there were within `back` of `now`.
    pub(super) fn lowest_mean(&self, now: Timestamp, back: Duration) -> Option<f64> {
        let within = self.0.iter().filter(|seen| seen.at <= now && is_within(seen.at, now, back));
        let ends = within.map(|seen| seen.at).chain([now]);
        ends.filter_map(|end| Some(self.mean(end)?.0)).min_by(f64::total_cmp)
    }

    /// Whether all of the time up to `now` is covered by samples that say everything, the latest included. One that does not, between two that do, is a
    /// short silence.
    pub(super) fn is_whole(&self, now: Timestamp, over: Duration) -> bool {
        let Some(from) = SignedDuration::try_from(over).ok().and_then(|over| now.checked_sub(over).ok()) else {
            return false;
        };
        let mut covered_to = None;
        let whole = || self.0.iter().filter(|seen| seen.is_whole && seen.at <= now);
        for seen in whole() {
            let is_gap = covered_to.is_some_and(|to| !is_within(to, seen.at, GAP));
            if seen.at >= from && is_gap {
                return false;
            }
            covered_to = Some(seen.at);
        }
        let is_known_since = whole().next().is_some_and(|first| first.at <= from);
        let is_latest_whole = self.0.iter().rfind(|seen| seen.at <= now).is_some_and(|seen| seen.is_whole);
        is_known_since && is_latest_whole && covered_to.is_some_and(|to| is_within(to, now, GAP))
    }

    fn loads(&self, end: Timestamp, over: Duration) -> impl Iterator<Item = (f64, Signal)> {
        let (end, over) = (end.as_millisecond(), over.as_millis() as i64);
        let last = self.0.partition_point(|seen| seen.millis <= end);
        let first = self.0.partition_point(|seen| seen.millis + over < end);
        self.0.get(first..last).unwrap_or_default().iter().filter_map(|seen| seen.load)
    }
}

/// The readings of one kind that can be. One that is so much more than all of the minute before, or where nothing is known of that than what the replicas
/// are to bear, has to go on for some time: a source that lies mostly lies shortly, and what wants a hundred times as much does not starve of waiting that
/// long.
fn believed(samples: &[Sample], signal: Signal, target: f64) -> Vec<Option<f64>> {
    let mut leaps_since = None;
    let mut highest: VecDeque<(Timestamp, f64)> = VecDeque::new();
    let mut judge = |sample: &Sample| {
        let reading = sample.reading(signal).filter(|reading| is_sane(*reading))?;
        while highest.front().is_some_and(|(at, _)| !is_within(*at, sample.at, STABLE)) {
            highest.pop_front();
        }
        let before = highest.front().map_or(target * f64::from(sample.replicas), |(_, reading)| *reading);
        if reading > LEAP * before.max(LITTLE) {
            let since = *leaps_since.get_or_insert(sample.at);
            if is_within(since, sample.at, LEAPS_FOR) {
                return None;
            }
        }
        leaps_since = None;
        while highest.back().is_some_and(|(_, lower)| *lower <= reading) {
            highest.pop_back();
        }
        highest.push_back((sample.at, reading));
        Some(reading)
    };
    samples.iter().map(&mut judge).collect()
}
