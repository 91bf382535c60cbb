//! Providers with OpenAI's chat completions: OpenAI, Azure's, and engines, which say less and call the limit of tokens by its old name.

use super::{PNG, Provider, SCHEMA, Say, Talk, Wire};

pub(super) fn openai() -> Provider {
    Provider {
        name: "OpenAI",
        spec: Some(|url| format!("provider: OpenAI, model: gpt-4.1, endpoint: '{url}/v1'")),
        secret: |_| "sk-1".to_owned(),
        shown: |_| "authorization: Bearer sk-1".to_owned(),
        model: "gpt-4.1",
        paths: ["/v1/chat/completions"; 2],
        prefix: "/v1",
        asked: |talk, is_named| asked("gpt-4.1", "max_completion_tokens", "required", talk, is_named),
        streamed: STREAMED,
        says,
        gives_up: || {
            b"data: {\"error\":{\"message\":\"The server had an error at 10.0.0.1\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n".to_vec()
        },
        id: "chatcmpl-BsQ1",
        call_id: Some(CALL_ID),
        thoughts: 3,
        others: 0,
        vectors: None,
    }
}

pub(super) fn azure() -> Provider {
    Provider {
        name: "AzureOpenAI",
        spec: Some(|url| format!("provider: AzureOpenAI, model: prod-gpt, endpoint: '{url}'")),
        shown: |_| "api-key: sk-1".to_owned(),
        model: "prod-gpt",
        paths: ["/openai/v1/chat/completions"; 2],
        prefix: "/openai/v1",
        asked: |talk, is_named| asked("prod-gpt", "max_completion_tokens", "required", talk, is_named),
        ..openai()
    }
}

pub(super) fn compatible() -> Provider {
    Provider {
        name: "OpenAICompatible",
        spec: Some(|url| format!("provider: OpenAICompatible, model: qwen/qwen3, endpoint: '{url}/api/v1'")),
        model: "qwen/qwen3",
        paths: ["/api/v1/chat/completions"; 2],
        prefix: "/api/v1",
        asked: |talk, is_named| asked("qwen/qwen3", "max_tokens", "required", talk, is_named),
        says: engine_says,
        id: "chatcmpl-77aa",
        call_id: Some(ENGINE_CALL_ID),
        thoughts: 0,
        ..openai()
    }
}

pub(super) fn pod() -> Provider {
    Provider {
        name: "own pods",
        spec: None,
        shown: |_| String::new(),
        model: "triage",
        paths: ["/v1/chat/completions"; 2],
        prefix: "/v1",
        asked: |talk, is_named| asked("triage", "max_tokens", "required", talk, is_named),
        ..compatible()
    }
}

const STREAMED: &str = r#","stream":true,"stream_options":{"include_usage":true}"#;
const CALL_ID: &str = "call_DdmO9pD3xa9XTPNJ32zg2hcA";
const ENGINE_CALL_ID: &str = "chatcmpl-tool-3e7c1b5a9d2f4c68";

/// A conversation in OpenAI's words; `limit` is the name of the field for the most tokens, `must` the word for a call that is demanded.
pub(super) fn asked(model: &str, limit: &str, must: &str, talk: Talk, is_named: bool) -> String {
    let system = r#"{"role":"system","content":"You are brief."}"#;
    // Who has no names for schemas always keeps to them.
    let strict = if is_named { "" } else { r#","strict":true"# };
    let (said, more) = match talk {
        Talk::Prompt => (r#"{"role":"user","content":"The capital of France?"}"#.to_owned(), String::new()),
        Talk::Words => (
            format!(r#"{system},{{"role":"user","content":"The capital of France?"}}"#),
            String::new(),
        ),
        Talk::Tools => (
            format!(
                r#"{system},{{"role":"user","content":"The weather in Paris, then in Lyon?"}},
                {{"role":"assistant","content":null,"tool_calls":[{{"id":"callpar01","type":"function","function":{{"name":"get_weather","arguments":"{{\"city\":\"Paris\"}}"}}}}]}},
                {{"role":"tool","tool_call_id":"callpar01","content":"18 C"}}"#
            ),
            format!(
                r#","tools":[{{"type":"function","function":{{"name":"get_weather","description":"The weather of a city.","parameters":{SCHEMA}}}}}],"tool_choice":"{must}""#
            ),
        ),
        Talk::Schema => (
            format!(r#"{system},{{"role":"user","content":"The capital of France?"}}"#),
            format!(r#","response_format":{{"type":"json_schema","json_schema":{{"name":"answer","schema":{SCHEMA}{strict}}}}}"#),
        ),
        Talk::Image => (
            format!(
                r#"{system},{{"role":"user","content":[{{"type":"text","text":"Where is this?"}},{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{PNG}"}}}}]}}"#
            ),
            String::new(),
        ),
    };
    format!(r#"{{"model":"{model}","messages":[{said}],"{limit}":64,"temperature":0.5{more}}}"#)
}

fn says(say: Say, is_streamed: bool) -> Wire {
    let (prompt, cached, answer, thoughts) = if say == Say::Costly { (16, 6, 8, 3) } else { (10, 0, 2, 0) };
    let usage = format!(
        r#"{{"prompt_tokens":{prompt},"completion_tokens":{answer},"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":{cached},"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":{thoughts},"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}}"#,
        prompt + answer
    );
    let words = if say == Say::Json {
        [r#"{\"city\":"#, r#"\"Paris\"}"#]
    } else {
        ["Par", "is"]
    };
    match say {
        Say::Fault => Wire::fault(
            "{\n  \"error\": {\n    \"message\": \"temperature is too high\",\n    \"type\": \"invalid_request_error\",\n    \"param\": \"temperature\",\n    \"code\": \"invalid_value\"\n  }\n}",
        ),
        Say::Throttled => Wire::throttled(
            r#"{"error":{"message":"Rate limit reached for gpt-4.1 in organization acme","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#,
        ),
        _ if is_streamed => {
            let chunk = |delta: &str, reason: &str| {
                format!(
                    r#"data: {{"id":"chatcmpl-BsQ1","object":"chat.completion.chunk","created":1752580000,"model":"gpt-4.1-2025-04-14","service_tier":"default","system_fingerprint":"fp_1","choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{reason}}}],"usage":null}}"#
                ) + "\n\n"
            };
            let events = if say == Say::Call {
                [
                    chunk(
                        &format!(
                            r#"{{"role":"assistant","content":null,"tool_calls":[{{"index":0,"id":"{CALL_ID}","type":"function","function":{{"name":"get_weather","arguments":""}}}}],"refusal":null}}"#
                        ),
                        "null",
                    ),
                    chunk(r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\":\"Lyon\"}"}}]}"#, "null"),
                    chunk("{}", "\"tool_calls\""),
                ]
                .concat()
            } else {
                [
                    chunk(r#"{"role":"assistant","content":"","refusal":null}"#, "null"),
                    chunk(&format!(r#"{{"content":"{}"}}"#, words[0]), "null"),
                    chunk(&format!(r#"{{"content":"{}"}}"#, words[1]), "null"),
                    chunk("{}", "\"stop\""),
                ]
                .concat()
            };
            let report = format!(
                r#"data: {{"id":"chatcmpl-BsQ1","object":"chat.completion.chunk","created":1752580000,"model":"gpt-4.1-2025-04-14","service_tier":"default","system_fingerprint":"fp_1","choices":[],"usage":{usage}}}"#
            ) + "\n\n";
            Wire {
                report: Some(report.clone()),
                ..Wire::events(format!("{events}{report}data: [DONE]\n\n"))
            }
        }
        _ => {
            let (message, reason) = if say == Say::Call {
                let call = format!(
                    r#"{{"role":"assistant","content":null,"tool_calls":[{{"id":"{CALL_ID}","type":"function","function":{{"name":"get_weather","arguments":"{{\"city\":\"Lyon\"}}"}}}}],"refusal":null,"annotations":[]}}"#
                );
                (call, "tool_calls")
            } else {
                let text = format!(
                    r#"{{"role":"assistant","content":"{}","refusal":null,"annotations":[]}}"#,
                    words.concat()
                );
                (text, "stop")
            };
            Wire::json(format!(
                r#"{{"id":"chatcmpl-BsQ1","object":"chat.completion","created":1752580000,"model":"gpt-4.1-2025-04-14","choices":[{{"index":0,"message":{message},"logprobs":null,"finish_reason":"{reason}"}}],"usage":{usage},"service_tier":"default","system_fingerprint":"fp_1"}}"#
            ))
        }
    }
}

/// As vLLM says it.
fn engine_says(say: Say, is_streamed: bool) -> Wire {
    let (prompt, cached, answer) = if say == Say::Costly { (16, 6, 8) } else { (10, 0, 2) };
    let details = if cached > 0 {
        format!(r#"{{"cached_tokens":{cached}}}"#)
    } else {
        "null".to_owned()
    };
    let usage = format!(
        r#"{{"prompt_tokens":{prompt},"total_tokens":{},"completion_tokens":{answer},"prompt_tokens_details":{details}}}"#,
        prompt + answer
    );
    let words = if say == Say::Json {
        [r#"{\"city\":"#, r#"\"Paris\"}"#]
    } else {
        ["Par", "is"]
    };
    match say {
        Say::Fault => Wire::fault(r#"{"error":{"message":"temperature is too high","type":"BadRequestError","param":null,"code":400}}"#),
        Say::Throttled => Wire::throttled(r#"{"error":{"message":"queue is full","type":"TooManyRequests","param":null,"code":429}}"#),
        _ if is_streamed => {
            let head = r#""id":"chatcmpl-77aa","object":"chat.completion.chunk","created":1752580000,"model":"qwen/qwen3""#;
            let chunk = |delta: &str, reason: &str| {
                format!(
                    r#"data: {{{head},"choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{reason},"token_ids":null}}]}}"#
                ) + "\n\n"
            };
            let first = chunk(r#"{"role":"assistant","content":""}"#, "null");
            let rest = if say == Say::Call {
                [
                    chunk(
                        &format!(
                            r#"{{"tool_calls":[{{"id":"{ENGINE_CALL_ID}","type":"function","index":0,"function":{{"name":"get_weather","arguments":"{{\"city\":\"Lyon\"}}"}}}}]}}"#
                        ),
                        "null",
                    ),
                    chunk(r#"{"content":""}"#, "\"tool_calls\""),
                ]
                .concat()
            } else {
                [
                    chunk(&format!(r#"{{"content":"{}"}}"#, words[0]), "null"),
                    chunk(&format!(r#"{{"content":"{}"}}"#, words[1]), "null"),
                    chunk(r#"{"content":""}"#, "\"stop\""),
                ]
                .concat()
            };
            let report = format!(r#"data: {{{head},"choices":[],"usage":{usage}}}"#) + "\n\n";
            Wire {
                report: Some(report.clone()),
                ..Wire::events(format!("{first}{rest}{report}data: [DONE]\n\n"))
            }
        }
        _ => {
            let (content, calls, reason) = if say == Say::Call {
                let call = format!(
                    r#"{{"id":"{ENGINE_CALL_ID}","type":"function","function":{{"name":"get_weather","arguments":"{{\"city\":\"Lyon\"}}"}}}}"#
                );
                ("null".to_owned(), call, "tool_calls")
            } else {
                (format!("\"{}\"", words.concat()), String::new(), "stop")
            };
            Wire::json(format!(
                r#"{{"id":"chatcmpl-77aa","object":"chat.completion","created":1752580000,"model":"qwen/qwen3","choices":[{{"index":0,"message":{{"role":"assistant","content":{content},"refusal":null,"annotations":null,"audio":null,"function_call":null,"tool_calls":[{calls}],"reasoning":null}},"logprobs":null,"finish_reason":"{reason}","stop_reason":null,"token_ids":null}}],"service_tier":null,"system_fingerprint":null,"usage":{usage},"prompt_logprobs":null,"kv_transfer_params":null}}"#
            ))
        }
    }
}
