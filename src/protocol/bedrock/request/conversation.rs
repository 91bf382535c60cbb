//! Messages as Converse takes them: instructions apart, then turns of the user and the model, one after the other, the user first.

use std::borrow::Cow;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::super::document::{self, Names};
use super::super::model::Model;
use super::super::written::{self, Block, Formatted, Reasoning, Source, Turn};
use crate::protocol::chat::{CachePoint, Lost, Media, Message, Part, Role, Unsupported, placed};

/// The longest ID of a call of a tool that Bedrock takes.
const ID_LIMIT: usize = 64;

/// What was said.
pub(super) struct Conversation<'a> {
    pub(super) system: Vec<Block<'a>>,
    pub(super) turns: Vec<Turn<'a>>,
}

struct Writer<'w> {
    model: Model,
    names: Names,
    lost: &'w mut Lost,
}

impl<'a> Conversation<'a> {
    pub(super) fn write(messages: &'a [Message], model: Model, lost: &mut Lost) -> Result<Self, Unsupported> {
        let mut conversation = Self {
            system: Vec::new(),
            turns: Vec::new(),
        };
        let mut writer = Writer {
            model,
            names: Names::default(),
            lost,
        };
        for (message, index) in messages.iter().zip(0..) {
            let role = match message.role {
                Role::System => None,
                Role::User => Some("user"),
                Role::Assistant => Some("assistant"),
            };
            let Some(role) = role else {
                // There is one place for instructions, before all messages.
                writer
                    .lost
                    .note_if(!conversation.turns.is_empty(), &format!("messages[{index}].role"));
                writer.write(message, index, &mut conversation.system)?;
                continue;
            };
            let begun = conversation.turns.pop_if(|turn| turn.role == role);
            let mut turn = begun.unwrap_or(Turn { role, content: Vec::new() });
            writer.write(message, index, &mut turn.content)?;
            if !turn.content.is_empty() {
                conversation.turns.push(turn);
            }
        }
        conversation.check()?;
        Ok(conversation)
    }

    fn check(&self) -> Result<(), Unsupported> {
        match self.turns.first() {
            None => {
                return Err(Unsupported::new(
                    "messages",
                    "have nothing of the user, with which Bedrock wants them to begin",
                ));
            }
            Some(turn) if turn.role != "user" => {
                return Err(Unsupported::new(
                    "messages",
                    "begin with the model's, and Bedrock wants the user's first",
                ));
            }
            Some(_) => {}
        }
        let lacks_text = |turn: &Turn<'_>| {
            let has = |is: fn(&Block<'_>) -> bool| turn.content.iter().any(is);
            has(|block| matches!(block, Block::Document { .. })) && !has(|block| matches!(block, Block::Text(_)))
        };
        if self.turns.iter().any(lacks_text) {
            return Err(Unsupported::new(
                "messages",
                "have a document without a text beside it, which Bedrock wants; say what it is for",
            ));
        }
        Ok(())
    }
}

impl Writer<'_> {
    fn write<'a>(&mut self, message: &'a Message, index: usize, blocks: &mut Vec<Block<'a>>) -> Result<(), Unsupported> {
        for (at, part) in placed(&message.parts) {
            let field = || format!("messages[{index}].content[{at}]");
            match (message.role, part) {
                // Bedrock refuses texts that are empty, and Claude those of white space alone: there is nothing to lose.
                (_, Part::Text(text)) if text.trim().is_empty() => {}
                (_, Part::Text(text)) => blocks.push(Block::Text(text)),
                (Role::Assistant, Part::Refusal(text)) if text.trim().is_empty() => {}
                (Role::Assistant, Part::Refusal(text)) => blocks.push(Block::Text(text)),
                (_, Part::CachePoint(point)) => {
                    let field = || format!("{}.cache_control", field());
                    let point = cache_point(point, self.model.is_claude_or_nova, self.model, field, self.lost);
                    blocks.extend(point.filter(|_| !blocks.is_empty()).map(Block::CachePoint));
                }
                (Role::User, Part::ToolResult { id, parts, is_error }) => blocks.push(self.tool_result(id, parts, *is_error, &field)?),
                (Role::User, part) if is_medium(part) => blocks.extend(self.medium(part, &field)?),
                (Role::Assistant, Part::ToolCall { id, name, arguments }) => blocks.push(tool_use(id, name, arguments, &field)?),
                (
                    Role::Assistant,
                    Part::Reasoning {
                        text,
                        signature: Some(signature),
                    },
                ) => {
                    blocks.push(Block::ReasoningContent(Reasoning::ReasoningText { text, signature }));
                }
                (Role::Assistant, Part::RedactedReasoning(data)) => blocks.push(Block::ReasoningContent(Reasoning::RedactedContent(data))),
                // Without its seal no model takes its thoughts back.
                (_, Part::Reasoning { .. } | Part::RedactedReasoning(_)) => self.lost.note(format!("messages[{index}].reasoning_content")),
                (Role::System, _) => {
                    return Err(Unsupported::new(
                        field(),
                        "is no text, and Bedrock takes instructions in texts only",
                    ));
                }
                (_, part) => {
                    return Err(Unsupported::new(
                        field(),
                        format!("is {}, which Bedrock does not take there", what(part)),
                    ));
                }
            }
        }
        Ok(())
    }

    /// A picture, a document or sound.
    fn medium<'a>(&mut self, part: &'a Part, field: &dyn Fn() -> String) -> Result<Option<Block<'a>>, Unsupported> {
        match part {
            Part::Image { media, detail } => {
                let (media_type, bytes) = inline(media, field)?;
                let is_hint = detail.as_deref().is_some_and(|detail| detail != "auto");
                self.lost.note_if(is_hint, &format!("{}.image_url.detail", field()));
                let format = match media_type.to_ascii_lowercase().as_str() {
                    "image/png" => "png",
                    "image/jpeg" | "image/jpg" => "jpeg",
                    "image/gif" => "gif",
                    "image/webp" => "webp",
                    _ => {
                        let problem = format!("is an image of type {media_type:?}; Bedrock takes PNG, JPEG, GIF and WebP");
                        return Err(Unsupported::new(field(), problem));
                    }
                };
                Ok(Some(Block::Image(Formatted {
                    format,
                    source: Source { bytes },
                })))
            }
            Part::Document { media, name } => {
                let (media_type, bytes) = inline(media, field)?;
                let format = document::format(media_type, name.as_deref()).ok_or_else(|| {
                    let formats = "PDF, CSV, Word, Excel, HTML, Markdown and plain text";
                    Unsupported::new(field(), format!("is a document of type {media_type:?}; Bedrock takes {formats}"))
                })?;
                let name = self.names.give(name.as_deref());
                Ok(Some(Block::Document {
                    format,
                    name,
                    source: Source { bytes },
                }))
            }
            Part::Audio { data, format } => Ok(Some(Block::Audio(Formatted {
                format,
                source: Source { bytes: data },
            }))),
            _ => Ok(None),
        }
    }

    fn tool_result<'a>(
        &mut self,
        id: &'a str,
        parts: &'a [Part],
        is_error: bool,
        field: &dyn Fn() -> String,
    ) -> Result<Block<'a>, Unsupported> {
        let mut content = Vec::new();
        for part in parts {
            match part {
                Part::Text(text) if text.trim().is_empty() => {}
                Part::Text(text) => content.push(Block::Text(text)),
                Part::CachePoint(_) => self.lost.note(format!("{}.cache_control", field())),
                Part::Image { .. } | Part::Document { .. } => content.extend(self.medium(part, field)?),
                other => {
                    let problem = format!("returns {}, and Bedrock takes texts, images and documents of tools", what(other));
                    return Err(Unsupported::new(field(), problem));
                }
            }
        }
        self.lost
            .note_if(is_error && !self.model.is_claude_or_nova, &format!("{}.is_error", field()));
        let status = (is_error && self.model.is_claude_or_nova).then_some("error");
        Ok(Block::ToolResult {
            tool_use_id: tool_use_id(id),
            content,
            status,
        })
    }
}

/// A hint that a model takes at this place, or a loss. For how long is for Claude only.
pub(super) fn cache_point<'a>(
    point: &'a CachePoint,
    is_taken: bool,
    model: Model,
    field: impl Fn() -> String,
    lost: &mut Lost,
) -> Option<written::CachePoint<'a>> {
    if !is_taken {
        lost.note(field());
        return None;
    }
    let ttl = point.ttl.as_deref().filter(|ttl| model.is_claude && matches!(*ttl, "5m" | "1h"));
    lost.note_if(point.ttl.is_some() && ttl.is_none(), &format!("{}.ttl", field()));
    Some(written::CachePoint { kind: "default", ttl })
}

fn is_medium(part: &Part) -> bool {
    matches!(part, Part::Image { .. } | Part::Document { .. } | Part::Audio { .. })
}

fn inline<'a>(media: &'a Media, field: &dyn Fn() -> String) -> Result<(&'a str, &'a str), Unsupported> {
    match media {
        Media::Inline { media_type, data } => Ok((media_type, data)),
        Media::Url(_) => Err(Unsupported::new(
            field(),
            "is at an address, and Bedrock fetches nothing; send it in base64",
        )),
    }
}

fn tool_use<'a>(id: &'a str, name: &'a str, arguments: &'a str, field: &dyn Fn() -> String) -> Result<Block<'a>, Unsupported> {
    let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
    let input: Option<&RawValue> = serde_json::from_str(arguments).ok();
    let input = input.filter(|input| input.get().starts_with('{'));
    let input = input.ok_or_else(|| {
        Unsupported::new(
            field(),
            "calls a tool with arguments that are no JSON object, as Bedrock wants them",
        )
    })?;
    Ok(Block::ToolUse {
        tool_use_id: tool_use_id(id),
        name,
        input,
    })
}

/// The ID if Bedrock takes it, else one made of it: a call and its result stay together, wherever the ID came from.
fn tool_use_id(id: &str) -> Cow<'_, str> {
    let is_taken = (1..=ID_LIMIT).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte));
    if is_taken {
        return Cow::Borrowed(id);
    }
    let hash: String = Sha256::digest(id).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Cow::Owned(format!("call_{hash}"))
}

/// For a person.
fn what(part: &Part) -> &'static str {
    match part {
        Part::Text(_) | Part::Refusal(_) => "a text",
        Part::Image { .. } => "an image",
        Part::Document { .. } => "a document",
        Part::Audio { .. } => "sound",
        Part::ToolCall { .. } => "a call of a tool",
        Part::ToolResult { .. } => "a result of a tool",
        Part::Reasoning { .. } | Part::RedactedReasoning(_) => "reasoning",
        Part::CachePoint(_) => "a hint for caches",
    }
}
