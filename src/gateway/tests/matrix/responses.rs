//! A client of OpenAI's Responses.

use super::{Case, Client, PNG, SCHEMA, Say, Talk, Wire};

pub(super) fn client() -> Client {
    Client {
        name: "responses",
        path: "/v1/responses",
        request: |case| Ok(request(case)),
        passes_to: &["OpenAI", "AzureOpenAI"],
        passing_path: "/responses",
        native: Some(native),
        answer,
        lost: "",
        own_id: ["resp_req1", "resp_ID"],
        names_schemas: true,
    }
}

fn request(case: Case) -> String {
    let (input, more) = match case.talk() {
        Talk::Tools => (
            r#"[{"role":"user","content":"The weather in Paris, then in Lyon?"},
            {"type":"function_call","call_id":"callpar01","name":"get_weather","arguments":"{\"city\":\"Paris\"}"},
            {"type":"function_call_output","call_id":"callpar01","output":"18 C"}]"#
                .to_owned(),
            format!(
                r#","tools":[{{"type":"function","name":"get_weather","description":"The weather of a city.","parameters":{SCHEMA}}}],"tool_choice":"required""#
            ),
        ),
        Talk::Schema => (
            r#""The capital of France?""#.to_owned(),
            format!(r#","text":{{"format":{{"type":"json_schema","name":"answer","schema":{SCHEMA}}}}}"#),
        ),
        Talk::Image => (
            format!(
                r#"[{{"type":"message","role":"user","content":[{{"type":"input_text","text":"Where is this?"}},{{"type":"input_image","image_url":"data:image/png;base64,{PNG}"}}]}}]"#
            ),
            String::new(),
        ),
        Talk::Prompt | Talk::Words => (r#""The capital of France?""#.to_owned(), String::new()),
    };
    let stream = if case.is_streamed() { r#","stream":true"# } else { "" };
    format!(
        r#"{{"model":"assistant","instructions":"You are brief.","input":{input},"max_output_tokens":64,"temperature":0.5,"store":false{more}{stream}}}"#
    )
}

fn native(say: Say, is_streamed: bool) -> Wire {
    let usage = if say == Say::Costly {
        r#"{"input_tokens":16,"input_tokens_details":{"cached_tokens":6},"output_tokens":8,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":24}"#
    } else {
        r#"{"input_tokens":10,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":12}"#
    };
    let item = r#"{"id":"msg_67cc","type":"message","status":"completed","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"Paris"}],"role":"assistant"}"#;
    let response = |status: &str, output: &str, usage: &str| {
        format!(
            r#"{{"id":"resp_67cc","object":"response","created_at":1752580000,"status":"{status}","background":false,"error":null,"incomplete_details":null,"instructions":"You are brief.","max_output_tokens":64,"model":"gpt-4.1-2025-04-14","output":[{output}],"parallel_tool_calls":true,"previous_response_id":null,"reasoning":{{"effort":null,"summary":null}},"service_tier":"default","store":false,"temperature":0.5,"text":{{"format":{{"type":"text"}}}},"tool_choice":"auto","tools":[],"top_p":1.0,"truncation":"disabled","usage":{usage},"user":null,"metadata":{{}}}}"#
        )
    };
    match say {
        Say::Fault => Wire::fault(
            "{\n  \"error\": {\n    \"message\": \"temperature is too high\",\n    \"type\": \"invalid_request_error\",\n    \"param\": \"temperature\",\n    \"code\": \"invalid_value\"\n  }\n}",
        ),
        Say::Throttled => {
            Wire::throttled(r#"{"error":{"message":"Rate limit reached","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#)
        }
        _ if is_streamed => {
            let mut number = 0;
            let mut event = |name: &str, data: String| {
                number += 1;
                format!(
                    "event: {name}\ndata: {{\"type\":\"{name}\",\"sequence_number\":{},{data}}}\n\n",
                    number - 1
                )
            };
            let place = r#""item_id":"msg_67cc","output_index":0,"content_index":0"#;
            let begun = response("in_progress", "", "null");
            let whole = response("completed", item, usage);
            let events = [
                event("response.created", format!(r#""response":{begun}"#)),
                event("response.in_progress", format!(r#""response":{begun}"#)),
                event(
                    "response.output_item.added",
                    r#""output_index":0,"item":{"id":"msg_67cc","type":"message","status":"in_progress","content":[],"role":"assistant"}"#
                        .to_owned(),
                ),
                event(
                    "response.content_part.added",
                    format!(r#"{place},"part":{{"type":"output_text","annotations":[],"logprobs":[],"text":""}}"#),
                ),
                event(
                    "response.output_text.delta",
                    format!(r#"{place},"delta":"Par","logprobs":[],"obfuscation":"x9""#),
                ),
                event(
                    "response.output_text.delta",
                    format!(r#"{place},"delta":"is","logprobs":[],"obfuscation":"Qz""#),
                ),
                event("response.output_text.done", format!(r#"{place},"text":"Paris","logprobs":[]"#)),
                event(
                    "response.content_part.done",
                    format!(r#"{place},"part":{{"type":"output_text","annotations":[],"logprobs":[],"text":"Paris"}}"#),
                ),
                event("response.output_item.done", format!(r#""output_index":0,"item":{item}"#)),
                event("response.completed", format!(r#""response":{whole}"#)),
            ];
            Wire::events(events.concat())
        }
        _ => Wire::json(response("completed", item, usage)),
    }
}

fn answer(case: Case) -> String {
    let text = match case {
        Case::Plain | Case::Image => {
            r#"{"id":"resp_ID","object":"response","created_at":0,"status":"completed","background":false,"error":null,"incomplete_details":null,"model":"assistant","output":[{"type":"message","id":"msg_req1_0","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Paris","annotations":[],"logprobs":[]}]}],"previous_response_id":null,"store":false,"top_logprobs":0,"truncation":"disabled","usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":12},"instructions":"You are brief.","max_output_tokens":64,"metadata":{},"parallel_tool_calls":true,"reasoning":{"effort":null,"summary":null},"safety_identifier":null,"temperature":0.5,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":null,"user":null}"#
        }
        Case::Stream => {
            r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_ID","object":"response","created_at":0,"status":"in_progress","background":false,"error":null,"incomplete_details":null,"model":"assistant","output":[],"previous_response_id":null,"store":false,"top_logprobs":0,"truncation":"disabled","usage":null,"instructions":"You are brief.","max_output_tokens":64,"metadata":{},"parallel_tool_calls":true,"reasoning":{"effort":null,"summary":null},"safety_identifier":null,"temperature":0.5,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":null,"user":null}}

event: response.in_progress
data: {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_ID","object":"response","created_at":0,"status":"in_progress","background":false,"error":null,"incomplete_details":null,"model":"assistant","output":[],"previous_response_id":null,"store":false,"top_logprobs":0,"truncation":"disabled","usage":null,"instructions":"You are brief.","max_output_tokens":64,"metadata":{},"parallel_tool_calls":true,"reasoning":{"effort":null,"summary":null},"safety_identifier":null,"temperature":0.5,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":null,"user":null}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"type":"message","id":"msg_req1_0","status":"in_progress","role":"assistant","content":[]}}

event: response.content_part.added
data: {"type":"response.content_part.added","sequence_number":3,"item_id":"msg_req1_0","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_req1_0","output_index":0,"content_index":0,"delta":"Par","logprobs":[]}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":5,"item_id":"msg_req1_0","output_index":0,"content_index":0,"delta":"is","logprobs":[]}

event: response.output_text.done
data: {"type":"response.output_text.done","sequence_number":6,"item_id":"msg_req1_0","output_index":0,"content_index":0,"text":"Paris","logprobs":[]}

event: response.content_part.done
data: {"type":"response.content_part.done","sequence_number":7,"item_id":"msg_req1_0","output_index":0,"content_index":0,"part":{"type":"output_text","text":"Paris","annotations":[],"logprobs":[]}}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":8,"output_index":0,"item":{"type":"message","id":"msg_req1_0","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Paris","annotations":[],"logprobs":[]}]}}

event: response.completed
data: {"type":"response.completed","sequence_number":9,"response":{"id":"resp_ID","object":"response","created_at":0,"status":"completed","background":false,"error":null,"incomplete_details":null,"model":"assistant","output":[{"type":"message","id":"msg_req1_0","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Paris","annotations":[],"logprobs":[]}]}],"previous_response_id":null,"store":false,"top_logprobs":0,"truncation":"disabled","usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":12},"instructions":"You are brief.","max_output_tokens":64,"metadata":{},"parallel_tool_calls":true,"reasoning":{"effort":null,"summary":null},"safety_identifier":null,"temperature":0.5,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":null,"user":null}}

"#
        }
        Case::Tools => {
            r#"{"id":"resp_ID","object":"response","created_at":0,"status":"completed","background":false,"error":null,"incomplete_details":null,"model":"assistant","output":[{"type":"function_call","id":"fc_req1_0","status":"completed","call_id":"CALL","name":"get_weather","arguments":"{\"city\":\"Lyon\"}"}],"previous_response_id":null,"store":false,"top_logprobs":0,"truncation":"disabled","usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":12},"instructions":"You are brief.","max_output_tokens":64,"metadata":{},"parallel_tool_calls":true,"reasoning":{"effort":null,"summary":null},"safety_identifier":null,"temperature":0.5,"text":{"format":{"type":"text"}},"tool_choice":"required","tools":[{"type":"function","name":"get_weather","description":"The weather of a city.","parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"],"additionalProperties":false},"strict":null}],"top_p":null,"user":null}"#
        }
        Case::ToolsStream => {
            r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_ID","object":"response","created_at":0,"status":"in_progress","background":false,"error":null,"incomplete_details":null,"model":"assistant","output":[],"previous_response_id":null,"store":false,"top_logprobs":0,"truncation":"disabled","usage":null,"instructions":"You are brief.","max_output_tokens":64,"metadata":{},"parallel_tool_calls":true,"reasoning":{"effort":null,"summary":null},"safety_identifier":null,"temperature":0.5,"text":{"format":{"type":"text"}},"tool_choice":"required","tools":[{"type":"function","name":"get_weather","description":"The weather of a city.","parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"],"additionalProperties":false},"strict":null}],"top_p":null,"user":null}}

event: response.in_progress
data: {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_ID","object":"response","created_at":0,"status":"in_progress","background":false,"error":null,"incomplete_details":null,"model":"assistant","output":[],"previous_response_id":null,"store":false,"top_logprobs":0,"truncation":"disabled","usage":null,"instructions":"You are brief.","max_output_tokens":64,"metadata":{},"parallel_tool_calls":true,"reasoning":{"effort":null,"summary":null},"safety_identifier":null,"temperature":0.5,"text":{"format":{"type":"text"}},"tool_choice":"required","tools":[{"type":"function","name":"get_weather","description":"The weather of a city.","parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"],"additionalProperties":false},"strict":null}],"top_p":null,"user":null}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"type":"function_call","id":"fc_req1_0","status":"in_progress","call_id":"CALL","name":"get_weather","arguments":""}}

event: response.function_call_arguments.delta
data: {"type":"response.function_call_arguments.delta","sequence_number":3,"item_id":"fc_req1_0","output_index":0,"delta":"{\"city\":\"Lyon\"}"}

event: response.function_call_arguments.done
data: {"type":"response.function_call_arguments.done","sequence_number":4,"item_id":"fc_req1_0","output_index":0,"name":"get_weather","arguments":"{\"city\":\"Lyon\"}"}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":5,"output_index":0,"item":{"type":"function_call","id":"fc_req1_0","status":"completed","call_id":"CALL","name":"get_weather","arguments":"{\"city\":\"Lyon\"}"}}

event: response.completed
data: {"type":"response.completed","sequence_number":6,"response":{"id":"resp_ID","object":"response","created_at":0,"status":"completed","background":false,"error":null,"incomplete_details":null,"model":"assistant","output":[{"type":"function_call","id":"fc_req1_0","status":"completed","call_id":"CALL","name":"get_weather","arguments":"{\"city\":\"Lyon\"}"}],"previous_response_id":null,"store":false,"top_logprobs":0,"truncation":"disabled","usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":12},"instructions":"You are brief.","max_output_tokens":64,"metadata":{},"parallel_tool_calls":true,"reasoning":{"effort":null,"summary":null},"safety_identifier":null,"temperature":0.5,"text":{"format":{"type":"text"}},"tool_choice":"required","tools":[{"type":"function","name":"get_weather","description":"The weather of a city.","parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"],"additionalProperties":false},"strict":null}],"top_p":null,"user":null}}

"#
        }
        Case::Schema => {
            r#"{"id":"resp_ID","object":"response","created_at":0,"status":"completed","background":false,"error":null,"incomplete_details":null,"model":"assistant","output":[{"type":"message","id":"msg_req1_0","status":"completed","role":"assistant","content":[{"type":"output_text","text":"{\"city\":\"Paris\"}","annotations":[],"logprobs":[]}]}],"previous_response_id":null,"store":false,"top_logprobs":0,"truncation":"disabled","usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":12},"instructions":"You are brief.","max_output_tokens":64,"metadata":{},"parallel_tool_calls":true,"reasoning":{"effort":null,"summary":null},"safety_identifier":null,"temperature":0.5,"text":{"format":{"type":"json_schema","name":"answer","schema":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"],"additionalProperties":false}}},"tool_choice":"auto","tools":[],"top_p":null,"user":null}"#
        }
        Case::Fault => {
            r#"{"error":{"code":"invalid_request","message":"temperature is too high","param":null,"type":"invalid_request_error"}}"#
        }
        Case::Throttled => {
            r#"{"error":{"message":"no model of RoutingPolicy claims/assistant answered: MODEL has no capacity or quota left (429)","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}"#
        }
        Case::Usage => {
            r#"{"id":"resp_ID","object":"response","created_at":0,"status":"completed","background":false,"error":null,"incomplete_details":null,"model":"assistant","output":[{"type":"message","id":"msg_req1_0","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Paris","annotations":[],"logprobs":[]}]}],"previous_response_id":null,"store":false,"top_logprobs":0,"truncation":"disabled","usage":{"input_tokens":16,"input_tokens_details":{"cached_tokens":6,"cache_write_tokens":0},"output_tokens":8,"output_tokens_details":{"reasoning_tokens":"THOUGHTS"},"total_tokens":24},"instructions":"You are brief.","max_output_tokens":64,"metadata":{},"parallel_tool_calls":true,"reasoning":{"effort":null,"summary":null},"safety_identifier":null,"temperature":0.5,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":null,"user":null}"#
        }
        Case::UsageStream => {
            r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_ID","object":"response","created_at":0,"status":"in_progress","background":false,"error":null,"incomplete_details":null,"model":"assistant","output":[],"previous_response_id":null,"store":false,"top_logprobs":0,"truncation":"disabled","usage":null,"instructions":"You are brief.","max_output_tokens":64,"metadata":{},"parallel_tool_calls":true,"reasoning":{"effort":null,"summary":null},"safety_identifier":null,"temperature":0.5,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":null,"user":null}}

event: response.in_progress
data: {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_ID","object":"response","created_at":0,"status":"in_progress","background":false,"error":null,"incomplete_details":null,"model":"assistant","output":[],"previous_response_id":null,"store":false,"top_logprobs":0,"truncation":"disabled","usage":null,"instructions":"You are brief.","max_output_tokens":64,"metadata":{},"parallel_tool_calls":true,"reasoning":{"effort":null,"summary":null},"safety_identifier":null,"temperature":0.5,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":null,"user":null}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"type":"message","id":"msg_req1_0","status":"in_progress","role":"assistant","content":[]}}

event: response.content_part.added
data: {"type":"response.content_part.added","sequence_number":3,"item_id":"msg_req1_0","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_req1_0","output_index":0,"content_index":0,"delta":"Par","logprobs":[]}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":5,"item_id":"msg_req1_0","output_index":0,"content_index":0,"delta":"is","logprobs":[]}

event: response.output_text.done
data: {"type":"response.output_text.done","sequence_number":6,"item_id":"msg_req1_0","output_index":0,"content_index":0,"text":"Paris","logprobs":[]}

event: response.content_part.done
data: {"type":"response.content_part.done","sequence_number":7,"item_id":"msg_req1_0","output_index":0,"content_index":0,"part":{"type":"output_text","text":"Paris","annotations":[],"logprobs":[]}}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":8,"output_index":0,"item":{"type":"message","id":"msg_req1_0","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Paris","annotations":[],"logprobs":[]}]}}

event: response.completed
data: {"type":"response.completed","sequence_number":9,"response":{"id":"resp_ID","object":"response","created_at":0,"status":"completed","background":false,"error":null,"incomplete_details":null,"model":"assistant","output":[{"type":"message","id":"msg_req1_0","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Paris","annotations":[],"logprobs":[]}]}],"previous_response_id":null,"store":false,"top_logprobs":0,"truncation":"disabled","usage":{"input_tokens":16,"input_tokens_details":{"cached_tokens":6,"cache_write_tokens":0},"output_tokens":8,"output_tokens_details":{"reasoning_tokens":"THOUGHTS"},"total_tokens":24},"instructions":"You are brief.","max_output_tokens":64,"metadata":{},"parallel_tool_calls":true,"reasoning":{"effort":null,"summary":null},"safety_identifier":null,"temperature":0.5,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":null,"user":null}}

"#
        }
    };
    text.to_owned()
}
