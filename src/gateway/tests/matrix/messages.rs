//! A client of Anthropic's Messages.

use super::{Case, Client, anthropic};

pub(super) fn client() -> Client {
    Client {
        name: "messages",
        path: "/v1/messages",
        request: |case| Ok(request(case)),
        passes_to: &["Anthropic"],
        passing_path: "/messages",
        native: None,
        answer,
        lost: "",
        own_id: ["msg_req1", "ID"],
        names_schemas: false,
    }
}

fn request(case: Case) -> String {
    let mut request = anthropic::asked("assistant", case.talk());
    request.pop();
    request + if case.is_streamed() { r#","stream":true}"# } else { "}" }
}

fn answer(case: Case) -> String {
    let text = match case {
        Case::Plain | Case::Image => {
            r#"{"id":"ID","type":"message","role":"assistant","model":"assistant","content":[{"type":"text","text":"Paris"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":2}}"#
        }
        Case::Stream => {
            r#"event: message_start
data: {"type":"message_start","message":{"id":"ID","type":"message","role":"assistant","content":[],"model":"assistant","stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":0}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Par"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"is"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":10,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":2}}

event: message_stop
data: {"type":"message_stop"}

"#
        }
        Case::Tools => {
            r#"{"id":"ID","type":"message","role":"assistant","model":"assistant","content":[{"type":"tool_use","id":"CALL","name":"get_weather","input":{"city":"Lyon"}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":2}}"#
        }
        Case::ToolsStream => {
            r#"event: message_start
data: {"type":"message_start","message":{"id":"ID","type":"message","role":"assistant","content":[],"model":"assistant","stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":0}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"CALL","name":"get_weather","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"city\":\"Lyon\"}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":10,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":2}}

event: message_stop
data: {"type":"message_stop"}

"#
        }
        Case::Schema => {
            r#"{"id":"ID","type":"message","role":"assistant","model":"assistant","content":[{"type":"text","text":"{\"city\":\"Paris\"}"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":2}}"#
        }
        Case::Fault => {
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"temperature is too high"},"request_id":"req1"}"#
        }
        Case::Throttled => {
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"no model of RoutingPolicy claims/assistant answered: MODEL has no capacity or quota left (429)"},"request_id":"req1"}"#
        }
        Case::Usage => {
            r#"{"id":"ID","type":"message","role":"assistant","model":"assistant","content":[{"type":"text","text":"Paris"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":0,"cache_read_input_tokens":6,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":8,"output_tokens_details":{"thinking_tokens":"THOUGHTS"}}}"#
        }
        Case::UsageStream => {
            r#"event: message_start
data: {"type":"message_start","message":{"id":"ID","type":"message","role":"assistant","content":[],"model":"assistant","stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":0}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Par"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"is"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":10,"cache_creation_input_tokens":0,"cache_read_input_tokens":6,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":8,"output_tokens_details":{"thinking_tokens":"THOUGHTS"}}}

event: message_stop
data: {"type":"message_stop"}

"#
        }
    };
    text.to_owned()
}
