//! How many tokens a text may have, and what is in a JSON document beside text. Guesses, for what nobody counted: what is computed from them
//! must be marked as estimated.

use super::scan::end_of_text;

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
/// the flat figure of one, where that is less. One look at each byte; nothing is copied.
#[must_use]
pub fn of_json(json: &[u8]) -> u64 {
    let (mut at, mut data_bytes, mut data_tokens) = (0, 0, 0_u64);
    while let Some(quote) = json.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'"')) {
        let start = at + quote + 1;
        at = end_of_text(json, start).unwrap_or(json.len());
        let text = &json[start..(at - 1).max(start)];
        if let Some(flat) = data(text) {
            data_bytes += text.len();
            data_tokens = data_tokens.saturating_add(flat.min(of_text(text.len() as u64)));
        }
    }
    of_text((json.len() - data_bytes) as u64).saturating_add(data_tokens)
}

/// The flat figure for a string that is data in base64, be it within a `data:` URL.
fn data(text: &[u8]) -> Option<u64> {
    if text.len() < LONGEST_WORD {
        return None;
    }
    let (kind, base64) = match text.strip_prefix(b"data:") {
        Some(url) => url.split_at(url.iter().take(LONGEST_WORD).position(|byte| *byte == b',')? + 1),
        None => (&b""[..], text),
    };
    // Some writers put a backslash before each slash.
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=' | b'\\');
    if !base64.iter().all(is_base64) {
        return None;
    }
    Some(if kind.starts_with(b"text/") {
        of_text((base64.len() / 4 * 3) as u64)
    } else if base64.starts_with(PDF) || kind.starts_with(b"application/pdf") {
        DOCUMENT_TOKENS
    } else {
        IMAGE_TOKENS
    })
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
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), text in "[\"\\\\a:{,]{0,20}") {
            prop_assert!(of_json(&bytes) <= of_text(bytes.len() as u64));
            prop_assert_eq!(of_json(text.as_bytes()), of_text(text.len() as u64));
        }
    }
}
