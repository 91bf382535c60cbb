//! Key files, statements and answers; with a key that was made for these tests and is good for nothing.

use proptest::prelude::*;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::json;

use super::*;

const KEY: &str = include_str!("test-key.pem");
const AT: &str = "https://oauth2.googleapis.com/token";

fn file(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut file = json!({
        "type": "service_account", "project_id": "acme-1", "private_key_id": "0123abcd", "private_key": KEY,
        "client_email": "gateway@acme-1.iam.gserviceaccount.com", "client_id": "1", "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": AT, "universe_domain": "googleapis.com"
    });
    change(&mut file);
    file.to_string().into_bytes()
}

fn account(token_uri: &str) -> ServiceAccount {
    ServiceAccount::read(&file(|file| file["token_uri"] = json!(token_uri))).unwrap()
}

#[test]
fn a_statement_is_signed_as_google_wants_it() {
    let account = account(AT);
    assert_eq!(account.project(), Some("acme-1"));
    let form = account.form(1_800_000_000).unwrap();
    let statement = form
        .strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=")
        .unwrap();
    let (signed, signature) = statement.rsplit_once('.').unwrap();
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, account.key.public().as_ref());
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    key.verify(signed.as_bytes(), &signature).unwrap();
    assert!(key.verify(b"else", &signature).is_err());
    let parts: Vec<Value> = signed
        .split('.')
        .map(|part| serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
        .collect();
    assert_eq!(parts[0], json!({"alg": "RS256", "typ": "JWT", "kid": "0123abcd"}));
    let claims = json!({
        "iss": "gateway@acme-1.iam.gserviceaccount.com", "scope": "https://www.googleapis.com/auth/cloud-platform", "aud": AT,
        "iat": 1_800_000_000, "exp": 1_800_003_600
    });
    assert_eq!(parts[1], claims);
}

#[test]
fn what_is_no_key_file_is_told_without_repeating_it() {
    let small = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
    let cases = [
        (b"AIzaSecret".to_vec(), BadKeyFile::NotJson { line: 1, column: 1 }),
        (file(|f| f["type"] = json!("authorized_user")), BadKeyFile::OtherType),
        (file(|f| f["client_email"] = json!(7)), BadKeyFile::Missing("client_email")),
        (file(|f| f["private_key"] = json!(["s3cret"])), BadKeyFile::Missing("private_key")),
        (file(|f| f["token_uri"] = json!("")), BadKeyFile::Missing("token_uri")),
        (file(|f| f["private_key"] = json!("s3cret")), BadKeyFile::NotPem),
        (
            file(|f| f["private_key"] = json!(KEY.replace("PRIVATE", "RSA PRIVATE"))),
            BadKeyFile::NotPem,
        ),
        (file(|f| f["private_key"] = json!(small)), BadKeyFile::NotRsa),
    ];
    for (file, expected) in cases {
        let error = ServiceAccount::read(&file).unwrap_err();
        assert_eq!(error, expected);
        assert!(
            !error.to_string().contains("s3cret") && !error.to_string().contains("Secret"),
            "{error}"
        );
    }
}

#[test]
fn neither_keys_nor_tokens_are_printed() {
    let shown = format!("{:?}", account(AT));
    assert_eq!(shown, r#"ServiceAccount { email: "gateway@acme-1.iam.gserviceaccount.com", .. }"#);
    let token = read_token(200, br#"{"access_token":"ya29.s3cret","expires_in":3599,"token_type":"Bearer"}"#).unwrap();
    assert_eq!(format!("{token:?}"), "Token { life: 3599s, .. }");
}

#[test]
fn a_key_file_cannot_send_the_gateway_anywhere_it_would_not_go() {
    let own: Uri = "http://127.0.0.1:8080/v1".parse().unwrap();
    let cases = [
        (AT, None, true),
        ("https://WWW.GoogleApis.com:443/oauth2/v4/token", None, true),
        ("http://oauth2.googleapis.com/token", None, false),
        ("https://oauth2.googleapis.com:8443/token", None, false),
        ("https://googleapis.com.evil.example/token", None, false),
        ("https://evilgoogleapis.com/token", None, false),
        ("https://oauth2.googleapis.com@evil.example/token", None, false),
        ("https://evil.example@oauth2.googleapis.com/token", None, false),
        ("https://169.254.169.254/token", None, false),
        ("http://127.0.0.1:8080/token", None, false),
        ("/token", None, false),
        ("googleapis.com:443", None, false),
        ("not an address", None, false),
        // With an endpoint of the model's own, that one and no other.
        ("http://127.0.0.1:8080/token", Some(&own), true),
        (AT, Some(&own), true),
        ("http://127.0.0.1:8081/token", Some(&own), false),
        ("https://127.0.0.1:8080/token", Some(&own), false),
        ("http://localhost:8080/token", Some(&own), false),
        ("http://user@127.0.0.1:8080/token", Some(&own), false),
        ("http://10.0.0.1/token", Some(&own), false),
    ];
    for (address, endpoint, is_allowed) in cases {
        assert_eq!(
            account(address).token_address(endpoint).is_ok(),
            is_allowed,
            "{address} {endpoint:?}"
        );
    }
}

#[test]
fn answers_are_read() {
    let token = |body: &str| read_token(200, body.as_bytes());
    let life = |body: &str| token(body).unwrap().life.as_secs();
    assert_eq!(token(r#"{"access_token":"ya29.c","expires_in":3599}"#).unwrap().secret, "ya29.c");
    assert_eq!(life(r#"{"access_token":"a"}"#), 300);
    assert_eq!(life(r#"{"access_token":"a","expires_in":99999999}"#), 43_200);
    let refused = read_token(400, br#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#).unwrap_err();
    assert_eq!(refused.to_string(), "Google refuses a token: invalid_grant: Invalid JWT Signature.");
    let none = [
        (200, r#"{"access_token":"a\nb","expires_in":1}"#),
        (200, r#"{"access_token":"","expires_in":1}"#),
        (200, "{}"),
        (500, r#"{"access_token":"a"}"#),
        (502, "<html>"),
    ];
    for (status, body) in none {
        assert_eq!(read_token(status, body.as_bytes()), Err(NotGiven::Unreadable(status)), "{body}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,60}") {
        let _ = (ServiceAccount::read(&bytes), read_token(200, &bytes));
        let _ = ServiceAccount::read(&file(|f| f["private_key"] = json!(format!("-----BEGIN PRIVATE KEY-----{text}-----END PRIVATE KEY-----"))));
        let _ = account_or_none(&text).map(|account| account.token_address(None));
        let _ = read_token(400, json!({"error": text, "error_description": text}).to_string().as_bytes());
    }
}

fn account_or_none(token_uri: &str) -> Option<ServiceAccount> {
    ServiceAccount::read(&file(|file| file["token_uri"] = json!(token_uri))).ok()
}
