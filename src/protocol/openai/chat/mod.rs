//! Chat completions (`POST /v1/chat/completions`), both as what clients speak and as what models speak.

mod answer;
mod message;
mod reader;
mod request;
mod said;
mod write;
mod writer;

pub use super::report::{answered, tokens};
pub use super::watch::Watch;
pub use answer::{read_answer, write_answer};
pub use reader::Reader;
pub use request::read_request;
pub use write::write_request;
pub use writer::Writer;

pub(in crate::protocol::openai) use answer::{all, refusal, words};
pub(in crate::protocol::openai) use request::read_sampling;

use crate::protocol::chat::Stop;

/// How a server of chat completions differs from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// OpenAI itself, and Azure's OpenAI.
    OpenAI,
    /// A server that imitates it, as engines do.
    Compatible,
    /// Mistral, which refuses every field that it does not know.
    Mistral,
}

/// Why an answer ended, in OpenAI's words.
fn finish_reason(stop: &Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence(_) => "stop",
        Stop::Length => "length",
        Stop::ToolCalls => "tool_calls",
        Stop::Filtered => "content_filter",
    }
}

/// The text that ended an answer, which vLLM tells beside the reason.
fn stop_reason(stop: &Stop) -> Option<&str> {
    match stop {
        Stop::Sequence(text) => text.as_deref(),
        Stop::End | Stop::Length | Stop::ToolCalls | Stop::Filtered => None,
    }
}

/// Why an answer ended; `None` when the server gave it up. Servers say `stop` also where the model was made to call a tool and did, so
/// whether it called any decides.
fn read_stop(reason: &str, text: Option<String>, has_tool_calls: bool) -> Option<Stop> {
    Some(match reason {
        "abort" | "error" | "insufficient_system_resource" => return None,
        "length" | "model_length" => Stop::Length,
        "content_filter" => Stop::Filtered,
        _ if has_tool_calls => Stop::ToolCalls,
        "tool_calls" | "function_call" => Stop::ToolCalls,
        _ if text.is_some() => Stop::Sequence(text),
        _ => Stop::End,
    })
}

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
