//! Every request, put to every kind of model, and every answer on its way back, with anything wrong in them that can be: nothing panics,
//! hangs, or grows beyond a multiple of what came in. `PROPTEST_CASES=100000 cargo test --release fuzz` looks longer.

mod mutate;
mod seeds;

use bytes::{Buf, Bytes};
use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::{Asked, Exchange, Put, Recipient};
use crate::protocol::bedrock::frames;
use crate::protocol::error::{Error, Kind};
use crate::protocol::gemini;
use crate::protocol::wire::{Dialect, Operation};
use mutate::{Mutation, mutated, mutations};
use seeds::{ANSWERS, EVENTS, REQUESTS};

const DIALECTS: [Dialect; 6] = [
    Dialect::OpenAI,
    Dialect::OpenAICompatible,
    Dialect::Mistral,
    Dialect::Anthropic,
    Dialect::Gemini,
    Dialect::Bedrock,
];

/// What is sent is at most so many times what came, and so many bytes more. Texts are at most escaped anew; the most comes of many short
/// parts, each of which gets the names of another protocol's fields around it.
const REQUEST_FACTOR: usize = 16;
/// What a client gets for so many bytes of an answer. An event of a few bytes becomes one with the envelope of another protocol, and OpenAI's
/// Responses say every text five times.
const ANSWER_FACTOR: usize = 100;
/// What is there in any case.
const BASE: usize = 16 << 10;

fn recipient(dialect: Dialect) -> Recipient<'static> {
    Recipient {
        dialect,
        model: "some-model",
        max_output_tokens: None,
        google: gemini::Api::Vertex,
    }
}

fn put(operation: Operation, body: &Bytes, dialect: Dialect) -> Option<Box<Exchange>> {
    let asked = Asked::read(operation, body.clone()).ok()?;
    let known = (asked.beginning(), asked.is_repeatable());
    assert_eq!(known, (asked.beginning(), asked.is_repeatable()), "the same each time");
    // What is not understood is told.
    if let Err(unfit) = asked.needs() {
        assert!(!format!("{unfit:?}").is_empty());
    }
    match asked.put(&recipient(dialect), "id1", 1_700_000_000).ok()? {
        Put::Send(exchange) => Some(exchange),
        Put::Estimate(estimate) => {
            serde_json::from_slice::<IgnoredAny>(&estimate).expect("an estimate is JSON");
            None
        }
    }
}

fn all(mut body: impl Buf) -> Bytes {
    body.copy_to_bytes(body.remaining())
}

/// The pieces between these places.
fn cut<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
    at.sort_unstable();
    at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect()
}

/// A streamed answer as a server of this dialect sends it.
fn streamed(events: &[String], dialect: Dialect) -> Vec<u8> {
    let mut bytes = Vec::new();
    for event in events {
        match (dialect, event.split_once(' ')) {
            (Dialect::Bedrock, Some((kind, json))) => bytes.extend(frames::event(kind, json.as_bytes()).unwrap_or_default()),
            (Dialect::Bedrock, None) => bytes.extend_from_slice(event.as_bytes()),
            _ => bytes.extend_from_slice(format!("data: {event}\n\n").as_bytes()),
        }
    }
    bytes
}

/// An exchange whose answer is streamed or not, of every operation that has one.
fn asked(operation: Operation, is_streamed: bool, dialect: Dialect) -> Option<(usize, Box<Exchange>)> {
    let (_, request) = REQUESTS.iter().find(|(of, _)| *of == operation)?;
    let request = match is_streamed {
        true => request.replacen('{', "{\"stream\":true,\"stream_options\":{\"include_usage\":true},", 1),
        false => (*request).to_owned(),
    };
    let body = Bytes::from(request);
    put(operation, &body, dialect).map(|exchange| (body.len(), exchange))
}

fn any_dialect() -> impl Strategy<Value = Dialect> {
    prop::sample::select(DIALECTS.as_slice())
}

fn any_operation() -> impl Strategy<Value = Operation> {
    prop::sample::select(REQUESTS.iter().map(|(operation, _)| *operation).collect::<Vec<_>>())
}

/// A text that stays as it is, more often than not.
fn any_events() -> impl Strategy<Value = Vec<String>> {
    let seeds: Vec<&'static [&'static str]> = EVENTS.iter().map(|(_, events)| *events).collect();
    let event = (any::<prop::sample::Index>(), prop::option::weighted(0.3, mutations()));
    (prop::sample::select(seeds), prop::collection::vec(event, 0..24)).prop_map(|(seeds, chosen)| {
        let one = |(at, mutations): (prop::sample::Index, Option<Vec<Mutation>>)| {
            let seed = *at.get(seeds);
            // Bedrock's have the name of their kind before them.
            let (kind, json) = if seed.starts_with('{') {
                ("", seed)
            } else {
                seed.split_once(' ').unwrap_or(("", seed))
            };
            let json = match &mutations {
                Some(mutations) => String::from_utf8_lossy(&mutated(json, mutations)).replace(['\n', '\r'], " "),
                None => json.to_owned(),
            };
            if kind.is_empty() { json } else { format!("{kind} {json}") }
        };
        chosen.into_iter().map(one).collect()
    })
}

#[test]
fn every_seed_is_understood() {
    let mut sent = 0;
    for (operation, request) in REQUESTS {
        let body = Bytes::from_static(request.as_bytes());
        assert!(Asked::read(*operation, body.clone()).is_ok(), "{request}");
        sent += DIALECTS
            .iter()
            .filter(|dialect| put(*operation, &body, **dialect).is_some())
            .count();
    }
    assert!(sent >= 24, "{sent} of 36 are sent");
    for (dialect, answer) in ANSWERS {
        let back = asked(Operation::ChatCompletions, false, *dialect).unwrap().1.back;
        assert!(back.whole(Bytes::from_static(answer.as_bytes())).is_ok(), "{answer}");
    }
    for (dialect, events) in EVENTS {
        let events: Vec<String> = events.iter().map(|event| (*event).to_owned()).collect();
        let mut stream = asked(Operation::ChatCompletions, true, *dialect).unwrap().1.back.stream();
        stream.pass(streamed(&events, *dialect).into());
        stream.end();
        assert!(stream.seen().done && stream.seen().content && !stream.seen().failed, "{dialect:?}");
    }
}

proptest! {
    #[test]
    fn no_request_breaks_what_puts_it_to_a_model(
        seed in prop::sample::select(REQUESTS.to_vec()),
        mutations in mutations(),
        dialect in any_dialect(),
    ) {
        let (operation, request) = seed;
        let body = Bytes::from(mutated(request, &mutations));
        if let Some(exchange) = put(operation, &body, dialect) {
            let sent = all(exchange.body);
            prop_assert!(sent.len() <= REQUEST_FACTOR * body.len() + BASE, "{} from {}", sent.len(), body.len());
            prop_assert!(serde_json::from_slice::<IgnoredAny>(&sent).is_ok() || exchange.back.is_unchanged());
            prop_assert!(exchange.path.starts_with('/'));
            for field in exchange.lost.fields() {
                prop_assert!(!field.is_empty());
            }
        }
    }

    #[test]
    fn no_answer_breaks_its_way_back(
        seed in prop::sample::select(ANSWERS.to_vec()),
        mutations in mutations(),
        operation in any_operation(),
        dialect in prop::option::of(any_dialect()),
    ) {
        let (own, answer) = seed;
        let Some((asked, exchange)) = asked(operation, false, dialect.unwrap_or(own)) else { return Ok(()) };
        let body = Bytes::from(mutated(answer, &mutations));
        let length = body.len();
        prop_assert!(exchange.back.error(500, Some("ThrottlingException"), &body).message.len() <= 8 * length + BASE);
        match exchange.back.whole(body) {
            Ok(whole) => {
                prop_assert!(whole.body.len() <= ANSWER_FACTOR * length + 8 * asked + BASE, "{} from {}", whole.body.len(), length);
                prop_assert!(serde_json::from_slice::<IgnoredAny>(&whole.body).is_ok() || exchange.back.is_unchanged());
            }
            Err(error) => {
                let said = format!("{error:?}");
                prop_assert!(said.len() <= 8 * length + BASE);
            }
        }
    }

    #[test]
    fn no_stream_breaks_its_way_back(
        events in any_events(),
        operation in any_operation(),
        dialect in any_dialect(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        noise in prop::option::weighted(0.1, prop::collection::vec(any::<u8>(), 0..40)),
    ) {
        let Some((asked, exchange)) = asked(operation, true, dialect) else { return Ok(()) };
        let mut bytes = streamed(&events, dialect);
        bytes.extend(noise.unwrap_or_default());
        let mut stream = exchange.back.stream();
        let mut written = 0;
        for piece in cut(&bytes, &cuts) {
            let passed = stream.pass(Bytes::copy_from_slice(piece));
            let is_written_anew = !exchange.back.is_unchanged();
            prop_assert!(!is_written_anew || passed.is_empty() || passed.ends_with(b"\n\n"), "whole events only");
            written += passed.len();
        }
        written += stream.end().len();
        prop_assert_eq!(stream.tokens(), stream.tokens());
        prop_assert!(stream.text_bytes() <= 8 * bytes.len() as u64);
        prop_assert!(written <= ANSWER_FACTOR * bytes.len() + 8 * asked + BASE, "{} from {}", written, bytes.len());
        let failure = stream.fail(&Error::new(Kind::Server, "m"));
        // After its mark of the end nothing is said any more.
        prop_assert!(failure.ends_with(b"\n\n") || stream.seen().done);
        prop_assert!(failure.len() <= BASE + 8 * (bytes.len() + asked));
    }
}
