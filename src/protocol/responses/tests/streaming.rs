//! Streams as a strict client reads them, whatever a model says; and examples of them for OpenAI's SDKs.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::super::{Echo, Writer};
use super::said;
use super::writing::{TOKENS, arguments, call, reasoning, signature, stream, text, whole};
use crate::protocol::chat::{Delta, HELD_LIMIT, Part, Stop, WriteStream as _};
use crate::protocol::error::{Error, Kind};

/// Reads a stream as a strict client does: numbers without gaps, what is added is done once and with the same words, and the end repeats it all.
pub(super) fn check(events: &[(String, Value)]) {
    let (mut open, mut done) = (BTreeMap::<u64, Value>::new(), BTreeMap::<u64, Value>::new());
    let mut words = BTreeMap::<(u64, Option<u64>), String>::new();
    let mut open_parts = BTreeMap::<(u64, u64), String>::new();
    for (number, (name, data)) in events.iter().enumerate() {
        assert_eq!(
            (data["sequence_number"].as_u64(), data["type"].as_str()),
            (Some(number as u64), Some(name.as_str()))
        );
        assert_eq!(
            number < 2,
            ["response.created", "response.in_progress"].contains(&name.as_str()),
            "{name}"
        );
        let (index, content) = (data["output_index"].as_u64(), data["content_index"].as_u64());
        let item_id = |open: &BTreeMap<u64, Value>| assert_eq!(open[&index.unwrap()]["id"], data["item_id"], "{name}");
        match name.as_str() {
            "response.output_item.added" => {
                assert_eq!(index, Some((open.len() + done.len()) as u64));
                open.insert(index.unwrap(), data["item"].clone());
            }
            "response.output_item.done" => {
                let begun = open.remove(&index.unwrap()).expect("it was added");
                assert_eq!((&begun["id"], &begun["type"]), (&data["item"]["id"], &data["item"]["type"]));
                assert!(open_parts.keys().all(|(item, _)| Some(*item) != index));
                done.insert(index.unwrap(), data["item"].clone());
            }
            "response.content_part.added" => {
                item_id(&open);
                let kind = data["part"]["type"].as_str().unwrap().to_owned();
                assert!(open_parts.insert((index.unwrap(), content.unwrap()), kind).is_none());
            }
            "response.content_part.done" => {
                item_id(&open);
                let kind = open_parts.remove(&(index.unwrap(), content.unwrap())).expect("it was added");
                assert_eq!(data["part"]["type"], kind.as_str());
                let part = &data["part"];
                let said = part["text"].as_str().or(part["refusal"].as_str());
                assert_eq!(said, words.get(&(index.unwrap(), content)).map(String::as_str));
            }
            name if name.ends_with(".delta") => {
                item_id(&open);
                words
                    .entry((index.unwrap(), content))
                    .or_default()
                    .push_str(data["delta"].as_str().unwrap());
            }
            name if name.ends_with(".done") => {
                item_id(&open);
                let said = ["text", "refusal", "arguments"].into_iter().find_map(|field| data[field].as_str());
                let expected = words.get(&(index.unwrap(), content)).map_or("", String::as_str);
                assert_eq!(said, Some(expected));
            }
            "response.completed" | "response.incomplete" => {
                assert!(open.is_empty() && open_parts.is_empty() && number + 1 == events.len());
                let output = data["response"]["output"].as_array().unwrap();
                assert_eq!(output, &done.values().cloned().collect::<Vec<_>>());
            }
            "response.failed" => assert_eq!(number + 1, events.len()),
            "error" => assert_eq!(number + 2, events.len()),
            name => assert!(number < 2, "{name}"),
        }
    }
}

fn stop() -> impl Strategy<Value = Stop> {
    prop::sample::select(vec![Stop::End, Stop::Length, Stop::ToolCalls, Stop::Filtered, Stop::Sequence(None)])
}

fn any_change() -> impl Strategy<Value = Delta> {
    let words = "[a-c\"\\\\\n é]{0,4}";
    let choice = prop::sample::select(vec![0, 0, 0, 0, 1]);
    prop_oneof![
        Just(Delta::Begin { id: None }),
        (choice.clone(), words).prop_map(|(choice, text)| Delta::Text { choice, text }),
        (choice.clone(), words).prop_map(|(choice, text)| Delta::Reasoning { choice, text }),
        (choice.clone(), words).prop_map(|(choice, signature)| Delta::ReasoningSignature { choice, signature }),
        (choice.clone(), words).prop_map(|(choice, data)| Delta::RedactedReasoning { choice, data }),
        (choice.clone(), words).prop_map(|(choice, text)| Delta::Refusal { choice, text }),
        (choice.clone(), 0..3u32, words).prop_map(|(choice, index, id)| Delta::ToolCall {
            choice,
            index,
            id,
            name: "f".to_owned()
        }),
        (choice.clone(), 0..3u32, words).prop_map(|(choice, index, json)| Delta::Arguments { choice, index, json }),
        (choice, stop()).prop_map(|(choice, stop)| Delta::Stop { choice, stop }),
        Just(Delta::Usage(TOKENS)),
    ]
}

fn part() -> impl Strategy<Value = Part> {
    let words = "[a-c\"\n é]{0,4}";
    prop_oneof![
        words.prop_map(Part::Text),
        words.prop_map(Part::Refusal),
        ("[a-c]{1,3}", prop::option::of("[a-c]{1,3}")).prop_map(|(text, signature)| Part::Reasoning { text, signature }),
        words.prop_map(Part::RedactedReasoning),
        (words, words).prop_map(|(id, arguments)| Part::ToolCall {
            id,
            name: "f".to_owned(),
            arguments
        }),
    ]
}

/// The changes that make up an answer.
fn changes(parts: &[Part], stop: &Stop) -> Vec<Delta> {
    let mut changes = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        match part {
            Part::Text(said) => changes.push(text(said)),
            Part::Refusal(said) => changes.push(Delta::Refusal {
                choice: 0,
                text: said.clone(),
            }),
            Part::Reasoning { text, signature: seal } => {
                changes.push(reasoning(text));
                changes.extend(seal.as_deref().map(signature));
            }
            Part::RedactedReasoning(data) => changes.push(Delta::RedactedReasoning {
                choice: 0,
                data: data.clone(),
            }),
            Part::ToolCall { id, name, arguments: json } => {
                changes.push(call(index as u32, id, name));
                changes.push(arguments(index as u32, json));
            }
            part => panic!("no model says {part:?}"),
        }
    }
    changes.extend([Delta::stop(0, stop.clone()), Delta::End]);
    changes
}

#[test]
fn no_answer_is_held_without_a_bound_whatever_it_is_made_of() {
    let piece = "x".repeat(1 << 20);
    let redacted = Delta::RedactedReasoning {
        choice: 0,
        data: piece.clone(),
    };
    for (name, begins, goes_on) in [
        ("words", None, text(&piece)),
        ("thoughts", None, reasoning(&piece)),
        ("a seal", Some(reasoning("hm")), signature(&piece)),
        ("thoughts that nobody can read", None, redacted),
        ("a call", Some(call(0, "c", "f")), arguments(0, &piece)),
        ("calls", None, call(0, "c", &piece)),
    ] {
        let mut writer = Writer::new(said(), Echo::default());
        let mut bytes = Vec::new();
        begins.iter().for_each(|begins| writer.write(begins, &mut bytes));
        for at in 0..HELD_LIMIT >> 20 {
            assert!(writer.refused().is_none(), "{name}: {at} MiB are held");
            writer.write(&goes_on, &mut bytes);
        }
        // What its items take beside their words counts too.
        writer.write(&goes_on, &mut bytes);
        let error = writer.refused().expect(name).clone();
        assert!(error.message.contains("longer than 16 MiB"), "{name}: {}", error.message);
        let before = bytes.len();
        writer.write(&goes_on, &mut bytes);
        assert_eq!(bytes.len(), before, "{name}: nothing more is written");
        writer.write(&Delta::Failed(error), &mut bytes);
        let failed = b"event: response.failed\n";
        assert!(bytes[before..].windows(failed.len()).any(|window| window == failed), "{name}");
    }
    // Many items without words are bounded too.
    let mut writer = Writer::new(said(), Echo::default());
    let mut bytes = Vec::new();
    let mut begun = 0;
    while writer.refused().is_none() {
        bytes.clear();
        writer.write(&call(begun, "", ""), &mut bytes);
        begun += 1;
        assert!(begun < 100_000);
    }
}

proptest! {
    #[test]
    fn any_changes_give_a_valid_stream(
        changes in prop::collection::vec(any_change(), 0..30),
        fails in any::<bool>(),
    ) {
        let last = if fails { Delta::Failed(Error::new(Kind::Server, "no")) } else { Delta::End };
        let events = stream(&[changes, vec![last]].concat());
        check(&events);
        let name = events.last().unwrap().0.as_str();
        prop_assert_eq!(fails, name == "response.failed");
    }

    #[test]
    fn a_stream_ends_with_the_answer_that_comes_in_one_piece(parts in prop::collection::vec(part(), 0..8), stop in stop()) {
        let events = stream(&changes(&parts, &stop));
        check(&events);
        prop_assert_eq!(&events.last().unwrap().1["response"], &whole(parts, stop, None));
    }
}
