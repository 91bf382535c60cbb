//! The messages of a request, written from the common form.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::super::Flavor;
use super::content::{self, Content, Item};
use crate::protocol::chat::{self, Lost, Part, Role, Unsupported};

#[derive(Default, Serialize)]
pub(super) struct Message<'a> {
    role: &'static str,
    content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<String>,
    /// The name that llama.cpp, DeepSeek and others read.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    /// The name that vLLM reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
}

#[derive(Serialize)]
struct Call<'a> {
    id: String,
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: &'a str,
}

/// Writes a conversation.
pub(super) fn write_all<'a>(messages: &'a [chat::Message], flavor: Flavor, lost: &mut Lost) -> Result<Vec<Message<'a>>, Unsupported> {
    let mut written = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        let at = format!("messages[{index}]");
        match message.role {
            Role::System => written.push(write_system(message, &at, flavor, lost)?),
            Role::User => write_user(message, &at, flavor, lost, &mut written)?,
            Role::Assistant => written.push(write_assistant(message, &at, flavor, lost)?),
        }
    }
    Ok(written)
}

fn write_system<'a>(message: &'a chat::Message, at: &str, flavor: Flavor, lost: &mut Lost) -> Result<Message<'a>, Unsupported> {
    let mut items = Vec::with_capacity(message.parts.len());
    for (index, part) in chat::placed(&message.parts) {
        let place = format!("{at}.content[{index}]");
        if !matches!(part, Part::Text(_) | Part::CachePoint(_)) {
            return Err(Unsupported::new(
                place,
                "is not text, and instructions are text in this model's protocol",
            ));
        }
        items.extend(content::write_part(part, &place, flavor, lost)?);
    }
    Ok(Message {
        role: "system",
        content: Some(Content::of(items)),
        ..Message::default()
    })
}

/// Each result of a tool is a message of its own, before what the user says: nothing may stand between a call and its result. Pictures and
/// documents that a tool returned are shown by the user, except to Mistral, where tools may show them.
fn write_user<'a>(
    message: &'a chat::Message,
    at: &str,
    flavor: Flavor,
    lost: &mut Lost,
    written: &mut Vec<Message<'a>>,
) -> Result<(), Unsupported> {
    let (mut shown, mut said) = (Vec::new(), Vec::new());
    for (index, part) in chat::placed(&message.parts) {
        let place = format!("{at}.content[{index}]");
        let Part::ToolResult { id, parts, is_error } = part else {
            said.extend(content::write_part(part, &place, flavor, lost)?);
            continue;
        };
        if *is_error {
            lost.note(format!("{place}.is_error"));
        }
        let mut returned = Vec::with_capacity(parts.len());
        for part in parts {
            let items = content::write_part(part, &place, flavor, lost)?;
            let is_text = matches!(part, Part::Text(_) | Part::CachePoint(_));
            let items_go = if is_text || flavor == Flavor::Mistral {
                &mut returned
            } else {
                &mut shown
            };
            items_go.extend(items);
        }
        written.push(Message {
            role: "tool",
            content: Some(Content::of(returned)),
            tool_call_id: Some(call_id(id, flavor)),
            ..Message::default()
        });
    }
    let has_results = message.parts.iter().any(|part| matches!(part, Part::ToolResult { .. }));
    shown.append(&mut said);
    if !shown.is_empty() || !has_results {
        written.push(Message {
            role: "user",
            content: Some(Content::of(shown)),
            ..Message::default()
        });
    }
    Ok(())
}

fn write_assistant<'a>(message: &'a chat::Message, at: &str, flavor: Flavor, lost: &mut Lost) -> Result<Message<'a>, Unsupported> {
    let (mut items, mut thoughts, mut calls) = (Vec::new(), String::new(), Vec::new());
    for (index, part) in chat::placed(&message.parts) {
        let place = format!("{at}.content[{index}]");
        match part {
            Part::Reasoning { text, signature } => {
                if signature.is_some() {
                    lost.note(format!("{place}.signature"));
                }
                match flavor {
                    Flavor::OpenAI => lost.note(format!("{at}.reasoning_content")),
                    Flavor::Compatible => thoughts.push_str(text),
                    Flavor::Mistral => items.push(Item::thinking(text)),
                }
            }
            Part::RedactedReasoning(_) => lost.note(place),
            Part::Refusal(words) => items.push(match flavor {
                Flavor::OpenAI => Item::Refusal { refusal: words },
                Flavor::Compatible | Flavor::Mistral => Item::Text { text: words.into() },
            }),
            Part::ToolCall { id, name, arguments } => calls.push(Call {
                id: call_id(id, flavor),
                r#type: "function",
                function: Function {
                    name,
                    // No arguments at all are none of JSON's values, and engines read them as JSON.
                    arguments: if arguments.is_empty() { "{}" } else { arguments },
                },
            }),
            Part::Text(_) | Part::CachePoint(_) => items.extend(content::write_part(part, &place, flavor, lost)?),
            Part::Image { .. } | Part::Document { .. } | Part::Audio { .. } | Part::ToolResult { .. } => {
                return Err(Unsupported::new(place, "is nothing that a model says in this model's protocol"));
            }
        }
    }
    let thoughts = Some(thoughts).filter(|thoughts| !thoughts.is_empty());
    Ok(Message {
        role: "assistant",
        content: (!items.is_empty() || calls.is_empty()).then(|| Content::of(items)),
        reasoning_content: thoughts.clone(),
        reasoning: thoughts,
        tool_calls: calls,
        ..Message::default()
    })
}

/// The name of a call. Mistral takes nine letters and digits and nothing else; the same name always becomes the same nine.
fn call_id(id: &str, flavor: Flavor) -> String {
    const LENGTH: usize = 9;
    let fits = id.len() == LENGTH && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if flavor != Flavor::Mistral || fits {
        return id.to_owned();
    }
    let letters = STANDARD.encode(Sha256::digest(id.as_bytes()));
    letters.chars().filter(char::is_ascii_alphanumeric).take(LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn mistral_takes_the_name_of_every_call(id in "\\PC{0,40}") {
            let written = call_id(&id, Flavor::Mistral);
            prop_assert!(written.len() == 9 && written.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            prop_assert_eq!(call_id(&written, Flavor::Mistral), written);
        }
    }
}
