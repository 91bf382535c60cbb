//! Whole runs against a gateway in this process.

use std::collections::BTreeMap;
use std::future::pending;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::client::{Client, Pace};
use super::files::Places;
use super::run::run;
use super::shipping::Rhythm;
use super::store::Store;
use crate::api::eval_job::{SuiteResult, Verdict};
use crate::cluster;
use crate::fetch;
use crate::fetch::tests::bucket::Bucket;
use crate::plan::evaluation::report::{Limit, Report};
use crate::plan::evaluation::run::Evaluation;

mod external;
mod judged;
mod kept;
mod loads;
mod past;
mod safety;
mod scored;

const QUESTIONS: usize = 12;

/// What the gateway says to the n-th request, counted from 1, for a model and a question.
type Says = dyn Fn(usize, &str, &str) -> Reply + Send + Sync;

enum Reply {
    Text(String),
    /// This message.
    Message(Value),
    WithoutUsage,
    /// Three words as a stream where one is asked for.
    Stream,
    /// And this report.
    Using(Value),
    Busy(&'static str),
    Error(u16),
    /// A right answer, to a request without these parameters; else the provider's refusal of the first.
    Without(&'static [&'static str]),
    /// A right answer, once there is a permit.
    Held(Arc<tokio::sync::Semaphore>),
    /// Nothing, ever.
    Silence,
}

struct Gateway {
    says: Box<Says>,
    requests: AtomicUsize,
    /// How often each question was put to each model.
    asked: Mutex<BTreeMap<(String, String), usize>>,
    tokens: Mutex<Vec<String>>,
}

async fn answer(State(gateway): State<Arc<Gateway>>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let last = body["messages"].as_array().and_then(|messages| messages.last());
    let (model, question) = (
        text(&body["model"]),
        last.map_or_else(String::new, |message| text(&message["content"])),
    );
    let token = headers.get("authorization").map_or("", |value| value.to_str().unwrap());
    gateway.tokens.lock().unwrap().push(token.to_owned());
    *gateway.asked.lock().unwrap().entry((model.clone(), question.clone())).or_default() += 1;
    let nth = gateway.requests.fetch_add(1, Ordering::SeqCst) + 1;
    let says = |text: &str| json!({"choices": [{"message": {"role": "assistant", "content": text}}]});
    match (gateway.says)(nth, &model, &question) {
        Reply::Text(text) => with_usage(says(&text)),
        Reply::Message(message) => with_usage(json!({"choices": [{"message": message}]})),
        Reply::Using(usage) => {
            let mut body = says("right");
            body["usage"] = usage;
            Json(body).into_response()
        }
        Reply::Without(refused) => match refused.iter().find(|parameter| body.get(**parameter).is_some()) {
            Some(parameter) => {
                let error = json!({"error": {"message": "unsupported", "code": "unsupported_value", "param": parameter}});
                (StatusCode::BAD_REQUEST, Json(error)).into_response()
            }
            None => with_usage(says("right")),
        },
        Reply::WithoutUsage => Json(says("x")).into_response(),
        Reply::Stream if body["stream"] == true => stream().into_response(),
        Reply::Stream => with_usage(says("three whole words")),
        Reply::Busy(after) => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", after)]).into_response(),
        Reply::Error(status) => {
            let body = json!({"error": {"message": "there is no such model", "type": "invalid_request_error", "code": "model_not_found"}});
            (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
        }
        Reply::Held(gate) => {
            gate.acquire().await.unwrap().forget();
            with_usage(says("right"))
        }
        Reply::Silence => pending().await,
    }
}

fn stream() -> String {
    let chunk = |text: &str| json!({"choices": [{"index": 0, "delta": {"content": text}}]});
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]});
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 90, "completion_tokens": 3}});
    let events = [chunk("three "), chunk("whole "), chunk("words"), end, usage];
    let events: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    format!("{events}data: [DONE]\n\n")
}

fn with_usage(mut body: Value) -> Response {
    body["usage"] = json!({"prompt_tokens": 90, "completion_tokens": 10});
    Json(body).into_response()
}

/// A right answer to every third question and a wrong one to the others.
fn thirds(question: &str) -> Reply {
    let number: usize = question.trim_start_matches("question ").parse().unwrap();
    Reply::Text(if number.is_multiple_of(3) { "right" } else { "wrong" }.to_owned())
}

struct World {
    gateway: Arc<Gateway>,
    url: String,
    folder: Folder,
    run: Evaluation,
    pace: Pace,
    /// The folder that keeps the report.
    kept: Option<&'static str>,
    /// The bucket that keeps it instead.
    bucket: Option<Arc<Bucket>>,
    /// When segments go to it.
    rhythm: Rhythm,
    /// Which pod carries out the run, where it is kept in a bucket: each has its own folder.
    pod: usize,
}

/// A folder that is gone with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("portfolio-evaluator-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

impl World {
    async fn new(says: impl Fn(usize, &str, &str) -> Reply + Send + Sync + 'static) -> Self {
        let gateway = Arc::new(Gateway {
            says: Box::new(says),
            requests: AtomicUsize::new(0),
            asked: Mutex::default(),
            tokens: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new()
            .route("/v1/chat/completions", post(answer))
            .with_state(Arc::clone(&gateway));
        tokio::spawn(async move { axum::serve(listener, app).await });
        let world = Self {
            gateway,
            url,
            folder: Folder::new(),
            run: serde_json::from_value(json!({
                "namespace": "claims",
                "targets": [{
                    "model": "llama",
                    "price": {"input": 1_000_000_000, "output": 10_000_000_000_u64},
                    "criteria": [{"suite": "claims", "metric": "accuracy", "lowerBoundAtLeast": "0.01"}],
                }],
                "suites": [{
                    "name": "claims",
                    "exemplars": {"dataset": {"configMapRef": {"name": "exemplars", "key": "cases.jsonl"}}},
                    "scorer": {"exact": {}},
                    "maxOutputTokens": 100,
                }],
                "confidence": 0.95,
                "limits": {"seconds": 3600, "errors": 0.01, "unparsed": 0.05},
            }))
            .unwrap(),
            pace: Pace {
                answer: Duration::from_secs(20),
                question: Duration::from_secs(20),
                first: Duration::from_millis(1),
                longest: Duration::from_secs(5),
            },
            kept: None,
            bucket: None,
            rhythm: Rhythm::default(),
            pod: 0,
        };
        let line = |n: usize| json!({"id": n, "input": format!("question {n}"), "expected": "right"}).to_string();
        world.dataset(&(0..QUESTIONS).map(line).collect::<Vec<_>>().join("\n"));
        world
    }

    fn dataset(&self, text: &str) {
        std::fs::create_dir_all(self.file().parent().unwrap()).unwrap();
        std::fs::write(self.file(), text).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.folder.0.join("claims/exemplars.dataset")
    }

    fn limit(&mut self, name: &str, value: u64) {
        let mut limits = serde_json::to_value(self.run.limits).unwrap();
        limits[name] = value.into();
        self.run.limits = serde_json::from_value(limits).unwrap();
    }

    fn progress(&self) -> PathBuf {
        if self.bucket.is_some() {
            return self.of_pod().join("progress.jsonl");
        }
        self.folder.0.join(self.kept.unwrap_or("progress")).with_extension("jsonl")
    }

    /// The questions whose end is noted.
    fn ended(&self) -> Vec<u64> {
        let text = std::fs::read_to_string(self.progress()).unwrap_or_default();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let lines = whole.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter(|line| line.get("e").is_some())
            .filter_map(|line| line["q"].as_u64())
            .collect()
    }

    fn lines(&self) -> usize {
        std::fs::read_to_string(self.progress()).map_or(0, |text| text.lines().count())
    }

    fn of_pod(&self) -> PathBuf {
        self.folder.0.join(format!("pod-{}", self.pod))
    }

    /// The bucket as a pod is told of it.
    fn store(&self) -> Option<Arc<Store>> {
        let bucket = self.bucket.as_ref()?;
        let secret = self.folder.0.join("credentials/reports-s3");
        std::fs::create_dir_all(&secret).unwrap();
        std::fs::create_dir_all(self.of_pod()).unwrap();
        for (name, value) in bucket.variables() {
            std::fs::write(secret.join(name), value).unwrap();
        }
        let pace = fetch::Pace {
            attempts: 3,
            first_wait: Duration::from_millis(1),
            longest_wait: Duration::from_millis(1),
            ..fetch::Pace::default()
        };
        Some(Arc::new(Store::with(
            "s3://bucket/kept/",
            Some("reports-s3".to_owned()),
            self.rhythm,
            pace,
        )))
    }

    async fn attempt(&self) -> anyhow::Result<Report> {
        self.attempt_with(self.store()).await
    }

    async fn attempt_with(&self, store: Option<Arc<Store>>) -> anyhow::Result<Report> {
        run(&self.run, &self.client()?, &self.places_with(store), |_| {}).await
    }

    fn client(&self) -> anyhow::Result<Client> {
        Client::new(&self.url, Some(self.folder.0.join("token")).filter(|file| file.exists()), self.pace)
    }

    fn places(&self) -> Places {
        self.places_with(self.store())
    }

    fn places_with(&self, store: Option<Arc<Store>>) -> Places {
        Places {
            datasets: self.folder.0.clone(),
            claims: self.folder.0.join("claims"),
            credentials: self.folder.0.join("credentials"),
            fetched: self.folder.0.join("fetched"),
            results: self.folder.0.join("results"),
            progress: self.progress(),
            message: None,
            report: self.kept.map(|name| match &store {
                Some(_) => self.of_pod().join("reports").join(name),
                None => self.folder.0.join(name),
            }),
            store,
            clock: cluster::now,
        }
    }

    async fn report(&self) -> Report {
        self.attempt().await.unwrap()
    }

    fn requests(&self) -> usize {
        self.gateway.requests.load(Ordering::SeqCst)
    }

    fn most_asked(&self) -> usize {
        self.gateway.asked.lock().unwrap().values().copied().max().unwrap_or(0)
    }
}

fn suite<'a>(report: &'a Report, model: &str) -> &'a SuiteResult {
    let target = report.targets.iter().find(|target| target.model == model).unwrap();
    &target.suites[0]
}

/// Questions, right answers, unparsed ones and errors.
fn counts(report: &Report) -> [u32; 4] {
    let SuiteResult {
        questions,
        correct,
        unparsed,
        errors,
        ..
    } = suite(report, "llama");
    [*questions, *correct, *unparsed, *errors]
}

#[tokio::test]
async fn every_question_is_asked_once_and_counted() {
    let mut world = World::new(|_, _, question| thirds(question)).await;
    world
        .run
        .targets
        .push(serde_json::from_value(json!({"model": "gpt", "price": {"input": 0, "output": 0}})).unwrap());
    let report = world.report().await;
    assert_eq!(counts(&report), [12, 4, 0, 0]);
    assert_eq!((world.requests(), world.most_asked()), (24, 1));
    assert_eq!(
        (report.tokens(), report.stopped, report.targets[0].verdict),
        (2400, None, Verdict::Pass)
    );
    // Twelve times 90 tokens at $1 and 10 tokens at $10 a million.
    assert_eq!(report.cost, Some(12 * (90_000 + 100_000)));
    let models: Vec<String> = world.gateway.asked.lock().unwrap().keys().map(|(model, _)| model.clone()).collect();
    assert!(models.contains(&"claims/llama".to_owned()) && models.contains(&"claims/gpt".to_owned()));
}

#[tokio::test]
async fn a_run_killed_after_any_answer_goes_on_without_asking_it_again() {
    let whole = World::new(|_, _, question| thirds(question)).await.report().await;
    for survived in 0..=QUESTIONS {
        // The gateway falls silent after so many answers, the run is killed, and the gateway recovers.
        let silent = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let falls_silent = Arc::clone(&silent);
        let world = World::new(move |nth, _, question| {
            if nth > survived && falls_silent.load(Ordering::SeqCst) {
                Reply::Silence
            } else {
                thirds(question)
            }
        })
        .await;
        let answered = || world.ended().len();
        let noted = async {
            let deadline = Instant::now() + Duration::from_secs(20);
            while answered() < survived {
                assert!(Instant::now() < deadline, "{} answers", answered());
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = noted => {}
            report = world.attempt() => assert_eq!((survived, report.unwrap()), (QUESTIONS, whole.clone())),
        }
        let answered = world.ended();
        assert_eq!(answered.len(), survived);
        silent.store(false, Ordering::SeqCst);
        world.gateway.asked.lock().unwrap().clear();

        let mut report = world.report().await;
        assert!(report.cost >= whole.cost, "what was lost was paid for");
        report.cost = whole.cost;
        assert_eq!(report, whole, "killed after {survived}");
        let again = world.gateway.asked.lock().unwrap();
        assert_eq!(again.len(), QUESTIONS - survived);
        for question in answered {
            assert!(!again.contains_key(&("claims/llama".to_owned(), format!("question {question}"))));
        }
    }
}

#[tokio::test]
async fn a_report_holds_every_answer_and_is_never_changed() {
    let mut world = World::new(|_, _, question| thirds(question)).await;
    world.kept = Some("report");
    world.report().await;
    let folder = world.folder.0.join("report");
    let read = |path: &str| std::fs::read_to_string(folder.join(path)).unwrap();
    let whole: Value = serde_json::from_str(&read("report.json")).unwrap();
    assert_eq!(whole["report"]["targets"][0]["verdict"], "Pass");
    let samples = whole["samples"].as_array().unwrap();
    assert_eq!(samples.len(), QUESTIONS);
    assert!(samples.iter().all(|one| one["model"] == "llama" && one["suite"] == "claims"));
    assert_eq!(samples.iter().filter(|one| one["end"] == "Right" && one["score"] == 1.0).count(), 4);
    assert!(!read("report.json").contains("wrong\""), "answers are in the export alone");
    let export = folder.join("lm-eval/claims/claims__llama");
    let named = |start: &str| {
        let files = std::fs::read_dir(&export).unwrap().map(|file| file.unwrap().path());
        files
            .into_iter()
            .find(|file| file.file_name().unwrap().to_str().unwrap().starts_with(start))
            .unwrap()
    };
    let lines = std::fs::read_to_string(named("samples_claims_")).unwrap();
    let answers: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), QUESTIONS);
    assert_eq!(
        (&answers[3]["resps"][0][0], &answers[3]["exact_match"]),
        (&json!("right"), &json!(1.0))
    );
    let results: Value = serde_json::from_slice(&std::fs::read(named("results_")).unwrap()).unwrap();
    assert_eq!(results["results"]["claims"]["exact_match,none"], json!(1.0 / 3.0));

    let before = read("report.json");
    world.report().await;
    assert_eq!(read("report.json"), before);
}

#[tokio::test]
async fn two_pods_of_one_run_do_not_write_at_once() {
    let world = World::new(|_, _, _| Reply::Silence).await;
    tokio::select! {
        biased;
        error = async { while world.requests() == 0 { tokio::task::yield_now().await; } world.attempt().await } => {
            assert!(error.unwrap_err().to_string().starts_with("another pod of this run still writes"));
        }
        report = world.attempt() => panic!("{report:?}"),
    }
}

#[tokio::test]
async fn a_changed_dataset_begins_the_run_anew() {
    let world = World::new(|_, _, question| thirds(question)).await;
    world.report().await;
    world.dataset(r#"{"id": 1, "input": "question 3", "expected": "right"}"#);
    assert_eq!(counts(&world.report().await), [1, 1, 0, 0]);
    assert_eq!(world.lines(), 1 + 2);
}

#[tokio::test]
async fn a_run_stops_before_it_passes_a_limit() {
    // A question uses 100 tokens for $0.00019. By its length, "question 1" and an answer of 100 tokens may use 42 + 100, and cost $0.001042.
    for (name, most, limit, asked) in [
        ("tokens", 641, Some(Limit::Tokens), 5),
        ("tokens", 642, Some(Limit::Tokens), 6),
        ("tokens", 1300, None, 12),
        ("cost", 190_000 * 6 + 1_042_000, Some(Limit::Cost), 7),
        ("cost", 190_000 * 7 + 1_041_000, Some(Limit::Cost), 7),
        ("cost", 1, Some(Limit::Cost), 0),
    ] {
        let mut world = World::new(|_, _, question| thirds(question)).await;
        world.limit(name, most);
        let report = world.report().await;
        assert_eq!((report.stopped, world.requests()), (limit, asked), "{name} {most}");
        assert_eq!(counts(&report)[0] as usize, asked);
        let used = if name == "cost" { report.cost.unwrap() } else { report.tokens() };
        assert!(used <= most, "{used} of {most}");
    }
}

#[tokio::test]
async fn what_was_lost_when_a_run_was_killed_counts_towards_its_limits() {
    let silent = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let falls_silent = Arc::clone(&silent);
    let mut world = World::new(move |_, _, question| {
        if falls_silent.load(Ordering::SeqCst) {
            Reply::Silence
        } else {
            thirds(question)
        }
    })
    .await;
    // Room for what four questions may cost.
    world.limit("cost", 4 * 1_042_000);
    let asked = async {
        let deadline = Instant::now() + Duration::from_secs(20);
        while world.requests() < super::run::AT_ONCE {
            assert!(Instant::now() < deadline, "{} requests", world.requests());
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = asked => {}
        report = world.attempt() => panic!("{report:?}"),
    }
    silent.store(false, Ordering::SeqCst);
    let report = world.report().await;
    assert_eq!(
        (report.stopped, world.requests(), report.cost),
        (Some(Limit::Cost), super::run::AT_ONCE, Some(4 * 1_042_000))
    );
}

#[tokio::test]
async fn a_run_stops_when_its_time_is_over() {
    let mut world = World::new(|_, _, question| thirds(question)).await;
    world.limit("seconds", 0);
    let report = world.report().await;
    assert_eq!((report.stopped, world.requests()), (Some(Limit::Duration), 0));
    let why = "the run stopped at spec.limits.maxDuration after 0 of 12 questions of suite claims; raise it, or ask fewer questions";
    assert_eq!(report.targets[0].message, why);
}

#[tokio::test]
async fn a_sample_that_decides_nothing_is_extended_as_declared_and_no_further() {
    // Two of three answers are right: of 30 questions that proves nothing about a half, of 300 it does.
    let line = |n: usize| json!({"id": n, "input": format!("question {n}"), "expected": "right"}).to_string();
    let answers = |question: &str| {
        let number: usize = question.trim_start_matches("question ").parse().unwrap();
        Reply::Text(if number % 3 == 2 { "wrong" } else { "right" }.to_owned())
    };
    for (least, asked, verdict) in [
        ("0.6", 300, Verdict::Pass),
        ("0.2", 30, Verdict::Pass),
        ("0.66", 300, Verdict::Inconclusive),
    ] {
        let mut world = World::new(move |_, _, question| answers(question)).await;
        world.dataset(&(0..400).map(line).collect::<Vec<_>>().join("\n"));
        world.run.suites[0].sample = Some(serde_json::from_value(json!({"size": 30, "seed": 1})).unwrap());
        world.run.extend_to = Some(300);
        world.run.targets[0].criteria[0].lower_bound_at_least = Some(least.to_owned());
        let report = world.report().await;
        assert_eq!((world.requests(), report.targets[0].verdict), (asked, verdict), "{report:?}");
        assert_eq!(counts(&report)[0] as usize, asked);
    }
}

#[tokio::test]
async fn each_model_is_compared_with_the_baseline_on_the_same_questions() {
    let mut world = World::new(|_, model, question| {
        let number: usize = question.trim_start_matches("question ").parse().unwrap();
        let is_right = model != "claims/llama" || !number.is_multiple_of(10);
        Reply::Text(if is_right { "right" } else { "wrong" }.to_owned())
    })
    .await;
    let line = |n: usize| json!({"id": n, "input": format!("question {n}"), "expected": "right"}).to_string();
    world.dataset(&(0..200).map(line).collect::<Vec<_>>().join("\n"));
    let no_worse = json!([{"suite": "claims", "metric": "accuracy", "notWorseThanBaselineBy": "0.05"}]);
    world.run.targets[0].criteria = serde_json::from_value(no_worse.clone()).unwrap();
    world
        .run
        .targets
        .push(serde_json::from_value(json!({"model": "same", "criteria": no_worse})).unwrap());
    world.run.baseline = Some(serde_json::from_value(json!({"model": "gpt"})).unwrap());
    let report = world.report().await;
    assert_eq!(world.requests(), 600);
    let [llama, same] = [0, 1].map(|place| (report.targets[place].verdict, report.targets[place].message.as_str()));
    assert_eq!(llama.0, Verdict::Fail, "{}", llama.1);
    assert!(llama.1.contains("0 better and 20 worse of 200 questions"), "{}", llama.1);
    assert_eq!(same.0, Verdict::Pass, "{}", same.1);
}

#[tokio::test]
async fn questions_are_asked_as_often_as_they_are_repeated_and_count_once() {
    let mut world = World::new(|nth, _, _| Reply::Text(if nth % 2 == 0 { "right" } else { "wrong" }.to_owned())).await;
    world.run.suites[0].repeats = Some(4);
    let report = world.report().await;
    let result = suite(&report, "llama");
    assert_eq!(
        (world.requests(), result.questions, result.correct, result.metrics[0].n),
        (48, 48, 24, 12)
    );
    assert_eq!(result.metrics[0].value, "0.500");
}

#[tokio::test]
async fn each_question_costs_what_the_tier_of_its_prompt_says() {
    for (price, cost) in [
        (json!({"input": 1_000_000_000, "output": 10_000_000_000_u64}), Some(190_000 * 12)),
        // A question has 90 tokens of prompt; all of them together would be above the second bound too.
        (
            json!({"input": 1_000_000_000, "output": 10_000_000_000_u64, "tiers": [
                {"above": 89, "input": 2_000_000_000_u64, "output": 10_000_000_000_u64},
                {"above": 90, "input": 9_000_000_000_u64, "output": 90_000_000_000_u64},
            ]}),
            Some(280_000 * 12),
        ),
        (json!({"input": 1_000_000_000}), None),
    ] {
        let mut world = World::new(|_, _, question| thirds(question)).await;
        world.run.targets[0].price = serde_json::from_value(price.clone()).unwrap();
        assert_eq!(world.report().await.cost, cost, "{price}");
    }
}

#[tokio::test]
async fn a_question_costs_what_the_gateway_would_charge_for_it() {
    let using = || Reply::Using(json!({"prompt_tokens": 90, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 40}}));
    let text = json!({"input": 1_000_000_000, "output": 10_000_000_000_u64});
    let mut with_cache = text.clone();
    with_cache["cacheRead"] = 100_000_000.into();
    for (price, cost) in [(with_cache, Some(154_000 * 12)), (text.clone(), None)] {
        let mut world = World::new(move |_, _, _| using()).await;
        world.run.targets[0].price = serde_json::from_value(price.clone()).unwrap();
        assert_eq!(world.report().await.cost, cost, "{price}: 50 + 40 / 10 + 10 × 10");
    }
    let mut world = World::new(move |_, _, _| using()).await;
    world.run.targets[0].price = serde_json::from_value(text).unwrap();
    world.limit("cost", 190_000 * 7);
    assert_eq!(
        world.report().await.stopped,
        Some(Limit::Cost),
        "a rate that is not known is no way around a limit"
    );
}

#[tokio::test]
async fn a_limit_without_what_it_needs_to_be_kept_is_not_guessed() {
    let mut world = World::new(|_, _, _| Reply::WithoutUsage).await;
    assert_eq!(world.report().await.cost, None, "unknown, not zero");
    world.limit("tokens", 100_000);
    let report = world.report().await;
    assert_eq!(counts(&report)[3], 12);
    let why = "the answer does not say what it used, so spec.limits cannot be kept";
    assert!(report.targets[0].message.ends_with(why), "{report:?}");

    world.run.targets[0].price = None;
    world.limit("cost", 500);
    let why = "the price of llama is unknown, so spec.limits.maxCostUSD cannot be kept; set its price";
    assert_eq!(world.report().await, Report::invalid(why));
}

#[tokio::test]
async fn a_busy_gateway_is_asked_again_when_it_says() {
    let world = World::new(|nth, _, question| if nth == 1 { Reply::Busy("1") } else { thirds(question) }).await;
    let begun = Instant::now();
    assert_eq!(counts(&world.report().await), [12, 4, 0, 0]);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!((world.requests(), world.most_asked()), (13, 2));
}

#[tokio::test]
async fn a_model_that_is_refused_is_given_up_and_the_others_go_on() {
    let mut world = World::new(|_, model, question| {
        if model == "claims/gone" {
            Reply::Error(404)
        } else {
            thirds(question)
        }
    })
    .await;
    world
        .run
        .targets
        .insert(0, serde_json::from_value(json!({"model": "gone"})).unwrap());
    let report = world.report().await;
    assert_eq!((suite(&report, "gone").questions, suite(&report, "gone").errors), (12, 12));
    assert_eq!(counts(&report), [12, 4, 0, 0]);
    let [gone, llama] = [0, 1].map(|place| (report.targets[place].verdict, report.targets[place].message.as_str()));
    let why = "suite claims: 12 of 12 requests failed, 1 % of them may (spec.limits.maxErrorRate): gone: 404 there is no such model";
    assert_eq!(gone, (Verdict::Invalid, why));
    assert_eq!(llama.0, Verdict::Pass);
    assert!(world.requests() <= 12 + 3 + super::run::AT_ONCE, "{}", world.requests());
}

#[tokio::test]
async fn a_gateway_that_stays_busy_ends_the_question_and_not_the_run() {
    let mut world = World::new(|_, _, _| Reply::Busy("0")).await;
    world.pace.question = Duration::from_millis(20);
    let report = world.report().await;
    assert_eq!(counts(&report)[3], 12);
    assert!(report.targets[0].message.ends_with(": llama: 429"), "{report:?}");
}

#[tokio::test]
async fn a_gateway_that_cannot_be_reached_leaves_the_run_to_be_tried_again() {
    let mut world = World::new(|_, _, question| thirds(question)).await;
    let url = std::mem::replace(&mut world.url, "http://127.0.0.1:1".to_owned());
    world.pace.question = Duration::from_millis(20);
    let error = world.attempt().await.unwrap_err().to_string();
    assert!(
        error.starts_with("http://127.0.0.1:1/v1/chat/completions does not answer"),
        "{error}"
    );
    world.url = url;
    world.pace.question = Duration::from_secs(20);
    assert_eq!(counts(&world.report().await), [12, 4, 0, 0]);
}

#[tokio::test]
async fn a_broken_line_is_named_before_anything_is_asked() {
    let world = World::new(|_, _, question| thirds(question)).await;
    world.dataset("{\"id\": 1, \"input\": \"a\", \"expected\": \"b\"}\n{\"id\": 2, \"input\": \"a\"}\n");
    let why = "ConfigMap exemplars, cases.jsonl line 2: expected is missing; add it or remove the row";
    assert_eq!(world.report().await, Report::invalid(why));
    std::fs::remove_file(world.file()).unwrap();
    let why = "ConfigMap exemplars has no key cases.jsonl; add it, or change the suite claims";
    assert_eq!(world.report().await, Report::invalid(why));
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn the_token_is_sent_and_followed_when_it_changes() {
    let world = World::new(|_, _, question| thirds(question)).await;
    let token = world.folder.0.join("token");
    std::fs::write(&token, "first\n").unwrap();
    world.report().await;
    std::fs::write(&token, "second\n").unwrap();
    std::fs::remove_file(world.progress()).unwrap();
    world.report().await;
    let tokens = world.gateway.tokens.lock().unwrap();
    assert!(tokens[..12].iter().all(|token| token == "Bearer first"));
    assert!(tokens[12..].iter().all(|token| token == "Bearer second"));
}

#[tokio::test]
async fn a_model_that_refuses_a_parameter_is_asked_as_it_wants() {
    let world = World::new(|_, _, _| Reply::Without(&["temperature", "max_tokens"])).await;
    assert_eq!(counts(&world.report().await), [12, 12, 0, 0]);
    assert!(
        world.requests() <= QUESTIONS + 2 * super::run::AT_ONCE,
        "learned once: {}",
        world.requests()
    );

    let world = World::new(|_, _, _| Reply::Without(&["messages"])).await;
    assert_eq!(counts(&world.report().await)[3], 12);
}
