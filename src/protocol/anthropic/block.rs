//! Content blocks: one shape of them as they are read, one as they are written, and how a block becomes a part of a message.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::protocol::chat::{CachePoint, Json, Lost, Media, Part, Unfit, Unreadable, Unsupported};
use crate::protocol::misread::{misread, shown};

/// The key under which a tool's arguments are put that are no JSON object, as Anthropic documents for its fine-grained streaming.
const INVALID: &str = "INVALID_JSON";

/// A block as it is read: of each type the fields that it has.
#[derive(Deserialize)]
pub(super) struct Read<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    pub(super) text: Option<String>,
    pub(super) thinking: Option<String>,
    pub(super) signature: Option<String>,
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    #[serde(borrow)]
    pub(super) input: Option<&'a RawValue>,
    tool_use_id: Option<String>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    is_error: Option<bool>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    title: Option<String>,
    context: Option<String>,
    #[serde(borrow)]
    citations: Option<&'a RawValue>,
    transformations: Option<IgnoredAny>,
    cache_control: Option<CacheControl>,
}

#[derive(Deserialize)]
struct Source {
    #[serde(rename = "type")]
    kind: String,
    media_type: Option<String>,
    data: Option<String>,
    url: Option<String>,
    #[serde(default)]
    content: Option<Json>,
}

/// A point up to which a prompt cache keeps.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct CacheControl {
    #[serde(rename = "type")]
    kind: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
}

impl From<CacheControl> for CachePoint {
    fn from(control: CacheControl) -> Self {
        Self { ttl: control.ttl }
    }
}

impl From<CachePoint> for CacheControl {
    fn from(point: CachePoint) -> Self {
        Self {
            kind: "ephemeral".into(),
            ttl: point.ttl,
        }
    }
}

/// Reads `raw`, which is the field named `at`.
pub(super) fn field<'a, T: Deserialize<'a>>(raw: &'a RawValue, at: &str) -> Result<T, Unreadable> {
    serde_json::from_str(raw.get()).map_err(|error| misread(raw, at, &error))
}

/// Reads the content of a message, of a tool's result, or `system`: a text, or blocks.
pub(super) fn read_content(raw: &RawValue, at: &str, lost: &mut Lost) -> Result<Vec<Part>, Unfit> {
    content(raw, at, lost, true)
}

fn content(raw: &RawValue, at: &str, lost: &mut Lost, is_outer: bool) -> Result<Vec<Part>, Unfit> {
    match raw.get().as_bytes().first() {
        Some(b'"') => Ok(vec![Part::Text(field(raw, at)?)]),
        Some(b'[') => {
            let mut parts = Vec::new();
            for (i, block) in field::<Vec<&RawValue>>(raw, at)?.into_iter().enumerate() {
                let at = format!("{at}[{i}]");
                read_block(field(block, &at)?, &at, lost, is_outer, &mut parts)?;
            }
            Ok(parts)
        }
        _ => {
            let message = format!("{at} must be a text or a list of content blocks, is {}", shown(raw));
            Err(Unreadable::new(Some(at), message).into())
        }
    }
}

fn read_block(block: Read<'_>, at: &str, lost: &mut Lost, is_outer: bool, parts: &mut Vec<Part>) -> Result<(), Unfit> {
    let missing = |name: &str| Unreadable::new(Some(&format!("{at}.{name}")), format!("{at}.{name} is missing"));
    lost.note_if(block.transformations.is_some(), &format!("{at}.transformations"));
    let part = match block.kind.as_ref() {
        "text" => {
            let is_cited = block.citations.is_some_and(|citations| !matches!(citations.get(), "null" | "[]"));
            lost.note_if(is_cited, &format!("{at}.citations"));
            Part::Text(block.text.ok_or_else(|| missing("text"))?)
        }
        "image" => Part::Image {
            media: read_image(field(block.source.ok_or_else(|| missing("source"))?, &format!("{at}.source"))?, at)?,
            detail: None,
        },
        "document" => {
            let source = field(block.source.ok_or_else(|| missing("source"))?, &format!("{at}.source"))?;
            refuse_citations(block.citations, at)?;
            if let Some(context) = block.context {
                parts.push(Part::Text(context));
            }
            Part::Document {
                media: read_document(source, at)?,
                name: block.title,
            }
        }
        "thinking" if is_outer => Part::Reasoning {
            text: block.thinking.unwrap_or_default(),
            signature: block.signature.filter(|signature| !signature.is_empty()),
        },
        "redacted_thinking" if is_outer => {
            let data = block.data.ok_or_else(|| missing("data"))?;
            Part::RedactedReasoning(field(data, &format!("{at}.data"))?)
        }
        "tool_use" if is_outer => Part::ToolCall {
            id: block.id.ok_or_else(|| missing("id"))?,
            name: block.name.ok_or_else(|| missing("name"))?,
            arguments: block.input.map_or("{}", RawValue::get).to_owned(),
        },
        "tool_result" if is_outer => Part::ToolResult {
            id: block.tool_use_id.ok_or_else(|| missing("tool_use_id"))?,
            parts: match block.content.filter(|content| content.get() != "null") {
                Some(content) => self::content(content, &format!("{at}.content"), lost, false)?,
                None => Vec::new(),
            },
            is_error: block.is_error.unwrap_or(false),
        },
        kind => {
            let problem = format!("is a block of type {kind}, which models of other providers do not take");
            return Err(Unsupported::new(at, problem).into());
        }
    };
    parts.push(part);
    parts.extend(block.cache_control.map(|control| Part::CachePoint(control.into())));
    Ok(())
}

fn read_image(source: Source, at: &str) -> Result<Media, Unfit> {
    match (source.kind.as_str(), source.url, source.media_type, source.data) {
        ("url", Some(url), ..) => Ok(Media::Url(url)),
        ("base64", _, Some(media_type), Some(data)) => Ok(Media::Inline { media_type, data }),
        (kind, ..) => Err(wrong_source(kind, &["url", "base64"], at)),
    }
}

fn read_document(source: Source, at: &str) -> Result<Media, Unfit> {
    let plain = |text: &str| Media::Inline {
        media_type: "text/plain".to_owned(),
        data: STANDARD.encode(text),
    };
    match (source.kind.as_str(), source.url, source.media_type, source.data, source.content) {
        ("url", Some(url), ..) => Ok(Media::Url(url)),
        ("base64", _, Some(media_type), Some(data), _) => Ok(Media::Inline { media_type, data }),
        ("text", _, _, Some(text), _) => Ok(plain(&text)),
        ("content", .., Some(content)) => {
            let raw = serde_json::from_str(content.text()).expect("what was read as JSON is JSON");
            let parts = self::content(raw, &format!("{at}.source.content"), &mut Lost::default(), false)?;
            let texts = parts
                .iter()
                .filter(|part| !matches!(part, Part::CachePoint(_)))
                .map(|part| match part {
                    Part::Text(text) => Some(text.as_str()),
                    _ => None,
                });
            let texts: Option<Vec<&str>> = texts.collect();
            let no_texts = || {
                Unsupported::new(
                    format!("{at}.source.content"),
                    "is not text alone, and models of other providers take no more",
                )
            };
            Ok(plain(&texts.ok_or_else(no_texts)?.join("\n")))
        }
        (kind, ..) => Err(wrong_source(kind, &["url", "base64", "text", "content"], at)),
    }
}

fn wrong_source(kind: &str, known: &[&str], at: &str) -> Unfit {
    let at = format!("{at}.source");
    if known.contains(&kind) {
        let message = format!("{at} lacks what a source of type {kind} has");
        return Unreadable::new(Some(&at), message).into();
    }
    Unsupported::new(at, format!("is of type {kind}, which only Anthropic can look up")).into()
}

fn refuse_citations(citations: Option<&RawValue>, at: &str) -> Result<(), Unfit> {
    #[derive(Deserialize)]
    struct Config {
        enabled: Option<bool>,
    }
    let at = format!("{at}.citations");
    let config: Option<Config> = citations.map(|raw| field(raw, &at)).transpose()?.flatten();
    match config.and_then(|config| config.enabled) {
        Some(true) => Err(Unsupported::new(at, "asks for citations, which models of other providers do not give").into()),
        _ => Ok(()),
    }
}

/// A block as it is written.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Written<'a> {
    Text {
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    Image {
        source: WrittenSource<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    Document {
        source: WrittenSource<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    Thinking {
        thinking: &'a str,
        signature: &'a str,
    },
    RedactedThinking {
        data: &'a str,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: &'a str,
        input: Json,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        content: Vec<Written<'a>>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
}

/// Where a picture or document is, as it is written.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum WrittenSource<'a> {
    Url { url: &'a str },
    Base64 { media_type: &'a str, data: &'a str },
    Text { media_type: &'static str, data: String },
}

impl Written<'_> {
    /// Where its point for caches goes; thoughts have none.
    pub(super) fn cache_control(&mut self) -> Option<&mut Option<CacheControl>> {
        match self {
            Self::Text { cache_control, .. }
            | Self::Image { cache_control, .. }
            | Self::Document { cache_control, .. }
            | Self::ToolUse { cache_control, .. }
            | Self::ToolResult { cache_control, .. } => Some(cache_control),
            Self::Thinking { .. } | Self::RedactedThinking { .. } => None,
        }
    }
}

/// The arguments of a call, which Anthropic has as an object: as they are, or, if they are none (cut off, perhaps), as a text inside one.
pub(super) fn input(arguments: &str) -> Json {
    let arguments = arguments.trim();
    let written = if arguments.is_empty() { "{}" } else { arguments };
    match Json::parse(written) {
        Ok(json) if written.starts_with('{') => json,
        _ => Json::from(&serde_json::json!({ INVALID: arguments })),
    }
}
