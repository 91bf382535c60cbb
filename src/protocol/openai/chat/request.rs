//! A client's request for a chat completion, read into the common form. What has no place there is noted as left out, or refused where
//! leaving it out would change the answer.

use serde_json::value::RawValue;

use super::message;
use crate::protocol::chat::{Format, Json, Lost, Reasoning, Request, Tool, ToolChoice, Unfit, Unsupported};
use crate::protocol::fields::Fields;
use crate::protocol::misread::shown;

/// What only some servers have, and why a request that asks for it cannot go to another.
const REFUSED: &[(&str, &str)] = &[
    ("functions", "is deprecated and not translated: use tools"),
    ("function_call", "is deprecated and not translated: use tool_choice"),
    ("audio", "asks for sound, and this model answers in text"),
    (
        "web_search_options",
        "asks the provider to search the web, which this model's provider does not do in OpenAI's way",
    ),
    ("structured_outputs", "is vLLM's alone: use response_format"),
    ("guided_json", "is vLLM's alone: use response_format"),
    ("guided_regex", "is vLLM's alone: use response_format"),
    ("guided_choice", "is vLLM's alone: use response_format"),
    ("guided_grammar", "is vLLM's alone: use response_format"),
    ("grammar", "is llama.cpp's alone: use response_format"),
];

/// Reads a request.
///
/// # Errors
/// When the request is wrong, or asks for what only OpenAI's protocol has: probabilities, sound, deprecated functions, files kept elsewhere.
pub fn read_request(body: &[u8]) -> Result<(Request, Lost), Unfit> {
    let mut lost = Lost::default();
    let mut fields = Fields::of_body(body)?;
    fields.raw("model");
    refuse(&mut fields)?;
    let Some(messages) = fields.objects("messages")? else {
        return Err(fields.wrong("messages", "a list of messages").into());
    };
    let old_limit = fields.take("max_tokens", "a whole number")?;
    let request = Request {
        messages: message::read_all(messages, &mut lost)?,
        tools: match fields.objects("tools")? {
            Some(tools) => tools.into_iter().map(|tool| read_tool(tool, &mut lost)).collect::<Result<_, _>>()?,
            None => Vec::new(),
        },
        tool_choice: read_tool_choice(&mut fields, &mut lost)?,
        parallel_tool_calls: fields.take("parallel_tool_calls", "true or false")?,
        max_tokens: fields.take("max_completion_tokens", "a whole number")?.or(old_limit),
        format: read_format(&mut fields, &mut lost)?,
        reasoning: fields.text("reasoning_effort")?.map(|effort| match effort.as_str() {
            "none" => Reasoning::Off,
            _ => Reasoning::Effort(effort),
        }),
        ..read_sampling(&mut fields, &mut lost)?
    };
    fields.rest(&mut lost);
    Ok((request, lost))
}

/// Reads what chat completions and completions have in common.
pub(in crate::protocol::openai) fn read_sampling(fields: &mut Fields<'_>, lost: &mut Lost) -> Result<Request, Unfit> {
    refuse_bias(fields)?;
    if let Some(mut options) = fields.object("stream_options")? {
        // Whether tokens are reported is decided where the stream is written.
        options.take::<bool>("include_usage", "true or false")?;
        options.rest(lost);
    }
    Ok(Request {
        temperature: fields.take("temperature", "a number")?,
        top_p: fields.take("top_p", "a number")?,
        top_k: fields.take("top_k", "a number")?,
        presence_penalty: fields.take("presence_penalty", "a number")?,
        frequency_penalty: fields.take("frequency_penalty", "a number")?,
        seed: fields.take("seed", "a number")?,
        stop: read_stop_texts(fields)?,
        choices: read_choices(fields)?,
        user: fields.text("user")?,
        stream: fields.take("stream", "true or false")?.unwrap_or(false),
        ..Request::default()
    })
}

fn read_choices(fields: &mut Fields<'_>) -> Result<Option<u64>, Unfit> {
    match fields.take("n", "a whole number, 1 at least")? {
        Some(0) => Err(fields.wrong("n", "a whole number, 1 at least").into()),
        choices => Ok(choices),
    }
}

fn read_stop_texts(fields: &mut Fields<'_>) -> Result<Vec<String>, Unfit> {
    let Some(raw) = fields.raw("stop") else { return Ok(Vec::new()) };
    if let Ok(text) = serde_json::from_str(raw.get()) {
        return Ok(vec![text]);
    }
    let wrong = |_| fields.wrong("stop", &format!("a string, or a list of strings, is {}", shown(raw)));
    serde_json::from_str(raw.get()).map_err(|error| wrong(error).into())
}

fn refuse_bias(fields: &mut Fields<'_>) -> Result<(), Unfit> {
    match fields.raw("logit_bias") {
        Some(bias) if bias.get().bytes().any(|byte| byte == b':') => {
            Err(Unsupported::new("logit_bias", "names tokens by numbers that mean nothing to this model").into())
        }
        _ => Ok(()),
    }
}

fn refuse(fields: &mut Fields<'_>) -> Result<(), Unfit> {
    for (name, problem) in REFUSED {
        if fields.raw(name).is_some() {
            return Err(Unsupported::new(*name, *problem).into());
        }
    }
    let probabilities = "asks for probabilities of tokens, which this model does not tell";
    if fields.take("logprobs", "true or false")?.unwrap_or(false) {
        return Err(Unsupported::new("logprobs", probabilities).into());
    }
    if fields.take("top_logprobs", "a whole number")?.unwrap_or(0_u64) > 0 {
        return Err(Unsupported::new("top_logprobs", probabilities).into());
    }
    let forms: Option<Vec<String>> = fields.take("modalities", "a list of strings")?;
    if forms.is_some_and(|forms| forms.iter().any(|form| form != "text")) {
        return Err(Unsupported::new("modalities", "asks for more than text, and this model answers in text").into());
    }
    Ok(())
}

fn read_tool(mut tool: Fields<'_>, lost: &mut Lost) -> Result<Tool, Unfit> {
    let kind: String = tool.need("type", "a string")?;
    if kind != "function" {
        return Err(Unsupported::new(tool.place("type"), "is not function, and only functions are translated").into());
    }
    let cache = message::read_cache_point(&mut tool, lost)?;
    let Some(mut function) = tool.object("function")? else {
        return Err(tool.wrong("function", "an object").into());
    };
    tool.rest(lost);
    let read = Tool {
        name: function.need("name", "a string")?,
        description: function.text("description")?,
        parameters: read_schema(&mut function, "parameters")?,
        strict: function.take("strict", "true or false")?,
        cache,
    };
    function.rest(lost);
    Ok(read)
}

fn read_schema(fields: &mut Fields<'_>, name: &str) -> Result<Option<Json>, Unfit> {
    match fields.raw(name) {
        Some(schema) if !schema.get().starts_with('{') => Err(fields.wrong(name, "a JSON schema").into()),
        schema => Ok(schema.map(Json::from)),
    }
}

fn read_tool_choice(fields: &mut Fields<'_>, lost: &mut Lost) -> Result<Option<ToolChoice>, Unfit> {
    let Some(raw) = fields.raw("tool_choice") else { return Ok(None) };
    let place = fields.place("tool_choice");
    if let Some(word) = word(raw) {
        return match word.as_str() {
            "auto" => Ok(Some(ToolChoice::Auto)),
            "none" => Ok(Some(ToolChoice::None)),
            "required" | "any" => Ok(Some(ToolChoice::Required)),
            _ => Err(fields.wrong("tool_choice", "auto, none, required, or an object").into()),
        };
    }
    let mut choice = Fields::of_object(raw, place)?;
    match choice.need::<String>("type", "function")?.as_str() {
        "function" => {}
        "allowed_tools" => {
            let problem = "is allowed_tools, which this model's protocol does not have: send only these tools";
            return Err(Unsupported::new("tool_choice.type", problem).into());
        }
        _ => return Err(Unsupported::new("tool_choice.type", "is not function, and only functions are translated").into()),
    }
    let Some(mut function) = choice.object("function")? else {
        return Err(choice.wrong("function", "an object").into());
    };
    let name = function.need("name", "a string")?;
    function.rest(lost);
    choice.rest(lost);
    Ok(Some(ToolChoice::Tool(name)))
}

fn word(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn read_format(fields: &mut Fields<'_>, lost: &mut Lost) -> Result<Format, Unfit> {
    let Some(mut format) = fields.object("response_format")? else {
        return Ok(Format::Text);
    };
    let what = "text, json_object or json_schema";
    let read = match format.need::<String>("type", what)?.as_str() {
        "text" => Format::Text,
        "json_object" => Format::JsonObject,
        "json_schema" => {
            let Some(mut schema) = format.object("json_schema")? else {
                return Err(format.wrong("json_schema", "an object").into());
            };
            let read = Format::JsonSchema {
                name: schema.text("name")?,
                description: schema.text("description")?,
                schema: match read_schema(&mut schema, "schema")? {
                    Some(schema) => schema,
                    None => return Err(schema.wrong("schema", "a JSON schema").into()),
                },
                strict: schema.take("strict", "true or false")?,
            };
            schema.rest(lost);
            read
        }
        _ => return Err(format.wrong("type", what).into()),
    };
    format.rest(lost);
    Ok(read)
}
