//! Thoughts that must come back to their provider unchanged, in `encrypted_content`, which is the place that this protocol has for them. A
//! mark tells ours from OpenAI's own, which no other provider can read: a colon is never in base64.

/// Before a provider's seal on thoughts that are given in words.
const SIGNATURE: &str = "portfolio.signature:";
/// Before thoughts that only their provider can read.
const REDACTED: &str = "portfolio.redacted:";

/// What an `encrypted_content` holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sealed<'a> {
    /// The seal on the thoughts beside it.
    Signature(&'a str),
    /// The thoughts themselves.
    Redacted(&'a str),
    /// Somebody else's: nobody here can read it.
    Foreign,
}

pub(super) fn read(encrypted: &str) -> Sealed<'_> {
    if let Some(signature) = encrypted.strip_prefix(SIGNATURE) {
        Sealed::Signature(signature)
    } else if let Some(data) = encrypted.strip_prefix(REDACTED) {
        Sealed::Redacted(data)
    } else {
        Sealed::Foreign
    }
}

pub(super) fn signature(signature: &str) -> String {
    format!("{SIGNATURE}{signature}")
}

pub(super) fn redacted(data: &str) -> String {
    format!("{REDACTED}{data}")
}
