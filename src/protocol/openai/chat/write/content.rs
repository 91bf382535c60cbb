//! What a message of a request consists of: a text, or a list of parts.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::super::Flavor;
use crate::protocol::chat::{Lost, Media, Part, Unsupported};

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Content<'a> {
    Text(Cow<'a, str>),
    Items(Vec<Item<'a>>),
}

impl<'a> Content<'a> {
    /// A single text stands alone: servers without lists of parts take it too.
    pub(super) fn of(mut items: Vec<Item<'a>>) -> Self {
        match items.pop() {
            None => Self::Text(Cow::Borrowed("")),
            Some(Item::Text { text }) if items.is_empty() => Self::Text(text),
            Some(last) => {
                items.push(last);
                Self::Items(items)
            }
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Item<'a> {
    Text {
        text: Cow<'a, str>,
    },
    Refusal {
        refusal: &'a str,
    },
    ImageUrl {
        image_url: Image<'a>,
    },
    InputAudio {
        input_audio: Audio<'a>,
    },
    File {
        file: File<'a>,
    },
    DocumentUrl {
        document_url: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        document_name: Option<&'a str>,
    },
    Thinking {
        thinking: [Thought<'a>; 1],
    },
}

impl<'a> Item<'a> {
    /// Mistral's form of thoughts.
    pub(super) fn thinking(text: &'a str) -> Self {
        Self::Thinking {
            thinking: [Thought { r#type: "text", text }],
        }
    }
}

#[derive(Serialize)]
pub(super) struct Thought<'a> {
    r#type: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
pub(super) struct Image<'a> {
    url: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Audio<'a> {
    Described {
        data: &'a str,
        format: &'a str,
    },
    /// Mistral finds out the format by itself.
    Bare(&'a str),
}

#[derive(Serialize)]
pub(super) struct File<'a> {
    filename: &'a str,
    file_data: Cow<'a, str>,
}

/// Writes a part of what a user, an instruction or a tool says; `place` is its name for the client.
pub(super) fn write_part<'a>(part: &'a Part, place: &str, flavor: Flavor, lost: &mut Lost) -> Result<Option<Item<'a>>, Unsupported> {
    Ok(Some(match part {
        Part::Text(text) => Item::Text { text: text.into() },
        Part::Image { media, detail } => Item::ImageUrl {
            image_url: Image {
                url: url(media),
                detail: detail.as_deref(),
            },
        },
        Part::Audio { data, format } => Item::InputAudio {
            input_audio: match flavor {
                Flavor::OpenAI | Flavor::Compatible => Audio::Described { data, format },
                Flavor::Mistral => Audio::Bare(data),
            },
        },
        Part::Document { media, name } => write_document(media, name.as_deref(), place, flavor, lost)?,
        Part::CachePoint(_) => {
            lost.note(format!("{place}.cache_control"));
            return Ok(None);
        }
        Part::ToolCall { .. } | Part::ToolResult { .. } | Part::Reasoning { .. } | Part::RedactedReasoning(_) | Part::Refusal(_) => {
            return Err(Unsupported::new(place, "is not said by users or tools in this model's protocol"));
        }
    }))
}

fn write_document<'a>(
    media: &'a Media,
    name: Option<&'a str>,
    place: &str,
    flavor: Flavor,
    lost: &mut Lost,
) -> Result<Item<'a>, Unsupported> {
    if let Some(text) = text_of(media) {
        if name.is_some() {
            lost.note(format!("{place}.file.filename"));
        }
        return Ok(Item::Text { text: text.into() });
    }
    if flavor == Flavor::Mistral {
        return Ok(Item::DocumentUrl {
            document_url: url(media),
            document_name: name,
        });
    }
    match media {
        Media::Url(_) => {
            let problem = "is a document at an address, and this model takes only the document itself";
            Err(Unsupported::new(place, problem))
        }
        Media::Inline { media_type, .. } => Ok(Item::File {
            file: File {
                // OpenAI wants a name.
                filename: name.unwrap_or(if media_type == "application/pdf" {
                    "document.pdf"
                } else {
                    "document"
                }),
                file_data: url(media),
            },
        }),
    }
}

/// A document that is plain text anyway; as a file it would be refused.
fn text_of(media: &Media) -> Option<String> {
    match media {
        Media::Inline { media_type, data } if media_type.starts_with("text/") => String::from_utf8(STANDARD.decode(data).ok()?).ok(),
        Media::Inline { .. } | Media::Url(_) => None,
    }
}

fn url(media: &Media) -> Cow<'_, str> {
    match media {
        Media::Url(url) => Cow::Borrowed(url),
        Media::Inline { media_type, data } => Cow::Owned(format!("data:{media_type};base64,{data}")),
    }
}
