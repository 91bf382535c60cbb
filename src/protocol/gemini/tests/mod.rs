//! Bodies as Google's references, guides and recorded traffic have them, and properties of all of them.

mod answers;
mod conversations;
mod others;
mod properties;
mod requests;

use serde_json::Value;

use super::super::chat::{Delta, Lost, Message, Part, ReadStream, Request, Role, Unsupported};
use super::*;

fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

/// What is written for a model of the third generation.
fn written(request: &Request) -> Result<(Value, Lost), Unsupported> {
    written_for(request, "gemini-3-flash-preview")
}

fn written_for(request: &Request, model: &str) -> Result<(Value, Lost), Unsupported> {
    write_request(request, model).map(|(body, lost)| (json(&body), lost))
}

fn asking(text: &str) -> Request {
    Request {
        messages: vec![Message::text(Role::User, text)],
        ..Request::default()
    }
}

fn saying(role: Role, parts: Vec<Part>) -> Message {
    Message { role, parts }
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn call(id: &str, name: &str, arguments: &str) -> Part {
    Part::ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    }
}

fn result(id: &str, parts: Vec<Part>) -> Part {
    Part::ToolResult {
        id: id.to_owned(),
        parts,
        is_error: false,
    }
}

fn deltas(events: &[&str]) -> Vec<Delta> {
    let (mut reader, mut changes) = (Reader::default(), Vec::new());
    for event in events {
        reader.read(event.as_bytes(), &mut changes);
    }
    changes
}
