//! No way around a budget or a limit: not by many requests at once, streams, hanging up, retries, fallbacks, or restarts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use http::StatusCode;
use http_body_util::BodyExt;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::Semaphore;

use super::engine::{CONTENT, DONE, Do, Engine, WORD, answers, chunk, paris, stream_head, streams};
use super::world::{Answer, World, post, post_to};
use super::{A_THEN_B, ASK, ONLY_A, WEB};
use crate::api::ledger::OnFailure;
use crate::gateway::{BadLedger, InFile, Memory, Options, Store, Unavailable};
use crate::plan::ledger::{Account, Ask, Grant};

/// A request whose answer may have one token, for which a model behind an API takes a dollar.
const ONE: &str = r#"{"model":"assistant","max_tokens":1,"messages":[]}"#;
const STREAMED: &str = r#"{"model":"assistant","max_tokens":1,"messages":[],"stream":true}"#;
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n";

fn budget(fields: &str) -> String {
    format!("{ONLY_A}, budgets: [{{per: Policy, window: Day, {fields}}}]")
}

impl World {
    /// A model behind an API, in namespace `claims`, which takes so many dollars for a million tokens of prompts and answers.
    fn priced(&self, name: &str, url: &str, input: &str, output: &str) {
        let price = format!("price: {{inputPer1M: '{input}', outputPer1M: '{output}'}}");
        self.provider(
            name,
            &format!("{{api: {{provider: OpenAICompatible, model: x, endpoint: '{url}/v1'}}, {price}}}"),
        );
    }

    /// A gateway over a model `a` that takes a dollar for each token of an answer.
    fn dollar(engine: &Engine, spec: &str, change: impl FnOnce(&mut Options)) -> Self {
        let world = Self::with(change);
        world.priced("a", &engine.url, "0", "1000000");
        world.route(spec);
        world
    }
}

/// The refusal for lack of money; what it says.
fn exhausted(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{}", answer.text);
    let (code, message) = answer.error();
    assert_eq!(code, "budget_exhausted", "{message}");
    message
}

#[tokio::test]
async fn thirty_two_at_once_on_a_budget_for_three_are_three() {
    let engine = Engine::start(paris()).await;
    let world = World::dollar(&engine, &budget("usd: '3'"), |_| {});
    let answers = join_all((0..32).map(|_| world.ask(ONE))).await;
    let good = answers.iter().filter(|answer| answer.status == StatusCode::OK).count();
    assert_eq!((good, engine.requests()), (3, 3));
    answers.iter().filter(|answer| answer.status != StatusCode::OK).for_each(|answer| {
        exhausted(answer);
    });
    let last = world.ask(ONE).await;
    assert_eq!(
        exhausted(&last),
        "the budget 1 of RoutingPolicy claims/assistant, 3 US dollars per Day, has 0 US dollars left, and this request to a may cost \
         1 US dollars: it begins anew at 1970-01-02T00:00:00Z; ask whoever keeps the policy for more (spec.budgets), or allow a shorter answer"
    );
    assert_eq!((last.header("retry-after"), last.header("x-should-retry")), ("86400", "false"));
    let ratio = world
        .metric("portfolio_gateway_budget_spent_ratio{policy=\"claims/assistant\",budget=\"1\"}")
        .await;
    assert!((ratio - 1.0).abs() < 1e-9, "{ratio}");
}

#[tokio::test]
async fn several_gateways_with_one_store_spend_one_budget() {
    let engine = Engine::start(paris()).await;
    let store = Memory::default();
    let gateway = || World::dollar(&engine, &budget("usd: '40'"), |options| options.ledger = Arc::new(store.clone()));
    let worlds = [gateway(), gateway(), gateway()];
    for _ in 0..20 {
        join_all(worlds.iter().map(|world| world.ask(ONE))).await;
    }
    assert!((30..=40).contains(&engine.requests()), "{}", engine.requests());
    // What two of them have taken and not used the third may spend when they end.
    worlds[0].gateway.give_back().await;
    worlds[1].gateway.give_back().await;
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    for _ in 0..20 {
        worlds[2].ask(ONE).await;
    }
    assert_eq!(engine.requests(), 40);
}

#[tokio::test]
async fn a_stream_counts_with_its_report() {
    let engine = Engine::start(streams(&[WORD, USAGE, DONE])).await;
    let world = World::dollar(&engine, &budget("usd: '2'"), |_| {});
    for _ in 0..2 {
        assert_eq!(world.ask(STREAMED).await.status, StatusCode::OK);
    }
    exhausted(&world.ask(STREAMED).await);
    assert_eq!(engine.requests(), 2);
}

#[tokio::test]
async fn whoever_hangs_up_has_spent_what_came() {
    let engine = Engine::start(vec![stream_head(), chunk(WORD), Do::Hang]).await;
    let world = World::dollar(&engine, &budget("usd: '2'"), |_| {});
    let mut body = world.call(post(&WEB, STREAMED)).await.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    engine.until(|counts| counts.hung_up == 1).await;
    // Five bytes are two tokens.
    exhausted(&world.ask(STREAMED).await);

    let silent = Engine::start(vec![Do::Hang]).await;
    let world = World::with(|_| {});
    world.priced("a", &silent.url, "1000000", "0");
    // The estimate of this prompt is 22 tokens.
    world.route(&budget("usd: '30'"));
    let hung_up = tokio::time::timeout(Duration::from_millis(300), world.ask(ASK)).await;
    assert!(hung_up.is_err());
    silent.until(|counts| counts.hung_up == 1).await;
    exhausted(&world.ask(ASK).await);
}

/// A request whose answer may have five tokens.
const FIVE: &str = r#"{"model":"assistant","max_tokens":5,"messages":[]}"#;
const FIVE_STREAMED: &str = r#"{"model":"assistant","max_tokens":5,"messages":[],"stream":true}"#;

#[tokio::test]
async fn what_nobody_has_seen_of_an_answer_counts_as_the_longest() {
    let cut = vec![
        Do::Send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{".to_owned()),
        Do::Close,
    ];
    let garbled = answers(200, "", "no answer");
    let compressed = answers(200, "content-encoding: gzip\r\n", "x");
    for (name, script, body, timeouts) in [
        ("the client hangs up", vec![Do::Hang], FIVE, "timeouts: {}"),
        ("its stream does too", vec![Do::Hang], FIVE_STREAMED, "timeouts: {}"),
        ("the time is over", vec![Do::Hang], FIVE, "timeouts: {total: 100ms}"),
        (
            "it thinks too long",
            vec![stream_head(), Do::Hang],
            FIVE_STREAMED,
            "timeouts: {firstToken: 100ms}",
        ),
        ("it breaks off", cut, FIVE, "retries: {attempts: 0}"),
        ("it is garbled", garbled, FIVE, "retries: {attempts: 0}"),
        ("it is compressed", compressed, FIVE, "retries: {attempts: 0}"),
    ] {
        let engine = Engine::start(script).await;
        let world = World::dollar(&engine, &format!("{timeouts}, {}", budget("usd: '9'")), |_| {});
        let is_hung_up = timeouts == "timeouts: {}";
        if is_hung_up {
            let hung_up = tokio::time::timeout(Duration::from_millis(300), world.ask(body)).await;
            assert!(hung_up.is_err(), "{name}");
            engine.until(|counts| counts.hung_up == 1).await;
        } else {
            assert!(world.ask(body).await.status.is_server_error(), "{name}");
        }
        let told = exhausted(&world.ask(body).await);
        assert!(told.contains("has 4 US dollars left"), "{name}: {told}");
        let line = "portfolio_gateway_tokens_total{policy=\"claims/assistant\",model=\"claims/a\",kind=\"output\"}";
        assert_eq!(world.metric(line).await as u32, 5, "{name}");
        let line = "portfolio_gateway_cost_usd_total{policy=\"claims/assistant\",model=\"claims/a\"}";
        assert!((world.metric(line).await - 5.0).abs() < 1e-9, "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_is_made_in_the_background_costs_what_was_kept_for_it() {
    let receipt = r#"{"id":"resp_1","object":"response","status":"queued","background":true,"output":[],"usage":null}"#;
    let engine = Engine::start(answers(200, "", receipt)).await;
    let world = World::with(|_| {});
    world.api_with_key("a", "OpenAI", &engine.url);
    let price = "price: {inputPer1M: '0', outputPer1M: '1000000'}";
    let api = format!(
        "{{api: {{provider: OpenAI, model: x, endpoint: '{}/v1', credentials: {{secretRef: {{name: s, key: k}}}}}}, {price}}}",
        engine.url
    );
    world.provider("a", &api);
    world.route(&budget("usd: '90'"));
    let asked = r#"{"model":"assistant","background":true,"max_output_tokens":50,"input":"x"}"#;
    let answer = world.ask_at("/v1/responses", asked).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, receipt));
    assert_eq!(
        (answer.header("x-portfolio-cost-usd"), answer.header("x-portfolio-estimated")),
        ("unknown", "true")
    );
    let told = exhausted(&world.ask_at("/v1/responses", asked).await);
    assert!(told.contains("has 40 US dollars left"), "{told}");
}

#[tokio::test]
async fn a_longer_answer_than_asked_for_is_paid_from_what_comes_next() {
    let long =
        r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Paris"}}],"usage":{"prompt_tokens":3,"completion_tokens":3}}"#;
    let engine = Engine::start(answers(200, "", long)).await;
    let world = World::dollar(&engine, &budget("usd: '4'"), |_| {});
    assert_eq!(world.ask(ONE).await.status, StatusCode::OK);
    assert_eq!(world.ask(ONE).await.status, StatusCode::OK);
    exhausted(&world.ask(ONE).await);
}

#[tokio::test]
async fn a_retry_is_paid_for_like_the_attempt_before_it() {
    let cut = vec![Do::Send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_owned()), Do::Close];
    let pods = [Engine::start(cut.clone()).await, Engine::start(cut).await];
    let asked = |usd: &'static str| {
        let pods = &pods;
        async move {
            let before = pods[0].requests() + pods[1].requests();
            let world = World::new();
            world.pod("a", &[&pods[0].url, &pods[1].url]);
            let price = "price: {inputPer1M: '1000000', outputPer1M: '0'}";
            world.model("a", &format!("{{selfHosted: {{engine: {{kind: VLLM}}}}, {price}}}"), "{}");
            world.route(&format!(
                "{}, retries: {{attempts: 3, budgetPercent: 100}}",
                budget(&format!("usd: '{usd}'"))
            ));
            let answer = world.ask(ASK).await;
            (answer, pods[0].requests() + pods[1].requests() - before)
        }
    };
    // 22 tokens of the prompt by an estimate, a dollar each.
    let (answer, attempts) = asked("50").await;
    assert_eq!((answer.error().0.as_str(), attempts), ("upstream_failed", 2));
    let (answer, attempts) = asked("30").await;
    exhausted(&answer);
    assert_eq!(attempts, 1);
}

#[tokio::test]
async fn a_fallback_is_paid_for_at_its_own_price() {
    let (a, b) = (Engine::start(answers(500, "", "{}")).await, Engine::start(paris()).await);
    let world = World::with(|_| {});
    world.priced("a", &a.url, "0", "1");
    world.priced("b", &b.url, "0", "1000000");
    world.route(&format!("{A_THEN_B}, budgets: [{{per: Policy, window: Day, usd: '0.5'}}]"));
    let answer = world.ask(ONE).await;
    let message = exhausted(&answer);
    assert!(message.contains("this request to b may cost 1 US dollars"), "{message}");
    assert_eq!((a.requests(), b.requests(), answer.header("x-portfolio-attempts")), (1, 0, "1"));
}

#[tokio::test]
async fn all_answers_that_are_asked_for_are_reckoned_with() {
    let engine = Engine::start(paris()).await;
    let world = World::dollar(&engine, &budget("usd: '3'"), |_| {});
    for body in [
        r#"{"model":"assistant","max_tokens":4,"messages":[]}"#,
        r#"{"model":"assistant","max_tokens":2,"n":2,"messages":[]}"#,
        r#"{"model":"assistant","max_tokens":1,"max_completion_tokens":9,"messages":[]}"#,
        // Whoever says nothing may get 1000 tokens.
        r#"{"model":"assistant","messages":[]}"#,
    ] {
        exhausted(&world.ask(body).await);
    }
    exhausted(
        &world
            .ask_at(
                "/v1/completions",
                r#"{"model":"assistant","max_tokens":1,"prompt":["a","b","c","d"]}"#,
            )
            .await,
    );
    assert_eq!(engine.requests(), 0);
    assert_eq!(world.ask(ONE).await.status, StatusCode::OK, "what was refused took nothing");
}

#[tokio::test]
async fn tools_that_a_provider_bills_get_nothing_of_a_budget_in_dollars() {
    let (engine, price) = (Engine::start(paris()).await, "price: {inputPer1M: '0', outputPer1M: '1000000'}");
    let asked = |more: &str| format!(r#"{{"model":"assistant","max_tokens":1,"max_output_tokens":1,"messages":[],"input":"x",{more}}}"#);
    let tools = |tools: &str| asked(&format!(r#""tools":[{tools}]"#));
    let anthropic = ("Anthropic", "/v1/messages");
    let openai = ("OpenAI", "/v1/responses");
    for ((provider, path), body, is_known) in [
        (anthropic, tools(r#"{"name":"web_search","input_schema":{}}"#), true),
        (anthropic, tools(r#"{"type":"web_search_20250305","name":"web_search"}"#), false),
        (
            anthropic,
            tools(r#"{"type":"code_execution_20250825","name":"code_execution"}"#),
            false,
        ),
        (openai, tools(r#"{"type":"function","name":"web_search"}"#), true),
        (openai, tools(r#"{"type":"function","name":"f"},{"type":"web\u005fsearch"}"#), false),
        (openai, tools(r#"{"type":"file_search","vector_store_ids":["v"]}"#), false),
        (openai, asked(r#""prompt":{"id":"pmpt_1"}"#), false),
    ] {
        for (limit, is_in_dollars) in [
            (budget("usd: '3'"), true),
            // What only one protocol has cannot be reckoned, and is refused for that.
            (format!("{ONLY_A}, require: {{maxCostPerRequestUSD: '3'}}"), true),
            (budget("tokens: 5000"), false),
        ] {
            let world = World::with(|_| {});
            world.provider(
                "a",
                &format!(
                    "{{api: {{provider: {provider}, model: x, endpoint: '{}/v1'}}, {price}}}",
                    engine.url
                ),
            );
            world.route(&limit);
            let before = engine.requests();
            let answer = world.ask_at(path, &body).await;
            match is_known || !is_in_dollars {
                true => assert_eq!(engine.requests(), before + 1, "{path} {body} {limit}: {}", answer.text),
                false => {
                    assert_eq!(engine.requests(), before, "{path} {body} {limit}");
                    let is_told = answer.text.contains("tools of the provider") || limit.contains("maxCost");
                    assert!(is_told, "{path} {body} {limit}: {}", answer.text);
                }
            }
        }
    }
}

#[tokio::test]
async fn what_a_model_declares_bounds_its_answers() {
    let engine = Engine::start(paris()).await;
    let world = World::with(|_| {});
    let spec = "capabilities: {maxOutputTokens: 2}, price: {inputPer1M: '0', outputPer1M: '1000000'}";
    world.pod_with("a", &engine.url, spec);
    world.route(&budget("usd: '3'"));
    assert_eq!(world.ask(ASK).await.status, StatusCode::OK);
    assert_eq!(world.ask(ASK).await.status, StatusCode::OK, "two dollars kept, one spent");
    exhausted(&world.ask(ASK).await);
}

#[tokio::test]
async fn a_model_whose_price_is_not_known_gets_nothing_of_a_budget_in_dollars() {
    let (engine, own) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::with(|_| {});
    let api = format!("{{api: {{provider: OpenAICompatible, model: x, endpoint: '{}/v1'}}}}", engine.url);
    world.provider("a", &api);
    world.pod("b", &[&own.url]);
    world.route(&budget("usd: '5'"));
    let answer = world.ask(ONE).await;
    let (code, message) = answer.error();
    assert_eq!((answer.status.as_u16(), code.as_str()), (503, "no_eligible_model"));
    assert!(
        message.contains("a has no known price") && message.contains("set spec.price of the ModelDeployment"),
        "{message}"
    );
    // Our own pods cost nothing by the request.
    world.route(&format!("{A_THEN_B}, budgets: [{{per: Policy, window: Day, usd: '0'}}]"));
    let answer = world.ask(ONE).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-portfolio-model")), (200, "claims/b"));
    // A dearer tier has no known price.
    world.priced("a", &engine.url, "1", "1");
    world.route(&budget("usd: '5'"));
    let answer = world
        .ask(r#"{"model":"assistant","service_tier":"priority","max_tokens":1,"messages":[]}"#)
        .await;
    assert_eq!(answer.error().0, "unknown_price");
    assert_eq!(engine.requests(), 0);
}

#[tokio::test]
async fn a_used_up_budget_goes_on_with_cheaper_models_that_fulfil_the_requirements() {
    let (a, own) = (Engine::start(paris()).await, Engine::start(paris()).await);
    for amount in ["usd: '1'", "tokens: 15"] {
        let world = World::with(|_| {});
        world.priced("a", &a.url, "0", "1000000");
        world.pod("b", &[&own.url]);
        let downgrade = budget(&format!("{amount}, onExhausted: {{action: Downgrade, targets: [{{model: b}}]}}"));
        world.route(&downgrade);
        for model in ["claims/a", "claims/b", "claims/b"] {
            assert_eq!(world.ask(ONE).await.header("x-portfolio-model"), model, "{amount}");
        }
        world.route(&format!("{downgrade}, require: {{tiers: [Regulated]}}"));
        assert_eq!(world.ask(ONE).await.error().0, "no_eligible_model");
    }
    // What it goes on with must fit too.
    let world = World::with(|_| {});
    world.priced("a", &a.url, "0", "1000000");
    world.priced("b", &own.url, "0", "900000");
    world.route(&budget("usd: '0.5', onExhausted: {action: Downgrade, targets: [{model: b}]}"));
    let message = exhausted(&world.ask(ONE).await);
    assert!(message.contains("this request to b may cost 0.9"), "{message}");
}

#[tokio::test]
async fn a_downgrade_to_a_model_that_does_not_fulfil_the_requirements_refuses() {
    let (a, own) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::with(|_| {});
    let price = "tier: Regulated, price: {inputPer1M: '0', outputPer1M: '1000000'}";
    world.pod_with("a", &a.url, price);
    world.pod("b", &[&own.url]);
    let downgrade = budget("usd: '0.5', onExhausted: {action: Downgrade, targets: [{model: b}]}");
    world.route(&format!("{downgrade}, require: {{tiers: [Regulated]}}"));
    exhausted(&world.ask(ONE).await);
    assert_eq!((a.requests(), own.requests()), (0, 0));
}

#[tokio::test]
async fn a_downgrade_is_held_to_the_rule_and_to_the_class_of_the_data_as_every_other_model_is() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::with(|_| {});
    world.pod_with("a", &a.url, "tier: Regulated, price: {inputPer1M: '0', outputPer1M: '1000000'}");
    world.pod("b", &[&b.url]);
    *world.settings.lock().unwrap() = serde_saphyr::from_str("{dataClasses: {Internal: {}, Personal: {tiers: [Regulated]}}}").unwrap();
    let spent = "usd: '0.5', onExhausted: {action: Downgrade, targets: [{model: b}]}";
    world.route(&budget(spent));
    let personal = [("authorization", "Bearer claims.x.web"), ("x-data-class", "Personal")];
    exhausted(&world.ask_with(&personal, ONE).await);
    assert_eq!((a.requests(), b.requests()), (0, 0));
    assert_eq!(
        world.ask(ONE).await.header("x-portfolio-model"),
        "claims/b",
        "other data may go there"
    );
    world.route(&budget(spent).replace("targets: [{model: a}]", "require: {tiers: [Regulated]}, targets: [{model: a}]"));
    exhausted(&world.ask(ONE).await);
    assert_eq!((a.requests(), b.requests()), (0, 1));
}

#[tokio::test]
async fn each_client_has_its_own_and_names_do_not_mix() {
    let engine = Engine::start(paris()).await;
    let clients = "clients: [{serviceAccounts: {namespaces: [claims, fraud]}}]";
    let world = World::dollar(
        &engine,
        &format!("{clients}, {}", budget("usd: '1'").replace("per: Policy", "per: Client")),
        |_| {},
    );
    for token in ["claims.x.web", "claims.x.batch", "fraud.x.web"] {
        let headers = [("authorization", &*format!("Bearer {token}"))];
        assert_eq!(world.ask_with(&headers, ONE).await.status, StatusCode::OK, "{token}");
        exhausted(&world.ask_with(&headers, ONE).await);
    }
    // The same client by another header, and with headers that name others.
    exhausted(
        &world
            .ask_with(&[("x-api-key", "claims.x.web"), ("x-client", "other"), ("x-team", "t")], ONE)
            .await,
    );
}

#[tokio::test]
async fn another_protocol_is_no_way_around() {
    let engine = Engine::start(paris()).await;
    let world = World::dollar(&engine, &budget("usd: '1'"), |_| {});
    assert_eq!(world.ask(ONE).await.status, StatusCode::OK);
    for (path, body) in [
        (
            "/v1/messages",
            r#"{"model":"assistant","max_tokens":1,"messages":[{"role":"user","content":"x"}]}"#,
        ),
        ("/v1/responses", r#"{"model":"assistant","max_output_tokens":1,"input":"x"}"#),
        ("/v1/completions", r#"{"model":"assistant","max_tokens":1,"prompt":"x"}"#),
    ] {
        let answer = world.ask_at(path, body).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{path}: {}", answer.text);
        assert!(
            answer.text.contains("the budget 1 of RoutingPolicy claims/assistant"),
            "{path}: {}",
            answer.text
        );
    }
    assert_eq!(engine.requests(), 1);
}

static SECOND: AtomicI64 = AtomicI64::new(0);

#[tokio::test]
async fn a_budget_begins_anew_with_its_window() {
    let clock = || Timestamp::from_second(SECOND.load(Ordering::SeqCst)).unwrap();
    let engine = Engine::start(paris()).await;
    let world = World::dollar(&engine, &budget("usd: '1', timeZone: Europe/Berlin"), |options| options.now = clock);
    assert_eq!(world.ask(ONE).await.status, StatusCode::OK);
    let answer = world.ask(ONE).await;
    assert!(
        exhausted(&answer).contains("begins anew at 1970-01-01T23:00:00Z"),
        "{}",
        answer.text
    );
    SECOND.store(23 * 3_600, Ordering::SeqCst);
    assert_eq!(world.ask(ONE).await.status, StatusCode::OK);
    exhausted(&world.ask(ONE).await);
}

#[tokio::test]
async fn a_budget_that_is_not_understood_lets_nothing_pass_and_says_why() {
    let engine = Engine::start(paris()).await;
    let spec = budget("usd: '1', timeZone: Europe/Atlantis");
    let world = World::dollar(&engine, &spec, |_| {});
    let (code, message) = world.ask(ONE).await.error();
    assert_eq!(code, "invalid_policy");
    assert!(
        message.contains("spec.budgets[0].timeZone: \"Europe/Atlantis\" is not an IANA time zone"),
        "{message}"
    );
    assert!(!world.build(&spec).verdicts.values().next().unwrap().is_ready());
}

#[tokio::test]
async fn a_restart_remembers_what_was_spent() {
    let folder = std::env::temp_dir().join(format!("llm-portfolio-ledger-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("ledger.json");
    let engine = Engine::start(paris()).await;
    let begin = async || {
        // What the one before does in the background ends in its own time.
        let store = loop {
            match InFile::open(&path) {
                Err(BadLedger::InUse(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
                opened => break opened.unwrap(),
            }
        };
        World::dollar(&engine, &budget("usd: '3'"), |options| options.ledger = Arc::new(store))
    };
    for _ in 0..2 {
        let world = begin().await;
        assert!(
            matches!(InFile::open(&path), Err(BadLedger::InUse(_))),
            "two processes would spend it twice"
        );
        assert_eq!(world.ask(ONE).await.status, StatusCode::OK);
        world.gateway.give_back().await;
    }
    // This one dies: nothing is given back.
    assert_eq!(begin().await.ask(ONE).await.status, StatusCode::OK);
    exhausted(&begin().await.ask(ONE).await);
    assert_eq!(engine.requests(), 3);

    while matches!(InFile::open(&path), Err(BadLedger::InUse(_))) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for damage in ["", "{}", "{\"version\":1,\"accounts\":[", "{\"version\":2,\"accounts\":[]}"] {
        std::fs::write(&path, damage).unwrap();
        let error = InFile::open(&path).unwrap_err().to_string();
        assert!(
            error.contains("is damaged") && error.contains("or remove it to begin all budgets anew"),
            "{error}"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), damage, "it is left as it was");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A store that does not answer.
#[derive(Debug)]
struct Gone {
    is_silent: bool,
}

impl Store for Gone {
    fn take(&self, _: Account, _: u64, _: Ask) -> BoxFuture<'static, Result<Grant, Unavailable>> {
        let is_silent = self.is_silent;
        async move {
            if is_silent {
                std::future::pending::<()>().await;
            }
            Err(Unavailable::Away("connection refused".to_owned()))
        }
        .boxed()
    }

    fn give_back(&self, _: Account, _: u64) -> BoxFuture<'static, Result<(), Unavailable>> {
        async { Err(Unavailable::Away("connection refused".to_owned())) }.boxed()
    }
}

#[tokio::test]
async fn while_nothing_is_known_of_a_budget_nothing_is_spent_and_nobody_waits_long() {
    let engine = Engine::start(paris()).await;
    for is_silent in [false, true] {
        let world = World::dollar(&engine, &budget("usd: '3'"), |options| {
            options.ledger = Arc::new(Gone { is_silent });
        });
        let answer = tokio::time::timeout(Duration::from_secs(5), world.ask(ONE)).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
        assert_eq!(answer.error().0, "ledger_unavailable");
        // Nor does whoever comes next, or the next model.
        let began = std::time::Instant::now();
        assert_eq!(world.ask(ONE).await.error().0, "ledger_unavailable");
        assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    }
    assert_eq!(engine.requests(), 0);
}

/// A store that carries out what it is asked at once, and answers when it may.
#[derive(Clone, Debug)]
struct Slow {
    there: Memory,
    go: Arc<Semaphore>,
    asked: Arc<AtomicUsize>,
}

impl Store for Slow {
    fn take(&self, account: Account, limit: u64, ask: Ask) -> BoxFuture<'static, Result<Grant, Unavailable>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let (taken, go) = (self.there.take(account, limit, ask), self.go.clone());
        async move {
            let granted = taken.await;
            go.acquire().await.unwrap().forget();
            granted
        }
        .boxed()
    }

    fn give_back(&self, account: Account, amount: u64) -> BoxFuture<'static, Result<(), Unavailable>> {
        self.there.give_back(account, amount)
    }
}

#[tokio::test]
async fn what_a_slow_store_has_given_is_not_lost_and_it_is_not_asked_for_it_again() {
    let engine = Engine::start(paris()).await;
    let store = Slow {
        there: Memory::default(),
        go: Arc::new(Semaphore::new(0)),
        asked: Arc::default(),
    };
    let world = World::dollar(&engine, &budget("usd: '3'"), |options| options.ledger = Arc::new(store.clone()));
    for _ in 0..5 {
        assert_eq!(world.ask(ONE).await.error().0, "ledger_unavailable");
    }
    assert_eq!(store.asked.load(Ordering::Relaxed), 1);
    store.go.add_permits(100);
    let mut answered = 0;
    loop {
        let answer = world.ask(ONE).await;
        match answer.status {
            StatusCode::OK => answered += 1,
            StatusCode::SERVICE_UNAVAILABLE => tokio::task::yield_now().await,
            _ => break drop(exhausted(&answer)),
        }
    }
    assert_eq!(answered, 3, "the whole budget");
}

/// A store that goes away and comes back.
#[derive(Clone, Debug, Default)]
struct Leaving {
    there: Memory,
    is_away: Arc<AtomicBool>,
    is_silent: bool,
    asked: Arc<AtomicUsize>,
}

impl Store for Leaving {
    fn take(&self, account: Account, limit: u64, ask: Ask) -> BoxFuture<'static, Result<Grant, Unavailable>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match (self.is_away.load(Ordering::Relaxed), self.is_silent) {
            (false, _) => self.there.take(account, limit, ask),
            (true, true) => std::future::pending().boxed(),
            (true, false) => async { Err(Unavailable::Away("connection refused".to_owned())) }.boxed(),
        }
    }

    /// What it was asked while it is away is lost.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }

    fn give_back(&self, account: Account, amount: u64) -> BoxFuture<'static, Result<(), Unavailable>> {
        self.there.give_back(account, amount)
    }
}

fn open_over(engine: &Engine, store: &Leaving, usd: &str) -> World {
    World::dollar(engine, &budget(&format!("usd: '{usd}'")), |options| {
        options.ledger = Arc::new(store.clone());
        options.on_ledger_failure = OnFailure::Open;
    })
}

#[tokio::test]
async fn a_gateway_that_goes_on_without_the_store_counts_by_itself_and_tells_it_afterwards() {
    let engine = Engine::start(paris()).await;
    let store = Leaving::default();
    let (first, second) = (open_over(&engine, &store, "5"), open_over(&engine, &store, "5"));
    assert_eq!(first.ask(ONE).await.status, StatusCode::OK);
    store.is_away.store(true, Ordering::Relaxed);
    for _ in 0..4 {
        assert_eq!(first.ask(ONE).await.status, StatusCode::OK);
    }
    assert_eq!(first.metric("portfolio_gateway_ledger_answers").await, 0.0);
    let message = exhausted(&first.ask(ONE).await);
    assert!(message.contains("has 0 US dollars left"), "{message}");
    assert_eq!(second.ask(ONE).await.status, StatusCode::OK, "it knows of nothing that was spent");
    assert_eq!(engine.requests(), 6);

    store.is_away.store(false, Ordering::Relaxed);
    // Nobody asks the gateways meanwhile.
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    let third = open_over(&engine, &store, "7");
    assert_eq!(third.ask(ONE).await.status, StatusCode::OK, "six of seven are known to be spent");
    exhausted(&third.ask(ONE).await);
    assert_eq!(first.metric("portfolio_gateway_ledger_answers").await, 1.0);
}

#[tokio::test]
async fn a_gateway_that_goes_on_waits_once_for_a_store_that_is_away_and_does_not_ask_it_all_the_time() {
    let engine = Engine::start(paris()).await;
    let store = Leaving {
        is_away: Arc::new(AtomicBool::new(true)),
        is_silent: true,
        ..Leaving::default()
    };
    let world = open_over(&engine, &store, "500");
    let began = std::time::Instant::now();
    let answers = join_all((0..20).map(|_| world.ask(ONE))).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    assert!(began.elapsed() < Duration::from_millis(1_900), "{:?}", began.elapsed());
    let began = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(world.ask(ONE).await.status, StatusCode::OK);
    }
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    assert!(store.asked.load(Ordering::Relaxed) <= 4, "{}", store.asked.load(Ordering::Relaxed));
}

#[tokio::test]
async fn those_who_wait_behind_a_store_that_does_not_answer_are_refused_together() {
    let engine = Engine::start(paris()).await;
    let store = Leaving {
        is_away: Arc::new(AtomicBool::new(true)),
        is_silent: true,
        ..Leaving::default()
    };
    let world = World::dollar(&engine, &budget("usd: '3'"), |options| options.ledger = Arc::new(store.clone()));
    let answers = join_all((0..20).map(|_| world.ask(ONE))).await;
    for answer in &answers {
        let (code, message) = answer.error();
        assert_eq!((answer.status.as_u16(), code.as_str()), (503, "ledger_unavailable"));
        assert!(message.contains("the store of what was spent does not answer"), "{message}");
    }
    // They do not stand in line for it after they were refused.
    store.is_away.store(false, Ordering::Relaxed);
    let back = async {
        while world.ask(ONE).await.status != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), back).await.unwrap();
    assert!(store.asked.load(Ordering::Relaxed) <= 3, "{}", store.asked.load(Ordering::Relaxed));
    assert_eq!(engine.requests(), 1);
}

#[tokio::test]
async fn limits_hold_and_say_what_is_left() {
    let engine = Engine::start(paris()).await;
    let world = World::over(
        &[&engine],
        &format!("{ONLY_A}, limits: [{{per: Client, requestsPerMinute: 2, tokensPerMinute: 6000}}]"),
    );
    let first = world.ask(ONE).await;
    let shown = [
        "limit-requests",
        "remaining-requests",
        "reset-requests",
        "limit-tokens",
        "remaining-tokens",
    ];
    let shown = shown.map(|name| first.header(&format!("x-ratelimit-{name}")));
    // 13 tokens of the prompt by an estimate, and one of the answer.
    assert_eq!((first.status.as_u16(), shown), (200, ["2", "1", "30s", "6000", "5986"]));
    assert_eq!(world.ask(ONE).await.status, StatusCode::OK);
    let third = world.ask(ONE).await;
    assert_eq!((third.status.as_u16(), third.header("retry-after")), (429, "30"));
    assert_eq!(third.header("x-ratelimit-remaining-requests"), "0");
    let (code, message) = third.error();
    assert_eq!(code, "rate_limit_exceeded");
    assert_eq!(
        message,
        "you may have 2 requests in a minute under RoutingPolicy claims/assistant (spec.limits): come back later, or ask whoever keeps the policy"
    );
    let other = world.ask_with(&[("authorization", "Bearer claims.x.batch")], ONE).await;
    assert_eq!(other.status, StatusCode::OK, "each client has its own");
    let body = r#"{"model":"assistant","max_tokens":1,"messages":[{"role":"user","content":"x"}]}"#;
    let anthropic = Answer::read(world.call(post_to("/v1/messages", &WEB, body)).await).await;
    assert_eq!(anthropic.status, StatusCode::TOO_MANY_REQUESTS);
    let shown =
        ["requests-limit", "requests-remaining", "requests-reset"].map(|name| anthropic.header(&format!("anthropic-ratelimit-{name}")));
    assert_eq!(shown, ["2", "0", "1970-01-01T00:01:00Z"]);
    assert_eq!(engine.requests(), 3);
}

#[tokio::test]
async fn so_many_are_answered_at_one_time_and_streams_count_until_their_end() {
    let go = Arc::new(Semaphore::new(0));
    let engine = Engine::start(vec![stream_head(), chunk(WORD), Do::Wait(go.clone()), chunk(DONE), Do::Close]).await;
    let world = World::over(&[&engine], &format!("{ONLY_A}, limits: [{{per: Policy, concurrent: 1}}]"));
    let mut open = world.call(post(&WEB, STREAMED)).await.into_body();
    open.frame().await.unwrap().unwrap();
    let second = world.ask(STREAMED).await;
    assert_eq!((second.status.as_u16(), second.header("retry-after")), (429, "1"));
    assert!(
        second.error().1.starts_with("all clients together may have 1 requests at one time"),
        "{}",
        second.text
    );
    drop(open);
    engine.now_does(answers(200, "", CONTENT));
    assert_eq!(world.ask(ONE).await.status, StatusCode::OK);
}
