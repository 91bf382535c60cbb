//! Personal identifiers and blocked terms, as clients meet them: what is found wherever it is, what no model behind an API gets to see, what
//! comes back, and the ways around.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::WEB;
use super::engine::{CONTENT, Do, Engine, answers, chunk, paris, stream_head, streams};
use super::telemetry::Log;
use super::world::{Answer, World, post_to};
use crate::plan::routing::Terms;

const CHAT: &str = "/v1/chat/completions";
const DETECTION: &str = "{dataClasses: {Internal: {}, Personal: {classes: [Open, Custom]}, Special: {classes: [Custom]}},
    detection: {identifiers: [Email, Phone, CreditCard], dataClass: Personal}}";
const OWN_THEN_API: &str = "rules: [{name: all, strategy: Ordered, targets: [{model: own}], fallback: [{model: api}]}]";
const ONLY_API: &str = "rules: [{name: all, targets: [{model: api}]}]";
const REDACTS: &str = "guardrails: {redact: [Email, Phone, CreditCard]}, rules: [{name: all, targets: [{model: api}]}]";

struct Guarded {
    world: World,
    own: Engine,
    api: Engine,
}

/// `own` in our pods, `api` behind a provider that speaks this protocol; under these settings and this policy.
async fn guarded(provider: &str, settings: &str, policy: &str) -> Guarded {
    let (own, api) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::new();
    *world.settings.lock().unwrap() = serde_saphyr::from_str(settings).unwrap();
    world.pod("own", &[&own.url]);
    world.api_with_key("api", provider, &api.url);
    world.route(policy);
    Guarded { world, own, api }
}

impl Guarded {
    async fn ask(&self, path: &str, body: &Value) -> Answer {
        self.ask_with(path, &[], &body.to_string()).await
    }

    async fn ask_with(&self, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let headers: Vec<(&str, &str)> = WEB.iter().chain(more).copied().collect();
        Answer::read(self.world.call(post_to(path, &headers, body)).await).await
    }

    fn sent(&self) -> String {
        String::from_utf8(self.api.last().body).unwrap()
    }
}

fn says(text: &str) -> Value {
    json!({"model": "assistant", "messages": [{"role": "user", "content": text}]})
}

/// Requests with an identifier somewhere, by the path they are for.
fn hiding_places(text: &str) -> Vec<(&'static str, &'static str, String)> {
    let message = |content: Value| json!([{"role": "user", "content": content}]);
    let arguments = json!({"to": text}).to_string();
    let many = [
        ("plain", CHAT, json!({"messages": message(json!(text))})),
        (
            "parts",
            CHAT,
            json!({"messages": message(json!([{"type": "text", "text": "x"}, {"type": "text", "text": text}]))}),
        ),
        (
            "system",
            CHAT,
            json!({"messages": [{"role": "system", "content": text}, {"role": "user", "content": "x"}]}),
        ),
        (
            "second",
            CHAT,
            json!({"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": text}]}),
        ),
        (
            "result",
            CHAT,
            json!({"messages": [{"role": "tool", "tool_call_id": "c", "content": text}]}),
        ),
        (
            "call",
            CHAT,
            json!({"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}]}]}),
        ),
        (
            "tool",
            CHAT,
            json!({"messages": message(json!("x")), "tools": [{"type": "function", "function": {"name": "f", "description": text}}]}),
        ),
        ("user", CHAT, json!({"messages": message(json!("x")), "user": text})),
        (
            "name of a field",
            CHAT,
            json!({"messages": message(json!("x")), "metadata": {text: "1"}}),
        ),
        ("prompt", "/v1/completions", json!({"prompt": ["x", text]})),
        ("input", "/v1/responses", json!({"input": text})),
        (
            "items",
            "/v1/responses",
            json!({"input": [{"type": "function_call_output", "call_id": "c", "output": text}]}),
        ),
        ("instructions", "/v1/responses", json!({"input": "x", "instructions": text})),
        ("embeddings", "/v1/embeddings", json!({"input": ["x", text]})),
        (
            "system of messages",
            "/v1/messages",
            json!({"max_tokens": 5, "system": [{"type": "text", "text": text}], "messages": message(json!("x"))}),
        ),
        (
            "input of a tool",
            "/v1/messages",
            json!({"max_tokens": 5, "messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"deep": [text]}}]}]}),
        ),
        ("count", "/v1/messages/count_tokens", json!({"messages": message(json!(text))})),
    ];
    let with_model = |(what, path, mut body): (&'static str, &'static str, Value)| {
        body["model"] = json!("assistant");
        (what, path, body.to_string())
    };
    many.into_iter().map(with_model).collect()
}

#[tokio::test]
async fn what_is_found_raises_the_class_wherever_it_is_and_whatever_headers_say() {
    let guarded = guarded("OpenAICompatible", DETECTION, ONLY_API).await;
    for text in ["mail Anna@Example.COM", "+49 30 901820", "my card 4111-1111-1111-1111"] {
        for (what, path, body) in hiding_places(text) {
            for body in [
                body.clone(),
                body.replace('@', "\\u0040").replace('+', "\\u002B"),
                body.replace("\"assistant\"", "\"claims/api\""),
            ] {
                let answer = guarded.ask_with(path, &[("x-data-class", "Internal")], &body).await;
                assert_eq!(answer.status, 503, "{what}: {body} {}", answer.text);
                let why = "data of class Personal requires Open or Custom, and the request is of it because its text has ";
                assert!(answer.text.contains(why), "{what}: {}", answer.text);
                // But for the id, whose digits are drawn.
                let told = answer.text.replace(answer.header("x-request-id"), "");
                assert!(["xample", "901820", "1111"].iter().all(|part| !told.contains(part)), "{told}");
            }
        }
    }
    assert_eq!(guarded.api.requests(), 0);
    let answer = guarded.ask(CHAT, &says("nothing to see: order 4111111111111112")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test]
async fn rules_see_the_class_and_nothing_lowers_a_higher_one() {
    let rules = "rules: [{name: personal, when: {dataClasses: [Personal]}, targets: [{model: own}]},
        {name: special, when: {dataClasses: [Special]}, targets: [{model: api}]}, {name: rest, targets: [{model: api}]}]";
    let guarded = guarded("OpenAICompatible", DETECTION, rules).await;
    assert_eq!(
        guarded.ask(CHAT, &says("a@example.com")).await.header("x-portfolio-model"),
        "claims/own"
    );
    assert_eq!(guarded.ask(CHAT, &says("nothing")).await.header("x-portfolio-model"), "claims/api");
    let answer = guarded
        .ask_with(CHAT, &[("x-data-class", "Special")], &says("a@example.com").to_string())
        .await;
    assert_eq!(answer.status, 503);
    assert!(
        answer.text.contains("data of class Special") && !answer.text.contains("because"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn what_cannot_be_looked_into_counts_as_found_and_what_is_not_looked_for_does_not() {
    let guarded = guarded("OpenAICompatible", DETECTION, ONLY_API).await;
    for (path, body) in [
        ("/v1/embeddings", json!({"model": "assistant", "input": [1, 2, 3]})),
        ("/v1/embeddings", json!({"model": "assistant", "input": [[1], [2]]})),
        ("/v1/completions", json!({"model": "assistant", "prompt": [1, 2]})),
    ] {
        let answer = guarded.ask(path, &body).await;
        assert!(answer.text.contains("because it comes as numbers of tokens"), "{}", answer.text);
    }
    // Documented as not found: what is spread over parts, and an address (203.0.113.7) that these settings do not name.
    let parts = json!([{"type": "text", "text": "anna@"}, {"type": "text", "text": "example.com 203.0.113.7"}]);
    let body = json!({"model": "assistant", "messages": [{"role": "user", "content": parts}]});
    assert_eq!(guarded.ask(CHAT, &body).await.status, 200);
}

#[tokio::test]
async fn no_identifier_reaches_a_provider_and_all_come_back() {
    for provider in ["OpenAICompatible", "OpenAI", "Anthropic", "Gemini", "Mistral", "Bedrock"] {
        let guarded = guarded(provider, "{}", REDACTS).await;
        for (what, path, body) in hiding_places("mail Anna@Example.com, +49 30 901820") {
            for body in [body.clone(), body.replace('@', "\\u0040")] {
                let before = guarded.api.requests();
                guarded.ask_with(path, &[], &body).await;
                if guarded.api.requests() > before {
                    let sent = guarded.sent();
                    assert!(!sent.contains("xample") && !sent.contains("901820"), "{provider} {what}: {sent}");
                    let has_it = sent.contains("[EMAIL_1]") && sent.contains("[PHONE_1]");
                    assert!(has_it || ["user", "name of a field"].contains(&what), "{provider} {what}: {sent}");
                }
            }
        }
        assert!(guarded.api.requests() > 0, "{provider}");
    }
}

#[tokio::test]
async fn a_whole_answer_has_the_identifiers_in_the_models_protocol_and_in_others() {
    let guarded = guarded("OpenAICompatible", "{}", REDACTS).await;
    let answer = CONTENT.replace("Paris", "I wrote to [EMAIL_1] \\\"[PHONE_1]\\\", not [EMAIL_2]");
    assert!(answer.contains("[EMAIL_1]"), "{answer}");
    guarded.api.now_does(answers(200, "content-type: application/json\r\n", &answer));
    let text = "to a@example.com +49 30 901820";
    for (path, body) in [
        (CHAT, says(text)),
        (
            "/v1/messages",
            json!({"model": "assistant", "max_tokens": 5, "messages": [{"role": "user", "content": text}]}),
        ),
        ("/v1/responses", json!({"model": "assistant", "input": text})),
    ] {
        let answer = guarded.ask(path, &body).await;
        let expected = r#"I wrote to a@example.com \"+49 30 901820\", not [EMAIL_2]"#;
        assert!(answer.text.contains(expected), "{path}: {}", answer.text);
        assert_eq!(answer.header("x-portfolio-redacted"), "2");
    }
    assert!(
        guarded
            .world
            .metric("portfolio_gateway_redacted_identifiers_total{policy=\"claims/assistant\"}")
            .await
            >= 2.0
    );
    // An error of the provider's that repeats what it was sent.
    guarded.api.now_does(answers(
        400,
        "content-type: application/json\r\n",
        "{\"error\":{\"message\":\"bad: [EMAIL_1]\",\"type\":\"invalid_request_error\"}}",
    ));
    let answer = guarded.ask(CHAT, &says(text)).await;
    assert!(
        answer.status == 400 && answer.text.contains("bad: a@example.com"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn a_stream_has_the_identifiers_however_it_is_cut() {
    let guarded = guarded("OpenAICompatible", "{}", REDACTS).await;
    let say = |text: &str| format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": text}}]}));
    let call = |text: &str| {
        let calls = json!([{"index": 0, "function": {"arguments": text}}]);
        format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"tool_calls": calls}}]}))
    };
    let begin = format!(
        "data: {}\n\n",
        json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "send", "arguments": ""}}]}}]})
    );
    let pieces = [
        say("To [EM"),
        say("AIL"),
        say("_1]. [x"),
        say("]"),
        begin,
        call("{\"to\":\"[EMAIL"),
        call("_1]\"}"),
    ];
    let finish = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n";
    let mut script: Vec<&str> = pieces.iter().map(String::as_str).collect();
    script.extend([finish, "data: [DONE]\n\n"]);
    guarded.api.now_does(streams(&script));
    let mut chat = says("to a@example.com");
    chat["stream"] = json!(true);
    let answer = guarded.ask(CHAT, &chat).await;
    assert!(answer.is_whole && answer.text.ends_with("data: [DONE]\n\n"), "{}", answer.text);
    let events = answer
        .text
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("data: ")?.parse::<Value>().ok());
    let (mut said, mut called) = (String::new(), String::new());
    for event in events {
        let delta = &event["choices"][0]["delta"];
        said += delta["content"].as_str().unwrap_or_default();
        called += delta["tool_calls"][0]["function"]["arguments"].as_str().unwrap_or_default();
    }
    assert_eq!(
        (said.as_str(), called.as_str()),
        ("To a@example.com. [x]", "{\"to\":\"a@example.com\"}")
    );
    // The same stream in the words of another client.
    let body =
        json!({"model": "assistant", "max_tokens": 5, "stream": true, "messages": [{"role": "user", "content": "to a@example.com"}]});
    let answer = guarded.ask("/v1/messages", &body).await;
    let events = answer
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("data: ")?.parse::<Value>().ok());
    let (mut said, mut called) = (String::new(), String::new());
    for event in events {
        said += event["delta"]["text"].as_str().unwrap_or_default();
        called += event["delta"]["partial_json"].as_str().unwrap_or_default();
    }
    assert_eq!(
        (said.as_str(), called.as_str()),
        ("To a@example.com. [x]", "{\"to\":\"a@example.com\"}")
    );
}

#[tokio::test]
async fn a_stream_that_breaks_within_a_placeholder_ends_with_all_that_came_and_an_error() {
    let guarded = guarded("OpenAICompatible", "{}", REDACTS).await;
    let say = |text: &str| format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": text}}]}));
    guarded
        .api
        .now_does(vec![stream_head(), chunk(&say("To")), chunk(&say(" [EMA")), Do::Close]);
    let mut chat = says("to a@example.com");
    chat["stream"] = json!(true);
    let answer = guarded.ask(CHAT, &chat).await;
    let at = |text: &str| answer.text.find(text).unwrap_or_else(|| panic!("{text} is not in {}", answer.text));
    assert!(at("\"To\"") < at("[EMA") && at("[EMA") < at("\"error\""));
}

#[tokio::test]
async fn our_own_pods_get_requests_as_they_are_and_only_a_fallback_to_a_provider_is_redacted() {
    let policy = format!("guardrails: {{redact: [Email]}}, {OWN_THEN_API}");
    let guarded = guarded("OpenAICompatible", "{}", &policy).await;
    let answer = guarded.ask(CHAT, &says("a@example.com")).await;
    assert_eq!(
        (answer.header("x-portfolio-model"), answer.header("x-portfolio-redacted")),
        ("claims/own", "")
    );
    assert!(String::from_utf8(guarded.own.last().body).unwrap().contains("a@example.com"));
    guarded.own.now_does(answers(500, "", "{}"));
    let answer = guarded.ask(CHAT, &says("a@example.com")).await;
    assert_eq!(
        (answer.header("x-portfolio-model"), answer.header("x-portfolio-redacted")),
        ("claims/api", "1")
    );
    assert!(!guarded.sent().contains("a@example.com"));
}

#[tokio::test]
async fn what_cannot_be_redacted_goes_to_no_provider() {
    let guarded = guarded("OpenAI", "{}", REDACTS).await;
    for (path, body, why) in [
        (
            "/v1/embeddings",
            json!({"model": "assistant", "input": [1, 2]}),
            "input is numbers of tokens",
        ),
        (
            "/v1/completions",
            json!({"model": "assistant", "prompt": [1, 2]}),
            "prompt is numbers of tokens",
        ),
        (
            "/v1/responses",
            json!({"model": "assistant", "input": "x", "previous_response_id": "r"}),
            "previous_response_id goes on with what the provider keeps",
        ),
    ] {
        let answer = guarded.ask(path, &body).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(answer.text.contains(why), "{}", answer.text);
    }
    let twice = r#"{"model":"assistant","input":"x","previous_response_id":"r","previous_response_id":null}"#;
    let answer = guarded.ask_with("/v1/responses", &[], twice).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert_eq!(guarded.api.requests(), 0);
}

#[tokio::test]
async fn what_is_all_redacted_does_not_keep_a_request_from_a_provider() {
    let guarded = guarded("OpenAICompatible", DETECTION, REDACTS).await;
    let answer = guarded.ask(CHAT, &says("a@example.com")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(guarded.sent().contains("[EMAIL_1]"));
    // But what a header says of the data does, and what is not redacted.
    let answer = guarded
        .ask_with(CHAT, &[("x-data-class", "Personal")], &says("a@example.com").to_string())
        .await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    let answer = guarded.ask("/v1/embeddings", &json!({"model": "assistant", "input": [1]})).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    guarded
        .world
        .route("guardrails: {redact: [Email]}, rules: [{name: all, targets: [{model: api}]}]");
    let answer = guarded.ask(CHAT, &says("a@example.com")).await;
    assert_eq!(answer.status, 503, "a card could be beside it: {}", answer.text);
    assert_eq!(guarded.api.requests(), 1);
}

const BLOCKS: &str =
    "guardrails: {blockedTerms: {configMapRef: {name: blocked, key: terms.txt}}}, rules: [{name: all, targets: [{model: own}]}]";

fn terms(text: &str) -> Terms {
    let map = json!({"metadata": {"name": "blocked", "namespace": "claims", "labels": {"llmportfolio.dev/terms": "true"}}, "data": {"terms.txt": text}});
    let map: ConfigMap = serde_json::from_value(map).unwrap();
    Terms::of([&map], &Terms::default())
}

#[tokio::test]
async fn a_request_with_a_blocked_term_is_refused_in_its_protocol_wherever_the_term_is() {
    let guarded = guarded("OpenAICompatible", "{}", BLOCKS).await;
    *guarded.world.terms.lock().unwrap() = terms("# ours\nProject Falcon\n");
    guarded.world.route(BLOCKS);
    for (what, path, body) in hiding_places("about PROJECT falcon!") {
        let answer = guarded.ask_with(path, &[], &body).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.text);
        assert!(!answer.text.to_lowercase().contains("falcon"), "{}", answer.text);
        match path.starts_with("/v1/messages") {
            true => assert!(answer.text.starts_with("{\"type\":\"error\""), "{}", answer.text),
            false => assert!(answer.text.contains("\"code\":\"content_blocked\""), "{}", answer.text),
        }
    }
    assert_eq!(guarded.own.requests(), 0);
    assert_eq!(guarded.ask(CHAT, &says("about project falconry")).await.status, 200);
}

#[tokio::test]
async fn a_policy_whose_terms_are_not_there_answers_nothing_until_they_are() {
    let guarded = guarded("OpenAICompatible", "{}", BLOCKS).await;
    for (known, why) in [
        (
            Terms::default(),
            "there is no ConfigMap claims/blocked with the label llmportfolio.dev/terms",
        ),
        (terms("\n"), "the key terms.txt of ConfigMap claims/blocked has no terms"),
        (terms(&"a\n".repeat(10_001)), "has 10001 terms, above the 10000"),
    ] {
        *guarded.world.terms.lock().unwrap() = known;
        guarded.world.route(BLOCKS);
        let answer = guarded.ask(CHAT, &says("x")).await;
        assert_eq!((answer.status.as_u16(), answer.error().0.as_str()), (503, "guardrails_not_ready"));
        assert!(answer.text.contains(why), "{}", answer.text);
        let verdicts = guarded.world.build(BLOCKS).verdicts;
        let verdict = verdicts.values().next().unwrap();
        assert!(
            !verdict.is_ready() && verdict.unguarded.as_ref().unwrap().contains(why),
            "{verdict:?}"
        );
        assert!(verdict.missing.iter().any(|missing| missing.contains(why)));
    }
    *guarded.world.terms.lock().unwrap() = terms("falcon");
    guarded.world.route(BLOCKS);
    assert_eq!(guarded.ask(CHAT, &says("x")).await.status, 200);
}

#[tokio::test]
async fn no_log_and_no_metric_has_an_identifier_a_term_or_a_word_of_a_prompt() {
    let log = Log::default();
    let _guard = log.listen();
    let policy =
        format!("guardrails: {{redact: [Email], blockedTerms: {{configMapRef: {{name: blocked, key: terms.txt}}}}}}, {OWN_THEN_API}");
    let guarded = guarded("OpenAICompatible", DETECTION, &policy).await;
    *guarded.world.terms.lock().unwrap() = terms("# ours\nfalcon\n");
    guarded.world.route(&policy);
    guarded
        .own
        .now_does(answers(500, "", "{\"error\":{\"message\":\"bob@example.com\"}}"));
    for text in ["xyzzyplugh bob@example.com", "xyzzyplugh FALCON", "xyzzyplugh"] {
        guarded.ask(CHAT, &says(text)).await;
    }
    let told = log.text() + &guarded.world.get("/metrics", &[]).await.text;
    for word in ["xyzzyplugh", "bob@", "example.com", "falcon", "FALCON"] {
        assert!(!told.contains(word), "{word}: {told}");
    }
    assert!(
        told.contains("a request has a blocked term") && told.contains("\"line\":2"),
        "{told}"
    );
}
