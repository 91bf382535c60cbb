//! No more is asked of a provider than it lets us have (`spec.api.limits`): the next model answers.

use std::sync::Arc;

use http::StatusCode;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;

use super::engine::{DONE, Do, Engine, WORD, answers, chunk, paris, stream_head};
use super::world::{World, post};
use super::{A_THEN_B, ASK, ONLY_A, WEB};

const STREAMED: &str = r#"{"model":"assistant","max_tokens":1,"messages":[],"stream":true}"#;

/// A gateway whose model `a` is behind a provider with these limits, and `b` is not.
fn limited(a: &Engine, b: &Engine, limits: &str) -> World {
    let world = World::new();
    let api = format!("provider: OpenAICompatible, model: x, endpoint: '{}/v1', limits: {limits}", a.url);
    world.provider("a", &format!("{{api: {{{api}}}}}"));
    world.pod("b", &[&b.url]);
    world
}

async fn answered_by(world: &World, body: &str) -> String {
    let answer = world.ask(body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.header("x-portfolio-model").to_owned()
}

#[tokio::test]
async fn requests_above_those_of_a_minute_go_to_the_next_model_and_without_one_are_told_when_to_come_back() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = limited(&a, &b, "{requestsPerMinute: 2}");
    world.route(A_THEN_B);
    let mut by = Vec::new();
    for _ in 0..3 {
        by.push(answered_by(&world, ASK).await);
    }
    assert_eq!(by, ["claims/a", "claims/a", "claims/b"]);
    let attempts = r#"portfolio_gateway_upstream_attempts_total{model="claims/a",outcome="over_limits"}"#;
    assert!((world.metric(attempts).await - 1.0).abs() < f64::EPSILON);

    world.route(ONLY_A);
    let refused = world.ask(ASK).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "30"));
    let (code, message) = refused.error();
    assert_eq!(
        (code.as_str(), message.as_str()),
        (
            "rate_limit_exceeded",
            "no model of RoutingPolicy claims/assistant answered: a has as many requests in a minute as its provider lets us have (spec.api.limits)"
        )
    );
    assert_eq!(a.requests(), 2);
}

#[tokio::test]
async fn every_attempt_counts_of_all_policies() {
    let (a, b) = (Engine::start(answers(500, "", "{}")).await, Engine::start(paris()).await);
    let world = limited(&a, &b, "{requestsPerMinute: 3}");
    world.route(&format!("{A_THEN_B}, retries: {{attempts: 2}}"));
    answered_by(&world, ASK).await;
    assert_eq!(a.requests(), 1, "it is asked no more while another is well");
    world.route(&format!("{ONLY_A}, retries: {{attempts: 2}}"));
    let refused = world.ask(ASK).await;
    assert_eq!(refused.status.as_u16(), 429, "{}", refused.text);
    assert_eq!(a.requests(), 3, "the third attempt of the second request was one too many");
}

#[tokio::test]
async fn tokens_count_as_the_longest_answer_and_then_as_what_it_was() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = limited(&a, &b, "{tokensPerMinute: 1000}");
    world.route(A_THEN_B);
    let long = r#"{"model":"assistant","max_tokens":700,"messages":[{"role":"user","content":"x"}]}"#;
    // Each may take 700, and takes what the engine reports.
    for _ in 0..2 {
        assert_eq!(answered_by(&world, long).await, "claims/a");
    }
    let used = r#"{"id":"1","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":300,"completion_tokens":600}}"#;
    a.now_does(answers(200, "", used));
    assert_eq!(answered_by(&world, long).await, "claims/a");
    assert_eq!(answered_by(&world, long).await, "claims/b");
}

#[tokio::test]
async fn streams_count_at_one_time_until_their_end() {
    let go = Arc::new(Semaphore::new(0));
    let a = Engine::start(vec![stream_head(), chunk(WORD), Do::Wait(go.clone()), chunk(DONE), Do::Close]).await;
    let b = Engine::start(paris()).await;
    let world = limited(&a, &b, "{concurrent: 1}");
    world.route(ONLY_A);
    let mut open = world.call(post(&WEB, STREAMED)).await.into_body();
    open.frame().await.unwrap().unwrap();
    let refused = world.ask(ASK).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "1"));
    drop(open);
    a.now_does(paris());
    assert_eq!(answered_by(&world, ASK).await, "claims/a");
}

#[tokio::test]
async fn what_a_limit_refuses_keeps_nothing_of_a_budget() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = limited(&a, &b, "{requestsPerMinute: 1}");
    world.route(&format!("{ONLY_A}, budgets: [{{per: Policy, window: Day, tokens: 1000000}}]"));
    answered_by(&world, ASK).await;
    let spent = r#"portfolio_gateway_budget_spent_ratio{policy="claims/assistant",budget="1"}"#;
    let before = world.metric(spent).await;
    assert_eq!(world.ask(ASK).await.status.as_u16(), 429);
    assert!((world.metric(spent).await - before).abs() < f64::EPSILON);
}
