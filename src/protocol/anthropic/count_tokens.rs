//! `POST /v1/messages/count_tokens`: how many tokens a request would have.

use serde::Deserialize;

use super::request;
use crate::protocol::chat::{Lost, Request, Unfit};

/// Reads a request that is to be counted: one for a message that needs no `max_tokens`.
///
/// # Errors
/// As for a request for a message.
pub fn read_request(body: &[u8]) -> Result<(Request, Lost), Unfit> {
    request::read(body, request::Purpose::Count)
}

/// The answer.
#[must_use]
pub fn write_answer(input_tokens: u64) -> Vec<u8> {
    format!(r#"{{"input_tokens":{input_tokens}}}"#).into_bytes()
}

/// Reads the answer of a server that can count; `None` if it is no such answer.
#[must_use]
pub fn read_answer(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Count {
        input_tokens: u64,
    }
    serde_json::from_slice::<Count>(body).ok().map(|count| count.input_tokens)
}
