//! Anthropic's formats: messages, the list of models, errors. Pure.

use serde_json::{Value, json};

use super::server::Answer;

pub(super) fn models(names: &[String]) -> Value {
    let data: Vec<Value> = names
        .iter()
        .map(|name| json!({"type": "model", "id": name, "display_name": name, "created_at": "2025-01-01T00:00:00Z"}))
        .collect();
    json!({"data": data, "has_more": false, "first_id": names.first(), "last_id": names.last()})
}

pub(super) fn error(status: u16, message: &str) -> Value {
    let kind = match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        400..500 => "invalid_request_error",
        _ => "api_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_fake"})
}

pub(super) fn message(answer: &Answer) -> Value {
    json!({
        "id": answer.id("msg"), "type": "message", "role": "assistant", "model": answer.model,
        "content": [{"type": "text", "text": answer.text()}], "stop_reason": stop(answer), "stop_sequence": null,
        "usage": usage(answer, answer.words.len()),
    })
}

/// The events before the first word, one for each word, and those after the last.
pub(super) fn stream(answer: &Answer) -> (Vec<String>, Vec<String>, Vec<String>) {
    let start = json!({
        "type": "message_start",
        "message": {
            "id": answer.id("msg"), "type": "message", "role": "assistant", "model": answer.model, "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": usage(answer, 1),
        },
    });
    let block = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}});
    let before = vec![event(&start), event(&block), event(&json!({"type": "ping"}))];
    let delta = |word: &String| event(&json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}));
    let words = answer.words.iter().map(delta).collect();
    let end = json!({
        "type": "message_delta", "delta": {"stop_reason": stop(answer), "stop_sequence": null},
        "usage": {"output_tokens": answer.words.len()},
    });
    let after = vec![
        event(&json!({"type": "content_block_stop", "index": 0})),
        event(&end),
        event(&json!({"type": "message_stop"})),
    ];
    (before, words, after)
}

fn event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default())
}

fn stop(answer: &Answer) -> &'static str {
    if answer.truncated { "max_tokens" } else { "end_turn" }
}

fn usage(answer: &Answer, output: usize) -> Value {
    json!({
        "input_tokens": answer.prompt_tokens, "output_tokens": output,
        "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "service_tier": "standard",
    })
}
