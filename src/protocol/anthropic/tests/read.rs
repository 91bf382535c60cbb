//! Requests of clients.

use proptest::prelude::*;

use super::super::super::chat::{CachePoint, Format, Json, Media, Message, Part, Reasoning, Request, Role, Tool, ToolChoice, Unfit};
use super::super::{count_tokens, read_request};

fn read(body: &str) -> (Request, Vec<String>) {
    let (request, lost) = read_request(body.as_bytes()).unwrap_or_else(|e| panic!("{e}: {body}"));
    (request, lost.fields().to_vec())
}

/// A request with these fields beside what must be there.
fn with(fields: &str) -> String {
    format!(r#"{{"model":"m","max_tokens":10,"messages":[{{"role":"user","content":"Hi"}}],{fields}}}"#)
}

/// A request with this block in a message of this role.
fn saying(role: &str, block: &str) -> String {
    format!(r#"{{"model":"m","max_tokens":10,"messages":[{{"role":"{role}","content":[{block}]}}]}}"#)
}

#[test]
fn a_request_of_a_coding_assistant_is_read_whole() {
    let (request, lost) = read(
        r#"{"model":"assistant","max_tokens":32000,"stream":true,"temperature":1,"top_p":0.5,"top_k":40,"stop_sequences":["\n\nHuman:"],
        "system":[{"type":"text","text":"You are."},{"type":"text","text":"Rules.","cache_control":{"type":"ephemeral","ttl":"1h"}}],
        "messages":[
            {"role":"user","content":"Look."},
            {"role":"assistant","content":[{"type":"thinking","thinking":"Hm.","signature":"c2Vh"},{"type":"redacted_thinking","data":"Emw"},
                {"type":"text","text":"I look."},{"type":"tool_use","id":"toolu_1","name":"look","input":{"z": 1.0,"a":9007199254740993}}]},
            {"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","is_error":true,"content":[{"type":"text","text":"No."},
                {"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBO"}}],"cache_control":{"type":"ephemeral"}},
                {"type":"text","text":"Again."}]},
            {"role":"system","content":"In French."}],
        "tools":[{"name":"look","description":"Looks.","input_schema":{"type":"object", "properties":{}},"strict":true},
            {"type":"custom","name":"b","input_schema":{},"cache_control":{"type":"ephemeral"}}],
        "tool_choice":{"type":"auto","disable_parallel_tool_use":true},
        "thinking":{"type":"adaptive"},"output_config":{"effort":"high","format":{"type":"json_schema","schema":{"b":1, "a":2}}},
        "metadata":{"user_id":"user_1"}}"#,
    );
    assert_eq!(lost, [""; 0]);
    let parts = |role, parts| Message { role, parts };
    let text = |text: &str| Part::Text(text.to_owned());
    let point = |ttl: Option<&str>| {
        Part::CachePoint(CachePoint {
            ttl: ttl.map(str::to_owned),
        })
    };
    let expected = Request {
        messages: vec![
            parts(Role::System, vec![text("You are."), text("Rules."), point(Some("1h"))]),
            parts(Role::User, vec![text("Look.")]),
            parts(
                Role::Assistant,
                vec![
                    Part::Reasoning {
                        text: "Hm.".to_owned(),
                        signature: Some("c2Vh".to_owned()),
                    },
                    Part::RedactedReasoning("Emw".to_owned()),
                    text("I look."),
                    Part::ToolCall {
                        id: "toolu_1".to_owned(),
                        name: "look".to_owned(),
                        arguments: r#"{"z": 1.0,"a":9007199254740993}"#.to_owned(),
                    },
                ],
            ),
            parts(
                Role::User,
                vec![
                    Part::ToolResult {
                        id: "toolu_1".to_owned(),
                        parts: vec![
                            text("No."),
                            Part::Image {
                                media: Media::Inline {
                                    media_type: "image/png".to_owned(),
                                    data: "iVBO".to_owned(),
                                },
                                detail: None,
                            },
                        ],
                        is_error: true,
                    },
                    point(None),
                    text("Again."),
                ],
            ),
            parts(Role::System, vec![text("In French.")]),
        ],
        tools: vec![
            Tool {
                name: "look".to_owned(),
                description: Some("Looks.".to_owned()),
                parameters: Some(Json::parse(r#"{"type":"object", "properties":{}}"#).unwrap()),
                strict: Some(true),
                cache: None,
            },
            Tool {
                name: "b".to_owned(),
                description: None,
                parameters: Some(Json::parse("{}").unwrap()),
                strict: None,
                cache: Some(CachePoint::default()),
            },
        ],
        tool_choice: Some(ToolChoice::Auto),
        parallel_tool_calls: Some(false),
        max_tokens: Some(32000),
        temperature: Some(1.into()),
        top_p: serde_json::Number::from_f64(0.5),
        top_k: Some(40.into()),
        stop: vec!["\n\nHuman:".to_owned()],
        format: Format::JsonSchema {
            name: None,
            description: None,
            schema: Json::parse(r#"{"b":1, "a":2}"#).unwrap(),
            strict: Some(true),
        },
        reasoning: Some(Reasoning::Effort("high".to_owned())),
        user: Some("user_1".to_owned()),
        stream: true,
        ..Request::default()
    };
    assert_eq!(request, expected);
}

#[test]
fn thinking_is_read_in_all_its_forms() {
    for (fields, reasoning, lost) in [
        (
            r#""thinking":{"type":"enabled","budget_tokens":2048}"#,
            Some(Reasoning::Budget(2048)),
            vec![],
        ),
        (r#""thinking":{"type":"disabled"}"#, Some(Reasoning::Off), vec![]),
        (
            r#""thinking":{"type":"adaptive","display":"omitted"}"#,
            Some(Reasoning::Adaptive),
            vec!["thinking.display"],
        ),
        (
            r#""thinking":{"type":"between_tools"}"#,
            Some(Reasoning::Off),
            vec!["thinking.type"],
        ),
        (
            r#""thinking":{"type":"disabled"},"output_config":{"effort":"low"}"#,
            Some(Reasoning::Off),
            vec!["output_config.effort"],
        ),
        (
            r#""output_config":{"effort":"max"}"#,
            Some(Reasoning::Effort("max".to_owned())),
            vec![],
        ),
        (
            r#""output_config":{"effort":null,"task_budget":{"type":"tokens"}}"#,
            None,
            vec!["output_config.task_budget"],
        ),
        (r#""thinking":null"#, None, vec![]),
    ] {
        let (request, noted) = read(&with(fields));
        assert_eq!(
            (request.reasoning, noted),
            (reasoning, lost.iter().map(ToString::to_string).collect()),
            "{fields}"
        );
    }
}

#[test]
fn hints_are_lost_by_name() {
    let (_, lost) = read(&with(
        r#""service_tier":"auto","context_management":{"edits":[]},"speed":"fast","metadata":{"user_id":null},
        "tools":[{"name":"a","input_schema":{},"eager_input_streaming":true,"defer_loading":true,"input_examples":[{}],"allowed_callers":["direct"]}]"#,
    ));
    assert_eq!(
        lost,
        [
            "tools[0].defer_loading",
            "tools[0].eager_input_streaming",
            "tools[0].input_examples",
            "context_management",
            "service_tier",
            "speed"
        ]
    );
}

#[test]
fn hints_about_pictures_and_citations_of_earlier_answers_are_lost_by_their_place() {
    let image = r#"{"type":"image","source":{"type":"url","url":"u"},"transformations":{}}"#;
    assert_eq!(read(&saying("user", image)).1, ["messages[0].content[0].transformations"]);
    let cited = r#"{"type":"text","text":"a","citations":[{"type":"char_location"}]},{"type":"text","text":"a","citations":null}"#;
    assert_eq!(read(&saying("assistant", cited)).1, ["messages[0].content[0].citations"]);
}

#[test]
fn tool_choices_are_read() {
    for (choice, expected) in [
        (r#"{"type":"auto"}"#, ToolChoice::Auto),
        (r#"{"type":"any"}"#, ToolChoice::Required),
        (r#"{"type":"none"}"#, ToolChoice::None),
        (r#"{"type":"tool","name":"a"}"#, ToolChoice::Tool("a".to_owned())),
    ] {
        assert_eq!(read(&with(&format!(r#""tool_choice":{choice}"#))).0.tool_choice, Some(expected));
    }
}

#[test]
fn documents_are_read_from_every_source() {
    for (source, media) in [
        (
            r#"{"type":"url","url":"https://example.com/a.pdf"}"#,
            Media::Url("https://example.com/a.pdf".to_owned()),
        ),
        (
            r#"{"type":"base64","media_type":"application/pdf","data":"JVBE"}"#,
            Media::Inline {
                media_type: "application/pdf".to_owned(),
                data: "JVBE".to_owned(),
            },
        ),
        (
            r#"{"type":"text","media_type":"text/plain","data":"Hé"}"#,
            Media::Inline {
                media_type: "text/plain".to_owned(),
                data: "SMOp".to_owned(),
            },
        ),
        (
            r#"{"type":"content","content":[{"type":"text","text":"Hé"}]}"#,
            Media::Inline {
                media_type: "text/plain".to_owned(),
                data: "SMOp".to_owned(),
            },
        ),
    ] {
        let block = format!(r#"{{"type":"document","source":{source},"title":"a","context":"Of old.","citations":{{"enabled":false}}}}"#);
        let document = Part::Document {
            media,
            name: Some("a".to_owned()),
        };
        let parts = &read(&saying("user", &block)).0.messages[0].parts;
        assert_eq!(parts, &[Part::Text("Of old.".to_owned()), document], "{source}");
    }
}

#[test]
fn a_point_for_caches_of_the_whole_request_stands_at_its_end() {
    let (request, _) = read(&with(r#""cache_control":{"type":"ephemeral"}"#));
    assert_eq!(request.messages[0].parts[1], Part::CachePoint(CachePoint::default()));
}

#[test]
fn what_only_anthropic_has_is_refused_by_its_place() {
    for (body, field) in [
        (
            with(r#""tools":[{"name":"a","input_schema":{}},{"type":"web_search_20250305","name":"web_search"}]"#),
            "tools[1]",
        ),
        (with(r#""tools":[{"type":"bash_20250124","name":"bash"}]"#), "tools[0]"),
        (
            with(r#""tools":[{"name":"a","allowed_callers":["code_execution_20250825"]}]"#),
            "tools[0].allowed_callers",
        ),
        (with(r#""mcp_servers":[{"type":"url"}]"#), "mcp_servers"),
        (with(r#""container":"c""#), "container"),
        (with(r#""inference_geo":"us""#), "inference_geo"),
        (
            saying("user", r#"{"type":"container_upload","file_id":"f"}"#),
            "messages[0].content[0]",
        ),
        (
            saying("user", r#"{"type":"search_result","source":"s","title":"t","content":[]}"#),
            "messages[0].content[0]",
        ),
        (
            saying("user", r#"{"type":"image","source":{"type":"file","file_id":"f"}}"#),
            "messages[0].content[0].source",
        ),
        (
            saying(
                "user",
                r#"{"type":"document","source":{"type":"url","url":"u"},"citations":{"enabled":true}}"#,
            ),
            "messages[0].content[0].citations",
        ),
        (
            saying(
                "user",
                r#"{"type":"tool_result","tool_use_id":"i","content":[{"type":"tool_reference","tool_name":"a"}]}"#,
            ),
            "messages[0].content[0].content[0]",
        ),
        (r#"{"model":"m","max_tokens":0,"messages":[]}"#.to_owned(), "max_tokens"),
    ] {
        match read_request(body.as_bytes()) {
            Err(Unfit::Unsupported(unsupported)) => assert_eq!(unsupported.field, field, "{body}"),
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn what_is_no_request_is_told_with_its_field() {
    for (body, field) in [
        (String::new(), None),
        ("[]".to_owned(), None),
        ("{".to_owned(), None),
        (r#"{"model":"m","max_tokens":1}"#.to_owned(), Some("messages")),
        (r#"{"model":"m","max_tokens":1,"messages":"hi"}"#.to_owned(), Some("messages")),
        (r#"{"model":"m","messages":[]}"#.to_owned(), Some("max_tokens")),
        (r#"{"model":"m","max_tokens":"many","messages":[]}"#.to_owned(), Some("max_tokens")),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"tool","content":"a"}]}"#.to_owned(),
            Some("messages[0].role"),
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user"}]}"#.to_owned(),
            Some("messages[0].content"),
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":7}]}"#.to_owned(),
            Some("messages[0].content"),
        ),
        (saying("user", r#"{"text":"a"}"#), Some("messages[0].content[0].type")),
        (saying("user", r#"{"type":"text"}"#), Some("messages[0].content[0].text")),
        (
            saying("user", r#"{"type":"image","source":{"type":"base64","data":"a"}}"#),
            Some("messages[0].content[0].source"),
        ),
        (with(r#""tools":[{"input_schema":{}}]"#), Some("tools[0].name")),
        (with(r#""tool_choice":{"type":"tool"}"#), Some("tool_choice")),
        (with(r#""thinking":{"type":"enabled"}"#), Some("thinking.budget_tokens")),
        (with(r#""temperature":"warm""#), Some("temperature")),
        (
            with(r#""output_config":{"format":{"type":"json_schema"}}"#),
            Some("output_config.format"),
        ),
    ] {
        match read_request(body.as_bytes()) {
            Err(Unfit::Unreadable(unreadable)) => assert_eq!(unreadable.field.as_deref(), field, "{body}: {unreadable}"),
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn a_request_that_is_counted_needs_no_limit() {
    let (request, lost) = count_tokens::read_request(br#"{"model":"m","system":"S","messages":[{"role":"user","content":"Hi"}]}"#).unwrap();
    assert_eq!((request.max_tokens, request.messages.len(), lost.is_empty()), (None, 2, true));
}

proptest! {
    #[test]
    fn no_body_makes_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_request(&body).is_ok();
    }

    #[test]
    fn no_half_of_a_request_makes_the_reader_panic(
        cut in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut body = saying("assistant", r#"{"type":"tool_use","id":"i","name":"n","input":{"a":[1,{"b":null}]}},{"type":"thinking","thinking":"\u00e9"}"#).into_bytes();
        let at = cut.index(body.len());
        body[at] = byte;
        let _ = read_request(&body).is_ok();
        let _ = read_request(&body[..at]).is_ok();
    }
}
