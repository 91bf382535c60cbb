//! A client of OpenAI's chat completions.

use super::{Case, Client, openai};

pub(super) fn client() -> Client {
    Client {
        name: "chat",
        path: "/v1/chat/completions",
        request: |case| Ok(request(case)),
        passes_to: &["OpenAI", "AzureOpenAI", "OpenAICompatible", "own pods"],
        passing_path: "/chat/completions",
        native: None,
        answer,
        lost: "",
        own_id: ["chatcmpl-req1", "ID"],
        names_schemas: true,
    }
}

fn request(case: Case) -> String {
    let mut request = openai::asked("assistant", "max_completion_tokens", "required", case.talk(), true);
    request.pop();
    let stream = match case {
        Case::UsageStream => r#","stream":true,"stream_options":{"include_usage":true}}"#,
        _ if case.is_streamed() => r#","stream":true}"#,
        _ => "}",
    };
    request + stream
}

fn answer(case: Case) -> String {
    let text = match case {
        Case::Plain | Case::Image => {
            r#"{"id":"ID","object":"chat.completion","created":0,"model":"assistant","choices":[{"index":0,"message":{"role":"assistant","content":"Paris","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}"#
        }
        Case::Stream => {
            r#"data: {"id":"ID","object":"chat.completion.chunk","created":0,"model":"assistant","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]}

data: {"id":"ID","object":"chat.completion.chunk","created":0,"model":"assistant","choices":[{"index":0,"delta":{"content":"Par"},"logprobs":null,"finish_reason":null}]}

data: {"id":"ID","object":"chat.completion.chunk","created":0,"model":"assistant","choices":[{"index":0,"delta":{"content":"is"},"logprobs":null,"finish_reason":null}]}

data: {"id":"ID","object":"chat.completion.chunk","created":0,"model":"assistant","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}

data: [DONE]

"#
        }
        Case::Tools => {
            r#"{"id":"ID","object":"chat.completion","created":0,"model":"assistant","choices":[{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"CALL","type":"function","function":{"name":"get_weather","arguments":"{\"city\":\"Lyon\"}"}}]},"logprobs":null,"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}"#
        }
        Case::ToolsStream => {
            r#"data: {"id":"ID","object":"chat.completion.chunk","created":0,"model":"assistant","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]}

data: {"id":"ID","object":"chat.completion.chunk","created":0,"model":"assistant","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"CALL","type":"function","function":{"name":"get_weather","arguments":""}}]},"logprobs":null,"finish_reason":null}]}

data: {"id":"ID","object":"chat.completion.chunk","created":0,"model":"assistant","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\":\"Lyon\"}"}}]},"logprobs":null,"finish_reason":null}]}

data: {"id":"ID","object":"chat.completion.chunk","created":0,"model":"assistant","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"tool_calls"}]}

data: [DONE]

"#
        }
        Case::Schema => {
            r#"{"id":"ID","object":"chat.completion","created":0,"model":"assistant","choices":[{"index":0,"message":{"role":"assistant","content":"{\"city\":\"Paris\"}","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}"#
        }
        Case::Fault => r#"{"error":{"message":"temperature is too high","type":"invalid_request_error","param":null,"code":null}}"#,
        Case::Throttled => {
            r#"{"error":{"message":"no model of RoutingPolicy claims/assistant answered: MODEL has no capacity or quota left (429)","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}"#
        }
        Case::Usage => {
            r#"{"id":"ID","object":"chat.completion","created":0,"model":"assistant","choices":[{"index":0,"message":{"role":"assistant","content":"Paris","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":16,"completion_tokens":8,"total_tokens":24,"prompt_tokens_details":{"cached_tokens":6,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":"THOUGHTS","audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}"#
        }
        Case::UsageStream => {
            r#"data: {"id":"ID","object":"chat.completion.chunk","created":0,"model":"assistant","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}

data: {"id":"ID","object":"chat.completion.chunk","created":0,"model":"assistant","choices":[{"index":0,"delta":{"content":"Par"},"logprobs":null,"finish_reason":null}],"usage":null}

data: {"id":"ID","object":"chat.completion.chunk","created":0,"model":"assistant","choices":[{"index":0,"delta":{"content":"is"},"logprobs":null,"finish_reason":null}],"usage":null}

data: {"id":"ID","object":"chat.completion.chunk","created":0,"model":"assistant","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}

data: {"id":"ID","object":"chat.completion.chunk","created":0,"model":"assistant","choices":[],"usage":{"prompt_tokens":16,"completion_tokens":8,"total_tokens":24,"prompt_tokens_details":{"cached_tokens":6,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":"THOUGHTS","audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}

data: [DONE]

"#
        }
    };
    text.to_owned()
}
