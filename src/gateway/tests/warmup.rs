//! Requests for models that are asleep: who waits, for how long, and what becomes of them when the model comes, fails, or does not come.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use tokio::time::{sleep, timeout};

use super::drain::{drain, serve, until};
use super::engine::{CONTENT, DONE, Do, Engine, WORD, answers, paris, streams};
use super::world::{Answer, World, post_to};
use super::{ASK, STREAM, WEB};
use crate::gateway::hold::Held;
use crate::plan::names::Key;
use crate::plan::routing::Hold;
use crate::plan::scaling::demand::Wanted;

const OWN: &str = "{selfHosted: {engine: {kind: VLLM}}}";
const HOLD: &str = "rules: [{targets: [{model: a}]}], warmup: {mode: Hold, max: 20}";

fn a() -> Key {
    Key::new("claims", "a")
}

impl World {
    /// A self-hosted model in namespace `claims` without pods, of which the operator says this.
    pub(super) fn without_pods(&self, name: &str, ready: &str, reason: &str) {
        let told = format!("{{type: Ready, status: '{ready}', reason: {reason}, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}}");
        self.model(name, OWN, &format!("{{conditions: [{told}]}}"));
    }

    /// A gateway whose policy `assistant` has `spec`, over a model `a` that is asleep.
    fn asleep(spec: &str) -> Self {
        let world = Self::new();
        world.without_pods("a", "False", "ScaledToZero");
        world.route(spec);
        world
    }

    fn wanted(&self) -> Wanted {
        self.gateway.demand().get(&a()).copied().unwrap_or_default()
    }

    /// Waits until so many requests wait for `a`.
    async fn holds(&self, count: u64) {
        let there = async {
            while self.wanted().held != count {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(30), there).await.expect("they come in time");
    }
}

/// That a model starts; the words.
fn starting(answer: &Answer) -> String {
    let (code, message) = answer.error();
    assert_eq!(
        (answer.status.as_u16(), code.as_str(), answer.header("retry-after")),
        (503, "model_starting", "10"),
        "{message}"
    );
    message
}

#[tokio::test]
async fn none_of_the_first_requests_fails() {
    let engine = Engine::start(paris()).await;
    let world = World::asleep(HOLD);
    let asked = join_all((0..20).map(|_| world.ask(ASK)));
    let wakes = async {
        world.holds(20).await;
        assert_eq!(world.metric("portfolio_gateway_requests_held{model=\"claims/a\"}").await, 20.0);
        // A table that changes nothing for them.
        world.route(HOLD);
        world.without_pods("a", "Unknown", "Loading");
        world.route(HOLD);
        world.holds(20).await;
        assert_eq!(engine.requests(), 0);
        world.pod("a", &[&engine.url]);
        world.route(HOLD);
    };
    let (answers, ()) = tokio::join!(asked, wakes);
    assert!(
        answers.iter().all(|answer| answer.status == 200 && answer.text == CONTENT),
        "{answers:?}"
    );
    assert_eq!(engine.requests(), 20);
    assert_eq!(world.wanted(), Wanted::default());
    assert_eq!(world.metric("portfolio_gateway_requests_held{model=\"claims/a\"}").await, 0.0);
    let counted = "portfolio_gateway_warmup_requests_total{policy=\"claims/assistant\",outcome=\"held\"}";
    assert_eq!(world.metric(counted).await, 20.0);
    assert_eq!(
        world
            .metric("portfolio_gateway_held_seconds_count{policy=\"claims/assistant\"}")
            .await,
        20.0
    );
    assert_eq!(world.ask(ASK).await.status, 200);
    assert_eq!(world.metric(counted).await, 20.0, "nobody waits for a model that answers");
}

#[tokio::test]
async fn a_stream_waits_as_well_and_nothing_of_it_is_sent_meanwhile() {
    let engine = Engine::start(streams(&[WORD, DONE])).await;
    let world = World::asleep(HOLD);
    let served = serve(&world, drain(Duration::from_secs(60))).await;
    let mut open = served.send(STREAM).await;
    world.holds(1).await;
    let mut byte = [0];
    assert!(
        timeout(Duration::from_millis(100), open.peek(&mut byte)).await.is_err(),
        "not even a head"
    );
    world.pod("a", &[&engine.url]);
    world.route(HOLD);
    let answer = until(&mut open, "0\r\n\r\n").await;
    assert!(answer.contains("Paris") && answer.contains("[DONE]"), "{answer}");
}

#[tokio::test]
async fn those_who_wait_go_on_in_the_order_in_which_they_came() {
    let world = World::asleep(HOLD);
    let hold = Hold {
        max: 9,
        lasts: Duration::from_secs(30),
    };
    let order: Arc<Mutex<Vec<usize>>> = Arc::default();
    let mut tasks = Vec::new();
    for number in 0..6 {
        let (gateway, order) = (world.gateway.clone(), order.clone());
        tasks.push(tokio::spawn(async move {
            let mut held = Held::enter(&gateway, &Key::new("claims", "assistant"), hold, &a()).unwrap();
            loop {
                let table = held.wait(hold, &[a()]).await.unwrap().unwrap();
                if table.backends().next().is_some() {
                    break;
                }
            }
            order.lock().unwrap().push(number);
        }));
        world.holds(number as u64 + 1).await;
    }
    tasks[2].abort();
    world.holds(5).await;
    world.pod("a", &["http://10.0.0.1"]);
    world.route(HOLD);
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.is_err(), number == 2);
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn whoever_finds_no_place_or_waits_too_long_goes_to_the_fallbacks_or_is_told_to_come_back() {
    let world = World::asleep("rules: [{targets: [{model: a}]}], warmup: {mode: Hold, max: 1, for: 90s}");
    let second = async {
        world.holds(1).await;
        world.ask(ASK).await
    };
    let (first, second) = tokio::join!(world.ask(ASK), second);
    let message = starting(&second);
    assert_eq!(
        message,
        "no target of RoutingPolicy claims/assistant, rule 1, answers yet, and as many requests as may wait do so (1, spec.warmup.max): \
         a has no ready pod (ScaledToZero); try again in a moment"
    );
    let message = starting(&first);
    assert!(
        message.contains("answers yet, and it may be waited for 90s (spec.warmup.for): a has"),
        "{message}"
    );
    assert_eq!(
        world.wanted(),
        Wanted {
            refused: 2,
            ..Wanted::default()
        }
    );
    let refused = "portfolio_gateway_warmup_requests_total{policy=\"claims/assistant\",outcome=\"refused\"}";
    assert_eq!(world.metric(refused).await, 2.0);
    assert_eq!(
        world
            .metric("portfolio_gateway_held_seconds_count{policy=\"claims/assistant\"}")
            .await,
        1.0
    );
    assert_eq!(
        world
            .metric("portfolio_gateway_held_seconds_sum{policy=\"claims/assistant\"}")
            .await,
        90.0
    );
    let message = "{\"model\":\"assistant\",\"max_tokens\":5,\"messages\":[]}";
    let request = post_to("/v1/messages", &WEB, message);
    let answer = Answer::read(world.call(request).await).await;
    assert!(answer.text.starts_with("{\"type\":\"error\""), "{}", answer.text);
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "10"));
}

#[tokio::test]
async fn the_fallbacks_answer_whoever_waits_too_long() {
    let engine = Engine::start(paris()).await;
    let world = World::new();
    world.without_pods("a", "False", "ScaledToZero");
    world.pod("b", &[&engine.url]);
    let rules = "rules: [{targets: [{model: a}], fallback: [{model: b}]}], warmup: {mode: Hold, max: 1, for: 300ms}";
    world.route(rules);
    let second = async {
        world.holds(1).await;
        world.ask(ASK).await
    };
    let (first, second) = tokio::join!(world.ask(ASK), second);
    assert_eq!((first.status.as_u16(), second.status.as_u16(), engine.requests()), (200, 200, 2));
    assert_eq!(first.header("x-portfolio-model"), "claims/b");
    assert_eq!(world.wanted().elsewhere, 2);
    let fallback = "portfolio_gateway_warmup_requests_total{policy=\"claims/assistant\",outcome=\"fallback\"}";
    assert_eq!(world.metric(fallback).await, 2.0);
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_its_place_at_once() {
    let world = World::asleep("rules: [{targets: [{model: a}]}], warmup: {mode: Hold, max: 1}");
    let served = serve(&world, drain(Duration::from_secs(60))).await;
    for _ in 0..3 {
        let open = served.send(ASK).await;
        world.holds(1).await;
        drop(open);
        world.holds(0).await;
    }
    assert_eq!(world.metric("portfolio_gateway_requests_in_flight").await, 0.0);
}

#[tokio::test]
async fn a_gateway_that_ends_says_so_to_whoever_still_waits() {
    let world = World::asleep(HOLD);
    let served = serve(&world, drain(Duration::from_millis(50))).await;
    let mut open = served.send(ASK).await;
    world.holds(1).await;
    served.stop.cancel();
    let end = until(&mut open, "shutting down").await;
    assert!(
        end.starts_with("HTTP/1.1 503") && end.to_lowercase().contains("retry-after: 1\r\n"),
        "{end}"
    );
    served.ended().await;
    assert_eq!(world.wanted().held, 0);
}

#[tokio::test]
async fn a_model_that_cannot_start_is_waited_for_no_longer() {
    let world = World::asleep(HOLD);
    let fails = async {
        world.holds(3).await;
        world.without_pods("a", "False", "Unschedulable");
        world.route(HOLD);
    };
    let (answers, ()) = tokio::join!(join_all((0..3).map(|_| world.ask(ASK))), fails);
    for answer in &answers {
        let (code, message) = answer.error();
        assert_eq!(code, "no_eligible_model", "{message}");
        assert!(message.contains("a has no ready pod (Unschedulable)"), "{message}");
    }
    let engine = Engine::start(paris()).await;
    world.pod("b", &[&engine.url]);
    world.without_pods("a", "Unknown", "Loading");
    let rules = "rules: [{targets: [{model: a}], fallback: [{model: b}]}], warmup: {mode: Hold}";
    world.route(rules);
    let fails = async {
        world.holds(1).await;
        world.without_pods("a", "False", "CrashLooping");
        world.route(rules);
    };
    let (answer, ()) = tokio::join!(world.ask(ASK), fails);
    assert_eq!((answer.status.as_u16(), answer.header("x-portfolio-model")), (200, "claims/b"));
}

#[tokio::test]
async fn what_changes_meanwhile_holds_for_those_who_wait() {
    let engine = Engine::start(paris()).await;
    for (then, code) in [
        (
            "rules: [{targets: [{model: a}]}], clients: [{serviceAccounts: {names: [other]}}]",
            "not_admitted",
        ),
        (
            "rules: [{targets: [{model: a}]}], maxBodyBytes: 1Ki, require: {tiers: [MissionCritical]}",
            "no_eligible_model",
        ),
        ("rules: [{when: {tools: true}, targets: [{model: a}]}]", "no_rule_matches"),
        (
            "rules: [{targets: [{model: a}]}], budgets: [{per: Policy, tokens: 1, window: Day}]",
            "budget_exhausted",
        ),
        (
            "rules: [{targets: [{model: a}]}], limits: [{per: Client, tokensPerMinute: 1}], budgets: [{per: Policy, tokens: 1, window: Day}]",
            "budget_exhausted",
        ),
    ] {
        let world = World::asleep("rules: [{targets: [{model: a}]}], warmup: {mode: Hold}");
        let changes = async {
            world.holds(1).await;
            world.pod("a", &[&engine.url]);
            world.route(then);
        };
        let (answer, ()) = tokio::join!(world.ask(ASK), changes);
        assert_eq!(answer.error().0, code, "{then}: {}", answer.text);
    }
    assert_eq!(engine.requests(), 0);
}

#[tokio::test]
async fn a_request_that_waits_counts_once_in_limits_and_all_the_time_at_one_time() {
    let engine = Engine::start(paris()).await;
    let rules = |budget: &str| {
        format!(
            "rules: [{{targets: [{{model: a}}]}}], warmup: {{mode: Hold}}, limits: [{{per: Client, requestsPerMinute: 2, concurrent: 1}}],
             budgets: [{{per: Policy, tokens: {budget}, window: Day}}]"
        )
    };
    let world = World::asleep(&rules("100000"));
    let meanwhile = async {
        world.holds(1).await;
        let second = world.ask(ASK).await;
        // Another budget, under which it goes on.
        world.route(&rules("200000"));
        world.holds(1).await;
        world.pod("a", &[&engine.url]);
        world.route(&rules("200000"));
        second
    };
    let (first, second) = tokio::join!(world.ask(ASK), meanwhile);
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 429), "{}", first.text);
    assert_eq!(second.error().0, "rate_limit_exceeded");
    assert_eq!(first.header("x-ratelimit-remaining-requests"), "1");
    assert_eq!(world.ask(ASK).await.status, 200, "one of two is left");
    assert_eq!(world.ask(ASK).await.status, 429);
}

#[tokio::test(start_paused = true)]
async fn bodies_of_those_who_wait_count_in_the_memory_for_requests() {
    let world = World::with(|options| options.max_body_bytes_together = 16 << 10);
    world.without_pods("a", "False", "ScaledToZero");
    world.route(HOLD);
    let large = ASK.replace("The capital", &"x".repeat(11 << 10));
    let second = async {
        world.holds(1).await;
        world.ask(&large).await
    };
    let (first, second) = tokio::join!(world.ask(&large), second);
    starting(&first);
    assert_eq!((second.status.as_u16(), second.error().0.as_str()), (503, "overloaded"));
}

#[tokio::test(start_paused = true)]
async fn what_it_waits_is_part_of_the_time_for_the_whole_request() {
    let silent = Engine::start(vec![Do::Hang]).await;
    let world = World::asleep("rules: [{targets: [{model: a}]}], warmup: {mode: Hold, for: 8s}, timeouts: {total: 10s}");
    let began = tokio::time::Instant::now();
    let wakes = async {
        sleep(Duration::from_secs(7)).await;
        world.pod("a", &[&silent.url]);
        world.route("rules: [{targets: [{model: a}]}], warmup: {mode: Hold, for: 8s}, timeouts: {total: 10s}");
    };
    let (answer, ()) = tokio::join!(world.ask(ASK), wakes);
    assert_eq!(answer.status, 504, "{}", answer.text);
    assert!(began.elapsed() < Duration::from_millis(10_100), "{:?}", began.elapsed());
}

#[tokio::test]
async fn another_model_answers_until_the_pod_does_and_conversations_come_back() {
    let (own, api) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::new();
    world.without_pods("a", "False", "ScaledToZero");
    world.api_with_key("b", "OpenAICompatible", &api.url);
    // It is a fallback too, and a conversation could stay with it.
    let rules = "rules: [{targets: [{model: a}], fallback: [{model: b}]}], warmup: {mode: Spill, targets: [{model: b}]}, sticky: {by: Conversation}";
    world.route(rules);
    for reason in ["ScaledToZero", "Loading"] {
        let answer = world.ask(ASK).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-portfolio-model")),
            (200, "claims/b"),
            "{reason}"
        );
        world.without_pods("a", "Unknown", "Loading");
        world.route(rules);
    }
    assert_eq!(
        world.wanted(),
        Wanted {
            elsewhere: 2,
            ..Wanted::default()
        }
    );
    let spilled = "portfolio_gateway_warmup_requests_total{policy=\"claims/assistant\",outcome=\"spilled\"}";
    assert_eq!(world.metric(spilled).await, 2.0);
    world.pod("a", &[&own.url]);
    world.route(rules);
    for _ in 0..3 {
        assert_eq!(world.ask(ASK).await.header("x-portfolio-model"), "claims/a");
    }
    assert_eq!((own.requests(), api.requests()), (3, 2));
    // One that falls back because the pod fails does stay, as without any warm-up.
    own.once_does(answers(500, "", "{}"));
    assert_eq!(world.ask(ASK).await.header("x-portfolio-model"), "claims/b");
    assert_eq!(world.ask(ASK).await.header("x-portfolio-model"), "claims/b");
}

#[tokio::test]
async fn whoever_answers_meanwhile_sees_no_data_that_it_may_not_see_and_spends_no_more_than_may_be_spent() {
    let api = Engine::start(paris()).await;
    let world = World::new();
    *world.settings.lock().unwrap() = serde_saphyr::from_str("{dataClasses: {Internal: {}, Personal: {classes: [Open, Custom]}}}").unwrap();
    world.without_pods("a", "False", "ScaledToZero");
    let spec = format!(
        "{{api: {{provider: OpenAICompatible, model: x, endpoint: '{}/v1'}}, price: {{inputPer1M: '0', outputPer1M: '1000000'}}}}",
        api.url
    );
    world.provider("b", &spec);
    world.route(
        "rules: [{targets: [{model: a}]}], warmup: {mode: Spill, targets: [{model: b}]}, budgets: [{per: Policy, usd: '2', window: Day}]",
    );
    let one = r#"{"model":"assistant","max_tokens":1,"messages":[]}"#;
    let personal = [WEB[0], ("x-data-class", "Personal")];
    starting(&world.ask_with(&personal, one).await);
    assert_eq!(api.requests(), 0);
    assert_eq!(world.ask(one).await.status, 200);
    assert_eq!(world.ask(one).await.status, 200);
    assert_eq!(world.ask(one).await.error().0, "budget_exhausted");
    assert_eq!(api.requests(), 2);
}

#[tokio::test]
async fn a_policy_that_refuses_does_so_at_once_and_only_while_the_model_wakes() {
    let (own, other) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::new();
    let rules = "rules: [{targets: [{model: a}], fallback: [{model: b}]}], warmup: {mode: Refuse}";
    world.without_pods("a", "False", "ScaledToZero");
    world.pod("b", &[&other.url]);
    world.route(rules);
    let told = starting(&world.ask(ASK).await);
    assert!(
        told.contains("rule 1, answers yet: a has no ready pod (ScaledToZero); try again"),
        "{told}"
    );
    assert_eq!(world.wanted().refused, 1);
    world.without_pods("a", "False", "CrashLooping");
    world.route(rules);
    assert_eq!(
        world.ask(ASK).await.header("x-portfolio-model"),
        "claims/b",
        "it fails, and for that there is a fallback"
    );
    world.pod("a", &[&own.url]);
    world.route(rules);
    assert_eq!(world.ask(ASK).await.header("x-portfolio-model"), "claims/a");
}

#[tokio::test]
async fn demand_is_told_without_a_warmup_too_and_counts_what_pods_answer() {
    let world = World::asleep("rules: [{targets: [{model: a}]}]");
    assert_eq!(world.ask(ASK).await.error().0, "no_eligible_model");
    assert_eq!(world.wanted().refused, 1);
    let engine = Engine::start(vec![Do::Hang]).await;
    world.pod("a", &[&engine.url]);
    world.route("rules: [{targets: [{model: a}]}]");
    let mut asked = Box::pin(world.ask(ASK));
    assert!((&mut asked).now_or_never().is_none());
    tokio::select! {
        _ = &mut asked => panic!("it is not answered"),
        () = engine.until(|counts| counts.requests == 1) => {}
    }
    assert_eq!(
        world.wanted(),
        Wanted {
            in_flight: 1,
            refused: 1,
            ..Wanted::default()
        }
    );
    drop(asked);
    assert_eq!(world.wanted().in_flight, 0);
}

#[tokio::test]
async fn nothing_is_woken_for_whoever_has_used_up_a_budget() {
    let engine = Engine::start(paris()).await;
    let budget = "budgets: [{per: Policy, tokens: 1, window: Day}]";
    for how in [
        "warmup: {mode: Hold, max: 20}",
        "warmup: {mode: Refuse}",
        "warmup: {mode: Spill, targets: [{model: b}]}",
    ] {
        let world = World::asleep(&format!("rules: [{{targets: [{{model: a}}]}}], {how}"));
        world.provider(
            "b",
            &format!("{{api: {{provider: OpenAICompatible, model: x, endpoint: '{}/v1'}}}}", engine.url),
        );
        let within = format!("rules: [{{targets: [{{model: a}}]}}], {how}");
        world.route(&format!("{within}, {budget}"));
        let answer = timeout(Duration::from_secs(5), world.ask(ASK)).await.expect("nobody waits");
        assert_eq!(
            (answer.status.as_u16(), answer.error().0.as_str()),
            (429, "budget_exhausted"),
            "{how}"
        );
        assert_eq!(world.wanted(), Wanted::default(), "{how}");
        // Where the budget goes on with another model, that answers at once.
        let downgrade = budget.replace("Day}", "Day, onExhausted: {action: Downgrade, targets: [{model: b}]}}");
        if !how.contains("Spill") {
            world.route(&format!("{within}, {downgrade}"));
            let is_refused = how.contains("Refuse");
            let answer = timeout(Duration::from_secs(5), world.ask(ASK)).await.expect("nobody waits");
            assert_eq!(answer.status == 200, !is_refused, "{how}: {}", answer.text);
            assert_eq!(world.wanted(), Wanted::default(), "{how}");
        }
    }
}
