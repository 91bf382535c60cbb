use super::super::frames::{self, Frames};
use super::*;
use crate::protocol::chat::Stop;
use crate::protocol::usage::Tokens;
use proptest::prelude::*;

/// A whole stream of Converse as Bedrock frames it, from kinds of events and their JSON; what is called exception is one.
fn stream(events: &[(&str, &str)]) -> Vec<u8> {
    let frame = |(kind, json): &(&str, &str)| match kind.ends_with("Exception") {
        true => frames::exception(kind, json.as_bytes()).unwrap(),
        false => frames::event(kind, json.as_bytes()).unwrap(),
    };
    events.iter().flat_map(frame).collect()
}

fn read(pieces: &[&[u8]]) -> Vec<Delta> {
    let (mut frames, mut reader, mut changes) = (Frames::default(), Reader::default(), Vec::new());
    for piece in pieces {
        frames.feed(piece, |data| reader.read(data, &mut changes)).unwrap();
    }
    frames.finish().unwrap();
    reader.finish(&mut changes);
    changes
}

fn read_events(events: &[(&str, &str)]) -> Vec<Delta> {
    read(&[&stream(events)])
}

fn text(text: &str) -> Delta {
    Delta::Text {
        choice: 0,
        text: text.to_owned(),
    }
}

const TOOLS: &[(&str, &str)] = &[
    ("messageStart", r#"{"p":"abcdefghijk","role":"assistant"}"#),
    (
        "contentBlockDelta",
        r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"Let me "}},"p":"abc"}"#,
    ),
    (
        "contentBlockDelta",
        r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"see."}}}"#,
    ),
    (
        "contentBlockDelta",
        r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"EqQBCg=="}}}"#,
    ),
    ("contentBlockStop", r#"{"contentBlockIndex":0}"#),
    (
        "contentBlockDelta",
        r#"{"contentBlockIndex":1,"delta":{"reasoningContent":{"redactedContent":"c2VjcmV0"}}}"#,
    ),
    ("contentBlockStop", r#"{"contentBlockIndex":1}"#),
    (
        "contentBlockDelta",
        r#"{"contentBlockIndex":2,"delta":{"text":"I'll "},"p":"abcdefghijklmnopqrstuvwxyzAB"}"#,
    ),
    ("contentBlockDelta", r#"{"contentBlockIndex":2,"delta":{"text":"look: 日"}}"#),
    ("contentBlockStop", r#"{"contentBlockIndex":2}"#),
    (
        "contentBlockStart",
        r#"{"contentBlockIndex":3,"start":{"toolUse":{"name":"top_song","toolUseId":"tooluse_kZ"}}}"#,
    ),
    ("contentBlockDelta", r#"{"contentBlockIndex":3,"delta":{"toolUse":{"input":""}}}"#),
    (
        "contentBlockDelta",
        r#"{"contentBlockIndex":3,"delta":{"toolUse":{"input":"{\"sign\": \"WZ"}}}"#,
    ),
    (
        "contentBlockDelta",
        r#"{"contentBlockIndex":3,"delta":{"toolUse":{"input":"PZ\"}"}}}"#,
    ),
    ("contentBlockStop", r#"{"contentBlockIndex":3}"#),
    (
        "contentBlockStart",
        r#"{"contentBlockIndex":4,"start":{"toolUse":{"name":"now","toolUseId":"tooluse_2"}}}"#,
    ),
    ("contentBlockStop", r#"{"contentBlockIndex":4}"#),
    ("messageStop", r#"{"stopReason":"tool_use"}"#),
    (
        "metadata",
        r#"{"metrics":{"latencyMs":1},"usage":{"inputTokens":10,"outputTokens":20,"totalTokens":30}}"#,
    ),
];

#[test]
fn thoughts_words_and_calls_come_in_their_order() {
    let arguments = |json: &str| Delta::Arguments {
        choice: 0,
        index: 0,
        json: json.to_owned(),
    };
    let call = |index: u32, id: &str, name: &str| Delta::ToolCall {
        choice: 0,
        index,
        id: id.to_owned(),
        name: name.to_owned(),
    };
    let reasoning = |text: &str| Delta::Reasoning {
        choice: 0,
        text: text.to_owned(),
    };
    let expected = [
        Delta::Begin { id: None },
        reasoning("Let me "),
        reasoning("see."),
        Delta::ReasoningSignature {
            choice: 0,
            signature: "EqQBCg==".to_owned(),
        },
        Delta::RedactedReasoning {
            choice: 0,
            data: "c2VjcmV0".to_owned(),
        },
        text("I'll "),
        text("look: 日"),
        call(0, "tooluse_kZ", "top_song"),
        arguments(""),
        arguments(r#"{"sign": "WZ"#),
        arguments(r#"PZ"}"#),
        call(1, "tooluse_2", "now"),
        Delta::stop(0, Stop::ToolCalls),
        Delta::Usage(Tokens {
            input: 10,
            output: 20,
            ..Tokens::default()
        }),
        Delta::End,
    ];
    assert_eq!(read_events(TOOLS), expected);
}

#[test]
fn the_end_needs_a_reason_and_no_report() {
    let stop = (
        "messageStop",
        r#"{"stopReason":"stop_sequence","additionalModelResponseFields":{"stop_sequence":"\n"}}"#,
    );
    let report = ("metadata", r#"{"usage":{"inputTokens":1,"outputTokens":2}}"#);
    let stopped = Delta::stop(0, Stop::Sequence(Some("\n".to_owned())));
    let usage = Delta::Usage(Tokens {
        input: 1,
        output: 2,
        ..Tokens::default()
    });
    for (events, expected) in [
        (vec![stop], vec![stopped.clone(), Delta::End]),
        (vec![stop, report], vec![stopped.clone(), usage.clone(), Delta::End]),
        (vec![report, stop], vec![usage.clone(), stopped.clone(), Delta::End]),
        (vec![stop, ("metadata", r#"{"usage":null}"#)], vec![stopped.clone(), Delta::End]),
        (
            vec![stop, report, stop, report, ("throttlingException", "{}")],
            vec![stopped, usage.clone(), Delta::End],
        ),
        (vec![report], vec![usage]),
        (vec![], vec![]),
    ] {
        assert_eq!(read_events(&events), expected, "{events:?}");
    }
}

#[test]
fn an_exception_is_of_its_kind_and_the_last() {
    for (kind, json, expected, message) in [
        ("internalServerException", r#"{"message":"m"}"#, Kind::Server, "m"),
        (
            "modelStreamErrorException",
            r#"{"message":"m","originalStatusCode":500,"originalMessage":"o"}"#,
            Kind::Server,
            "m",
        ),
        (
            "throttlingException",
            r#"{"message":"Too many requests"}"#,
            Kind::RateLimit,
            "Too many requests",
        ),
        (
            "validationException",
            r#"{"message":"Input is too long for requested model"}"#,
            Kind::ContextLength,
            "Input is too long for requested model",
        ),
        ("validationException", r#"{"message":"no"}"#, Kind::InvalidRequest, "no"),
        ("serviceUnavailableException", "{}", Kind::Overloaded, "{}"),
        (
            "modelTimeoutException",
            "",
            Kind::Timeout,
            "Bedrock ended the answer with modelTimeoutException",
        ),
        ("someNewException", r#"{"Message":"x"}"#, Kind::Server, "x"),
    ] {
        let events = [
            TOOLS[0],
            (kind, json),
            ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"late"}}"#),
        ];
        let expected = [Delta::Begin { id: None }, Delta::Failed(Error::new(expected, message))];
        assert_eq!(read_events(&events), expected, "{kind}");
    }
}

#[test]
fn an_answer_that_cannot_be_handed_on_whole_fails() {
    for (event, message) in [
        (
            ("messageStop", r#"{"stopReason":"malformed_tool_use"}"#),
            "the model's output is malformed (malformed_tool_use)",
        ),
        (
            ("contentBlockStart", r#"{"contentBlockIndex":0,"start":{"image":{"format":"png"}}}"#),
            "the model answers with an image, which a streamed answer cannot hold",
        ),
    ] {
        assert_eq!(read_events(&[event]), [Delta::Failed(Error::new(Kind::Server, message))]);
    }
    let starts: Vec<String> = (0..=OPEN_CALLS)
        .map(|block| format!(r#"{{"contentBlockIndex":{block},"start":{{"toolUse":{{"name":"a","toolUseId":"b"}}}}}}"#))
        .collect();
    let starts: Vec<(&str, &str)> = starts.iter().map(|json| ("contentBlockStart", json.as_str())).collect();
    assert!(matches!(read_events(&starts).last(), Some(Delta::Failed(_))));
}

#[test]
fn what_is_not_understood_is_nothing() {
    for event in [
        ("initial-response", "{}"),
        ("somethingNew", r#"{"a":1}"#),
        ("contentBlockDelta", "not JSON"),
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"citation":{"title":"t"}}}"#),
        (
            "contentBlockDelta",
            r#"{"contentBlockIndex":7,"delta":{"toolUse":{"input":"of no call"}}}"#,
        ),
        ("contentBlockStart", r#"{"contentBlockIndex":0,"start":{}}"#),
        ("contentBlockStop", r#"{"contentBlockIndex":9}"#),
    ] {
        assert_eq!(read_events(&[event]), [], "{event:?}");
    }
}

proptest! {
    #[test]
    fn where_a_stream_is_cut_into_pieces_changes_nothing(
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        order in prop::collection::vec(prop::sample::select(TOOLS.to_vec()), 0..20),
    ) {
        let stream = stream(&order);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        at.extend([0, stream.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
        let changes = read(&pieces);
        let ends = |change: &Delta| matches!(change, Delta::End | Delta::Failed(_));
        prop_assert!(changes.iter().rev().skip(1).all(|change| !ends(change)));
        prop_assert_eq!(read(&[&stream]), changes);
    }

    #[test]
    fn no_data_make_the_reader_panic(data in prop::collection::vec(any::<u8>(), 0..60), json in r#"\{"(contentBlockDelta|metadata|exception)":[{}\[\]"a-z:,0-9]{0,30}"#) {
        let mut changes = Vec::new();
        let mut reader = Reader::default();
        reader.read(&data, &mut changes);
        reader.read(json.as_bytes(), &mut changes);
        reader.finish(&mut changes);
    }
}
