//! Calls, their results, and the seals of thoughts, over several turns.

use proptest::prelude::*;
use serde_json::json;

use super::super::super::chat::Media;
use super::*;

/// Asks again with what the model answered, as a client does that knows nothing of Gemini.
fn next_turn(answer: &[u8], results: impl Fn(&[Part]) -> Vec<Part>) -> Request {
    let said = read_answer(answer).unwrap().choices.remove(0).parts;
    let results = results(&said);
    let mut request = asking("What is the weather?");
    request.messages.push(saying(Role::Assistant, said));
    request.messages.push(saying(Role::User, results));
    request
}

fn ids(parts: &[Part]) -> Vec<String> {
    let id = |part: &Part| match part {
        Part::ToolCall { id, .. } => Some(id.clone()),
        _ => None,
    };
    parts.iter().filter_map(id).collect()
}

#[test]
fn seals_and_ids_of_parallel_calls_come_back_where_they_were() {
    let answer = br#"{"candidates":[{"content":{"role":"model","parts":[
        {"functionCall":{"id":"8f2b/1","name":"check_flight","args":{"flight":"AA100"}},"thoughtSignature":"EvwjCvkjAXLI2nyUmA16xmPM/6gO+w=="},
        {"functionCall":{"id":"8f2b/2","name":"check_flight","args":{"flight":"AA200"}}}]},"finishReason":"STOP","index":0}],"responseId":"r1"}"#;
    // The results come in another order, and as messages of their own.
    let request = next_turn(answer, |said| {
        let ids = ids(said);
        vec![
            result(&ids[1], vec![text("late")]),
            result(&ids[0], vec![text(r#"{ "status": "on time" }"#)]),
        ]
    });
    let (body, lost) = written(&request).unwrap();
    let expected = json!([
        {"role": "user", "parts": [{"text": "What is the weather?"}]},
        {"role": "model", "parts": [
            {"functionCall": {"id": "8f2b/1", "name": "check_flight", "args": {"flight": "AA100"}},
             "thoughtSignature": "EvwjCvkjAXLI2nyUmA16xmPM/6gO+w=="},
            {"functionCall": {"id": "8f2b/2", "name": "check_flight", "args": {"flight": "AA200"}}}]},
        {"role": "user", "parts": [
            {"functionResponse": {"id": "8f2b/1", "name": "check_flight", "response": {"status": "on time"}}},
            {"functionResponse": {"id": "8f2b/2", "name": "check_flight", "response": {"result": "late"}}}]},
    ]);
    assert_eq!((&body["contents"], lost), (&expected, Lost::default()));
}

#[test]
fn ids_that_gemini_did_not_give_are_not_sent_to_it() {
    let answer = br#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"now"}}]},"finishReason":"STOP"}]}"#;
    let request = next_turn(answer, |said| vec![result(&ids(said)[0], vec![])]);
    let (body, _) = written_for(&request, "gemini-2.5-flash").unwrap();
    assert_eq!(body["contents"][1]["parts"], json!([{"functionCall": {"name": "now", "args": {}}}]));
    assert_eq!(
        body["contents"][2]["parts"],
        json!([{"functionResponse": {"name": "now", "response": {"result": ""}}}])
    );
}

#[test]
fn calls_of_another_model_get_googles_word_for_a_missing_seal() {
    let request = Request {
        messages: vec![
            Message::text(Role::User, "Hi"),
            saying(
                Role::Assistant,
                vec![text("Wait."), call("toolu_01", "a", "{}"), call("toolu_02", "b", "")],
            ),
            saying(Role::User, vec![result("toolu_01", vec![text("1")])]),
            saying(Role::User, vec![result("toolu_02", vec![text("2")]), text("Go on.")]),
        ],
        ..Request::default()
    };
    let (body, _) = written(&request).unwrap();
    let expected = json!([
        {"text": "Wait."},
        {"functionCall": {"name": "a", "args": {}}, "thoughtSignature": "skip_thought_signature_validator"},
        {"functionCall": {"name": "b", "args": {}}},
    ]);
    assert_eq!(body["contents"][1]["parts"], expected);
    // Results stand alone; what the user says beside them follows.
    assert_eq!(body["contents"][2]["parts"].as_array().unwrap().len(), 2);
    assert_eq!(body["contents"][3], json!({"role": "user", "parts": [{"text": "Go on."}]}));
    let (earlier, _) = written_for(&request, "gemini-2.5-pro").unwrap();
    assert!(!earlier.to_string().contains("thoughtSignature"));
}

#[test]
fn a_damaged_id_is_another_providers() {
    let held = super::super::ids::Call {
        id: None,
        signature: Some("c2VhbA==".to_owned()),
    };
    let place = super::super::ids::Place {
        response: None,
        choice: 0,
        index: 0,
        name: "f",
        arguments: "{}",
    };
    let id = super::super::ids::encode(&held, &place);
    assert_eq!(super::super::ids::decode(&id), held);
    for damaged in [
        &id[..id.len() - 2],
        &id[..38],
        &id.replace("call_", "call-"),
        "call_",
        "toolu_01",
        "",
    ] {
        assert_eq!(super::super::ids::decode(damaged), Default::default(), "{damaged}");
        assert_eq!(short_id(damaged), damaged);
    }
    assert_eq!(short_id(&id), &id[..29]);
}

#[test]
fn results_are_objects_and_say_when_they_are_errors() {
    let image = || Part::Image {
        media: Media::Inline {
            media_type: "image/png".to_owned(),
            data: "iVBO".to_owned(),
        },
        detail: None,
    };
    let request = |is_error, parts| Request {
        messages: vec![
            saying(Role::Assistant, vec![call("a", "f", "{}")]),
            saying(
                Role::User,
                vec![Part::ToolResult {
                    id: "a".to_owned(),
                    parts,
                    is_error,
                }],
            ),
        ],
        ..Request::default()
    };
    let response = |is_error, said: &str| {
        let (body, _) = written(&request(is_error, vec![text(said)])).unwrap();
        body["contents"][1]["parts"][0]["functionResponse"]["response"].clone()
    };
    assert_eq!(response(false, "sunny \"yes\""), json!({"result": "sunny \"yes\""}));
    assert_eq!(response(false, r#"{"a":1}"#), json!({"a": 1}));
    assert_eq!(response(false, "[1]"), json!({"result": "[1]"}));
    assert_eq!(response(true, "boom"), json!({"error": "boom"}));
    assert_eq!(response(true, r#"{"a":1}"#), json!({"error": {"a": 1}}));
    let blob = json!({"inlineData": {"mimeType": "image/png", "data": "iVBO"}});
    let (third, _) = written(&request(false, vec![image()])).unwrap();
    assert_eq!(third["contents"][1]["parts"][0]["functionResponse"]["parts"], json!([blob]));
    let (earlier, _) = written_for(&request(false, vec![image()]), "gemini-2.5-flash").unwrap();
    assert_eq!(earlier["contents"][1]["parts"][1], blob);
}

#[test]
fn thoughts_go_back_with_their_seal_and_without_another_providers() {
    let answer = br#"{"candidates":[{"content":{"parts":[{"text":"Hm.","thought":true},{"text":"Four."},{"text":"","thoughtSignature":"c2Vh"}]},"finishReason":"STOP"}]}"#;
    let said = read_answer(answer).unwrap().choices.remove(0).parts;
    let mut request = asking("2+2?");
    request.messages.push(saying(Role::Assistant, said));
    let foreign = Part::Reasoning {
        text: "Indeed.".to_owned(),
        signature: Some("ErUBCkYI".to_owned()),
    };
    request.messages.push(saying(Role::Assistant, vec![foreign]));
    let (body, lost) = written(&request).unwrap();
    let expected = json!([
        {"text": "Hm.", "thought": true},
        {"text": "Four.", "thoughtSignature": "c2Vh"},
        {"text": "Indeed.", "thought": true},
    ]);
    assert_eq!(body["contents"][1]["parts"], expected);
    assert_eq!(lost.fields(), ["messages[2].content[0].signature"]);
}

#[test]
fn seals_that_a_client_joined_are_taken_apart() {
    let joined = Part::Reasoning {
        text: String::new(),
        signature: Some("gemini:Zmlyc3Q=gemini:bGFzdA==".to_owned()),
    };
    let mut request = asking("Hi");
    request.messages.push(saying(Role::Assistant, vec![joined]));
    let (body, _) = written(&request).unwrap();
    assert_eq!(body["contents"][1]["parts"], json!([{"text": "", "thoughtSignature": "bGFzdA=="}]));
}

proptest! {
    #[test]
    fn an_id_holds_what_was_put_into_it(id in prop::option::of("[!-~é]{1,80}"), signature in prop::option::of("[A-Za-z0-9+/=_ ]{1,300}"), index in 0_u32..300) {
        let held = super::super::ids::Call { id, signature };
        let place = super::super::ids::Place { response: Some("r"), choice: 0, index, name: "f", arguments: "{}" };
        let written = super::super::ids::encode(&held, &place);
        prop_assert!(written.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        prop_assert_eq!(super::super::ids::decode(&written), held);
        prop_assert_eq!(short_id(&written).len(), 29);
    }

    #[test]
    fn any_text_may_be_an_id(id in "(call_[0-9a-f]{24}-)?.{0,40}") {
        let _ = (super::super::ids::decode(&id), short_id(&id));
    }
}
