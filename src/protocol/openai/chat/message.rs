//! The messages of a client's request, read into the common form.

use serde_json::value::RawValue;

use crate::protocol::chat::{CachePoint, Lost, Media, Message, Part, Role, Unfit, Unreadable, Unsupported};
use crate::protocol::fields::Fields;

/// Reads a conversation. Results of tools that follow one another become one message: other protocols want those of one turn together.
pub(super) fn read_all(messages: Vec<Fields<'_>>, lost: &mut Lost) -> Result<Vec<Message>, Unfit> {
    let mut read = Vec::<Message>::with_capacity(messages.len());
    let mut is_after_result = false;
    for mut fields in messages {
        let role: String = fields.need("role", "system, developer, user, assistant or tool")?;
        let message = match role.as_str() {
            "system" | "developer" => read_text(Role::System, &mut fields, lost)?,
            "user" => read_text(Role::User, &mut fields, lost)?,
            "assistant" => read_assistant(&mut fields, lost)?,
            "tool" => read_result(&mut fields, lost)?,
            "function" => {
                let problem = "is function, which is deprecated and not translated: use tools and role tool";
                return Err(Unsupported::new(fields.place("role"), problem).into());
            }
            _ => return Err(fields.wrong("role", "system, developer, user, assistant or tool").into()),
        };
        fields.rest(lost);
        match read.last_mut() {
            Some(before) if is_after_result && role == "tool" => before.parts.extend(message.parts),
            _ => read.push(message),
        }
        is_after_result = role == "tool";
    }
    Ok(read)
}

fn read_text(role: Role, fields: &mut Fields<'_>, lost: &mut Lost) -> Result<Message, Unfit> {
    let Some(content) = fields.raw("content") else {
        return Err(fields.wrong("content", "a string, or a list of parts").into());
    };
    let parts = read_content(content, fields, lost)?;
    Ok(Message { role, parts })
}

fn read_result(fields: &mut Fields<'_>, lost: &mut Lost) -> Result<Message, Unfit> {
    let result = Part::ToolResult {
        id: fields.need("tool_call_id", "a string")?,
        parts: match fields.raw("content") {
            Some(content) => read_content(content, fields, lost)?,
            None => Vec::new(),
        },
        is_error: false,
    };
    // The call that the result belongs to has the tool's name already.
    fields.raw("name");
    Ok(Message {
        role: Role::User,
        parts: vec![result],
    })
}

fn read_assistant(fields: &mut Fields<'_>, lost: &mut Lost) -> Result<Message, Unfit> {
    for (name, problem) in [
        ("function_call", "is deprecated and not translated: use tool_calls"),
        ("audio", "refers to sound that only its own provider keeps: send the words"),
    ] {
        if fields.raw(name).is_some() {
            return Err(Unsupported::new(fields.place(name), problem).into());
        }
    }
    let mut parts = Vec::new();
    let other = fields.text("reasoning")?;
    if let Some(text) = fields.text("reasoning_content")?.or(other).filter(|text| !text.is_empty()) {
        parts.push(Part::Reasoning { text, signature: None });
    }
    if let Some(content) = fields.raw("content") {
        let said = read_content(content, fields, lost)?;
        parts.extend(said.into_iter().filter(|part| !matches!(part, Part::Text(text) if text.is_empty())));
    }
    if let Some(refusal) = fields.text("refusal")? {
        parts.push(Part::Refusal(refusal));
    }
    for mut call in fields.objects("tool_calls")?.unwrap_or_default() {
        parts.push(read_call(&mut call)?);
        call.rest(lost);
    }
    Ok(Message {
        role: Role::Assistant,
        parts,
    })
}

fn read_call(call: &mut Fields<'_>) -> Result<Part, Unfit> {
    let kind = call.text("type")?;
    if kind.is_some_and(|kind| kind != "function") {
        return Err(Unsupported::new(call.place("type"), "is not function, and only functions are translated").into());
    }
    call.raw("index");
    let id = call.need("id", "a string")?;
    let Some(mut function) = call.object("function")? else {
        return Err(call.wrong("function", "an object").into());
    };
    Ok(Part::ToolCall {
        id,
        name: function.need("name", "a string")?,
        arguments: function.text("arguments")?.unwrap_or_default(),
    })
}

fn read_content(content: &RawValue, message: &Fields<'_>, lost: &mut Lost) -> Result<Vec<Part>, Unfit> {
    if let Ok(text) = serde_json::from_str(content.get()) {
        return Ok(vec![Part::Text(text)]);
    }
    let place = message.place("content");
    let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(content.get()) else {
        return Err(message.wrong("content", "a string, or a list of parts").into());
    };
    let mut parts = Vec::with_capacity(list.len());
    for (index, raw) in list.into_iter().enumerate() {
        let mut fields = Fields::of_object(raw, format!("{place}[{index}]"))?;
        let cache = read_cache_point(&mut fields, lost)?;
        parts.push(read_part(&mut fields, lost)?);
        parts.extend(cache.map(Part::CachePoint));
        fields.rest(lost);
    }
    Ok(parts)
}

/// Reads the hint that Anthropic's models know, which clients put into OpenAI's requests too.
pub(super) fn read_cache_point(fields: &mut Fields<'_>, lost: &mut Lost) -> Result<Option<CachePoint>, Unreadable> {
    let Some(mut hint) = fields.object("cache_control")? else {
        return Ok(None);
    };
    hint.raw("type");
    let point = CachePoint { ttl: hint.text("ttl")? };
    hint.rest(lost);
    Ok(Some(point))
}

fn read_part(part: &mut Fields<'_>, lost: &mut Lost) -> Result<Part, Unfit> {
    let kind: String = part.need("type", "a string")?;
    match kind.as_str() {
        "text" => Ok(Part::Text(part.need("text", "a string")?)),
        "refusal" => Ok(Part::Refusal(part.need("refusal", "a string")?)),
        "image_url" => {
            let Some(mut image) = part.object("image_url")? else {
                return Err(part.wrong("image_url", "an object").into());
            };
            let url: String = image.need("url", "a string")?;
            let detail = image.text("detail")?;
            let media = read_media(url).ok_or_else(|| image.wrong("url", "an address, or a data: URL in base64"))?;
            image.rest(lost);
            Ok(Part::Image { media, detail })
        }
        "input_audio" => {
            let Some(mut audio) = part.object("input_audio")? else {
                return Err(part.wrong("input_audio", "an object").into());
            };
            let (data, format) = (audio.need("data", "a string")?, audio.need("format", "a string")?);
            audio.rest(lost);
            Ok(Part::Audio { data, format })
        }
        "file" => {
            let Some(mut file) = part.object("file")? else {
                return Err(part.wrong("file", "an object").into());
            };
            if file.raw("file_id").is_some() {
                let problem = "refers to a file that only its own provider keeps: send it as file_data";
                return Err(Unsupported::new(file.place("file_id"), problem).into());
            }
            let data: String = file.need("file_data", "a data: URL in base64")?;
            let name = file.text("filename")?;
            let media = read_media(data).filter(|media| matches!(media, Media::Inline { .. }));
            let media = media.ok_or_else(|| file.wrong("file_data", "a data: URL in base64"))?;
            file.rest(lost);
            Ok(Part::Document { media, name })
        }
        _ => Err(Unsupported::new(part.place("type"), "is of a kind that is not translated").into()),
    }
}

/// A `data:` URL is the thing itself; any other URL is where it is. `None`: a `data:` URL that is not in base64.
fn read_media(url: String) -> Option<Media> {
    let Some(data) = url.strip_prefix("data:") else {
        return Some(Media::Url(url));
    };
    let (kind, data) = data.split_once(',')?;
    let kind = kind.strip_suffix(";base64")?;
    Some(Media::Inline {
        media_type: kind.split(';').next().unwrap_or_default().to_owned(),
        data: data.to_owned(),
    })
}
