//! What a request does beside answering.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::protocol::Operation;
use crate::protocol::error::Error;

#[derive(Deserialize)]
struct Tool<'a> {
    /// Anthropic's tools have none where the client runs them.
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
}

/// A request of OpenAI's Responses.
#[derive(Deserialize)]
struct Response<'a> {
    background: Option<bool>,
    conversation: Option<IgnoredAny>,
    /// Stored at the provider, with tools that are not seen here.
    prompt: Option<IgnoredAny>,
    #[serde(borrow)]
    tools: Option<Vec<Tool<'a>>>,
}

/// A request of Anthropic's Messages.
#[derive(Deserialize)]
struct Message<'a> {
    mcp_servers: Option<Vec<IgnoredAny>>,
    container: Option<IgnoredAny>,
    #[serde(borrow)]
    tools: Option<Vec<Tool<'a>>>,
}

/// A request of OpenAI's Chat Completions.
#[derive(Deserialize)]
struct Chat<'a> {
    web_search_options: Option<IgnoredAny>,
    #[serde(borrow)]
    tools: Option<Vec<Tool<'a>>>,
}

/// Anthropic's own tools that clients run, by what comes before the date in their type
/// (<https://docs.claude.com/en/docs/agents-and-tools/tool-use/overview>).
const RUN_BY_CLIENTS: [&str; 4] = ["bash_", "text_editor_", "computer_", "memory_"];

/// Whether the provider may do something that it would do twice for a request that is sent twice: run in the background, add to a
/// conversation or a container that it keeps, or use tools of its own. What cannot be read may.
pub(super) fn has_effects(operation: Operation, body: &[u8]) -> bool {
    match operation {
        Operation::Responses => serde_json::from_slice(body).map_or(true, |asked: Response<'_>| {
            asked.background == Some(true)
                || asked.conversation.is_some()
                || asked.prompt.is_some()
                || any_runs(asked.tools, is_run_by_openai)
        }),
        Operation::Messages => serde_json::from_slice(body).map_or(true, |asked: Message<'_>| {
            asked.mcp_servers.is_some_and(|servers| !servers.is_empty())
                || asked.container.is_some()
                || any_runs(asked.tools, is_run_by_anthropic)
        }),
        Operation::ChatCompletions => serde_json::from_slice(body).map_or(true, |asked: Chat<'_>| {
            asked.web_search_options.is_some() || any_runs(asked.tools, is_run_by_openai)
        }),
        Operation::Completions | Operation::Embeddings | Operation::CountTokens => false,
    }
}

fn any_runs(tools: Option<Vec<Tool<'_>>>, is_run: fn(Option<&str>) -> bool) -> bool {
    tools.into_iter().flatten().any(|tool| is_run(tool.kind.as_deref()))
}

/// A tool without a type is one of a client's that forgot it.
fn is_run_by_openai(kind: Option<&str>) -> bool {
    kind.is_some_and(|kind| kind != "function" && kind != "custom")
}

fn is_run_by_anthropic(kind: Option<&str>) -> bool {
    let is_a_clients = |kind: &str| {
        let mut dates = RUN_BY_CLIENTS.iter().filter_map(|prefix| kind.strip_prefix(prefix));
        kind == "custom" || dates.any(|date| date.bytes().all(|byte| byte.is_ascii_digit()))
    };
    kind.is_some_and(|kind| !is_a_clients(kind))
}

/// Whether the provider keeps the answer, or makes it from what it keeps: then it is the provider's to give, as long as it does. OpenAI's
/// Responses are kept unless the request says otherwise. What cannot be read may be.
pub(super) fn is_kept(operation: Operation, body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Fields {
        store: Option<bool>,
        previous_response_id: Option<IgnoredAny>,
    }
    let keeps_unasked = match operation {
        Operation::Responses => true,
        Operation::ChatCompletions => false,
        Operation::Messages | Operation::Completions | Operation::Embeddings | Operation::CountTokens => return false,
    };
    serde_json::from_slice(body).map_or(true, |asked: Fields| {
        asked.store.unwrap_or(keeps_unasked) || asked.previous_response_id.is_some()
    })
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
    fn what_the_provider_keeps_is_known() {
        use Operation::{ChatCompletions, Messages, Responses};
        for (operation, body, kept) in [
            (Responses, r#"{"input":"x"}"#, true),
            (Responses, r#"{"input":"x","store":null}"#, true),
            (Responses, r#"{"input":"x","store":false}"#, false),
            (Responses, r#"{"input":"x","store":false,"previous_response_id":"resp_1"}"#, true),
            (ChatCompletions, r#"{"messages":[]}"#, false),
            (ChatCompletions, r#"{"messages":[],"store":true}"#, true),
            (ChatCompletions, r#"{"messages":[],"store":"yes"}"#, true),
            (Messages, r#"{"messages":[]}"#, false),
        ] {
            assert_eq!(is_kept(operation, body.as_bytes()), kept, "{operation:?} {body}");
        }
    }

    #[test]
    fn what_would_be_done_twice_is_known_in_every_protocol() {
        use Operation::{ChatCompletions, Completions, CountTokens, Embeddings, Messages, Responses};
        for (operation, body, has) in [
            (Responses, r#"{"input":"x"}"#, false),
            (Responses, r#"{"background":false,"tools":[{"type":"function","name":"f"}]}"#, false),
            (Responses, r#"{"background":true}"#, true),
            (Responses, r#"{"conversation":"conv_1"}"#, true),
            (Responses, r#"{"prompt":{"id":"pmpt_1"}}"#, true),
            (Responses, r#"{"prompt":null,"conversation":null,"tools":null}"#, false),
            (Responses, r#"{"tools":[{"type":"function"},{"type":"web_search"}]}"#, true),
            (Responses, r#"{"tools":7}"#, true),
            (Messages, r#"{"messages":[]}"#, false),
            (
                Messages,
                r#"{"tools":[{"name":"f"},{"type":"custom","name":"g"},{"type":null,"name":"h"}]}"#,
                false,
            ),
            (
                Messages,
                r#"{"tools":[{"type":"bash_20250124"},{"type":"text_editor_20250728"},{"type":"computer_20250124"},{"type":"memory_20250818"}]}"#,
                false,
            ),
            (Messages, r#"{"tools":[{"name":"f"},{"type":"web_search_20250305"}]}"#, true),
            (Messages, r#"{"tools":[{"type":"web_fetch_20250910"}]}"#, true),
            (Messages, r#"{"tools":[{"type":"code_execution_20250825"}]}"#, true),
            (Messages, r#"{"tools":[{"type":"mcp_toolset"}]}"#, true),
            (Messages, r#"{"tools":[{"type":"bash_code_execution_20250825"}]}"#, true),
            (Messages, r#"{"mcp_servers":[]}"#, false),
            (Messages, r#"{"mcp_servers":[{"type":"url","url":"https://x"}]}"#, true),
            (Messages, r#"{"container":"container_1"}"#, true),
            (Messages, r#"{"mcp_servers":{}}"#, true),
            (ChatCompletions, r#"{"messages":[]}"#, false),
            (
                ChatCompletions,
                r#"{"tools":[{"type":"function"},{"type":"custom"}],"web_search_options":null}"#,
                false,
            ),
            (ChatCompletions, r#"{"web_search_options":{}}"#, true),
            (ChatCompletions, r#"{"tools":[{"type":"function"},{"type":"mcp"}]}"#, true),
            (ChatCompletions, r#"{"tools":7}"#, true),
            (Completions, r#"{"prompt":"x"}"#, false),
            (Embeddings, r#"{"input":"x"}"#, false),
            (CountTokens, r#"{"tools":[{"type":"web_search_20250305"}]}"#, false),
        ] {
            assert_eq!(has_effects(operation, body.as_bytes()), has, "{operation:?} {body}");
        }
    }
}
