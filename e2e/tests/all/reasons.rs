//! Why a model's pods do not start or do not stay, from the real kubelet and scheduler into the model's status, in seconds.

// Looks at objects from outside; the operator's one door is not the tests'.
#![allow(clippy::disallowed_types)]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::images::{self, Profile};
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
    told_within(TOLD, ns, name, mark, reason).await
}

async fn told_within(limit: Duration, ns: &Namespace, name: &str, mark: &str, reason: &str) -> Result<(String, Duration)> {
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
        ensure!(since.elapsed() < limit, "{name}: {}", object["status"]);
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

/// A server that is up, and answers chat as its script says.
fn scripted(name: &str, script: &str) -> String {
    format!(
        "---\napiVersion: llmportfolio.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {{name: {name}}}\n\
         spec: {{selfHosted: {{engine: {{kind: Custom, image: 'localhost/e2e:dev', port: 9000, \
         args: [provider, --listen, '0.0.0.0:9000', --plain, --script, '{script}']}}}}}}\n"
    )
}

/// The requests that a scripted engine got.
async fn asked(ns: &Namespace, name: &str) -> Result<Vec<String>> {
    let (deployment, url) = (format!("deployment/{name}-engine"), "http://127.0.0.1:9000/_control/requests");
    let seen: Value = serde_json::from_str(&ns.kubectl(&["exec", &deployment, "--", "/e2e", "get", url]).await?)?;
    let records = seen["records"].as_array().context("no records")?;
    Ok(records
        .iter()
        .map(|record| format!("{} {}", record["path"].as_str().unwrap_or_default(), record["status"]))
        .collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_up_and_gives_no_token_is_not_ready_until_it_does() -> Result<()> {
    let cluster = Cluster::connect().await?;
    if cluster.local().is_none() {
        skip("its images are only on our own nodes");
        return Ok(());
    }
    cluster.load_image(&images::e2e(Profile::Debug).await?).await?;
    Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("tokens").await?;
    let yaml = [
        model(
            "real",
            "args: [--model, /models/model.gguf, --ctx-size, '512']",
            "resources: {requests: {cpu: 10m}}",
        ),
        scripted("broken", r#"{"behaviour": {"status": 500}}"#),
        scripted("other-name", r#"{"models": ["something"]}"#),
        scripted("hangs", r#"{"behaviour": {"stall": "BeforeHeaders"}}"#),
        scripted("locked", r#"{"keys": ["sk-1"]}"#),
        scripted("mends", r#"{"next": [{"status": 500}, {"status": 503}]}"#),
    ];
    ns.apply(&yaml.concat()).await?;
    let is_ready = r#""status":"True","type":"Ready""#;
    let mut said = vec![];
    for (name, words) in [
        ("mends", "it says HTTP 50"),
        (
            "broken",
            "it says HTTP 500 \"the script says 500\" to /v1/chat/completions; see `kubectl -n ",
        ),
        (
            "other-name",
            "it says HTTP 404 \"The model `other-name` does not exist or you do not have access to it.\" to /v1/chat/completions",
        ),
        (
            "locked",
            "neither the operator nor the gateway has, so that every request would be refused",
        ),
        ("hangs", "it says nothing within 10 s to /v1/chat/completions"),
    ] {
        // Of one that hangs it takes its time to say so.
        let limit = if name == "hangs" { 2 * TOLD } else { TOLD };
        let (message, after) = told_within(limit, &ns, name, is_ready, "EngineDoesNotAnswer").await?;
        println!("{name}: {:.1} s after the pod: {message}", after.as_secs_f32());
        if !message.contains(words) {
            said.push(format!("{name}: wanted {words}: {message}"));
        }
    }
    assert!(said.is_empty(), "{said:#?}");

    // By itself, and by an edit, after which another template is asked.
    ns.kubectl(&["wait", "--for=condition=Ready", "mdep/real", "mdep/mends", "--timeout=120s"])
        .await?;
    let chats = [500, 503, 200].map(|status| format!("/v1/chat/completions {status}"));
    assert_eq!(asked(&ns, "mends").await?, chats);
    let refused = ["chat/completions", "completions", "embeddings"].map(|path| format!("/v1/{path} 404"));
    assert_eq!(asked(&ns, "other-name").await?[..3], refused);
    ns.apply(&scripted("broken", "{}")).await?;
    ns.kubectl(&["wait", "--for=condition=Ready", "mdep/broken", "--timeout=120s"])
        .await?;
    // One that is just being asked once more says so for a moment.
    for name in ["hangs", "locked", "other-name"] {
        ns.told(&format!("mdep/{name}"), "Ready", "EngineDoesNotAnswer", 2 * TOLD).await?;
    }
    let real = get(&ns, &["mdep/real"]).await?;
    assert_eq!(real["status"]["answered"]["operation"], "ChatCompletions");
    Ok(())
}
