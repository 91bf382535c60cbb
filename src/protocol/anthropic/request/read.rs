//! A client's request, read into the common form.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::super::block::{CacheControl, field, read_content};
use crate::protocol::chat::{
    CachePoint, Format, Json, Lost, Message, Part, Reasoning, Request, Role, Tool, ToolChoice, Unfit, Unreadable, Unsupported,
};
use crate::protocol::misread::misread_body;

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Purpose {
    /// A message, for which `max_tokens` must be given.
    Answer,
    /// The number of its tokens.
    Count,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(rename = "model")]
    _model: Option<IgnoredAny>,
    // The version of the protocol and what the client tries out, which clouds take in the body: for the provider's server alone.
    #[serde(rename = "anthropic_version")]
    _version: Option<IgnoredAny>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    system: Option<&'a RawValue>,
    #[serde(borrow)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    temperature: Option<&'a RawValue>,
    #[serde(borrow)]
    top_p: Option<&'a RawValue>,
    #[serde(borrow)]
    top_k: Option<&'a RawValue>,
    #[serde(borrow)]
    stop_sequences: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    #[serde(borrow)]
    thinking: Option<&'a RawValue>,
    #[serde(borrow)]
    output_config: Option<&'a RawValue>,
    /// Where `output_config.format` was while it was tried out.
    #[serde(borrow)]
    output_format: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_control: Option<&'a RawValue>,
    #[serde(borrow)]
    mcp_servers: Option<&'a RawValue>,
    #[serde(borrow)]
    container: Option<&'a RawValue>,
    #[serde(borrow)]
    inference_geo: Option<&'a RawValue>,
    /// `service_tier`, `context_management`, `speed`, `diagnostics` and whatever else hints at how the provider is to go about it.
    #[serde(flatten)]
    rest: BTreeMap<String, IgnoredAny>,
}

/// Reads a request for a message.
///
/// # Errors
/// When it is none, or asks for what only Anthropic has: tools that run on its servers or that only its models know, MCP servers, containers,
/// files that were stored with it, citations.
pub fn read_request(body: &[u8]) -> Result<(Request, Lost), Unfit> {
    read(body, Purpose::Answer)
}

pub(in super::super) fn read(body: &[u8], purpose: Purpose) -> Result<(Request, Lost), Unfit> {
    let body: Body<'_> = serde_json::from_slice(body).map_err(|error| misread_body(&error))?;
    refuse_servers(&body)?;
    let mut lost = Lost::default();
    let mut messages = Vec::new();
    if let Some(system) = body.system {
        let parts = read_content(system, "system", &mut lost)?;
        messages.push(Message { role: Role::System, parts });
    }
    let missing = || Unreadable::new(Some("messages"), "messages is missing");
    let given: Vec<ReadMessage<'_>> = field(body.messages.ok_or_else(missing)?, "messages")?;
    for (i, message) in given.into_iter().enumerate() {
        messages.push(read_message(&message, &format!("messages[{i}]"), &mut lost)?);
    }
    if let Some(point) = optional::<CacheControl>(body.cache_control, "cache_control")? {
        keep_all(&mut messages, point.into());
    }
    let config: OutputConfig = optional(body.output_config, "output_config")?.unwrap_or_default();
    let choice: Choice = optional(body.tool_choice, "tool_choice")?.unwrap_or_default();
    let metadata: Metadata = optional(body.metadata, "metadata")?.unwrap_or_default();
    let format = match config.format {
        Some(format) => Some(format),
        None => optional(body.output_format, "output_format")?,
    };
    let request = Request {
        messages,
        tools: read_tools(body.tools, &mut lost)?,
        tool_choice: choice.read()?,
        parallel_tool_calls: choice.disable_parallel_tool_use.map(|is_disabled| !is_disabled),
        max_tokens: read_max_tokens(body.max_tokens, purpose)?,
        temperature: optional(body.temperature, "temperature")?,
        top_p: optional(body.top_p, "top_p")?,
        top_k: optional(body.top_k, "top_k")?,
        stop: optional(body.stop_sequences, "stop_sequences")?.unwrap_or_default(),
        format: read_format(format)?,
        reasoning: read_reasoning(optional(body.thinking, "thinking")?, config.effort, &mut lost)?,
        user: metadata.user_id,
        stream: optional(body.stream, "stream")?.unwrap_or(false),
        ..Request::default()
    };
    config.rest.into_keys().for_each(|key| lost.note(format!("output_config.{key}")));
    body.rest.into_keys().for_each(|key| lost.note(key));
    Ok((request, lost))
}

fn optional<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>, at: &str) -> Result<Option<T>, Unreadable> {
    raw.map(|raw| field(raw, at)).transpose()
}

fn refuse_servers(body: &Body<'_>) -> Result<(), Unsupported> {
    let given = |raw: Option<&RawValue>| raw.is_some_and(|raw| !matches!(raw.get(), "[]" | "{}"));
    for (raw, name, problem) in [
        (
            body.mcp_servers,
            "mcp_servers",
            "asks for servers to be called, which only Anthropic does",
        ),
        (body.container, "container", "asks for a container, which only Anthropic has"),
        (
            body.inference_geo,
            "inference_geo",
            "asks for a region, which only Anthropic can promise",
        ),
    ] {
        if given(raw) {
            return Err(Unsupported::new(name, problem));
        }
    }
    Ok(())
}

fn read_max_tokens(raw: Option<&RawValue>, purpose: Purpose) -> Result<Option<u64>, Unfit> {
    match (optional(raw, "max_tokens")?, purpose) {
        (None, Purpose::Answer) => Err(Unreadable::new(Some("max_tokens"), "max_tokens is missing").into()),
        (Some(0), Purpose::Answer) => Err(Unsupported::new("max_tokens", "is 0, which asks for a cache to be filled and no answer").into()),
        (tokens, _) => Ok(tokens),
    }
}

#[derive(Deserialize)]
struct ReadMessage<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    /// Of instructions between messages, for how long they hold and what else they change.
    clear_at: Option<IgnoredAny>,
    output_config: Option<IgnoredAny>,
}

fn read_message(message: &ReadMessage<'_>, at: &str, lost: &mut Lost) -> Result<Message, Unfit> {
    let role = match message.role.as_ref() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        _ => {
            let at = format!("{at}.role");
            return Err(Unreadable::new(Some(&at), format!("{at} must be user, assistant or system")).into());
        }
    };
    lost.note_if(message.clear_at.is_some(), &format!("{at}.clear_at"));
    lost.note_if(message.output_config.is_some(), &format!("{at}.output_config"));
    let at = format!("{at}.content");
    let missing = || Unreadable::new(Some(&at), format!("{at} is missing"));
    let parts = match message.content {
        None if message.output_config.is_some() => Vec::new(),
        content => read_content(content.ok_or_else(missing)?, &at, lost)?,
    };
    Ok(Message { role, parts })
}

/// A point for caches of the whole request stands behind its last block.
fn keep_all(messages: &mut [Message], point: CachePoint) {
    let Some(last) = messages.last_mut() else { return };
    if !matches!(last.parts.last(), Some(Part::CachePoint(_)) | None) {
        last.parts.push(Part::CachePoint(point));
    }
}

#[derive(Deserialize)]
struct ReadTool {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
    description: Option<String>,
    input_schema: Option<Json>,
    strict: Option<bool>,
    cache_control: Option<CacheControl>,
    allowed_callers: Option<Vec<String>>,
    defer_loading: Option<bool>,
    eager_input_streaming: Option<bool>,
    input_examples: Option<IgnoredAny>,
}

fn read_tools(raw: Option<&RawValue>, lost: &mut Lost) -> Result<Vec<Tool>, Unfit> {
    let given: Vec<&RawValue> = optional(raw, "tools")?.unwrap_or_default();
    let mut tools = Vec::with_capacity(given.len());
    for (i, raw) in given.into_iter().enumerate() {
        let at = format!("tools[{i}]");
        tools.push(read_tool(field(raw, &at)?, &at, lost)?);
    }
    Ok(tools)
}

fn read_tool(tool: ReadTool, at: &str, lost: &mut Lost) -> Result<Tool, Unfit> {
    if let Some(kind) = tool.kind.filter(|kind| kind != "custom") {
        return Err(Unsupported::new(at, format!("is a tool of type {kind}, which only Anthropic's models have")).into());
    }
    let is_called_by_code = |callers: &Vec<String>| !callers.is_empty() && !callers.iter().any(|caller| caller == "direct");
    if tool.allowed_callers.as_ref().is_some_and(is_called_by_code) {
        let at = format!("{at}.allowed_callers");
        return Err(Unsupported::new(at, "leaves the tool to code that only Anthropic runs").into());
    }
    lost.note_if(
        tool.allowed_callers.is_some_and(|callers| callers.len() > 1),
        &format!("{at}.allowed_callers"),
    );
    lost.note_if(tool.defer_loading == Some(true), &format!("{at}.defer_loading"));
    lost.note_if(tool.eager_input_streaming.is_some(), &format!("{at}.eager_input_streaming"));
    lost.note_if(tool.input_examples.is_some(), &format!("{at}.input_examples"));
    let missing = |name: &str| Unreadable::new(Some(&format!("{at}.{name}")), format!("{at}.{name} is missing"));
    Ok(Tool {
        name: tool.name.ok_or_else(|| missing("name"))?,
        description: tool.description,
        parameters: tool.input_schema,
        strict: tool.strict,
        cache: tool.cache_control.map(CachePoint::from),
    })
}

#[derive(Deserialize, Default)]
struct Choice {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
    disable_parallel_tool_use: Option<bool>,
}

impl Choice {
    fn read(&self) -> Result<Option<ToolChoice>, Unreadable> {
        match (self.kind.as_deref(), &self.name) {
            (None, _) => Ok(None),
            (Some("auto"), _) => Ok(Some(ToolChoice::Auto)),
            (Some("none"), _) => Ok(Some(ToolChoice::None)),
            (Some("any"), _) => Ok(Some(ToolChoice::Required)),
            (Some("tool"), Some(name)) => Ok(Some(ToolChoice::Tool(name.clone()))),
            _ => Err(Unreadable::new(
                Some("tool_choice"),
                "tool_choice must be of type auto, any, none, or tool with a name",
            )),
        }
    }
}

#[derive(Deserialize, Default)]
struct Metadata {
    user_id: Option<String>,
}

#[derive(Deserialize, Default)]
struct OutputConfig {
    effort: Option<String>,
    format: Option<OutputFormat>,
    #[serde(flatten)]
    rest: BTreeMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
struct OutputFormat {
    #[serde(rename = "type")]
    kind: String,
    schema: Option<Json>,
}

fn read_format(format: Option<OutputFormat>) -> Result<Format, Unfit> {
    match format {
        None => Ok(Format::Text),
        Some(OutputFormat {
            kind,
            schema: Some(schema),
        }) if kind == "json_schema" => Ok(Format::JsonSchema {
            name: None,
            description: None,
            schema,
            // Anthropic's answers always fit.
            strict: Some(true),
        }),
        Some(_) => {
            let message = "output_config.format must be of type json_schema, with a schema";
            Err(Unreadable::new(Some("output_config.format"), message).into())
        }
    }
}

#[derive(Deserialize)]
struct Thinking {
    #[serde(rename = "type")]
    kind: String,
    budget_tokens: Option<u64>,
    display: Option<IgnoredAny>,
}

/// `adaptive` with an effort is an effort; an effort alone is one too. Beside a budget, or where thinking is off, the effort is lost: it
/// would have changed how much is said, and not how much is thought.
fn read_reasoning(thinking: Option<Thinking>, effort: Option<String>, lost: &mut Lost) -> Result<Option<Reasoning>, Unfit> {
    let Some(thinking) = thinking else {
        return Ok(effort.map(Reasoning::Effort));
    };
    lost.note_if(thinking.display.is_some(), "thinking.display");
    let reasoning = match (thinking.kind.as_str(), thinking.budget_tokens) {
        ("adaptive", _) => return Ok(Some(effort.map_or(Reasoning::Adaptive, Reasoning::Effort))),
        ("enabled", Some(budget)) => Reasoning::Budget(budget),
        ("disabled", _) => Reasoning::Off,
        ("between_tools", _) => {
            lost.note("thinking.type");
            Reasoning::Off
        }
        ("enabled", None) => {
            let at = "thinking.budget_tokens";
            return Err(Unreadable::new(Some(at), format!("{at} is missing")).into());
        }
        (kind, _) => {
            return Err(Unsupported::new("thinking.type", format!("is {kind}, which models of other providers do not know")).into());
        }
    };
    lost.note_if(effort.is_some(), "output_config.effort");
    Ok(Some(reasoning))
}
