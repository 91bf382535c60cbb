//! What events are, in the forms in which engines and providers send them.

use super::*;
use crate::protocol::Watch as _;
use crate::protocol::openai::judge::event;
use proptest::prelude::*;
use serde_json::Value as Json;

fn look(data: &str) -> Piece {
    Watch::default().look(data.as_bytes())
}

#[test]
fn events_are_told_apart_as_they_were_recorded() {
    for (piece, events) in [
        (
            Piece::Opening,
            &[
                r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1795566306,"id":"chatcmpl-NA","model":"smollm2-135m","system_fingerprint":"b0-unknown","object":"chat.completion.chunk"}"#,
                r#"{"id":"chatcmpl-a5","object":"chat.completion.chunk","created":1795566540,"model":"smollm2-135m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"usage":{"prompt_tokens":37,"total_tokens":37,"completion_tokens":0,"completion_tokens_details":null},"prompt_token_ids":null,"prompt_text":null}"#,
                r#"{"choices":[],"prompt_filter_results":[]}"#,
                r#"{"choices":[{"delta":{"role":"assistant","content":"","tool_calls":[ ],"refusal":null}}]}"#,
                r#"{"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":null}]}"#,
                r#"{"type":"ping"}"#,
                r#"{"a":1}"#,
                "[]",
                r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":""}]}"#,
            ][..],
        ),
        (
            Piece::Content,
            &[
                r#"{"id":"chatcmpl-a5","object":"chat.completion.chunk","created":1795566540,"model":"smollm2-135m","choices":[{"index":0,"delta":{"content":"The"},"logprobs":null,"finish_reason":null,"token_ids":null}],"usage":{"prompt_tokens":37,"total_tokens":38,"completion_tokens":1,"completion_tokens_details":null}}"#,
                r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#,
                r#"{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]}}]}"#,
                r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
                r#"{"choices":[{"text":" Paris","index":0,"logprobs":null,"finish_reason":null}],"created":1795566313,"object":"text_completion"}"#,
                r#"{"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":"length"}],"usage":{"completion_tokens":6,"prompt_tokens":5,"total_tokens":11}}"#,
            ],
        ),
        (Piece::Opening, &[""]),
        (Piece::Garbled, &["not json", "{\"choices\":["]),
        (
            Piece::Usage,
            &[
                r#"{"id":"chatcmpl-b7","object":"chat.completion.chunk","created":1795566538,"model":"smollm2-135m","choices":[],"usage":{"prompt_tokens":37,"total_tokens":45,"completion_tokens":8},"system_fingerprint":"vllm-0.32.0-2c2b3042"}"#,
                r#"{"choices":[{"index":0,"delta":{},"finish_reason":null}],"usage":{"prompt_tokens":1}}"#,
                r#"{"choices":[{"index":0,"delta":{"content":""}}],"usage":{"prompt_tokens":1}}"#,
            ],
        ),
        (
            Piece::Failed,
            &[
                r#"{"choices":[{"delta":{},"finish_reason":"abort"}]}"#,
                r#"{"choices":[{"delta":{"content":"x"},"finish_reason":"error"}]}"#,
                r#"{"error":{"message":"out of memory"}}"#,
            ],
        ),
        // Of an answer that never began.
        (Piece::Garbled, &["[DONE]", " [DONE] "]),
    ] {
        for data in events {
            assert_eq!(look(data), piece, "{data}");
        }
    }
    assert_eq!(look(r#"{"error":null,"choices":[{"delta":{"content":"a"}}]}"#), Piece::Content);
    let mut begun = Watch::default();
    begun.look(br#"{"choices":[{"delta":{"role":"assistant"}}]}"#);
    assert_eq!([begun.look(b"[DONE]"), begun.look(b" [DONE] ")], [Piece::Done; 2]);
}

#[test]
fn the_last_report_of_each_figure_counts_wherever_it_comes() {
    let mut watch = Watch::default();
    for data in [
        r#"{"choices":[{"delta":{"role":"assistant"}}],"usage":{"prompt_tokens":37,"completion_tokens":0,"prompt_tokens_details":{"cached_tokens":36}}}"#,
        r#"{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":37,"completion_tokens":1}}"#,
        r#"{"choices":[],"usage":null}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"completion_tokens":2}}"#,
    ] {
        watch.look(data.as_bytes());
    }
    let tokens = watch.tokens().unwrap();
    assert_eq!((tokens.input, tokens.cache_read, tokens.output), (1, 36, 2));
    assert_eq!(Watch::default().tokens(), None);
}

#[test]
fn what_was_said_is_measured_without_its_escapes() {
    for (delta, said) in [
        (r#"{"content":"L'Étoile"}"#, "L'Étoile"),
        (
            r#"{"content":"a\n\"b\"\\ \u00e9 \u20ac \ud83d\ude00 \u0041"}"#,
            "a\n\"b\"\\ é € 😀 A",
        ),
        (r#"{"reasoning_content":"hm","reasoning":"hm","role":"assistant"}"#, "hm"),
        (
            r#"{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"get","arguments":"{\"a\":1}"}}]}"#,
            "get{\"a\":1}",
        ),
        (
            r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"a\"b"}]}"#,
            "hma\"b",
        ),
    ] {
        let mut watch = Watch::default();
        watch.look(format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#).as_bytes());
        assert_eq!(watch.text_bytes(), said.len() as u64, "{delta}");
    }
    let mut watch = Watch::default();
    watch.look(br#"{"choices":[{"index":0,"text":" Paris"}]}"#);
    assert_eq!(watch.text_bytes(), 6);
}

/// Any JSON of the shape that chunks have, with odd values in it.
fn chunks() -> impl Strategy<Value = Json> {
    let odd = prop::sample::select(vec![
        serde_json::json!(null),
        serde_json::json!(""),
        serde_json::json!("a\"b\\"),
        serde_json::json!([]),
        serde_json::json!({}),
        serde_json::json!([{"x": "]}"}]),
        serde_json::json!({"text": "x", "y": [1, {"arguments": "é\n"}]}),
        serde_json::json!(1.5),
        serde_json::json!(true),
        serde_json::json!("stop"),
        serde_json::json!("abort"),
    ]);
    let keys = prop::sample::select(vec!["role", "content", "reasoning", "tool_calls", "refusal", "x", "\"}"]);
    let delta = prop::collection::btree_map(keys, odd.clone(), 0..4);
    let choice = (delta, odd.clone()).prop_map(|(delta, reason)| serde_json::json!({"index": 0, "delta": delta, "finish_reason": reason}));
    (prop::collection::vec(choice, 0..3), odd.clone(), odd)
        .prop_map(|(choices, other, extra)| serde_json::json!({"id": "x", "extra": extra, "choices": choices, "service_tier": other}))
}

proptest! {
    #[test]
    fn it_sees_what_a_full_reading_sees(chunk in chunks(), is_pretty: bool) {
        let data = if is_pretty { serde_json::to_vec_pretty(&chunk) } else { serde_json::to_vec(&chunk) }.unwrap();
        let expected = match chunk["choices"].as_array().unwrap().iter().any(|choice| choice["finish_reason"] == "error") {
            true => Piece::Failed,
            false => event(&data),
        };
        prop_assert_eq!(look(std::str::from_utf8(&data).unwrap()), expected);
    }

    #[test]
    fn no_event_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), text in "[{}\\[\\]\":,\\\\u0a ]{0,60}") {
        let mut watch = Watch::default();
        watch.look(&bytes);
        watch.look(text.as_bytes());
        watch.look(format!(r#"{{"choices":[{{"delta":{{"content":{text}}}}}]}}"#).as_bytes());
        watch.look(format!(r#"{{"choices":[{{"delta":{{"content":"{text}"}}}}]}}"#).as_bytes());
    }

    #[test]
    fn a_chunk_that_is_cut_off_makes_it_not_panic(chunk in chunks(), cut: prop::sample::Index) {
        let data = serde_json::to_vec(&chunk).unwrap();
        let _ = Watch::default().look(&data[..cut.index(data.len())]);
    }

    #[test]
    fn text_is_measured_exactly(text in "\\PC{0,40}") {
        let data = serde_json::to_vec(&serde_json::json!({"choices": [{"delta": {"content": text}}]})).unwrap();
        let mut watch = Watch::default();
        watch.look(&data);
        prop_assert_eq!(watch.text_bytes(), text.len() as u64);
    }
}
