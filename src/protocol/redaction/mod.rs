//! Placeholders instead of personal identifiers: put into a request before it leaves, and out of the answer before the client has it.
//!
//! ```text
//! "Write to anna@example.com" ──redact──► "Write to [EMAIL_1]" ──► model
//!  "I wrote to anna@example.com" ◄──restore── "I wrote to [EMAIL_1]" ◄──┘
//! ```
//! The same identifier has the same placeholder throughout a request, numbered in the order of the text: the next turn of a conversation has
//! the same ones for what was said before, so that what a provider has cached of it, or signed, stays valid.

mod stream;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::{ControlFlow, Range};

use bytes::Bytes;

use super::identifiers::{self, Identifier, Kinds};
use super::texts;

pub use stream::Restoring;

/// So often a text is looked through: what is left once something was replaced may be an identifier in itself.
const ROUNDS: usize = 16;

/// What each placeholder of a request stands for.
#[derive(Debug, Default)]
pub struct Placeholders {
    /// Sorted, so that the beginning of one is soon found.
    values: BTreeMap<String, String>,
}

/// A request without its identifiers.
#[derive(Debug)]
pub struct Redacted {
    /// Its body.
    pub body: Bytes,
    /// What was there.
    pub placeholders: Placeholders,
}

/// Why a request cannot be redacted: something is left however often it is looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tangled;

/// The body of a request, which is JSON, without its identifiers of these kinds; `None` where it has none.
///
/// # Errors
/// When it would not be free of them.
pub fn redact(body: &[u8], kinds: Kinds) -> Result<Option<Redacted>, Tangled> {
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut naming = None;
    let tangled = texts::each(body, |text| {
        if text.is_number && !is_number(&text.said, kinds) {
            return ControlFlow::Continue(());
        }
        if identifiers::find(&text.said, kinds).is_empty() {
            return ControlFlow::Continue(());
        }
        let naming = naming.get_or_insert_with(|| Naming::beside(body));
        match naming.replaced(&text.said, kinds) {
            Ok(replaced) => {
                edits.push((text.at, serde_json::Value::String(replaced).to_string()));
                ControlFlow::Continue(())
            }
            Err(tangled) => ControlFlow::Break(tangled),
        }
    });
    if let Some(tangled) = tangled {
        return Err(tangled);
    }
    let Some(naming) = naming else { return Ok(None) };
    let mut redacted = Vec::with_capacity(body.len());
    let mut from = 0;
    for (at, text) in edits {
        redacted.extend_from_slice(&body[from..at.start]);
        redacted.extend_from_slice(text.as_bytes());
        from = at.end;
    }
    redacted.extend_from_slice(&body[from..]);
    Ok(Some(Redacted {
        body: redacted.into(),
        placeholders: Placeholders { values: naming.values },
    }))
}

/// The first kind of identifier that a request has, of these kinds.
#[must_use]
pub fn first(body: &[u8], kinds: Kinds) -> Option<Identifier> {
    texts::each(body, |text| {
        if text.is_number && !is_number(&text.said, kinds) {
            return ControlFlow::Continue(());
        }
        match identifiers::find(&text.said, kinds).first() {
            Some(found) => ControlFlow::Break(found.kind),
            None => ControlFlow::Continue(()),
        }
    })
}

/// Whether a number without quotes is an identifier: only cards are told by their digits alone.
fn is_number(number: &str, kinds: Kinds) -> bool {
    let cards: Kinds = kinds
        .has(Identifier::CreditCard)
        .then_some(Identifier::CreditCard)
        .into_iter()
        .collect();
    identifiers::find(number, cards)
        .first()
        .is_some_and(|found| found.at == (0..number.len()))
}

/// The placeholders that are given out.
struct Naming {
    /// Those that the request itself has, by whoever wrote them.
    taken: HashSet<String>,
    given: HashMap<(Identifier, String), String>,
    counts: HashMap<Identifier, usize>,
    values: BTreeMap<String, String>,
}

impl Naming {
    fn beside(body: &[u8]) -> Self {
        let mut taken = HashSet::new();
        texts::each::<()>(body, |text| {
            taken.extend(placeholders(text.said.as_bytes()).filter_map(|at| text.said.get(at).map(str::to_owned)));
            ControlFlow::Continue(())
        });
        Self {
            taken,
            given: HashMap::new(),
            counts: HashMap::new(),
            values: BTreeMap::new(),
        }
    }

    fn replaced(&mut self, text: &str, kinds: Kinds) -> Result<String, Tangled> {
        let mut text = text.to_owned();
        for _ in 0..ROUNDS {
            let found = identifiers::find(&text, kinds);
            if found.is_empty() {
                return Ok(text);
            }
            let mut replaced = String::with_capacity(text.len());
            let mut from = 0;
            for identifiers::Found { kind, at } in found {
                replaced.push_str(&text[from..at.start]);
                replaced.push_str(self.placeholder(kind, &text[at.clone()]));
                from = at.end;
            }
            replaced.push_str(&text[from..]);
            text = replaced;
        }
        Err(Tangled)
    }

    fn placeholder(&mut self, kind: Identifier, value: &str) -> &str {
        let Self {
            taken,
            given,
            counts,
            values,
        } = self;
        given.entry((kind, value.to_owned())).or_insert_with(|| {
            let count = counts.entry(kind).or_default();
            let free = loop {
                *count += 1;
                let name = format!("[{}_{count}]", kind.word());
                if !taken.contains(&name) {
                    break name;
                }
            };
            values.insert(free.clone(), value.to_owned());
            free
        })
    }
}

/// Where a text has what may be placeholders: `[`, a word, `_`, a number, `]`.
fn placeholders(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let opened = text.iter().enumerate().filter(|(_, byte)| **byte == b'[').map(|(at, _)| at);
    opened.filter_map(|at| {
        let length = text[at + 1..]
            .iter()
            .take(LONGEST)
            .position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_'))?;
        let end = at + 1 + length;
        (text[end] == b']').then_some(at..end + 1)
    })
}

/// No placeholder is longer.
const LONGEST: usize = 32;

impl Placeholders {
    /// How many identifiers were replaced, each counted once.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// An answer with the identifiers instead of their placeholders; nothing of it is copied where it has none.
    ///
    /// It may be JSON, however deep placeholders are in strings within strings: neither they nor the identifiers have anything to escape.
    #[must_use]
    pub fn restore(&self, answer: Bytes) -> Bytes {
        let mut restored: Option<Vec<u8>> = None;
        let mut from = 0;
        for (at, value) in self.within(&answer) {
            let restored = restored.get_or_insert_with(|| Vec::with_capacity(answer.len() + value.len()));
            restored.extend_from_slice(&answer[from..at.start]);
            restored.extend_from_slice(value.as_bytes());
            from = at.end;
        }
        match restored {
            Some(mut restored) => {
                restored.extend_from_slice(&answer[from..]);
                restored.into()
            }
            None => answer,
        }
    }

    /// The same of a text.
    #[must_use]
    pub fn restore_text(&self, text: &str) -> String {
        let mut restored = String::with_capacity(text.len());
        let mut from = 0;
        for (at, value) in self.within(text.as_bytes()) {
            restored.push_str(&text[from..at.start]);
            restored.push_str(value);
            from = at.end;
        }
        restored.push_str(&text[from..]);
        restored
    }

    fn within<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = (Range<usize>, &'a str)> {
        placeholders(text).filter_map(|at| {
            let name = std::str::from_utf8(&text[at.clone()]).ok()?;
            Some((at, self.values.get(name)?.as_str()))
        })
    }
}
