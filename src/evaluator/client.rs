//! Asking the gateway. Whatever time can heal is tried again, at the pace the gateway asks for, within a deadline; a question ends with an
//! answer, with a failure of its own, or with the news that the gateway cannot be reached at all.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::json;

use super::connector::connector;
use super::prompt::{Body, Prompt};
use crate::protocol::Operation;
use crate::protocol::openai;
use crate::protocol::root_cause;
use crate::protocol::usage::Tokens;

/// More than any answer.
const MOST_BYTES: usize = 4 << 20;
/// The most of a gateway's own words that is passed on.
const WORDS: usize = 200;

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// For one answer.
    pub answer: Duration,
    /// For one question, all its attempts together.
    pub question: Duration,
    /// Before the second attempt; doubled for each further one.
    pub first: Duration,
    /// Before any attempt.
    pub longest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(300),
            question: Duration::from_secs(300),
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
        }
    }
}

/// What a model said.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Its text; empty when it said nothing.
    pub text: String,
    /// What else a user may be shown beside it: thoughts in a member of their own, and the words of a refusal.
    pub beside: String,
    /// Why it ended.
    pub finish: Finish,
    /// What it used, when the gateway says so.
    pub tokens: Option<Tokens>,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq)]
pub struct Asking {
    /// The answer, or why there is none.
    pub answered: Result<Answer, Failure>,
    /// How many answers may have been given, and paid for, that never came.
    pub lost: u32,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model came to an end.
    Stop,
    /// It was as long as it might be.
    Length,
    /// The model or its provider withheld it.
    Withheld,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The gateway answered, and there is no use in asking again now. Holds no part of the question.
    Refused(String),
    /// The gateway could not be reached within the deadline.
    Unreachable(String),
}

/// A client of one gateway.
pub struct Client {
    door: Door,
    chat: Uri,
    completions: Uri,
    pace: Pace,
    /// Until when a model asked to be left alone, by all questions together.
    left_alone: Mutex<HashMap<String, Instant>>,
    /// What each model was found not to take.
    manners: Mutex<HashMap<String, Manners>>,
}

/// The way to a gateway: its connections, and whose token goes with each request. A clone shares the connections.
#[derive(Clone)]
pub(super) struct Door {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    token_file: Option<PathBuf>,
}

impl Door {
    /// The answer to one request, once its head has come.
    ///
    /// # Errors
    /// Why there is none, in words that hold no part of the request.
    pub(super) async fn send(&self, url: &Uri, body: Bytes) -> Result<Response<Incoming>, Unsent> {
        let mut request = Request::post(url.clone()).header(CONTENT_TYPE, "application/json");
        if let Some(file) = &self.token_file {
            // Read anew each time: the kubelet replaces it while a run goes on.
            let token = tokio::fs::read_to_string(file)
                .await
                .map_err(|error| Unsent::Unreachable(format!("the token {} cannot be read: {error}", file.display())))?;
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.trim()));
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| Unsent::Unreachable(format!("the request cannot be written: {error}")))?;
        let answered = self.pool.request(request).await;
        answered.map_err(|error| {
            let why = format!("{url} does not answer: {}", root_cause(&error));
            if error.is_connect() {
                Unsent::Unreachable(why)
            } else {
                Unsent::Broken(why)
            }
        })
    }
}

/// Why there is no answer at all.
pub(super) enum Unsent {
    /// Nothing was sent.
    Unreachable(String),
    /// The connection broke after the request was sent, which may be answered, and paid for.
    Broken(String),
}

/// How a model wants to be asked. Some providers refuse what others require, and say so; no model is known by its name here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Manners {
    /// It answers at its own temperature only.
    own_temperature: bool,
    /// It calls the limit `max_completion_tokens`.
    completion_tokens: bool,
    /// It takes no `stop`.
    unstopped: bool,
}

impl Manners {
    /// What is learned from the parameter that was refused; `None` when nothing is.
    fn without(self, parameter: &str) -> Option<Self> {
        let learned = match parameter {
            "temperature" => Self {
                own_temperature: true,
                ..self
            },
            "max_tokens" => Self {
                completion_tokens: true,
                ..self
            },
            "stop" => Self { unstopped: true, ..self },
            _ => self,
        };
        (learned != self).then_some(learned)
    }

    fn body(self, model: &str, prompt: &Prompt) -> Bytes {
        Bytes::from(self.fields(model, prompt).to_string())
    }

    /// The same, for an answer that comes as a stream and says at its end what it used.
    pub(super) fn streamed(self, model: &str, prompt: &Prompt) -> Bytes {
        let mut body = self.fields(model, prompt);
        body["stream"] = true.into();
        body["stream_options"] = json!({ "include_usage": true });
        Bytes::from(body.to_string())
    }

    fn fields(self, model: &str, prompt: &Prompt) -> serde_json::Value {
        let mut body = match &prompt.body {
            Body::Chat(messages) => json!({ "model": model, "messages": messages, "stream": false }),
            Body::Completion(text) => json!({ "model": model, "prompt": text, "stream": false }),
        };
        body[if self.completion_tokens {
            "max_completion_tokens"
        } else {
            "max_tokens"
        }] = prompt.max_tokens.into();
        if !prompt.stop.is_empty() && !self.unstopped {
            body["stop"] = prompt.stop.clone().into();
        }
        if let Some(top_p) = prompt.top_p
            && !self.own_temperature
        {
            body["top_p"] = top_p.into();
        }
        if !self.own_temperature {
            body["temperature"] = 0.into();
        }
        body
    }
}

impl Client {
    /// Of the gateway at `url`, as the owner of the token in that file.
    ///
    /// # Errors
    /// When the URL or the machine's certificate authorities cannot be read.
    pub fn new(url: &str, token_file: Option<PathBuf>, pace: Pace) -> anyhow::Result<Self> {
        let connector = connector(url)?;
        let base = url.trim_end_matches('/');
        let at = |path: &str| -> anyhow::Result<Uri> {
            let url = format!("{base}/v1/{path}");
            url.parse().with_context(|| format!("{url:?} is not a URL"))
        };
        Ok(Self {
            door: Door {
                pool: Pool::builder(TokioExecutor::new()).build(connector),
                token_file,
            },
            chat: at("chat/completions")?,
            completions: at("completions")?,
            left_alone: Mutex::default(),
            pace,
            manners: Mutex::default(),
        })
    }

    /// Where chats are asked.
    #[must_use]
    pub fn url(&self) -> String {
        self.chat.to_string()
    }

    /// The way to the gateway, where chats are asked there, and what has been learned of how `model` wants to be asked.
    pub(super) fn way(&self, model: &str) -> (Door, Uri, Manners) {
        let manners = self.manners().get(model).copied().unwrap_or_default();
        (self.door.clone(), self.chat.clone(), manners)
    }

    /// The way for requests that somebody else wrote, where they go, and how long an answer may take.
    pub(super) fn passage(&self, operation: Operation) -> (&Door, &Uri, Duration) {
        let url = if operation == Operation::Completions {
            &self.completions
        } else {
            &self.chat
        };
        (&self.door, url, self.pace.answer)
    }

    /// What `model` says to `prompt`.
    pub async fn ask(&self, model: &str, prompt: &Prompt) -> Asking {
        let mut lost = 0;
        let answered = self.attempts(model, prompt, &mut lost).await;
        Asking { answered, lost }
    }

    async fn attempts(&self, model: &str, prompt: &Prompt, lost: &mut u32) -> Result<Answer, Failure> {
        let url = match prompt.body {
            Body::Chat(_) => &self.chat,
            Body::Completion(_) => &self.completions,
        };
        let mut manners = self.manners().get(model).copied().unwrap_or_default();
        let mut body = manners.body(model, prompt);
        let begun = Instant::now();
        let mut wait = self.pace.first;
        loop {
            // What a model asked of one question it asked of all.
            let until = self.left_alone().get(model).copied();
            if let Some(until) = until {
                tokio::time::sleep_until(until.into()).await;
            }
            let (failure, asked_for) = match tokio::time::timeout(self.pace.answer, self.attempt(url, body.clone())).await {
                Err(_) => {
                    *lost += 1;
                    (Failure::Refused(format!("no answer within {} s", self.pace.answer.as_secs())), None)
                }
                Ok(Attempt::Answered(answer)) => return Ok(answer),
                Ok(Attempt::Refused(why, parameter)) => {
                    let Some(learned) = parameter.and_then(|parameter| manners.without(&parameter)) else {
                        return Err(Failure::Refused(why));
                    };
                    manners = learned;
                    body = manners.body(model, prompt);
                    self.remember(model, learned);
                    continue;
                }
                Ok(Attempt::Busy(why, after)) => (Failure::Refused(why), after),
                Ok(Attempt::Broken(why)) => {
                    *lost += 1;
                    (Failure::Refused(why), None)
                }
                Ok(Attempt::Unreachable(why)) => (Failure::Unreachable(why), None),
            };
            let pause = asked_for.unwrap_or(wait).min(self.pace.longest);
            if begun.elapsed() + pause > self.pace.question {
                return Err(failure);
            }
            if asked_for.is_some() {
                self.left_alone().insert(model.to_owned(), Instant::now() + pause);
            }
            tokio::time::sleep(pause).await;
            wait = (wait * 2).min(self.pace.longest);
        }
    }

    fn left_alone(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.left_alone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn manners(&self) -> std::sync::MutexGuard<'_, HashMap<String, Manners>> {
        self.manners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the questions to come; those under way may each have learned something else.
    fn remember(&self, model: &str, learned: Manners) {
        let mut manners = self.manners();
        let known = manners.entry(model.to_owned()).or_default();
        known.own_temperature |= learned.own_temperature;
        known.completion_tokens |= learned.completion_tokens;
        known.unstopped |= learned.unstopped;
    }

    async fn attempt(&self, url: &Uri, body: Bytes) -> Attempt {
        let (head, body) = match self.door.send(url, body).await {
            Ok(response) => response.into_parts(),
            Err(Unsent::Unreachable(why)) => return Attempt::Unreachable(why),
            Err(Unsent::Broken(why)) => return Attempt::Broken(why),
        };
        match Limited::new(body, MOST_BYTES).collect().await {
            Ok(body) => understand(head.status, &head.headers, &body.to_bytes()),
            Err(error) => Attempt::Broken(format!("the answer broke off: {}", root_cause(&*error))),
        }
    }
}

/// How one request ended.
enum Attempt {
    Answered(Answer),
    /// And the parameter that it is about.
    Refused(String, Option<String>),
    Busy(String, Option<Duration>),
    /// An answer may have been given that never came.
    Broken(String),
    Unreachable(String),
}

fn understand(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Attempt {
    if status.is_success() {
        return match serde_json::from_slice::<Completion>(body) {
            Ok(Completion { choices }) if !choices.is_empty() => {
                let Some(Choice {
                    message,
                    text,
                    finish_reason,
                }) = choices.into_iter().next()
                else {
                    return Attempt::Refused("the answer has no choice".to_owned(), None);
                };
                let said = message.unwrap_or_default();
                let (content, refusal) = (said.content.or(text), said.refusal);
                let thoughts = [said.reasoning, said.reasoning_content].into_iter().flatten().map(Text::into_text);
                let beside: Vec<String> = thoughts.chain(refusal.clone()).collect();
                Attempt::Answered(Answer {
                    finish: finish(finish_reason.as_deref(), refusal.as_deref()),
                    text: content.or(refusal).unwrap_or_default(),
                    beside: beside.join("\n"),
                    tokens: openai::chat::tokens(body).and_then(Tokens::believed),
                })
            }
            _ => Attempt::Refused("the answer is not a completion".to_owned(), None),
        };
    }
    let why = words(status, body);
    let is_passing = matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504);
    if !is_passing {
        let parameter = serde_json::from_slice::<Envelope>(body)
            .ok()
            .and_then(|envelope| envelope.error.param);
        return Attempt::Refused(why, parameter);
    }
    if may_have_answered(status) {
        return Attempt::Broken(why);
    }
    let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Attempt::Busy(why, after.map(Duration::from_secs))
}

/// By what OpenAI's protocol says, into which the gateway translates all others.
fn finish(reason: Option<&str>, refusal: Option<&str>) -> Finish {
    match (reason, refusal) {
        (Some("content_filter"), _) | (_, Some(_)) => Finish::Withheld,
        (Some("length"), None) => Finish::Length,
        (_, None) => Finish::Stop,
    }
}

/// Whether a model may have answered, and been paid for it, before whoever is in between gave this status.
pub(super) fn may_have_answered(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 504)
}

/// The status and the code of an error and, where they cannot hold a part of the question, its words.
pub(super) fn words(status: StatusCode, body: &[u8]) -> String {
    let error = serde_json::from_slice::<Envelope>(body)
        .map(|envelope| envelope.error)
        .unwrap_or_default();
    let is_about_the_question = matches!(status.as_u16(), 400 | 413 | 422);
    let detail = if is_about_the_question { None } else { error.message };
    let code = error.code.as_ref().and_then(|code| code.as_str().map(str::to_owned)).or(error.kind);
    let detail: String = detail.or(code).unwrap_or_default().chars().take(WORDS).collect();
    format!("{} {detail}", status.as_u16()).trim_end().to_owned()
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    /// Of a chat.
    message: Option<Said>,
    /// Of a text that was gone on with.
    text: Option<String>,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Said {
    content: Option<String>,
    refusal: Option<String>,
    /// What servers call thoughts.
    reasoning: Option<Text>,
    reasoning_content: Option<Text>,
}

/// A text, or what some servers have in its place.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Other(serde_json::Value),
}

impl Text {
    fn into_text(self) -> String {
        match self {
            Self::Plain(text) => text,
            Self::Other(serde_json::Value::Null) => String::new(),
            Self::Other(other) => other.to_string(),
        }
    }
}

#[derive(Deserialize)]
struct Envelope {
    error: ErrorWords,
}

#[derive(Default, Deserialize)]
struct ErrorWords {
    message: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    code: Option<serde_json::Value>,
    param: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_tells_its_words_unless_they_may_quote_the_question() {
        let body = br#"{"error": {"message": "model claims/llama has no ready pod", "type": "unavailable", "code": "no_target"}}"#;
        assert_eq!(
            words(StatusCode::SERVICE_UNAVAILABLE, body),
            "503 model claims/llama has no ready pod"
        );
        assert_eq!(words(StatusCode::BAD_REQUEST, body), "400 no_target");
        assert_eq!(words(StatusCode::BAD_GATEWAY, b"<html>"), "502");
    }

    #[test]
    fn only_what_time_can_heal_is_tried_again() {
        let after = HeaderMap::from_iter([(RETRY_AFTER, "7".parse().unwrap())]);
        for (status, is_passing) in [(429, true), (503, true), (400, false), (401, false), (404, false)] {
            let attempt = understand(StatusCode::from_u16(status).unwrap(), &after, b"");
            let expected = is_passing.then_some(Some(Duration::from_secs(7)));
            let seen = match attempt {
                Attempt::Busy(_, after) => Some(after),
                Attempt::Answered(_) | Attempt::Refused(..) | Attempt::Broken(_) | Attempt::Unreachable(_) => None,
            };
            assert_eq!(seen, expected, "{status}");
        }
    }
}
