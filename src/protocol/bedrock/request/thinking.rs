//! How much a model is to think, in the words that it takes. Only of Claude it is known how to say it.

use super::super::model::{self, Model};
use super::super::written::{Block, Thinking, Turn};
use crate::protocol::chat::{Lost, Reasoning, Request, ToolChoice};

/// The least budget that Claude takes, in tokens.
const LEAST_BUDGET: u64 = 1024;

/// What is said to the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Thought<'a> {
    pub(super) thinking: Option<Thinking>,
    pub(super) effort: Option<&'a str>,
}

impl Thought<'_> {
    /// Whether the model thinks because it is told to.
    pub(super) fn is_on(&self) -> bool {
        matches!(self.thinking, Some(Thinking::Enabled { .. } | Thinking::Adaptive))
    }
}

/// What the request asks for, as `model` takes it.
pub(super) fn choose<'a>(request: &'a Request, model: Model, turns: &[Turn<'_>], lost: &mut Lost) -> Thought<'a> {
    let Some(reasoning) = &request.reasoning else {
        return Thought::default();
    };
    let is_forced = matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Tool(_)));
    let thought = match reasoning {
        Reasoning::Off => off(model),
        // Claude does not think when it is forced to call a tool.
        _ if is_forced && !request.tools.is_empty() => None,
        Reasoning::Effort(effort) if is_adaptive(model) => Some(Thought {
            thinking: Some(Thinking::Adaptive),
            effort: Some(level(effort)),
        }),
        Reasoning::Effort(effort) => budget_of(effort).and_then(|budget| within(budget, request.max_tokens)),
        Reasoning::Budget(_) if !takes_budget(model) && is_adaptive(model) => {
            lost.note("thinking.budget_tokens");
            Some(Thought {
                thinking: Some(Thinking::Adaptive),
                effort: None,
            })
        }
        Reasoning::Budget(budget) => Some(Thought {
            thinking: Some(Thinking::Enabled { budget_tokens: *budget }),
            effort: None,
        }),
        Reasoning::Adaptive if is_adaptive(model) => Some(Thought {
            thinking: Some(Thinking::Adaptive),
            effort: None,
        }),
        Reasoning::Adaptive => budget_of("high").and_then(|budget| within(budget, request.max_tokens)),
    };
    let knows_how = !matches!(model.thinking, model::Thinking::Never | model::Thinking::Unknown);
    let is_nothing_to_say = *reasoning == Reasoning::Off && model.thinking == model::Thinking::Never;
    match thought
        .filter(|thought| is_taken(thought, turns))
        .filter(|_| knows_how || is_nothing_to_say)
    {
        Some(thought) => thought,
        None => {
            lost.note("reasoning_effort");
            Thought::default()
        }
    }
}

fn is_adaptive(model: Model) -> bool {
    matches!(
        model.thinking,
        model::Thinking::Either | model::Thinking::Adaptive | model::Thinking::Always
    )
}

fn takes_budget(model: Model) -> bool {
    matches!(model.thinking, model::Thinking::Budget | model::Thinking::Either)
}

/// Claude up to 4.6 thinks only when it is told to.
fn off(model: Model) -> Option<Thought<'static>> {
    match model.thinking {
        model::Thinking::Adaptive => Some(Thought {
            thinking: Some(Thinking::Disabled),
            effort: None,
        }),
        model::Thinking::Never | model::Thinking::Budget | model::Thinking::Either => Some(Thought::default()),
        model::Thinking::Always | model::Thinking::Unknown => None,
    }
}

/// With a budget, Claude wants the thoughts before its last call of tools; when they are not there it must not think now.
fn is_taken(thought: &Thought<'_>, turns: &[Turn<'_>]) -> bool {
    let has_budget = matches!(thought.thinking, Some(Thinking::Enabled { .. }));
    let last = turns.iter().rfind(|turn| turn.role == "assistant");
    let has_calls = last.is_some_and(|turn| turn.content.iter().any(|block| matches!(block, Block::ToolUse { .. })));
    let has_thoughts = last.is_some_and(|turn| matches!(turn.content.first(), Some(Block::ReasoningContent(_))));
    !has_budget || !has_calls || has_thoughts
}

/// A level that Converse knows. Others are sent as they are: there may be more to come.
fn level(effort: &str) -> &str {
    if effort == "minimal" { "low" } else { effort }
}

/// Tokens for an effort, where the model takes only tokens. A rule of ours: each level four times the one before.
fn budget_of(effort: &str) -> Option<u64> {
    match effort {
        "minimal" | "low" => Some(LEAST_BUDGET),
        "medium" => Some(4 * LEAST_BUDGET),
        "high" => Some(16 * LEAST_BUDGET),
        "xhigh" | "max" => Some(32 * LEAST_BUDGET),
        _ => None,
    }
}

/// At most half of what the whole answer may have, so that something is left to say.
fn within<'a>(budget: u64, max_tokens: Option<u64>) -> Option<Thought<'a>> {
    let budget_tokens = max_tokens.map_or(budget, |most| budget.min(most / 2));
    (budget_tokens >= LEAST_BUDGET).then_some(Thought {
        thinking: Some(Thinking::Enabled { budget_tokens }),
        effort: None,
    })
}
