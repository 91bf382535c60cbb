//! Paths, errors, embeddings and the counting of tokens.

use std::time::Duration;

use serde_json::json;

use super::super::super::embeddings as client;
use super::super::super::error::Kind;
use super::*;

#[test]
fn paths_are_googles() {
    use Operation::{ChatCompletions, CountTokens, Embeddings, Messages};
    let cases = [
        (
            Api::AiStudio,
            "gemini-3-pro",
            ChatCompletions,
            false,
            "models/gemini-3-pro:generateContent",
        ),
        (
            Api::Vertex,
            "gemini-3-pro",
            Messages,
            true,
            "models/gemini-3-pro:streamGenerateContent?alt=sse",
        ),
        (
            Api::AiStudio,
            "models/gemini-embedding-001",
            Embeddings,
            false,
            "models/gemini-embedding-001:batchEmbedContents",
        ),
        (
            Api::Vertex,
            "text-embedding-005@default",
            Embeddings,
            false,
            "models/text-embedding-005@default:predict",
        ),
        (
            Api::AiStudio,
            "tunedModels/mine",
            CountTokens,
            false,
            "tunedModels/mine:countTokens",
        ),
        (
            Api::AiStudio,
            "a b?c#d:e",
            ChatCompletions,
            false,
            "models/a%20b%3Fc%23d%3Ae:generateContent",
        ),
    ];
    for (api, model, operation, stream, expected) in cases {
        assert_eq!(path(api, model, operation, stream), expected);
    }
}

#[test]
fn every_kind_of_error_is_told_apart() {
    let cases = [
        (
            400,
            "INVALID_ARGUMENT",
            "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
            Kind::ContextLength,
        ),
        (
            400,
            "INVALID_ARGUMENT",
            "The input token count exceeds the maximum number of tokens allowed 1048576.",
            Kind::ContextLength,
        ),
        (
            400,
            "INVALID_ARGUMENT",
            "Unable to submit request because the input token count is 2000000 but model only supports up to 1048576. Reduce the input token count and try again.",
            Kind::ContextLength,
        ),
        (
            400,
            "INVALID_ARGUMENT",
            "Unable to submit request because it has a maxOutputTokens value of 90000 but the supported range is from 1 (inclusive) to 65537 (exclusive).",
            Kind::InvalidRequest,
        ),
        (
            400,
            "INVALID_ARGUMENT",
            "Request payload size exceeds the limit: 20971520 bytes.",
            Kind::TooLarge,
        ),
        (
            400,
            "INVALID_ARGUMENT",
            "API key not valid. Please pass a valid API key.",
            Kind::Authentication,
        ),
        (
            400,
            "FAILED_PRECONDITION",
            "User location is not supported for the API use.",
            Kind::Permission,
        ),
        (
            400,
            "FAILED_PRECONDITION",
            "Gemini API free tier is not available in your country. Please enable billing on your project in Google AI Studio.",
            Kind::RateLimit,
        ),
        (400, "FAILED_PRECONDITION", "Precondition check failed.", Kind::Permission),
        (
            401,
            "UNAUTHENTICATED",
            "Request had invalid authentication credentials.",
            Kind::Authentication,
        ),
        (
            403,
            "PERMISSION_DENIED",
            "Generative Language API has not been used",
            Kind::Permission,
        ),
        (
            404,
            "NOT_FOUND",
            "models/gemini-9 is not found for API version v1beta",
            Kind::NotFound,
        ),
        (
            429,
            "RESOURCE_EXHAUSTED",
            "Resource has been exhausted (e.g. check quota).",
            Kind::RateLimit,
        ),
        (500, "INTERNAL", "An internal error has occurred.", Kind::Server),
        (
            503,
            "UNAVAILABLE",
            "The model is overloaded. Please try again later.",
            Kind::Overloaded,
        ),
        (504, "DEADLINE_EXCEEDED", "The request timed out.", Kind::Timeout),
        (499, "CANCELLED", "The operation was cancelled.", Kind::Server),
    ];
    for (code, status, message, kind) in cases {
        let object = json!({"error": {"code": code, "message": message, "status": status}});
        for body in [object.clone(), json!([object])] {
            let error = read_error(code, body.to_string().as_bytes());
            assert_eq!((error.kind, error.message.as_str()), (kind, message));
        }
    }
    assert_eq!(
        read_error(502, b"<html>").message,
        "the model's server answered with status 502 and no message"
    );
    assert_eq!(read_error(429, b"").kind, Kind::RateLimit);
}

#[test]
fn a_key_that_is_wrong_is_known_by_its_reason() {
    let body = br#"{"error":{"code":400,"message":"Bad","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com","metadata":{"service":"generativelanguage.googleapis.com"}},{"@type":"type.googleapis.com/google.rpc.LocalizedMessage","locale":"en-US","message":"x"},7]}}"#;
    assert_eq!(read_error(400, body).kind, Kind::Authentication);
}

#[test]
fn messages_are_bounded_and_name_neither_keys_nor_projects() {
    let message = |message: &str| {
        read_error(
            403,
            json!({"error": {"message": message, "status": "PERMISSION_DENIED"}})
                .to_string()
                .as_bytes(),
        )
        .message
    };
    assert_eq!(
        message("Permission denied: Consumer 'api_key:AIzaSyD-1_x' has been suspended."),
        "Permission denied: Consumer 'api_key:…' has been suspended."
    );
    assert_eq!(
        message("denied on resource '//aiplatform.googleapis.com/projects/acme-1/locations/x' (AIzaSyD)"),
        "denied on resource '//aiplatform.googleapis.com/projects/…/locations/x' (…)"
    );
    assert_eq!(
        message("Permission denied on resource project acme-1."),
        "Permission denied on resource project …"
    );
    assert_eq!(message("é".repeat(2000).as_str()).len(), 1024);
}

#[test]
fn the_wait_that_is_asked_for_is_read() {
    let body = |delay: &str| {
        format!(
            r#"[{{"error":{{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED","details":[{{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{{"quotaMetric":"m"}}]}},{{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"{delay}"}}]}}}}]"#
        )
    };
    let wait = |delay: &str| retry_after(body(delay).as_bytes());
    assert_eq!(wait("39s"), Some(Duration::from_secs(39)));
    assert_eq!(wait("1.5s"), Some(Duration::from_millis(1500)));
    assert_eq!(wait("1e300s"), None);
    assert_eq!(wait("999999999s"), Some(Duration::from_secs(86_400)));
    for none in ["", "s", "-1s", "NaNs", "12", "infs"] {
        assert_eq!(wait(none), None, "{none}");
    }
    assert_eq!(retry_after(br#"{"error":{"message":"x"}}"#), None);
}

#[test]
fn embeddings_are_asked_for_and_read() {
    let request = client::Request {
        texts: vec!["a".to_owned(), "b".to_owned()],
        dimensions: Some(256),
        base64: true,
        user: Some("u".to_owned()),
    };
    let (body, lost) = embeddings::write_request(&request, "gemini-embedding-001", Api::AiStudio).unwrap();
    let one =
        |text: &str| json!({"model": "models/gemini-embedding-001", "content": {"parts": [{"text": text}]}, "outputDimensionality": 256});
    assert_eq!(json(&body), json!({"requests": [one("a"), one("b")]}));
    assert_eq!(lost.fields(), ["user"]);
    let (body, _) = embeddings::write_request(&request, "text-embedding-005", Api::Vertex).unwrap();
    let expected =
        json!({"instances": [{"content": "a"}, {"content": "b"}], "parameters": {"autoTruncate": false, "outputDimensionality": 256}});
    assert_eq!(json(&body), expected);

    let vectors = vec![vec![0.5, -1.0], vec![2.0, 0.25]];
    let studio = br#"{"embeddings":[{"values":[0.5,-1]},{"values":[2,0.25]}]}"#;
    let expected = embeddings::Answer {
        vectors: vectors.clone(),
        tokens: None,
    };
    assert_eq!(embeddings::read_answer(studio), Some(expected));
    let vertex = br#"{"predictions":[{"embeddings":{"statistics":{"truncated":false,"token_count":4.0},"values":[0.5,-1]}},{"embeddings":{"statistics":{"token_count":6},"values":[2,0.25]}}],"metadata":{"billableCharacterCount":11}}"#;
    let expected = embeddings::Answer { vectors, tokens: Some(10) };
    assert_eq!(embeddings::read_answer(vertex), Some(expected));
    assert_eq!(embeddings::read_answer(b"{}"), None);
}

#[test]
fn texts_that_have_no_vector_are_refused() {
    let request = |texts| client::Request {
        texts,
        ..client::Request::default()
    };
    let refused = |texts, api| embeddings::write_request(&request(texts), "m", api).unwrap_err().field;
    assert_eq!(refused(vec!["a".to_owned(); 101], Api::AiStudio), "input");
    assert_eq!(refused(vec!["a".to_owned(); 251], Api::Vertex), "input");
    assert_eq!(refused(vec!["a".to_owned(), String::new()], Api::Vertex), "input[1]");
}
