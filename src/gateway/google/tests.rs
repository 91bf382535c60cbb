//! Tokens of a Google that is a function, with a clock that waits for nobody; and once over a socket.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::routing::post as on_post;
use futures::future::join_all;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{advance, sleep};

use super::*;

const GOOGLE: &str = "https://oauth2.googleapis.com/token";

fn key_file(token_uri: &str) -> String {
    let key = include_str!("../../protocol/google/test-key.pem");
    let email = "gateway@acme.iam.gserviceaccount.com";
    json!({"type": "service_account", "client_email": email, "private_key": key, "token_uri": token_uri}).to_string()
}

/// Answers after a second with tokens that are numbered and last an hour.
#[derive(Default)]
struct Google {
    calls: AtomicUsize,
    refuses: AtomicBool,
    hangs: AtomicBool,
}

impl Google {
    fn tokens(self: &Arc<Self>) -> Tokens {
        let google = self.clone();
        let exchange: Exchange = Arc::new(move |address: Uri, form: String| {
            assert_eq!(address, GOOGLE);
            assert!(form.starts_with("grant_type="));
            let google = google.clone();
            async move { google.answer().await }.boxed()
        });
        Tokens::new(exchange, || Timestamp::UNIX_EPOCH)
    }

    async fn answer(&self) -> Result<(u16, Bytes), String> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        sleep(Duration::from_secs(1)).await;
        if self.refuses.load(Ordering::SeqCst) {
            return Ok((400, Bytes::from_static(br#"{"error":"invalid_grant"}"#)));
        }
        Ok((
            200,
            json!({"access_token": format!("t{call}"), "expires_in": 3600}).to_string().into(),
        ))
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

async fn bearer(tokens: &Tokens) -> Result<String, String> {
    let bearer = tokens.bearer(&key_file(GOOGLE), None, None).await;
    bearer
        .map(|value| value.to_str().unwrap().to_owned())
        .map_err(|error| error.to_string())
}

fn ok(token: &str) -> Result<String, String> {
    Ok(format!("Bearer {token}"))
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_share_one_exchange() {
    let google = Arc::new(Google::default());
    let tokens = google.tokens();
    let all = join_all((0..50).map(|_| bearer(&tokens))).await;
    assert!(all.iter().all(|one| *one == ok("t1")));
    assert_eq!(bearer(&tokens).await, ok("t1"));
    assert_eq!(google.calls(), 1);
    assert!(tokens.bearer(&key_file(GOOGLE), None, None).await.unwrap().is_sensitive());
}

#[tokio::test(start_paused = true)]
async fn the_next_token_is_fetched_while_the_old_one_serves() {
    let google = Arc::new(Google::default());
    let tokens = google.tokens();
    assert_eq!(bearer(&tokens).await, ok("t1"));
    advance(Duration::from_secs(3290)).await;
    assert_eq!((bearer(&tokens).await, google.calls()), (ok("t1"), 1));
    advance(Duration::from_secs(20)).await;
    let begin = Instant::now();
    assert_eq!(bearer(&tokens).await, ok("t1"));
    assert_eq!(bearer(&tokens).await, ok("t1"));
    assert_eq!(begin.elapsed(), Duration::ZERO, "nobody waited");
    sleep(Duration::from_secs(2)).await;
    assert_eq!((bearer(&tokens).await, google.calls()), (ok("t2"), 2));
}

#[tokio::test(start_paused = true)]
async fn the_old_token_serves_while_the_next_is_refused_and_until_its_end() {
    let google = Arc::new(Google::default());
    let tokens = google.tokens();
    assert_eq!(bearer(&tokens).await, ok("t1"));
    google.refuses.store(true, Ordering::SeqCst);
    advance(Duration::from_secs(3310)).await;
    // Two requests a second for the 259 seconds that are left, less the margin: asked after 0, 2, 5, 10, 19, 36, 69, 130 … seconds.
    for _ in 0..500 {
        assert_eq!(bearer(&tokens).await, ok("t1"));
        sleep(Duration::from_millis(500)).await;
    }
    assert!((8..=11).contains(&google.calls()), "{}", google.calls());
    sleep(Duration::from_secs(60)).await;
    let refused = bearer(&tokens).await;
    assert_eq!(refused, Err("Google refuses a token: invalid_grant".to_owned()));
    google.refuses.store(false, Ordering::SeqCst);
    sleep(LONG_PAUSE).await;
    assert!(bearer(&tokens).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_google_that_hangs_costs_ten_seconds_and_then_nothing() {
    let google = Arc::new(Google::default());
    google.hangs.store(true, Ordering::SeqCst);
    let tokens = google.tokens();
    let begin = Instant::now();
    assert!(bearer(&tokens).await.unwrap_err().contains("in time"));
    assert_eq!(begin.elapsed(), EXCHANGE_TIME);
    assert!(bearer(&tokens).await.is_err());
    assert_eq!((begin.elapsed(), google.calls()), (EXCHANGE_TIME, 1));
    google.hangs.store(false, Ordering::SeqCst);
    sleep(PAUSE).await;
    assert_eq!(bearer(&tokens).await, ok("t2"));
}

#[tokio::test(start_paused = true)]
async fn an_exchange_goes_on_when_whoever_asked_hangs_up() {
    let google = Arc::new(Google::default());
    let tokens = google.tokens();
    assert!(timeout(Duration::from_millis(500), bearer(&tokens)).await.is_err());
    sleep(Duration::from_secs(1)).await;
    let begin = Instant::now();
    assert_eq!(
        (bearer(&tokens).await, google.calls(), begin.elapsed()),
        (ok("t1"), 1, Duration::ZERO)
    );
}

#[tokio::test(start_paused = true)]
async fn a_replaced_key_file_has_tokens_of_its_own_and_a_bad_one_asks_nobody() {
    let google = Arc::new(Google::default());
    let tokens = google.tokens();
    assert_eq!(bearer(&tokens).await, ok("t1"));
    let other = key_file(GOOGLE).replace("gateway@", "other@");
    assert_eq!(tokens.bearer(&other, None, None).await.unwrap(), "Bearer t2");
    for bad in [
        key_file("https://169.254.169.254/token"),
        key_file("http://oauth2.googleapis.com/token"),
        "AIzaSecret".to_owned(),
    ] {
        let error = tokens.bearer(&bad, None, None).await.unwrap_err().to_string();
        assert!(
            error.starts_with("the credentials are not the key file of a service account: ") && !error.contains("Secret"),
            "{error}"
        );
    }
    assert_eq!(google.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_bounded() {
    let tokens = Arc::new(Google::default()).tokens();
    for number in 0..CAPACITY + 10 {
        let _bad = tokens.bearer(&number.to_string(), None, None).await;
    }
    assert_eq!(tokens.sources.lock().unwrap().len(), CAPACITY);
}

#[tokio::test]
async fn whom_only_a_bundle_vouches_for_gives_tokens_over_its_own_connections() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint: Uri = format!("http://{}/v1", listener.local_addr().unwrap()).parse().unwrap();
    let key_file = key_file(&format!("http://{}/token", listener.local_addr().unwrap()));
    let answer = async || r#"{"access_token":"ya29.local","expires_in":3599,"token_type":"Bearer"}"#;
    let app = Router::new().route("/token", on_post(answer));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let everybodys: Exchange = Arc::new(|_, _| async { Err("over the connections of all".to_owned()) }.boxed());
    let tokens = Tokens::new(everybodys, || Timestamp::UNIX_EPOCH);
    let own = Arc::new(Upstream::trusting(rustls::RootCertStore::empty()));
    let given = tokens.bearer(&key_file, Some(&endpoint), Some(&own)).await;
    assert_eq!(given.unwrap(), "Bearer ya29.local");
    let given = tokens.bearer(&key_file, Some(&endpoint), None).await;
    assert_eq!(
        given.unwrap_err().to_string(),
        "over the connections of all",
        "and they are not mixed up"
    );
    server.abort();
}

#[test]
fn whoever_vouches_for_a_model_vouches_for_its_tokens_where_both_are_the_same() {
    for (address, endpoint, is) in [
        (GOOGLE, "https://us-central1-aiplatform.googleapis.com/v1", true),
        ("https://vertex.acme.example/token", "https://vertex.acme.example/v1", true),
        (GOOGLE, "https://vertex.acme.example/v1", false),
        ("https://vertex.acme.example:8443/token", "https://vertex.acme.example/v1", false),
    ] {
        assert_eq!(
            is_of(&address.parse().unwrap(), &endpoint.parse().unwrap()),
            is,
            "{address} {endpoint}"
        );
    }
}

#[tokio::test]
async fn tokens_come_over_the_gateways_own_connections() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own: Uri = format!("http://{}/v1", listener.local_addr().unwrap()).parse().unwrap();
    let token_uri = format!("http://{}/token", listener.local_addr().unwrap());
    let answer = async |headers: http::HeaderMap, form: String| {
        assert_eq!(headers[header::CONTENT_TYPE], "application/x-www-form-urlencoded");
        assert!(form.starts_with("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=ey"));
        r#"{"access_token":"ya29.local","expires_in":3599,"token_type":"Bearer"}"#
    };
    let large = async || vec![b'x'; ANSWER_LIMIT + 1];
    let app = Router::new().route("/token", on_post(answer)).route("/large", on_post(large));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let tokens = Tokens::new(over(Arc::new(Upstream::new(None).unwrap())), || Timestamp::UNIX_EPOCH);
    assert_eq!(
        tokens.bearer(&key_file(&token_uri), Some(&own), None).await.unwrap(),
        "Bearer ya29.local"
    );
    let too_large = key_file(&token_uri.replace("/token", "/large"));
    assert!(
        tokens
            .bearer(&too_large, Some(&own), None)
            .await
            .unwrap_err()
            .to_string()
            .contains("limit")
    );
    server.abort();
}
