//! One request of a load: sent once, its answer read as it comes. Nothing is tried again.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use tokio::time::timeout_at;

use super::timing::{Stopwatch, Timing};
use crate::evaluator::client::{Client, Door, Manners, Unsent, may_have_answered, words};
use crate::evaluator::prompt::Prompt;
use crate::protocol::openai::chat;
use crate::protocol::sse::Splitter;
use crate::protocol::usage::Tokens;
use crate::protocol::{Piece, Watch as _, root_cause};

/// More than any error has to say.
const MOST_ERROR_BYTES: usize = 64 << 10;
/// How long the end of a stream is waited for after the answer is whole, so that its connection can be used again.
const DRAIN: Duration = Duration::from_secs(1);

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a whole answer, from when its request was due.
    pub answer: Duration,
    /// For the next token, once there has been one: a stream that stands still so long is broken. Pings are no tokens.
    pub token: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(300),
            token: Duration::from_secs(60),
        }
    }
}

/// How one request ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Its place, from 0.
    pub index: u32,
    /// How long after it was due it was sent; none where it was not, or was given up.
    pub late: Option<Duration>,
    /// Its times, or why there are none.
    pub outcome: Result<Timing, Failure>,
}

/// Why a request has no times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The gateway refused it: 429 and 503 too, which are what too much load comes to. Holds no part of the prompt.
    Refused(String),
    /// An answer may have been given, and paid for, that never came whole.
    Broken(String),
    /// The gateway could not be reached.
    Unreachable(String),
    /// It was not sent, for so many were under way.
    NotSent(usize),
}

impl Failure {
    /// Whether an answer may have been given, and paid for, that never came.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Broken(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) | Self::Broken(why) | Self::Unreachable(why) => f.write_str(why),
            Self::NotSent(under_way) => write!(f, "not sent: {under_way} under way"),
        }
    }
}

/// Asks one model for answers that come as streams.
pub struct Streams {
    door: Door,
    chat: Uri,
    manners: Manners,
    model: String,
    patience: Patience,
}

impl Streams {
    /// From `model`, by what `client` has learned of how it wants to be asked: so `client` has asked it before. What a model refuses in a load it
    /// refuses each time.
    #[must_use]
    pub fn of(client: &Client, model: &str, patience: Patience) -> Self {
        let (door, chat, manners) = client.way(model);
        Self {
            door,
            chat,
            manners,
            model: model.to_owned(),
            patience,
        }
    }

    /// The request for an answer to `prompt`.
    #[must_use]
    pub fn body(&self, prompt: &Prompt) -> Bytes {
        self.manners.streamed(&self.model, prompt)
    }

    /// Sends the request with that body, and reads its answer to the end. Ends at the latest when its answer has been waited for so long.
    pub async fn ask(&self, index: u32, body: Bytes, due: Instant) -> Ended {
        let late = Instant::now().saturating_duration_since(due);
        let outcome = self.answer(body, due).await;
        Ended {
            index,
            late: Some(late),
            outcome,
        }
    }

    async fn answer(&self, body: Bytes, due: Instant) -> Result<Timing, Failure> {
        let until = due + self.patience.answer;
        let answered = timeout_at(until.into(), self.door.send(&self.chat, body)).await;
        let (head, body) = match answered {
            Err(_) => return Err(self.out_of_patience()),
            Ok(Err(Unsent::Unreachable(why))) => return Err(Failure::Unreachable(why)),
            Ok(Err(Unsent::Broken(why))) => return Err(Failure::Broken(why)),
            Ok(Ok(response)) => response.into_parts(),
        };
        if head.status.is_success() {
            return self.read(body, until, Reading::new(due)).await;
        }
        let read = timeout_at(until.into(), Limited::new(body, MOST_ERROR_BYTES).collect()).await;
        let body = read.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
        let why = words(head.status, &body);
        Err(if may_have_answered(head.status) {
            Failure::Broken(why)
        } else {
            Failure::Refused(why)
        })
    }

    async fn read(&self, mut body: Incoming, until: Instant, mut reading: Reading) -> Result<Timing, Failure> {
        let mut splitter = Splitter::default();
        loop {
            let until = match (reading.done, reading.stopwatch.last()) {
                (Some(done), _) => done + DRAIN,
                (None, Some(token)) => until.min(token + self.patience.token),
                (None, None) => until,
            };
            let frame = match timeout_at(until.into(), body.frame()).await {
                Ok(None) => break,
                Ok(Some(Ok(frame))) => frame,
                // What comes after a whole answer makes it no less whole.
                _ if reading.done.is_some() => break,
                Ok(Some(Err(error))) => return Err(Failure::Broken(format!("the answer broke off: {}", root_cause(&error)))),
                Err(_) if reading.stopwatch.last().is_some_and(|token| token + self.patience.token <= until) => {
                    let seconds = self.patience.token.as_secs_f64();
                    return Err(Failure::Broken(format!("the answer stood still for {seconds} s")));
                }
                Err(_) => return Err(self.out_of_patience()),
            };
            let now = Instant::now();
            if let Some(data) = frame.data_ref() {
                splitter.feed(data, |event, _| reading.look(event, now));
            }
            if let Some(why) = reading.spoilt.take() {
                return Err(Failure::Broken(why));
            }
        }
        let now = Instant::now();
        splitter.finish(|event| reading.look(event, now));
        reading.end()
    }

    fn out_of_patience(&self) -> Failure {
        Failure::Broken(format!("no whole answer within {} s", self.patience.answer.as_secs_f64()))
    }
}

/// A stream while it is read.
struct Reading {
    watch: chat::Watch,
    stopwatch: Stopwatch,
    has_thoughts: bool,
    /// When all of the answer had come, by its last piece or by the mark of the end.
    whole: Option<Instant>,
    /// When the mark of the end came.
    done: Option<Instant>,
    spoilt: Option<String>,
}

impl Reading {
    fn new(due: Instant) -> Self {
        Self {
            watch: chat::Watch::default(),
            stopwatch: Stopwatch::new(due),
            has_thoughts: false,
            whole: None,
            done: None,
            spoilt: None,
        }
    }

    fn look(&mut self, event: &[u8], at: Instant) {
        if self.done.is_some() {
            return;
        }
        let before = self.watch.text_bytes();
        match self.watch.look(event) {
            // The last piece of an answer may have no token, but say only why it ended.
            Piece::Content if self.watch.text_bytes() > before => {
                self.has_thoughts = self.has_thoughts || has_thoughts(event);
                self.stopwatch.token(at, self.has_thoughts);
            }
            Piece::Done => self.done = Some(at),
            Piece::Failed => {
                let said = words(StatusCode::OK, event);
                let said = said.strip_prefix("200").unwrap_or(&said).trim_start();
                self.spoilt = Some(format!("the answer ended in an error {said}").trim_end().to_owned());
            }
            Piece::Garbled => self.spoilt = Some("the answer cannot be read".to_owned()),
            Piece::Opening | Piece::Content | Piece::Usage => {}
        }
        if self.watch.missing_end().is_some() {
            self.whole.get_or_insert(at);
        }
    }

    fn end(self) -> Result<Timing, Failure> {
        if let Some(why) = self.spoilt {
            return Err(Failure::Broken(why));
        }
        let Some(at) = self.done.or(self.whole) else {
            return Err(Failure::Broken("the answer broke off without its end".to_owned()));
        };
        let timing = self.stopwatch.end(at, self.watch.tokens().and_then(Tokens::believed));
        timing.ok_or_else(|| Failure::Broken("the answer is empty".to_owned()))
    }
}

/// Whether a piece of an answer is a thought, by either of the names that servers give it.
fn has_thoughts(event: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Chunk {
        choices: Vec<Choice>,
    }
    #[derive(Deserialize)]
    struct Choice {
        delta: Delta,
    }
    #[derive(Deserialize)]
    struct Delta {
        reasoning: Option<String>,
        reasoning_content: Option<String>,
    }
    let said = |text: Option<String>| text.is_some_and(|text| !text.is_empty());
    let chunk = serde_json::from_slice::<Chunk>(event);
    chunk.is_ok_and(|chunk| {
        let mut deltas = chunk.choices.into_iter().map(|choice| choice.delta);
        deltas.any(|delta| said(delta.reasoning) || said(delta.reasoning_content))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
    const WORD: &str = r#"{"choices":[{"index":0,"delta":{"content":" a"},"finish_reason":null}]}"#;
    const LAST: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}"#;
    const USED: &str = r#"{"choices":[],"usage":{"prompt_tokens":90,"completion_tokens":11,"prompt_tokens_details":{"cached_tokens":16}}}"#;

    /// What a stream comes to whose events are 100 ms apart, the first of them after 100 ms.
    fn read(events: &[&str]) -> Result<Timing, Failure> {
        let due = Instant::now();
        let mut reading = Reading::new(due);
        let at = (1..).map(|nth| due + Duration::from_millis(100) * nth);
        events.iter().zip(at).for_each(|(event, at)| reading.look(event.as_bytes(), at));
        reading.end()
    }

    fn broken(why: &str) -> Result<Timing, Failure> {
        Err(Failure::Broken(why.to_owned()))
    }

    fn ms(seconds: f64) -> u32 {
        (seconds * 1000.0).round() as u32
    }

    #[test]
    fn neither_the_role_nor_the_end_nor_the_report_is_a_token() {
        let seen = read(&[ROLE, WORD, WORD, LAST, USED, "[DONE]"]).unwrap();
        assert_eq!((ms(seen.ttft), ms(seen.total), seen.chunks), (200, 600, 2));
        assert_eq!(ms(seen.inter_token.unwrap()), 10);
        assert_eq!(
            (seen.prompt_tokens(), seen.answer_tokens(), seen.cached_tokens()),
            (Some(90), Some(11), Some(16))
        );
    }

    #[test]
    fn thoughts_and_calls_of_tools_are_tokens() {
        for first in [
            r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#,
            r#"{"choices":[{"delta":{"reasoning":"hm"}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":""}}]}}]}"#,
        ] {
            assert_eq!(ms(read(&[ROLE, first, WORD, LAST, "[DONE]"]).unwrap().ttft), 200, "{first}");
            assert_eq!(has_thoughts(first.as_bytes()), first.contains("reasoning"));
        }
        assert!(!has_thoughts(WORD.as_bytes()));
    }

    #[test]
    fn an_answer_that_says_why_it_ended_is_whole_without_the_mark_of_the_end() {
        assert_eq!(ms(read(&[ROLE, WORD, LAST]).unwrap().total), 300);
        assert_eq!(read(&[ROLE, WORD]), broken("the answer broke off without its end"));
    }

    #[test]
    fn what_is_no_answer_has_no_times() {
        for (events, why) in [
            (&[][..], "the answer broke off without its end"),
            (&[ROLE, LAST, "[DONE]"], "the answer is empty"),
            (&["[DONE]"], "the answer cannot be read"),
            (&[ROLE, WORD, "{\"choices"], "the answer cannot be read"),
            (
                &[ROLE, WORD, r#"{"error":{"message":"out of memory"}}"#, "[DONE]"],
                "the answer ended in an error out of memory",
            ),
            (
                &[ROLE, r#"{"choices":[{"delta":{},"finish_reason":"abort"}]}"#],
                "the answer ended in an error",
            ),
        ] {
            assert_eq!(read(events), broken(why), "{events:?}");
        }
    }
}
