//! Failures that last, and what each of them means for the next request.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::engine::{CONTENT, Do, Engine, WORD, answers, chunk, paris, stream_head};
use super::world::{World, post};
use super::{A_THEN_B, ASK, ONLY_A, STREAM, WEB};

/// A request of a conversation of its own: those that begin alike go to the same pod.
fn about(number: usize) -> String {
    ASK.replace("France", &format!("country {number}"))
}

/// So much time passes, and nothing else happens.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

fn failing() -> Vec<Do> {
    answers(500, "", "{}")
}

fn sum(pods: &[&Engine]) -> usize {
    pods.iter().map(|pod| pod.requests()).sum()
}

/// A model `a` with these pods.
fn pods(engines: &[&Engine], spec: &str) -> World {
    let world = World::new();
    let urls: Vec<&str> = engines.iter().map(|engine| engine.url.as_str()).collect();
    world.pod("a", &urls);
    world.route(spec);
    world
}

#[tokio::test]
async fn three_failures_in_a_row_rest_a_pod_until_one_request_has_found_it_well() {
    let (bad, good) = (Engine::start(failing()).await, Engine::start(paris()).await);
    let world = pods(&[&bad, &good], &format!("retries: {{attempts: 1, budgetPercent: 100}}, {ONLY_A}"));
    for number in 0..60 {
        assert_eq!(world.ask(&about(number)).await.status, 200);
    }
    assert_eq!(bad.requests(), 3);

    let gate = Arc::new(Semaphore::new(0));
    let mut slowly = vec![Do::Wait(gate.clone())];
    slowly.extend(paris());
    bad.now_does(slowly);
    pass(Duration::from_secs(1)).await;
    let before = good.requests();
    let asked: Vec<String> = (100..140).map(about).collect();
    let others = async {
        good.until(|counts| counts.requests == before + 39).await;
        assert_eq!(bad.requests(), 4, "one finds out how it is, and the others stay away");
        gate.add_permits(1000);
    };
    let (all, ()) = tokio::join!(join_all(asked.iter().map(|asked| world.ask(asked))), others);
    assert!(all.iter().all(|answer| answer.status == 200));

    for number in 200..260 {
        assert_eq!(world.ask(&about(number)).await.status, 200);
    }
    assert!(bad.requests() > 10, "it is well: {}", bad.requests());
}

#[tokio::test]
async fn a_rest_doubles_when_the_one_request_fails_too() {
    let (bad, good) = (Engine::start(failing()).await, Engine::start(paris()).await);
    let world = pods(&[&bad, &good], &format!("retries: {{attempts: 1, budgetPercent: 100}}, {ONLY_A}"));
    let ask_many = async || {
        for number in 0..40 {
            assert_eq!(world.ask(&about(number)).await.status, 200);
        }
        bad.requests()
    };
    assert_eq!(ask_many().await, 3);
    pass(Duration::from_millis(1100)).await;
    assert_eq!(ask_many().await, 4);
    pass(Duration::from_millis(1100)).await;
    assert_eq!(ask_many().await, 4, "it rests for two seconds now");
    pass(Duration::from_millis(1100)).await;
    assert_eq!(ask_many().await, 5);
}

#[tokio::test]
async fn a_pod_that_rests_is_asked_where_there_is_no_other() {
    let bad = Engine::start(failing()).await;
    let world = pods(&[&bad], &format!("retries: {{attempts: 0}}, {ONLY_A}"));
    for asked in 1..=6 {
        assert_eq!(world.ask(ASK).await.status, 502);
        assert_eq!(bad.requests(), asked);
    }
}

#[tokio::test]
async fn a_model_whose_pods_all_rest_is_asked_last() {
    let (a, b) = (Engine::start(failing()).await, Engine::start(paris()).await);
    let world = World::over(&[&a, &b], A_THEN_B);
    let mut attempts = Vec::new();
    for _ in 0..5 {
        attempts.push(world.ask(ASK).await.header("x-portfolio-attempts").to_owned());
    }
    assert_eq!((attempts.join(" ").as_str(), a.requests()), ("2 2 2 1 1", 3));
    b.now_does(failing());
    a.now_does(paris());
    assert_eq!(world.ask(ASK).await.header("x-portfolio-model"), "claims/a", "last, but asked");
}

#[tokio::test]
async fn a_model_that_takes_plain_requests_and_never_answers_is_asked_last() {
    for (first_token, attempts) in [("50ms", "1"), ("20s", "")] {
        let (a, b) = (Engine::start(vec![Do::Hang]).await, Engine::start(paris()).await);
        let world = World::over(
            &[&a, &b],
            &format!("timeouts: {{firstToken: {first_token}, total: 100ms}}, {A_THEN_B}"),
        );
        for _ in 0..3 {
            assert_eq!(world.ask(ASK).await.status, 504);
        }
        // One that had less time than a stream has for its first word may only be slow.
        let answer = world.ask(ASK).await;
        let model = if attempts.is_empty() { "" } else { "claims/b" };
        assert_eq!(answer.header("x-portfolio-model"), model, "{first_token}: {}", answer.text);
    }
}

#[tokio::test]
async fn the_budget_of_retries_is_kept_for_what_is_repeated() {
    let spec = format!("retries: {{attempts: 1, budgetPercent: 0}}, {ONLY_A}");
    let world = World::new();
    // What is not healed by asking again, and what there is no other pod for.
    for status in [401, 429] {
        let alone = Engine::start(answers(status, "", "{}")).await;
        world.pod("a", &[&alone.url]);
        world.route(&spec);
        for _ in 0..20 {
            world.ask(ASK).await;
        }
        assert_eq!(alone.requests(), 20);
    }
    for _ in 0..5 {
        let pods = [Engine::start(failing()).await, Engine::start(failing()).await];
        world.pod("a", &[&pods[0].url, &pods[1].url]);
        world.route(&spec);
        world.ask(ASK).await;
        assert_eq!(sum(&[&pods[0], &pods[1]]), 2, "the reserve is there");
    }
}

#[tokio::test]
async fn a_failed_request_goes_to_another_model_rather_than_to_a_pod_that_rests() {
    let (bad, other) = (Engine::start(failing()).await, Engine::start(paris()).await);
    let b = Engine::start(paris()).await;
    let world = World::new();
    world.pod("a", &[&bad.url, &other.url]);
    world.pod("b", &[&b.url]);
    world.route(&format!("retries: {{attempts: 5, budgetPercent: 100}}, {A_THEN_B}"));
    for number in 0..40 {
        assert_eq!(world.ask(&about(number)).await.header("x-portfolio-model"), "claims/a");
    }
    assert_eq!(bad.requests(), 3);
    other.now_does(failing());
    let answer = world.ask(ASK).await;
    assert_eq!(
        (answer.header("x-portfolio-model"), answer.header("x-portfolio-attempts")),
        ("claims/b", "2")
    );
    assert_eq!(bad.requests(), 3);
}

#[tokio::test]
async fn a_model_without_capacity_rests_as_long_as_it_says() {
    // The clock stands at the beginning of 1970.
    let cases = [
        ("", 1000),
        ("retry-after: 7\r\n", 7000),
        ("retry-after: Thu, 01 Jan 1970 00:00:20 GMT\r\n", 20_000),
        ("retry-after: tomorrow\r\n", 1000),
        ("retry-after: 86400\r\n", 60_000),
    ];
    for (advice, rest) in cases {
        for status in [429, 503] {
            if status == 503 && advice.is_empty() {
                continue;
            }
            let (a, b) = (Engine::start(answers(status, advice, "{}")).await, Engine::start(paris()).await);
            let world = World::over(&[&a, &b], A_THEN_B);
            let attempts = async || world.ask(ASK).await.header("x-portfolio-attempts").to_owned();
            assert_eq!(attempts().await, "2", "{advice}: the request moves on at once");
            assert_eq!(attempts().await, "1", "{advice}");
            pass(Duration::from_millis(rest - 500)).await;
            assert_eq!(attempts().await, "1", "{advice}");
            pass(Duration::from_millis(600)).await;
            a.now_does(paris());
            assert_eq!(world.ask(ASK).await.header("x-portfolio-model"), "claims/a", "{advice}");
            assert_eq!(a.requests(), 2, "{advice}");
        }
    }
}

#[tokio::test]
async fn retries_are_as_many_as_the_policy_says() {
    for (attempts, asked) in [(0, 1), (1, 2), (2, 3), (5, 4)] {
        let pods = join_all((0..4).map(|_| Engine::start(failing()))).await;
        let world = self::pods(
            &pods.iter().collect::<Vec<_>>(),
            &format!("retries: {{attempts: {attempts}, budgetPercent: 100}}, {ONLY_A}"),
        );
        assert_eq!(world.ask(ASK).await.status, 502);
        assert_eq!(sum(&pods.iter().collect::<Vec<_>>()), asked, "each pod once: {attempts}");
    }
    let bad = Engine::start(failing()).await;
    let world = pods(&[&bad], &format!("retries: {{attempts: 0}}, {ONLY_A}"));
    world.ask(ASK).await;
    assert_eq!(bad.requests(), 1, "no pause and no second request where there is one pod");
}

#[tokio::test]
async fn in_a_storm_the_budget_runs_dry_and_fallbacks_go_on() {
    let pods = [Engine::start(failing()).await, Engine::start(failing()).await];
    let world = World::new();
    let none = "retries: {attempts: 1, budgetPercent: 0}";
    world.pod("a", &[&pods[0].url, &pods[1].url]);
    world.route(&format!("{none}, {ONLY_A}"));
    for number in 0..40 {
        assert_eq!(world.ask(&about(number)).await.status, 502);
    }
    let repeated = sum(&[&pods[0], &pods[1]]) - 40;
    assert!(
        (10..=12).contains(&repeated),
        "the reserve, of which one comes back each second: {repeated}"
    );

    let b = Engine::start(paris()).await;
    world.pod("b", &[&b.url]);
    for fresh in 1..=5 {
        let pods = [Engine::start(failing()).await, Engine::start(failing()).await];
        world.pod("a", &[&pods[0].url, &pods[1].url]);
        world.route(&format!("{none}, {A_THEN_B}"));
        assert_eq!(world.ask(ASK).await.header("x-portfolio-model"), "claims/b");
        assert!(sum(&[&pods[0], &pods[1]]) <= 2);
        assert_eq!(b.requests(), fresh);
    }
}

#[tokio::test]
async fn the_only_pod_of_the_last_model_is_asked_again_after_a_pause() {
    for status in [500, 502, 503, 529] {
        let a = Engine::start(paris()).await;
        a.once_does(answers(status, "", "{}"));
        let world = World::over(&[&a], ONLY_A);
        let began = Instant::now();
        let answer = world.ask(ASK).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-portfolio-attempts")),
            (200, "2"),
            "{status}"
        );
        assert!(began.elapsed() >= Duration::from_millis(200), "{status}");
    }
    for (status, advice) in [(503, "retry-after: 30\r\n"), (429, ""), (401, ""), (409, "")] {
        let a = Engine::start(answers(status, advice, "{}")).await;
        assert!(!World::over(&[&a], ONLY_A).ask(ASK).await.status.is_success());
        assert_eq!(a.requests(), 1, "{status} is not healed by a moment");
    }
}

#[tokio::test]
async fn a_place_that_does_not_finish_its_handshake_costs_the_time_to_connect() {
    // Connections come, and nothing is ever said.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let b = Engine::start(paris()).await;
    let world = World::new();
    world.api_with_key("a", "OpenAI", &url);
    world.pod("b", &[&b.url]);
    world.route(&format!("timeouts: {{connect: 200ms, firstToken: 20s}}, {A_THEN_B}"));
    let began = Instant::now();
    let answer = world.ask(ASK).await;
    assert_eq!((answer.text.as_str(), answer.header("x-portfolio-model")), (CONTENT, "claims/b"));
    assert!((200..10_000).contains(&began.elapsed().as_millis()));
    let unreachable = "portfolio_gateway_upstream_attempts_total{model=\"claims/a\",outcome=\"unreachable\"}";
    assert_eq!(world.metric(unreachable).await as u32, 1);
}

#[tokio::test]
async fn a_hang_up_in_the_middle_is_charged_as_an_estimate() {
    let said = "data: {\"choices\":[{\"delta\":{\"content\":\"forty bytes of text, which are ten tokens\"}}]}\n\n";
    let engine = Engine::start(vec![stream_head(), chunk(said), Do::Hang]).await;
    let world = World::over(&[&engine], ONLY_A);
    let mut body = world.call(post(&WEB, STREAM)).await.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    engine.until(|counts| counts.hung_up == 1).await;
    let of = "{policy=\"claims/assistant\",model=\"claims/a\"}";
    assert_eq!(
        world.metric(&format!("portfolio_gateway_estimated_requests_total{of}")).await as u32,
        1
    );
    for kind in ["input", "output"] {
        let line = format!("portfolio_gateway_tokens_total{{policy=\"claims/assistant\",model=\"claims/a\",kind=\"{kind}\"}}");
        assert!((5.0..40.0).contains(&world.metric(&line).await), "{kind}");
    }
}

#[tokio::test]
async fn a_stream_goes_on_when_its_policy_is_deleted() {
    let gate = Arc::new(Semaphore::new(0));
    let done = "data: [DONE]\n\n";
    let engine = Engine::start(vec![
        stream_head(),
        chunk(WORD),
        Do::Wait(gate.clone()),
        chunk(done),
        super::engine::stream_end(),
    ])
    .await;
    let world = World::over(&[&engine], ONLY_A);
    let mut body = world.call(post(&WEB, STREAM)).await.into_body();
    body.frame().await.unwrap().unwrap();
    world.source.routes.send_replace(Some(Arc::default()));
    world.source.credentials.send_replace(Arc::default());
    assert_eq!(world.ask(ASK).await.status, 404);
    gate.add_permits(1);
    assert_eq!(body.collect().await.unwrap().to_bytes(), done);
}

#[tokio::test]
async fn a_lack_of_capacity_is_told_as_such_with_the_soonest_advice() {
    for (first, last, expected) in [
        ((429, "retry-after: 7\r\n"), (503, "retry-after: 3\r\n"), (503, "3")),
        ((503, "retry-after: 2\r\n"), (429, "retry-after: 7\r\n"), (429, "2")),
        ((500, ""), (529, "retry-after: 1.5\r\n"), (503, "2")),
        ((500, ""), (529, ""), (503, "")),
        ((429, "retry-after: 7\r\n"), (500, ""), (502, "")),
    ] {
        let engines = [
            Engine::start(answers(first.0, first.1, "{}")).await,
            Engine::start(answers(last.0, last.1, "{}")).await,
        ];
        let answer = World::over(&[&engines[0], &engines[1]], A_THEN_B).ask(ASK).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("retry-after")),
            expected,
            "{first:?} {last:?}"
        );
    }
}
