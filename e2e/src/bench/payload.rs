//! What is asked and what the mock answers: a chat of 1 KB answered with 1.4 KB, and streams of 104 events, in the form that OpenAI has.

use std::fmt::Write as _;

use anyhow::{Context, Result};

/// Events of a stream: the role, the words, the end, the usage, and `[DONE]`.
pub(super) const EVENTS: usize = 104;
/// The client's key, and what it asks for.
pub(super) const KEY: &str = "sk-bench-0123456789abcdef0123456789abcdef";
pub(super) const MODEL: &str = "assistant";
/// The first content of a stream.
pub(super) const FIRST_WORD: &str = "word0";

const REQUEST_BYTES: usize = 1024;
const ANSWER_BYTES: usize = 1400;
const COMMON: &str = r#""created":1767225600,"model":"assistant","service_tier":"default","system_fingerprint":"fp_44709d6fcb""#;

/// How an answer comes. The request's content begins with its name, so that it reaches the mock through anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Whole.
    Chat,
    /// A stream, one event every 2 ms.
    Paced,
    /// A stream, as fast as it goes.
    Burst,
    /// A stream that stays open after its beginning.
    Held,
}

impl Mode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Paced => "paced",
            Self::Burst => "burst",
            Self::Held => "held",
        }
    }

    pub(super) fn is_streamed(self) -> bool {
        self != Self::Chat
    }

    /// What a request's body asks for.
    pub(super) fn of(body: &[u8]) -> Self {
        // It stands near the beginning.
        let head = String::from_utf8_lossy(&body[..body.len().min(REQUEST_BYTES)]);
        let asked = |mode: &Self| head.contains(&format!("\"content\":\"{} ", mode.name()));
        [Self::Paced, Self::Burst, Self::Held].into_iter().find(asked).unwrap_or(Self::Chat)
    }

    /// A request of about 1 KB, head and body.
    pub(super) fn request(self) -> Vec<u8> {
        self.request_of(REQUEST_BYTES)
    }

    /// A request with a body of this many bytes.
    pub(super) fn request_of(self, bytes: usize) -> Vec<u8> {
        let mut body = format!(r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":"{} "#, self.name());
        let end = if self.is_streamed() {
            r#""}],"stream":true,"stream_options":{"include_usage":true}}"#
        } else {
            r#""}],"temperature":0.7}"#
        };
        while body.len() + end.len() < bytes {
            body.push_str(&"lorem ipsum "[..(bytes - body.len() - end.len()).min(12)]);
        }
        body.push_str(end);
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\naccept: application/json\r\nuser-agent: OpenAI/Python 2.1.0\r\n\
             authorization: Bearer {KEY}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        [head, body].concat().into_bytes()
    }
}

/// A whole answer's body.
pub(super) fn chat() -> String {
    let before = format!(
        r#"{{"id":"chatcmpl-bench","object":"chat.completion",{COMMON},"choices":[{{"index":0,"message":{{"role":"assistant","content":""#
    );
    let after = r#"","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":213,"completion_tokens":187,"total_tokens":400,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}"#;
    let mut answer = before;
    while answer.len() + after.len() < ANSWER_BYTES {
        answer.push_str(&"dolor sit amet "[..(ANSWER_BYTES - answer.len() - after.len()).min(15)]);
    }
    answer + after
}

/// The events of a stream.
pub(super) fn events() -> Vec<String> {
    let event = |choices: &str, usage: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",{COMMON},\"choices\":[{choices}],\"usage\":{usage}}}\n\n"
        )
    };
    let choice = |delta: &str, reason: &str| format!(r#"{{"index":0,"delta":{{{delta}}},"logprobs":null,"finish_reason":{reason}}}"#);
    let mut events = vec![event(&choice(r#""role":"assistant","content":"","refusal":null"#, "null"), "null")];
    for word in 0..EVENTS - 4 {
        events.push(event(&choice(&format!(r#""content":" word{word}""#), "null"), "null"));
    }
    events.push(event(&choice("", r#""stop""#), "null"));
    events.push(event("", r#"{"prompt_tokens":213,"completion_tokens":100,"total_tokens":313}"#));
    events.push("data: [DONE]\n\n".to_owned());
    events
}

/// The body of an answer with chunks, without them.
pub(super) fn dechunked(mut body: &str) -> Result<String> {
    let mut text = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n").context("a chunk has a size")?;
        let size = usize::from_str_radix(size, 16).context("a chunk's size is a number")?;
        if size == 0 {
            return Ok(text);
        }
        text.write_str(rest.get(..size).context("a chunk is whole")?)?;
        body = rest
            .get(size..)
            .and_then(|rest| rest.strip_prefix("\r\n"))
            .context("a chunk ends")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_have_the_sizes_they_are_measured_under() {
        for mode in [Mode::Chat, Mode::Paced, Mode::Burst, Mode::Held] {
            let request = String::from_utf8(mode.request()).unwrap();
            let (_, body) = request.split_once("\r\n\r\n").unwrap();
            assert_eq!(body.len(), REQUEST_BYTES);
            let json: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(json["stream"] == true, mode.is_streamed());
            assert_eq!(Mode::of(body.as_bytes()), mode);
        }
        assert_eq!(chat().len(), ANSWER_BYTES);
        assert!(events()[1].contains(FIRST_WORD) && !events()[0].contains(FIRST_WORD));
        serde_json::from_str::<serde_json::Value>(&chat()).unwrap();
        let events = events();
        assert_eq!(events.len(), EVENTS);
        for event in &events[..EVENTS - 1] {
            serde_json::from_str::<serde_json::Value>(event.strip_prefix("data: ").unwrap()).unwrap();
        }
    }

    #[test]
    fn chunks_are_put_together() {
        assert_eq!(dechunked("3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n").unwrap(), "abc0123456789");
        assert!(dechunked("3\r\nab").is_err());
    }
}
