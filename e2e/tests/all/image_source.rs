//! Weights in an image: copied out of it by a container that runs it where the nodes' runtime mounts no images, as ours does not, and its
//! troubles in the model's status.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::asker::Asker;
use e2e::images::{self, Profile};
use e2e::namespace::Namespace;
use e2e::portfolio::Portfolio;
use e2e::{Cluster, skip, until};
use serde_json::Value;

/// The kubelet waits longer after each failure; two are enough for every case here.
const TOLD: Duration = Duration::from_secs(60);

fn model(name: &str, uri: &str) -> String {
    format!(
        "---\napiVersion: llmportfolio.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {{name: {name}}}\n\
         spec: {{selfHosted: {{source: {{uri: '{uri}'}}, resources: {{requests: {{cpu: 10m}}}}, \
         engine: {{kind: LlamaCpp, args: [--ctx-size, '512', --threads, '2', --no-ui, --offline, --cache-ram, '0']}}}}}}\n"
    )
}

async fn told(ns: &Namespace, name: &str, reason: &str) -> Result<String> {
    until(&format!("{name} tells {reason}"), TOLD, async || {
        let object: Value = serde_json::from_str(&ns.kubectl(&["get", &format!("mdep/{name}"), "-o", "json"]).await?)?;
        let conditions = object["status"]["conditions"].as_array().context("no conditions")?;
        let ready = conditions.iter().find(|c| c["type"] == "Ready").context("no Ready")?;
        ensure!(ready["reason"] == reason, "{ready}");
        Ok(Some(ready["message"].as_str().unwrap_or_default().to_owned()))
    })
    .await
}

/// Waits for each reason and compares the words.
async fn are_told(ns: &Namespace, expected: &[(&str, &str, &str)]) -> Result<()> {
    let mut wrong = vec![];
    for (name, reason, words) in expected {
        let message = told(ns, name, reason).await?;
        eprintln!("{name}: {reason}: {message}");
        if !message.contains(words) {
            wrong.push(format!("{name}: wanted {words}: {message}"));
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_in_an_image_are_copied_where_images_are_not_mounted() -> Result<()> {
    // Alone: it changes the installer's settings twice.
    let cluster = Cluster::alone().await?;
    if cluster.local().is_none() {
        skip("its images are only on our own nodes");
        return Ok(());
    }
    cluster.load_image(&images::weights().await?).await?;
    cluster.load_image(&images::e2e(Profile::Debug).await?).await?;
    let installed = Portfolio::install(&cluster, Profile::Debug, "settings: {imageVolumes: Never}").await?;
    let ns = cluster.namespace("image").await?;
    let policy = format!(
        "---\napiVersion: llmportfolio.dev/v1alpha1\nkind: RoutingPolicy\nmetadata: {{name: assistant}}\n\
         spec: {{model: image-{}, rules: [{{targets: [{{model: smol}}]}}]}}\n",
        ns.name()
    );
    let yaml = [
        model("smol", "oci://localhost/weights:1#models/model.gguf"),
        model("no-file", "oci://localhost/weights:1#models/nowhere.gguf"),
        model("no-cp", "oci://localhost/e2e:dev#model.gguf"),
        model("no-image", "oci://localhost/nowhere:1#models/model.gguf"),
        policy,
    ];
    ns.apply(&yaml.concat()).await?;
    ns.kubectl(&["wait", "--for=condition=Ready", "mdep/smol", "--timeout=120s"])
        .await?;
    Asker::new(&installed, &ns, &format!("image-{}", ns.name()))
        .await?
        .is_served()
        .await?;
    are_told(
        &ns,
        &[
            (
                "no-file",
                "WeightsNotCopied",
                "spec.selfHosted.source.uri: copying the weights out of the image \"localhost/weights:1\" ended with exit code 1: cp: cannot stat '/models/nowhere.gguf'",
            ),
            (
                "no-cp",
                "WeightsNotCopied",
                "spec.selfHosted.source.uri: the image \"localhost/e2e:dev\" has no program cp",
            ),
            (
                "no-image",
                "ImageNotAvailable",
                "\"localhost/nowhere:1\" cannot be pulled: the registry cannot be reached; check spec.selfHosted.source.uri",
            ),
        ],
    )
    .await?;

    // By itself the operator takes the version of the server for that of the nodes' runtime; a node that cannot says so.
    Portfolio::install(&cluster, Profile::Debug, "").await?;
    ns.apply(
        &[
            model("mounted", "oci://localhost/weights:1#models/model.gguf"),
            model("no-volume", "oci://localhost/nowhere:1#m.gguf"),
        ]
        .concat(),
    )
    .await?;
    are_told(
        &ns,
        &[
            ("mounted", "ImageNotMounted", "let the installer set imageVolumes to Never"),
            (
                "no-volume",
                "ImageNotAvailable",
                "\"localhost/nowhere:1\" cannot be pulled: the registry cannot be reached; check spec.selfHosted.source.uri",
            ),
        ],
    )
    .await
}
