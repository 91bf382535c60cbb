//! The events of a stream: their bodies, and how one is written. Every body is an object that is not empty; its type and its number come
//! first, as OpenAI writes them.

use std::io::Write;

use serde::Serialize;
use serde_json::value::RawValue;

use super::item::{Content, Item, Voice};
use super::response::Response;

/// Writes one event, the `number`th of its stream, and counts it.
pub(super) fn write_event(number: &mut u64, events: &mut Vec<u8>, name: &str, body: &impl Serialize) {
    write!(events, "event: {name}\ndata: {{\"type\":\"{name}\",\"sequence_number\":{number}").expect("memory takes all bytes");
    let start = events.len();
    serde_json::to_writer(&mut *events, body).expect("a body has string keys only");
    // The body's opening brace gives way: its fields go on after the number.
    events[start] = b',';
    events.extend_from_slice(b"\n\n");
    *number += 1;
}

/// `response.created` and the others about the whole.
#[derive(Serialize)]
pub(super) struct Lifecycle<'a> {
    pub(super) response: Response<'a>,
}

/// `response.output_item.added` and `.done`.
#[derive(Serialize)]
pub(super) struct OfItem<'a> {
    pub(super) output_index: usize,
    pub(super) item: &'a RawValue,
}

/// `response.content_part.added` and `.done`.
#[derive(Serialize)]
pub(super) struct OfPart<'a> {
    pub(super) item_id: &'a str,
    pub(super) output_index: usize,
    pub(super) content_index: usize,
    pub(super) part: &'a Content,
}

/// Any `.delta`.
#[derive(Serialize)]
pub(super) struct Addition<'a> {
    pub(super) item_id: &'a str,
    pub(super) output_index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_index: Option<usize>,
    pub(super) delta: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logprobs: Option<[(); 0]>,
}

/// `response.output_text.done`, `response.reasoning_text.done`, `response.refusal.done`.
#[derive(Serialize)]
pub(super) struct Words<'a> {
    pub(super) item_id: &'a str,
    pub(super) output_index: usize,
    pub(super) content_index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logprobs: Option<[(); 0]>,
}

/// `response.function_call_arguments.done`. Node's types require the name.
#[derive(Serialize)]
pub(super) struct Arguments<'a> {
    pub(super) item_id: &'a str,
    pub(super) output_index: usize,
    pub(super) name: &'a str,
    pub(super) arguments: &'a str,
}

/// Ends the last part of an item, if it has any.
pub(super) fn end_part(number: &mut u64, item: &Item, place: usize, events: &mut Vec<u8>) {
    let Some((part, others)) = item.content().split_last() else {
        return;
    };
    let words = Some(part.words());
    let (name, text, refusal) = match part.voice() {
        Voice::Text => ("response.output_text.done", words, None),
        Voice::Reasoning => ("response.reasoning_text.done", words, None),
        Voice::Refusal => ("response.refusal.done", None, words),
    };
    let done = Words {
        item_id: item.id(),
        output_index: place,
        content_index: others.len(),
        text,
        refusal,
        logprobs: (part.voice() == Voice::Text).then_some([]),
    };
    write_event(number, events, name, &done);
    let done = OfPart {
        item_id: item.id(),
        output_index: place,
        content_index: others.len(),
        part,
    };
    write_event(number, events, "response.content_part.done", &done);
}
