use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{Response, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;

const PACE: Pace = Pace {
    answer: Duration::from_secs(5),
    question: Duration::from_secs(10),
    first: Duration::from_millis(1),
    longest: Duration::from_millis(4),
};

/// What comes back to the n-th request, counted from 1; none: nothing, ever.
type Says = dyn Fn(usize) -> Option<Response<String>> + Send + Sync;

/// A program that scores, and what it was asked.
struct Program {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(Parts, Bytes)>>>,
}

impl Program {
    async fn new(says: impl Fn(usize) -> Option<Response<String>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<(Parts, Bytes)>>> = Arc::default();
        let (noted, says): (_, Arc<Says>) = (Arc::clone(&asked), Arc::new(says));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (noted, says) = (Arc::clone(&noted), Arc::clone(&says));
                let answer = service_fn(move |request: Request<Incoming>| {
                    let (noted, says) = (Arc::clone(&noted), Arc::clone(&says));
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let nth = {
                            let mut noted = noted.lock().unwrap();
                            noted.push((head, body));
                            noted.len()
                        };
                        match says(nth) {
                            Some(response) => Ok::<_, Infallible>(response),
                            None => pending().await,
                        }
                    }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Self { address, asked }
    }

    fn webhook(&self, pace: Pace) -> Webhook {
        let url = format!("http://{}/score?key=secret", self.address);
        Webhook::new(&url, None, pace, || Timestamp::UNIX_EPOCH).unwrap()
    }

    fn requests(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn says(status: u16, body: &str) -> Option<Response<String>> {
    Some(Response::builder().status(status).body(body.to_owned()).unwrap())
}

fn after(seconds: &str) -> Option<Response<String>> {
    let mut response = says(429, "")?;
    response.headers_mut().insert(RETRY_AFTER, seconds.parse().unwrap());
    Some(response)
}

const ASKED: Asked<'_> = Asked {
    run: "r",
    target: "llama",
    suite: "claims",
    question: "7",
    repeat: 0,
};

async fn score(webhook: &Webhook) -> Result<Graded, String> {
    let input = [Message {
        role: "user".to_owned(),
        content: "2 + 2?".to_owned(),
    }];
    let answered = Answered {
        id: "7",
        input: &input,
        expected: &["4".to_owned()],
        answer: "private: 4",
        finish: Finish::Stop,
    };
    webhook.score(&ASKED, &answered).await
}

#[tokio::test]
async fn an_answer_is_put_to_the_program_and_its_score_taken() {
    let program = Program::new(|_| says(200, r#"{"score": 0.25, "reason": "half", "more": [1]}"#)).await;
    let graded = score(&program.webhook(PACE)).await.unwrap();
    let reason = Some("half".to_owned());
    assert_eq!(graded, Graded { score: Some(0.25), reason });
    let asked = program.asked.lock().unwrap();
    let (head, body) = &asked[0];
    assert_eq!((head.method.as_str(), head.uri.to_string().as_str()), ("POST", "/score?key=secret"));
    assert_eq!(head.headers[header::CONTENT_TYPE], "application/json");
    assert!(!head.headers.contains_key(header::AUTHORIZATION));
    let expected =
        json!({"id": "7", "input": [{"role": "user", "content": "2 + 2?"}], "expected": ["4"], "answer": "private: 4", "finish": "stop"});
    assert_eq!(serde_json::from_slice::<Value>(body).unwrap(), expected);
}

#[tokio::test]
async fn the_token_is_read_for_each_attempt_and_never_told() {
    let program = Program::new(|nth| if nth == 1 { says(503, "") } else { says(200, r#"{"score": 1}"#) }).await;
    let file = std::env::temp_dir().join(format!("webhook-token-{}", std::process::id()));
    let webhook = Webhook {
        token_file: Some(file.clone()),
        ..program.webhook(PACE)
    };
    let missing = score(&webhook).await.unwrap_err();
    std::fs::write(&file, "two\nlines").unwrap();
    let torn = score(&webhook).await.unwrap_err();
    std::fs::write(&file, "  s3cret\n").unwrap();
    score(&webhook).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(missing, torn);
    assert!(
        torn.ends_with("its Secret has no key token that is a token; add it, or correct secretRef"),
        "{torn}"
    );
    let asked = program.asked.lock().unwrap();
    assert!(asked.iter().all(|(head, _)| head.headers[header::AUTHORIZATION] == "Bearer s3cret"));
    assert_eq!(asked.len(), 2);
}

#[tokio::test]
async fn what_time_can_heal_is_tried_again_with_the_same_key() {
    let program = Program::new(|nth| match nth {
        1 => says(503, ""),
        2 => says(500, "oops"),
        3 => after("0"),
        _ => says(200, r#"{"score": 1.0}"#),
    })
    .await;
    assert_eq!(score(&program.webhook(PACE)).await.unwrap().score, Some(1.0));
    let asked = program.asked.lock().unwrap();
    assert_eq!(asked.len(), 4);
    let keys: Vec<&HeaderValue> = asked.iter().map(|(head, _)| &head.headers[IDEMPOTENCY_KEY]).collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[tokio::test]
async fn it_is_left_alone_for_as_long_as_it_asks() {
    let program = Program::new(|nth| if nth == 1 { after("1") } else { says(200, r#"{"score": 1}"#) }).await;
    let webhook = program.webhook(PACE);
    let begun = Instant::now();
    score(&webhook).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_it_asks_of_one_answer_holds_for_all() {
    let program = Program::new(|nth| if nth == 1 { after("1") } else { says(200, r#"{"score": 1}"#) }).await;
    let webhook = program.webhook(PACE);
    let begun = Instant::now();
    let other = async {
        while program.requests() == 0 || webhook.left_alone().is_none() {
            tokio::task::yield_now().await;
        }
        score(&webhook).await.unwrap();
        begun.elapsed()
    };
    let (first, other) = tokio::join!(score(&webhook), other);
    first.unwrap();
    assert!(other >= Duration::from_secs(1), "{other:?}");
}

#[tokio::test]
async fn who_asks_for_more_time_than_there_is_is_not_asked_again() {
    let program = Program::new(|_| after("3600")).await;
    let failed = score(&program.webhook(PACE)).await.unwrap_err();
    assert!(failed.ends_with(": it answers 429"), "{failed}");
    assert_eq!(program.requests(), 1);
    let webhook = program.webhook(PACE);
    webhook.left_alone().replace(Instant::now() + 2 * PACE.question);
    let failed = score(&webhook).await.unwrap_err();
    assert!(
        failed.ends_with(": it asks to be left alone for longer than a score may take"),
        "{failed}"
    );
    assert_eq!(program.requests(), 1);
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let program = Program::new(|_| None).await;
    let pace = Pace {
        answer: Duration::from_millis(50),
        question: Duration::from_millis(200),
        ..PACE
    };
    let failed = score(&program.webhook(pace)).await.unwrap_err();
    assert!(failed.contains(": no answer within "), "{failed}");
    assert!(program.requests() >= 2);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_tried_until_the_deadline() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let pace = Pace {
        question: Duration::from_millis(50),
        ..PACE
    };
    let webhook = Webhook::new(&format!("http://{address}/?key=secret"), None, pace, || Timestamp::UNIX_EPOCH).unwrap();
    let failed = score(&webhook).await.unwrap_err();
    assert!(
        failed.starts_with(&format!("webhook {address}: it cannot be reached: ")),
        "{failed}"
    );
    assert!(!failed.contains("secret"), "{failed}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Program::new(|_| says(200, r#"{"score": 1}"#)).await;
    let location = format!("http://{}/", other.address);
    for status in [301, 302, 303, 307, 308] {
        let location = location.clone();
        let program = Program::new(move |_| {
            let mut response = says(status, "")?;
            response.headers_mut().insert(header::LOCATION, location.parse().unwrap());
            Some(response)
        })
        .await;
        let failed = score(&program.webhook(PACE)).await.unwrap_err();
        let expected = format!(
            "webhook {}: it answers {status}, a redirect, which is not followed; write the address that it leads to",
            program.address
        );
        assert_eq!((failed, program.requests(), other.requests()), (expected, 1, 0));
    }
}

#[tokio::test]
async fn what_is_no_score_is_refused_at_once_with_its_host_and_nothing_else_of_it() {
    let large = format!(r#"{{"score": 1, "reason": "{}"}}"#, "x".repeat(MOST_BYTES));
    let form = r#"its answer is not JSON of the form {"score": 0.8, "parsed": true, "reason": "…"}"#;
    let missing = "its answer has no score; say a number from 0 to 1";
    let no_number = "its score is no number; say one from 0 to 1";
    for (status, body, problem) in [
        (200, "<html>private: 4</html>", form),
        (200, "", form),
        (204, "", form),
        (200, r#"{"score": 1, "parsed": "private: 4"}"#, form),
        (200, "[1]", form),
        (200, "{}", missing),
        (200, r#"{"score": null}"#, missing),
        (200, r#"{"parsed": true}"#, missing),
        (200, r#"{"score": "private: 4"}"#, no_number),
        (200, r#"{"score": true}"#, no_number),
        (200, r#"{"score": 1.5}"#, "its score is 1.5; say a number from 0 to 1"),
        (
            200,
            r#"{"score": -0.1, "parsed": false}"#,
            "its score is -0.1; say a number from 0 to 1",
        ),
        (200, r#"{"score": NaN}"#, form),
        (200, r#"{"score": 1e999}"#, form),
        (200, &large, "it answers with more than 64 KiB"),
        (400, r#"{"error": "private: 4"}"#, "it answers 400"),
        (401, "private: 4", "it answers 401"),
        (404, "", "it answers 404"),
    ] {
        let body = body.to_owned();
        let program = Program::new(move |_| says(status, &body)).await;
        let failed = score(&program.webhook(PACE)).await.unwrap_err();
        assert_eq!((failed, program.requests()), (format!("webhook {}: {problem}", program.address), 1));
    }
}

#[test]
fn an_answer_in_which_it_found_nothing_has_no_score() {
    for body in [
        r#"{"parsed": false}"#,
        r#"{"parsed": false, "score": 0}"#,
        r#"{"parsed": false, "score": 1}"#,
    ] {
        let nothing = Graded { score: None, reason: None };
        assert_eq!(understand(body.as_bytes()), Attempt::Graded(nothing), "{body}");
    }
}

#[test]
fn a_long_reason_is_shortened() {
    let body = json!({"score": 0, "reason": "ä".repeat(2000)}).to_string();
    match understand(body.as_bytes()) {
        Attempt::Graded(graded) => assert_eq!(graded.reason.unwrap().chars().count(), MOST_REASON),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_url_that_cannot_be_used_is_not_shown_whole() {
    for (url, flaw) in [
        ("ftp://h/", "scorer.webhook.url of h is neither http:// nor https://; write one"),
        (
            "https://user:secret@h/",
            "scorer.webhook.url of h has a user in it; remove it, and name a Secret in secretRef",
        ),
        ("/path?secret", "scorer.webhook.url has no host; write https://host/path"),
        ("http://", "scorer.webhook.url is no URL"),
        ("http:///secret", "scorer.webhook.url is no URL"),
        ("http://h h/?secret", "scorer.webhook.url is no URL"),
    ] {
        assert_eq!(address(url).unwrap_err(), flaw, "{url}");
    }
    assert_eq!(address("https://h:8443/p?secret").unwrap().1, "h:8443");
    assert_eq!(address("HTTPS://[::1]/p").unwrap().1, "[::1]");
}

#[test]
fn a_program_may_say_when_in_seconds_or_by_date() {
    let now: Timestamp = "2026-09-01T00:00:00Z".parse().unwrap();
    for (advice, expected) in [
        ("7", Some(7)),
        (" 0 ", Some(0)),
        ("Tue, 01 Sep 2026 00:01:00 GMT", Some(60)),
        ("Mon, 31 Aug 2026 00:00:00 GMT", Some(0)),
        ("99999999999999", Some(u64::from(u32::MAX))),
        ("-1", None),
        ("soon", None),
    ] {
        let seen = advised(Some(&advice.parse().unwrap()), now);
        assert_eq!(seen, expected.map(Duration::from_secs), "{advice}");
    }
}

#[test]
fn each_answer_of_each_question_has_its_key() {
    let one = key(&ASKED, b"{}");
    assert_eq!(one, key(&ASKED.clone(), b"{}"));
    assert_eq!(one, "\"0a616f9d27ed4111364b5b1586b76fd5\"");
    for other in [
        Asked { run: "s", ..ASKED },
        Asked { target: "phi", ..ASKED },
        Asked { suite: "other", ..ASKED },
        Asked { question: "8", ..ASKED },
        Asked { repeat: 1, ..ASKED },
    ] {
        assert_ne!(key(&other, b"{}"), one, "{other:?}");
    }
    assert_ne!(key(&ASKED, b"{\"answer\": 1}"), one);
}

proptest! {
    #[test]
    fn whatever_it_answers_a_score_is_from_zero_to_one(body in "(\\PC|\\{\"score\": ?-?[0-9]{1,3}(\\.[0-9]{1,3})?(e[0-9]{1,3})?\\}){0,4}") {
        if let Attempt::Graded(graded) = understand(body.as_bytes()) {
            prop_assert!(graded.score.is_none_or(|score| (0.0..=1.0).contains(&score)));
        }
    }
}
