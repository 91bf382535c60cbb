//! Reads ConverseStream's messages, as [`super::frames::Frames`] hands them on.
//!
//! ```text
//! messageStart ─► (contentBlockStart? ─► contentBlockDelta* ─► contentBlockStop)* ─► messageStop ─► metadata
//! ```
//! An exception may come at any time, and is the last.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{answer, error};
use crate::protocol::chat::{Delta, ReadStream};
use crate::protocol::error::{Error, Kind};

/// So many calls of tools may be open at a time; models write one after the other.
const OPEN_CALLS: usize = 256;

/// Reads one stream.
#[derive(Debug, Default)]
pub struct Reader {
    /// Block and call of each call of a tool that has begun and not ended.
    open: Vec<(u64, u32)>,
    /// How many calls there were.
    calls: u32,
    has_begun: bool,
    has_stopped: bool,
    has_usage: bool,
    is_over: bool,
}

impl ReadStream for Reader {
    fn read(&mut self, data: &[u8], changes: &mut Vec<Delta>) {
        let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else {
            return;
        };
        if self.is_over {
            return;
        }
        match event {
            Event::MessageStart(_) => self.begin(changes),
            Event::ContentBlockStart(BlockStart { index, start }) => self.start(index, start, changes),
            Event::ContentBlockDelta(BlockDelta { index, delta }) => self.add(index, delta, changes),
            Event::ContentBlockStop(BlockStop { index }) => self.open.retain(|(block, _)| *block != index),
            Event::MessageStop(stop) => self.stop(&stop, changes),
            Event::Metadata(Metadata { usage }) => {
                changes.extend(usage.and_then(|usage| answer::read_usage(usage.get())).map(Delta::Usage));
                self.has_usage = true;
            }
            Event::Exception(exception) => {
                let said = match exception.message.is_empty() {
                    true => format!("Bedrock ended the answer with {}", exception.kind),
                    false => exception.message,
                };
                self.fail(error::named(&exception.kind, Kind::Server, &said), changes);
            }
        }
        if self.has_stopped && self.has_usage {
            self.finish(changes);
        }
    }

    /// The answer is whole, also when no report of tokens came.
    fn finish(&mut self, changes: &mut Vec<Delta>) {
        if self.has_stopped && !self.is_over {
            self.is_over = true;
            changes.push(Delta::End);
        }
    }
}

impl Reader {
    fn begin(&mut self, changes: &mut Vec<Delta>) {
        if !self.has_begun {
            self.has_begun = true;
            changes.push(Delta::Begin { id: None });
        }
    }

    fn start(&mut self, block: u64, start: Start, changes: &mut Vec<Delta>) {
        if start.image.is_some() {
            let words = "the model answers with an image, which a streamed answer cannot hold";
            return self.fail(Error::new(Kind::Server, words), changes);
        }
        let Some(ToolUseStart { tool_use_id: id, name }) = start.tool_use else {
            return;
        };
        if self.open.len() >= OPEN_CALLS {
            return self.fail(Error::new(Kind::Server, "the model calls too many tools at once"), changes);
        }
        let index = self.calls;
        self.calls = self.calls.saturating_add(1);
        self.open.push((block, index));
        changes.push(Delta::ToolCall {
            choice: 0,
            index,
            id,
            name,
        });
    }

    fn add(&mut self, block: u64, delta: Added, changes: &mut Vec<Delta>) {
        let Added {
            text,
            tool_use,
            reasoning_content,
        } = delta;
        changes.extend(text.map(|text| Delta::Text { choice: 0, text }));
        let open = self.open.iter().find(|(of, _)| *of == block);
        if let (Some(added), Some((_, index))) = (tool_use, open) {
            changes.push(Delta::Arguments {
                choice: 0,
                index: *index,
                json: added.input,
            });
        }
        let Some(AddedReasoning {
            text,
            signature,
            redacted_content,
        }) = reasoning_content
        else {
            return;
        };
        changes.extend(text.map(|text| Delta::Reasoning { choice: 0, text }));
        changes.extend(signature.map(|signature| Delta::ReasoningSignature { choice: 0, signature }));
        changes.extend(redacted_content.map(|data| Delta::RedactedReasoning { choice: 0, data }));
    }

    fn stop(&mut self, message: &MessageStop<'_>, changes: &mut Vec<Delta>) {
        if self.has_stopped {
            return;
        }
        match answer::stop(&message.stop_reason, message.additional) {
            Some(stop) => {
                self.has_stopped = true;
                changes.push(Delta::stop(0, stop));
            }
            None => {
                let words = format!("the model's output is malformed ({})", message.stop_reason);
                self.fail(Error::new(Kind::Server, words), changes);
            }
        }
    }

    fn fail(&mut self, error: Error, changes: &mut Vec<Delta>) {
        self.is_over = true;
        changes.push(Delta::Failed(error));
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Event<'a> {
    MessageStart(IgnoredAny),
    ContentBlockStart(BlockStart),
    ContentBlockDelta(BlockDelta),
    ContentBlockStop(BlockStop),
    #[serde(borrow)]
    MessageStop(MessageStop<'a>),
    #[serde(borrow)]
    Metadata(Metadata<'a>),
    Exception(Exception),
}

#[derive(Deserialize)]
struct BlockStart {
    #[serde(rename = "contentBlockIndex")]
    index: u64,
    start: Start,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Start {
    tool_use: Option<ToolUseStart>,
    image: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolUseStart {
    tool_use_id: String,
    name: String,
}

#[derive(Deserialize)]
struct BlockDelta {
    #[serde(rename = "contentBlockIndex")]
    index: u64,
    delta: Added,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Added {
    text: Option<String>,
    tool_use: Option<AddedInput>,
    reasoning_content: Option<AddedReasoning>,
}

#[derive(Deserialize)]
struct AddedInput {
    input: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AddedReasoning {
    text: Option<String>,
    signature: Option<String>,
    redacted_content: Option<String>,
}

#[derive(Deserialize)]
struct BlockStop {
    #[serde(rename = "contentBlockIndex")]
    index: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageStop<'a> {
    stop_reason: String,
    #[serde(borrow, rename = "additionalModelResponseFields")]
    additional: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "type")]
    kind: String,
    message: String,
}

#[cfg(test)]
mod tests;
