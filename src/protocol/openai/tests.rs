//! What is read of answers, and how errors are written.

use super::judge::event;
use super::*;
use crate::protocol::watch::Piece;
use proptest::prelude::*;

#[test]
fn the_opening_of_a_stream_is_not_yet_content() {
    let opening = [
        r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"id":"x"}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"prompt_text":null}"#,
        r#"{"choices":[],"prompt_filter_results":[]}"#,
        r#"{"choices":[{"delta":{"role":"assistant","content":"","tool_calls":[]}}]}"#,
        r#"{"type":"ping"}"#,
    ];
    for data in opening {
        assert_eq!(event(data.as_bytes()), Piece::Opening, "{data}");
    }
    let content = [
        r#"{"choices":[{"delta":{"content":"L"}}]}"#,
        r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":1}}"#,
        "not json",
    ];
    for data in content {
        assert_eq!(event(data.as_bytes()), Piece::Content, "{data}");
    }
}

#[test]
fn an_engine_that_gave_up_is_not_taken_for_one_that_finished() {
    assert_eq!(event(br#"{"choices":[{"delta":{},"finish_reason":"abort"}]}"#), Piece::Failed);
    assert_eq!(event(br#"{"error":{"message":"out of memory"}}"#), Piece::Failed);
    assert_eq!(event(br#"{"error":null,"choices":[{"delta":{"content":"a"}}]}"#), Piece::Content);
    assert_eq!(event(b" [DONE]"), Piece::Done);
}

#[test]
fn errors_have_openais_shape() {
    let error = ErrorBody {
        message: "no \"x\"",
        kind: "invalid_request_error",
        param: None,
        code: "model_not_found",
    };
    let json = r#"{"error":{"message":"no \"x\"","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#;
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&error.to_json()).unwrap(),
        serde_json::from_str::<serde_json::Value>(json).unwrap()
    );
}

proptest! {
    #[test]
    fn no_answer_makes_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (chat::tokens(&body), event(&body));
    }
}
