//! What is written: whole answers, streams, errors.

use serde_json::{Value, json};

use super::super::*;
use super::said;
use super::streaming::check;
use crate::protocol::chat::{Answer, Choice, Delta, Part, Stop, WriteStream};
use crate::protocol::error::{Error, Kind};
use crate::protocol::sse::Splitter;
use crate::protocol::usage::{Terms, Tokens};

pub(super) const TOKENS: Tokens = Tokens {
    input: 7,
    cache_read: 30,
    cache_write: 2,
    cache_write_1h: 1,
    audio_input: 0,
    output: 7,
    reasoning: 4,
    audio_output: 0,
    terms: Terms::Unsaid,
};

pub(super) fn stream(changes: &[Delta]) -> Vec<(String, Value)> {
    let mut writer = Writer::new(said(), Echo::default());
    let mut bytes = Vec::new();
    for change in changes {
        writer.write(change, &mut bytes);
    }
    events(&bytes)
}

/// The name of each event and its data.
fn events(bytes: &[u8]) -> Vec<(String, Value)> {
    let text = std::str::from_utf8(bytes).unwrap();
    let mut datas = Vec::new();
    Splitter::default().feed(bytes, |data, _| datas.push(serde_json::from_slice(data).unwrap()));
    let blocks: Vec<&str> = text.split_terminator("\n\n").collect();
    assert_eq!(blocks.len(), datas.len());
    let name = |block: &&str| block.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap().0.to_owned();
    blocks.iter().map(name).zip(datas).collect()
}

pub(super) fn whole(parts: Vec<Part>, stop: Stop, usage: Option<Tokens>) -> Value {
    let answer = Answer {
        id: None,
        choices: vec![Choice { parts, stop }],
        usage,
    };
    serde_json::from_slice(&write_answer(&answer, &said(), &Echo::default())).unwrap()
}

pub(super) fn text(text: &str) -> Delta {
    Delta::Text {
        choice: 0,
        text: text.to_owned(),
    }
}

pub(super) fn reasoning(text: &str) -> Delta {
    Delta::Reasoning {
        choice: 0,
        text: text.to_owned(),
    }
}

pub(super) fn signature(signature: &str) -> Delta {
    Delta::ReasoningSignature {
        choice: 0,
        signature: signature.to_owned(),
    }
}

pub(super) fn call(index: u32, id: &str, name: &str) -> Delta {
    Delta::ToolCall {
        choice: 0,
        index,
        id: id.to_owned(),
        name: name.to_owned(),
    }
}

pub(super) fn arguments(index: u32, json: &str) -> Delta {
    Delta::Arguments {
        choice: 0,
        index,
        json: json.to_owned(),
    }
}

#[test]
fn a_whole_answer_has_all_that_the_types_require() {
    let parts = vec![
        Part::Reasoning {
            text: "Hm.".to_owned(),
            signature: Some("c2ln".to_owned()),
        },
        Part::RedactedReasoning("ZGF0YQ==".to_owned()),
        Part::Text("Let me ".to_owned()),
        Part::Text("look.".to_owned()),
        Part::Refusal("No.".to_owned()),
        Part::ToolCall {
            id: "call_1".to_owned(),
            name: "weather".to_owned(),
            arguments: r#"{"at":1.0}"#.to_owned(),
        },
        Part::ToolCall {
            id: String::new(),
            name: "time".to_owned(),
            arguments: String::new(),
        },
    ];
    let expected = json!({
        "id": "resp_abc", "object": "response", "created_at": 1_700_000_000, "status": "completed", "background": false, "error": null,
        "incomplete_details": null, "model": "assistant", "previous_response_id": null, "store": false, "top_logprobs": 0,
        "truncation": "disabled",
        "output": [
            { "type": "reasoning", "id": "rs_abc_0", "status": "completed", "summary": [],
              "content": [{ "type": "reasoning_text", "text": "Hm." }], "encrypted_content": "portfolio.signature:c2ln" },
            { "type": "reasoning", "id": "rs_abc_1", "status": "completed", "summary": [], "content": [],
              "encrypted_content": "portfolio.redacted:ZGF0YQ==" },
            { "type": "message", "id": "msg_abc_2", "status": "completed", "role": "assistant", "content": [
                { "type": "output_text", "text": "Let me look.", "annotations": [], "logprobs": [] },
                { "type": "refusal", "refusal": "No." }] },
            { "type": "function_call", "id": "fc_abc_3", "status": "completed", "call_id": "call_1", "name": "weather",
              "arguments": "{\"at\":1.0}" },
            { "type": "function_call", "id": "fc_abc_4", "status": "completed", "call_id": "call_abc_4", "name": "time", "arguments": "" },
        ],
        "usage": { "input_tokens": 40, "input_tokens_details": { "cached_tokens": 30, "cache_write_tokens": 3 }, "output_tokens": 11,
            "output_tokens_details": { "reasoning_tokens": 4 }, "total_tokens": 51 },
        "instructions": null, "max_output_tokens": null, "metadata": {}, "parallel_tool_calls": true,
        "reasoning": { "effort": null, "summary": null }, "safety_identifier": null, "temperature": null,
        "text": { "format": { "type": "text" } }, "tool_choice": "auto", "tools": [], "top_p": null, "user": null,
    });
    assert_eq!(whole(parts, Stop::ToolCalls, Some(TOKENS)), expected);
}

#[test]
fn an_answer_that_was_cut_off_is_incomplete_and_so_is_its_last_item() {
    let parts = || {
        vec![
            Part::Reasoning {
                text: "Hm.".to_owned(),
                signature: None,
            },
            Part::Text("It is".to_owned()),
        ]
    };
    for (stop, status, details) in [
        (Stop::End, "completed", json!(null)),
        (Stop::Sequence(None), "completed", json!(null)),
        (Stop::Length, "incomplete", json!({ "reason": "max_output_tokens" })),
        (Stop::Filtered, "incomplete", json!({ "reason": "content_filter" })),
    ] {
        let answer = whole(parts(), stop.clone(), None);
        assert_eq!(
            (&answer["status"], &answer["incomplete_details"]),
            (&json!(status), &details),
            "{stop:?}"
        );
        assert_eq!(answer["output"][0]["status"], "completed");
        assert_eq!(answer["output"][1]["status"], status);
        assert_eq!(answer["usage"], json!(null));
        let changes = [reasoning("Hm."), text("It is"), Delta::stop(0, stop), Delta::End];
        let (name, last) = stream(&changes).pop().unwrap();
        assert_eq!(name, format!("response.{status}"));
        assert_eq!(last["response"], answer);
    }
}

#[test]
fn a_streamed_text_has_exactly_these_events() {
    let changes = [
        Delta::Begin {
            id: Some("chatcmpl-1".to_owned()),
        },
        text("Hel"),
        text(""),
        text("lo\n"),
        Delta::stop(0, Stop::End),
        Delta::Usage(TOKENS),
        Delta::End,
        text("too late"),
        Delta::End,
    ];
    let events = stream(&changes);
    let part = |text: &str| json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] });
    let item = |status: &str, content: Value| json!({ "type": "message", "id": "msg_abc_0", "status": status, "role": "assistant", "content": content });
    let place = json!({ "item_id": "msg_abc_0", "output_index": 0, "content_index": 0 });
    let at = |more: Value| {
        let mut body = place.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let expected = [
        (
            "response.output_item.added",
            json!({ "output_index": 0, "item": item("in_progress", json!([])) }),
        ),
        ("response.content_part.added", at(json!({ "part": part("") }))),
        ("response.output_text.delta", at(json!({ "delta": "Hel", "logprobs": [] }))),
        ("response.output_text.delta", at(json!({ "delta": "lo\n", "logprobs": [] }))),
        ("response.output_text.done", at(json!({ "text": "Hello\n", "logprobs": [] }))),
        ("response.content_part.done", at(json!({ "part": part("Hello\n") }))),
        (
            "response.output_item.done",
            json!({ "output_index": 0, "item": item("completed", json!([part("Hello\n")])) }),
        ),
    ];
    assert_eq!(events.len(), 3 + expected.len());
    for (index, (name, body)) in expected.into_iter().enumerate() {
        let number = index + 2;
        let mut body = body;
        body["type"] = json!(name);
        body["sequence_number"] = json!(number);
        assert_eq!(events[number], (name.to_owned(), body));
    }
    for (index, name, status) in [
        (0, "response.created", "in_progress"),
        (1, "response.in_progress", "in_progress"),
        (9, "response.completed", "completed"),
    ] {
        let (is, data) = &events[index];
        assert_eq!(
            (is.as_str(), &data["type"], &data["response"]["status"]),
            (name, &json!(name), &json!(status))
        );
        assert_eq!(
            (&data["sequence_number"], &data["response"]["id"]),
            (&json!(index), &json!("resp_chatcmpl-1"))
        );
    }
    assert_eq!(
        events[9].1["response"]["output"],
        json!([item("completed", json!([part("Hello\n")]))])
    );
    assert_eq!(events[9].1["response"]["usage"]["total_tokens"], 51);
}

#[test]
fn thoughts_calls_and_refusals_are_items_in_the_order_in_which_they_began() {
    let changes = [
        reasoning("Hm"),
        reasoning("."),
        signature("c2"),
        signature("ln"),
        reasoning("More."),
        Delta::RedactedReasoning {
            choice: 0,
            data: "ZGF0YQ==".to_owned(),
        },
        signature("bG9uZQ=="),
        text("Look"),
        Delta::Refusal {
            choice: 0,
            text: "No.".to_owned(),
        },
        call(0, "call_1", "f"),
        call(1, "", "g"),
        arguments(0, "{\"a\":"),
        arguments(1, "{}"),
        arguments(0, "1}"),
        arguments(7, "nobody's"),
        Delta::Text {
            choice: 1,
            text: "another answer".to_owned(),
        },
        Delta::stop(0, Stop::ToolCalls),
        Delta::End,
    ];
    let events = stream(&changes);
    check(&events);
    let names: Vec<&str> = events.iter().map(|(name, _)| name.strip_prefix("response.").unwrap()).collect();
    #[rustfmt::skip]
    let expected = [
        "created", "in_progress",
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.delta", "reasoning_text.done", "content_part.done", "output_item.done",
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done", "content_part.done", "output_item.done",
        "output_item.added", "output_item.done",
        "output_item.added", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done",
        "content_part.added", "refusal.delta", "refusal.done", "content_part.done", "output_item.done",
        "output_item.added", "output_item.added",
        "function_call_arguments.delta", "function_call_arguments.delta", "function_call_arguments.delta",
        "function_call_arguments.done", "output_item.done", "function_call_arguments.done", "output_item.done",
        "completed",
    ];
    assert_eq!(names, expected);
    let output = &events.last().unwrap().1["response"]["output"];
    let seals: Vec<&Value> = (0..4).map(|index| &output[index]["encrypted_content"]).collect();
    assert_eq!(
        seals,
        [
            &json!("portfolio.signature:c2ln"),
            &json!(null),
            &json!("portfolio.redacted:ZGF0YQ=="),
            &json!("portfolio.signature:bG9uZQ==")
        ]
    );
    assert_eq!(
        (&output[5]["arguments"], &output[5]["call_id"]),
        (&json!("{\"a\":1}"), &json!("call_1"))
    );
    assert_eq!(
        (&output[6]["arguments"], &output[6]["call_id"]),
        (&json!("{}"), &json!("call_abc_6"))
    );
    let done = events
        .iter()
        .find(|(name, _)| name == "response.function_call_arguments.done")
        .unwrap();
    assert_eq!((&done.1["name"], &done.1["arguments"]), (&json!("f"), &json!("{\"a\":1}")));
}

#[test]
fn a_stream_that_fails_says_so_in_the_ways_that_clients_look_for() {
    let mut error = Error::new(Kind::Overloaded, "busy");
    error.code = Some("too_busy".to_owned());
    let events = stream(&[text("It is"), Delta::Failed(error), Delta::End]);
    let names: Vec<&str> = events.iter().skip(5).map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["error", "response.failed"]);
    let detail = json!({ "message": "busy", "type": "server_error", "param": null, "code": "too_busy" });
    let expected = json!({ "type": "error", "sequence_number": 5, "code": "too_busy", "message": "busy", "param": null, "error": detail });
    assert_eq!(events[5].1, expected);
    let response = &events[6].1["response"];
    assert_eq!(
        (&response["status"], &response["error"]["code"], &response["error"]["message"]),
        (&json!("failed"), &json!("server_error"), &json!("busy"))
    );
    assert_eq!(
        (&response["output"][0]["status"], &response["output"][0]["content"][0]["text"]),
        (&json!("incomplete"), &json!("It is"))
    );
    assert_eq!(response["incomplete_details"], json!(null));
}

#[test]
fn errors_have_openais_shape() {
    let mut error = Error::new(Kind::NotFound, "no \"x\"");
    assert_eq!(
        serde_json::from_slice::<Value>(&write_error(&error)).unwrap(),
        json!({ "error": { "message": "no \"x\"", "type": "invalid_request_error", "param": null, "code": "not_found" } })
    );
    (error.code, error.param) = (Some("model_not_found".to_owned()), Some("model".to_owned()));
    let event = events(&error_event(&error)).remove(0);
    assert_eq!(event.0, "error");
    let detail = json!({ "message": "no \"x\"", "type": "invalid_request_error", "param": "model", "code": "model_not_found" });
    assert_eq!(
        event.1,
        json!({ "type": "error", "sequence_number": 0, "code": "model_not_found", "message": "no \"x\"", "param": "model", "error": detail })
    );
}

#[test]
fn what_is_written_can_be_sent_back_as_it_is() {
    let parts = vec![
        Part::Reasoning {
            text: "Hm.".to_owned(),
            signature: Some("c2ln".to_owned()),
        },
        Part::RedactedReasoning("ZGF0YQ==".to_owned()),
        Part::Text("Let me look.".to_owned()),
        Part::Refusal("No.".to_owned()),
        Part::ToolCall {
            id: "call_1".to_owned(),
            name: "f".to_owned(),
            arguments: "{}".to_owned(),
        },
    ];
    let output = whole(parts.clone(), Stop::ToolCalls, None)["output"].take();
    let (request, lost) = read_request(json!({ "input": output }).to_string().as_bytes()).unwrap();
    assert_eq!(request.messages[0].parts, parts);
    assert!(lost.is_empty() && request.messages.len() == 1);
}
