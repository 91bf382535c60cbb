//! A walk over JSON that comes in pieces and is too large to be held: it keeps a few fields of one object, wherever they stand, and nothing
//! else. A field is one by its place and never by its looks: what a text says is not mistaken for it.

use super::scan::quote_or_escape;

/// The longest value that is kept.
const VALUE_LIMIT: usize = 64 << 10;
/// No name that is looked for is longer.
const NAME_LIMIT: usize = 32;

/// What is kept of a document.
#[derive(Debug)]
pub(super) struct Sieve {
    /// The field that has the object which is looked at; `None`: it is the outermost.
    within: Option<&'static str>,
    /// The fields that are kept of it.
    names: &'static [&'static str],
    /// How many objects and lists are open.
    depth: usize,
    /// How deep the fields are that are looked at.
    level: usize,
    text: Text,
    place: Place,
    name: Vec<u8>,
    keeping: Option<(usize, Vec<u8>)>,
    kept: Vec<(usize, Vec<u8>)>,
}

/// Where in a string it is, if in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Outside,
    Inside,
    /// After a backslash.
    Escaped,
}

/// Where in the object it is, at its own level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before a name.
    Before,
    Name,
    Value,
    /// In the value that has the object which is looked at.
    Within,
}

impl Sieve {
    pub(super) fn new(within: Option<&'static str>, names: &'static [&'static str]) -> Self {
        Self {
            within,
            names,
            depth: 0,
            level: 1,
            text: Text::Outside,
            place: Place::Value,
            name: Vec::new(),
            keeping: None,
            kept: Vec::new(),
        }
    }

    /// Takes the next piece.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        let mut at = 0;
        while at < piece.len() {
            let start = at;
            at = match self.text {
                Text::Outside if self.depth > self.level && self.keeping.is_none() => self.hurry(piece, at),
                Text::Outside => {
                    self.step(piece[at]);
                    at + 1
                }
                Text::Inside => {
                    let found = quote_or_escape(piece, at);
                    self.text = match found.map(|at| piece[at]) {
                        Some(b'"') => Text::Outside,
                        Some(_) => Text::Escaped,
                        None => Text::Inside,
                    };
                    found.map_or(piece.len(), |at| at + 1)
                }
                Text::Escaped => {
                    self.text = Text::Inside;
                    at + 1
                }
            };
            self.keep(&piece[start..at]);
        }
    }

    /// What was kept, as an object.
    pub(super) fn kept(&self) -> Vec<u8> {
        let mut json = vec![b'{'];
        for (field, value) in &self.kept {
            if json.len() > 1 {
                json.push(b',');
            }
            json.extend_from_slice(format!("\"{}\"", self.names[*field]).as_bytes());
            // From the colon on.
            json.extend_from_slice(value);
        }
        json.push(b'}');
        json
    }

    /// Passes over what is deeper than any field that is looked at; returns the place after it.
    fn hurry(&mut self, piece: &[u8], at: usize) -> usize {
        let next = piece[at..].iter().position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'));
        let Some(next) = next else { return piece.len() };
        self.step(piece[at + next]);
        at + next + 1
    }

    /// Takes a byte outside of any string.
    fn step(&mut self, byte: u8) {
        let is_level = self.depth == self.level;
        match byte {
            b'"' => {
                self.text = Text::Inside;
                if is_level && self.place == Place::Before {
                    self.place = Place::Name;
                    self.name.clear();
                }
            }
            b'{' | b'[' => {
                if byte == b'{' && is_level && self.place == Place::Within {
                    self.level += 1;
                }
                self.depth += 1;
                if byte == b'{' && self.depth == self.level {
                    self.place = Place::Before;
                }
            }
            b'}' | b']' => {
                if is_level {
                    self.finish();
                    self.place = Place::Value;
                    self.level = self.level.saturating_sub(1).max(1);
                }
                self.depth = self.depth.saturating_sub(1);
            }
            b',' if is_level => {
                self.finish();
                self.place = Place::Before;
            }
            b':' if is_level && self.place == Place::Name => self.begin(),
            _ => {}
        }
    }

    /// A value begins, of the field whose name has been read.
    fn begin(&mut self) {
        let name = self.name.trim_ascii();
        let name = name
            .strip_prefix(b"\"")
            .and_then(|rest| rest.strip_suffix(b"\""))
            .unwrap_or_default();
        let is_outer = self.within.is_some() && self.level == 1;
        self.place = Place::Value;
        if is_outer {
            if self.within.is_some_and(|within| within.as_bytes() == name) {
                self.place = Place::Within;
            }
        } else if let Some(field) = self.names.iter().position(|wanted| wanted.as_bytes() == name) {
            self.keeping = Some((field, Vec::new()));
        }
    }

    /// A value is over. Of a field that comes twice the last counts.
    fn finish(&mut self) {
        if let Some((field, value)) = self.keeping.take() {
            self.kept.retain(|(earlier, _)| *earlier != field);
            self.kept.push((field, value));
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        match &mut self.keeping {
            Some((_, value)) if value.len() + bytes.len() > VALUE_LIMIT => self.keeping = None,
            Some((_, value)) => value.extend_from_slice(bytes),
            None if self.place == Place::Name => {
                let room = NAME_LIMIT - self.name.len();
                self.name.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const NAMES: &[&str] = &["usage", "tier"];

    fn sieved(within: Option<&'static str>, pieces: &[&[u8]]) -> String {
        let mut sieve = Sieve::new(within, NAMES);
        pieces.iter().for_each(|piece| sieve.feed(piece));
        String::from_utf8(sieve.kept()).unwrap()
    }

    fn of(json: &str) -> String {
        sieved(None, &[json.as_bytes()])
    }

    #[test]
    fn a_field_is_kept_wherever_it_stands_and_the_last_of_two() {
        for json in [
            r#"{"usage":{"a":[1,{"b":"}"}]},"data":[[0.5,1]]}"#,
            r#"{"data":[[0.5,1],"x\\"],"usage":{"a":[1,{"b":"}"}]}}"#,
            r#"{"usage":7,"data":{"usage":8},"usage":{"a":[1,{"b":"}"}]}}"#,
        ] {
            assert_eq!(of(json), r#"{"usage":{"a":[1,{"b":"}"}]}}"#, "{json}");
        }
        assert_eq!(of(r#" { "tier" : "x" , "usage" : null } "#), r#"{"tier": "x" ,"usage": null }"#);
        let inner = r#"{"type":"done","usage":1,"response":{"output":[{"usage":2}],"usage":{"a":3}},"tier":4}"#;
        assert_eq!(sieved(Some("response"), &[inner.as_bytes()]), r#"{"usage":{"a":3}}"#);
        let event = format!("event: done\ndata: {inner}\n");
        assert_eq!(sieved(Some("response"), &[event.as_bytes()]), r#"{"usage":{"a":3}}"#);
    }

    #[test]
    fn what_a_text_says_is_no_field() {
        for json in [
            r#"{"text":"\"usage\":{\"a\":1}"}"#,
            r#"{"text":",\"usage\":{\"a\":1},"}"#,
            r#"{"text":"\\\",\"usage\":1}"}"#,
            r#"{"choices":[{"usage":1}]}"#,
            r#"["usage",{"usage":1}]"#,
            r#"{"a":"usage","b":1}"#,
            r#"{"xusage":1,"usag":2,"usage ":3}"#,
        ] {
            assert_eq!(of(json), "{}", "{json}");
        }
        let long = format!(r#"{{"{}usage":1}}"#, "x".repeat(100));
        assert_eq!(sieved(None, &[&long.as_bytes()[..102], &long.as_bytes()[102..]]), "{}");
    }

    #[test]
    fn a_value_that_outgrows_its_limit_is_not_kept() {
        let json = format!(r#"{{"usage":"{}","tier":1}}"#, "x".repeat(VALUE_LIMIT));
        assert_eq!(of(&json), r#"{"tier":1}"#);
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop::sample::select(vec![
            json!(null),
            json!(1.5),
            json!("a\"b\\"),
            json!("\"usage\":{\"a\":1},"),
            json!("usage"),
            json!(",\"tier\":"),
        ]);
        leaf.prop_recursive(4, 40, 5, |inner| {
            let names = prop::sample::select(vec!["usage", "tier", "data", "response", "}\"", "{", "\\"]);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(names, inner, 0..4).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_keeps_what_a_full_reading_finds_wherever_the_pieces_are_cut(
            document in documents(),
            is_within: bool,
            is_pretty: bool,
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let bytes = if is_pretty { serde_json::to_vec_pretty(&document) } else { serde_json::to_vec(&document) }.unwrap();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            let kept: Value = serde_json::from_str(&sieved(is_within.then_some("response"), &pieces)).unwrap();
            let object = if is_within { &document["response"] } else { &document };
            let mut expected = json!({});
            for name in NAMES {
                if let Some(value) = object.get(name) {
                    expected[name] = value.clone();
                }
            }
            prop_assert_eq!(kept, expected);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), text in "[{}\\[\\]\":,\\\\ua ]{0,60}") {
            sieved(None, &[&bytes, text.as_bytes(), &bytes]);
            sieved(Some("a"), &[text.as_bytes(), &bytes]);
        }
    }
}
