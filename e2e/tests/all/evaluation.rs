//! Evaluations with a real engine: a run that loses its pod and its operator half-way ends as one that was left alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::benchmark;
use e2e::images::Profile;
use e2e::namespace::Namespace;
use e2e::portfolio::Portfolio;
use e2e::volume::Volume;
use e2e::{Cluster, skip, until};
use serde_json::Value;

/// Enough for a middle to kill it in; `E2E_QUESTIONS` asks others, such as 200.
const QUESTIONS: usize = 24;
/// A real model on few processors.
const A_RUN: Duration = Duration::from_secs(900);
/// Questions that are drawn from.
const POOL: usize = 2_000;

fn objects(claim: &str) -> String {
    let size = count();
    let job = |name: &str, cron: &str| {
        format!(
            "
apiVersion: llmportfolio.dev/v1alpha1
kind: EvalJob
metadata: {{name: {name}}}
spec:
  targets: {{models: [llama]}}
  schedule: {{cron: '{cron}'}}
  suites:
  - name: general
    mmluPro: {{dataset: {{uri: 'pvc://evaluations/questions.jsonl'}}}}
    sample: {{size: {size}, stratifyBy: category, seed: 1234}}
    maxOutputTokens: 16
  criteria: [{{suite: general, metric: accuracy, lowerBoundAtLeast: '0.9'}}]
  # So small a model rarely finds the form of an answer.
  limits: {{maxUnparsedRate: '1', maxDuration: 1h}}
  suspend: true
  reports: {{uri: 'pvc://evaluations/reports'}}
---"
        )
    };
    format!(
        "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: evaluations}}
spec: {{storageClassName: {claim}, accessModes: [ReadWriteMany], resources: {{requests: {{storage: 1Gi}}}}}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: llama}}
spec:
  selfHosted:
    engine:
      kind: LlamaCpp
      image: localhost/llama:1
      args: [--model, /models/model.gguf, --ctx-size, '2048', --parallel, '1', --threads, '2', --no-ui, --offline, --cache-ram, '0', --no-cache-prompt]
      env: [{{name: OMP_WAIT_POLICY, value: passive}}, {{name: GOMP_SPINCOUNT, value: '0'}}]
    accelerator: {{profile: nvidia-gpu}}
    resources: {{requests: {{cpu: 100m, memory: 256Mi}}, limits: {{memory: 2Gi}}}}
---{}{}",
        job("whole", "0 0 1 1 *"),
        job("killed", "* * * * *"),
    )
}

fn count() -> usize {
    let wanted = std::env::var("E2E_QUESTIONS").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(QUESTIONS)
}

/// Short questions of the benchmark, so that a small context holds them; none where the data is not there.
fn questions() -> Result<Option<String>> {
    let Some(text) = benchmark::questions()? else { return Ok(None) };
    let short: Vec<&str> = text.lines().filter(|line| line.len() < 900).take(POOL).collect();
    Ok(Some(short.join("\n")))
}

/// Asks for a run now.
async fn run_now(ns: &Namespace, job: &str) -> Result<()> {
    ns.kubectl(&["annotate", &format!("evj/{job}"), "llmportfolio.dev/run-now=please"])
        .await?;
    Ok(())
}

/// Lets the schedule of `job` start runs, or no longer.
async fn suspend(ns: &Namespace, job: &str, is_suspended: bool) -> Result<()> {
    let patch = format!("{{\"spec\":{{\"suspend\":{is_suspended}}}}}");
    ns.kubectl(&["patch", &format!("evj/{job}"), "--type=merge", "-p", &patch]).await?;
    Ok(())
}

/// The folder of the one run of `job`.
fn folder(volume: &Path, job: &str) -> Option<std::path::PathBuf> {
    let runs = fs::read_dir(volume.join("reports")).ok()?.filter_map(Result::ok);
    let is_of = |name: &str| name.strip_prefix(job).is_some_and(|rest| rest.starts_with('-'));
    runs.map(|run| run.path())
        .find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_of))
}

fn ended(volume: &Path, job: &str) -> usize {
    let progress = folder(volume, job).and_then(|folder| fs::read_to_string(folder.join("progress.jsonl")).ok());
    progress.map_or(0, |text| text.lines().filter(|line| line.contains("\"e\":")).count())
}

async fn has_ended(volume: &Path, job: &str, questions: usize) -> Result<()> {
    until(&format!("{job}: {questions} questions have ended"), A_RUN, async || {
        let seen = ended(volume, job);
        ensure!(seen >= questions, "{seen}");
        Ok(Some(()))
    })
    .await
}

/// The verdict in the status, and the report.
async fn result(ns: &Namespace, volume: &Path, job: &str) -> Result<(String, Value)> {
    let verdict = until(&format!("{job} has a verdict"), A_RUN, async || {
        let path = "jsonpath={.status.verdict} {.status.targets[0].message}";
        let verdict = ns.kubectl(&["get", &format!("evj/{job}"), "-o", path]).await?;
        Ok(Some(verdict.trim().to_owned()).filter(|verdict| !verdict.is_empty()))
    })
    .await?;
    let report = folder(volume, job).context("there is no folder of the run")?.join("report.json");
    Ok((verdict, serde_json::from_slice(&fs::read(report)?)?))
}

/// What was answered to each question, by its place.
fn answers(volume: &Path, job: &str) -> Result<BTreeMap<u64, String>> {
    let folder = folder(volume, job).context("there is no folder of the run")?;
    let text = fs::read_to_string(folder.join("progress.jsonl"))?;
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(lines
        .filter_map(|line| Some((line["q"].as_u64()?, line["a"].as_str()?.to_owned())))
        .collect())
}

#[tokio::test]
async fn a_run_that_loses_its_pod_and_its_operator_ends_as_one_that_was_left_alone() -> Result<()> {
    let cluster = Cluster::alone().await?;
    if cluster.local().is_none() {
        skip("its volume is a folder of this machine");
        return Ok(());
    }
    let Some(questions) = questions()? else {
        skip("no data");
        return Ok(());
    };
    let _installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("evaluation").await?;
    let volume = Volume::make(&cluster, &format!("{}-evaluations", ns.name())).await?;
    fs::write(volume.folder().join("questions.jsonl"), questions)?;
    ns.apply(&objects(&format!("{}-evaluations", ns.name()))).await?;
    ns.kubectl(&["wait", "--for=condition=Ready", "mdep/llama", "--timeout=120s"])
        .await?;

    run_now(&ns, "whole").await?;
    // One request at a time and nothing kept between them: what is computed together changes the last digits, and with them a word now and then.
    let (verdict, whole) = result(&ns, volume.folder(), "whole").await?;
    println!("whole: {verdict}");

    // The next minute starts it; the one after that is to start no other.
    suspend(&ns, "killed", false).await?;
    has_ended(volume.folder(), "killed", 1).await?;
    suspend(&ns, "killed", true).await?;
    has_ended(volume.folder(), "killed", count() / 4).await?;
    let pods = [
        "delete",
        "pod",
        "-l",
        "llmportfolio.dev/eval-job=killed",
        "--grace-period=0",
        "--force",
    ];
    ns.kubectl(&pods).await?;
    let lost = ended(volume.folder(), "killed");
    has_ended(volume.folder(), "killed", lost + count() / 4).await?;
    let operator = [
        "delete",
        "pod",
        "-n",
        "llm-portfolio",
        "-l",
        "app.kubernetes.io/component=operator",
        "--grace-period=0",
        "--force",
    ];
    cluster.kubectl().run(&operator).await?;
    let (again, killed) = result(&ns, volume.folder(), "killed").await?;
    println!("killed after {lost} of {}: {again}", count());

    let (one, other) = (answers(volume.folder(), "whole")?, answers(volume.folder(), "killed")?);
    assert_eq!(one.len(), count());
    let differ = one.iter().filter(|(question, answer)| other.get(question) != Some(answer)).count();
    assert_eq!(differ, 0, "{differ} of {} questions were answered otherwise", count());
    let samples = |report: &Value| report["samples"].as_array().map_or(0, Vec::len);
    assert_eq!((samples(&whole), samples(&killed)), (count(), count()));
    assert_eq!(again, verdict);
    println!("{}", ns.kubectl(&["get", "evj"]).await?);
    ns.delete().await?;
    volume.remove().await
}
