//! How single fields are written, and what is refused or left out.

use serde_json::json;

use super::super::super::chat::{CachePoint, Format, Json, Media, Reasoning, Tool, ToolChoice};
use super::*;

const SCHEMA: &str = r##"{"type":"object","properties":{"city":{"$ref":"#/$defs/c"}},"$defs":{"c":{"type":"string","maxLength":1e2}}}"##;

fn tool(name: &str) -> Tool {
    Tool {
        name: name.to_owned(),
        description: Some("Finds out".to_owned()),
        parameters: Some(Json::parse(SCHEMA).unwrap()),
        strict: None,
        cache: None,
    }
}

#[test]
fn every_setting_has_its_place() {
    let request = Request {
        messages: vec![Message::text(Role::System, "Be brief."), Message::text(Role::User, "Hi")],
        max_tokens: Some(800),
        temperature: Some(serde_json::from_str("0.70").unwrap()),
        top_p: Some(serde_json::from_str("0.8").unwrap()),
        top_k: Some(10.into()),
        presence_penalty: Some(serde_json::from_str("0.5").unwrap()),
        frequency_penalty: Some(serde_json::from_str("-0.5").unwrap()),
        seed: Some(7.into()),
        stop: vec!["Title".to_owned()],
        choices: Some(2),
        format: Format::JsonObject,
        stream: true,
        ..Request::default()
    };
    let (body, lost) = written(&request).unwrap();
    let expected = json!({
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {
            "stopSequences": ["Title"], "temperature": 0.7, "maxOutputTokens": 800, "topP": 0.8, "topK": 10, "candidateCount": 2,
            "presencePenalty": 0.5, "frequencyPenalty": -0.5, "seed": 7, "responseMimeType": "application/json"
        }
    });
    assert_eq!((body, lost), (expected, Lost::default()));
    let (bare, _) = written(&asking("Hi")).unwrap();
    assert_eq!(bare, json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}));
}

#[test]
fn schemas_and_numbers_go_as_they_came() {
    let schema = r#"{ "type": "object", "z": 1.0, "a": {"const": 9007199254740993} }"#;
    let request = Request {
        temperature: Some(serde_json::from_str("1.0").unwrap()),
        format: Format::JsonSchema {
            name: Some("answer".to_owned()),
            description: Some("of all".to_owned()),
            schema: Json::parse(schema).unwrap(),
            strict: Some(true),
        },
        tools: vec![tool("weather")],
        tool_choice: Some(ToolChoice::Tool("weather".to_owned())),
        ..asking("Hi")
    };
    let (body, lost) = write_request(&request, "gemini-3-pro").unwrap();
    let body = String::from_utf8(body).unwrap();
    assert!(
        body.contains(&format!(r#""responseMimeType":"application/json","responseJsonSchema":{schema}"#)),
        "{body}"
    );
    assert!(body.contains(&format!(r#""parametersJsonSchema":{SCHEMA}"#)), "{body}");
    assert!(body.contains(r#""temperature":1.0"#), "{body}");
    assert!(
        body.contains(r#""toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["weather"]}}"#),
        "{body}"
    );
    assert_eq!(
        lost.fields(),
        ["response_format.json_schema.name", "response_format.json_schema.description"]
    );
}

#[test]
fn every_choice_of_tools_is_said() {
    for (choice, mode) in [
        (ToolChoice::Auto, "AUTO"),
        (ToolChoice::None, "NONE"),
        (ToolChoice::Required, "ANY"),
    ] {
        let request = Request {
            tools: vec![tool("weather")],
            tool_choice: Some(choice),
            ..asking("Hi")
        };
        let (body, _) = written(&request).unwrap();
        assert_eq!(body["toolConfig"], json!({"functionCallingConfig": {"mode": mode}}));
        assert_eq!(body["tools"][0]["functionDeclarations"][0]["name"], "weather");
    }
    let without_tools = |choice| Request {
        tool_choice: Some(choice),
        ..asking("Hi")
    };
    assert!(written(&without_tools(ToolChoice::Auto)).unwrap().0.get("toolConfig").is_none());
    assert_eq!(written(&without_tools(ToolChoice::Required)).unwrap_err().field, "tool_choice");
}

#[test]
fn how_much_to_think_is_said_in_the_words_of_the_models_generation() {
    let cases = [
        (
            Reasoning::Effort("high".into()),
            "gemini-3-pro-preview",
            json!({"includeThoughts": true, "thinkingLevel": "HIGH"}),
            false,
        ),
        (
            Reasoning::Effort("minimal".into()),
            "gemini-3.5-flash",
            json!({"includeThoughts": true, "thinkingLevel": "MINIMAL"}),
            false,
        ),
        (
            Reasoning::Effort("minimal".into()),
            "gemini-3.1-pro",
            json!({"includeThoughts": true, "thinkingLevel": "LOW"}),
            true,
        ),
        (
            Reasoning::Effort("xhigh".into()),
            "gemini-flash-latest",
            json!({"includeThoughts": true, "thinkingLevel": "HIGH"}),
            true,
        ),
        (
            Reasoning::Effort("medium".into()),
            "gemini-2.5-flash",
            json!({"includeThoughts": true, "thinkingBudget": 8192}),
            false,
        ),
        (
            Reasoning::Budget(2048),
            "gemini-2.5-pro",
            json!({"includeThoughts": true, "thinkingBudget": 2048}),
            false,
        ),
        (
            Reasoning::Adaptive,
            "gemini-2.5-pro",
            json!({"includeThoughts": true, "thinkingBudget": -1}),
            false,
        ),
        (Reasoning::Adaptive, "gemini-3-pro", json!({"includeThoughts": true}), false),
        (Reasoning::Off, "gemini-2.5-flash", json!({"thinkingBudget": 0}), false),
        (Reasoning::Off, "gemini-2.5-pro", json!({"thinkingBudget": 128}), true),
        (
            Reasoning::Effort("none".into()),
            "gemini-3-flash",
            json!({"thinkingLevel": "MINIMAL"}),
            true,
        ),
        (Reasoning::Off, "models/gemini-3-pro", json!({"thinkingLevel": "LOW"}), true),
    ];
    for (reasoning, model, expected, is_lossy) in cases {
        let request = Request {
            reasoning: Some(reasoning.clone()),
            ..asking("Hi")
        };
        let (body, lost) = written_for(&request, model).unwrap();
        assert_eq!(body["generationConfig"]["thinkingConfig"], expected, "{reasoning:?} {model}");
        assert_eq!(lost.fields() == ["reasoning_effort"], is_lossy, "{reasoning:?} {model}");
    }
}

#[test]
fn what_gemini_does_not_have_is_refused_by_its_name() {
    let cases = [
        (
            "stop",
            Request {
                stop: vec!["x".to_owned(); 6],
                ..asking("Hi")
            },
        ),
        (
            "n",
            Request {
                choices: Some(9),
                ..asking("Hi")
            },
        ),
        (
            "n",
            Request {
                choices: Some(0),
                ..asking("Hi")
            },
        ),
        (
            "seed",
            Request {
                seed: Some(9_007_199_254_740_993_u64.into()),
                ..asking("Hi")
            },
        ),
        (
            "seed",
            Request {
                seed: serde_json::Number::from_f64(1.5),
                ..asking("Hi")
            },
        ),
        (
            "reasoning_effort",
            Request {
                reasoning: Some(Reasoning::Effort("lots".into())),
                ..asking("Hi")
            },
        ),
        (
            "messages",
            Request {
                messages: vec![Message::text(Role::System, "Be brief.")],
                ..Request::default()
            },
        ),
        (
            "messages[0].content[0]",
            Request {
                messages: vec![saying(Role::User, vec![result("call_1", vec![])])],
                ..Request::default()
            },
        ),
        (
            "messages[0].content[0]",
            Request {
                messages: vec![saying(Role::Assistant, vec![call("a", "f", r#"{"city":"Ber"#)])],
                ..Request::default()
            },
        ),
        (
            "messages[0].content[0]",
            Request {
                messages: vec![saying(Role::Assistant, vec![call("a", "f", "[1]")])],
                ..Request::default()
            },
        ),
        (
            "messages[0].content[0]",
            Request {
                messages: vec![saying(Role::System, vec![call("a", "f", "{}")])],
                ..Request::default()
            },
        ),
    ];
    for (field, request) in cases {
        assert_eq!(written(&request).unwrap_err().field, field);
    }
    let both = Request {
        format: Format::JsonObject,
        tools: vec![tool("weather")],
        ..asking("Hi")
    };
    assert_eq!(written_for(&both, "gemini-2.5-flash").unwrap_err().field, "response_format");
    assert!(written_for(&both, "gemini-3-flash").is_ok());
}

#[test]
fn what_is_left_out_is_named() {
    let mut strict = tool("weather");
    (strict.strict, strict.cache) = (Some(true), Some(CachePoint::default()));
    let image = Part::Image {
        media: Media::Url("https://example.com/a.png".to_owned()),
        detail: Some("high".to_owned()),
    };
    let request = Request {
        messages: vec![
            saying(Role::User, vec![text("Hi"), Part::CachePoint(CachePoint::default()), image]),
            Message::text(Role::System, "Now in French."),
            saying(Role::Assistant, vec![Part::RedactedReasoning("x".to_owned())]),
        ],
        tools: vec![strict],
        parallel_tool_calls: Some(false),
        user: Some("u".to_owned()),
        ..Request::default()
    };
    let (body, lost) = written(&request).unwrap();
    let mut fields = lost.fields().to_vec();
    fields.sort();
    let expected = [
        "messages[0].content[0].cache_control",
        "messages[0].content[1].image_url.detail",
        "messages[1].role",
        "messages[2].content[0]",
        "parallel_tool_calls",
        "tools[0].cache_control",
        "tools[0].strict",
        "user",
    ];
    assert_eq!(fields, expected);
    assert_eq!(body["systemInstruction"], json!({"parts": [{"text": "Now in French."}]}));
}

#[test]
fn media_are_inline_or_at_an_address() {
    let inline = |media_type: &str| Media::Inline {
        media_type: media_type.to_owned(),
        data: "iVBO".to_owned(),
    };
    let parts = vec![
        Part::Image {
            media: inline("image/png"),
            detail: Some("auto".to_owned()),
        },
        Part::Image {
            media: Media::Url("https://example.com/a.JPG?x=1".to_owned()),
            detail: None,
        },
        Part::Document {
            media: inline("application/pdf"),
            name: None,
        },
        Part::Document {
            media: Media::Url("gs://bucket/folder".to_owned()),
            name: None,
        },
        Part::Audio {
            data: "UklG".to_owned(),
            format: "wav".to_owned(),
        },
    ];
    let request = Request {
        messages: vec![saying(Role::User, parts)],
        ..Request::default()
    };
    let (body, lost) = written(&request).unwrap();
    let expected = json!([
        {"inlineData": {"mimeType": "image/png", "data": "iVBO"}},
        {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.com/a.JPG?x=1"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "iVBO"}},
        {"fileData": {"fileUri": "gs://bucket/folder"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "UklG"}},
    ]);
    assert_eq!((&body["contents"][0]["parts"], lost), (&expected, Lost::default()));
}
