//! Answers that a model judges.

use std::sync::atomic::AtomicBool;

use super::*;

/// From the worst to the best; the dataset has the one in the middle.
const RANKS: [&str; 3] = ["bad", "fine", "good"];

/// The two answers that a judge is shown, in their order.
fn shown(question: &str) -> [&str; 2] {
    ["ANSWER A", "ANSWER B"].map(|name| {
        let (_, rest) = question.split_once(&format!("<<< {name} ")).unwrap();
        rest.lines().nth(1).unwrap()
    })
}

/// What a judge says that minds the answers alone.
fn fair(question: &str) -> Reply {
    let [a, b] = shown(question).map(|answer| RANKS.iter().position(|rank| *rank == answer));
    let verdict = match a.cmp(&b) {
        std::cmp::Ordering::Greater => "A",
        std::cmp::Ordering::Less => "B",
        std::cmp::Ordering::Equal => "TIE",
    };
    Reply::Text(format!("I compared them.\nVERDICT: {verdict}"))
}

/// Each third of the answers is good, fine and bad.
fn answer(question: &str) -> Reply {
    let number: usize = question.trim_start_matches("question ").parse().unwrap();
    Reply::Text(RANKS[2 - number % 3].to_owned())
}

/// A world in which `judge` says so to the n-th request, counted from 1.
async fn judged_by(judge: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> World {
    judged(move |nth, model, question| match model {
        "claims/claude" => judge(nth, question),
        _ => answer(question),
    })
    .await
}

async fn judged(says: impl Fn(usize, &str, &str) -> Reply + Send + Sync + 'static) -> World {
    let mut world = World::new(says).await;
    world.run.suites[0].scorer = Some(serde_json::from_value(json!({"judge": {"model": "claude"}})).unwrap());
    world.run.judges =
        serde_json::from_value(json!([{"model": "claude", "price": {"input": 2_000_000_000_u64, "output": 20_000_000_000_u64}}])).unwrap();
    criteria(
        &mut world,
        json!([{"suite": "claims", "metric": "score", "lowerBoundAtLeast": "0.2"}]),
    );
    let line = |n: usize| json!({"id": n, "input": format!("question {n}"), "expected": "fine"}).to_string();
    world.dataset(&(0..QUESTIONS).map(line).collect::<Vec<_>>().join("\n"));
    world
}

fn criteria(world: &mut World, criteria: Value) {
    world.run.targets[0].criteria = serde_json::from_value(criteria).unwrap();
}

/// The numbers that are told, by their names.
fn told(report: &Report) -> BTreeMap<&str, &str> {
    let metrics = suite(report, "llama").metrics.iter();
    metrics.map(|metric| (metric.name.as_str(), metric.value.as_str())).collect()
}

#[tokio::test]
async fn each_answer_is_judged_in_both_orders_and_paid_for_by_the_run_alone() {
    let mut world = judged_by(|_, question| fair(question)).await;
    // What the model itself costs; with what the judge does it would be 0.00317.
    criteria(
        &mut world,
        json!([
            {"suite": "claims", "metric": "score", "lowerBoundAtLeast": "0.2"},
            {"metric": "cost_usd_per_1k_tokens", "atMost": "0.002"},
        ]),
    );
    world.kept = Some("report");
    let report = world.report().await;
    assert_eq!(
        (counts(&report), report.targets[0].verdict),
        ([12, 0, 0, 0], Verdict::Pass),
        "{report:?}"
    );
    let expected = [
        ("judge_agreement", "1.000"),
        ("judge_first_rate", "0.500"),
        ("judge_kappa", "1.000"),
        ("score", "0.500"),
    ];
    assert_eq!(told(&report), expected.into());
    assert_eq!(suite(&report, "llama").metrics[0].name, "score", "what the summary shows is first");
    assert_eq!(suite(&report, "llama").protocol, "exemplars, judge-1 by claude");
    // Where both answers are the same, so are both questions.
    assert_eq!((world.requests(), world.most_asked(), report.tokens()), (36, 2, 3600));
    assert_eq!(report.cost, Some(12 * (190_000 + 2 * 380_000)));

    let kept = std::fs::read_to_string(world.folder.0.join("report/report.json")).unwrap();
    let kept: Value = serde_json::from_str(&kept).unwrap();
    let of = |id: &str| kept["samples"].as_array().unwrap().iter().find(|one| one["id"] == id).unwrap();
    for (id, preferred, score) in [("0", "candidate", 1.0), ("1", "tie", 0.5), ("2", "reference", 0.0)] {
        let one = of(id);
        assert_eq!(
            (&one["judge"]["preferred"], &one["score"]),
            (&json!([preferred, preferred]), &json!(score))
        );
        assert!(one["judge"]["texts"][1].as_str().unwrap().starts_with("I compared them."));
    }

    assert_eq!(world.report().await, report);
    assert_eq!(world.requests(), 36, "what has ended is not judged again");
}

#[tokio::test]
async fn a_judge_that_minds_the_order_makes_the_suite_invalid() {
    let report = judged_by(|_, _| Reply::Text("VERDICT: A".to_owned())).await.report().await;
    let target = &report.targets[0];
    let why = "suite claims: scorer.judge.minAgreement: with the two answers the other way round the judge says the same of 0 of 12 pairs, \
               which shows an agreement of at least 0.000, and it must be above 0.6; 100 % of its choices are for the answer that stands first";
    assert_eq!(target.verdict, Verdict::Invalid);
    assert!(target.message.starts_with(why), "{}", target.message);
    assert_eq!((told(&report)["score"], told(&report)["judge_first_rate"]), ("0.500", "1.000"));
}

#[tokio::test]
async fn how_far_a_judge_must_agree_is_the_jobs_to_say() {
    // Of a tie it always prefers what stands first: it agrees on two of three pairs.
    let judge = |question: &str| match shown(question) {
        [a, b] if a == b => Reply::Text("VERDICT: A".to_owned()),
        _ => fair(question),
    };
    for (least, verdict) in [("0.3", Verdict::Pass), ("0.6", Verdict::Invalid)] {
        let mut world = judged_by(move |_, question| judge(question)).await;
        world.run.suites[0].scorer = Some(serde_json::from_value(json!({"judge": {"model": "claude", "minAgreement": least}})).unwrap());
        let report = world.report().await;
        assert_eq!(
            (report.targets[0].verdict, told(&report)["judge_agreement"]),
            (verdict, "0.667"),
            "{least}: {report:?}"
        );
    }
}

#[tokio::test]
async fn a_judge_that_cannot_be_read_makes_the_suite_invalid() {
    let world = judged_by(|_, _| Reply::Text("Both have their merits.".to_owned())).await;
    let report = world.report().await;
    assert_eq!((counts(&report), suite(&report, "llama").unjudged), ([12, 0, 0, 0], 12));
    let why = "suite claims: the judge's verdict on 12 of 12 answers could not be read, 5 % may be so (spec.limits.maxUnparsedRate); name another judge";
    assert_eq!(
        (report.targets[0].verdict, report.targets[0].message.as_str()),
        (Verdict::Invalid, why)
    );
    assert_eq!(report.tokens(), 3600, "it was paid for");
}

#[tokio::test]
async fn what_the_judge_may_use_is_kept_for_it() {
    // All that is used is 3,600 tokens for $0.0114; a question and its judgements may use some 15,000 for $0.18.
    for (name, most, is_begun) in [
        ("tokens", 10_000, false),
        ("tokens", 17_000, true),
        ("cost", 100_000_000, false),
        ("cost", 184_000_000, true),
    ] {
        let mut world = judged_by(|_, question| fair(question)).await;
        world.limit(name, most);
        let report = world.report().await;
        let asked = counts(&report)[0] as usize;
        assert_eq!((asked > 0, asked < QUESTIONS), (is_begun, true), "{name} {most}: {asked}");
        assert_eq!((world.requests(), report.tokens()), (3 * asked, 300 * asked as u64));
        let limit = if name == "cost" { Limit::Cost } else { Limit::Tokens };
        assert_eq!((report.stopped, report.targets[0].verdict), (Some(limit), Verdict::Invalid));
        let used = if name == "cost" { report.cost.unwrap() } else { report.tokens() };
        assert!(used <= most, "{used} of {most}");
    }
}

#[tokio::test]
async fn a_judge_that_refuses_is_no_fault_of_what_was_paid_for() {
    let world = judged_by(|_, _| Reply::Error(404)).await;
    let report = world.report().await;
    assert_eq!((counts(&report), report.targets[0].verdict), ([12, 0, 0, 12], Verdict::Invalid));
    let message = &report.targets[0].message;
    assert!(message.ends_with(": llama: judge claude: 404 there is no such model"), "{message}");
    // Given up after a few, each of which had its own answer, and one request to the judge.
    let asked = world.requests() / 2;
    assert!((3..=3 + super::super::run::AT_ONCE).contains(&asked), "{asked}");
    assert_eq!((report.tokens() as usize, report.cost), (100 * asked, Some(190_000 * asked as u64)));
    let again = world.report().await;
    assert_eq!(
        (again.tokens, again.cost, counts(&again)),
        (report.tokens, report.cost, counts(&report))
    );
}

#[tokio::test]
async fn a_judge_that_does_not_say_what_it_used_is_counted_at_its_most_under_limits() {
    let judge = |_, _: &str| Reply::WithoutUsage;
    assert_eq!(judged_by(judge).await.report().await.cost, None, "unknown, not zero");
    let mut world = judged_by(judge).await;
    world.limit("tokens", 1_000_000);
    let report = world.report().await;
    let why = "llama: judge claude: the answer does not say what it used, so spec.limits cannot be kept";
    assert!(report.targets[0].message.ends_with(why), "{report:?}");
    assert!(report.cost.is_some_and(|cost| cost > 3 * 2 * 80_000_000), "{report:?}");
    assert_eq!(world.report().await.cost, report.cost, "also after a restart");
}

#[tokio::test]
async fn a_run_killed_between_an_answer_and_its_judgement_has_it_judged_anew_and_nothing_else() {
    let whole = judged_by(|_, question| fair(question)).await.report().await;
    let silent = Arc::new(AtomicBool::new(true));
    let falls_silent = Arc::clone(&silent);
    let world = judged_by(move |nth, question| {
        if nth > 16 && falls_silent.load(Ordering::SeqCst) {
            Reply::Silence
        } else {
            fair(question)
        }
    })
    .await;
    let all_wait = async {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut seen = (0, Instant::now());
        // Until nothing moves any more: every lane waits for the judge.
        while seen.0 == 0 || seen.1.elapsed() < Duration::from_millis(300) {
            assert!(Instant::now() < deadline);
            if world.requests() != seen.0 {
                seen = (world.requests(), Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        biased;
        () = all_wait => {}
        report = world.attempt() => panic!("{report:?}"),
    }
    let ended = world.ended();
    assert!(!ended.is_empty() && ended.len() < QUESTIONS, "{ended:?}");
    silent.store(false, Ordering::SeqCst);
    world.gateway.asked.lock().unwrap().clear();
    let mut report = world.report().await;
    assert!(report.cost > whole.cost, "what was lost was paid for");
    report.cost = whole.cost;
    assert_eq!(report, whole);
    let again = world.gateway.asked.lock().unwrap();
    let of_model = again.keys().filter(|(model, _)| model == "claims/llama");
    assert_eq!(of_model.count(), QUESTIONS - ended.len());
    assert_eq!(again.values().sum::<usize>(), 3 * (QUESTIONS - ended.len()));
}

#[tokio::test]
async fn what_has_no_answer_in_it_is_not_put_to_the_judge() {
    let world = judged(|_, _, _| Reply::Text("<think>Fine? Good?</think> ".to_owned())).await;
    let report = world.report().await;
    assert_eq!((counts(&report), world.requests()), ([12, 0, 12, 0], 12));
}

#[tokio::test]
async fn a_judge_that_minds_the_order_of_the_baselines_answers_compares_nothing() {
    let mut world = judged(|_, model, question| match model {
        "claims/claude" if shown(question).contains(&"odd") => Reply::Text("VERDICT: B".to_owned()),
        "claims/claude" => fair(question),
        "claims/gpt" => Reply::Text("odd".to_owned()),
        _ => answer(question),
    })
    .await;
    world.run.baseline = Some(serde_json::from_value(json!({"model": "gpt", "price": {"input": 0, "output": 0}})).unwrap());
    assert_eq!(
        world.report().await.targets[0].verdict,
        Verdict::Pass,
        "who is not compared is judged"
    );
    assert_eq!(world.requests(), 72);
    std::fs::remove_file(world.progress()).unwrap();
    criteria(
        &mut world,
        json!([{"suite": "claims", "metric": "score", "notWorseThanBaselineBy": "0.5"}]),
    );
    let report = world.report().await;
    let why = "the baseline in suite claims: scorer.judge.minAgreement: with the two answers the other way round the judge says the same of 0 of 12 pairs";
    assert_eq!(report.targets[0].verdict, Verdict::Invalid);
    assert!(report.targets[0].message.starts_with(why), "{}", report.targets[0].message);
}

#[tokio::test]
async fn a_judge_that_is_not_told_or_not_priced_is_named_before_anything_is_asked() {
    let mut world = judged_by(|_, question| fair(question)).await;
    world.limit("cost", 1_000_000_000);
    world.run.judges[0].price = None;
    let why = "the price of claude is unknown, so spec.limits.maxCostUSD cannot be kept; set its price";
    assert_eq!(world.report().await, Report::invalid(why));
    world.run.judges.clear();
    let why = "suite claims: claude is not among the judges of the run; add it";
    assert_eq!(world.report().await, Report::invalid(why));
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn an_earlier_run_that_another_model_judged_by_the_same_name_is_no_baseline() {
    let mut world = judged_by(|_, question| fair(question)).await;
    world.run.judges[0].fingerprint = Some("a".to_owned());
    world.kept = Some("then");
    world.report().await;
    world.kept = Some("now");
    criteria(
        &mut world,
        json!([{"suite": "claims", "metric": "score", "notWorseThanBaselineBy": "0.05"}]),
    );
    world.run.past = Some(serde_json::from_value(json!({"run": "then"})).unwrap());
    assert_eq!(world.report().await.invalid, None, "the same judge as then");
    world.run.judges[0].fingerprint = Some("b".to_owned());
    world.kept = Some("later");
    let asked = world.requests();
    let told = world.report().await.invalid.unwrap();
    assert!(told.contains("another model judged its suite claims, by the same name"), "{told}");
    assert_eq!(world.requests(), asked);
}

#[tokio::test]
async fn a_judge_that_tells_nothing_apart_shows_nothing() {
    let world = judged_by(|_, _| Reply::Text("VERDICT: TIE".to_owned())).await;
    let report = world.report().await;
    assert_eq!(report.targets[0].verdict, Verdict::Invalid);
    assert!(
        report.targets[0]
            .message
            .contains("scorer.judge.model: the judge told none of 12 pairs apart"),
        "{}",
        report.targets[0].message
    );
}
