//! An engine that does byte by byte what a test tells it, and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// One thing to do with a connection after a request.
#[derive(Clone, Debug)]
pub(super) enum Do {
    /// Send this text.
    Send(String),
    /// Send these bytes.
    Bytes(Vec<u8>),
    /// The usual answer, plain or streamed as it is asked for.
    Paris,
    /// Send these bytes again and again, for as long as they are taken.
    Flood(String),
    /// Wait until the test adds a permit.
    Wait(Arc<Semaphore>),
    /// Wait until the other side closes.
    Hang,
    /// Close.
    Close,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

/// What an engine has lived through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) requests: usize,
    /// Connections that the other side closed while a request was open.
    pub(super) hung_up: usize,
    pub(super) connections: usize,
    /// How often bytes of a flood were taken.
    pub(super) floods: usize,
}

type Scripts = Arc<Mutex<VecDeque<Vec<Do>>>>;

pub(super) struct Engine {
    pub(super) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// What is done at the next requests; the last of them at all that follow.
    scripts: Scripts,
    counts: watch::Receiver<Counts>,
}

impl Engine {
    /// An engine that follows the same script for every request.
    pub(super) async fn start(script: Vec<Do>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (counts_in, counts) = watch::channel(Counts::default());
        let engine = Self {
            url,
            seen: Arc::default(),
            scripts: Arc::new(Mutex::new([script].into())),
            counts,
        };
        let (seen, scripts) = (engine.seen.clone(), engine.scripts.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counts_in.send_modify(|counts| counts.connections += 1);
                tokio::spawn(serve(stream, seen.clone(), scripts.clone(), counts_in.clone()));
            }
        });
        engine
    }

    /// An address where nobody listens.
    pub(super) async fn nowhere() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    }

    pub(super) fn now_does(&self, script: Vec<Do>) {
        *self.scripts.lock().unwrap() = [script].into();
    }

    /// Does this at one request, before what it did.
    pub(super) fn once_does(&self, script: Vec<Do>) {
        self.scripts.lock().unwrap().push_front(script);
    }

    pub(super) fn requests(&self) -> usize {
        self.counts.borrow().requests
    }

    pub(super) fn floods(&self) -> usize {
        self.counts.borrow().floods
    }

    pub(super) fn connections(&self) -> usize {
        self.counts.borrow().connections
    }

    pub(super) fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().unwrap().clone()
    }

    /// The path of every request.
    pub(super) fn paths(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let path = |seen: &Seen| seen.head.split(' ').nth(1).unwrap_or_default().to_owned();
        seen.iter().map(path).collect()
    }

    /// Waits until the counts are as wanted.
    pub(super) async fn until(&self, wanted: impl Fn(Counts) -> bool) {
        let mut counts = self.counts.clone();
        let waiting = counts.wait_for(|counts| wanted(*counts));
        tokio::time::timeout(Duration::from_secs(30), waiting)
            .await
            .expect("the engine sees it in time")
            .unwrap();
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<Seen>>>, scripts: Scripts, counts: watch::Sender<Counts>) {
    stream.set_nodelay(true).unwrap();
    while let Some(request) = read_request(&mut stream).await {
        let is_streamed = request.body.windows(13).any(|part| part == b"\"stream\":true");
        seen.lock().unwrap().push(request);
        let script: Vec<Do> = {
            let mut scripts = scripts.lock().unwrap();
            if scripts.len() > 1 {
                scripts.pop_front().unwrap()
            } else {
                scripts[0].clone()
            }
        };
        counts.send_modify(|counts| counts.requests += 1);
        let usual = |step| match step {
            Do::Paris if is_streamed => streams(&[WORD, FINISH, DONE]),
            Do::Paris => answers(200, "", CONTENT),
            other => vec![other],
        };
        for step in script.into_iter().flat_map(usual) {
            let is_open = match step {
                Do::Send(bytes) => stream.write_all(bytes.as_bytes()).await.is_ok(),
                Do::Flood(bytes) => loop {
                    if stream.write_all(bytes.as_bytes()).await.is_err() {
                        break false;
                    }
                    counts.send_modify(|counts| counts.floods += 1);
                },
                Do::Bytes(bytes) => stream.write_all(&bytes).await.is_ok(),
                Do::Wait(permits) => tokio::select! {
                    permit = permits.acquire() => { permit.unwrap().forget(); true }
                    _ = stream.read_u8() => false,
                },
                Do::Hang => stream.read_u8().await.is_ok(),
                Do::Paris => true,
                Do::Close => return,
            };
            if !is_open {
                counts.send_modify(|counts| counts.hung_up += 1);
                return;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut body = bytes[end..].to_vec();
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap()
        .parse()
        .unwrap();
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Seen { head, body })
}

pub(super) const CONTENT: &str =
    r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Paris"}}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
pub(super) const OPENING: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
pub(super) const WORD: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Paris\"}}]}\n\n";
const FINISH: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
pub(super) const DONE: &str = "data: [DONE]\n\n";

/// A plain answer.
pub(super) fn answers(status: u16, headers: &str, body: &str) -> Vec<Do> {
    let length = body.len();
    vec![Do::Send(format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
    ))]
}

/// The usual answer.
pub(super) fn paris() -> Vec<Do> {
    vec![Do::Paris]
}

/// The head of a streamed answer.
pub(super) fn stream_head() -> Do {
    Do::Send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_owned())
}

/// A piece of a streamed answer.
pub(super) fn chunk(text: &str) -> Do {
    Do::Send(chunked(text))
}

/// Its bytes.
pub(super) fn chunked(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// A piece of a streamed answer that need not be text.
pub(super) fn chunk_of(bytes: &[u8]) -> Do {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    Do::Bytes(chunk)
}

/// The clean end of a streamed answer.
pub(super) fn stream_end() -> Do {
    Do::Send("0\r\n\r\n".to_owned())
}

/// A whole streamed answer.
pub(super) fn streams(pieces: &[&str]) -> Vec<Do> {
    let mut script = vec![stream_head()];
    script.extend(pieces.iter().map(|piece| chunk(piece)));
    script.push(stream_end());
    script
}
