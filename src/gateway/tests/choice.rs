//! Which models and pods may get a request at all: those that can do it, that nothing is done twice at, and that know its beginning.

use std::sync::Arc;

use futures::future::join_all;
use tokio::sync::Semaphore;

use super::engine::{Do, Engine, answers, paris, streams};
use super::world::{World, post};
use super::{A_THEN_B, ASK, ONLY_A, STREAM, WEB};

const TOO_LONG: &str = r#"{"error":{"message":"This model's maximum context length is 8192 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#;

#[tokio::test]
async fn a_request_that_is_too_long_moves_only_to_a_model_that_declares_more() {
    let a = Engine::start(answers(400, "", TOO_LONG)).await;
    let (b, c) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let rules = "rules: [{targets: [{model: a}], fallback: [{model: b}, {model: c}]}]";
    for (here, other, last, answered) in [
        ("{contextTokens: 8192}", "{contextTokens: 4096}", "{contextTokens: 131072}", true),
        ("{contextTokens: 8192}", "{}", "{contextTokens: 131072}", true),
        ("{contextTokens: 8192}", "{contextTokens: 8192}", "{}", false),
        ("{}", "{}", "{contextTokens: 131072}", false),
    ] {
        let world = World::new();
        world.declared("a", &a.url, here);
        world.declared("b", &b.url, other);
        world.declared("c", &c.url, last);
        world.route(rules);
        let answer = world.ask(ASK).await;
        if answered {
            assert_eq!((answer.status.as_u16(), answer.header("x-portfolio-model")), (200, "claims/c"));
            assert_eq!(answer.header("x-portfolio-attempts"), "2");
        } else {
            assert_eq!(
                (answer.status.as_u16(), answer.text.as_str()),
                (400, TOO_LONG),
                "{here} {other} {last}"
            );
        }
    }
    assert_eq!((b.requests(), c.requests()), (0, 2));
    assert_eq!(a.requests(), 4, "it rests for none of them");
}

#[tokio::test]
async fn a_filtered_request_is_no_other_models_business() {
    let filtered =
        r#"{"error":{"message":"The response was filtered.","type":null,"param":"prompt","code":"content_filter","status":400}}"#;
    let (a, b) = (Engine::start(answers(400, "", filtered)).await, Engine::start(paris()).await);
    let world = World::over(&[&a, &b], A_THEN_B);
    for ask in [ASK, STREAM] {
        let answer = world.ask(ask).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (400, filtered));
    }
    a.now_does(streams(&[&format!("data: {filtered}\n\n"), "data: [DONE]\n\n"]));
    let answer = world.ask(STREAM).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error().0.as_str()),
        (400, "content_filter"),
        "also as the first event"
    );
    assert_eq!((a.requests(), b.requests()), (3, 0));
}

#[tokio::test]
async fn models_that_cannot_do_it_are_passed_over_and_named_when_none_can() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::new();
    world.declared(
        "a",
        &a.url,
        "{tools: false, images: false, jsonSchema: false, maxOutputTokens: 100}",
    );
    world.pod("b", &[&b.url]);
    let asks = [
        (
            "tools",
            r#","tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]}"#,
        ),
        (
            "response_format",
            r#","response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"type":"object"}}}}"#,
        ),
        ("max_tokens", r#","max_tokens":101}"#),
    ];
    for (field, more) in asks {
        let ask = ASK.replacen("]}", &format!("]{more}"), 1);
        world.route(A_THEN_B);
        let answer = world.ask(&ask).await;
        assert_eq!(answer.header("x-portfolio-model"), "claims/b", "{field}: {}", answer.text);
        assert_eq!(answer.header("x-portfolio-attempts"), "1", "{field}");
        world.route(ONLY_A);
        let answer = world.ask(&ask).await;
        assert_eq!((answer.status.as_u16(), answer.error().0.as_str()), (400, "unsupported"), "{field}");
        assert!(answer.text.contains(&format!("\"param\":\"{field}\"")), "{}", answer.text);
        assert!(
            answer
                .error()
                .1
                .starts_with("no model of RoutingPolicy claims/assistant can do this: a: ")
        );
    }
    assert_eq!(a.requests(), 0);
}

const RESPONSE: &str = r#"{"id":"resp_1","object":"response","status":"completed","error":null,"output":[]}"#;

#[tokio::test]
async fn what_has_effects_is_not_asked_twice_once_it_may_have_begun() {
    let with_effects = r#"{"model":"assistant","input":"Look it up","tools":[{"type":"web_search"}]}"#;
    let without = r#"{"model":"assistant","input":"Think"}"#;
    let begun: [(&str, Vec<Do>); 4] = [
        ("closed", vec![Do::Close]),
        ("500", answers(500, "", "{}")),
        ("garbage", answers(200, "", "hello")),
        (
            "cut",
            vec![Do::Send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_owned()), Do::Close],
        ),
    ];
    for (name, script) in begun {
        let (a, b) = (Engine::start(script).await, Engine::start(answers(200, "", RESPONSE)).await);
        let world = World::new();
        world.api_with_key("a", "OpenAI", &a.url);
        world.api_with_key("b", "OpenAI", &b.url);
        world.route(A_THEN_B);
        let answer = world.ask_at("/v1/responses", with_effects).await;
        assert_eq!(answer.status, 502, "{name}");
        assert!(
            answer.error().1.ends_with("it may have begun what must not be done twice"),
            "{}",
            answer.text
        );
        assert_eq!((a.requests(), b.requests()), (1, 0), "{name}");
        assert_eq!(world.ask_at("/v1/responses", without).await.status, 200, "{name}");
        assert_eq!(b.requests(), 1, "{name}");
    }
    for (status, advice) in [(429, ""), (503, ""), (401, "")] {
        let (a, b) = (
            Engine::start(answers(status, advice, "{}")).await,
            Engine::start(answers(200, "", RESPONSE)).await,
        );
        let world = World::new();
        world.api_with_key("a", "OpenAI", &a.url);
        world.api_with_key("b", "OpenAI", &b.url);
        world.route(A_THEN_B);
        assert_eq!(
            world.ask_at("/v1/responses", with_effects).await.status,
            200,
            "{status}: it was not begun"
        );
        assert_eq!(b.requests(), 1, "{status}");
    }
}

#[tokio::test]
async fn an_earlier_response_that_is_nowhere_is_the_clients_error_and_an_absent_model_is_not() {
    let ask = r#"{"model":"assistant","input":"Go on","previous_response_id":"resp_0"}"#;
    let gone = r#"{"error":{"message":"Previous response with id 'resp_0' not found.","type":"invalid_request_error","param":"previous_response_id","code":"previous_response_not_found"}}"#;
    let absent =
        r#"{"error":{"message":"The model does not exist.","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#;
    for (body, ask, status, asked_b) in [
        (gone, ask, 404, 0),
        (absent, ask, 200, 1),
        (gone, r#"{"model":"assistant","input":"Hello"}"#, 200, 1),
    ] {
        let (a, b) = (
            Engine::start(answers(404, "", body)).await,
            Engine::start(answers(200, "", RESPONSE)).await,
        );
        let world = World::new();
        world.api_with_key("a", "OpenAI", &a.url);
        world.api_with_key("b", "OpenAI", &b.url);
        world.route(A_THEN_B);
        let answer = world.ask_at("/v1/responses", ask).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!((a.requests(), b.requests()), (1, asked_b), "{body}");
        if status == 404 {
            assert_eq!(answer.error().0, "previous_response_not_found");
            assert!(answer.text.contains("resp_0"), "{}", answer.text);
        }
    }
}

/// The turns of one conversation.
fn turn(conversation: usize, turn: usize) -> String {
    let said = format!(r#"{{"role":"user","content":"Tell me about {conversation}"}}"#);
    let more = r#",{"role":"assistant","content":"Well."},{"role":"user","content":"Go on."}"#.repeat(turn);
    format!(r#"{{"model":"assistant","messages":[{{"role":"system","content":"Be brief."}},{said}{more}]}}"#)
}

/// Which pod each turn of some conversations goes to.
async fn homes(world: &World, pods: &[&Engine], turns: std::ops::Range<usize>) -> Vec<Vec<usize>> {
    let mut homes = Vec::new();
    for conversation in 0..24 {
        let mut own = Vec::new();
        for number in turns.clone() {
            let before: Vec<usize> = pods.iter().map(|pod| pod.requests()).collect();
            assert_eq!(world.ask(&turn(conversation, number)).await.status, 200);
            own.push(pods.iter().zip(before).position(|(pod, before)| pod.requests() > before).unwrap());
        }
        homes.push(own);
    }
    homes
}

#[tokio::test]
async fn a_conversation_stays_at_its_pod_and_a_lost_pod_moves_only_its_own() {
    let engines = join_all((0..3).map(|_| Engine::start(paris()))).await;
    let all: Vec<&Engine> = engines.iter().collect();
    let world = World::new();
    let urls: Vec<&str> = all.iter().map(|engine| engine.url.as_str()).collect();
    world.pod("a", &urls);
    world.route(ONLY_A);
    let before = homes(&world, &all, 0..3).await;
    assert!(before.iter().all(|turns| turns.iter().all(|pod| *pod == turns[0])), "{before:?}");
    assert!(
        (0..3).all(|pod| before.iter().any(|turns| turns[0] == pod)),
        "all are used: {before:?}"
    );

    world.pod("a", &[&engines[0].url, &engines[1].url]);
    world.route(ONLY_A);
    let after = homes(&world, &all, 3..5).await;
    for (before, after) in before.iter().zip(&after) {
        assert!(
            after.iter().all(|pod| *pod == after[0]) && (before[0] == 2 || after[0] == before[0]),
            "{before:?} {after:?}"
        );
    }
}

#[tokio::test]
async fn a_pod_with_more_than_its_share_leaves_a_conversation_to_the_next() {
    let gate = Arc::new(Semaphore::new(0));
    let mut slowly = vec![Do::Wait(gate.clone())];
    slowly.extend(paris());
    let engines = [Engine::start(slowly.clone()).await, Engine::start(slowly).await];
    let world = World::new();
    world.pod("a", &[&engines[0].url, &engines[1].url]);
    world.route(ONLY_A);
    let mut open = Vec::new();
    for asked in 1..=6 {
        let mut ask = Box::pin(world.call(post(&WEB, ASK)));
        assert!(futures::poll!(&mut ask).is_pending());
        let arrived = async {
            while (engines[0].requests() + engines[1].requests()) < asked {
                assert!(futures::poll!(&mut ask).is_pending());
                tokio::task::yield_now().await;
            }
        };
        arrived.await;
        open.push(ask);
    }
    let mut shares = [engines[0].requests(), engines[1].requests()];
    shares.sort_unstable();
    assert_eq!(shares, [2, 4], "four at once are no load");
    gate.add_permits(100);
    for answer in join_all(open).await {
        assert_eq!(answer.status(), 200);
    }
}
