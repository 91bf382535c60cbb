//! Streams: as Anthropic, llama-server and vLLM send them, and as clients are sent them.

use proptest::prelude::*;

use super::super::super::chat::{Delta, Stop, WriteStream as _};
use super::super::super::error::{Error, Kind};
use super::super::super::sse::Splitter;
use super::super::super::usage::Tokens;
use super::super::super::watch::{Piece, Watch as _};
use super::super::{Watch, Writer};
use super::{changes, said, written};

/// As Anthropic's reference has it, for a call of a tool after thoughts.
const ANTHROPIC: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_014p","type":"message","role":"assistant","content":[],"model":"claude-sonnet-4-5","stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":472,"cache_creation_input_tokens":10,"cache_creation":{"ephemeral_5m_input_tokens":4,"ephemeral_1h_input_tokens":6},"cache_read_input_tokens":3,"output_tokens":2}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"The user asks\nfor"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"EmwKAhgB"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"Okay"}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: content_block_start
data: {"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_01T1","name":"get_weather","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"location\":"}}

event: content_block_delta
data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":" \"San Francisco\"}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":3}

event: content_block_start
data: {"type":"content_block_start","index":4,"content_block":{"type":"tool_use","id":"toolu_02","name":"now","input":{}}}

event: content_block_stop
data: {"type":"content_block_stop","index":4}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":89,"output_tokens_details":{"thinking_tokens":20}}}

event: message_stop
data: {"type":"message_stop"}

"#;

/// Cut out of recordings.
const LLAMA_SERVER: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"chatcmpl-4LnB","type":"message","role":"assistant","content":[],"model":"smollm2-135m","stop_reason":null,"stop_sequence":null,"usage":{"cache_read_input_tokens":36,"input_tokens":1,"output_tokens":0}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"L"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"'"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"output_tokens":24}}

event: message_stop
data: {"type":"message_stop"}

"#;

const VLLM: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"chatcmpl-8ea1","type":"message","role":"assistant","content":[],"model":"smollm2-135m","stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":37,"output_tokens":0}}}

event: content_block_start
data: {"type":"content_block_start","content_block":{"type":"text","text":""},"index":0}

event: content_block_delta
data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"Paris"},"index":0}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":37,"output_tokens":8}}

event: message_stop
data: {"type":"message_stop"}

"#;

fn text(text: &str) -> Delta {
    Delta::Text {
        choice: 0,
        text: text.to_owned(),
    }
}

fn call(index: u32, id: &str, name: &str) -> Delta {
    let (id, name) = (id.to_owned(), name.to_owned());
    Delta::ToolCall {
        choice: 0,
        index,
        id,
        name,
    }
}

fn arguments(index: u32, json: &str) -> Delta {
    Delta::Arguments {
        choice: 0,
        index,
        json: json.to_owned(),
    }
}

fn begin(id: &str) -> Delta {
    Delta::Begin { id: Some(id.to_owned()) }
}

#[test]
fn a_stream_of_anthropics_is_read() {
    let start = Tokens {
        input: 472,
        cache_read: 3,
        cache_write: 4,
        cache_write_1h: 6,
        output: 2,
        ..Tokens::default()
    };
    let expected = [
        begin("msg_014p"),
        Delta::Usage(start),
        Delta::Reasoning {
            choice: 0,
            text: "The user asks\nfor".to_owned(),
        },
        Delta::ReasoningSignature {
            choice: 0,
            signature: "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds".to_owned(),
        },
        Delta::RedactedReasoning {
            choice: 0,
            data: "EmwKAhgB".to_owned(),
        },
        text("Okay"),
        call(0, "toolu_01T1", "get_weather"),
        arguments(0, "{\"location\":"),
        arguments(0, " \"San Francisco\"}"),
        call(1, "toolu_02", "now"),
        arguments(1, "{}"),
        Delta::stop(0, Stop::ToolCalls),
        Delta::Usage(Tokens {
            output: 69,
            reasoning: 20,
            ..start
        }),
        Delta::End,
    ];
    assert_eq!(changes([ANTHROPIC.as_bytes()]), expected);
}

#[test]
fn engines_streams_are_read_as_they_were_recorded() {
    let start = Tokens {
        input: 1,
        cache_read: 36,
        ..Tokens::default()
    };
    let llama = [
        begin("chatcmpl-4LnB"),
        Delta::Usage(start),
        text("L"),
        text("'"),
        Delta::stop(0, Stop::Length),
        Delta::Usage(Tokens { output: 24, ..start }),
        Delta::End,
    ];
    assert_eq!(changes([LLAMA_SERVER.as_bytes()]), llama);
    let start = Tokens {
        input: 37,
        ..Tokens::default()
    };
    let vllm = [
        begin("chatcmpl-8ea1"),
        Delta::Usage(start),
        text("Paris"),
        Delta::stop(0, Stop::End),
        Delta::Usage(Tokens { output: 8, ..start }),
        Delta::End,
    ];
    assert_eq!(changes([VLLM.as_bytes()]), vllm);
}

#[test]
fn an_error_ends_a_stream_and_nothing_follows() {
    let stream = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let expected = Delta::Failed(Error::new(Kind::Overloaded, "Overloaded"));
    assert_eq!(changes([stream.as_bytes(), VLLM.as_bytes()]), [expected]);
    let changes = changes([b"data: {\"type\":\"error\"}\n\n".as_slice()]);
    assert!(matches!(&changes[..], [Delta::Failed(error)] if error.kind == Kind::Server && !error.message.is_empty()));
}

#[test]
fn what_servers_forget_is_made_up_for() {
    for (stream, expected) in [
        // No reason to stop.
        (
            "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\ndata: {\"type\":\"message_stop\"}",
            vec![text("a"), Delta::stop(0, Stop::End), Delta::End],
        ),
        // All arguments in the first event, and no end of the block.
        (
            "data: {\"type\":\"content_block_start\",\"index\":7,\"content_block\":{\"type\":\"tool_use\",\"id\":\"i\",\"name\":\"n\",\"input\":{\"a\": 1}}}\n\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"}}\n\n",
            vec![call(0, "i", "n"), arguments(0, "{\"a\": 1}"), Delta::stop(0, Stop::ToolCalls)],
        ),
        // Text in the first event.
        (
            "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"a\"}}\n\n",
            vec![text("a")],
        ),
        // Tools of the provider's own, reports alone, what is not understood.
        (
            "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"server_tool_use\",\"id\":\"i\",\"name\":\"n\",\"input\":{}}}\n\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}}\n\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":null},\"usage\":null}\n\ndata: {\"type\":\"news\"}\n\ndata: [DONE]\n\n",
            vec![],
        ),
    ] {
        assert_eq!(changes([stream.as_bytes()]), expected, "{stream}");
    }
}

#[test]
fn a_stream_is_written_event_by_event_as_anthropic_does() {
    let expected = ANTHROPIC
        .replace("claude-sonnet-4-5", "assistant")
        .replace("event: ping\ndata: {\"type\": \"ping\"}\n\n", "")
        .replace("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":3,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\"}}\n\n", "")
        .replace("event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":4}", "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":4,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}}\n\nevent: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":4}")
        .replace("\"cache_creation\":{\"ephemeral_5m_input_tokens\":4,\"ephemeral_1h_input_tokens\":6},\"cache_read_input_tokens\":3", "\"cache_read_input_tokens\":3,\"cache_creation\":{\"ephemeral_5m_input_tokens\":4,\"ephemeral_1h_input_tokens\":6}")
        .replace("\"usage\":{\"output_tokens\":89", "\"usage\":{\"input_tokens\":472,\"cache_creation_input_tokens\":10,\"cache_read_input_tokens\":3,\"cache_creation\":{\"ephemeral_5m_input_tokens\":4,\"ephemeral_1h_input_tokens\":6},\"output_tokens\":89");
    assert_eq!(written(&changes([ANTHROPIC.as_bytes()])), expected);
}

/// The names of the events, and of each block its kind: enough to see the order.
fn outline(events: &str) -> Vec<String> {
    let of = |data: &str| {
        let event = super::json(data.as_bytes());
        let at = |path: &str| event.pointer(path).and_then(|value| value.as_str().map(str::to_owned));
        let kind = at("/content_block/type").or(at("/delta/type")).or(at("/delta/stop_reason"));
        let index = event["index"].as_u64().map(|index| index.to_string());
        let name = at("/type").unwrap();
        [Some(name), index, kind].into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    events.lines().filter_map(|line| line.strip_prefix("data: ")).map(of).collect()
}

#[test]
fn blocks_open_and_close_as_what_is_said_changes_its_kind() {
    let thought = |text: &str| Delta::Reasoning {
        choice: 0,
        text: text.to_owned(),
    };
    let seal = |part: &str| Delta::ReasoningSignature {
        choice: 0,
        signature: part.to_owned(),
    };
    let events = written(&[
        Delta::Begin { id: None },
        text(""),
        seal("ab"),
        seal("c"),
        thought("x"),
        thought("y"),
        text("a"),
        call(0, "i", "n"),
        call(1, "j", "m"),
        arguments(1, "{}"),
        text("b"),
        Delta::Usage(Tokens {
            input: 5,
            output: 7,
            ..Tokens::default()
        }),
        Delta::stop(0, Stop::ToolCalls),
        Delta::End,
        text("never"),
    ]);
    let expected = [
        "message_start",
        "content_block_start 0 thinking",
        "content_block_delta 0 signature_delta",
        "content_block_stop 0",
        "content_block_start 1 thinking",
        "content_block_delta 1 thinking_delta",
        "content_block_delta 1 thinking_delta",
        "content_block_stop 1",
        "content_block_start 2 text",
        "content_block_delta 2 text_delta",
        "content_block_stop 2",
        "content_block_start 3 tool_use",
        "content_block_stop 3",
        "content_block_start 4 tool_use",
        "content_block_delta 4 input_json_delta",
        "content_block_stop 4",
        "content_block_start 5 text",
        "content_block_delta 5 text_delta",
        "content_block_stop 5",
        "message_delta tool_use",
        "message_stop",
    ];
    assert_eq!(outline(&events), expected);
    // The seal in one piece: SDKs keep the last one. Tokens that are known at the end only are told there, the prompt's too.
    assert!(events.contains(r#""signature":"abc""#), "{events}");
    assert!(
        events.contains(r#""usage":{"input_tokens":5,"#) && events.contains(r#""id":"msg_0123""#),
        "{events}"
    );
}

#[test]
fn an_answer_of_nothing_is_a_whole_message_and_a_failed_one_has_no_end() {
    let nothing = written(&[Delta::Begin { id: None }, Delta::End]);
    assert_eq!(outline(&nothing), ["message_start", "message_delta end_turn", "message_stop"]);
    let failure = Delta::Failed(Error::new(Kind::Timeout, "late"));
    assert_eq!(
        outline(&written(&[begin("x"), text("a"), failure.clone(), Delta::End]))[3..],
        ["error"]
    );
    assert_eq!(outline(&written(&[begin("x"), failure])), ["error"]);
}

#[test]
fn calls_that_are_mixed_up_fail_rather_than_lose_a_part() {
    let (mut writer, mut events) = (Writer::new(said()), Vec::new());
    for change in [call(0, "i", "n"), call(1, "j", "m"), arguments(0, "")] {
        writer.write(&change, &mut events);
        assert_eq!(writer.refused(), None);
    }
    writer.write(&arguments(0, "{"), &mut events);
    let refused = writer.refused().cloned().expect("a block that was closed stays closed");
    writer.write(&Delta::Failed(refused), &mut events);
    assert_eq!(outline(&String::from_utf8(events).unwrap()).last().unwrap(), "error");
}

#[test]
fn a_seal_is_not_held_without_a_bound() {
    let mut writer = Writer::new(said());
    let piece = Delta::ReasoningSignature {
        choice: 0,
        signature: "x".repeat(1 << 20),
    };
    let mut events = Vec::new();
    for _ in 0..16 {
        writer.write(&piece, &mut events);
        assert!(writer.refused().is_none());
    }
    writer.write(&piece, &mut events);
    assert!(writer.refused().unwrap().message.contains("longer than 16 MiB"));
}

#[test]
fn a_refusal_is_text_that_ends_as_one() {
    let events = written(&[
        Delta::Refusal {
            choice: 0,
            text: "No.".to_owned(),
        },
        Delta::stop(0, Stop::End),
        Delta::End,
    ]);
    assert_eq!(
        outline(&events)[1..3],
        ["content_block_start 0 text", "content_block_delta 0 text_delta"]
    );
    assert_eq!(outline(&events)[4], "message_delta refusal");
}

fn look(stream: &str) -> (Vec<Piece>, Watch) {
    let (mut splitter, mut watch, mut pieces) = (Splitter::default(), Watch::default(), Vec::new());
    splitter.feed(stream.as_bytes(), |data, _| pieces.push(watch.look(data)));
    (pieces, watch)
}

#[test]
fn what_passes_is_told_apart_and_counted() {
    let (pieces, watch) = look(VLLM);
    assert_eq!(
        pieces,
        [
            Piece::Opening,
            Piece::Opening,
            Piece::Content,
            Piece::Content,
            Piece::Content,
            Piece::Done
        ]
    );
    assert_eq!(
        watch.tokens(),
        Some(Tokens {
            input: 37,
            output: 8,
            ..Tokens::default()
        })
    );
    assert_eq!(watch.text_bytes(), 5);
    let (pieces, watch) = look(ANTHROPIC);
    assert_eq!(pieces[..4], [Piece::Opening, Piece::Opening, Piece::Opening, Piece::Content]);
    let expected = changes([ANTHROPIC.as_bytes()]).into_iter().rev().find_map(|change| match change {
        Delta::Usage(tokens) => Some(tokens),
        _ => None,
    });
    assert_eq!(watch.tokens(), expected);
    let said = "The user asks\nfor".len() + "Okay".len() + r#"{"location": "San Francisco"}"#.len();
    assert_eq!(watch.text_bytes(), said as u64);
}

#[test]
fn only_what_says_nothing_is_opening() {
    for (data, piece) in [
        (
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
            Piece::Opening,
        ),
        (
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}}"#,
            Piece::Content,
        ),
        (
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"i","name":"n","input":{}}}"#,
            Piece::Content,
        ),
        (
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking","data":"x"}}"#,
            Piece::Content,
        ),
        (r#"{"type":"error","error":{"type":"api_error","message":"x"}}"#, Piece::Failed),
        (
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}"#,
            Piece::Content,
        ),
        (
            r#"{"type":"message_start","message":{"usage":{"input_tokens":"many"}}}"#,
            Piece::Opening,
        ),
        (r#"{"type":"news"}"#, Piece::Content),
        ("not json", Piece::Garbled),
        ("", Piece::Opening),
        ("{}", Piece::Opening),
        (r#"{"type":"message_stop"}"#, Piece::Garbled),
    ] {
        assert_eq!(Watch::default().look(data.as_bytes()), piece, "{data}");
    }
}

#[test]
fn tokens_that_come_with_the_last_event_alone_are_counted() {
    let (_, watch) = look(
        "data: {\"type\":\"message_start\",\"message\":{\"usage\":null}}\n\ndata: {\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"input_tokens\":9,\"cache_read_input_tokens\":4,\"output_tokens\":2}}\n\n",
    );
    assert_eq!(
        watch.tokens(),
        Some(Tokens {
            input: 9,
            cache_read: 4,
            output: 2,
            ..Tokens::default()
        })
    );
}

proptest! {
    #[test]
    fn where_a_stream_is_cut_changes_nothing(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let stream = ANTHROPIC.as_bytes();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        at.extend([0, stream.len()]);
        at.sort_unstable();
        prop_assert_eq!(changes(at.windows(2).map(|w| &stream[w[0]..w[1]])), changes([stream]));
    }

    #[test]
    fn a_stream_that_breaks_off_is_never_taken_for_whole(cut in 0..ANTHROPIC.len() - 30) {
        let read = changes([&ANTHROPIC.as_bytes()[..cut]]);
        prop_assert!(!read.contains(&Delta::End));
        prop_assert!(!written(&read).contains("message_stop"));
    }

    #[test]
    fn no_event_makes_a_reader_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
        let (mut reader, mut read) = (super::Reader::default(), Vec::new());
        super::ReadStream::read(&mut reader, &data, &mut read);
        let _ = Watch::default().look(&data);
    }

    #[test]
    fn no_order_of_events_makes_a_reader_or_writer_panic(order in prop::collection::vec(any::<prop::sample::Index>(), 0..60)) {
        let all: Vec<&str> = [ANTHROPIC, LLAMA_SERVER, "data: {\"type\":\"error\"}\n\n"].iter().flat_map(|s| s.split_inclusive("\n\n")).collect();
        let stream: String = order.iter().map(|index| *index.get(&all)).collect();
        let read = changes([stream.as_bytes()]);
        let _ = written(&read);
        prop_assert!(read.iter().filter(|change| matches!(change, Delta::End | Delta::Failed(_))).count() <= 1);
    }
}
