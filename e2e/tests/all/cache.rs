//! Weights that are fetched once: by one Job for two models, on after a kill where it was, in a claim of the right size that goes with the
//! last of them; and in a claim of the user's, where only what was fetched goes.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::asker::Asker;
use e2e::hub::{Hub, Repository};
use e2e::images::Profile;
use e2e::namespace::Namespace;
use e2e::portfolio::Portfolio;
use e2e::volume::Volume;
use e2e::weights::{FILE, Weights};
use e2e::{Cluster, skip, until};

/// A Job, its pod, its image and its last words.
const TOLD: Duration = Duration::from_secs(60);
/// Pods answer to the end for half a minute, and then the Jobs take their turns.
const GONE: Duration = Duration::from_secs(150);
/// What a kill may cost: some MiB on each of a few connections.
const LOST: u64 = 32 << 20;

fn model(name: &str, hub: &Hub, revision: &str, cache: &str) -> String {
    format!(
        "---\napiVersion: llmportfolio.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {{name: {name}}}\n\
         spec: {{selfHosted: {{source: {{uri: 'hf://org/smol@{revision}/{FILE}'}}, cache: {cache}, resources: {{requests: {{cpu: 10m}}}}, \
         engine: {{kind: LlamaCpp, args: [--ctx-size, '512', --threads, '2', --no-ui, --offline, --cache-ram, '0'], env: [{{name: HF_ENDPOINT, value: '{}'}}]}}}}}}\n",
        hub.url()
    )
}

fn policy(ns: &Namespace, model: &str) -> String {
    format!(
        "---\napiVersion: llmportfolio.dev/v1alpha1\nkind: RoutingPolicy\nmetadata: {{name: {model}}}\n\
         spec: {{model: {}-{model}, rules: [{{targets: [{{model: {model}}}]}}]}}\n",
        ns.name()
    )
}

/// The names of what a cache consists of, and whether any is there.
async fn objects(ns: &Namespace) -> Result<String> {
    ns.kubectl(&["get", "pvc,jobs", "-l", "llmportfolio.dev/cache", "-o", "name"]).await
}

/// The id of the running container that fetches.
async fn fetcher(ns: &Namespace) -> Result<String> {
    let path = "jsonpath={.items[*].status.containerStatuses[?(@.state.running)].containerID}";
    let id = ns.kubectl(&["get", "pods", "-l", "llmportfolio.dev/cache", "-o", path]).await?;
    ensure!(!id.is_empty(), "it does not run");
    Ok(id)
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_are_fetched_once_for_two_models_and_go_with_the_last() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let Some(local) = cluster.local() else {
        skip("its hub listens inside our own cluster, and its volumes are on this machine");
        return Ok(());
    };
    let installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("cache").await?;
    let weights = Weights::in_a_folder().await?;
    let size = fs::metadata(weights.file())?.len();
    let hub = Hub::on(
        local.listen(0)?,
        Some(local.listen(0)?),
        Repository::new("org/smol", weights.path()),
    )
    .await?;
    let volume = Volume::make(&cluster, ns.name()).await?;
    let class = format!("{{storageClassName: {}}}", ns.name());

    // Every connection breaks after 4 MiB, so that there is a middle to kill it in.
    hub.set(|script| script.cut = (usize::MAX, 4 << 20));
    let both: String = ["one", "two"]
        .iter()
        .map(|name| model(name, &hub, "main", &class) + &policy(&ns, name))
        .collect();
    ns.apply(&both).await?;
    let id = until("the fetch is on its way", Duration::from_secs(90), async || {
        ensure!(hub.counted() > 8 << 20, "{} bytes", hub.counted());
        Ok(Some(fetcher(&ns).await?))
    })
    .await?;
    let before = hub.counted();
    let progress = ns.told("mdep/two", "ModelCached", "Fetching", TOLD).await?;
    println!("ModelCached: {progress}");
    assert!(
        progress.contains("93.8 MiB") && progress.contains("is fetched into PersistentVolumeClaim cache-smol-"),
        "{progress}"
    );
    assert_eq!(
        ns.kubectl(&["get", "deployments", "-o", "name"]).await?,
        "",
        "no pods before the weights are there"
    );
    local.kill_container(&id).await?;
    hub.set(|script| script.cut = (0, 0));
    ns.kubectl(&["wait", "--for=condition=Ready", "mdep/one", "mdep/two", "--timeout=150s"])
        .await?;
    for name in ["one", "two"] {
        Asker::new(&installed, &ns, &format!("{}-{name}", ns.name()))
            .await?
            .is_served()
            .await?;
        println!(
            "ModelCached: {}",
            ns.told(&format!("mdep/{name}"), "ModelCached", "Cached", TOLD).await?
        );
    }
    let served = hub.seen().content_bytes;
    println!("killed after {before} of {size} bytes; {served} served in all, for two models");
    assert!(served >= size && served < size + LOST, "{served} bytes served for a file of {size}");
    let there = objects(&ns).await?;
    assert_eq!(there.lines().count(), 2, "one claim and one Job: {there}");

    // The branch moves on: what was fetched stays what it is for those who asked for it.
    fs::write(weights.path().join("notes.txt"), "more")?;
    hub.commit_again()?;
    ns.apply(&model("three", &hub, "main", &class)).await?;
    ns.kubectl(&["wait", "--for=condition=Ready", "mdep/three", "--timeout=90s"])
        .await?;
    assert_eq!(hub.seen().content_bytes, 0);

    ns.kubectl(&["delete", "mdep", "one", "two"]).await?;
    ns.kubectl(&[
        "wait",
        "--for=delete",
        "deployment/one-engine",
        "deployment/two-engine",
        "--timeout=60s",
    ])
    .await?;
    assert_eq!(objects(&ns).await?, there, "the third reads it");
    ns.kubectl(&["delete", "mdep", "three"]).await?;
    until("the cache is gone", GONE, async || {
        let left = objects(&ns).await?;
        ensure!(left.is_empty(), "{left}");
        Ok(Some(()))
    })
    .await?;
    ns.delete().await?;
    volume.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_the_users_keeps_what_is_not_ours_and_mistakes_are_told() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let Some(local) = cluster.local() else {
        skip("its hub listens inside our own cluster, and its volumes are on this machine");
        return Ok(());
    };
    Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("cache-claim").await?;
    let weights = Weights::in_a_folder().await?;
    let hub = Hub::on(
        local.listen(0)?,
        Some(local.listen(0)?),
        Repository::new("org/smol", weights.path()),
    )
    .await?;
    let volume = Volume::make(&cluster, ns.name()).await?;
    fs::write(volume.folder().join("theirs.txt"), "not ours")?;
    ns.apply(&format!(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: models}}\n\
         spec: {{accessModes: [ReadWriteMany], storageClassName: {}, resources: {{requests: {{storage: 1Gi}}}}}}\n",
        ns.name()
    ))
    .await?;

    let commit = hub.commit();
    ns.apply(&model("smol", &hub, &commit, "{claim: models}")).await?;
    ns.kubectl(&["wait", "--for=condition=Ready", "mdep/smol", "--timeout=120s"])
        .await?;
    let ours = || -> Result<Vec<String>> {
        let names = fs::read_dir(volume.folder())?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let names: Result<Vec<String>> = names.collect();
        Ok(names?.into_iter().filter(|name| name != "theirs.txt").collect())
    };
    assert_eq!(ours()?.len(), 1);

    let mistakes = [
        (
            model("small", &hub, &commit, "{size: 10Mi}"),
            "Invalid",
            "spec.selfHosted.cache.size: 10Mi is less than the 93.8 MiB of hf://org/smol@",
        ),
        (
            model("first", &hub, "main", "{size: 1Gi}"),
            "VolumeClaimUnbound",
            "is not bound to a volume",
        ),
        (
            model("other", &hub, "main", "{size: 1Gi, accessMode: ReadWriteOnce}"),
            "Invalid",
            "spec.selfHosted.cache.accessMode: ReadWriteOnce is asked for, and ModelDeployment",
        ),
        (
            model("no-revision", &hub, "v9", "{claim: models}"),
            "RevisionNotFound",
            "spec.selfHosted.source.uri: org/smol has no revision v9; name a branch",
        ),
        (
            model("no-claim", &hub, "main", "{claim: nowhere}"),
            "VolumeClaimNotFound",
            "nowhere does not exist; create it, or name another in spec.selfHosted.cache.claim",
        ),
    ];
    for (object, reason, words) in &mistakes {
        ns.apply(object).await?;
        let name = object
            .split("name: ")
            .nth(1)
            .and_then(|rest| rest.split('}').next())
            .context("a name")?;
        let message = ns.told(&format!("mdep/{name}"), "Ready", reason, TOLD).await?;
        println!("{name}: {reason}: {message}");
        assert!(message.contains(words), "{message}");
    }

    ns.kubectl(&["delete", "mdep", "--all"]).await?;
    until("what was fetched is gone, and the Jobs with it", GONE, async || {
        let (left, objects) = (ours()?, objects(&ns).await?);
        ensure!(left.is_empty() && objects.is_empty(), "{left:?} {objects}");
        Ok(Some(()))
    })
    .await?;
    assert!(volume.folder().join("theirs.txt").exists());
    ns.kubectl(&["get", "pvc", "models"]).await?;
    ns.delete().await?;
    volume.remove().await
}
