//! Nodes that do not exist, for tests of scale: pods bound to them become Ready at once and go at once, and nothing runs. In our own cluster
//! one fake server answers at the addresses of all of them, so that models count as served.
//!
//! The nodes carry a taint, so that only pods meant for them come: see [`FakeNodes::TOLERATION`] and [`FakeNodes::SELECTOR`].
//! They live as long as the value; when it is dropped, their heartbeats end and they are removed.

// A kubelet of sorts has its own way to the API server, and a clock for its heartbeats.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::Cluster;
use crate::fake_engines::FakeEngines;
use crate::kubectl::Kubectl;
use crate::provider::Provider;

/// A quarter of the local cluster's grace period for silent nodes.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// As a large real node; the default of Kubernetes is 110.
const PODS_PER_NODE: usize = 250;
/// Pods that change at once get their status a few at a time.
const CONCURRENCY: usize = 8;
const MANAGER: &str = "fake-kubelet";

/// Running fake nodes.
pub struct FakeNodes {
    kubectl: Kubectl,
    names: Arc<[String]>,
    task: JoinHandle<()>,
    engines: Option<FakeEngines>,
}

impl FakeNodes {
    /// The label of all fake nodes, for a pod's `nodeSelector`.
    pub const SELECTOR: (&str, &str) = ("llmportfolio.dev/fake-node", "true");
    /// The taint of all fake nodes as a pod's toleration, in YAML.
    pub const TOLERATION: &str = "{key: llmportfolio.dev/fake-node, operator: Exists}";

    /// Makes `count` nodes named `PREFIX-0`, …, each with `gpus` GPUs and room for 250 pods.
    pub async fn start(cluster: &Cluster, prefix: &str, count: usize, gpus: usize) -> Result<Self> {
        let engines = match cluster.local() {
            Some(local) => Some(FakeEngines::start(local).await?),
            None => None,
        };
        let client = cluster.client();
        let names: Arc<[String]> = (0..count).map(|i| format!("{prefix}-{i}")).collect();
        for name in names.iter() {
            heartbeat(&client, name).await?;
            let nodes: Api<Node> = Api::all(client.clone());
            let (node, status) = node(name, gpus);
            nodes.patch(name, &apply(), &Patch::Apply(&node)).await.context("making a node")?;
            nodes.patch_status(name, &apply(), &Patch::Apply(&status)).await?;
        }
        let task = tokio::spawn(run(client, names.clone()));
        Ok(Self {
            kubectl: cluster.kubectl().clone(),
            names,
            task,
            engines,
        })
    }

    /// How many requests the fake server behind the pods got; none in a cluster that is not ours.
    pub fn asked(&self) -> usize {
        self.engines().map_or(0, Provider::count)
    }

    /// What answers for all of the pods, in our own cluster.
    pub fn engines(&self) -> Option<&Provider> {
        self.engines.as_ref().map(|engines| &engines.provider)
    }
}

impl Drop for FakeNodes {
    fn drop(&mut self) {
        self.task.abort();
        for name in self.names.iter() {
            // Nobody else would confirm the end of these pods.
            let bound = format!("spec.nodeName={name}");
            self.kubectl.run_now(&[
                "delete",
                "pods",
                "-A",
                "--field-selector",
                &bound,
                "--force",
                "--grace-period=0",
                "--wait=false",
            ]);
            self.kubectl.run_now(&["delete", "node", name, "--wait=false"]);
        }
    }
}

async fn run(client: Client, names: Arc<[String]>) {
    let beats = async {
        let mut every = tokio::time::interval(HEARTBEAT);
        loop {
            every.tick().await;
            for name in names.iter() {
                if let Err(error) = heartbeat(&client, name).await {
                    eprintln!("fake node {name}: {error:#}");
                }
            }
        }
    };
    let watch = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .applied_objects();
    let pods = watch.for_each_concurrent(CONCURRENCY, |pod| {
        let (client, names) = (client.clone(), names.clone());
        async move {
            // The watch itself reports nothing but retries; a pod that stays Pending is what a test sees.
            let Ok(pod) = pod else { return };
            let Some(node) = pod
                .spec
                .as_ref()
                .and_then(|s| names.iter().position(|name| s.node_name.as_ref() == Some(name)))
            else {
                return;
            };
            if let Err(error) = settle(&client, &pod, node).await {
                eprintln!("fake pod {}: {error:#}", pod.name_any());
            }
        }
    });
    futures::future::join(beats, pods).await;
}

/// Makes a bound pod Running and Ready, or lets one go that was asked to.
async fn settle(client: &Client, pod: &Pod, node: usize) -> Result<()> {
    let (name, pods) = (
        pod.name_any(),
        Api::<Pod>::namespaced(client.clone(), &pod.namespace().unwrap_or_default()),
    );
    if pod.metadata.deletion_timestamp.is_some() {
        pods.delete(&name, &DeleteParams::default().grace_period(0)).await.ok();
        return Ok(());
    }
    if pod.status.as_ref().and_then(|s| s.phase.as_deref()) != Some("Pending") {
        return Ok(());
    }
    let now = Timestamp::now().to_string();
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
    let containers: Vec<Value> = pod.spec.iter().flat_map(|s| &s.containers).map(|c| {
        json!({
            "name": c.name, "image": c.image, "imageID": "fake", "containerID": format!("fake://{name}"), "ready": true, "started": true,
            "restartCount": 0, "state": {"running": {"startedAt": now}},
        })
    }).collect();
    let uid = pod.uid().unwrap_or_default();
    let last = 1 + uid
        .bytes()
        .fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)))
        % 250;
    let address = format!("198.19.{}.{last}", 64 + node % 64);
    let conditions = ["Initialized", "Ready", "ContainersReady"].map(condition);
    let status = json!({
        "apiVersion": "v1", "kind": "Pod",
        "status": {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "startTime": now,
            "conditions": conditions,
            "containerStatuses": containers,
        },
    });
    match pods.patch_status(&name, &apply(), &Patch::Apply(&status)).await {
        Err(kube::Error::Api(gone)) if gone.code == 404 => Ok(()),
        other => other.map(drop).context("status"),
    }
}

/// Renews the lease by which the node counts as alive.
async fn heartbeat(client: &Client, node: &str) -> Result<()> {
    let now = format!("{:.6}", Timestamp::now());
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": node}, // without it an apply may change, but not create
        "spec": {"holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": now},
    });
    Api::<Lease>::namespaced(client.clone(), "kube-node-lease")
        .patch(node, &apply(), &Patch::Apply(&lease))
        .await
        .context("heartbeat")?;
    Ok(())
}

fn node(name: &str, gpus: usize) -> (Value, Value) {
    let (key, value) = FakeNodes::SELECTOR;
    let object = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {key: value, "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
        "spec": {"taints": [{"key": key, "value": value, "effect": "NoSchedule"}]},
    });
    let room = json!({"cpu": "256", "memory": "2Ti", "pods": PODS_PER_NODE.to_string(), "nvidia.com/gpu": gpus.to_string()});
    let status = json!({
        "apiVersion": "v1", "kind": "Node",
        "status": {
            "capacity": room, "allocatable": room,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Fake", "message": "this node does not exist"}],
        },
    });
    (object, status)
}

fn apply() -> PatchParams {
    PatchParams::apply(MANAGER).force()
}
