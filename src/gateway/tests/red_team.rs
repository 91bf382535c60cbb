//! A client that wants what it may not have: past a budget, out of a requirement, in another's name. Each way is one that was open in some gateway,
//! and each goes against all three. What counts is what the providers were asked, not what the client was told.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;

use super::engine::{DONE, Do, Engine, WORD, answers, chunk, paris, stream_head};
use super::world::{Answer, World, pass, post, post_to};
use super::{WEB, hash};
use crate::gateway::ApiKeys;
use crate::plan::api_key::ApiKey;

/// One way: its name, the path, headers beside the credentials, and the body.
type Way = (&'static str, String, Vec<(&'static str, &'static str)>, String);

/// A request whose answer may have one token.
const ONE: &str = r#"{"model":"assistant","max_tokens":1,"messages":[{"role":"user","content":"x"}]}"#;

/// What each operation that a model is asked by takes.
const OPERATIONS: [(&str, &str); 7] = [
    ("/v1/chat/completions", ONE),
    ("/v1/completions", r#"{"model":"assistant","max_tokens":1,"prompt":"x"}"#),
    ("/v1/responses", r#"{"model":"assistant","max_output_tokens":1,"input":"x"}"#),
    (
        "/v1/responses",
        r#"{"model":"assistant","max_output_tokens":1,"input":"x","background":true,"store":true}"#,
    ),
    ("/v1/embeddings", r#"{"model":"assistant","input":"x"}"#),
    ("/v1/messages", ONE),
    (
        "/v1/messages/count_tokens",
        r#"{"model":"assistant","messages":[{"role":"user","content":"x"}]}"#,
    ),
];

/// Every way to ask for the same once more.
fn ways() -> Vec<Way> {
    let mut ways: Vec<Way> = Vec::new();
    let mut way = |name, path: &str, headers: &[(&'static str, &'static str)], body: String| {
        ways.push((name, path.to_owned(), headers.to_vec(), body));
    };
    for (path, body) in OPERATIONS {
        way("another operation", path, &[], body.to_owned());
        way("a stream", path, &[], body.replacen('{', r#"{"stream":true,"#, 1));
        way(
            "what nobody looks at",
            path,
            &[],
            body.replacen('{', r#"{"stream":"true","service_tier":"flex","store":false,"#, 1),
        );
    }
    // Aliases, other spellings, and the names on the other side.
    for name in [
        "Assistant",
        "ASSISTANT",
        " assistant",
        "assistant ",
        "assistant\\n",
        "assistant\\u0000",
        "claims/assistant",
        "assistant:paid",
        "assistant/paid",
        "paid",
        "claims/paid",
        "claims/paid:x",
        "claims//paid",
        "/paid",
        "claims/paid ",
        "other/paid",
        "upstream-name",
        "openai/upstream-name",
        "models/upstream-name",
        "*",
        "",
    ] {
        way(
            "another name",
            "/v1/chat/completions",
            &[],
            ONE.replace("\"assistant\"", &format!("\"{name}\"")),
        );
    }
    // The first name is looked at and the last one is sent, or the other way round.
    for twice in [
        r#""model":"assistant","model":"claims/paid","#,
        r#""model":"claims/paid","model":"assistant","#,
        r#""model":"free","model":"assistant","#,
    ] {
        way(
            "two names",
            "/v1/chat/completions",
            &[],
            ONE.replace(r#""model":"assistant","#, twice),
        );
    }
    way(
        "a name in another case",
        "/v1/chat/completions",
        &[],
        ONE.replace("\"model\"", "\"Model\""),
    );
    way(
        "an escaped field",
        "/v1/chat/completions",
        &[],
        ONE.replace("\"model\"", "\"mod\\u0065l\""),
    );
    // Passed on as they are by gateways that look only at some.
    for path in [
        "/openai/v1/chat/completions",
        "/v1//chat/completions",
        "/v1/chat/completions/",
        "/v1/chat/./completions",
        "/v1/chat/../chat/completions",
        "/v1/chat%2Fcompletions",
        "/V1/chat/completions",
        "/v1/chat/completions;x",
        "/chat/completions",
        "/v1/files",
        "/v1/batches",
        "/v1/fine_tuning/jobs",
        "/v1/images/generations",
        "/v1/audio/speech",
        "/v1/assistants",
        "/v1/threads",
        "/v1/realtime",
        "/v1/rerank",
        "/v1/messages/batches",
        "/openai/deployments/paid/chat/completions",
        "/v1beta/models/paid:generateContent",
        "/model/paid/converse",
        "/anthropic/v1/messages",
        "/passthrough/v1/chat/completions",
        "/v1/models/paid",
    ] {
        way("another path", path, &[], ONE.to_owned());
    }
    way(
        "a query",
        "/v1/chat/completions?model=claims/paid&api-version=x",
        &[],
        ONE.to_owned(),
    );
    // What a gateway, or a proxy before it, tells itself by.
    for header in [
        ("x-portfolio-model", "claims/paid"),
        ("x-portfolio-cost-usd", "0"),
        ("x-portfolio-attempts", "0"),
        ("x-portfolio-cache", "hit"),
        ("x-data-class", "Public"),
        ("x-data-class", "Internal"),
        ("x-forwarded-user", "admin"),
        ("x-remote-user", "system:masters"),
        ("impersonate-user", "admin"),
        ("x-team", "rich"),
        ("x-portfolio-team", "rich"),
        ("x-original-url", "/healthz"),
        ("x-http-method-override", "GET"),
        ("host", "localhost"),
        ("forwarded", "for=127.0.0.1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("cache-control", "no-cache"),
        ("idempotency-key", "1"),
        ("openai-organization", "other"),
        ("x-stainless-retry-count", "9"),
        ("connection", "x-data-class"),
        ("te", "trailers"),
        ("anthropic-version", "2023-06-01"),
        ("content-type", "text/plain"),
    ] {
        way("a header", "/v1/chat/completions", &[header], ONE.to_owned());
    }
    // Numbers that make a request look cheap.
    for most in [
        "0",
        "-1",
        "null",
        "\"1\"",
        "0.1",
        "1e-400",
        "-0",
        "18446744073709551617",
        "[]",
        "{}",
    ] {
        way(
            "a number of tokens",
            "/v1/chat/completions",
            &[],
            ONE.replace("\"max_tokens\":1", &format!("\"max_tokens\":{most}")),
        );
        let both = format!("\"max_tokens\":1,\"max_completion_tokens\":{most},\"n\":{most}");
        way("two numbers", "/v1/chat/completions", &[], ONE.replace("\"max_tokens\":1", &both));
    }
    way(
        "two of one number",
        "/v1/chat/completions",
        &[],
        ONE.replace("\"max_tokens\":1", "\"max_tokens\":0,\"max_tokens\":1"),
    );
    ways
}

/// Takes every way with these credentials; whatever becomes of it is no crash.
async fn all_ways(world: &World, as_whom: &[(&'static str, &'static str)]) -> Vec<(String, Answer)> {
    each_way(world, as_whom, ways()).await
}

/// Takes every sixth of them, from that on.
async fn some_ways(world: &World, as_whom: &[(&'static str, &'static str)], from: usize) -> Vec<(String, Answer)> {
    each_way(world, as_whom, ways().into_iter().skip(from % 6).step_by(6)).await
}

async fn each_way(world: &World, as_whom: &[(&'static str, &'static str)], ways: impl IntoIterator<Item = Way>) -> Vec<(String, Answer)> {
    let mut answers = Vec::new();
    for (name, path, headers, body) in ways {
        let headers: Vec<(&str, &str)> = as_whom.iter().chain(&headers).copied().collect();
        let answer = Answer::read(world.call(post_to(&path, &headers, &body)).await).await;
        let told = format!("{name}: {path} {headers:?} {body}");
        assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{told}: {}", answer.text);
        answers.push((told, answer));
    }
    answers
}

/// A provider's model `paid`, which takes a dollar for each token, one of our own, `free`, and direct calls for evaluations only.
fn world(paid: &Engine, free: &Engine) -> World {
    let world = World::new();
    world.settings.lock().unwrap().direct_callers = vec!["evaluations".to_owned()];
    let price = "price: {inputPer1M: '1000000', outputPer1M: '1000000'}";
    let api = format!("provider: OpenAICompatible, model: upstream-name, endpoint: '{}/v1'", paid.url);
    world.provider("paid", &format!("{{api: {{{api}}}, {price}}}"));
    world.pod("free", &[&free.url]);
    world
}

async fn engines() -> (Engine, Engine) {
    (Engine::start(paris()).await, Engine::start(paris()).await)
}

/// An answer that takes all of a budget of fifty dollars, or tokens.
fn fifty() -> Vec<Do> {
    let usage = r#""usage":{"prompt_tokens":49,"completion_tokens":1}"#;
    let answer = format!(r#"{{"choices":[{{"index":0,"message":{{"role":"assistant","content":"x"}}}}],{usage}}}"#);
    answers(200, "", &answer)
}

const ONLY_PAID: &str = "rules: [{targets: [{model: paid}]}]";

#[tokio::test]
async fn no_way_goes_past_a_budget_that_is_used_up() {
    for budget in [
        "per: Policy, usd: '50'",
        "per: Client, usd: '50'",
        "per: Namespace, usd: '50'",
        "per: Team, tokens: 50",
    ] {
        let (paid, free) = engines().await;
        let world = world(&paid, &free);
        paid.once_does(fifty());
        world.route(&format!(
            "{ONLY_PAID}, budgets: [{{{budget}, window: Day}}], cache: {{mode: Exact, for: 10m}}"
        ));
        assert_eq!(world.ask(ONE).await.status, StatusCode::OK, "{budget}");
        for (told, answer) in all_ways(&world, &WEB).await {
            let is_paid_for = answer.header("x-portfolio-cache") == "hit" || told.contains("count_tokens");
            assert!(is_paid_for || !answer.status.is_success(), "{budget}: {told}: {}", answer.text);
        }
        assert_eq!(paid.requests() - counted(&paid), 1, "{budget}");
        assert_eq!(free.requests(), 0, "{budget}: it is no model of the policy");
    }
}

/// How often a provider was asked to count tokens, which it does for nothing.
fn counted(engine: &Engine) -> usize {
    engine.paths().iter().filter(|path| path.contains("count_tokens")).count()
}

#[tokio::test]
async fn failures_fallbacks_hang_ups_and_retries_are_no_free_attempts() {
    let go = Arc::new(Semaphore::new(0));
    for (how, script) in [
        ("nothing comes back", vec![Do::Close]),
        ("half an answer comes back", vec![stream_head(), chunk(WORD), Do::Close]),
        ("a server error", answers(500, "", "{}")),
        ("something that is no answer", answers(200, "", "<html>")),
        (
            "a stream that is hung up on",
            vec![stream_head(), chunk(WORD), Do::Wait(go.clone()), chunk(DONE), Do::Close],
        ),
    ] {
        let (paid, free) = engines().await;
        let world = world(&paid, &free);
        paid.now_does(script);
        let rules = "rules: [{targets: [{model: paid}], fallback: [{model: paid}]}], retries: {attempts: 1, budgetPercent: 100}";
        world.route(&format!("{rules}, budgets: [{{per: Policy, usd: '60', window: Day}}]"));
        for _ in 0..8 {
            let body = ONE.replacen('{', r#"{"stream":true,"#, 1);
            let mut answer = world.call(post(&WEB, &body)).await.into_body();
            answer.frame().await;
            drop(answer);
            // The endpoint that failed rests.
            pass(Duration::from_secs(120)).await;
        }
        // What cost nothing may be tried again; nothing is sent for more than there is, but for what the last answer has beyond what it may have.
        let spent = world
            .metric("portfolio_gateway_budget_spent_ratio{policy=\"claims/assistant\",budget=\"1\"}")
            .await;
        assert!(spent < 1.4, "{how}: {spent}");
        let is_charged = !how.contains("server error") && !how.contains("nothing");
        assert!(!is_charged || paid.requests() <= 4, "{how}: {}", paid.requests());
        assert_eq!(free.requests(), 0, "{how}");
    }
}

#[tokio::test]
async fn no_way_takes_data_to_where_it_may_not_be() {
    const MATRIX: &str = "{dataClasses: {Public: {}, Internal: {}, Personal: {classes: [Open, Custom]}}, directCallers: [evaluations]}";
    for (at, (how, script)) in [
        ("well", paris()),
        ("failing", answers(500, "", "{}")),
        ("full", answers(429, "", "{}")),
        (
            "too small",
            answers(400, "", r#"{"error":{"message":"m","code":"context_length_exceeded"}}"#),
        ),
        ("gone", vec![Do::Close]),
    ]
    .into_iter()
    .enumerate()
    {
        for (by, policy) in [
            ("class of data", ""),
            ("requirement", "require: {classes: [Open, Custom]}, "),
            ("requirement of jurisdiction", "require: {jurisdictions: [EU]}, "),
        ] {
            let (paid, free) = engines().await;
            let world = world(&paid, &free);
            free.now_does(script.clone());
            if policy.is_empty() {
                *world.settings.lock().unwrap() = serde_saphyr::from_str(MATRIX).unwrap();
                world.namespaces.lock().unwrap().insert("claims".to_owned(), "Personal".to_owned());
            }
            // It is everywhere that a model may be named.
            world.route(&format!(
                "{policy}rules: [{{strategy: LeastCost, targets: [{{model: free}}, {{model: paid}}], fallback: [{{model: paid}}]}}], sticky: {{by: Conversation}}, retries: {{attempts: 0}}, \
                 warmup: {{mode: Spill, targets: [{{model: paid}}]}}, \
                 budgets: [{{per: Policy, tokens: 1, window: Day, onExhausted: {{action: Downgrade, targets: [{{model: paid}}]}}}}]"
            ));
            match how {
                "well" => all_ways(&world, &WEB).await,
                _ => some_ways(&world, &WEB, at).await,
            };
            assert_eq!(paid.requests(), 0, "{by}, while ours is {how}");
        }
    }
}

#[tokio::test]
async fn nobody_is_somebody_else() {
    let (paid, free) = engines().await;
    let world = world(&paid, &free);
    let key = |name: &str, team: &str| ApiKey {
        name: name.to_owned(),
        labels: [("team".to_owned(), team.to_owned())].into(),
        ..ApiKey::default()
    };
    let keys = ApiKeys::new([(hash("sk-rich"), key("rich", "rich")), (hash("sk-poor"), key("poor", "poor"))]);
    world.source.api_keys.send_replace(keys.into());
    world.route(&format!(
        "clients: [{{serviceAccounts: {{namespaces: [claims], names: [web]}}}}, {{apiKeys: {{matchLabels: {{team: rich}}}}}}], {ONLY_PAID}"
    ));
    let hashed: &'static str = hash("sk-rich").leak();
    let strangers: [&[(&str, &str)]; 18] = [
        &[],
        &[("authorization", "Bearer other.x.web")],
        &[("authorization", "Bearer claims.x.batch")],
        &[("authorization", "Bearer claims.x.web2")],
        &[("authorization", "Bearer stranger.x.web")],
        &[("authorization", "Bearer ")],
        &[("authorization", "Bearer")],
        &[("authorization", "Basic claims.x.web")],
        &[("authorization", "claims.x.web")],
        &[("authorization", "Bearer claims.x.batch, Bearer claims.x.web")],
        &[("authorization", "Bearer sk-poor")],
        &[("authorization", "Bearer sk-RICH")],
        &[("authorization", "Bearer sk-ric")],
        &[("authorization", "Bearer sk-rich2")],
        &[("x-api-key", hashed)],
        &[("authorization", "Bearer sk-poor"), ("x-api-key", "sk-rich")],
        &[("cookie", "token=claims.x.web"), ("x-goog-api-key", "sk-rich")],
        &[("proxy-authorization", "Bearer claims.x.web")],
    ];
    for (at, whom) in strangers.into_iter().enumerate() {
        for (told, answer) in some_ways(&world, whom, at).await {
            assert!(!answer.status.is_success(), "{told}: {}", answer.text);
        }
    }
    assert_eq!((paid.requests(), free.requests()), (0, 0));

    // Those who may, may; a key that is taken away is worth nothing at once, and a token that is refused once is nobody's.
    for whom in [[("authorization", "Bearer claims.x.web")], [("x-api-key", "sk-rich")]] {
        assert_eq!(world.ask_with(&whom, ONE).await.status, StatusCode::OK);
    }
    world.source.api_keys.send_replace(ApiKeys::default().into());
    assert_eq!(
        world.ask_with(&[("x-api-key", "sk-rich")], ONE).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(paid.requests(), 2);
}

#[tokio::test]
async fn no_way_spends_in_anothers_name() {
    let (paid, free) = engines().await;
    let world = world(&paid, &free);
    paid.once_does(fifty());
    world.route(&format!(
        "{ONLY_PAID}, budgets: [{{per: Client, usd: '50', window: Day}}], limits: [{{per: Client, concurrent: 4}}]"
    ));
    assert_eq!(world.ask(ONE).await.status, StatusCode::OK);
    for (told, answer) in all_ways(&world, &WEB).await {
        assert!(
            told.contains("count_tokens") || !answer.status.is_success(),
            "{told}: {}",
            answer.text
        );
    }
    // The other one has all of its own.
    let other = world.ask_with(&[("authorization", "Bearer claims.x.batch")], ONE).await;
    assert_eq!(other.status, StatusCode::OK, "{}", other.text);
    assert_eq!(paid.requests() - counted(&paid), 2);
}
