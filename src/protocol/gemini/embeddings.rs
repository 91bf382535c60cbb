//! Vectors of texts: AI Studio's `batchEmbedContents`, Vertex's `predict`.

use serde::{Deserialize, Serialize};

use super::super::chat::{Lost, Unsupported};
use super::super::embeddings::Request;
use super::wire::{Content, Part};
use super::{Api, resource};

/// Texts in one request to AI Studio.
const TEXTS: usize = 100;
/// Texts in one request to Vertex.
const TEXTS_OF_VERTEX: usize = 250;

/// The vectors of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// In the order of the texts.
    pub vectors: Vec<Vec<f32>>,
    /// The tokens of all texts, if the provider says so.
    pub tokens: Option<u64>,
}

/// The body of a request, and what was left out. In what form the client wants the vectors is no matter of the model.
///
/// # Errors
/// When there are more texts than one request may have, or one is empty.
pub fn write_request(request: &Request, model: &str, api: Api) -> Result<(Vec<u8>, Lost), Unsupported> {
    let Request {
        texts,
        dimensions,
        base64: _,
        user,
    } = request;
    let mut lost = Lost::default();
    lost.note_if(user.is_some(), "user");
    let limit = if api == Api::Vertex { TEXTS_OF_VERTEX } else { TEXTS };
    if texts.len() > limit {
        let problem = format!("holds {} texts, and the model takes {limit} at a time", texts.len());
        return Err(Unsupported::new("input", problem));
    }
    if let Some(index) = texts.iter().position(String::is_empty) {
        return Err(Unsupported::new(
            format!("input[{index}]"),
            "is empty, and the model has no vector for that",
        ));
    }
    let json = match api {
        Api::AiStudio => serde_json::to_vec(&Batch {
            requests: texts.iter().map(|text| Embed::new(model, text, *dimensions)).collect(),
        }),
        Api::Vertex => serde_json::to_vec(&Predict {
            instances: texts.iter().map(|content| Instance { content }).collect(),
            parameters: Parameters {
                // Cutting texts off unasked would be a loss that nobody is told of.
                auto_truncate: false,
                output_dimensionality: *dimensions,
            },
        }),
    };
    Ok((json.expect("strings and numbers are JSON"), lost))
}

#[derive(Serialize)]
struct Batch<'a> {
    requests: Vec<Embed<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Embed<'a> {
    model: String,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimensionality: Option<u32>,
}

impl<'a> Embed<'a> {
    fn new(model: &str, text: &'a str, output_dimensionality: Option<u32>) -> Self {
        let text = Part {
            text: Some(text),
            ..Part::default()
        };
        Self {
            model: resource(model),
            content: Content {
                role: None,
                parts: vec![text],
            },
            output_dimensionality,
        }
    }
}

#[derive(Serialize)]
struct Predict<'a> {
    instances: Vec<Instance<'a>>,
    parameters: Parameters,
}

#[derive(Serialize)]
struct Instance<'a> {
    content: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    auto_truncate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimensionality: Option<u32>,
}

/// Reads an answer of either. `None` when it is none.
#[must_use]
pub fn read_answer(body: &[u8]) -> Option<Answer> {
    match serde_json::from_slice(body).ok()? {
        Form::Batch {
            embeddings,
            usage_metadata,
        } => Some(Answer {
            vectors: embeddings.into_iter().map(|vector| vector.values).collect(),
            tokens: usage_metadata.and_then(|usage| usage.prompt_token_count),
        }),
        Form::Predictions { predictions } => {
            let counts = predictions
                .iter()
                .map(|prediction| prediction.embeddings.statistics.as_ref()?.token_count);
            // A sum of which a part is not known is not known.
            let tokens = counts.sum::<Option<f64>>().map(whole);
            let vectors = predictions.into_iter().map(|prediction| prediction.embeddings.values);
            Some(Answer {
                tokens,
                vectors: vectors.collect(),
            })
        }
    }
}

/// Vertex writes numbers of its predictions with a fraction (`4.0`).
fn whole(count: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` keeps within the bounds of the type"
    )]
    let whole = count.round() as u64;
    whole
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    #[serde(rename_all = "camelCase")]
    Batch {
        embeddings: Vec<Vector>,
        usage_metadata: Option<Usage>,
    },
    Predictions {
        predictions: Vec<Prediction>,
    },
}

#[derive(Deserialize)]
struct Prediction {
    embeddings: Vector,
}

#[derive(Deserialize)]
struct Vector {
    values: Vec<f32>,
    statistics: Option<Statistics>,
}

#[derive(Deserialize)]
struct Statistics {
    token_count: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    prompt_token_count: Option<u64>,
}
