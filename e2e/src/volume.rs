//! A volume on this machine, for claims of its own class: the local cluster makes none by itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::Cluster;

/// A PersistentVolume over a folder of this machine, whose StorageClass has its name. Both go at the end.
pub struct Volume<'a> {
    cluster: &'a Cluster,
    name: String,
    folder: PathBuf,
}

impl<'a> Volume<'a> {
    /// One of a GiB.
    pub async fn make(cluster: &'a Cluster, name: &str) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("llm-portfolio-{name}"));
        fs::create_dir_all(&folder)?;
        // Pods run as nobody's user.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
        let volume = format!(
            "apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: {name}}}\n\
             spec: {{capacity: {{storage: 1Gi}}, accessModes: [ReadWriteMany], storageClassName: {name}, persistentVolumeReclaimPolicy: Retain, hostPath: {{path: {}}}}}\n",
            folder.display()
        );
        cluster.kubectl().apply(&volume).await?;
        Ok(Self {
            cluster,
            name: name.to_owned(),
            folder,
        })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes both.
    pub async fn remove(self) -> Result<()> {
        self.cluster.kubectl().run(&["delete", "pv", &self.name, "--wait=false"]).await?;
        fs::remove_dir_all(&self.folder).context("removing the volume's folder")
    }
}
