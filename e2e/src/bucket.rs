//! A bucket over as much of S3 as the product speaks: lists, objects with ranges and conditions, uploads in parts. And it fails as told.
//!
//! - in a test: [`Bucket::start`]; [`Bucket::set`] changes how it answers, [`Bucket::objects`] says what it holds
//! - its name is `bucket`, whatever the credentials
//!
//! The unit tests of the product include this file as it is, so it knows nothing else of this crate.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How it answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Script {
    /// Every request is refused.
    pub refuses: bool,
    /// Only what would change it is.
    pub is_read_only: bool,
    /// There is no such bucket.
    pub is_missing: bool,
    /// What would change it is never answered, and changes nothing.
    pub is_frozen: bool,
    /// So many next requests are answered with 503.
    pub busy: usize,
    /// It has never heard of conditions, and says so.
    pub knows_no_conditions: bool,
    /// It has never heard of them, and says nothing.
    pub ignores_conditions: bool,
    /// Folders are not listed.
    pub hides_folders: bool,
}

/// What was asked of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Bytes of content that went out.
    pub content_bytes: usize,
    /// Objects that were put, or tried to be.
    pub puts: usize,
}

/// A running bucket. It ends when dropped.
pub struct Bucket {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// Objects by key, with the number that their tag is made of.
    objects: Mutex<BTreeMap<String, (Bytes, u32)>>,
    /// Parts of uploads by the upload and their number.
    parts: Mutex<BTreeMap<(String, u32), Bytes>>,
    script: Mutex<Script>,
    seen: Mutex<Seen>,
}

impl Bucket {
    /// Starts one on a free port of 127.0.0.1.
    pub async fn start() -> Result<Self> {
        Self::on(StdListener::bind("127.0.0.1:0")?)
    }

    /// Starts one on a bound socket.
    pub fn on(listener: StdListener) -> Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let shared = Arc::new(Shared::default());
        let app = Router::new()
            .fallback(answer)
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&shared));
        Ok(Self {
            address,
            shared,
            task: tokio::spawn(async move { drop(axum::serve(listener, app).await) }),
        })
    }

    /// The variables by which it is found.
    pub fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", "key".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "hunter2".to_owned()),
        ]
    }

    /// Changes how it answers from now on.
    pub fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut lock(&self.shared.script));
    }

    /// What was asked up to now.
    pub fn seen(&self) -> Seen {
        *lock(&self.shared.seen)
    }

    /// Puts an object there, or another in its place.
    pub fn put(&self, key: &str, content: impl Into<Bytes>) {
        self.shared.put(key.to_owned(), content.into());
    }

    /// Takes an object away.
    pub fn remove(&self, key: &str) {
        lock(&self.shared.objects).remove(key);
    }

    /// What it holds.
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        let objects = lock(&self.shared.objects);
        objects.iter().map(|(key, (content, _))| (key.clone(), content.clone())).collect()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn put(&self, key: String, content: Bytes) {
        let mut objects = lock(&self.objects);
        let version = objects.get(&key).map_or(1, |(_, version)| version + 1);
        objects.insert(key, (content, version));
    }
}

async fn answer(State(shared): State<Arc<Shared>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let is_change = [Method::PUT, Method::POST, Method::DELETE].contains(&method);
    let script = {
        let mut script = lock(&shared.script);
        let now = *script;
        script.busy = script.busy.saturating_sub(1);
        now
    };
    if is_change && script.is_frozen {
        return pending().await;
    }
    if script.refuses || (is_change && script.is_read_only) {
        return refused(StatusCode::FORBIDDEN, "AccessDenied");
    }
    if script.is_missing {
        return refused(StatusCode::NOT_FOUND, "NoSuchBucket");
    }
    if script.busy > 0 {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "SlowDown");
    }
    let key = decoded(uri.path().strip_prefix("/bucket").unwrap_or_default().trim_start_matches('/'));
    let query: BTreeMap<&str, String> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (name, decoded(value)))
        .collect();
    if script.hides_folders && query.contains_key("delimiter") {
        return refused(StatusCode::FORBIDDEN, "AccessDenied");
    }
    match method {
        Method::GET if query.contains_key("list-type") => list(&shared, &query),
        Method::GET | Method::HEAD => get(&shared, &key, &method, &headers),
        Method::POST if query.contains_key("uploads") => {
            let id = format!("upload-of-{key}");
            lock(&shared.parts).retain(|(of, _), _| *of != id);
            let named = format!("<Bucket>bucket</Bucket><Key>{key}</Key><UploadId>{id}</UploadId>");
            format!("<InitiateMultipartUploadResult>{named}</InitiateMultipartUploadResult>").into_response()
        }
        Method::PUT => put(&shared, key, &query, &headers, body, script),
        Method::POST => complete(&shared, &key, &query),
        _ => refused(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
    }
}

fn refused(status: StatusCode, code: &str) -> Response {
    (status, format!("<Error><Code>{code}</Code></Error>")).into_response()
}

fn list(shared: &Shared, query: &BTreeMap<&str, String>) -> Response {
    let prefix = query.get("prefix").map_or("", String::as_str);
    let has_folders = query.contains_key("delimiter");
    let mut folders = BTreeSet::new();
    let mut listed = String::new();
    for (key, (content, version)) in &*lock(&shared.objects) {
        let Some(below) = key.strip_prefix(prefix) else { continue };
        if let Some((folder, _)) = below.split_once('/').filter(|_| has_folders) {
            folders.insert(format!("{prefix}{folder}/"));
            continue;
        }
        let size = content.len();
        let at = "2026-01-01T00:00:00.000Z";
        listed += &format!(
            "<Contents><Key>{key}</Key><LastModified>{at}</LastModified><ETag>&quot;{version}&quot;</ETag><Size>{size}</Size></Contents>"
        );
    }
    for folder in folders {
        listed += &format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>");
    }
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{listed}</ListBucketResult>").into_response()
}

fn get(shared: &Shared, key: &str, method: &Method, headers: &HeaderMap) -> Response {
    let Some((content, version)) = lock(&shared.objects).get(key).cloned() else {
        return refused(StatusCode::NOT_FOUND, "NoSuchKey");
    };
    let etag = format!("\"{version}\"");
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text(header::IF_MATCH).is_some_and(|tag| tag != etag) {
        return StatusCode::PRECONDITION_FAILED.into_response();
    }
    let size = content.len();
    let known = [
        (header::ETAG, etag),
        (header::LAST_MODIFIED, "Thu, 01 Jan 2026 00:00:00 GMT".to_owned()),
    ];
    if method == Method::HEAD {
        return (known, [(header::CONTENT_LENGTH, size.to_string())]).into_response();
    }
    let range = text(header::RANGE).and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let range = range.and_then(|(start, last)| Some((start.parse::<usize>().ok()?, last.parse::<usize>().ok()?)));
    let (status, part) = match range {
        Some((start, last)) if start < size => (StatusCode::PARTIAL_CONTENT, start..size.min(last + 1)),
        Some(_) => return StatusCode::RANGE_NOT_SATISFIABLE.into_response(),
        None => (StatusCode::OK, 0..size),
    };
    lock(&shared.seen).content_bytes += part.len();
    let sent = [(
        header::CONTENT_RANGE,
        format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1)),
    )];
    (status, known, sent, content.slice(part)).into_response()
}

fn put(shared: &Shared, key: String, query: &BTreeMap<&str, String>, headers: &HeaderMap, body: Bytes, script: Script) -> Response {
    if let (Some(number), Some(id)) = (
        query.get("partNumber").and_then(|number| number.parse().ok()),
        query.get("uploadId"),
    ) {
        lock(&shared.parts).insert((id.clone(), number), body);
        return [(header::ETAG, format!("\"{number}\""))].into_response();
    }
    lock(&shared.seen).puts += 1;
    let is_new_only = headers.contains_key(header::IF_NONE_MATCH) && !script.ignores_conditions;
    if is_new_only && script.knows_no_conditions {
        return refused(StatusCode::NOT_IMPLEMENTED, "NotImplemented");
    }
    if is_new_only && lock(&shared.objects).contains_key(&key) {
        return refused(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
    }
    shared.put(key, body);
    [(header::ETAG, "\"1\"")].into_response()
}

fn complete(shared: &Shared, key: &str, query: &BTreeMap<&str, String>) -> Response {
    let Some(id) = query.get("uploadId") else {
        return refused(StatusCode::BAD_REQUEST, "InvalidRequest");
    };
    let mut whole = Vec::new();
    lock(&shared.parts).retain(|(of, _), part| {
        let is_other = of != id;
        if !is_other {
            whole.extend_from_slice(part);
        }
        is_other
    });
    lock(&shared.seen).puts += 1;
    shared.put(key.to_owned(), whole.into());
    let named = format!("<Location>x</Location><Bucket>bucket</Bucket><Key>{key}</Key><ETag>&quot;1&quot;</ETag>");
    format!("<CompleteMultipartUploadResult>{named}</CompleteMultipartUploadResult>").into_response()
}

/// What stands behind the per cent signs.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut all = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                all.push(byte);
                at += 3;
            }
            None => {
                all.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
