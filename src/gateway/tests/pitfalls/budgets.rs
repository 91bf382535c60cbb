//! What may be spent, and until when: 6, 19.

use std::sync::atomic::{AtomicI64, Ordering};

use k8s_openapi::jiff::Timestamp;

use super::super::A_THEN_B;
use super::super::engine::{Engine, answers, paris};
use super::super::world::World;

/// A request whose answer may have one token.
const ONE: &str = r#"{"model":"assistant","max_tokens":1,"messages":[]}"#;

#[tokio::test]
async fn pitfall_06_fallbacks_that_nobody_checks_the_budget_for() {
    let (failing, dear) = (Engine::start(answers(500, "", "{}")).await, Engine::start(paris()).await);
    let world = World::new();
    world.pod_with("a", &failing.url, "price: {inputPer1M: '0', outputPer1M: '1'}");
    world.pod_with("b", &dear.url, "price: {inputPer1M: '0', outputPer1M: '1000000'}");
    // Enough for the first model, and not for the one that is asked when it fails.
    world.route(&format!("{A_THEN_B}, budgets: [{{per: Policy, window: Month, usd: '0.5'}}]"));
    let answer = world.ask(ONE).await;
    assert_eq!((answer.status.as_u16(), answer.error().0.as_str()), (429, "budget_exhausted"));
    assert_eq!((failing.requests(), dear.requests()), (1, 0));
    // With enough for both it answers, and what was kept for the first is free again.
    world.route(&format!("{A_THEN_B}, budgets: [{{per: Policy, window: Month, usd: '1'}}]"));
    assert_eq!(world.ask(ONE).await.header("x-portfolio-model"), "claims/b");
}

static SECOND: AtomicI64 = AtomicI64::new(0);

#[tokio::test]
async fn pitfall_19_months_that_have_thirty_days_and_begin_elsewhere() {
    let at = |time: &str| SECOND.store(time.parse::<Timestamp>().unwrap().as_second(), Ordering::SeqCst);
    let engine = Engine::start(paris()).await;
    let world = World::with(|options| options.now = || Timestamp::from_second(SECOND.load(Ordering::SeqCst)).unwrap());
    world.pod_with("a", &engine.url, "price: {inputPer1M: '0', outputPer1M: '1000000'}");
    let month = "budgets: [{per: Policy, window: Month, usd: '1', timeZone: America/New_York}]";
    world.route(&format!("rules: [{{targets: [{{model: a}}]}}], {month}"));
    // January has 31 days, and ends five hours later than in Greenwich; February has 28; in March the clocks change.
    for (time, status) in [
        ("2026-01-01T05:00:00Z", 200),
        ("2026-01-31T12:00:00Z", 429),
        ("2026-02-01T04:59:59Z", 429),
        ("2026-02-01T05:00:00Z", 200),
        ("2026-03-01T04:59:59Z", 429),
        ("2026-03-01T05:00:00Z", 200),
        ("2026-04-01T03:59:59Z", 429),
        ("2026-04-01T04:00:00Z", 200),
    ] {
        at(time);
        assert_eq!(world.ask(ONE).await.status, status, "{time}");
    }
}
