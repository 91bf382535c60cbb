//! Conditions with the semantics of the Kubernetes API conventions and kstatus: `Ready` on top; `Reconciling` and `Stalled` exist only
//! while they are true; each carries the generation it describes; its transition time moves only when its status does.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// The condition types in use, spelled as they appear in YAML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The object does what it is for: the model serves, the policy routes, the evaluation is scheduled.
    Ready,
    /// Work is going on that should end in `Ready`.
    Reconciling,
    /// Only a person can make progress: the message says how.
    Stalled,
    /// The specification is valid and unambiguous.
    Accepted,
    /// What the model names exists and can be used (credentials in a Secret, certificates in a ConfigMap), and the provider accepts it.
    CredentialsResolved,
    /// The weights are in the cache that the specification asks for.
    ModelCached,
    /// The inference pods run and answer.
    WorkloadReady,
    /// Every pod that answers has every adapter, by its engine's own word where it takes them while it runs.
    AdaptersLoaded,
    /// The number of replicas follows the demand: what decides about it is known.
    ScalingActive,
    /// Everything the object names exists.
    ResolvedRefs,
    /// No budget of the policy is used up.
    WithinBudget,
    /// The latest run's verdict: `True` for `Pass`, `False` for `Fail`, `Unknown` otherwise.
    Passed,
    /// Whether a target has become worse over the runs: `True` is an alarm, `Unknown` before there is anything to compare with.
    Drifted,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// `True`, `False` or `Unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The claim holds.
    True,
    /// The claim does not hold.
    False,
    /// Not known yet.
    Unknown,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl From<bool> for Status {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// One claim about an object, before it has a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// What is claimed.
    pub kind: Kind,
    /// Whether it holds.
    pub status: Status,
    /// A stable CamelCase word for machines.
    pub reason: &'static str,
    /// What it means and what to do next, for a person.
    pub message: String,
}

impl Claim {
    /// A claim with its reason and message.
    #[must_use]
    pub fn new(kind: Kind, status: impl Into<Status>, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            status: status.into(),
            reason,
            message: message.into(),
        }
    }
}

/// The conditions that state exactly `claims`, keeping the transition times of `previous` where the status did not move.
#[must_use]
pub fn merge(previous: &[Condition], claims: &[Claim], generation: Option<i64>, now: Timestamp) -> Vec<Condition> {
    let mut conditions: Vec<Condition> = claims
        .iter()
        .map(|claim| {
            let kind = claim.kind.to_string();
            let status = claim.status.to_string();
            let since = previous
                .iter()
                .find(|c| c.type_ == kind && c.status == status)
                .map(|c| c.last_transition_time.clone());
            Condition {
                type_: kind,
                status,
                reason: claim.reason.to_owned(),
                message: bounded(&claim.message),
                observed_generation: generation,
                last_transition_time: since.unwrap_or_else(|| Time(seconds(now))),
            }
        })
        .collect();
    conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    conditions
}

/// The condition of that kind, if the status has it.
#[must_use]
pub fn find(conditions: &[Condition], kind: Kind) -> Option<&Condition> {
    let kind = kind.to_string();
    conditions.iter().find(|c| c.type_ == kind)
}

/// Whether the condition of that kind is `True`.
#[must_use]
pub fn is_true(conditions: &[Condition], kind: Kind) -> bool {
    find(conditions, kind).is_some_and(|c| c.status == "True")
}

/// Kubernetes stores whole seconds; a finer value would differ from itself after a round trip.
#[must_use]
pub fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The longest message kept; the API allows 32,768 bytes, and nobody reads that many.
const MESSAGE_LIMIT: usize = 1024;

fn bounded(message: &str) -> String {
    match message.char_indices().nth(MESSAGE_LIMIT) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let first = merge(&[], &[Claim::new(Kind::Ready, false, "Starting", "a")], Some(1), at(10));
        let same = merge(&first, &[Claim::new(Kind::Ready, false, "Pulling", "b")], Some(2), at(20));
        assert_eq!(same[0].last_transition_time.0, at(10));
        assert_eq!((same[0].reason.as_str(), same[0].observed_generation), ("Pulling", Some(2)));
        let moved = merge(&same, &[Claim::new(Kind::Ready, true, "Serving", "")], Some(2), at(30));
        assert_eq!(moved[0].last_transition_time.0, at(30));
    }

    #[test]
    fn a_condition_that_is_no_longer_claimed_disappears() {
        let stalled = merge(&[], &[Claim::new(Kind::Stalled, true, "Invalid", "")], Some(1), at(1));
        assert!(merge(&stalled, &[], Some(1), at(2)).is_empty());
    }
}
