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
use crate::plan::scaling::others::{CONFLICT, Other};

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
    (standing, other): (&Standing, Option<&Other>),
    now: Timestamp,
) -> ModelDeploymentStatus {
    let before = md.status.as_ref();
    let previous = before.map_or(&[][..], |status| &status.conditions);
    let others = other.and_then(|other| other.claim(own.scaling.is_some()));
    let known = condition::find(previous, Kind::ScalingActive).filter(|known| known.reason != CONFLICT);
    let mut conditions = status.conditions.clone();
    match (others.or_else(|| standing.claim.clone()), known) {
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
    if own.scaling.is_none() {
        return ModelDeploymentStatus {
            conditions,
            scaling: None,
            ..status
        };
    }
    let told = before.and_then(|status| status.scaling.clone());
    let scaling = match (&standing.change, told) {
        (Some(change), _) => ScalingStatus {
            desired_replicas: own.replicas,
            reason: change.reason.to_owned(),
            message: change.message.clone(),
            last_scale_time: Some(Time(condition::seconds(change.at))),
        },
        (None, Some(told)) => ScalingStatus {
            desired_replicas: own.replicas,
            ..told
        },
        (None, None) => ScalingStatus {
            desired_replicas: own.replicas,
            reason: "New".to_owned(),
            message: "the number of replicas has not been changed yet".to_owned(),
            last_scale_time: None,
        },
    };
    ModelDeploymentStatus {
        conditions,
        scaling: Some(scaling),
        ..status
    }
}
