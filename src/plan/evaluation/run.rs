//! What one run is to do, as the operator tells the evaluator: one JSON value in an environment variable. Files of ConfigMaps and claims are
//! mounted, others the evaluator fetches with the credentials that are mounted; models are asked through the gateway.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::criteria;
use super::drift::Drift;
use super::judge::Rules;
use crate::api::eval_job::{Baseline, Criterion, Dataset, Suite};
use crate::api::{EvalJob, ModelDeployment};
use crate::plan::fingerprint;
use crate::plan::names::Key;
use crate::plan::price::{Book, Pricing, Rates};
use crate::plan::statistics::Confidence;

/// Questions to one model that are under way at once: enough to keep a server busy, too few to crowd out its users.
pub const AT_ONCE: usize = 4;

/// How long a run may take where nothing is said.
pub const LONGEST: Duration = Duration::from_secs(6 * 60 * 60);
/// The share of requests that may fail where nothing is said.
const MOST_ERRORS: f64 = 0.01;
/// The share of answers in which none may be found where nothing is said.
const MOST_UNPARSED: f64 = 0.05;

/// One run: every target is asked every question of every suite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Evaluation {
    /// The namespace of the EvalJob; targets are asked as `namespace/name`.
    pub namespace: String,
    /// Who is asked and judged.
    pub targets: Vec<Target>,
    /// Who is asked so that others can be compared with it; it may be one of the targets too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Target>,
    /// Who judges answers, where suites have judges; each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub judges: Vec<Target>,
    /// With what they were in an earlier run they are compared instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub past: Option<Past>,
    /// What is known of whether they become worse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// What they are asked.
    pub suites: Vec<Suite>,
    /// How sure verdicts are to be.
    pub confidence: f64,
    /// To how many questions samples are extended where they decide nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extend_to: Option<u32>,
    /// What the run may use.
    pub limits: Limits,
}

/// One model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// The ModelDeployment's name, or `name:adapter` of it.
    pub model: String,
    /// What its tokens cost, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Rates>,
    /// What must hold for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub criteria: Vec<Criterion>,
    /// What a judge is: another one behind the same name says something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// An earlier run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Past {
    /// The name of its Job.
    pub run: String,
    /// Whose answers in it count. None: each target's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// What a run may use, and how much of it may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Nano-dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<u64>,
    /// Tokens, prompts and answers together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Seconds.
    pub seconds: u64,
    /// The share of requests that may fail.
    pub errors: f64,
    /// The share of answers in which no answer may be found.
    pub unparsed: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cost: None,
            tokens: None,
            seconds: LONGEST.as_secs(),
            errors: MOST_ERRORS,
            unparsed: MOST_UNPARSED,
        }
    }
}

impl Evaluation {
    /// The run that `job` asks for, with the prices of its targets at `now`: a run that goes on over midnight keeps them. `baseline` is the model
    /// that the job names as such.
    #[must_use]
    pub fn of(job: &EvalJob, models: &[&ModelDeployment], baseline: Option<&ModelDeployment>, book: &Book, now: Timestamp) -> Self {
        let target = |model: &ModelDeployment| {
            let price = Pricing::of(model, book).at(now).map(|rates| Rates::clone(rates));
            Target {
                model: Key::of(model).name,
                criteria: criteria::of(&job.spec, model.spec.tier, price.is_some()),
                price,
                fingerprint: None,
            }
        };
        Self {
            namespace: Key::of(job).namespace,
            targets: models.iter().map(|model| target(model)).collect(),
            baseline: baseline.map(|model| Target {
                criteria: Vec::new(),
                ..target(model)
            }),
            judges: Vec::new(),
            past: job.spec.baseline.as_ref().and_then(past),
            drift: None,
            suites: job.spec.suites.clone(),
            confidence: criteria::confidence(&job.spec).share(),
            extend_to: job.spec.on_inconclusive.as_ref().map(|extend| extend.extend_sample_to),
            limits: limits(job),
        }
    }

    /// The same, with these models as its judges, by the names that suites have for them.
    #[must_use]
    pub fn judged_by(self, judges: &BTreeMap<String, Arc<ModelDeployment>>, book: &Book, now: Timestamp) -> Self {
        let judge = |(name, model): (&String, &Arc<ModelDeployment>)| Target {
            model: name.clone(),
            price: Pricing::of(model, book).at(now).map(|rates| Rates::clone(rates)),
            criteria: Vec::new(),
            fingerprint: Some(fingerprint::served(model)),
        };
        Self {
            judges: judges.iter().map(judge).collect(),
            ..self
        }
    }

    /// Everybody who is asked the questions: the targets, and the baseline where it is none of them.
    pub fn asked(&self) -> impl Iterator<Item = &Target> + Clone {
        let is_other = |baseline: &&Target| self.targets.iter().all(|target| target.model != baseline.model);
        self.targets.iter().chain(self.baseline.iter().filter(is_other))
    }

    /// Whether the prices of all that are asked, and of their judges, are known.
    #[must_use]
    pub fn is_priced(&self) -> bool {
        self.asked().chain(&self.judges).all(|target| target.price.is_some())
    }

    /// By what a target is judged.
    #[must_use]
    pub fn rules<'a>(&self, target: &'a Target) -> Rules<'a> {
        Rules {
            criteria: &target.criteria,
            confidence: Confidence::new(self.confidence).unwrap_or(Confidence::P95),
            looks: if self.extend_to.is_some() { 2 } else { 1 },
            errors: self.limits.errors,
            unparsed: self.limits.unparsed,
        }
    }
}

fn past(baseline: &Baseline) -> Option<Past> {
    Some(Past {
        run: baseline.run.clone()?,
        model: baseline.model.clone(),
    })
}

fn limits(job: &EvalJob) -> Limits {
    let Some(limits) = &job.spec.limits else { return Limits::default() };
    let usual = Limits::default();
    let share = |text: &Option<String>, usual: f64| text.as_ref().and_then(|text| text.parse().ok()).unwrap_or(usual);
    Limits {
        cost: limits.max_cost_usd.as_ref().and_then(|usd| usd.nanos()),
        tokens: limits.max_tokens.and_then(|n| u64::try_from(n).ok()),
        seconds: longest(job).as_secs(),
        errors: share(&limits.max_error_rate, usual.errors),
        unparsed: share(&limits.max_unparsed_rate, usual.unparsed),
    }
}

/// How long a run of `job` may take.
#[must_use]
pub fn longest(job: &EvalJob) -> Duration {
    let longest = job.spec.limits.as_ref().and_then(|limits| limits.max_duration);
    longest.map_or(LONGEST, Duration::from)
}

/// Where the evaluator finds a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// In the folder of datasets, at this path; from a key of a ConfigMap.
    Mounted {
        /// The path.
        path: String,
        /// The ConfigMap's name and the key.
        from: (&'a str, &'a str),
    },
    /// In the folder of claims, at this path.
    Claimed {
        /// The claim.
        claim: &'a str,
        /// The path in it.
        path: &'a str,
    },
    /// At this URI, with the variables in the folder of credentials named so.
    Fetched {
        /// The URI.
        uri: &'a str,
        /// The Secret.
        secret: Option<&'a str>,
    },
}

/// Where the dataset in that `field` of `suite` is.
#[must_use]
pub fn place<'a>(suite: &Suite, field: &str, dataset: &'a Dataset) -> Option<Place<'a>> {
    if let Some(map) = &dataset.config_map_ref {
        return Some(Place::Mounted {
            path: format!("{}/{field}", suite.name),
            from: (&map.name, &map.key),
        });
    }
    let uri = dataset.uri.as_deref()?;
    Some(match uri.strip_prefix("pvc://") {
        Some(rest) => {
            let (claim, path) = rest.split_once('/').unwrap_or((rest, ""));
            Place::Claimed { claim, path }
        }
        None => Place::Fetched {
            uri,
            secret: dataset.secret_ref.as_ref().map(|secret| secret.name.as_str()),
        },
    })
}
