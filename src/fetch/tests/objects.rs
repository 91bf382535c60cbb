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
    objects.put("run/a", &shorter).await.unwrap();
    assert!(objects.get("run/a", 1 << 30).await.unwrap() == Some(shorter));
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
