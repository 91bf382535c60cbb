//! Requests as clients send them.

use super::*;
use crate::protocol::chat::{CachePoint, Format, Json, Lost, Media, Message, Reasoning, Request, Role, Tool, ToolChoice, Unfit};

fn read(body: &str) -> (Request, Lost) {
    read_request(body.as_bytes()).unwrap_or_else(|e| panic!("{e}: {body}"))
}

/// A request with one message of the user, and more fields.
fn with(fields: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],{fields}}}"#)
}

fn refused(body: &str) -> (Option<String>, bool) {
    match read_request(body.as_bytes()) {
        Err(Unfit::Unreadable(error)) => (error.field, false),
        Err(Unfit::Unsupported(error)) => (Some(error.field), true),
        Ok(request) => panic!("{body} was taken: {request:?}"),
    }
}

fn texts(text: &str) -> Vec<Part> {
    vec![Part::Text(text.to_owned())]
}

#[test]
fn every_field_is_read_into_its_place() {
    let (request, lost) = read(
        r#"{"model":"m","temperature":0.70,"top_p":1,"top_k":40,"presence_penalty":-1,"frequency_penalty":0.5,"seed":9007199254740993,
        "max_completion_tokens":64,"max_tokens":32,"stop":"\n","n":2,"user":"u","stream":true,"stream_options":{"include_usage":true},
        "reasoning_effort":"high","parallel_tool_calls":false,"tool_choice":{"type":"function","function":{"name":"f"}},"logprobs":false,
        "logit_bias":{},"modalities":["text"],"audio":null,
        "tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"z":1.0,"a":2},"strict":true},"cache_control":{"type":"ephemeral"}}],
        "response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"b": 1},"strict":true}},
        "messages":[{"role":"user","content":"hi"}]}"#,
    );
    assert!(lost.is_empty(), "{lost:?}");
    let number = |json: &str| Some(serde_json::from_str(json).unwrap());
    let expected = Request {
        messages: vec![Message::text(Role::User, "hi")],
        tools: vec![Tool {
            name: "f".to_owned(),
            description: Some("d".to_owned()),
            parameters: Some(Json::parse(r#"{"z":1.0,"a":2}"#).unwrap()),
            strict: Some(true),
            cache: Some(CachePoint { ttl: None }),
        }],
        tool_choice: Some(ToolChoice::Tool("f".to_owned())),
        parallel_tool_calls: Some(false),
        max_tokens: Some(64),
        temperature: number("0.70"),
        top_p: number("1"),
        top_k: number("40"),
        presence_penalty: number("-1"),
        frequency_penalty: number("0.5"),
        seed: number("9007199254740993"),
        stop: vec!["\n".to_owned()],
        format: Format::JsonSchema {
            name: Some("s".to_owned()),
            description: None,
            schema: Json::parse(r#"{"b": 1}"#).unwrap(),
            strict: Some(true),
        },
        reasoning: Some(Reasoning::Effort("high".to_owned())),
        choices: Some(2),
        user: Some("u".to_owned()),
        stream: true,
    };
    assert_eq!(request, expected);
}

#[test]
fn every_kind_of_message_is_read() {
    let (request, lost) = read(
        r#"{"model":"m","messages":[
        {"role":"system","content":"s"},{"role":"developer","content":[{"type":"text","text":"d"}]},
        {"role":"user","content":[{"type":"text","text":"t","cache_control":{"type":"ephemeral","ttl":"1h"}},
          {"type":"image_url","image_url":{"url":"https://x/y.png","detail":"low"}},
          {"type":"image_url","image_url":{"url":"data:image/png;charset=x;base64,iVBORw0KGgo="}},
          {"type":"input_audio","input_audio":{"data":"UklG","format":"wav"}},
          {"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,JVBE"}}]},
        {"role":"assistant","content":null,"reasoning_content":"hm","refusal":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}},{"id":"c2","type":"function","function":{"name":"g","arguments":""}}]},
        {"role":"tool","tool_call_id":"c1","content":"r1"},{"role":"tool","tool_call_id":"c2","name":"g","content":[{"type":"text","text":"r2"}]},
        {"role":"user","content":""},
        {"role":"assistant","content":[{"type":"text","text":"a"},{"type":"refusal","refusal":"no"}]},
        {"role":"assistant","content":"","refusal":"never"}]}"#,
    );
    assert!(lost.is_empty(), "{lost:?}");
    let inline = |media_type: &str, data: &str| Media::Inline {
        media_type: media_type.to_owned(),
        data: data.to_owned(),
    };
    let result = |id: &str, text: &str| Part::ToolResult {
        id: id.to_owned(),
        parts: texts(text),
        is_error: false,
    };
    let expected = vec![
        (Role::System, texts("s")),
        (Role::System, texts("d")),
        (
            Role::User,
            vec![
                Part::Text("t".to_owned()),
                Part::CachePoint(CachePoint {
                    ttl: Some("1h".to_owned()),
                }),
                Part::Image {
                    media: Media::Url("https://x/y.png".to_owned()),
                    detail: Some("low".to_owned()),
                },
                Part::Image {
                    media: inline("image/png", "iVBORw0KGgo="),
                    detail: None,
                },
                Part::Audio {
                    data: "UklG".to_owned(),
                    format: "wav".to_owned(),
                },
                Part::Document {
                    media: inline("application/pdf", "JVBE"),
                    name: Some("a.pdf".to_owned()),
                },
            ],
        ),
        (
            Role::Assistant,
            vec![thought("hm"), call("c1", "f", "{\"a\": 1}"), call("c2", "g", "")],
        ),
        (Role::User, vec![result("c1", "r1"), result("c2", "r2")]),
        (Role::User, texts("")),
        (Role::Assistant, vec![Part::Text("a".to_owned()), Part::Refusal("no".to_owned())]),
        (Role::Assistant, vec![Part::Refusal("never".to_owned())]),
    ];
    let read: Vec<_> = request.messages.into_iter().map(|message| (message.role, message.parts)).collect();
    assert_eq!(read, expected);
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    for (fields, place) in [
        (r#""temperature":"hot""#, "temperature"),
        (r#""max_tokens":"many""#, "max_tokens"),
        (r#""max_tokens":-1"#, "max_tokens"),
        (r#""n":0"#, "n"),
        (r#""stop":7"#, "stop"),
        (r#""stop":["a",7]"#, "stop"),
        (r#""stream":"yes""#, "stream"),
        (r#""tools":{}"#, "tools"),
        (r#""tools":[{"type":"function"}]"#, "tools[0].function"),
        (r#""tools":[{"type":"function","function":{}}]"#, "tools[0].function.name"),
        (
            r#""tools":[{"type":"function","function":{"name":"f","parameters":[]}}]"#,
            "tools[0].function.parameters",
        ),
        (r#""tool_choice":"maybe""#, "tool_choice"),
        (r#""tool_choice":{"type":"function"}"#, "tool_choice.function"),
        (r#""response_format":{"type":"xml"}"#, "response_format.type"),
        (r#""response_format":{"type":"json_schema"}"#, "response_format.json_schema"),
        (
            r#""response_format":{"type":"json_schema","json_schema":{"name":"x"}}"#,
            "response_format.json_schema.schema",
        ),
        (r#""seed":1,"seed":2"#, "seed"),
    ] {
        assert_eq!(refused(&with(fields)), (Some(place.to_owned()), false), "{fields}");
    }
    for (messages, place) in [
        ("7", "messages"),
        ("[7]", "messages[0]"),
        ("[{}]", "messages[0].role"),
        (r#"[{"role":"poet","content":"x"}]"#, "messages[0].role"),
        (r#"[{"role":"user"}]"#, "messages[0].content"),
        (r#"[{"role":"user","content":7}]"#, "messages[0].content"),
        (r#"[{"role":"user","content":[7]}]"#, "messages[0].content[0]"),
        (r#"[{"role":"user","content":[{"type":"text"}]}]"#, "messages[0].content[0].text"),
        (
            r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png,raw"}}]}]"#,
            "messages[0].content[0].image_url.url",
        ),
        (
            r#"[{"role":"user","content":[{"type":"file","file":{"file_data":"JVBE"}}]}]"#,
            "messages[0].content[0].file.file_data",
        ),
        (r#"[{"role":"tool","content":"x"}]"#, "messages[0].tool_call_id"),
        (
            r#"[{"role":"assistant","tool_calls":[{"id":"c","type":"function"}]}]"#,
            "messages[0].tool_calls[0].function",
        ),
    ] {
        assert_eq!(
            refused(&format!(r#"{{"model":"m","messages":{messages}}}"#)),
            (Some(place.to_owned()), false),
            "{messages}"
        );
    }
    assert_eq!(refused(r#"{"model":"m"}"#), (Some("messages".to_owned()), false));
    assert_eq!(refused("[]"), (None, false));
}

#[test]
fn what_would_change_the_answer_is_refused_by_name() {
    for (fields, place) in [
        (r#""functions":[]"#, "functions"),
        (r#""function_call":"auto""#, "function_call"),
        (r#""logprobs":true"#, "logprobs"),
        (r#""top_logprobs":2"#, "top_logprobs"),
        (r#""logit_bias":{"50256":-100}"#, "logit_bias"),
        (r#""modalities":["text","audio"]"#, "modalities"),
        (r#""audio":{"voice":"alloy","format":"wav"}"#, "audio"),
        (r#""web_search_options":{}"#, "web_search_options"),
        (r#""guided_json":{}"#, "guided_json"),
        (r#""tools":[{"type":"custom","custom":{"name":"f"}}]"#, "tools[0].type"),
        (
            r#""tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}}"#,
            "tool_choice.type",
        ),
        (r#""messages":[{"role":"function","name":"f","content":"x"}]"#, "messages[0].role"),
        (
            r#""messages":[{"role":"assistant","function_call":{"name":"f","arguments":""}}]"#,
            "messages[0].function_call",
        ),
        (r#""messages":[{"role":"assistant","audio":{"id":"a"}}]"#, "messages[0].audio"),
        (
            r#""messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]}]"#,
            "messages[0].content[0].file.file_id",
        ),
        (
            r#""messages":[{"role":"user","content":[{"type":"video_url","video_url":{}}]}]"#,
            "messages[0].content[0].type",
        ),
    ] {
        let body = if fields.starts_with(r#""messages"#) {
            format!(r#"{{"model":"m",{fields}}}"#)
        } else {
            with(fields)
        };
        assert_eq!(refused(&body), (Some(place.to_owned()), true), "{fields}");
    }
}

#[test]
fn what_is_harmless_is_left_out_by_name() {
    let (_, lost) = read(
        r#"{"model":"m","metadata":{"a":"b"},"store":true,"service_tier":"flex","safety_identifier":"x","prompt_cache_key":"k","verbosity":"low",
        "prediction":{"type":"content","content":"x"},"frobnicate":1,"stream_options":{"include_obfuscation":false},"nothing":null,
        "messages":[{"role":"user","name":"bob","content":[{"type":"text","text":"x","odd":1}]}]}"#,
    );
    let mut names = lost.fields().to_vec();
    names.sort();
    let expected = [
        "frobnicate",
        "messages[0].content[0].odd",
        "messages[0].name",
        "metadata",
        "prediction",
        "prompt_cache_key",
        "safety_identifier",
        "service_tier",
        "store",
        "stream_options.include_obfuscation",
        "verbosity",
    ];
    assert_eq!(names, expected);
}
