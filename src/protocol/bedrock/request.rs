//! Writes requests of Converse.

mod conversation;
mod thinking;

use serde_json::Number;
use serde_json::value::RawValue;

use super::model::Model;
use super::written::{self, Additional, InferenceConfig, InputSchema, OutputConfig, Structure, TextFormat, ToolConfig};
use crate::protocol::chat::{Format, Lost, Part, Request, Tool, ToolChoice, Unsupported};
use conversation::Conversation;

/// The schema of a tool that takes no arguments: Converse wants one of every tool.
const NO_ARGUMENTS: &str = r#"{"type":"object","properties":{}}"#;

/// Writes `request` as one to `model`, an ID or ARN, which is not in it but in its path. Whether it is to be streamed is in the path too.
///
/// Fields that only Claude takes go to models that are called so (`anthropic.` in the ID); with any other model they are lost.
///
/// # Errors
/// When Converse cannot say what the request means.
pub fn write_request(request: &Request, model: &str) -> Result<(Vec<u8>, Lost), Unsupported> {
    let model = Model::named(model);
    let mut lost = Lost::default();
    if request.choices.is_some_and(|choices| choices > 1) {
        return Err(Unsupported::new("n", "asks for several answers, and Bedrock's models give one"));
    }
    let text_format = text_format(&request.format)?;
    let tool_config = tool_config(request, model, &mut lost)?;
    let Conversation { system, turns } = Conversation::write(&request.messages, model, &mut lost)?;
    let thought = thinking::choose(request, model, &turns, &mut lost);
    let [temperature, top_p, top_k] = sampling(request, model, thought.is_on(), &mut lost);
    note_lost(request, &mut lost);

    let user = request.user.as_deref().filter(|user| is_metadata(user));
    lost.note_if(request.user.is_some() && user.is_none(), "user");
    let written = written::Request {
        system,
        messages: turns,
        inference_config: InferenceConfig {
            max_tokens: request.max_tokens,
            temperature,
            top_p,
            stop_sequences: &request.stop,
        },
        tool_config,
        output_config: OutputConfig {
            text_format,
            effort: thought.effort,
        },
        additional_model_request_fields: Additional {
            top_k,
            thinking: thought.thinking,
        },
        // Which of the texts ended an answer Claude says only when it is asked.
        additional_model_response_field_paths: if model.is_claude && !request.stop.is_empty() {
            &["/stop_sequence"]
        } else {
            &[]
        },
        request_metadata: user.map(|user| written::Metadata { user }),
    };
    let body = serde_json::to_vec(&written).expect("texts, numbers and JSON are written as JSON");
    Ok((body, lost))
}

fn note_lost(request: &Request, lost: &mut Lost) {
    let is_asked = |penalty: &Option<Number>| penalty.as_ref().is_some_and(|number| number.as_f64() != Some(0.0));
    lost.note_if(is_asked(&request.presence_penalty), "presence_penalty");
    lost.note_if(is_asked(&request.frequency_penalty), "frequency_penalty");
    lost.note_if(request.seed.is_some(), "seed");
    let has_tools = !request.tools.is_empty() && request.tool_choice != Some(ToolChoice::None);
    lost.note_if(has_tools && request.parallel_tool_calls == Some(false), "parallel_tool_calls");
}

/// Temperature, `top_p` and `top_k`, as far as the model takes them: Claude takes none while it thinks, later ones none at all.
fn sampling<'a>(request: &'a Request, model: Model, is_thinking: bool, lost: &mut Lost) -> [Option<&'a Number>; 3] {
    let takes_sampling = model.takes_sampling && !is_thinking;
    // One is what a temperature is anyway.
    let temperature = request
        .temperature
        .as_ref()
        .filter(|number| takes_sampling || number.as_f64() != Some(1.0));
    let takes_top_p = takes_sampling && (model.takes_both || temperature.is_none());
    let mut take = |number: Option<&'a Number>, is_taken: bool, name: &str| {
        lost.note_if(number.is_some() && !is_taken, name);
        number.filter(|_| is_taken)
    };
    [
        take(temperature, takes_sampling, "temperature"),
        take(request.top_p.as_ref(), takes_top_p, "top_p"),
        take(request.top_k.as_ref(), takes_sampling && model.is_claude, "top_k"),
    ]
}

fn text_format(format: &Format) -> Result<Option<TextFormat<'_>>, Unsupported> {
    match format {
        Format::Text => Ok(None),
        Format::JsonObject => Err(Unsupported::new(
            "response_format",
            "asks for any JSON object, and Bedrock wants a schema; give one",
        )),
        Format::JsonSchema {
            name,
            description,
            schema,
            strict: _,
        } => {
            let structure = Structure::JsonSchema {
                schema: schema.text(),
                name: name.as_deref(),
                description: description.as_deref(),
            };
            Ok(Some(TextFormat {
                kind: "json_schema",
                structure,
            }))
        }
    }
}

/// Converse has no way to forbid tools but to leave them out, and does not take a conversation with calls of tools without tools.
fn tool_config<'a>(request: &'a Request, model: Model, lost: &mut Lost) -> Result<Option<ToolConfig<'a>>, Unsupported> {
    let parts = || request.messages.iter().flat_map(|message| &message.parts);
    let has_calls = parts().any(|part| matches!(part, Part::ToolCall { .. } | Part::ToolResult { .. }));
    let is_forbidden = request.tool_choice == Some(ToolChoice::None);
    if request.tools.is_empty() || is_forbidden {
        return match (has_calls, is_forbidden && !request.tools.is_empty()) {
            (false, _) => Ok(None),
            (true, true) => {
                let problem = "forbids tools in a conversation that has called some, which Bedrock has no way to say";
                Err(Unsupported::new("tool_choice", problem))
            }
            (true, false) => {
                let problem = "are missing, and Bedrock wants them with every conversation that has called some; send them again";
                Err(Unsupported::new("tools", problem))
            }
        };
    }
    let mut tools = Vec::new();
    for (tool, index) in request.tools.iter().zip(0..) {
        tools.push(tool_spec(tool));
        if let Some(cache) = &tool.cache {
            let field = || format!("tools[{index}].cache_control");
            let point = conversation::cache_point(cache, model.is_claude, model, field, lost);
            tools.extend(point.map(written::Tool::CachePoint));
        }
    }
    let tool_choice = request.tool_choice.as_ref().and_then(|choice| match choice {
        ToolChoice::Auto => Some(written::ToolChoice::Auto {}),
        ToolChoice::Required => Some(written::ToolChoice::Any {}),
        ToolChoice::Tool(name) => Some(written::ToolChoice::Tool { name }),
        ToolChoice::None => None,
    });
    Ok(Some(ToolConfig { tools, tool_choice }))
}

fn tool_spec(tool: &Tool) -> written::Tool<'_> {
    let schema = tool.parameters.as_ref().map_or(NO_ARGUMENTS, |schema| schema.text());
    let json: &RawValue = serde_json::from_str(schema).expect("a schema was read as JSON");
    written::Tool::ToolSpec {
        name: &tool.name,
        description: tool.description.as_deref().filter(|words| !words.is_empty()),
        input_schema: InputSchema { json },
        strict: tool.strict.filter(|strict| *strict),
    }
}

/// Whether Bedrock takes it as a value of `requestMetadata`, which is for finding requests in its logs.
fn is_metadata(value: &str) -> bool {
    value.len() <= 256 && value.chars().all(|c| c.is_ascii_alphanumeric() || " :_@$#=/+,-.".contains(c))
}

#[cfg(test)]
mod tests;
