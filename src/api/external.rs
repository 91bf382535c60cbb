//! Evaluators that users bring as container images.

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::resources;
use super::suite::SecretName;

/// A member of the lines that an evaluator writes.
const MEMBER: &str = "^[^\\x00-\\x1f\\x7f]{1,63}$";
/// A variable of a container.
const VARIABLE: &str = "^[A-Za-z_][A-Za-z0-9_]{0,62}$";
/// The member that is the score where nothing is said.
pub const SCORE: &str = "score";

/// A program in an image that asks what it wants, scores the answers itself, and leaves a line for each question. It runs once for each target and the
/// baseline, one after the other, before everything else of the run, and exits with 0. It has these variables: `MODEL`, the model to ask for; `OPENAI_BASE_URL`, where
/// it answers `/chat/completions`, `/completions` and `/models` as OpenAI does; `OPENAI_API_KEY`, which nothing depends on; `SUITE`; and `RESULTS`, an empty
/// folder for what it finds: `scores.jsonl`, of lines `{"id", "score": 0 to 1, "cluster"?, "stratum"?}`, or anywhere below it the `samples_*.jsonl` of
/// lm-evaluation-harness. What it asks counts towards `spec.limits`, which hold for it as for the rest of the run: beyond them it is answered with the status 402.
/// Where `reports` go to a bucket, a run with such a suite whose pod is lost ends `Invalid`: what its evaluators asked is not known to another pod.
/// It runs as user 65532 without a token of the cluster or of the gateway; it may reach whatever the namespace's network policies let it. Streams are not relayed;
/// where `spec.limits` caps the cost or the tokens, requests must say `max_tokens` and be of text.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.env) || self.env.all(v, !(v.name in ['MODEL', 'OPENAI_BASE_URL', 'OPENAI_API_KEY', 'SUITE', 'RESULTS']))")
    .message("MODEL, OPENAI_BASE_URL, OPENAI_API_KEY, SUITE and RESULTS are set already: remove them, or call them $(MODEL) in another variable").field_path(".env"))]
pub struct External {
    /// The image. By a digest, it is the same in each run. Secrets to pull it with are those of the pod's service account.
    /// Example: `registry.example.com/lm-eval:0.4.13`.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^\S+$"))]
    pub image: String,
    /// What to run instead of the image's entry point. Limit: 16 words. Example: `[lm_eval]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 1024)))]
    pub command: Vec<String>,
    /// Its arguments, in which `$(NAME)` is replaced by that variable. Default: those of the image, unless `command` is set. Limit: 64 of them.
    /// Example: `[--model, local-chat-completions, --model_args, "model=$(MODEL),base_url=$(OPENAI_BASE_URL)/chat/completions,num_concurrent=4", --tasks,
    /// gsm8k, --apply_chat_template, --log_samples, --output_path, $(RESULTS)]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1024)))]
    pub args: Vec<String>,
    /// The member of its lines that is the score: a number from 0 to 1, or true or false. Default: `score`. Example: `exact_match`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = MEMBER))]
    pub metric: Option<String>,
    /// Only lines count whose member `filter` is this: lm-evaluation-harness may read one answer in several ways. Default: all lines. Example: `strict-match`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = MEMBER))]
    pub filter: Option<String>,
    /// More variables. `$(NAME)` is replaced as in `args`. Limit: 32 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub env: Vec<Variable>,
    /// A Secret in this namespace whose keys become variables too, such as `HF_TOKEN`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretName>,
    /// What its container is given. Default: at least `{cpu: 100m, memory: 256Mi}`, at most `{cpu: "2", memory: 2Gi}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "resources::requirements")]
    pub resources: Option<ResourceRequirements>,
}

/// A variable.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name, of letters, digits and `_`.
    #[schemars(length(min = 1, max = 63), regex(pattern = VARIABLE))]
    pub name: String,
    /// Its value. Default: empty. Limit: 1024 characters.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub value: String,
}

impl External {
    /// The member of its lines that is the score.
    #[must_use]
    pub fn metric(&self) -> &str {
        self.metric.as_deref().unwrap_or(SCORE)
    }
}
