//! A whole answer.

use super::Echo;
use super::item::{Content, Item, Status, Voice, json};
use super::response::{Response, State, response_id, status};
use crate::protocol::chat::{Answer, Part, Said, Stop};

/// Writes a whole answer: the first of its choices, since a request of this protocol asks for one. `echo` is what it repeats of the request.
#[must_use]
pub fn write_answer(answer: &Answer, said: &Said, echo: &Echo) -> Vec<u8> {
    let choice = answer.choices.first();
    let stop = choice.map_or(&Stop::End, |choice| &choice.stop);
    let parts = choice.map_or(&[][..], |choice| &choice.parts);
    let mut items = Vec::new();
    for part in parts {
        add(&mut items, part, said);
    }
    if let Some((last, others)) = items.split_last_mut() {
        others.iter_mut().for_each(|item| item.set_status(Status::Completed));
        last.set_status(status(stop));
    }
    let output: Vec<_> = items.iter().map(json).collect();
    let id = response_id(answer.id.as_deref(), said);
    let response = Response::new(&id, said, echo, State::Over(stop), &output, answer.usage);
    serde_json::to_vec(&response).expect("a response has string keys only")
}

fn add(items: &mut Vec<Item>, part: &Part, said: &Said) {
    let name = format!("{}_{}", said.id, items.len());
    match part {
        Part::Text(text) => say(items, Voice::Text, text, &name),
        Part::Refusal(text) => say(items, Voice::Refusal, text, &name),
        Part::Reasoning { text, signature } => {
            say(items, Voice::Reasoning, text, &name);
            if let Some(signature) = signature.as_deref().filter(|signature| !signature.is_empty()) {
                if text.is_empty() {
                    items.push(Item::saying(Voice::Reasoning, &name));
                }
                if let Some(item) = items.last_mut() {
                    item.seal(signature);
                }
            }
        }
        Part::RedactedReasoning(data) => items.push(Item::redacted(data, &name)),
        Part::ToolCall {
            id,
            name: function,
            arguments,
        } => {
            let mut call = Item::call(id, function, &name);
            call.add(arguments);
            items.push(call);
        }
        // What users and tools say; no model answers with it.
        Part::Image { .. } | Part::Document { .. } | Part::Audio { .. } | Part::ToolResult { .. } | Part::CachePoint(_) => {}
    }
}

/// Goes on with what is being said, or begins anew: the same items as a stream of the same answer has.
fn say(items: &mut Vec<Item>, voice: Voice, words: &str, name: &str) {
    if words.is_empty() {
        return;
    }
    if !items.last().is_some_and(|item| item.takes(voice)) {
        items.push(Item::saying(voice, name));
    }
    let Some(item) = items.last_mut() else { return };
    if item.content().last().map(Content::voice) != Some(voice) {
        item.begin(voice);
    }
    item.add(words);
}
