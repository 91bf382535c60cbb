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
use crate::plan::names::Key;
use crate::plan::scaled_object::ScaledObject;
use crate::plan::scaling::driver::{self, Driver, Drivers};
use crate::plan::scaling::others;
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
    let mut moved = Moved {
        driver: Some(chosen),
        says: keda.missing(scaling),
        bounds: scaling.schedule.is_some().then(|| bounds.clone()),
        ..Moved::default()
    };
    let wanted = driver::drivers::<W>(md, (scaling, bounds.range), Some(chosen).filter(|_| !is_others), keda);
    let Drivers { autoscaler, scaled_object } = match wanted {
        Ok(wanted) => wanted,
        // The one that there is goes on by what it was told.
        Err(invalid) => {
            moved.says = Some(Claim::new(Kind::ScalingActive, false, "MetricsInvalid", invalid.to_string()));
            return Ok(moved);
        }
    };
    // Whoever goes goes first.
    if autoscaler.is_none() {
        cx.cluster.prune::<HorizontalPodAutoscaler>(&child(md)).await?;
    }
    if scaled_object.is_none() {
        leave_keda(md, cx).await?;
    }
    if let Some(wanted) = autoscaler {
        match taken(&wanted, cx).await? {
            Ok(live) => {
                moved.says = Some(driver::autoscaler_says(&live));
                moved.at = live.status.as_ref().and_then(|status| status.last_scale_time.clone());
            }
            Err(claim) => moved.is_refused_with(claim),
        }
    }
    // KEDA takes none while there is another autoscaler; when that is gone, this is looked at again.
    let is_free = cx.cluster.stores.autoscalers.get(&child(md)).is_none();
    if let Some(wanted) = scaled_object.filter(|_| is_free) {
        match taken(&wanted, cx).await? {
            Ok(live) => moved.says = driver::keda_says(&live),
            Err(claim) => moved.is_refused_with(claim),
        }
    }
    Ok(moved)
}

/// Nobody moves it any more.
pub(super) async fn stop(md: &ModelDeployment, cx: &Context) -> Result<(), Error> {
    cx.cluster.prune::<HorizontalPodAutoscaler>(&child(md)).await?;
    leave_keda(md, cx).await
}

/// KEDA scales it no more. What it made for us goes too, also where its operator does not run any more to remove it. Where ScaledObjects are not known,
/// it stays: KEDA would make it again, and where the kind is gone, the cluster removes what belonged to it.
async fn leave_keda(md: &ModelDeployment, cx: &Context) -> Result<(), Error> {
    cx.cluster.prune::<ScaledObject>(&child(md)).await?;
    if !cx.keda().is_served {
        return Ok(());
    }
    let model = Some(Key::of(md));
    for made in cx.cluster.stores.autoscalers.all() {
        if others::is_of_keda(&made) && others::model(&made) == model {
            cx.cluster.prune::<HorizontalPodAutoscaler>(&Key::of(&*made)).await?;
        }
    }
    Ok(())
}

/// What was applied, or what is said where the server does not want it.
async fn taken<K: Owned>(wanted: &K, cx: &Context) -> Result<Result<Arc<K>, Claim>, Error> {
    let (reason, message) = match cx.cluster.apply(wanted).await {
        Ok(live) => return Ok(Ok(live)),
        Err(error @ cluster::Error::Refused { .. }) => (
            "ScaleRefused",
            format!("{error}; replicas stay as they are, and it is tried again: correct what it names"),
        ),
        Err(cluster::Error::NameTaken { kind, key }) => (
            "NameTaken",
            format!("{kind} {key} exists and belongs to somebody else, and replicas stay as they are: delete it, or rename this model"),
        ),
        Err(error) => return Err(error.into()),
    };
    Ok(Err(Claim::new(Kind::ScalingActive, false, reason, message)))
}
