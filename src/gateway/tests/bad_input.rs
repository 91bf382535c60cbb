//! Clients that send what is no request: every protocol says so in its own shape, and no model is asked.

use axum::body::Body;
use http::Request;
use serde_json::Value;

use super::ONLY_A;
use super::engine::{Engine, paris};
use super::world::{Answer, World, post_to};
use crate::gateway::Credentials;

const WEB: [(&str, &str); 2] = [("authorization", "Bearer claims.x.web"), ("x-request-id", "req1")];

/// The path of each operation, and a request without its end.
const OPERATIONS: [(&str, &str); 6] = [
    (
        "/v1/chat/completions",
        r#"{"model":"assistant","messages":[{"role":"user","content":"hi"}]"#,
    ),
    ("/v1/completions", r#"{"model":"assistant","prompt":"hi","max_tokens":9"#),
    ("/v1/embeddings", r#"{"model":"assistant","input":"hi""#),
    ("/v1/responses", r#"{"model":"assistant","input":"hi""#),
    (
        "/v1/messages",
        r#"{"model":"assistant","max_tokens":9,"messages":[{"role":"user","content":"hi"}]"#,
    ),
    (
        "/v1/messages/count_tokens",
        r#"{"model":"assistant","messages":[{"role":"user","content":"hi"}]"#,
    ),
];

/// The words of an error that has the fields of its protocol, and the field that it is about, where the protocol has a place for that.
fn told(path: &str, answer: &Answer) -> (String, Option<String>) {
    let json: Value = serde_json::from_str(&answer.text).unwrap_or_else(|e| panic!("{path}: {e}: {}", answer.text));
    let keys = |value: &Value| {
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort_unstable();
        keys.join(" ")
    };
    assert_eq!(answer.header("content-type"), "application/json", "{path}");
    if path.starts_with("/v1/messages") {
        assert_eq!(keys(&json), "error request_id type", "{path}: {}", answer.text);
        assert_eq!(keys(&json["error"]), "message type", "{path}: {}", answer.text);
        assert_eq!(
            (&json["type"], &json["request_id"]),
            (&Value::from("error"), &Value::from("req1")),
            "{path}"
        );
    } else {
        assert_eq!(keys(&json), "error", "{path}: {}", answer.text);
        assert_eq!(keys(&json["error"]), "code message param type", "{path}: {}", answer.text);
    }
    let text = |name: &str| json["error"][name].as_str().map(str::to_owned);
    (text("message").unwrap(), text("param"))
}

async fn ask(world: &World, path: &str, body: impl Into<Body>) -> Answer {
    let mut request = post_to(path, &WEB, "");
    *request.body_mut() = body.into();
    Answer::read(world.call(request).await).await
}

#[tokio::test]
async fn a_body_that_is_no_request_is_refused_in_every_protocol() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], ONLY_A);
    for (path, begun) in OPERATIONS {
        let bodies: [(&str, Vec<u8>); 10] = [
            ("without its end", begun.into()),
            ("with more after its end", format!("{begun}}}}}").into()),
            ("not JSON", b"hello".to_vec()),
            ("empty", Vec::new()),
            ("a list", b"[]".to_vec()),
            ("a text", b"\"assistant\"".to_vec()),
            ("without a model", b"{}".to_vec()),
            ("a model that is no text", br#"{"model":1}"#.to_vec()),
            ("two models", format!(r#"{begun},"model":"other"}}"#).into()),
            ("not UTF-8", [begun.as_bytes(), b",\"x\":\"\xff\"}"].concat()),
        ];
        for (name, body) in bodies {
            let answer = ask(&world, path, body).await;
            assert_eq!(answer.status, 400, "{path}, {name}: {}", answer.text);
            let (words, param) = told(path, &answer);
            assert!(words.len() > 10 && words.len() < 300, "{path}, {name}: {words}");
            if name.contains("model") && !path.starts_with("/v1/messages") {
                assert_eq!(param.as_deref(), Some("model"), "{path}, {name}");
            }
        }
        let pieces = [Ok(begun.as_bytes().to_vec()), Err(std::io::Error::other("cut"))];
        let answer = ask(&world, path, Body::from_stream(futures::stream::iter(pieces))).await;
        assert_eq!(answer.status, 400, "{path}, cut: {}", answer.text);
        assert_eq!(told(path, &answer).0, "the request ended too early");
    }
    assert_eq!(engine.requests(), 0);
}

#[tokio::test]
async fn a_compressed_body_is_told_to_be_sent_uncompressed_in_every_protocol() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], ONLY_A);
    for (path, begun) in OPERATIONS {
        let answer = ask(&world, path, b"\x1f\x8b\x08\0\0".to_vec()).await;
        assert_eq!(answer.status, 400, "{path}");
        assert_eq!(told(path, &answer).0, "the body is compressed with gzip: send it uncompressed");

        let mut request = post_to(path, &WEB, &format!("{begun}}}"));
        request.headers_mut().insert("content-encoding", "br".parse().unwrap());
        let answer = Answer::read(world.call(request).await).await;
        assert_eq!(answer.status, 415, "{path}");
        assert_eq!(
            told(path, &answer).0,
            "the body is compressed (Content-Encoding: br), which is not unpacked here: send it uncompressed"
        );
    }
    assert_eq!(engine.requests(), 0);
}

#[tokio::test]
async fn a_field_of_a_wrong_type_is_named_before_another_protocols_model_is_asked() {
    let engine = Engine::start(paris()).await;
    let world = World::new();
    world.api("claude", "Anthropic", &engine.url);
    world.api("mistral", "Mistral", &engine.url);
    world.route("rules: [{targets: [{model: claude}]}]");
    for (path, field) in [
        ("/v1/chat/completions", "messages"),
        ("/v1/completions", "prompt"),
        ("/v1/responses", "input"),
        ("/v1/messages", "messages"),
        ("/v1/messages/count_tokens", "messages"),
    ] {
        if path.starts_with("/v1/messages") {
            world.route("rules: [{targets: [{model: mistral}]}]");
        }
        let answer = ask(&world, path, format!(r#"{{"model":"assistant","max_tokens":9,"{field}":7}}"#)).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text);
        let (words, param) = told(path, &answer);
        assert!(words.starts_with(&format!("{field} must be a ")), "{path}: {words}");
        assert!(words.ends_with(", is 7"), "{path}: {words}");
        assert!(
            path.starts_with("/v1/messages") || param.as_deref() == Some(field),
            "{path}: {param:?}"
        );
    }
    assert_eq!(engine.requests(), 0);
}

#[tokio::test]
async fn an_unknown_model_is_told_with_those_there_are_in_every_protocol() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], ONLY_A);
    for (path, begun) in OPERATIONS {
        let answer = ask(&world, path, format!("{begun}}}").replace("assistant", "made-up")).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
        let (words, _) = told(path, &answer);
        assert_eq!(
            words, "there is no model \"made-up\" here: you may call assistant, claims/a",
            "{path}"
        );
    }
    assert_eq!(engine.requests(), 0);
}

#[tokio::test]
async fn what_cannot_be_asked_there_is_told_in_the_protocol_of_the_path() {
    let world = World::over(&[], ONLY_A);
    for (path, _) in OPERATIONS {
        for method in ["GET", "PUT", "DELETE"] {
            let request = Request::builder().method(method).uri(path).header("x-request-id", "req1");
            let answer = Answer::read(world.call(request.body(Body::empty()).unwrap()).await).await;
            assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "POST"), "{method} {path}");
            assert!(
                told(path, &answer).0.starts_with(&format!("{path} does not take {method}")),
                "{path}"
            );
        }
    }
    for path in ["/v1/messages/batches", "/v1/files"] {
        let answer = ask(&world, path, "{}").await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(told(path, &answer).0.starts_with(&format!("there is nothing at {path}")), "{path}");
    }
}

/// The answer to a stream that the provider refuses is one piece of JSON, and says so.
#[tokio::test]
async fn a_refusal_of_a_stream_is_no_stream() {
    let refusal = r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 1 maximum"}}"#;
    let inside = format!("event: error\ndata: {refusal}\n\n");
    let whole = super::engine::answers(400, "", refusal);
    let begun = super::engine::streams(&[&inside]);
    for script in [whole, begun] {
        let engine = Engine::start(script).await;
        let world = World::new();
        world.api("m", "Anthropic", &engine.url);
        world
            .source
            .credentials
            .send_replace(Credentials::new([world.credential("m", "sk-1")], &Credentials::default()).into());
        world.route("rules: [{targets: [{model: m}]}]");
        for (path, begun) in OPERATIONS {
            if path.ends_with("embeddings") || path.ends_with("count_tokens") {
                continue;
            }
            let answer = ask(&world, path, format!(r#"{begun},"stream":true}}"#)).await;
            assert_eq!(answer.status, 400, "{path}: {}", answer.text);
            assert_eq!(answer.header("content-type"), "application/json", "{path}: {}", answer.text);
            assert!(answer.text.contains("prompt is too long"), "{path}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn tools_in_the_older_form_are_tools_too() {
    let engine = Engine::start(paris()).await;
    let world = World::new();
    world.declared("a", &engine.url, "{tools: false}");
    world.route(ONLY_A);
    let answer = world
        .ask(r#"{"model":"assistant","messages":[],"functions":[{"name":"look","parameters":{}}]}"#)
        .await;
    assert_eq!((answer.status.as_u16(), engine.requests()), (400, 0), "{}", answer.text);
    assert!(
        answer.text.contains("functions are given, and the model calls none"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn where_there_is_no_cluster_nobody_is_asked_for_its_tokens() {
    let engine = Engine::start(paris()).await;
    for (world, has_accounts) in [(World::new(), true), (World::without_kubernetes(), false)] {
        world.pod("a", &[&engine.url]);
        world.route(ONLY_A);
        let answer = world.ask_with(&[], super::ASK).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.text.contains("service account"), has_accounts, "{}", answer.text);
        assert!(answer.text.contains("with an API key"), "{}", answer.text);
    }
}
