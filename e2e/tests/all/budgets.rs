//! A budget on a real cluster: the gateways share it through their ConfigMaps, it outlives them, and the policy's status tells it. A shadow spends its own.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::http_client::{Answer, HttpClient};
use e2e::images::Profile;
use e2e::portfolio::{NAMESPACE, Portfolio};
use e2e::provider::{Options, Provider};
use e2e::{Cluster, skip, until};
use http::StatusCode;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

/// From a change to the routes that obey it.
const OBEYED: Duration = Duration::from_secs(10);
/// In dollars, of which each answer costs one.
const BUDGET: usize = 30;
/// The same of the shadow.
const SHADOWS: usize = 10;
/// From a request to the status: the operator asks the gateways four times a minute, and tells figures once a minute.
const TOLD: Duration = Duration::from_secs(120);

#[tokio::test]
async fn two_gateways_spend_one_budget_and_others_after_them_know_what_was_spent() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let Some(local) = cluster.local() else {
        skip("its provider listens inside our own cluster");
        return Ok(());
    };
    let installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("budgets").await?;
    let options = Options {
        tls: false,
        ..Options::default()
    };
    let provider = Provider::on(local.listen(0)?, options).await?;
    provider.set(|script| script.answer = "yes".to_owned());
    let asked = |model: &str| {
        let records = provider.records();
        let of_it = records
            .iter()
            .filter(|record| record.path.ends_with("/chat/completions") && record.body["model"] == model);
        of_it.count()
    };
    let (billed, copied) = (|| asked("gpt-5-mini"), || asked("gpt-5-next"));
    ns.kubectl(&["create", "secret", "generic", "openai", "--from-literal=api-key=sk-good"])
        .await?;
    let name = format!("assistant-{}", ns.name());
    for (model, upstream) in [("gpt", "gpt-5-mini"), ("gpt-next", "gpt-5-next")] {
        ns.apply(&format!(
            "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: {model}}}
spec:
  api: {{provider: OpenAI, model: {upstream}, endpoint: '{}/v1', credentials: {{secretRef: {{name: openai, key: api-key}}}}}}
  price: {{inputPer1M: '0', outputPer1M: '1000000'}}
",
            provider.url()
        ))
        .await?;
    }
    ns.apply(&format!(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {{name: assistant}}
spec:
  model: {name}
  rules: [{{targets: [{{model: gpt}}]}}]
  budgets: [{{per: Policy, usd: '{BUDGET}', window: Month}}]
  shadow: [{{model: gpt-next, percent: 100, budget: {{usd: '{SHADOWS}', window: Month}}}}]
"
    ))
    .await?;

    let bearer = format!("Bearer {}", installed.token(ns.name(), "caller").await?);
    let url = format!("{}/v1/chat/completions", installed.gateway());
    let body = json!({"model": name, "max_tokens": 1, "messages": [{"role": "user", "content": "hello"}]});
    // By a connection of its own, so that each is answered by one of two gateways.
    let ask = async || -> Result<Answer> { HttpClient::new(None)?.post(&url, &[("authorization", &bearer)], &body).await };
    until("it is answered", OBEYED, async || {
        let answer = ask().await?;
        ensure!(answer.status == StatusCode::OK, "{} {}", answer.status, answer.body);
        Ok(Some(()))
    })
    .await?;
    // What a gateway counted before the operator first looked at it is of no known hour: by now each has been.
    until("each gateway was looked at", TOLD, async || {
        let since = ns
            .kubectl(&["get", "rpol/assistant", "-o", "jsonpath={.status.lastHour.since}"])
            .await?;
        let since: Timestamp = since.parse().context("no figures yet")?;
        let looked_for = llm_portfolio::cluster::now().duration_since(since);
        Ok((looked_for.as_secs() > 20).then_some(()))
    })
    .await?;
    let earlier = (billed(), copied());
    // As many in a row as make it sure that both were asked.
    let refused_by_all = async || -> Result<()> {
        let mut refused = 0;
        for _ in 0..BUDGET * 4 {
            let answer = ask().await?;
            match answer.status {
                StatusCode::OK => refused = 0,
                StatusCode::TOO_MANY_REQUESTS => {
                    ensure!(answer.body["error"]["code"] == "budget_exhausted", "{}", answer.body);
                    refused += 1;
                }
                status => anyhow::bail!("{status} {}", answer.body),
            }
            if refused == 16 {
                return Ok(());
            }
        }
        anyhow::bail!("{} are billed, and it goes on", billed())
    };
    refused_by_all().await?;
    assert!((BUDGET * 2 / 3..=BUDGET).contains(&billed()), "{} of {BUDGET}", billed());
    assert!((1..=SHADOWS).contains(&copied()), "{} of {SHADOWS}", copied());
    until("the status tells what was spent", TOLD, async || {
        let policy: Value = serde_json::from_str(&ns.kubectl(&["get", "rpol/assistant", "-o", "json"]).await?)?;
        let status = &policy["status"];
        let told = (
            status["lastHour"]["models"][0]["costUSD"].as_str(),
            status["shadow"][0]["costUSD"].as_str(),
            status["budgets"][0]["limit"].as_str(),
        );
        let costs = |told: Option<&str>, all: usize, earlier: usize| {
            told.and_then(|told| told.parse::<usize>().ok())
                .is_some_and(|told| (all - earlier..=all).contains(&told))
        };
        let are_told = costs(told.0, billed(), earlier.0) && costs(told.1, copied(), earlier.1);
        ensure!(are_told && told.2 == Some(&*BUDGET.to_string()), "{earlier:?} {status:#}");
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let within = conditions.clone().find(|condition| condition["type"] == "WithinBudget");
        ensure!(within.is_some_and(|within| within["status"] == "False"), "{status:#}");
        Ok(Some(()))
    })
    .await?;

    let kubectl = cluster.kubectl();
    let deployment = "deployment/llm-portfolio-gateway";
    kubectl.run(&["-n", NAMESPACE, "rollout", "restart", deployment]).await?;
    kubectl
        .run(&["-n", NAMESPACE, "rollout", "status", deployment, "--timeout=180s"])
        .await?;
    refused_by_all().await?;
    assert!(billed() <= BUDGET, "{} of {BUDGET}", billed());
    assert!(copied() <= SHADOWS, "{} of {SHADOWS}", copied());
    Ok(())
}
