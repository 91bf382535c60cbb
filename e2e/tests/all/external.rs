//! Evaluators that users bring as images: what they find is the verdict, what they ask is part of the cost, and one that fails or meets a limit ends its
//! run with its reason.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::evaluator::question;
use e2e::images::{self, Profile};
use e2e::namespace::Namespace;
use e2e::portfolio::Portfolio;
use e2e::provider::{Options, Provider};
use e2e::{Cluster, skip, until};
use serde_json::Value;

/// Its image is there, and each question is answered at once.
const A_RUN: Duration = Duration::from_secs(300);
const QUESTIONS: usize = 60;
/// So dear that a run costs some cents.
const PRICE: &str = "{inputPer1M: '15', outputPer1M: '60'}";

/// A job whose one suite is evaluated by this project's own evaluator, with these arguments.
fn job(name: &str, arguments: &str, rest: &str) -> String {
    format!(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: EvalJob
metadata: {{name: {name}}}
spec:
  targets: {{models: [api]}}
  schedule: {{cron: '0 0 1 1 *'}}
  suites:
  - name: own
    external: {{image: 'localhost/e2e:dev', args: [evaluator, {arguments}]}}
  criteria: [{{suite: own, metric: score, lowerBoundAtLeast: '0.5'}}]
  {rest}
---"
    )
}

fn objects(provider: &Provider) -> String {
    let questions = format!("--questions, '{QUESTIONS}'");
    format!(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: api}}
spec:
  api: {{provider: OpenAICompatible, model: api, endpoint: '{}/v1'}}
  price: {PRICE}
---{}{}{}",
        provider.url(),
        job("good", &questions, ""),
        job("broken", "--fail, there is no such task", ""),
        job("capped", &questions, "limits: {maxTokens: 300}"),
    )
}

/// The status once a run of `job`, which is asked for here, has ended.
async fn ended(ns: &Namespace, job: &str) -> Result<Value> {
    ns.kubectl(&["annotate", &format!("evj/{job}"), "llmportfolio.dev/run-now=please"])
        .await?;
    until(&format!("a run of {job} has ended"), A_RUN, async || {
        let text = ns.kubectl(&["get", &format!("evj/{job}"), "-o", "jsonpath={.status}"]).await?;
        let status: Value = serde_json::from_str(&text).with_context(|| format!("the status of {job}: {text:?}"))?;
        ensure!(status["verdict"].is_string(), "{status}");
        Ok(Some(status))
    })
    .await
}

fn message(status: &Value) -> &str {
    status["targets"][0]["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn an_image_evaluates_a_model_and_pays_for_what_it_asks() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let Some(local) = cluster.local() else {
        skip("its provider listens inside our own cluster");
        return Ok(());
    };
    let _installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    cluster.load_image(&images::e2e(Profile::Debug).await?).await?;
    let ns = cluster.namespace("external").await?;
    let options = Options {
        tls: false,
        ..Options::default()
    };
    let provider = Provider::on(local.listen(0)?, options).await?;
    provider.set(|script| {
        script.answer = "right".to_owned();
        let wrong = (0..QUESTIONS).step_by(4).map(|place| (question(place), "wrong".to_owned()));
        script.answers = wrong.collect();
    });
    ns.apply(&objects(&provider)).await?;

    let good = ended(&ns, "good").await?;
    assert_eq!(good["verdict"], "Pass", "{}", message(&good));
    assert_eq!(provider.asked(), QUESTIONS, "nobody asks but the evaluator, and it asks once");
    let suite = &good["targets"][0]["suites"][0];
    assert_eq!(suite["questions"], QUESTIONS);
    let metric = &suite["metrics"][0];
    let score: f64 = metric["value"].as_str().context("no score")?.parse()?;
    assert!(metric["name"] == "score" && (score - 0.75).abs() < 1e-6, "{metric}");
    let cost: f64 = good["history"][0]["costUSD"].as_str().context("no cost")?.parse()?;
    assert!(cost > 0.0, "{cost}");
    assert!(good["history"][0]["tokens"].as_i64().is_some_and(|tokens| tokens > 0), "{good}");

    let broken = ended(&ns, "broken").await?;
    assert_eq!(broken["verdict"], "Invalid");
    let words = message(&broken);
    assert!(
        words.starts_with("suite own: its evaluator for model api ended with code 1: "),
        "{words}"
    );
    assert!(words.contains("there is no such task"), "{words}");
    assert_eq!(provider.asked(), QUESTIONS, "it asked nothing");
    until("its Job is gone, so that nothing starts it again", A_RUN, async || {
        let jobs = ns.kubectl(&["get", "jobs", "-o", "name"]).await?;
        Ok((!jobs.contains("broken")).then_some(()))
    })
    .await?;

    let capped = ended(&ns, "capped").await?;
    assert_eq!(capped["verdict"], "Invalid");
    assert!(
        message(&capped).starts_with("the run stopped at spec.limits.maxTokens while the evaluator of suite own asked"),
        "{}",
        message(&capped)
    );
    let asked = provider.asked() - QUESTIONS;
    assert!(asked > 0 && asked < QUESTIONS, "{asked}");
    println!("{}", ns.kubectl(&["get", "evj"]).await?);
    ns.delete().await
}
