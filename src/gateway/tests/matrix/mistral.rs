//! Mistral: OpenAI's chat completions with words of its own; ids of calls have nine letters, and the last part of a stream reports tokens.

use super::{Provider, Say, Wire, openai};

pub(super) fn mistral() -> Provider {
    Provider {
        name: "Mistral",
        spec: Some(|url| format!("provider: Mistral, model: mistral-large-latest, endpoint: '{url}/v1'")),
        model: "mistral-large-latest",
        asked: |talk, is_named| openai::asked("mistral-large-latest", "max_tokens", "any", talk, is_named),
        streamed: r#","stream":true"#,
        says,
        id: "8d7f1a",
        call_id: Some(CALL_ID),
        thoughts: 0,
        ..openai::openai()
    }
}

const CALL_ID: &str = "D681PevKs";

fn says(say: Say, is_streamed: bool) -> Wire {
    let (prompt, cached, answer) = if say == Say::Costly { (16, 6, 8) } else { (10, 0, 2) };
    let usage = format!(
        r#"{{"prompt_tokens":{prompt},"total_tokens":{},"completion_tokens":{answer},"prompt_tokens_details":{{"cached_tokens":{cached}}}}}"#,
        prompt + answer
    );
    let words = if say == Say::Json {
        [r#"{\"city\":"#, r#"\"Paris\"}"#]
    } else {
        ["Par", "is"]
    };
    let call = format!(r#"{{"id":"{CALL_ID}","function":{{"name":"get_weather","arguments":"{{\"city\":\"Lyon\"}}"}},"index":0}}"#);
    match say {
        Say::Fault => Wire::fault(
            r#"{"object":"error","message":"temperature is too high","type":"invalid_request_error","param":null,"code":"1051","raw_status_code":400}"#,
        ),
        Say::Throttled => Wire::throttled(
            r#"{"object":"error","message":"Service tier capacity exceeded for this model.","type":"service_tier_capacity_exceeded","param":null,"code":"3505","raw_status_code":429}"#,
        ),
        _ if is_streamed => {
            let head = r#""id":"8d7f1a","object":"chat.completion.chunk","created":1752580000,"model":"mistral-large-latest""#;
            let chunk = |delta: &str, reason: &str, more: &str| {
                format!(r#"data: {{{head},"choices":[{{"index":0,"delta":{delta},"finish_reason":{reason}}}]{more}}}"#) + "\n\n"
            };
            let usage = format!(r#","usage":{usage}"#);
            let events = if say == Say::Call {
                [
                    chunk(r#"{"role":"assistant","content":""}"#, "null", ""),
                    chunk(&format!(r#"{{"content":"","tool_calls":[{call}]}}"#), "\"tool_calls\"", &usage),
                ]
                .concat()
            } else {
                [
                    chunk(r#"{"role":"assistant","content":""}"#, "null", ""),
                    chunk(&format!(r#"{{"content":"{}"}}"#, words[0]), "null", ""),
                    chunk(&format!(r#"{{"content":"{}"}}"#, words[1]), "null", ""),
                    chunk(r#"{"content":""}"#, "\"stop\"", &usage),
                ]
                .concat()
            };
            Wire::events(format!("{events}data: [DONE]\n\n"))
        }
        _ => {
            let (content, calls, reason) = match say {
                Say::Call => (String::new(), format!("[{call}]"), "tool_calls"),
                _ => (words.concat(), "null".to_owned(), "stop"),
            };
            Wire::json(format!(
                r#"{{"id":"8d7f1a","object":"chat.completion","created":1752580000,"model":"mistral-large-latest","choices":[{{"index":0,"message":{{"role":"assistant","tool_calls":{calls},"content":"{content}"}},"finish_reason":"{reason}"}}],"usage":{usage}}}"#
            ))
        }
    }
}
