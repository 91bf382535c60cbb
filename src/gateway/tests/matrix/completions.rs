//! A client of OpenAI's older completions: a text to go on with. What it sends has no place for tools, schemas and pictures.

use super::{Case, Client, Say, Wire};

pub(super) fn client() -> Client {
    Client {
        name: "completions",
        path: "/v1/completions",
        request,
        passes_to: &["OpenAI", "AzureOpenAI", "OpenAICompatible", "own pods"],
        passing_path: "/completions",
        native: Some(native),
        answer,
        lost: "prompt",
        own_id: ["cmpl-req1", "ID"],
        names_schemas: true,
    }
}

fn request(case: Case) -> Result<String, &'static str> {
    let stream = match case {
        Case::Tools | Case::ToolsStream => return Err("completions have no tools"),
        Case::Schema => return Err("completions have no schemas"),
        Case::Image => return Err("completions have no pictures"),
        Case::UsageStream => r#","stream":true,"stream_options":{"include_usage":true}"#,
        Case::Stream => r#","stream":true"#,
        Case::Plain | Case::Usage | Case::Fault | Case::Throttled => "",
    };
    Ok(format!(
        r#"{{"model":"assistant","prompt":"The capital of France?","max_tokens":64,"temperature":0.5{stream}}}"#
    ))
}

fn native(say: Say, is_streamed: bool) -> Wire {
    let usage = if say == Say::Costly {
        r#"{"prompt_tokens":16,"completion_tokens":8,"total_tokens":24,"prompt_tokens_details":{"cached_tokens":6}}"#
    } else {
        r#"{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12,"prompt_tokens_details":null}"#
    };
    let head = r#""id":"cmpl-77aa","object":"text_completion","created":1752580000,"model":"triage""#;
    match say {
        Say::Fault => Wire::fault(r#"{"error":{"message":"temperature is too high","type":"BadRequestError","param":null,"code":400}}"#),
        Say::Throttled => Wire::throttled(r#"{"error":{"message":"queue is full","type":"TooManyRequests","param":null,"code":429}}"#),
        _ if is_streamed => {
            let chunk = |text: &str, reason: &str| {
                format!(
                    r#"data: {{{head},"choices":[{{"index":0,"text":"{text}","logprobs":null,"finish_reason":{reason}}}],"usage":null}}"#
                ) + "\n\n"
            };
            let report = format!(r#"data: {{{head},"choices":[],"usage":{usage}}}"#) + "\n\n";
            let events = [
                chunk("Par", "null"),
                chunk("is", "\"stop\""),
                report.clone(),
                "data: [DONE]\n\n".to_owned(),
            ];
            Wire {
                report: Some(report),
                ..Wire::events(events.concat())
            }
        }
        _ => Wire::json(format!(
            r#"{{{head},"choices":[{{"index":0,"text":"Paris","logprobs":null,"finish_reason":"stop","stop_reason":null}}],"usage":{usage}}}"#
        )),
    }
}

fn answer(case: Case) -> String {
    let text = match case {
        Case::Plain => {
            r#"{"id":"ID","object":"text_completion","created":0,"model":"assistant","choices":[{"text":"Paris","index":0,"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}"#
        }
        Case::Stream => {
            r#"data: {"id":"ID","object":"text_completion","created":0,"model":"assistant","choices":[{"text":"Par","index":0,"logprobs":null,"finish_reason":null}]}

data: {"id":"ID","object":"text_completion","created":0,"model":"assistant","choices":[{"text":"is","index":0,"logprobs":null,"finish_reason":null}]}

data: {"id":"ID","object":"text_completion","created":0,"model":"assistant","choices":[{"text":"","index":0,"logprobs":null,"finish_reason":"stop"}]}

data: [DONE]

"#
        }
        Case::Fault => r#"{"error":{"message":"temperature is too high","type":"invalid_request_error","param":null,"code":null}}"#,
        Case::Throttled => {
            r#"{"error":{"message":"no model of RoutingPolicy claims/assistant answered: MODEL has no capacity or quota left (429)","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}"#
        }
        Case::Usage => {
            r#"{"id":"ID","object":"text_completion","created":0,"model":"assistant","choices":[{"text":"Paris","index":0,"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":16,"completion_tokens":8,"total_tokens":24,"prompt_tokens_details":{"cached_tokens":6,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":"THOUGHTS","audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}"#
        }
        Case::UsageStream => {
            r#"data: {"id":"ID","object":"text_completion","created":0,"model":"assistant","choices":[{"text":"Par","index":0,"logprobs":null,"finish_reason":null}],"usage":null}

data: {"id":"ID","object":"text_completion","created":0,"model":"assistant","choices":[{"text":"is","index":0,"logprobs":null,"finish_reason":null}],"usage":null}

data: {"id":"ID","object":"text_completion","created":0,"model":"assistant","choices":[{"text":"","index":0,"logprobs":null,"finish_reason":"stop"}],"usage":null}

data: {"id":"ID","object":"text_completion","created":0,"model":"assistant","choices":[],"usage":{"prompt_tokens":16,"completion_tokens":8,"total_tokens":24,"prompt_tokens_details":{"cached_tokens":6,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":"THOUGHTS","audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}

data: [DONE]

"#
        }
        Case::Tools | Case::ToolsStream | Case::Schema | Case::Image => "",
    };
    text.to_owned()
}
