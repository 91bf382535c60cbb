//! What the gateway says of the demand to whoever scales by it.

use std::time::Duration;

use futures::future::join_all;
use http::StatusCode;
use tokio::time::{Instant, timeout};

use super::ASK;
use super::engine::{Do, Engine, paris};
use super::world::World;
use crate::plan::scaling::demand::{Told, Wanted};

async fn told(world: &World, query: &str) -> Told {
    let answer = world.get(&format!("/demand{query}"), &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    serde_json::from_str(&answer.text).unwrap()
}

#[tokio::test]
async fn what_is_under_way_and_what_waits_for_its_turn_is_demand_and_models_that_nobody_wants_are_left_out() {
    let (engine, other) = (Engine::start(vec![Do::Hang]).await, Engine::start(paris()).await);
    let world = World::over(&[&other], "rules: [{targets: [{model: b}]}]");
    world.pod_with_queue("b", &engine.url, "{atOncePerPod: 2, waiting: 8}");
    world.route("rules: [{targets: [{model: b}]}]");
    let nobody = told(&world, "").await;
    assert_eq!((nobody.calls, nobody.models.len()), (0, 0));
    let asked = join_all((0..5).map(|_| world.ask(ASK)));
    let look = async {
        let all = Wanted {
            in_flight: 2,
            queued: 3,
            ..Wanted::default()
        };
        while told(&world, "").await.models.get("claims/b") != Some(&all) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = asked => panic!("nobody is answered"),
        () = look => {}
    }
    assert_eq!(told(&world, "").await.models.len(), 0, "they hung up");
    assert_eq!(told(&world, "").await.calls, 0, "its pods are awake");
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_calls_hears_of_one_at_once_and_else_after_two_seconds() {
    for (how, expected) in [
        ("warmup: {mode: Hold}", (1, 0)),
        ("warmup: {mode: Refuse}", (0, 1)),
        ("rules: [{targets: [{model: a}]}]", (0, 1)),
    ] {
        let world = World::new();
        world.without_pods("a", "False", "ScaledToZero");
        world.route(&format!("rules: [{{targets: [{{model: a}}]}}], {how}").replace(", rules: [{targets: [{model: a}]}]", ""));
        let before = told(&world, "").await;
        let query = format!("?seen={}", before.calls);
        let open = async {
            let began = Instant::now();
            (told(&world, &query).await, began.elapsed())
        };
        let asked = async {
            tokio::task::yield_now().await;
            // Whoever waits for it waits.
            timeout(Duration::from_millis(500), world.ask(ASK)).await.ok();
        };
        let ((heard, after), ()) = tokio::join!(open, asked);
        assert!(after < Duration::from_millis(100), "{how}: {after:?}");
        let wanted = heard.models["claims/a"];
        assert_eq!((heard.calls, heard.instance), (before.calls + 1, before.instance), "{how}");
        assert_eq!((wanted.held, wanted.refused), expected, "{how}");
        // A call that was not heard of is told at once.
        let began = Instant::now();
        told(&world, &query).await;
        assert_eq!(began.elapsed(), Duration::ZERO, "{how}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_back_for_two_seconds_at_most() {
    let world = World::new();
    let began = Instant::now();
    let told = told(&world, "?seen=0").await;
    assert_eq!((told.calls, began.elapsed().as_secs()), (0, 2));
    // What is no number asks for what there is.
    let began = Instant::now();
    assert_eq!(super::demand::told(&world, "?seen=x").await.calls, 0);
    assert_eq!(began.elapsed(), Duration::ZERO);
}
