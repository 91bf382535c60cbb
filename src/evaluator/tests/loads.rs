//! Runs with a load.

use super::*;

/// A world whose only suite is a load of so many requests.
async fn world(requests: u32, says: impl Fn(usize, &str, &str) -> Reply + Send + Sync + 'static) -> World {
    let mut world = World::new(says).await;
    let suite =
        json!([{"name": "claims", "latency": {"requests": requests, "ratePerSecond": "500", "inputTokens": 60, "outputTokens": 5}}]);
    world.run.suites = serde_json::from_value(suite).unwrap();
    let criteria = json!([{"suite": "claims", "metric": "latency_p95_seconds", "upperBoundAtMost": "30"}]);
    world.run.targets[0].criteria = serde_json::from_value(criteria).unwrap();
    world
}

fn streamed(_: usize, _: &str, _: &str) -> Reply {
    Reply::Stream
}

/// Tries until the machine is quiet enough for a load to be sent on time, which is not what is tested here.
async fn on_time(attempt: impl AsyncFn() -> bool) {
    for _ in 0..50 {
        if attempt().await {
            return;
        }
    }
    panic!("this machine is never quiet");
}

/// Whether the load was sent late.
fn is_late(report: &Report) -> bool {
    report.targets[0].message.contains("too slow to measure")
}

#[tokio::test]
async fn a_load_is_carried_out_once_and_its_times_are_judged() {
    on_time(async || {
        let mut world = world(80, streamed).await;
        world.kept = Some("report");
        let report = world.report().await;
        if is_late(&report) {
            return false;
        }
        let target = &report.targets[0];
        assert_eq!(target.verdict, Verdict::Pass, "{}", target.message);
        assert!(target.message.starts_with("claims: latency_p95_seconds "), "{}", target.message);
        let suite = suite(&report, "llama");
        assert_eq!((suite.questions, suite.correct, suite.errors), (80, 80, 0));
        let names: Vec<&str> = suite.metrics.iter().map(|metric| metric.name.as_str()).collect();
        // What comes in one piece shows no time between tokens.
        assert_eq!(names[..2], ["latency_p95_seconds", "ttft_p95_seconds"]);
        assert_eq!(suite.protocol, "open loop, 80 requests at 500/s, 60 tokens in, 5 out");
        // One goes before.
        assert_eq!(world.requests(), 81);
        assert_eq!(world.report().await, report);
        assert_eq!(world.requests(), 81, "what is noted is not asked again");
        let page = std::fs::read_to_string(world.folder.0.join("report/report.html")).unwrap();
        assert!(page.contains("latency_p95_seconds"));
        true
    })
    .await;
}

#[tokio::test]
async fn a_load_that_was_killed_begins_anew_and_what_it_spent_counts() {
    let world = world(80, streamed).await;
    let once = world.report().await;
    let noted = std::fs::read_to_string(world.progress()).unwrap();
    let half: Vec<&str> = noted.lines().take(81).collect();
    std::fs::write(world.progress(), half.join("\n") + "\n").unwrap();
    let asked = world.requests();
    let again = world.report().await;
    assert_eq!(world.requests() - asked, 81);
    assert_eq!(suite(&again, "llama").questions, 80);
    assert!(again.tokens[0] > once.tokens[0], "{:?}", again.tokens);
}

#[tokio::test]
async fn what_is_refused_counts_as_an_error_and_is_not_tried_again() {
    let world = world(60, |nth, _, _| if nth % 2 == 0 { Reply::Busy("1") } else { Reply::Stream }).await;
    let report = world.report().await;
    let target = &report.targets[0];
    assert_eq!(target.verdict, Verdict::Invalid);
    assert!(target.message.contains("30 of 60 requests failed"), "{}", target.message);
    assert_eq!(world.requests(), 61);
}

#[tokio::test]
async fn a_model_that_does_not_take_even_one_is_told_by_its_words() {
    let world = world(60, |_, _, _| Reply::Error(404)).await;
    let report = world.report().await;
    assert_eq!(report.targets[0].verdict, Verdict::Invalid);
    assert!(
        report.targets[0].message.contains("there is no such model"),
        "{}",
        report.targets[0].message
    );
    assert_eq!(world.requests(), 1);
}

#[tokio::test]
async fn a_load_stops_before_it_passes_a_limit() {
    let mut world = world(80, streamed).await;
    world.limit("tokens", 5_000);
    let report = world.report().await;
    assert_eq!((report.targets[0].verdict, report.stopped), (Verdict::Invalid, Some(Limit::Tokens)));
    assert!(
        report.targets[0].message.contains("spec.limits.maxTokens"),
        "{}",
        report.targets[0].message
    );
    assert!(
        report.tokens() <= 5_000 && world.requests() < 81,
        "{:?} {}",
        report.tokens,
        world.requests()
    );
}
