//! URIs that are taken, and those that are not.

use proptest::prelude::*;

use super::*;

fn parts(uri: &str) -> (String, String, Option<String>) {
    match Location::parse(uri).unwrap() {
        Location::Hub {
            repository,
            revision,
            path,
        } => (repository, revision, path.map(String::from)),
        other => panic!("{other}"),
    }
}

#[test]
fn a_dataset_says_that_it_is_one() {
    let dataset = parts("hf://datasets/org/name@v1/data/test.parquet");
    assert_eq!(dataset, ("datasets/org/name".into(), "v1".into(), Some("data/test.parquet".into())));
    assert!(Location::parse("hf://datasets/name").is_err());
    let again = Location::parse("hf://datasets/org/name@v1/data/test.parquet").unwrap().to_string();
    assert_eq!(again, "hf://datasets/org/name@v1/data/test.parquet");
}

#[test]
fn a_repository_may_have_a_revision_and_a_path() {
    let case = |uri: &str, revision: &str, path: Option<&str>| {
        assert_eq!(
            parts(uri),
            ("org/name-1.5".into(), revision.into(), path.map(str::to_owned)),
            "{uri}"
        );
    };
    case("hf://org/name-1.5", "main", None);
    case("hf://org/name-1.5@v1", "v1", None);
    case("hf://org/name-1.5/q4/model.gguf", "main", Some("q4/model.gguf"));
    case("hf://org/name-1.5@v1/q4/model.gguf", "v1", Some("q4/model.gguf"));
    case("hf://org/name-1.5@v1/q4/", "v1", Some("q4"));
    case("hf://org/name-1.5@refs/pr/7", "refs/pr/7", None);
    case("hf://org/name-1.5@refs/pr/7/a/b", "refs/pr/7", Some("a/b"));
    case("hf://org/name-1.5@feature%2Fx/a", "feature/x", Some("a"));
    case("hf://org/name-1.5/a@b.bin", "main", Some("a@b.bin"));
}

#[test]
fn what_cannot_be_a_repository_is_refused_with_the_forms() {
    for uri in [
        "hf://",
        "hf://name",
        "hf:///name",
        "hf://org/",
        "hf://org/name@",
        "hf://org/name@../x",
        "hf://org/na me",
        "hf://org/name/../x",
        "hf://../x",
    ] {
        let failure = Location::parse(uri).unwrap_err();
        assert_eq!(failure.reason, Reason::InvalidSource, "{uri}");
        assert!(failure.message.contains("hf://organization/name@revision"), "{failure}");
    }
}

#[test]
fn only_a_whole_commit_or_a_checksum_pins_a_source() {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let pinned = |uri: &str| Location::parse(uri).unwrap().pinned().map(str::to_owned);
    assert_eq!(pinned(&format!("hf://a/b@{commit}")).as_deref(), Some(commit));
    assert_eq!(pinned("hf://a/b@main"), None);
    assert_eq!(pinned("hf://a/b@01234567"), None);
    assert_eq!(pinned("s3://bucket/x/"), None);
    assert_eq!(pinned("https://host/x"), None);
    assert!(
        pinned(&format!("https://host/x#sha256={}", "AB".repeat(32)))
            .unwrap()
            .starts_with("abab")
    );
}

#[test]
fn buckets_have_a_prefix_or_a_key() {
    let bucket = |store, prefix: &str| Location::Bucket {
        store,
        name: "weights".into(),
        prefix: prefix.into(),
    };
    assert_eq!(Location::parse("s3://weights/llama/8b/").unwrap(), bucket(Store::S3, "llama/8b"));
    assert_eq!(Location::parse("gs://weights").unwrap(), bucket(Store::Gcs, ""));
    assert_eq!(Location::parse("az://weights/a b.gguf").unwrap(), bucket(Store::Azure, "a b.gguf"));
    assert!(Location::parse("s3:///x").is_err());
    assert!(Location::parse("s3://key:secret@weights/x").is_err());
}

#[test]
fn plain_http_is_for_this_machine_or_with_a_checksum() {
    assert!(Location::parse("http://127.0.0.1:8000/x.gguf").is_ok());
    assert!(Location::parse("http://[::1]/x.gguf").is_ok());
    assert!(Location::parse(&format!("http://mirror/x.gguf#sha256={}", "0".repeat(64))).is_ok());
    assert!(Location::parse("http://mirror/x.gguf").unwrap_err().message.contains("#sha256="));
    assert!(Location::parse("https://host/x.gguf#sha256=12").is_err());
}

#[test]
fn secrets_in_a_url_are_refused_or_not_shown() {
    let credentials = Location::parse("https://me:hunter2@host/x").unwrap_err().to_string();
    assert!(!credentials.contains("hunter2"), "{credentials}");
    let presigned = Location::parse("https://host/x?signature=hunter2").unwrap();
    assert!(!format!("{presigned} {presigned:?}").contains("hunter2"), "{presigned}");
    let refused = Location::parse("http://host/x?signature=hunter2").unwrap_err().to_string();
    assert!(!refused.contains("hunter2"), "{refused}");
}

#[test]
fn what_pods_mount_is_not_fetched() {
    for uri in ["oci://registry/model:1", "pvc://claim/path"] {
        assert!(Location::parse(uri).unwrap_err().message.contains("mount it"), "{uri}");
    }
    assert!(Location::parse("model.gguf").unwrap_err().message.contains("hf://"));
}

proptest! {
    #[test]
    fn what_is_shown_of_a_repository_means_the_same(uri in "hf://[a-z]{1,3}/[a-z.]{1,3}(@([a-z]{1,3}|refs/pr/[0-9]|[a-z]%2F[a-z]))?(/[a-z./@]{0,6})?") {
        if let Ok(location) = Location::parse(&uri) {
            prop_assert_eq!(Location::parse(&location.to_string()).unwrap(), location);
        }
    }
}
