//! Whether an EvalJob can be carried out: what it says by itself, and whether what it names exists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::api::condition::Kind;
use crate::api::eval_job::{Dataset, Latency, Scorer};
use crate::api::{EvalJob, ModelDeployment, eval_job};
use crate::fetch::Location;
use crate::plan::evaluation::{criteria, family, run};
use crate::plan::names::{self, Key};
use crate::plan::price::{Book, Pricing};
use crate::plan::schedule::Schedule;
use crate::plan::{Invalid, model};

/// Why no run can start. What is wrong by itself waits for a person; what is missing may still come, as objects are applied in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `Accepted` when the specification is wrong by itself, `ResolvedRefs` when something that it names is not there.
    pub claim: Kind,
    /// A stable word for machines.
    pub reason: &'static str,
    /// Field, problem and remedy.
    pub invalid: Invalid,
}

/// More targets than this do not fit into a run's report.
const MOST_TARGETS: usize = 8;

/// What a run is to do is one variable of its pod, and the kernel takes none of more than 128 KiB; targets and their criteria have the rest.
const MOST_OF_SUITES: usize = 96 << 10;

/// The reason when an object of somebody else has the name of the Job of a run.
pub const NAME_TAKEN: &str = "NameTaken";

/// The reason when the API server does not take the Job of a run.
pub const JOB_REFUSED: &str = "JobRefused";

/// The ConfigMaps that an EvalJob names, by name, as far as they exist.
pub type Datasets = BTreeMap<String, ConfigMap>;

/// The schedule of a specification that is right by itself.
///
/// # Errors
/// The first thing that is wrong.
pub fn accept(job: &EvalJob) -> Result<Schedule, Problem> {
    let refused = |reason, invalid| Problem {
        claim: Kind::Accepted,
        reason,
        invalid,
    };
    let eval_job::Schedule { cron, time_zone, .. } = &job.spec.schedule;
    let schedule = Schedule::parse(cron, time_zone.as_deref(), "spec.schedule").map_err(|invalid| refused("InvalidSchedule", invalid))?;
    for suite in &job.spec.suites {
        if let Some(scorer) = &suite.scorer {
            pattern(scorer, &format!("spec.suites[{}].scorer", suite.name)).map_err(|invalid| refused("InvalidScorer", invalid))?;
        }
        for (field, dataset) in suite.datasets() {
            let field = format!("spec.suites[{}].{field}.uri", suite.name);
            location(dataset, &field).map_err(|invalid| refused("InvalidDataset", invalid))?;
        }
    }
    told(job).map_err(|invalid| refused("SuitesTooLong", invalid))?;
    in_time(job).map_err(|invalid| refused("InvalidLimits", invalid))?;
    criteria::accept(&job.spec).map_err(|invalid| refused("InvalidCriterion", invalid))?;
    Ok(schedule)
}

/// Whether the pod of a run can be told what its suites are.
fn told(job: &EvalJob) -> Result<(), Invalid> {
    let bytes = serde_json::to_vec(&job.spec.suites).map_or(0, |suites| suites.len());
    if bytes <= MOST_OF_SUITES {
        return Ok(());
    }
    let problem = format!("they have {bytes} bytes, and the pod of a run is told {MOST_OF_SUITES} at most");
    let remedy = "shorten args and env of external suites, or use several EvalJobs";
    Err(Invalid::new("spec.suites", problem, remedy))
}

/// Whether the loads can end within the time that a run has, which is known before anything is asked.
fn in_time(job: &EvalJob) -> Result<(), Invalid> {
    let seconds = |load: &Latency| f64::from(load.requests) / load.rate_per_second.parse::<f64>().unwrap_or(f64::NAN);
    let loads = job.spec.suites.iter().filter_map(|suite| suite.latency.as_ref());
    let each: f64 = loads.map(seconds).sum();
    let targets = job.spec.targets.models.len().max(1);
    let (takes, has) = (each * targets as f64, run::longest(job).as_secs_f64());
    if takes <= has {
        return Ok(());
    }
    let problem = format!("the loads of {targets} targets take {takes:.0} s, one after the other, and a run has {has:.0} s");
    let remedy = "raise it, ask for fewer requests or for more a second, or use several EvalJobs";
    Err(Invalid::new("spec.limits.maxDuration", problem, remedy))
}

fn pattern(scorer: &Scorer, field: &str) -> Result<(), Invalid> {
    let Some(regex) = &scorer.regex else { return Ok(()) };
    let Err(error) = regex::Regex::new(&regex.pattern) else {
        return Ok(());
    };
    // The library draws the pattern over several lines; its last line says what is wrong.
    let why = error
        .to_string()
        .lines()
        .last()
        .unwrap_or_default()
        .trim_start_matches("error: ")
        .to_owned();
    let remedy = "write a regular expression in RE2 syntax, which has no look-around and no back-references";
    Err(Invalid::new(format!("{field}.regex.pattern"), why, remedy))
}

fn location(dataset: &Dataset, field: &str) -> Result<(), Invalid> {
    let Some(uri) = &dataset.uri else { return Ok(()) };
    if let Some(path) = uri.strip_prefix("pvc://") {
        let is_inside = path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        let has_file = path.split_once('/').is_some();
        return if is_inside && has_file {
            Ok(())
        } else {
            Err(Invalid::new(
                field,
                format!("{uri:?} is no file of a claim"),
                "write it as pvc://claim/path/to/file.jsonl",
            ))
        };
    }
    Location::parse(uri)
        .map(drop)
        .map_err(|failure| Invalid::new(field, failure.message, ""))
}

/// The model, or adapter, that `name` means as a target, as what answers to that name.
///
/// # Errors
/// What does not exist.
pub(in crate::plan) fn find(models: &[Arc<ModelDeployment>], namespace: &str, name: &str) -> Result<ModelDeployment, String> {
    let (model, adapter) = names::asked_parts(name);
    let key = Key::new(namespace, model);
    let Some(found) = models.iter().find(|model| Key::of(&***model) == key) else {
        return Err(format!("there is no ModelDeployment {key}"));
    };
    model::asked(found, adapter).ok_or_else(|| format!("ModelDeployment {key} has no adapter {:?}", adapter.unwrap_or_default()))
}

/// The names of the targets of `job`: those it names, in their order, and then those it selects, by name.
#[must_use]
pub fn targets(job: &EvalJob, models: &[Arc<ModelDeployment>]) -> Vec<String> {
    let mut names = job.spec.targets.models.clone();
    let namespace = Key::of(job).namespace;
    let Some(selector) = &job.spec.targets.selector else { return names };
    let is_selected = |model: &&Arc<ModelDeployment>| {
        let is_leaving = model.metadata.deletion_timestamp.is_some();
        Key::of(&***model).namespace == namespace && !is_leaving && selector.matches(model.labels())
    };
    let selected = models.iter().filter(is_selected).map(|model| model.name_any());
    let selected: BTreeSet<String> = selected.filter(|name| !names.contains(name)).collect();
    names.extend(selected);
    names
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Models {
    /// The targets.
    pub targets: Vec<Arc<ModelDeployment>>,
    /// What they are compared with.
    pub baseline: Option<Arc<ModelDeployment>>,
    /// Who judges their answers, by the names that suites have for them.
    pub judges: BTreeMap<String, Arc<ModelDeployment>>,
}

impl Models {
    /// Everybody whose answers are scored: the baseline is one more.
    pub fn asked(&self) -> impl Iterator<Item = &Arc<ModelDeployment>> {
        self.targets.iter().chain(&self.baseline)
    }

    /// These, and those who judge them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ModelDeployment>> {
        self.asked().chain(self.judges.values())
    }
}

/// The models of `job`, when they, its datasets and, where it caps the cost, their prices at `now` exist. `datasets` of none: they were found
/// before and are not looked at now.
///
/// # Errors
/// The first thing that is missing.
pub fn resolve(
    job: &EvalJob,
    models: &[Arc<ModelDeployment>],
    datasets: Option<&Datasets>,
    book: &Book,
    now: Timestamp,
) -> Result<Models, Problem> {
    let missing = |reason, field: &str, problem, remedy| Problem {
        claim: Kind::ResolvedRefs,
        reason,
        invalid: Invalid::new(field, problem, remedy),
    };
    let namespace = Key::of(job).namespace;
    let found = |name: &String, reason, field: &str| {
        let found = find(models, &namespace, name).map(Arc::new);
        found.map_err(|problem| missing(reason, field, problem, "create it, or remove the name".to_owned()))
    };
    let names = targets(job, models);
    if names.is_empty() {
        let problem = format!("no ModelDeployment in {namespace} has such labels");
        let remedy = "label one, or change the selector".to_owned();
        return Err(missing("TargetNotFound", "spec.targets.selector", problem, remedy));
    }
    if names.len() > MOST_TARGETS {
        let problem = format!("there are {} targets, and a run has {MOST_TARGETS} at most", names.len());
        let remedy = "narrow the selector, or use several EvalJobs".to_owned();
        return Err(missing("TooManyTargets", "spec.targets.selector", problem, remedy));
    }
    let targets = names.iter().map(|name| found(name, "TargetNotFound", "spec.targets.models"));
    // One of an earlier run is not asked, and may be gone.
    let baseline = job.spec.baseline.as_ref().filter(|baseline| baseline.run.is_none());
    let baseline = baseline.and_then(|baseline| baseline.model.as_ref());
    let mut judges = BTreeMap::new();
    let judged = job.spec.suites.iter().filter_map(|suite| Some((suite, suite.judge()?)));
    for (suite, judge) in judged.clone() {
        let field = format!("spec.suites[{}].scorer.judge.model", suite.name);
        judges.insert(judge.model.clone(), found(&judge.model, "JudgeNotFound", &field)?);
    }
    let models = Models {
        judges,
        targets: targets.collect::<Result<Vec<_>, _>>()?,
        baseline: baseline
            .map(|model| found(model, "BaselineNotFound", "spec.baseline.model"))
            .transpose()?,
    };

    for (suite, judge) in judged {
        let Some(judge) = models.judges.get(&judge.model) else { continue };
        // One that favours the baseline would fail the targets.
        let kin = models.asked().find_map(|asked| family::between(&suite.name, judge, asked));
        if let Some(invalid) = kin {
            return Err(Problem {
                claim: Kind::Accepted,
                reason: "JudgeOfFamily",
                invalid,
            });
        }
    }

    let capped = job.spec.limits.as_ref().is_some_and(|limits| limits.max_cost_usd.is_some());
    let is_priced = |model: &ModelDeployment| Pricing::of(model, book).at(now).is_some_and(|rates| rates.price_text());
    if let Some(unpriced) = models.iter().find(|model| capped && !is_priced(model)) {
        let problem = format!(
            "the price of ModelDeployment {} is unknown, so its cost cannot be capped",
            Key::of(&**unpriced)
        );
        let remedy = "set the model's spec.price or add it to the price book, or use spec.limits.maxTokens instead";
        return Err(Problem {
            claim: Kind::Accepted,
            reason: "PriceUnknown",
            invalid: Invalid::new("spec.limits.maxCostUSD", problem, remedy),
        });
    }

    let Some(datasets) = datasets else { return Ok(models) };
    let named = job
        .spec
        .suites
        .iter()
        .flat_map(|suite| suite.datasets().map(move |(field, dataset)| (suite, field, dataset)));
    for (suite, field, dataset) in named {
        let Some(wanted) = &dataset.config_map_ref else { continue };
        let field = format!("spec.suites[{}].{field}.configMapRef", suite.name);
        let (name, key) = (Key::new(&namespace, &wanted.name), &wanted.key);
        let Some(found) = datasets.get(&wanted.name) else {
            let remedy = format!("create it with the key {key}, or change the name");
            return Err(missing(
                "ConfigMapNotFound",
                &field,
                format!("there is no ConfigMap {name}"),
                remedy,
            ));
        };
        let has_key = found.data.as_ref().is_some_and(|data| data.contains_key(key))
            || found.binary_data.as_ref().is_some_and(|data| data.contains_key(key));
        if !has_key {
            let problem = format!("ConfigMap {name} has no key {key}");
            return Err(missing(
                "ConfigMapKeyNotFound",
                &field,
                problem,
                "add it, or change the key".to_owned(),
            ));
        }
    }
    Ok(models)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::evaluation::fixtures;

    fn problem(change: impl FnOnce(&mut EvalJob, &mut Vec<ModelDeployment>, &mut Datasets)) -> (Kind, &'static str, String) {
        let (mut job, mut models, mut datasets) = (fixtures::job(), vec![fixtures::model("llama")], fixtures::datasets());
        change(&mut job, &mut models, &mut datasets);
        let models: Vec<_> = models.into_iter().map(Arc::new).collect();
        let found = accept(&job).and_then(|_| resolve(&job, &models, Some(&datasets), &Book::default(), Timestamp::UNIX_EPOCH));
        let Problem { claim, reason, invalid } = found.expect_err("it is carried out");
        (claim, reason, invalid.to_string())
    }

    #[test]
    fn suites_that_no_pod_can_be_told_are_refused() {
        let (kind, reason, says) = problem(|job, _, _| {
            let args = vec!["x".repeat(1024); 64];
            let external = serde_json::json!({"name": "own", "external": {"image": "e", "args": args}});
            let suite: eval_job::Suite = serde_json::from_value(external).unwrap();
            job.spec.suites.extend([suite.clone(), suite]);
        });
        assert_eq!((kind, reason), (Kind::Accepted, "SuitesTooLong"));
        assert!(
            says.ends_with("the pod of a run is told 98304 at most; shorten args and env of external suites, or use several EvalJobs"),
            "{says}"
        );
    }

    #[test]
    fn what_is_there_is_resolved() {
        let models = [Arc::new(fixtures::model("llama"))];
        assert!(accept(&fixtures::job()).is_ok());
        let resolve = |datasets| resolve(&fixtures::job(), &models, datasets, &Book::default(), Timestamp::UNIX_EPOCH);
        let datasets = fixtures::datasets();
        assert_eq!(resolve(Some(&datasets)).unwrap().targets, models);
        assert_eq!(resolve(None).unwrap().targets, models);
    }

    #[test]
    fn an_adapter_is_a_target_by_its_name() {
        let custom = "custom: {baseModel: b, adapters: [{name: a, source: {uri: 'hf://b/a'}}, {name: c, source: {uri: 'hf://b/c'}}]}";
        let spec = format!("{{selfHosted: {{engine: {{kind: VLLM}}, {custom}}}}}");
        let models = [Arc::new(fixtures::read::<ModelDeployment>(&format!(
            "{{metadata: {{name: ft, namespace: claims}}, spec: {spec}}}"
        )))];
        let mut job = fixtures::job();
        job.spec.targets.models = vec!["ft".to_owned(), "ft:a".to_owned()];
        let targets = resolve(&job, &models, None, &Book::default(), Timestamp::UNIX_EPOCH)
            .unwrap()
            .targets;
        let adapters = |model: &ModelDeployment| model.spec.self_hosted.clone().unwrap().custom.unwrap().adapters;
        assert_eq!((Key::of(&*targets[0]).name.as_str(), adapters(&targets[0]).len()), ("ft", 0));
        assert_eq!(
            (Key::of(&*targets[1]).name.as_str(), adapters(&targets[1])[0].name.as_str()),
            ("ft:a", "a")
        );
        job.spec.targets.models = vec!["ft:x".to_owned()];
        let problem = resolve(&job, &models, None, &Book::default(), Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(
            (problem.reason, problem.invalid.problem.as_str()),
            ("TargetNotFound", "ModelDeployment claims/ft has no adapter \"x\"")
        );
    }

    #[test]
    fn a_cost_is_capped_by_the_price_book_too_while_an_entry_holds() {
        let mut job = fixtures::job();
        job.spec.limits = Some(fixtures::read("{maxCostUSD: '25'}"));
        let mut model = fixtures::model("llama");
        model.spec.price = None;
        let models = [Arc::new(model)];
        let text = "prices: [{provider: OpenAI, model: llama, from: 2026-08-01, inputPer1M: '1', outputPer1M: '2'},
            {provider: OpenAI, model: llama, from: 2026-09-01, inputPer1M: '1'}]";
        let book = Book::of(&fixtures::read(text)).unwrap();
        let resolve = |now: &str| resolve(&job, &models, None, &book, now.parse().unwrap());
        assert_eq!(resolve("2026-08-01T00:00:00Z").unwrap().targets, models);
        for now in ["2026-07-31T00:00:00Z", "2026-09-01T00:00:00Z"] {
            assert_eq!(resolve(now).unwrap_err().reason, "PriceUnknown", "{now}");
        }
    }

    fn judged(job: &mut EvalJob) {
        job.spec.suites[0].scorer = Some(fixtures::read("judge: {model: claude}"));
        job.spec.criteria[0].metric = "score".to_owned();
    }

    #[test]
    fn a_judge_is_one_more_model_that_must_be_there_and_priced() {
        let mut job = fixtures::job();
        judged(&mut job);
        job.spec.limits = Some(fixtures::read("{maxCostUSD: '25'}"));
        let mut models = vec![Arc::new(fixtures::model("llama")), Arc::new(fixtures::judge("claude"))];
        let resolve = |models: &[Arc<ModelDeployment>]| resolve(&job, models, None, &Book::default(), Timestamp::UNIX_EPOCH);
        let found = resolve(&models).unwrap();
        assert_eq!((found.asked().count(), found.iter().count()), (1, 2));
        assert_eq!(found.judges["claude"], models[1]);
        let mut unpriced = fixtures::judge("claude");
        unpriced.spec.price = None;
        models[1] = Arc::new(unpriced);
        let problem = resolve(&models).unwrap_err();
        assert_eq!(problem.reason, "PriceUnknown");
        assert!(problem.invalid.problem.contains("claims/claude"), "{problem:?}");
    }

    #[test]
    fn each_problem_has_its_reason_field_and_remedy() {
        let found = [
            problem(|job, _, _| job.spec.schedule.cron = "0 25 * * *".to_owned()),
            problem(|job, _, _| job.spec.suites[0].scorer = Some(fixtures::read("regex: {pattern: '(?<=a)b'}"))),
            problem(|job, _, _| {
                job.spec.suites =
                    fixtures::read("[{name: s, latency: {requests: 100000, ratePerSecond: '1', inputTokens: 60, outputTokens: 1}}]");
                job.spec.criteria.clear();
            }),
            problem(|_, models, _| models.clear()),
            problem(|_, models, _| models[0].metadata.namespace = Some("other".to_owned())),
            problem(|job, models, _| {
                job.spec.limits = Some(fixtures::read("{maxCostUSD: '25'}"));
                models[0].spec.price = None;
            }),
            problem(|_, _, datasets| datasets.clear()),
            problem(|job, _, _| {
                job.spec.suites[0].exemplars = Some(fixtures::read("dataset: {configMapRef: {name: exemplars, key: other.jsonl}}"));
            }),
            problem(|job, _, _| judged(job)),
            problem(|job, models, _| {
                judged(job);
                models.push(fixtures::model("claude"));
            }),
            problem(|job, models, _| {
                judged(job);
                job.spec.baseline = Some(fixtures::read("{model: haiku}"));
                models.extend([fixtures::judge("claude"), fixtures::judge("haiku")]);
            }),
        ];
        let lines: Vec<String> = found
            .iter()
            .map(|(claim, reason, text)| format!("{claim} {reason} {text}"))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        Accepted InvalidSchedule spec.schedule.cron: "0 25 * * *" is not a schedule (number out of bounds); write five fields: minute, hour, day of month, month, day of week, such as "0 2 * * 1-5"
        Accepted InvalidScorer spec.suites[claims].scorer.regex.pattern: look-around, including look-ahead and look-behind, is not supported; write a regular expression in RE2 syntax, which has no look-around and no back-references
        Accepted InvalidLimits spec.limits.maxDuration: the loads of 1 targets take 100000 s, one after the other, and a run has 21600 s; raise it, ask for fewer requests or for more a second, or use several EvalJobs
        ResolvedRefs TargetNotFound spec.targets.models: there is no ModelDeployment claims/llama; create it, or remove the name
        ResolvedRefs TargetNotFound spec.targets.models: there is no ModelDeployment claims/llama; create it, or remove the name
        Accepted PriceUnknown spec.limits.maxCostUSD: the price of ModelDeployment claims/llama is unknown, so its cost cannot be capped; set the model's spec.price or add it to the price book, or use spec.limits.maxTokens instead
        ResolvedRefs ConfigMapNotFound spec.suites[claims].exemplars.dataset.configMapRef: there is no ConfigMap claims/exemplars; create it with the key cases.jsonl, or change the name
        ResolvedRefs ConfigMapKeyNotFound spec.suites[claims].exemplars.dataset.configMapRef: ConfigMap claims/exemplars has no key other.jsonl; add it, or change the key
        ResolvedRefs JudgeNotFound spec.suites[claims].scorer.judge.model: there is no ModelDeployment claims/claude; create it, or remove the name
        Accepted JudgeOfFamily spec.suites[claims].scorer.judge.model: claude and llama, which it would judge, are of one family (OpenAI), and models favour their own; name a judge of another family
        Accepted JudgeOfFamily spec.suites[claims].scorer.judge.model: claude and haiku, which it would judge, are of one family (Anthropic), and models favour their own; name a judge of another family
        "#);
    }
}
