//! One request of a client, put to one model after another: in the client's own bytes where the model speaks the same protocol, else in the
//! model's words; and how the answer comes back.
//!
//! ```text
//!                    same protocol: bytes pass, edited in place
//! Asked ──put──► Exchange { path, body, lost } ──► model ──► Back ──► the client's protocol
//!                    another: read once ─► common form ─► written for each model
//! ```

mod back;
mod beginning;
mod effects;
mod foreign;
#[cfg(test)]
mod fuzz;
mod needs;
mod places;
mod put;
mod redacted;

use std::borrow::Cow;
use std::sync::OnceLock;

use bytes::Bytes;
use serde::Deserialize;

use super::chat::{Lost, Request, Unfit, Unreadable};
use super::error::Error;
use super::estimate;
use super::longest::Longest;
use super::outline::{Field, Twice};
use super::peek::{Peek, Spliced, peek};
use super::wire::{Dialect, Operation};
use super::{anthropic, gemini, openai, responses};

pub use back::{Back, Whole};
pub use needs::Needs;
pub use redacted::Clean;

/// A request of a client.
#[derive(Debug)]
pub struct Asked {
    /// What it asks for.
    pub operation: Operation,
    /// What of it was read.
    pub peek: Peek,
    /// All of it.
    pub body: Bytes,
    common: OnceLock<Result<(Request, Lost), Unfit>>,
    tokens: OnceLock<u64>,
}

/// The model that a request is put to.
#[derive(Clone, Copy, Debug)]
pub struct Recipient<'a> {
    /// What its server speaks.
    pub dialect: Dialect,
    /// Its name there.
    pub model: &'a str,
    /// The most tokens it gives in an answer, for protocols that insist on being told; where it is not known, a figure that every model takes.
    pub max_output_tokens: Option<u64>,
    /// Which of Google's APIs it is behind, if it is.
    pub google: gemini::Api,
}

/// What is sent to a model.
#[derive(Debug)]
pub struct Exchange {
    /// To be added to the base URL; begins with a slash.
    pub path: Cow<'static, str>,
    /// The body.
    pub body: Spliced,
    /// What was left out of it.
    pub lost: Lost,
    /// How the answer comes back.
    pub back: Back,
}

/// What a request comes to.
#[derive(Debug)]
pub enum Put {
    /// It is sent.
    Send(Box<Exchange>),
    /// No model needs to be asked: this is the answer, an estimate.
    Estimate(Bytes),
}

impl Asked {
    /// Reads what must be known of a request before anything else.
    ///
    /// # Errors
    /// When the body is no request: see [`peek`].
    pub fn read(operation: Operation, body: Bytes) -> Result<Self, Unreadable> {
        let mut peek = peek(&body)?;
        peek.stream &= operation.has_streams();
        Ok(Self {
            operation,
            peek,
            body,
            common: OnceLock::new(),
            tokens: OnceLock::new(),
        })
    }

    /// How much it lets a model answer.
    #[must_use]
    pub fn longest(&self) -> Longest {
        self.peek.outline.longest()
    }

    /// How many tokens it may have: see [`estimate::of_json`]; reckoned when it is first needed.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        *self.tokens.get_or_init(|| estimate::of_json(&self.body))
    }

    /// A field right within it, if it has that once. One that is null counts as not given.
    fn given(&self, field: Field) -> Result<Option<&[u8]>, Twice> {
        self.peek.outline.value(&self.body, field)
    }

    /// How many answers are asked for.
    fn choices(&self) -> usize {
        let asked = self.common().ok().and_then(|(request, _)| request.choices);
        asked.and_then(|choices| usize::try_from(choices).ok()).unwrap_or(1)
    }

    /// Whether the answer is to come as it is made.
    #[must_use]
    pub fn is_streamed(&self) -> bool {
        self.peek.stream
    }

    /// Whether it may be asked again when it is not known whether it was begun: what does something beside answering may not.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        !self.has_effects()
    }

    /// Whether `error` is the client's own: the response or conversation that it goes on with is nowhere, which no other model changes.
    #[must_use]
    pub fn goes_on_with_nothing(&self, error: &Error) -> bool {
        self.operation == Operation::Responses && effects::is_about_the_past(error) && self.goes_on()
    }

    /// The request in the common form; read when it is first needed.
    fn common(&self) -> Result<&(Request, Lost), Unfit> {
        let read = || match self.operation {
            Operation::ChatCompletions => openai::chat::read_request(&self.body),
            Operation::Completions => openai::completions::read_request(&self.body),
            Operation::Responses => responses::read_request(&self.body),
            Operation::Messages => anthropic::read_request(&self.body),
            Operation::CountTokens => anthropic::count_tokens::read_request(&self.body),
            Operation::Embeddings => Err(Unreadable::new(None, "embeddings are no conversation").into()),
        };
        self.common.get_or_init(read).as_ref().map_err(Clone::clone)
    }
}

impl Operation {
    /// Whether its answers can come as they are made.
    #[must_use]
    pub fn has_streams(self) -> bool {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Responses | Self::Messages => true,
            Self::Embeddings | Self::CountTokens => false,
        }
    }

    /// Whether models are paid for it.
    #[must_use]
    pub fn is_charged(self) -> bool {
        self != Self::CountTokens
    }

    /// The body of an error in its protocol.
    #[must_use]
    pub fn write_error(self, error: &super::error::Error) -> Vec<u8> {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Embeddings => openai::write_error(error),
            Self::Responses => responses::write_error(error),
            Self::Messages | Self::CountTokens => anthropic::write_error(error),
        }
    }

    /// Whether this is the body of an error in its protocol. Servers that speak a protocol do not always do so when something is wrong.
    #[must_use]
    pub fn is_error(self, body: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Body<'a> {
            #[serde(borrow, default, rename = "type")]
            kind: Option<Cow<'a, str>>,
            #[serde(borrow, rename = "error")]
            _error: Detail<'a>,
        }
        #[derive(Deserialize)]
        struct Detail<'a> {
            #[serde(borrow, rename = "message")]
            _message: Cow<'a, str>,
        }
        let Ok(body) = serde_json::from_slice::<Body<'_>>(body) else {
            return false;
        };
        match self {
            Self::ChatCompletions | Self::Completions | Self::Embeddings | Self::Responses => true,
            Self::Messages | Self::CountTokens => body.kind.as_deref() == Some("error"),
        }
    }
}

#[cfg(test)]
mod tests;
