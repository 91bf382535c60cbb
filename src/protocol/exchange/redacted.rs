//! A request without the personal identifiers in it.

use std::sync::Arc;

use super::{Asked, Exchange};
use crate::protocol::chat::{Unfit, Unsupported};
use crate::protocol::identifiers::Kinds;
use crate::protocol::redaction::{self, Placeholders, Redacted, Tangled};
use crate::protocol::texts;
use crate::protocol::wire::Operation;

/// What of a request may leave.
#[derive(Debug)]
pub struct Clean {
    /// The request, with placeholders.
    pub asked: Asked,
    /// What they stand for.
    pub placeholders: Arc<Placeholders>,
}

impl Asked {
    /// Whether what it asks for may be given as numbers of tokens.
    #[must_use]
    pub fn may_be_tokens(&self) -> bool {
        matches!(self.operation, Operation::Completions | Operation::Embeddings)
    }

    /// The request without its identifiers of these kinds; `None` where it has none.
    ///
    /// # Errors
    /// When nobody can tell that it would be free of them.
    pub fn without(&self, kinds: Kinds) -> Result<Option<Clean>, Unfit> {
        if self.may_be_tokens() && texts::has_tokens(&self.body) {
            let field = if self.operation == Operation::Embeddings {
                "input"
            } else {
                "prompt"
            };
            let problem = "is numbers of tokens, in which no personal identifiers can be found: send text";
            return Err(Unsupported::new(field, problem).into());
        }
        if self.operation == Operation::Responses && self.goes_on() {
            let problem =
                "goes on with what the provider keeps, in which placeholders stand for other identifiers: send the whole conversation";
            return Err(Unsupported::new("previous_response_id", problem).into());
        }
        let redacted = redaction::redact(&self.body, kinds).map_err(|Tangled| {
            let field = if self.operation == Operation::Responses {
                "input"
            } else {
                "messages"
            };
            Unsupported::new(
                field,
                "holds personal identifiers so close to each other that they cannot be told apart",
            )
        })?;
        let Some(Redacted { body, placeholders }) = redacted else {
            return Ok(None);
        };
        Ok(Some(Clean {
            asked: Self::read(self.operation, body)?,
            placeholders: Arc::new(placeholders),
        }))
    }
}

impl Exchange {
    /// The same, whose answer has what the placeholders of its request stand for.
    pub fn restoring(&mut self, placeholders: Arc<Placeholders>) {
        self.back.restoring(placeholders);
    }
}
