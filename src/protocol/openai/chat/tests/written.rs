//! Requests as models get them.

use super::*;
use crate::protocol::chat::{Lost, Media, Message, Reasoning, Request, Role};

/// A request with something of everything.
fn rich() -> Request {
    let (mut request, _) = read_request(
        br#"{"temperature":0.5,"top_k":40,"seed":7,"max_tokens":64,"user":"u","stream":true,"tool_choice":"required","reasoning_effort":"low",
        "response_format":{"type":"json_object"},"tools":[{"type":"function","function":{"name":"f","strict":true},"cache_control":{"type":"ephemeral"}}],
        "messages":[{"role":"system","content":"s"},
        {"role":"user","content":[{"type":"text","text":"t"},{"type":"input_audio","input_audio":{"data":"UklG","format":"wav"}},
          {"type":"file","file":{"file_data":"data:application/pdf;base64,JVBE"}},{"type":"file","file":{"filename":"a.txt","file_data":"data:text/plain;base64,aGk="}}]},
        {"role":"assistant","content":"a","reasoning_content":"hm","tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]},
        {"role":"tool","tool_call_id":"call_1","content":[{"type":"text","text":"r"},{"type":"image_url","image_url":{"url":"https://x/y"}}]}]}"#,
    )
    .unwrap();
    if let Some(Part::Reasoning { signature, .. }) = request.messages[2].parts.first_mut() {
        *signature = Some("seal".to_owned());
    }
    request
}

#[test]
fn each_flavor_gets_the_words_that_it_knows() {
    let tools = r#""tools":[{"type":"function","function":{"name":"f","strict":true}}],"tool_choice":"required""#;
    let user = concat!(
        r#"{"role":"user","content":[{"type":"text","text":"t"},{"type":"input_audio","input_audio":{"data":"UklG","format":"wav"}},"#,
        r#"{"type":"file","file":{"filename":"document.pdf","file_data":"data:application/pdf;base64,JVBE"}},{"type":"text","text":"hi"}]}"#
    );
    let called = r#""tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"}}]"#;
    let returned = concat!(
        r#"{"role":"tool","content":"r","tool_call_id":"call_1"},"#,
        r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x/y"}}]}"#
    );
    let rest = r#""response_format":{"type":"json_object"},"reasoning_effort":"low","user":"u","stream":true,"stream_options":{"include_usage":true}"#;
    let openai = format!(
        r#"{{"model":"gpt","messages":[{{"role":"system","content":"s"}},{user},{{"role":"assistant","content":"a",{called}}},{returned}],{tools},"max_completion_tokens":64,"temperature":0.5,"seed":7,{rest}}}"#
    );
    let compatible = format!(
        r#"{{"model":"gpt","messages":[{{"role":"system","content":"s"}},{user},{{"role":"assistant","content":"a","reasoning_content":"hm","reasoning":"hm",{called}}},{returned}],{tools},"max_tokens":64,"temperature":0.5,"top_k":40,"seed":7,{rest}}}"#
    );
    let mistral = concat!(
        r#"{"model":"gpt","messages":[{"role":"system","content":"s"},"#,
        r#"{"role":"user","content":[{"type":"text","text":"t"},{"type":"input_audio","input_audio":"UklG"},"#,
        r#"{"type":"document_url","document_url":"data:application/pdf;base64,JVBE"},{"type":"text","text":"hi"}]},"#,
        r#"{"role":"assistant","content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"a"}],"#,
        r#""tool_calls":[{"id":"ID","type":"function","function":{"name":"f","arguments":"{}"}}]},"#,
        r#"{"role":"tool","content":[{"type":"text","text":"r"},{"type":"image_url","image_url":{"url":"https://x/y"}}],"tool_call_id":"ID"}],"#,
        r#""tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}},"strict":true}}],"tool_choice":"any","#,
        r#""max_tokens":64,"temperature":0.5,"random_seed":7,"response_format":{"type":"json_object"},"reasoning_effort":"high","stream":true}"#
    );
    let always = [
        "messages[1].content[3].file.filename",
        "messages[2].content[0].signature",
        "tools[0].cache_control",
    ];
    for (flavor, expected, lost_too) in [
        (Flavor::OpenAI, openai.as_str(), &["top_k", "messages[2].reasoning_content"][..]),
        (Flavor::Compatible, compatible.as_str(), &[]),
        (Flavor::Mistral, mistral, &["top_k", "user", "reasoning_effort"]),
    ] {
        let request = rich();
        let (body, lost) = write_request(&request, "gpt", flavor).unwrap();
        let mut body = String::from_utf8(body).unwrap();
        if flavor == Flavor::Mistral {
            let id = json(body.as_bytes())["messages"][3]["tool_call_id"].as_str().unwrap().to_owned();
            body = body.replace(&id, "ID");
        }
        assert_eq!(body, expected, "{flavor:?}");
        let mut names: Vec<&str> = lost.fields().iter().map(String::as_str).collect();
        let mut expected = [&always[..], lost_too].concat();
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected, "{flavor:?}");
    }
}

#[test]
fn thought_is_asked_for_in_the_words_that_the_model_knows() {
    for (reasoning, model, flavor, expected, is_lost) in [
        (Reasoning::Off, "gpt", Flavor::OpenAI, r#""reasoning_effort":"none""#, false),
        (Reasoning::Budget(1024), "gpt", Flavor::OpenAI, r#""reasoning_effort":"low""#, true),
        (
            Reasoning::Budget(32_000),
            "gpt",
            Flavor::Compatible,
            r#""reasoning_effort":"high""#,
            true,
        ),
        (Reasoning::Adaptive, "gpt", Flavor::OpenAI, "", false),
        (
            Reasoning::Off,
            "mistral-small-latest",
            Flavor::Mistral,
            r#""reasoning_effort":"none""#,
            false,
        ),
        (
            Reasoning::Effort("high".to_owned()),
            "mistral-small-latest",
            Flavor::Mistral,
            r#""reasoning_effort":"high""#,
            false,
        ),
        (
            Reasoning::Effort("minimal".to_owned()),
            "mistral-small-latest",
            Flavor::Mistral,
            r#""reasoning_effort":"none""#,
            true,
        ),
        (
            Reasoning::Adaptive,
            "mistral-small-latest",
            Flavor::Mistral,
            r#""reasoning_effort":"high""#,
            false,
        ),
        (
            Reasoning::Adaptive,
            "magistral-medium-latest",
            Flavor::Mistral,
            r#""prompt_mode":"reasoning""#,
            false,
        ),
        (Reasoning::Off, "magistral-medium-latest", Flavor::Mistral, "", true),
    ] {
        let request = Request {
            reasoning: Some(reasoning.clone()),
            ..Request::default()
        };
        let (body, lost) = write_request(&request, model, flavor).unwrap();
        let comma = if expected.is_empty() { "" } else { "," };
        let expected = format!(r#"{{"model":"{model}","messages":[]{comma}{expected}}}"#);
        assert_eq!(String::from_utf8(body).unwrap(), expected, "{reasoning:?}");
        assert_eq!(!lost.is_empty(), is_lost, "{reasoning:?} {model}");
    }
}

#[test]
fn what_no_flavor_has_a_place_for_is_refused_by_its_place() {
    let document = Part::Document {
        media: Media::Url("https://x/y.pdf".to_owned()),
        name: None,
    };
    let image = Part::Image {
        media: Media::Url("https://x/y.png".to_owned()),
        detail: None,
    };
    for (role, part, place, is_fit_for_mistral) in [
        (Role::User, document, "messages[0].content[0]", true),
        (Role::System, image.clone(), "messages[0].content[0]", false),
        (Role::Assistant, image, "messages[0].content[0]", false),
        (Role::User, thought("hm"), "messages[0].content[0]", false),
    ] {
        let request = Request {
            messages: vec![Message { role, parts: vec![part] }],
            ..Request::default()
        };
        for flavor in [Flavor::OpenAI, Flavor::Compatible, Flavor::Mistral] {
            match write_request(&request, "m", flavor) {
                Ok(_) => assert!(is_fit_for_mistral && flavor == Flavor::Mistral, "{request:?}"),
                Err(error) => assert_eq!(error.field, place),
            }
        }
    }
    let mistral = write_request(&rich(), "m", Flavor::Mistral).unwrap().0;
    assert!(!String::from_utf8(mistral).unwrap().contains("stream_options"));
}

proptest! {
    #[test]
    fn what_is_written_for_openai_is_read_back(request in fixtures::request(false)) {
        let (body, lost) = write_request(&request, "m", Flavor::OpenAI).unwrap();
        prop_assert!(lost.is_empty(), "{:?}", lost);
        prop_assert_eq!(read_request(&body).unwrap(), (request, Lost::default()));
    }

    #[test]
    fn what_is_written_for_imitators_is_read_back(request in fixtures::request(true)) {
        let (body, lost) = write_request(&request, "m", Flavor::Compatible).unwrap();
        prop_assert!(lost.is_empty(), "{:?}", lost);
        prop_assert_eq!(read_request(&body).unwrap(), (request, Lost::default()));
    }

    #[test]
    fn mistral_gets_no_field_that_it_does_not_know(request in fixtures::request(true)) {
        let (body, _) = write_request(&request, "m", Flavor::Mistral).unwrap();
        let known = ["model", "messages", "temperature", "top_p", "max_tokens", "stream", "stop", "random_seed", "response_format", "tools",
            "tool_choice", "presence_penalty", "frequency_penalty", "n", "parallel_tool_calls", "reasoning_effort", "prompt_mode"];
        for (field, _) in json(&body).as_object().unwrap() {
            prop_assert!(known.contains(&field.as_str()), "{field}");
        }
    }

    #[test]
    fn no_request_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), request in fixtures::request(true), at: prop::sample::Index) {
        let _ = read_request(&bytes);
        let (mut body, _) = write_request(&request, "m", Flavor::Compatible).unwrap();
        let at = at.index(body.len());
        let _ = read_request(&body[..at]);
        body[at] = bytes.first().copied().unwrap_or(b'"');
        if let Ok((request, _)) = read_request(&body) {
            for flavor in [Flavor::OpenAI, Flavor::Compatible, Flavor::Mistral] {
                let _ = write_request(&request, "m", flavor);
            }
        }
    }
}
