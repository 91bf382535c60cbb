//! Requests wait for the pods of a model with a queue.

use std::sync::Arc;

use futures::future::join_all;
use http::StatusCode;
use tokio::sync::Semaphore;

use super::engine::{Do, Engine, paris};
use super::world::{Answer, World};
use super::{A_THEN_B, ASK, ONLY_A};

/// An engine whose answers wait for a permit each.
async fn gated(gate: &Arc<Semaphore>) -> Engine {
    Engine::start([vec![Do::Wait(gate.clone())], paris()].concat()).await
}

fn good(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.status == StatusCode::OK).count()
}

#[tokio::test]
async fn no_more_are_under_way_than_the_pod_is_to_have_and_none_is_lost() {
    let gate = Arc::new(Semaphore::new(0));
    let engine = gated(&gate).await;
    let world = World::new();
    world.pod_with_queue("a", &engine.url, "{atOncePerPod: 2}");
    world.route(ONLY_A);
    let asked = join_all((0..8).map(|_| world.ask(ASK)));
    let opened = async {
        engine.until(|counts| counts.requests == 2).await;
        let waiting = world.metric("portfolio_gateway_requests_queued{model=\"claims/a\"}").await;
        assert!((waiting - 6.0).abs() < f64::EPSILON, "{waiting}");
        for more in 3..=8 {
            assert_eq!(engine.requests(), more - 1, "the others wait");
            gate.add_permits(1);
            engine.until(|counts| counts.requests == more).await;
        }
        gate.add_permits(2);
    };
    let (answers, ()) = tokio::join!(asked, opened);
    assert_eq!(good(&answers), 8);
}

#[tokio::test]
async fn a_request_without_a_turn_goes_to_the_next_model_or_is_told_to_come_back() {
    let gate = Arc::new(Semaphore::new(0));
    let (engine, other) = (gated(&gate).await, Engine::start(paris()).await);
    let world = World::new();
    world.pod_with_queue("a", &engine.url, "{atOncePerPod: 1, waiting: 0}");
    world.pod("b", &[&other.url]);
    world.route(A_THEN_B);
    let first = world.ask(ASK);
    let others = async {
        engine.until(|counts| counts.requests == 1).await;
        let spilled = world.ask(ASK).await;
        assert_eq!((spilled.status, spilled.header("x-portfolio-model")), (StatusCode::OK, "claims/b"));
        world.route(ONLY_A);
        let refused = world.ask(ASK).await;
        assert_eq!(
            (refused.status, refused.header("retry-after")),
            (StatusCode::SERVICE_UNAVAILABLE, "1")
        );
        let told = refused.error().1;
        assert!(told.contains("a has as many requests waiting as may (0)"), "{told}");
        gate.add_permits(1);
    };
    let (first, ()) = tokio::join!(first, others);
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(engine.requests(), 1, "and what waits is no failure of its pod");
}
