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

/// A program in an image that asks through the relay of its run; what it is given and must leave stands where a suite has it.
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
    /// What decides which questions are asked, and how: not what its container is given.
    #[must_use]
    pub fn asks(&self) -> Self {
        Self {
            resources: None,
            secret_ref: None,
            ..self.clone()
        }
    }

    /// The member of its lines that is the score.
    #[must_use]
    pub fn metric(&self) -> &str {
        self.metric.as_deref().unwrap_or(SCORE)
    }
}
