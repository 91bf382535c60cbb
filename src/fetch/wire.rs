//! What the hub, plain URLs and buckets have in common: one client, its redirects, and how answers and errors are read.

use std::error::Error;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http::header::{ACCEPT_ENCODING, CONTENT_RANGE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, RequestBuilder, Response, Url};

use super::failure::{Failure, Reason};
use crate::tls;

/// Further than any proxy or storage is away.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// A connection that brings nothing for so long is dead.
const SILENCE: Duration = Duration::from_secs(60);
const MOST_REDIRECTS: usize = 10;
/// What is shown of a server's own words.
const LONGEST_QUOTE: usize = 300;

/// Content on its way.
pub(super) type Content = BoxStream<'static, Result<Bytes, Failure>>;

/// A client that honours the environment's proxies and follows redirects for `GET` and `HEAD`. `Authorization` does not follow to another
/// host, port or scheme (reqwest drops it there).
pub(super) fn client(ca_file: Option<&Path>) -> Result<Client, Failure> {
    let configured = |builder: reqwest::ClientBuilder| builder.redirect(Policy::custom(follow));
    build(ca_file, configured)
}

/// The same, for buckets: a redirect is a wrong region, and plain HTTP is for those who ask for it.
pub(super) fn client_of_buckets(ca_file: Option<&Path>, allow_http: bool, connect_time: Option<Duration>) -> Result<Client, Failure> {
    build(ca_file, |builder| {
        let builder = builder.redirect(Policy::none()).https_only(!allow_http);
        builder.connect_timeout(connect_time.unwrap_or(CONNECT_TIME))
    })
}

fn build(ca_file: Option<&Path>, configured: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> Result<Client, Failure> {
    let mut tls = tls::trusting(ca_file).map_err(|error| {
        Failure::new(
            Reason::InvalidSource,
            words(&error),
            "let --ca-file name a file with certificates in PEM",
        )
    })?;
    // Ranges of one file go over connections of their own: streams of one HTTP/2 connection would share its window.
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    // The bytes of the file, not of a compressed form of it.
    let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
    let builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .user_agent(concat!("llm-portfolio/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .connect_timeout(CONNECT_TIME)
        .read_timeout(SILENCE);
    configured(builder)
        .build()
        .map_err(|error| Failure::internal(format!("setting up HTTP: {}", words(&error))))
}

fn follow(attempt: Attempt<'_>) -> Action {
    let downgraded = attempt.url().scheme() != "https" && attempt.previous().iter().any(|url| url.scheme() == "https");
    if downgraded {
        attempt.error("a redirect leads from https to plain http")
    } else if attempt.previous().len() > MOST_REDIRECTS {
        attempt.error("too many redirects")
    } else {
        attempt.follow()
    }
}

/// Sends a request. Whatever is answered is `Ok`.
pub(super) async fn send(request: RequestBuilder, host: &str) -> Result<Response, Failure> {
    request.send().await.map_err(|error| of_network(&error.without_url(), host))
}

/// What an error of the network means. Its URL may hold a signature and must have been taken out.
fn of_network(error: &reqwest::Error, host: &str) -> Failure {
    let problem = format!("{host}: {}", words(error));
    if causes(error).any(is_of_certificate) {
        let remedy = "if its authority is to be trusted, give its certificate with --ca-file";
        return Failure::new(Reason::Unauthorized, problem, remedy);
    }
    Failure::unreachable(problem)
}

/// Whether TLS found the other side's certificate wrong. It says so within errors of sockets, which do not name it as their source.
fn is_of_certificate(error: &(dyn Error + 'static)) -> bool {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => is_of_certificate(inner),
        None => matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))),
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// An error and its causes, each once.
pub(super) fn words(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    for cause in causes(error).map(ToString::to_string) {
        if !words.iter().any(|said| said.contains(&cause)) {
            words.push(cause);
        }
    }
    words.join(": ")
}

/// The host of a URL, for messages.
pub(super) fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}

/// The answers that time heals, with how long the server asks to be left alone.
pub(super) fn busy(status: StatusCode, headers: &HeaderMap, host: &str) -> Option<Failure> {
    let is_busy = status.is_server_error() || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status);
    is_busy.then(|| Failure {
        wait: text(headers, RETRY_AFTER.as_str()).and_then(|seconds| seconds.parse().ok().map(Duration::from_secs)),
        ..Failure::unreachable(format!("{host} answered {status}"))
    })
}

/// A header as text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// A server's words, made harmless.
pub(super) fn quote(said: &str) -> String {
    said.chars().filter(|c| !c.is_control()).take(LONGEST_QUOTE).collect()
}

/// Each part of a file makes a server without ranges send it anew: more than this is not thrown away for one part.
const MOST_PASSED_OVER: u64 = 128 << 20;

/// The content of an answer from the start of `range` on; it may go on beyond its end. Servers that know no ranges send all, of which the
/// beginning is passed over.
pub(super) fn content(response: Response, range: &Range<u64>, size: u64) -> Result<Content, Failure> {
    let whose = host(response.url()).to_owned();
    let mut skip = match response.status() {
        StatusCode::PARTIAL_CONTENT => {
            let sent = text(response.headers(), CONTENT_RANGE.as_str()).and_then(content_range);
            match sent {
                Some((_, Some(total))) if total != size => {
                    let problem = format!("the file has {total} bytes now, and had {size} when it was listed");
                    return Err(Failure::new(Reason::SourceChanged, problem, "fetch it again"));
                }
                Some((start, _)) if start == range.start => 0,
                _ => return Err(Failure::unreachable(format!("{whose} sent another range than it was asked for"))),
            }
        }
        StatusCode::OK if range.start > MOST_PASSED_OVER => {
            return Err(Failure::new(
                Reason::InvalidSource,
                format!("{whose} sends the whole file when it is asked for a part of it, which takes too long for one of {size} bytes"),
                "use a server that knows ranges, or a bucket",
            ));
        }
        StatusCode::OK => range.start,
        status => return Err(Failure::unreachable(format!("{whose} answered {status}"))),
    };
    let stream = response.bytes_stream();
    let stream = stream
        .map_err(move |error| of_network(&error.without_url(), &whose))
        .map_ok(move |mut bytes| {
            let passed = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
            bytes.advance(passed);
            skip -= passed as u64;
            bytes
        });
    Ok(stream.boxed())
}

/// The first byte and the size of the whole, of `bytes 0-99/1000`.
pub(super) fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()))
}

/// The value of `Range` for a part of a file.
pub(super) fn range_header(range: &Range<u64>) -> String {
    format!("bytes={}-{}", range.start, range.end.saturating_sub(1))
}

/// All of an answer that is to be small.
pub(super) async fn whole(response: Response, most: usize) -> Result<Vec<u8>, Failure> {
    let whose = host(response.url()).to_owned();
    let mut stream = response.bytes_stream();
    let mut all = Vec::new();
    while let Some(bytes) = stream.next().await {
        all.extend_from_slice(&bytes.map_err(|error| of_network(&error.without_url(), &whose))?);
        if all.len() > most {
            return Err(Failure::unreachable(format!(
                "{whose} sent more than {most} bytes where less is due"
            )));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_ranges_is_not_asked_for_a_large_file_again_and_again() {
        let whole = || Response::from(http::Response::new(""));
        let size = 4 * MOST_PASSED_OVER;
        assert!(content(whole(), &(MOST_PASSED_OVER..size), size).is_ok());
        let refused = content(whole(), &(MOST_PASSED_OVER + 1..size), size).err().unwrap();
        assert_eq!(refused.reason, Reason::InvalidSource);
        assert!(refused.message.contains("use a server that knows ranges"), "{refused}");
    }

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(content_range("bytes 5-99/1000"), Some((5, Some(1000))));
        assert_eq!(content_range("bytes 5-99/*"), Some((5, None)));
        assert_eq!(content_range("bytes */1000"), None);
        assert_eq!(range_header(&(5..100)), "bytes=5-99");
    }

    #[test]
    fn a_busy_server_says_how_long_to_wait() {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("7"))]);
        let wait = |status| busy(status, &headers, "hub").map(|failure| failure.wait);
        assert_eq!(wait(StatusCode::TOO_MANY_REQUESTS), Some(Some(Duration::from_secs(7))));
        assert_eq!(wait(StatusCode::NOT_FOUND), None);
        assert_eq!(busy(StatusCode::BAD_GATEWAY, &HeaderMap::new(), "hub").unwrap().wait, None);
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_found_within_errors_of_sockets() {
        let of = |error: rustls::Error| io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        assert!(is_of_certificate(&of(rustls::Error::InvalidCertificate(
            rustls::CertificateError::UnknownIssuer
        ))));
        assert!(!is_of_certificate(&of(rustls::Error::DecryptError)));
    }

    #[test]
    fn words_of_servers_are_made_harmless() {
        assert_eq!(quote("no\r\n\u{1b}[31m"), "no[31m");
        assert_eq!(quote(&"x".repeat(1000)).len(), LONGEST_QUOTE);
    }
}
