//! A gateway with its feed, and a client to call it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use tower::ServiceExt;

use super::engine::Engine;
use crate::api::{ModelDeployment, Settings};
use crate::gateway::{Credentials, Gateway, Options, ReviewUnavailable, Source, TokenReview, app, feed};
use crate::plan::backend::{self, Held};
use crate::plan::names::Key;
use crate::plan::price::Book;
use crate::plan::routing::{self, Client, Inputs};

pub(super) const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// A Kubernetes that knows every token of the form `NAMESPACE.….NAME`, except those of the namespace `stranger`.
#[derive(Default)]
pub(super) struct Reviewer {
    pub(super) calls: AtomicUsize,
    pub(super) is_down: AtomicBool,
    /// Never answers.
    pub(super) is_silent: AtomicBool,
}

impl TokenReview for Arc<Reviewer> {
    fn review(&self, token: String) -> BoxFuture<'static, Result<Option<Client>, ReviewUnavailable>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let is_down = self.is_down.load(Ordering::SeqCst);
        let is_silent = self.is_silent.load(Ordering::SeqCst);
        async move {
            tokio::task::yield_now().await;
            if is_silent {
                std::future::pending::<()>().await;
            }
            if is_down {
                return Err(ReviewUnavailable("connection refused".to_owned()));
            }
            let parts: Vec<&str> = token.split('.').collect();
            Ok((parts[0] != "stranger").then(|| Client::ServiceAccount {
                namespace: parts[0].to_owned(),
                name: parts[2].to_owned(),
            }))
        }
        .boxed()
    }
}

pub(super) struct World {
    pub(super) source: Source,
    pub(super) gateway: Arc<Gateway>,
    pub(super) app: Router,
    pub(super) reviewer: Arc<Reviewer>,
    endpoints: Mutex<BTreeMap<Key, Vec<String>>>,
    models: Mutex<Vec<Arc<ModelDeployment>>>,
    keyed: Mutex<Vec<String>>,
    /// What the label of each namespace says.
    pub(super) namespaces: Mutex<BTreeMap<String, String>>,
    pub(super) settings: Mutex<Settings>,
    /// Which models of other namespaces `claims` may name.
    pub(super) grants: Mutex<routing::Grants>,
    /// What may be blocked.
    pub(super) terms: Mutex<routing::Terms>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Options)) -> Self {
        Self::made(change, true)
    }

    /// Where no service account can call.
    pub(super) fn without_kubernetes() -> Self {
        Self::made(|_| {}, false)
    }

    fn made(change: impl FnOnce(&mut Options), has_kubernetes: bool) -> Self {
        let mut options = Options::new(|| NOW);
        change(&mut options);
        let reviewer = Arc::new(Reviewer::default());
        let (source, feed) = feed();
        let review: Arc<dyn TokenReview> = Arc::new(reviewer.clone());
        let gateway = Gateway::new(feed, Some(review).filter(|_| has_kubernetes), &options).unwrap();
        Self {
            source,
            app: app(gateway.clone()),
            gateway,
            reviewer,
            endpoints: Mutex::default(),
            models: Mutex::default(),
            keyed: Mutex::default(),
            namespaces: Mutex::default(),
            grants: Mutex::default(),
            terms: Mutex::default(),
            settings: Mutex::new(Settings {
                allow_anonymous: options.allow_anonymous,
                ..Settings::default()
            }),
        }
    }

    /// A gateway whose policy `assistant` has `spec`, over the self-hosted models `a`, `b`, … at these engines.
    pub(super) fn over(engines: &[&Engine], spec: &str) -> Self {
        let world = Self::new();
        for (name, engine) in ["a", "b", "c"].iter().zip(engines) {
            world.pod(name, &[&engine.url]);
        }
        world.route(spec);
        world
    }

    /// A self-hosted model in namespace `claims`, with pods at these addresses.
    pub(super) fn pod(&self, name: &str, urls: &[&str]) {
        self.model(name, "{selfHosted: {engine: {kind: VLLM}}}", "{}");
        let urls = urls.iter().map(|url| (*url).to_owned()).collect();
        self.endpoints.lock().unwrap().insert(Key::new("claims", name), urls);
    }

    /// A self-hosted model of another namespace, with a pod at this address.
    pub(super) fn elsewhere(&self, namespace: &str, name: &str, url: &str) {
        let yaml = format!("metadata: {{name: {name}, namespace: {namespace}}}\nspec: {{selfHosted: {{engine: {{kind: VLLM}}}}}}");
        self.models.lock().unwrap().push(Arc::new(serde_saphyr::from_str(&yaml).unwrap()));
        let mut endpoints = self.endpoints.lock().unwrap();
        endpoints.insert(Key::new(namespace, name), vec![url.to_owned()]);
    }

    /// A self-hosted model in namespace `claims` with a pod at this address, which declares these capabilities.
    pub(super) fn declared(&self, name: &str, url: &str, capabilities: &str) {
        self.pod_with(name, url, &format!("capabilities: {capabilities}"));
    }

    /// A self-hosted model in namespace `claims` with a pod at this address, and these fields in its specification.
    pub(super) fn pod_with(&self, name: &str, url: &str, fields: &str) {
        self.model(name, &format!("{{selfHosted: {{engine: {{kind: VLLM}}}}, {fields}}}"), "{}");
        let mut endpoints = self.endpoints.lock().unwrap();
        endpoints.insert(Key::new("claims", name), vec![url.to_owned()]);
    }

    /// A model on one pod, at this address, whose requests wait as `queue` says.
    pub(super) fn pod_with_queue(&self, name: &str, url: &str, queue: &str) {
        self.model(name, &format!("{{selfHosted: {{engine: {{kind: VLLM}}, queue: {queue}}}}}"), "{}");
        let mut endpoints = self.endpoints.lock().unwrap();
        endpoints.insert(Key::new("claims", name), vec![url.to_owned()]);
    }

    /// A provider's model in namespace `claims` at this address, with a key.
    pub(super) fn api_with_key(&self, name: &str, provider: &str, url: &str) {
        self.api(name, provider, url);
        let keys: Vec<String> = self.keyed.lock().unwrap().iter().cloned().chain([name.to_owned()]).collect();
        let held: Vec<Held> = keys.iter().map(|name| self.credential(name, "sk-x")).collect();
        *self.keyed.lock().unwrap() = keys;
        self.source
            .credentials
            .send_replace(Arc::new(Credentials::new(held, &Credentials::default())));
    }

    /// A self-hosted model in namespace `claims` with one adapter, which is loaded, with pods at these addresses.
    pub(super) fn adapter(&self, name: &str, adapter: &str, urls: &[&str]) {
        let custom = format!("custom: {{baseModel: b, adapters: [{{name: {adapter}, source: {{uri: 'hf://b/a'}}}}]}}");
        let status = format!("{{adapters: [{{name: {adapter}, ready: 1/2, answers: true}}]}}");
        self.model(name, &format!("{{selfHosted: {{engine: {{kind: VLLM}}, {custom}}}}}"), &status);
        let urls = urls.iter().map(|url| (*url).to_owned()).collect();
        self.endpoints.lock().unwrap().insert(Key::new("claims", name), urls);
    }

    /// A provider's model in namespace `claims`, called `gpt-5-mini` at this address.
    pub(super) fn api(&self, name: &str, provider: &str, url: &str) {
        let spec = format!(
            "{{api: {{provider: {provider}, model: gpt-5-mini, endpoint: '{url}/v1', credentials: {{secretRef: {{name: s, key: k}}}}}}}}"
        );
        self.provider(name, &spec);
    }

    /// A provider's model in namespace `claims` with this specification, which its provider has confirmed.
    pub(super) fn provider(&self, name: &str, spec: &str) {
        let ready = "{type: Ready, status: 'True', reason: Ready, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}";
        self.model(name, spec, &format!("{{conditions: [{ready}]}}"));
    }

    /// A key for a model of `claims`, for where the model points now.
    pub(super) fn credential(&self, name: &str, secret: &str) -> Held {
        let models = self.models.lock().unwrap();
        let md = models.iter().find(|md| md.metadata.name.as_deref() == Some(name)).unwrap();
        let api = md.spec.api.as_ref().unwrap();
        Held {
            model: Key::new("claims", name),
            destination: backend::destination(api),
            provider: api.provider,
            credential: Some(secret.to_owned()),
            authorities: None,
        }
    }

    /// A model in namespace `claims` with this specification and status.
    pub(super) fn model(&self, name: &str, spec: &str, status: &str) {
        let yaml = format!("metadata: {{name: {name}, namespace: claims}}\nspec: {spec}\nstatus: {status}");
        let mut models = self.models.lock().unwrap();
        models.retain(|md: &Arc<ModelDeployment>| md.metadata.name.as_deref() != Some(name));
        let mut md: ModelDeployment = serde_saphyr::from_str(&yaml).unwrap();
        if let (Some(api), Some(status)) = (&md.spec.api, &mut md.status) {
            status.confirmed_for = Some(backend::destination(api));
        }
        models.push(Arc::new(md));
    }

    /// Publishes the models and a policy `claims/assistant`.
    pub(super) fn route(&self, spec: &str) {
        let table = self.build(spec).table;
        self.source.routes.send_replace(Some(Arc::new(table)));
    }

    /// What is decided about a policy `claims/assistant`, before any request.
    pub(super) fn build(&self, spec: &str) -> routing::Routing {
        let yaml = format!("metadata: {{name: assistant, namespace: claims}}\nspec: {{model: assistant, {spec}}}");
        let inputs = Inputs {
            models: &self.models.lock().unwrap(),
            policies: &[Arc::new(serde_saphyr::from_str(&yaml).unwrap())],
            evaluations: &[],
            endpoints: &self.endpoints.lock().unwrap(),
            prices: &Book::default(),
            namespaces: &self.namespaces.lock().unwrap(),
            grants: &self.grants.lock().unwrap(),
            terms: &self.terms.lock().unwrap(),
            settings: &self.settings.lock().unwrap(),
            open_models: false,
            now: NOW,
        };
        routing::build(&inputs)
    }

    pub(super) async fn call(&self, request: Request<Body>) -> Response<Body> {
        self.app.clone().oneshot(request).await.unwrap()
    }

    /// Asks as service account `claims/web`.
    pub(super) async fn ask(&self, body: &str) -> Answer {
        self.ask_with(&[("authorization", "Bearer claims.x.web")], body).await
    }

    /// Asks as service account `claims/web`, at this path.
    pub(super) async fn ask_at(&self, path: &str, body: &str) -> Answer {
        let mut request = post(&[("authorization", "Bearer claims.x.web")], body);
        *request.uri_mut() = path.parse().unwrap();
        Answer::read(self.call(request).await).await
    }

    pub(super) async fn ask_with(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        Answer::read(self.call(post(headers, body)).await).await
    }

    pub(super) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::read(self.call(request.body(Body::empty()).unwrap()).await).await
    }

    /// The value of a metric's line that begins so; 0 without one.
    pub(super) async fn metric(&self, line: &str) -> f64 {
        let text = self.get("/metrics", &[]).await.text;
        let found = text.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok());
        found.unwrap_or(0.0)
    }
}

/// Lets so much time be over at once. What comes by a socket meanwhile comes in its own time.
pub(super) async fn pass(time: Duration) {
    /// Also where whoever waits for this is dropped meanwhile.
    struct Paused;
    impl Drop for Paused {
        fn drop(&mut self) {
            tokio::time::resume();
        }
    }
    tokio::time::pause();
    let _paused = Paused;
    tokio::time::advance(time).await;
}

pub(super) fn post(headers: &[(&str, &str)], body: &str) -> Request<Body> {
    post_to("/v1/chat/completions", headers, body)
}

pub(super) fn post_to(path: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

/// An answer read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
    /// Whether it ended as it should.
    pub(super) is_whole: bool,
}

impl Answer {
    pub(super) async fn read(response: Response<Body>) -> Self {
        let (head, mut body) = response.into_parts();
        let mut text = Vec::new();
        let mut is_whole = true;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => text.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(_) => is_whole = false,
            }
        }
        Self {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8(text).unwrap(),
            is_whole,
        }
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The error in OpenAI's shape: its code and message.
    pub(super) fn error(&self) -> (String, String) {
        let json: Value = serde_json::from_str(&self.text).unwrap();
        let fields: HashMap<String, Value> = serde_json::from_value(json["error"].clone()).unwrap();
        let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["code", "message", "param", "type"]);
        assert!(!self.header("x-request-id").is_empty());
        (
            json["error"]["code"].as_str().unwrap().to_owned(),
            json["error"]["message"].as_str().unwrap().to_owned(),
        )
    }
}
