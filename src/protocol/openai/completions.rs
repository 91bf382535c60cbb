//! Completions (`POST /v1/completions`), as clients speak them, for models that have only chat: the prompt becomes what a user says.

use serde::Serialize;

use super::chat::read_sampling;
use super::chat::{all, refusal, words};
use super::chunk::Frame;
use super::report::Written;
use crate::protocol::chat::{Answer, Choice, Delta, Lost, Message, Request, Role, Said, Stop, Unfit, Unsupported, WriteStream};
use crate::protocol::fields::Fields;
use crate::protocol::misread::shown;

pub use super::report::tokens;
pub use super::watch::Watch;

/// The most tokens of an answer where the client gives no limit, as OpenAI's reference says.
const DEFAULT_MAX_TOKENS: u64 = 16;

/// Reads a request. `prompt` is always noted: it is sent as a chat message, and not as a text to go on with.
///
/// # Errors
/// When the request is wrong, or asks for what a chat cannot do: several prompts, token ids, a suffix, an echo, probabilities.
pub fn read_request(body: &[u8]) -> Result<(Request, Lost), Unfit> {
    let mut lost = Lost::default();
    let mut fields = Fields::of_body(body)?;
    fields.raw("model");
    refuse(&mut fields)?;
    let prompt = read_prompt(&mut fields)?;
    lost.note("prompt");
    let request = Request {
        messages: vec![Message::text(Role::User, prompt)],
        max_tokens: Some(fields.take("max_tokens", "a whole number")?.unwrap_or(DEFAULT_MAX_TOKENS)),
        ..read_sampling(&mut fields, &mut lost)?
    };
    fields.rest(&mut lost);
    Ok((request, lost))
}

fn refuse(fields: &mut Fields<'_>) -> Result<(), Unfit> {
    let asks = |field: &str, problem: &str| Err(Unsupported::new(field, problem).into());
    if fields.take("echo", "true or false")?.unwrap_or(false) {
        return asks("echo", "asks for the prompt back, which a chat does not give");
    }
    if fields.text("suffix")?.is_some_and(|suffix| !suffix.is_empty()) {
        return asks("suffix", "asks to fill in the middle of a text, which a chat does not do");
    }
    if fields.take("best_of", "a whole number")?.unwrap_or(1_u64) > 1 {
        return asks("best_of", "asks for the best of several answers, which this model does not choose");
    }
    if fields.take::<u64>("logprobs", "a whole number")?.is_some() {
        return asks("logprobs", "asks for probabilities of tokens, which this model does not tell");
    }
    Ok(())
}

fn read_prompt(fields: &mut Fields<'_>) -> Result<String, Unfit> {
    let what = "a string";
    let Some(raw) = fields.raw("prompt") else {
        return Err(fields.wrong("prompt", what).into());
    };
    if let Ok(prompt) = serde_json::from_str(raw.get()) {
        return Ok(prompt);
    }
    if let Ok(prompts) = serde_json::from_str::<Vec<String>>(raw.get()) {
        return match <[String; 1]>::try_from(prompts) {
            Ok([prompt]) => Ok(prompt),
            Err(prompts) if prompts.is_empty() => Err(fields.wrong("prompt", &format!("{what}, is a list of none")).into()),
            Err(_) => Err(Unsupported::new("prompt", "is several prompts, and a chat answers one: send them one by one").into()),
        };
    }
    let is_ids = serde_json::from_str::<Vec<u64>>(raw.get()).is_ok() || serde_json::from_str::<Vec<Vec<u64>>>(raw.get()).is_ok();
    if is_ids {
        return Err(Unsupported::new("prompt", "is token ids, which mean nothing to this model: send the text").into());
    }
    Err(fields.wrong("prompt", &format!("{what}, is {}", shown(raw))).into())
}

/// An answer, or one change of it.
#[derive(Serialize)]
struct Text<'a> {
    text: &'a str,
    index: u32,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

/// Writes an answer. Thoughts have no place in this protocol.
#[must_use]
pub fn write_answer(answer: &Answer, said: &Said) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        id: &'a str,
        object: &'static str,
        created: i64,
        model: &'a str,
        choices: Vec<Text<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        usage: Option<Written>,
    }
    let ours = format!("cmpl-{}", said.id);
    let texts: Vec<String> = answer.choices.iter().map(text).collect();
    let choices = answer.choices.iter().zip(&texts).zip(0..);
    let body = Body {
        id: answer.id.as_deref().unwrap_or(&ours),
        object: "text_completion",
        created: said.created,
        model: &said.model,
        choices: choices
            .map(|((choice, text), index)| Text {
                text,
                index,
                logprobs: None,
                finish_reason: Some(finish_reason(&choice.stop)),
            })
            .collect(),
        usage: answer.usage.as_ref().map(Written::from),
    };
    serde_json::to_vec(&body).expect("strings and numbers are always JSON")
}

fn text(choice: &Choice) -> String {
    all(choice, |part| words(part).or_else(|| refusal(part))).unwrap_or_default()
}

/// No tools were offered, so none can be called.
fn finish_reason(stop: &Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence(_) | Stop::ToolCalls => "stop",
        Stop::Length => "length",
        Stop::Filtered => "content_filter",
    }
}

/// Writes a stream of completions: the texts, for each answer the reason of its end, the report of tokens if it was asked for, `[DONE]`.
#[derive(Debug)]
pub struct Writer {
    frame: Frame,
}

impl Writer {
    /// A stream whose chunks repeat `said`, with a report of tokens if it was asked for (`stream_options.include_usage`).
    #[must_use]
    pub fn new(said: Said, usage_asked: bool) -> Self {
        Self {
            frame: Frame::new("text_completion", "cmpl-", said, usage_asked),
        }
    }
}

impl WriteStream for Writer {
    fn write(&mut self, change: &Delta, events: &mut Vec<u8>) {
        if self.frame.is_over() {
            return;
        }
        let text = |text, index, finish_reason| Text {
            text,
            index,
            logprobs: None,
            finish_reason,
        };
        match change {
            Delta::Begin { id } => {
                if let Some(id) = id {
                    self.frame.call_it(id);
                }
            }
            Delta::Text { text: added, .. } | Delta::Refusal { text: added, .. } if added.is_empty() => {}
            Delta::Text { choice, text: added } | Delta::Refusal { choice, text: added } => {
                self.frame.write(text(added, *choice, None), events);
            }
            Delta::Stop { choice, stop } => self.frame.write(text("", *choice, Some(finish_reason(stop))), events),
            Delta::Reasoning { .. }
            | Delta::ReasoningSignature { .. }
            | Delta::RedactedReasoning { .. }
            | Delta::ToolCall { .. }
            | Delta::Arguments { .. } => {}
            Delta::Usage(tokens) => self.frame.report(*tokens),
            Delta::End => self.frame.end(events),
            Delta::Failed(error) => self.frame.fail(error, events),
        }
    }
}

#[cfg(test)]
mod tests;
