//! Requests for models.

use serde_json::{Number, Value};

use super::super::super::chat::{
    CachePoint, Format, Json, Lost, Media, Message, Part, Reasoning, Request, Role, Tool, ToolChoice, Unsupported,
};
use super::super::write_request;
use super::json;

const MODEL: &str = "claude-sonnet-4-5";

fn asking(parts: Vec<(Role, Vec<Part>)>) -> Request {
    let message = |(role, parts)| Message { role, parts };
    Request {
        messages: parts.into_iter().map(message).collect(),
        ..Request::default()
    }
}

fn hi() -> Request {
    asking(vec![(Role::User, vec![text("Hi")])])
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn point(ttl: Option<&str>) -> Part {
    Part::CachePoint(CachePoint {
        ttl: ttl.map(str::to_owned),
    })
}

fn call(id: &str, arguments: &str) -> Part {
    Part::ToolCall {
        id: id.to_owned(),
        name: "look".to_owned(),
        arguments: arguments.to_owned(),
    }
}

fn result(id: &str) -> Part {
    Part::ToolResult {
        id: id.to_owned(),
        parts: vec![text("42")],
        is_error: false,
    }
}

fn tool() -> Tool {
    Tool {
        name: "look".to_owned(),
        description: None,
        parameters: None,
        strict: None,
        cache: None,
    }
}

fn number(value: f64) -> Option<Number> {
    Number::from_f64(value)
}

fn write(request: &Request, model: &str) -> (Value, Vec<String>) {
    let (body, lost): (Vec<u8>, Lost) = write_request(request, model, 4096).unwrap();
    (json(&body), lost.fields().to_vec())
}

fn refused(request: &Request, model: &str) -> String {
    let unsupported: Unsupported = write_request(request, model, 4096).unwrap_err();
    unsupported.field
}

#[test]
fn the_least_request_has_what_anthropic_demands_and_nothing_else() {
    let (body, lost) = write(&hi(), MODEL);
    let expected = serde_json::json!({
        "model": MODEL, "max_tokens": 4096, "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    });
    assert_eq!((body, lost.len()), (expected, 0));
}

#[test]
fn turns_are_merged_results_come_first_and_ids_are_in_letters_that_are_taken() {
    let request = asking(vec![
        (Role::System, vec![text("A"), text(""), point(Some("1h"))]),
        (Role::System, vec![text("B")]),
        (Role::User, vec![text("1")]),
        (Role::User, vec![text("2")]),
        (
            Role::Assistant,
            vec![text(""), call("functions.look:0", r#"{"z": 1.0,"a":9007199254740993}"#)],
        ),
        (Role::Assistant, vec![call("b", "")]),
        (Role::User, vec![text("And?"), result("functions.look:0"), point(None)]),
        (Role::User, vec![result("b")]),
    ]);
    let (bytes, lost) = write_request(&request, MODEL, 4096).unwrap();
    assert!(lost.is_empty(), "{lost:?}");
    let expected = r#"{"model":"claude-sonnet-4-5","max_tokens":4096,"system":[{"type":"text","text":"A","cache_control":{"type":"ephemeral","ttl":"1h"}},{"type":"text","text":"B"}],"messages":[{"role":"user","content":[{"type":"text","text":"1"},{"type":"text","text":"2"}]},{"role":"assistant","content":[{"type":"tool_use","id":"functions_look_0","name":"look","input":{"z": 1.0,"a":9007199254740993}},{"type":"tool_use","id":"b","name":"look","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"functions_look_0","content":[{"type":"text","text":"42"}],"cache_control":{"type":"ephemeral"}},{"type":"tool_result","tool_use_id":"b","content":[{"type":"text","text":"42"}]},{"type":"text","text":"And?"}]}]}"#;
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[test]
fn instructions_between_messages_stay_where_a_model_takes_them() {
    let request = |rest: &[(Role, &str)]| {
        let rest = rest.iter().map(|(role, words)| (*role, vec![text(words)]));
        asking([(Role::User, vec![text("u")])].into_iter().chain(rest).collect())
    };
    let outline = |(body, lost): (Value, Vec<String>)| {
        let of = |message: &Value| message["role"].as_str().unwrap()[..1].to_owned();
        let roles: String = body["messages"].as_array().unwrap().iter().map(of).collect();
        (roles, body["system"].as_array().map_or(0, Vec::len), lost)
    };
    let lost = |fields: &[&str]| fields.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (system, user, own) = ((Role::System, "s"), (Role::User, "u"), (Role::Assistant, "a"));
    let capable = "claude-opus-4-8";
    assert_eq!(outline(write(&request(&[system]), capable)), ("us".to_owned(), 0, lost(&[])));
    assert_eq!(
        outline(write(&request(&[system, own, user]), capable)),
        ("usau".to_owned(), 0, lost(&[]))
    );
    assert_eq!(
        outline(write(&request(&[own, system, user]), capable)),
        ("uaus".to_owned(), 0, lost(&["messages[2].role"]))
    );
    assert_eq!(
        outline(write(&request(&[own, system, own, user]), capable)),
        ("uau".to_owned(), 1, lost(&["messages[2].role"]))
    );
    assert_eq!(
        outline(write(&request(&[own, system, user]), MODEL)),
        ("uau".to_owned(), 1, lost(&["messages[2].role"]))
    );
}

#[test]
fn thoughts_go_back_unchanged_if_they_are_sealed() {
    let thought = |signature: Option<&str>| Part::Reasoning {
        text: "Hm.".to_owned(),
        signature: signature.map(str::to_owned),
    };
    let request = |thoughts: Vec<Part>| {
        asking(vec![
            (Role::User, vec![text("Hi")]),
            (Role::Assistant, [thoughts, vec![text("Ho"), point(None)]].concat()),
            (Role::User, vec![text("Ha")]),
        ])
    };
    let (body, lost) = write(
        &request(vec![thought(Some("c2Vh")), Part::RedactedReasoning("Emw".to_owned())]),
        MODEL,
    );
    let expected = serde_json::json!([
        {"type": "thinking", "thinking": "Hm.", "signature": "c2Vh"},
        {"type": "redacted_thinking", "data": "Emw"},
        {"type": "text", "text": "Ho", "cache_control": {"type": "ephemeral"}},
    ]);
    assert_eq!((&body["messages"][1]["content"], lost.len()), (&expected, 0));
    let (body, lost) = write(&request(vec![thought(None)]), MODEL);
    assert_eq!(
        (body["messages"][1]["content"].as_array().unwrap().len(), &lost[..]),
        (1, &["messages[1].content[0]".to_owned()][..])
    );
    let (body, lost) = write(&request(vec![thought(None)]), "qwen3-8b");
    assert_eq!(
        (body["messages"][1]["content"][0]["type"].as_str(), lost.len()),
        (Some("thinking"), 0)
    );
}

#[test]
fn pictures_and_documents_are_written_from_every_source() {
    let inline = |media_type: &str, data: &str| Media::Inline {
        media_type: media_type.to_owned(),
        data: data.to_owned(),
    };
    let document = |media| Part::Document {
        media,
        name: Some("n".to_owned()),
    };
    let parts = vec![
        Part::Image {
            media: Media::Url("https://example.com/a".to_owned()),
            detail: Some("low".to_owned()),
        },
        Part::Image {
            media: inline("image/png", "iVBO"),
            detail: Some("auto".to_owned()),
        },
        document(inline("application/pdf", "JVBE")),
        document(inline("text/markdown", "SMOp")),
        document(Media::Url("https://example.com/b".to_owned())),
    ];
    let (body, lost) = write(&asking(vec![(Role::User, parts)]), MODEL);
    let expected = serde_json::json!([
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}, "title": "n"},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Hé"}, "title": "n"},
        {"type": "document", "source": {"type": "url", "url": "https://example.com/b"}, "title": "n"},
    ]);
    assert_eq!(body["messages"][0]["content"], expected);
    assert_eq!(lost, ["messages[0].content[0].image_url.detail"]);
    for part in [
        Part::Image {
            media: inline("image/tiff", "x"),
            detail: None,
        },
        document(inline("application/zip", "x")),
        document(inline("text/plain", "?")),
        Part::Audio {
            data: "x".to_owned(),
            format: "wav".to_owned(),
        },
        call("a", "{}"),
    ] {
        assert_eq!(refused(&asking(vec![(Role::User, vec![part])]), MODEL), "messages[0].content[0]");
    }
}

#[test]
fn tools_and_their_choice_are_written() {
    let request = |choice, parallel| Request {
        tools: vec![Tool {
            strict: Some(true),
            cache: Some(CachePoint::default()),
            ..tool()
        }],
        tool_choice: choice,
        parallel_tool_calls: parallel,
        ..hi()
    };
    let (body, _) = write(&request(None, None), MODEL);
    let expected = serde_json::json!([{"name": "look", "input_schema": {"type": "object", "properties": {}}, "strict": true,
        "cache_control": {"type": "ephemeral"}}]);
    assert_eq!((&body["tools"], &body["tool_choice"]), (&expected, &Value::Null));
    for (choice, parallel, expected) in [
        (None, Some(false), r#"{"type":"auto","disable_parallel_tool_use":true}"#),
        (Some(ToolChoice::Auto), None, r#"{"type":"auto"}"#),
        (Some(ToolChoice::None), Some(false), r#"{"type":"none"}"#),
        (
            Some(ToolChoice::Required),
            Some(true),
            r#"{"type":"any","disable_parallel_tool_use":false}"#,
        ),
        (Some(ToolChoice::Tool("look".to_owned())), None, r#"{"type":"tool","name":"look"}"#),
    ] {
        assert_eq!(write(&request(choice, parallel), MODEL).0["tool_choice"], json(expected.as_bytes()));
    }
    assert_eq!(write(&request(None, None), "claude-3-haiku-20240307").1, ["tools[0].strict"]);
    assert_eq!(
        refused(&request(Some(ToolChoice::Required), None), "claude-fable-5-1"),
        "tool_choice"
    );
    assert_eq!(
        refused(
            &Request {
                tool_choice: Some(ToolChoice::Required),
                ..hi()
            },
            MODEL
        ),
        "tool_choice"
    );
    assert_eq!(
        write(
            &Request {
                tool_choice: Some(ToolChoice::Auto),
                ..hi()
            },
            MODEL
        )
        .0["tool_choice"],
        Value::Null
    );
}

#[test]
fn how_much_to_think_is_said_as_each_generation_takes_it() {
    let effort = |effort: &str| Reasoning::Effort(effort.to_owned());
    for (model, reasoning, thinking, config, is_lost) in [
        (MODEL, effort("medium"), r#"{"type":"enabled","budget_tokens":5000}"#, "null", false),
        (
            MODEL,
            effort("minimal"),
            r#"{"type":"enabled","budget_tokens":1024}"#,
            "null",
            false,
        ),
        (
            MODEL,
            Reasoning::Budget(2000),
            r#"{"type":"enabled","budget_tokens":2000}"#,
            "null",
            false,
        ),
        (
            MODEL,
            Reasoning::Budget(200),
            r#"{"type":"enabled","budget_tokens":1024}"#,
            "null",
            true,
        ),
        (
            MODEL,
            Reasoning::Budget(20_000),
            r#"{"type":"enabled","budget_tokens":9999}"#,
            "null",
            true,
        ),
        (
            MODEL,
            Reasoning::Adaptive,
            r#"{"type":"enabled","budget_tokens":5000}"#,
            "null",
            true,
        ),
        (MODEL, Reasoning::Off, r#"{"type":"disabled"}"#, "null", false),
        (
            "claude-opus-4-6",
            effort("high"),
            r#"{"type":"adaptive"}"#,
            r#"{"effort":"high"}"#,
            false,
        ),
        (
            "claude-opus-4-6",
            effort("xhigh"),
            r#"{"type":"adaptive"}"#,
            r#"{"effort":"high"}"#,
            true,
        ),
        (
            "claude-opus-4-6",
            Reasoning::Budget(2000),
            r#"{"type":"enabled","budget_tokens":2000}"#,
            "null",
            false,
        ),
        (
            "claude-opus-4-7",
            effort("xhigh"),
            r#"{"type":"adaptive"}"#,
            r#"{"effort":"xhigh"}"#,
            false,
        ),
        (
            "claude-opus-5",
            Reasoning::Budget(2000),
            r#"{"type":"adaptive"}"#,
            r#"{"effort":"low"}"#,
            true,
        ),
        ("claude-sonnet-5", Reasoning::Adaptive, r#"{"type":"adaptive"}"#, "null", false),
        ("claude-sonnet-5", effort("none"), r#"{"type":"disabled"}"#, "null", false),
        ("claude-fable-5", Reasoning::Off, "null", "null", true),
        ("claude-3-5-haiku-20241022", effort("low"), "null", "null", true),
        ("claude-3-5-haiku-20241022", Reasoning::Off, "null", "null", false),
    ] {
        let request = Request {
            reasoning: Some(reasoning.clone()),
            max_tokens: Some(10_000),
            ..hi()
        };
        let (body, lost) = write(&request, model);
        let said = (body["thinking"].clone(), body["output_config"].clone());
        assert_eq!(said, (json(thinking.as_bytes()), json(config.as_bytes())), "{model} {reasoning:?}");
        assert_eq!(lost.contains(&"reasoning_effort".to_owned()), is_lost, "{model} {reasoning:?}");
    }
    assert_eq!(
        refused(
            &Request {
                reasoning: Some(effort("turbo")),
                ..hi()
            },
            MODEL
        ),
        "reasoning_effort"
    );
    assert_eq!(
        refused(
            &Request {
                reasoning: Some(effort("turbo")),
                ..hi()
            },
            "claude-opus-5"
        ),
        "reasoning_effort"
    );
}

#[test]
fn a_budget_leaves_room_for_the_answer() {
    let (body, lost) = write(
        &Request {
            reasoning: Some(Reasoning::Budget(8_000)),
            ..hi()
        },
        MODEL,
    );
    assert_eq!((body["max_tokens"].as_u64(), lost.len()), (Some(12_096), 0));
    let tight = Request {
        reasoning: Some(Reasoning::Budget(8_000)),
        max_tokens: Some(1_000),
        ..hi()
    };
    let (body, lost) = write(&tight, MODEL);
    assert_eq!(
        (body["max_tokens"].as_u64(), &body["thinking"], lost.len()),
        (Some(1_000), &Value::Null, 1)
    );
}

#[test]
fn a_forced_call_and_a_turn_without_thoughts_count_for_more_than_the_wish_to_think() {
    let thinking = |request: Request, model: &str| {
        let (body, lost) = write(
            &Request {
                reasoning: Some(Reasoning::Effort("high".to_owned())),
                tools: vec![tool()],
                ..request
            },
            model,
        );
        (body["thinking"]["type"].as_str().map(str::to_owned), lost)
    };
    let on = |kind: &str| (Some(kind.to_owned()), vec![]);
    let off = (None, vec!["reasoning_effort".to_owned()]);
    let forced = || Request {
        tool_choice: Some(ToolChoice::Required),
        ..hi()
    };
    assert_eq!(thinking(forced(), MODEL), off);
    assert_eq!(thinking(forced(), "claude-opus-4-8"), off);
    let sealed = Part::Reasoning {
        text: "Hm.".to_owned(),
        signature: Some("c2Vh".to_owned()),
    };
    let turn = |own: Vec<Part>, rest: Vec<(Role, Vec<Part>)>| {
        let turn = vec![
            (Role::User, vec![text("Hi")]),
            (Role::Assistant, own),
            (Role::User, vec![result("a")]),
        ];
        asking(turn.into_iter().chain(rest).collect())
    };
    let next = || vec![(Role::Assistant, vec![text("So.")]), (Role::User, vec![text("And?")])];
    assert_eq!(thinking(turn(vec![call("a", "{}")], vec![]), MODEL), off);
    assert_eq!(
        thinking(turn(vec![call("a", "{}")], vec![(Role::User, vec![text("And?")])]), MODEL),
        off
    );
    assert_eq!(thinking(turn(vec![sealed, call("a", "{}")], vec![]), MODEL), on("enabled"));
    assert_eq!(thinking(turn(vec![call("a", "{}")], next()), MODEL), on("enabled"));
    assert_eq!(thinking(turn(vec![call("a", "{}")], vec![]), "claude-opus-4-6"), on("adaptive"));
}

#[test]
fn sampling_is_left_out_where_it_would_be_refused() {
    let think = Some(Reasoning::Effort("low".to_owned()));
    for (model, reasoning, (temperature, top_p, top_k), kept, lost) in [
        (MODEL, None, (Some(0.5), None, Some(40)), "temperature top_k", ""),
        (MODEL, None, (Some(0.5), Some(0.9), None), "temperature", "top_p"),
        (MODEL, None, (Some(1.5), Some(0.9), None), "top_p", "temperature"),
        (
            "claude-3-opus-20240229",
            None,
            (Some(0.5), Some(0.9), None),
            "temperature top_p",
            "",
        ),
        (MODEL, think.clone(), (Some(1.0), None, None), "", ""),
        (
            MODEL,
            think.clone(),
            (Some(0.2), Some(0.96), Some(40)),
            "top_p",
            "temperature top_k",
        ),
        (MODEL, think.clone(), (None, Some(0.5), None), "", "top_p"),
        ("claude-opus-4-7", None, (Some(0.2), Some(1.0), Some(40)), "", "temperature top_k"),
        ("qwen3-8b", think, (Some(1.5), Some(0.5), Some(40)), "temperature top_p top_k", ""),
    ] {
        let request = Request {
            temperature: temperature.and_then(number),
            top_p: top_p.and_then(number),
            top_k: top_k.map(Number::from),
            reasoning,
            ..hi()
        };
        let (body, noted) = write(&request, model);
        let written: Vec<&str> = ["temperature", "top_p", "top_k"]
            .into_iter()
            .filter(|field| !body[field].is_null())
            .collect();
        assert_eq!(
            (written.join(" "), noted.join(" ")),
            (kept.to_owned(), lost.to_owned()),
            "{model} {request:?}"
        );
    }
}

#[test]
fn structured_answers_are_asked_for_without_a_beta_header() {
    let schema = Format::JsonSchema {
        name: Some("n".to_owned()),
        description: None,
        schema: Json::parse(r#"{"type":"object", "additionalProperties":false}"#).unwrap(),
        strict: Some(true),
    };
    let request = Request { format: schema, ..hi() };
    let (bytes, lost) = write_request(&request, MODEL, 4096).unwrap();
    let expected = r#""output_config":{"format":{"type":"json_schema","schema":{"type":"object", "additionalProperties":false}}}"#;
    assert!(String::from_utf8(bytes).unwrap().contains(expected));
    assert_eq!(lost.fields(), ["response_format.json_schema.name"]);
    assert_eq!(refused(&request, "claude-3-7-sonnet-20250219"), "response_format");
    assert_eq!(
        refused(
            &Request {
                format: Format::JsonObject,
                ..hi()
            },
            MODEL
        ),
        "response_format"
    );
}

#[test]
fn what_anthropic_has_no_place_for_is_lost_or_refused() {
    let zero = || Some(Number::from(0));
    let silent = Request {
        presence_penalty: zero(),
        frequency_penalty: zero(),
        choices: Some(1),
        ..hi()
    };
    assert_eq!(write(&silent, MODEL).1, [""; 0]);
    let lossy = Request {
        presence_penalty: number(0.5),
        frequency_penalty: number(-0.5),
        seed: Some(7.into()),
        ..hi()
    };
    assert_eq!(write(&lossy, MODEL).1, ["presence_penalty", "frequency_penalty", "seed"]);
    let kept = Request {
        stop: vec!["###".to_owned()],
        user: Some("u".to_owned()),
        stream: true,
        ..hi()
    };
    let (body, lost) = write(&kept, MODEL);
    assert_eq!(
        (&body["stop_sequences"][0], &body["metadata"]["user_id"], &body["stream"]),
        (&"###".into(), &"u".into(), &true.into())
    );
    assert_eq!(lost, [""; 0]);
    assert_eq!(refused(&Request { choices: Some(2), ..hi() }, MODEL), "n");
    assert_eq!(
        refused(
            &Request {
                stop: vec!["a".to_owned(), "\n".to_owned()],
                ..hi()
            },
            MODEL
        ),
        "stop[1]"
    );
    let blank = Request {
        stop: vec!["\n".to_owned()],
        ..hi()
    };
    assert_eq!(write(&blank, "qwen3-8b").0["stop_sequences"][0], "\n");
}

#[test]
fn conversations_that_anthropic_would_refuse_are_not_sent() {
    let own = || (Role::Assistant, vec![text("a")]);
    let user = || (Role::User, vec![text("u")]);
    assert_eq!(refused(&asking(vec![own(), user()]), MODEL), "messages[0]");
    assert_eq!(refused(&asking(vec![user(), own()]), "claude-opus-4-6"), "messages[1]");
    assert_eq!(refused(&asking(vec![(Role::System, vec![text("s")])]), MODEL), "messages");
    assert_eq!(refused(&asking(vec![]), "qwen3-8b"), "messages");
    assert_eq!(
        write(&asking(vec![user(), own()]), MODEL).0["messages"].as_array().unwrap().len(),
        2
    );
}

#[test]
fn points_for_caches_are_four_at_most() {
    let mut parts = vec![point(None), text("0"), point(Some("2h"))];
    (1..5).for_each(|i| parts.extend([text(&i.to_string()), point(None)]));
    let (body, lost) = write(&asking(vec![(Role::User, parts)]), MODEL);
    let marked = body["messages"][0]["content"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|block| !block["cache_control"].is_null());
    assert_eq!(marked.count(), 4);
    assert_eq!(
        lost,
        ["messages[0].content[0].cache_control", "messages[0].content[4].cache_control"]
    );
}

#[test]
fn broken_arguments_of_earlier_calls_travel_as_a_text() {
    let request = asking(vec![
        (Role::User, vec![text("u")]),
        (Role::Assistant, vec![call("a", r#"{"x":1"#)]),
        (Role::User, vec![result("a")]),
    ]);
    let input = &write(&request, MODEL).0["messages"][1]["content"][0]["input"];
    assert_eq!(input, &serde_json::json!({"INVALID_JSON": r#"{"x":1"#}));
}
