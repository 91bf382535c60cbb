//! Whose fault an error is: the client's own ends its request, and what is ours or the model's moves it on.

use http::StatusCode;

use super::engine::{Do, Engine, answers, paris};
use super::world::World;
use super::{A_THEN_B, ASK, ONLY_A, STREAM};
use crate::gateway::Credentials;

/// A provider's model `a` and a pod `b`, which is asked when `a` is at fault.
fn provider_then_pod(provider: &str, a: &Engine, b: &Engine) -> World {
    let (at, secret) = match provider {
        "Bedrock" => (format!("'{}', region: eu-central-1", a.url), "AKIDEXAMPLE:wJalrXUtnFEMI"),
        _ => (format!("'{}/v1'", a.url), "sk-1"),
    };
    let world = World::new();
    let api = format!("{{api: {{provider: {provider}, model: x, endpoint: {at}, credentials: {{secretRef: {{name: s, key: k}}}}}}}}");
    world.provider("a", &api);
    let held = world.credential("a", secret);
    let credentials = Credentials::new([held], &Credentials::default());
    world.source.credentials.send_replace(credentials.into());
    world.pod("b", &[&b.url]);
    world.route(A_THEN_B);
    world
}

#[tokio::test]
async fn a_model_that_is_not_there_and_a_bill_of_our_own_are_no_fault_of_the_client_whatever_the_status() {
    let validation = "x-amzn-errortype: ValidationException:http://internal.amazon.com/coral/com.amazon.bedrock/\r\n";
    for (provider, headers, body) in [
        (
            "OpenAI",
            "",
            r#"{"error":{"message":"The requested model 'x' does not exist.","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#,
        ),
        (
            "OpenAI",
            "",
            r#"{"error":{"message":"Billing hard limit has been reached","type":"invalid_request_error","param":null,"code":"billing_hard_limit_reached"}}"#,
        ),
        (
            "AzureOpenAI",
            "",
            r#"{"error":{"code":"OperationNotSupported","message":"The chatCompletion operation does not work with the specified model, x. Please choose different model and try again."}}"#,
        ),
        (
            "Mistral",
            "",
            r#"{"object":"error","message":"Invalid model: x","type":"invalid_model","param":null,"code":"1500"}"#,
        ),
        (
            "Gemini",
            "",
            r#"{"error":{"code":400,"message":"Gemini API free tier is not available in your country. Please enable billing on your project in Google AI Studio.","status":"FAILED_PRECONDITION"}}"#,
        ),
        ("Bedrock", validation, r#"{"message":"The provided model identifier is invalid."}"#),
        (
            "Bedrock",
            validation,
            r#"{"message":"Invocation of model ID x with on-demand throughput isn’t supported. Retry your request with the ID or ARN of an inference profile that contains this model."}"#,
        ),
        (
            "Anthropic",
            "",
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#,
        ),
        (
            "Anthropic",
            "",
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"This organization has been disabled."}}"#,
        ),
    ] {
        for asked in [ASK, STREAM] {
            let asked = asked.replace("[]", r#"[{"role":"user","content":"Hi"}]"#);
            let (a, b) = (Engine::start(answers(400, headers, body)).await, Engine::start(paris()).await);
            let answer = provider_then_pod(provider, &a, &b).ask(&asked).await;
            assert_eq!(answer.status.as_u16(), 200, "{provider}: {body}");
            assert!(answer.text.contains(r#""content":"Paris""#), "{provider}: {body}: {}", answer.text);
            assert_eq!((a.requests(), b.requests()), (1, 1), "{provider}: {body}");
        }
    }
}

#[tokio::test]
async fn a_model_is_not_at_fault_because_an_error_repeats_what_a_client_wrote() {
    for (provider, body) in [
        (
            "OpenAI",
            r#"{"error":{"message":"Invalid value: 'Invalid model: Incorrect API key provided'. Supported values are: 'user'.","type":"invalid_request_error","param":"messages[0].role","code":"invalid_value"}}"#,
        ),
        (
            "Anthropic",
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"tools.0.name: 'Your credit balance is too low, usage limits' does not match"}}"#,
        ),
    ] {
        let (a, b) = (Engine::start(answers(400, "", body)).await, Engine::start(paris()).await);
        let answer = provider_then_pod(provider, &a, &b).ask(ASK).await;
        assert_eq!((answer.status.as_u16(), b.requests()), (400, 0), "{provider}: {}", answer.text);
    }
}

#[tokio::test]
async fn what_is_refused_as_the_clients_fault_makes_no_endpoint_well() {
    let failing = || answers(500, "", "{}");
    let (a, b) = (Engine::start(failing()).await, Engine::start(paris()).await);
    let world = World::over(&[&a, &b], &format!("retries: {{attempts: 0}}, {A_THEN_B}"));
    for script in [
        failing(),
        failing(),
        answers(400, "", r#"{"error":{"message":"no","type":"invalid_request_error"}}"#),
        failing(),
    ] {
        a.now_does(script);
        world.ask(ASK).await;
    }
    assert_eq!((a.requests(), b.requests()), (4, 3));
    assert_eq!(world.ask(ASK).await.header("x-portfolio-attempts"), "1", "three failures in a row");
}

#[tokio::test]
async fn geminis_advice_in_its_words_is_followed() {
    let body = r#"{"error":{"code":429,"message":"You exceeded your current quota.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"6.5s"}]}}"#;
    for (headers, seconds) in [("", "7"), ("retry-after: 3\r\n", "3")] {
        let (a, b) = (Engine::start(answers(429, headers, body)).await, Engine::start(paris()).await);
        let world = provider_then_pod("Gemini", &a, &b);
        world.route(ONLY_A);
        let answer = world.ask(ASK).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, seconds));
    }
}

#[tokio::test]
async fn sdks_are_told_not_to_repeat_what_the_gateway_does_not() {
    let background = r#"{"model":"assistant","background":true,"input":"x"}"#;
    let fresh = r#"{"model":"assistant","input":"x"}"#;
    for (body, status, expected) in [(background, 500, "false"), (background, 503, ""), (fresh, 500, "")] {
        let engine = Engine::start(answers(status, "", "{}")).await;
        let world = World::new();
        world.api_with_key("a", "OpenAI", &engine.url);
        world.route(&format!("retries: {{attempts: 0}}, {ONLY_A}"));
        let answer = world.ask_at("/v1/responses", body).await;
        assert!(answer.status.is_server_error(), "{}", answer.text);
        assert_eq!(answer.header("x-should-retry"), expected, "{body} {status}");
    }
}

#[tokio::test]
async fn a_shutdown_sends_nobody_back_with_what_may_have_begun() {
    let background = r#"{"model":"assistant","background":true,"input":"x"}"#;
    for (body, again) in [(background, false), (r#"{"model":"assistant","input":"x"}"#, true)] {
        let engine = Engine::start(vec![Do::Hang]).await;
        let world = World::new();
        world.api_with_key("a", "OpenAI", &engine.url);
        world.route(ONLY_A);
        let closing = async {
            engine.until(|counts| counts.requests == 1).await;
            world.gateway.closing.cancel();
        };
        let (answer, ()) = tokio::join!(world.ask_at("/v1/responses", body), closing);
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        let told = (answer.header("retry-after"), answer.header("x-should-retry"));
        assert_eq!(told, if again { ("1", "") } else { ("", "false") }, "{}", answer.text);
        assert_eq!(answer.text.contains("try again"), again, "{}", answer.text);
        assert_eq!(answer.text.contains("may have begun"), !again, "{}", answer.text);
    }
}

#[tokio::test]
async fn a_refusal_that_repeats_our_credential_and_address_shows_neither() {
    for path in ["/v1/chat/completions", "/v1/messages"] {
        let (a, b) = (Engine::start(answers(400, "", "{}")).await, Engine::start(paris()).await);
        let address = a.url.trim_start_matches("http://").to_owned();
        let body = format!(r#"{{"error":{{"message":"no: POST http://{address}/v1 with Bearer sk-1","type":"invalid_request_error"}}}}"#);
        a.now_does(answers(400, "", &body));
        let asked = r#"{"model":"assistant","max_tokens":5,"messages":[{"role":"user","content":"Hi"}]}"#;
        let answer = provider_then_pod("OpenAICompatible", &a, &b).ask_at(path, asked).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        let told = "no: POST http://[address]/v1 with Bearer [credential]";
        assert!(answer.text.contains(told), "{path}: {}", answer.text);
    }
}
