//! What one model said, as it is told to another.

use bytes::{Buf, Bytes};
use serde_json::{Value, json};

use super::{Asked, Put, Recipient, Unfit};
use crate::protocol::error::{Error, Kind};
use crate::protocol::{Dialect, Operation, gemini};

fn put(operation: Operation, body: &Value, dialect: Dialect) -> (Value, Vec<String>) {
    let asked = Asked::read(operation, Bytes::from(body.to_string())).unwrap();
    let to = Recipient {
        dialect,
        model: "anthropic.claude-sonnet-4-5",
        max_output_tokens: None,
        google: gemini::Api::AiStudio,
    };
    let Ok(Put::Send(mut exchange)) = asked.put(&to, "1", 0) else {
        panic!("{dialect:?} is asked");
    };
    let length = exchange.body.remaining();
    let body = exchange.body.copy_to_bytes(length);
    (serde_json::from_slice(&body).unwrap(), exchange.lost.fields().to_vec())
}

/// The id of a call as a client of Gemini gets it, with the seal of the thoughts before it.
fn sealed_id() -> String {
    let seal = "A".repeat(400);
    let answer = json!({"candidates": [{"content": {"role": "model", "parts": [
        {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": seal}]}, "finishReason": "STOP"}]});
    let answer = gemini::read_answer(answer.to_string().as_bytes()).unwrap();
    let part = answer.choices[0].parts.iter().find_map(|part| match part {
        super::super::chat::Part::ToolCall { id, .. } => Some(id.clone()),
        _ => None,
    });
    part.unwrap()
}

#[test]
fn what_gemini_sealed_goes_to_no_other_model_and_is_short_there() {
    let id = sealed_id();
    assert!(id.len() > 300);
    let short = gemini::short_id(&id).to_owned();
    let asked = json!({"model": "x", "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}], "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": id, "content": "1"}]});
    for dialect in [Dialect::Anthropic, Dialect::Bedrock, Dialect::Mistral] {
        let (body, lost) = put(Operation::ChatCompletions, &asked, dialect);
        let text = body.to_string();
        assert!(!text.contains(&id), "{dialect:?}");
        assert_eq!(lost, Vec::<String>::new(), "{dialect:?}");
        // Mistral has ids of nine letters, made of these.
        let expected = if dialect == Dialect::Mistral { 0 } else { 2 };
        assert_eq!(text.matches(&format!("\"{short}\"")).count(), expected, "{dialect:?}: {text}");
    }
    let (body, _) = put(Operation::ChatCompletions, &asked, Dialect::Gemini);
    assert_eq!(body["contents"][1]["parts"][0]["thoughtSignature"], "A".repeat(400));
}

#[test]
fn a_seal_on_a_thought_of_gemini_is_left_out_by_name() {
    let asked = json!({"model": "x", "max_tokens": 9, "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "gemini:QUJD"},
            {"type": "text", "text": "Yes."},
            {"type": "thinking", "thinking": "", "signature": "gemini:QUJD"}]},
        {"role": "user", "content": "And?"}]});
    for dialect in [Dialect::Bedrock, Dialect::OpenAI, Dialect::OpenAICompatible, Dialect::Mistral] {
        let (body, lost) = put(Operation::Messages, &asked, dialect);
        assert!(!body.to_string().contains("QUJD"), "{dialect:?}: {body}");
        assert!(
            lost.contains(&"messages[1].content[0].signature".to_owned()),
            "{dialect:?}: {lost:?}"
        );
        assert!(
            lost.contains(&"messages[1].content[2].signature".to_owned()),
            "{dialect:?}: {lost:?}"
        );
    }
}

#[test]
fn an_error_is_known_by_the_shape_that_clients_read() {
    use crate::protocol::Operation::{ChatCompletions, Messages};
    let openai = br#"{"error":{"code":400,"message":"too long","type":"exceed_context_size_error"}}"#;
    let anthropic = br#"{"type":"error","error":{"type":"invalid_request_error","message":"too long"}}"#;
    assert!(ChatCompletions.is_error(openai) && !Messages.is_error(openai));
    assert!(Messages.is_error(anthropic));
    for nothing in [
        &b""[..],
        b"{}",
        b"Bad Request",
        br#"{"error":"too long"}"#,
        br#"{"type":"error","error":null}"#,
        b"\xff",
    ] {
        assert!(!ChatCompletions.is_error(nothing) && !Messages.is_error(nothing), "{nothing:?}");
    }
}

#[test]
fn what_is_left_out_is_named_by_the_place_that_the_client_gave_it() {
    let cached = json!({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}});
    let plain = json!({"type": "text", "text": "a"});
    let messages = |system: &Value| {
        json!({"model": "x", "max_tokens": 9, "system": system, "messages": [
            {"role": "user", "content": [plain, cached]}]})
    };
    for (system, lost) in [
        (json!(null), &["messages[0].content[1].cache_control"][..]),
        (json!("Be brief."), &["messages[0].content[1].cache_control"]),
        (
            json!([plain, cached]),
            &["system[1].cache_control", "messages[0].content[1].cache_control"],
        ),
    ] {
        assert_eq!(put(Operation::Messages, &messages(&system), Dialect::OpenAI).1, lost, "{system}");
    }
}

#[test]
fn what_cannot_be_done_is_named_by_the_place_that_the_client_gave_it() {
    let asked = json!({"model": "x", "max_tokens": 9, "system": "Be brief.", "messages": [
        {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://h/a.png"}}]}]});
    let asked = Asked::read(Operation::Messages, Bytes::from(asked.to_string())).unwrap();
    let to = Recipient {
        dialect: Dialect::Bedrock,
        model: "anthropic.claude-sonnet-4-5",
        max_output_tokens: None,
        google: gemini::Api::AiStudio,
    };
    let Err(Unfit::Unsupported(unsupported)) = asked.put(&to, "1", 0) else {
        panic!("Bedrock fetches no pictures");
    };
    assert_eq!(unsupported.field, "messages[0].content[0]");
}

#[test]
fn an_error_about_an_earlier_response_is_the_clients_where_it_named_one() {
    let error = |code: &str, param: &str| Error {
        code: Some(code.to_owned()),
        param: Some(param.to_owned()),
        ..Error::new(Kind::NotFound, "not found")
    };
    let goes_on = json!({"model": "x", "input": "hi", "previous_response_id": "resp_1"}).to_string();
    let fresh = json!({"model": "x", "input": "hi"}).to_string();
    for (body, code, param, is_clients) in [
        (&goes_on, "previous_response_not_found", "previous_response_id", true),
        (&goes_on, "", "previous_response_id", true),
        (&goes_on, "model_not_found", "model", false),
        (&fresh, "previous_response_not_found", "previous_response_id", false),
    ] {
        let asked = Asked::read(Operation::Responses, Bytes::from(body.clone())).unwrap();
        assert_eq!(asked.goes_on_with_nothing(&error(code, param)), is_clients, "{body} {code}");
    }
}
