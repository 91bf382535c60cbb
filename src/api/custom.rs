//! A model of our own making: what it was made from, its adapters and what it cost; and what its status says of them.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model_deployment::Source;
use super::money::Usd;

/// A model of our own making.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.developmentCostUSD) == has(self.amortizedOverMonths)",
    "developmentCostUSD and amortizedOverMonths belong together: set both, or neither"))]
pub struct Custom {
    /// What it was made from, such as `meta-llama/Llama-3.1-8B-Instruct`. Shown in the status.
    #[schemars(length(min = 1, max = 256))]
    pub base_model: String,
    /// Adapters (LoRA) over the weights of `source`, each served under its own name: a RoutingPolicy names it as `{model: MODEL, adapter: NAME}`,
    /// service accounts of this namespace call it as `NAMESPACE/MODEL:NAME`, and an EvalJob evaluates it as `MODEL:NAME`. The
    /// ModelDeployment's own name always means the weights alone, however many adapters there are. Limit: 32.
    ///
    /// VLLM, SGLang and TGI load them when they start. A running VLLM also takes changes without a restart of its pods, as long as it has
    /// one adapter or has had one since its pods were made: adapters that it downloads itself (`hf://org/name` without a revision), or of
    /// a volume that its pods have mounted already (`pvc://`), are added, removed and pointed elsewhere while it runs. What must be fetched
    /// (`s3://`, `gs://`, `az://`, `hf://…@revision`), a further volume and the first adapter make new pods. A pod that comes later, or is
    /// restarted, starts with the adapters of its making and has the present ones some moments after it answers. VLLM is told to keep 4
    /// adapters in a batch, 32 in memory, and to take ranks up to 64; `engine.args` with `--max-loras`, `--max-cpu-loras` or
    /// `--max-lora-rank` say otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub adapters: Vec<Adapter>,
    /// What its development cost in US dollars, such as `"417000"`. The status shows the share of a month.
    #[serde(default, rename = "developmentCostUSD", skip_serializing_if = "Option::is_none")]
    pub development_cost_usd: Option<Usd>,
    /// Over how many months that is spread. Limit: from 1 to 600. Example: `24`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 600))]
    pub amortized_over_months: Option<i32>,
    /// What it was trained on, for the inventory: shown in the status beside `baseModel`. Example: `claims 2019-2024, pseudonymised, v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub trained_on: Option<String>,
}

impl Custom {
    /// What of it decides how the model answers: neither what it cost, nor what is only told of it.
    #[must_use]
    pub fn answering(&self) -> Self {
        Self {
            base_model: String::new(),
            development_cost_usd: None,
            amortized_over_months: None,
            trained_on: None,
            ..self.clone()
        }
    }
}

/// One adapter over the base model.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Adapter {
    /// What it is called; not as the ModelDeployment itself. Example: `fraud`.
    #[schemars(length(min = 1, max = 57), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Where its weights come from: a folder with `adapter_config.json`. `hf://org/name` is downloaded by VLLM and SGLang themselves, with the
    /// token of `spec.selfHosted.source.secretRef`; with a revision, for TGI and from buckets it is fetched into the pod before the engine
    /// starts, with a `secretRef` of its own; `pvc://claim/path` is mounted. `https://` names one file, which no adapter is.
    pub source: Source,
}

/// Which pods have an adapter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdapterStatus {
    /// Its name.
    pub name: String,
    /// Pods that have it from its present source, of all pods, such as `1/2`.
    pub ready: String,
    /// Whether requests for it are sent to the pods: one answers to its name, from an earlier source perhaps; where the engine takes adapters
    /// only at its start, each that is ready does.
    pub answers: bool,
    /// The pods that have it from its present source: the first 32 by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<String>,
    /// The pods that do not, and why: the first 8 by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacking: Vec<Lacking>,
}

/// A pod without an adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lacking {
    /// The pod.
    pub pod: String,
    /// Why, in the engine's words where it refused.
    pub message: String,
}

/// What a model costs, in US dollars as decimal strings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// Of the accelerators of the pods there are now, for an hour: the profile's `pricePerHourUSD`, times `accelerator.count`, times the
    /// pods.
    #[serde(default, rename = "perHourUSD", skip_serializing_if = "Option::is_none")]
    pub per_hour_usd: Option<String>,
    /// `custom.developmentCostUSD` over `custom.amortizedOverMonths`; rounded up to nine decimals.
    #[serde(default, rename = "developmentPerMonthUSD", skip_serializing_if = "Option::is_none")]
    pub development_per_month_usd: Option<String>,
}
