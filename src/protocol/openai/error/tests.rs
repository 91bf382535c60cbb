//! Errors, as providers and engines send them.

use super::*;
use proptest::prelude::*;

/// A status and a body; the kind, the code and the field that are read of them.
type Case = (u16, &'static str, Kind, Option<&'static str>, Option<&'static str>);

/// OpenAI's, Azure's, vLLM's, llama.cpp's, Mistral's, FastAPI's and a proxy's, as they come.
const ERRORS: &[Case] = &[
    (
        400,
        r#"{"error":{"message":"This model's maximum context length is 128000 tokens. However, your messages resulted in 140000 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
        Kind::ContextLength,
        Some("context_length_exceeded"),
        Some("messages"),
    ),
    (
        400,
        r#"{"error":{"message":"This model's maximum context length is 1024 tokens. However, your prompt contains at least 1025 input tokens.","type":"BadRequestError","param":"input_tokens","code":400}}"#,
        Kind::ContextLength,
        None,
        Some("input_tokens"),
    ),
    (
        400,
        r#"{"error":{"message":"max_tokens=4096 cannot be greater than max_model_len=1024. Please request fewer output tokens. (parameter=max_tokens, value=4096)","type":"BadRequestError","param":"max_tokens","code":400}}"#,
        Kind::ContextLength,
        None,
        Some("max_tokens"),
    ),
    (
        400,
        r#"{"error":{"code":400,"message":"request (1531 tokens) exceeds the available context size (1024 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":1531,"n_ctx":1024}}"#,
        Kind::ContextLength,
        None,
        None,
    ),
    (
        400,
        r#"{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy.","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
        Kind::ContentFilter,
        Some("content_filter"),
        Some("prompt"),
    ),
    (
        401,
        r#"{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
        Kind::Authentication,
        Some("invalid_api_key"),
        None,
    ),
    (
        429,
        r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
        Kind::RateLimit,
        Some("insufficient_quota"),
        None,
    ),
    (
        404,
        r#"{"error":{"message":"The model `nope` does not exist.","type":"NotFoundError","param":"model","code":404}}"#,
        Kind::NotFound,
        None,
        Some("model"),
    ),
    (
        500,
        r#"{"error":{"code":500,"message":"image input is not supported - hint: if this is unexpected, you may need to provide the mmproj","type":"server_error"}}"#,
        Kind::Server,
        None,
        None,
    ),
    (
        400,
        r#"{"object":"error","message":"Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.","type":"invalid_function_call","param":null,"code":"3280"}"#,
        Kind::InvalidRequest,
        None,
        None,
    ),
    (
        422,
        r#"{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","x"],"msg":"Extra inputs are not permitted","input":true}]},"type":"invalid_request_error","param":null,"code":null}"#,
        Kind::InvalidRequest,
        None,
        None,
    ),
    (
        400,
        r#"{"object":"error","message":"Invalid model: open-mistral-7b","type":"invalid_model","param":null,"code":"1500"}"#,
        Kind::NotFound,
        None,
        None,
    ),
    (
        400,
        r#"{"error":{"message":"Model Not Exist","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#,
        Kind::NotFound,
        Some("invalid_request_error"),
        None,
    ),
    (
        400,
        r#"{"error":{"message":"The model `x` has been decommissioned and is no longer supported.","type":"invalid_request_error","code":"model_decommissioned"}}"#,
        Kind::NotFound,
        Some("model_decommissioned"),
        None,
    ),
    (
        400,
        r#"{"error":{"message":"Billing hard limit has been reached","type":"invalid_request_error","param":null,"code":"billing_hard_limit_reached"}}"#,
        Kind::RateLimit,
        Some("billing_hard_limit_reached"),
        None,
    ),
    (
        400,
        r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***le."}"#,
        Kind::Authentication,
        None,
        None,
    ),
    (
        400,
        r#"{"error":{"message":"'Invalid model: x' is not one of ['system', 'user']","type":"invalid_request_error","param":"messages","code":null}}"#,
        Kind::InvalidRequest,
        None,
        Some("messages"),
    ),
    (405, r#"{"detail":"Method Not Allowed"}"#, Kind::InvalidRequest, None, None),
    (503, r#"{"error":"no healthy upstream"}"#, Kind::Overloaded, None, None),
    (
        200,
        r#"{"error":{"message":"EngineCore encountered an issue","type":"InternalServerError","param":null,"code":500}}"#,
        Kind::Server,
        None,
        None,
    ),
    (
        200,
        r#"{"error":{"message":"The server had an error","type":"server_error","param":null,"code":null}}"#,
        Kind::Server,
        None,
        None,
    ),
    (
        200,
        r#"{"error":{"message":"slow down","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#,
        Kind::RateLimit,
        Some("rate_limit_exceeded"),
        None,
    ),
    (
        200,
        r#"{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
        Kind::Authentication,
        Some("invalid_api_key"),
        None,
    ),
];

#[test]
fn every_providers_errors_are_told_apart_in_its_own_words() {
    for (status, body, kind, code, param) in ERRORS {
        let error = read_error(*status, body.as_bytes());
        assert_eq!(
            (error.kind, error.code.as_deref(), error.param.as_deref()),
            (*kind, *code, *param),
            "{body}"
        );
        let words = &error.message[..error.message.len().min(20)];
        assert!(body.contains(words), "{body}: {}", error.message);
    }
}

#[test]
fn what_explains_nothing_is_told_by_its_status() {
    for body in [
        "",
        "<html>502 Bad Gateway</html>",
        "{}",
        r#"{"error":null}"#,
        r#"{"error":{}}"#,
        r#"{"error":{"message":""}}"#,
    ] {
        let error = read_error(502, body.as_bytes());
        assert_eq!(error.kind, Kind::Server, "{body}");
        assert!(error.message.contains("502"), "{body}: {}", error.message);
    }
    let long = format!(r#"{{"error":{{"message":"{}"}}}}"#, "é".repeat(5000));
    assert!(read_error(400, long.as_bytes()).message.len() <= MESSAGE_LIMIT);
}

#[test]
fn what_is_written_is_read_back() {
    for (status, kind) in [
        (400, Kind::InvalidRequest),
        (400, Kind::ContextLength),
        (400, Kind::ContentFilter),
        (401, Kind::Authentication),
        (403, Kind::Permission),
        (404, Kind::NotFound),
        (413, Kind::TooLarge),
        (429, Kind::RateLimit),
        (503, Kind::Overloaded),
        (504, Kind::Timeout),
        (500, Kind::Server),
    ] {
        let error = Error {
            param: Some("p".to_owned()),
            ..Error::new(kind, "words \"in\" quotes")
        };
        let read = read_error(status, &write_error(&error));
        assert_eq!((read.kind, &read.message, &read.param), (kind, &error.message, &error.param));
    }
    let event = error_event(&Error::new(Kind::Server, "gone"));
    let expected = "data: {\"error\":{\"message\":\"gone\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n";
    assert_eq!(String::from_utf8(event).unwrap(), expected);
}

proptest! {
    #[test]
    fn no_error_makes_the_reader_panic(status: u16, body in prop::collection::vec(any::<u8>(), 0..100), text in "\\PC{0,60}") {
        let _ = read_error(status, &body);
        let _ = read_error(status, format!(r#"{{"error":{{"message":{text}}}}}"#).as_bytes());
        let _ = read_error(status, format!(r#"{{"message":"{text}"}}"#).as_bytes());
    }
}
