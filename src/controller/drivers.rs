//! Has the number of a model's replicas moved by whom its specification names: the object of another autoscaler, made or removed. What the server does
//! not want of it is told, and pods serve on.
//!
//! Needs: horizontalpodautoscalers, scaledobjects get, list, watch, create, patch, delete.

use std::sync::Arc;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;

use super::context::{Context, Error};
use super::model_deployment::child;
use crate::api::ModelDeployment;
use crate::api::condition::{Claim, Kind};
use crate::cluster::{self, Owned};
use crate::plan::scaled_object::ScaledObject;
use crate::plan::scaling::driver::{self, Driver, Drivers};
use crate::plan::scaling::schedule;
use crate::plan::serving::{Moved, Workload};

/// Brings the objects to what is wanted, and says what they say.
pub(super) async fn move_by<W: Workload>(md: &ModelDeployment, is_others: bool, cx: &Context) -> Result<Moved, Error> {
    let scaling = md.spec.self_hosted.as_ref().and_then(|own| own.scaling.as_ref());
    let Some(scaling) = scaling else {
        stop(md, cx).await?;
        return Ok(Moved::default());
    };
    let keda = cx.keda();
    let chosen = Driver::of(scaling, keda);
    let bounds = schedule::in_force(scaling, cx.now());
    let Drivers { autoscaler, scaled_object } =
        driver::drivers::<W>(md, (scaling, bounds.range), Some(chosen).filter(|_| !is_others), keda);
    // Whoever goes goes first.
    if autoscaler.is_none() {
        cx.cluster.prune::<HorizontalPodAutoscaler>(&child(md)).await?;
    }
    if scaled_object.is_none() {
        cx.cluster.prune::<ScaledObject>(&child(md)).await?;
    }
    let mut moved = Moved {
        driver: Some(chosen),
        says: keda.missing(scaling),
        bounds: scaling.schedule.is_some().then_some(bounds),
        at: None,
    };
    if let Some(wanted) = autoscaler {
        match taken(&wanted, cx).await? {
            Ok(live) => {
                moved.says = Some(driver::autoscaler_says(&live));
                moved.at = live.status.as_ref().and_then(|status| status.last_scale_time.clone());
            }
            Err(claim) => moved.says = Some(claim),
        }
    }
    if let Some(wanted) = scaled_object {
        moved.says = match taken(&wanted, cx).await? {
            Ok(live) => driver::keda_says(&live),
            Err(claim) => Some(claim),
        };
    }
    Ok(moved)
}

/// Nobody moves it any more.
pub(super) async fn stop(md: &ModelDeployment, cx: &Context) -> Result<(), Error> {
    cx.cluster.prune::<HorizontalPodAutoscaler>(&child(md)).await?;
    Ok(cx.cluster.prune::<ScaledObject>(&child(md)).await?)
}

/// What was applied, or what is said where the server does not want it.
async fn taken<K: Owned>(wanted: &K, cx: &Context) -> Result<Result<Arc<K>, Claim>, Error> {
    let (reason, message) = match cx.cluster.apply(wanted).await {
        Ok(live) => return Ok(Ok(live)),
        Err(error @ cluster::Error::Refused { .. }) => (
            "ScaleRefused",
            format!("{error}; replicas stay as they are: correct spec.selfHosted.scaling"),
        ),
        Err(cluster::Error::NameTaken { kind, key }) => (
            "NameTaken",
            format!("{kind} {key} exists and belongs to somebody else, and replicas stay as they are: delete it, or rename this model"),
        ),
        Err(error) => return Err(error.into()),
    };
    Ok(Err(Claim::new(Kind::ScalingActive, false, reason, message)))
}
