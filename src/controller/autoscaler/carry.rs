//! Carries a decision out: which pods go first, the number itself, an event, and what the status says.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use tokio::time::timeout;

use super::{Autoscaler, Round};
use crate::api::ModelDeployment;
use crate::cluster::{self, Owned};
use crate::controller::context::Context;
use crate::controller::model_deployment::{child, pods};
use crate::plan::leader_worker_set::LeaderWorkerSet;
use crate::plan::names::Key;
use crate::plan::scaling::{Bounds, Change, Decision, Next, is_within};
use crate::plan::serving::Workload;

/// How long one write may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// A decision that waited longer for its turn is not carried out: the next round decides anew.
const STALE: Duration = Duration::from_secs(5);
/// How long it may take to say which pods go first, and how many are told so at once: then the cluster chooses among what it knows.
const PRICING: (Duration, usize) = (Duration::from_secs(3), 16);

/// A number of replicas that is to be another.
pub(super) struct Step {
    pub(super) md: Arc<ModelDeployment>,
    pub(super) decision: Decision,
    pub(super) current: u32,
    pub(super) bounds: Bounds,
    pub(super) is_grouped: bool,
    pub(super) how: How,
}

/// How it comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It is written.
    Written,
    /// KEDA is told, and does it.
    Told,
    /// KEDA was told, and left it: it is written, and no news.
    CaughtUp,
}

impl Step {
    pub(super) fn is_written(&self) -> bool {
        self.how != How::Told
    }
}

impl Autoscaler {
    /// Tells of a change.
    pub(super) async fn tell(&self, step: &Step, message: Option<String>, cx: &Context) {
        let Some(message) = message else { return };
        // Nobody listens when the process ends.
        self.moved.unbounded_send(Key::of(&*step.md)).ok();
        timeout(PATIENCE, cx.cluster.note(&*step.md, true, "Scaled", &message)).await.ok();
    }

    /// Changes the number, and says what is to be told of it, if anything is. Where that fails, the next round finds it as it was.
    pub(super) async fn change(&self, step: &Step, round: &Round<'_>) -> Option<String> {
        let cx = round.cx;
        let model = Key::of(&*step.md);
        let is_urgent = step.current == 0;
        let _room = if is_urgent || !step.is_written() {
            None
        } else {
            self.room.acquire().await.ok()
        };
        if !is_within(round.now, cx.now(), STALE) {
            return None;
        }
        timeout(PRICING.0, price(step, round)).await.ok();
        if step.is_written() {
            match timeout(PATIENCE, write(step, cx)).await {
                Ok(Ok(())) => {}
                Ok(Err(cluster::Error::Refused { message, .. })) => {
                    tracing::warn!(%model, message, "the server refuses the number of replicas");
                    if let Some(known) = self.models().get_mut(&model) {
                        known.refused = Some((step.decision.replicas, cx.now(), message));
                    }
                    return None;
                }
                Ok(Err(error)) => {
                    tracing::warn!(%model, %error, "the number of replicas is not written, and is tried again");
                    return None;
                }
                Err(_) => {
                    tracing::warn!(%model, "the server does not answer in time whether the number of replicas is written");
                    return None;
                }
            }
        }
        if step.how == How::CaughtUp {
            return None;
        }
        let message = step.decision.message(step.current, &step.bounds);
        let change = Change {
            from: step.current,
            to: step.decision.replicas,
            reason: step.decision.why.word(),
            message: message.clone(),
            at: round.now,
        };
        let next = Next::after(&change, &step.bounds);
        if let Some(known) = self.models().get_mut(&model) {
            known.bulletin.changed(change, next);
            known.changes += 1;
            known.bulletin.wants(known.told.map(|told| told.replicas));
        }
        Some(message)
    }
}

/// Has those pods go first that answer least.
pub(super) async fn price(step: &Step, round: &Round<'_>) {
    let goes_down = (1..step.current).contains(&step.decision.replicas);
    if !goes_down || step.is_grouped {
        return;
    }
    let cost = |pod: &Pod| {
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
        let busy = address.map_or(0, |address| round.demand.at_pod(address));
        i32::try_from(busy).unwrap_or(i32::MAX)
    };
    let priced: Vec<(Arc<Pod>, i32)> = pods(&step.md, round.cx)
        .into_iter()
        .map(|pod| {
            let cost = cost(&pod);
            (pod, cost)
        })
        .collect();
    stream::iter(priced)
        .for_each_concurrent(PRICING.1, |(pod, cost)| async move {
            if let Err(error) = round.cx.cluster.price(&pod, cost).await {
                tracing::debug!(pod = %Key::of(&*pod), %error, "it is not said how busy a pod is");
            }
        })
        .await;
}

async fn write(step: &Step, cx: &Context) -> Result<(), cluster::Error> {
    let key = child(&step.md);
    match step.is_grouped {
        true => scale::<LeaderWorkerSet>(&key, step, cx).await,
        false => scale::<Deployment>(&key, step, cx).await,
    }
}

async fn scale<W: Workload + Owned>(key: &Key, step: &Step, cx: &Context) -> Result<(), cluster::Error> {
    match W::known(&cx.cluster.stores).get(key) {
        Some(live) => cx.cluster.scale(&*live, step.decision.replicas).await.map(drop),
        None => Ok(()),
    }
}
