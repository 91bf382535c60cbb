//! Who may call what, and what a client is told that may not.

use std::sync::atomic::Ordering;

use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures::FutureExt;
use http::Request;

use super::engine::{Engine, paris};
use super::world::{Answer, World, post};
use super::{ASK, ONLY_A, WEB};
use crate::gateway::ApiKeys;
use crate::plan::api_key::ApiKey;

fn token(token: &str) -> [(&'static str, String); 1] {
    [("authorization", format!("Bearer {token}"))]
}

async fn ask_as(world: &World, bearer: &str) -> Answer {
    let headers = token(bearer);
    world
        .ask_with(&headers.each_ref().map(|(name, value)| (*name, value.as_str())), ASK)
        .await
}

#[tokio::test]
async fn a_client_without_credentials_is_told_how_to_get_in() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], ONLY_A);
    let answer = world.ask_with(&[], ASK).await;
    assert_eq!((answer.status.as_u16(), answer.header("www-authenticate")), (401, "Bearer"));
    let (code, message) = answer.error();
    assert_eq!(code, "invalid_api_key");
    assert!(message.contains(
        "send `Authorization: Bearer` (or `x-api-key`) with an API key, or a service account's token for the audience llmportfolio.dev"
    ));
    for (header, start) in [
        ("Basic dTpw", "the credentials are not understood"),
        ("Bearer ", "the credentials are not understood"),
        ("Bearer sk-unknown", "the API key is not known"),
        ("Bearer stranger.x.web", "the token was refused"),
    ] {
        let answer = world.ask_with(&[("authorization", header)], ASK).await;
        assert_eq!(answer.status, 401, "{header}");
        assert!(answer.error().1.starts_with(start), "{header}: {}", answer.text);
    }
    assert_eq!(engine.requests(), 0);
}

#[tokio::test]
async fn a_known_client_that_is_not_admitted_is_told_by_whom_it_would_be() {
    let engine = Engine::start(paris()).await;
    let answer = ask_as(&World::over(&[&engine], ONLY_A), "other.x.web").await;
    assert_eq!(answer.status, 403);
    let expected = "service account other/web may not call assistant: RoutingPolicy claims/assistant must admit it in spec.clients";
    assert_eq!(answer.error(), ("not_admitted".to_owned(), expected.to_owned()));
}

#[tokio::test]
async fn an_api_key_is_known_by_its_hash_and_admitted_by_its_labels() {
    let engine = Engine::start(paris()).await;
    let world = World::over(
        &[&engine],
        &format!("clients: [{{apiKeys: {{matchLabels: {{team: claims}}}}}}], {ONLY_A}"),
    );
    let key = |team: &str| ApiKey {
        name: format!("key-{team}"),
        labels: [("team".to_owned(), team.to_owned())].into(),
        ..ApiKey::default()
    };
    let hashes = [super::hash("sk-claims"), super::hash("sk-sales").to_uppercase()];
    let keys = ApiKeys::new(hashes.into_iter().zip([key("claims"), key("sales")]));
    world.source.api_keys.send_replace(keys.into());
    assert_eq!(ask_as(&world, "sk-claims").await.status, 200);
    let answer = ask_as(&world, "sk-sales").await;
    assert_eq!(answer.status, 403);
    assert!(answer.error().1.starts_with("API key key-sales may not call assistant"));
    assert_eq!(ask_as(&world, "sk-other").await.status, 401);
    world.source.api_keys.send_replace(ApiKeys::default().into());
    assert_eq!(ask_as(&world, "sk-claims").await.status, 401);
}

#[tokio::test]
async fn anonymous_clients_are_served_where_both_installer_and_policy_allow_it() {
    let engine = Engine::start(paris()).await;
    let world = World::with(|options| options.allow_anonymous = true);
    world.pod("a", &[&engine.url]);
    world.route(ONLY_A);
    assert_eq!(world.ask_with(&[], ASK).await.status, 403);
    world.route(&format!("clients: [{{anonymous: {{}}}}], {ONLY_A}"));
    assert_eq!(world.ask_with(&[], ASK).await.status, 200);
    assert_eq!(ask_as(&world, "sk-whatever-the-sdk-wants").await.status, 200);
    assert_eq!(ask_as(&world, "stranger.x.web").await.status, 401);
    let direct = ASK.replace("assistant", "claims/a");
    assert_eq!(world.ask_with(&[], &direct).await.status, 404);
    assert!(!world.get("/v1/models", &[]).await.text.contains("claims/a"));
}

#[tokio::test]
async fn a_model_is_called_directly_only_from_its_own_namespace() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], "rules: [{targets: [{model: nope}]}]");
    let direct = ASK.replace("assistant", "claims/a");
    let answer = world.ask(&direct).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-portfolio-model")), (200, "claims/a"));
    let answer = world.ask_with(&[("authorization", "Bearer other.x.web")], &direct).await;
    let none = ASK.replace("assistant", "claims/none");
    let of_none = world.ask_with(&[("authorization", "Bearer other.x.web")], &none).await;
    // Which models a namespace has is told to nobody else.
    assert_eq!((answer.status.as_u16(), of_none.status.as_u16()), (404, 404));
    assert_eq!(answer.error().1, of_none.error().1.replace("claims/none", "claims/a"));
}

#[tokio::test]
async fn the_installer_leaves_direct_calls_to_some_service_accounts() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], ONLY_A);
    world.settings.lock().unwrap().direct_callers = vec!["evaluations".to_owned()];
    world.route(ONLY_A);
    let direct = ASK.replace("assistant", "claims/a");
    for (token, status) in [("claims.x.evaluations", 200), ("claims.x.web", 403), ("other.x.evaluations", 404)] {
        let answer = world.ask_with(&[("authorization", &format!("Bearer {token}"))], &direct).await;
        assert_eq!(answer.status, status, "{token}");
    }
    let (_, message) = world.ask(&direct).await.error();
    assert_eq!(
        message,
        "service account claims/web may not call claims/a: of its own namespace only the service account evaluations may call a model directly (directCallers of the settings)"
    );
    assert!(!world.get("/v1/models", &WEB).await.text.contains("claims/a"));
    assert_eq!(world.ask(ASK).await.status, 200, "policies are as before");
}

#[tokio::test]
async fn a_token_is_reviewed_once_a_minute_and_by_one_request_of_many() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], ONLY_A);
    let answers = futures::future::join_all((0..20).map(|_| world.ask(ASK))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    for _ in 0..5 {
        world.ask(ASK).await;
    }
    assert_eq!(world.reviewer.calls.load(Ordering::SeqCst), 1);
    for _ in 0..5 {
        assert_eq!(ask_as(&world, "stranger.x.web").await.status, 401);
    }
    assert_eq!(world.reviewer.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_expired_token_is_refused_without_asking() {
    let world = World::new();
    let expired = BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp":0,"iss":"kubernetes"}"#);
    assert_eq!(ask_as(&world, &format!("claims.{expired}.web")).await.status, 401);
    assert_eq!(world.reviewer.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn while_kubernetes_does_not_answer_known_clients_go_on_and_others_are_told() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], ONLY_A);
    world.reviewer.is_down.store(true, Ordering::SeqCst);
    let answer = world.ask(ASK).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error().0.as_str()),
        (503, "authentication_unavailable")
    );
    world.reviewer.is_down.store(false, Ordering::SeqCst);
    assert_eq!(world.ask(ASK).await.status, 200);
    world.reviewer.is_down.store(true, Ordering::SeqCst);
    assert_eq!(world.ask(ASK).await.status, 200);
}

#[tokio::test]
async fn clients_that_hang_up_leave_their_turn_to_others() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], ONLY_A);
    world.reviewer.is_silent.store(true, Ordering::SeqCst);
    for index in 0..20 {
        assert!(ask_as(&world, &format!("claims.{index}.web")).now_or_never().is_none());
    }
    world.reviewer.is_silent.store(false, Ordering::SeqCst);
    assert_eq!(world.ask(ASK).await.status, 200);
    assert_eq!(ask_as(&world, "claims.0.web").await.status, 200);
}

#[tokio::test]
async fn an_unknown_model_is_named_and_does_not_become_a_label() {
    let world = World::over(&[], ONLY_A);
    let answer = world.ask(&ASK.replace("assistant", "made-up")).await;
    assert_eq!(answer.status, 404);
    let (code, message) = answer.error();
    assert_eq!(code, "model_not_found");
    assert!(message.starts_with("there is no model \"made-up\" here: you may call assistant"));
    assert_eq!(
        world
            .metric("portfolio_gateway_requests_total{policy=\"_unknown\",model=\"_none\",class=\"4xx\"}")
            .await as u32,
        1
    );
    assert!(!world.get("/metrics", &[]).await.text.contains("made-up"));
}

#[tokio::test]
async fn a_policy_without_an_eligible_model_says_why_each_is_out() {
    let world = World::new();
    world.pod("a", &[]);
    world.route("rules: [{targets: [{model: a}], fallback: [{model: nope}]}]");
    let answer = world.ask(ASK).await;
    assert_eq!(answer.status, 503);
    let expected = "no model of RoutingPolicy claims/assistant, rule 1, may answer now: a has no ready pod; nope does not exist: create ModelDeployment \
                    claims/nope, or take it out of the policy";
    assert_eq!(answer.error(), ("no_eligible_model".to_owned(), expected.to_owned()));
}

#[tokio::test]
async fn a_body_that_is_not_a_request_is_refused_with_its_field() {
    let world = World::over(&[], ONLY_A);
    for (body, param) in [
        ("hello", "null"),
        ("{}", "\"model\""),
        (r#"{"model":1}"#, "\"model\""),
        (r#"{"model":"m","stream":2}"#, "\"stream\""),
    ] {
        let answer = world.ask(body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.error().0.as_str()),
            (400, "invalid_request"),
            "{body}"
        );
        assert!(answer.text.contains(&format!("\"param\":{param}")), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_announced_or_not() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], &format!("maxBodyBytes: 1Ki, {ONLY_A}"));
    assert_eq!(world.ask(ASK).await.status, 200);
    let large = ASK.replace("France", &"x".repeat(1024));
    let answer = world.ask(&large).await;
    assert_eq!((answer.status.as_u16(), answer.error().0.as_str()), (413, "request_too_large"));
    let announced = world.ask_with(&[("authorization", "Bearer claims.x.web"), ("content-length", "33554433")], ASK);
    assert_eq!(announced.await.status, 413, "beyond what any policy takes nothing is read");
    let pieces = large
        .into_bytes()
        .chunks(64)
        .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()))
        .collect::<Vec<_>>();
    let mut request = post(&[("authorization", "Bearer claims.x.web")], "");
    *request.body_mut() = Body::from_stream(futures::stream::iter(pieces));
    assert_eq!(Answer::read(world.call(request).await).await.status, 413);
}

#[tokio::test]
async fn bodies_that_are_only_announced_keep_nobody_out() {
    let engine = Engine::start(paris()).await;
    let world = World::with(|options| options.max_body_bytes_together = 64 << 10);
    world.pod("a", &[&engine.url]);
    world.route(ONLY_A);
    assert_eq!(world.ask(ASK).await.status, 200);
    let announcing = || {
        let mut request = post(&[("authorization", "Bearer claims.x.web"), ("content-length", "32768")], "");
        *request.body_mut() = Body::from_stream(futures::stream::pending::<std::io::Result<Vec<u8>>>());
        world.call(request).boxed()
    };
    let mut waiting = [announcing(), announcing()];
    for request in &mut waiting {
        assert!(request.now_or_never().is_none());
    }
    assert_eq!(world.ask(ASK).await.status, 200);
}

#[tokio::test]
async fn a_body_that_comes_in_pieces_is_put_together() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], ONLY_A);
    let pieces = ASK
        .as_bytes()
        .chunks(7)
        .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()))
        .collect::<Vec<_>>();
    let mut request = post(&[("authorization", "Bearer claims.x.web")], "");
    *request.body_mut() = Body::from_stream(futures::stream::iter(pieces));
    assert_eq!(Answer::read(world.call(request).await).await.status, 200);
    assert_eq!(engine.last().body, ASK.replace("assistant", "a").as_bytes());
}

#[tokio::test]
async fn the_list_of_models_is_the_clients_own() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], ONLY_A);
    let ids = |answer: Answer| {
        let json: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
        assert_eq!(json["object"], "list");
        json["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let list = |bearer| token(bearer).map(|(name, value)| (name, value));
    for (bearer, expected) in [("claims.x.web", vec!["assistant", "claims/a"]), ("other.x.web", vec![])] {
        let headers = list(bearer);
        assert_eq!(
            ids(world.get("/v1/models", &headers.each_ref().map(|(n, v)| (*n, v.as_str()))).await),
            expected
        );
    }
    assert_eq!(world.get("/v1/models", &[]).await.status, 401);
}

#[tokio::test]
async fn what_is_not_there_is_told_in_the_same_shape() {
    let world = World::new();
    let answer = world.get("/v1/files", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.error().0.as_str()), (404, "not_found"));
    let answer = world.get("/v1/chat/completions", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.error().0.as_str()), (405, "method_not_allowed"));
    assert_eq!(answer.header("allow"), "POST");
    let delete = Request::delete("/v1/models").body(Body::empty()).unwrap();
    assert_eq!(Answer::read(world.call(delete).await).await.error().0, "method_not_allowed");
}

#[tokio::test]
async fn the_gateway_is_ready_from_its_first_table_on() {
    let world = World::new();
    assert_eq!(world.get("/healthz", &[]).await.status, 200);
    assert_eq!(world.get("/readyz", &[]).await.status, 503);
    assert_eq!(world.ask(ASK).await.error().0, "not_ready");
    world.route(ONLY_A);
    assert_eq!(world.get("/readyz", &[]).await.status, 200);
}
