//! The parts of messages and of results of tools: texts, pictures, files and sound.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::read::{Losses, Unknown, is_string, refused, told, value};
use crate::protocol::chat::{CachePoint, Media, Part, Unfit, Unreadable};

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Text<'a> {
    #[serde(rename = "type")]
    _kind: Known,
    text: String,
    #[serde(borrow, default)]
    annotations: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    logprobs: Option<Vec<&'a RawValue>>,
    prompt_cache_breakpoint: Option<Breakpoint>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "type")]
    _kind: Known,
    refusal: String,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "type")]
    _kind: Known,
    image_url: Option<String>,
    file_id: Option<String>,
    detail: Option<String>,
    prompt_cache_breakpoint: Option<Breakpoint>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "type")]
    _kind: Known,
    file_data: Option<String>,
    file_id: Option<String>,
    file_url: Option<String>,
    filename: Option<String>,
    detail: Option<String>,
    prompt_cache_breakpoint: Option<Breakpoint>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Deserialize)]
struct Audio {
    #[serde(rename = "type")]
    _kind: Known,
    input_audio: Sound,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Deserialize)]
struct Sound {
    data: String,
    format: String,
}

/// A hint for prompt caches after a part. How long it is to last is in OpenAI's own measure (30 minutes, 12 hours).
#[derive(Deserialize)]
struct Breakpoint {
    ttl: Option<String>,
}

/// A field that was read before, named here so that it is not taken for an unknown one.
type Known = serde::de::IgnoredAny;

/// Reads what a message or a tool says: one text, or a list of parts.
pub(super) fn read(raw: &RawValue, at: &str, losses: &mut Losses) -> Result<Vec<Part>, Unfit> {
    if is_string(raw) {
        return Ok(vec![Part::Text(value(raw, at, "a string or a list")?)]);
    }
    let list: Vec<&RawValue> = value(raw, at, "a string or a list")?;
    let mut parts = Vec::with_capacity(list.len());
    for (index, raw) in list.into_iter().enumerate() {
        part(raw, &format!("{at}[{index}]"), losses, &mut parts)?;
    }
    Ok(parts)
}

fn part(raw: &RawValue, at: &str, losses: &mut Losses, parts: &mut Vec<Part>) -> Result<(), Unfit> {
    let Kind { kind } = value(raw, at, "a part with its type")?;
    let (part, breakpoint) = match kind.as_str() {
        "input_text" | "output_text" => {
            let text: Text<'_> = value(raw, at, "a text")?;
            text.unknown.note(at, losses);
            losses.note_if(text.annotations.is_some_and(|list| !list.is_empty()), at, "annotations");
            losses.note_if(text.logprobs.is_some_and(|list| !list.is_empty()), at, "logprobs");
            (Part::Text(text.text), text.prompt_cache_breakpoint)
        }
        "refusal" => {
            let refusal: Refusal = value(raw, at, "a refusal")?;
            refusal.unknown.note(at, losses);
            (Part::Refusal(refusal.refusal), None)
        }
        "input_image" => {
            let image: Image = value(raw, at, "a picture")?;
            image.unknown.note(at, losses);
            no_file_id(image.file_id.as_deref(), at)?;
            let url = image.image_url.ok_or_else(|| missing(at, "image_url"))?;
            let media = media(url, &format!("{at}.image_url"))?;
            let detail = image.detail;
            (Part::Image { media, detail }, image.prompt_cache_breakpoint)
        }
        "input_file" => {
            let file: File = value(raw, at, "a file")?;
            file.unknown.note(at, losses);
            no_file_id(file.file_id.as_deref(), at)?;
            losses.note_if(file.detail.is_some(), at, "detail");
            let media = match (file.file_data, file.file_url) {
                (Some(data), _) => inline(data, file.filename.as_deref(), &format!("{at}.file_data"))?,
                (None, Some(url)) => media(url, &format!("{at}.file_url"))?,
                (None, None) => return Err(missing(at, "file_data").into()),
            };
            let name = file.filename;
            (Part::Document { media, name }, file.prompt_cache_breakpoint)
        }
        "input_audio" => {
            let audio: Audio = value(raw, at, "sound")?;
            audio.unknown.note(at, losses);
            let Sound { data, format } = audio.input_audio;
            (Part::Audio { data, format }, None)
        }
        kind => {
            let problem = format!("is of the type `{}`, which only OpenAI itself takes", told(kind));
            return Err(refused(at, problem));
        }
    };
    parts.push(part);
    if let Some(Breakpoint { ttl }) = breakpoint {
        losses.note_if(ttl.is_some(), at, "prompt_cache_breakpoint.ttl");
        parts.push(Part::CachePoint(CachePoint { ttl: None }));
    }
    Ok(())
}

fn no_file_id(file_id: Option<&str>, at: &str) -> Result<(), Unfit> {
    match file_id {
        None => Ok(()),
        Some(_) => Err(refused(
            format!("{at}.file_id"),
            "refers to a file that only OpenAI has: send the file itself",
        )),
    }
}

fn missing(at: &str, field: &str) -> Unreadable {
    let at = format!("{at}.{field}");
    Unreadable::new(Some(&at), format!("{at} is required"))
}

/// A picture or document at an address, or in one (RFC 2397).
fn media(url: String, at: &str) -> Result<Media, Unreadable> {
    let Some(rest) = data_url(&url) else { return Ok(Media::Url(url)) };
    let wrong = || Unreadable::new(Some(at), format!("{at} must be an address, or `data:<media type>;base64,<data>`"));
    let (head, data) = rest.split_once(',').ok_or_else(wrong)?;
    let mut words = head.split(';');
    let media_type = words.next().unwrap_or_default();
    if media_type.is_empty() || !words.any(|word| word.eq_ignore_ascii_case("base64")) {
        return Err(wrong());
    }
    Ok(Media::Inline {
        media_type: media_type.to_owned(),
        data: data.to_owned(),
    })
}

fn data_url(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_at_checked(5)?;
    scheme.eq_ignore_ascii_case("data:").then_some(rest)
}

/// A file's data: a data address, or plain base64 when the file's name says what it is.
fn inline(data: String, name: Option<&str>, at: &str) -> Result<Media, Unreadable> {
    if data_url(&data).is_some() {
        return media(data, at);
    }
    let extension = name.and_then(|name| name.rsplit_once('.')).map(|(_, end)| end.to_ascii_lowercase());
    if extension.as_deref() == Some("pdf") {
        let media_type = "application/pdf".to_owned();
        return Ok(Media::Inline { media_type, data });
    }
    let message = format!("{at} must say what it is: `data:<media type>;base64,<data>`");
    Err(Unreadable::new(Some(at), message))
}
