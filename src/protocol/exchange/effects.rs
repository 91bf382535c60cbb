//! What a request of OpenAI's Responses does beside answering.

use serde::Deserialize;
use serde::de::IgnoredAny;

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
