//! The JSON object of a request, taken apart field by field: so that what is wrong is named by its place, and what nobody took is named too.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::chat::{Lost, Unreadable};
use super::misread::shown;

/// More fields than any protocol gives an object; bounds the work that an object of nothing but fields makes.
const MOST: usize = 128;
/// Of the name of a field that nobody knows, so many bytes are told.
const NAME_LIMIT: usize = 64;

/// An object whose fields are taken one after the other. A field that is null counts as not given.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    /// Where the object is in the request, such as `messages[1]`; empty for the request itself.
    path: String,
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Fields<'a> {
    /// The fields of a whole request.
    ///
    /// # Errors
    /// When the body is not one JSON object, or gives a field twice.
    pub(super) fn of_body(body: &'a [u8]) -> Result<Self, Unreadable> {
        let wrong = |problem: &dyn fmt::Display| Unreadable::new(None, format!("the body is not a request in JSON: {problem}"));
        let text = std::str::from_utf8(body).map_err(|e| wrong(&e))?;
        if !text.trim_ascii_start().starts_with('{') {
            return Err(wrong(&"it must be one object"));
        }
        let Read { fields, twice } = serde_json::from_str(text).map_err(|e| wrong(&e))?;
        Self::checked(String::new(), fields, twice)
    }

    /// The fields of the object at `path`.
    ///
    /// # Errors
    /// When it is none, or gives a field twice.
    pub(super) fn of_object(raw: &'a RawValue, path: String) -> Result<Self, Unreadable> {
        match serde_json::from_str(raw.get()) {
            Ok(Read { fields, twice }) => Self::checked(path, fields, twice),
            Err(_) => Err(Unreadable::new(Some(&path), format!("{path} must be an object, is {}", shown(raw)))),
        }
    }

    fn checked(path: String, fields: Vec<(Cow<'a, str>, &'a RawValue)>, twice: Option<String>) -> Result<Self, Unreadable> {
        let read = Self { path, fields };
        if let Some(name) = twice {
            let place = read.place(&printable(&name));
            return Err(Unreadable::new(Some(&place), format!("{place} is given twice")));
        }
        if read.fields.len() > MOST {
            let place = (!read.path.is_empty()).then_some(read.path.as_str());
            let object = place.unwrap_or("the request");
            return Err(Unreadable::new(place, format!("{object} has more than {MOST} fields")));
        }
        Ok(read)
    }

    /// The name of one of its fields, as it is told to the client.
    pub(super) fn place(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    /// Takes a field unread.
    pub(super) fn raw(&mut self, name: &str) -> Option<&'a RawValue> {
        let at = self.fields.iter().position(|(field, _)| field == name)?;
        let (_, raw) = self.fields.swap_remove(at);
        (raw.get() != "null").then_some(raw)
    }

    /// Takes a field of a type, which is `what` for a person, such as `a whole number`.
    ///
    /// # Errors
    /// When it is of another type.
    pub(super) fn take<T: Deserialize<'a>>(&mut self, name: &str, what: &str) -> Result<Option<T>, Unreadable> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        serde_json::from_str(raw.get())
            .map(Some)
            .map_err(|_| self.wrong(name, &format!("{what}, is {}", shown(raw))))
    }

    /// Takes a field that must be there.
    ///
    /// # Errors
    /// When it is not there, or of another type.
    pub(super) fn need<T: Deserialize<'a>>(&mut self, name: &str, what: &str) -> Result<T, Unreadable> {
        let missing = || {
            Unreadable::new(
                Some(&self.place(name)),
                format!("{} is required: it must be {what}", self.place(name)),
            )
        };
        let missing = missing();
        self.take(name, what)?.ok_or(missing)
    }

    /// Takes a text.
    ///
    /// # Errors
    /// When it is something else.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Unreadable> {
        self.take(name, "a string")
    }

    /// Takes an object.
    ///
    /// # Errors
    /// When it is something else.
    pub(super) fn object(&mut self, name: &str) -> Result<Option<Fields<'a>>, Unreadable> {
        let raw = self.raw(name);
        raw.map(|raw| Self::of_object(raw, self.place(name))).transpose()
    }

    /// Takes a list of objects, each of which then has its own place.
    ///
    /// # Errors
    /// When it is something else.
    pub(super) fn objects(&mut self, name: &str) -> Result<Option<Vec<Fields<'a>>>, Unreadable> {
        let Some(list) = self.take::<Vec<&RawValue>>(name, "a list")? else {
            return Ok(None);
        };
        let place = self.place(name);
        let each = list.into_iter().enumerate();
        let objects = each.map(|(index, raw)| Self::of_object(raw, format!("{place}[{index}]")));
        objects.collect::<Result<_, _>>().map(Some)
    }

    /// Says that a field must be `what`.
    pub(super) fn wrong(&self, name: &str, what: &str) -> Unreadable {
        let place = self.place(name);
        Unreadable::new(Some(&place), format!("{place} must be {what}"))
    }

    /// Notes that the fields that nobody took are left out.
    pub(super) fn rest(self, lost: &mut Lost) {
        for (name, _) in self.fields.iter().filter(|(_, raw)| raw.get() != "null") {
            lost.note(self.place(&printable(name)));
        }
    }
}

/// A name of the client's making, fit for a line of text.
fn printable(name: &str) -> String {
    name.escape_default().take(NAME_LIMIT).collect()
}

/// The fields of an object, and the name of one that is given twice.
struct Read<'a> {
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
    twice: Option<String>,
}

/// Borrows a name where it has no escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Read<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Object(PhantomData))
    }
}

struct Object<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for Object<'a> {
    type Value = Read<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Read<'a>, M::Error> {
        let (mut fields, mut twice) = (Vec::<(Cow<'a, str>, &'a RawValue)>::new(), None);
        while let Some((Name(name), raw)) = map.next_entry::<Name<'a>, &'a RawValue>()? {
            if fields.len() > MOST {
                continue;
            }
            if fields.iter().any(|(field, _)| *field == name) {
                twice.get_or_insert(name.into_owned());
            } else {
                fields.push((name, raw));
            }
        }
        Ok(Read { fields, twice })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_wrong_is_named_by_its_place() {
        let mut body = Fields::of_body(br#"{"a":[{"b":"x"}],"c":null}"#).unwrap();
        assert_eq!(body.text("c").unwrap(), None);
        let mut inner = body.objects("a").unwrap().unwrap().remove(0);
        let wrong = inner.take::<u64>("b", "a whole number").unwrap_err();
        assert_eq!(
            (wrong.field.as_deref(), wrong.message.as_str()),
            (Some("a[0].b"), "a[0].b must be a whole number, is a string")
        );
        for (body, field) in [
            ("", None),
            ("[]", None),
            ("{} {}", None),
            (r#"{"a":1,"\u0061":2}"#, Some("a")),
            (r#"{"a":"#, None),
        ] {
            assert_eq!(Fields::of_body(body.as_bytes()).unwrap_err().field.as_deref(), field, "{body}");
        }
        assert!(Fields::of_body(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn what_nobody_took_is_named() {
        let body = format!(r#"{{"a":1,"b":null,"c\n":2,"{}":3}}"#, "d".repeat(500));
        let mut fields = Fields::of_body(body.as_bytes()).unwrap();
        fields.raw("a");
        let mut lost = Lost::default();
        fields.rest(&mut lost);
        assert_eq!(lost.fields().len(), 2);
        assert!(lost.fields().contains(&"c\\n".to_owned()) && lost.fields().contains(&"d".repeat(NAME_LIMIT)));
    }

    #[test]
    fn an_object_of_nothing_but_fields_is_refused() {
        let fields: Vec<String> = (0..100_000).map(|i| format!("\"f{i}\":0")).collect();
        let error = Fields::of_body(format!("{{{}}}", fields.join(",")).as_bytes()).unwrap_err();
        assert_eq!(error.message, "the request has more than 128 fields");
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..100), text in "[{}\":,a\\\\0 ]{0,40}") {
            let _ = (Fields::of_body(&body).is_ok(), Fields::of_body(text.as_bytes()).is_ok());
        }
    }
}
