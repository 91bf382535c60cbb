//! What a verdict is about. A model or an evaluation that changed in a way that can change answers has another fingerprint, so that an old
//! verdict no longer counts for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::api::eval_job::{External, Suite};
use crate::api::model_deployment::{Custom, SelfHosted};
use crate::api::{EvalJob, ModelDeployment};
use crate::plan::evaluation::{check, criteria};
use crate::plan::names::Key;

/// The digest of what `model` answers with and what `evaluation` asks and demands, as the two objects state it. Replicas, resources,
/// prices, tiers, credentials, schedules, limits and where and when pods run are left out: they do not change answers. So is what other
/// objects hold, which may change them: a dataset's lines, what a URI or tag points to, the installer's defaults of engines. A verdict
/// over those lasts until the next run. A verdict is also about who judged the answers: the judges are looked for among `models`.
#[must_use]
pub fn of(model: &ModelDeployment, evaluation: &EvalJob, models: &[Arc<ModelDeployment>]) -> String {
    let served = answers(model);
    let judges = judges(evaluation, models);
    let spec = &evaluation.spec;
    // The price is no part of what a model is, so whether it is known is taken as given.
    let criteria = criteria::of(spec, model.spec.tier, true);
    let mut parts = json!([served, asked(&spec.suites), criteria]);
    // What was not there when a verdict was given is absent here too.
    let allowed = spec.limits.as_ref().and_then(|limits| {
        let rates = [&limits.max_error_rate, &limits.max_unparsed_rate];
        rates.iter().any(|rate| rate.is_some()).then(|| json!(rates))
    });
    let others = [
        spec.confidence.as_ref().map(|confidence| json!({ "confidence": confidence })),
        spec.on_inconclusive.as_ref().map(|extend| json!({ "onInconclusive": extend })),
        spec.baseline.as_ref().map(|baseline| json!({ "baseline": baseline })),
        allowed.map(|rates| json!({ "rates": rates })),
        (!judges.is_empty()).then(|| json!({ "judges": judges })),
    ];
    if let Value::Array(parts) = &mut parts {
        parts.extend(others.into_iter().flatten());
    }
    digest(&parts)
}

/// The digest of what `model` answers with, whatever it is asked.
#[must_use]
pub fn served(model: &ModelDeployment) -> String {
    digest(&answers(model))
}

/// The suites, without what containers of evaluators are given.
fn asked(suites: &[Suite]) -> Vec<Suite> {
    let asked = |suite: &Suite| Suite {
        external: suite.external.as_ref().map(External::asks),
        ..suite.clone()
    };
    suites.iter().map(asked).collect()
}

fn answers(model: &ModelDeployment) -> Value {
    json!({
        "api": model.spec.api.as_ref().map(|a| json!([a.provider, a.model, a.endpoint, a.region])),
        "selfHosted": model.spec.self_hosted.as_ref().map(own),
    })
}

/// What decides the answers of each judge; null of one that is not there.
fn judges<'a>(evaluation: &'a EvalJob, models: &[Arc<ModelDeployment>]) -> BTreeMap<&'a str, Option<Value>> {
    let namespace = Key::of(evaluation).namespace;
    let judge = |name| (name, check::find(models, &namespace, name).ok().as_ref().map(answers));
    evaluation.spec.judges().into_iter().map(judge).collect()
}

/// What decides the answers of a model that we serve. What was not there when a verdict was given is absent, not null: a field that is new to
/// the operator invalidates no verdict.
fn own(own: &SelfHosted) -> Value {
    let mut parts = json!([own.source, own.engine, own.accelerator, own.custom.as_ref().map(Custom::answering)]);
    if let (Value::Array(parts), Some(template)) = (&mut parts, &own.pod_template) {
        parts.push(template.clone());
    }
    if let (Value::Array(parts), Some(parallelism)) = (&mut parts, &own.parallelism) {
        parts.push(json!({ "parallelism": parallelism }));
    }
    parts
}

/// The first 16 hex digits of the SHA-256 of a value's JSON; stable over processes and versions of the compiler.
pub fn digest<T: Serialize>(value: &T) -> String {
    let bytes = serde_json::to_vec(value).expect("plain data with string keys is always JSON");
    hex(&Sha256::digest(bytes)[..8])
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_model(own: &str) -> String {
        let head = "apiVersion: llmportfolio.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: m}\n";
        let md: ModelDeployment =
            serde_saphyr::from_str(&format!("{head}spec: {{selfHosted: {{engine: {{kind: VLLM}}, {own}}}}}")).unwrap();
        let job = "
apiVersion: llmportfolio.dev/v1alpha1
kind: EvalJob
metadata: {name: e}
spec:
  targets: {models: [m]}
  schedule: {cron: '0 0 1 1 *'}
  suites: [{name: s, exemplars: {dataset: {configMapRef: {name: c, key: k}}}, scorer: {exact: {}}}]
  criteria: [{suite: s, metric: accuracy, lowerBoundAtLeast: '0.8'}]
";
        of(&md, &serde_saphyr::from_str(job).unwrap(), &[])
    }

    #[test]
    fn what_answers_decides_and_where_it_runs_does_not() {
        let plain = of_model("accelerator: {profile: a}");
        for own in [
            "replicas: 3",
            "resources: {limits: {memory: 1Gi}}",
            "priorityClassName: high",
            "schedulerName: volcano",
            "queueName: team-a",
            "startupDeadline: 2h",
            "topologySpreadConstraints: [{topologyKey: zone}]",
        ] {
            assert_eq!(plain, of_model(&format!("accelerator: {{profile: a}}, {own}")), "{own}");
        }
        for own in [
            "accelerator: {profile: a}, podTemplate: {spec: {containers: [{name: engine, image: i}]}}",
            "accelerator: {profile: b}",
            "accelerator: {claim: {deviceClassName: a}}",
            "accelerator: {profile: a}, parallelism: {nodes: 2}",
        ] {
            assert_ne!(plain, of_model(own), "{own}");
        }
    }

    #[test]
    fn what_a_model_cost_does_not_change_what_it_answers() {
        let plain = of_model("custom: {baseModel: b}");
        let told = "developmentCostUSD: '417000', amortizedOverMonths: 24, trainedOn: claims";
        assert_eq!(plain, of_model(&format!("custom: {{baseModel: b, {told}}}")));
        assert_ne!(
            plain,
            of_model("custom: {baseModel: b, adapters: [{name: fraud, source: {uri: 'hf://bank/fraud'}}]}")
        );
    }

    #[test]
    fn a_verdict_is_about_the_judge_too() {
        let read = |text: &str| -> ModelDeployment { serde_saphyr::from_str(text).unwrap() };
        let model = |name: &str, called: &str| {
            let api = format!("{{provider: Anthropic, model: {called}, credentials: {{secretRef: {{name: s, key: k}}}}}}");
            Arc::new(read(&format!("{{metadata: {{name: {name}, namespace: n}}, spec: {{api: {api}}}}}")))
        };
        let job = |scorer: &str| -> EvalJob {
            let suite = format!("{{name: s, exemplars: {{dataset: {{uri: 'https://h/f.jsonl'}}}}, scorer: {scorer}}}");
            let spec = format!("{{targets: {{models: [m]}}, schedule: {{cron: '0 0 1 1 *'}}, suites: [{suite}]}}");
            serde_saphyr::from_str(&format!("{{metadata: {{name: e, namespace: n}}, spec: {spec}}}")).unwrap()
        };
        let judged = job("{judge: {model: j}}");
        let of = |models: &[Arc<ModelDeployment>]| of(&model("m", "x"), &judged, models);
        let (one, other) = (of(&[model("j", "claude-a")]), of(&[model("j", "claude-b")]));
        assert_ne!(one, other);
        assert_ne!(one, of(&[]), "of one that is not there nothing is known");
        assert_eq!(one, of(&[model("other", "y"), model("j", "claude-a")]));
        let plain = job("{f1: {}}");
        assert_eq!(
            super::of(&model("m", "x"), &plain, &[]),
            super::of(&model("m", "x"), &plain, &[model("j", "claude-a")])
        );
    }

    #[test]
    fn a_verdict_is_about_what_an_evaluator_asks_and_not_about_what_its_container_is_given() {
        let model =
            serde_saphyr::from_str("{metadata: {name: m}, spec: {selfHosted: {engine: {kind: VLLM}, accelerator: {profile: a}}}}").unwrap();
        let of = |own: &str| {
            let suite = format!("{{name: s, external: {{image: 'e:1'{own}}}}}");
            let spec = format!("{{targets: {{models: [m]}}, schedule: {{cron: '0 0 1 1 *'}}, suites: [{suite}]}}");
            let job: EvalJob = serde_saphyr::from_str(&format!("{{metadata: {{name: e}}, spec: {spec}}}")).unwrap();
            super::of(&model, &job, &[])
        };
        let plain = of("");
        assert_eq!(plain, of(", resources: {limits: {memory: 8Gi}}"));
        assert_eq!(plain, of(", secretRef: {name: hub}"));
        assert_ne!(plain, of(", args: [--limit, '10']"));
        assert_ne!(plain, of(", env: [{name: SEED, value: '2'}]"));
    }

    #[test]
    fn a_verdict_outlives_an_upgrade_of_the_operator() {
        assert_eq!(
            of_model("accelerator: {profile: a, count: 2}, source: {uri: 'hf://o/n'}"),
            "f6e067585effe93e"
        );
    }
}
