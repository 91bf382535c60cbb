//! What a gateway tells of its requests: names and labels of metrics, and the log line. None has a word of what was asked or answered.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::engine::{self, Do, Engine, WORD, answers, chunk, paris, stream_head, streams};
use super::world::{World, post};
use super::{A_THEN_B, ASK, ONLY_A, STREAM, hash};
use crate::api::model_deployment::Provider;
use crate::gateway::failure::Failure;
use crate::gateway::{ACCESS, ApiKeys, Credentials, conventions};
use crate::plan::api_key::ApiKey;
use crate::plan::routing::Backend;

const REPORT: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}\n\n";

/// The lines of the exposition that begin so, without values, sorted.
async fn exposed(world: &World, beginnings: &[&str]) -> Vec<String> {
    let text = world.get("/metrics", &[]).await.text;
    let lines = text.lines().filter(|line| beginnings.iter().any(|start| line.starts_with(start)));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn metrics_have_these_names_and_these_labels() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], ONLY_A);
    world.ask(ASK).await;
    engine.now_does(streams(&[engine::OPENING, engine::WORD, REPORT, engine::DONE]));
    world.ask(STREAM).await;
    world.ask(&ASK.replace("assistant", "made-up")).await;
    engine.now_does(answers(400, "", r#"{"error":{"message":"no"}}"#));
    world.ask(ASK).await;

    let types = exposed(&world, &["# TYPE", "# UNIT"]).await;
    let expected = [
        "# TYPE gen_ai_client_token_usage histogram",
        "# TYPE gen_ai_server_request_duration_seconds histogram",
        "# TYPE gen_ai_server_time_per_output_token_seconds histogram",
        "# TYPE gen_ai_server_time_to_first_token_seconds histogram",
        "# TYPE portfolio_gateway_broken_answers counter",
        "# TYPE portfolio_gateway_budget_spent_ratio gauge",
        "# TYPE portfolio_gateway_cache_requests counter",
        "# TYPE portfolio_gateway_cost_usd counter",
        "# TYPE portfolio_gateway_estimated_requests counter",
        "# TYPE portfolio_gateway_fallbacks counter",
        "# TYPE portfolio_gateway_first_content_seconds histogram",
        "# TYPE portfolio_gateway_held_seconds histogram",
        "# TYPE portfolio_gateway_ledger_answers gauge",
        "# TYPE portfolio_gateway_price_book_entries gauge",
        "# TYPE portfolio_gateway_price_book_outdated gauge",
        "# TYPE portfolio_gateway_redacted_identifiers counter",
        "# TYPE portfolio_gateway_request_duration_seconds histogram",
        "# TYPE portfolio_gateway_requests counter",
        "# TYPE portfolio_gateway_requests_held gauge",
        "# TYPE portfolio_gateway_requests_in_flight gauge",
        "# TYPE portfolio_gateway_requests_queued gauge",
        "# TYPE portfolio_gateway_routes_current gauge",
        "# TYPE portfolio_gateway_shadow_cost_usd counter",
        "# TYPE portfolio_gateway_shadow_duration_seconds histogram",
        "# TYPE portfolio_gateway_shadow_estimated_requests counter",
        "# TYPE portfolio_gateway_shadow_requests counter",
        "# TYPE portfolio_gateway_shadow_skipped counter",
        "# TYPE portfolio_gateway_shadow_tokens counter",
        "# TYPE portfolio_gateway_shadow_unpriced_requests counter",
        "# TYPE portfolio_gateway_shadows_in_flight gauge",
        "# TYPE portfolio_gateway_tokens counter",
        "# TYPE portfolio_gateway_unpriced_requests counter",
        "# TYPE portfolio_gateway_upstream_attempts counter",
        "# TYPE portfolio_gateway_warmup_requests counter",
        "# UNIT gen_ai_server_request_duration_seconds seconds",
        "# UNIT gen_ai_server_time_per_output_token_seconds seconds",
        "# UNIT gen_ai_server_time_to_first_token_seconds seconds",
    ];
    assert_eq!(types, expected);

    let good =
        r#"gen_ai_operation_name="chat",gen_ai_provider_name="vllm",gen_ai_request_model="assistant",gen_ai_response_model="claims/a""#;
    let expected = [
        format!("gen_ai_client_token_usage_count{{{good},gen_ai_token_type=\"input\"}} 2"),
        format!("gen_ai_client_token_usage_count{{{good},gen_ai_token_type=\"output\"}} 2"),
        format!("gen_ai_client_token_usage_sum{{{good},gen_ai_token_type=\"input\"}} 6.0"),
        format!("gen_ai_client_token_usage_sum{{{good},gen_ai_token_type=\"output\"}} 6.0"),
        r#"gen_ai_server_request_duration_seconds_count{gen_ai_operation_name="chat",gen_ai_provider_name="_OTHER",error_type="404"} 1"#
            .to_owned(),
        format!("gen_ai_server_request_duration_seconds_count{{{good},error_type=\"400\"}} 1"),
        format!("gen_ai_server_request_duration_seconds_count{{{good}}} 2"),
        format!("gen_ai_server_time_per_output_token_seconds_count{{{good}}} 1"),
        format!("gen_ai_server_time_to_first_token_seconds_count{{{good}}} 1"),
    ];
    let counts = [
        "gen_ai_client_token_usage_count",
        "gen_ai_client_token_usage_sum",
        "gen_ai_server_request_duration_seconds_count",
        "gen_ai_server_time_per_output_token_seconds_count",
        "gen_ai_server_time_to_first_token_seconds_count",
    ];
    assert_eq!(exposed(&world, &counts).await, expected);
}

#[tokio::test]
async fn buckets_are_those_of_the_conventions() {
    let engine = Engine::start(streams(&[engine::OPENING, engine::WORD, REPORT, engine::DONE])).await;
    let world = World::over(&[&engine], ONLY_A);
    world.ask(STREAM).await;
    let of = async |name: &str| {
        let start = format!("{name}_bucket");
        let lines = exposed(&world, &[start.as_str()]).await;
        let lines = lines.iter().filter(|line| !line.contains("token_type=\"output\""));
        let ends = lines.map(|line| line.split("le=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap());
        let mut ends: Vec<f64> = ends.collect();
        ends.sort_by(f64::total_cmp);
        (ends.len(), ends[0], ends[ends.len() - 2])
    };
    assert_eq!(of("gen_ai_client_token_usage").await, (15, 1.0, 67_108_864.0));
    assert_eq!(of("gen_ai_server_request_duration_seconds").await, (15, 0.01, 81.92));
    assert_eq!(of("gen_ai_server_time_to_first_token_seconds").await, (17, 0.001, 10.0));
    assert_eq!(of("gen_ai_server_time_per_output_token_seconds").await, (14, 0.01, 2.5));
}

#[tokio::test]
async fn series_of_what_is_gone_are_forgotten_after_an_hour_and_come_again() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::over(&[&a, &b], ONLY_A);
    world.ask(ASK).await;
    // Read past the interface, which forgets by the real time.
    let of_a = || world.gateway.metrics.text().contains("claims/a");
    let look = |seconds| {
        let table = world.source.routes.borrow().clone().unwrap();
        world.gateway.metrics.forget(&table, Instant::now() + Duration::from_secs(seconds));
    };
    look(7200);
    assert!(of_a(), "it is in the table");

    let without_a = crate::plan::routing::RouteTable::default();
    let before = world.source.routes.send_replace(Some(Arc::new(without_a)));
    look(7200 + 3599);
    assert!(of_a(), "not for an hour yet");
    look(7200 + 3601);
    assert!(!of_a());
    let left = exposed(&world, &["portfolio_gateway_requests_total"]).await;
    assert!(left.is_empty(), "{left:?}");

    world.source.routes.send_replace(before);
    world.ask(ASK).await;
    assert!(of_a());
    let line = r#"portfolio_gateway_requests_total{policy="claims/assistant",model="claims/a",class="2xx"}"#;
    assert_eq!(world.metric(line).await, 1.0, "from the start");
}

#[tokio::test]
async fn providers_have_the_words_of_the_conventions_and_only_public_hosts_are_told() {
    let engine = Engine::start(paris()).await;
    let world = World::over(&[&engine], ONLY_A);
    let table = world.source.routes.borrow().clone().unwrap();
    let own = table.backends().next().unwrap().clone();
    assert_eq!(conventions::provider(&own), "vllm");
    assert_eq!(conventions::public_host(&own, &"http://api.openai.com/v1".parse().unwrap()), None);
    for (provider, word, base, host) in [
        (Provider::OpenAI, "openai", "https://api.openai.com/v1", Some("api.openai.com")),
        (Provider::OpenAI, "openai", "https://proxy.corp.example/v1", None),
        (
            Provider::AzureOpenAI,
            "azure.ai.openai",
            "https://r.openai.azure.com/openai/v1",
            Some("r.openai.azure.com"),
        ),
        (
            Provider::Anthropic,
            "anthropic",
            "https://api.anthropic.com/v1",
            Some("api.anthropic.com"),
        ),
        (Provider::Gemini, "gcp.gemini", "https://10.0.0.1/v1beta", None),
        (
            Provider::VertexAI,
            "gcp.vertex_ai",
            "https://europe-west1-aiplatform.googleapis.com/v1",
            Some("europe-west1-aiplatform.googleapis.com"),
        ),
        (
            Provider::Bedrock,
            "aws.bedrock",
            "https://vpce-1.bedrock-runtime.eu-west-1.vpce.amazonaws.com",
            None,
        ),
        (Provider::Mistral, "mistral_ai", "https://api.mistral.ai/v1", Some("api.mistral.ai")),
        (Provider::OpenAICompatible, "_OTHER", "https://api.openai.com.evil.example/v1", None),
    ] {
        let model = Backend {
            provider: Some(provider),
            ..own.clone()
        };
        assert_eq!(conventions::provider(&model), word);
        assert_eq!(conventions::public_host(&model, &base.parse().unwrap()), host, "{base}");
    }
}

/// What is logged on this thread, as JSON.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(super) fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let to = self.clone();
        let logs = tracing_subscriber::fmt().json().with_max_level(tracing::Level::TRACE);
        tracing::subscriber::set_default(logs.with_writer(move || to.clone()).finish())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The fields of each line about a request.
    fn requests(&self) -> Vec<BTreeMap<String, Value>> {
        self.lines(ACCESS)
    }

    /// The fields of each line of a target.
    pub(super) fn lines(&self, target: &str) -> Vec<BTreeMap<String, Value>> {
        let lines: Vec<Value> = self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let lines = lines.into_iter().filter(|line| line["target"] == target);
        lines.map(|line| serde_json::from_value(line["fields"].clone()).unwrap()).collect()
    }
}

fn logged() -> World {
    World::with(|options| options.access_log = true)
}

#[tokio::test]
async fn a_request_is_told_in_one_line_without_a_word_of_it() {
    let word = "xyzzyplugh";
    let log = Log::default();
    let _guard = log.listen();
    let engine = Engine::start(answers(200, "", &engine::CONTENT.replace("Paris", word))).await;
    let world = logged();
    world.pod("a", &[&engine.url]);
    world.route(&format!("clients: [{{apiKeys: {{matchLabels: {{team: web}}}}}}], {ONLY_A}"));
    let key = ApiKey {
        name: "key-of-web".to_owned(),
        labels: BTreeMap::from([("team".to_owned(), "web".to_owned())]),
        ..ApiKey::default()
    };
    world
        .source
        .api_keys
        .send_replace(Arc::new(ApiKeys::new([(hash("the-secret-key"), key)])));
    let headers = [
        ("authorization", "Bearer the-secret-key"),
        ("x-request-id", "request-1"),
        ("x-other", word),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    let asked = ASK.replace("France", word);
    let answer = world.ask_with(&headers, &asked).await;
    assert!(answer.text.contains(word));

    let lines = log.requests();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    let told = |name: &str| line.get(name).map(ToString::to_string).unwrap_or_default();
    let names: Vec<&str> = line.keys().map(String::as_str).collect();
    let expected = [
        "answered_by",
        "attempts",
        "bytes_in",
        "bytes_out",
        "client",
        "client_name",
        "cost_usd",
        "end",
        "estimated",
        "first_content_ms",
        "id",
        "input_tokens",
        "model",
        "ms",
        "operation",
        "output_tokens",
        "policy",
        "status",
        "streamed",
        "trace",
    ];
    assert_eq!(names, expected);
    let (bytes_in, bytes_out) = (asked.len().to_string(), answer.text.len().to_string());
    for (name, value) in [
        ("id", r#""request-1""#),
        ("trace", r#""0af7651916cd43dd8448eb211c80319c""#),
        ("client", r#""api_key""#),
        ("client_name", r#""key-of-web""#),
        ("policy", r#""claims/assistant""#),
        ("model", r#""assistant""#),
        ("answered_by", r#""claims/a""#),
        ("operation", r#""chat""#),
        ("status", "200"),
        ("end", r#""ok""#),
        ("attempts", "1"),
        ("streamed", "false"),
        ("input_tokens", "3"),
        ("output_tokens", "1"),
        ("cost_usd", r#""unknown""#),
        ("estimated", "false"),
        ("bytes_in", bytes_in.as_str()),
        ("bytes_out", bytes_out.as_str()),
    ] {
        assert_eq!(told(name), value, "{name}");
    }
    let text = log.text();
    let is_ours = |line: &&str| line.contains("llm_portfolio") || line.contains(ACCESS);
    let ours: Vec<&str> = text.lines().filter(is_ours).collect();
    assert!(!ours.is_empty());
    for secret in [word, "the-secret-key", engine.url.as_str()] {
        assert!(ours.iter().all(|line| !line.contains(secret)), "{secret}");
    }
}

#[tokio::test]
async fn the_line_of_a_body_that_is_no_request_says_how_long_it_is() {
    let log = Log::default();
    let _guard = log.listen();
    let world = logged();
    world.route(ONLY_A);
    world.ask("{\"model\":").await;
    let lines = log.requests();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(line["bytes_in"].to_string(), "9");
}

#[tokio::test]
async fn an_attempt_at_what_is_not_there_says_in_our_log_what_to_look_at() {
    let log = Log::default();
    let _guard = log.listen();
    let engine = Engine::start(answers(404, "", "{}")).await;
    let world = World::new();
    world.provider(
        "a",
        &format!("{{api: {{provider: OpenAICompatible, model: x, endpoint: '{}/v1'}}}}", engine.url),
    );
    world.route(ONLY_A);
    assert!(!world.ask(ASK).await.text.contains("spec.api"), "clients need not know");
    assert!(
        log.text().contains("spec.api.model, or the path of spec.api.endpoint"),
        "{}",
        log.text()
    );
}

#[tokio::test]
async fn the_line_says_what_attempts_in_vain_cost() {
    let log = Log::default();
    let _guard = log.listen();
    let (a, b) = (Engine::start(vec![Do::Hang]).await, Engine::start(paris()).await);
    let world = logged();
    world.pod_with("a", &a.url, "price: {inputPer1M: '1', outputPer1M: '1'}");
    world.pod_with("b", &b.url, "price: {inputPer1M: '1', outputPer1M: '1'}");
    world.route(&format!("timeouts: {{firstToken: 300ms}}, {A_THEN_B}"));
    world.ask(STREAM).await;
    let lines = log.requests();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    let told = |name: &str| line.get(name).map(ToString::to_string).unwrap_or_default();
    // The prompt, and what an answer is reckoned with of which nobody says how long it may be.
    let expected = format!("\"0.{:06}\"", STREAM.len().div_ceil(4) + 1_000);
    assert_eq!((told("lost_cost_usd"), told("answered_by")), (expected, r#""claims/b""#.to_owned()));
}

#[tokio::test]
async fn the_line_says_how_a_request_ended() {
    let log = Log::default();
    let _guard = log.listen();
    let (a, b) = (Engine::start(answers(500, "", "{}")).await, Engine::start(paris()).await);
    let world = logged();
    world.pod("a", &[&a.url]);
    world.pod("b", &[&b.url]);
    world.route(A_THEN_B);
    world.ask(ASK).await;
    world.ask(&ASK.replace("assistant", "made-up by a client")).await;
    b.now_does(vec![stream_head(), chunk(engine::WORD), Do::Close]);
    world.ask(STREAM).await;
    b.now_does(vec![stream_head(), chunk(engine::WORD), Do::Hang]);
    let mut left = world
        .call(post(&[("authorization", "Bearer claims.x.web")], STREAM))
        .await
        .into_body();
    left.frame().await.unwrap().unwrap();
    drop(left);

    let lines = log.requests();
    let of = |line: &BTreeMap<String, Value>| {
        ["end", "why", "status", "answered_by"]
            .map(|name| line.get(name).map(|value| value.to_string().replace('"', "")).unwrap_or_default())
    };
    let ended: Vec<[String; 4]> = lines.iter().map(of).collect();
    let expected = [
        ["ok", "", "200", "claims/b"],
        ["refused", "model_not_found", "404", ""],
        ["broken", "cut", "200", "claims/b"],
        ["gone", "", "", "claims/b"],
    ];
    assert_eq!(ended, expected);
    assert!(lines[0]["attempts"].as_u64().unwrap() > 1);
    assert_eq!(lines[0]["client"], "service_account");
    assert_eq!(lines[0]["client_name"], "claims/web");
    assert!(!format!("{lines:?}").contains("made-up"), "names that clients make up are theirs");
}

#[tokio::test]
async fn what_no_model_is_asked_for_has_its_line_too_and_probes_have_none() {
    let log = Log::default();
    let _guard = log.listen();
    let world = logged();
    world.route(ONLY_A);
    let web = [("authorization", "Bearer claims.x.web")];
    for path in [
        "/v1/models",
        "/v1/models/nobody",
        "/v1/chat/completions",
        "/v1/files",
        "/healthz",
        "/metrics",
    ] {
        world.get(path, &web).await;
    }
    let lines = log.requests();
    let told: Vec<_> = lines
        .iter()
        .map(|line| (line["operation"].as_str().unwrap(), line["status"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        told,
        [("list_models", 200), ("list_models", 404), ("unknown", 405), ("unknown", 404)]
    );
}

#[tokio::test]
async fn nothing_is_told_where_the_log_is_off() {
    let log = Log::default();
    let _guard = log.listen();
    let engine = Engine::start(paris()).await;
    World::over(&[&engine], ONLY_A).ask(ASK).await;
    assert_eq!(log.requests().len(), 0);
}

#[tokio::test]
async fn what_a_provider_says_of_an_error_is_not_in_our_log_and_its_code_is_without_the_key() {
    let refused = r#"{"error":{"message":"bad key sk-very-secret for the prompt xyzzyplugh","code":"sk-very-secret"}}"#;
    let event = "data: {\"error\":{\"message\":\"xyzzyplugh is too much\",\"code\":\"engine_overloaded\"}}\n\n";
    let gate = Arc::new(Semaphore::new(1));
    let scripts = [
        (ASK, "Authentication, [credential]", answers(401, "", refused)),
        (STREAM, "engine_overloaded", streams(&[event])),
        (
            STREAM,
            "engine_overloaded",
            vec![stream_head(), chunk(WORD), Do::Wait(gate), chunk(event), Do::Hang],
        ),
    ];
    for (asked, told, script) in scripts {
        let engine = Engine::start(script).await;
        let world = World::new();
        world.api("m", "OpenAI", &engine.url);
        let credentials = Credentials::new([world.credential("m", "sk-very-secret")], &Credentials::default());
        world.source.credentials.send_replace(credentials.into());
        world.route("rules: [{targets: [{model: m}]}]");
        let log = Log::default();
        let _guard = log.listen();
        world.ask(asked).await;
        let text = log.text();
        assert!(text.contains(told), "{text}");
        assert!(!text.contains("sk-very-secret") && !text.contains("xyzzyplugh"), "{text}");
    }
}

#[test]
fn no_secret_of_any_kind_is_told_of_a_failure() {
    let world = World::new();
    for (provider, secret, shown) in [
        ("OpenAI", "sk-1", vec!["sk-1"]),
        ("Bedrock", "ABSKsecret", vec!["ABSKsecret"]),
        ("Bedrock", "AKID:secret:token", vec!["AKID", "secret", "token"]),
    ] {
        world.provider(
            "m",
            &format!("{{api: {{provider: {provider}, model: x, region: eu-west-1, credentials: {{secretRef: {{name: s, key: k}}}}}}}}"),
        );
        let held = world.credential("m", secret);
        let (model, destination) = (held.model.clone(), held.destination.clone());
        let held = Credentials::new([held], &Credentials::default()).of(&model, &destination).unwrap();
        assert_eq!(held.secrets(), shown, "{provider}");
        let failure = Failure::Cut(format!("it said {}", shown.join(" and "))).without(&held.secrets());
        assert!(shown.iter().all(|secret| !failure.cause().unwrap().contains(secret)), "{failure:?}");
    }
}
