//! A model whose number of replicas is not its specification's: the workload is applied without it, and what there is stands for what is wanted.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;

use crate::api::ModelDeployment;
use crate::api::condition::{self, Claim, Kind, Status};
use crate::api::model_deployment::{ModelDeploymentStatus, ScalingStatus, SelfHosted};
use crate::plan::names::SCALED_ANNOTATION;
use crate::plan::scaling::Standing;

/// `own` with as many replicas as its workload is told to have, where it is scaled; a new one begins with one.
#[must_use]
pub fn as_it_is(own: &SelfHosted, live: Option<i32>) -> Cow<'_, SelfHosted> {
    if own.scaling.is_none() {
        return Cow::Borrowed(own);
    }
    Cow::Owned(SelfHosted {
        replicas: live.unwrap_or(1),
        ..own.clone()
    })
}

/// The number in the workload that is applied.
pub(super) fn replicas(own: &SelfHosted) -> Option<i32> {
    own.scaling.is_none().then_some(own.replicas)
}

/// What tells a workload that is applied without it.
pub(super) fn mark(own: &SelfHosted) -> Option<(String, String)> {
    own.scaling.as_ref().map(|_| (SCALED_ANNOTATION.to_owned(), "true".to_owned()))
}

/// Whether the workload was applied without it.
#[must_use]
pub fn is_scaled<W: Resource>(live: &W) -> bool {
    live.meta()
        .annotations
        .as_ref()
        .is_some_and(|all| all.contains_key(SCALED_ANNOTATION))
}

/// `status` with what was decided about replicas. Until something has been, what was told before is.
#[must_use]
pub fn with_scaling(
    status: ModelDeploymentStatus,
    md: &ModelDeployment,
    own: &SelfHosted,
    standing: Option<&Standing>,
    now: Timestamp,
) -> ModelDeploymentStatus {
    if own.scaling.is_none() {
        return ModelDeploymentStatus { scaling: None, ..status };
    }
    let before = md.status.as_ref();
    let previous = before.map_or(&[][..], |status| &status.conditions);
    let claims = match standing {
        Some(standing) => vec![standing.claim.clone()],
        None => vec![Claim {
            kind: Kind::ScalingActive,
            status: Status::Unknown,
            reason: "Starting",
            message: "nothing has been decided yet".to_owned(),
        }],
    };
    let mut conditions = status.conditions.clone();
    match condition::find(previous, Kind::ScalingActive).filter(|_| standing.is_none()) {
        Some(known) => conditions.push(known.clone()),
        None => conditions.extend(condition::merge(previous, &claims, md.metadata.generation, now)),
    }
    conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    let told = before.and_then(|status| status.scaling.clone());
    let change = standing.and_then(|standing| standing.change.as_ref());
    let scaling = match (change, told) {
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
