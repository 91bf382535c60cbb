//! Devices of a test's own: a number that a node says it has, which nobody checks.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::{Cluster, until};

/// Makes the first node offer so many devices of the resource.
pub async fn offer(cluster: &Cluster, resource: &str, devices: usize) -> Result<()> {
    let kubectl = cluster.kubectl();
    let node = kubectl.run(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]).await?;
    let field = resource.replace('/', "~1");
    let patch = format!(r#"[{{"op": "add", "path": "/status/capacity/{field}", "value": "{devices}"}}]"#);
    kubectl
        .run(&["patch", "node", &node, "--subresource=status", "--type=json", "-p", &patch])
        .await?;
    until("the node offers them", Duration::from_secs(60), async || {
        let node: Value = serde_json::from_str(&kubectl.run(&["get", "node", &node, "-o", "json"]).await?)?;
        let offered: usize = node["status"]["allocatable"][resource].as_str().unwrap_or("0").parse()?;
        ensure!(offered == devices, "{offered}");
        Ok(Some(()))
    })
    .await
}
