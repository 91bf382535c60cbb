//! AWS's event stream, the binary framing of streamed answers (`application/vnd.amazon.eventstream`), over arbitrary chunk boundaries:
//!
//! ```text
//! total length  headers' length  CRC-32 of both │ headers │ payload │ CRC-32 of all before it
//!   4 bytes         4 bytes          4 bytes    │         │         │        4 bytes
//! header: length of name (1 byte), name, type (1 byte), value by its type
//! ```
//!
//! As in <https://smithy.io/2.0/aws/amazon-eventstream.html>; all numbers begin with the highest byte. Also writes them, for tests of clients
//! and for servers that stand in for Bedrock.

use super::error;
use crate::protocol::sse::EVENT_LIMIT;

/// The lengths and their checksum.
const PRELUDE: usize = 12;
/// What is around headers and payload.
const OVERHEAD: usize = PRELUDE + 4;
/// The longest headers that AWS allows.
const HEADERS_LIMIT: usize = 128 << 10;
/// The type of a header whose value is text, after two bytes of its length.
const TEXT: u8 = 7;

/// Why a stream cannot be read on: where the next message begins is not known any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The lengths do not have their checksum: this is no event stream, or bytes were lost.
    #[error("the stream's next message does not begin as an event stream's do")]
    Prelude,
    /// A message is longer than 1 MiB (AWS's own limit is 16 MiB; Converse sends a few words at a time), or shorter than its parts.
    #[error("the stream's next message says it is {0} bytes long")]
    Length(u32),
    /// A message does not have its checksum.
    #[error("a message of the stream was changed on its way")]
    Checksum,
    /// The headers of a message are none.
    #[error("the headers of a message of the stream cannot be read")]
    Headers,
    /// The stream ends within a message.
    #[error("the stream ends within a message")]
    Cut,
}

/// Splits a stream into messages.
#[derive(Debug, Default)]
pub struct Frames {
    /// The message that has begun.
    held: Vec<u8>,
    broken: Option<Broken>,
}

impl Frames {
    /// Reads a piece, and calls `event` with each message that it completes as one JSON object: `{"EVENT TYPE":PAYLOAD}`, the payload as it
    /// came, or `{"exception":{"type":…,"message":…}}` for exceptions and errors. Holds at most one message of 1 MiB.
    ///
    /// # Errors
    /// When the bytes are no event stream; so does every later call. Messages before that were given to `event`.
    pub fn feed(&mut self, piece: &[u8], mut event: impl FnMut(&[u8])) -> Result<(), Broken> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        self.held.extend_from_slice(piece);
        let mut at = 0;
        loop {
            match Message::take(&self.held[at..]) {
                Ok(Some(message)) => {
                    at += message.length;
                    if let Some(data) = message.data() {
                        event(&data);
                    }
                }
                Ok(None) => break,
                Err(broken) => {
                    self.held = Vec::new();
                    self.broken = Some(broken);
                    return Err(broken);
                }
            }
        }
        self.held.drain(..at);
        Ok(())
    }

    /// The stream is over.
    ///
    /// # Errors
    /// When it ended within a message, or was broken before.
    pub fn finish(&self) -> Result<(), Broken> {
        match self.broken {
            Some(broken) => Err(broken),
            None if self.held.is_empty() => Ok(()),
            None => Err(Broken::Cut),
        }
    }
}

/// One whole message: of its headers only what says what it is.
#[derive(Default)]
struct Message<'a> {
    length: usize,
    message_type: Option<&'a str>,
    event_type: Option<&'a str>,
    exception_type: Option<&'a str>,
    error_code: Option<&'a str>,
    error_message: Option<&'a str>,
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The message at the beginning of `bytes`. `None`: it is not complete yet.
    fn take(bytes: &'a [u8]) -> Result<Option<Self>, Broken> {
        let Some(prelude) = bytes.get(..PRELUDE) else { return Ok(None) };
        if crc32(&prelude[..8]) != number(&prelude[8..]) {
            return Err(Broken::Prelude);
        }
        let said = number(&prelude[..4]);
        let (length, headers) = (said as usize, number(&prelude[4..8]) as usize);
        if length > EVENT_LIMIT || headers > HEADERS_LIMIT || length < OVERHEAD + headers {
            return Err(Broken::Length(said));
        }
        let Some(bytes) = bytes.get(..length) else { return Ok(None) };
        let (bytes, checksum) = bytes.split_at(length - 4);
        if crc32(bytes) != number(checksum) {
            return Err(Broken::Checksum);
        }
        let (headers, payload) = bytes[PRELUDE..].split_at(headers);
        let mut message = Self {
            length,
            payload,
            ..Self::default()
        };
        message.read_headers(headers).ok_or(Broken::Headers)?;
        Ok(Some(message))
    }

    fn read_headers(&mut self, mut headers: &'a [u8]) -> Option<()> {
        while let Some((&name_length, rest)) = headers.split_first() {
            let (name, rest) = rest.split_at_checked(usize::from(name_length))?;
            let (&kind, rest) = rest.split_first()?;
            let (length, rest) = match kind {
                0 | 1 => (0, rest),
                2 => (1, rest),
                3 => (2, rest),
                4 => (4, rest),
                5 | 8 => (8, rest),
                6 | TEXT => {
                    let (length, rest) = rest.split_first_chunk()?;
                    (usize::from(u16::from_be_bytes(*length)), rest)
                }
                9 => (16, rest),
                _ => return None,
            };
            let (value, rest) = rest.split_at_checked(length)?;
            headers = rest;
            let place = match name {
                b":message-type" => &mut self.message_type,
                b":event-type" => &mut self.event_type,
                b":exception-type" => &mut self.exception_type,
                b":error-code" => &mut self.error_code,
                b":error-message" => &mut self.error_message,
                _ => continue,
            };
            *place = Some(str::from_utf8(value).ok().filter(|_| kind == TEXT)?);
        }
        Some(())
    }

    /// What it says, for the reader. `None`: it does not say what it is.
    fn data(&self) -> Option<Vec<u8>> {
        match self.message_type {
            Some("exception") => Some(exception_data(self.exception_type.unwrap_or_default(), &error::words(self.payload))),
            Some("error") => Some(exception_data(
                self.error_code.unwrap_or_default(),
                self.error_message.unwrap_or_default(),
            )),
            _ => {
                let name = serde_json::to_vec(self.event_type?).expect("a text is written as JSON");
                let payload: &[u8] = if self.payload.is_empty() { b"{}" } else { self.payload };
                Some([b"{", name.as_slice(), b":", payload, b"}"].concat())
            }
        }
    }
}

fn exception_data(kind: &str, message: &str) -> Vec<u8> {
    serde_json::to_vec(&serde_json::json!({ "exception": { "type": kind, "message": message } })).expect("texts are written as JSON")
}

/// A message with these headers, all of them texts. `None`: a name is longer than 255 bytes, a value longer than 65,535, or all of it longer
/// than its lengths can say.
#[must_use]
pub fn encode(headers: &[(&str, &str)], payload: &[u8]) -> Option<Vec<u8>> {
    let mut written = Vec::new();
    for (name, value) in headers {
        written.push(u8::try_from(name.len()).ok()?);
        written.extend_from_slice(name.as_bytes());
        written.push(TEXT);
        written.extend(u16::try_from(value.len()).ok()?.to_be_bytes());
        written.extend_from_slice(value.as_bytes());
    }
    let length = u32::try_from(OVERHEAD + written.len() + payload.len()).ok()?;
    let mut message = Vec::with_capacity(OVERHEAD + written.len() + payload.len());
    message.extend(length.to_be_bytes());
    message.extend(u32::try_from(written.len()).ok()?.to_be_bytes());
    message.extend(crc32(&message).to_be_bytes());
    message.extend(written);
    message.extend_from_slice(payload);
    message.extend(crc32(&message).to_be_bytes());
    Some(message)
}

/// An event as Bedrock sends it, such as `contentBlockDelta` with its JSON. `None`: see [`encode`].
#[must_use]
pub fn event(kind: &str, payload: &[u8]) -> Option<Vec<u8>> {
    let headers = [
        (":event-type", kind),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ];
    encode(&headers, payload)
}

/// An exception as Bedrock sends it, such as `throttlingException` with `{"message":…}`. `None`: see [`encode`].
#[must_use]
pub fn exception(kind: &str, payload: &[u8]) -> Option<Vec<u8>> {
    let headers = [
        (":exception-type", kind),
        (":content-type", "application/json"),
        (":message-type", "exception"),
    ];
    encode(&headers, payload)
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// CRC-32 as of gzip and Ethernet: polynomial 0xEDB88320, lowest bit first.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes
        .iter()
        .fold(!0, |crc, byte| CRC[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8))
}

/// What each byte does to a checksum.
const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xEDB8_8320 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests;
