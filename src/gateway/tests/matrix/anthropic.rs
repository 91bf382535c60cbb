//! Anthropic's Messages.

use super::{PNG, Provider, SCHEMA, Say, Talk, Wire};

pub(super) fn anthropic() -> Provider {
    Provider {
        name: "Anthropic",
        spec: Some(|url| format!("provider: Anthropic, model: claude-sonnet-4-5, endpoint: '{url}/v1'")),
        secret: |_| "sk-ant-1".to_owned(),
        shown: |_| "x-api-key: sk-ant-1\nanthropic-version: 2023-06-01".to_owned(),
        model: "claude-sonnet-4-5",
        paths: ["/v1/messages"; 2],
        prefix: "/v1",
        asked: |talk, _| asked("claude-sonnet-4-5", talk),
        streamed: r#","stream":true"#,
        says,
        gives_up: || {
            b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded at 10.0.0.1\"}}\n\n"
                .to_vec()
        },
        id: "msg_01XFDUDYJgAACzvnptvVoYEL",
        call_id: Some(CALL_ID),
        thoughts: 3,
        others: 0,
        vectors: None,
    }
}

const QUESTION: &str = r#"{"role":"user","content":[{"type":"text","text":"The capital of France?"}]}"#;
const CALL_ID: &str = "toolu_01D7FLrfh4GYq7yT1ULFeyMV";

pub(super) fn asked(model: &str, talk: Talk) -> String {
    let system = if talk == Talk::Prompt {
        ""
    } else {
        r#","system":[{"type":"text","text":"You are brief."}]"#
    };
    let (said, more) = match talk {
        Talk::Prompt | Talk::Words => (QUESTION.to_owned(), String::new()),
        Talk::Tools => (
            r#"{"role":"user","content":[{"type":"text","text":"The weather in Paris, then in Lyon?"}]},
            {"role":"assistant","content":[{"type":"tool_use","id":"callpar01","name":"get_weather","input":{"city":"Paris"}}]},
            {"role":"user","content":[{"type":"tool_result","tool_use_id":"callpar01","content":[{"type":"text","text":"18 C"}]}]}"#
                .to_owned(),
            format!(
                r#","tools":[{{"name":"get_weather","description":"The weather of a city.","input_schema":{SCHEMA}}}],"tool_choice":{{"type":"any"}}"#
            ),
        ),
        Talk::Schema => (
            QUESTION.to_owned(),
            format!(r#","output_config":{{"format":{{"type":"json_schema","schema":{SCHEMA}}}}}"#),
        ),
        Talk::Image => (
            format!(
                r#"{{"role":"user","content":[{{"type":"text","text":"Where is this?"}},{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{PNG}"}}}}]}}"#
            ),
            String::new(),
        ),
    };
    format!(r#"{{"model":"{model}","max_tokens":64{system},"messages":[{said}],"temperature":0.5{more}}}"#)
}

fn says(say: Say, is_streamed: bool) -> Wire {
    let (input, cached, output, thoughts) = if say == Say::Costly { (10, 6, 8, 3) } else { (10, 0, 2, 0) };
    let before = format!(
        r#""input_tokens":{input},"cache_creation_input_tokens":0,"cache_read_input_tokens":{cached},"cache_creation":{{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0}}"#
    );
    let after = format!(r#""output_tokens":{output},"output_tokens_details":{{"thinking_tokens":{thoughts}}}"#);
    let words = if say == Say::Json {
        [r#"{\"city\":"#, r#"\"Paris\"}"#]
    } else {
        ["Par", "is"]
    };
    match say {
        Say::Fault => Wire::fault(
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"temperature is too high"},"request_id":"req_011CSHoEeqs5C35K2UUqR7Fy"}"#,
        ),
        Say::Throttled => Wire::throttled(
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit"},"request_id":"req_011"}"#,
        ),
        _ if is_streamed => {
            let event = |name: &str, data: &str| format!("event: {name}\ndata: {{\"type\":\"{name}\"{data}}}\n\n");
            let start = event(
                "message_start",
                &format!(
                    r#","message":{{"model":"claude-sonnet-4-5-20250929","id":"msg_01XFDUDYJgAACzvnptvVoYEL","type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":{{{before},"output_tokens":1,"service_tier":"standard"}}}}"#
                ),
            );
            let (block, deltas, reason) = if say == Say::Call {
                let delta = |json: &str| {
                    event(
                        "content_block_delta",
                        &format!(r#","index":0,"delta":{{"type":"input_json_delta","partial_json":"{json}"}}"#),
                    )
                };
                let block = format!(r#"{{"type":"tool_use","id":"{CALL_ID}","name":"get_weather","input":{{}}}}"#);
                (block, delta("") + &delta(r#"{\"city\":\"Lyon\"}"#), "tool_use")
            } else {
                let delta = |text: &str| {
                    event(
                        "content_block_delta",
                        &format!(r#","index":0,"delta":{{"type":"text_delta","text":"{text}"}}"#),
                    )
                };
                (
                    r#"{"type":"text","text":""}"#.to_owned(),
                    delta(words[0]) + &delta(words[1]),
                    "end_turn",
                )
            };
            Wire::events(
                [
                    start,
                    event("content_block_start", &format!(r#","index":0,"content_block":{block}"#)),
                    event("ping", ""),
                    deltas,
                    event("content_block_stop", r#","index":0"#),
                    event(
                        "message_delta",
                        &format!(r#","delta":{{"stop_reason":"{reason}","stop_sequence":null}},"usage":{{{before},{after}}}"#),
                    ),
                    event("message_stop", ""),
                ]
                .concat(),
            )
        }
        _ => {
            let (block, reason) = if say == Say::Call {
                let call = format!(r#"{{"type":"tool_use","id":"{CALL_ID}","name":"get_weather","input":{{"city":"Lyon"}}}}"#);
                (call, "tool_use")
            } else {
                (format!(r#"{{"type":"text","text":"{}"}}"#, words.concat()), "end_turn")
            };
            Wire::json(format!(
                r#"{{"model":"claude-sonnet-4-5-20250929","id":"msg_01XFDUDYJgAACzvnptvVoYEL","type":"message","role":"assistant","content":[{block}],"stop_reason":"{reason}","stop_sequence":null,"usage":{{{before},{after},"service_tier":"standard"}}}}"#
            ))
        }
    }
}
