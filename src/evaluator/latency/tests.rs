//! Loads against a gateway in this process that takes known times. Real time passes: bounds are generous where a busy machine may be slow, and the
//! times that a gateway takes are never less than it says.

use std::convert::Infallible;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep;

use super::load::{Load, Step};
use super::prompt::Prompts;
use super::schedule::Schedule;
use super::stream::{Ended, Failure, Patience, Streams};
use super::summary::Summary;
use super::timing::Timing;
use crate::evaluator::client::{Client, Pace};
use crate::evaluator::prompt::{self, Prompt};
use crate::plan::evaluation::times::Metric;
use crate::plan::statistics::Confidence;

const TOKENS: u32 = 5;
/// Longer than any test takes that does not hang.
const FOREVER: Duration = Duration::from_secs(60);

/// What the gateway does about a request by its place in the load, whenever it comes.
type Does = dyn Fn(u32) -> Reply + Send + Sync;

#[derive(Clone)]
enum Reply {
    /// Tokens, the first of them after so long and the others after so long each.
    Tokens(Duration, Duration),
    /// The same, one request at a time.
    InLine(Duration),
    /// These events, and the end of the stream.
    Events(Vec<String>),
    /// These, and the connection is cut.
    Cut(Vec<String>),
    /// These, and nothing more ever.
    Hang(Vec<String>),
    Status(u16),
    /// A plain answer, to a request without this parameter; else the refusal of it.
    Without(&'static str),
}

struct Gateway {
    does: Box<Does>,
    line: Semaphore,
    requests: AtomicUsize,
    bodies: Mutex<Vec<Value>>,
    tokens: Mutex<Vec<String>>,
}

type Body = BoxBody<Bytes, std::io::Error>;

impl Gateway {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let token = request.headers().get("authorization").map_or("", |value| value.to_str().unwrap());
        self.tokens.lock().unwrap().push(token.to_owned());
        let body: Value = serde_json::from_slice(&request.collect().await.unwrap().to_bytes()).unwrap();
        self.bodies.lock().unwrap().push(body.clone());
        self.requests.fetch_add(1, Ordering::SeqCst);
        let asked = (0..20).find(|index| text(&prompts().nth(*index)) == body["messages"][0]["content"]);
        let reply = (self.does)(asked.unwrap_or_default());
        let status = match reply {
            Reply::Status(status) => status,
            Reply::Without(parameter) if body.get(parameter).is_some() => {
                let error = json!({"error": {"message": "unsupported", "code": "unsupported_value", "param": parameter}});
                return Ok(Response::builder().status(400).body(whole(&error.to_string())).unwrap());
            }
            Reply::Without(_) if body["stream"] == false => {
                return Ok(Response::new(whole(r#"{"choices":[{"message":{"content":"hi"}}]}"#)));
            }
            _ => 200,
        };
        if status != 200 {
            let error = json!({"error": {"message": "slow down", "code": "busy"}}).to_string();
            let response = Response::builder().status(status).header("retry-after", "30");
            return Ok(response.body(whole(&error)).unwrap());
        }
        let (to, from) = mpsc::unbounded_channel();
        tokio::spawn(async move { self.stream(reply, &to).await });
        let frames = futures::stream::unfold(from, |mut from| async {
            let data = from.recv().await?;
            Some((data.map(Frame::data), from))
        });
        Ok(Response::new(BodyExt::boxed(StreamBody::new(frames))))
    }

    async fn stream(&self, reply: Reply, to: &mpsc::UnboundedSender<std::io::Result<Bytes>>) {
        let send = |data: &str| to.send(Ok(Bytes::from(format!("data: {data}\n\n")))).is_ok();
        let all = |events: &[String]| events.iter().all(|event| send(event));
        match reply {
            Reply::Tokens(first, each) => {
                send(ROLE);
                for nth in 0..TOKENS {
                    sleep(if nth == 0 { first } else { each }).await;
                    send(WORD);
                }
                all(&ending(0));
            }
            Reply::InLine(takes) => {
                let _turn = self.line.acquire().await.unwrap();
                sleep(takes).await;
                all(&words(2));
                all(&ending(0));
            }
            Reply::Events(events) => {
                all(&events);
            }
            Reply::Cut(events) => {
                all(&events);
                to.send(Err(std::io::Error::other("cut"))).ok();
            }
            Reply::Hang(events) => {
                all(&events);
                // Until the client has gone.
                to.closed().await;
            }
            Reply::Status(_) => {}
            Reply::Without(_) => {
                all(&words(2));
                all(&ending(0));
            }
        }
    }
}

const ROLE: &str = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
const WORD: &str = r#"{"choices":[{"index":0,"delta":{"content":" a"},"finish_reason":null}]}"#;
const LAST: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}"#;

fn whole(text: &str) -> Body {
    Full::from(text.to_owned()).map_err(|never| match never {}).boxed()
}

fn prompts() -> Prompts {
    Prompts::new(0, "run/1/model/speed", 60, TOKENS)
}

fn text(prompt: &Prompt) -> &str {
    match &prompt.body {
        prompt::Body::Chat(messages) => &messages[0].content,
        prompt::Body::Completion(text) => text,
    }
}

fn words(count: usize) -> Vec<String> {
    vec![WORD.to_owned(); count]
}

/// The end of a stream whose prompt a cache had so many tokens of.
fn ending(cached: u64) -> Vec<String> {
    let usage = json!({"prompt_tokens": 100, "completion_tokens": TOKENS, "prompt_tokens_details": {"cached_tokens": cached}});
    vec![
        LAST.to_owned(),
        json!({"choices": [], "usage": usage}).to_string(),
        "[DONE]".to_owned(),
    ]
}

struct World {
    gateway: Arc<Gateway>,
    client: Client,
    patience: Patience,
}

impl World {
    async fn new(does: impl Fn(u32) -> Reply + Send + Sync + 'static) -> Self {
        Self::with_token(does, None).await
    }

    async fn with_token(does: impl Fn(u32) -> Reply + Send + Sync + 'static, token_file: Option<PathBuf>) -> Self {
        let gateway = Arc::new(Gateway {
            does: Box::new(does),
            line: Semaphore::new(1),
            requests: AtomicUsize::new(0),
            bodies: Mutex::default(),
            tokens: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = Arc::clone(&gateway);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                socket.set_nodelay(true).unwrap();
                let serving = Arc::clone(&serving);
                let service = service_fn(move |request| Arc::clone(&serving).answer(request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        Self {
            gateway,
            client: Client::new(&url, token_file, Pace::default()).unwrap(),
            patience: Patience {
                answer: FOREVER,
                token: FOREVER,
            },
        }
    }

    fn load(&self, requests: u32, per_second: f64) -> Load {
        let schedule = Schedule::new(requests, per_second).unwrap();
        let streams = Streams::of(&self.client, "team/model", self.patience);
        Load::begin(schedule, prompts(), streams)
    }

    /// How each request of a load ended, in their order.
    async fn ends(&self, requests: u32, per_second: f64) -> Vec<Ended> {
        ends(self.load(requests, per_second)).await
    }

    fn requests(&self) -> usize {
        self.gateway.requests.load(Ordering::SeqCst)
    }
}

async fn ends(mut load: Load) -> Vec<Ended> {
    let mut ends = Vec::new();
    let all = async {
        while let Some(step) = load.next().await {
            match step {
                Step::Due(request) => load.send(request),
                Step::Ended(ended) => ends.push(ended),
            }
        }
    };
    in_time(all).await;
    ends.sort_by_key(|ended| ended.index);
    ends
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(FOREVER, future).await.unwrap()
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn timing(ended: &Ended) -> Timing {
    *ended
        .outcome
        .as_ref()
        .unwrap_or_else(|failure| panic!("{}: {failure}", ended.index))
}

fn failure(ended: &Ended) -> &Failure {
    ended.outcome.as_ref().unwrap_err()
}

const SOON: Reply = Reply::Tokens(Duration::ZERO, Duration::ZERO);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_are_those_that_the_gateway_takes() {
    let world = World::new(|_| Reply::Tokens(ms(80), ms(20))).await;
    let ends = world.ends(10, 50.0).await;
    for ended in &ends {
        let seen = timing(ended);
        assert!((0.08..5.0).contains(&seen.ttft), "{seen:?}");
        assert!((0.16..5.0).contains(&seen.total) && seen.total > seen.ttft, "{seen:?}");
        assert_eq!((seen.chunks, seen.answer_tokens()), (TOKENS, Some(u64::from(TOKENS))));
    }
    // Tokens that are read late are read close to each other, but not all of them.
    let gaps = ends.iter().filter_map(|ended| timing(ended).inter_token);
    assert!((0.015..1.0).contains(&gaps.fold(0.0, f64::max)));
    let summary = Summary::of(&ends, TOKENS);
    assert_eq!((summary.requests, summary.failed, summary.cached, summary.short), (10, 0, 0, 0));
    let median = summary.times(Metric::TtftP50).quantile(Metric::TtftP50, Confidence::P95).unwrap();
    assert!(0.08 <= median.lower && median.lower <= median.value && median.value <= median.upper);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_request_waits_for_no_other_does() {
    let world = World::new(|nth| if nth == 3 { Reply::Tokens(ms(1500), ms(0)) } else { SOON }).await;
    let ends = world.ends(20, 50.0).await;
    let slow: Vec<&Ended> = ends.iter().filter(|ended| timing(ended).total >= 1.5).collect();
    assert_eq!(slow.len(), 1);
    let others = ends.iter().map(|ended| timing(ended).total).filter(|total| *total < 1.5);
    assert!(others.fold(0.0, f64::max) < 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wait_in_line_of_a_gateway_that_answers_one_at_a_time_is_seen() {
    let world = World::new(|_| Reply::InLine(ms(50))).await;
    let ends = world.ends(20, 100.0).await;
    let mut totals: Vec<f64> = ends.iter().map(|ended| timing(ended).total).collect();
    // Twenty take a second, and the last is due after 190 ms. A loop that waits would have found 50 ms each.
    assert!(totals.iter().copied().fold(0.0, f64::max) >= 0.8, "{totals:?}");
    totals.sort_by(f64::total_cmp);
    assert!(totals[9] >= 0.35, "{totals:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_an_error_and_is_not_tried_again() {
    let world = World::new(|nth| match nth {
        0 => Reply::Status(429),
        1 => Reply::Status(503),
        2 => Reply::Status(500),
        _ => SOON,
    })
    .await;
    let ends = world.ends(4, 50.0).await;
    assert_eq!(failure(&ends[0]), &Failure::Refused("429 slow down".to_owned()));
    assert_eq!(failure(&ends[1]), &Failure::Refused("503 slow down".to_owned()));
    assert_eq!(failure(&ends[2]), &Failure::Broken("500 slow down".to_owned()));
    assert!(
        [false, false, true]
            .iter()
            .zip(&ends)
            .all(|(is_lost, ended)| failure(ended).is_lost() == *is_lost)
    );
    // Nor does what was asked of one (`Retry-After: 30`) hold up the next.
    assert!(timing(&ends[3]).total < 5.0);
    assert_eq!(world.requests(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_cut_stands_still_or_never_begins_is_an_error() {
    let mut world = World::new(|nth| match nth {
        0 => Reply::Cut(words(2)),
        1 => Reply::Hang(words(2)),
        2 => Reply::Hang(Vec::new()),
        3 => Reply::Events(words(2)),
        4 => Reply::Events([words(2), vec![LAST.to_owned()]].concat()),
        _ => Reply::Events(Vec::new()),
    })
    .await;
    world.patience = Patience {
        answer: ms(1500),
        token: ms(300),
    };
    let ends = world.ends(6, 50.0).await;
    let why = |nth: usize| failure(&ends[nth]).to_string();
    assert!(why(0).starts_with("the answer broke off: "), "{}", why(0));
    assert_eq!(why(1), "the answer stood still for 0.3 s");
    assert_eq!(why(2), "no whole answer within 1.5 s");
    assert_eq!(why(3), "the answer broke off without its end");
    assert_eq!(timing(&ends[4]).chunks, 2, "one that lacks only the mark of the end is whole");
    assert_eq!(why(5), "the answer broke off without its end");
    assert!([0, 1, 2, 3, 5].iter().all(|nth| failure(&ends[*nth]).is_lost()));
    let summary = Summary::of(&ends, TOKENS);
    assert_eq!((summary.requests, summary.failed), (6, 5));
    assert_eq!(summary.times(Metric::LatencyP95).n(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_not_there_is_an_error_of_each() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::new(&url, None, Pace::default()).unwrap();
    let streams = Streams::of(&client, "m", Patience::default());
    let load = Load::begin(Schedule::new(2, 100.0).unwrap(), Prompts::new(0, "run", 60, 5), streams);
    let ends = ends(load).await;
    assert!(
        ends.iter().all(|ended| matches!(failure(ended), Failure::Unreachable(_))),
        "{ends:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_cache_had_is_told_and_left_out() {
    let world = World::new(|nth| {
        let cached = if nth == 0 { 64 } else { 0 };
        Reply::Events([words(3), ending(cached)].concat())
    })
    .await;
    let ends = world.ends(5, 100.0).await;
    let summary = Summary::of(&ends, TOKENS);
    assert_eq!((summary.requests, summary.cached), (5, 1));
    assert_eq!(summary.times(Metric::TtftP50).n(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_are_under_way_than_may_be_and_what_is_beyond_ends_at_once() {
    let world = World::new(|_| Reply::Hang(Vec::new())).await;
    let mut load = world.load(5, 1000.0).with_at_most(2);
    let mut ends = Vec::new();
    in_time(async {
        while let Some(step) = load.next().await {
            match step {
                Step::Due(request) => load.send(request),
                Step::Ended(ended) => ends.push(ended),
            }
            if ends.len() == 3 {
                load.stop(Duration::ZERO);
            }
        }
    })
    .await;
    assert!(
        ends[..3]
            .iter()
            .all(|ended| failure(ended) == &Failure::NotSent(2) && ended.late.is_none())
    );
    assert_eq!(failure(&ends[0]).to_string(), "not sent: 2 under way");
    let given_up = Failure::Broken("given up: the load was stopped".to_owned());
    assert!(ends.len() == 5 && ends[3..].iter().all(|ended| failure(ended) == &given_up));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_is_stopped_waits_for_what_is_under_way_and_no_longer_than_it_may() {
    let world = World::new(|nth| {
        if nth == 0 {
            Reply::Hang(Vec::new())
        } else {
            Reply::Tokens(ms(300), ms(0))
        }
    })
    .await;
    let mut load = world.load(1000, 10.0);
    let (mut ends, mut offered) = (Vec::new(), 0);
    let begun = Instant::now();
    in_time(async {
        while let Some(step) = load.next().await {
            match step {
                // As when a limit of the run is reached.
                Step::Due(_) if offered == 2 => load.stop(ms(1500)),
                Step::Due(request) => {
                    offered += 1;
                    load.send(request);
                }
                Step::Ended(ended) => ends.push(ended),
            }
        }
    })
    .await;
    ends.sort_by_key(|ended| ended.index);
    assert_eq!(ends.len(), 2);
    assert!(failure(&ends[0]).to_string().starts_with("given up"));
    assert!(timing(&ends[1]).total >= 0.3);
    assert!((1.5..20.0).contains(&begun.elapsed().as_secs_f64()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_sends_late_is_told_and_hides_nothing() {
    let world = World::new(|_| SOON).await;
    let mut load = world.load(10, 100.0);
    let mut ends = Vec::new();
    in_time(async {
        while let Some(step) = load.next().await {
            match step {
                Step::Due(request) => {
                    if request.index == 2 {
                        // A process that stands still: those after it come late too.
                        std::thread::sleep(ms(400));
                    }
                    load.send(request);
                }
                Step::Ended(ended) => ends.push(ended),
            }
        }
    })
    .await;
    ends.sort_by_key(|ended| ended.index);
    for ended in &ends[2..5] {
        assert!(ended.late.unwrap() >= ms(300), "{ended:?}");
        assert!(timing(ended).ttft >= 0.3, "its user has waited too: {ended:?}");
    }
    let why = Summary::of(&ends, TOKENS).invalid().unwrap();
    assert!(why.contains("the evaluation itself was too slow to measure"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_request_before_the_load_has_learned_the_load_keeps_to() {
    let world = World::new(|_| Reply::Without("max_tokens")).await;
    let warm_up = prompts().warm_up();
    assert!(in_time(world.client.ask("team/model", &warm_up)).await.answered.is_ok());
    let ends = world.ends(3, 100.0).await;
    assert!(ends.iter().all(|ended| ended.outcome.is_ok()), "{ends:?}");
    let bodies = world.gateway.bodies.lock().unwrap();
    for body in &bodies[2..] {
        assert_eq!(body["model"], "team/model");
        assert_eq!(
            (&body["max_tokens"], &body["max_completion_tokens"]),
            (&Value::Null, &json!(TOKENS))
        );
        assert_eq!(
            (&body["stream"], &body["stream_options"]),
            (&json!(true), &json!({"include_usage": true}))
        );
    }
    let texts: Vec<&str> = bodies.iter().map(|body| body["messages"][0]["content"].as_str().unwrap()).collect();
    assert!(texts[1..].iter().enumerate().all(|(nth, text)| !texts[1..][..nth].contains(text)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_bear_the_token_of_the_file_and_none_goes_without() {
    let file = std::env::temp_dir().join(format!("portfolio-latency-{}", std::process::id()));
    std::fs::write(&file, "secret\n").unwrap();
    let world = World::with_token(|_| SOON, Some(file.clone())).await;
    assert!(world.ends(1, 1.0).await[0].outcome.is_ok());
    assert_eq!(*world.gateway.tokens.lock().unwrap(), ["Bearer secret"]);
    std::fs::remove_file(&file).unwrap();
    let ends = world.ends(1, 1.0).await;
    assert!(matches!(failure(&ends[0]), Failure::Unreachable(why) if why.contains("cannot be read")));
    assert_eq!(world.requests(), 1);
}

#[tokio::test]
async fn whoever_stops_waiting_for_the_next_step_loses_none() {
    let world = World::new(|_| Reply::Tokens(ms(20), ms(5))).await;
    let mut load = world.load(10, 100.0);
    let mut ends = Vec::new();
    in_time(async {
        loop {
            tokio::select! {
                step = load.next() => match step {
                    Some(Step::Due(request)) => load.send(request),
                    Some(Step::Ended(ended)) => ends.push(ended.index),
                    None => break,
                },
                () = sleep(ms(1)) => {}
            }
        }
    })
    .await;
    ends.sort_unstable();
    assert_eq!(ends, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_load_of_none_is_over_at_once() {
    let world = World::new(|_| SOON).await;
    assert_eq!(world.load(0, 1.0).next().await, None);
}

#[test]
fn ends_are_noted_down_and_read_back() {
    let timing = Timing {
        ttft: 0.25,
        inter_token: None,
        total: 1.5,
        chunks: 3,
        tokens: None,
    };
    for outcome in [Ok(timing), Err(Failure::NotSent(7)), Err(Failure::Refused("429".to_owned()))] {
        let ended = Ended {
            index: 4,
            late: Some(ms(2)),
            outcome,
        };
        let line = serde_json::to_string(&ended).unwrap();
        assert_eq!(serde_json::from_str::<Ended>(&line).unwrap(), ended);
    }
}
