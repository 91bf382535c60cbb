//! What holds for every answer, and for what is none.

use proptest::prelude::*;
use serde_json::json;

use super::super::super::sse::Splitter;
use super::*;

/// Parts of an answer, as Google's model writes them.
fn parts() -> impl Strategy<Value = Vec<Value>> {
    let part = prop_oneof![
        ".{0,12}".prop_map(|text| json!({"text": text})),
        ".{0,12}".prop_map(|text| json!({"text": text, "thought": true})),
        ("[a-z]{1,4}", ".{0,8}", prop::option::of("[A-Za-z0-9+/]{8}")).prop_map(|(name, value, seal)| {
            let mut part = json!({"functionCall": {"name": name, "args": {"v": value, "n": 1.0}}});
            if let Some(seal) = seal {
                part["thoughtSignature"] = json!(seal);
            }
            part
        }),
        "[A-Za-z0-9+/]{8}".prop_map(|seal| json!({"text": "", "thoughtSignature": seal})),
    ];
    prop::collection::vec(part, 1..8)
}

fn answer(parts: &[Value], is_last: bool) -> Value {
    let mut candidate = json!({"index": 0, "content": {"role": "model", "parts": parts}});
    if is_last {
        candidate["finishReason"] = json!("STOP");
    }
    json!({"candidates": [candidate], "responseId": "r", "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4}})
}

/// Everything that is read of a stream that comes in such pieces.
fn streamed(stream: &[u8], cuts: &[usize]) -> Vec<Delta> {
    let (mut splitter, mut reader, mut changes) = (Splitter::default(), Reader::default(), Vec::new());
    let mut begin = 0;
    for end in cuts.iter().copied().chain([stream.len()]) {
        splitter.feed(&stream[begin..end.max(begin)], |data, _| reader.read(data, &mut changes));
        begin = end.max(begin);
    }
    changes
}

proptest! {
    #[test]
    fn a_stream_says_what_the_whole_answer_says(parts in parts()) {
        let whole = read_answer(serde_json::to_string_pretty(&answer(&parts, true)).unwrap().as_bytes()).unwrap();
        let events: Vec<String> = parts.iter().enumerate()
            .map(|(index, part)| answer(std::slice::from_ref(part), index + 1 == parts.len()).to_string()).collect();
        let changes = deltas(&events.iter().map(String::as_str).collect::<Vec<_>>());
        prop_assert_eq!(changes.last(), Some(&Delta::End));
        let (mut texts, mut thoughts, mut arguments, mut ids) = (String::new(), String::new(), Vec::new(), Vec::new());
        for change in changes {
            match change {
                Delta::Text { text, .. } => texts += &text,
                Delta::Reasoning { text, .. } => thoughts += &text,
                Delta::ToolCall { id, .. } => ids.push(id),
                Delta::Arguments { json, .. } => arguments.push(json),
                Delta::Stop { stop, .. } => prop_assert_eq!(stop, whole.choices[0].stop.clone()),
                Delta::Usage(tokens) => prop_assert_eq!(Some(tokens), whole.usage),
                _ => {}
            }
        }
        let (mut whole_texts, mut whole_thoughts, mut whole_arguments, mut whole_ids) = (String::new(), String::new(), Vec::new(), Vec::new());
        for part in &whole.choices[0].parts {
            match part {
                Part::Text(text) => whole_texts += text,
                Part::Reasoning { text, .. } => whole_thoughts += text,
                Part::ToolCall { id, arguments, .. } => {
                    whole_ids.push(id.clone());
                    whole_arguments.push(arguments.clone());
                }
                _ => {}
            }
        }
        prop_assert_eq!((texts, thoughts, arguments, ids), (whole_texts, whole_thoughts, whole_arguments, whole_ids));
    }

    #[test]
    fn what_the_model_said_goes_back_as_it_was(parts in parts()) {
        let whole = read_answer(answer(&parts, true).to_string().as_bytes()).unwrap();
        let mut request = asking("Hi");
        request.messages.push(saying(Role::Assistant, whole.choices[0].parts.clone()));
        let (body, lost) = written_for(&request, "gemini-2.5-flash").unwrap();
        prop_assert!(lost.is_empty());
        let sent = body["contents"].as_array().unwrap().get(1).map(|content| content["parts"].as_array().unwrap().clone()).unwrap_or_default();
        let calls = |parts: &[Value]| -> Vec<Value> { parts.iter().filter(|part| part.get("functionCall").is_some()).cloned().collect() };
        prop_assert_eq!(calls(&sent), calls(&parts));
        let seals = |parts: &[Value]| -> Vec<Value> { parts.iter().filter_map(|part| part.get("thoughtSignature").cloned()).collect() };
        prop_assert_eq!(seals(&sent), seals(&parts));
        let words = |parts: &[Value]| -> String { parts.iter().filter_map(|part| part.get("text")?.as_str()).collect() };
        prop_assert_eq!(words(&sent), words(&parts));
    }

    #[test]
    fn where_a_stream_is_cut_into_pieces_changes_nothing(parts in parts(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8), end in any::<prop::sample::Index>()) {
        let event = |(index, part): (usize, &Value)| format!("data: {}\r\n\r\n", answer(std::slice::from_ref(part), index + 1 == parts.len()));
        let stream: String = parts.iter().enumerate().map(event).collect();
        let stream = stream.as_bytes();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let whole = streamed(stream, &[]);
        prop_assert_eq!(&streamed(stream, &cuts), &whole);
        // One that breaks off says the beginning of it, and never that it is whole.
        let cut = streamed(&stream[..end.index(stream.len() - 2)], &[]);
        prop_assert!(whole.starts_with(&cut) && !cut.contains(&Delta::End));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..120),
        json in prop::collection::vec(prop::sample::select(vec!["{", "}", "[", "]", ":", ",", "\"candidates\"", "\"content\"", "\"parts\"", "\"text\"", "\"error\"",
            "\"details\"", "\"functionCall\"", "\"args\"", "\"usageMetadata\"", "\"promptFeedback\"", "\"embeddings\"", "\"predictions\"", "null", "1", "-1", "1e999", "\"AIza\""]), 0..24)) {
        for body in [bytes, json.concat().into_bytes()] {
            let mut changes = Vec::new();
            Reader::default().read(&body, &mut changes);
            let _ = (read_answer(&body), read_error(400, &body), retry_after(&body));
            let _ = embeddings::read_answer(&body);
        }
    }

    #[test]
    fn no_message_is_too_odd_to_be_passed_on(message in "(AIza|api_key:|projects/|in project |[a-z …é'/]){0,12}") {
        let error = read_error(400, json!({"error": {"message": message}}).to_string().as_bytes());
        prop_assert!(!error.message.contains("AIza"));
    }
}
