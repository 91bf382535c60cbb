//! The number of replicas of a workload that is scaled, written by a field manager of its own: the object is applied without it.

use std::sync::Arc;

use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::apply::{Cluster, Error, Owned, refusal};
use crate::plan::names::{Key, MANAGED_BY};

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
        let parameters = PatchParams::apply(&format!("{MANAGED_BY}-scaling")).force();
        let scaled = self
            .api::<K>(&key.namespace)
            .patch(&key.name, &parameters, &Patch::Apply(&body))
            .await;
        let scaled = scaled.map_err(refusal::<K>("scaling", &key))?;
        tracing::info!(kind = %K::kind(&()), %key, replicas, "scaled");
        Ok(K::known(&self.stores).remember(scaled))
    }
}
