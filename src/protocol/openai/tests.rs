//! What is read of requests and answers, and that nothing else changes.

use super::*;
use proptest::prelude::*;

fn spliced(body: &str, model: &str) -> String {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let peek = peek(&body).unwrap();
    let mut parts = splice(&body, &peek.model_span, model);
    String::from_utf8(parts.copy_to_bytes(parts.remaining()).to_vec()).unwrap()
}

#[test]
fn only_the_models_name_changes() {
    let body = "{ \"seed\": 9007199254740993,\"z\":1.0, \"messages\":[{\"role\":\"user\",\"content\":\"\\u00e9 \\/ \\\"model\\\": \\\"x\\\"\"}],\n\
                \"tools\":[{\"model\":\"nested\"}],  \"model\" :\t\"assistant\" , \"a\":null,\"temperature\":1e0}";
    assert_eq!(spliced(body, "gpt-5-mini"), body.replace("\"assistant\"", "\"gpt-5-mini\""));
}

#[test]
fn a_name_with_escapes_is_read_and_written_as_json() {
    let peek = peek(br#"{"model":"a\u0062\/c"}"#).unwrap();
    assert_eq!(peek.model, "ab/c");
    assert_eq!(spliced(r#"{"model":"a\u0062"}"#, "q\"\\é"), r#"{"model":"q\"\\é"}"#);
}

#[test]
fn the_stream_flag_is_read_in_every_form() {
    for (body, stream) in [
        (r#"{"model":"m"}"#, false),
        (r#"{"model":"m","stream":null}"#, false),
        (r#"{"stream" : true,"model":"m"}"#, true),
        (r#"{"model":"m","stream":false}"#, false),
        (r#"{"model":"m","x":{"stream":true}}"#, false),
    ] {
        assert_eq!(peek(body.as_bytes()).unwrap().stream, stream, "{body}");
    }
}

#[test]
fn what_is_not_a_request_is_refused_with_its_field() {
    for (body, field) in [
        ("", None),
        ("hello", None),
        ("[]", None),
        ("\"model\"", None),
        (r#"{"model":"m"} {}"#, None),
        (r#"{"model":"m""#, None),
        ("{}", Some("model")),
        (r#"{"model":null}"#, Some("model")),
        (r#"{"model":7}"#, Some("model")),
        (r#"{"model":["m"]}"#, Some("model")),
        (r#"{"model":"a","model":"b"}"#, Some("model")),
        (r#"{"model":"m","stream":"yes"}"#, Some("stream")),
        (r#"{"model":"m","stream":1}"#, Some("stream")),
    ] {
        assert_eq!(peek(body.as_bytes()).unwrap_err().field, field, "{body}");
    }
}

#[test]
fn a_deeply_nested_body_costs_no_stack() {
    let body = format!(r#"{{"x":{}{},"model":"m"}}"#, "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(peek(body.as_bytes()).unwrap().model, "m");
}

#[test]
fn the_opening_of_a_stream_is_not_yet_content() {
    let opening = [
        r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"id":"x"}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"prompt_text":null}"#,
        r#"{"choices":[],"prompt_filter_results":[]}"#,
        r#"{"choices":[{"delta":{"role":"assistant","content":"","tool_calls":[]}}]}"#,
    ];
    for data in opening {
        assert_eq!(event(data.as_bytes()).0, Piece::Opening, "{data}");
    }
    let content = [
        r#"{"choices":[{"delta":{"content":"L"}}]}"#,
        r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":1}}"#,
        r#"{"type":"ping"}"#,
        "not json",
    ];
    for data in content {
        assert_eq!(event(data.as_bytes()).0, Piece::Content, "{data}");
    }
}

#[test]
fn an_engine_that_gave_up_is_not_taken_for_one_that_finished() {
    assert_eq!(event(br#"{"choices":[{"delta":{},"finish_reason":"abort"}]}"#).0, Piece::Failed);
    assert_eq!(event(br#"{"error":{"message":"out of memory"}}"#).0, Piece::Failed);
    assert_eq!(event(br#"{"error":null,"choices":[{"delta":{"content":"a"}}]}"#).0, Piece::Content);
    assert_eq!(event(b" [DONE]").0, Piece::Done);
}

#[test]
fn usage_is_read_from_answers_and_events() {
    let usage_of = |json: &str| usage(json.as_bytes()).map(|u| (u.prompt_tokens, u.completion_tokens));
    assert_eq!(
        usage_of(r#"{"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}"#),
        Some((5, 7))
    );
    assert_eq!(usage_of(r#"{"choices":[],"usage":{"prompt_tokens":5}}"#), Some((5, 0)));
    assert_eq!(usage_of(r#"{"usage":null}"#), None);
    assert_eq!(usage_of("[DONE]"), None);
    let (piece, usage) = event(br#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7}}"#);
    assert_eq!((piece, usage.unwrap().completion_tokens), (Piece::Content, 7));
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
    assert!(error.to_event().starts_with(b"data: {") && error.to_event().ends_with(b"}\n\n"));
}

/// JSON text of any value, with white space and number spellings that a parser would lose.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("9007199254740993".to_owned()),
        Just("1.0".to_owned()),
        Just("-0e10".to_owned()),
        Just("null".to_owned()),
        Just(r#""\u00e9\/\"model\":\"x\"""#.to_owned()),
        "[a-z{}:,]{0,8}".prop_map(|s| format!("\"{s}\"")),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let key = prop_oneof![Just("model"), Just("stream"), Just("a"), Just("m\\u006fdel")];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" ,"))),
            prop::collection::vec((key, inner), 0..4).prop_map(|fields| format!(
                "{{ {} }}",
                fields.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect::<Vec<_>>().join(",")
            )),
        ]
    })
}

proptest! {
    #[test]
    fn a_splice_never_changes_another_byte(
        before in prop::collection::vec(json(), 0..3),
        after in prop::collection::vec(json(), 0..3),
        asked in "[a-zA-Z0-9/._ -]{1,20}",
        upstream in any::<String>(),
    ) {
        let fields = |prefix: &str, values: &[String]| -> String {
            values.iter().enumerate().map(|(i, v)| format!(" \"{prefix}{i}\" :\t{v},")).collect()
        };
        let head = format!("{{{}\n\"model\":  ", fields("b", &before));
        let tail = format!(" ,{}\"end\":1}}\n", fields("a", &after));
        let body = format!("{head}\"{asked}\"{tail}");
        prop_assert_eq!(peek(body.as_bytes()).unwrap().model, asked);
        prop_assert_eq!(spliced(&body, &upstream), format!("{head}{}{tail}", serde_json::to_string(&upstream).unwrap()));
    }

    #[test]
    fn no_body_makes_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (peek(&body).is_ok(), usage(&body), event(&body));
    }
}
