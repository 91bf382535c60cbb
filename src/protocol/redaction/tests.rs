use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn all() -> Kinds {
    Identifier::ALL.into_iter().collect()
}

fn redacted(body: &Value) -> Redacted {
    redact(body.to_string().as_bytes(), all()).unwrap().unwrap()
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_same_identifier_has_the_same_placeholder_and_another_has_another() {
    let body = json!({"messages": [
        {"role": "system", "content": "You serve anna@example.com."},
        {"role": "user", "content": [{"type": "text", "text": "Write to bob@example.com and anna@example.com, +49 30 901820"}]},
        {"role": "tool", "content": "{\"to\":\"bob@example.com\"}"},
    ]});
    let Redacted { body, placeholders } = redacted(&body);
    let sent: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(sent["messages"][0]["content"], "You serve [EMAIL_1].");
    assert_eq!(
        sent["messages"][1]["content"][0]["text"],
        "Write to [EMAIL_2] and [EMAIL_1], [PHONE_1]"
    );
    assert_eq!(sent["messages"][2]["content"], "{\"to\":\"[EMAIL_2]\"}");
    assert_eq!(placeholders.count(), 3);
}

#[test]
fn a_placeholder_that_the_text_has_itself_stays_what_it_is() {
    let body = json!({"input": "[EMAIL_1] and [EMAIL_2]: a@example.com [EMAIL_4] b@example.com c@example.com"});
    let Redacted { body, placeholders } = redacted(&body);
    assert_eq!(
        text(&body),
        r#"{"input":"[EMAIL_1] and [EMAIL_2]: [EMAIL_3] [EMAIL_4] [EMAIL_5] [EMAIL_6]"}"#
    );
    let answer = placeholders.restore_text("[EMAIL_1] [EMAIL_3] [EMAIL_4] [EMAIL_7] [x] [EMAIL_5");
    assert_eq!(answer, "[EMAIL_1] a@example.com [EMAIL_4] [EMAIL_7] [x] [EMAIL_5");
}

#[test]
fn names_of_fields_escapes_and_cards_without_quotes_hide_nothing() {
    let body = br#"{"input":{"anna@example.com":1,"a":"bob\u0040example.com","b":"{\"c\":\"carl\\u0040example.com\"}","d":4111111111111111,"e":4111111111111112}}"#;
    let Redacted { body, .. } = redact(body, all()).unwrap().unwrap();
    assert_eq!(
        text(&body),
        r#"{"input":{"[EMAIL_1]":1,"a":"[EMAIL_2]","b":"{\"c\":\"[EMAIL_3]\"}","d":"[CARD_1]","e":4111111111111112}}"#
    );
}

#[test]
fn what_has_no_identifier_is_not_written_anew() {
    assert!(redact(br#"{"a" : "\u0041",  "b":[1.50]}"#, all()).unwrap().is_none());
    let kept = br#"{"x" : "\u0041",  "n":[1.50,1e3], "m":"a@example.com" }"#;
    let Redacted { body, .. } = redact(kept, all()).unwrap().unwrap();
    assert_eq!(text(&body), r#"{"x" : "\u0041",  "n":[1.50,1e3], "m":"[EMAIL_1]" }"#);
}

fn placeholders() -> Arc<Placeholders> {
    let body = json!({"a": "anna@example.com bob@example.com +49 30 901820"});
    Arc::new(redacted(&body).placeholders)
}

fn streamed(pieces: &[String]) -> (Vec<String>, String) {
    let mut restoring = Restoring::new(placeholders());
    let passed: Vec<String> = pieces
        .iter()
        .map(|piece| text(&restoring.pass(&Bytes::from(piece.clone()))))
        .collect();
    let last = text(&restoring.end());
    (passed, last)
}

fn said(index: u64, text: &str) -> String {
    format!("data: {}\n\n", json!({"choices": [{"index": index, "delta": {"content": text}}]}))
}

fn called(index: u64, arguments: &str) -> String {
    let call = json!({"index": index, "function": {"arguments": arguments}});
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}))
}

#[test]
fn an_event_waits_only_as_long_as_it_may_end_in_a_placeholder() {
    let events = ["to ", "[EMA", "IL", "_1], [x", "] [1", "0] [PHONE_1]", " [EMAIL_", "9]"].map(|text| said(0, text));
    let (passed, last) = streamed(&events);
    assert_eq!(passed[0], said(0, "to "));
    assert_eq!((passed[1].as_str(), passed[2].as_str()), ("", ""));
    assert_eq!(passed[3], [said(0, "anna@example.com"), said(0, ""), said(0, ", [x")].concat());
    assert_eq!(passed[4], said(0, "] [1"));
    assert_eq!(passed[5], said(0, "0] +49 30 901820"));
    assert_eq!(
        (passed[6].as_str(), &passed[7]),
        ("", &[said(0, " [EMAIL_"), said(0, "9]")].concat())
    );
    assert_eq!(last, "");
}

#[test]
fn what_is_open_is_shown_when_its_text_ends() {
    let ping = ": ping\n\n".to_owned();
    let finish = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n".to_owned();
    let (passed, _) = streamed(&[said(0, "a [EM"), ping.clone(), finish.clone()]);
    assert_eq!(passed, ["", "", &[said(0, "a [EM"), ping, finish].concat()]);
    let (passed, _) = streamed(&[called(0, "{\"a\":["), called(1, "{")]);
    assert_eq!(passed, ["", &[called(0, "{\"a\":["), called(1, "{")].concat()]);
    let (_, last) = streamed(&[said(0, "[")]);
    assert_eq!(last, said(0, "["));
}

#[test]
fn answers_side_by_side_are_put_together_each_for_itself() {
    let (passed, last) = streamed(&[said(0, "[EMAIL_1"), said(1, "[EMAIL_2"), said(0, "]!"), said(1, "]?")]);
    let all = passed.concat() + &last;
    assert_eq!(
        all,
        [said(0, "anna@example.com"), said(1, "bob@example.com"), said(0, "!"), said(1, "?")].concat()
    );
}

#[test]
fn each_protocol_has_its_texts_restored() {
    let messages = |key: &str, text: &str| {
        let event = json!({"type": "content_block_delta", "index": 1, "delta": {"type": "t", key: text}});
        format!("event: content_block_delta\ndata: {event}\n\n")
    };
    let responses = |text: &str| {
        format!(
            "event: response.output_text.delta\ndata: {}\n\n",
            json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text})
        )
    };
    let completions = |text: &str| format!("data: {}\n\n", json!({"choices": [{"index": 0, "text": text}]}));
    type Event = Box<dyn Fn(&str) -> String>;
    let cases: Vec<Event> = vec![
        Box::new(move |text| messages("text", text)),
        Box::new(move |text| messages("thinking", text)),
        Box::new(move |text| messages("partial_json", text)),
        Box::new(responses),
        Box::new(completions),
        Box::new(|text| called(0, text)),
    ];
    for event in cases {
        let (passed, last) = streamed(&[event("x\"[EMA"), event("IL_1]\"y")]);
        assert_eq!(passed.concat() + &last, [event("x\"anna@example.com"), event("\"y")].concat());
    }
    let done = "data: {\"type\":\"response.output_text.done\",\"text\":\"[EMAIL_1]\"}\n\n".to_owned();
    assert_eq!(
        streamed(std::slice::from_ref(&done)).0[0],
        done.replace("[EMAIL_1]", "anna@example.com")
    );
}

fn identifier() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,6}@[a-z]{1,6}\\.(com|org)",
        "\\+49 30 [1-9][0-9]{6}",
        Just("DE89 3704 0044 0532 0130 00".to_owned()),
        Just("4111 1111 1111 1111".to_owned()),
        Just("219-09-9999".to_owned()),
        Just("203.0.113.7".to_owned()),
    ]
}

fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        identifier(),
        "[ -~é\n\u{1f600}]{0,12}",
        "\\[(EMAIL|PHONE)_[1-3]\\]",
        Just("[".to_owned())
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_is_redacted_has_nothing_left_and_comes_back_as_it_was(texts in prop::collection::vec(any_text(), 1..5)) {
        let body = json!({"messages": texts}).to_string();
        let Some(Redacted { body: sent, placeholders }) = redact(body.as_bytes(), all()).unwrap() else {
            prop_assert_eq!(first(body.as_bytes(), all()), None);
            return Ok(());
        };
        prop_assert_eq!(first(&sent, all()), None);
        let back: Value = serde_json::from_slice(&placeholders.restore(sent)).unwrap();
        prop_assert_eq!(back["messages"].clone(), json!(texts));
    }

    #[test]
    fn a_stream_is_restored_however_it_is_cut(text in any_text(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8), joins in prop::collection::vec(any::<bool>(), 9)) {
        let body = json!({"m": text}).to_string();
        let Some(Redacted { body: sent, placeholders }) = redact(body.as_bytes(), all()).unwrap() else { return Ok(()) };
        let sent: Value = serde_json::from_slice(&sent).unwrap();
        let chars: Vec<char> = sent["m"].as_str().unwrap().chars().collect();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(chars.len() + 1)).chain([0, chars.len()]).collect();
        at.sort_unstable();
        for event in [said, called] {
            let mut restoring = Restoring::new(Arc::new(Placeholders { values: placeholders.values.clone() }));
            let (mut waiting, mut got) = (String::new(), String::new());
            for (cut, join) in at.windows(2).zip(&joins) {
                waiting += &event(0, &chars[cut[0]..cut[1]].iter().collect::<String>());
                if !join {
                    got += &super::tests::text(&restoring.pass(&Bytes::from(std::mem::take(&mut waiting))));
                }
            }
            got += &super::tests::text(&restoring.pass(&Bytes::from(waiting)));
            got += &super::tests::text(&restoring.end());
            let mut put_together = String::new();
            for data in got.split("\n\n").filter_map(|event| event.strip_prefix("data: ")) {
                let event: Value = serde_json::from_str(data).unwrap();
                let delta = &event["choices"][0]["delta"];
                put_together += delta["content"].as_str().or(delta["tool_calls"][0]["function"]["arguments"].as_str()).unwrap();
            }
            prop_assert_eq!(&put_together, &text);
            prop_assert_eq!(got.matches("data: ").count(), at.len() - 1);
        }
    }

    #[test]
    fn no_events_make_it_panic(pieces in prop::collection::vec("(data: |\n|\\[EMAIL_1|\\]|\\{\"choices\":\\[\\{\"delta\":\\{\"content\":\"|\"\\}\\}\\]\\}|[a-z]){0,12}", 0..6)) {
        streamed(&pieces);
    }
}
