//! What a suite comes to before it is asked, by its dataset.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::files::File;
use super::prompt::{Body, Prompt};
use super::suite::Suite;
use crate::api::eval_job::{self as api, Criterion};
use crate::plan::evaluation::outlook::{self, Held, Outline};
use crate::plan::evaluation::run::Evaluation;
use crate::plan::statistics::Confidence;

/// What `suite` comes to with these datasets, by the fields that name them.
///
/// # Errors
/// One sentence that names the place, the field and the remedy.
pub fn outline(suite: &api::Suite, held: BTreeMap<&str, Held>, extend_to: Option<u32>) -> Result<Outline, String> {
    let file = |(field, (name, file, bytes)): (_, Held)| {
        let digest = String::new();
        (field, File { name, file, bytes, digest })
    };
    let files = held.into_iter().map(file).collect();
    Ok(Suite::of(suite, &files, extend_to)?.outline())
}

/// What a run will use and can find out, before anything is asked: a line for each suite, each model that is asked, and each criterion.
pub(super) fn outlook(run: &Evaluation, suites: &[Suite]) -> Vec<String> {
    let asked = || run.asked().map(|target| (target.model.as_str(), target.price.as_ref()));
    let of_suite = |suite: &Suite| {
        let told = |line: String| format!("suite {}: {line}", suite.name);
        // What its evaluator asked is in what was spent already.
        if suite.is_external() {
            return vec![told(format!(
                "its evaluator asked {} questions before the run's own",
                suite.count()
            ))];
        }
        let outline = suite.outline();
        let mut criteria: Vec<&Criterion> = Vec::new();
        for criterion in run.targets.iter().flat_map(|target| &target.criteria) {
            if criterion.suite.as_ref() == Some(&suite.name) && !criteria.contains(&criterion) {
                criteria.push(criterion);
            }
        }
        // Criteria differ by the tier of a target, how sure verdicts are does not.
        let look = run.targets.first().map_or(Confidence::P95, |target| run.rules(target).look());
        let hopeless = criteria
            .iter()
            .filter_map(|criterion| outline.hopeless(criterion, "spec.criteria", look));
        let hopeless: Vec<String> = hopeless.map(|invalid| invalid.to_string()).collect();
        let lines = outline.lines(asked(), criteria, look).into_iter().chain(hopeless);
        lines.map(told).collect::<Vec<_>>()
    };
    let of_loads = run.suites.iter().filter_map(|suite| Some((&suite.name, suite.latency.as_ref()?)));
    let targets = || run.targets.iter().map(|target| (target.model.as_str(), target.price.as_ref()));
    let of_load = |(name, load): (&String, &api::Latency)| {
        let lines = outlook::of_load(load, targets()).into_iter();
        lines.map(|line| format!("suite {name}: {line}")).collect::<Vec<_>>()
    };
    suites.iter().flat_map(of_suite).chain(of_loads.flat_map(of_load)).collect()
}

impl Suite {
    /// What it comes to.
    pub(super) fn outline(&self) -> Outline {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let all = self.asked(false).iter().chain(self.asked(true));
        let prompts: Vec<Prompt> = self.asked(false).iter().map(|question| self.prompt(*question)).collect();
        let clusters: Option<BTreeSet<String>> = self.asked(false).iter().map(|question| self.cluster(*question)).collect();
        let strata: BTreeSet<String> = all.filter_map(|question| self.drawn_from(*question)).collect();
        let mut expected: BTreeMap<String, u32> = BTreeMap::new();
        for question in self.asked(false) {
            *expected.entry(self.target(*question)).or_default() += 1;
        }
        Outline {
            suite: self.name.clone(),
            items: count(self.count()),
            asked: count(self.asked(false).len()),
            beyond: count(self.asked(true).len()),
            repeats: self.repeats,
            duplicates: count(self.duplicates()),
            clusters: clusters.map(|clusters| count(clusters.len())),
            strata: count(strata.len()),
            judge: self.judge().map(|judge| judge.model.clone()),
            attacks: self.is_about_safety(),
            commonest: expected
                .into_iter()
                .filter(|(answer, _)| !answer.is_empty())
                .max_by_key(|(_, count)| *count),
            bytes: prompts.iter().map(bytes).sum(),
            answers: prompts.iter().map(|prompt| u64::from(prompt.max_tokens)).sum(),
        }
    }

    /// Questions whose prompt another one before them has.
    fn duplicates(&self) -> usize {
        let mut seen = HashSet::new();
        let is_again = |question: &usize| !seen.insert(format!("{:?}", self.prompt(*question).body));
        (0..self.count()).filter(is_again).count()
    }
}

fn bytes(prompt: &Prompt) -> u64 {
    let length = |text: &str| u64::try_from(text.len()).unwrap_or(u64::MAX);
    match &prompt.body {
        Body::Chat(messages) => messages.iter().map(|message| length(&message.content)).sum(),
        Body::Completion(text) => length(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_outlined_by_its_questions() {
        let suite = "{name: claims, exemplars: {dataset: {configMapRef: {name: c, key: k.jsonl}}, clusterBy: case}, scorer: {exact: {}},
            sample: {size: 4, stratifyBy: kind}, repeats: 2, maxOutputTokens: 10}";
        let suite: api::Suite = serde_saphyr::from_str(suite).unwrap();
        let row = |id: usize, input: &str, kind: &str| {
            serde_json::json!({"id": id, "input": input, "expected": "yes", "case": id / 2, "kind": kind}).to_string()
        };
        let rows = [
            row(0, "a", "x"),
            row(1, "b", "y"),
            row(2, "a", "x"),
            row(3, "d", "y"),
            row(4, "e", "x"),
            row(5, "f", "y"),
        ];
        let held = (
            "ConfigMap c, k.jsonl".to_owned(),
            "k.jsonl".to_owned(),
            rows.join("\n").into_bytes(),
        );
        let seen = outline(&suite, [("exemplars.dataset", held)].into(), Some(5)).unwrap();
        assert_eq!((seen.items, seen.asked, seen.beyond, seen.repeats), (6, 4, 1, 2));
        assert_eq!((seen.duplicates, seen.strata, seen.commonest), (1, 2, Some(("yes".to_owned(), 4))));
        assert!((2..=3).contains(&seen.clusters.unwrap()));
        assert_eq!((seen.bytes, seen.answers), (4, 40));
    }
}
