//! The cheapest request that shows whether a provider accepts a credential, and what its answer means. None costs tokens.

use std::fmt::Write;

use http::Method;

use super::address::base_url;
use crate::api::model_deployment::{ApiSource, Provider};

/// What the provider said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It accepts the credentials.
    Accepted,
    /// It refuses them, with this HTTP status.
    Rejected(u16),
    /// It was not asked: what it is to be shown cannot be used, and why.
    Unusable(String),
    /// It could not be asked, or answered something else; the text says what, without addresses of ours.
    Unreachable(String),
}

/// A request, as it is before it is authorized: see `authorization`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Such as `GET`.
    pub method: Method,
    /// Where it goes, query included.
    pub url: String,
    /// Names in lower case, and values.
    pub headers: Vec<(&'static str, &'static str)>,
    /// All of the body; empty with `GET`.
    pub body: &'static str,
}

/// What a provider is asked.
#[must_use]
pub fn probe(api: &ApiSource) -> Probe {
    let (base, model) = (base_url(api), segment(&api.model));
    let get = |path: &str, headers| Probe {
        method: Method::GET,
        url: format!("{base}{path}"),
        headers,
        body: "",
    };
    let post = |path: String, body| Probe {
        method: Method::POST,
        url: format!("{base}{path}"),
        headers: vec![("content-type", "application/json")],
        body,
    };
    match api.provider {
        Provider::OpenAI | Provider::AzureOpenAI | Provider::Mistral | Provider::OpenAICompatible => get("/models", vec![]),
        Provider::Anthropic => get("/models", vec![("anthropic-version", "2023-06-01")]),
        Provider::Gemini => get("/models?pageSize=1", vec![]),
        // Counts nothing: the right to call the model is checked, and then there is nothing to count.
        Provider::VertexAI => post(format!("/models/{model}:countTokens"), r#"{"contents":[]}"#),
        // Of what the runtime has, nothing is both free and allowed to whoever may call a model: a request for no tokens is refused for its
        // form (400) after it was found to be allowed. Lists of models are elsewhere, behind a right of their own.
        Provider::Bedrock => post(
            format!("/model/{model}/converse"),
            r#"{"messages":[],"inferenceConfig":{"maxTokens":0}}"#,
        ),
    }
}

/// What the status of the answer to a [`probe`] means.
#[must_use]
pub fn judge(provider: Provider, status: u16) -> Answer {
    match (provider, status) {
        (_, 401 | 403) => Answer::Rejected(status),
        // An API key that is none is an invalid argument there (API_KEY_INVALID).
        (Provider::Gemini, 400) => Answer::Rejected(status),
        // What was asked is wrong on purpose, and credentials come first. Which model there is shows with the first request.
        (Provider::Bedrock | Provider::VertexAI, 400 | 404) => Answer::Accepted,
        // Their lists of models are always there: where they are not, the endpoint is another's.
        (Provider::AzureOpenAI | Provider::Gemini, 404) => unexpected(status),
        // A compatible server need not list models; that it answers without refusing the key is what counts.
        (_, 200..=299 | 404 | 405) => Answer::Accepted,
        // It is there and busy: the key was not refused.
        (_, 429) => Answer::Accepted,
        _ => unexpected(status),
    }
}

fn unexpected(status: u16) -> Answer {
    Answer::Unreachable(format!("it answers HTTP {status}"))
}

/// A text as one segment of a path: every byte percent-encoded but RFC 3986's unreserved ones, as the ids of Bedrock's models need it.
#[must_use]
pub fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => write!(encoded, "%{byte:02X}").expect("a String takes everything"),
        }
    }
    encoded
}
