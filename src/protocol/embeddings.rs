//! OpenAI's embeddings, as a client asks for them (`POST /v1/embeddings`) and is answered, for models that speak another protocol.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use super::chat::{Lost, Unfit, Unreadable, Unsupported};
use super::fields::Fields;

/// A request for the vectors of some texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The texts, one at least; the answer has a vector for each, in this order.
    pub texts: Vec<String>,
    /// How long the vectors are to be, one at least. `None`: as the model makes them.
    pub dimensions: Option<u32>,
    /// Whether the vectors are wanted in base64, and not as lists of numbers.
    pub base64: bool,
    /// Who the client's own user is, by a name that the client made up.
    pub user: Option<String>,
}

/// Reads a request. What is in it and not in OpenAI's protocol is noted as left out.
///
/// # Errors
/// When the request is wrong, or its input is token ids, which mean nothing to another model.
pub fn read_request(body: &[u8]) -> Result<(Request, Lost), Unfit> {
    let mut lost = Lost::default();
    let mut fields = Fields::of_body(body)?;
    fields.raw("model");
    let texts = texts(fields.need("input", "a string, or a list of strings")?)?;
    let dimensions = fields.take("dimensions", "a whole number, 1 at least")?;
    if dimensions == Some(0) {
        return Err(fields.wrong("dimensions", "a whole number, 1 at least").into());
    }
    let base64 = match fields.text("encoding_format")?.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(fields.wrong("encoding_format", "float or base64").into()),
    };
    let user = fields.text("user")?;
    fields.rest(&mut lost);
    let request = Request {
        texts,
        dimensions,
        base64,
        user,
    };
    Ok((request, lost))
}

fn texts(input: &RawValue) -> Result<Vec<String>, Unfit> {
    if let Ok(text) = serde_json::from_str(input.get()) {
        return Ok(vec![text]);
    }
    if let Ok(texts) = serde_json::from_str::<Vec<String>>(input.get())
        && !texts.is_empty()
    {
        return Ok(texts);
    }
    let is_ids = serde_json::from_str::<Vec<u64>>(input.get()).is_ok_and(|ids| !ids.is_empty());
    if is_ids || serde_json::from_str::<Vec<Vec<u64>>>(input.get()).is_ok_and(|lists| !lists.is_empty()) {
        return Err(Unsupported::new("input", "is token ids, which mean nothing to this model: send the text").into());
    }
    Err(Unreadable::new(Some("input"), "input must be a string, or a list of strings that is not empty").into())
}

/// Writes an answer: the vectors in the order of the texts, the `tokens` of the texts if the provider says so, and the `model` as the client
/// called it. In base64 a vector is its numbers in 32 bits each, the lowest byte first.
#[must_use]
pub fn write_answer(vectors: &[Vec<f32>], tokens: Option<u64>, model: &str, base64: bool) -> Vec<u8> {
    let data = vectors.iter().enumerate().map(|(index, vector)| Embedding {
        object: "embedding",
        index,
        embedding: if base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            Vector::Base64(STANDARD.encode(bytes))
        } else {
            Vector::Floats(vector)
        },
    });
    let answer = Answer {
        object: "list",
        data: data.collect(),
        model,
        usage: tokens.map(|tokens| Usage {
            prompt_tokens: tokens,
            total_tokens: tokens,
        }),
    };
    serde_json::to_vec(&answer).expect("strings and numbers are always JSON")
}

#[derive(Serialize)]
struct Answer<'a> {
    object: &'static str,
    data: Vec<Embedding<'a>>,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize)]
struct Embedding<'a> {
    object: &'static str,
    index: usize,
    embedding: Vector<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector<'a> {
    Floats(&'a [f32]),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(body: &str) -> Result<(Request, Lost), Unfit> {
        read_request(body.as_bytes())
    }

    #[test]
    fn every_form_of_text_is_read() {
        let one = read(r#"{"model":"m","input":"a","user":"u","dimensions":256,"encoding_format":"base64"}"#).unwrap();
        let expected = Request {
            texts: vec!["a".to_owned()],
            dimensions: Some(256),
            base64: true,
            user: Some("u".to_owned()),
        };
        assert_eq!(one, (expected, Lost::default()));
        let (many, lost) = read(r#"{"input":["a",""],"model":"m","encoding_format":null,"input_type":"query"}"#).unwrap();
        assert_eq!((many.texts, many.base64), (vec!["a".to_owned(), String::new()], false));
        assert_eq!(lost.fields(), ["input_type"]);
    }

    #[test]
    fn what_is_no_request_is_refused_with_its_field() {
        for (body, field) in [
            (r#"{"model":"m"}"#, "input"),
            (r#"{"input":7}"#, "input"),
            (r#"{"input":[]}"#, "input"),
            (r#"{"input":["a",7]}"#, "input"),
            (r#"{"input":"a","dimensions":0}"#, "dimensions"),
            (r#"{"input":"a","dimensions":1.5}"#, "dimensions"),
            (r#"{"input":"a","encoding_format":"int8"}"#, "encoding_format"),
            (r#"{"input":"a","user":7}"#, "user"),
        ] {
            let Err(Unfit::Unreadable(error)) = read(body) else {
                panic!("{body} was taken")
            };
            assert_eq!(error.field.as_deref(), Some(field), "{body}");
        }
    }

    #[test]
    fn token_ids_are_not_passed_off_as_text() {
        for input in ["[1,2]", "[[1,2],[3]]"] {
            let Err(Unfit::Unsupported(error)) = read(&format!(r#"{{"input":{input}}}"#)) else {
                panic!("{input} was taken")
            };
            assert_eq!(error.field, "input");
        }
    }

    #[test]
    fn an_answer_has_openais_shape() {
        let answer = write_answer(&[vec![0.5, -1.0], vec![0.1, 2.0]], Some(8), "m", false);
        let expected = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,-1.0]},{"object":"embedding","index":1,"embedding":[0.1,2.0]}],"model":"m","usage":{"prompt_tokens":8,"total_tokens":8}}"#;
        assert_eq!(String::from_utf8(answer).unwrap(), expected);
        let answer = write_answer(&[vec![1.0, -2.0]], None, "m", true);
        let expected = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AACAPwAAAMA="}],"model":"m"}"#;
        assert_eq!(String::from_utf8(answer).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn no_request_makes_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..100), input in "[\\[\\]\"a1,\\\\]{0,20}") {
            let _ = (read_request(&body), read(&format!(r#"{{"input":{input}}}"#)));
        }
    }
}
