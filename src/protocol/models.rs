//! The list of models as `GET /v1/models` answers it: in OpenAI's form and in Anthropic's at once, which their SDKs both read, with what each
//! can do beside it.

use serde::Serialize;

/// A name that may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model<'a> {
    /// The name.
    pub name: &'a str,
    /// What it can do.
    pub abilities: Abilities,
}

/// What a model can do, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Abilities {
    /// Tokens of a prompt and its answer together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u32>,
    /// Tokens of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// Whether it calls tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<bool>,
    /// Whether it sees images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<bool>,
    /// Whether it keeps to a JSON schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<bool>,
    /// Whether it makes vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embeddings: Option<bool>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    display_name: &'a str,
    created_at: &'static str,
    capabilities: Abilities,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Entry<'a>>,
    has_more: bool,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
}

fn entry<'a>(model: &Model<'a>) -> Entry<'a> {
    Entry {
        id: model.name,
        object: "model",
        // When a name came to be is nobody's business, and both forms insist on a time.
        created: 0,
        owned_by: "llm-portfolio",
        kind: "model",
        display_name: model.name,
        created_at: "1970-01-01T00:00:00Z",
        capabilities: model.abilities,
    }
}

/// All of them.
#[must_use]
pub fn list(models: &[Model<'_>]) -> Vec<u8> {
    let list = List {
        object: "list",
        data: models.iter().map(entry).collect(),
        has_more: false,
        first_id: models.first().map(|model| model.name),
        last_id: models.last().map(|model| model.name),
    };
    serde_json::to_vec(&list).expect("names and numbers are always JSON")
}

/// One of them.
#[must_use]
pub fn one(model: &Model<'_>) -> Vec<u8> {
    serde_json::to_vec(&entry(model)).expect("names and numbers are always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_listed_in_both_forms_with_what_is_known_of_it() {
        let abilities = Abilities {
            tools: Some(true),
            ..Abilities::default()
        };
        let model = Model { name: "a/b:c", abilities };
        let expected = r#"{"object":"list","data":[{"id":"a/b:c","object":"model","created":0,"owned_by":"llm-portfolio","type":"model","display_name":"a/b:c","created_at":"1970-01-01T00:00:00Z","capabilities":{"tools":true}}],"has_more":false,"first_id":"a/b:c","last_id":"a/b:c"}"#;
        assert_eq!(String::from_utf8(list(&[model])).unwrap(), expected);
        assert!(
            String::from_utf8(list(&[]))
                .unwrap()
                .contains(r#""data":[],"has_more":false,"first_id":null"#)
        );
    }
}
