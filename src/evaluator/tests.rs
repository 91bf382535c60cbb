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
use super::run::{Places, run};
use crate::plan::evaluation::report::{Counts, Limit, Report};
use crate::plan::evaluation::run::Evaluation;

const QUESTIONS: usize = 12;

/// What the gateway says to the n-th request, counted from 1, for a model and a question.
type Says = dyn Fn(usize, &str, &str) -> Reply + Send + Sync;

enum Reply {
    Text(String),
    WithoutUsage,
    /// And this report.
    Using(Value),
    Busy(&'static str),
    Error(u16),
    /// A right answer, to a request without these parameters; else the provider's refusal of the first.
    Without(&'static [&'static str]),
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
    let (model, question) = (text(&body["model"]), text(&body["messages"][0]["content"]));
    let token = headers.get("authorization").map_or("", |value| value.to_str().unwrap());
    gateway.tokens.lock().unwrap().push(token.to_owned());
    *gateway.asked.lock().unwrap().entry((model.clone(), question.clone())).or_default() += 1;
    let nth = gateway.requests.fetch_add(1, Ordering::SeqCst) + 1;
    let says = |text: &str| json!({"choices": [{"message": {"role": "assistant", "content": text}}]});
    match (gateway.says)(nth, &model, &question) {
        Reply::Text(text) => with_usage(says(&text)),
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
        Reply::Busy(after) => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", after)]).into_response(),
        Reply::Error(status) => {
            let body = json!({"error": {"message": "there is no such model", "type": "invalid_request_error", "code": "model_not_found"}});
            (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
        }
        Reply::Silence => pending().await,
    }
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
                "targets": [{"model": "llama", "price": {"input": 1_000_000_000, "output": 10_000_000_000_u64}}],
                "suites": [{"name": "claims", "dataset": {"name": "exemplars", "key": "cases.jsonl"}, "scorer": {"exact": {}}}],
            }))
            .unwrap(),
            pace: Pace {
                answer: Duration::from_secs(20),
                question: Duration::from_secs(20),
                first: Duration::from_millis(1),
                longest: Duration::from_secs(5),
            },
        };
        let line = |n: usize| json!({"id": n, "input": format!("question {n}"), "expected": "right"}).to_string();
        world.dataset(&(0..QUESTIONS).map(line).collect::<Vec<_>>().join("\n"));
        world
    }

    fn dataset(&self, text: &str) {
        std::fs::write(self.folder.0.join("claims.jsonl"), text).unwrap();
    }

    fn progress(&self) -> PathBuf {
        self.folder.0.join("progress.jsonl")
    }

    fn lines(&self) -> usize {
        std::fs::read_to_string(self.progress()).map_or(0, |text| text.lines().count())
    }

    async fn attempt(&self) -> anyhow::Result<Report> {
        let client = Client::new(&self.url, Some(self.folder.0.join("token")).filter(|file| file.exists()), self.pace)?;
        let places = Places {
            datasets: self.folder.0.clone(),
            progress: self.progress(),
        };
        run(&self.run, &client, &places, |_| {}).await
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

fn counts(report: &Report) -> Counts {
    report.counts("llama", "claims").unwrap()
}

#[tokio::test]
async fn every_question_is_asked_once_and_counted() {
    let mut world = World::new(|_, _, question| thirds(question)).await;
    world
        .run
        .targets
        .push(serde_json::from_value(json!({"model": "gpt", "price": {"input": 0, "output": 0}})).unwrap());
    let report = world.report().await;
    assert_eq!(counts(&report), Counts::from([12, 4, 0, 0]));
    assert_eq!((world.requests(), world.most_asked()), (24, 1));
    assert_eq!((report.tokens(), report.stopped, report.suites[0].size), (2400, None, 12));
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
        let noted = async {
            let deadline = Instant::now() + Duration::from_secs(20);
            while world.lines() < survived + 1 {
                assert!(Instant::now() < deadline, "{} lines", world.lines());
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = noted => {}
            report = world.attempt() => assert_eq!((survived, report.unwrap()), (QUESTIONS, whole.clone())),
        }
        let answered: Vec<_> = {
            let text = std::fs::read_to_string(world.progress()).unwrap();
            text.lines()
                .skip(1)
                .map(|line| serde_json::from_str::<Value>(line).unwrap()["q"].as_u64().unwrap())
                .collect()
        };
        assert_eq!(answered.len(), survived);
        silent.store(false, Ordering::SeqCst);
        world.gateway.asked.lock().unwrap().clear();

        assert_eq!(world.report().await, whole, "killed after {survived}");
        let again = world.gateway.asked.lock().unwrap();
        assert_eq!(again.len(), QUESTIONS - survived);
        for question in answered {
            assert!(!again.contains_key(&("claims/llama".to_owned(), format!("question {question}"))));
        }
    }
}

#[tokio::test]
async fn a_changed_dataset_begins_the_run_anew() {
    let world = World::new(|_, _, question| thirds(question)).await;
    world.report().await;
    world.dataset(r#"{"id": 1, "input": "question 3", "expected": "right"}"#);
    assert_eq!(counts(&world.report().await), Counts::from([1, 1, 0, 0]));
    assert_eq!(world.lines(), 2);
}

#[tokio::test]
async fn a_run_stops_before_it_passes_a_limit() {
    for (limits, limit, asked) in [
        (json!({"tokens": 500}), Some(Limit::Tokens), 5),
        (json!({"tokens": 599}), Some(Limit::Tokens), 5),
        (json!({"tokens": 1200}), None, 12),
        (json!({"cost": 190_000 * 7}), Some(Limit::Cost), 7),
        (json!({"cost": 1}), Some(Limit::Cost), 1),
    ] {
        let mut world = World::new(|_, _, question| thirds(question)).await;
        world.run.limits = serde_json::from_value(limits.clone()).unwrap();
        let report = world.report().await;
        assert_eq!((report.stopped, world.requests()), (limit, asked), "{limits}");
        assert_eq!(counts(&report).questions as usize, asked);
    }
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
    world.run.limits = serde_json::from_value(json!({"cost": 190_000 * 7})).unwrap();
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
    world.run.limits = serde_json::from_value(json!({"tokens": 500})).unwrap();
    let report = world.report().await;
    assert_eq!(counts(&report).errors, 12);
    assert_eq!(
        report.error.as_deref(),
        Some("llama: the answer does not say what it used, so spec.limits cannot be kept")
    );

    world.run.targets[0].price = None;
    world.run.limits = serde_json::from_value(json!({"cost": 500})).unwrap();
    let why = "the price of llama is unknown, so spec.limits.maxCostUSD cannot be kept; set its price";
    assert_eq!(world.report().await, Report::invalid(why));
}

#[tokio::test]
async fn a_busy_gateway_is_asked_again_when_it_says() {
    let world = World::new(|nth, _, question| if nth == 1 { Reply::Busy("1") } else { thirds(question) }).await;
    let begun = Instant::now();
    assert_eq!(counts(&world.report().await), Counts::from([12, 4, 0, 0]));
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
    assert_eq!(report.counts("gone", "claims"), Some(Counts::from([12, 0, 0, 12])));
    assert_eq!(counts(&report), Counts::from([12, 4, 0, 0]));
    assert_eq!(report.error.as_deref(), Some("gone: 404 there is no such model"));
    assert!(world.requests() <= 12 + 3 + super::run::AT_ONCE, "{}", world.requests());
}

#[tokio::test]
async fn a_gateway_that_stays_busy_ends_the_question_and_not_the_run() {
    let mut world = World::new(|_, _, _| Reply::Busy("0")).await;
    world.pace.question = Duration::from_millis(20);
    let report = world.report().await;
    assert_eq!((counts(&report).errors, report.error.as_deref()), (12, Some("llama: 429")));
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
    assert_eq!(counts(&world.report().await), Counts::from([12, 4, 0, 0]));
}

#[tokio::test]
async fn a_broken_line_is_named_before_anything_is_asked() {
    let world = World::new(|_, _, question| thirds(question)).await;
    world.dataset("{\"id\": 1, \"input\": \"a\", \"expected\": \"b\"}\n{\"id\": 2, \"input\": \"a\"}\n");
    let why = "ConfigMap exemplars, cases.jsonl line 2: expected is missing; add it or remove the line";
    assert_eq!(world.report().await, Report::invalid(why));
    std::fs::remove_file(world.folder.0.join("claims.jsonl")).unwrap();
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
    assert_eq!(counts(&world.report().await), Counts::from([12, 12, 0, 0]));
    assert!(
        world.requests() <= QUESTIONS + 2 * super::run::AT_ONCE,
        "learned once: {}",
        world.requests()
    );

    let world = World::new(|_, _, _| Reply::Without(&["messages"])).await;
    assert_eq!(counts(&world.report().await).errors, 12);
}
