//! Errors, read and written.

use proptest::prelude::*;

use super::super::super::error::{Error, Kind};
use super::super::{error_event, read_error, write_error};
use super::json;

#[test]
fn every_type_of_error_is_told_apart() {
    for (type_, http, message, kind) in [
        ("invalid_request_error", 400, "max_tokens: Field required", Kind::InvalidRequest),
        (
            "invalid_request_error",
            400,
            "prompt is too long: 210012 tokens > 200000 maximum",
            Kind::ContextLength,
        ),
        (
            "invalid_request_error",
            400,
            "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000",
            Kind::ContextLength,
        ),
        (
            "invalid_request_error",
            400,
            "Output blocked by content filtering policy",
            Kind::ContentFilter,
        ),
        (
            "invalid_request_error",
            400,
            "Your credit balance is too low to access the Anthropic API.",
            Kind::RateLimit,
        ),
        (
            "invalid_request_error",
            400,
            "You have reached your specified API usage limits. You will regain access on 2026-01-01.",
            Kind::RateLimit,
        ),
        (
            "invalid_request_error",
            400,
            "This organization has been disabled.",
            Kind::Permission,
        ),
        (
            "invalid_request_error",
            400,
            "metadata: your credit balance is too low, usage limits",
            Kind::InvalidRequest,
        ),
        ("authentication_error", 401, "invalid x-api-key", Kind::Authentication),
        ("billing_error", 402, "Billing error", Kind::RateLimit),
        ("permission_error", 403, "no", Kind::Permission),
        ("not_found_error", 404, "model: claude-9", Kind::NotFound),
        ("conflict_error", 409, "conflict", Kind::InvalidRequest),
        ("request_too_large", 413, "Request exceeds the maximum size", Kind::TooLarge),
        (
            "rate_limit_error",
            429,
            "Number of request tokens has exceeded your limit",
            Kind::RateLimit,
        ),
        ("api_error", 500, "Internal server error", Kind::Server),
        ("timeout_error", 504, "Request timeout", Kind::Timeout),
        ("overloaded_error", 529, "Overloaded", Kind::Overloaded),
        ("something_new", 503, "later", Kind::Overloaded),
    ] {
        let body = serde_json::json!({"type": "error", "error": {"type": type_, "message": message}, "request_id": "req_1"});
        assert_eq!(
            read_error(http, body.to_string().as_bytes()),
            Error::new(kind, message),
            "{type_}: {message}"
        );
    }
}

#[test]
fn engines_errors_are_read_as_they_were_recorded() {
    for (http, body, kind) in [
        (
            400,
            r#"{"error":{"code":400,"message":"request (1531 tokens) exceeds the available context size (1024 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":1531,"n_ctx":1024}}"#,
            Kind::ContextLength,
        ),
        (
            400,
            r#"{"error":{"message":"This model's maximum context length is 1024 tokens. However, your prompt contains at least 1025 input tokens","type":"BadRequestError","param":"input_tokens","code":400}}"#,
            Kind::ContextLength,
        ),
        (
            404,
            r#"{"error":{"message":"The model `nope` does not exist.","type":"NotFoundError","param":"model","code":404}}"#,
            Kind::NotFound,
        ),
    ] {
        assert_eq!(read_error(http, body.as_bytes()).kind, kind, "{body}");
    }
}

#[test]
fn an_unreadable_error_is_a_sentence_with_its_status_and_a_long_one_is_cut() {
    for body in [
        "<html>Bad Gateway</html>",
        "",
        "[]",
        r#"{"error":{"type":"api_error","message":" "}}"#,
    ] {
        let error = read_error(502, body.as_bytes());
        assert_eq!(error.kind, Kind::Server, "{body}");
        assert!(error.message.contains("502"), "{}", error.message);
    }
    let body = serde_json::json!({"error": {"type": "api_error", "message": "é".repeat(2_000)}});
    assert_eq!(read_error(500, body.to_string().as_bytes()).message, "é".repeat(512));
}

#[test]
fn errors_are_written_as_sdks_read_them() {
    let all = [
        (Kind::InvalidRequest, "invalid_request_error"),
        (Kind::ContentFilter, "invalid_request_error"),
        (Kind::Authentication, "authentication_error"),
        (Kind::Permission, "permission_error"),
        (Kind::NotFound, "not_found_error"),
        (Kind::TooLarge, "request_too_large"),
        (Kind::RateLimit, "rate_limit_error"),
        (Kind::Server, "api_error"),
        (Kind::Timeout, "timeout_error"),
        (Kind::Overloaded, "overloaded_error"),
    ];
    for (kind, type_) in all {
        let body = serde_json::json!({"type": "error", "error": {"type": type_, "message": "no \"x\""}});
        assert_eq!(json(&write_error(&Error::new(kind, "no \"x\""))), body);
    }
    let event = error_event(&Error::new(Kind::Overloaded, "busy"));
    let expected = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n";
    assert_eq!(String::from_utf8(event).unwrap(), expected);
}

#[test]
fn a_prompt_that_is_too_long_is_told_in_the_words_that_clients_look_for() {
    let message = |message: &str| json(&write_error(&Error::new(Kind::ContextLength, message)))["error"]["message"].clone();
    assert_eq!(message("1025 of 1024 tokens"), "prompt is too long: 1025 of 1024 tokens");
    assert_eq!(message("Prompt is too long"), "Prompt is too long");
    let error = read_error(400, &write_error(&Error::new(Kind::ContextLength, "1025 of 1024 tokens")));
    assert_eq!(error.kind, Kind::ContextLength);
}

proptest! {
    #[test]
    fn no_body_makes_the_reader_panic(http in 100_u16..600, body in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(!read_error(http, &body).message.is_empty());
    }
}
