//! What the hub says, and what it means.

use super::super::wire::client;
use super::*;

fn hub(endpoint: &str, token: Option<&str>) -> Hub {
    let environment: Environment = [("HF_ENDPOINT", Some(endpoint)), ("HF_TOKEN", token)]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    Hub::new(client(None).unwrap(), &environment, "org/name").unwrap()
}

fn refusal(status: u16, code: &str, said: &'static str, token: Option<&str>) -> Failure {
    let mut headers = HeaderMap::new();
    headers.insert("x-error-message", HeaderValue::from_static(said));
    if !code.is_empty() {
        headers.insert("x-error-code", HeaderValue::from_str(code).unwrap());
    }
    let status = StatusCode::from_u16(status).unwrap();
    hub("https://hub.example", token).refusal(status, &headers, "v2")
}

#[test]
fn an_endpoint_is_a_url_without_credentials() {
    for endpoint in ["hub.example", "ftp://hub.example", "https://me:hunter2@hub.example", "data:x"] {
        let environment: Environment = [("HF_ENDPOINT".to_owned(), endpoint.to_owned())].into_iter().collect();
        let failure = Hub::new(client(None).unwrap(), &environment, "org/name").err().unwrap();
        assert_eq!(failure.reason, Reason::InvalidSource, "{endpoint}");
        assert!(!failure.message.contains("hunter2"), "{failure}");
    }
}

#[test]
fn datasets_are_asked_for_by_their_kind() {
    let url = |repository: &str| {
        let environment: Environment = [("HF_ENDPOINT".to_owned(), "https://hub.example".to_owned())].into_iter().collect();
        let hub = Hub::new(client(None).unwrap(), &environment, repository).unwrap();
        let content = hub.url(&[], &["resolve", "c0ffee", "data", "test.parquet"]);
        (hub.url(hub.api(), &["revision", "v1"]).to_string(), content.to_string())
    };
    let at = |path: &str| format!("https://hub.example/{path}");
    assert_eq!(
        url("org/name"),
        (
            at("api/models/org/name/revision/v1"),
            at("org/name/resolve/c0ffee/data/test.parquet")
        )
    );
    assert_eq!(
        url("datasets/org/name"),
        (
            at("api/datasets/org/name/revision/v1"),
            at("datasets/org/name/resolve/c0ffee/data/test.parquet")
        )
    );
}

#[test]
fn the_next_page_is_found_among_links() {
    assert_eq!(next_page("<https://h/a?cursor=x>; rel=\"next\""), Some("https://h/a?cursor=x"));
    assert_eq!(
        next_page("<https://h/1>; rel=\"first\", <https://h/2>; title=x; rel=next"),
        Some("https://h/2")
    );
    assert_eq!(next_page("<https://h/1>; rel=\"prev\""), None);
    assert_eq!(next_page("nonsense"), None);
}

#[test]
fn pages_are_asked_of_the_endpoint_whatever_a_link_says() {
    let at = |link| hub("https://mirror.example/hub/", None).at_endpoint(link).unwrap().to_string();
    assert_eq!(
        at("https://mirror.example/hub/api/x?cursor=1"),
        "https://mirror.example/hub/api/x?cursor=1"
    );
    assert_eq!(
        at("https://huggingface.co/api/x?cursor=1"),
        "https://mirror.example/hub/api/x?cursor=1"
    );
}

#[test]
fn a_tree_tells_large_files_from_small_ones() {
    let tree = r#"[
        {"type": "directory", "oid": "d", "size": 0, "path": "original"},
        {"type": "file", "oid": "AB12", "size": 7, "path": "config.json"},
        {"type": "file", "oid": "cd", "size": 134, "path": "model.safetensors", "lfs": {"oid": "EF", "size": 9, "pointerSize": 134}, "xetHash": "z"}
    ]"#;
    let entries: Vec<Entry> = serde_json::from_str(tree).unwrap();
    let found: Vec<Found> = entries.into_iter().filter(|entry| entry.kind == "file").map(file).collect();
    let of = |name: &str, size, check| Found {
        name: name.to_owned(),
        size,
        check,
        etag: None,
    };
    assert_eq!(
        found,
        [
            of("config.json", 7, Check::GitBlob("ab12".into())),
            of("model.safetensors", 9, Check::Sha256("ef".into()))
        ]
    );
}

#[test]
fn a_revision_and_names_are_escaped_in_urls() {
    let hub = hub("https://mirror.example/hub/", None);
    let url = hub.url(&["api", "models"], &["revision", "refs/pr/1"]);
    assert_eq!(
        url.as_str(),
        "https://mirror.example/hub/api/models/org/name/revision/refs%2Fpr%2F1"
    );
    assert!(
        hub.url(&[], &["resolve", "c", "a b?#.gguf"])
            .as_str()
            .ends_with("/org/name/resolve/c/a%20b%3F%23.gguf")
    );
}

#[test]
fn each_refusal_has_its_reason() {
    let token = Some("hf_secret");
    let reason = |status, code, said, token| refusal(status, code, said, token).reason;
    assert_eq!(reason(401, "GatedRepo", "", None), Reason::GatedModel);
    assert_eq!(reason(403, "GatedRepo", "", token), Reason::GatedModel);
    assert_eq!(reason(404, "RevisionNotFound", "", None), Reason::RevisionNotFound);
    assert_eq!(reason(401, "RepoNotFound", "", None), Reason::SourceNotFound);
    assert_eq!(reason(404, "RepoNotFound", "", token), Reason::SourceNotFound);
    assert_eq!(
        reason(401, "", "Invalid credentials in Authorization header", token),
        Reason::Unauthorized
    );
    assert_eq!(reason(403, "", "forbidden", token), Reason::Unauthorized);
    assert_eq!(reason(502, "", "", token), Reason::Unreachable);
    assert_eq!(reason(418, "", "", token), Reason::Unreachable);
}

#[test]
fn a_refusal_names_the_remedy_and_never_the_token() {
    let gated = refusal(403, "GatedRepo", "", Some("hf_secret"));
    assert!(gated.message.contains("https://hub.example/org/name"), "{gated}");
    let revision = refusal(404, "RevisionNotFound", "", Some("hf_secret"));
    assert!(revision.message.contains("no revision v2"), "{revision}");
    assert!(!format!("{gated:?}{revision:?}").contains("hf_secret"));
}
