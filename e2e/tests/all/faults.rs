//! Parts die one at a time while a client asks every 200 ms: what fails is counted, and only what was in flight on the dead part may.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::asker::Asker;
use e2e::http_client::HttpClient;
use e2e::images::Profile;
use e2e::namespace::Namespace;
use e2e::portfolio::{self, Portfolio};
use e2e::provider::{Options, Provider};
use e2e::{Cluster, skip, until};

const PORTFOLIO: &str = "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: smol}
spec:
  selfHosted:
    engine:
      kind: LlamaCpp
      args: [--model, /models/model.gguf, --ctx-size, '4096', --parallel, '2', --threads, '2', --no-ui, --offline, --cache-ram, '0']
      env: [{name: OMP_WAIT_POLICY, value: passive}, {name: GOMP_SPINCOUNT, value: '0'}]
    accelerator: {profile: nvidia-gpu}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: gpt}
spec: {api: {provider: OpenAI, model: gpt-5, endpoint: 'PROVIDER/v1', credentials: {secretRef: {name: openai, key: api-key}}}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: assistant}
spec: {model: faults-NAMESPACE, rules: [{strategy: Ordered, targets: [{model: smol}], fallback: [{model: gpt}]}]}
";

async fn container(ns: &str, selector: &str, kubectl: &e2e::kubectl::Kubectl) -> Result<(String, String)> {
    let path = "jsonpath={.items[0].metadata.name} {.items[0].status.containerStatuses[0].containerID}";
    let found = kubectl.run(&["-n", ns, "get", "pods", "-l", selector, "-o", path]).await?;
    let (pod, id) = found.split_once(' ').with_context(|| format!("no pod {selector}: {found}"))?;
    Ok((pod.to_owned(), id.to_owned()))
}

/// Kills a pod's process and waits until the kubelet has it Ready again.
async fn kill_pod(cluster: &Cluster, ns: &str, selector: &str) -> Result<()> {
    let local = cluster.local().context("our own cluster")?;
    let (pod, id) = container(ns, selector, cluster.kubectl()).await?;
    local.kill_container(&id).await?;
    until(&format!("{pod} runs again"), Duration::from_secs(90), async || {
        let (_, now) = container(ns, selector, cluster.kubectl()).await?;
        ensure!(now != id, "the same container");
        Ok(Some(()))
    })
    .await?;
    cluster
        .kubectl()
        .run(&["-n", ns, "wait", "--for=condition=Ready", &format!("pod/{pod}"), "--timeout=90s"])
        .await
        .map(drop)
}

/// Waits until the gateway says whether its routes follow the cluster: `1`, or `0` while the API server is away. It is ready all the same.
async fn says_routes_current(gateway: &str, current: &str) -> Result<()> {
    let client = HttpClient::new(None)?;
    let line = format!("portfolio_gateway_routes_current {current}");
    until(&line, Duration::from_secs(60), async || {
        let metrics = client.get(&format!("{gateway}/metrics"), &[]).await?;
        let told = metrics.body.as_str().is_some_and(|text| text.lines().any(|told| told == line));
        let ready = client.get(&format!("{gateway}/readyz"), &[]).await?;
        ensure!(ready.status.is_success(), "{} {}", ready.status, ready.body);
        let is_away = ready.body.as_str().is_some_and(|text| text.contains("API server"));
        Ok((told && is_away == (current == "0")).then_some(()))
    })
    .await
}

async fn setup(cluster: &Cluster, ns: &Namespace, provider: &Provider) -> Result<(Portfolio, Arc<Asker>)> {
    let installed = Portfolio::install(cluster, Profile::Debug, "").await?;
    ns.kubectl(&["create", "secret", "generic", "openai", "--from-literal=api-key=sk-any"])
        .await?;
    ns.apply(&PORTFOLIO.replace("PROVIDER", &provider.url()).replace("NAMESPACE", ns.name()))
        .await?;
    ns.kubectl(&[
        "wait",
        "--for=condition=Ready",
        "mdep/smol",
        "mdep/gpt",
        "rpol/assistant",
        "--timeout=120s",
    ])
    .await?;
    let asker = Asker::new(&installed, ns, &format!("faults-{}", ns.name())).await?;
    Ok((installed, asker))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_part_costs_at_most_what_was_in_flight_on_it() -> Result<()> {
    let cluster = Cluster::alone().await?;
    let Some(local) = cluster.local() else {
        skip("it kills parts of our own cluster");
        return Ok(());
    };
    let ns = cluster.namespace("faults").await?;
    let provider = Provider::on(
        local.listen(0)?,
        Options {
            tls: false,
            ..Options::default()
        },
    )
    .await?;
    let (installed, asker) = setup(&cluster, &ns, &provider).await?;
    asker.is_served().await?;
    let parts = local.parts();
    let restarted = async |part: &str| -> Result<()> {
        parts.kill(part)?;
        if part.starts_with("kube-apiserver") {
            says_routes_current(installed.gateway(), "0").await?;
        }
        tokio::time::sleep(Duration::from_secs(4)).await;
        parts.start(part)?;
        until("the API server is ready and the node too", Duration::from_secs(60), async || {
            let ready = cluster.kubectl().run(&["get", "--raw", "/readyz"]).await?;
            cluster
                .kubectl()
                .run(&["wait", "--for=condition=Ready", "node", "--all", "--timeout=5s"])
                .await?;
            Ok((ready.trim() == "ok").then_some(()))
        })
        .await?;
        says_routes_current(installed.gateway(), "1").await
    };

    println!("killed        asked  attempts failed  lost after an SDK's retries  slowest");
    let mut wrong = vec![];
    for part in ["nothing", "operator", "engine", "kube-apiserver", "kubelet", "gateway"] {
        let count = asker
            .during(async {
                tokio::time::sleep(Duration::from_secs(2)).await;
                match part {
                    "operator" => kill_pod(&cluster, portfolio::NAMESPACE, "app.kubernetes.io/component=operator").await?,
                    "gateway" => kill_pod(&cluster, portfolio::NAMESPACE, "app.kubernetes.io/component=gateway").await?,
                    "engine" => kill_pod(&cluster, ns.name(), "llmportfolio.dev/model=smol").await?,
                    "kubelet" => restarted("kubelet@1").await?,
                    "kube-apiserver" => restarted("kube-apiserver@1").await?,
                    _ => {}
                }
                tokio::time::sleep(Duration::from_secs(3)).await;
                Ok(())
            })
            .await?;
        println!(
            "{part:<14}{:>5}{:>17}{:>29}{:>8.2}s",
            count.asked,
            count.attempts_failed.len(),
            count.lost.len(),
            count.slowest.as_secs_f32()
        );
        // A gateway that dies takes its open connections along, and refuses new ones until it has left its Service.
        if !count.lost.is_empty() || (part != "gateway" && !count.attempts_failed.is_empty()) {
            wrong.push(format!("{part}: {count:?}"));
        }
        asker.is_served().await?;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}
