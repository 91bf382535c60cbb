//! A stream of Anthropic's, event by event.
//!
//! ```text
//! message_start → (content_block_start → content_block_delta… → content_block_stop)… → message_delta → message_stop
//! ```
//! with `ping` anywhere, and `error` instead of the rest. What an event is comes from `type` in its data, as engines forget the event's name.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{End, read_usage};
use super::block::Read;
use super::error::Detail;
use super::usage::Usage;
use crate::protocol::chat::{Delta, ReadStream};
use crate::protocol::error::{Error, Kind};

/// The most calls of tools that are followed at once; no model has more than one open.
const OPEN_CALLS: usize = 64;

/// Reads a stream.
#[derive(Debug, Default)]
pub struct Reader {
    usage: Usage,
    /// Whether any part of the answer has come, be it without its beginning.
    has_come: bool,
    has_begun: bool,
    has_stopped: bool,
    is_over: bool,
    calls: u32,
    open: Vec<Open>,
}

/// A call whose arguments are still coming.
#[derive(Debug)]
struct Open {
    /// The block's place in the message.
    index: u64,
    call: u32,
    /// Its arguments as the first event has them, `{}` usually; they count if no others come.
    first: String,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    index: Option<u64>,
    #[serde(borrow)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<Detail<'a>>,
}

#[derive(Deserialize)]
struct Start<'a> {
    id: Option<String>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct BlockDelta {
    text: Option<String>,
    thinking: Option<String>,
    signature: Option<String>,
    partial_json: Option<String>,
}

impl ReadStream for Reader {
    fn read(&mut self, data: &[u8], changes: &mut Vec<Delta>) {
        if self.is_over {
            return;
        }
        let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else {
            return;
        };
        let index = event.index.unwrap_or(0);
        self.has_come |= !matches!(event.kind.as_ref(), "ping" | "message_stop");
        match event.kind.as_ref() {
            "message_start" => self.start(event.message, changes),
            "content_block_start" => self.start_block(index, event.content_block, changes),
            "content_block_delta" => self.change_block(index, event.delta, changes),
            "content_block_stop" => self.stop_block(index, changes),
            "message_delta" => {
                // One without a reason is a report of tokens.
                let end: Option<End> = parse(event.delta);
                if let Some(end) = end.filter(|end| end.stop_reason.is_some()) {
                    self.stop(end, changes);
                }
                self.report(event.usage, changes);
            }
            "message_stop" => {
                // What never began did not stop either.
                if self.has_come {
                    self.stop(End::default(), changes);
                }
                self.end(Delta::End, changes);
            }
            "error" => {
                let unsaid = || Error::new(Kind::Server, "the model's server broke off the answer and did not say why");
                self.end(Delta::Failed(event.error.map_or_else(unsaid, |error| error.error(500))), changes);
            }
            _ => {}
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

impl Reader {
    fn start(&mut self, message: Option<&RawValue>, changes: &mut Vec<Delta>) {
        let start: Option<Start<'_>> = parse(message);
        if !std::mem::replace(&mut self.has_begun, true) {
            let id = start.as_ref().and_then(|start| start.id.clone());
            changes.push(Delta::Begin { id });
        }
        self.report(start.and_then(|start| start.usage), changes);
    }

    fn report(&mut self, usage: Option<&RawValue>, changes: &mut Vec<Delta>) {
        if let Some(later) = usage.and_then(read_usage) {
            self.usage.update(&later);
            changes.extend(self.usage.tokens().map(Delta::Usage));
        }
    }

    fn start_block(&mut self, index: u64, block: Option<&RawValue>, changes: &mut Vec<Delta>) {
        let Some(block) = parse::<Read<'_>>(block) else { return };
        match block.kind.as_ref() {
            "text" | "thinking" => {
                let (text, thinking, signature) = (block.text, block.thinking, block.signature);
                say(
                    BlockDelta {
                        text,
                        thinking,
                        signature,
                        partial_json: None,
                    },
                    changes,
                );
            }
            "redacted_thinking" => {
                let data: Option<String> = parse(block.data);
                changes.extend(data.map(|data| Delta::RedactedReasoning { choice: 0, data }));
            }
            "tool_use" if self.open.len() < OPEN_CALLS => {
                let (Some(id), Some(name)) = (block.id, block.name) else { return };
                let first = block.input.map_or("{}", RawValue::get).to_owned();
                let call = self.calls;
                self.calls += 1;
                self.open.push(Open { index, call, first });
                changes.push(Delta::ToolCall {
                    choice: 0,
                    index: call,
                    id,
                    name,
                });
            }
            _ => {}
        }
    }

    fn change_block(&mut self, index: u64, delta: Option<&RawValue>, changes: &mut Vec<Delta>) {
        let Some(delta) = parse::<BlockDelta>(delta) else { return };
        let open = self.open.iter_mut().find(|open| open.index == index);
        if let (Some(open), Some(json)) = (open, delta.partial_json.as_ref().filter(|json| !json.is_empty())) {
            open.first.clear();
            changes.push(Delta::Arguments {
                choice: 0,
                index: open.call,
                json: json.clone(),
            });
        }
        say(delta, changes);
    }

    fn stop_block(&mut self, index: u64, changes: &mut Vec<Delta>) {
        if let Some(at) = self.open.iter().position(|open| open.index == index) {
            finish(self.open.remove(at), changes);
        }
    }

    fn stop(&mut self, mut end: End, changes: &mut Vec<Delta>) {
        if self.has_stopped {
            return;
        }
        self.has_stopped = true;
        self.open.drain(..).for_each(|open| finish(open, changes));
        changes.extend(end.refusal().map(|text| Delta::Refusal { choice: 0, text }));
        changes.push(Delta::stop(0, end.stop()));
    }

    fn end(&mut self, last: Delta, changes: &mut Vec<Delta>) {
        self.is_over = true;
        changes.push(last);
    }
}

/// A call without arguments has those of its first event.
fn finish(open: Open, changes: &mut Vec<Delta>) {
    if !open.first.is_empty() {
        changes.push(Delta::Arguments {
            choice: 0,
            index: open.call,
            json: open.first,
        });
    }
}

fn say(delta: BlockDelta, changes: &mut Vec<Delta>) {
    let is_said = |text: &String| !text.is_empty();
    changes.extend(delta.text.filter(is_said).map(|text| Delta::Text { choice: 0, text }));
    changes.extend(delta.thinking.filter(is_said).map(|text| Delta::Reasoning { choice: 0, text }));
    let signature = delta.signature.filter(is_said);
    changes.extend(signature.map(|signature| Delta::ReasoningSignature { choice: 0, signature }));
}
