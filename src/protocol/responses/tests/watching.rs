//! What is seen of answers that pass.

use proptest::prelude::*;

use super::super::*;
use crate::protocol::sse::Splitter;
use crate::protocol::usage::{Terms, Tokens};
use crate::protocol::{Piece, Watch as _};

/// As OpenAI writes it: several fields left out of the objects, none out of the events.
const STREAM: &str = r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","created_at":1764000000,"status":"in_progress","output":[],"usage":null}}

event: response.in_progress
data: {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_1","object":"response","status":"in_progress","output":[],"usage":null}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"id":"msg_1","type":"message","status":"in_progress","content":[],"role":"assistant"}}

event: response.content_part.added
data: {"type":"response.content_part.added","sequence_number":3,"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","annotations":[],"logprobs":[],"text":""}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"Hi","logprobs":[],"obfuscation":"4uN0Tz8aPqXg5V"}

event: response.output_text.done
data: {"type":"response.output_text.done","sequence_number":5,"item_id":"msg_1","output_index":0,"content_index":0,"text":"Hi","logprobs":[]}

event: response.completed
data: {"type":"response.completed","sequence_number":8,"response":{"id":"resp_1","object":"response","status":"completed","output":[{"id":"msg_1","type":"message","status":"completed","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"Hi"}],"role":"assistant"}],"tools":[{"type":"function","parameters":{"usage":{"input_tokens":9}}}],"usage":{"input_tokens":37,"input_tokens_details":{"cached_tokens":30},"output_tokens":11,"output_tokens_details":{"reasoning_tokens":4},"total_tokens":48},"metadata":{}}}

"#;

fn look(stream: &str) -> (Vec<Piece>, Watch) {
    let (mut watch, mut pieces) = (Watch::default(), Vec::new());
    Splitter::default().feed(stream.as_bytes(), |data, _| pieces.push(watch.look(data)));
    (pieces, watch)
}

#[test]
fn a_stream_opens_says_something_and_is_done() {
    let (pieces, watch) = look(STREAM);
    let [o, c] = [Piece::Opening, Piece::Content];
    assert_eq!(pieces, [o, o, o, o, c, c, Piece::Done]);
    let expected = Tokens {
        input: 7,
        cache_read: 30,
        output: 7,
        reasoning: 4,
        ..Tokens::default()
    };
    assert_eq!((watch.tokens(), watch.text_bytes()), (Some(expected), 2));
}

#[test]
fn every_event_is_what_it_says() {
    for (data, expected) in [
        (r#"{"type":"response.queued","response":{}}"#, Piece::Opening),
        (r#"{"type":"response.reasoning_summary_part.added","part":{}}"#, Piece::Opening),
        (r#"{"type":"response.output_text.delta","delta":""}"#, Piece::Opening),
        (r#"{"type":"response.function_call_arguments.delta","delta":"{"}"#, Piece::Content),
        (r#"{"type":"response.reasoning_summary_text.delta","delta":"a"}"#, Piece::Content),
        (r#"{"type":"response.custom.delta","delta":{"a":1}}"#, Piece::Content),
        (r#"{"type":"response.output_item.done","item":{}}"#, Piece::Content),
        (r#"{"type":"response.web_search_call.searching"}"#, Piece::Content),
        (
            r#"{"type":"response.incomplete","response":{"incomplete_details":{"reason":"max_output_tokens"}}}"#,
            Piece::Done,
        ),
        (
            r#"{"type":"response.failed","response":{"error":{"code":"server_error"}}}"#,
            Piece::Failed,
        ),
        (r#"{"type":"error","code":null,"message":"no","param":null}"#, Piece::Failed),
        (r#"{"error":{"message":"no"}}"#, Piece::Failed),
        (r#"{"delta":"a", "type": "response.output_text.delta"}"#, Piece::Content),
        (r#"{"sequence_number":0,"type":"response.created","response":{}}"#, Piece::Opening),
        (r#"{ "response":{}, "type":"response.completed"}"#, Piece::Done),
        (r#"{"type":"response.completed","response":{"output":["cut off he"#, Piece::Garbled),
        (r#"{"type":"response.completed"}"#, Piece::Garbled),
        ("not json", Piece::Garbled),
        ("", Piece::Opening),
        ("[DONE]", Piece::Opening),
    ] {
        assert_eq!(Watch::default().look(data.as_bytes()), expected, "{data}");
    }
    let cut_off = format!(r#"{{"type":"response.completed","response":{{"output":["{}"#, "x".repeat(1 << 20));
    assert_eq!(
        Watch::default().look(cut_off.as_bytes()),
        Piece::Done,
        "of a monstrous one not all is here"
    );
}

#[test]
fn tokens_are_counted_once_whatever_the_details_say() {
    let of = |json: &str| tokens(format!(r#"{{"object":"response","usage":{json}}}"#).as_bytes());
    let expected = |input, cache_read, cache_write, cache_write_1h, output, reasoning| {
        Some(Tokens {
            input,
            cache_read,
            cache_write,
            cache_write_1h,
            output,
            reasoning,
            ..Tokens::default()
        })
    };
    assert_eq!(of("null"), None);
    assert_eq!(
        of(r#"{"input_tokens":5,"output_tokens":6,"total_tokens":11}"#),
        expected(5, 0, 0, 0, 6, 0)
    );
    assert_eq!(
        of(r#"{"input_tokens":5,"input_tokens_details":null,"output_tokens":null}"#),
        expected(5, 0, 0, 0, 0, 0)
    );
    assert_eq!(
        of(
            r#"{"input_tokens":100,"input_tokens_details":{"cached_tokens":50,"cache_write_tokens":30,"cache_write_tokens_details":{"ttl_12h_tokens":10,"ttl_30m_tokens":20}},"output_tokens":6,"output_tokens_details":{"reasoning_tokens":2}}"#
        ),
        expected(20, 50, 20, 10, 4, 2)
    );
    assert_eq!(
        of(
            r#"{"input_tokens":5,"input_tokens_details":{"cached_tokens":9,"cache_write_tokens":9},"output_tokens":1,"output_tokens_details":{"reasoning_tokens":9}}"#
        ),
        expected(0, 5, 0, 0, 0, 1)
    );
    assert_eq!(tokens(b"no answer"), None);
}

#[test]
fn a_failed_answer_still_reports_its_tokens() {
    let data = r#"{"type":"response.failed","response":{"usage":{"input_tokens":3,"output_tokens":1}}}"#;
    let mut watch = Watch::default();
    assert_eq!(watch.look(data.as_bytes()), Piece::Failed);
    assert_eq!(watch.tokens().map(|tokens| (tokens.prompt(), tokens.answer())), Some((3, 1)));
}

proptest! {
    #[test]
    fn the_text_of_an_addition_is_measured_whatever_it_says(text in ".{0,20}|(\"|delta|:|\\\\){0,8}", is_spaced in any::<bool>()) {
        let delta = serde_json::to_string(&text).unwrap();
        let colon = if is_spaced { ": " } else { ":" };
        let data = format!(r#"{{"type":"response.output_text.delta","item_id":{delta},"delta"{colon}{delta},"logprobs":[],"obfuscation":"x"}}"#);
        let mut watch = Watch::default();
        prop_assert_eq!(watch.look(data.as_bytes()), if text.is_empty() { Piece::Opening } else { Piece::Content });
        prop_assert_eq!(watch.text_bytes(), delta.len() as u64 - 2);
    }

    #[test]
    fn no_event_makes_the_watch_panic(data in prop::collection::vec(any::<u8>(), 0..200), cut in any::<prop::sample::Index>()) {
        let mut watch = Watch::default();
        watch.look(&data);
        watch.look(&[br#"{"type":"response.completed","#.as_slice(), &data].concat());
        look(STREAM.get(..cut.index(STREAM.len())).unwrap_or_default());
        let _ = tokens(&data);
    }
}

#[test]
fn a_tool_that_is_billed_makes_the_terms_special_where_it_was_used_or_where_that_is_not_known() {
    for (fields, terms) in [
        (
            r#""output":[{"type":"function_call"}],"tools":[{"type":"image_generation"}]"#,
            Terms::Unsaid,
        ),
        (r#""output":[{"type":"image_generation_call"}]"#, Terms::Special),
        (
            r#""output":[{"type":"mcp_call"},{"type":7}],"service_tier":"default""#,
            Terms::Standard,
        ),
        (
            r#""tools":[{"type":"function"},{"type":"image_generation"}],"service_tier":"default""#,
            Terms::Special,
        ),
        (r#""tools":[{"type":"function"}],"service_tier":"default""#, Terms::Standard),
        (r#""output":7,"service_tier":{}"#, Terms::Unsaid),
    ] {
        let answer = format!(r#"{{"usage":{{"input_tokens":1}},{fields}}}"#);
        assert_eq!(tokens(answer.as_bytes()).unwrap().terms, terms, "{fields}");
    }
}
