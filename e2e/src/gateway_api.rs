//! ReferenceGrants of the Gateway API in a cluster, for as long as a test needs the kind: what a test left behind when it was killed is removed
//! first. Only for a cluster that is ours.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::cluster::Cluster;
use crate::kubectl::Kubectl;
use crate::until;

const CRD: &str = "referencegrants.gateway.networking.k8s.io";
const SERVED: Duration = Duration::from_secs(30);

/// The installed kind. It goes, with every grant, when the value is dropped.
pub struct ReferenceGrants(Kubectl);

impl ReferenceGrants {
    /// Removes what an earlier test left in the cluster.
    pub fn clean(cluster: &Cluster) {
        Self(cluster.kubectl().clone()).remove();
    }

    /// Installs the CRD, and waits until the kind is served.
    pub async fn install(cluster: &Cluster, crd: &Path) -> Result<Self> {
        let installed = Self(cluster.kubectl().clone());
        let file = crd.to_string_lossy();
        installed.0.run(&["apply", "--server-side", "-f", &file]).await?;
        until("the kind is served", SERVED, async || {
            installed.0.run(&["get", CRD, "-A"]).await.map(|_| Some(()))
        })
        .await?;
        Ok(installed)
    }

    /// Serves these versions of the kind alone.
    pub async fn serve(&self, versions: &[&str]) -> Result<()> {
        let known = self.0.run(&["get", "crd", CRD, "-o", "jsonpath={.spec.versions[*].name}"]).await?;
        let patches = known.split_whitespace().enumerate().map(|(at, version)| {
            let is_served = versions.contains(&version);
            format!(r#"{{"op": "replace", "path": "/spec/versions/{at}/served", "value": {is_served}}}"#)
        });
        let patch = format!("[{}]", patches.collect::<Vec<_>>().join(", "));
        ensure!(versions.iter().all(|version| known.contains(version)), "the CRD has {known}");
        self.0.run(&["patch", "crd", CRD, "--type=json", "-p", &patch]).await.map(drop)
    }

    fn remove(&self) {
        self.0.run_now(&["delete", "crd", CRD, "--ignore-not-found", "--timeout=60s"]);
    }
}

impl Drop for ReferenceGrants {
    fn drop(&mut self) {
        self.remove();
    }
}
