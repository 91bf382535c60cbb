//! What only Gemini can read, in a conversation that goes on with another model: the seals in its calls' ids, and those on its thoughts.

use std::borrow::Cow;

use crate::protocol::chat::{Lost, Part, Request};
use crate::protocol::gemini::{is_seal, short_id};

/// The request without them: ids of calls and of their results are short, as other providers want them, and seals are noted as left out.
/// Copied only where there is something to change.
pub(super) fn without_seals<'a>(request: &'a Request, lost: &mut Lost) -> Cow<'a, Request> {
    let mut parts = request.messages.iter().flat_map(|message| &message.parts);
    if !parts.any(is_geminis) {
        return Cow::Borrowed(request);
    }
    let mut request = request.clone();
    for (at, message) in request.messages.iter_mut().enumerate() {
        for (index, part) in message.parts.iter_mut().enumerate() {
            match part {
                Part::ToolCall { id, .. } | Part::ToolResult { id, .. } => *id = short_id(id).to_owned(),
                Part::Reasoning { signature, .. } if signature.as_deref().is_some_and(is_seal) => {
                    *signature = None;
                    lost.note(format!("messages[{at}].content[{index}].signature"));
                }
                _ => {}
            }
        }
        // A seal without words was all that there was.
        message
            .parts
            .retain(|part| !matches!(part, Part::Reasoning { text, signature: None } if text.is_empty()));
    }
    request.messages.retain(|message| !message.parts.is_empty());
    Cow::Owned(request)
}

fn is_geminis(part: &Part) -> bool {
    match part {
        Part::ToolCall { id, .. } | Part::ToolResult { id, .. } => short_id(id).len() < id.len(),
        Part::Reasoning {
            signature: Some(signature),
            ..
        } => is_seal(signature),
        _ => false,
    }
}
