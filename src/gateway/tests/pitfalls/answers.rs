//! Answers that fail, and who is asked next: 5, 15.

use super::super::engine::{DONE, Do, Engine, OPENING, WORD, answers, chunk, paris, stream_head, streams};
use super::super::world::{Answer, World, post_to};
use super::super::{A_THEN_B, ASK, STREAM, WEB};
use super::{ONLY_M, provider};

#[tokio::test]
async fn pitfall_05_retries_after_the_first_word() {
    // The opening is held back, so that the client sees one answer.
    let (a, b) = (
        Engine::start(vec![stream_head(), chunk(OPENING), Do::Close]).await,
        Engine::start(streams(&[OPENING, WORD, DONE])).await,
    );
    let answer = World::over(&[&a, &b], A_THEN_B).ask(STREAM).await;
    assert_eq!(answer.text, [OPENING, WORD, DONE].concat());
    assert_eq!(answer.header("x-portfolio-model"), "claims/b");
    // After a word nobody else is asked, and there is no end.
    let a = Engine::start(vec![stream_head(), chunk(WORD), Do::Close]).await;
    let b = Engine::start(paris()).await;
    let answer = World::over(&[&a, &b], A_THEN_B).ask(STREAM).await;
    let end = answer.text.strip_prefix(WORD).unwrap();
    assert!(end.starts_with("data: {\"error\":{") && !end.contains("[DONE]"), "{end}");
    assert_eq!(b.requests(), 0);
    // What does something beside answering is not asked twice when it may have been begun; else it is.
    for (more, requests) in [("", 2), (r#","background":true"#, 1), (r#","tools":[{"type":"web_search"}]"#, 1)] {
        let engine = Engine::start(vec![Do::Send("HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n".to_owned())]).await;
        let world = provider(
            "OpenAI",
            &engine,
            "",
            &format!("retries: {{attempts: 1, budgetPercent: 100}}, {ONLY_M}"),
        );
        let ask = format!(r#"{{"model":"assistant","input":"hi"{more}}}"#);
        let answer = Answer::read(world.call(post_to("/v1/responses", &WEB, &ask)).await).await;
        assert_eq!(
            (answer.status.as_u16(), engine.requests()),
            (502, requests),
            "{more}: {}",
            answer.text
        );
    }
    // 429 moves on at once, and the advice of the last is passed on.
    let a = Engine::start(answers(429, "", "{}")).await;
    let b = Engine::start(answers(429, "retry-after: 9\r\n", "{}")).await;
    let answer = World::over(&[&a, &b], A_THEN_B).ask(ASK).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after"), a.requests()), (429, "9", 1));
}

#[tokio::test]
async fn pitfall_15_errors_that_are_not_what_they_seem() {
    let openai = |code: &str, message: &str| {
        format!(r#"{{"error":{{"message":"{message}","type":"invalid_request_error","param":"messages","code":"{code}"}}}}"#)
    };
    // An error under a status that promised an answer counts against the model, and another is asked.
    let failing = r#"{"error":{"message":"CUDA out of memory","type":"server_error","code":500}}"#;
    for (ask, script) in [
        (ASK, answers(200, "", failing)),
        (STREAM, streams(&[&format!("data: {failing}\n\n"), DONE])),
    ] {
        let (a, b) = (Engine::start(script).await, Engine::start(paris()).await);
        let world = World::over(&[&a, &b], A_THEN_B);
        assert_eq!(world.ask(ask).await.header("x-portfolio-model"), "claims/b");
        let line = "portfolio_gateway_upstream_attempts_total{model=\"claims/a\",outcome=\"failed\"}";
        assert_eq!(world.metric(line).await as u32, 1);
    }
    // What is about the content is the client's, and is asked of nobody else.
    let filtered = openai("content_filter", "the content was filtered");
    let long = openai("context_length_exceeded", "This model's maximum context length is 8192 tokens");
    for said in [&filtered, &long] {
        let (a, b) = (Engine::start(answers(400, "", said)).await, Engine::start(paris()).await);
        let world = World::new();
        for (name, engine) in [("a", &a), ("b", &b)] {
            let api = format!("provider: OpenAICompatible, model: x, endpoint: '{}/v1'", engine.url);
            world.provider(name, &format!("{{api: {{{api}}}, capabilities: {{contextTokens: 8192}}}}"));
        }
        world.route(A_THEN_B);
        let answer = world.ask(ASK).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text.as_str(), b.requests()),
            (400, said.as_str(), 0)
        );
    }
    // But a longer conversation fits into a larger model.
    let (a, b) = (Engine::start(answers(400, "", &long)).await, Engine::start(paris()).await);
    let world = World::new();
    for (name, engine, holds) in [("a", &a, 8192), ("b", &b, 131_072)] {
        let api = format!("provider: OpenAICompatible, model: x, endpoint: '{}/v1'", engine.url);
        world.provider(name, &format!("{{api: {{{api}}}, capabilities: {{contextTokens: {holds}}}}}"));
    }
    world.route(A_THEN_B);
    assert_eq!(world.ask(ASK).await.header("x-portfolio-model"), "claims/b");
    // And each client reads it in its own protocol, with the code that SDKs look for.
    let said = r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 1 maximum"}}"#;
    let engine = Engine::start(answers(400, "", said)).await;
    let world = provider("Anthropic", &engine, "", ONLY_M);
    let answer = world.ask(ASK).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error().0.as_str()),
        (400, "context_length_exceeded")
    );
}
