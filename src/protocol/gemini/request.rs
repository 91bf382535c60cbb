//! Writes requests.

use super::super::chat::{Format, Lost, Request, ToolChoice, Unsupported};
use super::model::Model;
use super::wire::{Body, Content, FunctionCallingConfig, FunctionDeclaration, GenerationConfig, ToolConfig, Tools};
use super::{contents, thinking};

/// Texts that may end an answer.
const STOPS: usize = 5;
/// Answers to one request.
const CHOICES: u64 = 8;

/// The body of a request to `model`, which is named in the path, and what of the request was left out. Whether the answer is a stream is said
/// by the path.
///
/// # Errors
/// When the request asks for what Gemini does not have.
pub fn write_request(request: &Request, model: &str) -> Result<(Vec<u8>, Lost), Unsupported> {
    let (body, lost) = body(request, model)?;
    let json = serde_json::to_vec(&body).expect("strings, numbers and JSON are JSON");
    Ok((json, lost))
}

pub(super) fn body<'a>(request: &'a Request, model: &str) -> Result<(Body<'a>, Lost), Unsupported> {
    let Request {
        messages,
        tools,
        tool_choice,
        parallel_tool_calls,
        max_tokens,
        temperature,
        top_p,
        top_k,
        presence_penalty,
        frequency_penalty,
        seed,
        stop,
        format,
        reasoning,
        choices,
        user,
        stream: _,
    } = request;
    let mut lost = Lost::default();
    let model = Model::new(model);
    let (contents, system) = contents::write(messages, model, &mut lost)?;
    lost.note_if(*parallel_tool_calls == Some(false) && !tools.is_empty(), "parallel_tool_calls");
    lost.note_if(user.is_some(), "user");
    if stop.len() > STOPS {
        let problem = format!("holds {} texts, and the model takes {STOPS} at most", stop.len());
        return Err(Unsupported::new("stop", problem));
    }
    if choices.is_some_and(|n| !(1..=CHOICES).contains(&n)) {
        return Err(Unsupported::new("n", format!("must be between 1 and {CHOICES} for this model")));
    }
    if seed
        .as_ref()
        .is_some_and(|seed| seed.as_i64().is_none_or(|seed| i32::try_from(seed).is_err()))
    {
        return Err(Unsupported::new("seed", "must be a whole number of 32 bits for this model"));
    }
    if *format != Format::Text && !tools.is_empty() && model.is_earlier() {
        return Err(Unsupported::new("response_format", "cannot be combined with tools by this model"));
    }
    let schema = match format {
        Format::JsonSchema {
            name,
            description,
            schema,
            strict: _,
        } => {
            lost.note_if(name.is_some(), "response_format.json_schema.name");
            lost.note_if(description.is_some(), "response_format.json_schema.description");
            Some(schema)
        }
        Format::Text | Format::JsonObject => None,
    };
    let config = GenerationConfig {
        temperature: temperature.as_ref(),
        top_p: top_p.as_ref(),
        top_k: top_k.as_ref(),
        candidate_count: choices.filter(|n| *n > 1),
        max_output_tokens: *max_tokens,
        stop_sequences: stop,
        presence_penalty: presence_penalty.as_ref(),
        frequency_penalty: frequency_penalty.as_ref(),
        seed: seed.as_ref(),
        response_mime_type: (*format != Format::Text).then_some("application/json"),
        // Takes JSON schema as it is, where `responseSchema` takes a dialect of OpenAPI's.
        response_json_schema: schema,
        thinking_config: match reasoning {
            Some(reasoning) => Some(thinking::config(reasoning, model, &mut lost)?),
            None => None,
        },
    };
    let body = Body {
        model: None,
        contents,
        system_instruction: (!system.is_empty()).then_some(Content { role: None, parts: system }),
        tools: declarations(request, &mut lost),
        tool_config: tool_config(tool_choice.as_ref(), !tools.is_empty())?,
        generation_config: (config != GenerationConfig::default()).then_some(config),
    };
    Ok((body, lost))
}

fn declarations<'a>(request: &'a Request, lost: &mut Lost) -> Option<[Tools<'a>; 1]> {
    // Where a call is demanded, Google promises that its arguments fit.
    let fits = matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Tool(_)));
    for (index, tool) in request.tools.iter().enumerate() {
        lost.note_if(tool.strict == Some(true) && !fits, &format!("tools[{index}].strict"));
        lost.note_if(tool.cache.is_some(), &format!("tools[{index}].cache_control"));
    }
    let declaration = request.tools.iter().map(|tool| FunctionDeclaration {
        name: &tool.name,
        description: tool.description.as_deref(),
        parameters_json_schema: tool.parameters.as_ref(),
    });
    let function_declarations: Vec<_> = declaration.collect();
    (!function_declarations.is_empty()).then_some([Tools { function_declarations }])
}

/// Gemini takes none where there are no tools.
fn tool_config(choice: Option<&ToolChoice>, has_tools: bool) -> Result<Option<ToolConfig<'_>>, Unsupported> {
    let (mode, name) = match choice {
        None => return Ok(None),
        Some(ToolChoice::Auto | ToolChoice::None) if !has_tools => return Ok(None),
        Some(_) if !has_tools => return Err(Unsupported::new("tool_choice", "demands a call, and there are no tools")),
        Some(ToolChoice::Auto) => ("AUTO", None),
        Some(ToolChoice::None) => ("NONE", None),
        Some(ToolChoice::Required) => ("ANY", None),
        Some(ToolChoice::Tool(name)) => ("ANY", Some([name.as_str()])),
    };
    Ok(Some(ToolConfig {
        function_calling_config: FunctionCallingConfig {
            mode,
            allowed_function_names: name,
        },
    }))
}
