//! Where the body of a request has the fields that something here depends on. The body is walked over once, before anything else is known of the
//! request; whoever asks about a field later looks at that field alone.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::longest::{Longest, Said};

/// A field right within the body, of any protocol of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
pub(super) enum Field {
    Background,
    Container,
    Conversation,
    InferenceGeo,
    Input,
    Instructions,
    McpServers,
    Messages,
    Model,
    PreviousResponseId,
    Prompt,
    ServiceTier,
    Speed,
    Store,
    Stream,
    StreamOptions,
    System,
    Tools,
    WebSearchOptions,
    /// How long an answer may become.
    #[serde(alias = "max_completion_tokens", alias = "max_output_tokens")]
    MaxTokens,
    /// How many answers there are, or that the best is chosen from.
    #[serde(alias = "best_of")]
    N,
    /// Nothing here depends on it.
    #[serde(other)]
    Other,
}

impl Field {
    /// The name of one that says how the request is passed on or what is paid for it, so that it must not say two things.
    fn must_be_once(self) -> Option<&'static str> {
        match self {
            Self::Background => Some("background"),
            Self::InferenceGeo => Some("inference_geo"),
            Self::Model => Some("model"),
            Self::Prompt => Some("prompt"),
            Self::ServiceTier => Some("service_tier"),
            Self::Speed => Some("speed"),
            Self::Stream => Some("stream"),
            Self::StreamOptions => Some("stream_options"),
            Self::Tools => Some("tools"),
            Self::WebSearchOptions => Some("web_search_options"),
            Self::Container
            | Self::Conversation
            | Self::Input
            | Self::Instructions
            | Self::McpServers
            | Self::Messages
            | Self::PreviousResponseId
            | Self::Store
            | Self::System
            | Self::MaxTokens
            | Self::N
            | Self::Other => None,
        }
    }
}

/// A body, field by field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    fields: Vec<(Field, Place)>,
    said: Said,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    At(Range<usize>),
    Twice,
}

/// The body has the field twice: which of them counts nobody knows here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Twice;

impl Outline {
    /// Of a body, all of which must be one JSON object.
    ///
    /// # Errors
    /// When it is none, or has a field twice that it must not.
    pub(super) fn of(body: &str) -> Result<Self, serde_json::Error> {
        let mut from = serde_json::Deserializer::from_str(body);
        let outline = from.deserialize_map(Read(body))?;
        from.end()?;
        Ok(outline)
    }

    /// Where the body has the value of a field, be it null.
    pub(super) fn place(&self, field: Field) -> Result<Option<Range<usize>>, Twice> {
        match self.fields.iter().find(|(other, _)| *other == field) {
            None => Ok(None),
            Some((_, Place::At(range))) => Ok(Some(range.clone())),
            Some((_, Place::Twice)) => Err(Twice),
        }
    }

    /// The value of a field of `body`, which this was made of. One that is null counts as not given.
    pub(super) fn value<'a>(&self, body: &'a [u8], field: Field) -> Result<Option<&'a [u8]>, Twice> {
        let value = self.place(field)?.map(|range| &body[range]);
        Ok(value.filter(|value| *value != b"null"))
    }

    /// How much it lets a model answer.
    pub(super) fn longest(&self) -> Longest {
        self.said.longest()
    }

    fn note(&mut self, field: Field, value: &str, range: Range<usize>) {
        self.said.note(field, value);
        match self.fields.iter_mut().find(|(other, _)| *other == field) {
            None => self.fields.push((field, Place::At(range))),
            Some((_, place)) => *place = Place::Twice,
        }
    }
}

/// Where `body` has `raw`, which is a part of it: so the distance of their addresses is its place.
pub(super) fn place(body: &str, raw: &RawValue) -> Range<usize> {
    let start = raw.get().as_ptr().addr() - body.as_ptr().addr();
    start..start + raw.get().len()
}

struct Read<'a>(&'a str);

impl<'de> Visitor<'de> for Read<'de> {
    type Value = Outline;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Outline, M::Error> {
        let mut outline = Outline::default();
        while let Some(field) = map.next_key::<Field>()? {
            if field == Field::Other {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if let Some(name) = field.must_be_once().filter(|_| outline.place(field) != Ok(None)) {
                return Err(M::Error::duplicate_field(name));
            }
            let value: &RawValue = map.next_value()?;
            outline.note(field, value.get(), place(self.0, value));
        }
        Ok(outline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(body: &'static str, field: Field) -> Result<Option<&'static str>, Twice> {
        let value = Outline::of(body).unwrap().value(body.as_bytes(), field)?;
        Ok(value.map(|value| std::str::from_utf8(value).unwrap()))
    }

    #[test]
    fn a_field_is_found_by_what_its_name_means_and_only_right_within_the_body() {
        for (body, found) in [
            (r#"{"system": "S" }"#, Ok(Some("\"S\""))),
            (r#" {"a":1,"syst\u0065m":[ 1 ]}"#, Ok(Some("[ 1 ]"))),
            (r#"{"system":null}"#, Ok(None)),
            (r#"{"messages":[{"system":"S"}],"metadata":{"system":"S"}}"#, Ok(None)),
            (r#"{"text":"\"system\":1","System":1,"system ":1}"#, Ok(None)),
            (r#"{"system":"S","system":null}"#, Err(Twice)),
            (r#"{"system":1,"system":2,"system":3}"#, Err(Twice)),
        ] {
            assert_eq!(value(body, Field::System), found, "{body}");
        }
    }

    #[test]
    fn a_field_that_is_given_again_and_again_takes_no_room() {
        let body = format!("{{{}\"n\":1}}", "\"input\":1,\"n\":2,".repeat(1000));
        assert_eq!(Outline::of(&body).unwrap().fields.len(), 2);
    }

    #[test]
    fn what_is_no_object_has_no_outline() {
        for body in ["", "[]", "{} {}", "{\"a\":", "{\"\\ud800\":1}", "null"] {
            assert!(Outline::of(body).is_err(), "{body}");
        }
        let twice = Outline::of(r#"{"tools":[],"tools":[]"#).unwrap_err().to_string();
        assert!(twice.starts_with("duplicate field `tools`"), "{twice}");
    }
}
