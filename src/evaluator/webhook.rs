//! Scores by a program of one's own: each answer is put to it with one POST, and it says how good the answer is. Whatever time can heal is tried again,
//! at the pace the program asks for, within a deadline.
//!
//! ```text
//! POST url                                         200
//! {"id": "7",                                      {"score": 0.8,          from 0 to 1
//!  "input": [{"role": "user", "content": "…"}],     "parsed": true,        false: no answer was found; score may then be left out
//!  "expected": ["…"], "answer": "…",                "reason": "…"}         for the report
//!  "finish": "stop" | "length" | "withheld"}
//! ```
//!
//! Who may write an EvalJob has requests sent from its pod. What keeps that within bounds: `http` and `https` alone, no redirect is followed, no user
//! or password is in the URL, the token goes to that host alone, and nothing that the address answers is shown, but for a score and a reason in
//! the right form. Addresses inside the cluster are what webhooks are for, so none is refused: a NetworkPolicy says which the pods may reach, also
//! those of the cloud's metadata. Nothing here logs, neither answers nor what was said of them.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822::DateTimeParser;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::client::{Finish, Pace};
use super::connector::connector;
use super::prompt::Message;
use crate::protocol::root_cause;

/// More than any score with its reason.
const MOST_BYTES: usize = 64 << 10;
/// The most of a reason that is kept, in characters.
const MOST_REASON: usize = 1000;
/// A draft of the IETF (draft-ietf-httpapi-idempotency-key-header), and what most servers that know such keys read. The draft has the key in quotes.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A program that scores.
pub(super) struct Webhook {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: Uri,
    /// What messages call it: its path and query may hold secrets.
    host: String,
    token_file: Option<PathBuf>,
    pace: Pace,
    clock: fn() -> Timestamp,
    /// Until when it asked to be left alone, by all answers together.
    left_alone: Mutex<Option<Instant>>,
}

/// Which answer of which run it is. The same for each attempt to have it scored.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Asked<'a> {
    /// The digest of the run.
    pub(super) run: &'a str,
    /// The model's name.
    pub(super) target: &'a str,
    /// The suite's name.
    pub(super) suite: &'a str,
    /// The question's id.
    pub(super) question: &'a str,
    /// Which time it was asked, from 0.
    pub(super) repeat: u32,
}

/// An answer to be scored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered<'a> {
    /// The question's id.
    pub(super) id: &'a str,
    /// What the model was told.
    pub(super) input: &'a [Message],
    /// What would be right, as the dataset has it.
    pub(super) expected: &'a [String],
    /// What it said, thoughts aside.
    pub(super) answer: &'a str,
    /// Why it ended.
    pub(super) finish: Finish,
}

/// What the program says of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Graded {
    /// From 0 to 1; none where it found no answer in what was said.
    pub(super) score: Option<f64>,
    /// Why, for the report. It may quote the answer.
    pub(super) reason: Option<String>,
}

impl Webhook {
    /// The program at `url`, which is shown the token in that file.
    ///
    /// # Errors
    /// One sentence: the URL cannot be used, or the machine's certificate authorities cannot be read.
    pub(super) fn new(url: &str, token_file: Option<PathBuf>, pace: Pace, clock: fn() -> Timestamp) -> Result<Self, String> {
        let (url, host) = address(url)?;
        let scheme = format!("{}:", url.scheme_str().unwrap_or_default());
        let connector = connector(&scheme).map_err(|error| format!("webhook {host}: {error:#}"))?;
        Ok(Self {
            pool: Pool::builder(TokioExecutor::new()).build(connector),
            url,
            host,
            token_file,
            pace,
            clock,
            left_alone: Mutex::default(),
        })
    }

    /// What it says of an answer.
    ///
    /// # Errors
    /// One sentence with its host and the problem, and with nothing of the answer.
    pub(super) async fn score(&self, asked: &Asked<'_>, answered: &Answered<'_>) -> Result<Graded, String> {
        let body = Bytes::from(body(answered));
        let key = key(asked, &body);
        self.attempts(&key, &body)
            .await
            .map_err(|why| format!("webhook {}: {why}", self.host))
    }

    async fn attempts(&self, key: &HeaderValue, body: &Bytes) -> Result<Graded, String> {
        let deadline = Instant::now() + self.pace.question;
        let mut wait = self.pace.first;
        loop {
            // What it asked of one answer it asked of all.
            let until = *self.left_alone();
            if let Some(until) = until {
                if until >= deadline {
                    return Err("it asks to be left alone for longer than a score may take".to_owned());
                }
                tokio::time::sleep_until(until.into()).await;
            }
            let longest = self.pace.answer.min(deadline.saturating_duration_since(Instant::now()));
            let (why, asked_for) = match tokio::time::timeout(longest, self.attempt(key, body.clone())).await {
                Ok(Attempt::Graded(graded)) => return Ok(graded),
                Ok(Attempt::Refused(why)) => return Err(why),
                Ok(Attempt::Passing(why, asked_for)) => (why, asked_for),
                Err(_) => (format!("no answer within {longest:.1?}"), None),
            };
            let next = Instant::now() + asked_for.unwrap_or(wait);
            if let Some(asked_for) = asked_for {
                // Not beyond what anybody waits for.
                let until = Instant::now() + asked_for.min(self.pace.question);
                self.left_alone().replace(until);
            }
            if next >= deadline {
                return Err(why);
            }
            tokio::time::sleep_until(next.into()).await;
            wait = (wait * 2).min(self.pace.longest);
        }
    }

    fn left_alone(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.left_alone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn attempt(&self, key: &HeaderValue, body: Bytes) -> Attempt {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.url.clone();
        let json = HeaderValue::from_static("application/json");
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, json.clone());
        headers.insert(ACCEPT, json);
        headers.insert(IDEMPOTENCY_KEY, key.clone());
        if let Some(file) = &self.token_file {
            // Read anew each time: the kubelet replaces it while a run goes on.
            let Some(token) = tokio::fs::read_to_string(file).await.ok().as_deref().and_then(bearer) else {
                return Attempt::Refused("its Secret has no key token that is a token; add it, or correct secretRef".to_owned());
            };
            headers.insert(AUTHORIZATION, token);
        }
        let (head, body) = match self.pool.request(request).await {
            Ok(response) => response.into_parts(),
            Err(error) => return Attempt::Passing(format!("it cannot be reached: {}", root_cause(&error)), None),
        };
        if !head.status.is_success() {
            return refused(head.status, &head.headers, (self.clock)());
        }
        match Limited::new(body, MOST_BYTES).collect().await {
            Ok(body) => understand(&body.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                Attempt::Refused(format!("it answers with more than {} KiB", MOST_BYTES >> 10))
            }
            Err(error) => Attempt::Passing(format!("its answer broke off: {}", root_cause(&*error)), None),
        }
    }
}

/// How one request ended.
#[derive(Debug, PartialEq)]
enum Attempt {
    Graded(Graded),
    /// There is no use in trying again.
    Refused(String),
    /// Time may heal it; and after how long it asks to be tried.
    Passing(String, Option<Duration>),
}

/// What messages call the program at `url`.
///
/// # Errors
/// Why it cannot be used.
pub(super) fn host(url: &str) -> Result<String, String> {
    address(url).map(|(_, host)| host)
}

/// The URL, and what messages call it.
fn address(text: &str) -> Result<(Uri, String), String> {
    // What cannot be read is not shown: it may hold a password.
    let url: Uri = text.parse().map_err(|_| "scorer.webhook.url is no URL".to_owned())?;
    let Some(host) = url.host().filter(|host| !host.is_empty()) else {
        return Err("scorer.webhook.url has no host; write https://host/path".to_owned());
    };
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(format!("scorer.webhook.url of {host} is neither http:// nor https://; write one"));
    }
    if url.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err(format!(
            "scorer.webhook.url of {host} has a user in it; remove it, and name a Secret in secretRef"
        ));
    }
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    Ok((url, host))
}

#[derive(Serialize)]
struct Written<'a> {
    id: &'a str,
    input: &'a [Message],
    expected: &'a [String],
    answer: &'a str,
    finish: &'static str,
}

fn body(answered: &Answered<'_>) -> Vec<u8> {
    let Answered {
        id,
        input,
        expected,
        answer,
        finish,
    } = *answered;
    let finish = match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::Withheld => "withheld",
    };
    let written = Written {
        id,
        input,
        expected,
        answer,
        finish,
    };
    serde_json::to_vec(&written).expect("plain data with string keys is always JSON")
}

/// The same for each attempt, and for no other answer. What is sent is a part of it: a question that is asked again, after a restart or in a later run
/// of the same evaluation, has another answer, for which a server that keeps what it said by key must not say the same.
fn key(asked: &Asked<'_>, body: &[u8]) -> HeaderValue {
    let asked = serde_json::to_vec(asked).expect("plain data with string keys is always JSON");
    let mut hash = Sha256::new();
    // JSON ends where it ends, so nothing of one can be taken for the other.
    hash.update(&asked);
    hash.update(body);
    let hex: String = hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::try_from(format!("\"{hex}\"")).expect("hex digits and quotes may be in a header")
}

/// None where it is not one.
fn bearer(token: &str) -> Option<HeaderValue> {
    let token = Some(token.trim()).filter(|token| !token.is_empty())?;
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn refused(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Attempt {
    let code = status.as_u16();
    if status.is_redirection() {
        return Attempt::Refused(format!(
            "it answers {code}, a redirect, which is not followed; write the address that it leads to"
        ));
    }
    if !(status.is_server_error() || matches!(code, 408 | 425 | 429)) {
        return Attempt::Refused(format!("it answers {code}"));
    }
    Attempt::Passing(format!("it answers {code}"), advised(headers.get(RETRY_AFTER), now))
}

/// What `Retry-After` says: seconds, or a date (RFC 9110, section 10.2.3). What is neither is no advice.
fn advised(advice: Option<&HeaderValue>, now: Timestamp) -> Option<Duration> {
    let text = advice?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        // Never more than an instant can be moved by.
        return Some(Duration::from_secs(u64::from(u32::try_from(seconds).unwrap_or(u32::MAX))));
    }
    let date = DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

/// What it may say; other members are for others.
#[derive(Deserialize)]
struct Said {
    score: Option<serde_json::Value>,
    parsed: Option<bool>,
    reason: Option<String>,
}

fn understand(body: &[u8]) -> Attempt {
    // The parser's own words may quote what it read.
    let Ok(said) = serde_json::from_slice::<Said>(body) else {
        let form = r#"{"score": 0.8, "parsed": true, "reason": "…"}"#;
        return Attempt::Refused(format!("its answer is not JSON of the form {form}"));
    };
    let reason = said.reason.map(|reason| reason.chars().take(MOST_REASON).collect());
    let is_parsed = said.parsed.unwrap_or(true);
    match said.score {
        None if !is_parsed => Attempt::Graded(Graded { score: None, reason }),
        None => Attempt::Refused("its answer has no score; say a number from 0 to 1".to_owned()),
        Some(score) => match score.as_f64() {
            Some(score) if (0.0..=1.0).contains(&score) => Attempt::Graded(Graded {
                score: is_parsed.then_some(score),
                reason,
            }),
            Some(score) => Attempt::Refused(format!("its score is {score}; say a number from 0 to 1")),
            None => Attempt::Refused("its score is no number; say one from 0 to 1".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests;
