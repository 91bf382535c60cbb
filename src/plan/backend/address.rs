//! Where requests to a provider go, and the digest that ties a credential to it.

use crate::api::ModelDeployment;
use crate::api::model_deployment::{ApiSource, Provider};
use crate::plan::fingerprint;

/// Where the provider's API is: the user's endpoint or the provider's own, without a slash at the end. The path of an operation is added to
/// it. Without what the schema's rules require it is no address, nothing resolves, and the status says so.
#[must_use]
pub fn base_url(api: &ApiSource) -> String {
    let region = api.region.as_deref().unwrap_or_default();
    let own = match api.provider {
        Provider::OpenAI => "https://api.openai.com/v1".to_owned(),
        Provider::Anthropic => "https://api.anthropic.com/v1".to_owned(),
        Provider::Gemini => "https://generativelanguage.googleapis.com/v1beta".to_owned(),
        Provider::Mistral => "https://api.mistral.ai/v1".to_owned(),
        Provider::Bedrock => format!("https://bedrock-runtime.{region}.amazonaws.com"),
        Provider::VertexAI => format!("https://{}", vertex_host(region)),
        Provider::AzureOpenAI | Provider::OpenAICompatible => String::new(),
    };
    let given = api.endpoint.as_deref().map(|endpoint| endpoint.trim_end_matches('/').to_owned());
    let base = given.unwrap_or(own);
    let ending = match api.provider {
        _ if base.is_empty() => return base,
        // https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle
        Provider::AzureOpenAI => "/openai/v1".to_owned(),
        Provider::VertexAI if !base.ends_with("/publishers/google") => {
            let project = api.project.as_deref().unwrap_or_default();
            format!("/v1/projects/{project}/locations/{region}/publishers/google")
        }
        _ => return base,
    };
    if base.ends_with(&ending) { base } else { base + &ending }
}

/// The host of a location of Vertex AI: <https://cloud.google.com/vertex-ai/generative-ai/docs/learn/locations>.
fn vertex_host(region: &str) -> String {
    match region {
        "global" => "aiplatform.googleapis.com".to_owned(),
        // The two that are larger than a region have hosts of their own.
        "us" | "eu" => format!("aiplatform.{region}.rep.googleapis.com"),
        region => format!("{region}-aiplatform.googleapis.com"),
    }
}

/// A digest of where requests to `api` go, which Secret they are allowed with, and which authorities vouch for the other side. A credential is
/// sent only where this is unchanged since it was confirmed: after an edit of both, the new endpoint must not see the old key.
#[must_use]
pub fn destination(api: &ApiSource) -> String {
    let base = (api.provider, base_url(api), &api.credentials);
    match &api.ca_bundle {
        None => fingerprint::digest(&base),
        Some(bundle) => fingerprint::digest(&(base, bundle)),
    }
}

/// Whether the provider has confirmed the credentials of `md` for where it points now.
#[must_use]
pub fn is_confirmed(md: &ModelDeployment, api: &ApiSource) -> bool {
    md.status.as_ref().and_then(|status| status.confirmed_for.as_deref()) == Some(destination(api).as_str())
}
