//! What is read of requests, and that nothing else of them changes.

use super::*;
use proptest::prelude::*;

fn put(body: &str, model: &str, reported: bool) -> String {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let mut parts = peek(&body).unwrap().put(&body, model, reported);
    String::from_utf8(parts.copy_to_bytes(parts.remaining()).to_vec()).unwrap()
}

fn spliced(body: &str, model: &str) -> String {
    put(body, model, false)
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
        (r#"{"model":"m","stream_options":7}"#, Some("stream_options")),
        (r#"{"model":"m","stream_options":{},"stream_options":{}}"#, Some("stream_options")),
        (
            r#"{"model":"m","stream_options":{"include_usage":1}}"#,
            Some("stream_options.include_usage"),
        ),
    ] {
        assert_eq!(peek(body.as_bytes()).unwrap_err().field.as_deref(), field, "{body}");
    }
}

#[test]
fn a_body_that_is_no_text_is_told_what_it_is_and_how_to_send_it() {
    for (body, words) in [
        (&b"\x1f\x8b\x08\0"[..], "compressed with gzip: send it uncompressed"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd: send it uncompressed"),
        (b"\xef\xbb\xbf{\"model\":\"m\"}", "byte order mark (EF BB BF)"),
        (b"\xff\xfe{\0", "in UTF-16: send it in UTF-8"),
        (b"", "the body is empty: send a request in JSON"),
        (b"{\"model\":\"m\",\"x\":\"\xff\"}", "not UTF-8 at byte 18"),
        (b"{\"model\":\"m\",\"model\":\"m\"}", "model is given twice"),
    ] {
        let message = peek(body).unwrap_err().message;
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_deeply_nested_body_costs_no_stack() {
    let body = format!(r#"{{"x":{}{},"model":"m"}}"#, "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(peek(body.as_bytes()).unwrap().model, "m");
}

#[test]
fn a_report_of_tokens_is_asked_for_with_as_few_bytes_as_can_be() {
    for (body, asked, put_as) in [
        (
            r#" { "model":"m"}"#,
            false,
            r#" {"stream_options":{"include_usage":true}, "model":"n"}"#,
        ),
        (
            r#"{"model":"m","stream_options":null}"#,
            false,
            r#"{"model":"n","stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream_options":{ },"model":"m"}"#,
            false,
            r#"{"stream_options":{"include_usage":true },"model":"n"}"#,
        ),
        (
            r#"{"model":"m","stream_options":{"x":1}}"#,
            false,
            r#"{"model":"n","stream_options":{"include_usage":true,"x":1}}"#,
        ),
        (
            r#"{"stream_options":{"include_usage":false},"model":"m"}"#,
            false,
            r#"{"stream_options":{"include_usage":true},"model":"n"}"#,
        ),
        (
            r#"{"stream_options":{"include_usage": true},"model":"m"}"#,
            true,
            r#"{"stream_options":{"include_usage": true},"model":"n"}"#,
        ),
    ] {
        assert_eq!(peek(body.as_bytes()).unwrap().usage_asked, asked, "{body}");
        assert_eq!(put(body, "n", true), put_as, "{body}");
    }
}

#[test]
fn parts_are_read_across_their_borders() {
    let body = Bytes::from_static(br#"{"model":"m","x":1}"#);
    let whole = put(r#"{"model":"m","x":1}"#, "n", true);
    for step in 1..whole.len() {
        let mut parts = peek(&body).unwrap().put(&body, "n", true);
        let mut read = Vec::new();
        while parts.has_remaining() {
            let here = step.min(parts.remaining());
            read.extend_from_slice(&parts.copy_to_bytes(here));
        }
        assert_eq!(String::from_utf8(read).unwrap(), whole);
    }
    let parts = peek(&body).unwrap().put(&body, "n", true);
    let mut slices = [IoSlice::new(&[]); 8];
    let filled = parts.chunks_vectored(&mut slices);
    assert_eq!(slices[..filled].iter().map(|s| s.len()).sum::<usize>(), whole.len());
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
        let _ = peek(&body).is_ok();
    }
}
