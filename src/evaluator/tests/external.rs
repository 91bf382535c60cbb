//! Evaluators that users bring: the relay by which they ask, and runs over what they leave.

use bytes::Bytes;
use futures::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::TokioExecutor;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::evaluator::external::relay::Relay;
use crate::evaluator::run::AT_ONCE;

/// What the gateway of these tests is paid for one answer: 90 tokens at 1000 and 10 at 10000 nano-dollars.
const ANSWER: u64 = 190_000;

/// A world whose only suite is evaluated by an image.
async fn world(says: impl Fn(usize, &str, &str) -> Reply + Send + Sync + 'static) -> World {
    let mut world = World::new(says).await;
    world.run.suites = serde_json::from_value(json!([{"name": "gsm8k", "external": {"image": "example.com/lm-eval:1"}}])).unwrap();
    let criteria = json!([{"suite": "gsm8k", "metric": "score", "lowerBoundAtLeast": "0.5"}]);
    world.run.targets[0].criteria = serde_json::from_value(criteria).unwrap();
    world
}

/// A relay that serves.
struct Running {
    relay: Arc<Relay>,
    url: String,
    stop: oneshot::Sender<()>,
    served: JoinHandle<anyhow::Result<Option<Report>>>,
}

impl Running {
    async fn of(world: &World) -> Self {
        let relay = Relay::open(world.run.clone(), world.client().unwrap(), &world.places()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let served = Arc::clone(&relay).serve(listener, async move { stopped.await.unwrap_or(()) });
        let served = tokio::spawn(served);
        Self { relay, url, stop, served }
    }

    async fn ask(&self, path: &str, body: Value) -> (StatusCode, HeaderMap, Value) {
        let pool = Pool::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let request = axum::http::Request::post(format!("{}{path}", self.url))
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        let (head, body) = pool.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status, head.headers, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn chat(&self, question: &str) -> (StatusCode, HeaderMap, Value) {
        self.ask("/0/gsm8k/v1/chat/completions", chat(question)).await
    }

    /// Ends it, as the kubelet does.
    async fn end(self) -> Option<Report> {
        self.stop.send(()).ok();
        self.served.await.unwrap().unwrap()
    }
}

fn chat(question: &str) -> Value {
    json!({"model": "llama", "messages": [{"role": "user", "content": question}], "max_tokens": 100})
}

fn right(_: usize, _: &str, _: &str) -> Reply {
    Reply::Text("right".to_owned())
}

#[tokio::test]
async fn an_evaluator_asks_the_model_under_evaluation_with_a_token_that_it_does_not_have() {
    let world = world(right).await;
    std::fs::write(world.folder.0.join("token"), "t-1\n").unwrap();
    let relay = Running::of(&world).await;
    let (status, _, body) = relay.chat("2 + 2?").await;
    assert_eq!(
        (status, &body["choices"][0]["message"]["content"]),
        (StatusCode::OK, &json!("right"))
    );
    let asked = world.gateway.asked.lock().unwrap().clone();
    assert_eq!(
        asked.into_keys().collect::<Vec<_>>(),
        [("claims/llama".to_owned(), "2 + 2?".to_owned())]
    );
    assert_eq!(*world.gateway.tokens.lock().unwrap(), ["Bearer t-1"]);
    let spent = relay.relay.spent();
    assert_eq!((spent.tokens, spent.cost), ([90, 10], Some(ANSWER)));
    assert_eq!(relay.end().await, None, "one that is stopped has no report");
}

#[tokio::test]
async fn what_is_not_relayed_is_refused_in_openais_words_with_what_to_do() {
    let mut world = world(right).await;
    world.limit("tokens", 1_000_000);
    let relay = Running::of(&world).await;
    let with = |field: &str, value: Value| {
        let mut body = chat("2 + 2?");
        body[field] = value;
        body
    };
    let picture = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://h/p.png"}}]}]);
    let path = "/0/gsm8k/v1/chat/completions";
    for (path, body, status, says) in [
        (
            path,
            with("model", json!("gpt")),
            404,
            "only the model llama is evaluated here; use the variable MODEL",
        ),
        (path, with("stream", json!(true)), 400, "set stream to false"),
        (path, with("max_tokens", Value::Null), 400, "set max_tokens"),
        (path, with("messages", picture), 400, "leave it out"),
        (
            path,
            with("prediction", json!({"type": "content", "content": "4"})),
            400,
            "leave it out",
        ),
        (path, with("service_tier", json!("priority")), 400, "leave it out"),
        (path, with("web_search_options", json!({})), 400, "leave it out"),
        (path, json!("no request"), 400, "JSON object"),
        (path, with("pad", json!("x".repeat(5 << 20))), 413, "send a shorter one"),
        ("/1/gsm8k/v1/chat/completions", chat("hi"), 404, "use the variable OPENAI_BASE_URL"),
        ("/0/other/v1/chat/completions", chat("hi"), 404, "use the variable OPENAI_BASE_URL"),
        (
            "/0/gsm8k/v1/embeddings",
            chat("hi"),
            404,
            "only /chat/completions, /completions and /models are relayed",
        ),
    ] {
        let (seen, headers, answer) = relay.ask(path, body).await;
        let error = &answer["error"];
        assert_eq!(seen.as_u16(), status, "{says}: {answer}");
        assert!(error["message"].as_str().unwrap_or_default().contains(says), "{answer}");
        assert!(error["type"].is_string() && error["code"].is_string(), "{answer}");
        assert!(!headers.contains_key("retry-after"));
    }
    assert_eq!(world.requests(), 0, "nothing was paid for");
    assert_eq!(relay.relay.spent().tokens, [0, 0]);
}

#[tokio::test]
async fn an_answer_of_any_length_is_asked_for_where_nothing_is_capped() {
    let world = world(right).await;
    let relay = Running::of(&world).await;
    let mut body = chat("2 + 2?");
    body["max_tokens"] = Value::Null;
    assert_eq!(relay.ask("/0/gsm8k/v1/chat/completions", body).await.0, StatusCode::OK);
}

#[tokio::test]
async fn that_a_model_is_busy_is_passed_on_with_when_to_ask_again() {
    let world = world(|_, _, _| Reply::Busy("7")).await;
    let relay = Running::of(&world).await;
    let (status, headers, _) = relay.chat("2 + 2?").await;
    assert_eq!((status.as_u16(), headers["retry-after"].as_bytes()), (429, &b"7"[..]));
    assert_eq!(relay.relay.spent().cost, Some(0));
}

#[tokio::test]
async fn no_more_are_under_way_at_once_than_questions_of_a_run() {
    const ALL: usize = 40;
    let (gate, come) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (held, comes) = (Arc::clone(&gate), Arc::clone(&come));
    let world = world(move |_, _, _| {
        comes.add_permits(1);
        Reply::Held(Arc::clone(&held))
    })
    .await;
    let relay = Running::of(&world).await;
    let ask = join_all((0..ALL).map(|_| relay.chat("2 + 2?")));
    let watch = async {
        for answered in 0..ALL {
            let under_way = AT_ONCE.min(ALL - answered);
            let new = if answered == 0 {
                under_way
            } else {
                usize::from(answered + AT_ONCE <= ALL)
            };
            come.acquire_many(u32::try_from(new).unwrap()).await.unwrap().forget();
            assert_eq!(world.requests(), answered + under_way);
            gate.add_permits(1);
        }
    };
    let (answers, ()) = tokio::join!(ask, watch);
    assert!(answers.iter().all(|(status, ..)| *status == StatusCode::OK));
}

/// What a request may use at most is six times what it does, so that the cap is only kept by looking before each.
#[tokio::test]
async fn a_cap_holds_before_each_request_however_many_are_asked_at_once() {
    let cap = 20 * ANSWER;
    let mut world = world(right).await;
    world.limit("cost", cap);
    let relay = Running::of(&world).await;
    let answers = join_all((0..60).map(|_| relay.chat("2 + 2?"))).await;
    let (answered, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|(status, ..)| *status == StatusCode::OK);
    let spent = relay.relay.spent().cost.unwrap();
    assert!(spent <= cap && spent > cap / 2, "{spent} of {cap}");
    assert_eq!(spent, ANSWER * answered.len() as u64);
    for (status, headers, body) in refused {
        assert_eq!(status.as_u16(), 402);
        assert!(!headers.contains_key("retry-after"));
        assert!(
            body["error"]["message"]
                .as_str()
                .unwrap()
                .starts_with("spec.limits.maxCostUSD of the run is reached")
        );
    }
    let report = relay.served.await.unwrap().unwrap().expect("it has no report");
    assert_eq!((report.stopped, report.cost), (Some(Limit::Cost), Some(spent)));
    assert_eq!(
        report.invalid.as_deref(),
        Some(
            "the run stopped at spec.limits.maxCostUSD while the evaluator of suite gsm8k asked; raise it, or ask fewer questions or for shorter answers"
        )
    );
}

#[tokio::test]
async fn a_relay_that_is_started_again_knows_what_was_spent_and_that_it_refuses() {
    let mut world = world(right).await;
    world.limit("cost", 12 * ANSWER);
    let first = Running::of(&world).await;
    for _ in 0..3 {
        assert_eq!(first.chat("2 + 2?").await.0, StatusCode::OK);
    }
    let spent = first.relay.spent();
    assert_eq!(first.end().await, None);
    let second = Running::of(&world).await;
    assert_eq!(second.relay.spent(), spent);
    let mut answered = 3;
    while second.chat("2 + 2?").await.0 == StatusCode::OK {
        answered += 1;
    }
    assert_eq!(world.requests(), answered);
    assert!(second.served.await.unwrap().unwrap().is_some());
    drop(second.relay);
    // It refuses on and on, and ends no second time.
    let third = Running::of(&world).await;
    assert_eq!(third.chat("2 + 2?").await.0.as_u16(), 402);
    assert_eq!(third.end().await, None);
    assert_eq!(world.requests(), answered);
}

#[tokio::test]
async fn an_answer_that_may_have_been_paid_for_counts_at_the_most_that_it_may_have_cost() {
    for (reply, status) in [(Reply::Error(502), 502), (Reply::WithoutUsage, 502)] {
        let reply = Mutex::new(Some(reply));
        let mut world = world(move |_, _, _| reply.lock().unwrap().take().unwrap()).await;
        world.limit("cost", 100 * ANSWER);
        let relay = Running::of(&world).await;
        assert_eq!(relay.chat("2 + 2?").await.0.as_u16(), status);
        let lost = relay.relay.spent();
        assert!(lost.cost.unwrap() > 5 * ANSWER, "{lost:?}");
        relay.end().await;
        assert_eq!(Running::of(&world).await.relay.spent(), lost, "and so it does for whoever goes on");
    }
}

/// Has the evaluator of each model ask once.
pub(super) async fn ask_once(world: &World) {
    let relay = Running::of(world).await;
    for (place, target) in world.run.asked().enumerate() {
        let mut body = chat("2 + 2?");
        body["model"] = json!(target.model);
        let (status, ..) = relay.ask(&format!("/{place}/gsm8k/v1/chat/completions"), body).await;
        assert_eq!(status, StatusCode::OK);
    }
    relay.end().await;
}

/// A run that asks questions of its own after its evaluator.
async fn world_with_questions() -> World {
    let mut world = world(right).await;
    let own = World::new(right).await;
    world.dataset(&std::fs::read_to_string(own.file()).unwrap());
    world.run.suites.extend(own.run.suites);
    world
}

/// Writes what the evaluator of the model at that place leaves.
fn leave(world: &World, target: usize, file: &str, lines: &[Value]) {
    let file = world.folder.0.join(format!("results/{target}/gsm8k/{file}"));
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

/// Scores of so many questions, of which every fourth is wrong.
fn scores(questions: std::ops::Range<usize>) -> Vec<Value> {
    questions
        .map(|n| json!({"id": n, "score": u8::from(!n.is_multiple_of(4))}))
        .collect()
}

#[tokio::test]
async fn what_an_evaluator_found_is_judged_and_what_it_asked_is_part_of_the_cost() {
    let mut world = world(right).await;
    world.kept = Some("report");
    let relay = Running::of(&world).await;
    for _ in 0..5 {
        relay.chat("2 + 2?").await;
    }
    relay.end().await;
    leave(&world, 0, "scores.jsonl", &scores(0..200));
    let report = world.report().await;
    let target = &report.targets[0];
    assert_eq!(target.verdict, Verdict::Pass, "{}", target.message);
    assert!(target.message.starts_with("gsm8k: score 0.75"), "{}", target.message);
    let found = suite(&report, "llama");
    assert_eq!((found.questions, found.errors), (200, 0));
    assert_eq!(found.protocol, "external example.com/lm-eval:1, score");
    assert_eq!((report.tokens, report.cost), ([450, 50], Some(5 * ANSWER)));
    assert_eq!(world.requests(), 5, "the run asks nothing itself");
    assert_eq!(world.report().await, report, "and what is noted stands");
    let as_left = std::fs::read(world.folder.0.join("results/0/gsm8k/scores.jsonl")).unwrap();
    assert_eq!(
        std::fs::read(world.folder.0.join("report/external/llama/gsm8k/scores.jsonl")).unwrap(),
        as_left
    );
    let kept: Value = serde_json::from_slice(&std::fs::read(world.folder.0.join("report/report.json")).unwrap()).unwrap();
    assert_eq!(kept["samples"].as_array().unwrap().len(), 200);
    assert!(
        std::fs::read_to_string(world.folder.0.join("report/report.html"))
            .unwrap()
            .contains("gsm8k")
    );
}

#[tokio::test]
async fn a_cost_of_tokens_is_that_of_what_evaluators_asked() {
    let mut world = world(right).await;
    let criteria = json!([{"metric": "cost_usd_per_1k_tokens", "atMost": "0.00191"}]);
    world.run.targets[0].criteria = serde_json::from_value(criteria).unwrap();
    let relay = Running::of(&world).await;
    for _ in 0..5 {
        relay.chat("2 + 2?").await;
    }
    relay.end().await;
    leave(&world, 0, "scores.jsonl", &scores(0..20));
    let report = world.report().await;
    assert_eq!(report.targets[0].verdict, Verdict::Pass, "{}", report.targets[0].message);
}

#[tokio::test]
async fn a_question_that_another_model_has_and_this_one_lacks_is_an_error() {
    let mut world = world(right).await;
    let mut other = world.run.targets[0].clone();
    other.model = "gpt".to_owned();
    world.run.targets.push(other);
    ask_once(&world).await;
    leave(&world, 0, "scores.jsonl", &scores(0..200));
    leave(&world, 1, "scores.jsonl", &scores(0..190));
    let report = world.report().await;
    assert_eq!(report.targets[0].verdict, Verdict::Pass, "{}", report.targets[0].message);
    assert_eq!((suite(&report, "gpt").questions, suite(&report, "gpt").errors), (200, 10));
    assert_eq!(report.targets[1].verdict, Verdict::Invalid);
    let message = &report.targets[1].message;
    assert!(message.starts_with("suite gsm8k: 10 of 200 requests failed"), "{message}");
    assert!(message.contains("gpt: its evaluator left no score of the question"), "{message}");
}

#[tokio::test]
async fn a_model_is_compared_with_the_baseline_question_by_question() {
    let mut world = world(right).await;
    let baseline = json!({"model": "gpt", "price": world.run.targets[0].price});
    world.run.baseline = Some(serde_json::from_value(baseline).unwrap());
    let criteria = json!([{"suite": "gsm8k", "metric": "score", "notWorseThanBaselineBy": "0.05"}]);
    world.run.targets[0].criteria = serde_json::from_value(criteria).unwrap();
    world.run.suites[0].external.as_mut().unwrap().metric = Some("exact_match".to_owned());
    ask_once(&world).await;
    leave(
        &world,
        0,
        "out/samples_gsm8k_2026-05-02T02-00-00.1.jsonl",
        &samples(0..300, "strict-match"),
    );
    leave(
        &world,
        1,
        "out/samples_gsm8k_2026-05-02T02-10-00.1.jsonl",
        &samples(0..300, "strict-match"),
    );
    let report = world.report().await;
    assert_eq!(report.targets[0].verdict, Verdict::Pass, "{}", report.targets[0].message);
}

fn samples(questions: std::ops::Range<usize>, filter: &str) -> Vec<Value> {
    let of = |n: usize| json!({"doc_id": n, "doc": {"question": "2 + 2?"}, "filter": filter, "metrics": ["exact_match"], "exact_match": f64::from(u8::from(!n.is_multiple_of(4)))});
    questions.map(of).collect()
}

#[tokio::test]
async fn results_that_cannot_be_read_make_the_run_invalid_with_what_was_spent() {
    let world = world(right).await;
    let relay = Running::of(&world).await;
    relay.chat("2 + 2?").await;
    relay.end().await;
    leave(&world, 0, "scores.jsonl", &[json!({"id": 1, "score": 75})]);
    let report = world.report().await;
    assert_eq!(
        report.invalid.as_deref(),
        Some(
            "suite gsm8k, model llama: scores.jsonl, line 1: its score is 75, and a score is from 0 to 1; name another member in external.metric, or scale it"
        )
    );
    assert_eq!(report.cost, Some(ANSWER));
}

#[tokio::test]
async fn a_limit_that_an_evaluator_met_ends_the_run_whatever_it_left() {
    let mut world = world(right).await;
    world.limit("tokens", 100);
    let relay = Running::of(&world).await;
    assert_eq!(relay.chat("2 + 2?").await.0.as_u16(), 402);
    leave(&world, 0, "scores.jsonl", &scores(0..200));
    let report = world.report().await;
    assert_eq!(report.stopped, Some(Limit::Tokens));
    let invalid = report.invalid.unwrap();
    assert!(
        invalid.starts_with("the run stopped at spec.limits.maxTokens while the evaluator of suite gsm8k asked"),
        "{invalid}"
    );
}

#[tokio::test]
async fn what_evaluators_spent_is_no_longer_there_for_the_questions_of_the_run() {
    let mut world = world_with_questions().await;
    // Room for one request by a relay and, after it, for some of the twelve questions.
    world.limit("cost", 12 * ANSWER);
    let relay = Running::of(&world).await;
    relay.chat("2 + 2?").await;
    relay.end().await;
    leave(&world, 0, "scores.jsonl", &scores(0..200));
    let report = world.report().await;
    assert_eq!(report.stopped, Some(Limit::Cost));
    assert!(report.cost.unwrap() <= 12 * ANSWER);
    assert_eq!(report.cost.unwrap(), ANSWER * world.requests() as u64);
    // A pod that takes over counts what both have spent.
    let again = Running::of(&world).await;
    assert_eq!(again.relay.spent().cost, report.cost);
}

#[tokio::test]
async fn a_run_whose_evaluator_asks_other_questions_in_the_next_pod_forgets_nothing_that_it_spent() {
    let world = world_with_questions().await;
    ask_once(&world).await;
    leave(&world, 0, "scores.jsonl", &scores(0..200));
    assert_eq!(world.report().await.invalid, None);
    let noted = std::fs::read(world.progress()).unwrap();
    ask_once(&world).await;
    leave(&world, 0, "scores.jsonl", &scores(100..300));
    let report = world.report().await;
    let why = report.invalid.unwrap();
    let says = "the run's pod was lost, and in the next one the evaluator of suite gsm8k asked other questions";
    assert!(why.starts_with(says), "{why}");
    assert_eq!(world.requests(), 1 + QUESTIONS + 1);
    assert_eq!(report.cost, Some(ANSWER * world.requests() as u64));
    assert_eq!(std::fs::read(world.progress()).unwrap(), noted, "its answers are still there");
}

#[tokio::test]
async fn a_run_that_refuses_after_its_evaluators_asked_says_what_they_spent() {
    let past = Some(serde_json::from_value(json!({"run": "quality-1"})).unwrap());
    for (dataset, past, says) in [("no question", None, "line 1"), ("", past, "spec.baseline.run")] {
        let mut world = world_with_questions().await;
        if past.is_some() {
            world.run.suites.truncate(1);
        }
        world.run.past = past;
        ask_once(&world).await;
        leave(&world, 0, "scores.jsonl", &scores(0..200));
        world.dataset(dataset);
        let report = world.report().await;
        let why = report.invalid.unwrap();
        assert!(why.contains(says), "{why}");
        assert_eq!((report.tokens, report.cost), ([90, 10], Some(ANSWER)), "{why}");
    }
}

#[tokio::test]
async fn where_evaluators_ask_anew_the_scores_are_those_of_the_files_that_are_kept() {
    let mut world = world(right).await;
    ask_once(&world).await;
    leave(&world, 0, "scores.jsonl", &scores(0..200));
    let first = world.report().await;
    assert!(
        first.targets[0].message.starts_with("gsm8k: score 0.75"),
        "{}",
        first.targets[0].message
    );
    let all: Vec<Value> = (0..200).map(|n| json!({"id": n, "score": 1})).collect();
    leave(&world, 0, "scores.jsonl", &all);
    world.kept = Some("progress");
    let second = world.report().await;
    assert!(
        second.targets[0].message.starts_with("gsm8k: score 1"),
        "{}",
        second.targets[0].message
    );
    let kept: Value = serde_json::from_slice(&std::fs::read(world.folder.0.join("progress/report.json")).unwrap()).unwrap();
    assert_eq!(
        kept["samples"].as_array().unwrap().len(),
        200,
        "and each question stands in it once"
    );
    let third = world.report().await;
    assert_eq!(third.targets[0].message, second.targets[0].message);
}

#[tokio::test]
async fn scores_of_an_evaluator_that_never_asked_the_model_are_no_verdict_about_it() {
    let mut world = world(right).await;
    let mut other = world.run.targets[0].clone();
    other.model = "gpt".to_owned();
    world.run.targets.push(other);
    let relay = Running::of(&world).await;
    relay.chat("2 + 2?").await;
    relay.end().await;
    for target in 0..2 {
        leave(&world, target, "scores.jsonl", &scores(0..200));
    }
    let report = world.report().await;
    let says = "suite gsm8k, model gpt: its evaluator left scores, and no answer of the model was passed on to it; have it ask at $(OPENAI_BASE_URL)";
    assert_eq!(report.invalid.as_deref(), Some(says));
    assert_eq!(report.cost, Some(ANSWER));
}

#[tokio::test]
async fn the_relay_ends_when_the_time_of_the_run_is_over_also_where_nobody_asks() {
    let mut world = world(right).await;
    world.limit("seconds", 0);
    let relay = Running::of(&world).await;
    let report = relay.served.await.unwrap().unwrap().expect("it has no report");
    assert_eq!(report.stopped, Some(Limit::Duration));
    drop(relay.relay);
    // Where evaluators are done, the run judges what it has.
    let noted = std::fs::read_to_string(world.progress().with_file_name("relayed.jsonl")).unwrap();
    assert!(!noted.contains("stopped"), "{noted}");
}

#[tokio::test]
async fn nothing_is_relayed_where_a_cap_cannot_be_kept() {
    let mut world = world(right).await;
    world.limit("cost", 1_000_000_000);
    world.run.targets[0].price = None;
    let relay = Running::of(&world).await;
    let report = relay.served.await.unwrap().unwrap().expect("it has no report");
    let says = "the price of llama is unknown, so spec.limits.maxCostUSD cannot be kept; set its price";
    assert_eq!(report.invalid.as_deref(), Some(says));
}

#[tokio::test]
async fn tools_need_more_room_than_their_bytes() {
    let mut world = world(right).await;
    world.limit("tokens", 1000);
    let relay = Running::of(&world).await;
    assert_eq!(relay.chat("2 + 2?").await.0, StatusCode::OK);
    let mut body = chat("2 + 2?");
    body["tools"] = json!([{"type": "function", "function": {"name": "add"}}]);
    assert_eq!(relay.ask("/0/gsm8k/v1/chat/completions", body).await.0.as_u16(), 402);
}

#[tokio::test]
async fn a_program_that_never_ends_does_not_fill_the_disk_with_what_is_noted_of_it() {
    let world = world(right).await;
    ask_once(&world).await;
    let file = world.progress().with_file_name("relayed.jsonl");
    let noted = std::fs::read_to_string(&file).unwrap().replace("\"q\":0", "\"q\":499999");
    std::fs::write(&file, &noted).unwrap();
    let relay = Running::of(&world).await;
    let (status, _, body) = relay.chat("2 + 2?").await;
    assert_eq!((status.as_u16(), &body["error"]["code"]), (402, &json!("too_many_requests")));
    assert_eq!(world.requests(), 1);
    relay.end().await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), noted);
}
