//! What a test tells the provider, and what it asks it afterwards. All of it is JSON for the control endpoint too.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Script {
    /// Keys that are accepted, as a bearer token or in `x-api-key`; none accepts everybody.
    pub keys: Vec<String>,
    /// Models that exist; none means that every name exists.
    pub models: Vec<String>,
    /// Answers by question: the question is the last user message, or is found in it; the longest one found wins.
    pub answers: BTreeMap<String, String>,
    /// The answer to any other question.
    pub answer: String,
    /// As a judge of two answers it prefers the one that holds this text.
    pub prefers: Option<String>,
    /// The version that it says answered; without it, what was asked for.
    pub version: Option<String>,
    /// How every request is treated.
    pub behaviour: Behaviour,
    /// How the next requests are treated instead, one each.
    pub next: Vec<Behaviour>,
    /// What it says of its own load, by the port that was asked for: one may answer for many engines.
    pub metrics: BTreeMap<u16, Metrics>,
}

/// What an engine says of its own load, at `/metrics`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metrics {
    /// That there is no such path.
    #[default]
    Missing,
    /// Nothing at all, and the connection stays open.
    Silent,
    /// This.
    Text(String),
}

impl Default for Script {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            models: Vec::new(),
            answers: BTreeMap::new(),
            answer: "Hello from the fake provider.".to_owned(),
            prefers: None,
            version: None,
            behaviour: Behaviour::default(),
            next: Vec::new(),
            metrics: BTreeMap::new(),
        }
    }
}

/// How one request is treated. The default is a plain good answer at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Behaviour {
    /// An error of this status, in the shape of the protocol.
    pub status: Option<u16>,
    /// Its `Retry-After` in seconds.
    pub retry_after: Option<u32>,
    /// Where the answer stops coming.
    pub stall: Option<Stall>,
    /// How long it stops, in milliseconds; without it, until the client leaves.
    pub stall_millis: Option<u64>,
    /// Closes the connection after so many words of a stream, or instead of a plain answer.
    pub cut_after: Option<usize>,
    /// Milliseconds between the words of a stream.
    pub word_millis: u64,
    /// How long a plain answer takes, in milliseconds; of a stream, until its headers.
    pub delay_millis: u64,
}

impl Behaviour {
    /// An error of this status.
    pub fn status(status: u16) -> Self {
        Self {
            status: Some(status),
            ..Self::default()
        }
    }

    /// 429 with its `Retry-After`.
    pub fn rate_limited(retry_after: u32) -> Self {
        Self {
            status: Some(429),
            retry_after: Some(retry_after),
            ..Self::default()
        }
    }

    /// No further progress from there on.
    pub fn stall(at: Stall) -> Self {
        Self {
            stall: Some(at),
            ..Self::default()
        }
    }

    /// A connection that breaks after so many words.
    pub fn cut_after(words: usize) -> Self {
        Self {
            cut_after: Some(words),
            ..Self::default()
        }
    }

    /// Waits as told at `here`.
    pub(super) async fn stall_at(&self, here: Stall) {
        if self.stall == Some(here) {
            match self.stall_millis {
                Some(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
                None => std::future::pending().await,
            }
        }
    }
}

/// Places where an answer can stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stall {
    /// The request was read, nothing is answered.
    BeforeHeaders,
    /// Headers are sent; in a stream also the opening events, which carry no word.
    BeforeFirstToken,
    /// After half of the words.
    MidStream,
}

/// One request as it came.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// `POST`, …
    pub method: String,
    /// With the query.
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// JSON, or a string where it is none.
    pub body: Value,
    /// The answer's status; 0 while there is none.
    pub status: u16,
    /// Whether the client left before the end of the answer.
    pub abandoned: bool,
}

impl Script {
    /// The answer to a question.
    pub(super) fn answer_to(&self, question: &str) -> String {
        if let (Some(better), Some((_, answers))) = (&self.prefers, question.split_once("ANSWER A")) {
            let (a, b) = answers.split_once("ANSWER B").unwrap_or((answers, ""));
            return match (a.contains(better.as_str()), b.contains(better.as_str())) {
                (true, false) => "VERDICT: A",
                (false, true) => "VERDICT: B",
                _ => "VERDICT: TIE",
            }
            .to_owned();
        }
        if let Some(answer) = self.answers.get(question) {
            return answer.clone();
        }
        let known = self
            .answers
            .iter()
            .filter(|(known, _)| question.contains(known.as_str()))
            .max_by_key(|(known, _)| known.len());
        known.map_or(&self.answer, |(_, answer)| answer).clone()
    }

    /// How the next request is treated.
    pub(super) fn take_behaviour(&mut self) -> Behaviour {
        if self.next.is_empty() {
            self.behaviour.clone()
        } else {
            self.next.remove(0)
        }
    }
}
