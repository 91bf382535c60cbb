//! `ModelDeployment`: one model of the portfolio, and where it comes from.

use std::fmt;

use k8s_openapi::api::core::v1::{EnvVar, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::Duration;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cache::Cache;
pub use super::custom::{Adapter, AdapterStatus, Cost, Custom, Lacking};
use super::parallelism::{self, Parallelism};
use super::placement::{self, Claim, Rollout, Spread};
use super::price::Price;
pub use super::provider::{ApiLimits, ApiSource, CaBundle, Capabilities, Credentials, Provider};
use super::resources;
use super::routing_policy::DURATION;
pub use super::scaling::{Scaling, ScalingChange, ScalingEngine, ScalingStatus, Usage};

/// One language model: either behind a provider's API (`api`) or served on our own machines (`selfHosted`). Exactly one of the two is set.
/// Example: `api: {provider: OpenAI, model: gpt-5-mini, credentials: {secretRef: {name: openai, key: api-key}}}`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "llmportfolio.dev",
    version = "v1alpha1",
    kind = "ModelDeployment",
    plural = "modeldeployments",
    shortname = "mdep",
    category = "portfolio",
    namespaced,
    status = "ModelDeploymentStatus",
    derive = "PartialEq",
    doc = "One language model of the portfolio: behind a provider's API, or served on our own accelerators.",
    scale(
        spec_replicas_path = ".spec.selfHosted.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Tier", type_ = "string", json_path = ".spec.tier"),
    printcolumn(name = "Class", type_ = "string", json_path = ".status.class"),
    printcolumn(name = "Model", type_ = "string", json_path = ".status.model"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Replicas", type_ = "string", json_path = ".status.readiness"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "$/h", type_ = "string", priority = 1, json_path = ".status.cost.perHourUSD"),
    printcolumn(name = "Price", type_ = "string", priority = 1, json_path = ".status.price"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = r#".status.conditions[?(@.type=="Ready")].message"#),
    validation = ("self.metadata.name.size() <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name must be at most 52 characters, begin with a letter and hold only a-z, 0-9 and '-', so that its Service can be named after it"),
    validation = ("!has(self.spec.selfHosted) || !has(self.spec.selfHosted.parallelism) || self.spec.selfHosted.parallelism.nodes <= 1 || self.metadata.name.size() <= 40",
        "metadata.name must be at most 40 characters where parallelism.nodes is above 1, so that the pods of its groups can be named after it")
)]
#[kube(cel)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.api) && has(self.selfHosted))")
    .message("spec.api and spec.selfHosted are both set: a model comes from one of them; remove the other").reason(Reason::FieldValueInvalid))]
#[x_kube(validation = Rule::new("!has(self.jurisdiction) || !has(self.selfHosted)")
    .message("jurisdiction is for models behind an API: remove it, a self-hosted model has that of the installer's settings").field_path(".jurisdiction"))]
#[x_kube(validation = Rule::new("has(self.api) || has(self.selfHosted)")
    .message("spec.api and spec.selfHosted are both absent: add api for a provider's model, or selfHosted for our own pods").reason(Reason::FieldValueInvalid))]
pub struct ModelDeploymentSpec {
    /// How critical the model's work is; policies may require a tier. Default: General.
    #[serde(default)]
    pub tier: Tier,
    /// Whose law the provider of an API model is under, such as `US`; policies and classes of data may require it. Default: unknown, which
    /// fulfils no requirement. A self-hosted model has the installer's `jurisdiction`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub jurisdiction: Option<String>,
    /// The model is reached through a provider's API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<ApiSource>,
    /// The model runs in pods that the operator makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_hosted: Option<SelfHosted>,
    /// What the model can do, so that requests which need more are answered by another, or refused with the reason, instead of being sent to
    /// it. `/v1/models` shows it. Default: nothing is known, and nothing is kept from it.
    /// Example: `{contextTokens: 400000, tools: true, images: true, jsonSchema: true, embeddings: false}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// What a token costs: for the cost of requests, and for that of evaluations and its cap, `spec.limits.maxCostUSD` of an EvalJob. It wins
    /// as a whole over the price book: nothing is taken from there for what it does not say. Default: the installer's price book, for a
    /// model behind an API; without either costs are unknown, never zero. Example: `{inputPer1M: "1.25", outputPer1M: "10", cacheReadPer1M: "0.125"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

/// How critical a model's work is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Tier {
    /// Everyday work: drafting, first-line triage.
    #[default]
    General,
    /// Work under strict governance, usually on domain-tuned open models.
    Regulated,
    /// The highest control and accuracy: proprietary research, regulated applications.
    MissionCritical,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What kind of model it is, derived from the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Class {
    /// Behind a provider's API.
    #[serde(rename = "API")]
    Api,
    /// Open weights on our own machines.
    Open,
    /// Our own fine-tuned weights or adapters on our own machines.
    Custom,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Api => "API",
            Self::Open => "Open",
            Self::Custom => "Custom",
        })
    }
}

/// One key of a Secret or ConfigMap in the same namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// The object's name, never the value itself. Example: `openai`.
    #[schemars(length(min = 1, max = 253), regex(pattern = placement::NAME))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A model served by pods of ours.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.cache) || (has(self.source) && self.source.uri.matches('^(hf|s3|gs|az|https)://'))")
    .message("cache keeps what is fetched, from hf://, s3://, gs://, az:// or https://: name such a source, or remove cache").field_path(".cache"))]
#[x_kube(validation = Rule::new("!has(self.cache) || !has(self.cache.accessMode) || self.cache.accessMode != 'ReadWriteOnce' || !has(self.parallelism) || self.parallelism.nodes == 1")
    .message("cache.accessMode ReadWriteOnce is for pods of one node: use ReadWriteMany, or parallelism.nodes: 1").field_path(".cache.accessMode"))]
#[x_kube(validation = Rule::new(parallelism::SHARES_OUT)
    .message(Message::Expression(parallelism::SHARES_OUT_MESSAGE.to_owned())).field_path(".parallelism"))]
#[x_kube(validation = Rule::new("!has(self.scaling) || !has(self.scaling.target) || !has(self.scaling.target.waiting) || self.engine.kind in ['VLLM', 'SGLang', 'LlamaCpp', 'TGI']")
    .message("scaling.target.waiting is for VLLM, SGLang, LlamaCpp and TGI, whose metrics tell it: use inFlight").field_path(".scaling.target.waiting"))]
#[x_kube(validation = Rule::new("!has(self.scaling) || !has(self.scaling.target) || !has(self.scaling.target.cachePercent) || self.engine.kind in ['VLLM', 'SGLang']")
    .message("scaling.target.cachePercent is for VLLM and SGLang, whose metrics tell it: use inFlight").field_path(".scaling.target.cachePercent"))]
#[x_kube(validation = Rule::new("!has(self.scaling) || !has(self.scaling.sharing) || (has(self.accelerator) && has(self.accelerator.profile))")
    .message("scaling.sharing shares the accelerators of a profile: name one in accelerator.profile, or remove sharing").field_path(".scaling.sharing"))]
#[x_kube(validation = Rule::new("!has(self.scaling) || self.replicas == 1")
    .message("replicas is decided by scaling: change scaling.min or scaling.max and leave replicas out, or remove scaling").field_path(".replicas"))]
pub struct SelfHosted {
    /// Where the weights come from. May be absent when the engine's image already holds the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Fetches the weights once into a volume that all pods, and other ModelDeployments of the same source, read. Default: each pod gets its
    /// own. Example: `{storageClassName: shared}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// What serves the model.
    pub engine: Engine,
    /// What it runs on. Without it the pods ask for no device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<Accelerator>,
    /// How one replica is split over accelerators and nodes. Default: one pod, tensor-parallel over its accelerators.
    /// Example: `{nodes: 2}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<Parallelism>,
    /// CPU and memory of one pod, over the accelerator profile's. Example: `requests: {cpu: "2", memory: 8Gi}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "resources::requirements")]
    pub resources: Option<ResourceRequirements>,
    /// How many pods, or groups of `parallelism.nodes` pods, serve the model; `kubectl scale` sets it. Left out where `scaling` decides. Default: 1.
    /// Limit: 1000.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// How many replicas there are by the demand for the model, down to none and back. Default: `replicas`, whatever the demand.
    /// Example: `{min: 0, max: 4, target: {inFlight: 16}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// How many requests its pods work on at once, while further ones wait at the gateways, their clients in turn. Default: every request is
    /// put to a pod at once, and its engine decides who waits. Example: `{atOncePerPod: 32}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// How pods of a changed specification replace those there are. Default: `{strategy: Auto}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// The PriorityClass of the pods, which must exist. Default: the cluster's own. Example: `production-models`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = placement::NAME))]
    pub priority_class_name: Option<String>,
    /// The scheduler that places the pods. Default: the cluster's own. Example: `volcano`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = placement::NAME))]
    pub scheduler_name: Option<String>,
    /// How the pods are spread over nodes or zones; only this model's pods are counted. Default: as the cluster does. Limit: 8.
    /// Example: `[{topologyKey: topology.kubernetes.io/zone}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["topologyKey".into(), "whenUnsatisfiable".into()]))]
    pub topology_spread_constraints: Vec<Spread>,
    /// The LocalQueue of Kueue, in this namespace, that admits the pods: the Deployment and its pods, or the LeaderWorkerSet, get the label
    /// `kueue.x-k8s.io/queue-name`. Kueue lets nobody change it while pods are ready, nor remove it: delete the Deployment or
    /// LeaderWorkerSet `NAME-engine` for that. Default: no queue. Example: `team-a`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = placement::LABEL))]
    pub queue_name: Option<String>,
    /// How long a pod may take from its start until it answers, weights downloaded and loaded: then its engine is restarted. A rollout that
    /// has not moved for so long, or an engine that runs for so long and gives no token, is said to be stuck. Default: 30m; with a cache, an
    /// engine has 10m and a second for each 64 MiB of weights (or what the installer says), and its image 10m before that. Limit: from 10s to
    /// 168h. Example: `2h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(validation = ("duration(self) >= duration('10s') && duration(self) <= duration('168h')", "must be from 10s to 168h, such as 30m"))]
    pub startup_deadline: Option<Duration>,
    /// Set when the model is our own: fine-tuned weights, or adapters over a base model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<Custom>,
    /// What is added to the pods, as in the template of a Deployment: `metadata.labels`, `metadata.annotations` and `spec`. It is merged
    /// over what the operator makes: containers, volumes, variables and mounts by their names (the engine's container is `engine`),
    /// nodeSelector and tolerations in addition to the profile's, other lists (args, command) as a whole. Nothing is removed by it. The
    /// operator's labels, the engine's port `http` and the restricted Pod Security profile must hold afterwards; containers that it adds
    /// get that profile's securityContext unless they say otherwise. A preStop or probe of your own replaces the operator's: pods leave
    /// routing some seconds before they stop only if a preStop waits. What it listens on besides `http` is reached only with a NetworkPolicy
    /// of your own. Default: nothing.
    /// Example: `spec: {containers: [{name: engine, env: [{name: A, value: b}]}]}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "resources::pod_template")]
    pub pod_template: Option<Value>,
}

fn one() -> i32 {
    1
}

/// How requests wait for the pods of a model. A client with many requests keeps no other waiting for more than one of its own: the next turn is
/// always another client's. Whoever waits too long, or finds the queue full, goes to the next model of the rule, or gets 503.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// How many requests one gateway has under way at each pod; further ones wait. Each gateway counts for itself: of three gateways a
    /// pod may get three times as many. An engine's own limit, such as vLLM's `--max-num-seqs`, divided by the gateways, is a good one. Limit:
    /// from 1 to 10000. Example: `32`.
    #[schemars(range(min = 1, max = 10_000))]
    pub at_once_per_pod: u32,
    /// How many wait at one gateway. Where it is full, the latest request of whoever has most waiting makes room for a client with fewer.
    /// Default: 256. Limit: 10000. 0: none waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub waiting: Option<u32>,
    /// How long one waits, within the policy's `timeouts.total`. Default: 30s. Limit: 10m.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(validation = ("duration(self) > duration('0s') && duration(self) <= duration('10m')", "must be above 0s and at most 10m, such as 30s"))]
    pub lasts: Option<Duration>,
}

/// Where weights come from.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.secretRef) || self.uri.matches('^(hf|s3|gs|az)://')")
    .message("secretRef is for hf://, s3://, gs:// and az:// only: remove it; the credentials of a registry (oci://) are imagePullSecrets in podTemplate.spec").field_path(".secretRef"))]
#[x_kube(validation = Rule::new("!has(self.secretRef) || !self.uri.matches('^(hf|s3|gs|az)://') || has(self.secretRef.key) == self.uri.startsWith('hf://')")
    .message("secretRef.key names the token for hf:// and is required there; for buckets leave it out: every key of the Secret becomes an environment variable, such as AWS_ACCESS_KEY_ID").field_path(".secretRef"))]
#[x_kube(validation = Rule::new("!self.uri.startsWith('oci://') || self.uri.matches('^oci://(localhost|[a-z0-9-]+([.][a-z0-9-]+)+|[a-z0-9.-]+:[0-9]+)(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?(@sha256:[a-f0-9]{64})?(#[^#]+)?$')")
    .message("an image is written with its registry, and the path in it after #: oci://registry.example.com/repository:tag#models/model.gguf").field_path(".uri"))]
pub struct Source {
    /// `hf://org/name`, with an optional `@revision` and `/path` of one file or folder (the hub's); `s3://bucket/prefix/`, `gs://…`,
    /// `az://container/prefix/`; `https://host/file` with an optional `#sha256=HEX`; `oci://registry/repository`, with an optional `:tag` or
    /// `@sha256:HEX` and `#path` of a folder or file in the image (default: `#models`; `#/` is all of it); or `pvc://claim/path` (a volume in
    /// this namespace). An image is mounted where the installer's `imageVolumes` says so, by default from Kubernetes 1.35 on, which needs
    /// containerd 2.1 or later on the nodes; else a container that runs the image copies the weights, for which the image must have the
    /// program `cp` (any with a shell has). Credentials for its registry are `imagePullSecrets` in `podTemplate.spec`. The engine downloads a repository of the hub by itself where it can be told the revision; everything else is fetched into the pod before
    /// the engine starts, verified, and on after an interruption where it was. Variables of `engine.env`, such as HF_ENDPOINT (by default the installer's) or
    /// AWS_ENDPOINT_URL, hold for the fetch too. llama.cpp serves one `.gguf` file: name it. Example: `hf://org/name@main/model-Q4_K_M.gguf`.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^(hf|pvc|s3|gs|az|https|oci)://.+$"))]
    pub uri: String,
    /// Credentials for the source: for `hf://` the token of a gated model; for buckets a Secret whose keys are environment variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SourceSecret>,
}

/// A Secret with credentials for a source, in the same namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceSecret {
    /// The Secret's name. Example: `hf-token`.
    #[schemars(length(min = 1, max = 253), regex(pattern = placement::NAME))]
    pub name: String,
    /// The key that holds the token of the hub. Left out for buckets: there every key becomes an environment variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// What serves a model.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.kind != 'Custom' || (has(self.image) && has(self.port))")
    .message("image and port are required for the engine Custom: nothing can be assumed about it"))]
pub struct Engine {
    /// The engine, which decides image, arguments, port, probes and how it drains.
    pub kind: EngineKind,
    /// The container image. Default: the installer's choice for this engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Arguments added after the ones the operator derives; the last of two equal ones wins, but in TGI, which
    /// refuses to be told twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 4096)))]
    pub args: Vec<String>,
    /// Environment variables of the engine's container, each with `value` or `valueFrom`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "resources::environment")]
    pub env: Vec<EnvVar>,
    /// The port it listens on. Default: 8000 for VLLM, 30000 for SGLang, 8080 for LlamaCpp and TGI. Required for Custom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 65535))]
    pub port: Option<u16>,
}

/// The engines known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum EngineKind {
    /// vLLM's OpenAI server.
    #[serde(rename = "VLLM")]
    Vllm,
    /// SGLang's OpenAI server.
    #[serde(rename = "SGLang")]
    SgLang,
    /// llama.cpp's server.
    LlamaCpp,
    /// Hugging Face's Text Generation Inference.
    #[serde(rename = "TGI")]
    Tgi,
    /// Any server that answers `/health` and OpenAI's chat completions, or else its completions or embeddings, under the ModelDeployment's
    /// name; `image` and `port` are required.
    Custom,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vllm => "VLLM",
            Self::SgLang => "SGLang",
            Self::LlamaCpp => "LlamaCpp",
            Self::Tgi => "TGI",
            Self::Custom => "Custom",
        })
    }
}

/// What a model runs on; exactly one of `profile` and `claim` is set.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.profile) != has(self.claim)")
    .message("exactly one of profile and claim must be set: profile names one of the installer's, claim asks for devices of a DeviceClass"))]
#[x_kube(validation = Rule::new("!has(self.claim) || self.count == 1")
    .message("count belongs to profile: set claim.count, and remove this").field_path(".count"))]
pub struct Accelerator {
    /// A profile from the installer's settings, such as `nvidia-l4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub profile: Option<String>,
    /// How many of the profile's accelerators each pod gets. Default: 1. Limit: 64.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 64))]
    pub count: i32,
    /// Devices by Dynamic Resource Allocation, which Kubernetes has from 1.34 on. Where they are decides the nodes; what else the pods need
    /// there, such as tolerations, goes into `podTemplate`. Example: `{deviceClassName: gpu.nvidia.com}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
}

/// What the operator observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelDeploymentStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready` says whether the model serves; `Accepted`, `CredentialsResolved`, `ModelCached` and `WorkloadReady` say why not; `AdaptersLoaded`
    /// whether every pod that answers has every adapter. A self-hosted model is Ready once an engine of its present specification has answered
    /// a request for one token and its pods get requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// API, Open or Custom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// What the provider or engine calls the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Where requests for it are processed: the API's declared region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// What a custom model was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model: Option<String>,
    /// What a custom model was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_on: Option<String>,
    /// The adapters of the spec, in its order, and which pods have them. The condition `AdaptersLoaded` sums it up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<AdapterStatus>,
    /// What it costs to run, and what its development costs, where the spec and the settings say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// What its pods took of the cluster since it was made. The operator's metrics say the same at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What its tokens cost, prompt/answer in US dollars, and who says so: `1.25/10 per 1M (price book, from 2026-08-01)`. Where nobody
    /// does, what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
    /// Pods of the present spec, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Pods that answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// What was decided about the number of replicas, where `spec.selfHosted.scaling` does. The condition `ScalingActive` says whether it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<ScalingStatus>,
    /// Ready of wanted pods, such as `1/2`; `-` for an API model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<String>,
    /// The label selector of the pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// For an API model: a digest of the provider, the endpoint and the Secret reference that were last confirmed together. Where the spec
    /// has moved on from it, the model gets no requests until the provider has been asked anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_for: Option<String>,
    /// For a self-hosted model: the pods that have answered a request for one token. They are asked once; another template is asked anew,
    /// and so is a model that was scaled to zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Answered>,
}

/// Which pods of a model have answered, and what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    /// A digest of the template of the pods.
    pub template: String,
    /// What they answered.
    pub operation: Operation,
}

/// What an engine is asked for one token: the first of these that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operation {
    /// `/v1/chat/completions`.
    ChatCompletions,
    /// `/v1/completions`: the model has no chat template.
    Completions,
    /// `/v1/embeddings`: the model makes vectors, not text.
    Embeddings,
}

impl ModelDeploymentSpec {
    /// What kind of model the spec describes.
    #[must_use]
    pub fn class(&self) -> Class {
        match &self.self_hosted {
            None => Class::Api,
            Some(own) if own.custom.is_some() => Class::Custom,
            Some(_) => Class::Open,
        }
    }
}
