//! OpenAI's protocols, spoken by clients and by most models: chat completions and completions, their errors, and their reports of tokens.

pub mod chat;
mod chunk;
pub mod completions;
mod error;
#[cfg(test)]
mod judge;
mod report;
mod watch;

use serde::Serialize;

pub use error::{error_event, read_error, write_error};
pub use watch::Watch;

/// An error as OpenAI writes it; its SDKs turn it into their exceptions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorBody<'a> {
    /// For a person.
    pub message: &'a str,
    /// The family, such as `invalid_request_error`.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The field of the request it is about.
    pub param: Option<&'a str>,
    /// For machines, such as `model_not_found`.
    pub code: &'a str,
}

impl ErrorBody<'_> {
    /// The body of an answer that is an error.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&serde_json::json!({ "error": self })).expect("strings are always JSON")
    }
}

#[cfg(test)]
mod tests;
