//! A settled portfolio costs the API server nothing: the operator sends no request but its lease and its watches.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::hub::{Hub, Repository};
use e2e::images::{self, Profile};
use e2e::portfolio::Portfolio;
use e2e::provider::{Options, Provider};
use e2e::volume::Volume;
use e2e::weights::{FILE, Weights};
use e2e::{Cluster, audit, skip, until};
use serde_json::Value;

/// How long to look; `E2E_SETTLED_SECONDS` looks longer.
const LOOK: Duration = Duration::from_secs(45);

const PORTFOLIO: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: cases}
data: {cases.jsonl: '{\"id\": \"1\", \"input\": \"q\", \"expected\": \"a\"}'}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: smol}
spec: {selfHosted: {engine: {kind: LlamaCpp, args: [--model, /models/model.gguf]}, accelerator: {profile: nvidia-gpu}}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: counted}
spec: {selfHosted: {engine: {kind: Custom, image: 'localhost/e2e:dev', port: 9000, args: [provider, --listen, '0.0.0.0:9000', --plain]}}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: cached}
spec: {selfHosted: {source: {uri: 'hf://org/smol/FILE'}, cache: {storageClassName: NAMESPACE}, resources: {requests: {cpu: 10m}},
  engine: {kind: LlamaCpp, args: [--ctx-size, '512', --threads, '1', --no-ui, --offline], env: [{name: HF_ENDPOINT, value: HUB}]}}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: unbound}
spec: {selfHosted: {source: {uri: 'hf://org/smol/FILE'}, cache: {storageClassName: nowhere}, engine: {kind: LlamaCpp, env: [{name: HF_ENDPOINT, value: HUB}]}}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: gpt}
spec: {api: {provider: OpenAI, model: gpt-5, endpoint: 'PROVIDER/v1', credentials: {secretRef: {name: openai, key: api-key}}}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: broken}
spec: {api: {provider: OpenAI, model: gpt-5, endpoint: 'PROVIDER/v1', credentials: {secretRef: {name: nowhere, key: api-key}}}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: one}
spec: {model: one-NAMESPACE, rules: [{targets: [{model: smol}], fallback: [{model: gpt}]}]}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: two}
spec: {model: two-NAMESPACE, require: {evaluated: [{evalJob: quality}]}, rules: [{targets: [{model: gpt}]}]}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: EvalJob
metadata: {name: quality}
spec:
  targets: {models: [gpt]}
  schedule: {cron: '0 0 1 1 *'}
  suites: [{name: s, exemplars: {dataset: {configMapRef: {name: cases, key: cases.jsonl}}}, scorer: {exact: {}}}]
  criteria: [{suite: s, metric: accuracy, lowerBoundAtLeast: '0.5'}]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_portfolio_costs_no_requests() -> Result<()> {
    // Alone: other tests would give the operator something to do.
    let cluster = Cluster::alone().await?;
    let Some(local) = cluster.local() else {
        skip("it reads the audit log of our own cluster");
        return Ok(());
    };
    cluster.load_image(&images::e2e(Profile::Debug).await?).await?;
    let _installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("settled").await?;
    let provider = Provider::on(
        local.listen(0)?,
        Options {
            tls: false,
            ..Options::default()
        },
    )
    .await?;
    ns.kubectl(&["create", "secret", "generic", "openai", "--from-literal=api-key=sk-any"])
        .await?;
    let weights = Weights::in_a_folder().await?;
    let hub = Hub::on(local.listen(0)?, None, Repository::new("org/smol", weights.path())).await?;
    let volume = Volume::make(&cluster, ns.name()).await?;
    let words = [
        ("PROVIDER", provider.url()),
        ("NAMESPACE", ns.name().to_owned()),
        ("HUB", hub.url()),
        ("FILE", FILE.to_owned()),
    ];
    let portfolio = words
        .iter()
        .fold(PORTFOLIO.to_owned(), |text, (word, value)| text.replace(word, value));
    ns.apply(&portfolio).await?;
    ns.kubectl(&[
        "wait",
        "--for=condition=Ready",
        "mdep/smol",
        "mdep/counted",
        "mdep/cached",
        "mdep/gpt",
        "rpol/one",
        "evj/quality",
        "--timeout=120s",
    ])
    .await?;

    ns.told("mdep/unbound", "Ready", "VolumeClaimUnbound", Duration::from_secs(60))
        .await?;

    // Portfolios that others left in the cluster may have work to do; this one, with its copies in the gateway's namespace, may not.
    let by_operator = |requests: Vec<audit::Request>| -> Vec<audit::Request> {
        let is_work = |r: &audit::Request| {
            let by_it = r.user == "system:serviceaccount:llm-portfolio:llm-portfolio-operator";
            by_it && r.verb != "watch" && r.resource != "leases" && (r.namespace == ns.name() || r.name.contains(ns.name()))
        };
        requests.into_iter().filter(is_work).collect()
    };
    let mut log = local.audit()?;
    until("three quiet seconds", Duration::from_secs(60), async || {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let work = by_operator(log.take()?);
        ensure!(work.is_empty(), "{:?}", audit::count(&work));
        Ok(Some(()))
    })
    .await?;

    let look = std::env::var("E2E_SETTLED_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .map_or(LOOK, Duration::from_secs);
    tokio::time::sleep(look).await;
    let requests = log.take()?;
    let all = requests.iter().filter(|r| r.user.ends_with(":llm-portfolio-operator")).count();
    let work = by_operator(requests);
    println!(
        "in {look:?}: {} requests by the operator beside its lease and watches, {all} in all",
        work.len()
    );
    assert!(work.is_empty(), "{:?}", audit::count(&work));

    // Nor does it cost the engine anything, once it has answered.
    let get = "http://127.0.0.1:9000/_control/requests";
    let seen = ns.kubectl(&["exec", "deployment/counted-engine", "--", "/e2e", "get", get]).await?;
    let seen: Value = serde_json::from_str(&seen)?;
    assert_eq!(seen["count"], 1, "{seen}");
    assert_eq!(seen["records"][0]["path"], "/v1/chat/completions", "{seen}");
    ns.delete().await?;
    volume.remove().await
}
