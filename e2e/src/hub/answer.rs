//! What the hub and its storage answer.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path as Parts, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::stream;
use http::{HeaderMap, StatusCode, Uri, header};
use serde_json::{Value, json};

use super::snapshot::{Blob, Snapshot};
use super::{Shared, lock};

/// What goes out at once: small, so that cuts are near where they are told to be.
const BLOCK: u64 = 16 << 10;

pub(super) fn app(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/api/models/{org}/{name}/revision/{revision}", get(revision))
        .route("/api/models/{org}/{name}/tree/{revision}", get(tree))
        .route("/{org}/{name}/resolve/{revision}/{*path}", get(resolve))
        .route("/storage/{*path}", get(storage))
        .with_state(shared)
}

/// An error as the hub words it: a code and a message in headers.
fn refused(status: StatusCode, code: &'static str, message: &'static str) -> Response {
    let headers = [("x-error-code", code), ("x-error-message", message)];
    (status, headers, axum::Json(json!({"error": message}))).into_response()
}

impl Shared {
    /// The commit that is asked for, unless the request is refused.
    fn admit(&self, repository: &str, revision: &str, headers: &HeaderMap) -> Result<Snapshot, Box<Response>> {
        lock(&self.seen).requests += 1;
        let mut script = lock(&self.script);
        if script.busy.0 > 0 {
            script.busy.0 -= 1;
            let after = [(header::RETRY_AFTER, script.busy.1.to_string())];
            return Err(Box::new((StatusCode::TOO_MANY_REQUESTS, after).into_response()));
        }
        let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let refusal = match (&script.token, sent) {
            (Some(token), Some(sent)) if sent != format!("Bearer {token}") => {
                Some((StatusCode::UNAUTHORIZED, "", "Invalid credentials in Authorization header"))
            }
            (Some(_), None) => Some((StatusCode::UNAUTHORIZED, "RepoNotFound", "Repository not found")),
            _ if repository != self.repository.name => Some((StatusCode::NOT_FOUND, "RepoNotFound", "Repository not found")),
            _ => None,
        };
        let snapshot = lock(&self.snapshot).clone();
        let refusal = refusal.or_else(|| {
            let is_known = revision == "main" || revision == snapshot.commit;
            (!is_known).then_some((StatusCode::NOT_FOUND, "RevisionNotFound", "Invalid rev id"))
        });
        match refusal {
            Some((status, code, message)) => Err(Box::new(refused(status, code, message))),
            None => Ok(snapshot),
        }
    }

    /// The content of a file, or a range of it.
    fn content(self: &Arc<Self>, name: &str, size: u64, etag: &str, headers: &HeaderMap) -> Response {
        let asked = headers.get(header::RANGE).and_then(|value| range(value.to_str().ok()?, size));
        let (start, end) = asked.unwrap_or((0, size));
        let (cut, wrong) = {
            let mut script = lock(&self.script);
            let cut = (script.cut.0 > 0).then_some(script.cut.1);
            let wrong = script.wrong > 0;
            script.cut.0 = script.cut.0.saturating_sub(1);
            script.wrong = script.wrong.saturating_sub(1);
            (cut, wrong)
        };
        let file = fs::File::open(self.repository.folder.join(name)).and_then(|mut file| file.seek(SeekFrom::Start(start)).map(|_| file));
        let Ok(file) = file else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let stop = cut.map_or(end, |bytes| (start + bytes).min(end));
        let shared = Arc::clone(self);
        let blocks = stream::try_unfold((file, start), move |(mut file, at)| {
            let shared = Arc::clone(&shared);
            async move {
                if at == end {
                    return Ok(None);
                }
                // What was handed over goes out before anything breaks.
                tokio::task::yield_now().await;
                if at == stop {
                    return Err(std::io::Error::other("cut, as told"));
                }
                let mut block = vec![0; usize::try_from(BLOCK.min(stop - at)).unwrap_or_default()];
                file.read_exact(&mut block)?;
                if wrong && at == start {
                    block[0] ^= 1;
                }
                let at = at + block.len() as u64;
                lock(&shared.seen).content_bytes += block.len() as u64;
                Ok(Some((Bytes::from(block), (file, at))))
            }
        });
        let response = Response::builder()
            .header(header::CONTENT_LENGTH, end - start)
            .header(header::ACCEPT_RANGES, "bytes")
            .header(header::ETAG, format!("\"{etag}\""));
        let response = match asked {
            Some(_) => response
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_RANGE, format!("bytes {start}-{}/{size}", end.saturating_sub(1))),
            None => response,
        };
        let response = response.body(Body::from_stream(blocks));
        response.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
    }
}

/// The first byte and the one after the last, of `bytes=0-99`.
fn range(value: &str, size: u64) -> Option<(u64, u64)> {
    let (start, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let (start, last): (u64, Option<u64>) = (start.parse().ok()?, last.parse().ok());
    Some((start, last.map_or(size, |last| last.saturating_add(1).min(size)))).filter(|(start, end)| start < end)
}

async fn revision(
    State(shared): State<Arc<Shared>>,
    Parts((org, name, revision)): Parts<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    match shared.admit(&format!("{org}/{name}"), &revision, &headers) {
        Ok(snapshot) => axum::Json(json!({"id": format!("{org}/{name}"), "sha": snapshot.commit})).into_response(),
        Err(refusal) => *refusal,
    }
}

async fn tree(
    State(shared): State<Arc<Shared>>,
    Parts((org, name, revision)): Parts<(String, String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let repository = format!("{org}/{name}");
    let snapshot = match shared.admit(&repository, &revision, &headers) {
        Ok(snapshot) => snapshot,
        Err(refusal) => return *refusal,
    };
    let query = uri.query().unwrap_or_default();
    let from: usize = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("cursor=")?.parse().ok())
        .unwrap_or(0);
    let entry = |(path, blob): (&String, &Blob)| -> Value {
        match &blob.sha256 {
            Some(sha256) => json!({"type": "file", "path": path, "size": blob.size, "oid": blob.oid,
                "lfs": {"oid": sha256, "size": blob.size, "pointerSize": 134}}),
            None => json!({"type": "file", "path": path, "size": blob.size, "oid": blob.oid}),
        }
    };
    let page = shared.repository.page;
    let entries: Vec<Value> = snapshot.files.iter().skip(from).take(page).map(entry).collect();
    let next = from + page;
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let link = format!("<http://{host}/api/models/{repository}/tree/{revision}?recursive=true&cursor={next}>; rel=\"next\"");
    match next < snapshot.files.len() {
        true => ([(header::LINK, link)], axum::Json(entries)).into_response(),
        false => axum::Json(entries).into_response(),
    }
}

async fn resolve(
    State(shared): State<Arc<Shared>>,
    Parts((org, name, revision, path)): Parts<(String, String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let snapshot = match shared.admit(&format!("{org}/{name}"), &revision, &headers) {
        Ok(snapshot) => snapshot,
        Err(refusal) => return *refusal,
    };
    if lock(&shared.script).is_gated {
        return refused(StatusCode::FORBIDDEN, "GatedRepo", "Access to this model is restricted");
    }
    let Some(blob) = snapshot.files.get(&path) else {
        return refused(StatusCode::NOT_FOUND, "EntryNotFound", "Entry not found");
    };
    if blob.sha256.is_none() {
        return shared.content(&path, blob.size, &blob.oid, &headers);
    }
    // The host as the client knows it: a pod and this machine may know different ones.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let base = match shared.storage {
        Some(storage) => format!("http://{}:{}", host.rsplit_once(':').map_or(host, |(host, _)| host), storage.port()),
        None => String::new(),
    };
    let location = format!("{base}/storage/{}", path.replace('%', "%25").replace(' ', "%20"));
    (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
}

async fn storage(State(shared): State<Arc<Shared>>, Parts(path): Parts<String>, headers: HeaderMap) -> Response {
    {
        let mut seen = lock(&shared.seen);
        seen.requests += 1;
        seen.is_token_leaked |= headers.contains_key(header::AUTHORIZATION);
    }
    let blob = lock(&shared.snapshot).files.get(&path).cloned();
    match blob {
        Some(blob) => shared.content(&path, blob.size, blob.sha256.as_deref().unwrap_or(&blob.oid), &headers),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
