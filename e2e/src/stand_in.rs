//! A stand-in for vLLM over several pods, where there are no accelerators for it. It takes the same arguments and behaves the same as far as
//! a cluster sees it: the leader listens for its workers, answers requests only once all have joined, and ends when one is lost; a worker
//! joins the leader that it is told, serves nothing, and ends with it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::until;

/// Where vLLM's leader listens for its workers.
const RENDEZVOUS: u16 = 29501;
/// How long a worker looks for its leader.
const JOINS: Duration = Duration::from_secs(120);

/// What it was told.
struct Told<'a>(&'a [String]);

impl<'a> Told<'a> {
    fn value(&self, flag: &str) -> Option<&'a str> {
        let at = self.0.iter().rposition(|argument| argument == flag)?;
        self.0.get(at + 1).map(String::as_str)
    }

    fn number(&self, flag: &str, default: u8) -> Result<u8> {
        let value = self.value(flag);
        value.map_or(Ok(default), |value| value.parse().with_context(|| format!("{flag} {value}")))
    }
}

/// Runs until it is told to end, or loses one of the others.
pub async fn run(arguments: &[String]) -> Result<()> {
    let told = Told(arguments);
    let mut ended = signal(SignalKind::terminate())?;
    tokio::select! {
        done = serve(&told) => done,
        _ = ended.recv() => Ok(()),
    }
}

async fn serve(told: &Told<'_>) -> Result<()> {
    let (nodes, rank) = (told.number("--nnodes", 1)?, told.number("--node-rank", 0)?);
    let is_headless = told.0.iter().any(|argument| argument == "--headless");
    ensure!(is_headless == (rank > 0), "rank {rank} of {nodes}, headless: {is_headless}");
    if rank > 0 {
        return join(told.value("--master-addr").context("no --master-addr")?, rank).await;
    }
    let workers = gather(nodes).await?;
    let port: u16 = told.value("--port").context("no --port")?.parse()?;
    let chat = post(async || Json(answer()));
    let app = Router::new().route("/health", get(async || "")).route("/v1/chat/completions", chat);
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    eprintln!("serving with {nodes} nodes on {port}");
    tokio::select! {
        done = axum::serve(listener, app) => done.context("serving"),
        lost = lost(workers) => lost,
    }
}

/// Waits until every worker has joined.
async fn gather(nodes: u8) -> Result<Vec<TcpStream>> {
    let listener = TcpListener::bind(("0.0.0.0", RENDEZVOUS)).await?;
    let mut missing: BTreeSet<u8> = (1..nodes).collect();
    let mut workers = vec![];
    while !missing.is_empty() {
        let (mut worker, from) = listener.accept().await?;
        let rank = worker.read_u8().await?;
        ensure!(missing.remove(&rank), "rank {rank} of {from} is none of {missing:?}");
        eprintln!("rank {rank} joined from {from}");
        workers.push(worker);
    }
    Ok(workers)
}

/// Joins the leader, and waits until it is gone.
async fn join(leader: &str, rank: u8) -> Result<()> {
    let mut connection = until("the leader takes it", JOINS, async || {
        let connected = TcpStream::connect((leader, RENDEZVOUS)).await;
        connected.map(Some).with_context(|| format!("joining {leader}"))
    })
    .await?;
    connection.write_u8(rank).await?;
    eprintln!("joined {leader} as rank {rank}");
    gone(connection).await;
    bail!("the leader {leader} is gone")
}

async fn lost(workers: Vec<TcpStream>) -> Result<()> {
    if workers.is_empty() {
        return std::future::pending().await;
    }
    let mut waits: JoinSet<()> = workers.into_iter().map(gone).collect();
    waits.join_next().await;
    bail!("a worker is gone")
}

/// Waits for the end of a connection on which nothing comes.
async fn gone(mut connection: TcpStream) {
    // Closed and broken are the same here.
    connection.read_u8().await.ok();
}

fn answer() -> Value {
    json!({
        "id": "stand-in", "object": "chat.completion", "created": 0, "model": "stand-in",
        "choices": [{ "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": "Here we are." } }],
        "usage": { "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2 },
    })
}
