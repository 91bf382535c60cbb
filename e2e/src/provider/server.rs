//! The provider's sockets: keys, faults, records, and which format answers.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::serve::Listener;
use futures::{StreamExt, stream};
use http::{HeaderMap, StatusCode, header};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::script::{Behaviour, Metrics, Record, Script, Stall};
use super::{anthropic, openai};
use crate::cluster::Local;

/// Larger than any prompt of a test.
const MAX_BODY: usize = 16 << 20;
/// Older records are forgotten.
const MAX_RECORDS: usize = 1000;

/// Where and how a provider listens.
#[derive(Clone, Debug)]
pub struct Options {
    /// TLS with an authority of its own, as real ones; else plain HTTP.
    pub tls: bool,
    /// Further DNS names or addresses its certificate is for, such as that of a Service before it.
    pub names: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tls: true,
            names: Vec::new(),
        }
    }
}

/// A running provider. It ends when dropped.
pub struct Provider {
    address: SocketAddr,
    ca: Option<String>,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    script: Mutex<Script>,
    records: Mutex<Records>,
}

#[derive(Default)]
struct Records {
    forgotten: usize,
    /// By a POST.
    asked: usize,
    kept: Vec<Record>,
}

/// An answer before it takes a format.
pub(super) struct Answer {
    pub(super) model: String,
    /// With the blank that follows each, so that they concatenate.
    pub(super) words: Vec<String>,
    pub(super) prompt_tokens: usize,
    pub(super) truncated: bool,
    number: usize,
}

impl Provider {
    /// Starts one on a free port of 127.0.0.1, over TLS.
    pub async fn start() -> Result<Self> {
        Self::on(StdListener::bind("127.0.0.1:0")?, Options::default()).await
    }

    /// Starts one inside the local cluster's network, over TLS: pods and this host reach it at [`Provider::url`].
    pub async fn start_in(local: &Local) -> Result<Self> {
        Self::on(local.listen(0)?, Options::default()).await
    }

    /// Starts one on a bound socket.
    pub async fn on(listener: StdListener, options: Options) -> Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            script: Mutex::default(),
            records: Mutex::default(),
        });
        let app = app(shared.clone());
        let (ca, task) = if options.tls {
            let mut names = vec![address.ip().to_string(), "localhost".to_owned()];
            names.extend(options.names);
            let (ca, acceptor) = authority(names)?;
            let listener = TlsListener::new(listener, acceptor)?;
            (Some(ca), tokio::spawn(async move { drop(axum::serve(listener, app).await) }))
        } else {
            (None, tokio::spawn(async move { drop(axum::serve(listener, app).await) }))
        };
        Ok(Self { address, ca, shared, task })
    }

    /// Its address without a path: `https://127.0.0.1:12345`.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.ca.is_some() { "https" } else { "http" }, self.address)
    }

    /// The certificate of its authority, for those who are to trust it. None over plain HTTP.
    pub fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    /// Changes how it answers from now on.
    pub fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut lock(&self.shared.script));
    }

    /// How many requests came, those to the control endpoint and `/health` aside.
    pub fn count(&self) -> usize {
        let records = lock(&self.shared.records);
        records.forgotten + records.kept.len()
    }

    /// How many of them asked something: whoever looks after a model also lists what there is.
    pub fn asked(&self) -> usize {
        lock(&self.shared.records).asked
    }

    /// The last requests, oldest first.
    pub fn records(&self) -> Vec<Record> {
        lock(&self.shared.records).kept.clone()
    }

    /// The last request.
    pub fn last(&self) -> Option<Record> {
        lock(&self.shared.records).kept.last().cloned()
    }

    /// Serves until the process ends.
    pub async fn run(mut self) -> Result<()> {
        (&mut self.task).await.context("the provider ended")
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The provider as a service, without a socket.
fn app(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/_control", get(script).put(set_script))
        .route("/_control/requests", get(requests).delete(forget))
        // As engines have it; not counted, because whoever probes it asks all the time.
        .route("/health", get(async || StatusCode::OK))
        .route("/metrics", get(metrics))
        .route("/v1/chat/completions", post(answer))
        .route("/v1/messages", post(answer))
        .route("/v1/models", get(answer))
        .fallback(any(answer))
        .with_state(shared)
}

async fn script(State(shared): State<Arc<Shared>>) -> Response {
    axum::Json(lock(&shared.script).clone()).into_response()
}

async fn set_script(State(shared): State<Arc<Shared>>, axum::Json(script): axum::Json<Script>) -> StatusCode {
    *lock(&shared.script) = script;
    StatusCode::NO_CONTENT
}

async fn requests(State(shared): State<Arc<Shared>>) -> Response {
    let records = lock(&shared.records);
    axum::Json(json!({"count": records.forgotten + records.kept.len(), "records": records.kept})).into_response()
}

async fn forget(State(shared): State<Arc<Shared>>) -> StatusCode {
    *lock(&shared.records) = Records::default();
    StatusCode::NO_CONTENT
}

/// As engines have it; not counted either.
async fn metrics(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let port = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(80);
    let said = lock(&shared.script).metrics.get(&port).cloned().unwrap_or_default();
    match said {
        Metrics::Missing => StatusCode::NOT_FOUND.into_response(),
        Metrics::Silent => std::future::pending().await,
        Metrics::Text(text) => text.into_response(),
    }
}

/// One request, start to end.
async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let path = head.uri.path().to_owned();
    let body: Value = serde_json::from_slice(&body).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
    // Anthropic's list of models has the same path as OpenAI's and is told by its headers.
    let is_anthropic = path.ends_with("/messages") || (path.ends_with("/models") && head.headers.contains_key("anthropic-version"));
    let ticket = Ticket::open(&shared, &head, body.clone());
    let (behaviour, refusal) = {
        let mut script = lock(&shared.script);
        (script.take_behaviour(), refusal(&script, &path, &head.headers, &body, is_anthropic))
    };

    behaviour.stall_at(Stall::BeforeHeaders).await;
    if behaviour.delay_millis > 0 {
        tokio::time::sleep(Duration::from_millis(behaviour.delay_millis)).await;
    }
    let scripted = behaviour.status.map(|status| (status, format!("the script says {status}")));
    if let Some((status, message)) = scripted.or(refusal) {
        let body = if is_anthropic {
            anthropic::error(status, &message)
        } else {
            openai::error(status, &message)
        };
        return plain(status, &body, behaviour.retry_after, ticket);
    }
    if path.ends_with("/models") {
        let names = lock(&shared.script).models.clone();
        return plain(
            200,
            &if is_anthropic {
                anthropic::models(&names)
            } else {
                openai::models(&names)
            },
            None,
            ticket,
        );
    }
    let answer = Answer::to(&body, &lock(&shared.script), ticket.number);
    if body["stream"] == true {
        let include_usage = body["stream_options"]["include_usage"] == true;
        let (before, words, after) = if is_anthropic {
            anthropic::stream(&answer)
        } else {
            openai::stream(&answer, include_usage)
        };
        return streamed(before, words, after, behaviour, ticket);
    }
    if behaviour.cut_after.is_some() || behaviour.stall.is_some() {
        // Headers go out, then nothing: a body that stalls or breaks before its first byte.
        let body = stream::once(async move {
            behaviour.stall_at(Stall::BeforeFirstToken).await;
            behaviour.stall_at(Stall::MidStream).await;
            drop(ticket);
            Err::<Bytes, _>(std::io::Error::other("cut as scripted"))
        });
        return (
            StatusCode::OK,
            [(header::CONTENT_TYPE, "application/json")],
            Body::from_stream(body),
        )
            .into_response();
    }
    plain(
        200,
        &if is_anthropic {
            anthropic::message(&answer)
        } else {
            openai::completion(&answer)
        },
        None,
        ticket,
    )
}

/// Why a request is refused, as the real ones would.
fn refusal(script: &Script, path: &str, headers: &HeaderMap, body: &Value, is_anthropic: bool) -> Option<(u16, String)> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    // Anthropic takes a bearer token on its OpenAI-compatible path only.
    let key = if is_anthropic { text("x-api-key") } else { bearer };
    if !script.keys.is_empty() && !key.is_some_and(|key| script.keys.iter().any(|known| known == key)) {
        return Some((
            401,
            if is_anthropic {
                "invalid x-api-key"
            } else {
                "Incorrect API key provided."
            }
            .to_owned(),
        ));
    }
    if is_anthropic && !headers.contains_key("anthropic-version") {
        return Some((400, "anthropic-version: header is required".to_owned()));
    }
    if path.ends_with("/models") {
        return None;
    }
    if !path.ends_with("/chat/completions") && !path.ends_with("/messages") {
        return Some((404, format!("no such path: {path}")));
    }
    let Some(model) = body["model"].as_str() else {
        return Some((400, "you must provide a model parameter".to_owned()));
    };
    if !script.models.is_empty() && !script.models.iter().any(|known| known == model) {
        return Some((404, format!("The model `{model}` does not exist or you do not have access to it.")));
    }
    if !body["messages"].is_array() {
        return Some((400, "messages: field required".to_owned()));
    }
    if is_anthropic && !body["max_tokens"].is_u64() {
        return Some((400, "max_tokens: field required".to_owned()));
    }
    None
}

fn plain(status: u16, body: &Value, retry_after: Option<u32>, mut ticket: Ticket) -> Response {
    ticket.finish(status);
    let mut response = axum::Json(body).into_response();
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert("x-request-id", http::HeaderValue::from_static("req_fake"));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn streamed(before: Vec<String>, words: Vec<String>, after: Vec<String>, behaviour: Behaviour, mut ticket: Ticket) -> Response {
    let half = words.len() / 2;
    let (sender, receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    tokio::spawn(async move {
        let write = async |text: String| sender.send(Ok(Bytes::from(text))).await.is_ok();
        let story = async {
            for event in before {
                if !write(event).await {
                    return;
                }
            }
            behaviour.stall_at(Stall::BeforeFirstToken).await;
            for (i, word) in words.into_iter().enumerate() {
                if behaviour.cut_after == Some(i) {
                    ticket.finish(200);
                    drop(sender.send(Err(std::io::Error::other("cut as scripted"))).await);
                    return;
                }
                if i == half {
                    behaviour.stall_at(Stall::MidStream).await;
                }
                if !write(word).await {
                    return;
                }
                if behaviour.word_millis > 0 {
                    tokio::time::sleep(Duration::from_millis(behaviour.word_millis)).await;
                }
            }
            for event in after {
                if !write(event).await {
                    return;
                }
            }
            ticket.finish(200);
        };
        tokio::select! {
            () = story => {}
            // The client is gone; the ticket notes that it left early.
            () = sender.closed() => {}
        }
    });
    let body = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) }).boxed();
    (
        StatusCode::OK,
        [
            (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
            (header::CACHE_CONTROL, "no-cache"),
        ],
        Body::from_stream(body),
    )
        .into_response()
}

impl Answer {
    fn to(body: &Value, script: &Script, number: usize) -> Self {
        let answer = script.answer_to(&openai::question(body));
        let mut words: Vec<String> = answer.split_inclusive(' ').map(str::to_owned).collect();
        let limit = body["max_completion_tokens"]
            .as_u64()
            .or(body["max_tokens"].as_u64())
            .and_then(|limit| usize::try_from(limit).ok());
        let truncated = limit.is_some_and(|limit| limit < words.len());
        words.truncate(limit.unwrap_or(usize::MAX));
        let contents = body["messages"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|m| &m["content"])
            .chain([&body["system"]]);
        let prompt_tokens = contents.map(|content| openai::text(content).split_whitespace().count()).sum();
        Self {
            model: script
                .version
                .clone()
                .unwrap_or_else(|| body["model"].as_str().unwrap_or_default().to_owned()),
            words,
            prompt_tokens,
            truncated,
            number,
        }
    }

    pub(super) fn text(&self) -> String {
        self.words.concat()
    }

    pub(super) fn id(&self, kind: &str) -> String {
        let separator = if kind == "msg" { "_" } else { "-" };
        format!("{kind}{separator}fake{}", self.number)
    }
}

/// A request's place in the records. Dropped before it is finished, the client has left.
struct Ticket {
    shared: Arc<Shared>,
    number: usize,
    finished: bool,
}

impl Ticket {
    fn open(shared: &Arc<Shared>, head: &http::request::Parts, body: Value) -> Self {
        let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let record = Record {
            method: head.method.to_string(),
            path: head.uri.to_string(),
            headers: head.headers.iter().map(header).collect(),
            body,
            status: 0,
            abandoned: false,
        };
        let mut records = lock(&shared.records);
        if records.kept.len() == MAX_RECORDS {
            records.kept.remove(0);
            records.forgotten += 1;
        }
        records.asked += usize::from(record.method == "POST");
        records.kept.push(record);
        Self {
            shared: shared.clone(),
            number: records.forgotten + records.kept.len(),
            finished: false,
        }
    }

    fn finish(&mut self, status: u16) {
        self.finished = true;
        self.note(|record| record.status = status);
    }

    fn note(&self, change: impl FnOnce(&mut Record)) {
        let mut records = lock(&self.shared.records);
        let place = (self.number - 1).checked_sub(records.forgotten);
        if let Some(record) = place.and_then(|place| records.kept.get_mut(place)) {
            change(record);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.finished {
            self.note(|record| record.abandoned = true);
        }
    }
}

/// A test that panics while it holds the script has not broken it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A fresh authority and a server certificate from it for `names`.
fn authority(names: Vec<String>) -> Result<(String, TlsAcceptor)> {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "fake provider authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let authority_key = KeyPair::generate()?;
    let ca = authority.self_signed(&authority_key)?.pem();

    let mut server = CertificateParams::new(names)?;
    server.distinguished_name.push(DnType::CommonName, "fake provider");
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &Issuer::new(authority, authority_key))?;
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok((ca, TlsAcceptor::from(Arc::new(config))))
}

/// Handshakes in tasks of their own, so that a slow client holds up nobody.
struct TlsListener {
    address: SocketAddr,
    accepted: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl TlsListener {
    fn new(listener: TcpListener, acceptor: TlsAcceptor) -> Result<Self> {
        let address = listener.local_addr()?;
        let (sender, accepted) = mpsc::channel(16);
        tokio::spawn(async move {
            loop {
                let (stream, from) = tokio::select! {
                    connected = listener.accept() => match connected { Ok(connected) => connected, Err(_) => continue },
                    () = sender.closed() => return,
                };
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    // Words of a stream are to leave at once.
                    stream.set_nodelay(true).ok();
                    // A client that does not trust us ends here; it says why on its side.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        sender.send((stream, from)).await.ok();
                    }
                });
            }
        });
        Ok(Self { address, accepted })
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.address)
    }
}
