//! Evaluations of models whose every answer is known beforehand: providers that say what real models said when they were asked the whole benchmark.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::assets;
use e2e::benchmark::{self, Recorded};
use e2e::command::output;
use e2e::images::Profile;
use e2e::namespace::Namespace;
use e2e::portfolio::Portfolio;
use e2e::provider::{Options, Provider};
use e2e::volume::Volume;
use e2e::{Cluster, skip, until};
use serde_json::Value;
use tokio::process::Command;

/// The slot comes within a minute; a thousand questions are asked of providers that answer at once.
const A_RUN: Duration = Duration::from_secs(300);
/// It imports for half a minute, and asks four questions at a time.
const A_HARNESS: Duration = Duration::from_secs(300);
const QUESTIONS: u32 = 500;
/// Questions that lm-evaluation-harness asks too.
const HARNESS: usize = 200;
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/lm_eval");
/// So dear that a run costs about five dollars.
const PRICE: &str = "{inputPer1M: '15', outputPer1M: '60'}";

/// Drawn from what is asked: of 100 samples 95 have an interval that holds the truth, and this is one of them.
const SEED: u32 = 1;

/// Whose answers are recorded, and what they are called here.
const MODELS: [&str; 2] = ["gemini-1.5-pro-002", "gemini-1.5-flash-002"];
const NAMES: [&str; 2] = ["pro", "flash"];

fn job(name: &str, cron: &str, rest: &str) -> String {
    format!(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: EvalJob
metadata: {{name: {name}}}
spec:
  targets: {{selector: {{matchLabels: {{replay: 'true'}}}}}}
  schedule: {{cron: '{cron}'}}
  suites:
  - name: general
    mmluPro: {{dataset: {{uri: 'pvc://evaluations/questions.jsonl'}}}}
    sample: {{size: {QUESTIONS}, stratifyBy: category, seed: {SEED}}}
  criteria: [{{suite: general, metric: accuracy, lowerBoundAtLeast: '0.5'}}]
  reports: {{uri: 'pvc://evaluations/reports'}}
  {rest}
---"
    )
}

fn objects(class: &str, policy: &str, providers: &[Provider; 2]) -> String {
    let model = |(name, provider): (&str, &Provider)| {
        format!(
            "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: {name}, labels: {{replay: 'true'}}}}
spec:
  api: {{provider: OpenAICompatible, model: {name}, endpoint: '{}/v1'}}
  price: {PRICE}
---",
            provider.url()
        )
    };
    let models: String = NAMES.into_iter().zip(providers).map(model).collect();
    format!(
        "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: evaluations}}
spec: {{storageClassName: {class}, accessModes: [ReadWriteMany], resources: {{requests: {{storage: 1Gi}}}}}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {{name: replay}}
spec: {{model: {policy}, rules: [{{targets: [{{model: pro}}]}}]}}
---{models}{}{}",
        job("replay", "* * * * *", "limits: {maxUnparsedRate: '0.1'}"),
        job("capped", "0 0 1 1 *", "limits: {maxCostUSD: '1', maxUnparsedRate: '0.1'}"),
    )
}

async fn status(ns: &Namespace, job: &str) -> Result<Value> {
    let text = ns.kubectl(&["get", &format!("evj/{job}"), "-o", "jsonpath={.status}"]).await?;
    serde_json::from_str(&text).with_context(|| format!("the status of {job}: {text:?}"))
}

/// The status once a run of `job` has ended.
async fn ended(ns: &Namespace, job: &str) -> Result<Value> {
    until(&format!("a run of {job} has ended"), A_RUN, async || {
        let status = status(ns, job).await?;
        ensure!(status["verdict"].is_string(), "{status}");
        Ok(Some(status))
    })
    .await
}

fn number(value: &Value) -> Result<f64> {
    let text = value.as_str().with_context(|| format!("{value} is no number"))?;
    Ok(text.parse()?)
}

fn accuracy(status: &Value, target: usize) -> Result<[f64; 3]> {
    let metric = &status["targets"][target]["suites"][0]["metrics"][0];
    Ok([number(&metric["lower"])?, number(&metric["value"])?, number(&metric["upper"])?])
}

/// The folder of the one run of `job`.
fn folder(volume: &Path, job: &str) -> Result<PathBuf> {
    let runs = fs::read_dir(volume.join("reports"))?.filter_map(Result::ok);
    let is_of = |name: &str| name.strip_prefix(job).is_some_and(|rest| rest.starts_with('-'));
    runs.map(|run| run.path())
        .find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_of))
        .context("there is no folder of the run")
}

fn report(folder: &Path) -> Result<Value> {
    Ok(serde_json::from_slice(&fs::read(folder.join("report.json"))?)?)
}

/// Has lm-evaluation-harness ask the gateway some of the questions that the run in that folder asked, and open the run's export. Returns how many it
/// finds to be answered as the run did.
async fn harness(base: &str, token: &str, model: &str, questions: &str, run: &Path) -> Result<usize> {
    let packages = assets::lm_eval::packages().await?;
    let python = |script: &str, arguments: &[&str]| {
        let mut command = Command::new("python3");
        command.arg(format!("{SCRIPTS}/{script}")).args(arguments);
        command.env("PYTHONPATH", &packages).env("OPENAI_API_KEY", token);
        command
    };
    let ours = right(&report(run)?, "pro");
    let is_ours = |line: &&str| id(line).is_some_and(|id| ours.contains_key(&id));
    let asked: Vec<&str> = questions.lines().filter(is_ours).take(HARNESS).collect();
    let work = beside(run)?;
    let (file, out) = (work.join("asked.jsonl"), work.join("out"));
    fs::write(&file, asked.join("\n"))?;
    let paths = [&file, &out].map(|path| path.to_string_lossy().into_owned());
    let said = output(&mut python("run_lm_eval.py", &[base, model, &paths[0], &paths[1]]), A_HARNESS).await?;
    let written: Value = serde_json::from_str(said.lines().last().unwrap_or_default())?;
    let theirs = PathBuf::from(written["folder"].as_str().context("no folder")?);
    let mut agreed = 0;
    for name in written["samples"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        for line in fs::read_to_string(theirs.join(name))?.lines() {
            let sample: Value = serde_json::from_str(line)?;
            let id = sample["doc"]["question_id"].as_i64().context("a sample without an id")?.to_string();
            let is_right = sample["exact_match"].as_f64() == Some(1.0);
            ensure!(
                ours.get(&id) == Some(&is_right),
                "question {id}: the harness says {is_right}, {sample}"
            );
            agreed += 1;
        }
    }
    ensure!(agreed == HARNESS, "the harness has {agreed} of {HARNESS} samples");
    let export = run.join("lm-eval/general");
    output(&mut python("read_back.py", &[&export.to_string_lossy()]), A_HARNESS).await?;
    Ok(agreed)
}

/// Whether each question was answered right by a model, by its id.
fn right(report: &Value, model: &str) -> BTreeMap<String, bool> {
    let samples = report["samples"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|sample| sample["model"] == model);
    samples
        .filter_map(|sample| Some((sample["id"].as_str()?.to_owned(), sample["end"] == "Right")))
        .collect()
}

fn id(line: &str) -> Option<String> {
    let row: Value = serde_json::from_str(line).ok()?;
    Some(row["question_id"].as_i64()?.to_string())
}

/// A folder beside the run's.
fn beside(run: &Path) -> Result<PathBuf> {
    let folder = run.with_file_name("harness");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

#[tokio::test]
async fn intervals_hold_what_is_known_and_a_limit_on_money_holds() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let Some(local) = cluster.local() else {
        skip("its providers listen inside our own cluster");
        return Ok(());
    };
    let [pro, flash] = MODELS.map(benchmark::recorded);
    let (Some(pro), Some(flash), Some(questions)) = (pro?, flash?, benchmark::questions()?) else {
        skip("no data");
        return Ok(());
    };
    let installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("replay").await?;
    let class = format!("{}-evaluations", ns.name());
    let volume = Volume::make(&cluster, &class).await?;
    fs::write(volume.folder().join("questions.jsonl"), &questions)?;
    let truths = [pro.accuracy, flash.accuracy];
    let mut providers = Vec::new();
    for Recorded { answers, .. } in [pro, flash] {
        let options = Options {
            tls: false,
            ..Options::default()
        };
        let provider = Provider::on(local.listen(0)?, options).await?;
        provider.set(|script| script.answers = answers);
        providers.push(provider);
    }
    let providers: [Provider; 2] = providers.try_into().map_err(|_| anyhow::anyhow!("two providers"))?;
    ns.apply(&objects(&class, &format!("replay-{}", ns.name()), &providers)).await?;

    // One run is enough.
    until("a run of replay has started", A_RUN, async || {
        let status = status(&ns, "replay").await?;
        Ok(status["lastScheduleTime"].is_string().then_some(()))
    })
    .await?;
    ns.kubectl(&["patch", "evj/replay", "--type=merge", "-p", "{\"spec\":{\"suspend\":true}}"])
        .await?;
    let whole = ended(&ns, "replay").await?;
    // Those that are selected come by name.
    for (target, (name, truth)) in [(1, ("pro", truths[0])), (0, ("flash", truths[1]))] {
        let [lower, value, upper] = accuracy(&whole, target)?;
        println!("{name}: {truth:.4} is known, {value} ({lower} to {upper}) was found in {QUESTIONS}");
        assert_eq!(whole["targets"][target]["model"], name);
        assert!(lower <= truth && truth <= upper, "{name}: {truth} is not from {lower} to {upper}");
        assert!(upper - lower < 0.1, "{name}: {lower} to {upper}");
    }
    let cost = number(&whole["history"][0]["costUSD"])?;
    assert!(cost > 4.0, "{cost}");

    let before: usize = providers.iter().map(Provider::asked).sum();
    ns.kubectl(&["annotate", "evj/capped", "llmportfolio.dev/run-now=please"]).await?;
    let capped = ended(&ns, "capped").await?;
    let asked = providers.iter().map(Provider::asked).sum::<usize>() - before;
    let spent = number(&capped["history"][0]["costUSD"])?;
    println!(
        "a run of {cost} dollars stopped at {spent} of 1, after {asked} of {} questions",
        2 * QUESTIONS
    );
    assert_eq!(capped["verdict"], "Invalid");
    let message = capped["targets"][0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("spec.limits.maxCostUSD"), "{message}");
    assert!(spent > 0.5 && spent <= 1.0, "{spent}");
    let partial = report(&folder(volume.folder(), "capped")?)?;
    assert_eq!(partial["report"]["stopped"], "maxCostUSD");
    assert_eq!(
        partial["samples"].as_array().map(Vec::len),
        Some(asked),
        "what was asked is in the report"
    );
    println!("{}", ns.kubectl(&["get", "evj"]).await?);

    let token = installed.token(ns.name(), "caller").await?;
    let base = format!("{}/v1", installed.gateway());
    let agreed = harness(
        &base,
        &token,
        &format!("replay-{}", ns.name()),
        &questions,
        &folder(volume.folder(), "replay")?,
    )
    .await?;
    println!("lm-evaluation-harness agrees on {agreed} of {HARNESS} questions, and its readers open the export");
    ns.delete().await?;
    volume.remove().await
}
