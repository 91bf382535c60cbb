//! OpenAI's protocols, spoken by clients and by most models: chat completions and completions, their errors, and their reports of tokens.

pub mod chat;
mod chunk;
pub mod completions;
mod error;
mod report;
mod watch;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::watch::Piece;

pub use error::{error_event, read_error, write_error};
pub use watch::Watch;

/// The tokens that an answer reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Usage {
    /// Of the prompt, cached ones included.
    #[serde(default)]
    pub prompt_tokens: u64,
    /// Of the answer, reasoning included.
    #[serde(default)]
    pub completion_tokens: u64,
}

/// The tokens that a plain answer reports, if any.
#[must_use]
pub fn usage(answer: &[u8]) -> Option<Usage> {
    #[derive(Deserialize)]
    struct Answer {
        usage: Option<Usage>,
    }
    serde_json::from_slice::<Answer>(answer).ok()?.usage
}

/// Reads one event of a streamed answer: what it is, and the tokens it reports. What is not understood counts as content.
#[must_use]
pub fn event(data: &[u8]) -> (Piece, Option<Usage>) {
    if data.trim_ascii() == b"[DONE]" {
        return (Piece::Done, None);
    }
    match serde_json::from_slice::<Chunk<'_>>(data) {
        Ok(chunk) => (piece(&chunk), chunk.usage),
        Err(_) => (Piece::Content, None),
    }
}

fn piece(chunk: &Chunk<'_>) -> Piece {
    let is_aborted = |choice: &Choice<'_>| choice.finish_reason.is_some_and(|reason| reason.get() == "\"abort\"");
    match (chunk.error, &chunk.choices) {
        (Some(_), _) => Piece::Failed,
        (None, Some(choices)) if choices.iter().any(is_aborted) => Piece::Failed,
        (None, Some(choices)) if chunk.usage.is_none() && choices.iter().all(Choice::is_opening) => Piece::Opening,
        (None, _) => Piece::Content,
    }
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    usage: Option<Usage>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: std::collections::BTreeMap<std::borrow::Cow<'a, str>, Option<&'a RawValue>>,
}

impl Choice<'_> {
    fn is_opening(&self) -> bool {
        let says_nothing = |value: &Option<&RawValue>| value.is_none_or(|v| matches!(v.get(), "\"\"" | "[]" | "{}"));
        self.finish_reason.is_none() && self.delta.iter().all(|(key, value)| key == "role" || says_nothing(value))
    }
}

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
