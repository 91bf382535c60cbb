//! The heads of requests, written, and of answers, read. Pure.

use std::mem::MaybeUninit;

use bytes::{Buf, BufMut, BytesMut};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, response};

use super::Error;
use super::framing::Framing;

/// The longest head of an answer.
const HEAD_LIMIT: usize = 64 << 10;
/// The most headers of an answer.
const HEADERS_LIMIT: usize = 128;

/// Writes the head of a request with a body of `length` bytes. Its host is the URL's unless `headers` have another.
pub(super) fn write(to: &mut BytesMut, method: &Method, uri: &Uri, headers: &HeaderMap, length: usize) {
    to.put_slice(method.as_str().as_bytes());
    to.put_slice(b" ");
    to.put_slice(uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes());
    to.put_slice(b" HTTP/1.1\r\n");
    if !headers.contains_key(header::HOST) {
        write_host(to, uri);
    }
    for (name, value) in headers {
        // The length is ours to say, and connections are ours to keep.
        if matches!(*name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::CONNECTION) {
            continue;
        }
        write_header(to, name.as_str().as_bytes(), value.as_bytes());
    }
    write_header(to, b"content-length", HeaderValue::from(length).as_bytes());
    to.put_slice(b"\r\n");
}

fn write_header(to: &mut BytesMut, name: &[u8], value: &[u8]) {
    to.reserve(name.len() + value.len() + 4);
    to.put_slice(name);
    to.put_slice(b": ");
    to.put_slice(value);
    to.put_slice(b"\r\n");
}

/// Without credentials in the URL, and without the port that its scheme implies.
fn write_host(to: &mut BytesMut, uri: &Uri) {
    let implied = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    to.put_slice(b"host: ");
    to.put_slice(uri.host().unwrap_or_default().as_bytes());
    if let Some(port) = uri.port().filter(|port| port.as_u16() != implied) {
        to.put_slice(b":");
        to.put_slice(port.as_str().as_bytes());
    }
    to.put_slice(b"\r\n");
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) parts: response::Parts,
    pub(super) framing: Framing,
    /// Whether the connection may be used again after the body.
    pub(super) is_kept: bool,
}

/// Takes the head of an answer off the front of `bytes`, once it is there; notices that precede it (100, 103) are passed over.
pub(super) fn read(bytes: &mut BytesMut) -> Result<Option<Head>, Error> {
    loop {
        let Some(head) = read_one(bytes)? else { return Ok(None) };
        match head.parts.status.as_u16() {
            101 => return Err(Error::NotHttp("it switches to another protocol")),
            100..=199 => {}
            _ => return Ok(Some(head)),
        }
    }
}

fn read_one(bytes: &mut BytesMut) -> Result<Option<Head>, Error> {
    let mut room = [const { MaybeUninit::uninit() }; HEADERS_LIMIT];
    let mut parsed = httparse::Response::new(&mut []);
    let parsing = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, bytes, &mut room);
    let length = match parsing {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_LIMIT => length,
        Ok(httparse::Status::Partial) if bytes.len() <= HEAD_LIMIT => return Ok(None),
        Ok(_) => return Err(Error::NotHttp("its head is too long")),
        Err(httparse::Error::TooManyHeaders) => return Err(Error::NotHttp("it has too many headers")),
        Err(_) => return Err(Error::NotHttp("its head cannot be read")),
    };
    let status = StatusCode::from_u16(parsed.code.unwrap_or_default()).map_err(|_| Error::NotHttp("its status is none"))?;
    let version = if parsed.version == Some(1) {
        Version::HTTP_11
    } else {
        Version::HTTP_10
    };
    // Places instead of slices, so that the values can share the bytes they came in.
    let start = bytes.as_ptr().addr();
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    let mut fields = Vec::with_capacity(parsed.headers.len());
    for field in &*parsed.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Error::NotHttp("a header's name is none"))?;
        fields.push((name, field.value.as_ptr().addr() - start, field.value.len()));
    }
    let head = bytes.split_to(length).freeze();
    for (name, at, length) in fields {
        let value = HeaderValue::from_maybe_shared(head.slice(at..at + length)).map_err(|_| Error::NotHttp("a header's value is none"))?;
        headers.append(name, value);
    }
    let framing = framing(status, version, &headers)?;
    let (mut parts, ()) = http::Response::new(()).into_parts();
    (parts.status, parts.version) = (status, version);
    let is_kept = is_kept(version, &headers, &framing);
    parts.headers = headers;
    Ok(Some(Head { parts, framing, is_kept }))
}

/// How the body ends (RFC 9112, section 6.3).
fn framing(status: StatusCode, version: Version, headers: &HeaderMap) -> Result<Framing, Error> {
    if matches!(status.as_u16(), 100..=199 | 204 | 304) {
        return Ok(Framing::length(0));
    }
    if let Some(last) = headers.get_all(header::TRANSFER_ENCODING).iter().next_back() {
        if version == Version::HTTP_10 {
            return Err(Error::NotHttp("it has a transfer encoding that its version has not"));
        }
        let last = last.as_bytes().rsplit(|byte| *byte == b',').next().unwrap_or_default();
        return Ok(if last.trim_ascii().eq_ignore_ascii_case(b"chunked") {
            Framing::chunked()
        } else {
            Framing::UntilClose
        });
    }
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for value in value.as_bytes().split(|byte| *byte == b',') {
            let given = decimal(value.trim_ascii()).ok_or(Error::NotHttp("its length is no number"))?;
            if length.is_some_and(|length| length != given) {
                return Err(Error::NotHttp("it has two lengths"));
            }
            length = Some(given);
        }
    }
    Ok(length.map_or(Framing::UntilClose, Framing::length))
}

/// Digits and nothing else: `parse` would take a sign.
fn decimal(text: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(text)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

fn is_kept(version: Version, headers: &HeaderMap, framing: &Framing) -> bool {
    let says = |option: &str| {
        let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
        values
            .flat_map(|value| value.split(','))
            .any(|given| given.trim().eq_ignore_ascii_case(option))
    };
    // An answer with both is how requests are smuggled; nothing after it is to be trusted.
    let is_ambiguous = headers.contains_key(header::TRANSFER_ENCODING) && headers.contains_key(header::CONTENT_LENGTH);
    let is_wanted = if version == Version::HTTP_11 {
        !says("close")
    } else {
        says("keep-alive")
    };
    is_wanted && !is_ambiguous && !matches!(framing, Framing::UntilClose)
}

/// The request's head and what is left of its body, as one.
pub(super) struct Outgoing<B> {
    pub(super) head: BytesMut,
    pub(super) body: B,
}

impl<B: Buf> Buf for Outgoing<B> {
    fn remaining(&self) -> usize {
        self.head.len() + self.body.remaining()
    }

    fn chunk(&self) -> &[u8] {
        if self.head.is_empty() { self.body.chunk() } else { &self.head }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [std::io::IoSlice<'a>]) -> usize {
        if self.head.is_empty() {
            return self.body.chunks_vectored(slices);
        }
        let Some((first, rest)) = slices.split_first_mut() else { return 0 };
        *first = std::io::IoSlice::new(&self.head);
        1 + self.body.chunks_vectored(rest)
    }

    fn advance(&mut self, count: usize) {
        let of_head = count.min(self.head.len());
        self.head.advance(of_head);
        self.body.advance(count - of_head);
    }
}
