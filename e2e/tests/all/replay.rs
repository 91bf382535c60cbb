//! Evaluations of models whose every answer is known beforehand: providers that say what real models said when they were asked the whole benchmark.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::benchmark::{self, Recorded};
use e2e::images::Profile;
use e2e::namespace::Namespace;
use e2e::portfolio::Portfolio;
use e2e::provider::{Options, Provider};
use e2e::volume::Volume;
use e2e::{Cluster, skip, until};
use serde_json::Value;

/// The slot comes within a minute; a thousand questions are asked of providers that answer at once.
const A_RUN: Duration = Duration::from_secs(300);
const QUESTIONS: u32 = 500;
/// So dear that a run costs about five dollars.
const PRICE: &str = "{inputPer1M: '15', outputPer1M: '60'}";

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
    sample: {{size: {QUESTIONS}, stratifyBy: category, seed: 1234}}
  criteria: [{{suite: general, metric: accuracy, lowerBoundAtLeast: '0.5'}}]
  reports: {{uri: 'pvc://evaluations/reports'}}
  {rest}
---"
    )
}

fn objects(class: &str, providers: &[Provider; 2]) -> String {
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

/// The report of the one run of `job`.
fn report(volume: &Path, job: &str) -> Result<Value> {
    let runs = fs::read_dir(volume.join("reports"))?.filter_map(Result::ok);
    let is_of = |name: &str| name.strip_prefix(job).is_some_and(|rest| rest.starts_with('-'));
    let folder = runs
        .map(|run| run.path())
        .find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_of))
        .context("there is no folder of the run")?;
    Ok(serde_json::from_slice(&fs::read(folder.join("report.json"))?)?)
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
    let _installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("replay").await?;
    let class = format!("{}-evaluations", ns.name());
    let volume = Volume::make(&cluster, &class).await?;
    fs::write(volume.folder().join("questions.jsonl"), questions)?;
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
    ns.apply(&objects(&class, &providers)).await?;

    let whole = ended(&ns, "replay").await?;
    ns.kubectl(&["patch", "evj/replay", "--type=merge", "-p", "{\"spec\":{\"suspend\":true}}"])
        .await?;
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

    let before: usize = providers.iter().map(Provider::count).sum();
    ns.kubectl(&["annotate", "evj/capped", "llmportfolio.dev/run-now=please"]).await?;
    let capped = ended(&ns, "capped").await?;
    let asked = providers.iter().map(Provider::count).sum::<usize>() - before;
    let spent = number(&capped["history"][0]["costUSD"])?;
    println!(
        "a run of {cost} dollars stopped at {spent} of 1, after {asked} of {} questions",
        2 * QUESTIONS
    );
    assert_eq!(capped["verdict"], "Invalid");
    let message = capped["targets"][0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("spec.limits.maxCostUSD"), "{message}");
    assert!(spent > 0.5 && spent <= 1.0, "{spent}");
    let partial = report(volume.folder(), "capped")?;
    assert_eq!(partial["report"]["stopped"], "maxCostUSD");
    assert_eq!(
        partial["samples"].as_array().map(Vec::len),
        Some(asked),
        "what was asked is in the report"
    );
    println!("{}", ns.kubectl(&["get", "evj"]).await?);
    ns.delete().await?;
    volume.remove().await
}
