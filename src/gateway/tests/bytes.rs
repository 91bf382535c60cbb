//! What passes to models and back, and what does not.

use axum::body::Body;
use http::Request;

use super::engine::{Engine, answers, paris};
use super::world::{Answer, World};
use super::{ASK, ONLY_A};
use crate::gateway::Credentials;

#[tokio::test]
async fn the_models_name_is_the_only_thing_that_changes() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], ONLY_A);
    let body = "{\"seed\":9007199254740993, \"z\":1.0,\"x_custom\":{\"model\":\"assistant\"},\n \"messages\":[{\"content\":\"\\u00e9 \\/\"}],\t\"model\" : \"assistant\", \"a_last\":null}";
    let answer = world.ask(body).await;
    assert_eq!(answer.status, 200);
    let seen = engine.last();
    assert_eq!(
        String::from_utf8(seen.body).unwrap(),
        body.replace("\"model\" : \"assistant\"", "\"model\" : \"a\"")
    );
    assert!(seen.head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{}", seen.head);
    assert!(
        seen.head
            .contains(&format!("host: {}\r\n", engine.url.strip_prefix("http://").unwrap()))
    );
}

#[tokio::test]
async fn the_answer_passes_as_it_is_and_says_who_gave_it() {
    let text = "{\"choices\": [ ],\"x\":1.0, \"model\":\"a\"}\n";
    let engine = Engine::start(answers(200, "", text)).await;
    let world = World::over(&[&engine], ONLY_A);
    let answer = world
        .ask_with(&[("authorization", "Bearer claims.x.web"), ("x-request-id", "my-id-7")], ASK)
        .await;
    assert_eq!(answer.text, text);
    assert_eq!(answer.header("x-portfolio-model"), "claims/a");
    assert_eq!(answer.header("x-portfolio-attempts"), "1");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-request-id"), "my-id-7");
    assert!(engine.last().head.contains("x-request-id: my-id-7\r\n"));
}

#[tokio::test]
async fn an_id_that_is_not_fit_to_be_one_is_replaced() {
    let world = World::new();
    for id in ["", "two words", &"x".repeat(200)] {
        let answer = world.get("/v1/models", &[("x-request-id", id)]).await;
        assert_eq!(answer.header("x-request-id").len(), 32, "{id:?}");
    }
}

#[tokio::test]
async fn clients_of_anthropic_find_the_id_where_their_sdk_looks_and_errors_in_their_shape() {
    let world = World::new();
    for path in [
        "/v1/models",
        "/v1/models/nobody",
        "/v1/messages",
        "/v1/messages/batches",
        "/v1/nothing",
    ] {
        let answer = world
            .get(path, &[("anthropic-version", "2023-06-01"), ("x-request-id", "my-id-7")])
            .await;
        let error: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
        assert_eq!(
            (answer.header("request-id"), answer.header("x-request-id")),
            ("my-id-7", "my-id-7"),
            "{path}"
        );
        assert_eq!(
            (&error["type"], &error["request_id"]),
            (&"error".into(), &"my-id-7".into()),
            "{path}: {error}"
        );
    }
    let answer = world.get("/v1/models", &[]).await;
    assert_eq!(answer.header("request-id"), "");
    assert_eq!(answer.error().0, "invalid_api_key");
}

#[tokio::test]
async fn an_error_in_another_shape_than_the_protocols_is_put_into_it() {
    let theirs = r#"{"error":{"code":400,"message":"9 tokens exceed the available context size","type":"exceed_context_size_error"}}"#;
    let engine = Engine::start(answers(400, "", theirs)).await;
    let world = World::new();
    world.api("claude", "Anthropic", &engine.url);
    let credentials = Credentials::new([world.credential("claude", "sk-1")], &Credentials::default());
    world.source.credentials.send_replace(std::sync::Arc::new(credentials));
    world.route("rules: [{targets: [{model: claude}]}]");
    for stream in [true, false] {
        let body = format!(r#"{{"model":"assistant","max_tokens":9,"messages":[],"stream":{stream}}}"#);
        let request = Request::post("/v1/messages")
            .header("x-api-key", "claims.x.web")
            .header("x-request-id", "my-id-7");
        let answer = Answer::read(world.call(request.body(Body::from(body)).unwrap()).await).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (400, "application/json"));
        assert_eq!(
            answer.text,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens exceed the available context size"},"request_id":"my-id-7"}"#
        );
    }
    let streamed = world
        .ask(r#"{"model":"assistant","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#)
        .await;
    assert_eq!(
        (streamed.status.as_u16(), streamed.header("content-type")),
        (400, "application/json")
    );
    assert_eq!(streamed.error().0, "context_length_exceeded");
    // In the client's own protocol it passes as it is.
    assert_eq!(World::over(&[&engine], ONLY_A).ask(ASK).await.text, theirs);
}

#[tokio::test]
async fn what_identifies_the_client_stays_here() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], ONLY_A);
    let secrets = [
        ("authorization", "Bearer claims.secret.web"),
        ("x-api-key", "secret"),
        ("api-key", "secret"),
        ("cookie", "session=secret"),
        ("x-stainless-os", "secret"),
        ("x-forwarded-for", "10.1.2.3"),
        ("openai-organization", "secret"),
        ("connection", "x-hop"),
        ("x-hop", "secret"),
        ("te", "trailers"),
        ("accept-encoding", "gzip"),
        ("user-agent", "secret"),
        ("traceparent", "00-1-2-01"),
    ];
    assert_eq!(world.ask_with(&secrets, ASK).await.status, 200);
    let head = engine.last().head.to_ascii_lowercase();
    for absent in [
        "secret",
        "authorization",
        "cookie",
        "stainless",
        "forwarded",
        "10.1.2.3",
        "hop",
        "te:",
        "gzip",
    ] {
        assert!(!head.contains(absent), "{absent} in {head}");
    }
    assert!(head.contains("traceparent: 00-1-2-01\r\n") && head.contains("user-agent: llm-portfolio/"));
}

#[tokio::test]
async fn what_identifies_the_provider_stays_here() {
    let leaks = "set-cookie: a=b\r\nopenai-organization: org-1\r\nx-request-id: theirs\r\nserver: uvicorn\r\nlocation: http://10.0.0.1/\r\nretry-after: 3\r\n";
    let engine = Engine::start(answers(200, leaks, "{\"choices\":[]}")).await;
    let answer = World::over(&[&engine], ONLY_A).ask(ASK).await;
    let mut names: Vec<&str> = answer.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    let expected = [
        "content-length",
        "content-type",
        "retry-after",
        "x-portfolio-attempts",
        "x-portfolio-cost-usd",
        "x-portfolio-estimated",
        "x-portfolio-model",
        "x-request-id",
    ];
    assert_eq!(names, expected);
    assert_ne!(answer.header("x-request-id"), "theirs");
}

#[tokio::test]
async fn an_api_model_is_called_by_its_own_name_with_our_credentials_and_follows_their_rotation() {
    let engine = Engine::start(paris()).await;
    let world = World::new();
    world.api("gpt", "OpenAICompatible", &engine.url);
    world.route("rules: [{targets: [{model: gpt}]}]");
    let without = world.ask(ASK).await;
    assert_eq!(without.status, 502);
    assert_eq!(engine.requests(), 0);
    for secret in ["sk-first", "sk-second\n"] {
        let credentials = Credentials::new([world.credential("gpt", secret)], &Credentials::default());
        assert_eq!(format!("{credentials:?}"), "Credentials(1 models)");
        world.source.credentials.send_replace(credentials.into());
        assert_eq!(world.ask(ASK).await.status, 200);
        let seen = engine.last();
        assert!(
            seen.head.contains(&format!("authorization: Bearer {}\r\n", secret.trim())),
            "{}",
            seen.head
        );
        assert!(seen.body.starts_with(br#"{"model":"gpt-5-mini","#));
    }
}

#[tokio::test]
async fn a_key_is_not_sent_where_the_model_was_pointed_since() {
    let (first, second) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::new();
    world.api("gpt", "OpenAI", &first.url);
    world
        .source
        .credentials
        .send_replace(Credentials::new([world.credential("gpt", "sk-first")], &Credentials::default()).into());
    world.api("gpt", "OpenAI", &second.url);
    world.route("rules: [{targets: [{model: gpt}]}]");
    assert_eq!(world.ask(ASK).await.status, 502);
    assert_eq!(second.requests(), 0);
}

#[tokio::test]
async fn each_provider_is_called_where_it_wants_to_be_and_shown_what_it_wants_to_see() {
    let engine = Engine::start(paris()).await;
    let world = World::new();
    for (provider, path, shown) in [
        ("OpenAI", "/v1/chat/completions", "authorization: Bearer sk-1\r\n"),
        ("OpenAICompatible", "/v1/chat/completions", "authorization: Bearer sk-1\r\n"),
        ("Mistral", "/v1/chat/completions", "authorization: Bearer sk-1\r\n"),
        ("AzureOpenAI", "/v1/openai/v1/chat/completions", "api-key: sk-1\r\n"),
        ("Anthropic", "/v1/messages", "x-api-key: sk-1\r\n"),
        ("Gemini", "/v1/models/gpt-5-mini:generateContent", "x-goog-api-key: sk-1\r\n"),
    ] {
        world.api("m", provider, &engine.url);
        world
            .source
            .credentials
            .send_replace(Credentials::new([world.credential("m", "sk-1")], &Credentials::default()).into());
        world.route("rules: [{targets: [{model: m}]}]");
        world.ask(ASK).await;
        let head = engine.last().head;
        assert!(head.starts_with(&format!("POST {path} HTTP/1.1\r\n")), "{provider}: {head}");
        assert!(head.contains(shown), "{provider}: {head}");
        assert_eq!(head.matches("sk-1").count(), 1, "{provider}: {head}");
    }
}

#[tokio::test]
async fn what_the_client_did_wrong_is_told_in_the_models_own_words() {
    for status in [400, 413, 422] {
        let body = r#"{"error":{"message":"max_tokens is too large"}}"#;
        let engine = Engine::start(answers(status, "", body)).await;
        let other = Engine::start(paris()).await;
        let answer = World::over(&[&engine, &other], super::A_THEN_B).ask(ASK).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (status, body));
        assert_eq!(other.requests(), 0);
    }
}
