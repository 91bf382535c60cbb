//! Clients that ask again as soon as they are answered, each on a connection that it keeps, on one thread with as little work as can be.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::payload::FIRST_WORD;

/// Nothing that is measured takes this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked, by how many at once.
pub(super) struct Load {
    pub(super) address: SocketAddr,
    pub(super) request: Vec<u8>,
    pub(super) connections: usize,
    pub(super) time: Duration,
}

/// What it took.
pub(super) struct Measured {
    /// Until an answer was whole, of each, in nanoseconds.
    pub(super) whole: Vec<u64>,
    /// Until its first content.
    pub(super) first: Vec<u64>,
    pub(super) elapsed: Duration,
    /// By the clock that was given.
    pub(super) cpu: Duration,
}

impl Load {
    /// Runs it on this thread; `cpu` is read when all are connected and have been answered once, and at the end.
    pub(super) fn run(&self, cpu: impl Fn() -> Result<Duration>) -> Result<Measured> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let connected = (0..self.connections).map(|_| async {
                let mut client = Client::connect(self.address).await?;
                client.ask(&self.request).await?;
                anyhow::Ok(client)
            });
            let clients = futures::future::try_join_all(connected).await?;
            let (before, began) = (cpu()?, Instant::now());
            let until = began + self.time;
            let mut tasks = Vec::new();
            for mut client in clients {
                let request = self.request.clone();
                tasks.push(tokio::spawn(async move {
                    let mut times = Vec::new();
                    while Instant::now() < until {
                        times.push(client.ask(&request).await?);
                    }
                    anyhow::Ok(times)
                }));
            }
            let mut times = Vec::new();
            for task in tasks {
                times.extend(task.await??);
            }
            let (elapsed, cpu) = (began.elapsed(), cpu()?.saturating_sub(before));
            let (first, whole) = times.into_iter().unzip();
            Ok(Measured {
                whole,
                first,
                elapsed,
                cpu,
            })
        })
    }
}

/// One connection.
pub(super) struct Client {
    stream: TcpStream,
    bytes: BytesMut,
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            bytes: BytesMut::with_capacity(64 << 10),
        })
    }

    /// Asks once; the nanoseconds to the first content of the answer and to its end.
    pub(super) async fn ask(&mut self, request: &[u8]) -> Result<(u64, u64)> {
        let began = Instant::now();
        self.stream.write_all(request).await?;
        self.bytes.clear();
        let (start, length) = self.head().await?;
        let mut first = None;
        loop {
            let body = &self.bytes[start..];
            if first.is_none() && has_content(body, length.is_none()) {
                first = Some(began.elapsed());
            }
            let is_whole = match length {
                Some(length) => body.len() >= length,
                None => body.ends_with(b"\r\n0\r\n\r\n"),
            };
            if is_whole {
                break;
            }
            self.more().await?;
        }
        if length.is_none() {
            let tail = &self.bytes[self.bytes.len().saturating_sub(64)..];
            ensure!(tail.windows(6).any(|w| w == b"[DONE]"), "a stream did not end with [DONE]");
        }
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Ok((nanoseconds(first.unwrap_or_default()), nanoseconds(began.elapsed())))
    }

    /// Asks, and reads until so much of the body has come.
    pub(super) async fn begin(&mut self, request: &[u8], bytes: usize) -> Result<()> {
        self.stream.write_all(request).await?;
        self.bytes.clear();
        let (start, _) = self.head().await?;
        while self.bytes.len() < start + bytes {
            self.more().await?;
        }
        Ok(())
    }

    /// The head and body of the last answer.
    pub(super) fn answer(&self) -> Result<(&str, &str)> {
        let text = std::str::from_utf8(&self.bytes)?;
        text.split_once("\r\n\r\n").context("an answer has a head")
    }

    /// Reads the head of an answer: where its body begins, and its length unless it comes in chunks.
    async fn head(&mut self) -> Result<(usize, Option<usize>)> {
        let end = loop {
            if let Some(end) = self.bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            self.more().await?;
        };
        let head = std::str::from_utf8(&self.bytes[..end])?;
        if !head.starts_with("HTTP/1.1 200") {
            bail!("an answer is not as it should be: {}", String::from_utf8_lossy(&self.bytes));
        }
        for line in head.split("\r\n").skip(1) {
            let (name, value) = line.split_once(':').context("a header has a name")?;
            if name.eq_ignore_ascii_case("content-length") {
                return Ok((end + 4, Some(value.trim().parse()?)));
            }
        }
        Ok((end + 4, None))
    }

    async fn more(&mut self) -> Result<()> {
        if self.bytes.capacity() == self.bytes.len() {
            self.bytes.reserve(64 << 10);
        }
        let read = self.stream.read_buf(&mut self.bytes).await?;
        ensure!(
            read > 0,
            "the connection closed before the end: {}",
            String::from_utf8_lossy(&self.bytes)
        );
        Ok(())
    }
}

/// Whether content has come: of a stream its first word, since what opens it says nothing.
fn has_content(body: &[u8], is_streamed: bool) -> bool {
    let word = FIRST_WORD.as_bytes();
    if is_streamed {
        body.windows(word.len()).any(|at| at == word)
    } else {
        !body.is_empty()
    }
}

/// Runs something that must end.
pub(super) async fn in_time<T>(what: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, what).await.context("nothing came in time")?
}
