//! What the operator's metrics say of evaluations: the verdict about each target, its numbers, and how far it is from an alarm.

use std::fmt::Error;
use std::sync::Arc;

use kube::ResourceExt;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};

use super::super::context::Context;
use super::gauge;
use crate::api::EvalJob;
use crate::api::eval_job::{DriftStatus, MetricResult, TargetResult, Verdict};
use crate::plan::names::Key;

/// Every verdict there is.
const VERDICTS: [Verdict; 4] = [Verdict::Pass, Verdict::Fail, Verdict::Inconclusive, Verdict::Invalid];

pub(super) struct Evaluations(pub(super) Arc<Context>);

impl std::fmt::Debug for Evaluations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Evaluations")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Target {
    namespace: String,
    eval_job: String,
    model: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Said {
    namespace: String,
    eval_job: String,
    model: String,
    verdict: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Number {
    namespace: String,
    eval_job: String,
    model: String,
    suite: String,
    metric: String,
}

impl Target {
    fn of(job: &EvalJob, model: &str) -> Self {
        Self {
            namespace: job.namespace().unwrap_or_default(),
            eval_job: job.name_any(),
            model: model.to_owned(),
        }
    }

    fn said(self, verdict: Verdict) -> Said {
        let Self {
            namespace,
            eval_job,
            model,
        } = self;
        Said {
            namespace,
            eval_job,
            model,
            verdict: verdict.to_string(),
        }
    }

    fn number(self, suite: &str, metric: &str) -> Number {
        let Self {
            namespace,
            eval_job,
            model,
        } = self;
        Number {
            namespace,
            eval_job,
            model,
            suite: suite.to_owned(),
            metric: metric.to_owned(),
        }
    }
}

impl Collector for Evaluations {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut jobs = self.0.cluster.stores.evaluations.all();
        jobs.sort_by_key(|job| Key::of(&**job));
        gauge(
            &mut encoder,
            "evaluation_verdict",
            "1 for what the latest decisive run says about a target, 0 for what it does not",
            &verdicts(&jobs),
        )?;
        let numbers = |which: fn(&MetricResult) -> Option<&String>| numbers(&jobs, which);
        gauge(
            &mut encoder,
            "evaluation_value",
            "What the latest decisive run measured",
            &numbers(|metric| Some(&metric.value)),
        )?;
        gauge(
            &mut encoder,
            "evaluation_value_lower",
            "The lower end of its interval",
            &numbers(|metric| metric.lower.as_ref()),
        )?;
        gauge(
            &mut encoder,
            "evaluation_value_upper",
            "The upper end of its interval",
            &numbers(|metric| metric.upper.as_ref()),
        )?;
        gauge(
            &mut encoder,
            "evaluation_drift_progress",
            "How far a target is on its way to an alarm for having become worse: 1 is one",
            &drifts(&jobs, |drift| drift.progress.as_ref()?.parse().ok()),
        )?;
        gauge(
            &mut encoder,
            "evaluation_drift_alarm",
            "Whether there is an alarm that a target has become worse",
            &drifts(&jobs, |drift| Some(f64::from(u8::from(drift.alarm.is_some())))),
        )
    }
}

fn of_targets(jobs: &[Arc<EvalJob>]) -> impl Iterator<Item = (Target, &TargetResult)> {
    jobs.iter().flat_map(|job| {
        let targets = job.status.iter().flat_map(|status| &status.targets);
        targets.map(|target| (Target::of(job, &target.model), target))
    })
}

fn verdicts(jobs: &[Arc<EvalJob>]) -> Vec<(Said, f64)> {
    of_targets(jobs)
        .flat_map(|(of, target)| VERDICTS.map(|verdict| (of.clone().said(verdict), f64::from(u8::from(verdict == target.verdict)))))
        .collect()
}

fn numbers(jobs: &[Arc<EvalJob>], which: fn(&MetricResult) -> Option<&String>) -> Vec<(Number, f64)> {
    let mut numbers = Vec::new();
    for (of, target) in of_targets(jobs) {
        for suite in &target.suites {
            let known = suite
                .metrics
                .iter()
                .filter_map(|metric| Some((metric, which(metric)?.parse().ok()?)));
            numbers.extend(known.map(|(metric, value)| (of.clone().number(&suite.name, &metric.name), value)));
        }
    }
    numbers
}

fn drifts(jobs: &[Arc<EvalJob>], reading: fn(&DriftStatus) -> Option<f64>) -> Vec<(Target, f64)> {
    let of_job = |job: &Arc<EvalJob>| -> Vec<(Target, f64)> {
        let known = job.status.iter().flat_map(|status| &status.drift);
        known
            .filter_map(|drift| Some((Target::of(job, &drift.model), reading(drift)?)))
            .collect()
    };
    jobs.iter().flat_map(of_job).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Vec<Arc<EvalJob>> {
        let text = "
metadata: {name: quality, namespace: claims}
spec:
  targets: {models: [llama]}
  schedule: {cron: '0 2 * * *'}
  suites: [{name: s, exemplars: {dataset: {configMapRef: {name: c, key: k}}}, scorer: {exact: {}}}]
status:
  targets:
  - model: llama
    verdict: Fail
    message: m
    fingerprint: f
    suites: [{name: s, questions: 4, correct: 2, unparsed: 0, errors: 0, metrics: [{name: accuracy, value: '0.500', lower: '0.150', n: 4}]}]
  drift: [{model: llama, about: a, progress: '0.250'}, {model: gpt, about: a, alarm: '2026-05-01T02:00:00Z'}]
";
        let mut value: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        value["apiVersion"] = "llmportfolio.dev/v1alpha1".into();
        value["kind"] = "EvalJob".into();
        vec![Arc::new(serde_json::from_value(value).unwrap())]
    }

    #[test]
    fn exactly_one_verdict_is_said_and_what_is_not_known_is_left_out() {
        let said: Vec<(String, f64)> = verdicts(&job()).into_iter().map(|(said, is)| (said.verdict, is)).collect();
        let told = [("Pass", 0.0), ("Fail", 1.0), ("Inconclusive", 0.0), ("Invalid", 0.0)];
        assert_eq!(said, told.map(|(verdict, is)| (verdict.to_owned(), is)));
        let values = |which| numbers(&job(), which).into_iter().map(|(_, value)| value).collect::<Vec<_>>();
        assert_eq!(values(|metric| Some(&metric.value)), [0.5]);
        assert_eq!(values(|metric| metric.lower.as_ref()), [0.15]);
        assert!(values(|metric| metric.upper.as_ref()).is_empty());
    }

    #[test]
    fn an_alarm_is_told_beside_how_far_it_was() {
        let alarms: Vec<f64> = drifts(&job(), |drift| Some(f64::from(u8::from(drift.alarm.is_some()))))
            .into_iter()
            .map(|(_, is)| is)
            .collect();
        assert_eq!(alarms, [0.0, 1.0]);
        let progress = drifts(&job(), |drift| drift.progress.as_ref()?.parse().ok());
        assert_eq!((progress.len(), progress[0].1, progress[0].0.model.as_str()), (1, 0.25, "llama"));
    }
}
