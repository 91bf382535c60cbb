//! Stopping, over real sockets.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::engine::{DONE, Do, Engine, WORD, chunk, stream_end, stream_head};
use super::world::World;
use super::{ASK, ONLY_A, STREAM};
use crate::gateway::Drain;
use crate::gateway::connections::Patience;
use crate::gateway::drain::serve as run;

pub(super) struct Served {
    pub(super) address: std::net::SocketAddr,
    pub(super) stop: CancellationToken,
    pub(super) task: JoinHandle<()>,
}

pub(super) async fn serve(world: &World, drain: Drain) -> Served {
    serve_with(world, drain, Patience::default()).await
}

async fn serve_with(world: &World, drain: Drain, patience: Patience) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(run(listener, world.gateway.clone(), stop.clone(), drain, patience));
    Served { address, stop, task }
}

impl Served {
    pub(super) async fn send(&self, body: &str) -> TcpStream {
        self.send_with("", body).await
    }

    /// With more lines of the head.
    pub(super) async fn send_with(&self, lines: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer claims.x.web\r\n";
        stream
            .write_all(format!("{head}{lines}content-length: {}\r\n\r\n{body}", body.len()).as_bytes())
            .await
            .unwrap();
        stream
    }

    pub(super) async fn ended(self) {
        tokio::time::timeout(Duration::from_secs(30), self.task)
            .await
            .expect("it ends in time")
            .unwrap();
    }
}

pub(super) async fn until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains(wanted) {
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read_buf(&mut bytes)).await;
        assert_ne!(read.expect("it comes in time").unwrap(), 0, "{}", String::from_utf8_lossy(&bytes));
    }
    String::from_utf8(bytes).unwrap()
}

pub(super) fn drain(finish: Duration) -> Drain {
    Drain {
        announce: Duration::from_millis(50),
        finish,
    }
}

#[tokio::test]
async fn a_stop_lets_open_streams_end_by_themselves() {
    let gate = Arc::new(Semaphore::new(0));
    let engine = Engine::start(vec![stream_head(), chunk(WORD), Do::Wait(gate.clone()), chunk(DONE), stream_end()]).await;
    let world = World::over(&[&engine], ONLY_A);
    let served = serve(&world, drain(Duration::from_secs(60))).await;
    let mut open = served.send(STREAM).await;
    until(&mut open, "Paris").await;
    served.stop.cancel();
    // Connections are refused once the announcement is over; the stream is still open then.
    while TcpStream::connect(served.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.get("/readyz", &[]).await.status, 503);
    gate.add_permits(1);
    let end = until(&mut open, "0\r\n\r\n").await;
    assert!(end.contains("[DONE]") && !end.contains("error"));
    served.ended().await;
}

#[tokio::test]
async fn a_stream_that_outlasts_the_stop_is_told_so() {
    let engine = Engine::start(vec![stream_head(), chunk(WORD), Do::Hang]).await;
    let world = World::over(&[&engine], ONLY_A);
    let served = serve(&world, drain(Duration::from_millis(50))).await;
    let mut open = served.send(STREAM).await;
    until(&mut open, "Paris").await;
    served.stop.cancel();
    let end = until(&mut open, "0\r\n\r\n").await;
    assert!(end.contains("the gateway is shutting down") && !end.contains("[DONE]"), "{end}");
    served.ended().await;
    engine.until(|counts| counts.hung_up == 1).await;
}

#[tokio::test]
async fn while_a_stop_is_announced_clients_are_served_and_told_to_come_by_another_connection() {
    let engine = Engine::start(super::engine::paris()).await;
    let world = World::over(&[&engine], ONLY_A);
    let long = Drain {
        announce: Duration::from_secs(60),
        finish: Duration::from_secs(60),
    };
    let served = serve(&world, long).await;
    let mut before = served.send(ASK).await;
    assert!(!until(&mut before, "completion_tokens\":1}}").await.contains("connection: close"));
    served.stop.cancel();
    while world.get("/readyz", &[]).await.status != 503 {
        tokio::task::yield_now().await;
    }
    let after = served.send(ASK).await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer claims.x.web\r\n";
    before
        .write_all(format!("{head}content-length: {}\r\n\r\n{ASK}", ASK.len()).as_bytes())
        .await
        .unwrap();
    for mut stream in [before, after] {
        let mut answer = String::new();
        tokio::time::timeout(Duration::from_secs(30), stream.read_to_string(&mut answer))
            .await
            .expect("the connection closes")
            .unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"),
            "{answer}"
        );
    }
    served.task.abort();
}

#[tokio::test]
async fn a_stop_closes_connections_that_are_idle() {
    let engine = Engine::start(super::engine::paris()).await;
    let world = World::over(&[&engine], ONLY_A);
    let served = serve(&world, drain(Duration::from_secs(60))).await;
    let mut idle = served.send(ASK).await;
    until(&mut idle, "completion_tokens\":1}}").await;
    served.stop.cancel();
    let end = tokio::time::timeout(Duration::from_secs(30), idle.read_u8())
        .await
        .expect("it closes");
    assert!(end.is_err());
    served.ended().await;
}

#[tokio::test]
async fn a_plain_answer_that_outlasts_the_stop_is_told_so_too() {
    let engine = Engine::start(vec![Do::Hang]).await;
    let world = World::over(&[&engine], ONLY_A);
    let served = serve(&world, drain(Duration::from_millis(50))).await;
    let mut open = served.send(ASK).await;
    engine.until(|counts| counts.requests == 1).await;
    served.stop.cancel();
    let answer = until(&mut open, "shutting down").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
    served.ended().await;
    engine.until(|counts| counts.hung_up == 1).await;
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_answer_ends_the_models_work() {
    for body in [ASK, STREAM] {
        let engine = Engine::start(vec![Do::Hang]).await;
        let world = World::over(&[&engine], ONLY_A);
        let served = serve(&world, Drain::default()).await;
        let client = served.send(body).await;
        engine.until(|counts| counts.requests == 1).await;
        drop(client);
        engine.until(|counts| counts.hung_up == 1).await;
        served.task.abort();
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_in_the_middle_of_a_stream_ends_the_models_work() {
    let engine = Engine::start(vec![stream_head(), chunk(WORD), Do::Hang]).await;
    let world = World::over(&[&engine], ONLY_A);
    let served = serve(&world, Drain::default()).await;
    let mut client = served.send(STREAM).await;
    until(&mut client, "Paris").await;
    drop(client);
    engine.until(|counts| counts.hung_up == 1).await;
    served.task.abort();
}

#[tokio::test]
async fn a_client_that_never_finishes_the_head_of_its_request_is_let_go() {
    let world = World::new();
    let patience = Patience {
        head: Duration::from_millis(100),
        ..Patience::default()
    };
    let served = serve_with(&world, Drain::default(), patience).await;
    for head in ["", "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"] {
        let mut client = TcpStream::connect(served.address).await.unwrap();
        client.write_all(head.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(30), client.read_to_end(&mut rest)).await;
        end.expect("it is let go in time").unwrap();
    }
    served.task.abort();
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_let_go_and_the_models_work_ends() {
    let event = format!("data: {}\n\n", "x".repeat(60_000));
    let mut script = vec![stream_head()];
    script.extend(std::iter::repeat_n(chunk(&event), 2000));
    let engine = Engine::start(script).await;
    let world = World::over(&[&engine], ONLY_A);
    let patience = Patience {
        take: Duration::from_millis(300),
        ..Patience::default()
    };
    let served = serve_with(&world, Drain::default(), patience).await;
    let client = served.send(STREAM).await;
    engine.until(|counts| counts.hung_up == 1).await;
    drop(client);
    served.task.abort();
}
