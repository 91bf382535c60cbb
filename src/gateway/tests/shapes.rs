//! What clients of each protocol see when something goes wrong: errors in its own shape, openings that stay hidden, and honest ends.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Semaphore;

use super::engine::{Do, Engine, OPENING, WORD, answers, chunk, stream_head, streams};
use super::world::{Answer, World, post};
use super::{A_THEN_B, ONLY_A};

const TIMES: &str = "timeouts: {firstToken: 500ms, idle: 500ms}";

/// A protocol: where it is spoken, by which provider, a request and a streamed one.
struct Protocol {
    path: &'static str,
    provider: &'static str,
    ask: &'static str,
    stream: &'static str,
    /// What says nothing yet.
    opening: &'static [&'static str],
    content: &'static str,
    /// The rest of an answer that is whole.
    end: &'static [&'static str],
    /// What is only in whole answers.
    mark: &'static str,
    /// What every error event of it has.
    error: &'static str,
}

const PROTOCOLS: [Protocol; 3] = [
    Protocol {
        path: "/v1/chat/completions",
        provider: "OpenAI",
        ask: r#"{"model":"assistant","messages":[{"role":"user","content":"Hi"}]}"#,
        stream: r#"{"model":"assistant","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#,
        opening: &[OPENING, ": ping\n\n"],
        content: WORD,
        end: &[
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
            "data: [DONE]\n\n",
        ],
        mark: "[DONE]",
        error: "data: {\"error\":{",
    },
    Protocol {
        path: "/v1/messages",
        provider: "Anthropic",
        ask: r#"{"model":"assistant","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#,
        stream: r#"{"model":"assistant","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"Hi"}]}"#,
        opening: &[
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n",
            "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
            "event: ping\ndata: {\"type\":\"ping\"}\n\n",
        ],
        content: "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Paris\"}}\n\n",
        end: &[
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ],
        mark: "message_stop",
        error: "event: error\ndata: {\"type\":\"error\",\"error\":{",
    },
    Protocol {
        path: "/v1/responses",
        provider: "OpenAI",
        ask: r#"{"model":"assistant","input":"Hi"}"#,
        stream: r#"{"model":"assistant","stream":true,"input":"Hi"}"#,
        opening: &[
            "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"r\"}}\n\n",
            "event: response.in_progress\ndata: {\"type\":\"response.in_progress\",\"sequence_number\":1,\"response\":{\"id\":\"r\"}}\n\n",
            "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":2,\"output_index\":0}\n\n",
        ],
        content: "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":3,\"delta\":\"Paris\"}\n\n",
        end: &["event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":4,\"response\":{\"id\":\"r\"}}\n\n"],
        mark: "response.completed",
        error: "event: error\ndata: {\"type\":\"error\"",
    },
];

impl Protocol {
    fn whole(&self) -> Vec<&'static str> {
        let content = [self.content];
        [self.opening, content.as_slice(), self.end].concat()
    }

    async fn ask(&self, world: &World, body: &str) -> Answer {
        world.ask_at(self.path, body).await
    }
}

#[tokio::test]
async fn in_each_protocol_a_failure_behind_the_opening_stays_hidden() {
    for protocol in PROTOCOLS {
        let opening = |end: &[Do]| {
            let mut script = vec![stream_head()];
            script.extend(protocol.opening.iter().map(|event| chunk(event)));
            script.extend_from_slice(end);
            script
        };
        let failures = [
            ("cut", opening(&[Do::Close])),
            ("silent", opening(&[Do::Hang])),
            (
                "an error",
                opening(&[
                    chunk("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}\n\n"),
                    Do::Hang,
                ]),
            ),
        ];
        for (name, script) in failures {
            let (a, b) = (Engine::start(script).await, Engine::start(streams(&protocol.whole())).await);
            let world = World::new();
            world.api_with_key("a", protocol.provider, &a.url);
            world.api_with_key("b", protocol.provider, &b.url);
            world.route(&format!("{TIMES}, {A_THEN_B}"));
            let answer = protocol.ask(&world, protocol.stream).await;
            assert_eq!(
                answer.header("x-portfolio-model"),
                "claims/b",
                "{} {name}: {}",
                protocol.path,
                answer.text
            );
            assert_eq!(answer.text, protocol.whole().concat(), "{} {name}", protocol.path);
        }
    }
}

#[tokio::test]
async fn in_each_protocol_a_failure_behind_content_is_told_in_an_event_and_has_no_mark_of_the_end() {
    for protocol in PROTOCOLS {
        for (name, end) in [("cut", Do::Close), ("stalled", Do::Hang)] {
            let mut script = vec![stream_head()];
            script.extend(protocol.opening.iter().map(|event| chunk(event)));
            script.extend([chunk(protocol.content), end]);
            let (a, b) = (Engine::start(script).await, Engine::start(streams(&protocol.whole())).await);
            let world = World::new();
            world.api_with_key("a", protocol.provider, &a.url);
            world.api_with_key("b", protocol.provider, &b.url);
            world.route(&format!("{TIMES}, {A_THEN_B}"));
            let answer = protocol.ask(&world, protocol.stream).await;
            let shown = [protocol.opening.concat().as_str(), protocol.content].concat();
            let last = answer
                .text
                .strip_prefix(&shown)
                .unwrap_or_else(|| panic!("{name}: {}", answer.text));
            assert!(
                last.starts_with(protocol.error) && last.ends_with("}\n\n"),
                "{} {name}: {last}",
                protocol.path
            );
            assert!(last.contains("in the middle of its answer: the answer is not whole"), "{last}");
            assert!(!answer.text.contains(protocol.mark), "{}", answer.text);
            assert_eq!((answer.is_whole, b.requests()), (true, 0));
        }
    }
}

#[tokio::test]
async fn the_same_holds_where_the_answer_is_written_anew() {
    for protocol in &PROTOCOLS[1..] {
        let silent = vec![stream_head(), chunk(OPENING), Do::Close];
        let (a, b) = (Engine::start(silent).await, Engine::start(streams(&PROTOCOLS[0].whole())).await);
        let world = World::over(&[&a, &b], &format!("{TIMES}, {A_THEN_B}"));
        let answer = protocol.ask(&world, protocol.stream).await;
        assert_eq!(answer.header("x-portfolio-model"), "claims/b", "{}", answer.text);
        assert!(
            answer.text.contains("Paris") && answer.text.contains(protocol.mark),
            "{}",
            answer.text
        );
        for start in ["event: message_start", "event: response.created", "event: error"] {
            assert!(answer.text.matches(start).count() <= 1, "one beginning: {}", answer.text);
        }

        let cut = Engine::start(vec![stream_head(), chunk(OPENING), chunk(WORD), Do::Close]).await;
        let world = World::over(&[&cut, &b], &format!("{TIMES}, {A_THEN_B}"));
        let answer = protocol.ask(&world, protocol.stream).await;
        assert!(
            answer.text.contains("Paris") && answer.text.contains(protocol.error),
            "{}",
            answer.text
        );
        assert!(!answer.text.contains(protocol.mark), "{}", answer.text);
    }
}

/// The type of an error in the shape of the path's protocol.
fn kind(path: &str, answer: &Answer) -> String {
    let json: Value = serde_json::from_str(&answer.text).unwrap_or_else(|_| panic!("{path}: {}", answer.text));
    if path == "/v1/messages" {
        assert_eq!(json["type"], "error", "{}", answer.text);
        assert!(!answer.text.contains("\"param\""));
    } else {
        assert!(
            json.get("type").is_none() && json["error"].get("param").is_some(),
            "{}",
            answer.text
        );
    }
    assert!(json["error"]["message"].is_string());
    assert_eq!(answer.header("content-type"), "application/json");
    json["error"]["type"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn refusals_have_the_shape_of_the_clients_protocol() {
    for protocol in PROTOCOLS {
        let (path, is_anthropic) = (protocol.path, protocol.path == "/v1/messages");
        let check = |answer: &Answer, status: u16, ours: &str, openai: &str| {
            assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text);
            assert_eq!(kind(path, answer), if is_anthropic { ours } else { openai }, "{path}");
        };
        let busy = Engine::start(answers(429, "retry-after: 7\r\n", "{}")).await;
        let world = World::new();
        world.api_with_key("a", protocol.provider, &busy.url);
        world.route(&format!("maxBodyBytes: 1Ki, {ONLY_A}"));
        let answer = protocol.ask(&world, protocol.ask).await;
        check(&answer, 429, "rate_limit_error", "rate_limit_error");
        assert_eq!(answer.header("retry-after"), "7");

        let large = protocol.ask.replace("Hi", &"x".repeat(2000));
        let answer = protocol.ask(&world, &large).await;
        check(&answer, 413, "request_too_large", "invalid_request_error");
        let answer = protocol.ask(&world, &protocol.ask.replace("assistant", "other")).await;
        check(&answer, 404, "not_found_error", "invalid_request_error");
        let answer = protocol.ask(&world, "{").await;
        check(&answer, 400, "invalid_request_error", "invalid_request_error");

        let world = World::with(|options| options.max_requests = 1);
        let gate = Arc::new(Semaphore::new(0));
        let mut slow = vec![stream_head(), chunk(protocol.content), Do::Wait(gate.clone())];
        slow.extend(protocol.end.iter().map(|event| chunk(event)));
        slow.push(super::engine::stream_end());
        let engine = Engine::start(slow).await;
        world.api_with_key("a", protocol.provider, &engine.url);
        world.route(ONLY_A);
        let mut request = post(&[("authorization", "Bearer claims.x.web")], protocol.stream);
        *request.uri_mut() = path.parse().unwrap();
        let open = world.call(request).await;
        let answer = protocol.ask(&world, protocol.ask).await;
        check(&answer, 503, "overloaded_error", "server_error");
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(world.get("/healthz", &[]).await.status, 200);
        gate.add_permits(100);
        assert!(Answer::read(open).await.text.contains(protocol.mark));
        assert!(
            protocol.ask(&world, protocol.stream).await.text.contains(protocol.mark),
            "its turn is free again"
        );
    }
}
