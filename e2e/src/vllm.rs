//! vLLM's OpenAI server as far as a gateway and an operator speak with it, without a model: health, the list of models, chat, and the verbs
//! for adapters, in its wire format. Repositories exist unless a part of their name begins with `missing`; folders are
//! looked at. It says on its standard output which lists and verbs it was asked for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{StatusCode, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// What it was started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Arguments {
    model: String,
    served: String,
    port: u16,
    takes_adapters: bool,
    adapters: BTreeMap<String, String>,
}

struct Engine {
    root: String,
    served: String,
    /// The path of each, by name.
    adapters: Mutex<BTreeMap<String, String>>,
}

/// Serves with vLLM's own arguments until it is told to end.
pub async fn run(arguments: &[String]) -> Result<()> {
    let arguments = Arguments::read(arguments)?;
    let is_live = std::env::var("VLLM_ALLOW_RUNTIME_LORA_UPDATING").is_ok_and(|allowed| allowed == "True");
    let address = SocketAddr::from(([0, 0, 0, 0], arguments.port));
    let listener = TcpListener::bind(address).await.with_context(|| address.to_string())?;
    let mut end = signal(SignalKind::terminate())?;
    let ended = async move {
        end.recv().await;
    };
    axum::serve(listener, app(arguments, is_live)).with_graceful_shutdown(ended).await?;
    Ok(())
}

impl Arguments {
    fn read(words: &[String]) -> Result<Self> {
        let mut read = Self {
            port: 8000,
            ..Self::default()
        };
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--served-model-name" => read.served.clone_from(value()?),
                "--port" => read.port = value()?.parse().context("--port")?,
                "--enable-lora" => read.takes_adapters = true,
                "--lora-modules" => {
                    while let Some(module) = words.next_if(|word| !word.starts_with('-')) {
                        let (name, path) = module.split_once('=').context("--lora-modules NAME=PATH")?;
                        anyhow::ensure!(exists(path), "No adapter found for {path}");
                        read.adapters.insert(name.to_owned(), path.to_owned());
                    }
                }
                option if option.starts_with('-') => drop(words.next_if(|word| !word.starts_with('-'))),
                model => model.clone_into(&mut read.model),
            }
        }
        anyhow::ensure!(
            read.takes_adapters || read.adapters.is_empty(),
            "--lora-modules needs --enable-lora"
        );
        if read.served.is_empty() {
            read.served.clone_from(&read.model);
        }
        Ok(read)
    }
}

fn exists(path: &str) -> bool {
    if path.starts_with('/') {
        return Path::new(path).join("adapter_config.json").is_file();
    }
    !path.split('/').any(|part| part.starts_with("missing"))
}

/// The server without a socket. The verbs are there only where they are allowed.
fn app(arguments: Arguments, is_live: bool) -> Router {
    let engine = Arc::new(Engine {
        root: arguments.model,
        served: arguments.served,
        adapters: Mutex::new(arguments.adapters),
    });
    let mut app = Router::new()
        .route("/health", get(StatusCode::OK))
        .route("/v1/models", get(models))
        .route("/v1/chat/completions", post(chat));
    if is_live && arguments.takes_adapters {
        app = app
            .route("/v1/load_lora_adapter", post(load))
            .route("/v1/unload_lora_adapter", post(unload));
    }
    let nowhere = async || (StatusCode::NOT_FOUND, Json(json!({ "detail": "Not Found" })));
    app.fallback(nowhere).with_state(engine)
}

impl Engine {
    fn adapters(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.adapters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn models(State(engine): State<Arc<Engine>>) -> Response {
    say("GET /v1/models", &Value::Null, StatusCode::OK);
    let model = |id: &str, root: &str, parent: Option<&str>| json!({"id": id, "object": "model", "created": 1_795_567_503, "owned_by": "vllm", "root": root, "parent": parent, "permission": []});
    let adapters = engine.adapters();
    let adapters = adapters.iter().map(|(name, path)| model(name, path, Some(&engine.served)));
    let all: Vec<Value> = std::iter::once(model(&engine.served, &engine.root, None)).chain(adapters).collect();
    Json(json!({ "object": "list", "data": all })).into_response()
}

async fn load(State(engine): State<Arc<Engine>>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let answer = match (body["lora_name"].as_str(), body["lora_path"].as_str()) {
        (Some(name), Some(path)) => {
            let mut adapters = engine.adapters();
            if name == engine.served {
                Err((400, format!("The lora adapter '{name}' conflicts with a served base model.")))
            } else if adapters.contains_key(name) && body["load_inplace"] != true {
                let hint = "If you want to load the adapter in place, set 'load_inplace' to True.";
                Err((400, format!("The lora adapter '{name}' has already been loaded. {hint}")))
            } else if !exists(path) {
                Err((404, format!("Loading lora {name} failed: No adapter found for {path}")))
            } else {
                adapters.insert(name.to_owned(), path.to_owned());
                Ok(format!("Success: LoRA adapter '{name}' added successfully."))
            }
        }
        (None, _) | (_, None) => Err((400, "1 validation error: Field required".to_owned())),
    };
    told("POST /v1/load_lora_adapter", &body, answer)
}

async fn unload(State(engine): State<Arc<Engine>>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let name = body["lora_name"].as_str().unwrap_or_default();
    let answer = match engine.adapters().remove(name) {
        Some(_) => Ok(format!("Success: LoRA adapter '{name}' removed successfully.")),
        None => Err((404, format!("The lora adapter '{name}' cannot be found."))),
    };
    told("POST /v1/unload_lora_adapter", &body, answer)
}

fn told(what: &str, body: &Value, answer: Result<String, (u16, String)>) -> Response {
    let response = match answer {
        Ok(text) => text.into_response(),
        Err((status, message)) => refusal(status, &message),
    };
    say(what, body, response.status());
    response
}

fn refusal(status: u16, message: &str) -> Response {
    let kind = if status == 404 { "NotFoundError" } else { "InvalidUserInput" };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let error = json!({ "message": message, "type": kind, "param": null, "code": status.as_u16() });
    (status, Json(json!({ "error": error }))).into_response()
}

#[expect(clippy::print_stdout, reason = "its log is what tests read")]
fn say(what: &str, body: &Value, status: StatusCode) {
    println!("{what} {body} {}", status.as_u16());
}

/// Says who answers, from where.
async fn chat(State(engine): State<Arc<Engine>>, uri: Uri, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let model = body["model"].as_str().unwrap_or_default();
    let root = match engine.adapters().get(model) {
        Some(path) => path.clone(),
        None if model == engine.served => engine.root.clone(),
        None => {
            let message = format!("The model `{model}` does not exist. Valid aliases: {}.", engine.served);
            say(&format!("POST {uri}"), &body["model"], StatusCode::NOT_FOUND);
            return refusal(404, &message);
        }
    };
    let message = json!({ "role": "assistant", "content": format!("{model} from {root}") });
    Json(json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_795_567_503, "model": model,
        "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6 },
    }))
    .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_arguments_are_vllms() {
        let words =
            "bank/base --served-model-name triage --host 0.0.0.0 --port 9000 --enable-lora --lora-modules a=p/a b=p/b --max-loras 4";
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let read = Arguments::read(&words).unwrap();
        assert_eq!(
            (read.model.as_str(), read.served.as_str(), read.port),
            ("bank/base", "triage", 9000)
        );
        assert_eq!(read.adapters.keys().collect::<Vec<_>>(), ["a", "b"]);
        let missing: Vec<String> = ["m", "--enable-lora", "--lora-modules", "a=missing/a"].map(str::to_owned).to_vec();
        assert!(Arguments::read(&missing).is_err(), "the real one does not start either");
    }
}
