//! What the client calls the places of a conversation. In the common form instructions are messages too, and whoever writes it for a model
//! names places there; a client looks for them in what it sent.

use super::Asked;
use crate::protocol::chat::{Lost, Unsupported};
use crate::protocol::outline::Field;
use crate::protocol::wire::Operation;

/// The places of one client's request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    operation: Operation,
    /// Whether the first message of the common form is what the client gave beside its messages.
    has_instructions: bool,
}

impl Places {
    /// Of a request that was read.
    pub(super) fn of(asked: &Asked) -> Self {
        Self {
            operation: asked.operation,
            has_instructions: match asked.operation {
                Operation::Messages | Operation::CountTokens => matches!(asked.given(Field::System), Ok(Some(_))),
                Operation::Responses => matches!(asked.given(Field::Instructions), Ok(Some(text)) if text != b"\"\""),
                Operation::ChatCompletions | Operation::Completions | Operation::Embeddings => false,
            },
        }
    }

    /// What was lost, by the client's names.
    pub(super) fn lost(self, lost: &Lost) -> Lost {
        let mut named = Lost::default();
        lost.fields().iter().for_each(|field| named.note(self.name(field)));
        named
    }

    /// What cannot be done, by the client's names.
    pub(super) fn unsupported(self, unsupported: Unsupported) -> Unsupported {
        Unsupported {
            field: self.name(&unsupported.field),
            ..unsupported
        }
    }

    fn name(self, field: &str) -> String {
        let place = field.strip_prefix("messages[").and_then(|rest| rest.split_once(']'));
        let place = place.and_then(|(index, rest)| Some((index.parse::<usize>().ok()?, rest)));
        match (self.operation, place) {
            (Operation::Completions, Some(_)) => "prompt".to_owned(),
            (Operation::Responses, None) if field == "messages" => "input".to_owned(),
            (Operation::Responses, Some((0, _))) if self.has_instructions => "instructions".to_owned(),
            // Items that were said in a row are one message: which of them it is cannot be told from here.
            (Operation::Responses, Some(_)) => "input".to_owned(),
            (Operation::Messages | Operation::CountTokens, Some((0, rest))) if self.has_instructions => {
                format!("system{}", rest.strip_prefix(".content").unwrap_or_default())
            }
            (Operation::Messages | Operation::CountTokens, Some((index, rest))) => {
                format!("messages[{}]{rest}", index - usize::from(self.has_instructions))
            }
            _ => field.to_owned(),
        }
    }
}
