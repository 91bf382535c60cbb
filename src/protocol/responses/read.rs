//! What the readers of a request share: values of a type, fields that nobody knows, and what is left out, noted once for each kind.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::protocol::chat::{Lost, Unfit, Unreadable, Unsupported};

/// Of a name or type that the client made up, so many characters are told.
const TOLD: usize = 64;

/// Reads the value at `at`, which must be `what` for a person. The problem's words hold nothing of the value but names of fields.
pub(super) fn value<'a, T: Deserialize<'a>>(raw: &'a RawValue, at: &str, what: &str) -> Result<T, Unreadable> {
    serde_json::from_str(raw.get()).map_err(|e| {
        let said = e.to_string();
        let about_a_field = ["missing field", "duplicate field"].iter().any(|start| said.starts_with(start));
        let said = said.split(" at line ").next().unwrap_or_default();
        let message = if about_a_field {
            format!("{at} must be {what}: {said}")
        } else {
            format!("{at} must be {what}")
        };
        Unreadable::new(Some(at), message)
    })
}

/// Reads a value that may be absent or null.
pub(super) fn option<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>, at: &str, what: &str) -> Result<Option<T>, Unreadable> {
    raw.map(|raw| value(raw, at, what)).transpose()
}

/// Whether the value is a string. What stands around a raw value is cut off already.
pub(super) fn is_string(raw: &RawValue) -> bool {
    raw.get().starts_with('"')
}

/// A name that the client made up, short enough and printable.
pub(super) fn told(name: &str) -> String {
    name.chars().flat_map(char::escape_default).take(TOLD).collect()
}

/// A refusal of `at` because it, or its value, is not known here.
pub(super) fn refused(at: impl Into<String>, problem: impl Into<String>) -> Unfit {
    Unfit::Unsupported(Unsupported::new(at, problem))
}

/// The first field of an object that its reader does not know, if it has another value than null. OpenAI refuses such a request, and so does
/// the translation: what the field changes cannot be known.
#[derive(Debug, Default)]
pub(super) struct Unknown(Option<String>);

impl Unknown {
    /// Refuses what is not known of the object at `at`; empty for the request itself.
    pub(super) fn refuse(&self, at: &str) -> Result<(), Unfit> {
        let Some(name) = &self.0 else { return Ok(()) };
        let dot = if at.is_empty() { "" } else { "." };
        Err(refused(
            format!("{at}{dot}{}", told(name)),
            "is not known to this gateway, so it cannot be put to a model that does not speak this protocol itself",
        ))
    }
}

impl<'de> Deserialize<'de> for Unknown {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Unknown;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("fields")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Unknown, M::Error> {
                let mut first = None;
                while let Some((name, value)) = map.next_entry::<String, Option<IgnoredAny>>()? {
                    if value.is_some() {
                        first.get_or_insert(name);
                    }
                }
                Ok(Unknown(first))
            }
        }
        from.deserialize_map(Names)
    }
}

/// What is left out. Of each kind of field only the first place is named, so that a long conversation does not make a long list.
#[derive(Debug, Default)]
pub(super) struct Losses {
    lost: Lost,
    noted: Vec<&'static str>,
}

impl Losses {
    /// Notes that `field` of the object at `at` is left out; `at` is empty for the request itself.
    pub(super) fn note(&mut self, at: &str, field: &'static str) {
        if self.noted.contains(&field) {
            return;
        }
        self.noted.push(field);
        let dot = if at.is_empty() { "" } else { "." };
        self.lost.note(format!("{at}{dot}{field}"));
    }

    /// Notes it if it was given.
    pub(super) fn note_if(&mut self, is_given: bool, at: &str, field: &'static str) {
        if is_given {
            self.note(at, field);
        }
    }

    pub(super) fn into_lost(self) -> Lost {
        self.lost
    }
}
