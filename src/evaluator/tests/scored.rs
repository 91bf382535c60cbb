//! Answers that others score.

use axum::body::Bytes;

use super::*;

/// What a program that scores was sent: the token, the key, the body.
type Sent = Arc<Mutex<Vec<(String, String, Value)>>>;

/// A program that says `says` to the n-th request, counted from 1, about an answer.
async fn program(says: impl Fn(usize, &str) -> Response + Send + Sync + 'static) -> (String, Sent) {
    let sent = Sent::default();
    let (noted, says) = (Arc::clone(&sent), Arc::new(says));
    let scores = move |headers: HeaderMap, body: Bytes| {
        let (noted, says) = (Arc::clone(&noted), Arc::clone(&says));
        async move {
            let header = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
            let body: Value = serde_json::from_slice(&body).unwrap();
            let answer = body["answer"].as_str().unwrap().to_owned();
            let nth = {
                let mut noted = noted.lock().unwrap();
                noted.push((header("authorization"), header("idempotency-key"), body));
                noted.len()
            };
            says(nth, &answer)
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/score?key=secret", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/score", post(scores))).await });
    (url, sent)
}

fn says(body: Value) -> Response {
    Json(body).into_response()
}

/// Half of a score for what is not right.
fn half_for_wrong(answer: &str) -> Response {
    says(json!({"score": if answer == "right" { 1.0 } else { 0.5 }, "reason": format!("it says {answer}")}))
}

/// A world whose answers that program scores.
async fn scored_by(url: &str) -> World {
    let mut world = World::new(|_, _, question| thirds(question)).await;
    world.run.suites[0].scorer = Some(serde_json::from_value(json!({"webhook": {"url": url, "secretRef": {"name": "scorer"}}})).unwrap());
    let criterion = json!([{"suite": "claims", "metric": "score", "lowerBoundAtLeast": "0.3"}]);
    world.run.targets[0].criteria = serde_json::from_value(criterion).unwrap();
    let secret = world.folder.0.join("credentials/scorer");
    std::fs::create_dir_all(&secret).unwrap();
    std::fs::write(secret.join("token"), "s3cret\n").unwrap();
    world
}

#[tokio::test]
async fn a_program_scores_each_answer_once_with_the_token_of_its_secret() {
    let (url, sent) = program(|_, answer| half_for_wrong(answer)).await;
    let mut world = scored_by(&url).await;
    world.kept = Some("report");
    let report = world.report().await;
    let result = suite(&report, "llama");
    // Four of twelve are right.
    assert_eq!(
        (result.metrics[0].name.as_str(), result.metrics[0].value.as_str()),
        ("score", "0.667")
    );
    assert_eq!((counts(&report), report.targets[0].verdict), ([12, 0, 0, 0], Verdict::Pass));
    let host = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    assert_eq!(result.protocol, format!("exemplars, scored by webhook {host}"));
    {
        let sent = sent.lock().unwrap();
        assert_eq!(sent.len(), QUESTIONS);
        let keys: std::collections::BTreeSet<&String> = sent.iter().map(|(_, key, _)| key).collect();
        assert_eq!(keys.len(), QUESTIONS);
        assert!(sent.iter().all(|(token, ..)| token == "Bearer s3cret"));
        let (_, _, body) = sent.iter().find(|(_, _, body)| body["id"] == "3").unwrap();
        let expected = json!({"id": "3", "input": [{"role": "user", "content": "question 3"}], "expected": ["right"], "answer": "right", "finish": "stop"});
        assert_eq!(*body, expected);
    }
    let kept = std::fs::read_to_string(world.folder.0.join("report/report.json")).unwrap();
    let kept: Value = serde_json::from_str(&kept).unwrap();
    let samples = kept["samples"].as_array().unwrap();
    assert_eq!(
        samples
            .iter()
            .filter(|one| one["reason"] == "it says right" && one["score"] == 1.0)
            .count(),
        4
    );

    world.report().await;
    assert_eq!(sent.lock().unwrap().len(), QUESTIONS, "what has ended is not scored again");
}

#[tokio::test]
async fn an_answer_without_a_score_is_an_error_that_was_paid_for() {
    let (url, sent) = program(|_, answer| match answer {
        "right" => half_for_wrong(answer),
        _ => (StatusCode::BAD_REQUEST, "private").into_response(),
    })
    .await;
    let world = scored_by(&url).await;
    let line = |n: usize| json!({"id": n, "input": format!("question {n}"), "expected": "right"}).to_string();
    world.dataset(&[0, 3, 6, 9, 1].map(line).join("\n"));
    let report = world.report().await;
    let host = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    assert_eq!(counts(&report), [5, 0, 0, 1]);
    assert_eq!(
        (report.targets[0].verdict, report.tokens(), report.cost),
        (Verdict::Invalid, 500, Some(5 * 190_000))
    );
    let why = format!("1 of 5 requests failed, 1 % of them may (spec.limits.maxErrorRate): llama: webhook {host}: it answers 400");
    assert!(report.targets[0].message.ends_with(&why), "{}", report.targets[0].message);
    assert_eq!(sent.lock().unwrap().len(), 5);
    assert_eq!(report.cost, world.report().await.cost, "also after a restart");
}

#[tokio::test]
async fn a_program_that_never_scores_gives_the_model_up() {
    let (url, sent) = program(|_, _| StatusCode::NOT_FOUND.into_response()).await;
    let report = scored_by(&url).await.report().await;
    assert_eq!(counts(&report), [12, 0, 0, 12]);
    assert!(sent.lock().unwrap().len() <= 3 + super::super::run::AT_ONCE);
}

#[tokio::test]
async fn what_a_program_finds_no_answer_in_is_unparsed() {
    let (url, _) = program(|_, answer| match answer {
        "right" => half_for_wrong(answer),
        _ => says(json!({"parsed": false})),
    })
    .await;
    let report = scored_by(&url).await.report().await;
    assert_eq!((counts(&report), report.targets[0].verdict), ([12, 0, 8, 0], Verdict::Invalid));
}

#[tokio::test]
async fn a_busy_program_is_asked_again_with_the_same_key() {
    let (url, sent) = program(|nth, answer| match nth {
        1 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")]).into_response(),
        _ => half_for_wrong(answer),
    })
    .await;
    let world = scored_by(&url).await;
    assert_eq!(counts(&world.report().await), [12, 0, 0, 0]);
    assert_eq!(world.requests(), QUESTIONS, "the model is asked once");
    let sent = sent.lock().unwrap();
    let mut keys: BTreeMap<&String, usize> = BTreeMap::new();
    sent.iter().for_each(|(_, key, _)| *keys.entry(key).or_default() += 1);
    assert_eq!((keys.len(), keys.values().max()), (QUESTIONS, Some(&2)));
}

#[tokio::test]
async fn a_webhook_that_cannot_be_used_is_named_before_anything_is_asked() {
    let world = scored_by("ftp://scorer/").await;
    let why = "suite claims: scorer.webhook.url of scorer is neither http:// nor https://; write one";
    assert_eq!(world.report().await, Report::invalid(why));
    assert_eq!(world.requests(), 0);
}
