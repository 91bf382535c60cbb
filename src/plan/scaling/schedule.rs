//! Bounds that change at times which are known before: the ones that hold now, and those that come next.
//!
//! ```text
//! schedule[0] ──08:00──────────────────────────────────08:00──►   each holds from its time on,
//! schedule[1] ─────────────────────20:00──────────────────────►   until a time of any entry comes
//!     in force:  [0] [0] [0] [0] [0] [1] [1] [1] [1] [1] [0]
//! ```

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::api::condition::{Claim, Kind, seconds};
use crate::api::model_deployment::Tier;
use crate::api::scaling::{BoundsStatus, NextBounds, Scaling, ScheduledBounds};
use crate::plan::Invalid;
use crate::plan::schedule::Schedule;

/// A time that was longer ago does not count any more: who comes once a year still does, and nobody has to look further back.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(366 * 24);
/// A time that is further away is nobody's concern now.
const LOOK_AHEAD: SignedDuration = LOOK_BACK;
/// How many times of each entry are compared with those of the others: all in that time of one that comes every day.
const TIMES: usize = 366;
/// Where it is written.
const FIELD: &str = "spec.selfHosted.scaling.schedule";

/// What says bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// `min` and `max` of the specification itself.
    #[default]
    Own,
    /// An entry of its schedule.
    Entry(usize),
    /// Two entries that come at once and say different things.
    Both(usize, usize),
    /// Models of this tier, for which there are too few accelerators.
    Sharing(Tier),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("scaling"),
            Self::Entry(entry) => write!(f, "schedule[{entry}]"),
            Self::Both(one, other) => write!(f, "schedule[{one}] and schedule[{other}]"),
            Self::Sharing(tier) => write!(f, "sharing with models of tier {tier} that find no accelerator"),
        }
    }
}

/// From how many replicas to how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Never fewer.
    pub min: u32,
    /// Never more.
    pub max: u32,
    /// What says so.
    pub source: Source,
}

/// What holds at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// This.
    pub range: Range,
    /// Since when; `None` where no entry has come yet.
    pub since: Option<Timestamp>,
    /// What holds next, and from when on.
    pub next: Option<(Timestamp, Range)>,
    /// The first entry that cannot be understood, and counts as if it were not there.
    pub invalid: Option<Invalid>,
}

/// An entry that was understood.
#[derive(Debug)]
struct Entry {
    times: Schedule,
    ahead: SignedDuration,
    range: Range,
}

impl Range {
    /// What the specification itself says.
    #[must_use]
    pub fn own(scaling: &Scaling) -> Self {
        Self {
            min: scaling.min,
            max: scaling.max.max(scaling.min).max(1),
            source: Source::Own,
        }
    }

    /// What holds where several entries come at once: of each number the larger one, so that whoever asks is served.
    fn and(self, other: Self) -> Self {
        let (Source::Entry(one), Source::Entry(another)) = (self.source, other.source) else {
            // Two that differ are told; a third says nothing more.
            return Self {
                source: self.source,
                ..self.larger(other)
            };
        };
        let is_same = (self.min, self.max) == (other.min, other.max);
        Self {
            source: if is_same { self.source } else { Source::Both(one, another) },
            ..self.larger(other)
        }
    }

    fn larger(self, other: Self) -> Self {
        Self {
            min: self.min.max(other.min),
            max: self.max.max(other.max),
            ..self
        }
    }

    fn is_ambiguous(&self) -> bool {
        matches!(self.source, Source::Both(..))
    }
}

impl Entry {
    fn read(entry: &ScheduledBounds, index: usize, scaling: &Scaling) -> Result<Self, Invalid> {
        let field = format!("{FIELD}[{index}]");
        let times = Schedule::parse(&entry.cron, entry.time_zone.as_deref(), &field)?;
        let own = Range::own(scaling);
        let (min, max) = (entry.min.unwrap_or(own.min), entry.max.unwrap_or(own.max).max(1));
        if min > max {
            let problem = format!("min is {min} and max is {max}, where what it leaves out is that of scaling");
            return Err(Invalid::new(field, problem, "lower its min, or raise its max"));
        }
        Ok(Self {
            times,
            ahead: ahead(entry),
            range: Range {
                min,
                max,
                source: Source::Entry(index),
            },
        })
    }

    /// When it came last, if that was not too long ago.
    fn latest(&self, now: Timestamp) -> Option<Timestamp> {
        let now = now.checked_add(self.ahead).ok()?;
        let slot = self.times.latest_due(now.checked_sub(LOOK_BACK).ok()?, now)?;
        slot.checked_sub(self.ahead).ok()
    }

    /// When it comes next.
    fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let slot = self.times.next(seconds(now.checked_add(self.ahead).ok()?))?;
        slot.checked_sub(self.ahead).ok()
    }
}

/// In whole seconds, as all times are.
fn ahead(entry: &ScheduledBounds) -> SignedDuration {
    let given = entry.ahead.filter(|ahead| !ahead.is_negative()).map(std::time::Duration::from);
    given.map_or(SignedDuration::ZERO, |given| {
        SignedDuration::from_secs(given.as_secs().try_into().unwrap_or(0))
    })
}

/// The entries that can be understood, and what is wrong with the others.
fn entries(scaling: &Scaling) -> (Vec<Entry>, Vec<Invalid>) {
    let (mut entries, mut invalid) = (Vec::new(), Vec::new());
    for (index, entry) in scaling.schedule.iter().flatten().enumerate() {
        match Entry::read(entry, index, scaling) {
            Ok(entry) => entries.push(entry),
            Err(wrong) => invalid.push(wrong),
        }
    }
    (entries, invalid)
}

/// What all say that come at that moment.
fn together(at: Timestamp, times: &[(Timestamp, Range)]) -> Option<Range> {
    times
        .iter()
        .filter(|(when, _)| *when == at)
        .map(|(_, range)| *range)
        .reduce(Range::and)
}

/// What holds now: what the entry says whose time came last, and otherwise what `scaling` itself says.
#[must_use]
pub fn in_force(scaling: &Scaling, now: Timestamp) -> InForce {
    let (entries, invalid) = entries(scaling);
    let own = Range::own(scaling);
    let came: Vec<_> = entries.iter().filter_map(|entry| Some((entry.latest(now)?, entry.range))).collect();
    let come: Vec<_> = entries.iter().filter_map(|entry| Some((entry.next(now)?, entry.range))).collect();
    let since = came.iter().map(|(at, _)| *at).max();
    let next = come.iter().map(|(at, _)| *at).min();
    let ends = since.and_then(|since| since.checked_add(LOOK_BACK).ok());
    let ends = ends.filter(|ends| next.is_none_or(|next| *ends < next));
    InForce {
        range: since.and_then(|since| together(since, &came)).unwrap_or(own),
        since,
        next: ends.map(|ends| (ends, own)).or_else(|| Some((next?, together(next?, &come)?))),
        invalid: invalid.into_iter().next(),
    }
}

/// Whether there may be no replica, now or at some time of the schedule.
#[must_use]
pub fn may_rest(scaling: &Scaling) -> bool {
    scaling.min == 0 || scaling.schedule.iter().flatten().any(|entry| entry.min == Some(0))
}

/// What is wrong with each entry that cannot be understood.
#[must_use]
pub fn invalid(scaling: &Scaling) -> Vec<Invalid> {
    entries(scaling).1
}

/// The first time within a year from `now` on that two entries have in common while they say different things. Of each some hundred times are looked at.
#[must_use]
pub fn ambiguous(scaling: &Scaling, now: Timestamp) -> Option<Invalid> {
    let (entries, _) = entries(scaling);
    let end = now.checked_add(LOOK_AHEAD).unwrap_or(Timestamp::MAX);
    let first = |entry: &Entry| {
        let times = std::iter::successors(entry.next(now), |at| entry.next(*at)).take(TIMES);
        let times = times.take_while(|at| *at <= end);
        let said = times.map(|at| {
            let those = entries.iter().filter(|other| other.latest(at) == Some(at));
            (at, those.map(|other| other.range).reduce(Range::and))
        });
        let mut doubts = said.filter_map(|(at, range)| Some((at, range.filter(Range::is_ambiguous)?)));
        doubts.next()
    };
    let (at, range) = entries.iter().filter_map(first).min_by_key(|(at, _)| *at)?;
    let Source::Both(one, other) = range.source else { return None };
    let said = |index: usize| {
        let entry = entries.iter().find(|entry| entry.range.source == Source::Entry(index));
        entry
            .map(|entry| format!("{} to {}", entry.range.min, entry.range.max))
            .unwrap_or_default()
    };
    let problem = format!(
        "comes at {at} as {FIELD}[{one}] does, and says {} where that says {}: {} to {} would hold from then on",
        said(other),
        said(one),
        range.min,
        range.max
    );
    Some(Invalid::new(format!("{FIELD}[{other}]"), problem, REMEDY))
}

/// What to do about two entries that come at once.
const REMEDY: &str = "give one of them another time, or both the same min and max";

impl InForce {
    /// What is wrong with the schedule now, if anything is.
    #[must_use]
    pub fn claim(&self) -> Option<Claim> {
        let told = |reason, message| Some(Claim::new(Kind::ScalingActive, false, reason, message));
        if let Some(invalid) = &self.invalid {
            return told(
                "ScheduleInvalid",
                format!("{invalid}; until then this entry counts as if it were not there"),
            );
        }
        let Range { min, max, source } = self.range;
        let (Source::Both(one, other), Some(since)) = (source, self.since) else {
            return None;
        };
        let until = self.next.map_or_else(String::new, |(at, _)| format!(" until {at}"));
        let message = format!(
            "{FIELD}[{one}] and [{other}] both came at {since} and say different things: {min} to {max} replicas, the larger of each, hold{until}; {REMEDY}"
        );
        told("ScheduleAmbiguous", message)
    }

    /// For a status.
    #[must_use]
    pub fn told(&self) -> BoundsStatus {
        let Range { min, max, source } = self.range;
        BoundsStatus {
            min,
            max,
            from: source.to_string(),
            since: self.since.map(Time),
            next: self.next.map(|(at, next)| NextBounds {
                at: Time(at),
                min: next.min,
                max: next.max,
                from: next.source.to_string(),
            }),
        }
    }
}

/// What holds for one model, found anew only when it may be something else: whoever asks every other moment reads no cron fields.
#[derive(Debug, Default)]
pub struct Kept(Option<Known>);

#[derive(Debug)]
struct Known {
    /// Of what it was found.
    own: Range,
    schedule: Vec<ScheduledBounds>,
    /// From when until when it holds.
    from: Timestamp,
    until: Option<Timestamp>,
    range: Range,
}

impl Kept {
    /// What holds now, and whether an entry has come since this was asked last.
    pub fn now(&mut self, scaling: &Scaling, now: Timestamp) -> (Range, bool) {
        let own = Range::own(scaling);
        let Some(schedule) = &scaling.schedule else {
            self.0 = None;
            return (own, false);
        };
        let known = self.0.as_ref().filter(|known| known.own == own && known.schedule == *schedule);
        let is_same = known.is_some();
        if let Some(known) = known.filter(|known| known.from <= now && known.until.is_none_or(|until| now < until)) {
            return (known.range, false);
        }
        let InForce { range, next, .. } = in_force(scaling, now);
        self.0 = Some(Known {
            own,
            schedule: schedule.clone(),
            from: now,
            until: next.map(|(at, _)| at),
            range,
        });
        (range, is_same)
    }
}

#[cfg(test)]
mod tests;
