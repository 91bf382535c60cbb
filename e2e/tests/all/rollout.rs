//! A change of a model's arguments on a node with the one device that it needs, and with two: who waits, who fails.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::asker::Asker;
use e2e::images::Profile;
use e2e::namespace::Namespace;
use e2e::portfolio::Portfolio;
use e2e::{Cluster, skip, until};
use serde_json::Value;

/// A pod stays half a minute after it has left routing, so that open answers can end.
const ROLLED: Duration = Duration::from_secs(180);

/// A resource of this test alone, so that no other pod takes of it: a number that the node says it has.
const DEVICE: &str = "rollout.example.com/device";
const PROFILE: &str = "settings: {acceleratorProfiles: {rollout: {resource: rollout.example.com/device}}}";

/// A model that takes one device.
fn model(context: usize) -> String {
    format!(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: smol}}
spec:
  selfHosted:
    engine:
      kind: LlamaCpp
      args: [--model, /models/model.gguf, --ctx-size, '{context}', --parallel, '2', --threads, '2', --no-ui, --offline, --cache-ram, '0']
      env: [{{name: OMP_WAIT_POLICY, value: passive}}, {{name: GOMP_SPINCOUNT, value: '0'}}]
    accelerator: {{profile: rollout}}
"
    )
}

fn policy(name: &str) -> String {
    format!(
        "---\napiVersion: llmportfolio.dev/v1alpha1\nkind: RoutingPolicy\nmetadata: {{name: assistant}}\n\
         spec: {{model: {name}, rules: [{{targets: [{{model: smol}}]}}]}}\n"
    )
}

async fn offer(cluster: &Cluster, devices: usize) -> Result<()> {
    e2e::devices::offer(cluster, DEVICE, devices).await
}

/// Waits until every pod of the model has the present arguments and the object says so.
async fn rolled(ns: &Namespace, context: usize) -> Result<()> {
    until("the rollout ends", ROLLED, async || {
        let seen = ns.kubectl(&["get", "mdep/smol", "-o", "json"]).await?;
        let object: Value = serde_json::from_str(&seen)?;
        let settled = object["status"]["conditions"]
            .as_array()
            .context("no conditions")?
            .iter()
            .any(|c| c["type"] == "WorkloadReady" && c["status"] == "True");
        let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        ensure!(settled && current, "{}", object["status"]);
        Ok(Some(()))
    })
    .await?;
    // Pods that are being deleted still finish their answers.
    let pods: Value = serde_json::from_str(
        &ns.kubectl(&["get", "pods", "-l", "llmportfolio.dev/model=smol", "-o", "json"])
            .await?,
    )?;
    let pods: Vec<&Value> = pods["items"].as_array().context("no pods")?.iter().collect();
    let stay: Vec<&Value> = pods
        .into_iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .collect();
    ensure!(stay.len() == 1, "{} pods stay", stay.len());
    let arguments = stay[0]["spec"]["containers"][0]["args"].to_string();
    ensure!(arguments.contains(&format!("\"{context}\"")), "{arguments}");
    Ok(())
}

async fn changed(ns: &Namespace, context: usize) -> Result<()> {
    ns.apply(&model(context)).await?;
    rolled(ns, context).await
}

async fn strategy(ns: &Namespace) -> Result<String> {
    let path = r"jsonpath={.metadata.annotations.llmportfolio\.dev/rollout}";
    ns.kubectl(&["get", "deployment/smol-engine", "-o", path]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_surges_where_a_device_is_free_and_replaces_where_none_is() -> Result<()> {
    let cluster = Cluster::alone().await?;
    if cluster.local().is_none() {
        skip("it changes what a node offers");
        return Ok(());
    }
    let installed = Portfolio::install(&cluster, Profile::Debug, PROFILE).await?;
    let ns = cluster.namespace("rollout").await?;
    let name = format!("rollout-{}", ns.name());

    offer(&cluster, 2).await?;
    ns.apply(&(model(1024) + &policy(&name))).await?;
    let asker = Asker::new(&installed, &ns, &name).await?;
    asker.is_served().await?;
    rolled(&ns, 1024).await?;
    let surged = asker.during(changed(&ns, 1536)).await?;
    let why = strategy(&ns).await?;
    println!(
        "two devices: {why}: {} asked, {} attempts failed, {} lost, slowest {:.2?}",
        surged.asked,
        surged.attempts_failed.len(),
        surged.lost.len(),
        surged.slowest
    );
    assert_eq!(why, format!("Surge: a node has 1 {DEVICE} free"));
    assert!(surged.attempts_failed.is_empty(), "{:#?}", surged.attempts_failed);

    // With one, the new pod finds no room beside the old one, and must not wait for any.
    offer(&cluster, 1).await?;
    let replaced = asker.during(changed(&ns, 2048)).await?;
    let why = strategy(&ns).await?;
    println!(
        "one device: {why}: {} asked, {} attempts failed",
        replaced.asked,
        replaced.attempts_failed.len()
    );
    assert!(why.starts_with(&format!("Replace: no node has 1 {DEVICE} free")), "{why}");

    // Back and forth in the middle of it: the last word holds.
    for context in [1024, 1536, 2048, 1536] {
        ns.apply(&model(context)).await?;
    }
    rolled(&ns, 1536).await?;
    asker.is_served().await?;
    offer(&cluster, 0).await
}
