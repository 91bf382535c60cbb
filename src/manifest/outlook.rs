//! What each evaluation of these files will cost and can find out, as far as its datasets are in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use super::Portfolio;
use super::finding::Severity;
use crate::api::eval_job::{Dataset, Suite};
use crate::api::{EvalJob, ModelDeployment};
use crate::plan::Invalid;
use crate::plan::evaluation::outlook::{Held, OF_EXTERNAL, Outline, cost_of_prompts, of_load};
use crate::plan::evaluation::{check, criteria};
use crate::plan::names::{Key, asked_parts};
use crate::plan::price::{Book, Pricing, Rates};

/// Who is asked, by name, and what tokens cost there.
fn asked<'a>(
    targets: &'a [(String, Option<&ModelDeployment>)],
    prices: &'a [Option<Arc<Rates>>],
) -> impl Iterator<Item = (&'a str, Option<&'a Rates>)> {
    let each = targets.iter().zip(prices);
    each.map(|((name, _), price)| (name.as_str(), price.as_deref()))
}

/// That the questions alone, of so many tokens for each model, are more than a run may use: it would stop in any case.
fn too_little(job: &EvalJob, prompts: u64, prices: &[Option<Arc<Rates>>]) -> Option<Invalid> {
    let limits = job.spec.limits.as_ref()?;
    let all = prompts.saturating_mul(prices.len() as u64);
    if let Some(most) = limits.max_tokens
        && i64::try_from(all).is_ok_and(|all| all > most)
    {
        let problem = format!(
            "the questions alone are about {all} tokens, and a run has {most}: it stops before its end, and its verdict is Invalid"
        );
        return Some(Invalid::new("spec.limits.maxTokens", problem, "raise it, or ask fewer questions"));
    }
    let most = limits.max_cost_usd.as_ref()?.nanos()?;
    let nanos = prices.iter().flatten().filter_map(|rates| cost_of_prompts(rates, prompts));
    let all = nanos.fold(0_u64, u64::saturating_add);
    (all > most).then(|| {
        let problem = format!(
            "the questions alone cost about ${:.2}, and a run has ${:.2}: it stops before its end, and its verdict is Invalid",
            all as f64 / 1e9,
            most as f64 / 1e9
        );
        Invalid::new("spec.limits.maxCostUSD", problem, "raise it, or ask fewer questions")
    })
}

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
            let targets = self.targets(job);
            let prices = targets.iter().map(|(_, model)| Pricing::of((*model)?, book).at(now).cloned());
            let prices: Vec<Option<Arc<Rates>>> = prices.collect();
            // What is wrong with a criterion is a finding of its own.
            let are_right = criteria::accept(&job.spec).is_ok();
            let mut prompts = 0;
            for suite in &job.spec.suites {
                let head = format!("EvalJob {key}, suite {}", suite.name);
                if let Some(load) = &suite.latency {
                    let told = of_load(load, asked(&targets, &prices));
                    lines.extend(told.into_iter().map(|line| format!("{head}: {line}")));
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
                let (look, tier) = (
                    criteria::look(&job.spec),
                    targets.iter().find_map(|(_, model)| Some(model.as_ref()?.spec.tier)),
                );
                let criteria = criteria::of(&job.spec, tier.unwrap_or_default(), false);
                let of_suite = || {
                    let of_suite = criteria.iter().enumerate().filter(|(_, c)| c.suite.as_ref() == Some(&suite.name));
                    of_suite.filter(|_| are_right)
                };
                prompts += outline.prompts();
                let told = outline.lines(asked(&targets, &prices), of_suite().map(|(_, criterion)| criterion), look);
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
            let too_little = too_little(job, prompts, &prices);
            found.extend(too_little.map(|invalid| written.origin.finding(Severity::Warning, invalid)));
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
