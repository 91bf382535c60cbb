//! Runs whose reports are kept in a bucket, by one pod or several.

use std::sync::atomic::AtomicBool;

use bytes::Bytes;

use super::*;
use crate::evaluator::files::Flaw;
use crate::evaluator::progress::Progress;

const RUN: &str = "quality-29930992";
/// What a question uses, and the most that it may: by its length, and an answer of 100 tokens.
const USED: u64 = 190_000;
const MOST: u64 = 1_042_000;
/// Two questions are a byte longer.
const MOST_OF_ALL: u64 = 10 * MOST + 2 * (MOST + 1_000);

/// At every opportunity.
const AT_ONCE: Rhythm = Rhythm {
    every: Duration::from_millis(1),
    least: Duration::ZERO,
    bytes: 1,
};
/// Only when something is to be granted.
const NEVER: Rhythm = Rhythm {
    every: Duration::from_secs(3600),
    least: Duration::from_secs(3600),
    bytes: u64::MAX,
};

async fn world(rhythm: Rhythm, says: impl Fn(usize, &str, &str) -> Reply + Send + Sync + 'static) -> World {
    let mut world = World::new(says).await;
    world.bucket = Some(Arc::new(Bucket::start().await.unwrap()));
    world.kept = Some(RUN);
    world.rhythm = rhythm;
    world
}

/// One whose gateway falls silent after so many answers, until it is told otherwise.
async fn falling_silent(rhythm: Rhythm, after: usize) -> (World, Arc<AtomicBool>) {
    let silent = Arc::new(AtomicBool::new(true));
    let is_silent = Arc::clone(&silent);
    let says = move |nth, _: &str, question: &str| {
        if nth > after && is_silent.load(Ordering::SeqCst) {
            Reply::Silence
        } else {
            thirds(question)
        }
    };
    (world(rhythm, says).await, silent)
}

impl World {
    fn bucket(&self) -> &Bucket {
        self.bucket.as_deref().unwrap()
    }

    fn object(&self, path: &str) -> Option<Bytes> {
        self.bucket().objects().remove(&format!("kept/{path}"))
    }

    /// The lines that are up.
    fn up(&self) -> Vec<Value> {
        let objects = self.bucket().objects();
        let segments = objects.iter().filter(|(key, _)| key.starts_with(&format!("kept/{RUN}/progress/")));
        let text: String = segments.map(|(_, content)| std::str::from_utf8(content).unwrap()).collect();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn ended_up(&self) -> usize {
        self.up().iter().filter(|line| line.get("e").is_some()).count()
    }

    /// Carries out the run until this holds; then its pod is lost.
    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let held = async {
            while !holds(self) {
                assert!(Instant::now() < deadline, "{:?}", self.up());
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = held => {}
            report = self.attempt() => assert!(report.is_ok() && holds(self), "{report:?}"),
        }
    }
}

#[tokio::test]
async fn a_report_lands_in_the_bucket_and_is_never_changed() {
    let mut world = world(Rhythm::default(), |_, _, question| thirds(question)).await;
    let report = world.report().await;
    assert_eq!((counts(&report), report.cost), ([12, 4, 0, 0], Some(12 * USED)));
    let keys: Vec<String> = world.bucket().objects().into_keys().collect();
    for path in [
        "lm-eval/claims/claims__llama/results_",
        "progress/000001.jsonl",
        "report.html",
        "report.json",
    ] {
        let path = format!("kept/{RUN}/{path}");
        assert!(keys.iter().any(|key| key.starts_with(&path)), "{path}: {keys:?}");
    }
    assert_eq!(world.ended_up(), QUESTIONS);
    let last = world.up().pop().unwrap();
    assert_eq!(last["g"], json!({"n": 0, "c": 0}), "nothing is asked after it: {last}");
    let whole: Value = serde_json::from_slice(&world.object(&format!("{RUN}/report.json")).unwrap()).unwrap();
    assert_eq!(whole["samples"].as_array().unwrap().len(), QUESTIONS);

    let kept = |world: &World| ["report.json", "report.html"].map(|name| world.object(&format!("{RUN}/{name}")).unwrap());
    let before = kept(&world);
    world.pod = 1;
    assert_eq!(world.report().await, report, "a pod that was lost at its end");
    assert_eq!((world.requests(), kept(&world)), (QUESTIONS, before));
}

#[tokio::test]
async fn a_run_goes_on_in_another_pod_from_what_is_up() {
    let whole = World::new(|_, _, question| thirds(question)).await.report().await;
    for survived in [0, 1, 5, 11, 12] {
        let (mut world, silent) = falling_silent(AT_ONCE, survived).await;
        // Until it has asked all that it can, so that what is under way is what is lost.
        let under_way = (QUESTIONS - survived).min(crate::evaluator::run::AT_ONCE);
        world
            .until(|world| world.ended_up() == survived && world.requests() == survived + under_way)
            .await;
        silent.store(false, Ordering::SeqCst);
        world.gateway.asked.lock().unwrap().clear();
        world.pod = 1;
        let mut report = world.report().await;
        let cost = report.cost.unwrap();
        let lost = cost - whole.cost.unwrap();
        // What was under way, and what may have been asked besides: no more than all that there is.
        assert!(lost <= (under_way + QUESTIONS) as u64 * (MOST + 1_000), "{lost} after {survived}");
        assert!(survived == QUESTIONS || lost >= under_way as u64 * MOST, "{lost} after {survived}");
        report.cost = whole.cost;
        assert_eq!(report, whole, "lost after {survived}");
        assert_eq!(world.gateway.asked.lock().unwrap().len(), QUESTIONS - survived);
        assert_eq!(world.most_asked(), usize::from(survived < QUESTIONS));
    }
}

#[tokio::test]
async fn what_was_asked_between_two_segments_counts_at_what_was_granted() {
    for is_same_pod in [false, true] {
        let (mut world, silent) = falling_silent(NEVER, 6).await;
        world.until(|world| world.ended().len() == 6 && world.requests() == 10).await;
        assert_eq!(world.ended_up(), 0, "the answers are lost with the pod");
        silent.store(false, Ordering::SeqCst);
        world.pod = usize::from(!is_same_pod);
        let report = world.report().await;
        assert_eq!(counts(&report), [12, 4, 0, 0]);
        let (asked, lost) = match is_same_pod {
            // What its container noted is there; what was under way is lost.
            true => (10 + 6, 4 * MOST),
            false => (10 + 12, 12 * MOST),
        };
        assert_eq!((world.requests(), report.cost), (asked, Some(12 * USED + lost)), "{is_same_pod}");
    }
}

#[tokio::test]
async fn a_pod_that_is_told_to_end_leaves_what_it_noted() {
    let (mut world, silent) = falling_silent(NEVER, 6).await;
    let store = world.store();
    let asked = async {
        while world.ended().len() < 6 || world.requests() < 10 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = asked => {}
        report = world.attempt_with(store.clone()) => panic!("{report:?}"),
    }
    store.unwrap().close(Duration::from_secs(20)).await.unwrap();
    assert_eq!(world.ended_up(), 6);
    silent.store(false, Ordering::SeqCst);
    world.pod = 1;
    let report = world.report().await;
    let lost = report.cost.unwrap() - 12 * USED;
    assert!(
        (4 * MOST..=4 * (MOST + 1_000)).contains(&lost),
        "what was under way, and nothing else: {lost}"
    );
    assert_eq!(world.requests(), 10 + 6);
}

#[tokio::test]
async fn no_limit_is_passed_however_many_pods_are_lost() {
    let (mut world, silent) = falling_silent(NEVER, 3).await;
    let limit = 12 * USED + MOST_OF_ALL;
    world.limit("cost", limit);
    for pod in 0..4 {
        world.pod = pod;
        let before = world.requests();
        let done = |world: &World| world.requests() > before && world.ended().len() >= 3.min(3 * usize::from(pod == 0));
        world
            .until(|world| done(world) || world.object(&format!("{RUN}/report.json")).is_some())
            .await;
    }
    silent.store(false, Ordering::SeqCst);
    world.pod = 9;
    let report = world.report().await;
    assert_eq!(report.stopped, Some(Limit::Cost));
    assert!(report.cost.unwrap() <= limit, "{report:?}");
    // Each request used as much as it might, where nobody knows better.
    let known = u64::from(counts(&report)[0]);
    let most = known * USED + (world.requests() as u64 - known) * MOST;
    assert!(most <= limit, "{} requests, of which {known} are known", world.requests());
}

#[tokio::test]
async fn a_bucket_that_refuses_is_told_before_anything_is_asked() {
    let mut world = world(Rhythm::default(), |_, _, question| thirds(question)).await;
    world.bucket().set(|script| script.is_read_only = true);
    let why = world.report().await.invalid.unwrap();
    assert!(
        why.starts_with("spec.reports.uri: s3://bucket/kept: the bucket bucket refuses these credentials")
            && why.contains("check AWS_ACCESS_KEY_ID")
            && !why.contains("hunter2"),
        "{why}"
    );
    world
        .bucket()
        .set(|script| (script.is_read_only, script.is_missing) = (false, true));
    let why = world.report().await.invalid.unwrap();
    assert!(
        why.starts_with("spec.reports.uri: s3://bucket/kept: there is no bucket bucket"),
        "{why}"
    );
    world.bucket().set(|script| script.is_missing = false);
    let store = Store::with("s3://bucket/kept", Some("none".to_owned()), AT_ONCE, fetch::Pace::default());
    let why = world.attempt_with(Some(Arc::new(store))).await.unwrap().invalid.unwrap();
    let wanted = "Secret none does not exist or has no keys; create it with the store's credentials, such as AWS_ACCESS_KEY_ID";
    assert_eq!(why, wanted);
    assert_eq!(world.requests(), 0);

    world.bucket().set(|script| script.busy = 2);
    assert_eq!(counts(&world.report().await), [12, 4, 0, 0], "one that is busy is asked again");
    world.pod = 1;
    world.kept = Some("quality-29930993");
    world.bucket().set(|script| script.busy = 100);
    let error = world.attempt().await.unwrap_err().to_string();
    assert!(
        error.starts_with("spec.reports.uri: s3://bucket/kept: the bucket bucket:"),
        "{error}"
    );
}

#[tokio::test]
async fn a_bucket_that_refuses_half_way_stops_what_is_not_granted() {
    let world = world(NEVER, |_, _, _| Reply::Text("right".to_owned())).await;
    let line = |n: usize| json!({"id": n, "input": format!("question {n}"), "expected": "right"}).to_string();
    world.dataset(&(0..200).map(line).collect::<Vec<_>>().join("\n"));
    let (bucket, gateway) = (world.bucket.clone().unwrap(), Arc::clone(&world.gateway));
    let refuses = async {
        while gateway.requests.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        bucket.set(|script| script.is_read_only = true);
        pending::<()>().await;
    };
    let error = tokio::select! {
        biased;
        () = refuses => unreachable!(),
        report = world.attempt() => report.unwrap_err().to_string(),
    };
    assert!(error.contains("refuses these credentials"), "{error}");
    assert!(world.requests() <= 32 + 64, "{} requests", world.requests());
    bucket.set(|script| script.is_read_only = false);
    assert_eq!(counts(&world.report().await)[0], 200, "the next attempt goes on");
}

#[tokio::test]
async fn what_another_run_keeps_there_is_not_touched() {
    let mut world = world(AT_ONCE, |_, _, question| thirds(question)).await;
    world.bucket().put(&format!("kept/{RUN}/report.json"), "{}");
    let why = world.report().await.invalid.unwrap();
    let held = format!("spec.reports.uri: s3://bucket/kept/{RUN}/ holds the report of another run, and history is never rewritten");
    assert!(why.starts_with(&held), "{why}");
    world.bucket().remove(&format!("kept/{RUN}/report.json"));
    world
        .bucket()
        .put(&format!("kept/{RUN}/progress/000001.jsonl"), "{\"run\":\"other\",\"begun\":1}\n");
    world.pod = 1;
    let why = world.report().await.invalid.unwrap();
    assert!(
        why.contains("holds what another run noted: of another namespace, or of another dataset"),
        "{why}"
    );
    world.bucket().remove(&format!("kept/{RUN}/progress/000001.jsonl"));
    world.bucket().put(&format!("kept/{RUN}/progress/000002.jsonl"), "{}\n");
    let why = world.report().await.invalid.unwrap();
    assert!(why.contains("holds progress of which a part is missing"), "{why}");
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn a_report_that_appears_meanwhile_is_left_and_the_verdict_is_given() {
    let bucket: Arc<std::sync::OnceLock<Arc<Bucket>>> = Arc::default();
    let there = Arc::clone(&bucket);
    let mut world = world(AT_ONCE, move |_, _, question| {
        there.get().unwrap().put(&format!("kept/{RUN}/report.json"), "{}");
        thirds(question)
    })
    .await;
    bucket.set(world.bucket.clone().unwrap()).ok().unwrap();
    let track = json!({"fingerprint": "f"});
    world.run.drift = Some(serde_json::from_value(json!({"tolerance": 0.01, "threshold": 3, "targets": {"llama": track}})).unwrap());
    let report = world.report().await;
    assert_eq!((report.targets[0].verdict, &report.targets[0].drift), (Verdict::Pass, &None));
    assert_eq!(world.object(&format!("{RUN}/report.json")).unwrap(), "{}");
}

#[tokio::test]
async fn of_two_pods_that_write_the_one_before_ends() {
    let mut world = world(AT_ONCE, |_, _, _| Reply::Silence).await;
    let begin = async |world: &World| {
        let places = Places {
            datasets: world.folder.0.clone(),
            claims: world.folder.0.clone(),
            credentials: world.folder.0.join("credentials"),
            fetched: world.folder.0.clone(),
            results: world.folder.0.clone(),
            progress: world.progress(),
            message: None,
            report: Some(world.of_pod().join(RUN)),
            store: world.store(),
            clock: cluster::now,
        };
        let store = places.store.clone().unwrap();
        let recovered = store.recover(("claims", "digest"), &places).await?;
        let (lines, _) = Progress::open(&places.progress, "digest", 1).unwrap();
        let progress = store.begin(lines, &recovered, &places).await?;
        Ok::<_, Flaw>((store, progress))
    };
    let (_one, mut first) = begin(&world).await.unwrap();
    world.pod = 1;
    let (_other, second) = begin(&world).await.unwrap();
    first.note(&json!({"gone": {"n": 1, "c": 1}})).unwrap();
    let why = first.settle().await.unwrap_err().to_string();
    assert_eq!(why, "another pod of this run writes to s3://bucket/kept; it is tried again");
    second.settle().await.unwrap();
    world.pod = 0;
    let Err(Flaw::Passing(again)) = begin(&world).await else {
        panic!("the one before takes the run back")
    };
    assert_eq!(again, why);
    second.settle().await.unwrap();
}

#[tokio::test]
async fn what_a_lost_pod_may_have_spent_is_counted_whenever_the_next_one_is_killed() {
    let (mut world, _) = falling_silent(NEVER, 6).await;
    world.until(|world| world.requests() == 10).await;
    let digest = world.up()[0]["run"].as_str().unwrap().to_owned();
    let granted = world.up().pop().unwrap()["g"].clone();
    assert!(granted["c"].as_u64().unwrap() >= 12 * MOST, "{granted}");
    world.pod = 1;
    for attempt in 0..3 {
        let store = world.store().unwrap();
        store.recover(("claims", &digest), &world.places()).await.unwrap();
        let text = std::fs::read_to_string(world.progress()).unwrap();
        let gone: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok()?.get("gone").cloned())
            .collect();
        assert_eq!(gone, std::slice::from_ref(&granted), "attempt {attempt}");
    }
}

#[tokio::test]
async fn what_evaluators_left_is_in_the_bucket_whatever_its_name() {
    let mut world = world(AT_ONCE, |_, _, _| Reply::Text("right".to_owned())).await;
    world.run.suites = serde_json::from_value(json!([{"name": "gsm8k", "external": {"image": "example.com/lm-eval:1"}}])).unwrap();
    world.run.targets[0].criteria.clear();
    let lines: String = (0..20).map(|n| json!({"id": n, "score": 1}).to_string() + "\n").collect();
    let from = world.folder.0.join("results/0/gsm8k/100%25\nright");
    std::fs::create_dir_all(&from).unwrap();
    std::fs::write(from.join("scores.jsonl"), &lines).unwrap();
    super::external::ask_once(&world).await;
    let report = world.report().await;
    assert_eq!(report.invalid, None);
    let kept = world.object(&format!("{RUN}/external/llama/gsm8k/100%2525%0Aright/scores.jsonl"));
    assert_eq!(kept.expect("it is not there"), lines);
    assert!(world.object(&format!("{RUN}/report.json")).is_some());
}

#[tokio::test]
async fn runs_of_another_namespace_below_the_same_prefix_are_none_of_this_one() {
    let mut world = world(AT_ONCE, |_, _, question| thirds(question)).await;
    let compared = json!([{"suite": "claims", "metric": "accuracy", "notWorseThanBaselineBy": "0.05"}]);
    world.kept = Some("quality-29930991");
    world.run.namespace = "fraud".to_owned();
    world.report().await;
    (world.pod, world.kept) = (1, Some(RUN));
    world.run.namespace = "claims".to_owned();
    world.report().await;
    let page = world.object(&format!("{RUN}/report.html")).unwrap();
    assert!(!std::str::from_utf8(&page).unwrap().contains("2026-11-28T09:51:00Z"), "it is shown");

    (world.pod, world.kept) = (2, Some("quality-29930993"));
    world.run.targets[0].criteria = serde_json::from_value(compared).unwrap();
    world.run.past = Some(serde_json::from_value(json!({"run": "quality-29930991"})).unwrap());
    let why = world.report().await.invalid.unwrap();
    let wanted = "the report of the run quality-29930991 in spec.reports is of the namespace fraud, and not of claims";
    assert!(why.starts_with(wanted), "{why}");

    (world.pod, world.kept, world.run.past) = (3, Some("quality-29930991"), None);
    world.run.targets[0].criteria.clear();
    let why = world.report().await.invalid.unwrap();
    assert!(
        why.contains("holds the report of a run of the namespace fraud, and history is never rewritten; name another folder, a prefix for each namespace"),
        "{why}"
    );
}

#[tokio::test]
async fn a_prefix_that_cannot_be_listed_costs_the_page_its_history_and_nothing_else() {
    let world = world(Rhythm::default(), |_, _, question| thirds(question)).await;
    world.bucket().set(|script| script.hides_folders = true);
    assert_eq!(counts(&world.report().await), [12, 4, 0, 0]);
    assert!(world.object(&format!("{RUN}/report.html")).is_some());
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_asked_before_anything_is_created() {
    let world = world(Rhythm::default(), |_, _, question| thirds(question)).await;
    world.bucket().set(|script| script.ignores_conditions = true);
    let store = world.store();
    let report = world.attempt_with(store).await.unwrap();
    assert_eq!(counts(&report), [12, 4, 0, 0]);
    assert_eq!(world.ended_up(), QUESTIONS);
    let first = world.object(&format!("{RUN}/progress/000001.jsonl")).unwrap();
    let grants = std::str::from_utf8(&first)
        .unwrap()
        .lines()
        .filter(|line| line.contains("\"by\""))
        .count();
    assert_eq!(grants, 1, "it is as it was created");
}

#[tokio::test]
async fn earlier_runs_are_read_from_the_bucket() {
    let right = Arc::new(AtomicUsize::new(12));
    let is_right = Arc::clone(&right);
    let mut world = world(AT_ONCE, move |_, _, question| {
        let number: usize = question.trim_start_matches("question ").parse().unwrap();
        let is_right = number < is_right.load(Ordering::SeqCst);
        Reply::Text(if is_right { "right" } else { "wrong" }.to_owned())
    })
    .await;
    const RUNS: [&str; 6] = ["q-29930991", "q-29930992", "q-29930993", "q-29930994", "q-29930995", "q-29930996"];
    let mut about = String::new();
    for (pod, run) in RUNS.into_iter().enumerate() {
        (world.pod, world.kept) = (pod, Some(run));
        if pod == 5 {
            right.store(2, Ordering::SeqCst);
            let criterion = json!([{"suite": "claims", "metric": "accuracy", "notWorseThanBaselineBy": "0.05"}]);
            world.run.targets[0].criteria = serde_json::from_value(criterion).unwrap();
            world.run.past = Some(serde_json::from_value(json!({"run": RUNS[0]})).unwrap());
        }
        let track = json!({"fingerprint": "f", "about": about, "baseline": &RUNS[..pod], "state": [0, 0, 0, 0, 0]});
        world.run.drift = Some(serde_json::from_value(json!({"tolerance": 0.01, "threshold": 3, "targets": {"llama": track}})).unwrap());
        let report = world.report().await;
        let left = report.targets[0].drift.clone().unwrap();
        about = left.about;
        if pod == 5 {
            assert!((left.step.unwrap().drop - 10.0 / 12.0).abs() < 1e-4);
            let target = &report.targets[0];
            assert_eq!(target.verdict, Verdict::Fail);
            assert!(
                target.message.contains("0 better and 10 worse of 12 questions"),
                "{}",
                target.message
            );
        }
    }
    let page = world.object("q-29930996/report.html").unwrap();
    let page = std::str::from_utf8(&page).unwrap();
    assert!(
        page.contains("10 worse of 12") && page.contains("2026-11-28T09:51:00Z"),
        "the runs before are shown"
    );

    (world.pod, world.kept) = (9, Some("q-29930997"));
    world.bucket().remove("kept/q-29930991/report.json");
    let why = world.report().await.invalid.unwrap();
    assert!(
        why.starts_with("spec.reports has no report of the run q-29930991; name a run"),
        "{why}"
    );
}

#[tokio::test]
async fn a_load_waits_for_no_segment_and_is_another_one_in_another_pod() {
    let mut world = world(NEVER, |_, _, _| Reply::Stream).await;
    let suite = json!([{"name": "claims", "latency": {"requests": 80, "ratePerSecond": "500", "inputTokens": 60, "outputTokens": 5}}]);
    world.run.suites = serde_json::from_value(suite).unwrap();
    world.run.targets[0].criteria.clear();
    let begun = |line: &Value| line.get("c").is_some() && line["r"].is_null();
    world.until(|world| world.requests() >= 40 && world.up().iter().any(begun)).await;
    // What shows that it may be written and heeds conditions, what grants all of the load, and that it has begun.
    assert!(world.bucket().seen().puts <= 5, "{:?}", world.bucket().seen());
    world.pod = 1;
    world.report().await;
    let report: Value = serde_json::from_slice(&world.object(&format!("{RUN}/report.json")).unwrap()).unwrap();
    let samples = report["samples"].as_array().unwrap();
    let whole = samples.iter().filter(|one| one["repeat"] == 1).count();
    assert_eq!(whole, 81, "no prompt of the first is sent again: {} samples", samples.len());
}
