//! A stream of chat completions, written for a client.

use serde::Serialize;

use super::{finish_reason, stop_reason};
use crate::protocol::chat::{Delta, Said, Stop, WriteStream};
use crate::protocol::openai::chunk::Frame;

/// Writes chunks as OpenAI does: for each answer one with the role, those with what is added, one with the reason of the end; then, if the
/// client asked for it, the report of tokens; then `[DONE]`. The seals on thoughts have no place in this protocol.
#[derive(Debug)]
pub struct Writer {
    frame: Frame,
    /// The answers that have begun.
    begun: Vec<u32>,
    /// The calls (of which answer, and which) that have no arguments yet.
    bare: Vec<(u32, u32)>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    delta: Added<'a>,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_reason: Option<&'a str>,
}

#[derive(Default, Serialize)]
struct Added<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    /// Null in the first chunk, as OpenAI has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[Call<'a>; 1]>,
}

#[derive(Serialize)]
struct Call<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

impl Writer {
    /// A stream whose chunks repeat `said`, with a report of tokens if it was asked for (`stream_options.include_usage`).
    #[must_use]
    pub fn new(said: Said, usage_asked: bool) -> Self {
        Self {
            frame: Frame::new("chat.completion.chunk", "chatcmpl-", said, usage_asked),
            begun: Vec::new(),
            bare: Vec::new(),
        }
    }

    fn begin(&mut self, choice: u32, events: &mut Vec<u8>) {
        if self.begun.contains(&choice) {
            return;
        }
        self.begun.push(choice);
        let added = Added {
            role: Some("assistant"),
            content: Some(""),
            refusal: Some(None),
            ..Added::default()
        };
        self.write_added(choice, added, events);
    }

    fn add(&mut self, choice: u32, added: Added<'_>, events: &mut Vec<u8>) {
        self.begin(choice, events);
        self.write_added(choice, added, events);
    }

    fn write_added(&self, index: u32, delta: Added<'_>, events: &mut Vec<u8>) {
        let choice = Choice {
            index,
            delta,
            logprobs: None,
            finish_reason: None,
            stop_reason: None,
        };
        self.frame.write(choice, events);
    }

    fn add_arguments(&mut self, choice: u32, index: u32, arguments: &str, events: &mut Vec<u8>) {
        self.bare.retain(|call| *call != (choice, index));
        let function = Function { name: None, arguments };
        let call = Call {
            index,
            id: None,
            r#type: None,
            function,
        };
        self.add(
            choice,
            Added {
                tool_calls: Some([call]),
                ..Added::default()
            },
            events,
        );
    }

    fn stop(&mut self, index: u32, stop: &Stop, events: &mut Vec<u8>) {
        self.begin(index, events);
        // Clients read arguments as JSON, which nothing at all is not.
        while let Some((choice, call)) = self.bare.iter().copied().find(|(choice, _)| *choice == index) {
            self.add_arguments(choice, call, "{}", events);
        }
        let choice = Choice {
            index,
            delta: Added::default(),
            logprobs: None,
            finish_reason: Some(finish_reason(stop)),
            stop_reason: stop_reason(stop),
        };
        self.frame.write(choice, events);
    }
}

impl WriteStream for Writer {
    fn write(&mut self, change: &Delta, events: &mut Vec<u8>) {
        if self.frame.is_over() {
            return;
        }
        let nothing = Added::default();
        match change {
            Delta::Begin { id } => {
                if let Some(id) = id {
                    self.frame.call_it(id);
                }
                self.begin(0, events);
            }
            Delta::Text { text, .. } | Delta::Reasoning { text, .. } | Delta::Refusal { text, .. } if text.is_empty() => {}
            Delta::Text { choice, text } => self.add(
                *choice,
                Added {
                    content: Some(text),
                    ..nothing
                },
                events,
            ),
            Delta::Refusal { choice, text } => self.add(
                *choice,
                Added {
                    refusal: Some(Some(text)),
                    ..nothing
                },
                events,
            ),
            Delta::Reasoning { choice, text } => {
                let thought = Added {
                    reasoning_content: Some(text),
                    reasoning: Some(text),
                    ..nothing
                };
                self.add(*choice, thought, events);
            }
            Delta::ReasoningSignature { .. } | Delta::RedactedReasoning { .. } => {}
            Delta::ToolCall { choice, index, id, name } => {
                self.bare.push((*choice, *index));
                let call = Call {
                    index: *index,
                    id: Some(id),
                    r#type: Some("function"),
                    function: Function {
                        name: Some(name),
                        arguments: "",
                    },
                };
                self.add(
                    *choice,
                    Added {
                        tool_calls: Some([call]),
                        ..nothing
                    },
                    events,
                );
            }
            Delta::Arguments { json, .. } if json.is_empty() => {}
            Delta::Arguments { choice, index, json } => self.add_arguments(*choice, *index, json, events),
            Delta::Stop { choice, stop } => self.stop(*choice, stop, events),
            Delta::Usage(tokens) => self.frame.report(*tokens),
            Delta::End => self.frame.end(events),
            Delta::Failed(error) => self.frame.fail(error, events),
        }
    }
}
