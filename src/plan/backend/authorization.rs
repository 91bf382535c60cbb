//! How a request shows a provider that it may be made: one function for the gateway's requests and for the operator's probe.

use std::fmt;

use crate::api::model_deployment::Provider;

/// What makes a request an authorized one. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Authorization {
    /// A header, with its name in lower case, just as it is sent.
    Header(&'static str, String),
    /// The JSON key of a Google service account: exchanged for a token that is good for an hour, which is sent as a bearer token.
    ServiceAccount(String),
    /// A pair of AWS's keys, as the user wrote it: each request is signed with it, version 4, for the model's region and the service `bedrock`.
    SigV4(String),
}

/// How a request to `provider` shows `credential`, the text that [`super::credential`] found good.
#[must_use]
pub fn authorization(provider: Provider, credential: &str) -> Authorization {
    let credential = credential.trim();
    let bearer = || Authorization::Header("authorization", format!("Bearer {credential}"));
    match provider {
        Provider::OpenAI | Provider::Mistral | Provider::OpenAICompatible => bearer(),
        Provider::AzureOpenAI => Authorization::Header("api-key", credential.to_owned()),
        Provider::Anthropic => Authorization::Header("x-api-key", credential.to_owned()),
        Provider::Gemini => Authorization::Header("x-goog-api-key", credential.to_owned()),
        Provider::VertexAI => Authorization::ServiceAccount(credential.to_owned()),
        // Bedrock's own keys are base64 behind a name: no colon is in them.
        Provider::Bedrock if credential.starts_with('{') || credential.contains(':') => Authorization::SigV4(credential.to_owned()),
        Provider::Bedrock => bearer(),
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name, _) => write!(f, "Header({name})"),
            Self::ServiceAccount(_) => f.write_str("ServiceAccount"),
            Self::SigV4(_) => f.write_str("SigV4"),
        }
    }
}
