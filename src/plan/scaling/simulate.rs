//! What the rule would have made of a demand that is known: the same decisions, two seconds apart, over replicas that take their time to start.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::schedule::{Kept, Range};
use super::{Bounds, Decision, History, Sample, Targets, desired};
use crate::api::scaling::Scaling;

/// Between two decisions, in seconds.
pub const TICK: f64 = 2.0;

/// The demand from one moment on, until the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// When, in seconds.
    pub seconds: f64,
    /// Requests in flight.
    pub in_flight: f64,
    /// Requests that wait.
    pub queued: f64,
}

/// One moment of a simulation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// When, in seconds from the first row.
    pub seconds: f64,
    /// Requests in flight or waiting.
    pub demand: f64,
    /// What was decided, and why.
    pub decision: Decision,
    /// How many replicas answer.
    pub ready: u32,
}

/// Bounds from one moment on, until the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounded {
    /// When, in seconds from the first row.
    pub seconds: u64,
    /// What holds from then on.
    pub range: Range,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Simulated {
    /// Every moment at which it was decided.
    pub moments: Vec<Moment>,
    /// How long replicas were there, started or not, in seconds of one.
    pub replica_seconds: u64,
    /// For how many seconds there was more demand than the replicas that answered are to bear.
    pub seconds_over: f64,
    /// Which part of all requests that was, from 0 to 1.
    pub requests_over: f64,
    /// How often the number was another one.
    pub changes: usize,
    /// The bounds at the beginning, and each change of them.
    pub bounds: Vec<Bounded>,
}

/// Plays `demand`, whose rows are in order of time; the first one is at `from`, and the last one ends it. It begins with one replica that answers, or
/// `min`. `starts` is how long a replica takes to answer. Only the target for requests in flight counts: a trace says nothing of engines.
#[must_use]
pub fn simulate(demand: &[Demand], scaling: &Scaling, from: Timestamp, starts: Duration) -> Simulated {
    let (Some(first), Some(last)) = (demand.first(), demand.last()) else {
        return Simulated::default();
    };
    let mut schedule = Kept::default();
    let mut bounds_at = |now: Timestamp| {
        let bounds = Bounds::of(scaling, schedule.now(scaling, now).0);
        Bounds {
            targets: Targets {
                in_flight: bounds.targets.in_flight,
                ..Targets::default()
            },
            ..bounds
        }
    };
    let beginning = bounds_at(from);
    let each = beginning.targets.in_flight.unwrap_or(f64::INFINITY);
    let mut result = Simulated::default();
    let mut history = History::default();
    let mut replicas = Replicas::new(beginning.min.max(1));
    let (mut all, mut over, mut row) = (0.0, 0.0, 0);
    // By number, not by sums: they would drift.
    let ticks = ((last.seconds - first.seconds) / TICK).floor() as u64;
    for tick in 0..ticks.max(1) {
        let seconds = tick as f64 * TICK;
        while demand.get(row + 1).is_some_and(|next| next.seconds - first.seconds <= seconds) {
            row += 1;
        }
        let wanted = demand.get(row).map_or(0.0, |now| now.in_flight + now.queued);
        let ready = replicas.ready(seconds);
        let now = from
            .checked_add(SignedDuration::from_millis((seconds * 1_000.0) as i64))
            .unwrap_or(Timestamp::MAX);
        let bounds = &bounds_at(now);
        let range = Range {
            min: bounds.min,
            max: bounds.max,
            source: bounds.source,
        };
        if result.bounds.last().is_none_or(|last| last.range != range) {
            let seconds = seconds as u64;
            result.bounds.push(Bounded { seconds, range });
        }
        let sample = Sample {
            at: now,
            replicas: replicas.wanted,
            is_starting: replicas.wanted > 0 && ready == 0,
            is_partial: false,
            is_wanted: Some(wanted > 0.0),
            in_flight: Some(wanted),
            waiting: None,
            running: None,
            cache: None,
        };
        history.note(sample, bounds);
        let decision = desired(&history, bounds, replicas.wanted, now);
        if decision.replicas != replicas.wanted {
            result.changes += 1;
            replicas.become_so_many(decision.replicas, seconds + starts.as_secs_f64());
        }
        let ready = replicas.ready(seconds);
        let beyond = (wanted - each * f64::from(ready)).max(0.0);
        all += wanted;
        over += beyond;
        if beyond > 0.0 {
            result.seconds_over += TICK;
        }
        result.replica_seconds += u64::from(replicas.wanted) * TICK as u64;
        result.moments.push(Moment {
            seconds,
            demand: wanted,
            decision,
            ready,
        });
    }
    result.requests_over = if all > 0.0 { over / all } else { 0.0 };
    result
}

/// Replicas, some of which have not started.
pub(super) struct Replicas {
    pub(super) wanted: u32,
    answering: u32,
    /// When there will be so many.
    starting: Vec<(f64, u32)>,
}

impl Replicas {
    pub(super) fn new(count: u32) -> Self {
        Self {
            wanted: count,
            answering: count,
            starting: Vec::new(),
        }
    }

    pub(super) fn become_so_many(&mut self, count: u32, at: f64) {
        if count > self.wanted {
            self.starting.push((at, count));
        } else {
            // Those that start go first.
            self.answering = self.answering.min(count);
            self.starting.iter_mut().for_each(|(_, to)| *to = (*to).min(count));
        }
        self.wanted = count;
    }

    pub(super) fn ready(&mut self, seconds: f64) -> u32 {
        let started = self.starting.iter().filter(|(at, _)| *at <= seconds).map(|(_, to)| *to);
        self.answering = started.fold(self.answering, u32::max);
        self.starting.retain(|(at, _)| *at > seconds);
        self.answering
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::scaling::Why;

    fn play(demand: &[Demand], spec: &str, from: Timestamp, starts: u64) -> Simulated {
        simulate(demand, &serde_saphyr::from_str(spec).unwrap(), from, Duration::from_secs(starts))
    }

    fn row(seconds: f64, in_flight: f64, queued: f64) -> Demand {
        Demand {
            seconds,
            in_flight,
            queued,
        }
    }

    #[test]
    fn a_busy_hour_between_two_quiet_ones_is_played_to_its_end() {
        let demand = [
            row(100.0, 1.0, 0.0),
            row(3_700.0, 20.0, 20.0),
            row(7_300.0, 0.0, 0.0),
            row(10_900.0, 0.0, 0.0),
        ];
        let scaling = "{min: 0, max: 8, target: {inFlight: 10}, scaleToZeroAfter: 10m}";
        let played = play(&demand, scaling, Timestamp::UNIX_EPOCH, 60);
        assert_eq!(played.moments.len(), 5_400);
        let at = |seconds: f64| *played.moments.iter().find(|moment| moment.seconds >= seconds).unwrap();
        assert_eq!((at(3_500.0).decision.replicas, at(3_500.0).ready), (1, 1));
        let busy = at(3_610.0);
        assert_eq!(
            (busy.demand, busy.decision.replicas, busy.ready),
            (40.0, 4, 1),
            "queued is demand too"
        );
        assert_eq!(at(3_680.0).ready, 4);
        assert_eq!(at(9_000.0).decision.replicas, 0);
        let why = played.moments.iter().map(|moment| moment.decision.why);
        assert_eq!(why.clone().filter(|why| *why == Why::ToZero).count(), 1);
        // An hour of one, an hour of four, and some minutes until it is known that nobody comes.
        let hours = played.replica_seconds as f64 / 3_600.0;
        assert!((5.0..6.0).contains(&hours), "{hours}");
        assert!(
            (60.0..=70.0).contains(&played.seconds_over),
            "while they start: {}",
            played.seconds_over
        );
        assert!((0.005..0.02).contains(&played.requests_over), "{}", played.requests_over);
    }

    #[test]
    fn nothing_to_play_is_nothing() {
        let scaling = "{max: 2, target: {inFlight: 1}}";
        assert_eq!(play(&[], scaling, Timestamp::UNIX_EPOCH, 0), Simulated::default());
        let one = play(&[row(7.0, 3.0, 0.0)], scaling, Timestamp::UNIX_EPOCH, 0);
        assert_eq!((one.moments.len(), one.changes), (1, 1));
    }

    #[test]
    fn a_schedule_is_played_from_the_time_at_which_the_trace_begins() {
        let nobody = [row(0.0, 0.0, 0.0), row(86_400.0, 0.0, 0.0)];
        let scaling = "{max: 4, target: {inFlight: 10}, schedule: [
            {cron: 0 8 * * 1-5, timeZone: Europe/Berlin, min: 2}, {cron: 0 20 * * 1-5, timeZone: Europe/Berlin, min: 0}]}";
        // A Wednesday in summer, an hour before the first of them.
        let played = play(&nobody, scaling, "2026-07-01T05:00:00Z".parse().unwrap(), 60);
        let changes = played.moments.windows(2).filter_map(|pair| {
            let (before, after) = (pair[0].decision.replicas, pair[1].decision.replicas);
            (before != after).then_some((pair[1].seconds, after, pair[1].decision.why))
        });
        let changes: Vec<_> = changes.collect();
        let evening = 13.0 * 3_600.0;
        // Of the evening before nobody has been heard, until it has been quiet for a while.
        assert_eq!(changes.first(), Some(&(900.0, 0, Why::ToZero)));
        assert_eq!(changes.get(1), Some(&(3_600.0, 2, Why::Bounds)));
        let down: Vec<_> = changes.iter().skip(2).map(|(_, replicas, why)| (*replicas, *why)).collect();
        assert_eq!(down, [(1, Why::Down), (0, Why::ToZero)]);
        assert!(
            changes.iter().skip(2).all(|(at, ..)| (evening..evening + 10.0).contains(at)),
            "{changes:?}"
        );
        let held: Vec<_> = played
            .bounds
            .iter()
            .map(|held| (held.seconds, held.range.min, held.range.max))
            .collect();
        assert_eq!(held, [(0, 0, 4), (3_600, 2, 4), (13 * 3_600, 0, 4)]);
        // On a Saturday the evening of Friday still holds.
        let played = play(&nobody, scaling, "2026-07-04T05:00:00Z".parse().unwrap(), 60);
        assert_eq!(played.changes, 1);
    }
}
