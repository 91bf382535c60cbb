//! The loop that the product is for: a model that fails its evaluation loses its traffic, and gets it back when it passes again.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::http_client::HttpClient;
use e2e::images::Profile;
use e2e::namespace::Namespace;
use e2e::portfolio::Portfolio;
use e2e::provider::{Options, Provider, Script};
use e2e::{Cluster, skip, until};
use http::StatusCode;
use serde_json::json;

/// The slot comes within a minute; the Job starts, asks and reports within another.
const A_RUN: Duration = Duration::from_secs(150);
/// From a verdict to the route that obeys it.
const OBEYED: Duration = Duration::from_secs(5);
const QUESTIONS: usize = 20;

fn portfolio(provider: &str, policy: &str) -> String {
    let cases: Vec<String> = (0..QUESTIONS)
        .map(|n| json!({"id": n.to_string(), "input": format!("question {n:02}?"), "expected": format!("answer {n:02}")}).to_string())
        .collect();
    format!(
        "
apiVersion: v1
kind: ConfigMap
metadata: {{name: cases}}
data: {{cases.jsonl: {cases}}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: gpt}}
spec:
  api: {{provider: OpenAI, model: gpt-5-mini, endpoint: '{provider}/v1', credentials: {{secretRef: {{name: openai, key: api-key}}}}}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {{name: assistant}}
spec:
  model: {policy}
  require: {{evaluated: [{{evalJob: quality}}]}}
  rules: [{{targets: [{{model: gpt}}]}}]
---
apiVersion: llmportfolio.dev/v1alpha1
kind: EvalJob
metadata: {{name: quality}}
spec:
  targets: {{models: [gpt]}}
  schedule: {{cron: '* * * * *'}}
  suites: [{{name: cases, exemplars: {{dataset: {{configMapRef: {{name: cases, key: cases.jsonl}}}}}}, scorer: {{exact: {{}}}}}}]
  criteria: [{{suite: cases, metric: accuracy, lowerBoundAtLeast: '0.6'}}]
",
        cases = json!(cases.join("\n")),
    )
}

fn knows_the_answers(script: &mut Script) {
    script.answers = (0..QUESTIONS)
        .map(|n| (format!("question {n:02}?"), format!("answer {n:02}")))
        .collect();
}

async fn verdict(ns: &Namespace, wanted: &str) -> Result<()> {
    until(&format!("the verdict is {wanted}"), A_RUN, async || {
        let said = ns
            .kubectl(&[
                "get",
                "evj/quality",
                "-o",
                "jsonpath={.status.verdict} {.status.targets[0].message}",
            ])
            .await?;
        ensure!(said.starts_with(wanted), "{said}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn a_model_that_fails_its_evaluation_loses_its_traffic_until_it_passes_again() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let Some(local) = cluster.local() else {
        skip("its provider listens inside our own cluster");
        return Ok(());
    };
    let portfolio_installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("loop").await?;
    let provider = Provider::on(
        local.listen(0)?,
        Options {
            tls: false,
            ..Options::default()
        },
    )
    .await?;
    provider.set(|script| script.keys = vec!["sk-good".to_owned()]);
    provider.set(knows_the_answers);
    let policy = format!("assistant-{}", ns.name());
    ns.kubectl(&["create", "secret", "generic", "openai", "--from-literal=api-key=sk-good"])
        .await?;
    ns.apply(&portfolio(&provider.url(), &policy)).await?;

    let client = HttpClient::new(None)?;
    let token = portfolio_installed.token(ns.name(), "caller").await?;
    let bearer = format!("Bearer {token}");
    let url = format!("{}/v1/chat/completions", portfolio_installed.gateway());
    let body = json!({"model": policy, "messages": [{"role": "user", "content": "question 07?"}]});
    let asked = async || client.post(&url, &[("authorization", &bearer)], &body).await;
    let obeyed = async |status: StatusCode| {
        let since = Instant::now();
        let answer = until(&format!("the route answers {status}"), OBEYED, async || {
            let answer = asked().await?;
            ensure!(answer.status == status, "{} {}", answer.status, answer.body);
            Ok(Some(answer))
        })
        .await?;
        println!("{status} within {:.2} s of the verdict", since.elapsed().as_secs_f32());
        anyhow::Ok(answer)
    };

    let closed = until("the policy is known", Duration::from_secs(30), async || {
        let answer = asked().await?;
        Ok((answer.status == StatusCode::SERVICE_UNAVAILABLE).then_some(answer))
    })
    .await?;
    assert!(
        closed.body.to_string().contains("quality"),
        "without a verdict it fails closed, and says why: {}",
        closed.body
    );

    verdict(&ns, "Pass").await?;
    assert_eq!(obeyed(StatusCode::OK).await?.body["choices"][0]["message"]["content"], "answer 07");
    ns.kubectl(&[
        "wait",
        "--for=condition=Ready",
        "mdep/gpt",
        "rpol/assistant",
        "evj/quality",
        "--timeout=10s",
    ])
    .await?;

    provider.set(|script| script.answers.clear());
    verdict(&ns, "Fail").await?;
    let refused = obeyed(StatusCode::SERVICE_UNAVAILABLE).await?;
    assert!(
        refused.body.to_string().contains("must pass EvalJob quality, which says Fail"),
        "{}",
        refused.body
    );

    provider.set(knows_the_answers);
    verdict(&ns, "Pass").await?;
    obeyed(StatusCode::OK).await?;
    Ok(())
}
