//! Fetches from a bucket, over as much of S3 as that takes: ListObjectsV2, and GetObject with ranges and conditions.

use std::collections::BTreeMap;
use std::sync::Mutex;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use tokio::net::TcpListener;

use super::super::source::Source;
use super::*;

/// Objects by key, with the number that their tag is made of.
#[derive(Default)]
struct Objects {
    content: Mutex<BTreeMap<String, (Vec<u8>, u32)>>,
    bytes: AtomicUsize,
    refuses: std::sync::atomic::AtomicBool,
}

struct S3 {
    objects: Arc<Objects>,
    options: Options,
    target: Scratch,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl S3 {
    async fn with(keys: &[(&str, Vec<u8>)]) -> Self {
        let objects = Arc::new(Objects::default());
        for (key, content) in keys {
            objects.content.lock().unwrap().insert((*key).to_owned(), (content.clone(), 1));
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(Arc::clone(&objects));
        Self {
            objects,
            options: options(&[
                ("AWS_ENDPOINT_URL", &endpoint),
                ("AWS_ALLOW_HTTP", "true"),
                ("AWS_ACCESS_KEY_ID", "key"),
                ("AWS_SECRET_ACCESS_KEY", "hunter2"),
            ]),
            target: Scratch::new(),
            task: tokio::spawn(async move { drop(axum::serve(listener, app).await) }),
        }
    }

    async fn fetch(&self, uri: &str) -> Result<Marker, Failure> {
        run(&Location::parse(uri).unwrap(), self.target.path(), &self.options, &meter(uri)).await
    }
}

async fn answer(State(objects): State<Arc<Objects>>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if objects.refuses.load(Ordering::Relaxed) {
        return (StatusCode::FORBIDDEN, "<Error><Code>AccessDenied</Code></Error>").into_response();
    }
    let content = objects.content.lock().unwrap();
    let key = uri
        .path()
        .strip_prefix("/bucket")
        .unwrap_or_default()
        .trim_start_matches('/')
        .replace("%20", " ");
    let query = uri.query().unwrap_or_default();
    if query.contains("list-type=2") {
        let prefix = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("prefix="))
            .unwrap_or_default()
            .replace("%2F", "/");
        let object = |(key, (content, version)): (&String, &(Vec<u8>, u32))| {
            let size = content.len();
            format!(
                "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;{version}&quot;</ETag><Size>{size}</Size></Contents>"
            )
        };
        let listed: String = content.iter().filter(|(key, _)| key.starts_with(&prefix)).map(object).collect();
        return format!("<ListBucketResult><IsTruncated>false</IsTruncated>{listed}</ListBucketResult>").into_response();
    }
    let Some((bytes, version)) = content.get(&key) else {
        return (StatusCode::NOT_FOUND, "<Error><Code>NoSuchKey</Code></Error>").into_response();
    };
    let etag = format!("\"{version}\"");
    let is_other = headers.get(header::IF_MATCH).is_some_and(|tag| tag.to_str().unwrap() != etag);
    if is_other {
        return StatusCode::PRECONDITION_FAILED.into_response();
    }
    let last_modified = (header::LAST_MODIFIED, "Thu, 01 Jan 2026 00:00:00 GMT".to_owned());
    let size = bytes.len();
    if method == Method::HEAD {
        return ([(header::ETAG, etag), last_modified, (header::CONTENT_LENGTH, size.to_string())]).into_response();
    }
    let range = headers[header::RANGE].to_str().unwrap().strip_prefix("bytes=").unwrap();
    let (start, last) = range.split_once('-').unwrap();
    let (start, last): (usize, usize) = (start.parse().unwrap(), last.parse().unwrap());
    objects.bytes.fetch_add(last + 1 - start, Ordering::Relaxed);
    let headers = [
        (header::ETAG, etag),
        last_modified,
        (header::CONTENT_RANGE, format!("bytes {start}-{last}/{size}")),
    ];
    (StatusCode::PARTIAL_CONTENT, headers, bytes[start..=last].to_vec()).into_response()
}

#[tokio::test]
async fn the_objects_below_a_prefix_are_fetched() {
    let s3 = S3::with(&[
        ("llama/config.json", SMALL.into()),
        ("llama/sub/model 1.gguf", large(1)),
        ("llama-2/other", b"x".to_vec()),
    ])
    .await;
    let marker = s3.fetch("s3://bucket/llama/").await.unwrap();
    assert_eq!(marker.bytes, TOTAL);
    assert!(marker.listing.revision.starts_with("versions-"), "{}", marker.listing.revision);
    assert!(fs::read(s3.target.path().join("sub/model 1.gguf")).unwrap() == large(1));
    assert!(!s3.target.path().join("other").exists());
    assert_eq!(s3.objects.bytes.swap(0, Ordering::Relaxed) as u64, TOTAL);

    s3.fetch("s3://bucket/llama/").await.unwrap();
    assert_eq!(s3.objects.bytes.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_key_is_one_file() {
    let s3 = S3::with(&[("llama/model.gguf", large(1)), ("llama/model.gguf.old", b"x".to_vec())]).await;
    let marker = s3.fetch("s3://bucket/llama/model.gguf").await.unwrap();
    assert_eq!((marker.listing.files.len(), marker.bytes), (1, LARGE as u64));
    assert!(fs::read(s3.target.path().join("model.gguf")).unwrap() == large(1));
}

#[tokio::test]
async fn an_object_that_changes_on_the_way_is_an_error_and_not_a_mixture() {
    let s3 = S3::with(&[("llama/model.gguf", large(1))]).await;
    let location = Location::parse("s3://bucket/llama/").unwrap();
    let source = Source::new(&location, &s3.options).unwrap();
    let listing = source.list(&location, &s3.options, None).await.unwrap();
    s3.objects.content.lock().unwrap().insert("llama/model.gguf".into(), (large(2), 2));
    let failure = source.open(&listing.revision, &listing.files[0], 10..20).await.err().unwrap();
    assert_eq!(failure.reason, Reason::SourceChanged);
}

#[tokio::test]
async fn what_is_missing_and_what_is_forbidden_are_told_apart() {
    let s3 = S3::with(&[]).await;
    for uri in ["s3://bucket/", "s3://bucket/llama/"] {
        assert_eq!(s3.fetch(uri).await.unwrap_err().reason, Reason::SourceNotFound, "{uri}");
    }
    s3.objects.refuses.store(true, Ordering::Relaxed);
    let failure = s3.fetch("s3://bucket/llama/").await.unwrap_err();
    assert_eq!(failure.reason, Reason::Unauthorized);
    assert!(
        failure.message.contains("AWS_ACCESS_KEY_ID") && !failure.message.contains("hunter2"),
        "{failure}"
    );
}
