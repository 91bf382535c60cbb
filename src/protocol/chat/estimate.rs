//! How many tokens a request has, roughly, for models that cannot count them.

use super::{Format, Media, Message, Part, Request, Tool};
use crate::protocol::estimate::{DOCUMENT_TOKENS, IMAGE_TOKENS, of_text};

/// Around each message: who says it, and where it ends.
const MESSAGE_TOKENS: u64 = 4;

/// Sound: about half a minute.
const AUDIO_TOKENS: u64 = 500;

/// An estimate of the tokens of the request's prompt: a quarter of the bytes of its texts, schemas and arguments, and a flat figure for each
/// picture, document and sound. Wrong by half is usual for languages other than English; it is for planning, never for a bill.
#[must_use]
pub fn estimate(request: &Request) -> u64 {
    let messages = request.messages.iter().map(message);
    let tools = request.tools.iter().map(tool);
    messages.chain(tools).fold(format(&request.format), u64::saturating_add)
}

fn message(message: &Message) -> u64 {
    parts(&message.parts).saturating_add(MESSAGE_TOKENS)
}

fn parts(parts: &[Part]) -> u64 {
    parts.iter().map(part).fold(0, u64::saturating_add)
}

fn part(part: &Part) -> u64 {
    match part {
        Part::Text(words) | Part::Refusal(words) | Part::RedactedReasoning(words) | Part::Reasoning { text: words, .. } => {
            text(words.len())
        }
        Part::Image { .. } => IMAGE_TOKENS,
        // Three bytes are four letters of base64.
        Part::Document {
            media: Media::Inline { media_type, data },
            ..
        } if media_type.starts_with("text/") => text(data.len() / 4 * 3),
        Part::Document { .. } => DOCUMENT_TOKENS,
        Part::Audio { .. } => AUDIO_TOKENS,
        Part::ToolCall { name, arguments, .. } => text(name.len() + arguments.len()),
        Part::ToolResult { parts: within, .. } => parts(within),
        Part::CachePoint(_) => 0,
    }
}

fn tool(tool: &Tool) -> u64 {
    let description = tool.description.as_deref().unwrap_or_default();
    let parameters = tool.parameters.as_ref().map_or("", |parameters| parameters.text());
    text(tool.name.len() + description.len() + parameters.len())
}

fn format(format: &Format) -> u64 {
    match format {
        Format::Text | Format::JsonObject => 0,
        Format::JsonSchema { schema, .. } => text(schema.text().len()),
    }
}

fn text(bytes: usize) -> u64 {
    of_text(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::super::{Json, Role};
    use super::*;

    #[test]
    fn texts_schemas_and_arguments_count_by_their_bytes_and_pictures_flat() {
        let picture = Part::Image {
            media: Media::Url("https://example.com/a.png".to_owned()),
            detail: None,
        };
        let call = Part::ToolCall {
            id: "call_1".to_owned(),
            name: "look".to_owned(),
            arguments: r#"{"at": 1}"#.to_owned(),
        };
        let result = Part::ToolResult {
            id: "call_1".to_owned(),
            parts: vec![Part::Text("12345678".to_owned()), picture.clone()],
            is_error: false,
        };
        let request = Request {
            messages: vec![
                Message::text(Role::System, "1234"),
                Message {
                    role: Role::User,
                    parts: vec![Part::Text("12345".to_owned()), picture],
                },
                Message {
                    role: Role::Assistant,
                    parts: vec![call],
                },
                Message {
                    role: Role::User,
                    parts: vec![result],
                },
            ],
            tools: vec![Tool {
                name: "look".to_owned(),
                description: Some("Look.".to_owned()),
                parameters: Some(Json::parse(r#"{"type":"object"}"#).unwrap()),
                strict: None,
                cache: None,
            }],
            ..Request::default()
        };
        assert_eq!(estimate(&request), 4 * 4 + 1 + 2 + 1_500 + 4 + (2 + 1_500) + 7);
        assert_eq!(estimate(&Request::default()), 0);
    }

    #[test]
    fn documents_count_by_their_text_where_they_are_text() {
        let of = |media_type: &str| {
            let media = Media::Inline {
                media_type: media_type.to_owned(),
                data: "A".repeat(64),
            };
            part(&Part::Document { media, name: None })
        };
        assert_eq!((of("text/plain"), of("application/pdf")), (12, 3_000));
    }
}
