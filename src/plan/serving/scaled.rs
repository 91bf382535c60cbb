//! A model whose number of replicas is not its specification's: the workload is applied without it, and what there is stands for what is wanted.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;

use super::workload::Workload;
use crate::api::ModelDeployment;
use crate::api::condition::{self, Claim, Kind, Status};
use crate::api::model_deployment::{ModelDeploymentStatus, ScalingStatus, SelfHosted};
use crate::plan::names::SCALED_ANNOTATION;
use crate::plan::scaling::Standing;
use crate::plan::scaling::driver::Driver;
use crate::plan::scaling::others::{CONFLICT, Other};

/// By whom the number is moved, and what is said of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moved {
    /// Who moves it; `None` without `scaling`.
    pub driver: Option<Driver>,
    /// What that one says, where it is not what was decided about the demand.
    pub says: Option<Claim>,
    /// When it did last, as far as it says so itself.
    pub at: Option<Time>,
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
    match (others.or_else(|| moved.says.clone()).or_else(|| standing.claim.clone()), known) {
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
    let (reason, message, last_scale_time) = match (moved.driver, &standing.change, told) {
        (Some(Driver::Hpa), ..) => (
            "Metrics".to_owned(),
            "a HorizontalPodAutoscaler decides by spec.selfHosted.scaling.metrics".to_owned(),
            moved.at.clone(),
        ),
        (_, Some(change), _) => (
            change.reason.to_owned(),
            change.message.clone(),
            Some(Time(condition::seconds(change.at))),
        ),
        (_, None, Some(told)) => (told.reason, told.message, told.last_scale_time),
        (_, None, None) => ("New".to_owned(), "the number of replicas has not been changed yet".to_owned(), None),
    };
    ScalingStatus {
        desired_replicas: standing
            .wanted
            .map_or(own.replicas, |wanted| i32::try_from(wanted).unwrap_or(i32::MAX)),
        engine: moved.driver.map(|driver| driver.word().to_owned()),
        reason,
        message,
        last_scale_time,
    }
}
