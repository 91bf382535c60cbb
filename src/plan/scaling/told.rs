//! What a person is told of decisions: the condition `ScalingActive`, and each change of the number of replicas with what it was decided from.

use std::collections::VecDeque;
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::demand::Now;
use super::schedule::Source;
use super::share::HOLDS;
use super::{Bounds, Decision, PANIC, STABLE, Signal, Why, is_within};
use crate::api::condition::{Claim, Kind, Status};
use crate::api::model_deployment::Tier;

/// For so long something else must be so before it is told: what comes and goes with every sample would be written with every sample.
const STEADY: Duration = Duration::from_secs(10);
/// So many changes are told.
pub const CHANGES: usize = 20;
/// Of so many starts the middle one is what a start takes.
const STARTS: usize = 5;

/// How many engines of a model were asked for their own metrics, and how many of them said nothing of what there is a target for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Engines {
    /// So many.
    pub asked: usize,
    /// So many of them.
    pub silent: usize,
}

/// The reason of `ScalingActive` where a model gave all its accelerators to others.
pub const NO_SHARE: &str = "NoShare";

/// What is told of one model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// `ScalingActive`; `None` while it is not known yet.
    pub claim: Option<Claim>,
    /// The latest changes since the process began, the last one first.
    pub changes: VecDeque<Change>,
    /// From when on there may be more, and fewer, as of the latest change.
    pub next: Next,
    /// How long the model takes from none to its first answer; `None` while that has not been seen.
    pub cold_start: Option<Duration>,
    /// How many there are to be, where others move the number and may take their time.
    pub wanted: Option<u32>,
}

/// From when on there may be more replicas, and fewer. `None`: at any time for more, never for fewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// More.
    pub up: Option<Timestamp>,
    /// Fewer.
    pub down: Option<Timestamp>,
}

impl Next {
    /// After a change. As early as can be: what the demand does meanwhile may make it later.
    #[must_use]
    pub fn after(change: &Change, bounds: &Bounds) -> Self {
        let later = |wait: Duration| {
            SignedDuration::try_from(wait)
                .ok()
                .and_then(|wait| change.at.checked_add(wait).ok())
        };
        let (came, to) = (change.to.saturating_sub(change.from), change.to);
        let down = match to {
            0 => None,
            // Somebody has just wanted it, or nobody knows for how long nobody has.
            1 if bounds.min == 0 => bounds
                .to_zero_after
                .map(|after| if change.from == 0 { after } else { Duration::ZERO }),
            _ if to <= bounds.min => None,
            // The load that brought them has to be out of sight; and after whatever change, the next is a minute later.
            _ if came > 0 => Some(bounds.down.stabilisation.max(STABLE)),
            _ => Some(STABLE),
        };
        let is_used_up = bounds.up.per_minute.is_some_and(|most| came >= most) && to < bounds.max;
        let up = match bounds.source {
            Source::Sharing(_) if to >= bounds.max => Some(HOLDS),
            _ => is_used_up.then_some(STABLE),
        };
        Self {
            up: up.and_then(later),
            down: down.and_then(later),
        }
    }
}

/// A change of the number of replicas.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// How many there were to be.
    pub from: u32,
    /// How many since.
    pub to: u32,
    /// Why, in a word.
    pub reason: &'static str,
    /// What it was decided from.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

/// What was told of one model, and what may be told next.
#[derive(Clone, Debug, Default)]
pub struct Bulletin {
    standing: Standing,
    next: Option<(Timestamp, Claim)>,
    /// How long the model took from none to its first answer, of late.
    starts: VecDeque<Duration>,
}

impl Bulletin {
    /// What is told now.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// So many there are to be, by whoever moves the number for us.
    pub fn wants(&mut self, replicas: Option<u32>) {
        self.standing.wanted = replicas;
    }

    /// What was told of whether replicas follow the demand holds no more: somebody else decides.
    pub fn retract(&mut self) {
        (self.standing.claim, self.next) = (None, None);
    }

    /// The number of replicas was changed.
    pub fn changed(&mut self, change: Change, next: Next) {
        self.standing.changes.push_front(change);
        self.standing.changes.truncate(CHANGES);
        self.standing.next = next;
    }

    /// The model took so long from none to its first answer. Whether that makes another number of what it takes.
    pub fn started_in(&mut self, took: Duration, before: Option<Duration>) -> bool {
        // What was known when the process began is one of them.
        if self.starts.is_empty() {
            self.starts.extend(before);
        }
        self.starts.push_back(took);
        if self.starts.len() > STARTS {
            self.starts.pop_front();
        }
        let mut sorted: Vec<Duration> = self.starts.iter().copied().collect();
        sorted.sort();
        let middle = sorted.get(sorted.len() / 2).copied();
        let is_other = self.standing.cold_start != middle;
        self.standing.cold_start = middle;
        is_other
    }

    /// Whether something else is told now than before: what has been so for long enough. The first thing is told at once, if it is good: what is not
    /// known when a process has just started mostly is a moment later.
    pub fn note(&mut self, claim: Claim, now: Timestamp) -> bool {
        if self.standing.claim.as_ref() == Some(&claim) {
            self.next = None;
            return false;
        }
        let since = match &self.next {
            Some((since, next)) if *next == claim => *since,
            _ => now,
        };
        let is_first_and_good = self.standing.claim.is_none() && claim.status == Status::True;
        if is_within(since, now, STEADY) && !is_first_and_good {
            self.next = Some((since, claim));
            return false;
        }
        self.next = None;
        self.standing.claim = Some(claim);
        true
    }
}

impl Why {
    /// As statuses and events spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Steady => "Steady",
            Self::Up => "Up",
            Self::Panic => "Panic",
            Self::Down => "Down",
            Self::WaitsToGoDown => "WaitsToGoDown",
            Self::ToZero => "ToZero",
            Self::Wake => "Wake",
            Self::AtMax => "AtMax",
            Self::Bounds => "Bounds",
            Self::Pace => "Pace",
            Self::Stale => "Stale",
            Self::Absurd => "Absurd",
            Self::Incomplete => "Incomplete",
        }
    }
}

/// What is said of a model that made room for others.
fn shared(tier: Tier, max: u32) -> Claim {
    let most = match max {
        0 => "none is left".to_owned(),
        most => format!("there are {most} at most"),
    };
    let message = format!(
        "{most}: accelerators are too few, and models of tier {tier} that found none go first, or have less for their weight, until {} minutes after the last of their pods waited; \
         add nodes, or set spec.selfHosted.scaling.min to what is to stay",
        HOLDS.as_secs() / 60
    );
    Claim::new(Kind::ScalingActive, max > 0, if max > 0 { "Shared" } else { NO_SHARE }, message)
}

impl Decision {
    /// Whether replicas can follow the demand, as far as this decision and what gateways say show.
    #[must_use]
    pub fn claim(&self, demand: &Now, engines: Engines, bounds: &Bounds) -> Claim {
        let active = |holds: bool, reason, message: String| Claim::new(Kind::ScalingActive, holds, reason, message);
        let (gateways, silent) = demand.gateways();
        match self.why {
            // Whatever else is so: nobody is to wait for it.
            _ if let (Source::Sharing(tier), 0) = (bounds.source, bounds.max) => shared(tier, 0),
            _ if gateways == 0 && bounds.targets.waiting.or(bounds.targets.cache).is_none() => active(
                false,
                "DemandUnknown",
                "there is no gateway to say who wants the model: replicas stay as they are until one is ready".to_owned(),
            ),
            _ if gateways > 0 && silent == gateways => active(
                false,
                "DemandUnknown",
                format!(
                    "none of {gateways} gateways says who wants the model: no replica is taken away; see whether the operator reaches the gateways"
                ),
            ),
            _ if silent > 0 => active(
                false,
                "DemandIncomplete",
                format!("{silent} of {gateways} gateways do not say who wants the model: replicas are added, and none is taken away"),
            ),
            _ if engines.silent > 0 => active(
                false,
                "EngineMetricsMissing",
                format!(
                    "{} of {} engines do not say how busy they are at /metrics: replicas are added, and none is taken away",
                    engines.silent, engines.asked
                ),
            ),
            Why::Absurd => active(
                false,
                "DemandAbsurd",
                "the load that gateways or engines tell cannot be: it is no number, below zero, or a hundred times what it was, which is believed after \
                 half a minute; replicas stay as they are: see what they say at /demand and /metrics"
                    .to_owned(),
            ),
            _ if let Source::Sharing(tier) = bounds.source => shared(tier, bounds.max),
            Why::AtMax => active(
                true,
                "AtMax",
                match bounds.source {
                    Source::Own => format!(
                        "more than spec.selfHosted.scaling.max ({}) would be needed: raise it, or let policies fall back",
                        bounds.max
                    ),
                    source => format!(
                        "more than the {} that spec.selfHosted.scaling allows now, by {source}, would be needed: raise max, or let policies fall back",
                        bounds.max
                    ),
                },
            ),
            _ => active(true, "Following", "replicas follow the demand".to_owned()),
        }
    }

    /// What it was decided from, for a person.
    #[must_use]
    pub fn message(&self, current: u32, bounds: &Bounds) -> String {
        let Self { replicas, why, load } = *self;
        let from = format!("from {current} to {replicas}: ");
        let takes = |over: Duration| {
            let Some((load, signal)) = load else { return String::new() };
            let target = match signal {
                Signal::InFlight => bounds.targets.in_flight,
                Signal::Waiting => bounds.targets.waiting,
                Signal::Cache => bounds.targets.cache,
            };
            let (target, over) = (target.unwrap_or_default(), over.as_secs());
            format!("{signal} of the latest {over}s is what {load:.1} replicas bear at {target} each")
        };
        let reason = match why {
            Why::Panic => takes(PANIC),
            Why::Up => takes(STABLE),
            Why::AtMax if bounds.source == Source::Own => format!("{}, and scaling.max is {}", takes(STABLE), bounds.max),
            Why::AtMax => format!("{}, and scaling allows {} now, by {}", takes(STABLE), bounds.max, bounds.source),
            Why::Pace => format!("{}, and so many may come within a minute", takes(STABLE)),
            Why::Wake => "somebody wants it".to_owned(),
            Why::Down => format!("fewer have been enough for {}s", bounds.down.stabilisation.max(STABLE).as_secs()),
            Why::ToZero => format!("nobody has wanted it for {}s", bounds.to_zero_after.unwrap_or_default().as_secs()),
            Why::Bounds if bounds.source == Source::Own => format!("scaling allows {} to {}", bounds.min, bounds.max),
            Why::Bounds => format!("scaling allows {} to {} now, by {}", bounds.min, bounds.max, bounds.source),
            Why::Steady | Why::WaitsToGoDown | Why::Stale | Why::Absurd | Why::Incomplete => "the number was another".to_owned(),
        };
        from + &reason
    }
}

#[cfg(test)]
mod tests {
    use super::super::demand::Demand;
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn claim(holds: bool, reason: &'static str) -> Claim {
        Claim::new(Kind::ScalingActive, holds, reason, "")
    }

    #[test]
    fn what_comes_and_goes_is_not_told_and_what_stays_is() {
        let mut told = Bulletin::default();
        assert!(told.note(claim(true, "Following"), at(0)));
        for second in 1..100 {
            let reason = if second % 3 == 0 { "AtMax" } else { "Following" };
            assert!(!told.note(claim(true, reason), at(second)));
        }
        let others: Vec<bool> = (100..120).map(|second| told.note(claim(true, "AtMax"), at(second))).collect();
        assert_eq!(others.iter().filter(|is_other| **is_other).count(), 1);
        assert_eq!(told.standing().claim.as_ref().unwrap().reason, "AtMax");
        let change = |second| Change {
            from: 1,
            to: 2,
            reason: "Up",
            message: String::new(),
            at: at(second),
        };
        for second in 120..150 {
            told.changed(change(second), Next::default());
        }
        assert!(!told.note(claim(true, "AtMax"), at(152)));
        let changes = &told.standing().changes;
        assert_eq!((changes.len(), changes.front()), (20, Some(&change(149))), "the latest ones stay");
    }

    #[test]
    fn what_a_start_takes_is_the_middle_one_of_the_latest() {
        let seconds = Duration::from_secs;
        let mut told = Bulletin::default();
        // One that took an hour, because an image could not be pulled, says little of the next.
        let starts = [3600, 40, 44, 50, 42, 46, 48].map(|took| {
            told.started_in(seconds(took), Some(seconds(45)));
            told.standing().cold_start.unwrap().as_secs()
        });
        assert_eq!(starts, [3600, 45, 45, 45, 44, 44, 46]);
        assert!(!told.started_in(seconds(46), None), "it is as long as it was");
    }

    #[test]
    fn it_is_told_from_when_on_there_may_be_more_and_fewer() {
        let bounds = |yaml: &str| Bounds::own(&serde_saphyr::from_str(yaml).unwrap());
        let usual = bounds("{min: 0, max: 4, target: {inFlight: 1}}");
        let paced = bounds(
            "{min: 2, max: 4, target: {inFlight: 1}, behavior: {up: {perMinute: 1, stabilisation: 90s}, down: {stabilisation: 0s}}}",
        );
        let shared = Bounds {
            max: 1,
            source: Source::Sharing(Tier::Regulated),
            ..usual
        };
        let seconds = |at: Option<Timestamp>| at.map(Timestamp::as_second);
        let change = |from, to| Change {
            from,
            to,
            reason: "Up",
            message: String::new(),
            at: at(0),
        };
        for (bounds, from, to, up, down) in [
            (usual, 1, 3, None, Some(300)),
            (usual, 4, 3, None, Some(60)),
            (usual, 0, 1, None, Some(900)),
            (usual, 2, 1, None, Some(0)),
            (usual, 1, 0, None, None),
            (paced, 2, 3, Some(60), Some(60)),
            (paced, 4, 3, None, Some(60)),
            (paced, 3, 2, None, None),
            (paced, 3, 4, None, Some(60)),
            (shared, 3, 1, Some(300), Some(0)),
            (shared, 1, 0, None, None),
        ] {
            let next = Next::after(&change(from, to), &bounds);
            assert_eq!((seconds(next.up), seconds(next.down)), (up, down), "{from} to {to} {bounds:?}");
        }
    }

    #[test]
    fn who_made_room_for_others_is_told_so_and_whether_any_is_left() {
        let claim = |max| {
            let bounds = Bounds {
                max,
                source: Source::Sharing(Tier::Regulated),
                ..Bounds::own(&serde_saphyr::from_str("{min: 0, max: 4, target: {inFlight: 1}}").unwrap())
            };
            let mut demand = Demand::default();
            demand.are_at(&["http://gateway".to_owned()].into(), at(0));
            demand.note("http://gateway", Default::default(), at(0));
            let claim = Decision::WAKE.claim(&demand.take(at(0)), Engines::default(), &bounds);
            (claim.status, claim.reason, claim.message)
        };
        let (status, reason, message) = claim(2);
        assert_eq!((status, reason), (Status::True, "Shared"));
        assert!(
            message.starts_with("there are 2 at most: accelerators are too few, and models of tier Regulated"),
            "{message}"
        );
        let (status, reason, message) = claim(0);
        assert_eq!((status, reason), (Status::False, NO_SHARE));
        assert!(message.starts_with("none is left: "), "{message}");
    }

    #[test]
    fn a_process_that_has_just_started_says_nothing_bad_before_it_has_heard_of_anybody() {
        let mut told = Bulletin::default();
        assert!(!told.note(claim(false, "DemandUnknown"), at(0)));
        assert!(told.note(claim(true, "Following"), at(2)));
        let mut told = Bulletin::default();
        let told: Vec<bool> = (0..14).map(|second| told.note(claim(false, "DemandUnknown"), at(second))).collect();
        assert_eq!(told.iter().position(|is_told| *is_told), Some(11));
    }
}
