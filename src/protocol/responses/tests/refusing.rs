//! What is left out of requests, and which are refused.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::*;
use super::reading::{read, refused, with, with_item};
use crate::protocol::chat::{Part, Unfit};

#[test]
fn what_does_no_harm_is_left_out_by_name() {
    let lost = |body: Value| read(&body).unwrap_or_else(|unfit| panic!("{unfit}")).1.fields().join(" ");
    for (field, value, expected) in [
        ("store", json!(true), "store"),
        ("store", json!(false), ""),
        ("store", json!(null), ""),
        ("service_tier", json!("flex"), "service_tier"),
        ("service_tier", json!("auto"), ""),
        ("prompt_cache_key", json!("k"), "prompt_cache_key"),
        ("prompt_cache_retention", json!("24h"), "prompt_cache_retention"),
        ("prompt_cache_options", json!({ "mode": "explicit" }), "prompt_cache_options"),
        ("max_tool_calls", json!(3), "max_tool_calls"),
        ("metadata", json!({ "a": "b" }), ""),
        ("include", json!(["reasoning.encrypted_content"]), ""),
        ("include", json!(["web_search_call.results", "file_search_call.results"]), "include"),
        ("text", json!({ "verbosity": "low" }), "text.verbosity"),
        ("reasoning", json!({ "effrot": "low" }), "reasoning.effrot"),
        ("x_new", json!({ "a": 1 }), "x_new"),
        ("x_new", json!(null), ""),
        (
            "input",
            json!([{ "role": "user", "content": "x", "cache_control": {} }]),
            "input[0].cache_control",
        ),
        ("reasoning", json!({ "summary": "auto", "context": "auto" }), "reasoning.summary"),
        ("stream_options", json!({ "include_obfuscation": false }), ""),
        (
            "stream_options",
            json!({ "include_obfuscation": true }),
            "stream_options.include_obfuscation",
        ),
        ("truncation", json!("disabled"), ""),
        ("background", json!(false), ""),
        ("top_logprobs", json!(0), ""),
        (
            "tools",
            json!([{ "type": "function", "name": "f", "defer_loading": true }]),
            "tools[0].defer_loading",
        ),
    ] {
        assert_eq!(lost(with(field, value.clone())), expected, "{field}: {value}");
    }
    let both = json!({ "input": "hi", "user": "u", "safety_identifier": "s" });
    assert_eq!(lost(both), "user");
    let foreign =
        json!({ "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "Hm." }], "encrypted_content": "gAAAA" });
    let (read, lost) = read(&with_item(&foreign)).unwrap();
    assert_eq!(lost.fields(), ["input[1].encrypted_content"]);
    let expected = Part::Reasoning {
        text: "Hm.".to_owned(),
        signature: None,
    };
    assert_eq!(read.messages[1].parts, [expected]);
}

#[test]
fn of_a_long_conversation_each_kind_of_loss_is_named_once() {
    let message = json!({ "role": "assistant", "content": "a", "phase": "commentary" });
    let (_, lost) = read(&with("input", Value::from(vec![message; 1_000]))).unwrap();
    assert_eq!(lost.fields(), ["input[0].phase"]);
}

#[test]
fn what_would_mean_something_else_is_refused_by_name() {
    for (field, value, expected) in [
        ("previous_response_id", json!("resp_1"), "?previous_response_id"),
        ("conversation", json!("conv_1"), "?conversation"),
        ("conversation", json!({ "id": "conv_1" }), "?conversation"),
        ("prompt", json!({ "id": "p" }), "?prompt"),
        ("background", json!(true), "?background"),
        ("truncation", json!("auto"), "?truncation"),
        ("top_logprobs", json!(2), "?top_logprobs"),
        ("include", json!(["message.output_text.logprobs"]), "?include[0]"),
        ("include", json!(["something.else"]), "?include[0]"),
        ("moderation", json!({ "model": "x" }), "?moderation"),
        ("context_management", json!([{ "type": "compaction" }]), "?context_management"),
        ("prompt_cache_options", json!({ "prewarm": true }), "?prompt_cache_options.prewarm"),
        ("reasoning", json!({ "mode": "pro" }), "?reasoning.mode"),
        ("text", json!({ "format": { "type": "grammar" } }), "?text.format"),
    ] {
        assert_eq!(refused(&with(field, value.clone())), expected, "{field}: {value}");
    }
    for kind in [
        "web_search",
        "file_search",
        "computer_use_preview",
        "code_interpreter",
        "mcp",
        "image_generation",
        "custom",
        "local_shell",
    ] {
        let tools = json!([{ "type": "function", "name": "f" }, { "type": kind, "name": "x" }]);
        assert_eq!(refused(&with("tools", tools)), "?tools[1]", "{kind}");
    }
    let tool = json!([{ "type": "function", "name": "f", "allowed_callers": ["programmatic"] }]);
    assert_eq!(refused(&with("tools", tool)), "?tools[0].allowed_callers");
    for (item, expected) in [
        (json!({ "type": "item_reference", "id": "msg_1" }), "?input[1]"),
        (json!({ "id": "msg_1" }), "?input[1]"),
        (json!({ "type": "computer_call", "id": "x" }), "?input[1]"),
        (json!({ "type": "compaction", "encrypted_content": "x" }), "?input[1]"),
        (
            json!({ "type": "custom_tool_call", "call_id": "c", "name": "n", "input": "x" }),
            "?input[1]",
        ),
        (
            json!({ "type": "function_call", "call_id": "c", "name": "n", "arguments": "", "namespace": "x" }),
            "?input[1].namespace",
        ),
        (
            json!({ "role": "user", "content": [{ "type": "input_image", "file_id": "file_1" }] }),
            "?input[1].content[0].file_id",
        ),
        (
            json!({ "role": "user", "content": [{ "type": "input_file", "file_id": "file_1" }] }),
            "?input[1].content[0].file_id",
        ),
        (
            json!({ "role": "user", "content": [{ "type": "text", "text": "x" }] }),
            "?input[1].content[0]",
        ),
    ] {
        assert_eq!(refused(&with_item(&item)), expected, "{item}");
    }
}

#[test]
fn what_is_wrong_in_itself_is_named_by_its_place() {
    for (field, value) in [
        ("input", json!(null)),
        ("input", json!([])),
        ("input", json!(1)),
        ("instructions", json!(["x"])),
        ("max_output_tokens", json!(-1)),
        ("max_output_tokens", json!("7")),
        ("temperature", json!("hot")),
        ("stream", json!("yes")),
        ("parallel_tool_calls", json!(1)),
        ("tools", json!({})),
        ("text", json!("json")),
        ("reasoning", json!("high")),
        ("store", json!("no")),
    ] {
        assert_eq!(refused(&with(field, value.clone())), field, "{field}: {value}");
    }
    assert_eq!(refused(&with("metadata", json!({ "a": 1 }))), "metadata.a");
    for (item, expected) in [
        (json!({}), "input[1]"),
        (json!(1), "input[1]"),
        (json!({ "role": "tool", "content": "x" }), "input[1].role"),
        (json!({ "role": "user" }), "input[1].content"),
        (json!({ "role": "user", "content": 1 }), "input[1].content"),
        (
            json!({ "role": "user", "content": [{ "type": "refusal", "refusal": "x" }] }),
            "input[1].content",
        ),
        (
            json!({ "role": "user", "content": [{ "type": "input_image" }] }),
            "input[1].content[0].image_url",
        ),
        (
            json!({ "role": "user", "content": [{ "type": "input_image", "image_url": "data:,x" }] }),
            "input[1].content[0].image_url",
        ),
        (
            json!({ "role": "user", "content": [{ "type": "input_file", "file_data": "aGk=" }] }),
            "input[1].content[0].file_data",
        ),
        (json!({ "type": "function_call", "name": "n", "arguments": "" }), "input[1].call_id"),
        (json!({ "type": "function_call_output", "call_id": "c" }), "input[1].output"),
    ] {
        assert_eq!(refused(&with_item(&item)), expected, "{item}");
    }
    let unnamed = json!({ "type": "function_call", "name": "n", "arguments": "" });
    let said = read(&with_item(&unnamed)).unwrap_err().to_string();
    assert_eq!(said, "input[1].call_id is required");
    for body in ["", "[]", "null", "{", r#"{"input":"a","input":"b"}"#, "{\"input\":\"\u{1}\"}"] {
        assert!(matches!(read_request(body.as_bytes()), Err(Unfit::Unreadable(_))), "{body}");
    }
    assert!(read_request(b"{\"input\":\"\xff\"}").is_err());
}

#[test]
fn no_word_of_a_request_is_in_a_refusal_but_names_short_enough_to_tell() {
    let long = "x\n".repeat(10_000);
    for body in [with("temperature", json!(long)), with_item(&json!({ "type": long }))] {
        let said = read(&body).unwrap_err().to_string();
        assert!(said.len() < 300 && !said.contains('\n'), "{said}");
    }
}

#[test]
fn names_that_a_client_made_up_make_no_long_list() {
    let names = (0..1_000).map(|index| (format!("x{index}"), json!(1)));
    let item = json!({ "role": "user", "content": "x" });
    let mut body = with("input", Value::from(vec![item; 50]));
    body.as_object_mut().unwrap().extend(names);
    for (index, item) in body["input"].as_array_mut().unwrap().iter_mut().enumerate() {
        item[format!("y{index}\n{}", "y".repeat(1_000))] = json!(1);
    }
    let (_, lost) = read(&body).unwrap();
    let lost = lost.fields().join(" ");
    assert!(lost.len() < 4_000 && !lost.contains('\n') && lost.ends_with("..."), "{lost}");
}

/// Pieces of requests, some of them wrong.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "user",
            "assistant",
            "message",
            "function_call",
            "function_call_output",
            "reasoning",
            "input_text",
            "output_text",
            "input_image",
            "input_file",
            "data:image/png;base64,aGk=",
            "data:é",
            "https://x",
            "function",
            "allowed_tools",
            "auto",
            "json_schema",
        ])
        .prop_map(Value::from),
    ];
    let keys = vec![
        "type",
        "role",
        "content",
        "text",
        "call_id",
        "name",
        "arguments",
        "output",
        "summary",
        "encrypted_content",
        "image_url",
        "file_data",
        "filename",
        "mode",
        "tools",
        "format",
        "schema",
        "parameters",
        "other",
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(keys.clone()).prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (read_request(&body), read_echo(&body));
    }

    #[test]
    fn no_request_makes_the_reader_panic(
        input in anything(), tools in anything(), tool_choice in anything(), text in anything(), reasoning in anything(), cut in any::<prop::sample::Index>(),
    ) {
        let body = json!({ "input": input, "tools": tools, "tool_choice": tool_choice, "text": text, "reasoning": reasoning }).to_string();
        let _ = (read_request(body.as_bytes()), read_echo(body.as_bytes()));
        let cut = &body.as_bytes()[..cut.index(body.len())];
        prop_assert!(read_request(cut).is_err());
    }
}
