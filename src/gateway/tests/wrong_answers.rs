//! Answers with a status that promises one, and a body that is none: another model is asked, and the client is told what was wrong.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::engine::{CONTENT, DONE, Do, Engine, WORD, answers, chunk, paris, stream_end, stream_head, streams};
use super::world::{Answer, World, post_to};
use super::{A_THEN_B, ONLY_A, WEB};

const NO_ANSWER: &str = "a answered with something that is no answer of its protocol";
const EVENTS: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n";
const MESSAGE: &str = r#"{"id":"m","type":"message","role":"assistant","model":"x","content":[{"type":"text","text":"x"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;
const RESPONSE: &str = r#"{"id":"r","object":"response","status":"completed","output":[]}"#;
const VECTORS: &str = r#"{"object":"list","data":[{"index":0,"embedding":[0.5]}]}"#;

/// A request at this path.
fn asked(path: &str, is_streamed: bool) -> String {
    let fields = match path {
        "/v1/completions" => r#""prompt":"x""#,
        "/v1/embeddings" | "/v1/responses" => r#""input":"x""#,
        _ => r#""max_tokens":9,"messages":[{"role":"user","content":"x"}]"#,
    };
    format!(r#"{{"model":"assistant","stream":{is_streamed},{fields}}}"#)
}

/// What a client gets at this path from a model that does this: alone, and before another.
async fn refused(provider: &str, path: &str, is_streamed: bool, script: &[Do]) -> Answer {
    let (a, b) = (Engine::start(script.to_vec()).await, Engine::start(paris()).await);
    let world = World::new();
    world.api_with_key("a", provider, &a.url);
    world.pod("b", &[&b.url]);
    world.route(&format!("timeouts: {{firstToken: 500ms, idle: 500ms}}, {A_THEN_B}"));
    let other = Answer::read(world.call(post_to(path, &WEB, &asked(path, is_streamed))).await).await;
    assert_eq!(b.requests(), 1, "{provider} {path}: {}", other.text);
    assert_eq!(other.header("x-portfolio-attempts"), "2", "{provider} {path}");
    world.route(&format!("timeouts: {{firstToken: 500ms, idle: 500ms}}, {ONLY_A}"));
    let alone = Answer::read(world.call(post_to(path, &WEB, &asked(path, is_streamed))).await).await;
    assert!(!alone.status.is_success(), "{provider} {path}: {}", alone.text);
    alone
}

#[tokio::test]
async fn a_stream_in_place_of_an_answer_is_none_and_neither_is_an_answer_in_place_of_a_stream() {
    let openai = streams(&[WORD, DONE]);
    let anthropic = streams(&[EVENTS, "data: {\"type\":\"message_stop\"}\n\n"]);
    let json = |body| answers(200, "", body);
    for (provider, path, whole, stream) in [
        ("OpenAICompatible", "/v1/chat/completions", json(CONTENT), &openai),
        (
            "OpenAICompatible",
            "/v1/completions",
            json(r#"{"choices":[{"text":"x"}]}"#),
            &openai,
        ),
        ("OpenAICompatible", "/v1/messages", json(CONTENT), &openai),
        ("OpenAI", "/v1/responses", json(RESPONSE), &openai),
        ("Anthropic", "/v1/responses", json(MESSAGE), &anthropic),
        ("Anthropic", "/v1/messages", json(MESSAGE), &anthropic),
        ("Anthropic", "/v1/chat/completions", json(MESSAGE), &anthropic),
    ] {
        for (is_streamed, script) in [(true, &whole), (false, stream)] {
            let answer = refused(provider, path, is_streamed, script).await;
            assert_eq!(answer.status, 502, "{provider} {path} {is_streamed}");
            assert!(answer.text.contains(NO_ANSWER), "{provider} {path}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_answered_by_an_error_in_json_says_which() {
    let too_long = r#"{"error":{"message":"the maximum context length is 9","code":"context_length_exceeded"}}"#;
    let engine = Engine::start(answers(200, "", too_long)).await;
    let answer = World::over(&[&engine], ONLY_A).ask(&asked("/v1/chat/completions", true)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error().0.as_str()),
        (400, "context_length_exceeded")
    );
}

#[tokio::test]
async fn json_that_lacks_what_every_answer_has_is_none() {
    let nested = format!(r#"{{"choices":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    for (provider, path, bodies) in [
        (
            "OpenAICompatible",
            "/v1/chat/completions",
            vec![
                r#"{"a":1}"#,
                r#"{"object":"chat.completion"}"#,
                r#"{"choices":"x"}"#,
                nested.as_str(),
                VECTORS,
            ],
        ),
        ("OpenAICompatible", "/v1/completions", vec![r#"{"object":"text_completion"}"#]),
        ("OpenAICompatible", "/v1/embeddings", vec![r#"{"data":"x"}"#, CONTENT]),
        ("OpenAICompatible", "/v1/messages", vec![r#"{"a":1}"#]),
        ("OpenAI", "/v1/responses", vec![r#"{"a":1}"#, r#"{"object":"response"}"#, CONTENT]),
        ("Anthropic", "/v1/messages", vec![r#"{"a":1}"#, r#"{"content":"x"}"#, CONTENT]),
    ] {
        for body in bodies {
            let answer = refused(provider, path, false, &answers(200, "", body)).await;
            let shown = &body[..body.len().min(80)];
            assert_eq!(answer.status, 502, "{provider} {path}: {shown}");
            assert!(answer.text.contains(NO_ANSWER), "{provider} {path}: {shown}: {}", answer.text);
        }
    }
    let counted = r#"{"a":1}"#;
    let engine = Engine::start(answers(200, "", counted)).await;
    let world = World::new();
    world.api_with_key("a", "Anthropic", &engine.url);
    world.route(ONLY_A);
    let answer = world
        .ask_at("/v1/messages/count_tokens", &asked("/v1/messages/count_tokens", false))
        .await;
    assert_eq!(answer.status, 502, "{}", answer.text);
}

#[tokio::test]
async fn a_stream_that_ends_without_an_answer_is_none() {
    let stop = "data: {\"type\":\"message_stop\"}\n\n";
    let completed = "data: {\"type\":\"response.completed\"}\n\n";
    let unknown = "data: {\"a\":1}\n\n";
    for (provider, path, pieces) in [
        ("OpenAICompatible", "/v1/chat/completions", vec![DONE]),
        ("OpenAICompatible", "/v1/chat/completions", vec![unknown, DONE]),
        ("OpenAICompatible", "/v1/completions", vec![unknown, DONE]),
        ("OpenAICompatible", "/v1/messages", vec![DONE]),
        ("OpenAICompatible", "/v1/messages", vec![unknown, DONE]),
        ("OpenAICompatible", "/v1/responses", vec![unknown, DONE]),
        ("OpenAI", "/v1/responses", vec![completed]),
        ("Anthropic", "/v1/messages", vec![stop]),
        ("Anthropic", "/v1/chat/completions", vec![stop]),
    ] {
        let answer = refused(provider, path, true, &streams(&pieces)).await;
        assert_eq!(answer.status, 502, "{provider} {path} {pieces:?}");
        assert!(answer.text.contains(NO_ANSWER), "{provider} {path} {pieces:?}: {}", answer.text);
    }
    for (provider, path, pieces) in [
        ("OpenAI", "/v1/responses", vec![unknown, DONE]),
        ("Anthropic", "/v1/messages", vec![unknown, DONE]),
    ] {
        let answer = refused(provider, path, true, &streams(&pieces)).await;
        assert_eq!(answer.status, 502, "{provider} {path} {pieces:?}");
        assert!(answer.text.contains("a broke off before its answer was there"), "{}", answer.text);
    }
}

#[tokio::test]
async fn what_went_wrong_is_said_as_it_was() {
    let large = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
        "x".repeat(4 << 20)
    );
    let half = "data: {\"choices\":[{\"delta\":{\"content\":\"Par";
    let cut = vec![stream_head(), chunk(half), stream_end()];
    let stalls = vec![Do::Send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_owned()), Do::Hang];
    let foreign = vec![Do::Send("SSH-2.0-OpenSSH_9.9\r\n\r\n".to_owned()), Do::Close];
    let too_large = "a gave an answer that is larger than may be translated for this client";
    for (path, is_streamed, script, status, words) in [
        (
            "/v1/chat/completions",
            true,
            streams(&["data: not json at all\n\n"]),
            502,
            NO_ANSWER,
        ),
        ("/v1/messages", true, streams(&["data: not json at all\n\n"]), 502, NO_ANSWER),
        (
            "/v1/chat/completions",
            true,
            cut.clone(),
            502,
            "a broke off before its answer was there",
        ),
        ("/v1/messages", true, cut, 502, "a broke off before its answer was there"),
        ("/v1/messages", true, streams(&[&large]), 502, too_large),
        ("/v1/responses", true, streams(&[&large]), 502, too_large),
        (
            "/v1/chat/completions",
            false,
            stalls,
            504,
            "a stopped before its answer was there, and sent nothing more within 500ms",
        ),
        (
            "/v1/chat/completions",
            false,
            foreign,
            502,
            "a does not speak HTTP/1.1 at its address",
        ),
    ] {
        let answer = refused("OpenAICompatible", path, is_streamed, &script).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        assert!(answer.text.contains(words), "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn what_is_no_event_in_the_middle_of_an_answer_is_not_told_as_the_models_own_error() {
    for path in ["/v1/chat/completions", "/v1/messages"] {
        let gate = Arc::new(Semaphore::new(0));
        let mut script = streams(&[WORD, "data: not json at all\n\n", DONE]);
        script.insert(2, Do::Wait(gate.clone()));
        let world = World::over(&[&Engine::start(script).await], ONLY_A);
        let begun = world.call(post_to(path, &WEB, &asked(path, true))).await;
        gate.add_permits(1);
        let answer = Answer::read(begun).await;
        assert_eq!(answer.status, 200);
        assert!(
            answer.text.contains("the model sent something that is no answer of its protocol"),
            "{path}: {}",
            answer.text
        );
    }
}
