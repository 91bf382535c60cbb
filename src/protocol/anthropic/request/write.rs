//! A request in the common form, written for a model that speaks Anthropic's Messages.

use serde::Serialize;
use serde_json::Number;

use super::super::block::{CacheControl, Written};
use super::super::model::Model;
use super::effort::{self, WrittenThinking};
use super::messages::{Conversation, WrittenMessage};
use crate::protocol::chat::{Format, Json, Lost, Request, Tool, ToolChoice, Unsupported};

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Written<'a>>,
    messages: Vec<WrittenMessage<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WrittenTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<WrittenChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<WrittenThinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'a Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<&'a Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<&'a Number>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
}

#[derive(Serialize)]
struct WrittenTool<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    input_schema: Json,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

#[derive(Serialize)]
struct WrittenChoice<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disable_parallel_tool_use: Option<bool>,
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<OutputFormat<'a>>,
}

#[derive(Serialize)]
struct OutputFormat<'a> {
    r#type: &'static str,
    schema: &'a Json,
}

#[derive(Serialize)]
struct Metadata<'a> {
    user_id: &'a str,
}

/// Writes a request for `model`, and tells what it leaves out. `max_tokens_default` is for clients that set no limit, which Anthropic
/// demands; putting it in is no loss. Structured outputs are written in the form that needs no beta header.
///
/// # Errors
/// When leaving something out would change what the request means.
pub fn write_request(request: &Request, model: &str, max_tokens_default: u64) -> Result<(Vec<u8>, Lost), Unsupported> {
    let takes = Model::named(model);
    let mut lost = Lost::default();
    check(request, &takes, &mut lost)?;
    let effort = effort::plan(request, &takes, max_tokens_default, &mut lost)?;
    let sampling = effort::sampling(request, &takes, &effort, &mut lost);
    let format = format(&request.format, &takes, &mut lost)?;
    let tool_choice = tool_choice(request, &takes)?;
    let mut conversation = Conversation::new(takes, &mut lost);
    let tools = tools(&request.tools, &takes, &mut conversation);
    conversation.write(&request.messages)?;
    let Conversation { system, messages, .. } = conversation;
    tools.unstrict.into_iter().for_each(|field| lost.note(field));
    let body = Body {
        model,
        max_tokens: effort.max_tokens,
        system,
        messages,
        tools: tools.written,
        tool_choice,
        thinking: effort.thinking,
        output_config: (effort.effort.is_some() || format.is_some()).then_some(OutputConfig {
            effort: effort.effort,
            format,
        }),
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        top_k: sampling.top_k,
        stop_sequences: &request.stop,
        metadata: request.user.as_deref().map(|user_id| Metadata { user_id }),
        stream: request.stream,
    };
    Ok((serde_json::to_vec(&body).expect("texts, numbers and JSON are always JSON"), lost))
}

/// What Anthropic has no place for, and what it would refuse.
fn check(request: &Request, model: &Model, lost: &mut Lost) -> Result<(), Unsupported> {
    if request.choices.is_some_and(|choices| choices > 1) {
        return Err(Unsupported::new("n", "asks for several answers, and the model gives one"));
    }
    let is_blank = |text: &String| text.trim().is_empty();
    if let Some(i) = request.stop.iter().position(is_blank).filter(|_| model.is_claude) {
        return Err(Unsupported::new(
            format!("stop[{i}]"),
            "is nothing but white space, and the model cannot stop there",
        ));
    }
    let is_asked = |penalty: &Option<Number>| penalty.as_ref().is_some_and(|penalty| penalty.as_f64() != Some(0.0));
    lost.note_if(is_asked(&request.presence_penalty), "presence_penalty");
    lost.note_if(is_asked(&request.frequency_penalty), "frequency_penalty");
    lost.note_if(request.seed.is_some(), "seed");
    Ok(())
}

fn format<'a>(format: &'a Format, model: &Model, lost: &mut Lost) -> Result<Option<OutputFormat<'a>>, Unsupported> {
    match format {
        Format::Text => Ok(None),
        Format::JsonObject => Err(Unsupported::new(
            "response_format",
            "asks for any JSON object, and the model can be held to a schema only",
        )),
        Format::JsonSchema { .. } if !model.takes_schemas => Err(Unsupported::new(
            "response_format",
            "asks for an answer that fits a schema, to which this model cannot be held",
        )),
        Format::JsonSchema {
            name, description, schema, ..
        } => {
            lost.note_if(name.is_some(), "response_format.json_schema.name");
            lost.note_if(description.is_some(), "response_format.json_schema.description");
            Ok(Some(OutputFormat {
                r#type: "json_schema",
                schema,
            }))
        }
    }
}

struct Tools<'a> {
    written: Vec<WrittenTool<'a>>,
    /// Which of them cannot be held to their schema as they were to be.
    unstrict: Vec<String>,
}

fn tools<'a>(tools: &'a [Tool], model: &Model, conversation: &mut Conversation<'_, '_>) -> Tools<'a> {
    let empty = || Json::parse(r#"{"type":"object","properties":{}}"#).expect("this is JSON");
    let written = tools.iter().enumerate().map(|(i, tool)| WrittenTool {
        name: &tool.name,
        description: tool.description.as_deref(),
        input_schema: tool.parameters.clone().unwrap_or_else(empty),
        strict: tool.strict.filter(|_| model.takes_schemas),
        cache_control: tool
            .cache
            .as_ref()
            .and_then(|point| conversation.control(point, &format!("tools[{i}].cache_control"))),
    });
    let is_unstrict = |tool: &Tool| tool.strict == Some(true) && !model.takes_schemas;
    Tools {
        written: written.collect(),
        unstrict: (0..tools.len())
            .filter(|i| is_unstrict(&tools[*i]))
            .map(|i| format!("tools[{i}].strict"))
            .collect(),
    }
}

fn tool_choice<'a>(request: &'a Request, model: &Model) -> Result<Option<WrittenChoice<'a>>, Unsupported> {
    let is_forced = matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Tool(_)));
    if request.tools.is_empty() {
        return match is_forced {
            true => Err(Unsupported::new(
                "tool_choice",
                "asks for a tool to be called, and the request has none",
            )),
            false => Ok(None),
        };
    }
    if is_forced && !model.can_be_forced {
        return Err(Unsupported::new(
            "tool_choice",
            "asks for a tool to be called, to which this model cannot be forced",
        ));
    }
    let parallel = request.parallel_tool_calls;
    let (r#type, name) = match &request.tool_choice {
        None if parallel.is_none() => return Ok(None),
        None | Some(ToolChoice::Auto) => ("auto", None),
        Some(ToolChoice::Required) => ("any", None),
        Some(ToolChoice::Tool(name)) => ("tool", Some(name.as_str())),
        Some(ToolChoice::None) => ("none", None),
    };
    Ok(Some(WrittenChoice {
        r#type,
        name,
        disable_parallel_tool_use: parallel.map(|is_parallel| !is_parallel).filter(|_| r#type != "none"),
    }))
}
