//! What a request does beside answering.

use super::Asked;
use crate::protocol::Operation;
use crate::protocol::error::Error;
use crate::protocol::fees::any_is;
use crate::protocol::outline::{Field, Twice};

/// Anthropic's own tools that clients run, by what comes before the date in their type
/// (<https://docs.claude.com/en/docs/agents-and-tools/tool-use/overview>).
const RUN_BY_CLIENTS: [&str; 4] = ["bash_", "text_editor_", "computer_", "memory_"];

impl Asked {
    /// Whether the provider may do something that it would do twice for a request that is sent twice: run in the background, add to a
    /// conversation or a container that it keeps, or use tools of its own. What cannot be read may.
    pub(super) fn has_effects(&self) -> bool {
        let has = |field| self.given(field) != Ok(None);
        let any_tool = |is_run: fn(&str) -> bool| match self.given(Field::Tools) {
            Ok(tools) => tools.is_some_and(|tools| any_is(tools, is_run)),
            Err(Twice) => true,
        };
        match self.operation {
            Operation::Responses => {
                let is_awaited = matches!(self.given(Field::Background), Ok(None | Some(b"false")));
                // A prompt is stored at the provider, with tools that are not seen here.
                !is_awaited || has(Field::Conversation) || has(Field::Prompt) || any_tool(is_run_by_openai)
            }
            Operation::Messages => {
                let has_servers = match self.given(Field::McpServers) {
                    Ok(servers) => servers.is_some_and(|servers| !is_empty_list(servers)),
                    Err(Twice) => true,
                };
                has_servers || has(Field::Container) || any_tool(is_run_by_anthropic)
            }
            Operation::ChatCompletions => has(Field::WebSearchOptions) || any_tool(is_run_by_openai),
            Operation::Completions | Operation::Embeddings | Operation::CountTokens => false,
        }
    }

    /// Whether the provider keeps the answer, or makes it from what it keeps: then it is the provider's to give, as long as it does. OpenAI's
    /// Responses are kept unless the request says otherwise. What cannot be read may be.
    #[must_use]
    pub fn is_kept_elsewhere(&self) -> bool {
        let keeps_unasked = match self.operation {
            Operation::Responses => true,
            Operation::ChatCompletions => false,
            Operation::Messages | Operation::Completions | Operation::Embeddings | Operation::CountTokens => return false,
        };
        let is_stored = match self.given(Field::Store) {
            Ok(None) => keeps_unasked,
            stored => stored != Ok(Some(b"false")),
        };
        is_stored || self.given(Field::PreviousResponseId) != Ok(None)
    }

    /// Whether it goes on with what the provider keeps: an earlier response or a conversation. What says one of them twice may.
    pub(super) fn goes_on(&self) -> bool {
        [Field::PreviousResponseId, Field::Conversation]
            .into_iter()
            .any(|field| self.given(field) != Ok(None))
    }
}

fn is_run_by_openai(kind: &str) -> bool {
    kind != "function" && kind != "custom"
}

fn is_run_by_anthropic(kind: &str) -> bool {
    let mut dates = RUN_BY_CLIENTS.iter().filter_map(|prefix| kind.strip_prefix(prefix));
    kind != "custom" && !dates.any(|date| date.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_empty_list(value: &[u8]) -> bool {
    value.strip_prefix(b"[").is_some_and(|rest| rest.trim_ascii_start() == b"]")
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

    /// A request with these fields.
    fn asked(operation: Operation, fields: &str) -> Asked {
        let more = fields.strip_prefix('{').unwrap();
        Asked::read(operation, format!(r#"{{"model":"m",{more}"#).into()).unwrap()
    }

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
            (ChatCompletions, r#"{"messages":[],"store":false,"store":false}"#, true),
            (ChatCompletions, r#"{"messages":[{"store":true}],"metadata":{"store":true}}"#, false),
            (ChatCompletions, r#"{"messages":[],"sto\u0072e":true}"#, true),
            (Messages, r#"{"messages":[]}"#, false),
        ] {
            assert_eq!(asked(operation, body).is_kept_elsewhere(), kept, "{operation:?} {body}");
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
            (Responses, r#"{"background":"yes"}"#, true),
            (
                Responses,
                r#"{"background":null,"input":[{"background":true,"conversation":"c"}]}"#,
                false,
            ),
            (Responses, r#"{"conversation":null,"conversation":null}"#, true),
            (Responses, r#"{"c\u006fnversation":"conv_1"}"#, true),
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
            (Messages, r#"{"mcp_servers":[ ]}"#, false),
            (Messages, r#"{"mcp_servers":[],"mcp_servers":[]}"#, true),
            (Messages, r#"{"tools":[{"type":"\ud800"}]}"#, true),
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
            assert_eq!(asked(operation, body).has_effects(), has, "{operation:?} {body}");
        }
    }
}
