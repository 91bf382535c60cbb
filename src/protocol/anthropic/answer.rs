//! Whole answers, and why they end.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::block::{Read, Written, input};
use super::usage::{Report, Usage};
use crate::protocol::chat::{Answer, Choice, Part, Said, Stop};
use crate::protocol::usage::Tokens;

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    id: Option<String>,
    #[serde(borrow)]
    content: Vec<&'a RawValue>,
    #[serde(flatten)]
    end: End,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// Why an answer ended, as a whole answer or the last event but one tells it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct End {
    pub(super) stop_reason: Option<String>,
    stop_sequence: Option<String>,
    stop_details: Option<StopDetails>,
}

#[derive(Debug, Deserialize)]
struct StopDetails {
    explanation: Option<String>,
}

impl End {
    /// In the common form. A turn that Anthropic paused is not finished, and so counts as cut off.
    pub(super) fn stop(self) -> Stop {
        match self.stop_reason.as_deref() {
            Some("max_tokens" | "model_context_window_exceeded" | "pause_turn") => Stop::Length,
            Some("stop_sequence") => Stop::Sequence(self.stop_sequence),
            Some("tool_use") => Stop::ToolCalls,
            Some("refusal") => Stop::Filtered,
            _ => Stop::End,
        }
    }

    /// The words with which Anthropic explains why the model declined.
    pub(super) fn refusal(&mut self) -> Option<String> {
        let words = self.stop_details.take().and_then(|details| details.explanation);
        words.filter(|words| !words.is_empty() && self.stop_reason.as_deref() == Some("refusal"))
    }
}

/// Anthropic's words for why an answer ended, and the text that ended it.
pub(super) fn stop_reason(stop: &Stop, has_declined: bool) -> (&'static str, Option<&str>) {
    match stop {
        Stop::End if has_declined => ("refusal", None),
        Stop::End => ("end_turn", None),
        Stop::Length => ("max_tokens", None),
        Stop::Sequence(which) => ("stop_sequence", which.as_deref()),
        Stop::ToolCalls => ("tool_use", None),
        Stop::Filtered => ("refusal", None),
    }
}

/// Reads a whole answer; `None` if it is none of this protocol. Blocks of tools that run at the provider's are left out: no request asks for
/// them.
#[must_use]
pub fn read_answer(body: &[u8]) -> Option<Answer> {
    let mut message: Message<'_> = serde_json::from_slice(body).ok()?;
    if message.kind != "message" {
        return None;
    }
    let read = |raw: &&RawValue| read_part(serde_json::from_str(raw.get()).ok()?);
    let mut parts: Vec<Part> = message.content.iter().filter_map(read).collect();
    parts.extend(message.end.refusal().map(Part::Refusal));
    Some(Answer {
        id: message.id,
        choices: vec![Choice {
            parts,
            stop: message.end.stop(),
        }],
        usage: message.usage.and_then(read_usage).and_then(|usage| usage.tokens()),
    })
}

fn read_part(block: Read<'_>) -> Option<Part> {
    match block.kind.as_ref() {
        "text" => Some(Part::Text(block.text?)),
        "thinking" => Some(Part::Reasoning {
            text: block.thinking.unwrap_or_default(),
            signature: block.signature.filter(|signature| !signature.is_empty()),
        }),
        "redacted_thinking" => Some(Part::RedactedReasoning(serde_json::from_str(block.data?.get()).ok()?)),
        "tool_use" => Some(Part::ToolCall {
            id: block.id?,
            name: block.name?,
            arguments: block.input.map_or("{}", RawValue::get).to_owned(),
        }),
        _ => None,
    }
}

/// A report that is no report is none.
pub(super) fn read_usage(raw: &RawValue) -> Option<Usage> {
    serde_json::from_str(raw.get()).ok()
}

/// The tokens that a whole answer reports, if it is one and reports any.
#[must_use]
pub fn tokens(answer: &[u8]) -> Option<Tokens> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        usage: Option<&'a RawValue>,
    }
    let message: Message<'_> = serde_json::from_slice(answer).ok()?;
    message.usage.and_then(read_usage)?.tokens()
}

#[derive(Serialize)]
struct WrittenMessage<'a> {
    id: Cow<'a, str>,
    r#type: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<Written<'a>>,
    stop_reason: &'static str,
    stop_sequence: Option<&'a str>,
    usage: Report,
}

/// The answer's name: the provider's, or ours as Anthropic's look.
pub(super) fn id<'a>(given: Option<&'a str>, said: &Said) -> Cow<'a, str> {
    given.map_or_else(|| format!("msg_{}", said.id).into(), Cow::Borrowed)
}

/// Writes a whole answer: the first of them, as a message has only one. Where nothing was reported the tokens are zeros, since SDKs want numbers.
#[must_use]
pub fn write_answer(answer: &Answer, said: &Said) -> Vec<u8> {
    let (parts, stop) = answer
        .choices
        .first()
        .map_or((&[][..], &Stop::End), |choice| (&choice.parts[..], &choice.stop));
    let has_declined = parts.iter().any(|part| matches!(part, Part::Refusal(_)));
    let (stop_reason, stop_sequence) = stop_reason(stop, has_declined);
    let message = WrittenMessage {
        id: id(answer.id.as_deref(), said),
        r#type: "message",
        role: "assistant",
        model: &said.model,
        content: parts.iter().filter_map(write_part).collect(),
        stop_reason,
        stop_sequence,
        usage: answer.usage.unwrap_or_default().into(),
    };
    serde_json::to_vec(&message).expect("texts, numbers and JSON are always JSON")
}

fn write_part(part: &Part) -> Option<Written<'_>> {
    let cache_control = None;
    match part {
        Part::Text(text) | Part::Refusal(text) => (!text.is_empty()).then_some(Written::Text { text, cache_control }),
        Part::Reasoning { text, signature } => Some(Written::Thinking {
            thinking: text,
            signature: signature.as_deref().unwrap_or_default(),
        }),
        Part::RedactedReasoning(data) => Some(Written::RedactedThinking { data }),
        Part::ToolCall { id, name, arguments } => Some(Written::ToolUse {
            id: id.as_str().into(),
            name,
            input: input(arguments),
            cache_control,
        }),
        // Models say none of these.
        Part::Image { .. } | Part::Document { .. } | Part::Audio { .. } | Part::ToolResult { .. } | Part::CachePoint(_) => None,
    }
}
