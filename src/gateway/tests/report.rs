//! What a gateway says of itself to the operator.

use http::StatusCode;

use super::engine::{Engine, answers, paris, streams};
use super::world::World;
use super::{A_THEN_B, ASK};
use crate::plan::traffic::{OfPolicy, Report};

const POLICY: &str = "claims/assistant";

async fn report(world: &World) -> Report {
    serde_json::from_str(&world.get("/report", &[]).await.text).unwrap()
}

async fn told(world: &World) -> OfPolicy {
    report(world).await.policies.remove(POLICY).unwrap()
}

/// A model for which a million tokens of answers cost so many dollars.
fn priced(world: &World, name: &str, url: &str, dollars: &str) {
    let price = format!("price: {{inputPer1M: '0', outputPer1M: '{dollars}'}}");
    world.provider(
        name,
        &format!("{{api: {{provider: OpenAICompatible, model: x, endpoint: '{url}/v1'}}, {price}}}"),
    );
}

#[tokio::test]
async fn requests_are_counted_with_what_they_cost_and_saved() {
    let (cheap, dear) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::new();
    priced(&world, "cheap", &cheap.url, "1000000");
    priced(&world, "dear", &dear.url, "3000000");
    world.route("rules: [{strategy: Ordered, targets: [{model: cheap}, {model: dear}]}]");
    assert!(report(&world).await.policies.is_empty(), "nobody has asked");
    for _ in 0..3 {
        let answer = world.ask(ASK).await;
        assert_eq!(answer.status, StatusCode::OK);
        let told = answer.header("x-portfolio-cost-usd").parse::<f64>().unwrap();
        assert!(told >= 1.0, "{told}");
    }
    let counts = told(&world).await.counts;
    let model = counts.models["cheap"];
    assert_eq!((counts.requests, counts.errors, counts.durations.count()), (3, 0, 3));
    assert_eq!((model.requests, model.unpriced), (3, 0));
    assert!(model.cost >= 3_000_000_000);
    assert_eq!(model.saved, 2 * model.cost, "the dear one would have cost three times as much");
    assert!(!counts.models.contains_key("dear"));
}

#[tokio::test]
async fn the_version_that_a_provider_answers_with_is_told_and_that_of_our_own_pods_is_not() {
    let body = |version: &str| {
        let choice = r#"[{"index":0,"message":{"role":"assistant","content":"Paris"},"finish_reason":"stop"}]"#;
        format!(r#"{{"id":"1","object":"chat.completion","created":1,"model":"{version}","choices":{choice}}}"#)
    };
    let event = |version: &str| {
        let choice = r#"[{"index":0,"delta":{"content":"Paris"},"finish_reason":"stop"}]"#;
        format!(
            "data: {{\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"{version}\",\"choices\":{choice}}}\n\n"
        )
    };
    let (provider, pod) = (
        Engine::start(answers(200, "", &body("gpt-4o-2024-05-13"))).await,
        Engine::start(paris()).await,
    );
    let world = World::over(&[&pod], "rules: [{targets: [{model: a}]}]");
    priced(&world, "gpt", &provider.url, "1");
    assert_eq!(world.ask(ASK).await.status, StatusCode::OK);
    assert!(report(&world).await.versions.is_empty(), "our own pods run what they were given");
    world.route("rules: [{targets: [{model: gpt}]}]");
    assert_eq!(world.ask(ASK).await.status, StatusCode::OK);
    let versions = report(&world).await.versions;
    assert_eq!(versions, [("claims/gpt".to_owned(), "gpt-4o-2024-05-13".to_owned())].into());
    provider.now_does(streams(&[&event("gpt-4o-2024-08-06"), "data: [DONE]\n\n"]));
    let streamed = ASK.replacen('{', "{\"stream\":true,", 1);
    assert_eq!(world.ask(&streamed).await.status, StatusCode::OK);
    assert_eq!(report(&world).await.versions["claims/gpt"], "gpt-4o-2024-08-06");
}

#[tokio::test]
async fn what_fails_is_an_error_and_what_is_refused_is_none() {
    let broken = Engine::start(answers(500, "", "{}")).await;
    let world = World::over(
        &[&broken],
        "retries: {attempts: 0}, limits: [{per: Policy, requestsPerMinute: 1}], rules: [{targets: [{model: a}]}]",
    );
    assert_eq!(world.ask(ASK).await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(world.ask(ASK).await.status, StatusCode::TOO_MANY_REQUESTS);
    let counts = told(&world).await.counts;
    assert_eq!((counts.requests, counts.errors, counts.durations.count()), (2, 1, 0));
}

#[tokio::test]
async fn a_model_whose_endpoints_all_rest_is_named() {
    let (broken, well) = (Engine::start(answers(500, "", "{}")).await, Engine::start(paris()).await);
    let world = World::over(&[&broken, &well], A_THEN_B);
    for _ in 0..5 {
        assert_eq!(world.ask(ASK).await.status, StatusCode::OK);
    }
    assert_eq!(told(&world).await.resting.into_iter().collect::<Vec<_>>(), ["a"]);
}

#[tokio::test]
async fn budgets_are_told_without_who_shares_them() {
    let engine = Engine::start(paris()).await;
    let world = World::over(
        &[&engine],
        "budgets: [{per: Policy, tokens: 100000, window: Day}, {per: Client, tokens: 20, window: Hour}], rules: [{targets: [{model: a}]}]",
    );
    let ask = ASK.replace("{\"model\"", "{\"max_tokens\":5,\"model\"");
    while world.ask(&ask).await.status == StatusCode::OK {}
    let budgets = told(&world).await.budgets;
    assert_eq!(budgets.keys().collect::<Vec<_>>(), ["1/tokens/Day", "2/tokens/Hour"]);
    let (all, one) = (budgets["1/tokens/Day"], budgets["2/tokens/Hour"]);
    assert_eq!((all.accounts, all.exhausted), (1, 0));
    assert_eq!((one.accounts, one.exhausted), (1, 1));
    assert_eq!(all.taken - all.unspent, one.taken - one.unspent, "both counted the same requests");
    assert!(!world.get("/report", &[]).await.text.contains("claims/web"));
}
