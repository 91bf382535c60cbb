//! What each evaluation of these files will cost and can find out, as far as its datasets are in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use super::Portfolio;
use super::finding::Severity;
use crate::api::eval_job::{Dataset, Latency, Suite};
use crate::api::{EvalJob, ModelDeployment};
use crate::plan::evaluation::outlook::{Held, Outline};
use crate::plan::evaluation::{check, criteria};
use crate::plan::names::{Key, asked_parts};
use crate::plan::price::{Book, Pricing, Rates};

/// What is known of what somebody else's program asks.
const OF_EXTERNAL: &str = "its evaluator asks what it wants, so nobody knows before what it costs; spec.limits caps it";

impl Portfolio {
    /// What each evaluation comes to, a line for each suite and each criterion, by `outline`, with the prices of `book` at `now`. What can never pass
    /// is added to the findings.
    pub fn outlook(
        &mut self,
        outline: impl Fn(&Suite, BTreeMap<&str, Held>, Option<u32>) -> Result<Outline, String>,
        book: &Book,
        now: Timestamp,
    ) -> Vec<String> {
        let mut lines = Vec::new();
        let mut found = Vec::new();
        for written in &self.evaluations {
            let job = &written.object;
            let key = Key::of(job);
            for suite in &job.spec.suites {
                let head = format!("EvalJob {key}, suite {}", suite.name);
                if let Some(load) = &suite.latency {
                    lines.push(format!("{head}: {}", of_load(load)));
                    continue;
                }
                if suite.external.is_some() {
                    lines.push(format!("{head}: {OF_EXTERNAL}"));
                    continue;
                }
                let Some(held) = self.files(&key.namespace, suite) else {
                    lines.push(format!("{head}: its dataset is not in these files; it is read when a run starts"));
                    continue;
                };
                let extend_to = job.spec.on_inconclusive.as_ref().map(|extend| extend.extend_sample_to);
                // What is wrong with it is a finding of its own.
                let Ok(outline) = outline(suite, held, extend_to) else { continue };
                let targets = self.targets(job);
                let prices = targets.iter().map(|(_, model)| Pricing::of((*model)?, book).at(now).cloned());
                let prices: Vec<Option<Arc<Rates>>> = prices.collect();
                let (look, tier) = (
                    criteria::look(&job.spec),
                    targets.iter().find_map(|(_, model)| Some(model.as_ref()?.spec.tier)),
                );
                let criteria = criteria::of(&job.spec, tier.unwrap_or_default(), false);
                let of_suite = || criteria.iter().enumerate().filter(|(_, c)| c.suite.as_ref() == Some(&suite.name));
                let asked = targets
                    .iter()
                    .zip(&prices)
                    .map(|((name, _), price)| (name.as_str(), price.as_deref()));
                let told = outline.lines(asked, of_suite().map(|(_, criterion)| criterion), look);
                lines.extend(told.into_iter().map(|line| format!("{head}: {line}")));
                for (at, criterion) in of_suite() {
                    let field = if job.spec.criteria.is_empty() {
                        "spec.criteria".to_owned()
                    } else {
                        format!("spec.criteria[{at}]")
                    };
                    let hopeless = outline.hopeless(criterion, &field, look);
                    found.extend(hopeless.map(|invalid| written.origin.finding(Severity::Warning, invalid)));
                }
            }
        }
        self.findings.extend(found);
        self.findings.sort();
        lines
    }

    /// The datasets of a suite; none where one of them is not in these files.
    fn files(&self, namespace: &str, suite: &Suite) -> Option<BTreeMap<&'static str, Held>> {
        let one = |(field, dataset): (&'static str, &Dataset)| {
            let reference = dataset.config_map_ref.as_ref()?;
            let bytes = self.config(&Key::new(namespace, &reference.name), &reference.key)?;
            let name = format!("ConfigMap {namespace}/{}, key {},", reference.name, reference.key);
            Some((field, (name, reference.key.clone(), bytes)))
        };
        suite.datasets().map(one).collect()
    }

    /// Who is asked by `job`, by name, with their ModelDeployments as far as they are in these files.
    fn targets(&self, job: &EvalJob) -> Vec<(String, Option<&ModelDeployment>)> {
        let all: Vec<Arc<ModelDeployment>> = self.models.iter().map(|written| Arc::new(written.object.clone())).collect();
        let mut names = check::targets(job, &all);
        let baseline = job.spec.baseline.as_ref().filter(|baseline| baseline.run.is_none());
        names.extend(
            baseline
                .and_then(|baseline| baseline.model.clone())
                .filter(|name| !names.contains(name)),
        );
        let namespace = Key::of(job).namespace;
        let named = |name: &str| {
            let key = Key::new(&namespace, asked_parts(name).0);
            self.models
                .iter()
                .map(|written| &written.object)
                .find(|model| Key::of(*model) == key)
        };
        names.into_iter().map(|name| (name.clone(), named(&name))).collect()
    }
}

fn of_load(load: &Latency) -> String {
    let Latency {
        requests,
        rate_per_second,
        input_tokens,
        output_tokens,
    } = load;
    let seconds = rate_per_second.parse::<f64>().map_or(0.0, |rate| f64::from(*requests) / rate);
    format!(
        "{requests} requests in {seconds:.0} s for each target, about {} tokens of prompts, at most {} of answers",
        u64::from(*requests) * u64::from(*input_tokens),
        u64::from(*requests) * u64::from(*output_tokens),
    )
}
