//! Whether a request of an evaluator may be passed on: only what is known to cost no more than room is kept for.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::refused::Refused;
use crate::protocol::exchange::Asked;
use crate::protocol::fees::Fees;
use crate::protocol::usage::Terms;

/// What a template may add to a request, in tokens.
const AROUND: u64 = 64;
/// The same of one with tools, about which providers tell models in words of their own.
const AROUND_TOOLS: u64 = 1024;

/// Whether a request may be passed on; how many bytes it has, and how many tokens its answers at most.
pub(super) fn check(asked: &Asked, model: &str, is_limited: bool) -> Result<(u64, u64), Refused> {
    let wrong = |param: &str, message: &str| Refused::new(400, "unsupported_parameter", message).about(Some(param.to_owned()));
    if asked.peek.model != model {
        let message = format!("only the model {model} is evaluated here; use the variable MODEL");
        return Err(Refused::new(404, "model_not_found", message).about(Some("model".to_owned())));
    }
    if asked.is_streamed() {
        return Err(wrong("stream", "streams are not relayed to evaluators; set stream to false"));
    }
    let longest = asked.longest();
    let Some(tokens) = longest.tokens else {
        return if is_limited {
            let remedy = "spec.limits caps what the run may use, so an answer of any length is not asked for; set max_tokens";
            Err(wrong("max_tokens", remedy))
        } else {
            Ok((0, 0))
        };
    };
    if is_limited {
        let terms = "this has a price that is not known beforehand, and spec.limits caps what the run may use; leave it out";
        if asked.peek.terms == Terms::Special {
            return Err(wrong("service_tier", terms));
        }
        if asked.peek.fees != Fees::None {
            return Err(wrong("tools", terms));
        }
        if let Some(param) = dear(&asked.body) {
            return Err(wrong(param, terms));
        }
    }
    let bytes = u64::try_from(asked.body.len()).unwrap_or(u64::MAX);
    let around = if has_tools(&asked.body) { AROUND_TOOLS } else { AROUND };
    Ok((bytes.saturating_add(around), tokens.saturating_mul(longest.answers)))
}

/// Whether a request gives the model tools.
fn has_tools(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default)]
        tools: Option<&'a RawValue>,
        #[serde(borrow, default)]
        functions: Option<&'a RawValue>,
    }
    // One that cannot be read is not known to have none.
    serde_json::from_slice::<Body<'_>>(body).map_or(true, |body| body.tools.is_some() || body.functions.is_some())
}

/// What a request has of which the bytes say nothing about the tokens.
fn dear(body: &[u8]) -> Option<&'static str> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default)]
        messages: Option<&'a RawValue>,
        #[serde(borrow, default)]
        prediction: Option<&'a RawValue>,
        #[serde(borrow, default)]
        audio: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Message {
        #[serde(default)]
        content: Value,
    }
    let Ok(body) = serde_json::from_slice::<Body<'_>>(body) else {
        return Some("messages");
    };
    let is_given = |field: Option<&RawValue>| field.is_some_and(|value| value.get() != "null");
    if is_given(body.prediction) {
        return Some("prediction");
    }
    if is_given(body.audio) {
        return Some("audio");
    }
    let messages = body
        .messages
        .map_or(Ok(Vec::new()), |messages| serde_json::from_str::<Vec<Message>>(messages.get()));
    let is_text = |message: &Message| {
        let mut parts = message.content.as_array().into_iter().flatten();
        parts.all(|part| matches!(part["type"].as_str(), Some("text" | "refusal")))
    };
    let is_text = messages.is_ok_and(|messages| messages.iter().all(is_text));
    (!is_text).then_some("messages")
}
