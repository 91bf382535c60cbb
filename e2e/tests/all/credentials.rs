//! A key's way from the Secret that a user writes to the gateway's own, and that nobody on it needs a right that the chart does not give.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::http_client::HttpClient;
use e2e::images::Profile;
use e2e::portfolio::{self, Portfolio};
use e2e::provider::{Options, Provider};
use e2e::{Cluster, audit, skip, until};
use serde_json::json;

/// What a rotated or withdrawn key may take to arrive.
const ARRIVES: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_rotated_key_arrives_within_seconds_and_leaves_with_its_model_and_no_right_is_missing() -> Result<()> {
    // Alone: the audit log has what this test made them do.
    let cluster = Cluster::alone().await?;
    let Some(local) = cluster.local() else {
        skip("its provider listens inside our own cluster, whose audit log it reads");
        return Ok(());
    };
    let mut log = local.audit()?;
    let installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    // Restarted, so that the log has what they read at their start too.
    for part in ["operator", "gateway"] {
        let deployment = format!("deployment/llm-portfolio-{part}");
        for arguments in [&["restart", &deployment][..], &["status", &deployment, "--timeout=120s"]] {
            cluster
                .kubectl()
                .run(&[&["-n", portfolio::NAMESPACE, "rollout"], arguments].concat())
                .await?;
        }
    }
    let ns = cluster.namespace("rotated").await?;
    let options = Options {
        tls: false,
        ..Options::default()
    };
    let provider = Provider::on(local.listen(0)?, options).await?;
    let secret = |key: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: openai}}\nstringData: {{key: {key}}}\n");
    let yaml = format!(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: gpt}}
spec: {{api: {{provider: OpenAI, model: m, endpoint: '{}/v1', credentials: {{secretRef: {{name: openai, key: key}}}}}}}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {{name: gpt}}
spec: {{model: {}, rules: [{{targets: [{{model: gpt}}]}}]}}
",
        provider.url(),
        ns.name()
    );
    ns.apply(&secret("sk-one")).await?;
    ns.apply(&yaml).await?;
    ns.kubectl(&["wait", "--for=condition=Ready", "mdep/gpt", "rpol/gpt", "--timeout=60s"])
        .await?;
    let backend = format!("backend.{}.gpt", ns.name());
    let copy = async || {
        let get = [
            "-n",
            portfolio::NAMESPACE,
            "get",
            "secret",
            &backend,
            "--ignore-not-found",
            "-o",
            "jsonpath={.data}",
        ];
        cluster.kubectl().run(&get).await
    };
    let first = copy().await?;
    assert!(first.contains("c2stb25l"), "base64 of sk-one: {first}");

    let begin = Instant::now();
    ns.apply(&secret("sk-two")).await?;
    until("the gateway's copy is the rotated key", ARRIVES, async || {
        Ok(copy().await?.contains("c2stdHdv").then_some(()))
    })
    .await?;
    println!("the rotated key arrived in {:.2} s", begin.elapsed().as_secs_f32());

    let token = installed.token(ns.name(), "caller").await?;
    let body = json!({"model": ns.name(), "messages": [{"role": "user", "content": "q"}]});
    let url = format!("{}/v1/chat/completions", installed.gateway());
    let client = HttpClient::new(None)?;
    until("the gateway answers", Duration::from_secs(30), async || {
        let answer = client.post(&url, &[("authorization", &format!("Bearer {token}"))], &body).await?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
        Ok(Some(()))
    })
    .await?;

    let begin = Instant::now();
    ns.kubectl(&["delete", "mdep/gpt"]).await?;
    until("the gateway's copy is gone", ARRIVES, async || {
        Ok(copy().await?.is_empty().then_some(()))
    })
    .await?;
    println!("the copy was gone in {:.2} s", begin.elapsed().as_secs_f32());

    let requests = log.take()?;
    for who in ["operator", "gateway"] {
        let user = format!("system:serviceaccount:llm-portfolio:llm-portfolio-{who}");
        // Elsewhere are namespaces that are just being deleted: nobody may create there, whatever their rights.
        let here = |r: &&audit::Request| r.user == user && ["", portfolio::NAMESPACE, ns.name()].contains(&r.namespace.as_str());
        let used: Vec<&audit::Request> = requests.iter().filter(here).collect();
        let rights: BTreeSet<String> = used.iter().map(|r| format!("{} {}/{}", r.verb, r.group, r.resource)).collect();
        println!("{who}: {} requests, {rights:#?}", used.len());
        assert!(rights.len() > 5, "{who} did something: {rights:?}");
        let refused: Vec<_> = used.iter().filter(|r| r.code == 403).collect();
        assert!(refused.is_empty(), "{who} was refused {refused:#?}");
    }
    Ok(())
}
