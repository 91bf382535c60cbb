//! Whole answers, streams, and what they took.

use super::super::super::chat::{Answer, Choice, Stop};
use super::super::super::error::Kind;
use super::super::super::usage::Tokens;
use super::super::usage::Usage;
use super::*;

/// As the guide to thinking and recorded traffic have it.
const RECORDED: &str = r#"{
  "candidates": [
    {
      "content": {
        "parts": [
          {"text": "Okay, the user wants", "thought": true},
          {"text": "4", "thoughtSignature": "EuIOCt8w"}
        ],
        "role": "model"
      },
      "finishReason": "STOP",
      "index": 0
    }
  ],
  "usageMetadata": {
    "promptTokenCount": 86,
    "candidatesTokenCount": 1,
    "totalTokenCount": 537,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 86}],
    "thoughtsTokenCount": 450,
    "serviceTier": "standard"
  },
  "modelVersion": "gemini-3.5-flash",
  "responseId": "m91NaoKoNe2_vr0P3vX0iAY"
}"#;

#[test]
fn a_recorded_answer_is_read() {
    let thought = |text: &str, signature: Option<&str>| Part::Reasoning {
        text: text.to_owned(),
        signature: signature.map(str::to_owned),
    };
    let usage = Tokens {
        input: 86,
        output: 1,
        reasoning: 450,
        ..Tokens::default()
    };
    let expected = Answer {
        id: Some("m91NaoKoNe2_vr0P3vX0iAY".to_owned()),
        choices: vec![Choice {
            parts: vec![
                thought("Okay, the user wants", None),
                text("4"),
                thought("", Some("gemini:EuIOCt8w")),
            ],
            stop: Stop::End,
        }],
        usage: Some(usage),
    };
    assert_eq!(read_answer(RECORDED.as_bytes()), Some(expected));
}

#[test]
fn a_recorded_stream_is_read() {
    let events = [
        r#"{"candidates": [{"content": {"parts": [{"text": "Hmm","thought": true}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 9,"totalTokenCount": 30,"thoughtsTokenCount": 21},"modelVersion": "gemini-2.5-flash","responseId": "abc"}"#,
        r#"{"candidates": [{"content": {"parts": [{"text": "The"}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 9,"totalTokenCount": 30,"thoughtsTokenCount": 21},"responseId": "abc"}"#,
        r#"{"candidates": [{"content": {"parts": [{"text": " sky"}],"role": "model"},"finishReason": "STOP","index": 0}],"usageMetadata": {"promptTokenCount": 9,"candidatesTokenCount": 2,"totalTokenCount": 32,"thoughtsTokenCount": 21},"responseId": "abc"}"#,
    ];
    let usage = |output| Tokens {
        input: 9,
        output,
        reasoning: 21,
        ..Tokens::default()
    };
    let said = |text: &str| Delta::Text {
        choice: 0,
        text: text.to_owned(),
    };
    let expected = [
        Delta::Begin {
            id: Some("abc".to_owned()),
        },
        Delta::Reasoning {
            choice: 0,
            text: "Hmm".to_owned(),
        },
        Delta::Usage(usage(0)),
        said("The"),
        said(" sky"),
        Delta::stop(0, Stop::End),
        Delta::Usage(usage(2)),
        Delta::End,
    ];
    assert_eq!(deltas(&events), expected);
    // One that ends without a reason was cut; what follows the end is nothing.
    assert!(!deltas(&events[..2]).contains(&Delta::End));
    let twice = [events, events].concat();
    assert_eq!(deltas(&twice), expected);
}

#[test]
fn calls_come_whole_and_wait_for_their_results() {
    let events = [
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"a","args":{"x": 1.0, "s": "a \" b"}}}]}}],"responseId":"r"}"#,
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"b"}}]},"finishReason":"STOP"}],"responseId":"r"}"#,
    ];
    let changes = deltas(&events);
    let calls: Vec<_> = changes
        .iter()
        .filter_map(|change| match change {
            Delta::ToolCall { index, id, name, .. } => Some((*index, id.clone(), name.clone())),
            _ => None,
        })
        .collect();
    let arguments: Vec<_> = changes
        .iter()
        .filter_map(|change| match change {
            Delta::Arguments { json, .. } => Some(json.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!((calls[0].0, calls[1].0, calls[0].2.as_str(), calls[1].2.as_str()), (0, 1, "a", "b"));
    assert_ne!(calls[0].1, calls[1].1);
    assert_eq!(arguments, [r#"{"x":1.0,"s":"a \" b"}"#, "{}"]);
    assert_eq!(changes[changes.len() - 2..], [Delta::stop(0, Stop::ToolCalls), Delta::End]);
    assert_eq!(deltas(&events), changes, "made-up ids are the same every time");
}

#[test]
fn several_answers_end_when_the_last_of_them_does() {
    let mut reader = Reader::new(2);
    let mut changes = Vec::new();
    for event in [
        r#"{"candidates":[{"index":0,"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}"#,
        r#"{"candidates":[{"index":1,"content":{"parts":[{"text":"b"}]}}]}"#,
        r#"{"candidates":[{"index":1,"finishReason":"MAX_TOKENS"}]}"#,
    ] {
        assert!(!changes.contains(&Delta::End));
        reader.read(event.as_bytes(), &mut changes);
    }
    assert_eq!(changes[changes.len() - 2..], [Delta::stop(1, Stop::Length), Delta::End]);
}

#[test]
fn every_reason_to_end_has_its_meaning() {
    let event = |reason: &str| format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"a"}}]}},"finishReason":"{reason}"}}]}}"#);
    let cases = [
        ("STOP", Stop::End),
        ("MAX_TOKENS", Stop::Length),
        ("SAFETY", Stop::Filtered),
        ("RECITATION", Stop::Filtered),
        ("BLOCKLIST", Stop::Filtered),
        ("PROHIBITED_CONTENT", Stop::Filtered),
        ("SPII", Stop::Filtered),
        ("MODEL_ARMOR", Stop::Filtered),
        ("LANGUAGE", Stop::Filtered),
    ];
    for (reason, stop) in cases {
        assert_eq!(read_answer(event(reason).as_bytes()).unwrap().choices[0].stop, stop, "{reason}");
        let changes = deltas(&[&event(reason)]);
        assert_eq!(changes[changes.len() - 2..], [Delta::stop(0, stop), Delta::End], "{reason}");
    }
    for reason in [
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "OTHER",
        "FINISH_REASON_UNSPECIFIED",
        "NEVER_SEEN",
    ] {
        assert_eq!(read_answer(event(reason).as_bytes()), None, "{reason}");
        let error = read_error(200, event(reason).as_bytes());
        assert_eq!(error.kind, Kind::Server);
        assert!(error.message.contains(reason), "{}", error.message);
        assert_eq!(deltas(&[&event(reason)]).last(), Some(&Delta::Failed(error)));
    }
}

#[test]
fn a_malformed_call_is_told_in_googles_words() {
    let event = r#"{"candidates":[{"content":{"role":"model","parts":[{"thoughtSignature":"sig","text":""}]},"finishReason":"MALFORMED_FUNCTION_CALL","finishMessage":"Malformed function call: Failed to parse function call: Function call is empty - no input to parse."}],"usageMetadata":{"promptTokenCount":100,"totalTokenCount":160,"thoughtsTokenCount":60},"responseId":"r1"}"#;
    let changes = deltas(&[event]);
    let Some(Delta::Failed(error)) = changes.last() else {
        panic!("{changes:?}")
    };
    assert!(error.message.starts_with("Malformed function call: Failed to parse"));
    assert!(
        changes
            .iter()
            .any(|change| matches!(change, Delta::Usage(tokens) if tokens.reasoning == 60))
    );
}

#[test]
fn a_blocked_request_is_a_content_filters_error() {
    let body = r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":8,"totalTokenCount":8},"modelVersion":"gemini-2.5-pro"}"#;
    let error = read_error(200, body.as_bytes());
    assert_eq!((error.kind, error.code.as_deref()), (Kind::ContentFilter, Some("content_filter")));
    assert!(error.message.contains("PROHIBITED_CONTENT"));
    assert_eq!(read_answer(body.as_bytes()), None);
    assert_eq!(deltas(&[body]).last(), Some(&Delta::Failed(error)));
}

#[test]
fn errors_inside_of_a_stream_end_it() {
    for event in [
        r#"{"error":{"code":503,"message":"The model is overloaded. Please try again later.","status":"UNAVAILABLE"}}"#,
        r#"[{"error":{"code":503,"message":"The model is overloaded. Please try again later.","status":"UNAVAILABLE"}}]"#,
    ] {
        let changes = deltas(&[RECORDED.replace(r#""finishReason": "STOP","#, "").as_str(), event, RECORDED]);
        let Some(Delta::Failed(error)) = changes.last() else {
            panic!("{changes:?}")
        };
        assert_eq!(
            (error.kind, error.message.as_str()),
            (Kind::Overloaded, "The model is overloaded. Please try again later.")
        );
    }
}

#[test]
fn what_no_client_can_be_shown_is_an_error_and_not_dropped() {
    let body = br#"{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"iVBO"}}]},"finishReason":"STOP"}]}"#;
    assert_eq!(read_answer(body), None);
    assert!(read_error(200, body).message.contains("picture"));
}

#[test]
fn each_token_is_counted_in_one_place() {
    let of = |usage: &str| serde_json::from_str::<Usage>(usage).unwrap().tokens();
    let full = of(
        r#"{"promptTokenCount":500,"cachedContentTokenCount":100,"candidatesTokenCount":120,"toolUsePromptTokenCount":300,"thoughtsTokenCount":10,"totalTokenCount":930,
        "promptTokensDetails":[{"modality":"TEXT","tokenCount":380},{"modality":"AUDIO","tokenCount":120}],"cacheTokensDetails":[{"modality":"AUDIO","tokenCount":20}],
        "candidatesTokensDetails":[{"modality":"AUDIO","tokenCount":50}]}"#,
    );
    let expected = Tokens {
        input: 600,
        cache_read: 100,
        audio_input: 100,
        output: 70,
        reasoning: 10,
        audio_output: 50,
        ..Tokens::default()
    };
    assert_eq!(full, expected);
    assert_eq!((full.prompt(), full.answer()), (800, 130));
    let inclusive = of(r#"{"promptTokenCount":10,"candidatesTokenCount":30,"thoughtsTokenCount":20,"totalTokenCount":40}"#);
    assert_eq!((inclusive.output, inclusive.reasoning), (10, 20));
    assert_eq!(of(r#"{"promptTokenCount":10}"#).input, 10);
    // Figures that do not fit together never make more of the prompt than it has.
    let odd = of(r#"{"promptTokenCount":1,"cachedContentTokenCount":5,"promptTokensDetails":[{"modality":"AUDIO","tokenCount":9}]}"#);
    assert_eq!(odd.prompt(), 1);
}
