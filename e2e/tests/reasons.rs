//! Why a model's pods do not start or do not stay, from the real kubelet and scheduler into the model's status, in seconds.

// Looks at objects from outside; the operator's one door is not the tests'.
#![allow(clippy::disallowed_types)]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::images::Profile;
use e2e::namespace::Namespace;
use e2e::portfolio::Portfolio;
use e2e::{Cluster, skip, until};
use serde_json::Value;

/// From the pod's status to the model's.
const TOLD: Duration = Duration::from_secs(10);
/// A crash must repeat before the kubelet calls it a loop.
const HAPPENS: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(100);

fn model(name: &str, engine: &str, more: &str) -> String {
    format!(
        "---\napiVersion: llmportfolio.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {{name: {name}}}\n\
         spec: {{selfHosted: {{engine: {{kind: LlamaCpp, {engine}}}, {more}}}}}\n"
    )
}

async fn get(ns: &Namespace, what: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&ns.kubectl(&[&["get", "-o", "json"], what].concat()).await?)?)
}

/// Waits until the pod shows `mark`, then until the model's status tells `reason`; returns the message and how long it took.
async fn told(ns: &Namespace, name: &str, mark: &str, reason: &str) -> Result<(String, Duration)> {
    let selector = format!("llmportfolio.dev/model={name}");
    until(&format!("a pod of {name} shows {mark}"), HAPPENS, async || {
        let pods = get(ns, &["pods", "-l", &selector]).await?;
        let status = pods["items"][0]["status"].to_string();
        ensure!(status.contains(mark), "{status}");
        Ok(Some(()))
    })
    .await?;
    let since = Instant::now();
    loop {
        let object = get(ns, &[&format!("mdep/{name}")]).await?;
        let conditions = object["status"]["conditions"].as_array().context("no conditions")?;
        if let Some(found) = conditions.iter().find(|c| c["reason"] == reason) {
            return Ok((found["message"].as_str().unwrap_or_default().to_owned(), since.elapsed()));
        }
        ensure!(since.elapsed() < TOLD, "{name}: {}", object["status"]);
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_own_reason_is_in_the_status_within_seconds() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let Some(local) = cluster.local() else {
        skip("its images are only on our own nodes");
        return Ok(());
    };
    Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("reasons").await?;
    let good = "args: [--model, /models/model.gguf, --ctx-size, '512']";
    let yaml = [
        model("no-image", "image: 'localhost/nowhere:1'", "replicas: 1"),
        model("no-memory", good, "resources: {limits: {memory: 32Mi}}"),
        model("no-room", good, "accelerator: {profile: nvidia-gpu, count: 64}"),
        model("no-weights", "args: [--model, /models/nowhere.gguf]", "replicas: 1"),
        model("bad-device", good, "accelerator: {profile: nvidia-gpu}"),
    ];
    ns.apply(&yaml.concat()).await?;
    let mut said = vec![];
    for (name, mark, reason, words) in [
        (
            "no-image",
            "ImagePull",
            "ImageNotAvailable",
            "\"localhost/nowhere:1\" cannot be pulled",
        ),
        ("no-room", "Unschedulable", "Unschedulable", "1 pod waits for nvidia.com/gpu: 64"),
        ("no-memory", "OOMKilled", "OutOfMemory", "its limit of 32Mi"),
        ("no-weights", "CrashLoopBackOff", "CrashLooping", "exit code 1, last saying \""),
    ] {
        let (message, after) = told(&ns, name, mark, reason).await?;
        println!("{name}: {:.1} s after the pod: {reason}: {message}", after.as_secs_f32());
        if !message.contains(words) {
            said.push(format!("{name}: wanted {words}: {message}"));
        }
    }
    assert!(said.is_empty(), "{said:#?}");

    ns.kubectl(&["wait", "--for=condition=Ready", "mdep/bad-device", "--timeout=120s"])
        .await?;
    let pods = get(&ns, &["pods", "-l", "llmportfolio.dev/model=bad-device"]).await?;
    let device = &pods["items"][0]["status"]["containerStatuses"][0]["allocatedResourcesStatus"][0]["resources"][0]["resourceID"];
    let device = device.as_str().context("the kubelet names no device")?;
    let gpu: usize = device.trim_start_matches("GPU-fake-").parse()?;
    local.set_gpu_health(1, gpu, false)?;
    let told = told(&ns, "bad-device", "Unhealthy", "DeviceUnhealthy").await;
    local.set_gpu_health(1, gpu, true)?;
    let (message, after) = told?;
    println!("bad-device: {:.1} s after the pod: DeviceUnhealthy: {message}", after.as_secs_f32());
    assert!(message.contains(device), "{message}");
    Ok(())
}
