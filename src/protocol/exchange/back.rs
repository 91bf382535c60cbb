//! How an answer comes back to the client.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{Asked, Recipient};
use crate::protocol::bedrock::frames::Frames;
use crate::protocol::chat::{Answer, ReadStream, Said, WriteStream};
use crate::protocol::error::Error;
use crate::protocol::redaction::{Placeholders, Restoring};
use crate::protocol::sse::Splitter;
use crate::protocol::stream::{Framing, Passing, Plain, Stream, Translating, Words};
use crate::protocol::usage::Tokens;
use crate::protocol::watch::{Listed, Watch};
use crate::protocol::wire::{Dialect, Operation};
use crate::protocol::{anthropic, bedrock, embeddings, gemini, openai, responses};

/// The way back of one exchange.
#[derive(Debug)]
pub struct Back {
    operation: Operation,
    dialect: Dialect,
    way: Way,
    /// What was put into the request in place of identifiers.
    placeholders: Option<Arc<Placeholders>>,
}

#[derive(Debug)]
enum Way {
    /// Bytes pass.
    Unchanged { is_stripped: bool },
    /// The answer is read and written anew.
    Translated {
        said: Said,
        usage_asked: bool,
        choices: usize,
        echo: Option<Box<responses::Echo>>,
    },
    /// Vectors are read and written anew.
    Embeddings { model: String, base64: bool },
}

/// A whole answer for the client.
#[derive(Debug)]
pub struct Whole {
    /// Its body.
    pub body: Bytes,
    /// What it took, if it says so.
    pub tokens: Option<Tokens>,
}

impl Back {
    pub(super) fn unchanged(asked: &Asked, to: &Recipient<'_>) -> Self {
        let is_stripped = !asked.peek.usage_asked;
        Self {
            operation: asked.operation,
            dialect: to.dialect,
            way: Way::Unchanged { is_stripped },
            placeholders: None,
        }
    }

    pub(super) fn translated(asked: &Asked, to: &Recipient<'_>, id: &str, created: i64, echo: Option<responses::Echo>) -> Self {
        Self {
            operation: asked.operation,
            dialect: to.dialect,
            way: Way::Translated {
                said: Said {
                    model: asked.peek.model.clone(),
                    id: id.to_owned(),
                    created,
                },
                usage_asked: asked.peek.usage_asked,
                choices: asked.choices(),
                echo: echo.map(Box::new),
            },
            placeholders: None,
        }
    }

    pub(super) fn embeddings(asked: &Asked, to: &Recipient<'_>, base64: bool) -> Self {
        Self {
            operation: asked.operation,
            dialect: to.dialect,
            way: Way::Embeddings {
                model: asked.peek.model.clone(),
                base64,
            },
            placeholders: None,
        }
    }

    /// The same way, on which placeholders become what they stand for.
    pub(super) fn restoring(&mut self, placeholders: Arc<Placeholders>) {
        self.placeholders = Some(placeholders);
    }

    /// How many identifiers the model does not see.
    #[must_use]
    pub fn redacted(&self) -> usize {
        self.placeholders.as_ref().map_or(0, |placeholders| placeholders.count())
    }

    /// Whether an answer can be shown before all of it is there.
    #[must_use]
    pub fn passes_in_parts(&self) -> bool {
        self.is_unchanged() && self.placeholders.is_none()
    }

    /// Bytes for the client, with the identifiers that the model did not see.
    #[must_use]
    pub fn restored(&self, body: Bytes) -> Bytes {
        match &self.placeholders {
            Some(placeholders) => placeholders.restore(body),
            None => body,
        }
    }

    /// What the model's server speaks.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Whether the client speaks the model's protocol, so that its bytes pass.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        matches!(self.way, Way::Unchanged { .. })
    }

    /// The answer in the client's protocol, or the error that it is.
    ///
    /// # Errors
    /// What the model's server says instead of an answer; `None` when it is nothing that can be understood.
    pub fn whole(&self, body: Bytes) -> Result<Whole, Option<Error>> {
        let Whole { body, tokens } = self.answered(body)?;
        let body = self.restored(body);
        Ok(Whole { body, tokens })
    }

    fn answered(&self, body: Bytes) -> Result<Whole, Option<Error>> {
        match &self.way {
            Way::Unchanged { .. } => {
                if let Some(tokens) = answered(self.operation, &body) {
                    let tokens = tokens.and_then(Tokens::believed);
                    return Ok(Whole { body, tokens });
                }
                is_an_answer(self.operation, &body).map_err(|is_error| is_error.then(|| self.error(500, None, &body)))?;
                let tokens = tokens(self.operation)(&body).and_then(Tokens::believed);
                Ok(Whole { body, tokens })
            }
            Way::Translated { said, echo, .. } => {
                let mut answer = self.read(&body).ok_or_else(|| self.error_within(&body))?;
                answer.usage = answer.usage.and_then(Tokens::believed);
                Ok(Whole {
                    tokens: answer.usage,
                    body: self.written(&answer, said, echo.as_deref()).into(),
                })
            }
            Way::Embeddings { model, base64 } => {
                let answer = gemini::embeddings::read_answer(&body).ok_or_else(|| self.error_within(&body))?;
                let of = |input| Tokens {
                    input,
                    ..Tokens::default()
                };
                let tokens = answer.tokens.map(of).and_then(Tokens::believed);
                let written = embeddings::write_answer(&answer.vectors, tokens.map(|tokens| tokens.input), model, *base64);
                Ok(Whole {
                    body: written.into(),
                    tokens,
                })
            }
        }
    }

    fn error_within(&self, body: &[u8]) -> Option<Error> {
        matches!(is_an_answer(self.operation, body), Err(true)).then(|| self.error(500, None, body))
    }

    fn read(&self, body: &[u8]) -> Option<Answer> {
        match self.dialect {
            Dialect::OpenAI | Dialect::OpenAICompatible | Dialect::Mistral => openai::chat::read_answer(body),
            Dialect::Anthropic => anthropic::read_answer(body),
            Dialect::Gemini => gemini::read_answer(body),
            Dialect::Bedrock => bedrock::read_answer(body),
        }
    }

    fn written(&self, answer: &Answer, said: &Said, echo: Option<&responses::Echo>) -> Vec<u8> {
        match (self.operation, echo) {
            (Operation::Completions, _) => openai::completions::write_answer(answer, said),
            (Operation::Messages | Operation::CountTokens, _) => anthropic::write_answer(answer, said),
            (Operation::Responses, Some(echo)) => responses::write_answer(answer, said, echo),
            (Operation::ChatCompletions | Operation::Embeddings | Operation::Responses, _) => openai::chat::write_answer(answer, said),
        }
    }

    /// How a streamed answer comes back.
    #[must_use]
    pub fn stream(&self) -> Stream {
        let stream = self.stream_of_the_model();
        match &self.placeholders {
            Some(placeholders) => Stream::Restored(Box::new(stream), Restoring::new(placeholders.clone())),
            None => stream,
        }
    }

    fn stream_of_the_model(&self) -> Stream {
        let words = words(self.operation);
        match &self.way {
            Way::Unchanged { is_stripped } => Stream::Passing(Passing::new(watch(self.operation), *is_stripped, words)),
            Way::Translated {
                said,
                usage_asked,
                choices,
                echo,
            } => {
                let writer = self.writer(said.clone(), *usage_asked, echo.as_deref());
                let (framing, reader) = self.reader(*choices);
                Stream::Translating(Translating::new(framing, reader, writer))
            }
            // Vectors are never streamed; if they are, nothing is understood of it.
            Way::Embeddings { .. } => Stream::Passing(Passing::new(watch(self.operation), false, words)),
        }
    }

    /// How a plain answer passes that is too large to be held.
    #[must_use]
    pub fn plain(&self) -> Plain {
        Plain::new(tokens(self.operation))
    }

    fn reader(&self, choices: usize) -> (Framing, Box<dyn ReadStream>) {
        let events = || Framing::Events(Splitter::default());
        match self.dialect {
            Dialect::OpenAI | Dialect::OpenAICompatible | Dialect::Mistral => (events(), Box::new(openai::chat::Reader::default())),
            Dialect::Anthropic => (events(), Box::new(anthropic::Reader::default())),
            Dialect::Gemini => (events(), Box::new(gemini::Reader::new(choices))),
            Dialect::Bedrock => (Framing::Frames(Frames::default()), Box::new(bedrock::Reader::default())),
        }
    }

    fn writer(&self, said: Said, usage_asked: bool, echo: Option<&responses::Echo>) -> Box<dyn WriteStream> {
        match (self.operation, echo) {
            (Operation::Completions, _) => Box::new(openai::completions::Writer::new(said, usage_asked)),
            (Operation::Messages | Operation::CountTokens, _) => Box::new(anthropic::Writer::new(said)),
            (Operation::Responses, Some(echo)) => Box::new(responses::Writer::new(said, echo.clone())),
            (Operation::ChatCompletions | Operation::Embeddings | Operation::Responses, _) => {
                Box::new(openai::chat::Writer::new(said, usage_asked))
            }
        }
    }

    /// What the model's server says went wrong. `kind` is Amazon's header `x-amzn-errortype`.
    #[must_use]
    pub fn error(&self, status: u16, kind: Option<&str>, body: &[u8]) -> Error {
        let mut error = match self.dialect {
            Dialect::OpenAI | Dialect::OpenAICompatible | Dialect::Mistral => openai::read_error(status, body),
            Dialect::Anthropic => anthropic::read_error(status, body),
            Dialect::Gemini => gemini::read_error(status, body),
            Dialect::Bedrock => bedrock::read_error(status, kind, body),
        };
        if let Some(placeholders) = &self.placeholders {
            error.message = placeholders.restore_text(&error.message);
        }
        error
    }

    /// When to come back, where an error says so in its body: Google's have no header for it.
    #[must_use]
    pub fn advice(&self, body: &[u8]) -> Option<Duration> {
        match self.dialect {
            Dialect::Gemini => gemini::retry_after(body),
            Dialect::OpenAI | Dialect::OpenAICompatible | Dialect::Mistral | Dialect::Anthropic | Dialect::Bedrock => None,
        }
    }
}

/// Whether a body is a JSON object with what every answer has; `Err(true)` when it is an error.
fn is_an_answer(operation: Operation, body: &[u8]) -> Result<(), bool> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        error: Option<&'a RawValue>,
        #[serde(default)]
        choices: Listed,
        #[serde(default)]
        data: Listed,
        #[serde(default)]
        output: Listed,
        #[serde(default)]
        content: Listed,
        input_tokens: Option<IgnoredAny>,
        #[serde(rename = "type")]
        _type: Option<IgnoredAny>,
    }
    // A list of values would do for an object's fields.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(false);
    }
    let answer = serde_json::from_slice::<Answer<'_>>(body).map_err(|_| false)?;
    let Listed(has_all) = match operation {
        Operation::ChatCompletions | Operation::Completions => answer.choices,
        Operation::Embeddings => answer.data,
        Operation::Responses => answer.output,
        Operation::Messages => answer.content,
        Operation::CountTokens => Listed(answer.input_tokens.is_some()),
    };
    match answer.error {
        Some(_) => Err(true),
        None if has_all => Ok(()),
        None => Err(false),
    }
}

/// What an answer took, where one look shows that it is an answer, and that: most are.
fn answered(operation: Operation, body: &[u8]) -> Option<Option<Tokens>> {
    match operation {
        Operation::ChatCompletions | Operation::Completions => openai::chat::answered(body, false),
        Operation::Embeddings => openai::chat::answered(body, true),
        Operation::Responses | Operation::Messages | Operation::CountTokens => None,
    }
}

/// How it is read what a whole answer took, or of those of its fields that tell it.
fn tokens(operation: Operation) -> fn(&[u8]) -> Option<Tokens> {
    match operation {
        Operation::ChatCompletions | Operation::Embeddings => openai::chat::tokens,
        Operation::Completions => openai::completions::tokens,
        Operation::Responses => responses::tokens,
        Operation::Messages => anthropic::tokens,
        // Counting is not charged.
        Operation::CountTokens => |_| None,
    }
}

fn words(operation: Operation) -> Words {
    match operation {
        Operation::ChatCompletions | Operation::Completions | Operation::Embeddings => Words {
            read: openai::read_error,
            event: openai::error_event,
        },
        Operation::Responses => Words {
            read: openai::read_error,
            event: responses::error_event,
        },
        Operation::Messages | Operation::CountTokens => Words {
            read: anthropic::read_error,
            event: anthropic::error_event,
        },
    }
}

fn watch(operation: Operation) -> Box<dyn Watch> {
    match operation {
        Operation::ChatCompletions | Operation::Embeddings => Box::new(openai::chat::Watch::default()),
        Operation::Completions => Box::new(openai::completions::Watch::default()),
        Operation::Responses => Box::new(responses::Watch::default()),
        Operation::Messages | Operation::CountTokens => Box::new(anthropic::Watch::default()),
    }
}
