//! Which model is asked, and who is asked next when it fails.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::engine::{CONTENT, Do, Engine, answers, chunk, paris, stream_end, stream_head, streams};
use super::engine::{DONE, OPENING, WORD};
use super::world::World;
use super::{A_THEN_B, ASK, ONLY_A, STREAM};

const SHORT: &str = "timeouts: {firstToken: 500ms, idle: 500ms}";

#[tokio::test]
async fn every_failure_before_the_first_content_moves_the_request_on() {
    let long_body = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"choices\":[";
    let failures: Vec<(&str, Vec<Do>)> = vec![
        ("500", answers(500, "", "{}")),
        ("503", answers(503, "", "{}")),
        ("429", answers(429, "retry-after: 7\r\n", "{}")),
        ("401", answers(401, "", "{\"error\":\"Unauthorized\"}")),
        ("403", answers(403, "", "{}")),
        ("a redirect", answers(302, "location: http://10.0.0.1/\r\n", "")),
        ("closed within the body", vec![Do::Send(long_body.to_owned()), Do::Close]),
        ("silent", vec![Do::Hang]),
        ("silent after the head", vec![stream_head(), Do::Hang]),
        ("silent after the opening", vec![stream_head(), chunk(OPENING), Do::Hang]),
        ("silent but for comments", vec![stream_head(), chunk(": ping\n\n"), Do::Hang]),
        ("closed after the opening", vec![stream_head(), chunk(OPENING), Do::Close]),
        ("ended after the opening", vec![stream_head(), chunk(OPENING), stream_end()]),
        ("stalled within a plain body", vec![Do::Send(long_body.to_owned()), Do::Hang]),
        (
            "an error as the first event",
            streams(&["data: {\"error\":{\"message\":\"oom\"}}\n\n", DONE]),
        ),
        ("garbage as the first event", streams(&["data: {not json\n\n", DONE])),
        (
            "404",
            answers(404, "", "{\"error\":{\"message\":\"no such model\",\"code\":\"model_not_found\"}}"),
        ),
        ("not HTTP", vec![Do::Send("hello\r\n\r\n".to_owned()), Do::Close]),
        ("an empty answer", answers(200, "", "")),
    ];
    // Only streamed answers have a limit for their first content.
    let asked = |name: &str| {
        if name.starts_with("silent") {
            vec![STREAM]
        } else {
            vec![ASK, STREAM]
        }
    };
    let cases = failures
        .into_iter()
        .flat_map(|(name, script)| asked(name).into_iter().map(move |ask| (name, ask, script.clone())));
    let cases = cases.map(async |(name, ask, script)| {
        let (a, b) = (Engine::start(script).await, Engine::start(paris()).await);
        let world = World::over(&[&a, &b], &format!("{SHORT}, {A_THEN_B}"));
        let answer = world.ask(ask).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text);
        assert!(answer.text.contains("Paris"), "{name}: {}", answer.text);
        assert_eq!(answer.header("x-portfolio-model"), "claims/b", "{name}");
        assert_eq!(answer.header("x-portfolio-attempts"), "2", "{name}");
        assert_eq!((a.requests(), b.requests()), (1, 1), "{name}");
        let moved = world
            .metric("portfolio_gateway_fallbacks_total{policy=\"claims/assistant\",from=\"claims/a\",to=\"claims/b\"}")
            .await;
        assert_eq!(moved as u32, 1, "{name}");
    });
    futures::future::join_all(cases).await;
}

#[tokio::test]
async fn an_unreachable_model_is_passed_over() {
    let b = Engine::start(paris()).await;
    let world = World::new();
    world.pod("a", &[&Engine::nowhere().await]);
    world.pod("b", &[&b.url]);
    world.route(A_THEN_B);
    assert_eq!(world.ask(ASK).await.header("x-portfolio-model"), "claims/b");
    assert_eq!(
        world
            .metric("portfolio_gateway_upstream_attempts_total{model=\"claims/a\",outcome=\"unreachable\"}")
            .await as u32,
        1
    );
}

#[tokio::test]
async fn an_unreachable_pod_is_passed_over_for_the_others_of_its_model() {
    let engine = Engine::start(paris()).await;
    let world = World::new();
    world.pod("a", &[&Engine::nowhere().await, &Engine::nowhere().await, &engine.url]);
    world.route(ONLY_A);
    for _ in 0..12 {
        assert_eq!(world.ask(ASK).await.status, 200);
    }
    assert_eq!(engine.requests(), 12);
}

#[tokio::test]
async fn a_connection_that_the_engine_closed_meanwhile_costs_no_request() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], ONLY_A);
    assert_eq!(world.ask(ASK).await.status, 200);
    engine.once_does(vec![Do::Close]);
    let answer = world.ask(ASK).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-portfolio-attempts")), (200, "2"));
    assert_eq!((engine.requests(), engine.connections()), (3, 2));
    engine.now_does(vec![Do::Close]);
    assert_eq!(world.ask(ASK).await.status, 502);
    assert_eq!(engine.requests(), 5);
}

#[tokio::test]
async fn a_request_that_breaks_pods_visits_two_of_them_at_most() {
    let pods = [
        Engine::start(vec![Do::Close]).await,
        Engine::start(vec![Do::Close]).await,
        Engine::start(vec![Do::Close]).await,
    ];
    let b = Engine::start(paris()).await;
    let world = World::new();
    world.pod("a", &[&pods[0].url, &pods[1].url, &pods[2].url]);
    world.pod("b", &[&b.url]);
    world.route(A_THEN_B);
    assert_eq!(world.ask(ASK).await.header("x-portfolio-attempts"), "3");
    assert_eq!(pods.iter().map(Engine::requests).sum::<usize>(), 2);
}

#[tokio::test]
async fn a_silent_model_is_not_waited_for_twice() {
    let pods = [Engine::start(vec![Do::Hang]).await, Engine::start(vec![Do::Hang]).await];
    let world = World::new();
    world.pod("a", &[&pods[0].url, &pods[1].url]);
    world.route(&format!("{SHORT}, {ONLY_A}"));
    let answer = world.ask(STREAM).await;
    assert_eq!(answer.status, 504);
    assert_eq!(
        answer.error().1,
        "no model of RoutingPolicy claims/assistant answered: a sent nothing within 500ms"
    );
    assert_eq!(pods.iter().map(Engine::requests).sum::<usize>(), 1);
}

#[tokio::test]
async fn an_answer_in_one_piece_may_take_as_long_as_the_whole_request() {
    let gate = Arc::new(Semaphore::new(0));
    let mut script = vec![Do::Wait(gate.clone())];
    script.extend(paris());
    let engine = Engine::start(script).await;
    let world = World::over(&[&engine], &format!("timeouts: {{firstToken: 20ms}}, {ONLY_A}"));
    // When the streamed one, which was sent later, is given up, the time is over for the plain one too.
    let streamed = async {
        let answer = world.ask(STREAM).await;
        gate.add_permits(2);
        answer
    };
    let (plain, streamed) = tokio::join!(world.ask(ASK), streamed);
    assert_eq!((plain.status.as_u16(), plain.text.as_str()), (200, CONTENT));
    assert_eq!(streamed.status, 504);
}

#[tokio::test]
async fn when_all_fail_each_attempt_is_named_without_addresses() {
    let (a, b) = (
        Engine::start(answers(500, "", "at http://10.0.0.1")).await,
        Engine::start(vec![Do::Close]).await,
    );
    let answer = World::over(&[&a, &b], A_THEN_B).ask(ASK).await;
    assert_eq!(answer.status, 502);
    let (code, message) = answer.error();
    assert_eq!(code, "upstream_failed");
    assert_eq!(
        message,
        "no model of RoutingPolicy claims/assistant answered: a answered 500; b closed the connection without an answer; b closed the connection without an answer"
    );
    assert_eq!(answer.header("x-portfolio-attempts"), "3");
    assert!(!answer.text.contains("127.0.0.1") && !answer.text.contains("10.0.0.1"));
}

#[tokio::test]
async fn a_last_model_without_capacity_passes_on_its_advice() {
    let (a, b) = (
        Engine::start(answers(500, "", "{}")).await,
        Engine::start(answers(429, "retry-after: 7\r\n", "{}")).await,
    );
    let answer = World::over(&[&a, &b], A_THEN_B).ask(ASK).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "7"));
    assert_eq!(answer.error().0, "rate_limit_exceeded");
}

#[tokio::test]
async fn the_whole_request_has_one_time_limit() {
    let (a, b) = (Engine::start(vec![Do::Hang]).await, Engine::start(paris()).await);
    let world = World::over(&[&a, &b], &format!("timeouts: {{total: 100ms}}, {A_THEN_B}"));
    let answer = world.ask(ASK).await;
    assert_eq!(answer.status, 504);
    assert_eq!(
        answer.error().1,
        "no model of RoutingPolicy claims/assistant answered: a had not answered when the time for the request was over"
    );
    assert_eq!(b.requests(), 0);
}

#[tokio::test]
async fn targets_are_drawn_by_weight() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::over(&[&a, &b], "rules: [{targets: [{model: a, weight: 80}, {model: b, weight: 20}]}]");
    for _ in 0..500 {
        assert_eq!(world.ask(ASK).await.status, 200);
    }
    // Five standard deviations around 400; a fair gateway fails this once in two million runs.
    assert!((355..=445).contains(&a.requests()), "{}", a.requests());
    assert_eq!(a.requests() + b.requests(), 500);
}

#[tokio::test]
async fn ordered_targets_are_asked_in_order() {
    let (a, b, c) = (
        Engine::start(answers(500, "", "{}")).await,
        Engine::start(paris()).await,
        Engine::start(paris()).await,
    );
    let rules = "rules: [{strategy: Ordered, targets: [{model: a}, {model: b}], fallback: [{model: c}]}]";
    let world = World::over(&[&a, &b, &c], rules);
    for _ in 0..5 {
        assert_eq!(world.ask(ASK).await.header("x-portfolio-model"), "claims/b");
    }
    b.now_does(answers(503, "", "{}"));
    assert_eq!(world.ask(ASK).await.header("x-portfolio-model"), "claims/c");
}

#[tokio::test]
async fn the_first_rule_whose_headers_match_decides() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let rules = "rules: [{when: {headers: [{name: X-Team, value: claims}]}, targets: [{model: a}]}, {targets: [{model: b}]}]";
    let world = World::over(&[&a, &b], rules);
    let with = |team| [("authorization", "Bearer claims.x.web"), ("x-team", team)];
    assert_eq!(world.ask_with(&with("claims"), ASK).await.header("x-portfolio-model"), "claims/a");
    assert_eq!(world.ask_with(&with("Claims"), ASK).await.header("x-portfolio-model"), "claims/b");
    assert_eq!(world.ask(ASK).await.header("x-portfolio-model"), "claims/b");
    world.route("rules: [{when: {headers: [{name: X-Team, value: claims}]}, targets: [{model: a}]}]");
    let answer = world.ask(ASK).await;
    assert_eq!((answer.status.as_u16(), answer.error().0.as_str()), (400, "no_rule_matches"));
}

#[tokio::test]
async fn the_pod_with_the_fewest_open_requests_is_asked_whatever_the_table() {
    let gate = Arc::new(Semaphore::new(0));
    let slow = vec![stream_head(), chunk(WORD), Do::Wait(gate.clone()), chunk(DONE), stream_end()];
    let pods = [Engine::start(slow.clone()).await, Engine::start(slow).await];
    let world = World::new();
    world.pod("a", &[&pods[0].url, &pods[1].url]);
    let mut open = Vec::new();
    for asked in 1..=4 {
        world.route(ONLY_A);
        open.push(
            world
                .call(super::world::post(&[("authorization", "Bearer claims.x.web")], STREAM))
                .await,
        );
        assert_eq!(pods[0].requests().abs_diff(pods[1].requests()), asked % 2);
    }
    gate.add_permits(4);
    for response in open {
        assert!(super::world::Answer::read(response).await.text.ends_with(DONE));
    }
}

#[tokio::test]
async fn a_new_table_in_the_middle_of_traffic_fails_no_request() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = Arc::new(World::over(&[&a, &b], ONLY_A));
    let clients = (0..4).map(|_| {
        let world = world.clone();
        tokio::spawn(async move {
            let mut failed = 0;
            for _ in 0..100 {
                failed += usize::from(world.ask(ASK).await.status != 200);
            }
            failed
        })
    });
    let clients: Vec<_> = clients.collect();
    while clients.iter().any(|client| !client.is_finished()) {
        for rules in [ONLY_A, "rules: [{targets: [{model: b}]}]", A_THEN_B] {
            world.route(rules);
            tokio::task::yield_now().await;
        }
    }
    for client in clients {
        assert_eq!(client.await.unwrap(), 0);
    }
    assert!(a.requests() > 0 && b.requests() > 0);
}

#[tokio::test]
async fn a_pod_that_lacks_an_adapter_sends_the_request_to_one_that_has_it() {
    let not_here = "{\"error\":{\"message\":\"The model `fraud` does not exist.\",\"code\":404}}";
    let lacks = Engine::start(answers(404, "", not_here)).await;
    let (has, other) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::over(&[&other], ONLY_A);
    world.adapter("ft", "fraud", &[&lacks.url, &has.url]);
    let rules = "rules: [{targets: [{model: ft, adapter: fraud}], fallback: [{model: a}]}]";
    world.route(rules);
    // Whichever pod is asked first.
    for _ in 0..4 {
        let answer = world.ask(ASK).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-portfolio-model")),
            (200, "claims/ft:fraud")
        );
    }
    assert!(String::from_utf8(has.last().body).unwrap().contains("\"model\":\"fraud\""));
    assert_eq!(other.requests(), 0);

    // When none has it, the next model answers.
    world.adapter("ft", "fraud", &[&lacks.url]);
    world.route(rules);
    let answer = world.ask(ASK).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-portfolio-model")), (200, "claims/a"));
    let outcome = "portfolio_gateway_upstream_attempts_total{model=\"claims/ft:fraud\",outcome=\"lacking\"}";
    assert!(world.metric(outcome).await >= 1.0);
}
