//! The number of replicas of a workload that is scaled, and which of its pods go first, written by a field manager of its own: the object is applied
//! without it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::apply::{Cluster, Error, Owned, refusal};
use crate::plan::names::{Key, MANAGED_BY};

/// What it costs to lose a pod.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Who writes numbers and costs.
fn manager() -> PatchParams {
    PatchParams::apply(&format!("{MANAGED_BY}-scaling")).force()
}

impl Cluster {
    /// Gives a workload of ours so many replicas. Whoever else set the number gives way, once: nobody sets it again while it is as decided.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn scale<K: Owned>(&self, live: &K, replicas: u32) -> Result<Arc<K>, Error> {
        let key = Key::of(live);
        // Of this very object: one that was deleted is not to come back as a number of replicas of nothing.
        let body = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": { "name": key.name, "namespace": key.namespace, "uid": live.meta().uid },
            "spec": { "replicas": replicas },
        });
        let scaled = self
            .api::<K>(&key.namespace)
            .patch(&key.name, &manager(), &Patch::Apply(&body))
            .await;
        let scaled = scaled.map_err(refusal::<K>("scaling", &key))?;
        tracing::info!(kind = %K::kind(&()), %key, replicas, "scaled");
        Ok(K::known(&self.stores).remember(scaled))
    }

    /// Says what it costs to lose a pod: of those that answer, the one that costs least goes first. Sends nothing when it says so already.
    ///
    /// Source: <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#pod-deletion-cost>
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn price(&self, pod: &Arc<Pod>, cost: i32) -> Result<(), Error> {
        let pod = self.stores.pods.latest(pod);
        let said = pod.annotations().get(DELETION_COST).and_then(|cost| cost.parse().ok());
        // That is what every pod costs that says nothing.
        if said.unwrap_or(0) == cost {
            return Ok(());
        }
        let key = Key::of(&*pod);
        let body = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": key.name, "namespace": key.namespace, "uid": pod.meta().uid, "annotations": { DELETION_COST: cost.to_string() } },
        });
        let priced = self
            .api::<Pod>(&key.namespace)
            .patch(&key.name, &manager(), &Patch::Apply(&body))
            .await;
        self.stores.pods.remember(priced.map_err(refusal::<Pod>("pricing", &key))?);
        Ok(())
    }
}
