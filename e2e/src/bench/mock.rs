//! The model that everything is measured in front of: it answers at once, on one thread, with as little work as can be.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval};

use super::payload::{Mode, chat, events};

/// Between two events of a paced stream.
const PACE: Duration = Duration::from_millis(2);
/// Events of a held stream before it goes silent.
const HELD: usize = 4;

/// Answers until ended.
///
/// # Errors
/// When it cannot listen.
pub fn run(listen: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
        let answers: &Answers = Box::leak(Box::new(Answers::new()));
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                // Whoever is gone has no use for an answer.
                serve(stream, answers).await.ok();
            });
        }
    })
}

/// The bytes that are sent, made once.
struct Answers {
    chat: Vec<u8>,
    stream_head: Vec<u8>,
    /// Each event as a chunk.
    chunks: Vec<Vec<u8>>,
}

impl Answers {
    fn new() -> Self {
        let common = "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: mock\r\nx-request-id: req_0123456789abcdef";
        let body = chat();
        let head = format!(
            "{common}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let stream = format!(
            "{common}\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let chunk = |event: String| format!("{:x}\r\n{event}\r\n", event.len()).into_bytes();
        Self {
            chat: [head, body].concat().into_bytes(),
            stream_head: stream.into_bytes(),
            chunks: events().into_iter().map(chunk).collect(),
        }
    }
}

async fn serve(mut stream: TcpStream, answers: &Answers) -> Result<()> {
    let mut bytes = BytesMut::with_capacity(16 << 10);
    while let Some(length) = read_request(&mut stream, &mut bytes).await? {
        let mode = Mode::of(&bytes[..length]);
        bytes.advance(length);
        if mode == Mode::Chat {
            stream.write_all(&answers.chat).await?;
            continue;
        }
        stream.write_all(&answers.stream_head).await?;
        let mut ticks = interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for (at, chunk) in answers.chunks.iter().enumerate() {
            if mode == Mode::Paced {
                ticks.tick().await;
            }
            if mode == Mode::Held && at == HELD {
                stream.read_u8().await?;
            }
            stream.write_all(chunk).await?;
        }
        stream.write_all(b"0\r\n\r\n").await?;
    }
    Ok(())
}

/// Reads a request; its body is what `bytes` then begins with, this many bytes.
async fn read_request(stream: &mut TcpStream, bytes: &mut BytesMut) -> Result<Option<usize>> {
    let (start, length) = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = std::str::from_utf8(&bytes[..end])?.to_ascii_lowercase();
            let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length:"));
            break (end + 4, length.context("a request has a length")?.trim().parse::<usize>()?);
        }
        if stream.read_buf(bytes).await? == 0 {
            return Ok(None);
        }
    };
    bytes.advance(start);
    while bytes.len() < length {
        if stream.read_buf(bytes).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(length))
}
