//! The conversation so far: `input`, one text or a list of items. What the model said in a row becomes one message, as does what tools
//! returned in a row.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::content;
use super::read::{Losses, Unknown, is_string, refused, told, value};
use super::seal::{self, Sealed};
use crate::protocol::chat::{Message, Part, Role, Unfit, Unreadable};

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(borrow)]
    role: Option<&'a RawValue>,
    id: Option<Ignored>,
}

/// A field without a meaning for the model, such as an item's own id; named so that it is not taken for an unknown one.
type Ignored = serde::de::IgnoredAny;

#[derive(Deserialize)]
struct Said<'a> {
    role: String,
    #[serde(borrow)]
    content: &'a RawValue,
    phase: Option<String>,
    #[serde(rename = "type")]
    _kind: Option<Ignored>,
    #[serde(rename = "id")]
    _id: Option<Ignored>,
    #[serde(rename = "status")]
    _status: Option<Ignored>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Deserialize)]
struct Call {
    call_id: String,
    name: String,
    arguments: String,
    namespace: Option<String>,
    caller: Option<Caller>,
    #[serde(rename = "async")]
    is_async: Option<bool>,
    #[serde(rename = "type")]
    _kind: Ignored,
    #[serde(rename = "id")]
    _id: Option<Ignored>,
    #[serde(rename = "status")]
    _status: Option<Ignored>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Deserialize)]
struct Output<'a> {
    call_id: String,
    #[serde(borrow)]
    output: &'a RawValue,
    caller: Option<Caller>,
    namespace: Option<String>,
    #[serde(rename = "name")]
    _name: Option<Ignored>,
    #[serde(rename = "type")]
    _kind: Ignored,
    #[serde(rename = "id")]
    _id: Option<Ignored>,
    #[serde(rename = "status")]
    _status: Option<Ignored>,
    #[serde(flatten)]
    unknown: Unknown,
}

/// What made a call: the model itself (`direct`), or a program that it wrote.
#[derive(Deserialize)]
struct Caller {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Thought {
    #[serde(default)]
    summary: Option<Vec<Words>>,
    #[serde(default)]
    content: Option<Vec<Words>>,
    encrypted_content: Option<String>,
    #[serde(rename = "type")]
    _kind: Ignored,
    #[serde(rename = "id")]
    _id: Option<Ignored>,
    #[serde(rename = "status")]
    _status: Option<Ignored>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Deserialize)]
struct Words {
    text: String,
}

/// Reads `input`.
pub(super) fn read(raw: &RawValue, losses: &mut Losses) -> Result<Vec<Message>, Unfit> {
    let what = "a string or a list of items";
    if is_string(raw) {
        return Ok(vec![Message::text(Role::User, value::<String>(raw, "input", what)?)]);
    }
    let items: Vec<&RawValue> = value(raw, "input", what)?;
    let mut messages = Vec::new();
    for (index, raw) in items.into_iter().enumerate() {
        item(raw, &format!("input[{index}]"), losses, &mut messages)?;
    }
    Ok(messages)
}

fn item(raw: &RawValue, at: &str, losses: &mut Losses, messages: &mut Vec<Message>) -> Result<(), Unfit> {
    let Kind { kind, role, id } = value(raw, at, "an item")?;
    match kind.as_deref() {
        Some("message") => said(raw, at, losses, messages),
        None if role.is_some() => said(raw, at, losses, messages),
        Some("function_call") => call(raw, at, losses, messages),
        Some("function_call_output") => output(raw, at, losses, messages),
        Some("reasoning") => thought(raw, at, losses, messages),
        None if id.is_none() => {
            let message = format!("{at} must be an item: it has neither a type nor a role");
            Err(Unreadable::new(Some(at), message).into())
        }
        None | Some("item_reference") => Err(refused(
            at,
            "refers to an item of an earlier answer, and none is stored here: send the item itself",
        )),
        Some(kind) => Err(refused(
            at,
            format!("is an item of the type `{}`, which only OpenAI itself takes", told(kind)),
        )),
    }
}

fn said(raw: &RawValue, at: &str, losses: &mut Losses, messages: &mut Vec<Message>) -> Result<(), Unfit> {
    let said: Said<'_> = value(raw, at, "a message")?;
    said.unknown.note(at, losses);
    let role = match said.role.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" | "developer" => Role::System,
        _ => {
            let at = format!("{at}.role");
            let message = format!("{at} must be user, assistant, system or developer");
            return Err(Unreadable::new(Some(&at), message).into());
        }
    };
    losses.note_if(said.phase.is_some(), at, "phase");
    let at = format!("{at}.content");
    let parts = content::read(said.content, &at, losses)?;
    if role == Role::Assistant {
        join(messages, parts);
        return Ok(());
    }
    if parts.iter().any(|part| matches!(part, Part::Refusal(_))) {
        return Err(Unreadable::new(Some(&at), format!("{at} has a refusal, which only the assistant gives")).into());
    }
    if !parts.is_empty() {
        messages.push(Message { role, parts });
    }
    Ok(())
}

fn call(raw: &RawValue, at: &str, losses: &mut Losses, messages: &mut Vec<Message>) -> Result<(), Unfit> {
    let call: Call = value(raw, at, "a call of a function")?;
    call.unknown.note(at, losses);
    made_directly(call.caller.as_ref(), call.namespace.as_deref(), at)?;
    if call.is_async == Some(true) {
        return Err(refused(
            format!("{at}.async"),
            "asks for calls that go on by themselves, which only OpenAI has",
        ));
    }
    let Call {
        call_id: id,
        name,
        arguments,
        ..
    } = call;
    join(messages, vec![Part::ToolCall { id, name, arguments }]);
    Ok(())
}

fn output(raw: &RawValue, at: &str, losses: &mut Losses, messages: &mut Vec<Message>) -> Result<(), Unfit> {
    let output: Output<'_> = value(raw, at, "what a function returned")?;
    output.unknown.note(at, losses);
    made_directly(output.caller.as_ref(), output.namespace.as_deref(), at)?;
    let result = Part::ToolResult {
        id: output.call_id,
        parts: content::read(output.output, &format!("{at}.output"), losses)?,
        is_error: false,
    };
    match messages.last_mut() {
        // A message that begins with a result has nothing else: what users say themselves has none.
        Some(Message { role: Role::User, parts }) if matches!(parts.first(), Some(Part::ToolResult { .. })) => parts.push(result),
        _ => messages.push(Message {
            role: Role::User,
            parts: vec![result],
        }),
    }
    Ok(())
}

fn thought(raw: &RawValue, at: &str, losses: &mut Losses, messages: &mut Vec<Message>) -> Result<(), Unfit> {
    let thought: Thought = value(raw, at, "an item of reasoning")?;
    thought.unknown.note(at, losses);
    // Its own words if there are any; a summary stands in for them.
    let words = thought.content.filter(|content| !content.is_empty()).or(thought.summary);
    let words: Vec<String> = words.unwrap_or_default().into_iter().map(|words| words.text).collect();
    let text = words.join("\n\n");
    let encrypted = thought.encrypted_content.as_deref().filter(|encrypted| !encrypted.is_empty());
    let mut parts = Vec::new();
    let signature = match encrypted.map(seal::read) {
        Some(Sealed::Signature(signature)) => Some(signature.to_owned()),
        Some(Sealed::Redacted(data)) => {
            parts.push(Part::RedactedReasoning(data.to_owned()));
            None
        }
        Some(Sealed::Foreign) => {
            losses.note(at, "encrypted_content");
            None
        }
        None => None,
    };
    if !text.is_empty() || signature.is_some() {
        parts.push(Part::Reasoning { text, signature });
    }
    join(messages, parts);
    Ok(())
}

/// What the model says goes on: its thoughts, words and calls are one message until somebody else speaks.
fn join(messages: &mut Vec<Message>, parts: Vec<Part>) {
    match messages.last_mut() {
        _ if parts.is_empty() => {}
        Some(message) if message.role == Role::Assistant => message.parts.extend(parts),
        _ => messages.push(Message {
            role: Role::Assistant,
            parts,
        }),
    }
}

fn made_directly(caller: Option<&Caller>, namespace: Option<&str>, at: &str) -> Result<(), Unfit> {
    if caller.is_some_and(|caller| caller.kind != "direct") {
        return Err(refused(format!("{at}.caller"), "is a program that runs at OpenAI"));
    }
    if namespace.is_some() {
        return Err(refused(format!("{at}.namespace"), "belongs to a kind of tool that only OpenAI has"));
    }
    Ok(())
}
