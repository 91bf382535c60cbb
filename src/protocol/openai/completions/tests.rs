//! Completions of clients, answered by a chat.

use super::*;
use crate::protocol::chat::Part;
use crate::protocol::error::{Error, Kind};
use proptest::prelude::*;

fn refused(fields: &str) -> (Option<String>, bool) {
    match read_request(format!(r#"{{"model":"m",{fields}}}"#).as_bytes()) {
        Err(Unfit::Unreadable(error)) => (error.field, false),
        Err(Unfit::Unsupported(error)) => (Some(error.field), true),
        Ok(request) => panic!("{fields} was taken: {request:?}"),
    }
}

#[test]
fn a_prompt_becomes_what_a_user_says_and_that_is_told() {
    for prompt in [r#""Once""#, r#"["Once"]"#] {
        let body = format!(
            r#"{{"model":"m","prompt":{prompt},"max_tokens":8,"temperature":0,"stop":["\n"],"n":2,"seed":7,"user":"u","stream":true,"stream_options":{{"include_usage":true}},"echo":false,"suffix":null,"best_of":1,"logprobs":null}}"#
        );
        let (request, lost) = read_request(body.as_bytes()).unwrap();
        let expected = Request {
            messages: vec![Message::text(Role::User, "Once")],
            max_tokens: Some(8),
            temperature: Some(0.into()),
            stop: vec!["\n".to_owned()],
            choices: Some(2),
            seed: Some(7.into()),
            user: Some("u".to_owned()),
            stream: true,
            ..Request::default()
        };
        assert_eq!((request, lost.fields()), (expected, &["prompt".to_owned()][..]));
    }
    let (request, lost) = read_request(br#"{"model":"m","prompt":"Once","frobnicate":1}"#).unwrap();
    assert_eq!(request.max_tokens, Some(16), "OpenAI's default");
    assert_eq!(lost.fields(), ["prompt", "frobnicate"]);
}

#[test]
fn what_a_chat_cannot_do_is_refused_by_name() {
    for (fields, place, is_unsupported) in [
        (r#""prompt":["a","b"]"#, "prompt", true),
        (r#""prompt":[1,2]"#, "prompt", true),
        (r#""prompt":[[1],[2]]"#, "prompt", true),
        (r#""prompt":"a","echo":true"#, "echo", true),
        (r#""prompt":"a","suffix":"b""#, "suffix", true),
        (r#""prompt":"a","best_of":3"#, "best_of", true),
        (r#""prompt":"a","logprobs":0"#, "logprobs", true),
        (r#""prompt":"a","logit_bias":{"1":2}"#, "logit_bias", true),
        (r#""prompt":[]"#, "prompt", false),
        (r#""prompt":7"#, "prompt", false),
        (r#""max_tokens":7"#, "prompt", false),
        (r#""prompt":"a","max_tokens":"x""#, "max_tokens", false),
        (r#""prompt":"a","echo":"yes""#, "echo", false),
    ] {
        assert_eq!(refused(fields), (Some(place.to_owned()), is_unsupported), "{fields}");
    }
}

fn said() -> Said {
    Said {
        model: "m".to_owned(),
        id: "1".to_owned(),
        created: 7,
    }
}

#[test]
fn an_answer_is_written_as_openai_does() {
    let thought = Part::Reasoning {
        text: "hm".to_owned(),
        signature: None,
    };
    let answer = Answer {
        id: None,
        choices: vec![Choice {
            parts: vec![thought, Part::Text(" Par".to_owned()), Part::Text("is".to_owned())],
            stop: Stop::Length,
        }],
        usage: None,
    };
    let expected = r#"{"id":"cmpl-1","object":"text_completion","created":7,"model":"m","choices":[{"text":" Paris","index":0,"logprobs":null,"finish_reason":"length"}]}"#;
    assert_eq!(String::from_utf8(write_answer(&answer, &said())).unwrap(), expected);
}

fn write(deltas: &[Delta], usage_asked: bool) -> String {
    let (mut writer, mut events) = (Writer::new(said(), usage_asked), Vec::new());
    deltas.iter().for_each(|delta| writer.write(delta, &mut events));
    String::from_utf8(events).unwrap()
}

#[test]
fn a_stream_is_written_as_openai_does() {
    let text = Delta::Text {
        choice: 0,
        text: " Paris".to_owned(),
    };
    let usage = Delta::Usage(crate::protocol::usage::Tokens {
        input: 5,
        output: 6,
        ..Default::default()
    });
    let begin = Delta::Begin { id: Some("x".to_owned()) };
    let deltas = [
        begin.clone(),
        text.clone(),
        Delta::stop(0, Stop::End),
        usage,
        Delta::End,
        text.clone(),
    ];
    let chunk = |choices: &str| {
        format!("data: {{\"id\":\"x\",\"object\":\"text_completion\",\"created\":7,\"model\":\"m\",\"choices\":[{choices}]")
    };
    let expected = [
        chunk(r#"{"text":" Paris","index":0,"logprobs":null,"finish_reason":null}"#),
        "}\n\n".to_owned(),
        chunk(r#"{"text":"","index":0,"logprobs":null,"finish_reason":"stop"}"#),
        "}\n\ndata: [DONE]\n\n".to_owned(),
    ];
    assert_eq!(write(&deltas, false), expected.concat());
    let reported = write(&deltas, true);
    assert!(reported.contains(&format!(
        "{},\"usage\":{{\"prompt_tokens\":5,\"completion_tokens\":6,\"total_tokens\":11,",
        chunk("")
    )));
    let failed = write(&[begin, text, Delta::Failed(Error::new(Kind::Server, "gone")), Delta::End], false);
    assert!(failed.contains("\"error\"") && !failed.contains("[DONE]"));
}

proptest! {
    #[test]
    fn no_request_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), prompt in "[\\[\\]\"a1,\\\\]{0,20}") {
        let _ = read_request(&bytes);
        let _ = read_request(format!(r#"{{"prompt":{prompt}}}"#).as_bytes());
    }
}
