//! How a conversation began: what its next requests have in common with this one.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Asked;

/// So much of each part of the beginning counts.
const COUNTED: usize = 8 << 10;

#[derive(Deserialize)]
struct Opening<'a> {
    #[serde(borrow)]
    system: Option<&'a RawValue>,
    #[serde(borrow)]
    instructions: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
}

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
const USER: &str = "\"user\"";

impl Asked {
    /// A digest of the instructions and all up to the first words of the user: every turn of a conversation has the same. `None` where there
    /// are none. The same bytes give the same digest in every replica of the same build.
    #[must_use]
    pub fn beginning(&self) -> Option<u64> {
        let opening: Opening<'_> = serde_json::from_slice(&self.body).ok()?;
        let mut hash = Counted::default();
        for part in [opening.system, opening.instructions].into_iter().flatten() {
            hash.add(part.get());
        }
        match (opening.messages, opening.input) {
            (Some(messages), _) => hash.add_until_the_user(&messages),
            (None, Some(input)) if input.get().starts_with('"') => hash.add_first_words(input),
            (None, Some(input)) => match serde_json::from_str::<Vec<&RawValue>>(input.get()) {
                Ok(items) => hash.add_until_the_user(&items),
                // The next turn has the same text as the first message of a list.
                Err(_) => hash.add_first_words(input),
            },
            (None, None) => hash.add(opening.prompt?.get()),
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
    fn add(&mut self, text: &str) {
        self.add_bytes(&text.as_bytes()[..text.len().min(COUNTED)]);
    }

    fn add_bytes(&mut self, bytes: &[u8]) {
        bytes.hash(&mut self.hasher);
        self.is_any |= !bytes.is_empty();
    }

    /// What the user says first is what tells conversations apart, be it below a long document: its end counts as well.
    fn add_first_words(&mut self, content: &RawValue) {
        self.add(USER);
        let text = alone(content).get().as_bytes();
        match text.len().checked_sub(2 * COUNTED) {
            Some(between) => {
                self.add_bytes(&text[..COUNTED]);
                self.add_bytes(&text[COUNTED + between..]);
            }
            None => self.add_bytes(text),
        }
    }

    /// What comes before the user's first words counts together, up to the bound.
    fn add_until_the_user(&mut self, messages: &[&RawValue]) {
        let mut left = COUNTED;
        for message in messages {
            let (role, content) = match serde_json::from_str(message.get()) {
                Ok(Message {
                    role: Some(role),
                    content: Some(content),
                }) => (role.get(), content),
                _ => ("", *message),
            };
            if role == USER {
                self.add_first_words(content);
                return;
            }
            for part in [role, alone(content).get()] {
                let counted = &part.as_bytes()[..part.len().min(left)];
                if !counted.is_empty() {
                    self.add_bytes(counted);
                }
                left -= counted.len();
            }
        }
    }

    fn finish(&self) -> Option<u64> {
        self.is_any.then(|| self.hasher.finish())
    }
}

/// A text alone, and a list of this text alone, are the same.
fn alone(content: &RawValue) -> &RawValue {
    // Most are no list, and to find that out by an error is dear.
    if !content.get().starts_with('[') {
        return content;
    }
    match serde_json::from_str::<[Text<'_>; 1]>(content.get()) {
        Ok([Text { text }]) => text,
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
    fn without_a_user_every_turn_of_a_long_conversation_stays_where_it_began() {
        let first = format!(r#"{{"role":"system","content":"{}"}}"#, "x".repeat(COUNTED));
        let turn = |more: &str| beginning(Operation::ChatCompletions, &format!(r#""messages":[{first}{more}]"#));
        assert_eq!(turn(""), turn(r#",{"role":"assistant","content":"A"}"#));
    }
}
