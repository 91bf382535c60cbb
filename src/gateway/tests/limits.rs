//! Nothing that comes from outside makes the gateway grow without bound: connections, requests, heads, answers, and clients that are slow.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::engine::{CONTENT, DONE, Do, Engine, WORD, answers, chunk, chunked, paris, stream_end, stream_head};
use super::world::{Answer, World, pass, post};
use super::{ASK, ONLY_A, STREAM, WEB};
use crate::gateway::{Drain, run};

struct Served {
    address: std::net::SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(world: &World) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(run(listener, world.gateway.clone(), CancellationToken::new(), Drain::default()));
    Served { address, task }
}

/// Everything up to the end of one plain answer.
async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if let (Some((_, body)), Some(length)) = (text.split_once("\r\n\r\n"), length)
            && body.len() >= length
        {
            return text;
        }
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read_buf(&mut bytes)).await;
        if read.expect("it comes in time").unwrap() == 0 {
            return text;
        }
    }
}

fn asking(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer claims.x.web\r\ncontent-length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn heads_are_bounded_in_size_and_count() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], ONLY_A);
    let served = serve(&world).await;
    let cases = [
        ("a usual one", "x-a: b\r\n".repeat(50), "200"),
        ("too many headers", "x-a: b\r\n".repeat(200), "431"),
        ("a header that is too long", format!("x-a: {}\r\n", "b".repeat(300_000)), "431"),
        ("no header", "x-a\r\n".to_owned(), "400"),
        ("two lengths", "content-length: 7\r\n".to_owned(), "400"),
    ];
    for (name, headers, status) in cases {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let request = asking("/v1/chat/completions", ASK).replacen("host: x\r\n", &format!("host: x\r\n{headers}"), 1);
        // It may be refused before all of it is written.
        stream.write_all(request.as_bytes()).await.ok();
        let answer = answer(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer}");
    }
    assert_eq!(engine.requests(), 1);
}

#[tokio::test]
async fn a_connection_too_many_is_told_so_and_closed_while_probes_go_on() {
    let engine = Engine::start(paris()).await;
    let world = World::with(|options| options.max_connections = 1);
    world.pod("a", &[&engine.url]);
    world.route(ONLY_A);
    let served = serve(&world).await;
    let mut first = TcpStream::connect(served.address).await.unwrap();
    first.write_all(asking("/v1/chat/completions", ASK).as_bytes()).await.unwrap();
    assert!(answer(&mut first).await.starts_with("HTTP/1.1 200 "));

    for (path, shape) in [("/v1/chat/completions", "{\"error\":{"), ("/v1/messages", "{\"type\":\"error\"")] {
        let mut second = TcpStream::connect(served.address).await.unwrap();
        second.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert!(answer(&mut second).await.starts_with("HTTP/1.1 200 "));
        second.write_all(asking(path, ASK).as_bytes()).await.unwrap();
        let told = answer(&mut second).await;
        assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
        for part in [
            "retry-after: 1\r\n",
            "connection: close\r\n",
            "x-request-id: ",
            shape,
            "as many connections as it may",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert_eq!(second.read(&mut [0; 8]).await.unwrap(), 0);
    }
    // The one that is served goes on, and leaves its place to another.
    first.write_all(asking("/v1/chat/completions", ASK).as_bytes()).await.unwrap();
    assert!(answer(&mut first).await.starts_with("HTTP/1.1 200 "));
    drop(first);
    let served_again = async {
        loop {
            let mut next = TcpStream::connect(served.address).await.unwrap();
            next.write_all(asking("/v1/chat/completions", ASK).as_bytes()).await.unwrap();
            if answer(&mut next).await.starts_with("HTTP/1.1 200 ") {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), served_again).await.unwrap();
}

/// The outcome of what waits for its time to be over, without the wait.
async fn hurried<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(outcome) = futures::poll!(&mut future) {
            return outcome;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_millis(100)).await;
        tokio::time::resume();
    }
}

#[tokio::test]
async fn answers_that_are_held_take_room_and_give_it_back() {
    let large = format!(
        r#"{{"id":"c","choices":[{{"index":0,"message":{{"role":"assistant","content":"{}"}},"finish_reason":"stop"}}]}}"#,
        "x".repeat(300_000)
    );
    let engine = Engine::start(answers(200, "", &large)).await;
    let small = World::with(|options| options.max_body_bytes_together = 256 << 10);
    small.pod("a", &[&engine.url]);
    small.route(ONLY_A);
    // It passes as it comes where it need not be held.
    let answer = small.ask(ASK).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text.len(), answer.is_whole),
        (200, large.len(), true)
    );
    let message = r#"{"model":"assistant","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#;
    let answer = hurried(small.ask_at("/v1/messages", message)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after")),
        (503, "1"),
        "{}",
        answer.text
    );
    assert!(
        answer.text.contains("overloaded_error") && answer.text.contains("no room for"),
        "{}",
        answer.text
    );

    // As it is read and written it takes more than its bytes; once it is written, no more than they are.
    let world = World::with(|options| options.max_body_bytes_together = 1400 << 10);
    world.pod("a", &[&engine.url]);
    world.route(ONLY_A);
    for _ in 0..5 {
        let answer = world.ask_at("/v1/messages", message).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.text.len() > 300_000);
    }
    // While a client has not taken the end of its answer, the room is not free.
    let mut request = post(&WEB, message);
    *request.uri_mut() = "/v1/messages".parse().unwrap();
    let waiting = world.call(request).await;
    assert_eq!(hurried(world.ask_at("/v1/messages", message)).await.status, 503);
    assert_eq!(Answer::read(waiting).await.status, 200);
    assert_eq!(world.ask_at("/v1/messages", message).await.status, 200);
}

#[tokio::test]
async fn a_request_that_is_written_anew_takes_room_for_all_that_is_made_of_it() {
    const LARGE: usize = 200_000;
    let same = ASK.replace("France", &"x".repeat(LARGE));
    let other = format!(
        r#"{{"model":"assistant","max_tokens":9,"messages":[{{"role":"user","content":"{}"}}]}}"#,
        "x".repeat(LARGE)
    );
    let gate = Arc::new(Semaphore::new(0));
    let mut script = vec![Do::Wait(gate.clone())];
    script.extend(paris());
    let engine = Engine::start(script).await;
    let with_room = |bytes| {
        let world = World::with(|options| options.max_body_bytes_together = bytes);
        world.pod("a", &[&engine.url]);
        world.route(ONLY_A);
        world
    };
    // Never more than there is for all: it would not help to come back.
    let small = with_room(3 * LARGE);
    let answer = small.ask_at("/v1/messages", &other).await;
    assert_eq!(answer.status, 413, "{}", answer.text);
    assert!(answer.text.contains("--max-body-memory"), "{}", answer.text);
    gate.add_permits(1);
    assert_eq!(small.ask(&same).await.status, 200, "its bytes pass, and are all there is");
    // Not two at once where there is room for one, though both are less than that as they came.
    let world = with_room(7 * LARGE);
    let first = world.ask_at("/v1/messages", &other);
    let second = async {
        engine.until(|counts| counts.requests == 2).await;
        let second = hurried(world.ask_at("/v1/messages", &other)).await;
        gate.add_permits(1);
        second
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 503), "{}", second.text);
    assert_eq!((second.header("retry-after"), engine.requests()), ("1", 2));
    gate.add_permits(1);
    assert_eq!(world.ask_at("/v1/messages", &other).await.status, 200, "the room is free again");
}

#[tokio::test]
async fn the_opening_of_a_stream_is_held_back_while_there_is_room_for_it() {
    let opening = |bytes| {
        let text = "x".repeat(bytes);
        format!("data: {{\"choices\":[{{\"delta\":{{\"role\":\"assistant\",\"content\":\"\"}}}}],\"note\":\"{text}\"}}\n\n")
    };
    let asked = STREAM.replace("[]", &format!(r#"[{{"role":"user","content":"{}"}}]"#, "x".repeat(100_000)));
    for (bytes, status) in [(90_000, 502), (200_000, 200)] {
        let engine = Engine::start(vec![stream_head(), chunk(&opening(bytes)), Do::Close]).await;
        let world = World::with(|options| options.max_body_bytes_together = 256 << 10);
        world.pod("a", &[&engine.url]);
        world.route(ONLY_A);
        // What is shown can no longer move to another model.
        assert_eq!(world.ask(&asked).await.status, status, "{bytes}");
    }
}

#[tokio::test]
async fn a_body_may_take_its_time_while_it_comes_and_no_more_than_that() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], ONLY_A);
    let large = ASK.replace("France", &"x".repeat(20 << 20));
    for (name, body, size, pause, status) in [
        ("by a slow line", large.as_str(), 1 << 20, 10, 200),
        ("with a pause", ASK, 60, 31, 408),
        ("drop by drop", ASK, 1, 1, 408),
    ] {
        let (pieces, incoming) = futures::channel::mpsc::unbounded::<Result<Bytes, std::io::Error>>();
        let request = post(&WEB, "").map(|_| Body::from_stream(incoming));
        let mut asking = std::pin::pin!(world.call(request));
        let mut answered = None;
        for piece in body.as_bytes().chunks(size) {
            // Nobody takes them any more where the request was refused.
            pieces.unbounded_send(Ok(Bytes::copy_from_slice(piece))).ok();
            if let Poll::Ready(response) = futures::poll!(&mut asking) {
                answered = Some(response);
                break;
            }
            pass(Duration::from_secs(pause)).await;
            if let Poll::Ready(response) = futures::poll!(&mut asking) {
                answered = Some(response);
                break;
            }
        }
        drop(pieces);
        let response = match answered {
            Some(response) => response,
            None => asking.await,
        };
        let answer = Answer::read(response).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text);
        if status == 408 {
            assert_eq!(answer.error().0, "request_timeout", "{name}");
        }
    }
    assert_eq!(engine.requests(), 1);
}

#[tokio::test]
async fn a_whole_answer_is_in_flight_until_it_is_sent() {
    let engine = Engine::start(paris()).await;
    let world = World::with(|options| options.max_requests = 1);
    world.pod("a", &[&engine.url]);
    world.route(ONLY_A);
    let waiting = world.call(post(&WEB, ASK)).await;
    assert_eq!(world.ask(ASK).await.error().0, "overloaded");
    assert_eq!(Answer::read(waiting).await.text, CONTENT);
    engine.now_does(answers(400, "", r#"{"error":{"message":"no","type":"invalid_request_error"}}"#));
    let refused = world.call(post(&WEB, ASK)).await;
    assert_eq!(refused.status(), 400);
    assert_eq!(world.ask(ASK).await.status, 503);
    drop(refused);
    assert_eq!(world.ask(ASK).await.status, 400);
}

#[tokio::test]
async fn the_time_for_a_request_ends_even_if_its_client_takes_nothing() {
    let engine = Engine::start(vec![stream_head(), chunk(WORD), Do::Hang]).await;
    let world = World::with(|options| options.max_requests = 1);
    world.pod("a", &[&engine.url]);
    world.route(&format!("timeouts: {{total: 60s}}, {ONLY_A}"));
    let mut body = world.call(post(&WEB, STREAM)).await.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), WORD);
    pass(Duration::from_secs(59)).await;
    assert_eq!(world.ask(ASK).await.status, 503, "it is in flight");
    pass(Duration::from_secs(2)).await;
    engine.until(|counts| counts.hung_up == 1).await;
    engine.now_does(paris());
    assert_eq!(world.ask(ASK).await.status, 200, "its turn is another's");
    let told = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("the time for the whole request is over"), "{told}");
    assert!(body.frame().await.is_none());
    let line = "portfolio_gateway_broken_answers_total{model=\"claims/a\",outcome=\"out_of_time\"}";
    drop(body);
    assert_eq!(world.metric(line).await as u32, 1);
}

#[tokio::test]
async fn a_client_that_takes_its_time_is_not_taken_for_a_model_that_stopped() {
    let gate = Arc::new(Semaphore::new(0));
    let engine = Engine::start(vec![stream_head(), chunk(WORD), Do::Wait(gate.clone()), chunk(DONE), stream_end()]).await;
    let world = World::over(&[&engine], &format!("timeouts: {{idle: 20s, total: 1h}}, {ONLY_A}"));
    let mut body = world.call(post(&WEB, STREAM)).await.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), WORD);
    pass(Duration::from_secs(60)).await;
    {
        let mut next = std::pin::pin!(body.frame());
        assert!(futures::poll!(&mut next).is_pending(), "the model has its time from now on");
        pass(Duration::from_secs(10)).await;
        assert!(futures::poll!(&mut next).is_pending());
        gate.add_permits(1);
        assert_eq!(next.await.unwrap().unwrap().into_data().unwrap(), DONE);
    }
    // And no longer than that.
    engine.now_does(vec![stream_head(), chunk(WORD), Do::Hang]);
    let mut body = world.call(post(&WEB, STREAM)).await.into_body();
    body.frame().await.unwrap().unwrap();
    let mut next = std::pin::pin!(body.frame());
    assert!(futures::poll!(&mut next).is_pending());
    pass(Duration::from_secs(21)).await;
    let told = next.await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&told).contains("the model stopped in the middle"));
}

#[tokio::test]
async fn a_slow_client_slows_its_model() {
    let event = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
        "x".repeat(60_000)
    );
    let engine = Engine::start(vec![stream_head(), chunk(WORD), Do::Flood(chunked(&event))]).await;
    let world = World::over(&[&engine], ONLY_A);
    let served = serve(&world).await;
    let mut client = TcpStream::connect(served.address).await.unwrap();
    client.write_all(asking("/v1/chat/completions", STREAM).as_bytes()).await.unwrap();
    let stands_still = async || {
        let mut before = usize::MAX;
        while before != engine.floods() || before == 0 {
            before = engine.floods();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        before
    };
    let sent = stands_still().await;
    // Two connections' buffers of the system, of up to some ten megabytes each, and what lies between.
    assert!(sent < 700, "{sent} × 60 kB");
    let mut taken = 0;
    let mut bytes = vec![0; 1 << 16];
    while taken < 2 * sent * 60_000 {
        taken += client.read(&mut bytes).await.unwrap();
    }
    assert!(engine.floods() > sent, "it goes on with its client");
    drop(client);
    engine.until(|counts| counts.hung_up == 1).await;
}

#[tokio::test]
async fn a_stream_that_never_pauses_still_ends_in_time() {
    let engine = Engine::start(vec![stream_head(), chunk(WORD), Do::Flood(chunked(WORD).repeat(500))]).await;
    let world = World::over(&[&engine], &format!("timeouts: {{total: 700ms}}, {ONLY_A}"));
    let mut body = world.call(post(&WEB, STREAM)).await.into_body();
    let mut last = Default::default();
    let all = async {
        while let Some(frame) = body.frame().await {
            last = frame.unwrap().into_data().unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.unwrap();
    let last = String::from_utf8_lossy(&last);
    assert!(last.contains("the time for the whole request is over"), "{last}");
    drop(body);
    engine.until(|counts| counts.hung_up == 1).await;
}

#[tokio::test]
async fn requests_in_flight_are_counted_to_the_end_of_their_answers() {
    let engine = Engine::start(vec![stream_head(), chunk(WORD), Do::Hang]).await;
    let world = Arc::new(World::with(|options| options.max_requests = 3));
    world.pod("a", &[&engine.url]);
    world.route(ONLY_A);
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut body = world.call(post(&WEB, STREAM)).await.into_body();
        body.frame().await.unwrap().unwrap();
        open.push(body);
    }
    assert_eq!(world.ask(ASK).await.status, 503);
    open.pop();
    let body = world.call(post(&WEB, STREAM)).await;
    assert_eq!(body.status(), 200, "one has hung up");
    assert_eq!(world.ask(ASK).await.error().0, "overloaded");
    assert_eq!(engine.requests(), 4, "what is refused reaches no model");
}

#[tokio::test]
async fn a_body_that_is_not_in_the_chunks_it_announces_is_told_as_that() {
    let world = World::over(&[], ONLY_A);
    let served = serve(&world).await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer claims.x.web\r\ntransfer-encoding: chunked\r\n\r\n";
    for body in ["zz\r\n{}\r\n0\r\n\r\n", "2\r\n{}}\r\n0\r\n\r\n", "-1\r\n{}\r\n0\r\n\r\n"] {
        let mut client = TcpStream::connect(served.address).await.unwrap();
        client.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let said = answer(&mut client).await;
        assert!(said.starts_with("HTTP/1.1 400 "), "{body:?}: {said}");
        assert!(said.contains("correct their sizes"), "{body:?}: {said}");
        assert!(said.contains("\"type\":\"invalid_request_error\""), "{body:?}: {said}");
    }
}
