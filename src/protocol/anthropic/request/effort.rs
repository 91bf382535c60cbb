//! How much a model is to think, and how it samples, in the words that its generation takes.
//!
//! | asked for | a budget is taken | adaptive thinking is taken |
//! |---|---|---|
//! | an effort | the share of `max_tokens` that `share` says, 1,024 at least | adaptive, `output_config.effort` |
//! | a budget | the budget | adaptive, the effort that `effort_of` says (4.6: the budget) |
//! | adaptive | half of `max_tokens` | adaptive |
//! | none | disabled | disabled; left out where the model always thinks |
//!
//! What is not exactly what was asked for is noted as `reasoning_effort`.
//!
//! A thinking model takes neither `temperature` (but 1) nor `top_k`, `top_p` from 0.95 on only, and cannot be forced to call a tool; within a
//! turn of tool calls one with a budget wants its own thoughts back. There the forced call and the turn count for more than the wish to think.

use serde::Serialize;
use serde_json::Number;

use super::super::model::{Model, Thinking};
use crate::protocol::chat::{Lost, Message, Part, Reasoning, Request, Role, ToolChoice, Unsupported};

/// The least that Anthropic takes.
const LEAST_BUDGET: u64 = 1024;

const FIELD: &str = "reasoning_effort";

/// What is written of it.
pub(super) struct Effort {
    pub(super) thinking: Option<WrittenThinking>,
    pub(super) effort: Option<&'static str>,
    pub(super) max_tokens: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum WrittenThinking {
    Enabled { budget_tokens: u64 },
    Adaptive,
    Disabled,
}

/// Decides on `thinking`, `output_config.effort` and `max_tokens`.
pub(super) fn plan(request: &Request, model: &Model, default: u64, lost: &mut Lost) -> Result<Effort, Unsupported> {
    let mut effort = Effort {
        thinking: None,
        effort: None,
        max_tokens: request.max_tokens.unwrap_or(default),
    };
    let Some(asked) = &request.reasoning else { return Ok(effort) };
    if is_off(asked) {
        match model.thinking {
            Thinking::Never => {}
            Thinking::Always => lost.note(FIELD),
            Thinking::Budget | Thinking::Either | Thinking::Adaptive => effort.thinking = Some(WrittenThinking::Disabled),
        }
        return Ok(effort);
    }
    let within_budget = match model.thinking {
        Thinking::Never => {
            lost.note(FIELD);
            return Ok(effort);
        }
        Thinking::Budget => true,
        Thinking::Either => matches!(asked, Reasoning::Budget(_)),
        Thinking::Adaptive | Thinking::Always => false,
    };
    let is_forced = model.is_claude && matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Tool(_)));
    if within_budget {
        if is_forced || model.is_claude && lacks_own_thoughts(&request.messages) {
            check(asked)?;
            lost.note(FIELD);
        } else {
            think_within(asked, request.max_tokens, &mut effort, lost)?;
        }
    } else {
        effort.effort = effort_of(asked, model, lost)?;
        if is_forced {
            lost.note(FIELD);
        } else {
            effort.thinking = Some(WrittenThinking::Adaptive);
        }
    }
    Ok(effort)
}

fn is_off(asked: &Reasoning) -> bool {
    match asked {
        Reasoning::Off => true,
        Reasoning::Effort(effort) => effort == "none",
        Reasoning::Budget(_) | Reasoning::Adaptive => false,
    }
}

fn think_within(asked: &Reasoning, given: Option<u64>, effort: &mut Effort, lost: &mut Lost) -> Result<(), Unsupported> {
    let wanted = match asked {
        // Nobody set a limit: the default is for what is said, and the budget comes on top of it.
        Reasoning::Budget(budget) if given.is_none() && *budget >= effort.max_tokens => {
            effort.max_tokens = budget.saturating_add(effort.max_tokens);
            *budget
        }
        Reasoning::Budget(budget) => *budget,
        Reasoning::Effort(words) => portion(effort.max_tokens, share(words)?),
        Reasoning::Adaptive | Reasoning::Off => {
            lost.note(FIELD);
            portion(effort.max_tokens, 50)
        }
    };
    if effort.max_tokens <= LEAST_BUDGET {
        lost.note(FIELD);
        return Ok(());
    }
    let budget_tokens = wanted.clamp(LEAST_BUDGET, effort.max_tokens - 1);
    lost.note_if(budget_tokens != wanted, FIELD);
    effort.thinking = Some(WrittenThinking::Enabled { budget_tokens });
    Ok(())
}

fn portion(of: u64, percent: u64) -> u64 {
    (of / 100)
        .saturating_mul(percent)
        .saturating_add(of % 100 * percent / 100)
        .max(LEAST_BUDGET)
}

/// The share of the answer's tokens for thoughts, in percent.
fn share(effort: &str) -> Result<u64, Unsupported> {
    match effort {
        "minimal" => Ok(10),
        "low" => Ok(20),
        "medium" => Ok(50),
        "high" => Ok(80),
        "xhigh" => Ok(90),
        "max" => Ok(95),
        _ => Err(unknown(effort)),
    }
}

fn unknown(effort: &str) -> Unsupported {
    Unsupported::new(
        FIELD,
        format!("is {effort:?}, and the model knows none, minimal, low, medium, high, xhigh and max"),
    )
}

/// An effort that is not sent is checked all the same.
fn check(asked: &Reasoning) -> Result<(), Unsupported> {
    match asked {
        Reasoning::Effort(effort) => share(effort).map(|_| ()),
        Reasoning::Off | Reasoning::Budget(_) | Reasoning::Adaptive => Ok(()),
    }
}

fn effort_of(asked: &Reasoning, model: &Model, lost: &mut Lost) -> Result<Option<&'static str>, Unsupported> {
    let effort = match asked {
        Reasoning::Off | Reasoning::Adaptive => return Ok(None),
        Reasoning::Budget(budget) => {
            lost.note(FIELD);
            match budget {
                ..=4096 => "low",
                ..=16384 => "medium",
                _ => "high",
            }
        }
        Reasoning::Effort(effort) => match effort.as_str() {
            "minimal" => {
                lost.note(FIELD);
                "low"
            }
            "low" => "low",
            "medium" => "medium",
            "high" => "high",
            "xhigh" if !model.has_xhigh => {
                lost.note(FIELD);
                "high"
            }
            "xhigh" => "xhigh",
            "max" => "max",
            _ => return Err(unknown(effort)),
        },
    };
    Ok(Some(effort))
}

/// Whether the conversation is in the middle of the model's own turn, after calls of tools, and the turn does not begin with its own thoughts.
/// A client of another protocol cannot give them back, and Anthropic then refuses to go on thinking.
fn lacks_own_thoughts(messages: &[Message]) -> bool {
    let is_result = |part: &Part| matches!(part, Part::ToolResult { .. });
    let (mut first, mut is_asked, mut has_result) = (None, false, false);
    for message in messages.iter().rev() {
        match message.role {
            Role::System => {}
            Role::User => {
                is_asked = true;
                has_result |= message.parts.iter().any(is_result);
            }
            Role::Assistant if is_asked && !has_result => break,
            Role::Assistant => {
                first = Some(message);
                (is_asked, has_result) = (false, false);
            }
        }
    }
    let begins_with = |message: &Message| {
        let part = message.parts.iter().find(|part| !matches!(part, Part::CachePoint(_)));
        matches!(part, Some(Part::Reasoning { signature: Some(_), .. } | Part::RedactedReasoning(_)))
    };
    first.is_some_and(|message| !begins_with(message))
}

/// The sampling that is written.
pub(super) struct Sampling<'a> {
    pub(super) temperature: Option<&'a Number>,
    pub(super) top_p: Option<&'a Number>,
    pub(super) top_k: Option<&'a Number>,
}

/// Leaves out, and notes, what the model would refuse. A 1 for `temperature` or `top_p` is what a model does anyway: leaving it out is no loss.
pub(super) fn sampling<'a>(request: &'a Request, model: &Model, effort: &Effort, lost: &mut Lost) -> Sampling<'a> {
    let is_thinking = matches!(effort.thinking, Some(WrittenThinking::Enabled { .. } | WrittenThinking::Adaptive));
    let is_free = !model.is_claude || model.takes_sampling && !is_thinking;
    let value = |number: &Number| number.as_f64().unwrap_or(f64::NAN);
    let mut keep = |number: &'a Option<Number>, field: &str, is_taken: &dyn Fn(f64) -> bool| {
        let number = number.as_ref()?;
        if is_taken(value(number)) {
            return Some(number);
        }
        lost.note_if(field == "top_k" || value(number) != 1.0, field);
        None
    };
    // Above 1, where only others go, Anthropic's own default, 1, is nearest.
    let temperature = keep(&request.temperature, "temperature", &|t| is_free && (!model.is_claude || t <= 1.0));
    let goes_with = model.takes_both || temperature.is_none();
    let takes_top_p = model.takes_sampling && goes_with;
    Sampling {
        temperature,
        top_p: keep(&request.top_p, "top_p", &|p| takes_top_p && (is_free || (0.95..=1.0).contains(&p))),
        top_k: keep(&request.top_k, "top_k", &|_| is_free),
    }
}
