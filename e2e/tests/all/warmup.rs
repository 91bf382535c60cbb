//! A model that is asleep, on a real cluster with the real engine: while its pod starts another model answers, or requests wait; then it does,
//! and none of them has failed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::http_client::HttpClient;
use e2e::images::Profile;
use e2e::portfolio::Portfolio;
use e2e::provider::{Options, Provider};
use e2e::{Cluster, skip, until};
use futures::TryStreamExt;
use futures::future::try_join_all;
use http::StatusCode;
use serde_json::{Value, json};

/// From a change to the routes that obey it.
const OBEYED: Duration = Duration::from_secs(10);
/// For an image to be imported and an engine to load its model.
const AWAKE: Duration = Duration::from_secs(150);
/// A provider's answer takes less, and a pod's start takes more.
const AT_ONCE: Duration = Duration::from_secs(5);
/// So many requests come while nothing runs.
const FIRST: usize = 20;

fn portfolio(provider: &str, names: &str) -> String {
    format!(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: gpt}}
spec:
  api: {{provider: OpenAI, model: gpt-5-mini, endpoint: '{provider}/v1', credentials: {{secretRef: {{name: openai, key: api-key}}}}}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: smol}}
spec:
  selfHosted:
    replicas: 0
    engine:
      kind: LlamaCpp
      args: [--model, /models/model.gguf, --ctx-size, '1024', --parallel, '2', --threads, '2', --no-ui, --offline, --cache-ram, '0']
      env: [{{name: OMP_WAIT_POLICY, value: passive}}, {{name: GOMP_SPINCOUNT, value: '0'}}]
---
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {{name: spills}}
spec: {{model: spills-{names}, rules: [{{targets: [{{model: smol}}]}}], warmup: {{mode: Spill, targets: [{{model: gpt}}]}}}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {{name: holds}}
spec: {{model: holds-{names}, rules: [{{targets: [{{model: smol}}]}}], warmup: {{mode: Hold, for: 3m}}}}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_pod_starts_another_model_answers_or_requests_wait_and_none_fails() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let Some(local) = cluster.local() else {
        skip("its provider listens inside our own cluster");
        return Ok(());
    };
    let installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("warmup").await?;
    let options = Options {
        tls: false,
        ..Options::default()
    };
    let provider = Provider::on(local.listen(0)?, options).await?;
    ns.kubectl(&["create", "secret", "generic", "openai", "--from-literal=api-key=sk-good"])
        .await?;
    ns.apply(&portfolio(&provider.url(), ns.name())).await?;
    ns.told("mdep/smol", "Ready", "ScaledToZero", OBEYED).await?;
    ns.told("rpol/holds", "Ready", "Routing", OBEYED).await?;

    let client = HttpClient::new(None)?;
    let bearer = format!("Bearer {}", installed.token(ns.name(), "caller").await?);
    let url = format!("{}/v1/chat/completions", installed.gateway());
    let body = |policy: &str| json!({"model": format!("{policy}-{}", ns.name()), "max_tokens": 2, "messages": [{"role": "user", "content": "Hi"}]});
    let headers = [("authorization", bearer.as_str())];
    // Who answers the policy that spills; and that it does so at once.
    let spilled = async || {
        let since = Instant::now();
        let answer = client.post(&url, &headers, &body("spills")).await?;
        ensure!(answer.status == StatusCode::OK, "{} {}", answer.status, answer.body);
        let model = answer.headers.get("x-portfolio-model").context("it does not say who answered")?;
        anyhow::Ok((model.clone(), since.elapsed()))
    };
    let (gpt, smol) = (format!("{}/gpt", ns.name()), format!("{}/smol", ns.name()));
    until("the other model answers", OBEYED, async || {
        Ok((spilled().await?.0 == gpt).then_some(()))
    })
    .await?;

    // No deadline of the client's own: these wait as long as the policy lets them.
    let held = try_join_all((0..FIRST).map(|_| async {
        let (status, bytes) = client.stream(&url, &headers, &body("holds")).await?;
        let text: Vec<bytes::Bytes> = bytes.try_collect().await?;
        let answer: Value = serde_json::from_slice(&text.concat()).context("no JSON")?;
        ensure!(status == StatusCode::OK && answer["choices"][0].is_object(), "{status} {answer}");
        Ok(())
    }));
    let wakes = async {
        let waiting = Instant::now();
        ns.kubectl(&[
            "patch",
            "mdep/smol",
            "--type=merge",
            "-p",
            r#"{"spec":{"selfHosted":{"replicas":1}}}"#,
        ])
        .await?;
        let (mut asked, mut slowest) = (0, Duration::ZERO);
        loop {
            let (model, time) = spilled().await?;
            if model == smol {
                println!(
                    "the pod answered after {:.1?}; {asked} requests went elsewhere meanwhile, the slowest {slowest:.1?}",
                    waiting.elapsed()
                );
                return anyhow::Ok(());
            }
            ensure!(model == gpt && time < AT_ONCE, "{model} after {time:?}");
            ensure!(waiting.elapsed() < AWAKE, "the pod does not come");
            (asked, slowest) = (asked + 1, slowest.max(time));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let since = Instant::now();
    tokio::try_join!(held, wakes)?;
    println!(
        "{FIRST} requests waited for the pod, and all were answered within {:.1?}",
        since.elapsed()
    );

    // Each of two gateways has seen it.
    for _ in 0..10 {
        let (model, _) = spilled().await?;
        ensure!(model == smol, "{model}");
    }
    ns.kubectl(&[
        "patch",
        "mdep/smol",
        "--type=merge",
        "-p",
        r#"{"spec":{"selfHosted":{"replicas":0}}}"#,
    ])
    .await?;
    until("the other model answers again", Duration::from_secs(60), async || {
        Ok((spilled().await?.0 == gpt).then_some(()))
    })
    .await
}
