//! What an answer took, and what that costs. Where the model does not say, as when the client hangs up, both are estimates and marked so.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use crate::plan::price::{self, Cost, Count};
use crate::plan::routing::Backend;
use crate::protocol::usage::Tokens;

/// What is needed to make out a bill.
pub(super) struct Bill {
    pub(super) model: Arc<Backend>,
    /// Bytes of the request, for estimates.
    pub(super) request_bytes: usize,
    pub(super) now: fn() -> Timestamp,
}

/// What an answer took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Charge {
    pub(super) tokens: Tokens,
    pub(super) cost: Cost,
    pub(super) is_estimated: bool,
}

impl Bill {
    /// For what the model reports.
    pub(super) fn reported(&self, tokens: Tokens) -> Charge {
        self.charge(tokens, false)
    }

    /// For an answer of which `text_bytes` have come, and whose final report has not: what is `known` of it counts.
    pub(super) fn estimated(&self, known: Option<Tokens>, text_bytes: u64) -> Charge {
        let mut tokens = known.unwrap_or_default();
        if tokens.prompt() == 0 {
            tokens.input = price::estimate(self.request_bytes as u64);
        }
        let missing = price::estimate(text_bytes).saturating_sub(tokens.answer());
        tokens.output = tokens.output.saturating_add(missing);
        self.charge(tokens, true)
    }

    fn charge(&self, tokens: Tokens, is_estimated: bool) -> Charge {
        let cost = self.model.pricing.cost(Some(&count(tokens)), (self.now)());
        Charge {
            tokens,
            cost,
            is_estimated,
        }
    }
}

fn count(tokens: Tokens) -> Count {
    let Tokens {
        input,
        cache_read,
        cache_write,
        cache_write_1h,
        audio_input,
        output,
        reasoning,
        audio_output,
    } = tokens;
    Count {
        input,
        cache_read,
        cache_write,
        cache_write_1h,
        audio_input,
        output,
        reasoning,
        audio_output,
    }
}
