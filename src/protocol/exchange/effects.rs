//! What a request of OpenAI's Responses does beside answering.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::protocol::error::Error;

#[derive(Deserialize)]
struct Fields<'a> {
    background: Option<bool>,
    conversation: Option<IgnoredAny>,
    #[serde(borrow)]
    tools: Option<Vec<Tool<'a>>>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
}

/// Whether the provider may do something that it would do twice for a request that is sent twice: run in the background, add to a
/// conversation that it keeps, or use tools of its own. What cannot be read may.
pub(super) fn has_effects(body: &[u8]) -> bool {
    let Ok(fields) = serde_json::from_slice::<Fields<'_>>(body) else {
        return true;
    };
    let is_own = |tool: &Tool<'_>| tool.kind != "function" && tool.kind != "custom";
    fields.background == Some(true) || fields.conversation.is_some() || fields.tools.iter().flatten().any(is_own)
}

/// Whether it goes on with what the provider keeps: an earlier response or a conversation.
pub(super) fn goes_on(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Fields {
        previous_response_id: Option<IgnoredAny>,
        conversation: Option<IgnoredAny>,
    }
    serde_json::from_slice::<Fields>(body).is_ok_and(|fields| fields.previous_response_id.is_some() || fields.conversation.is_some())
}

/// Whether an error is about what a request goes on with, and not about the model.
pub(super) fn is_about_the_past(error: &Error) -> bool {
    let param = error.param.as_deref().unwrap_or_default();
    let code = error.code.as_deref().unwrap_or_default();
    matches!(param, "previous_response_id" | "response_id" | "conversation" | "conversation_id")
        || matches!(
            code,
            "previous_response_not_found" | "response_not_found" | "conversation_not_found"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_done_twice_is_known() {
        for (body, has) in [
            (r#"{"input":"x"}"#, false),
            (r#"{"background":false,"tools":[{"type":"function","name":"f"}]}"#, false),
            (r#"{"background":true}"#, true),
            (r#"{"conversation":"conv_1"}"#, true),
            (r#"{"tools":[{"type":"function"},{"type":"web_search"}]}"#, true),
            (r#"{"tools":7}"#, true),
        ] {
            assert_eq!(has_effects(body.as_bytes()), has, "{body}");
        }
    }
}
