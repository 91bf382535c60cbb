//! Copies of requests for models whose answers nobody sees: what the client gets does not change by a byte, and what the copies do is bounded,
//! governed and counted apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use http::StatusCode;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::engine::{CONTENT, DONE, Do, Engine, OPENING, WORD, answers, chunk, paris, stream_end, stream_head, streams};
use super::telemetry::Log;
use super::world::{Answer, World};
use super::{ASK, ONLY_A, STREAM, WEB};
use crate::gateway::Memory;
use crate::plan::routing::{Grants, Terms};
use crate::plan::traffic::{OfPolicy, OfShadow, Report};

/// Model `a` answers, and `b` gets a copy of every request.
const COPIED: &str = "rules: [{targets: [{model: a}]}], shadow: [{model: b, percent: 100}]";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";

async fn report(world: &World) -> OfPolicy {
    let report: Report = serde_json::from_str(&world.get("/report", &[]).await.text).unwrap();
    report.policies.get("claims/assistant").cloned().unwrap_or_default()
}

/// What was counted of copies for a model.
async fn of(world: &World, model: &str) -> OfShadow {
    report(world).await.counts.shadows.remove(model).unwrap_or_default()
}

async fn of_b(world: &World) -> OfShadow {
    of(world, "b").await
}

/// Waits until so many copies for `b` have ended or were skipped, and says what was counted.
async fn settled(world: &World, count: u64) -> OfShadow {
    settled_of(world, "b", count).await
}

async fn settled_of(world: &World, model: &str, count: u64) -> OfShadow {
    let ended = async {
        loop {
            let of = of(world, model).await;
            if of.requests + of.skipped.values().sum::<u64>() >= count {
                return of;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended)
        .await
        .expect("the copies end in time")
}

fn skipped(of: &OfShadow) -> Vec<(&str, u64)> {
    of.skipped.iter().map(|(reason, count)| (reason.as_str(), *count)).collect()
}

/// Everything that a client sees of an answer, but for the id that each has for itself.
fn seen(mut answer: Answer) -> String {
    answer.headers.remove("x-request-id");
    let mut headers: Vec<String> = answer.headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
    headers.sort();
    format!("{} {headers:?} {} {}", answer.status, answer.text, answer.is_whole)
}

#[tokio::test]
async fn a_copy_is_the_request_itself_without_who_asked_and_its_answer_is_nobodys() {
    let (a, b) = (
        Engine::start(paris()).await,
        Engine::start(answers(200, "", &CONTENT.replace("Paris", "Berlin"))).await,
    );
    let world = World::over(&[&a, &b], COPIED);
    let headers = [
        ("authorization", "Bearer claims.x.web"),
        ("x-request-id", "mine"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("x-other", "secret"),
    ];
    let answer = world.ask_with(&headers, ASK).await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, CONTENT));
    assert_eq!(answer.header("x-portfolio-model"), "claims/a");
    let of = settled(&world, 1).await;
    assert_eq!((of.requests, of.errors, of.durations.count()), (1, 0, 1));
    let copy = b.last();
    let (got, asked): (Value, Value) = (serde_json::from_slice(&copy.body).unwrap(), serde_json::from_str(ASK).unwrap());
    assert_eq!(got["messages"], asked["messages"]);
    assert!(copy.head.contains("x-request-id: mine"), "{}", copy.head);
    for word in ["authorization", "traceparent", "secret", "claims.x.web"] {
        assert!(!copy.head.contains(word), "{}", copy.head);
    }
    assert_eq!((a.requests(), b.requests()), (1, 1));
}

#[tokio::test]
async fn whatever_becomes_of_the_copy_the_client_gets_the_same_bytes() {
    let a = Engine::start(paris()).await;
    let alone = World::over(&[&a], ONLY_A);
    let (plain, streamed) = (seen(alone.ask(ASK).await), seen(alone.ask(STREAM).await));
    for (how, script) in [
        ("answers", paris()),
        ("is silent", vec![Do::Hang]),
        ("closes", vec![Do::Close]),
        ("fails", answers(500, "", "{}")),
        ("has no capacity", answers(429, "retry-after: 60\r\n", "{}")),
        ("refuses", answers(400, "", r#"{"error":{"message":"no"}}"#)),
        ("speaks no HTTP", vec![Do::Send("hello\r\n\r\n".to_owned()), Do::Close]),
        ("stops in the middle", vec![stream_head(), chunk(WORD), Do::Hang]),
        ("never ends", vec![stream_head(), Do::Flood(super::engine::chunked(WORD))]),
    ] {
        let b = Engine::start(script).await;
        let world = World::over(&[&a, &b], COPIED);
        assert_eq!(seen(world.ask(ASK).await), plain, "{how}");
        b.until(|counts| counts.requests >= 1).await;
        assert_eq!(seen(world.ask(STREAM).await), streamed, "{how}");
        assert_eq!(report(&world).await.counts.errors, 0, "{how}");
    }
    let world = World::over(&[&a], COPIED);
    world.pod("b", &[&Engine::nowhere().await]);
    world.route(COPIED);
    assert_eq!(seen(world.ask(ASK).await), plain, "it is nowhere");
    let of = settled(&world, 1).await;
    assert_eq!((of.requests, of.errors), (1, 1));
}

#[tokio::test]
async fn a_stream_is_read_to_its_end_though_its_client_has_gone() {
    let gate = Arc::new(Semaphore::new(0));
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    b.now_does(vec![
        stream_head(),
        chunk(OPENING),
        chunk(WORD),
        Do::Wait(gate.clone()),
        chunk(USAGE),
        chunk(DONE),
        stream_end(),
    ]);
    let world = World::over(&[&a, &b], COPIED);
    assert!(world.ask(STREAM).await.is_whole);
    b.until(|counts| counts.requests == 1).await;
    assert_eq!(world.metric("portfolio_gateway_shadows_in_flight").await, 1.0);
    assert_eq!(world.metric("portfolio_gateway_requests_in_flight").await, 0.0);
    gate.add_permits(1);
    let of = settled(&world, 1).await;
    assert_eq!((of.requests, of.errors), (1, 0));
    let line = r#"portfolio_gateway_shadow_tokens_total{policy="claims/assistant",model="claims/b",kind="output"}"#;
    assert_eq!(world.metric(line).await, 2.0);
    assert_eq!(world.metric("portfolio_gateway_shadows_in_flight").await, 0.0);
}

#[tokio::test]
async fn one_that_breaks_in_the_middle_is_an_error_of_the_shadow() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(streams(&[OPENING, WORD])).await);
    let world = World::over(&[&a, &b], COPIED);
    assert!(world.ask(STREAM).await.is_whole);
    let of = settled(&world, 1).await;
    assert_eq!((of.requests, of.errors, of.durations.count()), (1, 1, 0));
    let line = r#"portfolio_gateway_shadow_requests_total{policy="claims/assistant",model="claims/b",outcome="cut"}"#;
    assert_eq!(world.metric(line).await, 1.0);
    assert_eq!(
        world
            .metric(r#"portfolio_gateway_broken_answers_total{model="claims/b",outcome="cut"}"#)
            .await,
        0.0
    );
}

#[tokio::test]
async fn what_is_not_answered_or_must_not_be_done_twice_is_not_copied() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let terms = "{metadata: {name: blocked, namespace: claims, labels: {llmportfolio.dev/terms: 'true'}}, data: {terms.txt: falcon}}";
    let map: ConfigMap = serde_saphyr::from_str(terms).unwrap();
    let world = World::over(&[&a, &b], COPIED);
    *world.terms.lock().unwrap() = Terms::of([&map], &Terms::default());
    world.route(&format!(
        "{COPIED}, guardrails: {{blockedTerms: {{configMapRef: {{name: blocked, key: terms.txt}}}}}}, limits: [{{per: Policy, \
         requestsPerMinute: 5}}]"
    ));
    let count = r#"{"model":"assistant","max_tokens":5,"messages":[{"role":"user","content":"x"}]}"#;
    assert_eq!(world.ask_at("/v1/messages/count_tokens", count).await.status, StatusCode::OK);
    assert_eq!(world.ask(&ASK.replace("France", "falcon")).await.status, StatusCode::BAD_REQUEST);
    a.once_does(answers(400, "", r#"{"error":{"message":"no"}}"#));
    assert_eq!(world.ask(ASK).await.status, StatusCode::BAD_REQUEST);
    a.once_does(answers(500, "", "{}"));
    a.once_does(answers(500, "", "{}"));
    world.ask(ASK).await;
    assert_eq!(of_b(&world).await, OfShadow::default(), "none of these was even due");
    let searching = ASK.replace("{\"model\"", "{\"web_search_options\":{},\"model\"");
    assert_eq!(world.ask(&searching).await.status, StatusCode::OK);
    assert_eq!(skipped(&settled(&world, 1).await), [("has_effects", 1)]);
    assert_eq!(world.ask(ASK).await.status, StatusCode::TOO_MANY_REQUESTS);

    world.route(COPIED);
    let stored = ASK.replace("{\"model\"", "{\"store\":true,\"model\"");
    assert_eq!(world.ask(&stored).await.status, StatusCode::OK);
    assert_eq!(skipped(&settled(&world, 2).await), [("has_effects", 1), ("kept_elsewhere", 1)]);
    assert_eq!(b.requests(), 0);
}

#[tokio::test]
async fn an_answer_that_was_kept_is_not_copied_again() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::over(&[&a, &b], &format!("{COPIED}, cache: {{mode: Exact, for: 10m}}"));
    for _ in 0..3 {
        assert_eq!(world.ask(ASK).await.status, StatusCode::OK);
    }
    settled(&world, 1).await;
    assert_eq!(world.ask(&ASK.replace("France", "Spain")).await.header("x-portfolio-cache"), "miss");
    settled(&world, 2).await;
    assert_eq!((a.requests(), b.requests()), (2, 2));
}

#[tokio::test]
async fn a_shadow_behind_an_api_sees_no_more_than_a_target_there_would() {
    let (own, api) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::over(&[&own], ONLY_A);
    let settings =
        "{dataClasses: {Internal: {}, Personal: {classes: [Open, Custom]}}, detection: {identifiers: [Phone], dataClass: Personal}}";
    *world.settings.lock().unwrap() = serde_saphyr::from_str(settings).unwrap();
    world.api_with_key("b", "OpenAI", &api.url);
    let policy = format!("guardrails: {{redact: [Email]}}, {COPIED}");
    world.route(&policy);
    let asked = ASK.replace("France", "jo@example.com");
    assert_eq!(world.ask(&asked).await.status, StatusCode::OK);
    settled(&world, 1).await;
    let (seen, copied) = (
        String::from_utf8(own.last().body).unwrap(),
        String::from_utf8(api.last().body).unwrap(),
    );
    assert!(seen.contains("jo@example.com"), "{seen}");
    assert!(copied.contains("capital") && !copied.contains("jo@example.com"), "{copied}");
    assert!(api.last().head.contains("authorization: Bearer sk-x"), "{}", api.last().head);
    assert_eq!(
        world
            .metric("portfolio_gateway_redacted_identifiers_total{policy=\"claims/assistant\"}")
            .await,
        0.0
    );

    // By its header, by what is in it, and by what it may cost.
    let headers = [("authorization", "Bearer claims.x.web"), ("x-data-class", "Personal")];
    assert_eq!(world.ask_with(&headers, ASK).await.status, StatusCode::OK);
    assert_eq!(world.ask(&ASK.replace("France", "+49 30 901820")).await.status, StatusCode::OK);
    assert_eq!(skipped(&settled(&world, 3).await), [("class_not_allowed", 2)]);
    world.route(&format!("require: {{maxCostPerRequestUSD: '0.000001'}}, {policy}"));
    let long = ASK.replace("{\"model\"", "{\"max_tokens\":9,\"model\"");
    assert_eq!(world.ask(&long).await.status, StatusCode::OK);
    world.route(&format!("require: {{tiers: [General], classes: [Open]}}, {policy}"));
    assert_eq!(world.ask(ASK).await.status, StatusCode::OK);
    assert_eq!(
        skipped(&settled(&world, 5).await),
        [("class_not_allowed", 3), ("cost_not_known", 1)]
    );
    assert_eq!(api.requests(), 1);
}

#[tokio::test]
async fn what_the_shadow_cannot_do_is_not_put_to_it() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::over(&[&a], ONLY_A);
    world.declared("b", &b.url, "{tools: false}");
    world.route(COPIED);
    let tools = ASK.replace(
        "{\"model\"",
        "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}],\"model\"",
    );
    assert_eq!(world.ask(&tools).await.status, StatusCode::OK);
    assert_eq!(skipped(&settled(&world, 1).await), [("unfit", 1)]);
    assert_eq!(b.requests(), 0);
}

static SECOND: AtomicI64 = AtomicI64::new(0);

#[tokio::test]
async fn its_budget_is_its_own_and_when_it_is_used_up_clients_do_not_notice() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let store = Memory::default();
    let world = || {
        let clock = || Timestamp::from_second(SECOND.load(Ordering::SeqCst)).unwrap();
        let world = World::with(|options| (options.now, options.ledger) = (clock, Arc::new(store.clone())));
        let price = |output| format!("price: {{inputPer1M: '0', outputPer1M: '{output}'}}");
        world.pod_with("a", &a.url, &price("1000000"));
        world.pod_with("b", &b.url, &price("1000000"));
        world.route(
            "rules: [{targets: [{model: a}]}], budgets: [{per: Policy, usd: '100', window: Day}, {per: Client, usd: '50', window: Day}],
             limits: [{per: Client, tokensPerMinute: 1000000}],
             shadow: [{model: b, percent: 100, budget: {usd: '2', window: Day}}]",
        );
        world
    };
    let ask = async |world: &World, so_far| {
        let one = r#"{"model":"assistant","max_tokens":1,"messages":[]}"#;
        assert_eq!(world.ask(one).await.status, StatusCode::OK);
        settled(world, so_far).await
    };
    let first = world();
    for so_far in 1..=5 {
        ask(&first, so_far).await;
    }
    let of = of_b(&first).await;
    assert_eq!((of.requests, of.cost, skipped(&of)), (2, 2_000_000_000, vec![("over_budget", 3)]));
    assert_eq!((a.requests(), b.requests()), (5, 2));
    let told = report(&first).await;
    let spent = |name: &str| {
        let budget = told.budgets[name];
        budget.taken - budget.unspent
    };
    assert_eq!(spent("1/usd/Day"), 5_000_000_000, "of clients' requests only");
    assert_eq!(spent("2/usd/Day"), 5_000_000_000);
    assert_eq!(spent("shadow:b/usd/Day"), 2_000_000_000);
    assert_eq!(told.budgets["shadow:b/usd/Day"].exhausted, 1);
    let cost = "portfolio_gateway_cost_usd_total{policy=\"claims/assistant\",model=\"claims/a\"}";
    assert_eq!(first.metric(cost).await, 5.0);
    assert_eq!(first.metric("portfolio_gateway_shadow_cost_usd_total").await, 0.0);
    let cost = "portfolio_gateway_shadow_cost_usd_total{policy=\"claims/assistant\",model=\"claims/b\"}";
    assert_eq!(first.metric(cost).await, 2.0);

    // Another gateway, or the same one after a restart.
    let second = world();
    assert_eq!(skipped(&ask(&second, 1).await), [("over_budget", 1)]);
    SECOND.store(24 * 60 * 60, Ordering::SeqCst);
    assert_eq!(ask(&second, 2).await.requests, 1, "it begins anew");
    assert_eq!(b.requests(), 3);
}

#[tokio::test]
async fn a_shadow_of_another_namespace_gets_copies_while_it_is_granted_and_is_told_by_its_whole_name() {
    let (a, foreign) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::over(&[&a], ONLY_A);
    world.elsewhere("models", "a", &foreign.url);
    let policy =
        "rules: [{targets: [{model: a}]}], shadow: [{model: a, namespace: models, percent: 100, budget: {tokens: 1000000, window: Day}}]";
    *world.grants.lock().unwrap() = Grants::none(Some("v1"));
    world.route(policy);
    assert_eq!(world.ask(ASK).await.status, StatusCode::OK);
    let of = async |count| settled_of(&world, "models/a", count).await;
    assert_eq!(skipped(&of(1).await), [("ref_not_permitted", 1)]);
    assert_eq!(foreign.requests(), 0);

    *world.grants.lock().unwrap() = super::grants::granted();
    world.route(policy);
    assert_eq!(world.ask(ASK).await.status, StatusCode::OK);
    assert_eq!((of(2).await.requests, foreign.requests(), a.requests()), (1, 1, 2));
    assert!(report(&world).await.budgets.contains_key("shadow:models/a/tokens/Day"));
    let text = world.get("/metrics", &[]).await.text;
    let line = r#"portfolio_gateway_budget_spent_ratio{policy="claims/assistant",budget="shadow:models/a"}"#;
    assert!(text.contains(line), "{text}");
}

#[tokio::test]
async fn a_shadow_whose_price_is_not_known_gets_nothing_under_a_budget_of_dollars() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::over(&[&a], ONLY_A);
    world.api_with_key("b", "OpenAI", &b.url);
    world.route("rules: [{targets: [{model: a}]}], shadow: [{model: b, percent: 100, budget: {usd: '2', window: Day}}]");
    assert_eq!(world.ask(ASK).await.status, StatusCode::OK);
    assert_eq!(skipped(&settled(&world, 1).await), [("unpriced", 1)]);
    assert_eq!(b.requests(), 0);
}

#[tokio::test]
async fn figures_of_clients_and_of_copies_are_told_apart() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::with(|options| options.access_log = true);
    world.pod("a", &[&a.url]);
    world.pod("b", &[&b.url]);
    world.route(COPIED);
    let log = Log::default();
    let guard = log.listen();
    assert_eq!(world.ask(ASK).await.status, StatusCode::OK);
    settled(&world, 1).await;
    drop(guard);
    assert_eq!(
        log.text().matches(r#""target":"access""#).count(),
        1,
        "one line for the client's request"
    );
    let text = world.get("/metrics", &[]).await.text;
    let of_b: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("claims/b") && !line.contains("_bucket") && !line.ends_with(" 0"))
        .map(|line| line.split_once('{').unwrap().0)
        .collect();
    assert!(
        of_b.iter().all(|name| name.starts_with("portfolio_gateway_shadow_")),
        "{of_b:?} are of copies only"
    );
    for name in [
        "portfolio_gateway_shadow_requests_total",
        "portfolio_gateway_shadow_duration_seconds_count",
        "portfolio_gateway_shadow_tokens_total",
        "portfolio_gateway_shadow_unpriced_requests_total",
    ] {
        assert!(of_b.contains(&name), "{name} is not in {of_b:?}");
    }
    let counts = report(&world).await.counts;
    assert_eq!((counts.requests, counts.errors, counts.models.len()), (1, 0, 1));
    assert!(!counts.models.contains_key("b"));
}

#[tokio::test]
async fn a_shadow_that_sleeps_is_not_woken_and_one_that_is_busy_is_not_waited_for() {
    let gate = Arc::new(Semaphore::new(0));
    let a = Engine::start(paris()).await;
    let b = Engine::start([vec![Do::Wait(gate.clone())], paris()].concat()).await;
    let world = World::over(&[&a], ONLY_A);
    world.model("b", "{selfHosted: {engine: {kind: VLLM}}}", "{}");
    world.route(&format!("{COPIED}, warmup: {{mode: Hold}}"));
    assert_eq!(world.ask(ASK).await.status, StatusCode::OK);
    assert_eq!(skipped(&settled(&world, 1).await), [("asleep", 1)]);
    let demand = world.gateway.demand();
    let wanted = demand
        .iter()
        .filter(|(model, wanted)| model.name == "b" && **wanted != Default::default());
    assert_eq!(wanted.count(), 0, "nobody wants it");

    world.pod_with_queue("b", &b.url, "{atOncePerPod: 1}");
    world.route(COPIED);
    let direct = ASK.replace("assistant", "claims/b");
    let asking = world.ask(&direct);
    let copying = async {
        b.until(|counts| counts.requests == 1).await;
        assert_eq!(world.ask(ASK).await.status, StatusCode::OK);
        assert_eq!(skipped(&settled(&world, 2).await), [("asleep", 1), ("no_turn", 1)]);
        gate.add_permits(1);
    };
    let (answer, ()) = tokio::join!(asking, copying);
    assert_eq!((answer.status, b.requests()), (StatusCode::OK, 1));
}

#[tokio::test]
async fn a_copy_gives_its_turn_to_the_next_client_that_wants_it() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::over(&[&a], ONLY_A);
    world.pod_with_queue("b", &b.url, "{atOncePerPod: 1, waiting: 0}");
    world.route(COPIED);
    b.once_does(vec![Do::Hang]);
    assert_eq!(world.ask(ASK).await.status, StatusCode::OK);
    b.until(|counts| counts.requests == 1).await;
    assert_eq!(world.gateway.demand().values().map(|wanted| wanted.in_flight).sum::<u64>(), 0);
    let answer = world.ask(&ASK.replace("assistant", "claims/b")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    b.until(|counts| counts.hung_up == 1).await;
    let of = settled(&world, 1).await;
    assert_eq!((of.requests, of.errors, skipped(&of)), (0, 0, vec![("gave_way", 1)]));
}

#[tokio::test]
async fn copies_take_of_a_providers_limits_only_while_half_is_left() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::over(&[&a], ONLY_A);
    world.provider(
        "b",
        &format!(
            "{{api: {{provider: OpenAICompatible, model: x, endpoint: '{}/v1', limits: {{requestsPerMinute: 6}}}}}}",
            b.url
        ),
    );
    world.route(COPIED);
    for so_far in 1..=5 {
        assert_eq!(world.ask(ASK).await.status, StatusCode::OK);
        settled(&world, so_far).await;
    }
    let of = of_b(&world).await;
    assert_eq!((of.requests, skipped(&of)), (3, vec![("over_limits", 2)]));
    for _ in 0..3 {
        let answer = world.ask(&ASK.replace("assistant", "claims/b")).await;
        assert_eq!(answer.status, StatusCode::OK, "the other half is for clients");
    }
    assert_eq!(b.requests(), 6);
}

#[tokio::test]
async fn copies_have_a_bound_of_their_own_and_no_place_among_requests() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(vec![Do::Hang]).await);
    let world = World::with(|options| options.max_requests = 16);
    world.pod("a", &[&a.url]);
    world.pod("b", &[&b.url]);
    world.route(COPIED);
    for _ in 0..4 {
        assert_eq!(world.ask(ASK).await.status, StatusCode::OK);
    }
    assert_eq!(skipped(&settled(&world, 3).await), [("too_many", 3)]);
    let all = futures::future::join_all((0..16).map(|_| world.ask(ASK))).await;
    assert!(
        all.iter().all(|answer| answer.status == StatusCode::OK),
        "all sixteen places are clients'"
    );
    assert_eq!(b.requests(), 1);
}

#[tokio::test]
async fn copies_take_memory_only_while_half_is_free_and_give_it_up() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(vec![Do::Hang]).await);
    let world = World::with(|options| options.max_body_bytes_together = 16 * 4096);
    world.pod("a", &[&a.url]);
    world.pod("b", &[&b.url]);
    world.route(COPIED);
    let of_pages = |pages: usize| ASK.replace("France", &"x".repeat(pages * 4096 - 200));
    assert_eq!(world.ask(&of_pages(5)).await.status, StatusCode::OK);
    assert_eq!(
        skipped(&settled(&world, 1).await),
        [("no_memory", 1)],
        "that would be ten of sixteen"
    );
    assert_eq!(world.ask(&of_pages(3)).await.status, StatusCode::OK);
    b.until(|counts| counts.requests == 1).await;
    // What the copy holds is missing now.
    let answer = tokio::time::timeout(Duration::from_secs(4), world.ask(&of_pages(15))).await;
    assert_eq!(answer.expect("it does not wait for room").status, StatusCode::OK);
    b.until(|counts| counts.hung_up == 1).await;
    assert_eq!(skipped(&settled(&world, 3).await), [("gave_way", 1), ("no_memory", 2)]);
}

#[tokio::test]
async fn a_shadow_that_fails_rests_and_clients_that_want_the_model_do_not_suffer_for_it() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(answers(500, "", "{}")).await);
    let world = World::over(&[&a, &b], COPIED);
    for so_far in 1..=20 {
        assert_eq!(world.ask(ASK).await.status, StatusCode::OK);
        settled(&world, so_far).await;
    }
    let of = of_b(&world).await;
    assert!(b.requests() < 10 && of.errors == of.requests, "{of:?}");
    assert_eq!(of.skipped.keys().collect::<Vec<_>>(), ["resting"]);
    let base = [format!("{}/v1", b.url).parse().unwrap()];
    assert!(
        world.gateway.balancer.any_is_well(&base[..], &[]),
        "what copies find is known to copies only"
    );
    assert!(report(&world).await.resting.is_empty());
}

#[tokio::test]
async fn as_many_are_copied_as_the_policy_says_whoever_asks() {
    const REQUESTS: u64 = 300;
    // By chance, but the same at each run.
    fastrand::seed(7);
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let spec = COPIED.replace("100", "20");
    let world = World::over(&[&a, &b], &format!("{spec}, sticky: {{by: Conversation}}"));
    for _ in 0..REQUESTS {
        assert_eq!(world.ask(ASK).await.status, StatusCode::OK);
    }
    let copied = b.requests();
    // Six times the deviation, of the same client's same conversation.
    assert!((20..=100).contains(&copied), "{copied} of {REQUESTS}");
}

#[tokio::test]
async fn a_gateway_that_ends_lets_go_of_copies() {
    let (a, b) = (
        Engine::start(paris()).await,
        Engine::start(vec![stream_head(), chunk(WORD), Do::Hang]).await,
    );
    let world = World::over(&[&a, &b], COPIED);
    assert_eq!(world.ask_with(&WEB, STREAM).await.status, StatusCode::OK);
    b.until(|counts| counts.requests == 1).await;
    world.gateway.draining.store(true, Ordering::Relaxed);
    assert_eq!(world.ask(ASK).await.status, StatusCode::OK);
    assert_eq!(skipped(&settled(&world, 1).await), [("closing", 1)]);
    world.gateway.closing.cancel();
    b.until(|counts| counts.hung_up == 1).await;
    assert_eq!(skipped(&settled(&world, 2).await), [("closing", 1), ("gave_way", 1)]);
}
