//! The client against servers that do byte by byte what a test tells them, and its parsers against anything.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Uri};
use http_body_util::BodyExt;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::framing::Framing;
use super::*;

/// A server whose connections each send these, one after each request; then they close.
struct Server {
    listener: TcpListener,
    uri: Uri,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/v1/chat", listener.local_addr().unwrap()).parse().unwrap();
        Self { listener, uri }
    }

    /// A connection from this pool or a fresh one, and the server's end of a fresh one.
    async fn connect(&self, pool: &Pool) -> (Connection, Option<TcpStream>) {
        let origin = Origin::of(&self.uri).unwrap();
        if let Some(idle) = pool.take(&origin).await {
            return (idle, None);
        }
        let client = TcpStream::connect(self.listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = self.listener.accept().await.unwrap();
        (Connection::new(Stream::Plain(client), pool.home(origin)), Some(server))
    }

    fn request(&self, body: &'static str) -> Request<Bytes> {
        Request::post(self.uri.clone())
            .header("x-a", "b")
            .body(Bytes::from_static(body.as_bytes()))
            .unwrap()
    }

    /// One request on a fresh connection, answered with these bytes; then the connection closes.
    async fn once(&self, pool: &Pool, answer: &str) -> Result<(http::response::Parts, Vec<u8>), Error> {
        let (connection, server) = self.connect(pool).await;
        let mut server = server.expect("a fresh connection");
        server.write_all(answer.as_bytes()).await.unwrap();
        server.shutdown().await.unwrap();
        let (parts, mut body) = exchange(connection, self.request("{}")).await?.into_parts();
        let mut bytes = Vec::new();
        while let Some(piece) = piece(&mut body).await {
            bytes.extend_from_slice(&piece?);
        }
        Ok((parts, bytes))
    }
}

async fn piece(body: &mut Incoming) -> Option<Result<Bytes, Error>> {
    let frame = body.frame().await?;
    Some(frame.map(|frame| frame.into_data().unwrap()))
}

fn pool() -> Pool {
    Pool::new(Duration::from_secs(60))
}

async fn whole(mut body: Incoming) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(piece) = piece(&mut body).await {
        bytes.extend_from_slice(&piece.unwrap());
    }
    bytes
}

async fn asked(server: &mut TcpStream) -> String {
    let mut bytes = vec![0; 4096];
    let count = server.read(&mut bytes).await.unwrap();
    String::from_utf8(bytes[..count].to_vec()).unwrap()
}

#[tokio::test]
async fn a_connection_whose_answer_was_taken_whole_is_used_again() {
    let (server, pool) = (Server::start().await, pool());
    let (connection, end) = server.connect(&pool).await;
    let mut end = end.unwrap();
    let answers = [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nt: u\r\n\r\n",
        "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
    ];
    let mut next = Some(connection);
    for answer in answers {
        let connection = match next.take() {
            Some(first) => first,
            None => pool.take(&Origin::of(&server.uri).unwrap()).await.expect("it is kept"),
        };
        end.write_all(answer.as_bytes()).await.unwrap();
        let (_, body) = exchange(connection, server.request("{}")).await.unwrap().into_parts();
        assert_eq!(whole(body).await, b"ok");
        let host = server.uri.authority().unwrap();
        assert_eq!(
            asked(&mut end).await,
            format!("POST /v1/chat HTTP/1.1\r\nhost: {host}\r\nx-a: b\r\ncontent-length: 2\r\n\r\n{{}}")
        );
    }
}

#[tokio::test]
async fn a_connection_that_cannot_be_trusted_is_not_used_again() {
    let answers = [
        (
            "the other side says so",
            "HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 2\r\n\r\nok",
        ),
        (
            "bytes follow that nobody asked for",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok!",
        ),
        (
            "it says its length twice, in two ways",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        ("of its version", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"),
    ];
    for (why, answer) in answers {
        let (server, pool) = (Server::start().await, pool());
        let (connection, end) = server.connect(&pool).await;
        end.as_ref().unwrap().writable().await.unwrap();
        let mut end = end.unwrap();
        end.write_all(answer.as_bytes()).await.unwrap();
        let (_, body) = exchange(connection, server.request("{}")).await.unwrap().into_parts();
        assert_eq!(whole(body).await, b"ok", "{why}");
        assert!(pool.take(&Origin::of(&server.uri).unwrap()).await.is_none(), "{why}");
    }
}

#[tokio::test]
async fn a_body_dropped_before_its_end_closes_its_connection() {
    let (server, pool) = (Server::start().await, pool());
    let (connection, end) = server.connect(&pool).await;
    let mut end = end.unwrap();
    end.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok").await.unwrap();
    let mut body = exchange(connection, server.request("{}")).await.unwrap().into_body();
    assert_eq!(piece(&mut body).await.unwrap().unwrap(), "ok");
    drop(body);
    asked(&mut end).await;
    assert_eq!(end.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(pool.take(&Origin::of(&server.uri).unwrap()).await.is_none());
}

#[tokio::test]
async fn what_was_read_before_something_that_cannot_be_is_taken_first() {
    let (server, pool) = (Server::start().await, pool());
    let (connection, end) = server.connect(&pool).await;
    let mut end = end.unwrap();
    let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nwhat?";
    end.write_all(answer).await.unwrap();
    let mut body = exchange(connection, server.request("{}")).await.unwrap().into_body();
    assert_eq!(piece(&mut body).await.unwrap().unwrap(), "ok");
    assert!(piece(&mut body).await.unwrap().is_err());
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_is_not_used() {
    let (server, pool) = (Server::start().await, pool());
    let (connection, end) = server.connect(&pool).await;
    let mut end = end.unwrap();
    end.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    let body = exchange(connection, server.request("{}")).await.unwrap().into_body();
    assert!(whole(body).await.is_empty());
    asked(&mut end).await;
    drop(end);
    let origin = Origin::of(&server.uri).unwrap();
    let gone = async {
        // The end of a connection takes a moment to be known.
        while let Some(idle) = pool.take(&origin).await {
            idle.go_home();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
}

#[tokio::test]
async fn idle_connections_are_let_go_after_their_time() {
    let (server, pool) = (Server::start().await, Pool::new(Duration::from_millis(50)));
    let (connection, end) = server.connect(&pool).await;
    connection.go_home();
    let mut end = end.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(30), end.read(&mut [0; 8])).await;
    assert_eq!(closed.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn an_answer_before_the_whole_request_was_taken_is_an_answer() {
    let (server, pool) = (Server::start().await, pool());
    let (connection, end) = server.connect(&pool).await;
    let mut end = end.unwrap();
    // Nobody reads so much; it does not fit into the buffers of the system.
    let body = Bytes::from(vec![b'x'; 64 << 20]);
    let request = Request::post(server.uri.clone()).body(body).unwrap();
    end.write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n")
        .await
        .unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(30), exchange(connection, request)).await;
    assert_eq!(answer.unwrap().unwrap().status(), 413);
    assert!(pool.take(&Origin::of(&server.uri).unwrap()).await.is_none());
}

#[tokio::test]
async fn what_a_broken_answer_is_called_depends_on_where_it_broke() {
    let (server, pool) = (Server::start().await, pool());
    let called = async |answer: &str| match server.once(&pool, answer).await {
        Ok((_, body)) => format!("whole: {}", String::from_utf8(body).unwrap()),
        Err(Error::Dropped(_)) => "dropped".to_owned(),
        Err(Error::Cut(_)) => "cut".to_owned(),
        Err(error) => error.to_string(),
    };
    let cases = [
        ("", "dropped"),
        ("HTTP/1.1 200", "cut"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok", "cut"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n", "cut"),
        ("HTTP/1.1 200 OK\r\n\r\nuntil the end", "whole: until the end"),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\nuntil the end",
            "whole: until the end",
        ),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", "whole: "),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok", "whole: ok"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok", "whole: ok"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
            "the answer is not HTTP: it has two lengths",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
            "the answer is not HTTP: its length is no number",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz",
            "the answer is not HTTP: its chunks cannot be read",
        ),
        (
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "the answer is not HTTP: it has a transfer encoding that its version has not",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "the answer is not HTTP: it switches to another protocol",
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n", "the answer is not HTTP: its head cannot be read"),
    ];
    for (answer, expected) in cases {
        assert_eq!(called(answer).await, expected, "{answer:?}");
    }
    let long = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(70_000));
    assert_eq!(called(&long).await, "the answer is not HTTP: its head is too long");
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(200));
    assert_eq!(called(&many).await, "the answer is not HTTP: it has too many headers");
}

#[test]
fn the_host_is_the_urls_without_credentials_and_implied_port() {
    let cases = [
        ("http://a:80/x?y=z", "/x?y=z", "a"),
        ("https://u:p@a.b/", "/", "a.b"),
        ("https://a:80", "/", "a:80"),
        ("http://[::1]:8000/", "/", "[::1]:8000"),
    ];
    for (url, path, host) in cases {
        let mut head = BytesMut::new();
        let uri: Uri = url.parse().unwrap();
        super::head::write(&mut head, &http::Method::POST, &uri, &http::HeaderMap::new(), 7);
        let expected = format!("POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 7\r\n\r\n");
        assert_eq!(head, expected.as_bytes(), "{url}");
    }
}

/// What is taken from these pieces, and what is left of the last.
fn taken(pieces: &[&[u8]]) -> Result<(Vec<u8>, Vec<u8>, bool), String> {
    let (mut framing, mut bytes, mut data) = (Framing::chunked(), BytesMut::new(), Vec::new());
    for piece in pieces {
        bytes.extend_from_slice(piece);
        if !framing.is_done() {
            data.extend_from_slice(&framing.take(&mut bytes).map_err(|error| error.to_string())?);
            if !framing.is_done() && !bytes.is_empty() {
                return Err(framing.take(&mut bytes).expect_err("only what cannot be read is left").to_string());
            }
        }
    }
    Ok((data, bytes.to_vec(), framing.is_done()))
}

/// The pieces between these places.
fn cut<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
    at.sort_unstable();
    at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect()
}

proptest! {
    #[test]
    fn chunks_are_put_together_wherever_they_are_cut(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
        extension in prop::sample::select(vec!["", ";a=b", " ; q"]),
        trailers in prop::sample::select(vec!["", "a: b\r\n", "a: b\r\nc: \r\n"]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut stream = Vec::new();
        for chunk in &chunks {
            stream.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
            stream.extend_from_slice(chunk);
            stream.extend_from_slice(b"\r\n");
        }
        stream.extend_from_slice(format!("0\r\n{trailers}\r\nrest").as_bytes());
        let (data, rest, is_done) = taken(&cut(&stream, &cuts)).unwrap();
        prop_assert_eq!((data, rest, is_done), (chunks.concat(), b"rest".to_vec(), true));
    }

    #[test]
    fn where_chunks_of_anything_are_cut_changes_nothing(
        parts in prop::collection::vec(prop::sample::select(vec!["0", "1", "f", "\r\n", "\r", "\n", ";", " ", "a", "ffffffffffffffffff", "2\r\nab\r\n"]), 0..30),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let stream = parts.concat().into_bytes();
        prop_assert_eq!(taken(&cut(&stream, &cuts)), taken(&[&stream]));
    }

    #[test]
    fn no_head_breaks_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..400), is_head in any::<bool>()) {
        let start: &[u8] = if is_head { b"HTTP/1.1 200 OK\r\n" } else { b"" };
        let mut bytes = BytesMut::from([start, &bytes].concat().as_slice());
        let before = bytes.len();
        if let Ok(Some(_)) = super::head::read(&mut bytes) {
            prop_assert!(bytes.len() < before);
        }
    }

    #[test]
    fn a_head_is_read_once_it_is_whole(
        values in prop::collection::vec("[ -~]{0,20}", 0..6),
        at in any::<prop::sample::Index>(),
    ) {
        let fields: String = values.iter().map(|value| format!("X-Name: {value}\r\n")).collect();
        let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        let mut bytes = BytesMut::from(&head.as_bytes()[..at.index(head.len())]);
        prop_assert!(super::head::read(&mut bytes).unwrap().is_none());
        let mut bytes = BytesMut::from(format!("{head}body").as_bytes());
        let read = super::head::read(&mut bytes).unwrap().unwrap();
        let found: Vec<_> = read.parts.headers.get_all("x-name").iter().map(|v| v.to_str().unwrap().to_owned()).collect();
        prop_assert_eq!(found, values.iter().map(|v| v.trim_matches(' ').to_owned()).collect::<Vec<_>>());
        prop_assert_eq!(bytes, &b"body"[..]);
    }
}
