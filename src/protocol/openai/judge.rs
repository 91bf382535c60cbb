//! One event of a streamed answer, read whole: what the quick look of `watch` is held against.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::protocol::watch::Piece;

/// Reads one event. What is no chunk counts as content here: that it may be none at all is not looked at.
pub(super) fn event(data: &[u8]) -> Piece {
    if data.trim_ascii() == b"[DONE]" {
        return Piece::Done;
    }
    serde_json::from_slice(data).map_or(Piece::Content, |chunk| piece(&chunk))
}

fn piece(chunk: &Chunk<'_>) -> Piece {
    let is_aborted = |choice: &Choice<'_>| choice.finish_reason.is_some_and(|reason| reason.get() == "\"abort\"");
    match (chunk.error, &chunk.choices) {
        (Some(_), _) => Piece::Failed,
        (None, Some(choices)) if choices.iter().any(is_aborted) => Piece::Failed,
        (None, Some(choices)) if chunk.usage.is_none() && choices.iter().all(Choice::is_opening) => Piece::Opening,
        (None, None) if chunk.usage.is_none() => Piece::Opening,
        (None, _) => Piece::Content,
    }
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: BTreeMap<Cow<'a, str>, Option<&'a RawValue>>,
}

impl Choice<'_> {
    fn is_opening(&self) -> bool {
        let says_nothing = |value: &Option<&RawValue>| value.is_none_or(|v| matches!(v.get(), "\"\"" | "[]" | "{}"));
        says_nothing(&self.finish_reason) && self.delta.iter().all(|(key, value)| key == "role" || says_nothing(value))
    }
}
