//! What is read of requests, and repeated in answers.

use serde_json::{Value, json};

use super::super::*;
use crate::protocol::chat::{CachePoint, Format, Json, Lost, Media, Message, Part, Reasoning, Request, Role, Tool, ToolChoice, Unfit};

pub(super) fn read(body: &Value) -> Result<(Request, Lost), Unfit> {
    read_request(body.to_string().as_bytes())
}

pub(super) fn request(body: &Value) -> Request {
    read(body).unwrap_or_else(|unfit| panic!("{body}: {unfit}")).0
}

/// The field that a refusal names: `?` before what is not supported.
pub(super) fn refused(body: &Value) -> String {
    match read(body) {
        Err(Unfit::Unsupported(unsupported)) => format!("?{}", unsupported.field),
        Err(Unfit::Unreadable(unreadable)) => unreadable.field.unwrap_or_default(),
        Ok(_) => panic!("it was read: {body}"),
    }
}

pub(super) fn with(field: &str, value: Value) -> Value {
    let mut body = json!({ "model": "m", "input": "hi" });
    body[field] = value;
    body
}

pub(super) fn with_item(item: &Value) -> Value {
    with("input", json!([{ "role": "user", "content": "hi" }, item]))
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

#[test]
fn a_text_is_what_the_user_says_after_the_instructions() {
    let read = request(&json!({ "model": "m", "instructions": "Be kind.", "input": "hi" }));
    assert_eq!(
        read.messages,
        [Message::text(Role::System, "Be kind."), Message::text(Role::User, "hi")]
    );
}

#[test]
fn a_conversation_with_tools_becomes_messages_that_alternate() {
    let read = request(&json!({ "model": "m", "input": [
        { "role": "developer", "content": "Be brief." },
        { "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "What is it like there?" }] },
        { "type": "reasoning", "id": "rs_1", "summary": [], "content": [{ "type": "reasoning_text", "text": "I must look." }],
          "encrypted_content": "portfolio.signature:c2ln", "status": null },
        { "type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "portfolio.redacted:ZGF0YQ==" },
        { "type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
          "content": [{ "type": "output_text", "text": "Let me look.", "annotations": [], "logprobs": [] }] },
        { "type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": "{\"at\":1.0}", "status": "completed" },
        { "type": "function_call", "call_id": "call_2", "name": "time", "arguments": "" },
        { "type": "function_call_output", "call_id": "call_1", "output": "rain" },
        { "type": "function_call_output", "call_id": "call_2", "output": [
            { "type": "input_text", "text": "noon" }, { "type": "input_image", "image_url": "https://x/y.png" }] },
        { "role": "user", "content": "Go on." },
        { "role": "assistant", "content": [{ "type": "refusal", "refusal": "No." }] },
    ]}));
    let call = |id: &str, name: &str, arguments: &str| Part::ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    };
    let result = |id: &str, parts| Part::ToolResult {
        id: id.to_owned(),
        parts,
        is_error: false,
    };
    let image = Part::Image {
        media: Media::Url("https://x/y.png".to_owned()),
        detail: None,
    };
    let expected = [
        Message::text(Role::System, "Be brief."),
        Message::text(Role::User, "What is it like there?"),
        Message {
            role: Role::Assistant,
            parts: vec![
                Part::Reasoning {
                    text: "I must look.".to_owned(),
                    signature: Some("c2ln".to_owned()),
                },
                Part::RedactedReasoning("ZGF0YQ==".to_owned()),
                text("Let me look."),
                call("call_1", "weather", "{\"at\":1.0}"),
                call("call_2", "time", ""),
            ],
        },
        Message {
            role: Role::User,
            parts: vec![result("call_1", vec![text("rain")]), result("call_2", vec![text("noon"), image])],
        },
        Message::text(Role::User, "Go on."),
        Message {
            role: Role::Assistant,
            parts: vec![Part::Refusal("No.".to_owned())],
        },
    ];
    assert_eq!(read.messages, expected);
}

#[test]
fn pictures_and_files_are_read_from_where_they_are() {
    let parts = |content: Value| {
        request(&with("input", json!([{ "role": "user", "content": [content] }])))
            .messages
            .remove(0)
            .parts
    };
    let inline = |media_type: &str| Media::Inline {
        media_type: media_type.to_owned(),
        data: "aGk=".to_owned(),
    };
    let document = |media, name: Option<&str>| Part::Document {
        media,
        name: name.map(str::to_owned),
    };
    for (content, expected) in [
        (
            json!({ "type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low" }),
            Part::Image {
                media: inline("image/png"),
                detail: Some("low".to_owned()),
            },
        ),
        (
            json!({ "type": "input_image", "image_url": "https://x/y", "file_id": null }),
            Part::Image {
                media: Media::Url("https://x/y".to_owned()),
                detail: None,
            },
        ),
        (
            json!({ "type": "input_file", "file_data": "data:text/plain;charset=utf-8;base64,aGk=", "filename": "a.txt" }),
            document(inline("text/plain"), Some("a.txt")),
        ),
        (
            json!({ "type": "input_file", "file_data": "aGk=", "filename": "a.PDF" }),
            document(inline("application/pdf"), Some("a.PDF")),
        ),
        (
            json!({ "type": "input_file", "file_url": "https://x/y.pdf" }),
            document(Media::Url("https://x/y.pdf".to_owned()), None),
        ),
        (
            json!({ "type": "input_audio", "input_audio": { "data": "aGk=", "format": "wav" } }),
            Part::Audio {
                data: "aGk=".to_owned(),
                format: "wav".to_owned(),
            },
        ),
    ] {
        assert_eq!(parts(content.clone()), [expected], "{content}");
    }
    let hinted = parts(json!({ "type": "input_text", "text": "a", "prompt_cache_breakpoint": { "mode": "explicit" } }));
    assert_eq!(hinted, [text("a"), Part::CachePoint(CachePoint { ttl: None })]);
}

#[test]
fn tools_keep_their_schemas_as_they_were_written() {
    let body = r#"{"model":"m","input":"hi","tools":[{"type":"function","name":"f","description":"d","parameters":{ "b":1.0, "a":9007199254740993},"strict":true},{"type":"function","name":"g"}]}"#;
    let (read, lost) = read_request(body.as_bytes()).unwrap();
    let tool = |name: &str, description: Option<&str>, parameters: Option<&str>, strict| Tool {
        name: name.to_owned(),
        description: description.map(str::to_owned),
        parameters: parameters.map(|text| Json::parse(text).unwrap()),
        strict,
        cache: None,
    };
    let first = tool("f", Some("d"), Some(r#"{ "b":1.0, "a":9007199254740993}"#), Some(true));
    assert_eq!(read.tools, [first, tool("g", None, None, None)]);
    assert!(lost.is_empty());
}

#[test]
fn every_way_to_choose_a_tool_is_understood() {
    let tools = json!([{ "type": "function", "name": "f" }, { "type": "function", "name": "g" }]);
    let body = |choice: Value| json!({ "model": "m", "input": "hi", "tools": tools, "tool_choice": choice });
    let read = |choice| {
        let read = request(&body(choice));
        let names: Vec<String> = read.tools.into_iter().map(|tool| tool.name).collect();
        (read.tool_choice, names.join(","))
    };
    let allowed = |mode: &str, names: &[&str]| {
        let tools: Vec<Value> = names.iter().map(|name| json!({ "type": "function", "name": name })).collect();
        json!({ "type": "allowed_tools", "mode": mode, "tools": tools })
    };
    for (choice, expected, names) in [
        (json!(null), None, "f,g"),
        (json!("auto"), Some(ToolChoice::Auto), "f,g"),
        (json!("none"), Some(ToolChoice::None), "f,g"),
        (json!("required"), Some(ToolChoice::Required), "f,g"),
        (
            json!({ "type": "function", "name": "g" }),
            Some(ToolChoice::Tool("g".to_owned())),
            "f,g",
        ),
        (allowed("auto", &["g"]), Some(ToolChoice::Auto), "g"),
        (allowed("required", &["g", "f"]), Some(ToolChoice::Required), "f,g"),
        (allowed("auto", &[]), None, ""),
    ] {
        assert_eq!(read(choice.clone()), (expected, names.to_owned()), "{choice}");
    }
    for (choice, field) in [
        (json!("any"), "tool_choice"),
        (json!(1), "tool_choice"),
        (json!({ "type": "function" }), "tool_choice.name"),
        (json!({ "type": "web_search_preview" }), "?tool_choice"),
        (json!({ "type": "mcp", "server_label": "x" }), "?tool_choice"),
        (allowed("required", &[]), "tool_choice.tools"),
        (allowed("auto", &["h"]), "tool_choice.tools"),
        (allowed("never", &["f"]), "tool_choice.mode"),
        (
            json!({ "type": "allowed_tools", "mode": "auto", "tools": [{ "type": "mcp", "server_label": "x" }] }),
            "?tool_choice.tools[0]",
        ),
    ] {
        assert_eq!(refused(&body(choice.clone())), field, "{choice}");
    }
}

#[test]
fn how_the_model_is_to_answer_is_read() {
    let read = request(&json!({
        "model": "m", "input": "hi", "stream": true, "max_output_tokens": 7, "temperature": 0.7, "top_p": 1, "parallel_tool_calls": false,
        "user": "u", "reasoning": { "effort": "xhigh" }, "text": { "format": { "type": "json_object" } },
    }));
    assert_eq!(
        (read.stream, read.max_tokens, read.parallel_tool_calls),
        (true, Some(7), Some(false))
    );
    assert_eq!(
        (read.temperature.unwrap().to_string(), read.top_p.unwrap().to_string()),
        ("0.7".to_owned(), "1".to_owned())
    );
    assert_eq!((read.user.as_deref(), read.format), (Some("u"), Format::JsonObject));
    assert_eq!(read.reasoning, Some(Reasoning::Effort("xhigh".to_owned())));
    assert_eq!(
        request(&with("reasoning", json!({ "effort": "none" }))).reasoning,
        Some(Reasoning::Off)
    );
    assert_eq!(request(&with("reasoning", json!({ "effort": null }))).reasoning, None);
    assert_eq!(request(&with("safety_identifier", json!("s"))).user.as_deref(), Some("s"));
    let body = r#"{"input":"hi","text":{"format":{"type":"json_schema","name":"n","strict":true,"schema":{"z":1, "a":2}}}}"#;
    let expected = Format::JsonSchema {
        name: Some("n".to_owned()),
        description: None,
        schema: Json::parse(r#"{"z":1, "a":2}"#).unwrap(),
        strict: Some(true),
    };
    assert_eq!(read_request(body.as_bytes()).unwrap().0.format, expected);
}

#[test]
fn what_an_answer_repeats_is_what_counted() {
    let echo = |body: Value| serde_json::to_value(read_echo(body.to_string().as_bytes())).unwrap();
    let empty = json!({
        "instructions": null, "max_output_tokens": null, "metadata": {}, "parallel_tool_calls": true,
        "reasoning": { "effort": null, "summary": null }, "safety_identifier": null, "temperature": null,
        "text": { "format": { "type": "text" } }, "tool_choice": "auto", "tools": [], "top_p": null, "user": null,
    });
    assert_eq!(echo(json!({ "input": "hi" })), empty);
    assert_eq!(echo(json!("no request")), empty);
    let full = json!({
        "input": "hi", "instructions": "Be kind.", "max_output_tokens": 5, "metadata": { "a": "b" }, "parallel_tool_calls": false,
        "reasoning": { "effort": "low", "summary": "auto" }, "safety_identifier": "s", "temperature": 0.5, "top_p": 0.25, "user": "u",
        "text": { "format": { "type": "json_object" }, "verbosity": "low" }, "tool_choice": { "type": "function", "name": "f" },
        "tools": [{ "type": "function", "name": "f", "parameters": { "type": "object" } }],
    });
    let mut expected = full.clone();
    expected.as_object_mut().unwrap().remove("input");
    expected["reasoning"]["summary"] = json!(null);
    expected["text"] = json!({ "format": { "type": "json_object" } });
    expected["tools"][0]["description"] = json!(null);
    expected["tools"][0]["strict"] = json!(null);
    assert_eq!(echo(full), expected);
}
