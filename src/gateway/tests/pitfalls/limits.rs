//! Time, bytes and connections: 4, 7, 9, 12, 13.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::super::drain::{drain, serve, until};
use super::super::engine::{DONE, Do, Engine, OPENING, WORD, chunk, paris, stream_end, stream_head, streams};
use super::super::world::{World, pass, post};
use super::super::{ASK, ONLY_A, STREAM, WEB};
use crate::gateway::Drain;
use crate::gateway::connect::{Connector, Stream};
use crate::gateway::connections::prepared;

#[tokio::test]
async fn pitfall_04_timeouts_of_each_step() {
    const STEP: Duration = Duration::from_secs(5);
    let spec = format!("timeouts: {{firstToken: 18s, idle: 18s, total: 400s}}, {ONLY_A}");
    // Comments and openings are no content, and a model that sends nothing else is not waited for.
    let gate = Arc::new(Semaphore::new(0));
    let mut script = vec![stream_head(), chunk(OPENING)];
    for _ in 0..100 {
        script.extend([Do::Wait(gate.clone()), chunk(": ping\n\n")]);
    }
    let engine = Engine::start(script).await;
    let world = World::over(&[&engine], &spec);
    let pinging = async {
        engine.until(|counts| counts.requests == 1).await;
        loop {
            pass(STEP).await;
            gate.add_permits(1);
            while gate.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
        }
    };
    let answer = tokio::select! {
        answer = world.ask(STREAM) => answer,
        () = pinging => unreachable!("it pings without an end"),
    };
    assert_eq!(answer.status, 504, "{}", answer.text);
    assert!(answer.error().1.contains("sent nothing within 18s"));
    // What takes long in all, and never long for the next word, or the next sign of life, is whole.
    let pieces = [WORD, ": ping\n\n", WORD, ": ping\n\n", WORD, WORD, WORD, DONE];
    let gate = Arc::new(Semaphore::new(0));
    let mut script = vec![stream_head(), chunk(WORD)];
    for piece in pieces {
        script.extend([Do::Wait(gate.clone()), chunk(piece)]);
    }
    script.push(stream_end());
    let engine = Engine::start(script).await;
    let world = World::over(&[&engine], &spec);
    let mut body = world.call(post(&WEB, STREAM)).await.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), WORD);
    for piece in pieces {
        let mut next = std::pin::pin!(body.frame());
        assert!(futures::poll!(&mut next).is_pending());
        pass(3 * STEP).await;
        assert!(futures::poll!(&mut next).is_pending());
        gate.add_permits(1);
        assert_eq!(next.await.unwrap().unwrap().into_data().unwrap(), piece);
    }
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn pitfall_07_rolling_updates_that_cut_streams() {
    let engine = Engine::start(vec![stream_head(), chunk(WORD), Do::Hang]).await;
    let world = World::over(&[&engine], ONLY_A);
    let served = serve(
        &world,
        Drain {
            announce: Duration::from_millis(700),
            ..drain(Duration::from_millis(700))
        },
    )
    .await;
    let mut open = served.send(STREAM).await;
    until(&mut open, "Paris").await;
    served.stop.cancel();
    while world.get("/readyz", &[]).await.status != 503 {
        tokio::task::yield_now().await;
    }
    // Balancers learn it late: who still comes is answered, and sent elsewhere for the next request.
    engine.now_does(paris());
    let mut late = served.send(ASK).await;
    let answer = until(&mut late, "Paris").await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.to_ascii_lowercase().contains("connection: close"),
        "{answer}"
    );
    let end = until(&mut open, "0\r\n\r\n").await;
    assert!(end.contains("the gateway is shutting down") && !end.contains("[DONE]"), "{end}");
    served.ended().await;
}

#[tokio::test]
async fn pitfall_09_bodies_larger_than_a_usual_limit() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], ONLY_A);
    let large = ASK.replace("France", &"x".repeat(24 << 20));
    let answer = world.ask(&large).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(engine.last().body.len(), large.len() - "assistant".len() + "a".len());
    let answer = world.ask(&ASK.replace("France", &"x".repeat(33 << 20))).await;
    assert_eq!((answer.status.as_u16(), answer.error().0.as_str()), (413, "request_too_large"));
    assert_eq!(engine.requests(), 1);
}

/// An engine that writes one stream as fast as it is taken, and counts.
async fn pouring() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = [0; 4096];
        let _ = stream.read(&mut asked).await.unwrap();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let event = format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
            "x".repeat(16 << 10)
        );
        let event = format!("{:x}\r\n{event}\r\n", event.len());
        while stream.write_all(event.as_bytes()).await.is_ok() {
            count.fetch_add(event.len(), Ordering::Relaxed);
        }
    });
    (url, written)
}

#[tokio::test]
async fn pitfall_12_slow_clients_that_fill_memory() {
    let (url, written) = pouring().await;
    let world = World::new();
    world.pod("a", &[&url]);
    world.route(ONLY_A);
    let served = serve(&world, Drain::default()).await;
    let mut client = served.send(STREAM).await;
    until(&mut client, "HTTP/1.1 200").await;
    // Until nothing more fits into the sockets, of which the system has two pairs.
    let mut before = usize::MAX;
    while before != written.load(Ordering::Relaxed) {
        before = written.load(Ordering::Relaxed);
        sleep(Duration::from_millis(700)).await;
    }
    assert!(before < 32 << 20, "the engine was not held back: {before} bytes");
    let mut taken = 0;
    let mut room = vec![0; 1 << 20];
    while taken < before + (8 << 20) {
        taken += client.read(&mut room).await.unwrap();
    }
    assert!(written.load(Ordering::Relaxed) > before, "it goes on when the client does");
    served.task.abort();
}

#[tokio::test]
async fn pitfall_13_connections_that_are_shared_or_slow() {
    // More streams at once than one HTTP/2 connection has: none waits for another.
    const STREAMS: usize = 150;
    let gate = Arc::new(Semaphore::new(0));
    let engine = Engine::start(vec![stream_head(), chunk(WORD), Do::Wait(gate.clone()), chunk(DONE), stream_end()]).await;
    let world = World::over(&[&engine], ONLY_A);
    let begun = futures::future::join_all((0..STREAMS).map(|_| world.call(post(&WEB, STREAM)))).await;
    let mut bodies: Vec<_> = begun.into_iter().map(http::Response::into_body).collect();
    for body in &mut bodies {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), WORD);
    }
    assert_eq!((engine.requests(), engine.connections()), (STREAMS, STREAMS));
    gate.add_permits(STREAMS);
    for body in bodies {
        assert_eq!(body.collect().await.unwrap().to_bytes(), DONE);
    }
    // Connections that were read to their end serve the next requests.
    engine.now_does(streams(&[WORD, DONE]));
    for _ in 0..5 {
        assert!(world.ask(STREAM).await.is_whole);
    }
    assert_eq!(engine.connections(), STREAMS);
    // Small pieces go at once, to models and to clients.
    let connector = Connector::trusting(rustls::RootCertStore::empty());
    let connected = connector.connect(&engine.url.parse().unwrap(), Duration::from_secs(5)).await;
    let Ok(Stream::Plain(tcp)) = connected else {
        panic!("the engine speaks no TLS");
    };
    assert!(tcp.nodelay().unwrap());
    // Models that are gone are noticed within a minute, whether or not something is sent.
    let socket = socket2::SockRef::from(&tcp);
    assert!(socket.keepalive().unwrap());
    let times = (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap());
    assert_eq!(
        (times.0.as_secs(), times.1.as_secs(), socket.tcp_keepalive_retries().unwrap()),
        (30, 10, 3)
    );
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(60)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let (accepted, _) = accepted.unwrap();
    assert!(!accepted.nodelay().unwrap(), "the system's default");
    assert!(prepared(accepted, Duration::from_secs(60)).unwrap().nodelay().unwrap());
    drop(client);
}
