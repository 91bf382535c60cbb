//! How many tokens a text may have, and what is in a JSON document beside text. Guesses, for what nobody counted: what is computed from them
//! must be marked as estimated.

use super::scan::quote_or_escape;

/// Bytes to a token, as English prose and code have them with most vocabularies. Scripts with more bytes to a letter have fewer.
const BYTES_PER_TOKEN: u64 = 4;

/// A picture, whatever its size, which is unknown where there is only an address: a square megapixel has about as many with Anthropic
/// (width × height / 750) and fewer elsewhere.
pub(super) const IMAGE_TOKENS: u64 = 1_500;

/// A document that is no text: a page or two.
pub(super) const DOCUMENT_TOKENS: u64 = 3_000;

/// No word is so long: what has as many letters and digits in a row is data in base64.
const LONGEST_WORD: usize = 256;

/// The first three bytes of a PDF, `%PDF`, in base64.
const PDF: &[u8] = b"JVBER";

/// How many tokens so many bytes of text may be, rounded up.
#[must_use]
pub fn of_text(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

/// How many tokens a request or an answer may have, of any protocol: a quarter of its bytes, and for pictures, sound and documents in base64
/// the flat figure of one, where that is less. One look at each byte; nothing is copied but how texts begin.
#[must_use]
pub fn of_json(json: &[u8]) -> u64 {
    let mut meter = Meter::default();
    meter.feed(json);
    meter.tokens()
}

/// The same of a document that comes in pieces.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    bytes: u64,
    data_bytes: u64,
    data_tokens: u64,
    place: Place,
    text: Text,
}

/// Where in a string it is, if in one.
#[derive(Clone, Copy, Debug, Default)]
enum Place {
    #[default]
    Outside,
    Inside,
    /// After a backslash.
    Escaped,
}

/// A string that is not over.
#[derive(Clone, Debug, Default)]
struct Text {
    /// How it begins: longer than any word.
    start: Vec<u8>,
    length: usize,
    /// Whether it may still be data in base64.
    is_data: bool,
}

impl Meter {
    /// Takes the next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        let mut at = 0;
        while at < piece.len() {
            match self.place {
                Place::Outside => {
                    let Some(quote) = piece[at..].iter().position(|byte| *byte == b'"') else {
                        return;
                    };
                    at += quote + 1;
                    self.text.begin();
                    self.place = Place::Inside;
                }
                Place::Inside => {
                    let end = quote_or_escape(piece, at).unwrap_or(piece.len());
                    self.text.add(&piece[at..end]);
                    self.place = match piece.get(end) {
                        Some(b'"') => {
                            (self.data_bytes, self.data_tokens) = self.data();
                            self.text.begin();
                            Place::Outside
                        }
                        Some(escape) => {
                            self.text.add(&[*escape]);
                            Place::Escaped
                        }
                        None => Place::Inside,
                    };
                    at = end + 1;
                }
                Place::Escaped => {
                    self.text.add(&piece[at..=at]);
                    self.place = Place::Inside;
                    at += 1;
                }
            }
        }
    }

    /// Of what has come so far.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        let (data_bytes, data_tokens) = self.data();
        of_text(self.bytes - data_bytes).saturating_add(data_tokens)
    }

    /// Bytes of data in base64, and the tokens for them.
    fn data(&self) -> (u64, u64) {
        match self.text.data() {
            Some(flat) => {
                let bytes = self.text.length as u64;
                (self.data_bytes + bytes, self.data_tokens.saturating_add(flat.min(of_text(bytes))))
            }
            None => (self.data_bytes, self.data_tokens),
        }
    }
}

impl Text {
    fn begin(&mut self) {
        self.start.clear();
        (self.length, self.is_data) = (0, true);
    }

    fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        let (start, rest) = bytes.split_at(bytes.len().min(LONGEST_WORD - self.start.len()));
        self.start.extend_from_slice(start);
        self.is_data = self.is_data && is_base64(rest);
    }

    /// The flat figure for one that is data in base64, be it within a `data:` URL.
    fn data(&self) -> Option<u64> {
        if self.length < LONGEST_WORD || !self.is_data {
            return None;
        }
        let (kind, base64) = match self.start.strip_prefix(b"data:") {
            Some(url) => url.split_at(url.iter().position(|byte| *byte == b',')? + 1),
            None => (&b""[..], &self.start[..]),
        };
        if !is_base64(base64) {
            return None;
        }
        Some(if kind.starts_with(b"text/") {
            let before = self.start.len() - base64.len();
            of_text(((self.length - before) / 4 * 3) as u64)
        } else if base64.starts_with(PDF) || kind.starts_with(b"application/pdf") {
            DOCUMENT_TOKENS
        } else {
            IMAGE_TOKENS
        })
    }
}

/// Some writers put a backslash before each slash.
fn is_base64(bytes: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=' | b'\\');
    bytes.iter().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_counts_by_its_bytes() {
        assert_eq!([0, 1, 4, 5, 400].map(of_text), [0, 1, 1, 2, 100]);
        assert_eq!(of_json(br#"{"input":"12345"}"#), 5);
    }

    #[test]
    fn a_picture_in_base64_is_never_text_whichever_protocol_says_it() {
        let data = "iVBORw0KGgo+/A9".repeat(100_000);
        for (request, expected) in [
            (
                format!(
                    r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{data}"}}}}]}}]}}"#
                ),
                1_500,
            ),
            (
                format!(
                    r#"{{"messages":[{{"role":"user","content":[{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{data}"}}}}]}}]}}"#
                ),
                1_500,
            ),
            (
                format!(
                    r#"{{"input":[{{"role":"user","content":[{{"type":"input_image","image_url":"data:image\/png;base64,{data}"}}]}}]}}"#
                ),
                1_500,
            ),
            (
                format!(
                    r#"{{"input":[{{"content":[{{"type":"input_audio","input_audio":{{"data":"{}","format":"wav"}}}}]}}]}}"#,
                    data.replace('/', "\\/")
                ),
                1_500,
            ),
            (
                format!(r#"{{"content":[{{"type":"document","source":{{"data":"JVBERi0{data}"}}}}]}}"#),
                3_000,
            ),
        ] {
            let tokens = of_json(request.as_bytes());
            assert!((expected..expected + 50).contains(&tokens), "{tokens}: {}", &request[..120]);
        }
    }

    #[test]
    fn what_is_small_counts_no_more_than_as_text_and_prose_is_never_data() {
        let seal = format!(r#"{{"signature":"{}"}}"#, "A".repeat(400));
        assert_eq!(of_json(seal.as_bytes()), of_text(16) + 100);
        for text in ["a b".repeat(1000), "ab,".repeat(1000), "né".repeat(1000), "1,2,".repeat(1000)] {
            let json = serde_json::to_vec(&text).unwrap();
            assert_eq!(of_json(&json), of_text(json.len() as u64), "{text:.9}");
        }
        let text = format!(r#""data:text/plain;base64,{}""#, "QUJD".repeat(1000));
        assert_eq!(of_json(text.as_bytes()), of_text(2) + 750);
    }

    proptest! {
        #[test]
        fn it_counts_the_same_wherever_a_document_is_cut(
            texts in prop::collection::vec("(data:(image/png|text/x);base64,|JVBERi0)?(iVBORw0K){0,60}( |\\\\/|é)?", 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let json = serde_json::to_vec(&texts).unwrap();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(json.len() + 1)).chain([0, json.len()]).collect();
            at.sort_unstable();
            let mut meter = Meter::default();
            at.windows(2).for_each(|w| meter.feed(&json[w[0]..w[1]]));
            prop_assert_eq!(meter.tokens(), of_json(&json));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), text in "[\"\\\\a:{,]{0,20}") {
            prop_assert!(of_json(&bytes) <= of_text(bytes.len() as u64));
            prop_assert_eq!(of_json(text.as_bytes()), of_text(text.len() as u64));
        }
    }
}
