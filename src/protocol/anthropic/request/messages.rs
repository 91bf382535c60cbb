//! The conversation as Anthropic takes it: instructions first, then messages of the user and the model in turn, the results of tools at the
//! head of the user's.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::super::block::{CacheControl, Written, WrittenSource, input};
use super::super::model::Model;
use crate::protocol::chat::{CachePoint, Lost, Media, Message, Part, Role, Unsupported, placed};

/// How many points for caches Anthropic takes in one request.
const CACHE_POINTS: usize = 4;

/// The pictures that it takes.
const IMAGES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

#[derive(Debug, Serialize)]
pub(super) struct WrittenMessage<'a> {
    role: &'static str,
    content: Vec<Written<'a>>,
}

/// Writes conversations, and notes what is left out of them.
pub(super) struct Conversation<'a, 'l> {
    model: Model,
    lost: &'l mut Lost,
    cache_points: usize,
    pub(super) system: Vec<Written<'a>>,
    pub(super) messages: Vec<WrittenMessage<'a>>,
    /// Instructions that stand between messages, and where: they go behind the user's next words.
    late: Vec<(usize, Vec<Written<'a>>)>,
}

impl<'a, 'l> Conversation<'a, 'l> {
    pub(super) fn new(model: Model, lost: &'l mut Lost) -> Self {
        Self {
            model,
            lost,
            cache_points: 0,
            system: Vec::new(),
            messages: Vec::new(),
            late: Vec::new(),
        }
    }

    pub(super) fn write(&mut self, messages: &'a [Message]) -> Result<(), Unsupported> {
        for (i, message) in messages.iter().enumerate() {
            let blocks = self.blocks(&message.parts, message.role, &format!("messages[{i}].content"))?;
            if !blocks.is_empty() {
                self.add(i, message.role, blocks);
            }
        }
        self.put_late();
        for message in self.messages.iter_mut().filter(|message| message.role == "user") {
            message.content.sort_by_key(|block| !matches!(block, Written::ToolResult { .. }));
        }
        self.check(messages)
    }

    fn add(&mut self, i: usize, role: Role, mut blocks: Vec<Written<'a>>) {
        let role = match role {
            Role::System if self.messages.is_empty() => return self.system.append(&mut blocks),
            Role::System if self.model.takes_late_instructions => return self.late.push((i, blocks)),
            Role::System => {
                self.lost.note(format!("messages[{i}].role"));
                return self.system.append(&mut blocks);
            }
            Role::User => {
                for (i, _) in &self.late {
                    self.lost.note(format!("messages[{i}].role"));
                }
                "user"
            }
            Role::Assistant => {
                self.put_late();
                "assistant"
            }
        };
        match self.messages.last_mut() {
            Some(last) if last.role == role => last.content.append(&mut blocks),
            _ => self.messages.push(WrittenMessage { role, content: blocks }),
        }
    }

    /// Anthropic takes instructions only right behind the user's words. Elsewhere they join those at the beginning, and their place is lost.
    fn put_late(&mut self) {
        let follows_user = self.messages.last().is_some_and(|last| last.role == "user");
        let late = std::mem::take(&mut self.late);
        if late.is_empty() {
            return;
        }
        if follows_user {
            let content = late.into_iter().flat_map(|(_, blocks)| blocks).collect();
            self.messages.push(WrittenMessage { role: "system", content });
            return;
        }
        for (i, mut blocks) in late {
            self.lost.note(format!("messages[{i}].role"));
            self.system.append(&mut blocks);
        }
    }

    fn check(&self, messages: &[Message]) -> Result<(), Unsupported> {
        let (Some(first), Some(last)) = (self.messages.first(), self.messages.last()) else {
            return Err(Unsupported::new(
                "messages",
                "has nothing but instructions, and the model answers a user",
            ));
        };
        let is_own = |message: &Message| message.role == Role::Assistant;
        let refused = |i: Option<usize>, problem: &str| Err(Unsupported::new(format!("messages[{}]", i.unwrap_or(0)), problem));
        if self.model.is_claude && first.role == "assistant" {
            let problem = "is the model's own, and a conversation with it begins with the user";
            return refused(messages.iter().position(is_own), problem);
        }
        if !self.model.takes_prefill && last.role == "assistant" {
            let problem = "is the model's own, and this model does not continue what it said";
            return refused(messages.iter().rposition(is_own), problem);
        }
        Ok(())
    }

    fn blocks(&mut self, parts: &'a [Part], role: Role, at: &str) -> Result<Vec<Written<'a>>, Unsupported> {
        let mut blocks = Vec::new();
        for (j, part) in placed(parts) {
            let at = format!("{at}[{j}]");
            match part {
                Part::CachePoint(point) => self.keep(point, &mut blocks, &at),
                part => blocks.extend(self.block(part, role, &at)?),
            }
        }
        Ok(blocks)
    }

    /// Marks the last block there is for caches.
    fn keep(&mut self, point: &CachePoint, blocks: &mut [Written<'a>], at: &str) {
        let at = &format!("{at}.cache_control");
        let control = self.control(point, at);
        let before = self
            .messages
            .last_mut()
            .and_then(|message| message.content.last_mut())
            .or(self.system.last_mut());
        match (control, blocks.last_mut().or(before).and_then(Written::cache_control)) {
            (None, _) => {}
            (control, Some(place)) => *place = control,
            (Some(_), None) => {
                self.cache_points -= 1;
                self.lost.note(at);
            }
        }
    }

    /// A point for caches as it is written, if Anthropic takes another.
    pub(super) fn control(&mut self, point: &CachePoint, at: &str) -> Option<CacheControl> {
        if self.cache_points == CACHE_POINTS {
            self.lost.note(at);
            return None;
        }
        self.cache_points += 1;
        let is_known = |ttl: &String| ttl == "5m" || ttl == "1h";
        self.lost.note_if(point.ttl.as_ref().is_some_and(|ttl| !is_known(ttl)), at);
        let ttl = point.ttl.clone().filter(is_known);
        Some(CachePoint { ttl }.into())
    }

    fn block(&mut self, part: &'a Part, role: Role, at: &str) -> Result<Option<Written<'a>>, Unsupported> {
        let cache_control = None;
        let block = match (part, role) {
            // Anthropic refuses empty texts, and nothing is lost with them.
            (Part::Text(text) | Part::Refusal(text), _) if text.is_empty() => return Ok(None),
            (Part::Text(text), _) | (Part::Refusal(text), Role::Assistant) => Written::Text { text, cache_control },
            (Part::Image { media, detail }, Role::User) => {
                let is_wish = detail.as_ref().is_some_and(|detail| detail != "auto");
                self.lost.note_if(is_wish, &format!("{at}.image_url.detail"));
                Written::Image {
                    source: image(media, at)?,
                    cache_control,
                }
            }
            (Part::Document { media, name }, Role::User) => Written::Document {
                source: document(media, at)?,
                title: name.as_deref(),
                cache_control,
            },
            (Part::ToolCall { id, name, arguments }, Role::Assistant) => Written::ToolUse {
                id: plain(id),
                name,
                input: input(arguments),
                cache_control,
            },
            (Part::ToolResult { id, parts, is_error }, Role::User) => {
                let is_within = |part: &Part| {
                    matches!(
                        part,
                        Part::Text(_) | Part::Image { .. } | Part::Document { .. } | Part::CachePoint(_)
                    )
                };
                if let Some(j) = parts.iter().position(|part| !is_within(part)) {
                    return Err(Unsupported::new(
                        format!("{at}.content[{j}]"),
                        "is not what a tool may return to this model",
                    ));
                }
                Written::ToolResult {
                    tool_use_id: plain(id),
                    content: self.blocks(parts, role, &format!("{at}.content"))?,
                    is_error: *is_error,
                    cache_control,
                }
            }
            (Part::Reasoning { text, signature }, Role::Assistant) => match signature {
                Some(signature) => Written::Thinking { thinking: text, signature },
                // An engine seals nothing; Anthropic takes back only what it sealed.
                None if !self.model.is_claude => Written::Thinking {
                    thinking: text,
                    signature: "",
                },
                None => {
                    self.lost.note(at);
                    return Ok(None);
                }
            },
            (Part::RedactedReasoning(data), Role::Assistant) => Written::RedactedThinking { data },
            (Part::Audio { .. }, _) => return Err(Unsupported::new(at, "is sound, which the model does not hear")),
            _ => return Err(Unsupported::new(at, "is not what the model takes in a message of this role")),
        };
        Ok(Some(block))
    }
}

fn image<'a>(media: &'a Media, at: &str) -> Result<WrittenSource<'a>, Unsupported> {
    match media {
        Media::Url(url) => Ok(WrittenSource::Url { url }),
        Media::Inline { media_type, data } if IMAGES.contains(&media_type.as_str()) => Ok(WrittenSource::Base64 { media_type, data }),
        Media::Inline { media_type, .. } => {
            let problem = format!("is a picture of type {media_type}, and the model takes {}", IMAGES.join(", "));
            Err(Unsupported::new(at, problem))
        }
    }
}

fn document<'a>(media: &'a Media, at: &str) -> Result<WrittenSource<'a>, Unsupported> {
    match media {
        Media::Url(url) => Ok(WrittenSource::Url { url }),
        Media::Inline { media_type, data } if media_type == "application/pdf" => Ok(WrittenSource::Base64 { media_type, data }),
        Media::Inline { media_type, data } if media_type.starts_with("text/") => {
            let text = STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let data = text.ok_or_else(|| Unsupported::new(at, "is a text that is not UTF-8 in base64"))?;
            Ok(WrittenSource::Text {
                media_type: "text/plain",
                data,
            })
        }
        Media::Inline { media_type, .. } => {
            let problem = format!("is a document of type {media_type}, and the model takes application/pdf and text");
            Err(Unsupported::new(at, problem))
        }
    }
}

/// An id in the letters that Anthropic takes, the same for a call and its result.
fn plain(id: &str) -> Cow<'_, str> {
    let is_taken = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if id.chars().all(is_taken) {
        return Cow::Borrowed(id);
    }
    Cow::Owned(id.chars().map(|c| if is_taken(c) { c } else { '_' }).collect())
}
