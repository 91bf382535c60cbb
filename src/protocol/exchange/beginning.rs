//! How a conversation began: what its next requests have in common with this one.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Asked;

/// So much of the beginning counts: what a prefix cache holds of it is longer, and two conversations that agree in so much share it.
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
            (None, Some(input)) => match serde_json::from_str::<Vec<&RawValue>>(input.get()) {
                Ok(items) => hash.add_until_the_user(&items),
                // The next turn has the same text as the first message of a list.
                Err(_) => hash.add_message(USER, input),
            },
            (None, None) => hash.add(opening.prompt?.get()),
        }
        hash.finish()
    }
}

#[derive(Default)]
struct Counted {
    hasher: DefaultHasher,
    bytes: usize,
}

impl Counted {
    fn add(&mut self, text: &str) {
        let text = &text.as_bytes()[..text.len().min(COUNTED - self.bytes)];
        text.hash(&mut self.hasher);
        self.bytes += text.len();
    }

    fn add_message(&mut self, role: &str, content: &RawValue) {
        self.add(role);
        // A text alone, and a list of this text alone, are the same.
        match serde_json::from_str::<[Text<'_>; 1]>(content.get()) {
            Ok([Text { text }]) => self.add(text.get()),
            Err(_) => self.add(content.get()),
        }
    }

    fn add_until_the_user(&mut self, messages: &[&RawValue]) {
        for message in messages {
            let role = match serde_json::from_str(message.get()) {
                Ok(Message {
                    role: Some(role),
                    content: Some(content),
                }) => {
                    self.add_message(role.get(), content);
                    role.get()
                }
                _ => {
                    self.add(message.get());
                    ""
                }
            };
            if role == USER || self.bytes >= COUNTED {
                break;
            }
        }
    }

    fn finish(&self) -> Option<u64> {
        (self.bytes > 0).then(|| self.hasher.finish())
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
}
