//! The whole answer of a model.

use super::super::usage::Tokens;
use super::Part;

/// An answer that came in one piece.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The provider's name for it, if it gave one.
    pub id: Option<String>,
    /// The answers that were asked for, usually one.
    pub choices: Vec<Choice>,
    /// What it took, if the provider says so.
    pub usage: Option<Tokens>,
}

/// One of the answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Texts, reasoning and tool calls, in order.
    pub parts: Vec<Part>,
    /// Why it ended.
    pub stop: Stop,
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The model was done.
    End,
    /// It reached `max_tokens`, or the end of what the model can hold.
    Length,
    /// It came to one of the texts that were to end it; which, if the provider says so.
    Sequence(Option<String>),
    /// It waits for the results of tools.
    ToolCalls,
    /// The provider, or the model itself, declined to say it.
    Filtered,
}
