//! Writes what was said so far. Gemini knows two roles, wants the results of a step's calls together and in their order, and knows a result by
//! its tool's name.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::super::chat::{Lost, Media, Message, Part as Said, Role, Unsupported, placed};
use super::ids;
use super::model::Model;
use super::wire::{Blob, Content, FileData, FunctionCall, FunctionResponse, Part};

/// Google's own word for a call whose seal is not known, because another model made it or the client lost it
/// (<https://ai.google.dev/gemini-api/docs/thought-signatures>).
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// The turns of the conversation, and the instructions.
pub(super) fn write<'a>(
    messages: &'a [Message],
    model: Model<'_>,
    lost: &mut Lost,
) -> Result<(Vec<Content<'a>>, Vec<Part<'a>>), Unsupported> {
    let mut writer = Writer {
        is_third: model.is_third(),
        calls: HashMap::new(),
        turns: Vec::new(),
        system: Vec::new(),
        lost,
    };
    for (index, message) in messages.iter().enumerate() {
        writer.message(message, &format!("messages[{index}]"))?;
    }
    let Writer { turns, system, .. } = writer;
    if turns.is_empty() {
        return Err(Unsupported::new(
            "messages",
            "hold nothing that a user says, and the model needs something to answer",
        ));
    }
    let seal = |turn| content(turn, model.is_third());
    Ok((turns.into_iter().map(seal).collect(), system))
}

/// Who speaks in a turn. Results have turns of their own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaker {
    Model,
    User,
    Tools,
}

struct Turn<'a> {
    speaker: Speaker,
    /// Each with its rank: results come in the order of their calls.
    parts: Vec<(usize, Part<'a>)>,
}

fn content(mut turn: Turn<'_>, is_third: bool) -> Content<'_> {
    turn.parts.sort_by_key(|(rank, _)| *rank);
    let mut parts: Vec<Part<'_>> = turn.parts.into_iter().map(|(_, part)| part).collect();
    // Of the calls of one step only the first has a seal, and must have one.
    if is_third
        && let Some(first) = parts.iter_mut().find(|part| part.function_call.is_some())
        && first.thought_signature.is_none()
    {
        first.thought_signature = Some(NO_SIGNATURE.to_owned());
    }
    let role = if turn.speaker == Speaker::Model { "model" } else { "user" };
    Content { role: Some(role), parts }
}

struct Writer<'a, 'b> {
    is_third: bool,
    /// The calls so far by their ids: each one's rank and name.
    calls: HashMap<&'a str, (usize, &'a str)>,
    turns: Vec<Turn<'a>>,
    system: Vec<Part<'a>>,
    lost: &'b mut Lost,
}

impl<'a> Writer<'a, '_> {
    fn message(&mut self, message: &'a Message, path: &str) -> Result<(), Unsupported> {
        // Instructions stand before all else; that one came later cannot be said.
        self.lost
            .note_if(message.role == Role::System && !self.turns.is_empty(), &format!("{path}.role"));
        for (index, part) in placed(&message.parts) {
            let path = format!("{path}.content[{index}]");
            match message.role {
                Role::System => self.instruction(part, &path)?,
                Role::User => self.part(Speaker::User, part, &path)?,
                Role::Assistant => self.part(Speaker::Model, part, &path)?,
            }
        }
        Ok(())
    }

    fn instruction(&mut self, part: &'a Said, path: &str) -> Result<(), Unsupported> {
        match part {
            Said::Text(text) => self.system.extend((!text.is_empty()).then(|| words(text))),
            Said::CachePoint(_) => self.lost.note(format!("{path}.cache_control")),
            _ => return Err(Unsupported::new(path, "is no text, and instructions are text for this model")),
        }
        Ok(())
    }

    fn push(&mut self, speaker: Speaker, rank: usize, part: Part<'a>) {
        match self.turns.last_mut() {
            Some(turn) if turn.speaker == speaker => turn.parts.push((rank, part)),
            _ => self.turns.push(Turn {
                speaker,
                parts: vec![(rank, part)],
            }),
        }
    }

    fn part(&mut self, speaker: Speaker, part: &'a Said, path: &str) -> Result<(), Unsupported> {
        let part = match part {
            // Gemini refuses empty texts.
            Said::Text(text) | Said::Refusal(text) if text.is_empty() => return Ok(()),
            Said::Text(text) | Said::Refusal(text) => words(text),
            Said::Image { .. } | Said::Document { .. } | Said::Audio { .. } => self.media(part, path)?,
            Said::ToolCall { id, name, arguments } => self.call(id, name, arguments, path)?,
            Said::ToolResult { id, parts, is_error } => return self.result(id, parts, *is_error, path),
            Said::Reasoning { text, signature } => {
                self.thought(speaker, text, signature.as_deref(), path);
                return Ok(());
            }
            Said::RedactedReasoning(_) => {
                self.lost.note(path);
                return Ok(());
            }
            Said::CachePoint(_) => {
                self.lost.note(format!("{path}.cache_control"));
                return Ok(());
            }
        };
        self.push(speaker, 0, part);
        Ok(())
    }

    /// A thought in words goes back as one. A seal belongs to the text before it, or stands alone, as it does in a stream.
    fn thought(&mut self, speaker: Speaker, text: &'a str, signature: Option<&'a str>, path: &str) {
        if !text.is_empty() {
            let thought = Part {
                thought: Some(true),
                ..words(text)
            };
            self.push(speaker, 0, thought);
        }
        let Some(signature) = signature else { return };
        let Some(signature) = ids::unmark(signature) else {
            return self.lost.note(format!("{path}.signature"));
        };
        let last = self.turns.last_mut().filter(|turn| turn.speaker == speaker);
        let last = last.and_then(|turn| turn.parts.last_mut());
        match last {
            Some((_, part)) if part.text.is_some() && part.thought.is_none() && part.thought_signature.is_none() => {
                part.thought_signature = Some(signature.to_owned());
            }
            _ => {
                let seal = Part {
                    thought_signature: Some(signature.to_owned()),
                    ..words("")
                };
                self.push(speaker, 0, seal);
            }
        }
    }

    fn call(&mut self, id: &'a str, name: &'a str, arguments: &'a str, path: &str) -> Result<Part<'a>, Unsupported> {
        let text = if arguments.trim().is_empty() { "{}" } else { arguments };
        let Some(args) = object(text) else {
            let problem = "is a call whose arguments are no JSON object, which the model takes alone";
            return Err(Unsupported::new(path, problem));
        };
        self.calls.insert(id, (self.calls.len(), name));
        let held = ids::decode(id);
        Ok(Part {
            function_call: Some(FunctionCall { id: held.id, name, args }),
            thought_signature: held.signature,
            ..Part::default()
        })
    }

    fn result(&mut self, id: &'a str, parts: &'a [Said], is_error: bool, path: &str) -> Result<(), Unsupported> {
        let Some((rank, name)) = self.calls.get(id).copied() else {
            return Err(Unsupported::new(
                path,
                format!("is the result of {id:?}, and no call before it has that id"),
            ));
        };
        let (mut texts, mut media) = (Vec::new(), Vec::new());
        for (index, part) in placed(parts) {
            let path = format!("{path}.content[{index}]");
            match part {
                Said::Text(text) => texts.push(text.as_str()),
                Said::CachePoint(_) => self.lost.note(format!("{path}.cache_control")),
                Said::Image { .. } | Said::Document { .. } | Said::Audio { .. } => media.push(self.media(part, &path)?),
                _ => return Err(Unsupported::new(path, "cannot be a part of a tool's result for this model")),
            }
        }
        let (inside, beside) = if self.is_third { (media, Vec::new()) } else { (Vec::new(), media) };
        let response = Part {
            function_response: Some(FunctionResponse {
                id: ids::decode(id).id,
                name,
                response: response(&texts.concat(), is_error),
                parts: inside,
            }),
            ..Part::default()
        };
        self.push(Speaker::Tools, rank, response);
        for part in beside {
            self.push(Speaker::Tools, usize::MAX, part);
        }
        Ok(())
    }

    fn media(&mut self, part: &'a Said, path: &str) -> Result<Part<'a>, Unsupported> {
        let media = match part {
            Said::Image { media, detail } => {
                let is_asked = detail.as_deref().is_some_and(|detail| detail != "auto");
                self.lost.note_if(is_asked, &format!("{path}.image_url.detail"));
                media
            }
            Said::Document { media, name } => {
                self.lost.note_if(name.is_some(), &format!("{path}.file.filename"));
                media
            }
            Said::Audio { data, format } => return Ok(inline(format!("audio/{format}"), data)),
            _ => return Err(Unsupported::new(path, "is neither a picture nor a document nor sound")),
        };
        Ok(match media {
            Media::Inline { media_type, data } => inline(media_type.clone(), data),
            Media::Url(url) => Part {
                file_data: Some(FileData {
                    mime_type: media_type(url),
                    file_uri: url,
                }),
                ..Part::default()
            },
        })
    }
}

fn words(text: &str) -> Part<'_> {
    Part {
        text: Some(text),
        ..Part::default()
    }
}

fn inline(mime_type: String, data: &str) -> Part<'_> {
    Part {
        inline_data: Some(Blob { mime_type, data }),
        ..Part::default()
    }
}

fn object(text: &str) -> Option<&RawValue> {
    let value: &RawValue = serde_json::from_str(text).ok()?;
    value.get().starts_with('{').then_some(value)
}

/// A result is an object. Where it has neither `output` nor `error`, all of it is what the tool returned.
fn response(text: &str, is_error: bool) -> Box<RawValue> {
    let json = match (object(text), is_error) {
        (Some(object), false) => object.get().to_owned(),
        (Some(object), true) => format!(r#"{{"error":{}}}"#, object.get()),
        (None, false) => format!(r#"{{"result":{}}}"#, quoted(text)),
        (None, true) => format!(r#"{{"error":{}}}"#, quoted(text)),
    };
    RawValue::from_string(json).expect("an object, or a member that is JSON in braces, is JSON")
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON")
}

/// What the end of an address says. Vertex wants to be told.
fn media_type(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let (_, ending) = path.rsplit_once('.')?;
    Some(match ending.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        _ => return None,
    })
}
