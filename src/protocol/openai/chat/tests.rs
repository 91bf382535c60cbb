//! Requests, answers and streams, in the forms in which clients, engines and providers send them.

mod requests;
mod streams;
mod written;

use super::fixtures;
use super::*;
use crate::protocol::chat::{Answer, Choice, Part};
use proptest::prelude::*;
use serde_json::Value;

fn call(id: &str, name: &str, arguments: &str) -> Part {
    Part::ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    }
}

fn thought(text: &str) -> Part {
    Part::Reasoning {
        text: text.to_owned(),
        signature: None,
    }
}

fn one(body: &str) -> Choice {
    let mut answer = read_answer(body.as_bytes()).unwrap_or_else(|| panic!("{body} is no answer"));
    answer.choices.remove(0)
}

#[test]
fn answers_of_engines_are_read_as_they_were_recorded() {
    let vllm = r#"{"id":"chatcmpl-9ad0175779fbfcba","object":"chat.completion","created":1795566653,"model":"smollm2-135m","choices":[{"index":0,"message":{"role":"assistant","content":"The capital of France is Paris.","refusal":null,"annotations":null,"audio":null,"function_call":null,"reasoning":null},"logprobs":null,"finish_reason":"stop","stop_reason":null,"token_ids":null,"routed_experts":null}],"service_tier":null,"system_fingerprint":"vllm-0.32.0-2c2b3042","usage":{"prompt_tokens":37,"total_tokens":45,"completion_tokens":8,"prompt_tokens_details":null,"completion_tokens_details":null},"prompt_logprobs":null,"metrics":null}"#;
    let answer = read_answer(vllm.as_bytes()).unwrap();
    assert_eq!(answer.id.as_deref(), Some("chatcmpl-9ad0175779fbfcba"));
    assert_eq!(answer.choices[0].parts, [Part::Text("The capital of France is Paris.".to_owned())]);
    assert_eq!(answer.choices[0].stop, Stop::End);
    assert_eq!(answer.usage.map(|tokens| (tokens.input, tokens.output)), Some((37, 8)));

    let llama = r#"{"choices":[{"finish_reason":"length","index":0,"message":{"role":"assistant","content":"L'Étoile"}}],"created":1795566316,"model":"smollm2-135m","object":"chat.completion","usage":{"completion_tokens":24,"prompt_tokens":37,"total_tokens":61,"prompt_tokens_details":{"cached_tokens":36}},"id":"chatcmpl-ZpvCG0NycHB1wim3BAGx2s9yR8PMH9tt","timings":{"cache_n":36}}"#;
    let answer = read_answer(llama.as_bytes()).unwrap();
    assert_eq!(
        (answer.choices[0].stop.clone(), answer.usage.unwrap().cache_read),
        (Stop::Length, 36)
    );

    // Made to call a tool, vLLM says that it is done.
    let made = r#"{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"","refusal":null,"tool_calls":[{"id":"chatcmpl-tool-b19ea02fcdad1d2d","type":"function","function":{"name":"get_weather","arguments":"\"gaben\""}}],"reasoning":null},"logprobs":null,"finish_reason":"stop","stop_reason":null}]}"#;
    let expected = Choice {
        parts: vec![call("chatcmpl-tool-b19ea02fcdad1d2d", "get_weather", "\"gaben\"")],
        stop: Stop::ToolCalls,
    };
    assert_eq!(one(made), expected);
}

#[test]
fn answers_of_providers_are_read_in_their_own_forms() {
    let message = |message: &str, reason: &str| {
        one(&format!(
            r#"{{"choices":[{{"index":0,"message":{message},"finish_reason":{reason}}}]}}"#
        ))
    };
    let texts = |text: &str| vec![Part::Text(text.to_owned())];
    for (said, reason, parts, stop) in [
        // DeepSeek, vLLM, both at once.
        (
            r#"{"reasoning_content":"hm","content":"a"}"#,
            "\"stop\"",
            vec![thought("hm"), Part::Text("a".to_owned())],
            Stop::End,
        ),
        (
            r#"{"reasoning":"hm","content":"a"}"#,
            "\"stop\"",
            vec![thought("hm"), Part::Text("a".to_owned())],
            Stop::End,
        ),
        (
            r#"{"reasoning":"hm","reasoning_content":"hm","content":null}"#,
            "\"length\"",
            vec![thought("hm")],
            Stop::Length,
        ),
        // Mistral's list, and its arguments that are an object.
        (
            r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"h"},{"type":"text","text":"m"}],"closed":true},{"type":"text","text":"a"},{"type":"reference","reference_ids":[1]}]}"#,
            "\"stop\"",
            vec![thought("hm"), Part::Text("a".to_owned())],
            Stop::End,
        ),
        (
            r#"{"content":"","tool_calls":[{"id":"D681PevKs","function":{"name":"f","arguments":{"a": 1}},"index":0}]}"#,
            "\"tool_calls\"",
            vec![call("D681PevKs", "f", "{\"a\": 1}")],
            Stop::ToolCalls,
        ),
        (r#"{"content":"a"}"#, "\"model_length\"", texts("a"), Stop::Length),
        // OpenAI's refusal and filter.
        (
            r#"{"content":null,"refusal":"no"}"#,
            "\"stop\"",
            vec![Part::Refusal("no".to_owned())],
            Stop::End,
        ),
        (r#"{"content":"a"}"#, "\"content_filter\"", texts("a"), Stop::Filtered),
        (
            r#"{"content":"a","reasoning":{"odd":1},"tool_calls":"odd"}"#,
            "null",
            texts("a"),
            Stop::End,
        ),
        // A call without a name for it.
        (
            r#"{"tool_calls":[{"function":{"name":"f"}}]}"#,
            "\"tool_calls\"",
            vec![call("call_0_0", "f", "")],
            Stop::ToolCalls,
        ),
    ] {
        assert_eq!(message(said, reason), Choice { parts, stop }, "{said}");
    }
    let stopped = one(r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop","stop_reason":"\n\n"}]}"#);
    assert_eq!(stopped.stop, Stop::Sequence(Some("\n\n".to_owned())));
    let choices = r#"{"choices":[{"index":1,"message":{"content":"b"}},{"index":0,"message":{"content":"a"}}]}"#;
    let parts: Vec<_> = read_answer(choices.as_bytes())
        .unwrap()
        .choices
        .into_iter()
        .flat_map(|c| c.parts)
        .collect();
    assert_eq!(parts, [texts("a"), texts("b")].concat());
}

#[test]
fn what_is_no_answer_is_not_taken_for_one() {
    for body in [
        "",
        "[]",
        "{}",
        r#"{"error":{"message":"x"}}"#,
        r#"{"choices":[{"index":0,"message":{"content":"half"},"finish_reason":"abort"}]}"#,
        r#"{"choices":[{"index":0,"message":{"content":"half"},"finish_reason":"error"}]}"#,
        r#"{"type":"message","content":[]}"#,
    ] {
        assert_eq!(read_answer(body.as_bytes()), None, "{body}");
    }
}

#[test]
fn an_answer_is_written_as_openai_does() {
    let answer = Answer {
        id: None,
        choices: vec![
            Choice {
                parts: vec![thought("hm"), Part::RedactedReasoning("x".to_owned()), Part::Text("a".to_owned())],
                stop: Stop::Sequence(Some("\n".to_owned())),
            },
            Choice {
                parts: vec![call("c", "f", "")],
                stop: Stop::ToolCalls,
            },
            Choice {
                parts: vec![],
                stop: Stop::Filtered,
            },
        ],
        usage: None,
    };
    let expected = concat!(
        r#"{"id":"chatcmpl-1","object":"chat.completion","created":7,"model":"m","choices":["#,
        r#"{"index":0,"message":{"role":"assistant","content":"a","refusal":null,"reasoning_content":"hm","reasoning":"hm"},"logprobs":null,"finish_reason":"stop","stop_reason":"\n"},"#,
        r#"{"index":1,"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},"logprobs":null,"finish_reason":"tool_calls"},"#,
        r#"{"index":2,"message":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":"content_filter"}]}"#,
    );
    assert_eq!(String::from_utf8(write_answer(&answer, &fixtures::said())).unwrap(), expected);
}

proptest! {
    #[test]
    fn an_answer_that_is_written_is_read_back(answer in fixtures::answer()) {
        prop_assert_eq!(read_answer(&write_answer(&answer, &fixtures::said())), Some(answer));
    }

    #[test]
    fn no_answer_makes_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..100), answer in fixtures::answer(), at: prop::sample::Index) {
        let _ = read_answer(&body);
        let mut whole = write_answer(&answer, &fixtures::said());
        let at = at.index(whole.len());
        let _ = read_answer(&whole[..at]);
        whole[at] = body.first().copied().unwrap_or(b'"');
        let _ = read_answer(&whole);
    }
}

/// The JSON of a text.
fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}
