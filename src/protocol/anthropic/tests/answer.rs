//! Whole answers.

use proptest::prelude::*;

use super::super::super::chat::{Answer, Choice, Part, Stop};
use super::super::super::usage::{Terms, Tokens};
use super::super::{count_tokens, read_answer, tokens, write_answer};
use super::{json, said};

#[test]
fn an_answer_with_thoughts_and_a_call_is_read() {
    let body = r#"{"id":"msg_01","type":"message","role":"assistant","model":"claude-sonnet-4-5","container":null,
        "content":[{"type":"thinking","thinking":"Hm.","signature":"c2Vh"},{"type":"redacted_thinking","data":"EmwK"},
        {"type":"text","text":"I look.","citations":null},{"type":"server_tool_use","id":"s","name":"web_search","input":{}},
        {"type":"tool_use","id":"toolu_01","name":"look","input":{"z": 1.0,"a":9007199254740993}}],
        "stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":472,"cache_creation_input_tokens":0,"cache_read_input_tokens":5,
        "output_tokens":91,"output_tokens_details":{"thinking_tokens":40},"service_tier":"standard","server_tool_use":null}}"#;
    let tokens_of_it = Tokens {
        input: 472,
        cache_read: 5,
        output: 51,
        reasoning: 40,
        terms: Terms::Standard,
        ..Tokens::default()
    };
    let expected = Answer {
        id: Some("msg_01".to_owned()),
        choices: vec![Choice {
            parts: vec![
                Part::Reasoning {
                    text: "Hm.".to_owned(),
                    signature: Some("c2Vh".to_owned()),
                },
                Part::RedactedReasoning("EmwK".to_owned()),
                Part::Text("I look.".to_owned()),
                Part::ToolCall {
                    id: "toolu_01".to_owned(),
                    name: "look".to_owned(),
                    arguments: r#"{"z": 1.0,"a":9007199254740993}"#.to_owned(),
                },
            ],
            stop: Stop::ToolCalls,
        }],
        usage: Some(tokens_of_it),
    };
    assert_eq!(read_answer(body.as_bytes()), Some(expected));
    assert_eq!(tokens(body.as_bytes()), Some(tokens_of_it));
}

#[test]
fn engines_answers_are_read_as_they_were_recorded() {
    let llama = r#"{"id":"chatcmpl-1mz7","type":"message","role":"assistant","content":[{"type":"text","text":"L'Étoile"}],"model":"smollm2-135m","stop_reason":"max_tokens","stop_sequence":null,"usage":{"cache_read_input_tokens":36,"input_tokens":1,"output_tokens":24}}"#;
    let answer = read_answer(llama.as_bytes()).unwrap();
    assert_eq!(answer.choices[0].stop, Stop::Length);
    assert_eq!(
        answer.usage,
        Some(Tokens {
            input: 1,
            cache_read: 36,
            output: 24,
            ..Tokens::default()
        })
    );
    let vllm = r#"{"id":"chatcmpl-bdeb","type":"message","role":"assistant","content":[{"type":"text","text":"The capital of France is Paris."}],"model":"smollm2-135m","stop_reason":"end_turn","usage":{"input_tokens":37,"output_tokens":8}}"#;
    let answer = read_answer(vllm.as_bytes()).unwrap();
    assert_eq!(answer.choices[0].parts, [Part::Text("The capital of France is Paris.".to_owned())]);
    assert_eq!(answer.choices[0].stop, Stop::End);
}

#[test]
fn what_is_no_message_is_no_answer() {
    for body in ["", "{}", "[]", r#"{"type":"error","error":{}}"#, r#"{"type":"list","content":[]}"#] {
        assert_eq!(read_answer(body.as_bytes()), None, "{body}");
    }
    let no_report = r#"{"type":"message","content":[],"usage":{"input_tokens":-1}}"#;
    assert_eq!(read_answer(no_report.as_bytes()).unwrap().usage, None);
    assert_eq!(tokens(br#"{"usage":null}"#), None);
}

#[test]
fn reasons_to_stop_are_mapped_both_ways() {
    for (reason, sequence, stop) in [
        ("end_turn", "null", Stop::End),
        ("max_tokens", "null", Stop::Length),
        ("stop_sequence", "\"###\"", Stop::Sequence(Some("###".to_owned()))),
        ("stop_sequence", "null", Stop::Sequence(None)),
        ("tool_use", "null", Stop::ToolCalls),
        ("refusal", "null", Stop::Filtered),
    ] {
        let body = format!(r#"{{"type":"message","content":[],"stop_reason":"{reason}","stop_sequence":{sequence}}}"#);
        let answer = read_answer(body.as_bytes()).unwrap();
        assert_eq!(answer.choices[0].stop, stop);
        let written = json(&write_answer(&answer, &said()));
        assert_eq!(
            (written["stop_reason"].as_str(), written["stop_sequence"].to_string()),
            (Some(reason), sequence.to_owned())
        );
    }
    for reason in ["pause_turn", "model_context_window_exceeded"] {
        let body = format!(r#"{{"type":"message","content":[],"stop_reason":"{reason}"}}"#);
        assert_eq!(read_answer(body.as_bytes()).unwrap().choices[0].stop, Stop::Length, "{reason}");
    }
}

#[test]
fn a_refusal_keeps_its_explanation() {
    let body = br#"{"type":"message","content":[],"stop_reason":"refusal","stop_details":{"type":"refusal","category":"bio","explanation":"Not this."}}"#;
    let answer = read_answer(body).unwrap();
    assert_eq!(answer.choices[0].parts, [Part::Refusal("Not this.".to_owned())]);
    let written = json(&write_answer(&answer, &said()));
    assert_eq!(written["content"], serde_json::json!([{"type": "text", "text": "Not this."}]));
    assert_eq!(written["stop_reason"], "refusal");
}

#[test]
fn an_answer_is_written_with_all_that_sdks_ask_for() {
    let call = |id: &str, arguments: &str| Part::ToolCall {
        id: id.to_owned(),
        name: "look".to_owned(),
        arguments: arguments.to_owned(),
    };
    let answer = Answer {
        id: None,
        choices: vec![Choice {
            parts: vec![
                Part::Reasoning {
                    text: "Hm.".to_owned(),
                    signature: None,
                },
                Part::Text(String::new()),
                call("a", ""),
                call("b", r#"{"x":1"#),
            ],
            stop: Stop::ToolCalls,
        }],
        usage: None,
    };
    let expected = serde_json::json!({
        "id": "msg_0123", "type": "message", "role": "assistant", "model": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": ""},
            {"type": "tool_use", "id": "a", "name": "look", "input": {}},
            {"type": "tool_use", "id": "b", "name": "look", "input": {"INVALID_JSON": r#"{"x":1"#}},
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": {"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}, "output_tokens": 0},
    });
    assert_eq!(json(&write_answer(&answer, &said())), expected);
}

#[test]
fn counts_are_written_and_read() {
    assert_eq!(count_tokens::write_answer(37), br#"{"input_tokens":37}"#);
    let vllm = br#"{"input_tokens":37,"context_management":{"original_input_tokens":37}}"#;
    assert_eq!(count_tokens::read_answer(vllm), Some(37));
    assert_eq!(count_tokens::read_answer(b"{}"), None);
}

proptest! {
    #[test]
    fn no_body_makes_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (read_answer(&body), tokens(&body), count_tokens::read_answer(&body));
    }
}
