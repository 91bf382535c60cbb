//! A request for a chat completion, written from the common form in one of the flavors that servers have.

mod content;
mod message;

use serde::Serialize;
use serde_json::Number;

use super::Flavor;
use crate::protocol::chat::{Format, Json, Lost, Reasoning, Request, Tool, ToolChoice, Unsupported};

/// What a schema is called where the client gave it no name and the protocol wants one.
const SCHEMA_NAME: &str = "answer";

/// Writes a request to the model of this name. A stream always ends with a report of tokens: OpenAI and its imitators are asked for it, and
/// Mistral sends it unasked.
///
/// # Errors
/// When the conversation has parts that the protocol has no place for, such as a document at an address.
pub fn write_request(request: &Request, model: &str, flavor: Flavor) -> Result<(Vec<u8>, Lost), Unsupported> {
    let mut lost = Lost::default();
    let is_mistral = flavor == Flavor::Mistral;
    let reasoning = match &request.reasoning {
        Some(reasoning) => write_reasoning(reasoning, model, flavor, &mut lost),
        None => Thinking::default(),
    };
    lost.note_if(request.top_k.is_some() && flavor != Flavor::Compatible, "top_k");
    lost.note_if(request.user.is_some() && is_mistral, "user");
    let (old_limit, limit) = match flavor {
        Flavor::OpenAI => (None, request.max_tokens),
        Flavor::Compatible | Flavor::Mistral => (request.max_tokens, None),
    };
    let body = Body {
        model,
        messages: message::write_all(&request.messages, flavor, &mut lost)?,
        tools: write_tools(&request.tools, flavor, &mut lost),
        tool_choice: request.tool_choice.as_ref().map(|choice| write_tool_choice(choice, flavor)),
        parallel_tool_calls: request.parallel_tool_calls,
        max_tokens: old_limit,
        max_completion_tokens: limit,
        temperature: request.temperature.as_ref(),
        top_p: request.top_p.as_ref(),
        top_k: request.top_k.as_ref().filter(|_| flavor == Flavor::Compatible),
        presence_penalty: request.presence_penalty.as_ref(),
        frequency_penalty: request.frequency_penalty.as_ref(),
        seed: request.seed.as_ref().filter(|_| !is_mistral),
        random_seed: request.seed.as_ref().filter(|_| is_mistral),
        stop: &request.stop,
        response_format: write_format(&request.format),
        reasoning_effort: reasoning.effort,
        prompt_mode: reasoning.prompt_mode,
        n: request.choices,
        user: request.user.as_deref().filter(|_| !is_mistral),
        stream: request.stream,
        stream_options: (request.stream && !is_mistral).then_some(StreamOptions { include_usage: true }),
    };
    let body = serde_json::to_vec(&body).expect("strings, numbers and JSON are always JSON");
    Ok((body, lost))
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<message::Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WrittenTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'a Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<&'a Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<&'a Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<&'a Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<&'a Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<&'a Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    random_seed: Option<&'a Number>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<WrittenFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct WrittenTool<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Parameters<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Parameters<'a> {
    Given(&'a Json),
    None { r#type: &'static str, properties: Empty },
}

#[derive(Serialize)]
struct Empty {}

fn write_tools<'a>(tools: &'a [Tool], flavor: Flavor, lost: &mut Lost) -> Vec<WrittenTool<'a>> {
    let mut written = Vec::with_capacity(tools.len());
    for (index, tool) in tools.iter().enumerate() {
        if tool.cache.is_some() {
            lost.note(format!("tools[{index}].cache_control"));
        }
        // Mistral wants a schema also where there is nothing to say.
        let none = (flavor == Flavor::Mistral).then_some(Parameters::None {
            r#type: "object",
            properties: Empty {},
        });
        let function = Function {
            name: &tool.name,
            description: tool.description.as_deref(),
            parameters: tool.parameters.as_ref().map(Parameters::Given).or(none),
            strict: tool.strict,
        };
        written.push(WrittenTool {
            r#type: "function",
            function,
        });
    }
    written
}

#[derive(Serialize)]
#[serde(untagged)]
enum Choice<'a> {
    Word(&'static str),
    Tool { r#type: &'static str, function: Name<'a> },
}

#[derive(Serialize)]
struct Name<'a> {
    name: &'a str,
}

fn write_tool_choice(choice: &ToolChoice, flavor: Flavor) -> Choice<'_> {
    match choice {
        ToolChoice::Auto => Choice::Word("auto"),
        ToolChoice::None => Choice::Word("none"),
        ToolChoice::Required if flavor == Flavor::Mistral => Choice::Word("any"),
        ToolChoice::Required => Choice::Word("required"),
        ToolChoice::Tool(name) => Choice::Tool {
            r#type: "function",
            function: Name { name },
        },
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WrittenFormat<'a> {
    JsonObject,
    JsonSchema { json_schema: Schema<'a> },
}

#[derive(Serialize)]
struct Schema<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    schema: &'a Json,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

fn write_format(format: &Format) -> Option<WrittenFormat<'_>> {
    match format {
        Format::Text => None,
        Format::JsonObject => Some(WrittenFormat::JsonObject),
        Format::JsonSchema {
            name,
            description,
            schema,
            strict,
        } => Some(WrittenFormat::JsonSchema {
            json_schema: Schema {
                name: name.as_deref().unwrap_or(SCHEMA_NAME),
                description: description.as_deref(),
                schema,
                strict: *strict,
            },
        }),
    }
}

/// How much a model is to think, in the protocol's words.
#[derive(Default)]
struct Thinking<'a> {
    effort: Option<&'a str>,
    prompt_mode: Option<&'static str>,
}

/// A number of tokens becomes the nearest word, and is noted as lost.
fn write_reasoning<'a>(reasoning: &'a Reasoning, model: &str, flavor: Flavor, lost: &mut Lost) -> Thinking<'a> {
    let effort = match reasoning {
        Reasoning::Off => Some("none"),
        Reasoning::Effort(effort) => Some(effort.as_str()),
        Reasoning::Budget(tokens) => {
            lost.note("reasoning_effort");
            Some(effort_of(*tokens))
        }
        Reasoning::Adaptive => None,
    };
    if flavor == Flavor::Mistral {
        return write_mistrals_reasoning(effort, model, lost);
    }
    Thinking { effort, prompt_mode: None }
}

/// The words for about as much thought as so many tokens allow.
fn effort_of(tokens: u64) -> &'static str {
    match tokens {
        0..=2048 => "low",
        2049..=8192 => "medium",
        _ => "high",
    }
}

/// Mistral's models either always think, in a mode of the prompt (`magistral-…`), or as `reasoning_effort` says, which is `none` or `high`
/// and by default `none`.
fn write_mistrals_reasoning(effort: Option<&str>, model: &str, lost: &mut Lost) -> Thinking<'static> {
    let is_wanted = !matches!(effort, Some("none" | "minimal"));
    if model.starts_with("magistral") {
        lost.note_if(effort.is_some(), "reasoning_effort");
        return Thinking {
            effort: None,
            prompt_mode: is_wanted.then_some("reasoning"),
        };
    }
    lost.note_if(!matches!(effort, None | Some("none" | "high")), "reasoning_effort");
    Thinking {
        effort: Some(if is_wanted { "high" } else { "none" }),
        prompt_mode: None,
    }
}
