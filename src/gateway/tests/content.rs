//! What is asked and answered is in the log of a policy that says so, and nowhere else.

use http_body_util::BodyExt;

use super::engine::{DONE, Do, Engine, WORD, answers, chunk, paris, stream_head, streams};
use super::telemetry::Log;
use super::world::{World, post};
use super::{A_THEN_B, ASK, ONLY_A, STREAM, WEB};
use crate::gateway::CONTENT;

const LOGGED: &str = "logging: {content: Always}";

#[tokio::test]
async fn a_policy_has_its_requests_and_answers_logged() {
    let log = Log::default();
    let _guard = log.listen();
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], &format!("{ONLY_A}, {LOGGED}"));
    let answer = world
        .ask_with(&[("authorization", "Bearer claims.x.web"), ("x-request-id", "request-1")], ASK)
        .await;
    let lines = log.lines(CONTENT);
    let [line] = &lines[..] else { panic!("{lines:?}") };
    for (name, value) in [
        ("id", "request-1"),
        ("policy", "claims/assistant"),
        ("answered_by", "claims/a"),
        ("asked", ASK),
        ("answered", answer.text.as_str()),
    ] {
        assert_eq!(line[name], value, "{name}");
    }
    assert_eq!((&line["status"], &line["cut"]), (&200.into(), &false.into()));
    assert!(!log.text().contains("claims.x.web"), "no credential is");
}

#[tokio::test]
async fn streams_are_logged_as_far_as_they_came_and_refusals_as_they_were_told() {
    let log = Log::default();
    let _guard = log.listen();
    let engine = Engine::start(streams(&[WORD, DONE])).await;
    let world = World::over(&[&engine], &format!("{ONLY_A}, {LOGGED}, maxBodyBytes: 2Ki"));
    let whole = world.ask(STREAM).await;
    engine.now_does(vec![stream_head(), chunk(WORD), Do::Close]);
    let mut broken = world.call(post(&WEB, STREAM)).await.into_body();
    let mut came = Vec::new();
    while let Some(Ok(frame)) = broken.frame().await {
        came.extend_from_slice(frame.data_ref().unwrap());
    }
    drop(broken);
    engine.now_does(answers(400, "", r#"{"error":{"message":"no such word"}}"#));
    let refused = world.ask(ASK).await;
    let answered: Vec<String> = log
        .lines(CONTENT)
        .iter()
        .map(|line| line["answered"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(answered, [whole.text, String::from_utf8(came).unwrap(), refused.text]);
}

#[tokio::test]
async fn no_other_policy_has_a_word_logged_whatever_goes_wrong() {
    const WORD_OF_OURS: &str = "xyzzyplugh";
    let log = Log::default();
    let _guard = log.listen();
    let (a, b) = (Engine::start(answers(500, "", WORD_OF_OURS)).await, Engine::start(paris()).await);
    let world = World::with(|options| options.access_log = true);
    world.pod("a", &[&a.url]);
    world.pod("b", &[&b.url]);
    let asked = ASK.replace("France", WORD_OF_OURS);
    for (spec, direct) in [
        (A_THEN_B.to_owned(), false),
        (format!("{A_THEN_B}, logging: {{content: Never}}"), false),
        // Where rules of the API server were bypassed.
        (format!("{A_THEN_B}, {LOGGED}, guardrails: {{redact: [Email]}}"), false),
        (format!("{A_THEN_B}, {LOGGED}"), true),
    ] {
        world.route(&spec);
        let called = if direct {
            asked.replace("assistant", "claims/a")
        } else {
            asked.clone()
        };
        for body in [
            &called,
            &format!("{called} {{"),
            &called.replace("\"messages\"", "\"stream\":true,\"messages\""),
        ] {
            world.ask(body).await;
        }
    }
    world.ask(&asked.replace("assistant", "nothing-here")).await;
    let ours: Vec<String> = log
        .text()
        .lines()
        .filter(|line| line.contains("llm_portfolio") || line.contains("access"))
        .map(str::to_owned)
        .collect();
    assert!(!ours.is_empty() && log.lines(CONTENT).is_empty());
    assert!(ours.iter().all(|line| !line.contains(WORD_OF_OURS)), "{ours:#?}");
}
