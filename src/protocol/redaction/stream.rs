//! Placeholders in a streamed answer, wherever it is cut: `[EMA` in one event and `IL_1] is` in the next. An event whose text ends within what
//! may be a placeholder waits, with those after it, for the text that goes on; then the identifier is where the placeholder began. Nothing is
//! made up: events keep their order, their number and all else they say.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::{Bound, Range};
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Placeholders;

/// So much waits at most. A placeholder is some twenty bytes, so that only many answers side by side come near.
const HELD: usize = 256 << 10;
/// Fields whose text goes on from event to event, in any protocol that clients speak.
const TEXTS: [&str; 10] = [
    "content",
    "refusal",
    "reasoning",
    "reasoning_content",
    "text",
    "thinking",
    "partial_json",
    "arguments",
    "input",
    "delta",
];

/// The identifiers on their way back into a stream of events.
#[derive(Debug)]
pub struct Restoring {
    placeholders: Arc<Placeholders>,
    held: VecDeque<Vec<u8>>,
    open: Vec<Open>,
}

/// What may be the beginning of a placeholder, at the end of an event's text.
#[derive(Debug)]
struct Open {
    /// Which of several answers side by side.
    choice: u64,
    /// Which of its texts.
    place: u64,
    /// Which of the events that wait, and where in it.
    event: usize,
    at: Range<usize>,
}

/// A text within an event, without its quotes.
#[derive(Debug)]
struct Part {
    choice: u64,
    place: u64,
    at: Range<usize>,
    /// Whether nothing comes after it.
    is_last: bool,
}

/// How a text begins.
enum Beginning<'a> {
    /// With a placeholder of so many bytes.
    Whole(usize, &'a str),
    /// It may become one.
    Open,
    No,
}

impl Restoring {
    /// For these.
    #[must_use]
    pub fn new(placeholders: Arc<Placeholders>) -> Self {
        Self {
            placeholders,
            held: VecDeque::new(),
            open: Vec::new(),
        }
    }

    /// Takes whole events; returns those that need not wait.
    pub fn pass(&mut self, events: &Bytes) -> Bytes {
        let mut passed = Vec::with_capacity(events.len());
        let mut from = 0;
        while from < events.len() {
            let end = end_of_event(events, from);
            self.take(self.placeholders.restore(events.slice(from..end)).to_vec());
            from = end;
            let waits: usize = self.held.iter().map(Vec::len).sum();
            if self.open.is_empty() || waits > HELD {
                self.release(&mut passed);
            }
        }
        passed.into()
    }

    /// Takes the end: nothing goes on.
    pub fn end(&mut self) -> Bytes {
        let mut passed = Vec::new();
        self.release(&mut passed);
        passed.into()
    }

    fn release(&mut self, passed: &mut Vec<u8>) {
        self.open.clear();
        self.held.drain(..).for_each(|event| passed.extend_from_slice(&event));
    }

    fn take(&mut self, mut event: Vec<u8>) {
        let Parts { parts, ends } = parts(&event);
        // What is taken out of the event so far.
        let mut shift = 0;
        let here = self.held.len();
        for part in parts {
            let at = part.at.start - shift..part.at.end - shift;
            let taken = self.go_on(&part, &event[at.clone()]);
            event.drain(at.start..at.start + taken);
            shift += taken;
            let at = at.start..at.end - taken;
            if part.is_last || at.is_empty() {
                continue;
            }
            let text = &event[at.clone()];
            if let Some(begins) = text.iter().rposition(|byte| *byte == b'[')
                && matches!(self.beginning(&text[begins..]), Beginning::Open)
            {
                self.open.push(Open {
                    choice: part.choice,
                    place: part.place,
                    event: here,
                    at: at.start + begins..at.end,
                });
            }
        }
        match ends {
            Ends::No => {}
            Ends::All => self.open.clear(),
            Ends::Choices(choices) => self.open.retain(|open| !choices.contains(&open.choice)),
        }
        self.held.push_back(event);
    }

    /// Puts together what was open with the text that goes on; returns how much of that is there now.
    fn go_on(&mut self, part: &Part, text: &[u8]) -> usize {
        let Some(position) = self.open.iter().position(|open| open.choice == part.choice) else {
            return 0;
        };
        if text.is_empty() {
            return 0;
        }
        let open = self.open.remove(position);
        if open.place != part.place {
            return 0;
        }
        let held = &self.held[open.event][open.at.clone()];
        let joined = [held, text].concat();
        let before = held.len();
        match self.beginning(&joined) {
            Beginning::Whole(length, value) => {
                let value = value.to_owned();
                self.put(&open, value.as_bytes());
                length - before
            }
            Beginning::Open => {
                self.put(&open, &joined);
                let at = open.at.start..open.at.start + joined.len();
                self.open.push(Open { at, ..open });
                text.len()
            }
            Beginning::No => 0,
        }
    }

    /// Writes other bytes where an event that waits has something open. Nothing else is open after it in the same text, but other texts may
    /// be.
    fn put(&mut self, open: &Open, bytes: &[u8]) {
        self.held[open.event].splice(open.at.clone(), bytes.iter().copied());
        for other in self
            .open
            .iter_mut()
            .filter(|other| other.event == open.event && other.at.start >= open.at.end)
        {
            let start = other.at.start - open.at.len() + bytes.len();
            other.at = start..start + other.at.len();
        }
    }

    fn beginning(&self, text: &[u8]) -> Beginning<'_> {
        let Ok(text) = std::str::from_utf8(text) else {
            return Beginning::No;
        };
        if let Some(end) = text.find(']') {
            return match self.placeholders.values.get(&text[..=end]) {
                Some(value) => Beginning::Whole(end + 1, value),
                None => Beginning::No,
            };
        }
        let next = self
            .placeholders
            .values
            .range::<str, _>((Bound::Included(text), Bound::Unbounded))
            .next();
        match next {
            Some((name, _)) if name.starts_with(text) => Beginning::Open,
            _ => Beginning::No,
        }
    }
}

/// Where the event ends that begins at a place: after its empty line, or where the bytes end.
fn end_of_event(bytes: &[u8], from: usize) -> usize {
    let mut is_empty = true;
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        if !matches!(byte, b'\n' | b'\r') {
            is_empty = false;
            continue;
        }
        if *byte == b'\r' && bytes.get(at) == Some(&b'\n') {
            at += 1;
        }
        if is_empty {
            return at;
        }
        is_empty = true;
    }
    at
}

/// What an event says.
struct Parts {
    parts: Vec<Part>,
    ends: Ends,
}

/// Which texts it ends.
enum Ends {
    No,
    Choices(Vec<u64>),
    All,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    index: Option<u64>,
    output_index: Option<u64>,
    content_index: Option<u64>,
    summary_index: Option<u64>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

fn parts(event: &[u8]) -> Parts {
    let none = Parts {
        parts: Vec::new(),
        ends: Ends::No,
    };
    let Some(data) = data(event) else { return none };
    if data == b"[DONE]" {
        return Parts { ends: Ends::All, ..none };
    }
    let Ok(read) = serde_json::from_slice::<Event<'_>>(data) else {
        return none;
    };
    let mut parts = Vec::new();
    let mut finished = Vec::new();
    for (position, choice) in read.choices.iter().flatten().enumerate() {
        let Ok(choice) = serde_json::from_str::<Choice<'_>>(choice.get()) else {
            continue;
        };
        let index = choice.index.unwrap_or(position as u64);
        let is_last = choice.finish_reason.is_some();
        for (name, value) in [("delta", choice.delta), ("text", choice.text)] {
            if let Some(value) = value {
                leaves(value, name, 0, &mut |place, raw| {
                    parts.push(part(event, raw, index, place, is_last));
                });
            }
        }
        if is_last {
            finished.push(index);
        }
    }
    if let Some(delta) = read.delta {
        let place = hash(&(
            read.index,
            read.output_index,
            read.content_index,
            read.summary_index,
            read.kind.map(RawValue::get),
        ));
        leaves(delta, "delta", place, &mut |place, raw| {
            parts.push(part(event, raw, 0, place, false));
        });
    }
    parts.sort_by_key(|part| part.at.start);
    let ends_all = read.kind.is_some_and(|kind| {
        let kind = kind.get().trim_matches('"');
        ["stop", ".done", ".completed", ".incomplete", ".failed", "error"]
            .iter()
            .any(|end| kind.ends_with(end))
            || kind == "message_delta"
    });
    let ends = match (ends_all, finished.is_empty()) {
        (true, _) => Ends::All,
        (false, true) => Ends::No,
        (false, false) => Ends::Choices(finished),
    };
    Parts { parts, ends }
}

/// The data of an event that has them in one line.
fn data(event: &[u8]) -> Option<&[u8]> {
    let mut lines = event
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .filter_map(|line| line.strip_prefix(b"data:"));
    let data = lines.next()?;
    lines.next().is_none().then(|| data.trim_ascii())
}

/// Calls `see` with every text that goes on, and a number for where it is.
fn leaves<'a>(value: &'a RawValue, name: &str, place: u64, see: &mut dyn FnMut(u64, &'a RawValue)) {
    let raw = value.get();
    match raw.as_bytes().first() {
        Some(b'"') if TEXTS.contains(&name) => see(hash(&(place, name)), value),
        Some(b'{') => {
            let Ok(fields) = serde_json::from_str::<BTreeMap<String, &RawValue>>(raw) else {
                return;
            };
            let index = fields.get("index").map(|index| index.get());
            let place = hash(&(place, name, index));
            for (name, value) in &fields {
                leaves(value, name, place, see);
            }
        }
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(raw).unwrap_or_default();
            for element in elements {
                leaves(element, name, place, see);
            }
        }
        _ => {}
    }
}

/// Where the event has `raw`, which is a part of it: so the distance of their addresses is its place.
fn part(event: &[u8], raw: &RawValue, choice: u64, place: u64, is_last: bool) -> Part {
    let start = raw.get().as_ptr().addr() - event.as_ptr().addr();
    Part {
        choice,
        place,
        at: start + 1..start + raw.get().len() - 1,
        is_last,
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
