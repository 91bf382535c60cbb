//! A stream of events. Items are numbered in the order in which they begin, and events one by one from 0:
//!
//! ```text
//! response.created, response.in_progress
//!   response.output_item.added                          a message or reasoning
//!     response.content_part.added                         each of its parts
//!       response.{output_text,refusal,reasoning_text}.delta … .done
//!     response.content_part.done
//!   response.output_item.done
//!   response.output_item.added                          a call; several may be open at once
//!     response.function_call_arguments.delta … .done
//!   response.output_item.done
//! response.completed | response.incomplete | error, response.failed
//! ```

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::event::{Addition, Arguments, Lifecycle, OfItem, OfPart, end_part, write_event};
use super::item::{Content, Item, Status, Voice, json};
use super::response::{Response, State, response_id, status};
use super::{Echo, error};
use crate::protocol::chat::{Delta, HELD_LIMIT, Said, Stop, WriteStream, too_long_to_hold};
use crate::protocol::error::Error;
use crate::protocol::usage::Tokens;

/// Writes one streamed answer. It holds the whole answer, since this protocol's last event repeats it, and refuses one that is too long for that.
#[derive(Debug)]
pub struct Writer {
    said: Said,
    echo: Echo,
    /// The answer's id, once it has begun.
    id: Option<String>,
    /// The number of the next event.
    number: u64,
    items: Vec<Slot>,
    /// The message or reasoning that is being said.
    saying: Option<usize>,
    /// Calls that have begun, by the index that deltas give them. Their arguments may come in turns, so they stay open until the answer ends.
    calls: BTreeMap<u32, usize>,
    open_calls: Vec<usize>,
    stop: Stop,
    usage: Option<Tokens>,
    /// Bytes of what it holds.
    held: usize,
    refused: Option<Error>,
    is_over: bool,
}

/// What an item or a part takes beside its words.
const ITEM: usize = 256;

/// One item of the answer.
#[derive(Debug)]
enum Slot {
    Open(Item),
    Done(Box<RawValue>),
}

impl Writer {
    /// For one answer; `echo` is what it repeats of the request.
    #[must_use]
    pub fn new(said: Said, echo: Echo) -> Self {
        Self {
            said,
            echo,
            id: None,
            number: 0,
            items: Vec::new(),
            saying: None,
            calls: BTreeMap::new(),
            open_calls: Vec::new(),
            stop: Stop::End,
            usage: None,
            held: 0,
            refused: None,
            is_over: false,
        }
    }

    /// Whether more may be held; the end of an answer always may be told.
    fn has_room_for(&mut self, change: &Delta) -> bool {
        self.held += match change {
            Delta::Text { text, .. } | Delta::Reasoning { text, .. } | Delta::Refusal { text, .. } => text.len(),
            Delta::ReasoningSignature { signature: text, .. } | Delta::RedactedReasoning { data: text, .. } => text.len(),
            Delta::Arguments { json, .. } => json.len(),
            Delta::ToolCall { id, name, .. } => id.len() + name.len(),
            Delta::Begin { .. } | Delta::Stop { .. } | Delta::Usage(_) | Delta::End | Delta::Failed(_) => return true,
        };
        if self.held > HELD_LIMIT {
            self.refused.get_or_insert_with(too_long_to_hold);
        }
        self.refused.is_none()
    }

    fn event(&mut self, events: &mut Vec<u8>, name: &str, body: &impl Serialize) {
        write_event(&mut self.number, events, name, body);
    }

    fn begin(&mut self, given: Option<&str>, events: &mut Vec<u8>) {
        if self.id.is_some() {
            return;
        }
        self.id = Some(response_id(given, &self.said));
        self.lifecycle(events, "response.created", State::InProgress, &[]);
        self.lifecycle(events, "response.in_progress", State::InProgress, &[]);
    }

    fn lifecycle(&mut self, events: &mut Vec<u8>, name: &str, state: State<'_>, output: &[Box<RawValue>]) {
        let id = self.id.as_deref().unwrap_or_default();
        let response = Response::new(id, &self.said, &self.echo, state, output, self.usage);
        write_event(&mut self.number, events, name, &Lifecycle { response });
    }

    /// Begins an item; returns its place.
    fn open(&mut self, item: Item, events: &mut Vec<u8>) -> usize {
        let output_index = self.items.len();
        self.held += ITEM;
        let item_json = json(&item);
        self.items.push(Slot::Open(item));
        let added = OfItem {
            output_index,
            item: &item_json,
        };
        self.event(events, "response.output_item.added", &added);
        output_index
    }

    fn name(&self) -> String {
        format!("{}_{}", self.said.id, self.items.len())
    }

    /// Says more in this voice, in a new part or item if the last is another's.
    fn say(&mut self, voice: Voice, words: &str, events: &mut Vec<u8>) {
        if words.is_empty() {
            return;
        }
        self.begin(None, events);
        let place = self.place_for(voice, events);
        let Some(Slot::Open(item)) = self.items.get_mut(place) else {
            return;
        };
        if item.content().last().map(Content::voice) != Some(voice) {
            if !item.content().is_empty() {
                end_part(&mut self.number, item, place, events);
            }
            item.begin(voice);
            self.held += ITEM;
            let part = OfPart {
                item_id: item.id(),
                output_index: place,
                content_index: item.content().len() - 1,
                part: &Content::new(voice),
            };
            write_event(&mut self.number, events, "response.content_part.added", &part);
        }
        item.add(words);
        let addition = Addition {
            item_id: item.id(),
            output_index: place,
            content_index: Some(item.content().len() - 1),
            delta: words,
            logprobs: (voice == Voice::Text).then_some([]),
        };
        let name = match voice {
            Voice::Text => "response.output_text.delta",
            Voice::Refusal => "response.refusal.delta",
            Voice::Reasoning => "response.reasoning_text.delta",
        };
        write_event(&mut self.number, events, name, &addition);
    }

    fn place_for(&mut self, voice: Voice, events: &mut Vec<u8>) -> usize {
        if let Some(place) = self.saying
            && let Some(Slot::Open(item)) = self.items.get(place)
            && item.takes(voice)
        {
            return place;
        }
        self.fall_silent(events);
        let item = Item::saying(voice, &self.name());
        let place = self.open(item, events);
        self.saying = Some(place);
        place
    }

    /// Ends the message or reasoning that is being said, because something else begins.
    fn fall_silent(&mut self, events: &mut Vec<u8>) {
        if let Some(place) = self.saying.take() {
            self.close(place, Status::Completed, events);
        }
    }

    fn seal(&mut self, signature: &str, events: &mut Vec<u8>) {
        if signature.is_empty() {
            return;
        }
        self.begin(None, events);
        let said = self.saying.and_then(|place| self.items.get_mut(place));
        if let Some(Slot::Open(item)) = said
            && item.seal(signature)
        {
            return;
        }
        // A seal without words of its own.
        let place = self.place_for(Voice::Reasoning, events);
        if let Some(Slot::Open(item)) = self.items.get_mut(place) {
            item.seal(signature);
        }
    }

    fn call(&mut self, index: u32, id: &str, function: &str, events: &mut Vec<u8>) {
        self.begin(None, events);
        self.fall_silent(events);
        let item = Item::call(id, function, &self.name());
        let place = self.open(item, events);
        self.calls.insert(index, place);
        self.open_calls.push(place);
    }

    fn add_arguments(&mut self, index: u32, delta: &str, events: &mut Vec<u8>) {
        let Some(place) = self.calls.get(&index).copied() else { return };
        let Some(Slot::Open(item)) = self.items.get_mut(place) else {
            return;
        };
        if delta.is_empty() {
            return;
        }
        item.add(delta);
        let addition = Addition {
            item_id: item.id(),
            output_index: place,
            content_index: None,
            delta,
            logprobs: None,
        };
        write_event(&mut self.number, events, "response.function_call_arguments.delta", &addition);
    }

    fn redacted(&mut self, data: &str, events: &mut Vec<u8>) {
        self.begin(None, events);
        self.fall_silent(events);
        let item = Item::redacted(data, &self.name());
        let place = self.open(item, events);
        self.saying = Some(place);
    }

    /// Ends an item, with all that it holds.
    fn close(&mut self, place: usize, status: Status, events: &mut Vec<u8>) {
        let Some(Slot::Open(item)) = self.items.get_mut(place) else {
            return;
        };
        item.set_status(status);
        match item {
            Item::FunctionCall { id, name, arguments, .. } => {
                let done = Arguments {
                    item_id: id,
                    output_index: place,
                    name,
                    arguments,
                };
                write_event(&mut self.number, events, "response.function_call_arguments.done", &done);
            }
            Item::Message { .. } | Item::Reasoning { .. } => end_part(&mut self.number, item, place, events),
        }
        let item = json(item);
        let done = OfItem {
            output_index: place,
            item: &item,
        };
        write_event(&mut self.number, events, "response.output_item.done", &done);
        self.items[place] = Slot::Done(item);
    }

    /// Ends what is open. Only the last item was cut off, if any was.
    fn close_all(&mut self, events: &mut Vec<u8>) {
        let last = self.items.len().saturating_sub(1);
        self.calls.clear();
        let mut open = std::mem::take(&mut self.open_calls);
        open.extend(self.saying.take());
        open.sort_unstable();
        for place in open {
            let status = if place == last { status(&self.stop) } else { Status::Completed };
            self.close(place, status, events);
        }
    }

    fn end(&mut self, events: &mut Vec<u8>) {
        self.begin(None, events);
        self.close_all(events);
        let output = self.output();
        let stop = self.stop.clone();
        let name = match status(&stop) {
            Status::Incomplete => "response.incomplete",
            Status::InProgress | Status::Completed | Status::Failed => "response.completed",
        };
        self.lifecycle(events, name, State::Over(&stop), &output);
    }

    /// What was begun and not finished gets no `done`: nobody is to take it for whole.
    fn fail(&mut self, error: &Error, events: &mut Vec<u8>) {
        self.begin(None, events);
        error::write_event(&mut self.number, events, error);
        for slot in &mut self.items {
            if let Slot::Open(item) = slot {
                item.set_status(Status::Incomplete);
                *slot = Slot::Done(json(item));
            }
        }
        let output = self.output();
        self.lifecycle(events, "response.failed", State::Failed(error::failure(error)), &output);
    }

    fn output(&mut self) -> Vec<Box<RawValue>> {
        let done = std::mem::take(&mut self.items).into_iter().filter_map(|slot| match slot {
            Slot::Done(item) => Some(item),
            Slot::Open(_) => None,
        });
        done.collect()
    }
}

impl WriteStream for Writer {
    fn write(&mut self, change: &Delta, events: &mut Vec<u8>) {
        if self.is_over || !self.has_room_for(change) {
            return;
        }
        match change {
            Delta::Begin { id } => self.begin(id.as_deref(), events),
            Delta::Text { choice: 0, text } => self.say(Voice::Text, text, events),
            Delta::Reasoning { choice: 0, text } => self.say(Voice::Reasoning, text, events),
            Delta::Refusal { choice: 0, text } => self.say(Voice::Refusal, text, events),
            Delta::ReasoningSignature { choice: 0, signature } => self.seal(signature, events),
            Delta::RedactedReasoning { choice: 0, data } => self.redacted(data, events),
            Delta::ToolCall {
                choice: 0,
                index,
                id,
                name,
            } => self.call(*index, id, name, events),
            Delta::Arguments { choice: 0, index, json } => self.add_arguments(*index, json, events),
            Delta::Stop { choice: 0, stop } => {
                self.begin(None, events);
                self.stop = stop.clone();
                self.close_all(events);
            }
            // A request of this protocol asks for one answer.
            Delta::Text { .. }
            | Delta::Reasoning { .. }
            | Delta::Refusal { .. }
            | Delta::ReasoningSignature { .. }
            | Delta::RedactedReasoning { .. }
            | Delta::ToolCall { .. }
            | Delta::Arguments { .. }
            | Delta::Stop { .. } => {}
            Delta::Usage(tokens) => self.usage = Some(*tokens),
            Delta::End => {
                self.end(events);
                self.is_over = true;
            }
            Delta::Failed(error) => {
                self.fail(error, events);
                self.is_over = true;
            }
        }
    }

    fn refused(&self) -> Option<&Error> {
        self.refused.as_ref()
    }
}
