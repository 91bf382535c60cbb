use super::*;
use crate::protocol::chat::{CachePoint, Json, Media, Message, Reasoning, Role};
use proptest::prelude::*;
use serde_json::{Value, json};

mod fit;
mod thoughts;

const CLAUDE: &str = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0";
const NEW_CLAUDE: &str = "anthropic.claude-opus-5";
const NOVA: &str = "amazon.nova-lite-v1:0";
const LLAMA: &str = "us.meta.llama3-3-70b-instruct-v1:0";

fn write(request: &Request, model: &str) -> (Value, Vec<String>) {
    let (body, lost) = write_request(request, model).unwrap();
    (serde_json::from_slice(&body).unwrap(), lost.fields().to_vec())
}

fn refusal(request: &Request) -> String {
    write_request(request, CLAUDE).unwrap_err().to_string()
}

fn of(messages: Vec<Message>) -> Request {
    Request {
        messages,
        ..Request::default()
    }
}

fn hello() -> Request {
    of(vec![Message::text(Role::User, "Hello")])
}

fn says(role: Role, parts: Vec<Part>) -> Message {
    Message { role, parts }
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn inline(media_type: &str) -> Media {
    Media::Inline {
        media_type: media_type.to_owned(),
        data: "aGk=".to_owned(),
    }
}

fn call(id: &str, arguments: &str) -> Part {
    Part::ToolCall {
        id: id.to_owned(),
        name: "top_song".to_owned(),
        arguments: arguments.to_owned(),
    }
}

fn result(id: &str, parts: Vec<Part>, is_error: bool) -> Part {
    Part::ToolResult {
        id: id.to_owned(),
        parts,
        is_error,
    }
}

fn tool() -> Tool {
    Tool {
        name: "top_song".to_owned(),
        description: Some("Most played".to_owned()),
        parameters: Some(Json::parse(r#"{"type": "object", "z": 1.0, "a": 9007199254740993}"#).unwrap()),
        strict: None,
        cache: None,
    }
}

fn number(text: &str) -> Option<Number> {
    Some(serde_json::from_str(text).unwrap())
}

#[test]
fn a_whole_request_is_written_as_the_reference_has_it() {
    let request = Request {
        messages: vec![
            says(
                Role::System,
                vec![
                    text("Be brief."),
                    Part::CachePoint(CachePoint {
                        ttl: Some("1h".to_owned()),
                    }),
                ],
            ),
            says(
                Role::User,
                vec![
                    text("What is it?"),
                    Part::Image {
                        media: inline("image/jpeg"),
                        detail: None,
                    },
                ],
            ),
            says(
                Role::Assistant,
                vec![
                    Part::Reasoning {
                        text: "Hm.".to_owned(),
                        signature: Some("EqQB".to_owned()),
                    },
                    Part::RedactedReasoning("c2VjcmV0".to_owned()),
                    text("I'll look."),
                    call("tooluse_1", r#"{"sign":"WZPZ","n":1.0}"#),
                ],
            ),
            says(
                Role::User,
                vec![result(
                    "tooluse_1",
                    vec![
                        text("none"),
                        Part::Image {
                            media: inline("image/png"),
                            detail: None,
                        },
                    ],
                    true,
                )],
            ),
            says(Role::User, vec![text("And now?"), Part::CachePoint(CachePoint::default())]),
        ],
        tools: vec![
            Tool {
                strict: Some(true),
                cache: Some(CachePoint::default()),
                ..tool()
            },
            Tool {
                description: None,
                parameters: None,
                ..tool()
            },
        ],
        tool_choice: Some(ToolChoice::Tool("top_song".to_owned())),
        max_tokens: Some(512),
        temperature: number("0.5"),
        top_k: number("40"),
        stop: vec!["END".to_owned()],
        format: Format::JsonSchema {
            name: Some("song".to_owned()),
            description: None,
            schema: Json::parse(r#"{"type": "object"}"#).unwrap(),
            strict: Some(true),
        },
        user: Some("user-1".to_owned()),
        choices: Some(1),
        ..Request::default()
    };
    let (body, lost) = write_request(&request, CLAUDE).unwrap();
    let expected = concat!(
        r#"{"system":[{"text":"Be brief."},{"cachePoint":{"type":"default","ttl":"1h"}}],"messages":["#,
        r#"{"role":"user","content":[{"text":"What is it?"},{"image":{"format":"jpeg","source":{"bytes":"aGk="}}}]},"#,
        r#"{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"Hm.","signature":"EqQB"}}},"#,
        r#"{"reasoningContent":{"redactedContent":"c2VjcmV0"}},{"text":"I'll look."},"#,
        r#"{"toolUse":{"toolUseId":"tooluse_1","name":"top_song","input":{"sign":"WZPZ","n":1.0}}}]},"#,
        r#"{"role":"user","content":[{"toolResult":{"toolUseId":"tooluse_1","content":[{"text":"none"},"#,
        r#"{"image":{"format":"png","source":{"bytes":"aGk="}}}],"status":"error"}},{"text":"And now?"},{"cachePoint":{"type":"default"}}]}],"#,
        r#""inferenceConfig":{"maxTokens":512,"temperature":0.5,"stopSequences":["END"]},"#,
        r#""toolConfig":{"tools":[{"toolSpec":{"name":"top_song","description":"Most played","#,
        r#""inputSchema":{"json":{"type": "object", "z": 1.0, "a": 9007199254740993}},"strict":true}},{"cachePoint":{"type":"default"}},"#,
        r#"{"toolSpec":{"name":"top_song","inputSchema":{"json":{"type":"object","properties":{}}}}}],"toolChoice":{"tool":{"name":"top_song"}}},"#,
        r#""outputConfig":{"textFormat":{"type":"json_schema","structure":{"jsonSchema":{"schema":"{\"type\": \"object\"}","name":"song"}}}},"#,
        r#""additionalModelRequestFields":{"top_k":40},"additionalModelResponseFieldPaths":["/stop_sequence"],"requestMetadata":{"user":"user-1"}}"#,
    );
    assert_eq!(String::from_utf8(body).unwrap(), expected);
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn a_short_request_is_short() {
    let (body, lost) = write_request(&hello(), LLAMA).unwrap();
    assert_eq!(
        String::from_utf8(body).unwrap(),
        r#"{"messages":[{"role":"user","content":[{"text":"Hello"}]}]}"#
    );
    assert!(lost.is_empty());
}

#[test]
fn turns_alternate_and_empty_texts_are_nothing() {
    let request = of(vec![
        Message::text(Role::User, "a"),
        Message::text(Role::Assistant, " \n"),
        Message::text(Role::User, "b"),
        says(Role::Assistant, vec![text(""), text("c")]),
        Message::text(Role::System, "d"),
        says(Role::Assistant, vec![Part::Refusal("e".to_owned())]),
        says(Role::User, vec![]),
    ]);
    let expected = json!({
        "system": [{ "text": "d" }],
        "messages": [
            { "role": "user", "content": [{ "text": "a" }, { "text": "b" }] },
            { "role": "assistant", "content": [{ "text": "c" }, { "text": "e" }] },
        ],
    });
    assert_eq!(write(&request, NOVA), (expected, vec!["messages[4].role".to_owned()]));
}

#[test]
fn documents_have_a_format_and_names_of_their_own() {
    let document = |name: Option<&str>| Part::Document {
        media: inline("application/pdf"),
        name: name.map(str::to_owned),
    };
    let request = of(vec![
        says(Role::User, vec![text("Compare."), document(Some("a.pdf")), document(Some("a.pdf"))]),
        says(Role::Assistant, vec![call("1", "")]),
        says(Role::User, vec![result("1", vec![document(None), text(" ")], false)]),
    ]);
    let (body, _) = write(
        &Request {
            tools: vec![tool()],
            ..request
        },
        CLAUDE,
    );
    let written = |name: &str| json!({ "document": { "format": "pdf", "name": name, "source": { "bytes": "aGk=" } } });
    assert_eq!(
        body["messages"][0]["content"],
        json!([{ "text": "Compare." }, written("a"), written("a 2")])
    );
    assert_eq!(
        body["messages"][1]["content"],
        json!([{ "toolUse": { "toolUseId": "1", "name": "top_song", "input": {} } }])
    );
    let expected = json!([{ "toolResult": { "toolUseId": "1", "content": [written("document")] } }]);
    assert_eq!(body["messages"][2]["content"], expected);
}

#[test]
fn a_call_and_its_result_keep_together_under_an_id_that_bedrock_takes() {
    let long = "fc_".to_owned() + &"x".repeat(80);
    for (id, is_kept) in [
        ("call_aB3.:-_", true),
        (long.as_str(), false),
        ("", false),
        ("id with spaces", false),
        ("é", false),
    ] {
        let request = of(vec![
            Message::text(Role::User, "Look."),
            says(Role::Assistant, vec![call(id, "{}")]),
            says(Role::User, vec![result(id, vec![], false)]),
        ]);
        let (body, _) = write(
            &Request {
                tools: vec![tool()],
                ..request
            },
            CLAUDE,
        );
        let called = body["messages"][1]["content"][0]["toolUse"]["toolUseId"].as_str().unwrap();
        assert_eq!(body["messages"][2]["content"][0]["toolResult"]["toolUseId"], called);
        assert_eq!((called == id, (1..=64).contains(&called.len())), (is_kept, true), "{id}");
    }
}

#[test]
fn forbidden_tools_are_left_out_where_none_was_called() {
    let request = Request {
        tools: vec![tool()],
        tool_choice: Some(ToolChoice::None),
        ..hello()
    };
    let (body, lost) = write(&request, CLAUDE);
    assert_eq!((body.get("toolConfig"), lost.len()), (None, 0));
    for (choice, expected) in [
        (None, Value::Null),
        (Some(ToolChoice::Auto), json!({ "auto": {} })),
        (Some(ToolChoice::Required), json!({ "any": {} })),
    ] {
        let (body, _) = write(
            &Request {
                tools: vec![tool()],
                tool_choice: choice,
                ..hello()
            },
            CLAUDE,
        );
        assert_eq!(body["toolConfig"]["toolChoice"], expected);
    }
}

fn any_part() -> impl Strategy<Value = Part> {
    let words = "[a {\"}é]{0,4}";
    let leaf = prop_oneof![
        words.prop_map(Part::Text),
        words.prop_map(Part::Refusal),
        Just(Part::CachePoint(CachePoint::default())),
        words.prop_map(Part::RedactedReasoning),
        (words, prop::option::of(words)).prop_map(|(text, signature)| Part::Reasoning { text, signature }),
        prop::sample::select(vec!["image/png", "application/pdf"]).prop_map(|kind| Part::Image {
            media: inline(kind),
            detail: None
        }),
        prop::option::of(words).prop_map(|name| Part::Document {
            media: inline("text/plain"),
            name
        }),
        (words, words).prop_map(|(id, arguments)| call(&id, &arguments)),
    ];
    let results = prop::collection::vec(leaf.clone(), 0..3).prop_map(|parts| result("1", parts, true));
    prop_oneof![4 => leaf, 1 => results]
}

proptest! {
    #[test]
    fn whatever_is_written_is_json_in_turns_of_the_user_and_the_model(
        messages in prop::collection::vec((0..3usize, prop::collection::vec(any_part(), 0..4)), 0..6),
        model in prop::sample::select(vec![CLAUDE, NEW_CLAUDE, NOVA, LLAMA]),
        effort in prop::option::of("[a-z]{0,4}"),
    ) {
        let role = |index: usize| [Role::System, Role::User, Role::Assistant][index];
        let messages = messages.into_iter().map(|(index, parts)| says(role(index), parts)).collect();
        let request = Request { messages, tools: vec![tool()], reasoning: effort.map(Reasoning::Effort), ..Request::default() };
        if let Ok((body, _)) = write_request(&request, model) {
            let body: Value = serde_json::from_slice(&body).unwrap();
            for (turn, index) in body["messages"].as_array().unwrap().iter().zip(0..) {
                prop_assert_eq!(&turn["role"], ["user", "assistant"][index % 2]);
                prop_assert!(!turn["content"].as_array().unwrap().is_empty());
            }
        }
    }
}
