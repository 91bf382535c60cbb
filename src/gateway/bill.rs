//! What an answer took, and what that costs. Where the model does not say, both are estimates and marked so:
//!
//! ```text
//! whole, with a report          what it reports
//! without, or not whole         what is known of it, and the text that came
//! sent, and nothing has come    the prompt, and the longest answer: one may have been made that nobody waited for
//! made in the background        the same, at a cost that is not known
//! ```

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use super::ledger::Ledger;
use crate::plan::ledger::Foreseen;
use crate::plan::price::{Cost, Unpriced};
use crate::plan::routing::Backend;
use crate::protocol::Operation;
use crate::protocol::exchange::Asked;
use crate::protocol::fees::Fees;
use crate::protocol::longest::Longest;
use crate::protocol::usage::{Terms, Tokens};

/// What is needed to make out a bill.
pub(super) struct Bill {
    pub(super) model: Arc<Backend>,
    pub(super) operation: Operation,
    pub(super) prompt: Prompt,
    /// The terms that the model was asked for, which hold where the answer does not tell its own.
    pub(super) asked_terms: Terms,
    /// What is billed beside the tokens.
    pub(super) fees: Fees,
    /// Whether the answer is made in the background: what comes is a receipt, and what it took is told to nobody here.
    pub(super) is_background: bool,
    pub(super) now: fn() -> Timestamp,
}

/// What the tokens of a prompt, and of its longest answer, are estimated from. Most answers report what they took, so that nothing is reckoned
/// before it must be.
pub(super) enum Prompt {
    /// The request.
    Unread(Arc<Asked>),
    /// So many, by an estimate; its answer has begun.
    Estimated { prompt: u64, longest: u64 },
}

impl Prompt {
    fn tokens(&self) -> u64 {
        match self {
            Self::Unread(asked) => asked.tokens(),
            Self::Estimated { prompt, .. } => *prompt,
        }
    }
}

/// The tokens of all answers to a request at most: what it allows, within what the model declares; else what the model's answers had of late.
/// Vectors are not billed.
pub(super) fn at_most(operation: Operation, longest: Longest, model: &Backend, ledger: &Ledger) -> u64 {
    if operation == Operation::Embeddings {
        return 0;
    }
    let most = model.capabilities.max_output_tokens.map(u64::from);
    let one = crate::plan::ledger::longest(longest.tokens, most, || ledger.expected(&model.model));
    one.saturating_mul(longest.answers)
}

/// What a model made of an attempt that brought no answer, once it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Took {
    /// It did not work.
    Nothing,
    /// It read the prompt, and said that it failed.
    Prompt,
    /// It may have made an answer that nobody has seen.
    Unseen,
}

/// What an answer took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Charge {
    pub(super) tokens: Tokens,
    pub(super) cost: Cost,
    pub(super) is_estimated: bool,
}

impl Bill {
    /// Whether what was asked may be asked once more.
    pub(super) fn is_repeatable(&self) -> bool {
        match &self.prompt {
            Prompt::Unread(asked) => asked.is_repeatable(),
            Prompt::Estimated { .. } => false,
        }
    }

    /// What it is reckoned with before anything is sent: the prompt, and the longest answer.
    pub(super) fn foreseen(&self, ledger: &Ledger) -> Foreseen<'_> {
        let terms = self.asked_terms.special_if(self.fees.are_unknown(false));
        Foreseen::of(&self.model, self.prompt.tokens(), self.longest(ledger), terms, (self.now)())
    }

    /// For an answer of which something has come, and what the model has `told` of it: of one that is not whole that is too little. `seen` are
    /// its tokens so far, by an estimate.
    pub(super) fn of_answer(&self, told: Option<Tokens>, is_whole: bool, seen: impl FnOnce() -> u64, ledger: &Ledger) -> Charge {
        match told {
            Some(tokens) if is_whole => self.charge(tokens, false),
            _ if self.is_background => Charge {
                cost: Cost::Unknown(Unpriced::NoUsage),
                ..self.unseen(ledger)
            },
            // What was thought is often not shown, and paid for all the same.
            known => self.estimated(known, seen().max(ledger.thinks(&self.model.model))),
        }
    }

    /// For an attempt that a model was sent, and that brought no answer: what it may have made costs as much as budgets keep for it.
    pub(super) fn of_attempt(&self, took: Took, ledger: &Ledger) -> Option<Charge> {
        match took {
            Took::Nothing => None,
            Took::Prompt => Some(self.estimated(None, 0)),
            Took::Unseen => Some(self.unseen(ledger)),
        }
    }

    /// As much as an attempt may take of which nothing is seen.
    pub(super) fn unseen(&self, ledger: &Ledger) -> Charge {
        let Foreseen { tokens, cost, .. } = self.foreseen(ledger);
        Charge {
            tokens,
            cost,
            is_estimated: true,
        }
    }

    fn longest(&self, ledger: &Ledger) -> u64 {
        match &self.prompt {
            Prompt::Unread(asked) => at_most(self.operation, asked.longest(), &self.model, ledger),
            Prompt::Estimated { longest, .. } => *longest,
        }
    }

    fn estimated(&self, known: Option<Tokens>, answer: u64) -> Charge {
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
    pub(super) fn settled(self, known: Option<Tokens>, ledger: &Ledger) -> Self {
        let is_known = known.is_some_and(|tokens| tokens.prompt() > 0) && !self.is_background;
        let prompt = Prompt::Estimated {
            prompt: if is_known { 0 } else { self.prompt.tokens() },
            longest: if self.is_background { self.longest(ledger) } else { 0 },
        };
        Self { prompt, ..self }
    }

    fn charge(&self, mut tokens: Tokens, is_estimated: bool) -> Charge {
        tokens.terms = match tokens.terms {
            // Engines of our own repeat what they are asked for: what they cost, they cost.
            _ if self.model.provider.is_none() => Terms::Standard,
            Terms::Unsaid => self.asked_terms,
            told => told,
        };
        tokens.terms = tokens
            .terms
            .special_if(self.fees.are_unknown(!is_estimated) && self.model.provider.is_some());
        let cost = self.model.pricing.cost(Some(&tokens), (self.now)());
        Charge {
            tokens,
            cost,
            is_estimated,
        }
    }
}
