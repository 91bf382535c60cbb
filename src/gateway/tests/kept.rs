//! Answers that are kept: given again to who asked the very same, and to nobody else.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::sync::Semaphore;

use super::engine::{CONTENT, DONE, Do, Engine, OPENING, WORD, answers, chunk, paris, stream_head, streams};
use super::world::{Answer, World, pass, post, post_to};
use super::{A_THEN_B, ASK, ONLY_A, STREAM, WEB};

fn kept(rules: &str) -> String {
    format!("{rules}, cache: {{mode: Exact, for: 10m}}, clients: [{{serviceAccounts: {{}}}}, {{serviceAccounts: {{namespaces: [other]}}}}]")
}

/// Whether the answer was kept, and who gave it.
fn told(answer: &Answer) -> (u16, &str, &str) {
    (
        answer.status.as_u16(),
        answer.header("x-portfolio-cache"),
        answer.header("x-portfolio-model"),
    )
}

const MISS: (u16, &str, &str) = (200, "miss", "claims/a");
const HIT: (u16, &str, &str) = (200, "hit", "claims/a");

#[tokio::test]
async fn an_answer_is_given_again_for_as_long_as_the_policy_says_and_costs_nothing() {
    let engine = Engine::start(paris()).await;
    let world = World::new();
    world.pod_with("a", &engine.url, "price: {inputPer1M: '1000000', outputPer1M: '0'}");
    world.route(&format!(
        "{}, budgets: [{{per: Policy, usd: '30', window: Day}}], limits: [{{per: Client, requestsPerMinute: 4}}]",
        kept(ONLY_A)
    ));
    let first = world.ask(ASK).await;
    assert_eq!((told(&first), first.header("x-portfolio-cost-usd")), (MISS, "3"));
    let again = world.ask(ASK).await;
    assert_eq!(
        (told(&again), again.text.as_str(), again.header("content-type")),
        (HIT, CONTENT, "application/json")
    );
    assert_eq!(
        (
            again.header("x-portfolio-cost-usd"),
            again.header("x-portfolio-attempts"),
            again.header("age")
        ),
        ("0", "0", "0")
    );
    pass(Duration::from_secs(599)).await;
    assert_eq!((told(&world.ask(ASK).await), engine.requests()), (HIT, 1));
    pass(Duration::from_secs(2)).await;
    assert_eq!(told(&world.ask(ASK).await), MISS, "its time is over");
    assert_eq!(world.ask(ASK).await.status, 429, "limits count what was kept as well");
    let count = async |outcome: &str| {
        world
            .metric(&format!(
                "portfolio_gateway_cache_requests_total{{policy=\"claims/assistant\",outcome=\"{outcome}\"}}"
            ))
            .await
    };
    assert_eq!((count("hit").await, count("miss").await), (2.0, 2.0));
    let cost = world
        .metric("portfolio_gateway_cost_usd_total{policy=\"claims/assistant\",model=\"claims/a\"}")
        .await;
    assert!((cost - 6.0).abs() < 1e-9, "{cost}");
}

#[tokio::test]
async fn without_the_field_nothing_is_kept_or_told() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], ONLY_A);
    for _ in 0..2 {
        assert_eq!(told(&world.ask(ASK).await), (200, "", "claims/a"));
    }
    assert_eq!(engine.requests(), 2);
}

#[tokio::test]
async fn nobody_gets_what_was_kept_for_another_client_class_operation_or_request() {
    let engine = Engine::start(paris()).await;
    let world = World::new();
    *world.settings.lock().unwrap() = serde_saphyr::from_str("{dataClasses: {Internal: {}, Personal: {}}}").unwrap();
    world.pod("a", &[&engine.url]);
    world.route(&kept(ONLY_A));
    let longer = ASK.replace("France?", "France? ");
    let ask = async |token: &str, more: &[(&str, &str)], body: &str, path: &str| {
        let token = format!("Bearer {token}");
        let headers: Vec<(&str, &str)> = [("authorization", token.as_str())].iter().chain(more).copied().collect();
        Answer::read(world.call(post_to(path, &headers, body)).await).await
    };
    let chat = "/v1/chat/completions";
    for _ in 0..2 {
        for (at, (token, more, body, path)) in [
            ("claims.x.web", &[][..], ASK, chat),
            ("claims.x.batch", &[], ASK, chat),
            ("other.x.web", &[], ASK, chat),
            ("claims.x.web", &[("x-data-class", "Personal")], ASK, chat),
            ("claims.x.web", &[("anthropic-beta", "a")], ASK, chat),
            ("claims.x.web", &[], longer.as_str(), chat),
            ("claims.x.web", &[], "{\"model\":\"assistant\",\"prompt\":\"x\"}", "/v1/completions"),
        ]
        .into_iter()
        .enumerate()
        {
            let before = engine.requests();
            let answer = ask(token, more, body, path).await;
            let is_hit = answer.header("x-portfolio-cache") == "hit";
            assert_eq!(answer.status, 200, "{at}: {}", answer.text);
            assert_eq!(is_hit, engine.requests() == before, "{at}");
            assert_eq!(is_hit, before >= 7, "{at}");
        }
    }
    assert_eq!(engine.requests(), 7);
}

#[tokio::test]
async fn another_policy_or_model_or_pod_leaves_what_was_kept_behind() {
    let (one, two) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::new();
    world.pod("a", &[&one.url]);
    world.route(&kept(ONLY_A));
    assert_eq!((told(&world.ask(ASK).await), told(&world.ask(ASK).await)), (MISS, HIT));
    world.route(&kept(ONLY_A));
    assert_eq!(told(&world.ask(ASK).await), HIT, "a table that says the same");
    world.route(&format!("{}, retries: {{attempts: 2}}", kept(ONLY_A)));
    assert_eq!(told(&world.ask(ASK).await), MISS, "another policy");
    world.route(&kept(ONLY_A));
    world.pod("a", &[&two.url]);
    world.route(&kept(ONLY_A));
    assert_eq!(told(&world.ask(ASK).await), MISS, "another pod");
    world.pod("b", &[&one.url]);
    world.route(&kept("rules: [{targets: [{model: b}]}]"));
    assert_eq!(world.ask(ASK).await.header("x-portfolio-cache"), "miss", "another model");
    // One that may not answer any more, as after a verdict: what it said is not given again by any way.
    world.route(&kept(A_THEN_B));
    assert_eq!((told(&world.ask(ASK).await), told(&world.ask(ASK).await)), (MISS, HIT));
    world.model("a", "{selfHosted: {engine: {kind: VLLM}}, tier: General}", "{}");
    world.route(&format!("{}, require: {{tiers: [Regulated]}}", kept(A_THEN_B)));
    assert_eq!(world.ask(ASK).await.status, 503);
}

#[tokio::test]
async fn a_stream_is_given_again_byte_by_byte_if_it_was_whole() {
    let engine = Engine::start(streams(&[OPENING, WORD, WORD, DONE])).await;
    let world = World::over(&[&engine], &kept(ONLY_A));
    let first = world.ask(STREAM).await;
    let again = world.ask(STREAM).await;
    assert_eq!((told(&first), told(&again), engine.requests()), (MISS, HIT, 1));
    assert_eq!((&again.text, again.header("content-type")), (&first.text, "text/event-stream"));
    assert_eq!(again.headers.get("trailer"), None);

    let gate = Arc::new(Semaphore::new(0));
    for script in [
        vec![stream_head(), chunk(WORD), Do::Close],
        streams(&[WORD]),
        streams(&[WORD, "data: {\"error\":{\"message\":\"m\"}}\n\n"]),
        vec![stream_head(), chunk(WORD), Do::Wait(gate.clone()), chunk(DONE)],
    ] {
        let told = format!("{script:?}");
        let waits = script.iter().any(|step| matches!(step, Do::Wait(_)));
        let engine = Engine::start(script).await;
        let world = World::over(&[&engine], &kept(ONLY_A));
        for _ in 0..2 {
            let mut body = world.call(post(&WEB, STREAM)).await.into_body();
            match waits {
                // Its client hangs up.
                true => drop(body.frame().await),
                false => while body.frame().await.is_some() {},
            }
        }
        assert_eq!(engine.requests(), 2, "{told}");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_an_error_or_a_fallbacks_is_not_kept() {
    let long = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
        "x".repeat(40 << 10)
    );
    let pieces: Vec<&str> = std::iter::repeat_n(long.as_str(), 27).chain([DONE]).collect();
    let engine = Engine::start(streams(&pieces)).await;
    let world = World::over(&[&engine], &kept(ONLY_A));
    for _ in 0..2 {
        assert_eq!(told(&world.ask(STREAM).await), MISS);
    }
    let refuses = Engine::start(answers(
        400,
        "",
        "{\"error\":{\"message\":\"m\",\"type\":\"invalid_request_error\"}}",
    ))
    .await;
    let world = World::over(&[&refuses], &kept(ONLY_A));
    for _ in 0..2 {
        assert_eq!(told(&world.ask(ASK).await), (400, "miss", "claims/a"));
    }
    let (fails, other) = (Engine::start(answers(500, "", "{}")).await, Engine::start(paris()).await);
    let world = World::over(&[&fails, &other], &kept(A_THEN_B));
    assert_eq!(told(&world.ask(ASK).await), (200, "miss", "claims/b"));
    fails.now_does(paris());
    assert_eq!(told(&world.ask(ASK).await), MISS, "the model itself is asked as soon as it is well");
}

#[tokio::test]
async fn whoever_wants_nothing_kept_is_obeyed_and_what_has_effects_is_never_kept() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], &kept(ONLY_A));
    let ask = async |cache_control: &str| world.ask_with(&[WEB[0], ("cache-control", cache_control)], ASK).await;
    assert_eq!(told(&ask("max-age=0, No-Store").await), (200, "bypass", "claims/a"));
    assert_eq!(told(&ask("no-cache").await), MISS, "nothing was kept, and this is");
    assert_eq!(told(&world.ask(ASK).await), HIT);
    assert_eq!(told(&ask("no-cache").await), MISS);
    assert_eq!(told(&ask("no-store").await), (200, "bypass", "claims/a"));
    let before = engine.requests();
    for body in [
        ASK.replace("{\"model\"", "{\"web_search_options\":{},\"model\""),
        ASK.replace("{\"model\"", "{\"store\":true,\"model\""),
    ] {
        for _ in 0..2 {
            assert_eq!(world.ask(&body).await.header("x-portfolio-cache"), "bypass", "{body}");
        }
    }
    assert_eq!(engine.requests(), before + 4);
}
