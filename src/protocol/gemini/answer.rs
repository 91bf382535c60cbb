//! Reads whole answers, the way a stream of one chunk is read.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::chat::{Answer, Choice, Delta, Part as Said, Stop};
use super::super::error::{Error, Kind};
use super::error::{Status, discreet};
use super::stream::Reader;
use super::usage::Usage;

/// An answer, or a chunk of one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response<'a> {
    #[serde(borrow)]
    pub(super) candidates: Option<Vec<Candidate<'a>>>,
    pub(super) prompt_feedback: Option<Feedback>,
    pub(super) usage_metadata: Option<Usage>,
    pub(super) response_id: Option<String>,
    pub(super) error: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Candidate<'a> {
    pub(super) index: Option<u32>,
    #[serde(borrow)]
    pub(super) content: Option<Content<'a>>,
    pub(super) finish_reason: Option<String>,
    pub(super) finish_message: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Content<'a> {
    #[serde(borrow)]
    pub(super) parts: Option<Vec<Part<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part<'a> {
    pub(super) text: Option<String>,
    pub(super) thought: Option<bool>,
    pub(super) thought_signature: Option<String>,
    #[serde(borrow)]
    pub(super) function_call: Option<FunctionCall<'a>>,
    #[serde(borrow)]
    pub(super) inline_data: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) file_data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct FunctionCall<'a> {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    #[serde(borrow)]
    pub(super) args: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Feedback {
    block_reason: Option<String>,
    block_reason_message: Option<String>,
}

impl Response<'_> {
    /// Why there is no answer, if the provider says so.
    pub(super) fn failure(&self) -> Option<Error> {
        if let Some(status) = &self.error {
            return Some(status.error(500));
        }
        let feedback = self.prompt_feedback.as_ref()?;
        let reason = feedback
            .block_reason
            .as_deref()
            .filter(|reason| *reason != "BLOCK_REASON_UNSPECIFIED")?;
        let message = match feedback.block_reason_message.as_deref() {
            Some(message) if !message.is_empty() => discreet(message),
            _ => format!("the provider's filter blocked the request ({})", discreet(reason)),
        };
        Some(Error {
            code: Some("content_filter".to_owned()),
            ..Error::new(Kind::ContentFilter, message)
        })
    }
}

impl Candidate<'_> {
    /// Why it ended: `None` when it has not, an error when it broke off. That it waits for tools Gemini does not say.
    pub(super) fn stop(&self, has_calls: bool) -> Option<Result<Stop, Error>> {
        let reason = self.finish_reason.as_deref()?;
        Some(match reason {
            "STOP" if has_calls => Ok(Stop::ToolCalls),
            "STOP" => Ok(Stop::End),
            "MAX_TOKENS" => Ok(Stop::Length),
            "SAFETY"
            | "RECITATION"
            | "LANGUAGE"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "MODEL_ARMOR"
            | "IMAGE_SAFETY"
            | "IMAGE_PROHIBITED_CONTENT"
            | "IMAGE_RECITATION" => Ok(Stop::Filtered),
            // MALFORMED_FUNCTION_CALL, UNEXPECTED_TOOL_CALL, OTHER and what else may come: the answer is of no use.
            _ => {
                let message = match self.finish_message.as_deref() {
                    Some(message) if !message.is_empty() => discreet(message),
                    _ => format!("the model broke off its answer ({})", discreet(reason)),
                };
                Err(Error::new(Kind::Server, message))
            }
        })
    }
}

/// Reads a whole answer. `None` when it is none; `read_error` tells why.
#[must_use]
pub fn read_answer(body: &[u8]) -> Option<Answer> {
    let mut changes = Vec::new();
    Reader::default().read_chunk(serde_json::from_slice(body).ok()?, &mut changes);
    let mut answer = Answer::default();
    for change in changes {
        collect(&mut answer, change)?;
    }
    (!answer.choices.is_empty()).then_some(answer)
}

/// Why a body with a status of success is no answer.
pub(super) fn failure(body: &[u8]) -> Option<Error> {
    let mut changes = Vec::new();
    Reader::default().read_chunk(serde_json::from_slice(body).ok()?, &mut changes);
    changes.into_iter().find_map(|change| match change {
        Delta::Failed(error) => Some(error),
        _ => None,
    })
}

fn collect(answer: &mut Answer, change: Delta) -> Option<()> {
    let (choice, part) = match change {
        Delta::Begin { id } => {
            answer.id = id;
            return Some(());
        }
        Delta::Usage(tokens) => {
            answer.usage = Some(tokens);
            return Some(());
        }
        Delta::Stop { choice, stop } => {
            at(answer, choice).stop = stop;
            return Some(());
        }
        Delta::Arguments { choice, json, .. } => {
            if let Some(Said::ToolCall { arguments, .. }) = at(answer, choice).parts.last_mut() {
                arguments.push_str(&json);
            }
            return Some(());
        }
        Delta::Failed(_) => return None,
        Delta::End => return Some(()),
        Delta::Text { choice, text } => (choice, Said::Text(text)),
        Delta::Reasoning { choice, text } => (choice, Said::Reasoning { text, signature: None }),
        Delta::ReasoningSignature { choice, signature } => {
            let signature = Some(signature);
            (
                choice,
                Said::Reasoning {
                    text: String::new(),
                    signature,
                },
            )
        }
        Delta::ToolCall { choice, id, name, .. } => {
            let arguments = String::new();
            (choice, Said::ToolCall { id, name, arguments })
        }
        Delta::RedactedReasoning { choice, data } => (choice, Said::RedactedReasoning(data)),
        Delta::Refusal { choice, text } => (choice, Said::Refusal(text)),
    };
    let parts = &mut at(answer, choice).parts;
    match (parts.last_mut(), part) {
        (Some(Said::Text(text)), Said::Text(more)) => text.push_str(&more),
        (
            Some(Said::Reasoning { text, signature: None }),
            Said::Reasoning {
                text: more,
                signature: None,
            },
        ) => text.push_str(&more),
        (_, part) => parts.push(part),
    }
    Some(())
}

/// The choice of that number. The reader gives small ones alone.
fn at(answer: &mut Answer, choice: u32) -> &mut Choice {
    let index = usize::try_from(choice).unwrap_or_default();
    while answer.choices.len() <= index {
        let parts = Vec::new();
        answer.choices.push(Choice { parts, stop: Stop::End });
    }
    &mut answer.choices[index]
}
