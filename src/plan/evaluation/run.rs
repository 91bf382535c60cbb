//! What one run is to do, as the operator tells the evaluator: one JSON value in an environment variable. It holds no names of things the
//! evaluator could not reach: files are mounted, models are asked through the gateway.

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::eval_job::Scorer;
use crate::api::model_deployment::KeyRef;
use crate::api::{EvalJob, ModelDeployment};
use crate::plan::names::Key;
use crate::plan::price::{Book, Pricing, Rates};

/// One run: every target is asked every question of every suite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Evaluation {
    /// The namespace of the EvalJob; targets are asked as `namespace/name`.
    pub namespace: String,
    /// Who is asked.
    pub targets: Vec<Target>,
    /// What they are asked.
    pub suites: Vec<Suite>,
    /// What the run may use.
    #[serde(default)]
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
}

/// One set of questions, in the file `<name>.jsonl` of the datasets' folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// The ConfigMap and key that the file comes from, for messages.
    pub dataset: KeyRef,
    /// How answers are scored.
    pub scorer: Scorer,
}

/// What a run may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Nano-dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<u64>,
    /// Tokens, prompts and answers together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
}

impl Evaluation {
    /// The run that `job` asks for, with the prices of its targets at `now`: a run that goes on over midnight keeps them.
    #[must_use]
    pub fn of(job: &EvalJob, models: &[&ModelDeployment], book: &Book, now: Timestamp) -> Self {
        let limits = job.spec.limits.as_ref();
        Self {
            namespace: Key::of(job).namespace,
            targets: models
                .iter()
                .map(|model| Target {
                    model: Key::of(*model).name,
                    price: Pricing::of(model, book).at(now).map(|rates| Rates::clone(rates)),
                })
                .collect(),
            suites: job
                .spec
                .suites
                .iter()
                .map(|suite| Suite {
                    name: suite.name.clone(),
                    dataset: suite.exemplars.dataset.config_map_ref.clone(),
                    scorer: suite.scorer.clone(),
                })
                .collect(),
            limits: Limits {
                cost: limits.and_then(|l| l.max_cost_usd.as_ref()).and_then(|usd| usd.nanos()),
                tokens: limits.and_then(|l| l.max_tokens).and_then(|n| u64::try_from(n).ok()),
            },
        }
    }
}
