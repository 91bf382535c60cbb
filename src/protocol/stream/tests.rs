//! What passes of a stream, and what is seen of it.

use proptest::prelude::*;

use super::*;
use crate::protocol::anthropic;
use crate::protocol::chat::Said;
use crate::protocol::error::Kind;
use crate::protocol::openai;
use crate::protocol::sse::{EVENT_LIMIT, Splitter};
use crate::protocol::usage::Terms;

fn passing(is_stripped: bool) -> Passing {
    let words = Words {
        read: openai::read_error,
        event: openai::error_event,
    };
    Passing::new(Box::new(openai::chat::Watch::default()), is_stripped, words)
}

fn whole(stream: &mut Stream, pieces: &[&str]) -> String {
    let mut all: Vec<u8> = Vec::new();
    for piece in pieces {
        all.extend_from_slice(&stream.pass(Bytes::copy_from_slice(piece.as_bytes())));
    }
    all.extend_from_slice(&stream.end());
    String::from_utf8(all).unwrap()
}

#[test]
fn half_an_event_waits_for_its_end() {
    let mut stream = passing(false);
    assert_eq!(stream.pass("data: 1\n\ndata: 2".into()), "data: 1\n\n");
    assert_eq!(stream.pass("3\n".into()), "");
    assert_eq!(stream.pass("\ndata: [DO".into()), "data: 23\n\n");
    assert!(!stream.seen().content && !stream.seen().done, "that is no part of an answer");
    assert_eq!(stream.end(), "");
    assert!(!stream.seen().done);
}

#[test]
fn the_last_event_of_a_response_reports_however_large_it_is_and_wherever_it_is_cut() {
    let text = r#"\",\"usage\":{\"input_tokens\":999},"#;
    for (size, piece) in [(EVENT_LIMIT + 99, 50_000), (3 * EVENT_LIMIT, 70_001), (2 * EVENT_LIMIT, usize::MAX)] {
        let text = text.repeat(size / text.len());
        let last = format!(
            "event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{{\"output\":[{{\"usage\":{{\"input_tokens\":998}},\"text\":\"{text}\"}}],\"usage\":{{\"input_tokens\":7,\"output_tokens\":5}}}}}}\n\n"
        );
        for after in ["", "data: [DONE]\n\n"] {
            let stream = format!("data: {{\"type\":\"response.created\"}}\n\n{last}{after}");
            let mut passing = Passing::new(
                Box::new(crate::protocol::responses::Watch::default()),
                false,
                Words {
                    read: openai::read_error,
                    event: openai::error_event,
                },
            );
            let mut passed = 0;
            for piece in stream.as_bytes().chunks(piece) {
                passed += passing.pass(Bytes::copy_from_slice(piece)).len();
            }
            let tokens = passing.tokens().unwrap();
            assert_eq!((tokens.input, tokens.output), (7, 5), "{size} {piece}");
            assert_eq!((passed, passing.seen().done), (stream.len(), true));
        }
    }
}

#[test]
fn an_event_beyond_the_limit_is_no_garbage() {
    let chunk = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
        "x".repeat(EVENT_LIMIT)
    );
    let mut stream = passing(false);
    chunk.as_bytes().chunks(100_000).for_each(|piece| {
        stream.pass(Bytes::copy_from_slice(piece));
    });
    assert!(stream.seen().content && !stream.seen().failed);
}

#[test]
fn a_stream_tells_its_terms() {
    let chat = |more: &str| {
        format!("data: {{\"choices\":[],{more}\"usage\":{{\"prompt_tokens\":1}}}}\n\ndata: {{\"choices\":[],\"service_tier\":null}}\n\n")
    };
    let response = |before: &str, tier: &str| {
        format!(
            "{before}data: {{\"type\":\"response.completed\",\"response\":{{\"service_tier\":\"{tier}\",\"usage\":{{\"input_tokens\":1}}}}}}\n\n"
        )
    };
    let search = "data: {\"type\":\"response.web_search_call.completed\"}\n\n";
    let claude = |first: &str, last: &str| {
        format!(
            "data: {{\"type\":\"message_start\",\"message\":{{\"usage\":{{\"input_tokens\":1{first}}}}}}}\n\ndata: {{\"type\":\"message_delta\",\"usage\":{{\"output_tokens\":1{last}}}}}\n\n"
        )
    };
    let watch = |watch: usize| -> Box<dyn crate::protocol::Watch> {
        match watch {
            0 => Box::new(openai::chat::Watch::default()),
            1 => Box::new(crate::protocol::responses::Watch::default()),
            _ => Box::new(anthropic::Watch::default()),
        }
    };
    for (which, events, terms) in [
        (0, chat(""), Terms::Unsaid),
        (0, chat("\"service_tier\":\"default\","), Terms::Standard),
        (0, chat("\"service_tier\":\"flex\","), Terms::Special),
        (1, response("", "default"), Terms::Standard),
        (1, response("", "priority"), Terms::Special),
        (1, response(search, "default"), Terms::Special),
        (2, claude(",\"service_tier\":\"standard\"", ""), Terms::Standard),
        (2, claude(",\"service_tier\":\"priority\"", ""), Terms::Special),
        (2, claude("", ",\"server_tool_use\":{\"web_search_requests\":2}"), Terms::Special),
    ] {
        let words = Words {
            read: openai::read_error,
            event: openai::error_event,
        };
        let mut stream = Passing::new(watch(which), false, words);
        stream.pass(Bytes::from(events.clone()));
        assert_eq!(stream.tokens().unwrap().terms, terms, "{events}");
    }
}

#[test]
fn the_mark_of_the_end_passes_without_its_empty_line() {
    let mut stream = passing(false);
    stream.pass(WORD.into());
    assert_eq!(stream.pass("data: [DONE]\n".into()), "");
    assert_eq!(stream.end(), "data: [DONE]\n\n\n");
    assert!(stream.seen().done);
}

#[test]
fn an_error_that_passes_is_read_for_what_it_means() {
    let mut stream = Stream::Passing(passing(false));
    stream.pass(Bytes::from_static(
        b"data: {\"error\":{\"message\":\"m\",\"code\":\"content_filter\"}}\n\n",
    ));
    let error = stream.seen().error.as_ref().unwrap();
    assert_eq!(
        (stream.seen().failed, error.kind, error.message.as_str()),
        (true, Kind::ContentFilter, "m")
    );
}

#[test]
fn a_monstrous_event_does_not_fill_memory() {
    let mut stream = passing(false);
    let piece = Bytes::from(vec![b'x'; EVENT_LIMIT / 4]);
    let passed: usize = (0..40).map(|_| stream.pass(piece.clone()).len()).sum();
    assert!(passed >= 36 * piece.len());
}

#[test]
fn an_error_after_half_an_event_is_an_event_of_its_own() {
    let mut stream = Stream::Passing(passing(false));
    let error = Error::new(Kind::Server, "gone");
    assert!(stream.fail(&error).starts_with(b"data: "), "nothing is before it");
    stream.pass(Bytes::from([b"data: ".as_slice(), &vec![b'x'; EVENT_LIMIT]].concat()));
    assert!(stream.fail(&error).starts_with(b"\n\ndata: "));
    stream.pass(Bytes::from_static(b"\n\ndata: [DO"));
    assert!(stream.fail(&error).starts_with(b"data: "), "what passed is whole again");
}

#[test]
fn what_came_before_an_error_in_the_same_piece_passes() {
    let error = "data: {\"error\":{\"message\":\"m\"}}\n\n";
    let mut stream = Stream::Passing(passing(true));
    let passed = stream.pass(Bytes::from([WORD, USAGE, WORD, error, WORD].concat()));
    assert_eq!((passed.as_ref(), stream.seen().failed), ([WORD, WORD].concat().as_bytes(), true));
    let mut stream = Stream::Passing(passing(true));
    stream.pass(Bytes::from_static(b"data: {\"err"));
    let passed = stream.pass(Bytes::from_static(b"or\":{\"message\":\"m\"}}\n\n"));
    assert_eq!((passed.as_ref(), stream.seen().failed), (b"".as_slice(), true));
}

const WORD: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

#[test]
fn usage_that_the_client_did_not_ask_for_is_read_and_left_out_wherever_it_is_cut() {
    let stream = [WORD, USAGE, DONE].concat();
    for cut in 0..=stream.len() {
        for (is_stripped, expected) in [(true, [WORD, DONE].concat()), (false, stream.clone())] {
            let mut passing = Stream::Passing(passing(is_stripped));
            assert_eq!(whole(&mut passing, &[&stream[..cut], &stream[cut..]]), expected, "{cut}");
            let tokens = passing.tokens().unwrap();
            assert_eq!((tokens.input, tokens.output, passing.text_bytes()), (3, 1, 2));
            assert!(passing.seen().done && passing.seen().content && !passing.seen().failed);
        }
    }
}

#[test]
fn a_stream_that_says_of_each_choice_why_it_ended_is_whole_without_its_mark() {
    let ends = |index: u32| format!("data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"stop\",\"index\":{index}}}]}}\n\n");
    let says = |index: u32| WORD.replace("\"index\":0", &format!("\"index\":{index}"));
    for (pieces, is_whole) in [
        (vec![says(0), ends(0), USAGE.to_owned()], true),
        (vec![says(0), ends(0)], true),
        (vec![says(0), says(1), ends(1), ends(0), USAGE.to_owned()], true),
        (vec![says(0), says(1), ends(1), USAGE.to_owned()], false),
        (vec![says(0), USAGE.to_owned()], false),
        (vec![WORD.replace("\"index\"", "\"finish_reason\":\"\",\"index\"")], false),
        (vec![USAGE.to_owned()], false),
        (vec![says(0), says(64), ends(64), ends(0)], false),
    ] {
        let sent = pieces.concat();
        let mut stream = Stream::Passing(passing(false));
        let got = whole(&mut stream, &[&sent]);
        assert_eq!(stream.seen().done, is_whole, "{sent}");
        assert_eq!(got, if is_whole { sent + DONE } else { sent });
    }
    // The last event may lack its empty line, and be one that the client does not get.
    let sent = [&says(0), &ends(0), USAGE.trim_end()].map(ToString::to_string).concat();
    let mut stream = Stream::Passing(passing(true));
    assert_eq!(whole(&mut stream, &[&sent]), says(0) + &ends(0) + DONE);
    assert_eq!(stream.tokens().unwrap().input, 3);
    let sent = [&says(0), &ends(0), "data: {\"choices\":[],\"us"].map(ToString::to_string).concat();
    let mut stream = Stream::Passing(passing(true));
    whole(&mut stream, &[&sent]);
    assert!(!stream.seen().done);
}

#[test]
fn usage_beside_content_stays() {
    let both = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n";
    let mut stream = Stream::Passing(passing(true));
    assert_eq!(whole(&mut stream, &[both, DONE]), [both, DONE].concat());
    assert_eq!(stream.tokens().unwrap().input, 3);
}

fn said() -> Said {
    Said {
        model: "assistant".to_owned(),
        id: "1".to_owned(),
        created: 7,
    }
}

fn translating() -> Stream {
    let reader = Box::new(anthropic::Reader::default());
    let writer = Box::new(openai::chat::Writer::new(said(), true));
    Stream::Translating(Translating::new(Framing::Events(Splitter::default()), reader, writer))
}

const ANTHROPIC: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n\
event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n\
event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\n\
event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

#[test]
fn a_stream_is_written_anew_wherever_it_is_cut() {
    let expected = whole(&mut translating(), &[ANTHROPIC]);
    assert!(
        expected.contains("\"content\":\"Hi\"") && expected.ends_with("data: [DONE]\n\n"),
        "{expected}"
    );
    for cut in 0..=ANTHROPIC.len() {
        let mut stream = translating();
        assert_eq!(whole(&mut stream, &[&ANTHROPIC[..cut], &ANTHROPIC[cut..]]), expected);
        let tokens = stream.tokens().unwrap();
        assert_eq!((tokens.input, tokens.output, stream.text_bytes()), (3, 2, 2));
    }
}

#[test]
fn an_error_within_a_stream_is_seen_and_told_by_whoever_holds_it() {
    let mut stream = translating();
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n";
    let passed = stream.pass(Bytes::from_static(error.as_bytes()));
    assert_eq!((passed.as_ref(), stream.seen().failed), (b"".as_slice(), true));
    assert_eq!(stream.seen().error.as_ref().map(|e| e.kind), Some(Kind::Overloaded));
    let told = stream.fail(&Error::new(Kind::Server, "gone"));
    assert!(told.starts_with(b"data: {") && !String::from_utf8_lossy(&told).contains("[DONE]"));
}

#[test]
fn an_event_too_long_to_be_translated_is_an_error_and_not_left_out() {
    let text = "x".repeat(EVENT_LIMIT);
    let long =
        format!("data: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n");
    let (before, after) = ANTHROPIC.split_at(ANTHROPIC.find("event: content_block_stop").unwrap());
    for size in [long.len(), 16 << 10] {
        let mut stream = translating();
        let mut passed = stream.pass(Bytes::copy_from_slice(before.as_bytes())).to_vec();
        for piece in long.as_bytes().chunks(size) {
            passed.extend_from_slice(&stream.pass(Bytes::copy_from_slice(piece)));
        }
        passed.extend_from_slice(&stream.pass(Bytes::copy_from_slice(after.as_bytes())));
        let passed = String::from_utf8(passed).unwrap();
        assert!(passed.contains("Hi") && !passed.contains("xxx") && !passed.contains("[DONE]"));
        let seen = stream.seen();
        assert!(seen.failed && !seen.done, "{size}");
        assert!(seen.error.as_ref().unwrap().message.contains("too long to be translated"));
    }
}

proptest! {
    #[test]
    fn every_byte_of_a_whole_stream_passes(texts in prop::collection::vec("[0-9](,\\n?[0-9]){0,9}", 0..8), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let stream: String = texts.iter().map(|t| format!("data: [{}]\r\n\r\n", t.replace('\n', "\ndata: "))).collect();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).chain([0, stream.len()]).collect();
        at.sort_unstable();
        let pieces: Vec<&str> = at.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
        prop_assert_eq!(whole(&mut Stream::Passing(passing(true)), &pieces), stream);
    }

    #[test]
    fn no_bytes_make_a_stream_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..6)) {
        for mut stream in [translating(), Stream::Passing(passing(true))] {
            for piece in &pieces {
                stream.pass(Bytes::copy_from_slice(piece));
            }
            stream.end();
        }
    }
}
