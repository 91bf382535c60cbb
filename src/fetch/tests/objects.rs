//! Objects that are created once.

use bytes::Bytes;

use super::bucket::Bucket;
use super::*;

fn objects(bucket: &Bucket, more: &[(&str, &str)]) -> Objects {
    let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let variables = bucket.variables().into_iter().chain(more);
    let environment = variables.map(|(name, value)| (name.to_owned(), value)).collect();
    Objects::new("s3://bucket/kept/", &environment, options(&[]).pace).unwrap()
}

#[tokio::test]
async fn an_object_is_created_once_and_read_back() {
    let bucket = Bucket::start().await.unwrap();
    let (one, other) = (Bytes::from_static(b"one"), Bytes::from_static(b"other"));
    let disabled = [("AWS_CONDITIONAL_PUT", "disabled")];
    for (knows_no_conditions, more) in [(false, &[][..]), (true, &[]), (true, &disabled)] {
        bucket.remove("kept/run/a");
        bucket.set(|script| script.knows_no_conditions = knows_no_conditions);
        let objects = objects(&bucket, more);
        assert_eq!(objects.get("run/a", 10).await.unwrap(), None);
        assert_eq!(objects.create("run/a", &one).await.unwrap(), Created::There);
        assert_eq!(objects.create("run/a", &one).await.unwrap(), Created::There, "its own, once more");
        assert_eq!(objects.create("run/a", &other).await.unwrap(), Created::Otherwise, "{more:?}");
        assert_eq!(objects.get("run/a", 10).await.unwrap(), Some(one.clone()));
        assert_eq!(objects.list("run", 1).await.unwrap(), [("a".to_owned(), 3)]);
        assert_eq!(objects.folders().await.unwrap(), ["run"]);
        assert!(objects.get("run/a", 2).await.unwrap_err().message.contains("more than 2"));
    }
}

#[tokio::test]
async fn a_large_object_is_put_in_parts() {
    let bucket = Bucket::start().await.unwrap();
    let large: Bytes = large(1).repeat(17).into();
    let objects = objects(&bucket, &[]);
    assert_eq!(objects.create("run/a", &large).await.unwrap(), Created::There);
    assert!(bucket.objects()["kept/run/a"] == large);
    let shorter = large.slice(1..);
    assert_eq!(objects.create("run/a", &shorter).await.unwrap(), Created::Otherwise);
}

#[tokio::test]
async fn a_file_is_put_in_parts_under_any_name() {
    let bucket = Bucket::start().await.unwrap();
    let objects = objects(&bucket, &[]);
    let scratch = Scratch::new();
    let file = scratch.0.join("file");
    let large = large(1).repeat(17);
    for (name, key, content) in [
        ("run/a b", "kept/run/a b", &b"small"[..]),
        ("run/none", "kept/run/none", b""),
        ("run/a\nb/c%", "kept/run/a%0Ab/c%25", &large),
        ("run/a%0Ab/c%", "kept/run/a%250Ab/c%25", b"another"),
        ("run/../x", "kept/run/%2E%2E/x", b"up"),
    ] {
        fs::write(&file, content).unwrap();
        objects.put_file(name, &file).await.unwrap();
        assert!(
            bucket.objects().get(key).is_some_and(|there| there == content),
            "{name}: {:?}",
            bucket.objects().keys()
        );
    }
    assert!(objects.has("run/a b").await.unwrap() && !objects.has("run/b").await.unwrap());
    fs::remove_file(&file).unwrap();
    assert!(
        objects
            .put_file("run/a b", &file)
            .await
            .unwrap_err()
            .message
            .contains("cannot be read")
    );
    bucket.set(|script| script.is_read_only = true);
    fs::write(&file, &large).unwrap();
    assert_eq!(objects.put_file("run/a b", &file).await.unwrap_err().reason, Reason::Unauthorized);
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_found_out_and_its_object_is_as_it_was() {
    let (one, other) = (Bytes::from_static(b"one"), Bytes::from_static(b"other"));
    for ignores_conditions in [false, true] {
        let bucket = Bucket::start().await.unwrap();
        bucket.set(|script| script.ignores_conditions = ignores_conditions);
        let objects = objects(&bucket, &[]);
        assert_eq!(objects.create("a", &one).await.unwrap(), Created::There);
        objects.learn("a", &one, &other).await.unwrap();
        assert_eq!(objects.get("a", 10).await.unwrap(), Some(one.clone()));
        assert_eq!(objects.create("a", &other).await.unwrap(), Created::Otherwise);
        assert_eq!(objects.create("b", &other).await.unwrap(), Created::There);
        assert_eq!(objects.get("a", 10).await.unwrap(), Some(one.clone()));
    }
}

#[tokio::test]
async fn a_busy_bucket_is_asked_again_and_one_that_refuses_is_not() {
    let bucket = Bucket::start().await.unwrap();
    let objects = objects(&bucket, &[]);
    let content = Bytes::from_static(b"x");
    bucket.set(|script| script.busy = 3);
    assert_eq!(objects.create("a", &content).await.unwrap(), Created::There);
    bucket.set(|script| script.is_read_only = true);
    let failure = objects.create("b", &content).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Unauthorized);
    assert!(
        failure.message.contains("AWS_ACCESS_KEY_ID") && !failure.message.contains("hunter2"),
        "{failure}"
    );
    bucket.set(|script| script.is_missing = true);
    let failure = objects.create("b", &content).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Unauthorized, "{failure}");
    bucket.set(|script| script.is_read_only = false);
    let failure = objects.create("b", &content).await.unwrap_err();
    assert_eq!(failure.reason, Reason::SourceNotFound);
    assert!(failure.message.starts_with("there is no bucket bucket"), "{failure}");
}
