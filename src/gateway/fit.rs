//! Whether a model can do what a request asks, as far as its ModelDeployment says, and what it speaks.

use std::sync::Arc;

use crate::api::model_deployment::{Capabilities, Provider};
use crate::plan::fit;
use crate::plan::routing::Backend;
use crate::protocol::Dialect;
use crate::protocol::chat::{Unfit, Unsupported};
use crate::protocol::exchange::{Asked, Recipient};
use crate::protocol::gemini;

/// The model as a request is put to it.
pub(super) fn recipient(model: &Backend) -> Recipient<'_> {
    let dialect = match model.provider {
        None | Some(Provider::OpenAICompatible) => Dialect::OpenAICompatible,
        Some(Provider::OpenAI | Provider::AzureOpenAI) => Dialect::OpenAI,
        Some(Provider::Mistral) => Dialect::Mistral,
        Some(Provider::Anthropic) => Dialect::Anthropic,
        Some(Provider::Gemini | Provider::VertexAI) => Dialect::Gemini,
        Some(Provider::Bedrock) => Dialect::Bedrock,
    };
    Recipient {
        dialect,
        model: &model.upstream_model,
        max_output_tokens: model.capabilities.max_output_tokens.map(u64::from),
        google: match model.provider {
            Some(Provider::VertexAI) => gemini::Api::Vertex,
            _ => gemini::Api::AiStudio,
        },
    }
}

/// Whether a model of these capabilities can do it; what is not declared is not checked, nor read.
pub(super) fn check(asked: &Asked, capabilities: &Capabilities) -> Result<(), Unfit> {
    if *capabilities == Capabilities::default() {
        return Ok(());
    }
    let needs = match asked.needs() {
        Ok(needs) => needs,
        // An older way to say tools.
        Err(Unfit::Unsupported(older)) if older.field == "functions" && capabilities.tools == Some(false) => {
            return Err(Unsupported::new("functions", "are given, and the model calls none").into());
        }
        // It asks for what only its own protocol has: whether the model has it too is seen when it is put to it.
        Err(Unfit::Unsupported(_)) => return Ok(()),
        Err(unreadable) => return Err(unreadable),
    };
    Ok(fit::check(&needs, capabilities)?)
}

/// So many times its bytes a request takes that is read, beside those: every text once more.
const READ_TAKES: usize = 1;
/// And so many times as it is written for a model, with a buffer that grows by doubling.
const WRITTEN_TAKES: usize = 2;
/// What is around each value that is read. A conversation of the shortest messages took 24.8 times its bytes, which is 210 for each.
const VALUE_TAKES: usize = 256;

/// How many bytes a request takes beside its own while it is put to `model`: none where it passes unread.
pub(super) fn takes(asked: &Asked, model: &Backend) -> usize {
    let times = if !asked.passes_to(recipient(model).dialect) {
        READ_TAKES + WRITTEN_TAKES
    } else if model.capabilities != Capabilities::default() {
        READ_TAKES
    } else {
        return 0;
    };
    times * asked.body.len() + VALUE_TAKES * asked.values()
}

/// Whether one of `others` surely holds more than `model`, which found a request too long.
pub(super) fn one_holds_more(model: &Backend, others: &[&Arc<Backend>]) -> bool {
    others.iter().any(|other| holds_more(other, model))
}

/// Whether `other` surely holds more than `model`.
pub(super) fn holds_more(other: &Backend, model: &Backend) -> bool {
    match (other.capabilities.context_tokens, model.capabilities.context_tokens) {
        (Some(there), Some(here)) => there > here,
        (Some(_) | None, _) => false,
    }
}
