//! How much a model thinks: a level for models of the third generation, a number of tokens for earlier ones. Levels of OpenAI's become numbers
//! as in Google's own table (<https://ai.google.dev/gemini-api/docs/openai#thinking>).

use super::super::chat::{Lost, Reasoning, Unsupported};
use super::model::Model;
use super::wire::ThinkingConfig;

const FIELD: &str = "reasoning_effort";
/// The fewest tokens with which a Pro of the second generation thinks.
const LEAST_OF_PRO: i64 = 128;
/// As many as the model sees fit.
const DYNAMIC: i64 = -1;

pub(super) fn config(asked: &Reasoning, model: Model<'_>, lost: &mut Lost) -> Result<ThinkingConfig, Unsupported> {
    let thoughts = ThinkingConfig {
        include_thoughts: Some(true),
        ..Default::default()
    };
    Ok(match asked {
        Reasoning::Off => off(model, lost),
        Reasoning::Effort(effort) if effort == "none" => off(model, lost),
        Reasoning::Effort(effort) if model.is_third() => ThinkingConfig {
            thinking_level: Some(level(effort, model, lost)?),
            ..thoughts
        },
        Reasoning::Effort(effort) => ThinkingConfig {
            thinking_budget: Some(budget(effort, lost)?),
            ..thoughts
        },
        // Later models take a number too, as long as there is no level beside it.
        Reasoning::Budget(tokens) => ThinkingConfig {
            thinking_budget: Some(i64::try_from(*tokens).unwrap_or(i64::MAX)),
            ..thoughts
        },
        // Models of the third generation think as they see fit unless told otherwise.
        Reasoning::Adaptive if model.is_third() => thoughts,
        Reasoning::Adaptive => ThinkingConfig {
            thinking_budget: Some(DYNAMIC),
            ..thoughts
        },
    })
}

/// As little as possible: not all of them can stop.
fn off(model: Model<'_>, lost: &mut Lost) -> ThinkingConfig {
    lost.note_if(model.is_third() || model.is_pro(), FIELD);
    let (thinking_level, thinking_budget) = match (model.is_third(), model.is_pro()) {
        (true, true) => (Some("LOW"), None),
        (true, false) => (Some("MINIMAL"), None),
        (false, true) => (None, Some(LEAST_OF_PRO)),
        (false, false) => (None, Some(0)),
    };
    ThinkingConfig {
        include_thoughts: None,
        thinking_budget,
        thinking_level,
    }
}

fn level(effort: &str, model: Model<'_>, lost: &mut Lost) -> Result<&'static str, Unsupported> {
    Ok(match effort {
        "minimal" if model.is_pro() => {
            lost.note(FIELD);
            "LOW"
        }
        "minimal" => "MINIMAL",
        "low" => "LOW",
        "medium" => "MEDIUM",
        "high" => "HIGH",
        "xhigh" | "max" => {
            lost.note(FIELD);
            "HIGH"
        }
        _ => return Err(unknown(effort)),
    })
}

fn budget(effort: &str, lost: &mut Lost) -> Result<i64, Unsupported> {
    lost.note_if(matches!(effort, "xhigh" | "max"), FIELD);
    match effort {
        "minimal" | "low" => Ok(1024),
        "medium" => Ok(8192),
        "high" | "xhigh" | "max" => Ok(24_576),
        _ => Err(unknown(effort)),
    }
}

fn unknown(effort: &str) -> Unsupported {
    Unsupported::new(FIELD, format!("is {effort:?}, and the model knows minimal, low, medium and high"))
}
