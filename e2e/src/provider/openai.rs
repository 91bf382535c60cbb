//! OpenAI's formats: chat completions, the list of models, errors. Pure.

use serde_json::{Value, json};

use super::server::Answer;

/// 1 January 2025; nothing depends on it, and constant answers are easy to compare.
const CREATED: u64 = 1_735_689_600;

pub(super) fn models(names: &[String]) -> Value {
    let data: Vec<Value> = names
        .iter()
        .map(|name| json!({"id": name, "object": "model", "created": CREATED, "owned_by": "fake"}))
        .collect();
    json!({"object": "list", "data": data})
}

pub(super) fn error(status: u16, message: &str) -> Value {
    let (kind, code) = match status {
        401 => ("invalid_request_error", json!("invalid_api_key")),
        404 => ("invalid_request_error", json!("model_not_found")),
        429 => ("requests", json!("rate_limit_exceeded")),
        400..500 => ("invalid_request_error", Value::Null),
        _ => ("server_error", Value::Null),
    };
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
}

pub(super) fn completion(answer: &Answer) -> Value {
    json!({
        "id": answer.id("chatcmpl"), "object": "chat.completion", "created": CREATED, "model": answer.model,
        "choices": [{
            "index": 0, "message": {"role": "assistant", "content": answer.text(), "refusal": null}, "logprobs": null, "finish_reason": finish(answer),
        }],
        "usage": usage(answer), "system_fingerprint": "fp_fake",
    })
}

/// The events before the first word, one for each word, and those after the last.
pub(super) fn stream(answer: &Answer, include_usage: bool) -> (Vec<String>, Vec<String>, Vec<String>) {
    let chunk = |delta: Value, finish_reason: Value| {
        let mut chunk = json!({
            "id": answer.id("chatcmpl"), "object": "chat.completion.chunk", "created": CREATED, "model": answer.model, "system_fingerprint": "fp_fake",
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason}],
        });
        if include_usage {
            chunk["usage"] = Value::Null;
        }
        event(&chunk)
    };
    let before = vec![chunk(json!({"role": "assistant", "content": ""}), Value::Null)];
    let words = answer
        .words
        .iter()
        .map(|word| chunk(json!({"content": word}), Value::Null))
        .collect();
    let mut after = vec![chunk(json!({}), json!(finish(answer)))];
    if include_usage {
        after.push(event(&json!({
            "id": answer.id("chatcmpl"), "object": "chat.completion.chunk", "created": CREATED, "model": answer.model, "system_fingerprint": "fp_fake",
            "choices": [], "usage": usage(answer),
        })));
    }
    after.push("data: [DONE]\n\n".to_owned());
    (before, words, after)
}

/// The text of the last user message.
pub(super) fn question(body: &Value) -> String {
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    messages
        .iter()
        .rev()
        .find(|m| m["role"] == "user")
        .map(|m| text(&m["content"]))
        .unwrap_or_default()
}

/// A content as text: a string, or the text parts of a list.
pub(super) fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

pub(super) fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

fn finish(answer: &Answer) -> &'static str {
    if answer.truncated { "length" } else { "stop" }
}

fn usage(answer: &Answer) -> Value {
    json!({
        "prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.words.len(), "total_tokens": answer.prompt_tokens + answer.words.len(),
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
    })
}
