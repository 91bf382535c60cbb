//! The words of OpenTelemetry's GenAI conventions for what we have: operations, providers, public hosts.

use http::Uri;

use crate::api::model_deployment::{EngineKind, Provider};
use crate::plan::routing::Backend;
use crate::protocol::Operation;

/// A provider that no word is for, or none.
pub(super) const OTHER: &str = "_OTHER";

/// `gen_ai.operation.name`. Counting tokens is an operation that the conventions have no word for.
pub(super) fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::ChatCompletions | Operation::Responses | Operation::Messages => "chat",
        Operation::Completions => "text_completion",
        Operation::Embeddings => "embeddings",
        Operation::CountTokens => "count_tokens",
    }
}

/// `gen_ai.provider.name`; for our own pods the engine's name, for which the conventions have no word.
pub(super) fn provider(model: &Backend) -> &'static str {
    match model.provider {
        Some(Provider::OpenAI) => "openai",
        Some(Provider::AzureOpenAI) => "azure.ai.openai",
        Some(Provider::Anthropic) => "anthropic",
        Some(Provider::Gemini) => "gcp.gemini",
        Some(Provider::VertexAI) => "gcp.vertex_ai",
        Some(Provider::Bedrock) => "aws.bedrock",
        Some(Provider::Mistral) => "mistral_ai",
        Some(Provider::OpenAICompatible) => OTHER,
        None => match model.engine {
            Some(EngineKind::Vllm) => "vllm",
            Some(EngineKind::SgLang) => "sglang",
            Some(EngineKind::LlamaCpp) => "llama_cpp",
            Some(EngineKind::Tgi) => "tgi",
            Some(EngineKind::Custom) | None => OTHER,
        },
    }
}

/// `server.address`, if it is one that the whole world knows as a provider's: what is inside a cluster or a company is not told.
pub(super) fn public_host<'a>(model: &Backend, base: &'a Uri) -> Option<&'a str> {
    const WHOLE: [&str; 5] = [
        "api.openai.com",
        "api.anthropic.com",
        "api.mistral.ai",
        "generativelanguage.googleapis.com",
        "aiplatform.googleapis.com",
    ];
    const ENDINGS: [&str; 5] = [
        "-aiplatform.googleapis.com",
        ".openai.azure.com",
        ".services.ai.azure.com",
        ".cognitiveservices.azure.com",
        ".amazonaws.com",
    ];
    model.provider?;
    let host = base.host()?;
    let is_private = host.contains(".vpce.");
    let is_public = WHOLE.contains(&host) || ENDINGS.iter().any(|ending| host.ends_with(ending));
    (is_public && !is_private).then_some(host)
}
