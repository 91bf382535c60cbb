//! What passes, and what does not: 8, 10, 14, 16, 20.

use super::super::engine::{Do, Engine, answers, chunk, chunk_of, paris, stream_end, stream_head};
use super::super::world::World;
use super::super::{A_THEN_B, ASK, ONLY_A, STREAM};
use super::{ONLY_M, provider};
use crate::plan::names::Key;
use crate::protocol::bedrock::frames;

#[tokio::test]
async fn pitfall_08_headers_that_give_away() {
    let secrets = "set-cookie: a=b\r\nopenai-organization: acme\r\nvia: 10.0.0.1\r\ncontent-language: fr\r\n";
    let engine = Engine::start(answers(200, secrets, "{\"choices\":[]}")).await;
    let world = provider("OpenAI", &engine, "", ONLY_M);
    let headers = [
        ("authorization", "Bearer claims.x.web"),
        ("x-api-key", "sk-of-the-client"),
        ("api-key", "sk-of-the-client"),
        ("x-stainless-os", "Linux"),
        ("user-agent", "OpenAI/Python 2.1"),
        ("x-forwarded-for", "10.1.1.1"),
        ("accept-encoding", "gzip, br"),
        ("expect", "100-continue"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    let answer = world.ask_with(&headers, ASK).await;
    assert_eq!(answer.status, 200);
    let head = engine.last().head.to_ascii_lowercase();
    for absent in ["claims.x.web", "client", "stainless", "python", "10.1.1.1", "gzip", "expect"] {
        assert!(!head.contains(absent), "{absent}: {head}");
    }
    assert!(
        head.contains("authorization: bearer sk-1\r\n") && head.contains("accept-encoding: identity\r\n") && head.contains("traceparent: ")
    );
    for absent in ["set-cookie", "openai-organization", "via"] {
        assert!(!answer.headers.contains_key(absent), "{absent}");
    }
    assert_eq!(answer.header("content-language"), "fr");
}

#[tokio::test]
async fn pitfall_10_json_written_anew() {
    let said = "{\"choices\": [ ],\"temperature\":1.0, \"n\":9007199254740993,\"n\":2, \"z\":\"\\u00e9\\/\",\"a\":null}\n";
    let engine = Engine::start(answers(200, "", said)).await;
    let world = World::over(&[&engine], ONLY_A);
    let body = "{ \"seed\":9007199254740993,\"temperature\":1.0,\"x_custom\":{\"model\":\"assistant\",\"z\":1,\"a\":2},\"note\":\"\\u00e9\\/\",\"note\":null,\n\"messages\":[],\"model\":\"assistant\",\"a_last\":null }";
    let answer = world.ask(body).await;
    assert_eq!(answer.text, said);
    let sent = String::from_utf8(engine.last().body).unwrap();
    assert_eq!(
        sent,
        body.replace("\"model\":\"assistant\",\"a_last\"", "\"model\":\"a\",\"a_last\"")
    );
}

const ANTHROPICS: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"x\",\"usage\":{\"input_tokens\":7,\"output_tokens\":1}}}\n\n\
event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Pariß\"}}\n\n\
event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":5}}\n\n\
event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

#[tokio::test]
async fn pitfall_14_events_in_every_framing() {
    let ask = STREAM.replace("[]", r#"[{"role":"user","content":"hi"}]"#);
    let told = async |text: &[u8], size: usize| {
        let mut script = vec![stream_head()];
        script.extend(text.chunks(size).map(chunk_of));
        script.push(stream_end());
        let engine = Engine::start(script).await;
        let world = provider("Anthropic", &engine, "", ONLY_M);
        let answer = world
            .ask_with(&[("authorization", "Bearer claims.x.web"), ("x-request-id", "r")], &ask)
            .await;
        (answer.status.as_u16(), answer.text)
    };
    let expected = told(ANTHROPICS.as_bytes(), usize::MAX).await;
    assert!(
        expected.0 == 200 && expected.1.contains("Pariß") && expected.1.ends_with("data: [DONE]\n\n"),
        "{expected:?}"
    );
    for size in [1, 2, 3, 7, 64] {
        assert_eq!(told(ANTHROPICS.as_bytes(), size).await, expected, "in pieces of {size}");
    }
    let crlf = ANTHROPICS.replace('\n', "\r\n");
    let cr = ANTHROPICS.replace('\n', "\r");
    let bom = format!("\u{feff}{ANTHROPICS}");
    let comments = ANTHROPICS.replace("event: ", ": note\nid: 7\nretry: 9\nevent: ");
    let lines = ANTHROPICS.replace(",\"delta\":", ",\ndata: \"delta\":");
    let tight = ANTHROPICS.replace("data: ", "data:");
    for (name, text) in [
        ("CRLF", &crlf),
        ("CR", &cr),
        ("a byte order mark", &bom),
        ("comments", &comments),
        ("data in several lines", &lines),
        ("no space after the colon", &tight),
    ] {
        for size in [1, 5, usize::MAX] {
            assert_eq!(told(text.as_bytes(), size).await, expected, "{name}, in pieces of {size}");
        }
    }
    for encoding in ["gzip", "br", "x-unknown, identity"] {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: {encoding}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let engine = Engine::start(vec![Do::Send(head), chunk_of(b"\x1f\x8b\x08\x00"), stream_end()]).await;
        let answer = World::over(&[&engine], ONLY_A).ask(STREAM).await;
        assert_eq!(answer.status, 502, "{encoding}: {}", answer.text);
        assert!(
            answer.error().1.ends_with("a answered compressed, which was not asked for"),
            "{encoding}: {}",
            answer.text
        );
        assert_eq!(engine.requests(), 1, "asking again brings the same");
    }
    // Amazon's frames have a checksum.
    let frame = |kind: &str, json: &str| frames::event(kind, json.as_bytes()).unwrap();
    let mut broken = frame("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"is"}}"#);
    let middle = broken.len() / 2;
    broken[middle] ^= 1;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\r\n\r\n";
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let script = vec![
        Do::Send(head.to_owned()),
        chunk_of(&frame("messageStart", r#"{"role":"assistant"}"#)),
        chunk_of(&frame("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"Par"}}"#)),
        Do::Wait(gate.clone()),
        chunk_of(&broken),
        chunk(""),
    ];
    let engine = Engine::start(script).await;
    let world = World::new();
    let api = format!(
        "provider: Bedrock, model: x, region: eu-west-1, endpoint: '{}', credentials: {{secretRef: {{name: s, key: k}}}}",
        engine.url
    );
    world.provider("m", &format!("{{api: {{{api}}}}}"));
    let held = world.credential("m", "AKIDEXAMPLE:secret");
    let credentials = crate::gateway::Credentials::new([held], &crate::gateway::Credentials::default());
    world.source.credentials.send_replace(credentials.into());
    world.route(ONLY_M);
    let begun = world
        .call(super::super::world::post(&[("authorization", "Bearer claims.x.web")], &ask))
        .await;
    gate.add_permits(1);
    let answer = super::super::world::Answer::read(begun).await;
    assert!(
        answer.text.contains("Par") && answer.text.contains("data: {\"error\":{"),
        "{}",
        answer.text
    );
    assert!(!answer.text.contains("[DONE]"));
}

#[tokio::test]
async fn pitfall_16_models_that_cannot_do_what_is_asked() {
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let world = World::new();
    let little = "tools: false, images: false, jsonSchema: false, maxOutputTokens: 100, contextTokens: 1000";
    for (name, engine, capabilities) in [("a", &a, little), ("b", &b, "tools: true")] {
        let api = format!("provider: OpenAICompatible, model: x, endpoint: '{}/v1'", engine.url);
        world.provider(name, &format!("{{api: {{{api}}}, capabilities: {{{capabilities}}}}}"));
    }
    world.route(A_THEN_B);
    let more = [
        r#""tools":[{"type":"function","function":{"name":"f"}}]"#.to_owned(),
        r#""response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}}"#.to_owned(),
        r#""max_tokens":101"#.to_owned(),
        r#""max_completion_tokens":101"#.to_owned(),
        format!(r#""user":"u","messages":[{{"role":"user","content":"{}"}}]"#, "word ".repeat(9_000)),
        r#""messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]}]"#
            .to_owned(),
    ];
    for more in &more {
        let ask = if more.contains("\"messages\"") {
            format!(r#"{{"model":"assistant",{more}}}"#)
        } else {
            ASK.replacen('{', &format!("{{{more},"), 1)
        };
        let answer = world.ask(&ask).await;
        assert_eq!(
            answer.header("x-portfolio-model"),
            "claims/b",
            "{}: {}",
            &more[..more.len().min(90)],
            answer.text
        );
        assert_eq!(answer.header("x-portfolio-attempts"), "1");
    }
    assert_eq!((a.requests(), b.requests()), (0, more.len()));
    assert_eq!(world.ask(ASK).await.header("x-portfolio-model"), "claims/a");
    // Where no model can, the field is named before anything is sent.
    world.route(ONLY_A);
    let answer = world.ask(&ASK.replacen('{', &format!("{{{},", more[0]), 1)).await;
    assert_eq!((answer.status.as_u16(), answer.error().0.as_str()), (400, "unsupported"));
    assert!(answer.text.contains("\"param\":\"tools\""), "{}", answer.text);
    assert_eq!(a.requests(), 1);
}

#[tokio::test]
async fn pitfall_20_config_errors_fail_at_apply() {
    let world = World::new();
    world.pod("a", &[]);
    let spec = "rules: [{targets: [{model: a}], fallback: [{model: nope}]}]";
    // What requests would be told stands in the policy's status before the first.
    let built = world.build(spec);
    let verdict = &built.verdicts[&Key::new("claims", "assistant")];
    assert!(!verdict.is_ready());
    assert_eq!(verdict.missing.len(), 1, "{:?}", verdict.missing);
    assert!(verdict.missing[0].contains("nope does not exist"), "{:?}", verdict.missing);
    world.route(spec);
    let (code, message) = world.ask(ASK).await.error();
    assert_eq!(code, "no_eligible_model");
    for target in &verdict.targets {
        let why = target.message.as_deref().unwrap();
        assert!(!target.eligible && message.contains(why), "{why}: {message}");
    }
    // And the API server refuses what can be seen to be wrong.
    let crd = serde_json::to_string(&<crate::api::ModelDeployment as kube::CustomResourceExt>::crd()).unwrap();
    assert!(crd.contains("endpoint is required for the provider AzureOpenAI"));
    let read =
        |spec: &str| serde_saphyr::from_str::<crate::api::RoutingPolicy>(&format!("metadata: {{name: p}}\nspec: {{model: m, {spec}}}"));
    assert!(read("rules: [{targets: [{model: a}]}]").is_ok());
    for wrong in [
        "rules: [{targets: [{modle: a}]}]",
        "rules: [{targets: [{model: a}]}], timeouts: {total: soon}",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
