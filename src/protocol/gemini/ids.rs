//! The ids of tool calls, and the seals of thoughts. Gemini seals the thoughts before a call (`thoughtSignature`, beside the call), and models
//! of the third generation refuse a conversation in which the seal of a call is missing. Clients have no field for it, but every client sends
//! a call's id back unchanged: so the id that a client sees holds the seal, and the id that Gemini gave, if it did.
//!
//! ```text
//! call_<24 hex digits>                    made up: neither an id nor a seal came
//! call_<24 hex digits>-<base64url>        the digits are a checksum of the rest: index, Gemini's id, kind of seal, seal
//! ```
//! Only letters, digits, `-` and `_`, since Anthropic's clients and servers take no others. Only ids that Gemini gave are sent to it (Vertex
//! refused the field for years, and gave none); without them it matches results to calls by their order. Seals of text are not needed by any
//! model; they pass as the signature of an empty thought, marked as Gemini's so that no other provider's is ever sent to it.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

const PREFIX: &str = "call_";
/// Hex digits: enough that no two calls of a conversation share them.
const DIGITS: usize = 24;
/// In front of the seals of thoughts.
const MARK: &str = "gemini:";

/// What the id of a call holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Call {
    /// Gemini's own id.
    pub(super) id: Option<String>,
    /// The seal on the thoughts before it.
    pub(super) signature: Option<String>,
}

/// Where a call stands: what a made-up id is made from.
pub(super) struct Place<'a> {
    /// The name of the answer.
    pub(super) response: Option<&'a str>,
    /// Which of the answers.
    pub(super) choice: u32,
    /// Which call, counted from 0 within the answer.
    pub(super) index: u32,
    /// The tool's name.
    pub(super) name: &'a str,
    /// Its arguments.
    pub(super) arguments: &'a str,
}

/// The id that the client sees.
pub(super) fn encode(call: &Call, place: &Place<'_>) -> String {
    // An id longer than a byte can count is not Gemini's.
    let id = call.id.as_deref().filter(|id| !id.is_empty() && id.len() <= usize::from(u8::MAX));
    if id.is_none() && call.signature.is_none() {
        let parts = [place.response.unwrap_or_default(), place.name, place.arguments];
        let place = format!("{}\0{}\0{}", place.choice, place.index, parts.join("\0"));
        return format!("{PREFIX}{}", digits(place.as_bytes()));
    }
    let mut held = vec![u8::try_from(place.index).unwrap_or(u8::MAX)];
    let id = id.unwrap_or_default();
    held.push(u8::try_from(id.len()).unwrap_or_default());
    held.extend_from_slice(id.as_bytes());
    if let Some(signature) = &call.signature {
        // Signatures are bytes in base64, which would grow by a third if they were taken as text.
        match BASE64_STANDARD
            .decode(signature)
            .ok()
            .filter(|bytes| BASE64_STANDARD.encode(bytes) == *signature)
        {
            Some(bytes) => {
                held.push(b'b');
                held.extend_from_slice(&bytes);
            }
            None => {
                held.push(b't');
                held.extend_from_slice(signature.as_bytes());
            }
        }
    }
    format!("{PREFIX}{}-{}", digits(&held), BASE64_URL_SAFE_NO_PAD.encode(&held))
}

/// What an id holds: nothing if it is made up, another provider's, or damaged.
pub(super) fn decode(id: &str) -> Call {
    parse(id).unwrap_or_default()
}

fn parse(id: &str) -> Option<Call> {
    let (head, tail) = id.strip_prefix(PREFIX)?.split_at_checked(DIGITS)?;
    let held = BASE64_URL_SAFE_NO_PAD.decode(tail.strip_prefix('-')?).ok()?;
    if digits(&held) != head {
        return None;
    }
    let (_index, rest) = held.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (id, rest) = rest.split_at_checked(usize::from(*length))?;
    let id = String::from_utf8(id.to_vec()).ok()?;
    let signature = match rest.split_first() {
        Some((b'b', bytes)) => Some(BASE64_STANDARD.encode(bytes)),
        Some((b't', text)) => Some(String::from_utf8(text.to_vec()).ok()?),
        _ => None,
    };
    let id = Some(id).filter(|id| !id.is_empty());
    Some(Call { id, signature })
}

/// The id without what it holds for Gemini, for providers that limit the length of ids (OpenAI 40 letters, Bedrock 64). An id that is not one
/// of Gemini's calls is itself.
#[must_use]
pub fn short(id: &str) -> &str {
    match parse(id) {
        Some(_) => &id[..PREFIX.len() + DIGITS],
        None => id,
    }
}

fn digits(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash[..DIGITS / 2].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The seal of a thought as the client sees it.
pub(super) fn mark(signature: &str) -> String {
    format!("{MARK}{signature}")
}

/// Whether a thought's signature is a seal of Gemini's, which no other provider can read.
#[must_use]
pub fn is_seal(signature: &str) -> bool {
    signature.starts_with(MARK)
}

/// The seal as Gemini gave it, if it is one of Gemini's. Clients join seals that follow one another; the last stands for all before it.
pub(super) fn unmark(signature: &str) -> Option<&str> {
    let signature = signature.strip_prefix(MARK)?;
    Some(signature.rsplit(MARK).next().unwrap_or(signature))
}
