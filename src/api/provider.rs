//! What a ModelDeployment says of a model behind a provider's API: whose it is, where it is, and what it takes to be let in.

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model_deployment::KeyRef;

/// A model behind a provider's API.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.provider != 'OpenAICompatible' || has(self.endpoint)")
    .message("endpoint is required for the provider OpenAICompatible: set it to the base URL, such as https://llm.example.com/v1").field_path(".endpoint"))]
#[x_kube(validation = Rule::new("self.provider != 'AzureOpenAI' || has(self.endpoint)")
    .message("endpoint is required for the provider AzureOpenAI: set it to the resource's URL, such as https://NAME.openai.azure.com").field_path(".endpoint"))]
#[x_kube(validation = Rule::new("self.provider == 'OpenAICompatible' || has(self.credentials)")
    .message("credentials are required for this provider: name the Secret and its key").field_path(".credentials"))]
#[x_kube(validation = Rule::new("!(self.provider in ['VertexAI', 'Bedrock']) || has(self.region)")
    .message("region is required for the providers VertexAI and Bedrock, whose address depends on it: set it, such as europe-west4 or eu-central-1").field_path(".region"))]
#[x_kube(validation = Rule::new("!(self.provider in ['VertexAI', 'Bedrock']) || !has(self.region) || self.region.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')")
    .message("region is a part of the address of the providers VertexAI and Bedrock: write it as the provider does, such as europe-west4, global or eu-central-1").field_path(".region"))]
#[x_kube(validation = Rule::new("self.provider != 'VertexAI' || has(self.project)")
    .message("project is required for the provider VertexAI: set it to the id of the Google Cloud project, such as claims-prod-1").field_path(".project"))]
#[x_kube(validation = Rule::new("self.provider == 'VertexAI' || !has(self.project)")
    .message("project is for the provider VertexAI only: remove it").field_path(".project"))]
#[x_kube(validation = Rule::new("!has(self.caBundle) || !has(self.endpoint) || !self.endpoint.startsWith('http://')")
    .message("caBundle is for https://: write the endpoint so, or remove caBundle").field_path(".caBundle"))]
pub struct ApiSource {
    /// Whose API it is, which decides the address, the protocol, and how credentials are shown and checked.
    pub provider: Provider,
    /// What the provider calls the model: `gpt-5-mini`; for AzureOpenAI the name of the deployment; for Bedrock the id of a model, an
    /// inference profile or its ARN, such as `eu.anthropic.claude-sonnet-4-5-20250929-v1:0`.
    #[schemars(length(min = 1, max = 256))]
    pub model: String,
    /// The base URL, without the operation: `https://llm.example.com/v1`. Default: the provider's own. Required for OpenAICompatible, and
    /// for AzureOpenAI, where it is the resource: `https://NAME.openai.azure.com`, whose v1 API is used (`/openai/v1` is added where it is
    /// not there). For VertexAI the host is enough: version, project and region are added where it does not end with `/publishers/google`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = ("isURL(self) && self.matches('(?i)^https?://') && url(self).getHostname() != ''", "endpoint must be a URL that starts with http:// or https:// and a host, and has no port or one from 1 to 65535: such as https://llm.example.com/v1"))]
    #[x_kube(validation = ("!self.contains('?') && !self.contains('#') && !self.contains('@')", "endpoint must be an address alone: remove what follows ? or #, and put keys and passwords into credentials"))]
    pub endpoint: Option<String>,
    /// Where the provider processes the data, such as `eu`. Shown in the status; policies and classes of data may require it. For VertexAI (the location, such as `europe-west4`, `eu` or
    /// `global`) and Bedrock (such as `eu-central-1`) it is a part of the address, and required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub region: Option<String>,
    /// For VertexAI, required: the id of the Google Cloud project that pays. It is not taken from the service account's key, whose project
    /// may be another. Example: `claims-prod-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9][a-z0-9.:-]*$"))]
    pub project: Option<String>,
    /// What the provider wants to see. Checked with the provider; the gateway gets its own copy. The key of the Secret holds an API key; for
    /// VertexAI the JSON key of a service account; for Bedrock a Bedrock API key, or `ACCESS_KEY_ID:SECRET_ACCESS_KEY`, with
    /// `:SESSION_TOKEN` behind it if there is one, or the JSON that AWS's tools print with these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// The authorities to trust for this address instead of the system's, for VertexAI also where its tokens come from: for a provider behind
    /// a company's own certificates. Default: the system's, or those that the installer named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<CaBundle>,
    /// What the provider lets us have, so that the gateway asks for no more: a request above it goes to the policy's next model at once, and is
    /// refused with 429 where there is none. Default: requests are sent, and those that the provider answers 429 go to the next model.
    /// Example: `{requestsPerMinute: 3000, tokensPerMinute: 1000000, concurrent: 200}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ApiLimits>,
}

/// How much the provider of a model lets us have. Each gateway counts for itself, the requests of all policies together, and every attempt: with
/// several gateways set the provider's limits divided by their number.
#[derive(KubeSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.requestsPerMinute) || has(self.tokensPerMinute) || has(self.concurrent)",
    "at least one of requestsPerMinute, tokensPerMinute and concurrent must be set: remove limits for none"))]
pub struct ApiLimits {
    /// Requests in a minute. They may go at once; from then on one more may every so many-th part of a minute. Default: no limit. Limit: from 1 to
    /// 1000000. Example: `3000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_minute: Option<u32>,
    /// Tokens in a minute, of prompts and answers together. A request counts with the longest answer it may get, as it does for most providers,
    /// and from its end on with what it took. Default: no limit. Limit: from 1 to 1000000000. Example: `1000000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub tokens_per_minute: Option<u32>,
    /// Requests that are answered at one time, streams until their end. Default: no limit. Limit: from 1 to 100000. Example: `200`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub concurrent: Option<u32>,
}

/// Whose API a model is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Provider {
    /// OpenAI, at https://api.openai.com/v1.
    OpenAI,
    /// OpenAI's models at Microsoft, through the v1 API of the resource that `endpoint` names.
    AzureOpenAI,
    /// Anthropic, at https://api.anthropic.com/v1.
    Anthropic,
    /// Google's Gemini API (AI Studio), at https://generativelanguage.googleapis.com/v1beta.
    Gemini,
    /// Google's models on Vertex AI, at https://REGION-aiplatform.googleapis.com. Needs `region` and `project`.
    VertexAI,
    /// Amazon Bedrock's Converse API, at https://bedrock-runtime.REGION.amazonaws.com. Needs `region`.
    Bedrock,
    /// Mistral, at https://api.mistral.ai/v1.
    Mistral,
    /// Any server that speaks OpenAI's chat completions at `endpoint`.
    OpenAICompatible,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Where a key is kept.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// The Secret and the key in it, in the ModelDeployment's namespace.
    pub secret_ref: KeyRef,
}

/// Where certificates of authorities are kept.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaBundle {
    /// The ConfigMap and the key in it, in the ModelDeployment's namespace: one or more certificates in PEM. Followed, so that another
    /// bundle is used within seconds. Example: `{name: corporate-ca, key: ca.crt}`.
    pub config_map_ref: KeyRef,
}

/// What a model can do. Each is optional: what is not said is not known, and keeps no request from the model.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// How many tokens a prompt and its answer may have together. A prompt that is surely longer is not sent to the model. Example: `400000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub context_tokens: Option<u32>,
    /// How many tokens an answer may have. A request that asks for more is not sent to the model. Example: `128000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max_output_tokens: Option<u32>,
    /// Whether it calls tools. With `false`, requests with tools are not sent to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<bool>,
    /// Whether it sees images. With `false`, requests with images are not sent to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<bool>,
    /// Whether it keeps to a JSON schema. With `false`, requests for such answers are not sent to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<bool>,
    /// Whether it makes vectors. With `false`, requests for embeddings are not sent to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embeddings: Option<bool>,
}
