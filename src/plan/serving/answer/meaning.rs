//! The requests for one token, what the answers to them mean, and what a person is told of those that mean no.

use kube::ResourceExt;
use serde_json::{Value, json};

use crate::api::ModelDeployment;
use crate::api::model_deployment::{Operation, SelfHosted};
use crate::plan::names;
use crate::plan::serving::engine;

use super::{Said, What};

/// The operations in the order in which they are tried: most models chat, some only complete, some only embed.
pub const OPERATIONS: [Operation; 3] = [Operation::ChatCompletions, Operation::Completions, Operation::Embeddings];

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The engine answers.
    Answer,
    /// Not to this operation: the model may be for the next one.
    NotThis(What),
    /// Not now, whatever it is asked.
    NotNow(What),
}

/// The longest part of an engine's own words that is repeated.
const WORDS_LIMIT: usize = 200;

/// The path and the body of the request for one token from `model`.
#[must_use]
pub fn request(operation: Operation, model: &str) -> (&'static str, Value) {
    let body = match operation {
        Operation::ChatCompletions => json!({ "model": model, "messages": [{ "role": "user", "content": "Hi" }], "max_tokens": 1 }),
        Operation::Completions => json!({ "model": model, "prompt": "Hi", "max_tokens": 1 }),
        Operation::Embeddings => json!({ "model": model, "input": "Hi" }),
    };
    (path(operation), body)
}

fn path(operation: Operation) -> &'static str {
    match operation {
        Operation::ChatCompletions => "/v1/chat/completions",
        Operation::Completions => "/v1/completions",
        Operation::Embeddings => "/v1/embeddings",
    }
}

/// What an answer with this status and body means.
#[must_use]
pub fn meaning(operation: Operation, status: u16, body: &[u8]) -> Meaning {
    let what = || What::Status(status, words(body));
    match status {
        200 if has_shape(operation, body) => Meaning::Answer,
        // What engines say to a model without a chat template, or of another kind: vLLM 400 or 404, llama.cpp 501, TGI 422. A page that is
        // no answer comes from what is no engine, or not at this path.
        200 | 400 | 404 | 405 | 415 | 422 | 501 => Meaning::NotThis(what()),
        _ => Meaning::NotNow(what()),
    }
}

fn has_shape(operation: Operation, body: &[u8]) -> bool {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return false;
    };
    let first = &body["choices"][0];
    // An engine that ends a request by itself says so in an answer that looks complete.
    let is_whole = first["finish_reason"] != "abort";
    match operation {
        Operation::ChatCompletions => first["message"].is_object() && is_whole,
        Operation::Completions => first["text"].is_string() && is_whole,
        Operation::Embeddings => !body["data"][0]["embedding"].is_null(),
    }
}

/// The engine's own words in an error, short and in one line: engines have them in different places.
fn words(body: &[u8]) -> Option<String> {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(body) => ["/error/message", "/message", "/error", "/detail/0/msg", "/detail"]
            .into_iter()
            .find_map(|place| body.pointer(place)?.as_str().map(str::to_owned))?,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // A page is for browsers.
    let is_page = line.starts_with('<');
    (!line.is_empty() && !is_page).then(|| line.chars().filter(|c| !c.is_control()).take(WORDS_LIMIT).collect())
}

/// What is wrong with an engine that was asked as `model` and failed, and what to do about it.
pub(super) fn explain(md: &ModelDeployment, own: &SelfHosted, said: &[Said]) -> String {
    let model = engine::model_name(md, own);
    // Where all say the same, it is said once.
    let mut told: Vec<(&What, Vec<&str>)> = vec![];
    for Said { operation, what } in said {
        match told.iter_mut().find(|(before, _)| *before == what) {
            Some((_, paths)) => paths.push(path(*operation)),
            None => told.push((what, vec![path(*operation)])),
        }
    }
    let told: Vec<String> = told.into_iter().map(|(what, paths)| what.describe(&paths.join(", "))).collect();
    let remedy = said.first().map_or_else(String::new, |first| remedy(md, own, &model, &first.what));
    format!(
        "the pods run, and their engine gives no token when it is asked as the model {model:?}: {}; {remedy}",
        told.join("; ")
    )
}

impl What {
    fn describe(&self, paths: &str) -> String {
        match self {
            Self::Status(200, _) => format!("it says HTTP 200 and nothing that is an answer to {paths}"),
            Self::Status(status, None) => format!("it says HTTP {status} to {paths}"),
            Self::Status(status, Some(words)) => format!("it says HTTP {status} {words:?} to {paths}"),
            Self::Unreachable(why) => format!("it cannot be reached ({why})"),
            Self::Silent(time) => format!("it says nothing within {} s to {paths}", time.as_secs()),
        }
    }
}

fn remedy(md: &ModelDeployment, own: &SelfHosted, model: &str, what: &What) -> String {
    let logs = format!(
        "see `kubectl -n {} logs -l {}={},{}={}`",
        md.namespace().unwrap_or_default(),
        names::MODEL_LABEL,
        md.name_any(),
        names::COMPONENT_LABEL,
        names::ENGINE
    );
    match what {
        What::Status(401 | 403, _) => key(own),
        What::Status(429 | 503, _) => format!("it may still be loading, or have too much to do; {logs}. It is asked again"),
        What::Status(300..=399, _) | What::Status(200, _) => {
            "let spec.selfHosted.engine.port be the port of its API, and the API begin at /v1".to_owned()
        }
        What::Status(400..=499 | 501, _) => {
            let name = match engine::name_flag(own.engine.kind) {
                Some(flag) => format!("its arguments serve it as {model:?} ({flag})"),
                None => format!("it serves a model as {model:?}"),
            };
            format!(
                "let it answer OpenAI's chat completions, completions or embeddings: check that {name} in spec.selfHosted.engine.args, \
                 and that spec.selfHosted.engine.port is the port of its API; {logs}"
            )
        }
        What::Status(..) => format!("{logs}. It is asked again"),
        What::Unreachable(_) => {
            "let the operator reach the pods as the gateway does: look at NetworkPolicies and proxies in between. It is asked again"
                .to_owned()
        }
        What::Silent(_) => format!("it may still be loading, or hang; {logs}. It is asked again, and given more time"),
    }
}

/// What to do about an engine that asks for a key.
fn key(own: &SelfHosted) -> String {
    let is_flag = |arg: &&String| arg.starts_with("--api-key");
    let variable = own
        .engine
        .env
        .iter()
        .map(|variable| &variable.name)
        .find(|name| name.ends_with("API_KEY"));
    let place = match (own.engine.args.iter().find(is_flag), variable) {
        (Some(flag), _) => format!("remove {} from spec.selfHosted.engine.args", flag.split('=').next().unwrap_or(flag)),
        (None, Some(variable)) => format!("remove {variable} from spec.selfHosted.engine.env"),
        (None, None) => "run it without one: look at spec.selfHosted.engine, podTemplate, and the installer's engines".to_owned(),
    };
    format!(
        "it asks for a key, which neither the operator nor the gateway has, so that every request would be refused: {place}. A NetworkPolicy keeps others away"
    )
}
