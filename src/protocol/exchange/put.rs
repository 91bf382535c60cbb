//! How a request is put to a model: which protocol meets which.

use std::borrow::Cow;

use bytes::Bytes;

use super::foreign::without_seals;
use super::places::Places;
use super::{Asked, Back, Exchange, Put, Recipient};
use crate::protocol::chat::{Lost, Request, Unfit, Unsupported, estimate};
use crate::protocol::openai::chat::Flavor;
use crate::protocol::wire::{Dialect, Operation};
use crate::protocol::{anthropic, bedrock, embeddings, gemini, openai, responses};

/// The most tokens of an answer where a protocol insists on a figure and nobody gave one: what the smallest of its models take.
const MAX_OUTPUT_TOKENS: u64 = 4096;

impl Asked {
    /// The request as it is sent to `to`. `said` is what every message of the answer repeats.
    ///
    /// # Errors
    /// When the request is wrong in itself, or `to` cannot do what it asks.
    pub fn put(&self, to: &Recipient<'_>, id: &str, created: i64) -> Result<Put, Unfit> {
        if let Some(path) = passes(self.operation, to.dialect) {
            return Ok(Put::Send(Box::new(self.unchanged(to, path))));
        }
        let back = |echo| Back::translated(self, to, id, created, echo);
        match self.operation {
            Operation::CountTokens => {
                let (request, _) = self.common()?;
                Ok(Put::Estimate(anthropic::count_tokens::write_answer(estimate(request)).into()))
            }
            Operation::Embeddings => {
                let (request, mut lost) = embeddings::read_request(&self.body)?;
                let (body, more) = embeddings_for(&request, to)?;
                lost.extend(&more);
                let path = gemini_path(to, Operation::Embeddings, false);
                Ok(sent(path, body, lost, Back::embeddings(self, to, request.base64)))
            }
            Operation::ChatCompletions | Operation::Completions | Operation::Messages => {
                let (body, lost) = self.written(to)?;
                Ok(sent(path(to, self.is_streamed()), body, lost, back(None)))
            }
            Operation::Responses => {
                let (body, lost) = self.written(to)?;
                let echo = responses::read_echo(&self.body);
                Ok(sent(path(to, self.is_streamed()), body, lost, back(Some(echo))))
            }
        }
    }

    /// Whether the request's own bytes are what is sent to a model that speaks this.
    #[must_use]
    pub fn passes_to(&self, dialect: Dialect) -> bool {
        passes(self.operation, dialect).is_some()
    }

    fn unchanged(&self, to: &Recipient<'_>, path: &'static str) -> Exchange {
        // Who reports tokens only when asked: the option is OpenAI's, and not one of its Responses.
        let reports = matches!(self.operation, Operation::ChatCompletions | Operation::Completions) && self.is_streamed();
        Exchange {
            path: Cow::Borrowed(path),
            body: self.peek.put(&self.body, to.model, reports && !self.peek.usage_asked),
            lost: Lost::default(),
            back: Back::unchanged(self, to),
        }
    }

    fn written(&self, to: &Recipient<'_>) -> Result<(Vec<u8>, Lost), Unfit> {
        let (request, left_out) = self.common()?;
        let mut sealed = Lost::default();
        let written = match to.dialect {
            Dialect::Gemini => write(request, to),
            _ => write(&without_seals(request, &mut sealed), to),
        };
        let places = || Places::of(self);
        let (body, lost) = written.map_err(|unsupported| places().unsupported(unsupported))?;
        let mut all = left_out.clone();
        if !(sealed.is_empty() && lost.is_empty()) {
            sealed.extend(&lost);
            all.extend(&places().lost(&sealed));
        }
        Ok((body, all))
    }
}

fn sent(path: Cow<'static, str>, body: Vec<u8>, lost: Lost, back: Back) -> Put {
    Put::Send(Box::new(Exchange {
        path,
        body: Bytes::from(body).into(),
        lost,
        back,
    }))
}

/// The path of an operation whose bytes pass, where they do.
fn passes(operation: Operation, dialect: Dialect) -> Option<&'static str> {
    use Dialect::{Anthropic, Bedrock, Gemini, Mistral, OpenAI, OpenAICompatible};
    match (operation, dialect) {
        (Operation::ChatCompletions, OpenAI | OpenAICompatible) => Some("/chat/completions"),
        (Operation::Completions, OpenAI | OpenAICompatible) => Some("/completions"),
        (Operation::Embeddings, OpenAI | OpenAICompatible | Mistral) => Some("/embeddings"),
        (Operation::Responses, OpenAI) => Some("/responses"),
        (Operation::Messages, Anthropic) => Some("/messages"),
        (Operation::CountTokens, Anthropic) => Some("/messages/count_tokens"),
        (_, OpenAI | OpenAICompatible | Mistral | Anthropic | Gemini | Bedrock) => None,
    }
}

/// Where a conversation that was written anew goes.
fn path(to: &Recipient<'_>, is_streamed: bool) -> Cow<'static, str> {
    match to.dialect {
        Dialect::OpenAI | Dialect::OpenAICompatible | Dialect::Mistral => Cow::Borrowed("/chat/completions"),
        Dialect::Anthropic => Cow::Borrowed("/messages"),
        Dialect::Gemini => gemini_path(to, Operation::ChatCompletions, is_streamed),
        Dialect::Bedrock => Cow::Owned(bedrock::path(to.model, is_streamed)),
    }
}

fn gemini_path(to: &Recipient<'_>, operation: Operation, is_streamed: bool) -> Cow<'static, str> {
    Cow::Owned(format!("/{}", gemini::path(to.google, to.model, operation, is_streamed)))
}

fn write(request: &Request, to: &Recipient<'_>) -> Result<(Vec<u8>, Lost), Unsupported> {
    match to.dialect {
        Dialect::OpenAI => openai::chat::write_request(request, to.model, Flavor::OpenAI),
        Dialect::OpenAICompatible => openai::chat::write_request(request, to.model, Flavor::Compatible),
        Dialect::Mistral => openai::chat::write_request(request, to.model, Flavor::Mistral),
        Dialect::Anthropic => anthropic::write_request(request, to.model, to.max_output_tokens.unwrap_or(MAX_OUTPUT_TOKENS)),
        Dialect::Gemini => gemini::write_request(request, to.model),
        Dialect::Bedrock => bedrock::write_request(request, to.model),
    }
}

fn embeddings_for(request: &embeddings::Request, to: &Recipient<'_>) -> Result<(Vec<u8>, Lost), Unfit> {
    match to.dialect {
        Dialect::Gemini => Ok(gemini::embeddings::write_request(request, to.model, to.google)?),
        Dialect::Anthropic => Err(Unsupported::new("model", "has no embeddings: its provider, Anthropic, makes none").into()),
        Dialect::Bedrock => Err(Unsupported::new("model", "has no embeddings here: Bedrock's Converse makes none").into()),
        // Their bytes pass.
        Dialect::OpenAI | Dialect::OpenAICompatible | Dialect::Mistral => Err(Unsupported::new("model", "has no embeddings").into()),
    }
}
