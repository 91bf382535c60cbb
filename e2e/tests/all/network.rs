//! Who reaches an engine: the gateway does, and a pod of the same namespace does not, whatever it knows.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::asker::Asker;
use e2e::images::{self, Profile};
use e2e::namespace::Namespace;
use e2e::portfolio::{self, Portfolio};
use e2e::{Cluster, skip, until};

const PORTFOLIO: &str = "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: smol}
spec: {selfHosted: {engine: {kind: LlamaCpp, args: [--model, /models/model.gguf, --ctx-size, '512']}, resources: {requests: {cpu: 10m}}}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: assistant}
spec: {model: network-NAMESPACE, rules: [{targets: [{model: smol}]}]}
";

/// A pod that gets `url` until it is answered, labelled as `labels` say: whom a policy lets in is enforced only some moments after a pod has
/// its address.
fn visitor(name: &str, labels: &str, url: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{{labels}}}}}
spec:
  restartPolicy: OnFailure
  securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
  - name: get
    image: localhost/e2e:dev
    imagePullPolicy: Never
    args: [get, '{url}']
    securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
"
    )
}

/// Waits until the visitor was answered.
async fn was_answered(ns: &Namespace, name: &str) -> Result<()> {
    let succeeded = "--for=jsonpath={.status.phase}=Succeeded";
    ns.kubectl(&["wait", &format!("pod/{name}"), succeeded, "--timeout=120s"])
        .await
        .map(drop)
}

/// Waits until the visitor was turned away, and not answered.
async fn was_turned_away(ns: &Namespace, name: &str) -> Result<()> {
    until(&format!("{name} is turned away"), Duration::from_secs(120), async || {
        let path = "jsonpath={.status.phase} {.status.containerStatuses[0].restartCount}";
        let seen = ns.kubectl(&["get", "pod", name, "-o", path]).await?;
        let (phase, restarts) = seen.split_once(' ').unwrap_or_default();
        assert_ne!(phase, "Succeeded", "{name} reached the engine");
        ensure!(restarts.parse::<u32>()? > 0, "{seen}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_gateway_reaches_an_engine() -> Result<()> {
    // Alone: it changes the installer's settings.
    let cluster = Cluster::alone().await?;
    if cluster.local().is_none() {
        skip("whether policies are enforced is the cluster's own affair");
        return Ok(());
    }
    cluster.load_image(&images::e2e(Profile::Debug).await?).await?;
    let ns = cluster.namespace("network").await?;
    // One visitor that the installer lets in: what keeps the others out is the policy.
    let scrapers = format!(
        "settings: {{scrapers: [{{namespace: {}, podLabels: {{app: scraper}}}}]}}",
        ns.name()
    );
    let installed = Portfolio::install(&cluster, Profile::Debug, &scrapers).await?;
    ns.apply(&PORTFOLIO.replace("NAMESPACE", ns.name())).await?;
    let asker = Asker::new(&installed, &ns, &format!("network-{}", ns.name())).await?;
    asker.is_served().await?;

    let engine = format!("http://smol-engine.{}.svc.cluster.local/health", ns.name());
    let gateway = format!("http://llm-portfolio-gateway.{}.svc.cluster.local/healthz", portfolio::NAMESPACE);
    let like_the_gateway = "app.kubernetes.io/part-of: llm-portfolio, app.kubernetes.io/component: gateway";
    for (name, labels, url) in [
        ("stranger", "app: stranger", &engine),
        ("disguised", like_the_gateway, &engine),
        ("client", "app: client", &gateway),
        ("scraper", "app: scraper", &engine),
    ] {
        ns.apply(&visitor(name, labels, url)).await?;
    }
    // One goes through the gateway, as all may; one to the engine itself, as the installer allows; the gateway's labels are worth nothing in
    // another namespace.
    was_answered(&ns, "client").await?;
    was_answered(&ns, "scraper").await?;
    was_turned_away(&ns, "stranger").await?;
    was_turned_away(&ns, "disguised").await?;
    asker.is_served().await
}
