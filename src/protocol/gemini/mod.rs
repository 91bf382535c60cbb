//! Google's generateContent, of AI Studio (`generativelanguage.googleapis.com/v1beta`) and of Vertex AI (`v1`): one body, two places.
//! Requests are written from the common form, answers and streams read into it. Field names are those of Google's API reference
//! (<https://ai.google.dev/api/generate-content>, <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/reference/rest>).

mod answer;
mod contents;
pub mod embeddings;
mod error;
mod ids;
mod model;
mod request;
mod stream;
mod thinking;
mod usage;
mod wire;

pub use answer::read_answer;
pub use error::{read_error, retry_after};
pub use ids::{is_seal, short as short_id};
pub use request::write_request;
pub use stream::Reader;

use super::Operation;

/// Where Gemini is reached. Conversations have the same body in both; counting tokens and embeddings do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// The Gemini API, with a key.
    AiStudio,
    /// Vertex AI, with a service account.
    Vertex,
}

/// Where a request goes, below the API's version (`…/v1beta`) or Vertex's publisher (`…/v1/projects/P/locations/L/publishers/google`),
/// without a slash in front. A model that is named with a slash (`tunedModels/x`) is taken as it is.
#[must_use]
pub fn path(api: Api, model: &str, operation: Operation, stream: bool) -> String {
    let verb = match (operation, api) {
        (Operation::Embeddings, Api::AiStudio) => "batchEmbedContents",
        (Operation::Embeddings, Api::Vertex) => "predict",
        (Operation::CountTokens, _) => "countTokens",
        (Operation::ChatCompletions | Operation::Completions | Operation::Responses | Operation::Messages, _) if stream => {
            // Without `alt` the stream is one JSON array instead of events.
            "streamGenerateContent?alt=sse"
        }
        (Operation::ChatCompletions | Operation::Completions | Operation::Responses | Operation::Messages, _) => "generateContent",
    };
    format!("{}:{verb}", escaped(&resource(model)))
}

/// The model's name as a resource.
fn resource(model: &str) -> String {
    if model.contains('/') {
        model.to_owned()
    } else {
        format!("models/{model}")
    }
}

fn escaped(resource: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/@".contains(&byte);
    let escape = |byte: u8| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    resource.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests;
