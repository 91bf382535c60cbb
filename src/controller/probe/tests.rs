//! Providers on this machine: what they are shown, and whose certificates are trusted.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request as Asked;
use http::StatusCode;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, Stream};

use super::*;
use crate::plan::backend::Material;

const NOW: Timestamp = Timestamp::constant(1_767_225_600, 0);

fn api(provider: &str, endpoint: &str) -> ApiSource {
    let rest = "model: 'm:0', region: eu-central-1, project: p, credentials: {secretRef: {name: s, key: k}}";
    serde_saphyr::from_str(&format!("{{provider: {provider}, endpoint: '{endpoint}', {rest}}}")).unwrap()
}

fn materials(credential: &str, authorities: Option<&str>) -> Materials {
    Materials {
        credential: Material::Found(credential.as_bytes().to_vec()),
        authorities: authorities.map_or(Material::NotNeeded, |pem| Material::Found(pem.as_bytes().to_vec())),
    }
}

/// A provider that accepts requests for `line` with this header, and refuses all others.
async fn provider(line: &'static str, header: &'static str, value: &'static str) -> String {
    let app = Router::new().fallback(async move |asked: Asked| {
        let is_right = format!("{} {}", asked.method(), asked.uri()) == line;
        let is_shown = asked.headers().get(header).is_some_and(|shown| shown == value);
        if is_right && is_shown {
            StatusCode::OK
        } else {
            StatusCode::UNAUTHORIZED
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

#[tokio::test]
async fn each_provider_is_asked_in_its_own_way() {
    let prober = Prober::new().unwrap();
    for (name, path, line, header, value) in [
        ("OpenAI", "/v1", "GET /v1/models", "authorization", "Bearer sk"),
        ("OpenAICompatible", "/v1", "GET /v1/models", "authorization", "Bearer sk"),
        ("Mistral", "/v1", "GET /v1/models", "authorization", "Bearer sk"),
        ("AzureOpenAI", "", "GET /openai/v1/models", "api-key", "sk"),
        ("Anthropic", "/v1", "GET /v1/models", "x-api-key", "sk"),
        ("Gemini", "/v1beta", "GET /v1beta/models?pageSize=1", "x-goog-api-key", "sk"),
        ("Bedrock", "", "POST /model/m%3A0/converse", "authorization", "Bearer sk"),
    ] {
        let api = api(name, &(provider(line, header, value).await + path));
        let ask = async |key: &str| prober.ask(&api, &materials(key, None), NOW).await.unwrap();
        assert_eq!(ask("sk").await, Answer::Accepted, "{name}");
        assert_eq!(ask("other").await, Answer::Rejected(401), "{name}");
    }
}

#[tokio::test]
async fn bedrock_is_asked_with_a_signature_for_its_region_and_the_present() {
    let app = Router::new().fallback(async |asked: Asked| {
        let shown = |name: &str| asked.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        let scope = "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-central-1/bedrock/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=";
        let is_right = shown("authorization").starts_with(scope) && shown("x-amz-date") == "20260101T000000Z";
        // Allowed, and refused for its form.
        if is_right { StatusCode::BAD_REQUEST } else { StatusCode::FORBIDDEN }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = api("Bedrock", &format!("http://{}", listener.local_addr().unwrap()));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let ask = async |keys: &str| Prober::new().unwrap().ask(&api, &materials(keys, None), NOW).await.unwrap();
    assert_eq!(ask("AKIA:secret").await, Answer::Accepted);
    assert_eq!(ask("AKIB:secret").await, Answer::Rejected(403));
    assert_eq!(ask("AKIA:secret:token").await, Answer::Rejected(403), "the token is signed too");
    let Answer::Unusable(why) = ask("AKIA:").await else {
        panic!("half a pair was shown")
    };
    assert_eq!(why, "it has no secret access key");
}

/// A key file of a service account whose tokens are given at `url`.
fn key_file(url: &str) -> String {
    let key = include_str!("../../protocol/google/test-key.pem");
    let file = serde_json::json!({
        "type": "service_account", "client_email": "a@p.iam.gserviceaccount.com", "private_key": key, "token_uri": format!("{url}/token"),
    });
    file.to_string()
}

#[tokio::test]
async fn vertex_is_asked_with_a_token_that_its_account_is_given() {
    let app = Router::new().fallback(async |asked: Asked| {
        let line = format!("{} {}", asked.method(), asked.uri());
        let token = asked.headers().get("authorization").cloned();
        match (line.as_str(), token) {
            ("POST /token", None) => (
                StatusCode::OK,
                r#"{"access_token": "ya29.t", "expires_in": 3599, "token_type": "Bearer"}"#,
            ),
            ("POST /v1/projects/p/locations/eu-central-1/publishers/google/models/m%3A0:countTokens", Some(token))
                if token == "Bearer ya29.t" =>
            {
                (StatusCode::BAD_REQUEST, "{}")
            }
            _ => (
                StatusCode::UNAUTHORIZED,
                r#"{"error": "invalid_grant", "error_description": "Invalid JWT Signature."}"#,
            ),
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let api = api("VertexAI", &url);
    let ask = async |file: &str| Prober::new().unwrap().ask(&api, &materials(file, None), NOW).await.unwrap();
    assert_eq!(ask(&key_file(&url)).await, Answer::Accepted);
    assert_eq!(ask(&key_file(&format!("{url}/not-here"))).await, Answer::Rejected(401));
    let Answer::Unusable(why) = ask(&key_file("http://elsewhere.example.com")).await else {
        panic!("any address was asked")
    };
    assert_eq!(
        why,
        "its token_uri is not an https address under googleapis.com, nor at the model's own endpoint"
    );
}

/// A server for one connection at a time with a certificate for 127.0.0.1, and the certificate of the authority that signed it.
fn behind_tls() -> (String, String) {
    let authority = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&authority).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(params, authority)).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut tcp in listener.incoming().map_while(Result::ok) {
            let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = Stream::new(&mut tls, &mut tcp);
            // A client that does not trust it goes away.
            if stream.read(&mut [0; 4096]).is_ok() {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
            }
        }
    });
    (url, root.pem())
}

#[tokio::test]
async fn only_the_authorities_that_are_named_are_trusted() {
    let prober = Prober::new().unwrap();
    let (url, root) = behind_tls();
    let (_, another) = behind_tls();
    let api = api("OpenAICompatible", &url);
    let ask = async |authorities: Option<&str>| prober.ask(&api, &materials("sk", authorities), NOW).await.unwrap();
    assert_eq!(ask(Some(&root)).await, Answer::Accepted);
    for untrusted in [Some(another.as_str()), None] {
        let Answer::Unreachable(why) = ask(untrusted).await else {
            panic!("trusted")
        };
        assert!(why.contains("certificate"), "{why}");
    }
    assert_eq!(ask(Some(&root)).await, Answer::Accepted);
}
