//! A whole answer of chat completions, read into the common form and written from it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::said::{Said as Message, Words, text};
use super::{finish_reason, read_stop, stop_reason};
use crate::protocol::chat::{Answer, Choice, Part, Said};
use crate::protocol::openai::report::{Report, Written};
use crate::protocol::usage::{Terms, Tokens};

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Vec<ReadChoice<'a>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(default, rename = "service_tier", deserialize_with = "Terms::read_tier")]
    terms: Terms,
}

#[derive(Deserialize)]
struct ReadChoice<'a> {
    #[serde(default)]
    index: u32,
    #[serde(borrow)]
    message: Message<'a>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    stop_reason: Option<&'a RawValue>,
}

/// Reads an answer. `None` when it is none: not of this protocol, an error, or given up by the engine.
#[must_use]
pub fn read_answer(body: &[u8]) -> Option<Answer> {
    let mut read: Read<'_> = serde_json::from_slice(body).ok()?;
    read.choices.sort_by_key(|choice| choice.index);
    let report = read.usage.and_then(|usage| serde_json::from_str::<Report>(usage.get()).ok());
    Some(Answer {
        id: text(read.id),
        choices: read.choices.iter().map(read_choice).collect::<Option<_>>()?,
        usage: report.and_then(|report| report.tokens()).map(|tokens| Tokens {
            terms: read.terms,
            ..tokens
        }),
    })
}

fn read_choice(choice: &ReadChoice<'_>) -> Option<Choice> {
    let words = choice.message.words().into_iter().map(|words| match words {
        Words::Text(text) => Part::Text(text),
        Words::Reasoning(text) => Part::Reasoning { text, signature: None },
        Words::Refusal(words) => Part::Refusal(words),
    });
    let calls = choice.message.calls();
    let has_calls = !calls.is_empty();
    let calls = calls.into_iter().enumerate().map(|(index, call)| Part::ToolCall {
        id: call.id().unwrap_or_else(|| format!("call_{}_{index}", choice.index)),
        name: call.name().unwrap_or_default(),
        arguments: call.arguments().into_owned(),
    });
    let reason = text(choice.finish_reason).unwrap_or_default();
    Some(Choice {
        stop: read_stop(&reason, text(choice.stop_reason), has_calls)?,
        parts: words.chain(calls).collect(),
    })
}

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: Vec<WrittenChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Written>,
}

#[derive(Serialize)]
struct WrittenChoice<'a> {
    index: usize,
    message: WrittenMessage<'a>,
    logprobs: Option<()>,
    finish_reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_reason: Option<&'a str>,
}

#[derive(Serialize)]
struct WrittenMessage<'a> {
    role: &'static str,
    content: Option<String>,
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WrittenCall<'a>>,
}

#[derive(Serialize)]
struct WrittenCall<'a> {
    id: &'a str,
    r#type: &'static str,
    function: WrittenFunction<'a>,
}

#[derive(Serialize)]
struct WrittenFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

/// Writes an answer. Thoughts come under both names that clients look for; the seals on them, and thoughts that only the provider can read,
/// have no place in this protocol.
#[must_use]
pub fn write_answer(answer: &Answer, said: &Said) -> Vec<u8> {
    let ours = format!("chatcmpl-{}", said.id);
    let thoughts: Vec<String> = answer
        .choices
        .iter()
        .map(|choice| all(choice, thought).unwrap_or_default())
        .collect();
    let choices = answer.choices.iter().zip(&thoughts).enumerate();
    let body = Body {
        id: answer.id.as_deref().unwrap_or(&ours),
        object: "chat.completion",
        created: said.created,
        model: &said.model,
        choices: choices
            .map(|(index, (choice, thoughts))| write_choice(index, choice, thoughts))
            .collect(),
        usage: answer.usage.as_ref().map(Written::from),
    };
    serde_json::to_vec(&body).expect("strings and numbers are always JSON")
}

fn write_choice<'a>(index: usize, choice: &'a Choice, thoughts: &'a str) -> WrittenChoice<'a> {
    let calls = choice.parts.iter().filter_map(|part| match part {
        Part::ToolCall { id, name, arguments } => Some(WrittenCall {
            id,
            r#type: "function",
            function: WrittenFunction {
                name,
                arguments: if arguments.is_empty() { "{}" } else { arguments },
            },
        }),
        _ => None,
    });
    let tool_calls: Vec<_> = calls.collect();
    let refusal = all(choice, refusal);
    let nothing = (tool_calls.is_empty() && refusal.is_none()).then(String::new);
    let thoughts = Some(thoughts).filter(|thoughts| !thoughts.is_empty());
    WrittenChoice {
        index,
        message: WrittenMessage {
            role: "assistant",
            content: all(choice, words).or(nothing),
            refusal,
            reasoning_content: thoughts,
            reasoning: thoughts,
            tool_calls,
        },
        logprobs: None,
        finish_reason: finish_reason(&choice.stop),
        stop_reason: stop_reason(&choice.stop),
    }
}

/// All texts of a kind that an answer has, if it has any.
pub(in crate::protocol::openai) fn all(choice: &Choice, of: fn(&Part) -> Option<&str>) -> Option<String> {
    let text: String = choice.parts.iter().filter_map(of).collect();
    Some(text).filter(|text| !text.is_empty())
}

/// What was said.
pub(in crate::protocol::openai) fn words(part: &Part) -> Option<&str> {
    match part {
        Part::Text(text) => Some(text),
        _ => None,
    }
}

/// The words with which the model declined.
pub(in crate::protocol::openai) fn refusal(part: &Part) -> Option<&str> {
    match part {
        Part::Refusal(words) => Some(words),
        _ => None,
    }
}

fn thought(part: &Part) -> Option<&str> {
    match part {
        Part::Reasoning { text, .. } => Some(text),
        _ => None,
    }
}
