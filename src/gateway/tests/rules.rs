//! Rules, requirements and classes of data, as clients meet them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::engine::{Do, Engine, answers, paris};
use super::world::{Answer, World, post_to};
use super::{ASK, STREAM, WEB};

const MATRIX: &str = "{dataClasses: {Internal: {}, Personal: {classes: [Open, Custom]}}}";

/// A gateway where personal data stays on our own pods: `own` there, doing this, and `api` at a provider.
async fn governed(own: Vec<Do>, policy: &str) -> (World, Engine, Engine) {
    let (own, api) = (Engine::start(own).await, Engine::start(paris()).await);
    let world = World::new();
    *world.settings.lock().unwrap() = serde_saphyr::from_str(MATRIX).unwrap();
    world.pod("own", &[&own.url]);
    world.api_with_key("api", "OpenAICompatible", &api.url);
    world.route(policy);
    (world, own, api)
}

const OWN_THEN_API: &str = "rules: [{name: all, strategy: Ordered, targets: [{model: own}], fallback: [{model: api}]}]";

/// Asks with these headers beside the credentials.
async fn ask(world: &World, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
    let headers: Vec<(&str, &str)> = WEB.iter().chain(more).copied().collect();
    Answer::read(world.call(post_to(path, &headers, body)).await).await
}

#[tokio::test]
async fn data_that_must_stay_here_goes_nowhere_else_however_the_models_here_fail() {
    for (how, own) in [
        ("an error", answers(500, "", "{}")),
        ("no capacity", answers(429, "retry-after: 1\r\n", "{}")),
        ("a model that is gone", answers(404, "", "{}")),
        (
            "a request that is too long",
            answers(400, "", "{\"error\":{\"message\":\"m\",\"code\":\"context_length_exceeded\"}}"),
        ),
        ("a broken connection", vec![Do::Close]),
    ] {
        let (world, own, api) = governed(own, OWN_THEN_API).await;
        for body in [ASK, STREAM] {
            let answer = ask(&world, "/v1/chat/completions", &[("x-data-class", "Personal")], body).await;
            assert!(!answer.status.is_success(), "{how}: {answer:?}");
        }
        assert!(own.requests() > 0, "{how}");
        assert_eq!(api.requests(), 0, "{how}");
    }
    let (world, _, api) = governed(answers(500, "", "{}"), OWN_THEN_API).await;
    assert_eq!(
        ask(&world, "/v1/chat/completions", &[], ASK).await.status,
        200,
        "other data may go there"
    );
    assert_eq!(api.requests(), 1);
}

#[tokio::test]
async fn no_path_and_no_name_lets_data_out() {
    let (world, _, api) = governed(paris(), "rules: [{name: all, targets: [{model: api}]}]").await;
    world.namespaces.lock().unwrap().insert("claims".to_owned(), "Personal".to_owned());
    world.route("rules: [{name: all, targets: [{model: api}]}]");
    let spoofed = [("x-data-class", "Internal")];
    let message = "{\"model\":\"assistant\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}";
    for (path, body) in [
        ("/v1/chat/completions", ASK.to_owned()),
        ("/v1/chat/completions", STREAM.to_owned()),
        ("/v1/chat/completions", ASK.replace("assistant", "claims/api")),
        ("/v1/messages", message.to_owned()),
        ("/v1/messages/count_tokens", message.to_owned()),
        ("/v1/responses", "{\"model\":\"assistant\",\"input\":\"x\"}".to_owned()),
        ("/v1/embeddings", "{\"model\":\"assistant\",\"input\":\"x\"}".to_owned()),
        ("/v1/completions", "{\"model\":\"assistant\",\"prompt\":\"x\"}".to_owned()),
    ] {
        let answer = ask(&world, path, &spoofed, &body).await;
        assert_eq!(answer.status, 503, "{path} {body}: {}", answer.text);
        let why = "api is of class API, and data of class Personal requires Open or Custom";
        assert!(answer.text.contains(why), "{path}: {}", answer.text);
    }
    assert_eq!(api.requests(), 0);
}

#[tokio::test]
async fn a_class_that_nobody_knows_is_refused_in_the_clients_protocol() {
    let (world, own, api) = governed(paris(), OWN_THEN_API).await;
    let unknown = [("x-data-class", "Persnal")];
    let answer = ask(&world, "/v1/chat/completions", &unknown, ASK).await;
    assert_eq!(answer.status, 400);
    let told = "the header x-data-class says \\\"Persnal\\\", which is no class of data here: send one of Internal, Personal";
    assert!(answer.text.contains(told), "{}", answer.text);
    assert!(answer.text.contains("\"code\":\"unknown_data_class\""), "{}", answer.text);
    let message = "{\"model\":\"assistant\",\"max_tokens\":5,\"messages\":[]}";
    let answer = ask(&world, "/v1/messages", &unknown, message).await;
    assert!(answer.text.starts_with("{\"type\":\"error\""), "{}", answer.text);
    assert_eq!((own.requests(), api.requests()), (0, 0));
    *world.settings.lock().unwrap() = crate::api::Settings::default();
    world.route(OWN_THEN_API);
    let answer = ask(&world, "/v1/chat/completions", &unknown, ASK).await;
    assert!(
        answer.text.contains("there are no classes of data here"),
        "never passed over in silence: {}",
        answer.text
    );
}

#[tokio::test]
async fn rules_see_what_is_in_the_body_and_the_headers() {
    let policy = "rules: [
        {name: long, when: {inputTokens: {atLeast: 100}}, targets: [{model: own}]},
        {name: tools, when: {tools: true}, targets: [{model: own}]},
        {name: team, when: {expression: \"'x-team' in request.headers && request.headers['x-team'] == 'a' && client.namespace == 'claims'\"},
         targets: [{model: own}]},
        {name: rest, targets: [{model: api}]}]";
    let (world, own, api) = governed(paris(), policy).await;
    let long = ASK.replace("The capital", &"word ".repeat(100));
    let tools = ASK.replace(
        "{\"model\"",
        "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"model\"",
    );
    ask(&world, "/v1/chat/completions", &[], &long).await;
    ask(&world, "/v1/chat/completions", &[], &tools).await;
    ask(&world, "/v1/chat/completions", &[("X-Team", "a")], ASK).await;
    assert_eq!((own.requests(), api.requests()), (3, 0));
    ask(&world, "/v1/chat/completions", &[("X-Team", "b")], ASK).await;
    ask(&world, "/v1/chat/completions", &[], ASK).await;
    assert_eq!((own.requests(), api.requests()), (3, 2));
}

#[tokio::test]
async fn what_a_rule_cannot_be_told_of_is_refused_and_not_passed_to_the_next() {
    let policy = "rules: [{name: team, when: {expression: \"request.headers['x-team'] == 'a'\"}, targets: [{model: own}]},
        {name: rest, targets: [{model: api}]}]";
    let (world, _, api) = governed(paris(), policy).await;
    let answer = ask(&world, "/v1/chat/completions", &[], ASK).await;
    assert_eq!(answer.status, 400);
    let told =
        "whether rule team of RoutingPolicy claims/assistant is for this request cannot be told: its expression reads \\\"x-team\\\"";
    assert!(answer.text.contains(told), "{}", answer.text);
    assert_eq!(api.requests(), 0);
}

#[tokio::test]
async fn a_request_that_may_cost_more_than_one_may_goes_to_a_model_that_is_cheap_enough() {
    let policy =
        "require: {maxCostPerRequestUSD: '0.001'}, rules: [{name: all, strategy: Ordered, targets: [{model: dear}, {model: own}]}]";
    let (world, own, dear) = {
        let (own, dear) = (Engine::start(paris()).await, Engine::start(paris()).await);
        let world = World::new();
        world.pod("own", &[&own.url]);
        world.pod_with("dear", &dear.url, "price: {inputPer1M: '10', outputPer1M: '100'}");
        world.route(policy);
        (world, own, dear)
    };
    let asked = |more: &str| ASK.replace("{\"model\"", &format!("{{{more},\"model\""));
    ask(&world, "/v1/chat/completions", &[], &asked("\"max_tokens\":5")).await;
    assert_eq!((dear.requests(), own.requests()), (1, 0));
    ask(&world, "/v1/chat/completions", &[], &asked("\"max_tokens\":5,\"n\":100")).await;
    ask(&world, "/v1/chat/completions", &[], &asked("\"max_completion_tokens\":500")).await;
    ask(
        &world,
        "/v1/chat/completions",
        &[],
        &asked("\"max_tokens\":5,\"max_completion_tokens\":500"),
    )
    .await;
    ask(&world, "/v1/chat/completions", &[], ASK).await;
    assert_eq!((dear.requests(), own.requests()), (1, 4));
}

#[tokio::test]
async fn a_request_that_is_too_expensive_for_every_model_is_the_clients_to_change() {
    let dear = Engine::start(paris()).await;
    let world = World::new();
    world.pod_with("dear", &dear.url, "price: {inputPer1M: '10', outputPer1M: '100'}");
    world.api("free", "OpenAICompatible", &dear.url);
    let policy = |targets: &str| format!("require: {{maxCostPerRequestUSD: '0.001'}}, rules: [{{name: all, targets: [{targets}]}}]");
    let asked = ASK.replace("{\"model\"", "{\"max_tokens\":5000,\"model\"");
    world.route(&policy("{model: dear}"));
    let answer = world.ask(&asked).await;
    let (code, message) = answer.error();
    assert_eq!((answer.status.as_u16(), code.as_str()), (400, "request_too_expensive"), "{message}");
    assert!(message.contains("ask for fewer max_tokens"), "{message}");
    let endless = world.ask(ASK).await;
    assert_eq!(endless.error().0, "request_too_expensive", "{}", endless.text);
    assert!(endless.text.contains("send max_tokens"), "{}", endless.text);
    // What a model costs, and whether it serves, is not the client's to change.
    for targets in ["{model: free}", "{model: dear}, {model: free}", "{model: dear}, {model: missing}"] {
        world.route(&policy(targets));
        let answer = world.ask(&asked).await;
        assert_eq!(
            (answer.status.as_u16(), answer.error().0.as_str()),
            (503, "no_eligible_model"),
            "{targets}"
        );
    }
    assert_eq!(dear.requests(), 0);
}

#[tokio::test]
async fn the_quickest_model_of_late_is_asked_first() {
    let gate = Arc::new(Semaphore::new(0));
    let slow = Engine::start([vec![Do::Wait(gate.clone())], paris()].concat()).await;
    let quick = Engine::start(paris()).await;
    let world = World::over(
        &[&slow, &quick],
        "rules: [{strategy: LeastLatency, targets: [{model: a}, {model: b}]}]",
    );
    let opened = async {
        slow.until(|counts| counts.requests == 1).await;
        // It is slower than any engine of a test that does not wait.
        tokio::time::sleep(Duration::from_millis(100)).await;
        gate.add_permits(100);
    };
    assert_eq!(tokio::join!(world.ask(ASK), opened).0.status, 200);
    for _ in 0..5 {
        assert_eq!(world.ask(ASK).await.status, 200);
    }
    assert_eq!(
        (slow.requests(), quick.requests()),
        (1, 5),
        "each is seen once, then the quickest is asked"
    );
}

#[tokio::test]
async fn a_conversation_stays_with_the_model_that_answered_it_first() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let rules = "rules: [{targets: [{model: a}, {model: b}], fallback: [{model: a}, {model: b}]}]";
    let world = World::over(&[&a, &b], &format!("sticky: {{by: Conversation, for: 30m}}, {rules}"));
    let turn = |first: usize, more: &str| {
        format!("{{\"model\":\"assistant\",\"messages\":[{{\"role\":\"user\",\"content\":\"question {first}\"}}{more}]}}")
    };
    let later = ",{\"role\":\"assistant\",\"content\":\"x\"},{\"role\":\"user\",\"content\":\"and then?\"}";
    let mut homes = Vec::new();
    for first in 0..16 {
        let answer = world.ask(&turn(first, "")).await;
        homes.push(answer.header("x-portfolio-model").to_owned());
    }
    assert!(
        homes.contains(&"claims/a".to_owned()) && homes.contains(&"claims/b".to_owned()),
        "conversations differ"
    );
    for (first, home) in homes.iter().enumerate() {
        for _ in 0..3 {
            assert_eq!(world.ask(&turn(first, later)).await.header("x-portfolio-model"), home);
        }
    }
    // Another replica knows nothing, and draws the same.
    let other = World::over(&[&a, &b], &format!("sticky: {{by: Conversation}}, {rules}"));
    assert_eq!(other.ask(&turn(0, later)).await.header("x-portfolio-model"), homes[0]);
    // Where its model fails, it moves, and stays there when that is well again.
    let (home, away) = if homes[0] == "claims/a" {
        (&a, "claims/b")
    } else {
        (&b, "claims/a")
    };
    home.once_does(answers(500, "", "{}"));
    assert_eq!(world.ask(&turn(0, later)).await.header("x-portfolio-model"), away);
    assert_eq!(world.ask(&turn(0, later)).await.header("x-portfolio-model"), away);
    super::world::pass(Duration::from_secs(1801)).await;
    assert_eq!(
        world.ask(&turn(0, later)).await.header("x-portfolio-model"),
        homes[0],
        "its time is over"
    );
}

#[tokio::test]
async fn a_header_can_say_what_is_one_conversation() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::over(
        &[&a, &b],
        "sticky: {by: Header, header: X-Session}, rules: [{targets: [{model: a}, {model: b}]}]",
    );
    let mut seen = std::collections::BTreeSet::new();
    for session in ["1", "2", "3", "4", "5", "6", "7", "8"] {
        let mut of_one = std::collections::BTreeSet::new();
        for question in ["one", "two", "three"] {
            let body = ASK.replace("The capital", question);
            let answer = ask(&world, "/v1/chat/completions", &[("x-session", session)], &body).await;
            of_one.insert(answer.header("x-portfolio-model").to_owned());
        }
        assert_eq!(of_one.len(), 1);
        seen.extend(of_one);
    }
    assert_eq!(seen.len(), 2, "sessions differ");
}
