//! Fetches from a bucket.

use super::super::source::Source;
use super::bucket::Bucket;
use super::*;

struct S3 {
    bucket: Bucket,
    options: Options,
    target: Scratch,
}

impl S3 {
    async fn with(keys: &[(&str, Vec<u8>)]) -> Self {
        let bucket = Bucket::start().await.unwrap();
        keys.iter().for_each(|(key, content)| bucket.put(key, content.clone()));
        let variables = bucket.variables();
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Self {
            options: options(&variables),
            bucket,
            target: Scratch::new(),
        }
    }

    async fn fetch(&self, uri: &str) -> Result<Marker, Failure> {
        run(&Location::parse(uri).unwrap(), self.target.path(), &self.options, &meter(uri)).await
    }
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
    assert_eq!(s3.bucket.seen().content_bytes as u64, TOTAL);

    s3.fetch("s3://bucket/llama/").await.unwrap();
    assert_eq!(s3.bucket.seen().content_bytes as u64, TOTAL);
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
    s3.bucket.put("llama/model.gguf", large(2));
    let failure = source.open(&listing.revision, &listing.files[0], 10..20).await.err().unwrap();
    assert_eq!(failure.reason, Reason::SourceChanged);
}

#[tokio::test]
async fn what_is_missing_and_what_is_forbidden_are_told_apart() {
    let s3 = S3::with(&[]).await;
    for uri in ["s3://bucket/", "s3://bucket/llama/"] {
        assert_eq!(s3.fetch(uri).await.unwrap_err().reason, Reason::SourceNotFound, "{uri}");
    }
    s3.bucket.set(|script| script.refuses = true);
    let failure = s3.fetch("s3://bucket/llama/").await.unwrap_err();
    assert_eq!(failure.reason, Reason::Unauthorized);
    assert!(
        failure.message.contains("AWS_ACCESS_KEY_ID") && !failure.message.contains("hunter2"),
        "{failure}"
    );
}
