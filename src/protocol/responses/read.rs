//! What the readers of a request share: values of a type, fields that nobody knows, and what is left out, noted once for each kind.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::protocol::chat::{Lost, Unfit, Unreadable, Unsupported};
use crate::protocol::misread::{misread, shown};

/// Of a name or type that the client made up, so many characters are told.
const TOLD: usize = 64;
/// Kinds of losses that are kept apart: more than a request of known fields has, and than a list of losses names.
const NOTED: usize = 64;

/// Reads the value at `at`, which must be `what` for a person. The problem's words hold nothing of the value but names of fields, and numbers.
pub(super) fn value<'a, T: Deserialize<'a>>(raw: &'a RawValue, at: &str, what: &str) -> Result<T, Unreadable> {
    serde_json::from_str(raw.get()).map_err(|error| match misread(raw, at, &error) {
        within if within.field.as_deref() != Some(at) => within,
        _ => Unreadable::new(Some(at), format!("{at} must be {what}, is {}", shown(raw))),
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

/// So many unknown fields of one object are named: more than a list of what is left out has.
const UNKNOWN: usize = 33;

/// The fields of an object that its reader does not know, if they have another value than null. What is known to change the meaning of a
/// request is read and refused; what nobody knows is left out by name, so that a new field that does no harm breaks no client.
#[derive(Debug, Default)]
pub(super) struct Unknown(Vec<String>);

impl Unknown {
    /// Notes what is not known of the object at `at`; empty for the request itself.
    pub(super) fn note(&self, at: &str, losses: &mut Losses) {
        for name in &self.0 {
            losses.note(at, told(name));
        }
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
                let mut names = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Option<IgnoredAny>>()? {
                    if value.is_some() && names.len() < UNKNOWN {
                        names.push(name);
                    }
                }
                Ok(Unknown(names))
            }
        }
        from.deserialize_map(Names)
    }
}

/// What is left out. Of each kind of field only the first place is named, so that a long conversation does not make a long list.
#[derive(Debug, Default)]
pub(super) struct Losses {
    lost: Lost,
    noted: Vec<Cow<'static, str>>,
}

impl Losses {
    /// Notes that `field` of the object at `at` is left out; `at` is empty for the request itself.
    pub(super) fn note(&mut self, at: &str, field: impl Into<Cow<'static, str>>) {
        let field = field.into();
        // A list that is full says so once; clients must not make it longer by making up names.
        if self.noted.contains(&field) || self.noted.len() > NOTED {
            return;
        }
        let dot = if at.is_empty() { "" } else { "." };
        self.lost.note(format!("{at}{dot}{field}"));
        self.noted.push(field);
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
