//! The objects that the tests of evaluations start from.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::check::Datasets;
use super::job::Runner;
use super::run::Evaluation;
use crate::api::model_deployment::Provider;
use crate::api::{EvalJob, ModelDeployment, Settings};
use crate::plan::price::Book;
use crate::plan::{fingerprint, names};

/// One target, one suite, one criterion: accuracy of at least 0.8.
pub(super) fn job() -> EvalJob {
    read(
        r#"
        metadata: {name: quality, namespace: claims, uid: u-1, generation: 3, creationTimestamp: "2026-05-01T11:00:00Z"}
        spec:
          targets: {models: [llama]}
          schedule: {cron: "0 2 * * *"}
          suites:
          - name: claims
            exemplars: {dataset: {configMapRef: {name: exemplars, key: cases.jsonl}}}
            scorer: {exact: {}}
          criteria:
          - {suite: claims, metric: accuracy, lowerBoundAtLeast: "0.8"}
        "#,
    )
}

/// A model behind an API, ready since its present generation.
pub(super) fn model(name: &str) -> ModelDeployment {
    read(&format!(
        r#"
        metadata: {{name: {name}, namespace: claims, uid: u-2, generation: 1}}
        spec:
          api: {{provider: OpenAI, model: {name}, credentials: {{secretRef: {{name: openai, key: key}}}}}}
          price: {{inputPer1M: "1.25", outputPer1M: "10"}}
        status:
          observedGeneration: 1
          conditions:
          - {{type: Ready, status: "True", reason: Serving, message: "", lastTransitionTime: "2026-05-01T00:00:00Z", observedGeneration: 1}}
        "#
    ))
}

/// The same, of a family that is not `model`'s.
pub(super) fn judge(name: &str) -> ModelDeployment {
    let mut judge = model(name);
    if let Some(api) = &mut judge.spec.api {
        api.provider = Provider::Anthropic;
        api.model = "claude-sonnet-4-5".to_owned();
    }
    judge
}

/// Reads a fixture.
pub(super) fn read<T: serde::de::DeserializeOwned>(yaml: &str) -> T {
    serde_saphyr::from_str(yaml).unwrap()
}

/// The ConfigMap that `job()` names.
pub(super) fn datasets() -> Datasets {
    let exemplars = read("{metadata: {name: exemplars, namespace: claims}, data: {cases.jsonl: ''}}");
    [("exemplars".to_owned(), exemplars)].into()
}

/// The installer's decisions.
pub(super) fn runner() -> Runner {
    runner_under(&Settings::default())
}

/// The same under other settings.
pub(super) fn runner_under(settings: &Settings) -> Runner {
    let gateway = "http://gateway.llm-portfolio:8080";
    Runner::new("example.com/llm-portfolio:1".to_owned(), gateway.to_owned(), settings)
}

/// The Job of `job()` for that slot, over a settled `llama`, with the status that Kubernetes gave it.
pub(super) fn ran(slot: &str, status: &str) -> Job {
    let (owner, model) = (job(), model("llama"));
    let fingerprints = [("llama".to_owned(), fingerprint::of(&model, &owner, &[]))].into();
    let run = Evaluation::of(&owner, &[&model], None, &Book::default(), Timestamp::UNIX_EPOCH);
    Job {
        status: Some(read(status)),
        ..super::job::job(&owner, &run, &fingerprints, &runner(), slot.parse().unwrap())
    }
}

/// The pod of that slot's Job; ended with a termination message, or still running.
pub(super) fn pod(slot: &str, message: Option<&str>) -> Arc<Pod> {
    let name = names::evaluation("quality", slot.parse().unwrap());
    let state = match message {
        Some(message) => json!({"terminated": {"exitCode": 0, "message": message, "finishedAt": "2026-05-02T02:09:59Z"}}),
        None => json!({"running": {}}),
    };
    let pod = json!({
        "metadata": {"name": format!("{name}-x"), "namespace": "claims", "labels": {"batch.kubernetes.io/job-name": name}},
        "status": {"containerStatuses": [{"name": "evaluate", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]},
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}
