//! Weights from a hub into a pod: fetched by our own binary, on after a kill where it was, and its refusals in the model's status.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::asker::Asker;
use e2e::hub::{Hub, Repository};
use e2e::images::Profile;
use e2e::namespace::Namespace;
use e2e::portfolio::Portfolio;
use e2e::weights::{FILE, Weights};
use e2e::{Cluster, skip, until};

/// The kubelet waits longer after each failure; two are enough for every case here.
const TOLD: Duration = Duration::from_secs(60);
/// What a kill may cost: some MiB on each of a few connections.
const LOST: u64 = 32 << 20;

fn model(name: &str, hub: &Hub, source: &str) -> String {
    format!(
        "---\napiVersion: llmportfolio.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {{name: {name}}}\n\
         spec: {{selfHosted: {{source: {{uri: '{source}'}}, resources: {{requests: {{cpu: 10m}}}}, \
         engine: {{kind: LlamaCpp, args: [--ctx-size, '512', --threads, '2', --no-ui, --offline, --cache-ram, '0'], env: [{{name: HF_ENDPOINT, value: '{}'}}]}}}}}}\n",
        hub.url()
    )
}

/// The id of the running container that fetches.
async fn fetcher(ns: &Namespace) -> Result<String> {
    let path = "jsonpath={.items[0].status.initContainerStatuses[0].state.running} {.items[0].status.initContainerStatuses[0].containerID}";
    let seen = ns
        .kubectl(&["get", "pods", "-l", "llmportfolio.dev/model=smol", "-o", path])
        .await?;
    let (running, id) = seen.split_once(' ').context("no pod")?;
    ensure!(!running.is_empty(), "it does not run");
    Ok(id.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_the_hub_is_fetched_once_and_on_where_a_kill_left_it() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let Some(local) = cluster.local() else {
        skip("its hub listens inside our own cluster");
        return Ok(());
    };
    let installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("fetch").await?;
    let folder = Weights::in_a_folder().await?;
    let size = std::fs::metadata(folder.file())?.len();
    let repository = Repository::new("org/smol", folder.path());
    let hub = Hub::on(local.listen(0)?, Some(local.listen(0)?), repository).await?;

    // Every connection breaks after 4 MiB, so that there is a middle to kill it in.
    hub.set(|script| script.cut = (usize::MAX, 4 << 20));
    let source = format!("hf://org/smol@{}/{FILE}", hub.commit());
    let policy = format!(
        "---\napiVersion: llmportfolio.dev/v1alpha1\nkind: RoutingPolicy\nmetadata: {{name: assistant}}\n\
         spec: {{model: fetch-{}, rules: [{{targets: [{{model: smol}}]}}]}}\n",
        ns.name()
    );
    ns.apply(&(model("smol", &hub, &source) + &policy)).await?;
    let id = until("the fetch is on its way", Duration::from_secs(90), async || {
        ensure!(hub.counted() > 8 << 20, "{} bytes", hub.counted());
        Ok(Some(fetcher(&ns).await?))
    })
    .await?;
    let before = hub.counted();
    local.kill_container(&id).await?;
    hub.set(|script| script.cut = (0, 0));
    ns.kubectl(&["wait", "--for=condition=Ready", "mdep/smol", "--timeout=150s"])
        .await?;
    let asker = Asker::new(&installed, &ns, &format!("fetch-{}", ns.name())).await?;
    asker.is_served().await?;
    let served = hub.seen().content_bytes;
    println!("killed after {before} of {size} bytes; {served} served in all");
    assert!(served >= size && served < size + LOST, "{served} bytes served for a file of {size}");

    let gone = format!("hf://org/smol@v9/{FILE}");
    ns.apply(&model("no-revision", &hub, &gone)).await?;
    let message = ns.told("mdep/no-revision", "Ready", "RevisionNotFound", TOLD).await?;
    println!("no-revision: {message}");
    assert!(
        message.starts_with("spec.selfHosted.source.uri: org/smol has no revision v9; name a branch"),
        "{message}"
    );

    hub.set(|script| script.is_gated = true);
    ns.apply(&model("gated", &hub, &source)).await?;
    let message = ns.told("mdep/gated", "Ready", "GatedModel", TOLD).await?;
    println!("gated: {message}");
    assert!(
        message.contains("and set spec.selfHosted.source.secretRef to a token of that account"),
        "{message}"
    );
    asker.is_served().await
}
