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
struct Role<'a> {
    #[serde(borrow)]
    role: Option<&'a RawValue>,
}

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
                Err(_) => hash.add(input.get()),
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

    fn add_until_the_user(&mut self, messages: &[&RawValue]) {
        for message in messages {
            self.add(message.get());
            let role = serde_json::from_str::<Role<'_>>(message.get())
                .ok()
                .and_then(|message| message.role);
            if role.is_some_and(|role| role.get() == "\"user\"") || self.bytes >= COUNTED {
                break;
            }
        }
    }

    fn finish(&self) -> Option<u64> {
        (self.bytes > 0).then(|| self.hasher.finish())
    }
}
