//! What a model or Bedrock does not take: lost by name, or refused.

use super::*;

#[test]
fn what_a_model_does_not_take_is_named_and_not_sent() {
    let sampled = Request {
        temperature: number("0.3"),
        top_p: number("0.9"),
        top_k: number("5"),
        ..hello()
    };
    let thoughtful = Request {
        reasoning: Some(Reasoning::Budget(2048)),
        ..sampled.clone()
    };
    let default = Request {
        temperature: number("1.0"),
        presence_penalty: number("0"),
        frequency_penalty: number("0.0"),
        ..hello()
    };
    let hinted = Request {
        presence_penalty: number("0.5"),
        frequency_penalty: number("-1"),
        seed: number("7"),
        user: Some("Müller".to_owned()),
        parallel_tool_calls: Some(false),
        tools: vec![Tool {
            cache: Some(CachePoint {
                ttl: Some("1h".to_owned()),
            }),
            ..tool()
        }],
        messages: vec![says(
            Role::User,
            vec![
                Part::Image {
                    media: inline("image/png"),
                    detail: Some("high".to_owned()),
                },
                Part::CachePoint(CachePoint {
                    ttl: Some("1h".to_owned()),
                }),
                Part::Reasoning {
                    text: "mine".to_owned(),
                    signature: None,
                },
            ],
        )],
        ..Request::default()
    };
    let all = ["presence_penalty", "frequency_penalty", "seed", "parallel_tool_calls", "user"];
    let cache = "messages[0].content[0].cache_control";
    let before = |fields: &[&'static str]| [fields, &["messages[0].content[0].image_url.detail"]].concat();
    for (request, model, expected) in [
        (&sampled, "anthropic.claude-3-haiku-20240307-v1:0", vec![]),
        (&sampled, CLAUDE, vec!["top_p"]),
        (&sampled, NEW_CLAUDE, vec!["temperature", "top_p", "top_k"]),
        (&sampled, NOVA, vec!["top_k"]),
        (&thoughtful, CLAUDE, vec!["temperature", "top_p", "top_k"]),
        (&default, NEW_CLAUDE, vec![]),
        (
            &hinted,
            CLAUDE,
            [before(&[]), vec!["messages[0].reasoning_content"], all.to_vec()].concat(),
        ),
        (
            &hinted,
            NOVA,
            [
                before(&["tools[0].cache_control"]),
                vec!["messages[0].content[0].cache_control.ttl", "messages[0].reasoning_content"],
                all.to_vec(),
            ]
            .concat(),
        ),
        (
            &hinted,
            LLAMA,
            [
                before(&["tools[0].cache_control"]),
                vec![cache, "messages[0].reasoning_content"],
                all.to_vec(),
            ]
            .concat(),
        ),
    ] {
        let (body, lost) = write(request, model);
        assert_eq!(lost, expected, "{model}");
        for (name, field) in [
            ("temperature", "/inferenceConfig/temperature"),
            ("top_p", "/inferenceConfig/topP"),
            ("top_k", "/additionalModelRequestFields/top_k"),
        ] {
            assert!(
                !lost.iter().any(|lost| lost == name) || body.pointer(field).is_none(),
                "{model} {name}"
            );
        }
    }
}

#[test]
fn what_cannot_be_said_is_refused_with_its_field() {
    let called = || {
        vec![
            Message::text(Role::User, "a"),
            says(Role::Assistant, vec![call("1", "{}")]),
            says(Role::User, vec![result("1", vec![], false)]),
        ]
    };
    let asks = |part: Part| of(vec![says(Role::User, vec![text("a"), part])]);
    let answers = |part: Part| of(vec![Message::text(Role::User, "a"), says(Role::Assistant, vec![part])]);
    let url = || Media::Url("https://example.com/a.png".to_owned());
    let image = |media: Media| Part::Image { media, detail: None };
    let with_tool = |request: Request| Request {
        tools: vec![tool()],
        ..request
    };
    for (request, expected) in [
        (
            Request {
                choices: Some(2),
                ..hello()
            },
            "n asks for several answers, and Bedrock's models give one",
        ),
        (
            Request {
                format: Format::JsonObject,
                ..hello()
            },
            "response_format asks for any JSON object, and Bedrock wants a schema; give one",
        ),
        (
            of(vec![]),
            "messages have nothing of the user, with which Bedrock wants them to begin",
        ),
        (
            of(vec![Message::text(Role::Assistant, "Hi")]),
            "messages begin with the model's, and Bedrock wants the user's first",
        ),
        (
            of(called()),
            "tools are missing, and Bedrock wants them with every conversation that has called some; send them again",
        ),
        (
            with_tool(Request {
                tool_choice: Some(ToolChoice::None),
                ..of(called())
            }),
            "tool_choice forbids tools in a conversation that has called some, which Bedrock has no way to say",
        ),
        (
            asks(image(url())),
            "messages[0].content[1] is at an address, and Bedrock fetches nothing; send it in base64",
        ),
        (
            asks(image(inline("image/tiff"))),
            "messages[0].content[1] is an image of type \"image/tiff\"; Bedrock takes PNG, JPEG, GIF and WebP",
        ),
        (
            asks(Part::Document {
                media: inline("application/zip"),
                name: None,
            }),
            "messages[0].content[1] is a document of type \"application/zip\"; Bedrock takes PDF, CSV, Word, Excel, HTML, Markdown and plain text",
        ),
        (
            of(vec![says(
                Role::User,
                vec![Part::Document {
                    media: inline("application/pdf"),
                    name: None,
                }],
            )]),
            "messages have a document without a text beside it, which Bedrock wants; say what it is for",
        ),
        (
            answers(image(inline("image/png"))),
            "messages[1].content[0] is an image, which Bedrock does not take there",
        ),
        (
            with_tool(asks(call("1", "{}"))),
            "messages[0].content[1] is a call of a tool, which Bedrock does not take there",
        ),
        (
            with_tool(answers(call("1", r#"{"cut":"of"#))),
            "messages[1].content[0] calls a tool with arguments that are no JSON object, as Bedrock wants them",
        ),
        (
            with_tool(answers(call("1", "[1]"))),
            "messages[1].content[0] calls a tool with arguments that are no JSON object, as Bedrock wants them",
        ),
        (
            with_tool(asks(result(
                "1",
                vec![Part::Audio {
                    data: String::new(),
                    format: "wav".to_owned(),
                }],
                false,
            ))),
            "messages[0].content[1] returns sound, and Bedrock takes texts, images and documents of tools",
        ),
        (
            of(vec![
                says(Role::System, vec![image(inline("image/png"))]),
                Message::text(Role::User, "a"),
            ]),
            "messages[0].content[0] is no text, and Bedrock takes instructions in texts only",
        ),
    ] {
        assert_eq!(refusal(&request), expected);
    }
}
