//! Parts die one at a time while a client asks every 200 ms: what fails is counted, and only what was in flight on the dead part may.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::http_client::HttpClient;
use e2e::images::Profile;
use e2e::namespace::Namespace;
use e2e::portfolio::{self, Portfolio};
use e2e::provider::{Options, Provider};
use e2e::{Cluster, skip, until};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// How often the client asks.
const EVERY: Duration = Duration::from_millis(200);
/// What the SDKs do by default when a connection fails: so many further attempts, after this pause.
const RETRIES: usize = 2;
const PAUSE: Duration = Duration::from_millis(500);

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

/// What became of the client's requests.
#[derive(Clone, Debug, Default)]
struct Count {
    asked: usize,
    /// Attempts that failed, each with how: a connection's end or an HTTP status.
    attempts_failed: Vec<String>,
    /// Requests that an SDK with its default retries would have reported as failed.
    lost: Vec<String>,
    slowest: Duration,
}

struct Asker {
    client: HttpClient,
    url: String,
    bearer: String,
    body: Value,
}

impl Asker {
    /// Asks at a constant rate until `until_done` ends, whatever the answers do.
    async fn during(self: &Arc<Self>, until_done: impl Future<Output = Result<()>>) -> Result<Count> {
        let count = Arc::new(Mutex::new(Count::default()));
        let mut asking = JoinSet::new();
        let mut ticks = tokio::time::interval(EVERY);
        let mut until_done = std::pin::pin!(until_done);
        loop {
            tokio::select! {
                done = &mut until_done => { done?; break; }
                _ = ticks.tick() => { asking.spawn(Arc::clone(self).ask(Arc::clone(&count))); }
            }
        }
        asking.join_all().await;
        let count = count.lock().map(|count| count.clone());
        count.map_err(|_| anyhow::anyhow!("a request panicked"))
    }

    async fn ask(self: Arc<Self>, count: Arc<Mutex<Count>>) {
        let since = Instant::now();
        let mut failures = vec![];
        for attempt in 0..=RETRIES {
            match self.client.post(&self.url, &[("authorization", &self.bearer)], &self.body).await {
                Ok(answer) if answer.status.is_success() => break,
                Ok(answer) => failures.push(format!("{} {}", answer.status, answer.body)),
                Err(error) => failures.push(format!("{error:#}")),
            }
            if attempt < RETRIES {
                tokio::time::sleep(PAUSE).await;
            }
        }
        if let Ok(mut count) = count.lock() {
            count.asked += 1;
            count.slowest = count.slowest.max(since.elapsed());
            if failures.len() > RETRIES {
                count.lost.extend(failures.last().cloned());
            }
            count.attempts_failed.extend(failures);
        }
    }
}

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

async fn serves(asker: &Arc<Asker>) -> Result<()> {
    until("the policy answers", Duration::from_secs(120), async || {
        let answer = asker
            .client
            .post(&asker.url, &[("authorization", &asker.bearer)], &asker.body)
            .await?;
        ensure!(answer.status.is_success(), "{} {}", answer.status, answer.body);
        Ok(Some(()))
    })
    .await
}

async fn setup(cluster: &Cluster, ns: &Namespace, provider: &Provider) -> Result<Arc<Asker>> {
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
    let token = installed.token(ns.name(), "caller").await?;
    Ok(Arc::new(Asker {
        client: HttpClient::new(None)?,
        url: format!("{}/v1/chat/completions", installed.gateway()),
        bearer: format!("Bearer {token}"),
        body: json!({"model": format!("faults-{}", ns.name()), "max_tokens": 2, "messages": [{"role": "user", "content": "Hi"}]}),
    }))
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
    let asker = setup(&cluster, &ns, &provider).await?;
    serves(&asker).await?;
    let parts = local.parts();
    let restarted = async |part: &str| -> Result<()> {
        parts.kill(part)?;
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
        .await
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
        serves(&asker).await?;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}
