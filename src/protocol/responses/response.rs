//! The `response` object: the whole of an answer, and what every event about the whole repeats.

use serde::Serialize;
use serde_json::value::RawValue;

use super::Echo;
use super::item::Status;
use crate::protocol::chat::{Said, Stop};
use crate::protocol::usage::Tokens;

/// The whole object.
#[derive(Serialize)]
pub(super) struct Response<'a> {
    id: &'a str,
    object: &'static str,
    created_at: i64,
    status: Status,
    background: bool,
    error: Option<Failure<'a>>,
    incomplete_details: Option<Incomplete>,
    model: &'a str,
    output: &'a [Box<RawValue>],
    previous_response_id: Option<()>,
    store: bool,
    top_logprobs: u8,
    truncation: &'static str,
    usage: Option<Usage>,
    #[serde(flatten)]
    echo: &'a Echo,
}

#[derive(Serialize)]
struct Incomplete {
    reason: &'static str,
}

/// Why an answer failed. The codes are a closed list in OpenAI's types; `kind` is not.
#[derive(Serialize)]
pub(super) struct Failure<'a> {
    pub(super) code: &'a str,
    pub(super) message: &'a str,
    pub(super) param: Option<&'a str>,
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
}

/// The state in which an object is written.
pub(super) enum State<'a> {
    InProgress,
    Over(&'a Stop),
    Failed(Failure<'a>),
}

impl<'a> Response<'a> {
    pub(super) fn new(
        id: &'a str,
        said: &'a Said,
        echo: &'a Echo,
        state: State<'a>,
        output: &'a [Box<RawValue>],
        usage: Option<Tokens>,
    ) -> Self {
        let (status, error, reason) = match state {
            State::InProgress => (Status::InProgress, None, None),
            State::Failed(failure) => (Status::Failed, Some(failure), None),
            State::Over(stop) => (status(stop), None, reason(stop)),
        };
        Self {
            id,
            object: "response",
            created_at: said.created,
            status,
            background: false,
            error,
            incomplete_details: reason.map(|reason| Incomplete { reason }),
            model: &said.model,
            output,
            previous_response_id: None,
            store: false,
            top_logprobs: 0,
            truncation: "disabled",
            usage: usage.map(Usage::from),
            echo,
        }
    }
}

/// The id of an answer: the provider's or ours, with the prefix that this protocol's ids have.
pub(super) fn response_id(given: Option<&str>, said: &Said) -> String {
    match given.filter(|id| !id.is_empty()) {
        Some(id) if id.starts_with("resp_") => id.to_owned(),
        Some(id) => format!("resp_{id}"),
        None => format!("resp_{}", said.id),
    }
}

/// What an end means for the answer and for the item that it ended.
pub(super) fn status(stop: &Stop) -> Status {
    if reason(stop).is_some() {
        Status::Incomplete
    } else {
        Status::Completed
    }
}

fn reason(stop: &Stop) -> Option<&'static str> {
    match stop {
        Stop::End | Stop::Sequence(_) | Stop::ToolCalls => None,
        Stop::Length => Some("max_output_tokens"),
        Stop::Filtered => Some("content_filter"),
    }
}

#[derive(Serialize)]
struct Usage {
    input_tokens: u64,
    input_tokens_details: InputDetails,
    output_tokens: u64,
    output_tokens_details: OutputDetails,
    total_tokens: u64,
}

#[derive(Serialize)]
struct InputDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Serialize)]
struct OutputDetails {
    reasoning_tokens: u64,
}

impl From<Tokens> for Usage {
    fn from(tokens: Tokens) -> Self {
        Self {
            input_tokens: tokens.prompt(),
            input_tokens_details: InputDetails {
                cached_tokens: tokens.cache_read,
                cache_write_tokens: tokens.cache_write.saturating_add(tokens.cache_write_1h),
            },
            output_tokens: tokens.answer(),
            output_tokens_details: OutputDetails {
                reasoning_tokens: tokens.reasoning,
            },
            total_tokens: tokens.prompt().saturating_add(tokens.answer()),
        }
    }
}
