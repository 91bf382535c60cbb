//! OpenAI's chat completions: what a gateway must know of a request and of an answer, and how errors are written. A request is edited in
//! place: every byte but the model's name passes on as it came.

use std::ops::Range;

use bytes::buf::Chain;
use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What a gateway must know of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peek {
    /// The model the client asks for.
    pub model: String,
    /// Where the body has that name, quotes included.
    pub model_span: Range<usize>,
    /// Whether the answer is to come as it is made.
    pub stream: bool,
}

/// Why a body is not a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unreadable {
    /// The field, if it is about one.
    pub field: Option<&'static str>,
    /// What is wrong, for the person who wrote the client.
    pub message: String,
}

impl Unreadable {
    fn new(field: Option<&'static str>, message: impl Into<String>) -> Self {
        Self {
            field,
            message: message.into(),
        }
    }
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
}

/// Reads the top-level `model` and `stream`, and checks that the whole body is one JSON object. Nothing else is interpreted.
///
/// # Errors
/// When the body is not such an object, names a field twice, has no model, or one of the fields has another type.
pub fn peek(body: &[u8]) -> Result<Peek, Unreadable> {
    if body.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(Unreadable::new(
            None,
            "the body is not a chat completion request: it must be one JSON object",
        ));
    }
    let fields: Fields<'_> = serde_json::from_slice(body).map_err(|e| {
        let message = e.to_string();
        let field = ["model", "stream"]
            .into_iter()
            .find(|f| message.starts_with(&format!("duplicate field `{f}`")));
        Unreadable::new(field, format!("the body is not a chat completion request in JSON: {message}"))
    })?;
    let raw = fields
        .model
        .ok_or_else(|| Unreadable::new(Some("model"), "model is required: name the model to ask"))?
        .get();
    let model: String = serde_json::from_str(raw).map_err(|_| Unreadable::new(Some("model"), "model must be a string"))?;
    let stream = match fields.stream.map(RawValue::get) {
        None | Some("false" | "null") => false,
        Some("true") => true,
        Some(_) => return Err(Unreadable::new(Some("stream"), "stream must be true or false")),
    };
    // `raw` is a part of `body`, so the distance of their addresses is its place.
    let start = raw.as_ptr().addr() - body.as_ptr().addr();
    Ok(Peek {
        model,
        model_span: start..start + raw.len(),
        stream,
    })
}

/// A request in three parts: before the model's name, the name, and after it.
pub type Spliced = Chain<Chain<Bytes, Bytes>, Bytes>;

/// The request with another model's name; copies nothing but the name.
#[must_use]
pub fn splice(body: &Bytes, model_span: &Range<usize>, model: &str) -> Spliced {
    let name = serde_json::to_vec(model).expect("a string is always JSON");
    body.slice(..model_span.start)
        .chain(Bytes::from(name))
        .chain(body.slice(model_span.end..))
}

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

/// What one event of a streamed answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// `[DONE]`: the answer is whole.
    Done,
    /// An error, or an answer that the engine gave up: what follows does not make it whole.
    Failed,
    /// Nothing that a person would see: the role, or notes before the answer.
    Opening,
    /// A part of the answer.
    Content,
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

    /// The event that ends a streamed answer which cannot be finished.
    #[must_use]
    pub fn to_event(&self) -> Vec<u8> {
        [b"data: ", self.to_json().as_slice(), b"\n\n"].concat()
    }
}

/// The list of models, as `GET /v1/models` answers it.
#[must_use]
pub fn model_list(names: &[&str]) -> Vec<u8> {
    let model = |name: &&str| serde_json::json!({ "id": name, "object": "model", "created": 0, "owned_by": "llm-portfolio" });
    let list = serde_json::json!({ "object": "list", "data": names.iter().map(model).collect::<Vec<_>>() });
    serde_json::to_vec(&list).expect("strings are always JSON")
}

#[cfg(test)]
mod tests;
