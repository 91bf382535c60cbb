//! Providers that break: that stall, are cut, send garbage or give up, before and after the first content. In every protocol the client
//! gets an error of its own, and no mark of an end.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Semaphore;

use super::super::engine::{Do, Engine, chunk_of};
use super::super::world::{Answer, post_to};
use super::cell::{Cell, HEADERS, script};
use super::{Case, Client, Wire, clients, providers};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Break {
    Cut,
    Stalled,
    Garbage,
    GivenUp,
}

const BREAKS: [Break; 4] = [Break::Cut, Break::Stalled, Break::Garbage, Break::GivenUp];

/// What a proxy in between may say.
const GARBAGE: &[u8] = b"<html><head><title>502 Bad Gateway</title></head></html>\n\n";

/// How a stream begins, up to and with the event that says `Par`.
fn beginning(wire: &Wire) -> &[u8] {
    let holds = |bytes: &[u8]| bytes.windows(4).any(|window| window == b"Par\"");
    let mut at = 0;
    while !holds(&wire.body[..at]) {
        let rest = &wire.body[at..];
        at += if wire.content_type.starts_with("text/") {
            rest.windows(2)
                .position(|window| window == b"\n\n")
                .map(|end| end + 2)
                .or_else(|| rest.windows(4).position(|window| window == b"\r\n\r\n").map(|end| end + 4))
                .unwrap()
        } else {
            u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize
        };
    }
    &wire.body[..at]
}

fn breaking(how: Break, cell: &Cell<'_>) -> Vec<Do> {
    match how {
        Break::Cut => vec![Do::Close],
        Break::Stalled => vec![Do::Hang],
        Break::Garbage => vec![chunk_of(GARBAGE), Do::Close],
        Break::GivenUp if cell.passes() && cell.client.name == "responses" => vec![
            chunk_of(b"event: error\ndata: {\"type\":\"error\",\"sequence_number\":5,\"code\":\"server_error\",\"message\":\"at 10.0.0.1\",\"param\":null}\n\n"),
            Do::Hang,
        ],
        Break::GivenUp => vec![chunk_of(&(cell.provider.gives_up)()), Do::Hang],
    }
}

/// The error of a whole answer: that it has all and only the fields of its protocol's errors, and its words.
fn told(client: &Client, answer: &Answer, cell: &str) -> String {
    assert_eq!(answer.header("content-type"), "application/json", "{cell}");
    let json: Value = serde_json::from_str(&answer.text).unwrap_or_else(|e| panic!("{cell}: {e}: {}", answer.text));
    let keys = |value: &Value| {
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort_unstable();
        keys.join(" ")
    };
    if ["messages", "count_tokens"].contains(&client.name) {
        assert_eq!(
            (keys(&json), keys(&json["error"])),
            ("error request_id type".to_owned(), "message type".to_owned()),
            "{cell}"
        );
        assert_eq!(
            (&json["type"], &json["request_id"]),
            (&Value::from("error"), &Value::from("req1")),
            "{cell}"
        );
    } else {
        assert_eq!(
            (keys(&json), keys(&json["error"])),
            ("error".to_owned(), "code message param type".to_owned()),
            "{cell}"
        );
    }
    json["error"]["message"].as_str().unwrap().to_owned()
}

/// That a stream which began ends with one error in its protocol, and without the mark of its end.
fn ends_with_an_error(client: &Client, text: &str, cell: &str) {
    assert!(text.contains("Par"), "{cell}: {text}");
    let last = text
        .strip_suffix("\n\n")
        .unwrap_or_else(|| panic!("{cell}: {text}"))
        .rsplit("\n\n")
        .next()
        .unwrap();
    let (error, end) = match client.name {
        "messages" => ("event: error\ndata: {\"type\":\"error\",\"error\":{", "message_stop"),
        "responses" => ("event: error\n", "response.completed"),
        _ => ("data: {\"error\":{", "[DONE]"),
    };
    assert_eq!(text.matches(error).count(), 1, "{cell}: {text}");
    let is_last = last.starts_with(error) || (client.name == "responses" && last.starts_with("event: response.failed\n"));
    assert!(is_last && !text.contains(end), "{cell}: {text}");
    assert!(!text.contains("10.0.0.1"), "{cell}: {text}");
}

async fn streamed(client: &Client, how: Break, is_late: bool) -> usize {
    let request = (client.request)(Case::Stream).unwrap();
    let providers = providers();
    let cells = providers.iter().map(async |provider| {
        let cell = Cell {
            client,
            provider,
            case: Case::Stream,
            request: request.clone(),
        };
        let wire = cell.wire().unwrap();
        let gate = Arc::new(Semaphore::new(0));
        let mut steps = script(&wire);
        steps.truncate(1);
        if is_late {
            steps.extend([chunk_of(beginning(&wire)), Do::Wait(gate.clone())]);
        }
        steps.extend(breaking(how, &cell));
        let engine = Engine::start(steps).await;
        cell.gives_tokens(&engine);
        let world = cell.world(&engine, "timeouts: {firstToken: 700ms, idle: 700ms}, retries: {attempts: 0}, ");
        let begun = world.call(post_to(client.path, &HEADERS, &request)).await;
        gate.add_permits(1);
        let answer = Answer::read(begun).await;
        let name = format!("{cell}, {how:?}, late: {is_late}");
        if !is_late {
            let status = if how == Break::Stalled { 504 } else { 502 };
            assert_eq!(answer.status, status, "{name}: {}", answer.text);
            let words = told(client, &answer, &name);
            assert!(!words.contains("10.0.0.1") && words.contains("claims/assistant"), "{name}: {words}");
            return;
        }
        assert_eq!((answer.status.as_u16(), answer.is_whole), (200, true), "{name}: {}", answer.text);
        ends_with_an_error(client, &answer.text, &name);
        let outcome = match how {
            Break::Garbage if provider.name != "Bedrock" => "cut",
            Break::Cut => "cut",
            Break::Stalled => "stalled",
            Break::GivenUp => "failed",
            Break::Garbage => "garbled",
        };
        let line = format!(
            "portfolio_gateway_broken_answers_total{{model=\"claims/{}\",outcome=\"{outcome}\"}}",
            cell.name()
        );
        assert_eq!(world.metric(&line).await as u32, 1, "{name}");
    });
    futures::future::join_all(cells).await.len()
}

#[tokio::test]
async fn a_stream_that_breaks_is_told_in_every_protocol() {
    let mut tried = 0;
    for client in clients().iter().filter(|client| (client.request)(Case::Stream).is_ok()) {
        for how in BREAKS {
            for is_late in [false, true] {
                tried += streamed(client, how, is_late).await;
            }
        }
    }
    println!("{tried} streams broke");
}

#[tokio::test]
async fn a_plain_answer_that_is_none_is_told_in_every_protocol() {
    let mut tried = 0;
    for client in &clients() {
        let request = (client.request)(Case::Plain).unwrap();
        for provider in &providers() {
            let cell = |case| Cell {
                client,
                provider,
                case,
                request: request.clone(),
            };
            let Some(wire) = cell(Case::Plain).wire() else { continue };
            let fault = cell(Case::Fault).wire().unwrap();
            let whole = script(&wire);
            let [Do::Send(head), Do::Bytes(body)] = whole.as_slice() else {
                panic!("a plain answer is a head and a body");
            };
            let packed = head.replace("content-length", "content-encoding: gzip\r\ncontent-length");
            let half = body[..body.len() / 2].to_vec();
            for (name, steps) in [
                ("cut", vec![Do::Send(head.clone()), Do::Bytes(half.clone()), Do::Close]),
                ("closed", vec![Do::Close]),
                ("garbage", script(&Wire::json(GARBAGE))),
                ("half of it", script(&Wire::json(half))),
                ("nothing", script(&Wire::json(""))),
                ("no text", script(&Wire::json(b"\xff\xfe\x00".to_vec()))),
                ("another's answer", script(&Wire::json("[null,null]"))),
                (
                    "an error inside",
                    script(&Wire {
                        status: 200,
                        headers: "",
                        ..fault
                    }),
                ),
                ("compressed", vec![Do::Send(packed), Do::Bytes(body.clone())]),
            ] {
                let engine = Engine::start(steps).await;
                let cell = cell(Case::Plain);
                cell.gives_tokens(&engine);
                let world = cell.world(&engine, "retries: {attempts: 0}, ");
                let answer = Answer::read(world.call(post_to(client.path, &HEADERS, &request)).await).await;
                let name = format!("{cell}, {name}");
                assert_eq!(answer.status, 502, "{name}: {}", answer.text);
                let words = told(client, &answer, &name);
                if name.ends_with("compressed") {
                    assert!(words.ends_with("answered compressed, which was not asked for"), "{name}: {words}");
                }
                tried += 1;
            }
        }
    }
    println!("{tried} plain answers were none");
}
