//! vLLM's verbs for adapters, which it takes when it is allowed to, and its list of models.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

/// Where it lists what it serves.
pub const MODELS: &str = "/v1/models";
/// Where it is told to load an adapter.
pub const LOAD: &str = "/v1/load_lora_adapter";
/// Where it is told to unload one.
pub const UNLOAD: &str = "/v1/unload_lora_adapter";

/// Loads the adapter at `path`, or, `in_place`, in the stead of the one that has its name.
#[must_use]
pub fn load(name: &str, path: &str, in_place: bool) -> Value {
    let mut body = json!({ "lora_name": name, "lora_path": path });
    if in_place {
        body["load_inplace"] = json!(true);
    }
    body
}

/// Unloads the adapter of that name.
#[must_use]
pub fn unload(name: &str) -> Value {
    json!({ "lora_name": name })
}

/// The adapters in its list of models, each with the path it came from: those with a parent.
///
/// # Errors
/// When the body is no such list.
pub fn adapters(list: &[u8]) -> Result<BTreeMap<String, String>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Models {
        data: Vec<Model>,
    }
    #[derive(Deserialize)]
    struct Model {
        id: String,
        root: Option<String>,
        parent: Option<String>,
    }
    let models: Models = serde_json::from_slice(list)?;
    let adapters = models.data.into_iter().filter(|model| model.parent.is_some());
    Ok(adapters.map(|model| (model.id, model.root.unwrap_or_default())).collect())
}

/// What an answer that is no success says, for a person.
#[must_use]
pub fn words(body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = [&json["error"]["message"], &json["message"], &json["detail"]];
    match said.into_iter().find_map(Value::as_str) {
        Some(said) => said.to_owned(),
        None => String::from_utf8_lossy(body).trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_as_it_was_recorded() {
        let list = r#"{"object":"list","data":[{"id":"smollm2-135m","object":"model","created":1795567503,"owned_by":"vllm","root":"smollm2-135m","parent":null,"max_model_len":1024,"permission":[{"id":"modelperm-8e5699f25baa4de4","object":"model_permission","created":1795567503,"allow_create_engine":false,"allow_sampling":true,"allow_logprobs":true,"allow_search_indices":false,"allow_view":true,"allow_fine_tuning":false,"organization":"*","group":null,"is_blocking":false}]},{"id":"adapter-a","object":"model","created":1795567503,"owned_by":"vllm","root":"lora-a","parent":"smollm2-135m","max_model_len":null,"permission":[]}]}"#;
        let expected = BTreeMap::from([("adapter-a".to_owned(), "lora-a".to_owned())]);
        assert_eq!(adapters(list.as_bytes()).unwrap(), expected);
        assert!(adapters(b"{}").is_err());
    }

    #[test]
    fn its_words_are_found_wherever_it_puts_them() {
        for (body, expected) in [
            (
                r#"{"error":{"message":"Loading lora bad failed: No adapter found for missing-folder","type":"NotFoundError","param":null,"code":404}}"#,
                "Loading lora bad failed: No adapter found for missing-folder",
            ),
            (r#"{"detail":"Not Found"}"#, "Not Found"),
            ("upstream gone\n", "upstream gone"),
        ] {
            assert_eq!(words(body.as_bytes()), expected);
        }
    }

    #[test]
    fn verbs_are_written_as_it_takes_them() {
        assert_eq!(load("a", "p", false).to_string(), r#"{"lora_name":"a","lora_path":"p"}"#);
        assert_eq!(load("a", "p", true)["load_inplace"], true);
        assert_eq!(unload("a").to_string(), r#"{"lora_name":"a"}"#);
    }
}
