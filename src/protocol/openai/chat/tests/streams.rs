//! Streams: read from models, written for clients.

use super::*;
use crate::protocol::chat::{Delta, ReadStream, WriteStream};
use crate::protocol::error::{Error, Kind};
use crate::protocol::sse::Splitter;
use crate::protocol::usage::Tokens;

fn read(events: &[&str]) -> Vec<Delta> {
    let (mut reader, mut deltas) = (Reader::default(), Vec::new());
    events.iter().for_each(|data| reader.read(data.as_bytes(), &mut deltas));
    deltas
}

/// One chunk with this delta.
fn chunk(delta: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#)
}

fn begin(id: Option<&str>) -> Delta {
    Delta::Begin { id: id.map(str::to_owned) }
}

fn text(text: &str) -> Delta {
    Delta::Text {
        choice: 0,
        text: text.to_owned(),
    }
}

fn reasoning(text: &str) -> Delta {
    Delta::Reasoning {
        choice: 0,
        text: text.to_owned(),
    }
}

fn called(index: u32, id: &str, name: &str) -> Delta {
    Delta::ToolCall {
        choice: 0,
        index,
        id: id.to_owned(),
        name: name.to_owned(),
    }
}

fn arguments(index: u32, json: &str) -> Delta {
    Delta::Arguments {
        choice: 0,
        index,
        json: json.to_owned(),
    }
}

fn usage(input: u64, cache_read: u64, output: u64) -> Delta {
    Delta::Usage(Tokens {
        input,
        cache_read,
        output,
        ..Tokens::default()
    })
}

#[test]
fn vllms_stream_of_a_call_is_read_as_it_was_recorded() {
    let deltas = read(&[
        r#"{"id":"chatcmpl-9d","object":"chat.completion.chunk","created":1795566570,"model":"smollm2-135m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"prompt_token_ids":null,"prompt_text":null}"#,
        r#"{"id":"chatcmpl-9d","object":"chat.completion.chunk","created":1795566570,"model":"smollm2-135m","choices":[{"index":0,"delta":{"content":null,"tool_calls":[{"id":"chatcmpl-tool-b5","type":"function","index":0,"function":{"name":"get_weather"}}]},"logprobs":null,"finish_reason":null,"token_ids":null}]}"#,
        r#"{"id":"chatcmpl-9d","object":"chat.completion.chunk","created":1795566570,"model":"smollm2-135m","choices":[{"index":0,"delta":{"content":null,"tool_calls":[{"index":0,"function":{"arguments":"\""}}]},"logprobs":null,"finish_reason":null,"token_ids":null}]}"#,
        r#"{"id":"chatcmpl-9d","object":"chat.completion.chunk","created":1795566570,"model":"smollm2-135m","choices":[{"index":0,"delta":{"content":null,"tool_calls":[{"index":0,"function":{"arguments":"ab\""}}]},"logprobs":null,"finish_reason":null,"token_ids":null}]}"#,
        r#"{"id":"chatcmpl-9d","object":"chat.completion.chunk","created":1795566570,"model":"smollm2-135m","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop","stop_reason":null,"token_ids":null}],"system_fingerprint":"vllm-0.32.0-2c2b3042"}"#,
        "[DONE]",
    ]);
    let expected = [
        begin(Some("chatcmpl-9d")),
        called(0, "chatcmpl-tool-b5", "get_weather"),
        arguments(0, "\""),
        arguments(0, "ab\""),
        Delta::stop(0, Stop::ToolCalls),
        Delta::End,
    ];
    assert_eq!(deltas, expected);
}

#[test]
fn llama_servers_stream_is_read_as_it_was_recorded() {
    let deltas = read(&[
        r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1795566306,"id":"chatcmpl-NA","model":"smollm2-135m","system_fingerprint":"b0-unknown","object":"chat.completion.chunk"}"#,
        r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"content":"É"}}],"created":1795566306,"id":"chatcmpl-NA","model":"smollm2-135m","object":"chat.completion.chunk"}"#,
        r#"{"choices":[{"finish_reason":"length","index":0,"delta":{}}],"created":1795566306,"id":"chatcmpl-NA","model":"smollm2-135m","object":"chat.completion.chunk"}"#,
        r#"{"choices":[],"created":1795566306,"id":"chatcmpl-NA","model":"smollm2-135m","object":"chat.completion.chunk","usage":{"completion_tokens":4,"prompt_tokens":37,"total_tokens":41,"prompt_tokens_details":{"cached_tokens":36}},"timings":{"cache_n":36,"prompt_n":1,"prompt_ms":15.861}}"#,
        "[DONE]",
    ]);
    let expected = [
        begin(Some("chatcmpl-NA")),
        text("É"),
        Delta::stop(0, Stop::Length),
        usage(1, 36, 4),
        Delta::End,
    ];
    assert_eq!(deltas, expected);
}

#[test]
fn usage_is_read_wherever_it_comes() {
    // On every chunk (vLLM's continuous reports), and on one with an answer in it (Mistral's last).
    let deltas = read(&[
        r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":{"prompt_tokens":37,"total_tokens":37,"completion_tokens":0,"completion_tokens_details":null}}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"The"}}],"usage":{"prompt_tokens":37,"total_tokens":38,"completion_tokens":1}}"#,
        r#"{"choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}],"usage":{"prompt_tokens":37,"completion_tokens":8,"total_tokens":45}}"#,
        r#"{"choices":[],"usage":null}"#,
        "[DONE]",
    ]);
    let expected = [
        begin(None),
        usage(37, 0, 0),
        text("The"),
        usage(37, 0, 1),
        Delta::stop(0, Stop::End),
        usage(37, 0, 8),
        Delta::End,
    ];
    assert_eq!(deltas, expected);
}

#[test]
fn each_servers_own_deltas_are_understood() {
    for (deltas, expected) in [
        // DeepSeek, vLLM, both names at once.
        (
            &[
                r#"{"reasoning_content":"h","content":null}"#,
                r#"{"reasoning":"m"}"#,
                r#"{"reasoning":"x","reasoning_content":"x"}"#,
            ][..],
            vec![reasoning("h"), reasoning("m"), reasoning("x")],
        ),
        // Mistral.
        (
            &[
                r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]}"#,
                r#"{"content":"a"}"#,
            ],
            vec![reasoning("hm"), text("a")],
        ),
        // A whole call in one chunk, and each counted as the first.
        (
            &[
                r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}"#,
                r#"{"tool_calls":[{"index":0,"id":"b","function":{"name":"f","arguments":"{}"}}]}"#,
            ],
            vec![called(0, "a", "f"), arguments(0, "{}"), called(1, "b", "f"), arguments(1, "{}")],
        ),
        // Two at once, by turns; the id repeated; no index, no id, arguments as an object.
        (
            &[
                r#"{"tool_calls":[{"index":3,"id":"a","function":{"name":"f"}},{"index":5,"id":"b","function":{"name":"g","arguments":""}}]}"#,
                r#"{"tool_calls":[{"index":5,"function":{"arguments":"1"}},{"index":3,"id":"a","function":{"name":"f","arguments":"2"}}]}"#,
            ],
            vec![called(0, "a", "f"), called(1, "b", "g"), arguments(1, "1"), arguments(0, "2")],
        ),
        (
            &[r#"{"tool_calls":[{"function":{"name":"f","arguments":{"a": 1}}}]}"#],
            vec![called(0, "call_0_0", "f"), arguments(0, "{\"a\": 1}")],
        ),
        (
            &[r#"{"refusal":"no","content":"","odd":[1],"reasoning":{"odd":1}}"#],
            vec![Delta::Refusal {
                choice: 0,
                text: "no".to_owned(),
            }],
        ),
    ] {
        let chunks: Vec<String> = deltas.iter().map(|delta| chunk(delta)).collect();
        let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
        assert_eq!(read(&chunks)[1..], expected, "{deltas:?}");
    }
}

#[test]
fn an_answer_that_is_given_up_fails_and_nothing_follows() {
    for (event, kind) in [
        (r#"{"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}"#, Kind::Server),
        (r#"{"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}"#, Kind::Server),
        (
            r#"{"error":{"message":"out of memory","type":"InternalServerError","code":500}}"#,
            Kind::Server,
        ),
        (r#"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#, Kind::RateLimit),
    ] {
        let deltas = read(&[&chunk(r#"{"content":"a"}"#), event, &chunk(r#"{"content":"b"}"#), "[DONE]"]);
        let Some(Delta::Failed(error)) = deltas.last() else {
            panic!("{deltas:?}")
        };
        assert_eq!(
            (deltas[..deltas.len() - 1].to_vec(), error.kind),
            (vec![begin(None), text("a")], kind),
            "{event}"
        );
    }
    assert_eq!(read(&["[DONE]", &chunk(r#"{"content":"b"}"#), "[DONE]"]), [Delta::End]);
    assert_eq!(read(&["not json", "{}", r#"{"choices":7}"#]), [begin(None)]);
}

#[test]
fn what_is_remembered_of_a_stream_is_bounded() {
    let calls: Vec<String> = (0..2000)
        .map(|index| {
            chunk(&format!(
                r#"{{"tool_calls":[{{"index":{index},"id":"c{index}","function":{{"name":"f"}}}}]}}"#
            ))
        })
        .collect();
    let answers: Vec<String> = (0..200)
        .map(|index| format!(r#"{{"choices":[{{"index":{index},"delta":{{"content":"x"}}}}]}}"#))
        .collect();
    for (events, most) in [(calls, 1024), (answers, 128)] {
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let deltas = read(&events);
        assert!(matches!(deltas.last(), Some(Delta::Failed(_))));
        assert_eq!(deltas.len(), most + 2);
    }
}

fn write(deltas: &[Delta], usage_asked: bool) -> String {
    let (mut writer, mut events) = (Writer::new(fixtures::said(), usage_asked), Vec::new());
    deltas.iter().for_each(|delta| writer.write(delta, &mut events));
    String::from_utf8(events).unwrap()
}

#[test]
fn a_stream_is_written_as_openai_does() {
    let deltas = [
        begin(None),
        reasoning("hm"),
        Delta::ReasoningSignature {
            choice: 0,
            signature: "seal".to_owned(),
        },
        text("a\n"),
        text(""),
        called(0, "c0", "f"),
        arguments(0, "{}"),
        called(1, "c1", "g"),
        usage(1, 2, 3),
        Delta::stop(0, Stop::ToolCalls),
        usage(1, 2, 4),
        Delta::End,
        text("late"),
    ];
    let events = |usage: &str| {
        let chunk = |delta: &str, reason: &str| {
            format!(
                "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{reason}}}]{usage}}}\n\n"
            )
        };
        [
            chunk(r#"{"role":"assistant","content":"","refusal":null}"#, "null"),
            chunk(r#"{"reasoning_content":"hm","reasoning":"hm"}"#, "null"),
            chunk(r#"{"content":"a\n"}"#, "null"),
            chunk(
                r#"{"tool_calls":[{"index":0,"id":"c0","type":"function","function":{"name":"f","arguments":""}}]}"#,
                "null",
            ),
            chunk(r#"{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}"#, "null"),
            chunk(
                r#"{"tool_calls":[{"index":1,"id":"c1","type":"function","function":{"name":"g","arguments":""}}]}"#,
                "null",
            ),
            chunk(r#"{"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]}"#, "null"),
            chunk("{}", "\"tool_calls\""),
        ]
        .concat()
    };
    assert_eq!(write(&deltas, false), format!("{}data: [DONE]\n\n", events("")));
    let report = concat!(
        r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m","choices":[],"#,
        r#""usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"prompt_tokens_details":{"cached_tokens":2,"audio_tokens":0},"#,
        r#""completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}"#
    );
    assert_eq!(
        write(&deltas, true),
        format!("{}{report}\n\ndata: [DONE]\n\n", events(",\"usage\":null"))
    );
}

#[test]
fn a_stream_that_fails_ends_with_the_error_and_no_mark_of_the_end() {
    let failed = Delta::Failed(Error::new(Kind::Overloaded, "gone"));
    let written = write(&[begin(Some("x")), text("a"), failed, text("b"), Delta::End], true);
    let error = "data: {\"error\":{\"message\":\"gone\",\"type\":\"server_error\",\"param\":null,\"code\":\"overloaded\"}}\n\n";
    assert!(
        written.ends_with(error) && !written.contains("[DONE]") && written.contains("\"id\":\"x\""),
        "{written}"
    );
    // Tokens that nobody counted are not reported as none.
    assert!(!write(&[begin(None), text("a"), Delta::stop(0, Stop::End), Delta::End], true).contains("\"choices\":[]"));
}

proptest! {
    #[test]
    fn a_stream_that_is_written_is_read_back_wherever_it_is_cut(
        answer in fixtures::answer(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let deltas = fixtures::deltas(&answer);
        let stream = write(&deltas, true).into_bytes();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        at.extend([0, stream.len()]);
        at.sort_unstable();
        let (mut splitter, mut reader, mut read) = (Splitter::default(), Reader::default(), Vec::new());
        for window in at.windows(2) {
            splitter.feed(&stream[window[0]..window[1]], |data, _| reader.read(data, &mut read));
        }
        prop_assert_eq!(&read, &deltas);
        // The texts of the stream, put together, are those of the whole answer.
        let streamed: String = read.iter().filter_map(|delta| match delta {
            Delta::Text { text, .. } => Some(text.as_str()),
            _ => None,
        }).collect();
        let whole: String = answer.choices.iter().flat_map(|choice| &choice.parts).filter_map(super::super::words).collect();
        prop_assert_eq!(streamed, whole);
    }

    #[test]
    fn no_stream_makes_the_reader_panic(
        events in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4),
        answer in fixtures::answer(),
        at: prop::sample::Index,
    ) {
        let (mut reader, mut deltas) = (Reader::default(), Vec::new());
        let mut stream = write(&fixtures::deltas(&answer), true).into_bytes();
        let at = at.index(stream.len());
        stream[at] = events.first().and_then(|event| event.first()).copied().unwrap_or(b'"');
        Splitter::default().feed(&stream, |data, _| reader.read(data, &mut deltas));
        events.iter().for_each(|data| reader.read(data, &mut deltas));
    }
}
