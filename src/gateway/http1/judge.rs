//! The parsers of answers against anything, and against hyper: what both take for an answer must be the same one.

use bytes::BytesMut;
use http::Request;
use http_body_util::BodyExt;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::framing::Framing;

/// What is taken of an answer after which the connection closes: its status and its body; and whether it ended with a trailer.
fn by_us(answer: &[u8]) -> Option<((u16, Vec<u8>), bool)> {
    let mut bytes = BytesMut::from(answer);
    let super::head::Head { parts, mut framing, .. } = super::head::read(&mut bytes).ok()??;
    let mut body = Vec::new();
    while !framing.is_done() && !bytes.is_empty() {
        body.extend_from_slice(&framing.take(&mut bytes).ok()?);
    }
    let is_whole = framing.is_done() || framing == Framing::UntilClose;
    let taken = String::from_utf8_lossy(&answer[..answer.len() - bytes.len()]).into_owned();
    let last_line = taken.trim_end().lines().next_back().unwrap_or_default();
    is_whole.then_some(((parts.status.as_u16(), body), last_line.contains(':')))
}

/// The same, by hyper.
async fn by_hyper(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let (client, mut server) = tokio::io::duplex(1 << 20);
    let io = hyper_util::rt::TokioIo::new(client);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
    let request = Request::post("/").header("host", "x").body(String::new()).unwrap();
    let taken = async {
        let response = sender.send_request(request).await.ok()?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.ok()?;
        Some((status, body.to_bytes().to_vec()))
    };
    // An answer that nobody asked for is none.
    let serving = async {
        server.read_u8().await.unwrap();
        server.write_all(answer).await.unwrap();
        server.shutdown().await.unwrap();
    };
    // Whatever hyper says when its connection ends, it has said to the request before.
    let (taken, _, ()) = tokio::join!(taken, connection, serving);
    taken
}

proptest! {
    #[test]
    fn nothing_is_taken_for_an_answer_that_hyper_reads_in_another_way(
        start in prop::sample::select(vec!["HTTP/1.1 200 OK\r\n", "HTTP/1.0 200 OK\r\n", "HTTP/1.1 204 \r\n", "HTTP/1.1 304\r\n", "HTTP/1.1 500 X\r\n", "HTTP/2.0 200\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", "\r\nHTTP/1.1 200 OK\n", "ICY 200 OK\r\n"]),
        fields in prop::collection::vec(prop::sample::select(vec!["content-length: 5\r\n", "Content-Length: 5, 5\r\n", "content-length: 4\r\n", "content-length:\r\n", "content-length: 0x5\r\n", "transfer-encoding: chunked\r\n", "Transfer-Encoding: gzip, CHUNKED \r\n", "transfer-encoding: chunked, gzip\r\n", "transfer-encoding: \r\n", "connection: close\r\n", "a: b\r\n c\r\n", "a : b\r\n", "a\r\n", "x: \u{e9}\n"]), 0..4),
        body in prop::collection::vec(prop::sample::select(vec!["5\r\n", "hello", "\r\n", "0\r\n", "0\r\n\r\n", "05;a=b\r\n", "5 \r\n", "5\n", "\n", "-5\r\n", "a: b\r\n", "ffffffffffffffffff\r\n", "4\r\nhell\r\n", "1\r\no\r\n", ";", "\r"]), 0..8),
        noise in prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut answer = format!("{start}{}\r\n{}", fields.concat(), body.concat()).into_bytes();
        if let Some((at, byte)) = noise {
            let at = at.index(answer.len());
            answer[at] = byte;
        }
        if let Some((ours, has_trailer)) = by_us(&answer) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            match runtime.block_on(by_hyper(&answer)) {
                Some(judged) => prop_assert_eq!(ours, judged, "{}", String::from_utf8_lossy(&answer)),
                // Trailers are dropped here, whatever their values are.
                None => prop_assert!(has_trailer, "{}", String::from_utf8_lossy(&answer)),
            }
        }
    }

    #[test]
    fn no_bytes_make_a_body_larger_than_they_are(
        chunked in any::<bool>(),
        pieces in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'0'), Just(b'5'), Just(b'\r'), Just(b'\n'), Just(b';'), any::<u8>()], 0..60), 0..8),
    ) {
        let mut framing = if chunked { Framing::chunked() } else { Framing::UntilClose };
        let (mut given, mut taken, mut bytes) = (0, 0, BytesMut::new());
        for piece in pieces {
            given += piece.len();
            bytes.extend_from_slice(&piece);
            let Ok(data) = framing.take(&mut bytes) else { return Ok(()) };
            taken += data.len();
            let is_held_back = !framing.is_done() && !bytes.is_empty();
            prop_assert!(taken <= given && (!is_held_back || framing.take(&mut bytes).is_err()), "only what cannot be read is held back");
            if is_held_back {
                return Ok(());
            }
        }
    }
}
