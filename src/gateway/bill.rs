//! What an answer took, and what that costs. Where the model does not say, as when the client hangs up, both are estimates and marked so.

use std::sync::Arc;

use bytes::Bytes;
use k8s_openapi::jiff::Timestamp;

use crate::plan::price::Cost;
use crate::plan::routing::Backend;
use crate::protocol::usage::{Terms, Tokens};
use crate::protocol::{Operation, estimate};

/// What is needed to make out a bill.
pub(super) struct Bill {
    pub(super) model: Arc<Backend>,
    pub(super) operation: Operation,
    pub(super) prompt: Prompt,
    /// The terms that the model was asked for, which hold where the answer does not tell its own.
    pub(super) asked_terms: Terms,
    pub(super) now: fn() -> Timestamp,
}

/// What the tokens of a prompt are estimated from. Most answers report them, so that nothing is reckoned before it must be.
pub(super) enum Prompt {
    /// The request.
    Unread(Bytes),
    /// So many, by an estimate.
    Estimated(u64),
}

impl Prompt {
    fn tokens(&self) -> u64 {
        match self {
            Self::Unread(request) => estimate::of_json(request),
            Self::Estimated(tokens) => *tokens,
        }
    }
}

/// What an answer took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Charge {
    pub(super) tokens: Tokens,
    pub(super) cost: Cost,
    pub(super) is_estimated: bool,
}

impl Bill {
    /// What it is reckoned with before anything is sent: a prompt of so many tokens, and the longest answer.
    pub(super) fn foreseen(&self, prompt: u64, answer: u64) -> Charge {
        let tokens = Tokens {
            input: prompt,
            // Vectors are not billed.
            output: if self.operation == Operation::Embeddings { 0 } else { answer },
            ..Tokens::default()
        };
        self.charge(tokens, true)
    }

    /// For what the model reports.
    pub(super) fn reported(&self, tokens: Tokens) -> Charge {
        self.charge(tokens, false)
    }

    /// For an answer of which so many tokens have come, by an estimate, and whose final report has not: what is `known` of it counts.
    pub(super) fn estimated(&self, known: Option<Tokens>, answer: u64) -> Charge {
        let mut tokens = known.unwrap_or_default();
        if tokens.prompt() == 0 {
            tokens.input = self.prompt.tokens();
        }
        // Vectors are not billed.
        if self.operation != Operation::Embeddings {
            let missing = answer.saturating_sub(tokens.answer());
            tokens.output = tokens.output.saturating_add(missing);
        }
        self.charge(tokens, true)
    }

    /// The bill of an answer that has begun: its request is not to be held for as long as that takes, beyond the room for requests.
    pub(super) fn settled(self, known: Option<Tokens>) -> Self {
        let is_known = known.is_some_and(|tokens| tokens.prompt() > 0);
        Self {
            prompt: Prompt::Estimated(if is_known { 0 } else { self.prompt.tokens() }),
            ..self
        }
    }

    fn charge(&self, mut tokens: Tokens, is_estimated: bool) -> Charge {
        tokens.terms = match tokens.terms {
            // Engines of our own repeat what they are asked for: what they cost, they cost.
            _ if self.model.provider.is_none() => Terms::Standard,
            Terms::Unsaid => self.asked_terms,
            told => told,
        };
        let cost = self.model.pricing.cost(Some(&tokens), (self.now)());
        Charge {
            tokens,
            cost,
            is_estimated,
        }
    }
}
