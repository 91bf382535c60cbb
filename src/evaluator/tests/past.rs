//! Runs that are compared with those before them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::plan::evaluation::drift::Left;
use crate::plan::statistics::drift::BASELINE_RUNS;

const RUNS: [&str; 8] = ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7"];

/// A world whose model answers the first so many questions right.
async fn world(right: &Arc<AtomicUsize>) -> World {
    let right = Arc::clone(right);
    World::new(move |_, _, question| {
        let number: usize = question.trim_start_matches("question ").parse().unwrap();
        let is_right = number < right.load(Ordering::SeqCst);
        Reply::Text(if is_right { "right" } else { "wrong" }.to_owned())
    })
    .await
}

fn left(report: &Report) -> Left {
    report.targets[0].drift.clone().unwrap()
}

/// Carries out one more run, as the operator tells it after those before.
async fn step(world: &mut World, run: &'static str, about: &str, baseline: &[&str], state: Value) -> Left {
    world.kept = Some(run);
    let track = json!({"fingerprint": "f", "about": about, "baseline": baseline, "state": state});
    world.run.drift = Some(serde_json::from_value(json!({"tolerance": 0.01, "threshold": 3, "targets": {"llama": track}})).unwrap());
    left(&world.report().await)
}

#[tokio::test]
async fn a_model_that_becomes_worse_than_in_its_first_runs_raises_an_alarm() {
    let right = Arc::new(AtomicUsize::new(10));
    let mut world = world(&right).await;
    let nothing = json!([0, 0, 0, 0, 0]);
    let first = step(&mut world, RUNS[0], "", &[], nothing.clone()).await;
    assert_eq!((first.was.as_deref(), first.step, &first.lost), (Some(""), None, &None));
    for run in 1..BASELINE_RUNS {
        let next = step(&mut world, RUNS[run], &first.about, &RUNS[..run], nothing.clone()).await;
        assert_eq!((&next.about, next.step), (&first.about, None));
    }
    let baseline = &RUNS[..BASELINE_RUNS];
    let same = step(&mut world, RUNS[5], &first.about, baseline, nothing.clone())
        .await
        .step
        .unwrap();
    assert!(same.drop.abs() < 1e-9 && same.progress < 1.0, "{same:?}");
    right.store(4, Ordering::SeqCst);
    let state = serde_json::to_value(same.state).unwrap();
    let worse = step(&mut world, RUNS[6], &first.about, baseline, state).await.step.unwrap();
    assert!((worse.drop - 0.5).abs() < 1e-9 && worse.progress > same.progress, "{worse:?}");
    assert_eq!(worse.progress, 1.0);

    world.run.suites[0].max_output_tokens = Some(99);
    let another = step(&mut world, RUNS[7], &first.about, baseline, nothing.clone()).await;
    assert_ne!(another.about, first.about, "a shorter answer is another one");
    world.run.suites[0].max_output_tokens = Some(100);
    std::fs::write(world.folder.0.join(RUNS[2]).join("report.json"), "{").unwrap();
    std::fs::remove_dir_all(world.folder.0.join(RUNS[7])).unwrap();
    let broken = step(&mut world, RUNS[7], &first.about, baseline, nothing.clone())
        .await
        .lost
        .unwrap();
    assert!(broken.starts_with("the report of the run r2 cannot be understood"), "{broken}");
    std::fs::remove_dir_all(world.folder.0.join(RUNS[7])).unwrap();
    std::fs::remove_dir_all(world.folder.0.join(RUNS[2])).unwrap();
    let lost = step(&mut world, RUNS[7], &first.about, baseline, nothing).await;
    assert_eq!(
        (lost.step, lost.lost.as_deref()),
        (None, Some("spec.reports has no report of the run r2"))
    );
}

#[tokio::test]
async fn a_model_is_compared_with_what_it_was_in_an_earlier_run() {
    let right = Arc::new(AtomicUsize::new(12));
    let mut world = world(&right).await;
    world.kept = Some("then");
    world.report().await;
    let asked = world.requests();

    right.store(2, Ordering::SeqCst);
    world.kept = Some("now");
    let criterion = json!([{"suite": "claims", "metric": "accuracy", "notWorseThanBaselineBy": "0.05"}]);
    world.run.targets[0].criteria = serde_json::from_value(criterion).unwrap();
    world.run.past = Some(serde_json::from_value(json!({"run": "then"})).unwrap());
    let report = world.report().await;
    let target = &report.targets[0];
    assert_eq!(target.verdict, Verdict::Fail, "{}", target.message);
    assert!(
        target.message.contains("0 better and 10 worse of 12 questions"),
        "{}",
        target.message
    );
    assert_eq!(world.requests(), 2 * asked, "nobody else is asked");
}

#[tokio::test]
async fn an_earlier_run_that_cannot_be_compared_with_is_told_before_anything_is_asked() {
    let mut world = World::new(|_, _, _| Reply::Text("right".to_owned())).await;
    world.kept = Some("then");
    world.report().await;
    let asked = world.requests();
    world.kept = Some("now");
    let criterion = json!([{"suite": "claims", "metric": "accuracy", "notWorseThanBaselineBy": "0.05"}]);
    world.run.targets[0].criteria = serde_json::from_value(criterion).unwrap();
    let mut told = async |past: Value| {
        world.run.past = Some(serde_json::from_value(past).unwrap());
        world.report().await.invalid.unwrap()
    };
    assert!(
        told(json!({"run": "never"}))
            .await
            .starts_with("spec.reports has no report of the run never; name a run")
    );
    assert!(
        told(json!({"run": "then", "model": "gpt"}))
            .await
            .starts_with("the run then did not ask gpt; name a run")
    );
    world.dataset(r#"{"id": 1, "input": "question 1", "expected": "right"}"#);
    world.run.past = Some(serde_json::from_value(json!({"run": "then"})).unwrap());
    let changed = world.report().await.invalid.unwrap();
    assert!(changed.contains("its suite claims asked sha256:"), "{changed}");
    world.run.suites[0].scorer = Some(serde_json::from_value(json!({"contains": {}})).unwrap());
    let read = world.report().await.invalid.unwrap();
    assert!(read.contains("another scorer, repeats or maxOutputTokens"), "{read}");
    assert_eq!(world.requests(), asked);
}

#[tokio::test]
async fn an_earlier_run_that_measured_nothing_is_compared_with_by_nobody() {
    let is_ill = Arc::new(AtomicUsize::new(1));
    let ill = Arc::clone(&is_ill);
    let mut world = World::new(move |_, _, _| match ill.load(Ordering::SeqCst) {
        0 => Reply::Text("right".to_owned()),
        _ => Reply::Error(400),
    })
    .await;
    world.kept = Some("then");
    assert_eq!(world.report().await.targets[0].verdict, Verdict::Invalid);
    is_ill.store(0, Ordering::SeqCst);
    let asked = world.requests();
    world.kept = Some("now");
    let criterion = json!([{"suite": "claims", "metric": "accuracy", "notWorseThanBaselineBy": "0.05"}]);
    world.run.targets[0].criteria = serde_json::from_value(criterion).unwrap();
    world.run.past = Some(serde_json::from_value(json!({"run": "then"})).unwrap());
    let told = world.report().await.invalid.unwrap();
    assert!(told.contains("its verdict about llama is Invalid; name a run"), "{told}");
    assert_eq!(world.requests(), asked);
}

#[tokio::test]
async fn what_an_earlier_run_was_not_asked_is_not_asked_for_its_sake() {
    let mut world = World::new(|_, _, _| Reply::Text("right".to_owned())).await;
    world.kept = Some("then");
    world.run.suites[0].sample = Some(serde_json::from_value(json!({"size": 6})).unwrap());
    world.report().await;
    let asked = world.requests();
    world.kept = Some("now");
    let criterion = json!([{"suite": "claims", "metric": "accuracy", "notWorseThanBaselineBy": "0.05"}]);
    world.run.targets[0].criteria = serde_json::from_value(criterion).unwrap();
    world.run.past = Some(serde_json::from_value(json!({"run": "then"})).unwrap());
    world.run.extend_to = Some(12);
    let report = world.report().await;
    let target = &report.targets[0];
    assert_eq!(target.verdict, Verdict::Inconclusive, "{}", target.message);
    assert_eq!(world.requests(), 2 * asked);
    world.run.suites[0].sample = None;
    world.kept = Some("more");
    let more = world.report().await.invalid.unwrap();
    assert!(
        more.contains("llama has no answer in it to 6 of the 12 questions of suite claims"),
        "{more}"
    );
}

#[tokio::test]
async fn a_run_whose_report_is_not_kept_is_no_part_of_a_baseline() {
    let right = Arc::new(AtomicUsize::new(10));
    let mut world = world(&right).await;
    // A file where the folder is to be.
    std::fs::write(world.folder.0.join("full"), "").unwrap();
    world.kept = Some("full");
    let track = json!({"fingerprint": "f"});
    world.run.drift = Some(serde_json::from_value(json!({"tolerance": 0.01, "threshold": 3, "targets": {"llama": track}})).unwrap());
    let report = world.report().await;
    assert_eq!((report.targets[0].verdict, &report.targets[0].drift), (Verdict::Pass, &None));
}

#[tokio::test]
async fn a_page_shows_the_runs_before_and_what_ended_otherwise() {
    let right = Arc::new(AtomicUsize::new(12));
    let mut world = world(&right).await;
    world.kept = Some("quality-29930991");
    world.report().await;
    right.store(9, Ordering::SeqCst);
    world.kept = Some("quality-29930992");
    world.report().await;
    let page = std::fs::read_to_string(world.folder.0.join("quality-29930992/report.html")).unwrap();
    for shown in [
        "2026-11-28T09:52:00Z",
        "2026-11-28T09:51:00Z",
        "the run of 2026-11-28T09:51:00Z",
        "claims: accuracy lowerBoundAtLeast 0.01",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
    assert!(page.contains("3 worse of 12"), "{page}");
}
