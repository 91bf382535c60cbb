//! Converse's whole answers, and what its answers share with its streams: why they end, and what they took.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::protocol::chat::{Answer, Choice, Media, Part, Stop};
use crate::protocol::usage::Tokens;

/// Reads a whole answer. `None`: it is not one of Converse, or the model's output was malformed, as Bedrock says.
#[must_use]
pub fn read_answer(body: &[u8]) -> Option<Answer> {
    let written: Written<'_> = serde_json::from_slice(body).ok()?;
    let stop = stop(&written.stop_reason, written.additional)?;
    let parts = written.output.message.content.into_iter().filter_map(Block::part).collect();
    Some(Answer {
        id: None,
        choices: vec![Choice { parts, stop }],
        usage: written.usage.and_then(|usage| read_usage(usage.get())),
    })
}

/// Why an answer ended. `None`: it did not end well. A reason that is not known yet counts as the model's own end.
pub(super) fn stop(reason: &str, additional: Option<&RawValue>) -> Option<Stop> {
    #[derive(Deserialize)]
    struct Additional {
        stop_sequence: Option<String>,
    }
    match reason {
        "tool_use" => Some(Stop::ToolCalls),
        "max_tokens" | "model_context_window_exceeded" => Some(Stop::Length),
        "stop_sequence" => {
            let additional = additional.and_then(|fields| serde_json::from_str::<Additional>(fields.get()).ok());
            Some(Stop::Sequence(additional.and_then(|fields| fields.stop_sequence)))
        }
        "guardrail_intervened" | "content_filtered" => Some(Stop::Filtered),
        "malformed_model_output" | "malformed_tool_use" => None,
        _ => Some(Stop::End),
    }
}

/// Bedrock's `inputTokens` has neither what was read from a cache nor what was written to one. Reasoning is in `outputTokens`, uncounted.
pub(super) fn read_usage(usage: &str) -> Option<Tokens> {
    let usage: Usage = serde_json::from_str(usage).ok()?;
    let details = usage.cache_details.unwrap_or_default();
    let hours: u64 = details
        .iter()
        .filter(|detail| detail.ttl == "1h")
        .fold(0, |sum, detail| sum.saturating_add(detail.input_tokens));
    let written = usage.cache_write_input_tokens.unwrap_or(0).max(hours);
    Some(Tokens {
        input: usage.input_tokens.unwrap_or(0),
        cache_read: usage.cache_read_input_tokens.unwrap_or(0),
        cache_write: written - hours,
        cache_write_1h: hours,
        output: usage.output_tokens.unwrap_or(0),
        ..Tokens::default()
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_write_input_tokens: Option<u64>,
    cache_details: Option<Vec<CacheDetail>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CacheDetail {
    ttl: String,
    input_tokens: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    output: Output<'a>,
    #[serde(borrow)]
    stop_reason: Cow<'a, str>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, rename = "additionalModelResponseFields")]
    additional: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    message: Message<'a>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Vec<Block<'a>>,
}

/// A union: one of these, or something that is not known here (such as the sources of citations).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block<'a> {
    text: Option<String>,
    #[serde(borrow)]
    tool_use: Option<ToolUse<'a>>,
    reasoning_content: Option<Reasoning>,
    citations_content: Option<Citations>,
    image: Option<Image>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolUse<'a> {
    tool_use_id: String,
    name: String,
    #[serde(borrow)]
    input: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reasoning {
    reasoning_text: Option<ReasoningText>,
    redacted_content: Option<String>,
}

#[derive(Deserialize)]
struct ReasoningText {
    text: String,
    signature: Option<String>,
}

#[derive(Deserialize)]
struct Citations {
    #[serde(default)]
    content: Vec<Cited>,
}

#[derive(Deserialize)]
struct Cited {
    text: Option<String>,
}

#[derive(Deserialize)]
struct Image {
    format: String,
    source: Source,
}

#[derive(Deserialize)]
struct Source {
    bytes: Option<String>,
}

impl Block<'_> {
    fn part(self) -> Option<Part> {
        let Self {
            text,
            tool_use,
            reasoning_content,
            citations_content,
            image,
        } = self;
        let cited = citations_content.map(|cited| cited.content.into_iter().filter_map(|content| content.text).collect());
        text.or(cited)
            .map(Part::Text)
            .or_else(|| tool_use.map(ToolUse::part))
            .or_else(|| reasoning_content.and_then(Reasoning::part))
            .or_else(|| image.and_then(Image::part))
    }
}

impl ToolUse<'_> {
    fn part(self) -> Part {
        Part::ToolCall {
            id: self.tool_use_id,
            name: self.name,
            arguments: self.input.get().to_owned(),
        }
    }
}

impl Reasoning {
    fn part(self) -> Option<Part> {
        let text = self.reasoning_text.map(|said| Part::Reasoning {
            text: said.text,
            signature: said.signature,
        });
        text.or_else(|| self.redacted_content.map(Part::RedactedReasoning))
    }
}

impl Image {
    fn part(self) -> Option<Part> {
        let media = Media::Inline {
            media_type: format!("image/{}", self.format),
            data: self.source.bytes?,
        };
        Some(Part::Image { media, detail: None })
    }
}

#[cfg(test)]
mod tests;
