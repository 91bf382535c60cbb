//! Tools and whether the model must call one. Functions have a counterpart everywhere; tools that run at OpenAI have none.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::read::{Losses, Unknown, is_string, refused, told, value};
use crate::protocol::chat::{Json, Tool, ToolChoice, Unfit, Unreadable};

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(rename = "type")]
    _kind: serde::de::IgnoredAny,
    name: String,
    description: Option<String>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    strict: Option<bool>,
    defer_loading: Option<bool>,
    allowed_callers: Option<Vec<String>>,
    #[serde(borrow)]
    output_schema: Option<&'a RawValue>,
    #[serde(rename = "async")]
    is_async: Option<bool>,
    #[serde(flatten)]
    unknown: Unknown,
}

/// Reads `tools`.
pub(super) fn read(raw: &RawValue, losses: &mut Losses) -> Result<Vec<Tool>, Unfit> {
    let list: Vec<&RawValue> = value(raw, "tools", "a list of tools")?;
    let each = list.into_iter().enumerate();
    each.map(|(index, raw)| tool(raw, &format!("tools[{index}]"), losses)).collect()
}

fn tool(raw: &RawValue, at: &str, losses: &mut Losses) -> Result<Tool, Unfit> {
    let Kind { kind } = value(raw, at, "a tool with its type")?;
    if kind != "function" {
        let problem = format!(
            "is of the type `{}`, a tool that only OpenAI itself has: give a function",
            told(&kind)
        );
        return Err(refused(at, problem));
    }
    let function: Function<'_> = value(raw, at, "a function")?;
    function.unknown.note(at, losses);
    if function.is_async == Some(true) {
        return Err(refused(
            format!("{at}.async"),
            "asks for calls that go on by themselves, which only OpenAI has",
        ));
    }
    let callers = function.allowed_callers;
    if callers.is_some_and(|callers| !callers.iter().any(|caller| caller == "direct")) {
        return Err(refused(
            format!("{at}.allowed_callers"),
            "leaves the function to programs that run at OpenAI",
        ));
    }
    if function.parameters.is_some_and(|parameters| !parameters.get().starts_with('{')) {
        let at = format!("{at}.parameters");
        return Err(Unreadable::new(Some(&at), format!("{at} must be a JSON schema: an object")).into());
    }
    losses.note_if(function.defer_loading == Some(true), at, "defer_loading");
    losses.note_if(function.output_schema.is_some(), at, "output_schema");
    Ok(Tool {
        name: function.name,
        description: function.description,
        parameters: function.parameters.map(Json::from),
        strict: function.strict,
        cache: None,
    })
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    mode: Option<String>,
    #[serde(borrow)]
    tools: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
}

/// Reads `tool_choice`. Where it allows only some of the `tools`, the others are taken away: a model cannot call what it does not have.
pub(super) fn choice(raw: &RawValue, tools: &mut Vec<Tool>) -> Result<Option<ToolChoice>, Unfit> {
    const AT: &str = "tool_choice";
    let unknown = || Unreadable::new(Some(AT), "tool_choice must be auto, none, required, or an object that names a tool");
    if is_string(raw) {
        return match raw.get() {
            "\"auto\"" => Ok(Some(ToolChoice::Auto)),
            "\"none\"" => Ok(Some(ToolChoice::None)),
            "\"required\"" => Ok(Some(ToolChoice::Required)),
            _ => Err(unknown().into()),
        };
    }
    let choice: Choice<'_> = value(raw, AT, "auto, none, required, or an object that names a tool")?;
    match choice.kind.as_str() {
        "function" => match choice.name {
            Some(name) => Ok(Some(ToolChoice::Tool(name))),
            None => Err(Unreadable::new(Some("tool_choice.name"), "tool_choice.name is required: name the function").into()),
        },
        "allowed_tools" => allow(&choice, tools),
        kind => Err(refused(
            AT,
            format!("is of the type `{}`, a tool that only OpenAI itself has", told(kind)),
        )),
    }
}

fn allow(choice: &Choice<'_>, tools: &mut Vec<Tool>) -> Result<Option<ToolChoice>, Unfit> {
    let mode = match choice.mode.as_deref() {
        Some("auto") => ToolChoice::Auto,
        Some("required") => ToolChoice::Required,
        _ => return Err(Unreadable::new(Some("tool_choice.mode"), "tool_choice.mode must be auto or required").into()),
    };
    let list = choice.tools.as_deref().unwrap_or_default();
    let mut allowed = std::collections::HashSet::with_capacity(list.len());
    for (index, raw) in list.iter().enumerate() {
        let at = format!("tool_choice.tools[{index}]");
        let Named { kind, name } = value(raw, &at, "a tool with its type")?;
        match name {
            Some(name) if kind == "function" => allowed.insert(name),
            _ => {
                return Err(refused(
                    at,
                    format!("is of the type `{}`, a tool that only OpenAI itself has", told(&kind)),
                ));
            }
        };
    }
    if let Some(name) = allowed.iter().find(|name| !tools.iter().any(|tool| tool.name == **name)) {
        let message = format!("tool_choice.tools names `{}`, which is not among the tools", told(name));
        return Err(Unreadable::new(Some("tool_choice.tools"), message).into());
    }
    tools.retain(|tool| allowed.contains(&tool.name));
    match (tools.is_empty(), mode) {
        (true, ToolChoice::Required) => {
            let message = "tool_choice requires a call and allows no tool";
            Err(Unreadable::new(Some("tool_choice.tools"), message).into())
        }
        (true, _) => Ok(None),
        (false, mode) => Ok(Some(mode)),
    }
}
