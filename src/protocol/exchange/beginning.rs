//! How a conversation began: what its next requests have in common with this one.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Asked;
use crate::protocol::outline::Field;
use crate::protocol::scan::Scan;

/// So much of each part of the beginning counts.
const COUNTED: usize = 8 << 10;

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Text<'a> {
    #[serde(borrow)]
    text: &'a RawValue,
}

/// The role of a first message that is only text.
const USER: &[u8] = b"\"user\"";

impl Asked {
    /// A digest of the instructions and all up to the first words of the user: every turn of a conversation has the same. `None` where there
    /// are none. The same bytes give the same digest in every replica of the same build.
    #[must_use]
    pub fn beginning(&self) -> Option<u64> {
        // What is given twice begins in two ways.
        let given = |field| self.given(field).ok();
        let instructions = [given(Field::System)?, given(Field::Instructions)?];
        let (messages, input, prompt) = (given(Field::Messages)?, given(Field::Input)?, given(Field::Prompt)?);
        let mut hash = Counted::default();
        instructions.into_iter().flatten().for_each(|part| hash.add(part));
        match (messages, input) {
            (Some(messages), _) if !messages.starts_with(b"[") => return None,
            (Some(list), _) => hash.add_until_the_user(list),
            (None, Some(list)) if list.starts_with(b"[") => hash.add_until_the_user(list),
            // The next turn has the same text as the first message of a list.
            (None, Some(text)) => hash.add_first_words(text),
            (None, None) => hash.add(prompt?),
        }
        hash.finish()
    }
}

/// Each part counts up to its own bound: long instructions, which many conversations share, must not hide what each begins with.
#[derive(Default)]
struct Counted {
    hasher: DefaultHasher,
    is_any: bool,
}

impl Counted {
    fn add(&mut self, text: &[u8]) {
        self.add_bytes(&text[..text.len().min(COUNTED)]);
    }

    fn add_bytes(&mut self, bytes: &[u8]) {
        bytes.hash(&mut self.hasher);
        self.is_any |= !bytes.is_empty();
    }

    /// What the user says first is what tells conversations apart, be it below a long document: its end counts as well.
    fn add_first_words(&mut self, content: &[u8]) {
        self.add(USER);
        let text = alone(content);
        match text.len().checked_sub(2 * COUNTED) {
            Some(between) => {
                self.add_bytes(&text[..COUNTED]);
                self.add_bytes(&text[COUNTED + between..]);
            }
            None => self.add_bytes(text),
        }
    }

    /// What comes before the user's first words counts together, up to the bound. What comes after them is not looked at.
    fn add_until_the_user(&mut self, list: &[u8]) {
        let mut left = COUNTED;
        Scan::new(list).list(|scan| {
            let message = scan.raw()?;
            let (role, content) = match serde_json::from_slice(message) {
                Ok(Message {
                    role: Some(role),
                    content: Some(content),
                }) => (role.get().as_bytes(), content.get().as_bytes()),
                _ => (&b""[..], message),
            };
            if role == USER {
                self.add_first_words(content);
                return None;
            }
            for part in [role, alone(content)] {
                let counted = &part[..part.len().min(left)];
                if !counted.is_empty() {
                    self.add_bytes(counted);
                }
                left -= counted.len();
            }
            Some(())
        });
    }

    fn finish(&self) -> Option<u64> {
        self.is_any.then(|| self.hasher.finish())
    }
}

/// A text alone, and a list of this text alone, are the same.
fn alone(content: &[u8]) -> &[u8] {
    // Most are no list, and to find that out by an error is dear.
    if !content.starts_with(b"[") {
        return content;
    }
    match serde_json::from_slice::<[Text<'_>; 1]>(content) {
        Ok([Text { text }]) => text.get().as_bytes(),
        Err(_) => content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Operation;

    fn beginning(operation: Operation, fields: &str) -> u64 {
        let body = format!(r#"{{"model":"m","max_tokens":1,{fields}}}"#);
        Asked::read(operation, body.into()).unwrap().beginning().unwrap()
    }

    #[test]
    fn every_turn_of_a_conversation_has_the_same_and_another_conversation_has_not() {
        use Operation::{ChatCompletions, Messages, Responses};
        let turns = [
            (
                ChatCompletions,
                r#""messages":[{"role":"system","content":"S"},{"role":"user","content":"Q"}]"#,
                r#""messages":[{"role":"system","content":"S"},{"role":"user","content":"Q"},{"role":"assistant","content":"A"},{"role":"user","content":"R"}]"#,
                r#""messages":[{"role":"system","content":"S"},{"role":"user","content":"R"}]"#,
            ),
            (
                Messages,
                r#""system":"S","messages":[{"role":"user","content":"Q"}]"#,
                r#""system":"S","messages":[{"role":"user","content":[{"type":"text","text":"Q"}]},{"role":"assistant","content":"A"}]"#,
                r#""system":"T","messages":[{"role":"user","content":"Q"}]"#,
            ),
            (
                Responses,
                r#""instructions":"S","input":"Q""#,
                r#""instructions":"S","input":[{"role":"user","content":[{"type":"input_text","text":"Q"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}]"#,
                r#""instructions":"S","input":"R""#,
            ),
        ];
        for (operation, first, second, other) in turns {
            let of = |fields| beginning(operation, fields);
            assert_eq!(of(first), of(second), "{operation:?}");
            assert_ne!(of(first), of(other), "{operation:?}");
        }
    }

    #[test]
    fn conversations_with_the_same_long_instructions_are_told_apart_by_what_the_user_says_first() {
        use Operation::{ChatCompletions, Completions, Messages, Responses};
        let long = "Be kind. ".repeat(4000);
        for (operation, fields) in [
            (
                ChatCompletions,
                r#""messages":[{"role":"system","content":"LONG"},{"role":"developer","content":"LONG"},{"role":"user","content":"WORDS"}]"#,
            ),
            (ChatCompletions, r#""messages":[{"role":"user","content":"LONG WORDS"}]"#),
            (ChatCompletions, r#""messages":[{"role":"user","content":"WORDS LONG"}]"#),
            (Messages, r#""system":"LONG","messages":[{"role":"user","content":"WORDS"}]"#),
            (
                Messages,
                r#""system":"LONG","messages":[{"role":"user","content":[{"type":"text","text":"LONG WORDS"}]}]"#,
            ),
            (Responses, r#""instructions":"LONG","input":"WORDS""#),
            (Responses, r#""instructions":"LONG","input":[{"role":"user","content":"WORDS"}]"#),
            (Completions, r#""prompt":"WORDS LONG""#),
        ] {
            let of = |words: &str| beginning(operation, &fields.replace("LONG", &long).replace("WORDS", words));
            assert_eq!(of("One"), of("One"), "{operation:?} {fields}");
            assert_ne!(of("One"), of("Two"), "{operation:?} {fields}");
        }
    }

    #[test]
    fn what_begins_in_no_way_or_in_two_has_no_beginning() {
        let of = |fields: &str| {
            let body = format!(r#"{{"model":"m",{fields}}}"#);
            Asked::read(Operation::ChatCompletions, body.into()).unwrap().beginning()
        };
        for none in [
            r#""max_tokens":1"#,
            r#""messages":[],"input":"Q""#,
            r#""messages":{"role":"user","content":"Q"}"#,
            r#""messages":"Q","input":"Q""#,
            r#""messages":[{"role":"user","content":"Q"}],"messages":[]"#,
            r#""messages":[{"role":"user","content":"Q"}],"input":"Q","input":"Q""#,
            r#""system":null,"messages":null,"prompt":null"#,
            r#""metadata":{"messages":[{"role":"user","content":"Q"}]}"#,
        ] {
            assert_eq!(of(none), None, "{none}");
        }
        let plain = of(r#""messages":[{"role":"user","content":"Q"}]"#);
        assert!(plain.is_some());
        for same in [
            r#""input":"Q","system":null,"messages":null"#,
            r#""mess\u0061ges" : [ {"content":"Q","role":"user"} , 7 , "]" ]"#,
            r#""input":[{"role":"user","content":[{"text":"Q"}]}],"prompt":"P""#,
        ] {
            assert_eq!(of(same), plain, "{same}");
        }
    }

    #[test]
    fn without_a_user_every_turn_of_a_long_conversation_stays_where_it_began() {
        let first = format!(r#"{{"role":"system","content":"{}"}}"#, "x".repeat(COUNTED));
        let turn = |more: &str| beginning(Operation::ChatCompletions, &format!(r#""messages":[{first}{more}]"#));
        assert_eq!(turn(""), turn(r#",{"role":"assistant","content":"A"}"#));
    }
}
