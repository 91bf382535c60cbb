//! A request, field by field: into the common form, onto the list of what is left out, or refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Number;
use serde_json::value::RawValue;

use super::read::{Losses, Unknown, option, refused, told, value};
use super::{input, tools};
use crate::protocol::chat::{Format, Json, Lost, Message, Reasoning, Request, Role, Unfit, Unreadable};
use crate::protocol::misread::misread_body;

/// The fields of a request, unread. One that is null counts as not given.
#[derive(Deserialize)]
pub(super) struct Fields<'a> {
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) instructions: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) tools: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) tool_choice: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) parallel_tool_calls: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) max_output_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) temperature: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) top_p: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) text: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) user: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) safety_identifier: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    stream_options: Option<&'a RawValue>,
    #[serde(borrow)]
    store: Option<&'a RawValue>,
    #[serde(borrow)]
    service_tier: Option<&'a RawValue>,
    #[serde(borrow)]
    include: Option<&'a RawValue>,
    #[serde(borrow)]
    truncation: Option<&'a RawValue>,
    #[serde(borrow)]
    top_logprobs: Option<&'a RawValue>,
    #[serde(borrow)]
    background: Option<&'a RawValue>,
    #[serde(borrow)]
    context_management: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt_cache_options: Option<&'a RawValue>,
    prompt_cache_key: Option<IgnoredAny>,
    prompt_cache_retention: Option<IgnoredAny>,
    background_options: Option<IgnoredAny>,
    max_tool_calls: Option<IgnoredAny>,
    access_programs: Option<IgnoredAny>,
    image: Option<IgnoredAny>,
    previous_response_id: Option<IgnoredAny>,
    conversation: Option<IgnoredAny>,
    prompt: Option<IgnoredAny>,
    moderation: Option<IgnoredAny>,
    #[serde(rename = "model")]
    _model: Option<IgnoredAny>,
    #[serde(flatten)]
    unknown: Unknown,
}

impl<'a> Fields<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<Self, Unreadable> {
        serde_json::from_slice(body).map_err(|error| misread_body(&error))
    }
}

/// Reads a request into the common form. `store: true` is noted as left out; where `store` is not given nothing is noted, although OpenAI
/// would store the answer then: the answer says `store: false`.
///
/// # Errors
/// When it is no such request, or asks for what only OpenAI has.
pub fn read_request(body: &[u8]) -> Result<(Request, Lost), Unfit> {
    let fields = Fields::read(body)?;
    let mut losses = Losses::default();
    fields.unknown.note("", &mut losses);
    refuse(&fields)?;
    hints(&fields, &mut losses)?;
    let mut tools = match fields.tools {
        Some(raw) => tools::read(raw, &mut losses)?,
        None => Vec::new(),
    };
    let tool_choice = match fields.tool_choice {
        Some(raw) => tools::choice(raw, &mut tools)?,
        None => None,
    };
    let request = Request {
        messages: messages(&fields, &mut losses)?,
        tools,
        tool_choice,
        parallel_tool_calls: option(fields.parallel_tool_calls, "parallel_tool_calls", "true or false")?,
        max_tokens: option(fields.max_output_tokens, "max_output_tokens", "a whole number")?,
        temperature: option::<Number>(fields.temperature, "temperature", "a number")?,
        top_p: option::<Number>(fields.top_p, "top_p", "a number")?,
        format: format(fields.text, &mut losses)?,
        reasoning: reasoning(fields.reasoning, &mut losses)?,
        user: user(&fields, &mut losses)?,
        stream: option(fields.stream, "stream", "true or false")?.unwrap_or_default(),
        ..Request::default()
    };
    Ok((request, losses.into_lost()))
}

fn messages(fields: &Fields<'_>, losses: &mut Losses) -> Result<Vec<Message>, Unfit> {
    let instructions: Option<String> = option(fields.instructions, "instructions", "a string")?;
    let instructions = instructions.filter(|text| !text.is_empty());
    let mut messages: Vec<Message> = instructions.map(|text| Message::text(Role::System, text)).into_iter().collect();
    let Some(raw) = fields.input else {
        return Err(Unreadable::new(Some("input"), "input is required: a string or a list of items").into());
    };
    messages.extend(input::read(raw, losses)?);
    if messages.is_empty() {
        return Err(Unreadable::new(Some("input"), "input says nothing").into());
    }
    Ok(messages)
}

/// Refuses what would mean something else if it were left out.
fn refuse(fields: &Fields<'_>) -> Result<(), Unfit> {
    let stored = "refers to what is stored at OpenAI, and nothing is stored here: send the conversation itself";
    let refuse_if = |is_asked: bool, field: &str, problem: &str| if is_asked { Err(refused(field, problem)) } else { Ok(()) };
    refuse_if(fields.previous_response_id.is_some(), "previous_response_id", stored)?;
    refuse_if(fields.conversation.is_some(), "conversation", stored)?;
    refuse_if(fields.prompt.is_some(), "prompt", stored)?;
    refuse_if(
        fields.moderation.is_some(),
        "moderation",
        "asks for judgements that only OpenAI gives",
    )?;
    let background = option::<bool>(fields.background, "background", "true or false")?;
    refuse_if(
        background == Some(true),
        "background",
        "asks for an answer later, and no answer is stored here",
    )?;
    let logprobs = option::<u64>(fields.top_logprobs, "top_logprobs", "a whole number")?;
    refuse_if(
        logprobs.unwrap_or_default() > 0,
        "top_logprobs",
        "asks for probabilities of tokens, which are not translated",
    )?;
    let truncation = option::<String>(fields.truncation, "truncation", "auto or disabled")?;
    let is_truncating = truncation.is_some_and(|how| how != "disabled");
    refuse_if(
        is_truncating,
        "truncation",
        "asks to drop what does not fit, which only OpenAI does: shorten the input",
    )?;
    let managing = option::<Vec<IgnoredAny>>(fields.context_management, "context_management", "a list")?;
    let is_managing = managing.is_some_and(|list| !list.is_empty());
    refuse_if(
        is_managing,
        "context_management",
        "asks to shorten the conversation, which only OpenAI does",
    )
}

#[derive(Deserialize)]
struct CacheOptions {
    prewarm: Option<bool>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_obfuscation: Option<bool>,
}

/// Notes what does no harm if it is left out. `metadata` is not among it: the answer repeats it, and that is all there is of an answer.
fn hints(fields: &Fields<'_>, losses: &mut Losses) -> Result<(), Unfit> {
    let stores = option::<bool>(fields.store, "store", "true or false")?;
    losses.note_if(stores == Some(true), "", "store");
    let tier = option::<String>(fields.service_tier, "service_tier", "a string")?;
    let is_special = tier.is_some_and(|tier| !matches!(tier.as_str(), "auto" | "default"));
    losses.note_if(is_special, "", "service_tier");
    let cache: Option<CacheOptions> = option(fields.prompt_cache_options, "prompt_cache_options", "an object")?;
    if cache.as_ref().is_some_and(|options| options.prewarm == Some(true)) {
        return Err(refused(
            "prompt_cache_options.prewarm",
            "asks for no answer, which only OpenAI gives",
        ));
    }
    losses.note_if(cache.is_some(), "", "prompt_cache_options");
    losses.note_if(fields.prompt_cache_key.is_some(), "", "prompt_cache_key");
    losses.note_if(fields.prompt_cache_retention.is_some(), "", "prompt_cache_retention");
    losses.note_if(fields.background_options.is_some(), "", "background_options");
    // It limits tools that run at OpenAI, of which there are none here.
    losses.note_if(fields.max_tool_calls.is_some(), "", "max_tool_calls");
    losses.note_if(fields.access_programs.is_some(), "", "access_programs");
    losses.note_if(fields.image.is_some(), "", "image");
    let stream: Option<StreamOptions> = option(fields.stream_options, "stream_options", "an object")?;
    let pads = stream.is_some_and(|options| options.include_obfuscation == Some(true));
    losses.note_if(pads, "", "stream_options.include_obfuscation");
    let what = "an object of at most 16 strings";
    let metadata: Option<BTreeMap<String, String>> = option(fields.metadata, "metadata", what)?;
    if metadata.is_some_and(|pairs| pairs.len() > 16) {
        return Err(Unreadable::new(Some("metadata"), format!("metadata must be {what}")).into());
    }
    include(fields.include, losses)
}

/// What is to be in the answer besides. Seals on thoughts always are; results of tools that run at OpenAI cannot be, and do no harm.
fn include(raw: Option<&RawValue>, losses: &mut Losses) -> Result<(), Unfit> {
    let list: Vec<String> = option(raw, "include", "a list of strings")?.unwrap_or_default();
    for (index, what) in list.iter().enumerate() {
        match what.as_str() {
            "reasoning.encrypted_content" => {}
            "file_search_call.results"
            | "web_search_call.results"
            | "web_search_call.action.sources"
            | "message.input_image.image_url"
            | "computer_call_output.output.image_url"
            | "code_interpreter_call.outputs" => losses.note("", "include"),
            "message.output_text.logprobs" => {
                return Err(refused(
                    format!("include[{index}]"),
                    "asks for probabilities of tokens, which are not translated",
                ));
            }
            other => {
                return Err(refused(
                    format!("include[{index}]"),
                    format!("asks for `{}`, which is not known here", told(other)),
                ));
            }
        }
    }
    Ok(())
}

/// `safety_identifier` replaces `user`, and both name the client's own user.
fn user(fields: &Fields<'_>, losses: &mut Losses) -> Result<Option<String>, Unfit> {
    let user: Option<String> = option(fields.user, "user", "a string")?;
    let identifier: Option<String> = option(fields.safety_identifier, "safety_identifier", "a string")?;
    losses.note_if(user.is_some() && identifier.is_some(), "", "user");
    Ok(identifier.or(user))
}

#[derive(Deserialize)]
pub(super) struct TextFields<'a> {
    #[serde(borrow)]
    pub(super) format: Option<&'a RawValue>,
    verbosity: Option<String>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Deserialize)]
struct FormatFields<'a> {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    description: Option<String>,
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
    strict: Option<bool>,
    #[serde(flatten)]
    unknown: Unknown,
}

fn format(raw: Option<&RawValue>, losses: &mut Losses) -> Result<Format, Unfit> {
    let Some(text) = option::<TextFields<'_>>(raw, "text", "an object")? else {
        return Ok(Format::Text);
    };
    text.unknown.note("text", losses);
    losses.note_if(text.verbosity.is_some(), "text", "verbosity");
    let Some(raw) = text.format else { return Ok(Format::Text) };
    let format: FormatFields<'_> = value(raw, "text.format", "an object with its type")?;
    format.unknown.note("text.format", losses);
    match format.kind.as_str() {
        "text" => Ok(Format::Text),
        "json_object" => Ok(Format::JsonObject),
        "json_schema" => {
            let schema = format.schema.filter(|schema| schema.get().starts_with('{')).ok_or_else(|| {
                let at = "text.format.schema";
                Unreadable::new(Some(at), format!("{at} must be a JSON schema: an object"))
            })?;
            Ok(Format::JsonSchema {
                name: format.name,
                description: format.description,
                schema: Json::from(schema),
                strict: format.strict,
            })
        }
        kind => Err(refused(
            "text.format",
            format!("is of the type `{}`, which only OpenAI itself takes", told(kind)),
        )),
    }
}

#[derive(Deserialize)]
pub(super) struct ReasoningFields<'a> {
    #[serde(borrow)]
    pub(super) effort: Option<&'a RawValue>,
    summary: Option<String>,
    generate_summary: Option<String>,
    context: Option<String>,
    mode: Option<String>,
    #[serde(flatten)]
    unknown: Unknown,
}

fn reasoning(raw: Option<&RawValue>, losses: &mut Losses) -> Result<Option<Reasoning>, Unfit> {
    let Some(fields) = option::<ReasoningFields<'_>>(raw, "reasoning", "an object")? else {
        return Ok(None);
    };
    fields.unknown.note("reasoning", losses);
    losses.note_if(fields.summary.is_some(), "reasoning", "summary");
    losses.note_if(fields.generate_summary.is_some(), "reasoning", "generate_summary");
    losses.note_if(fields.context.is_some_and(|context| context != "auto"), "reasoning", "context");
    if fields.mode.is_some_and(|mode| mode != "standard") {
        return Err(refused("reasoning.mode", "asks for a way of working that only OpenAI has"));
    }
    let effort: Option<String> = option(fields.effort, "reasoning.effort", "a string")?;
    Ok(effort.map(|effort| match effort.as_str() {
        "none" => Reasoning::Off,
        _ => Reasoning::Effort(effort),
    }))
}
