//! A model whose number of replicas is not its specification's: the workload is applied without it, and what there is stands for what is wanted.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;

use super::status::WORDS;
use super::workload::Workload;
use crate::api::ModelDeployment;
use crate::api::condition::{self, Claim, Kind, Status};
use crate::api::model_deployment::{ModelDeploymentStatus, ScalingChange, ScalingStatus, SelfHosted};
use crate::plan::names::SCALED_ANNOTATION;
use crate::plan::pods;
use crate::plan::scaling::driver::Driver;
use crate::plan::scaling::others::{CONFLICT, Other};
use crate::plan::scaling::schedule::InForce;
use crate::plan::scaling::{CHANGES, NO_SHARE, Standing};

/// The reason of `Ready` where there is to be no replica.
pub const ASLEEP: &str = "ScaledToZero";

/// The reason of numbers that metrics of a person's own decide.
const METRICS: &str = "Metrics";

/// By whom the number is moved, and what is said of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moved {
    /// Who moves it; `None` without `scaling`.
    pub driver: Option<Driver>,
    /// What that one says, where it is not what was decided about the demand.
    pub says: Option<Claim>,
    /// When it did last, as far as it says so itself.
    pub at: Option<Time>,
    /// What `scaling.schedule` has come to, if there is one.
    pub bounds: Option<InForce>,
    /// Whether the server did not take what was to move it, and may later.
    pub is_refused: bool,
}

impl Moved {
    /// The server does not take what was to move it.
    pub fn is_refused_with(&mut self, claim: Claim) {
        self.says = Some(claim);
        self.is_refused = true;
    }

    /// The same with what pods say: trouble goes before what goes well.
    #[must_use]
    pub fn with_room(self, own: &SelfHosted, pods: &[Arc<Pod>]) -> Self {
        let is_trouble = self
            .says
            .as_ref()
            .is_some_and(|claim| claim.status == Status::False && claim.reason != "KedaMissing");
        match no_room(own, pods).filter(|_| !is_trouble) {
            Some(claim) => Self { says: Some(claim), ..self },
            None => self,
        }
    }
}

/// `own` with as many replicas as its workload is told to have, where somebody scales that; a new one begins with one.
#[must_use]
pub fn as_it_is(own: &SelfHosted, is_scaled: bool, live: Option<i32>) -> Cow<'_, SelfHosted> {
    if !is_scaled {
        return Cow::Borrowed(own);
    }
    Cow::Owned(SelfHosted {
        replicas: live.unwrap_or(1),
        ..own.clone()
    })
}

/// Has the workload applied without its number of replicas.
pub fn leave_to_others<W: Workload>(wanted: &mut W) {
    wanted.leave_replicas_out();
    let mark = (SCALED_ANNOTATION.to_owned(), "true".to_owned());
    wanted.meta_mut().annotations.get_or_insert_default().extend([mark]);
}

/// Whether the workload was applied without it.
#[must_use]
pub fn is_scaled<W: Resource>(live: &W) -> bool {
    live.meta()
        .annotations
        .as_ref()
        .is_some_and(|all| all.contains_key(SCALED_ANNOTATION))
}

/// What is said where more pods are wanted than there is room for.
fn no_room(own: &SelfHosted, all: &[Arc<Pod>]) -> Option<Claim> {
    own.scaling.as_ref()?;
    let waiting = || all.iter().map(|pod| &**pod).filter(|pod| pods::is_unschedulable(pod));
    let trouble = pods::trouble(waiting(), &WORDS)?;
    let message = format!(
        "there is no room for {} of the pods that are wanted: {}",
        waiting().count(),
        trouble.message
    );
    Some(Claim::new(Kind::ScalingActive, false, "NoRoom", message))
}

/// `status` with what was decided about replicas, by us or by somebody `else`. Until something has been, what was told before is.
#[must_use]
pub fn with_scaling(
    status: ModelDeploymentStatus,
    md: &ModelDeployment,
    own: &SelfHosted,
    (standing, moved, other): (&Standing, &Moved, Option<&Other>),
    now: Timestamp,
) -> ModelDeploymentStatus {
    let before = md.status.as_ref();
    let previous = before.map_or(&[][..], |status| &status.conditions);
    let others = other.and_then(|other| other.claim(own.scaling.is_some()));
    let known = condition::find(previous, Kind::ScalingActive).filter(|known| known.reason != CONFLICT);
    let mut conditions = status.conditions.clone();
    // Nobody is to wait for a model of which none may be: that goes before who brings the number about.
    let none = standing.claim.clone().filter(|claim| claim.reason == NO_SHARE && others.is_none());
    if let Some(none) = &none {
        // What is read first says it too.
        let asleep = conditions
            .iter_mut()
            .find(|known| known.type_ == Kind::Ready.to_string() && known.reason == ASLEEP);
        asleep.into_iter().for_each(|ready| ready.message.clone_from(&none.message));
    }
    let told = others.or(none).or_else(|| moved.says.clone()).or_else(|| standing.claim.clone());
    let is_bad = told.as_ref().is_some_and(|claim| claim.status == Status::False);
    let schedule = moved.bounds.as_ref().filter(|_| !is_bad).and_then(InForce::claim);
    match (schedule.or(told), known) {
        (Some(claim), _) => conditions.extend(condition::merge(previous, &[claim], md.metadata.generation, now)),
        (None, _) if own.scaling.is_none() => {}
        (None, Some(known)) => conditions.push(known.clone()),
        (None, None) => {
            let starting = Claim {
                kind: Kind::ScalingActive,
                status: Status::Unknown,
                reason: "Starting",
                message: "nothing has been decided yet".to_owned(),
            };
            conditions.extend(condition::merge(previous, &[starting], md.metadata.generation, now));
        }
    }
    conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    let scaling = own.scaling.as_ref().map(|_| scaling(before, own, standing, moved));
    ModelDeploymentStatus {
        conditions,
        scaling,
        ..status
    }
}

/// What is told of the number.
fn scaling(before: Option<&ModelDeploymentStatus>, own: &SelfHosted, standing: &Standing, moved: &Moved) -> ScalingStatus {
    let told = before.and_then(|status| status.scaling.clone());
    let time = |at: Timestamp| Time(condition::seconds(at));
    let desired_replicas = standing
        .wanted
        .map_or(own.replicas, |wanted| i32::try_from(wanted).unwrap_or(i32::MAX));
    let engine = moved.driver.map(|driver| driver.word().to_owned());
    let earlier = told.clone().map(|told| told.changes).unwrap_or_default();
    let changes = with_earlier(standing, earlier);
    // What a HorizontalPodAutoscaler decided is no decision of whoever comes after it.
    let told = told
        .filter(|told| told.reason != METRICS || moved.driver == Some(Driver::Hpa))
        .unwrap_or(ScalingStatus {
            desired_replicas,
            engine: None,
            reason: "New".to_owned(),
            message: "the number of replicas has not been changed yet".to_owned(),
            last_scale_time: None,
            next_up_time: None,
            next_down_time: None,
            cold_start: None,
            bounds: None,
            changes: Vec::new(),
        });
    let told = ScalingStatus {
        desired_replicas,
        engine,
        cold_start: standing.cold_start.map(in_seconds).or(told.cold_start),
        bounds: moved.bounds.as_ref().map(InForce::told),
        changes,
        ..told
    };
    match (moved.driver, standing.changes.front()) {
        (Some(Driver::Hpa), _) => ScalingStatus {
            reason: METRICS.to_owned(),
            message: "a HorizontalPodAutoscaler decides by spec.selfHosted.scaling.metrics".to_owned(),
            last_scale_time: moved.at.clone(),
            next_up_time: None,
            next_down_time: None,
            ..told
        },
        (_, Some(change)) => ScalingStatus {
            reason: change.reason.to_owned(),
            message: change.message.clone(),
            last_scale_time: Some(time(change.at)),
            next_up_time: standing.next.up.map(time),
            next_down_time: standing.next.down.map(time),
            ..told
        },
        (_, None) => told,
    }
}

/// The changes that were seen, before those that are told and were seen by an earlier process.
fn with_earlier(standing: &Standing, told: Vec<ScalingChange>) -> Vec<ScalingChange> {
    let count = |replicas: u32| i32::try_from(replicas).unwrap_or(i32::MAX);
    let seen = standing.changes.iter().map(|change| ScalingChange {
        time: Time(condition::seconds(change.at)),
        from: count(change.from),
        to: count(change.to),
        reason: change.reason.to_owned(),
        message: change.message.clone(),
    });
    let first = standing.changes.back().map(|change| condition::seconds(change.at));
    let earlier = told.into_iter().filter(|change| first.is_none_or(|first| change.time.0 < first));
    seen.chain(earlier).take(CHANGES).collect()
}

/// As people write it, in whole seconds.
fn in_seconds(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, 0) => format!("{minutes}m"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::scaling::{Bulletin, Change, Next};

    #[test]
    fn changes_that_an_earlier_process_told_come_after_those_of_this_one() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut bulletin = Bulletin::default();
        let mut told = Vec::new();
        for second in 0..15 {
            let change = Change {
                from: 1,
                to: 2,
                reason: "Up",
                message: second.to_string(),
                at: at(second * 10),
            };
            // The process begins anew after the fifth.
            if second == 5 {
                bulletin = Bulletin::default();
            }
            bulletin.changed(change, Next::default());
            told = with_earlier(bulletin.standing(), told);
        }
        let messages: Vec<&str> = told.iter().map(|change| change.message.as_str()).collect();
        let expected: Vec<String> = (0..15).rev().map(|second| second.to_string()).collect();
        assert_eq!(messages, expected);
        for _ in 0..30 {
            let last = bulletin.standing().changes[0].clone();
            bulletin.changed(
                Change {
                    at: at(last.at.as_second() + 1),
                    ..last
                },
                Next::default(),
            );
            told = with_earlier(bulletin.standing(), told);
        }
        assert_eq!(told.len(), CHANGES);
    }

    #[test]
    fn a_start_is_written_as_people_do() {
        let written = [9, 60, 95, 3600].map(|seconds| in_seconds(Duration::from_secs(seconds)));
        assert_eq!(written, ["9s", "1m", "1m35s", "60m"]);
    }
}
