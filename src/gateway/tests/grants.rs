//! Models of other namespaces: asked where a grant says so, and from the moment on that none does, no more.

use http::StatusCode;

use super::ASK;
use super::engine::{Engine, answers, paris};
use super::world::World;
use crate::plan::reference_grant::v1::ReferenceGrantSpec;
use crate::plan::routing::Grants;

const SHARED: &str = "retries: {attempts: 0}, rules: [{targets: [{model: a, namespace: models}]}]";

/// All models of `models` for policies of `claims`.
pub(super) fn granted() -> Grants {
    let spec = "{from: [{group: llmportfolio.dev, kind: RoutingPolicy, namespace: claims}], to: [{group: llmportfolio.dev, kind: ModelDeployment}]}";
    let spec: ReferenceGrantSpec = serde_saphyr::from_str(spec).unwrap();
    let mut grants = Grants::none(Some("v1"));
    grants.add("models", &spec.from, &spec.to);
    grants
}

#[tokio::test]
async fn a_model_of_another_namespace_is_asked_while_it_is_granted() {
    let (own, foreign) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::new();
    world.pod("a", &[&own.url]);
    world.elsewhere("models", "a", &foreign.url);
    for turn in 1..=2 {
        *world.grants.lock().unwrap() = Grants::none(Some("v1"));
        world.route(SHARED);
        let (code, message) = world.ask(ASK).await.error();
        assert_eq!(code, "no_eligible_model");
        assert!(
            message.ends_with(
                "models/a is of another namespace, which has no ReferenceGrant for it: the policy's condition ResolvedRefs says which"
            ),
            "{message}"
        );
        assert!(!message.contains("ModelDeployment"), "what is there is not told: {message}");

        *world.grants.lock().unwrap() = granted();
        world.route(SHARED);
        assert_eq!(world.ask(ASK).await.status, StatusCode::OK);
        assert_eq!(
            (own.requests(), foreign.requests()),
            (0, turn),
            "the model of the same name here is another"
        );
    }
}

#[tokio::test]
async fn a_grant_to_policies_opens_no_model_to_calls_by_its_own_name() {
    let foreign = Engine::start(paris()).await;
    let world = World::new();
    world.elsewhere("models", "a", &foreign.url);
    *world.grants.lock().unwrap() = granted();
    world.route(SHARED);
    let direct = ASK.replace("\"assistant\"", "\"models/a\"");
    assert_ne!(direct, ASK);
    let answer = world.ask(&direct).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text);
    assert_eq!(foreign.requests(), 0);
}

#[tokio::test]
async fn it_is_counted_told_and_blamed_by_its_whole_name() {
    let (own, foreign) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::new();
    world.pod("a", &[&own.url]);
    world.elsewhere("models", "a", &foreign.url);
    *world.grants.lock().unwrap() = granted();
    world.route("rules: [{strategy: Ordered, targets: [{model: a, namespace: models}]}, {targets: [{model: a}]}]");
    assert_eq!(world.ask(ASK).await.status, StatusCode::OK);
    let line = "portfolio_gateway_requests_total{policy=\"claims/assistant\",model=\"models/a\",class=\"2xx\"}";
    assert_eq!(world.metric(line).await, 1.0, "{}", world.get("/metrics", &[]).await.text);
    let report: crate::plan::traffic::Report = serde_json::from_str(&world.get("/report", &[]).await.text).unwrap();
    let models = &report.policies["claims/assistant"].counts.models;
    assert_eq!(models.keys().collect::<Vec<_>>(), ["models/a"]);
}

#[tokio::test]
async fn budgets_of_namespaces_are_those_of_the_clients() {
    let foreign = Engine::start(paris()).await;
    let world = World::new();
    world.elsewhere("models", "a", &foreign.url);
    *world.grants.lock().unwrap() = granted();
    world.route(
        "clients: [{serviceAccounts: {namespaces: [claims, models]}}], budgets: [{per: Namespace, tokens: 60, window: Day}], \
         rules: [{targets: [{model: a, namespace: models}]}]",
    );
    let ask = r#"{"model": "assistant", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}"#;
    let mut last = StatusCode::OK;
    for _ in 0..20 {
        last = world.ask(ask).await.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS, "what `claims` spends is its own");
    let other = world.ask_with(&[("authorization", "Bearer models.x.web")], ask).await;
    assert_eq!(other.status, StatusCode::OK, "{}", other.text);
}

#[tokio::test]
async fn a_failing_model_elsewhere_gives_way_to_one_at_home() {
    let (own, foreign) = (Engine::start(paris()).await, Engine::start(answers(500, "", "{}")).await);
    let world = World::new();
    world.pod("a", &[&own.url]);
    world.elsewhere("models", "a", &foreign.url);
    *world.grants.lock().unwrap() = granted();
    world.route("retries: {attempts: 0}, rules: [{targets: [{model: a, namespace: models}], fallback: [{model: a}]}]");
    assert_eq!(world.ask(ASK).await.status, StatusCode::OK);
    assert_eq!((own.requests(), foreign.requests()), (1, 1));
    let line = "portfolio_gateway_fallbacks_total{policy=\"claims/assistant\",from=\"models/a\",to=\"claims/a\"}";
    assert_eq!(world.metric(line).await, 1.0, "{}", world.get("/metrics", &[]).await.text);
}
