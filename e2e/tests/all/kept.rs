//! Evaluations whose reports go to a bucket: a run that loses its pod goes on in another, from what the first one left there.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::bucket::Bucket;
use e2e::images::Profile;
use e2e::namespace::Namespace;
use e2e::portfolio::Portfolio;
use e2e::provider::{Options, Provider};
use e2e::{Cluster, skip, until};
use serde_json::{Value, json};

/// Four at a time and half a second each: enough of a middle, with segments every five seconds.
const QUESTIONS: usize = 200;
const ANSWER_MILLIS: u64 = 500;
/// So much is up when the pod is lost.
const SURVIVED: usize = 40;
/// The slot comes at once, then its pod.
const A_RUN: Duration = Duration::from_secs(300);
/// What a segment may lack: five seconds of questions, and what the next pod asks until somebody looks.
const LOST: usize = 100;

fn objects(provider: &str) -> String {
    let line = |n: usize| json!({"id": n, "input": format!("question {n:03}?"), "expected": format!("answer {n:03}")}).to_string();
    let cases: Vec<String> = (0..QUESTIONS).map(line).collect();
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
  api: {{provider: OpenAICompatible, model: gpt, endpoint: '{provider}/v1'}}
  price: {{inputPer1M: '1', outputPer1M: '10'}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: EvalJob
metadata: {{name: kept}}
spec:
  targets: {{models: [gpt]}}
  schedule: {{cron: '0 0 1 1 *'}}
  suites:
  - name: cases
    exemplars: {{dataset: {{configMapRef: {{name: cases, key: cases.jsonl}}}}}}
    scorer: {{exact: {{}}}}
    maxOutputTokens: 16
  criteria: [{{suite: cases, metric: accuracy, lowerBoundAtLeast: '0.9'}}]
  reports: {{uri: 's3://bucket/evaluations/', secretRef: {{name: reports-s3}}}}
",
        cases = json!(cases.join("\n")),
    )
}

/// What the bucket holds of the one run, by the path in its folder.
fn of_run(bucket: &Bucket) -> BTreeMap<String, Vec<u8>> {
    let objects = bucket.objects().into_iter();
    let of_run = objects.filter_map(|(key, content)| {
        let (run, path) = key.strip_prefix("evaluations/")?.split_once('/')?;
        run.starts_with("kept-").then(|| (path.to_owned(), content.to_vec()))
    });
    of_run.collect()
}

/// The questions whose end is up, by their places.
fn ended(bucket: &Bucket) -> Vec<u64> {
    let segments = of_run(bucket).into_iter().filter(|(path, _)| path.starts_with("progress/"));
    let text: String = segments
        .map(|(_, content)| String::from_utf8_lossy(&content).into_owned())
        .collect();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| line.get("e").is_some())
        .filter_map(|line| line["q"].as_u64())
        .collect()
}

/// Questions that the provider was asked.
fn asked(provider: &Provider) -> usize {
    let records = provider.records();
    records.iter().filter(|record| record.path.ends_with("/chat/completions")).count()
}

async fn told(ns: &Namespace, job: &str) -> Result<String> {
    until(&format!("{job} has a verdict"), A_RUN, async || {
        let path = "jsonpath={.status.verdict} {.status.targets[0].message}{.status.history[0].message}";
        let verdict = ns.kubectl(&["get", &format!("evj/{job}"), "-o", path]).await?;
        Ok(Some(verdict.trim().to_owned()).filter(|verdict| !verdict.is_empty()))
    })
    .await
}

#[tokio::test]
async fn a_run_kept_in_a_bucket_goes_on_in_another_pod() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let Some(local) = cluster.local() else {
        skip("its bucket listens inside our own cluster");
        return Ok(());
    };
    let _installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("kept").await?;
    let options = Options {
        tls: false,
        ..Options::default()
    };
    let provider = Provider::on(local.listen(0)?, options).await?;
    provider.set(|script| {
        script.answers = (0..QUESTIONS)
            .map(|n| (format!("question {n:03}?"), format!("answer {n:03}")))
            .collect();
        script.behaviour.delay_millis = ANSWER_MILLIS;
    });
    let bucket = Bucket::on(local.listen(0)?)?;
    let variables = bucket.variables();
    let variables: Vec<String> = variables
        .iter()
        .map(|(name, value)| format!("--from-literal={name}={value}"))
        .collect();
    let mut secret = vec!["create", "secret", "generic", "reports-s3"];
    secret.extend(variables.iter().map(String::as_str));
    ns.kubectl(&secret).await?;
    ns.apply(&objects(&provider.url())).await?;
    ns.kubectl(&["wait", "--for=condition=Ready", "mdep/gpt", "--timeout=60s"]).await?;

    let run_now = ["annotate", "evj/kept", "llmportfolio.dev/run-now=please"];
    ns.kubectl(&run_now).await?;
    until(&format!("{SURVIVED} answers are up"), A_RUN, async || {
        let up = ended(&bucket).len();
        ensure!(up >= SURVIVED, "{up}");
        Ok(Some(()))
    })
    .await?;
    let pods = [
        "delete",
        "pod",
        "-l",
        "llmportfolio.dev/eval-job=kept",
        "--grace-period=0",
        "--force",
    ];
    ns.kubectl(&pods).await?;
    let survived = ended(&bucket).len();
    let verdict = told(&ns, "kept").await?;
    println!("lost after {survived} of {QUESTIONS}: {verdict}");
    assert!(verdict.starts_with("Pass"), "{verdict}");

    let kept = until("the report is kept", A_RUN, async || {
        let kept = of_run(&bucket);
        ensure!(kept.contains_key("report.json"), "{:?}", kept.keys());
        Ok(Some(kept))
    })
    .await?;
    assert!(kept.contains_key("report.html") && kept.keys().any(|path| path.starts_with("lm-eval/")));
    let report: Value = serde_json::from_slice(kept.get("report.json").context("it is there")?)?;
    assert_eq!(report["samples"].as_array().map(Vec::len), Some(QUESTIONS));
    let ended = ended(&bucket);
    let distinct: std::collections::BTreeSet<_> = ended.iter().collect();
    assert_eq!(
        (ended.len(), distinct.len()),
        (QUESTIONS, QUESTIONS),
        "each question has ended once"
    );
    let in_all = asked(&provider);
    assert!(in_all <= QUESTIONS + LOST, "{in_all} requests");

    // And one that may not be written is told, with nothing asked.
    bucket.set(|script| script.is_read_only = true);
    ns.kubectl(&["annotate", "evj/kept", "llmportfolio.dev/run-now=again", "--overwrite"])
        .await?;
    let told = until("the refusal is told", A_RUN, async || {
        let status = ns.kubectl(&["get", "evj/kept", "-o", "jsonpath={.status}"]).await?;
        ensure!(status.contains("refuses these credentials"), "{status}");
        Ok(Some(status))
    })
    .await?;
    assert!(told.contains("spec.reports.uri: s3://bucket/evaluations"), "{told}");
    assert_eq!(asked(&provider), in_all);
    ns.delete().await
}
