//! Conversations and answers of every kind that the protocol can express, for properties.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Number;

use crate::protocol::chat::{
    Answer, Choice, Delta, Format, Json, Media, Message, Part, Reasoning, Request, Role, Said, Stop, Tool, ToolChoice,
};
use crate::protocol::usage::Tokens;

pub(super) fn said() -> Said {
    Said {
        model: "m".to_owned(),
        id: "1".to_owned(),
        created: 7,
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{1,12}",
        select(vec!["a\n\"b\"\\", "é😀", "data: [DONE]\n\n", "null"]).prop_map(str::to_owned)
    ]
}

fn media() -> impl Strategy<Value = Media> {
    prop_oneof![
        "https://x/[a-z]{1,5}".prop_map(Media::Url),
        "[A-Za-z0-9+/]{4}".prop_map(|data| Media::Inline {
            media_type: "image/png".to_owned(),
            data
        }),
    ]
}

fn user_part() -> impl Strategy<Value = Part> {
    let document = "[A-Za-z0-9+/]{4}".prop_map(|data| Part::Document {
        media: Media::Inline {
            media_type: "application/pdf".to_owned(),
            data,
        },
        name: Some("a.pdf".to_owned()),
    });
    let audio = "[A-Za-z0-9+/]{4}".prop_map(|data| Part::Audio {
        data,
        format: "wav".to_owned(),
    });
    let detail = prop::option::of(Just("low".to_owned()));
    let image = (media(), detail).prop_map(|(media, detail)| Part::Image { media, detail });
    prop_oneof![4 => text().prop_map(Part::Text), 1 => image, 1 => document, 1 => audio]
}

fn call() -> impl Strategy<Value = Part> {
    ("call_[a-z0-9]{4}", "[a-z]{1,6}", select(vec!["{}", r#"{"a":"é\n"}"#, r#"{"cut"#])).prop_map(|(id, name, arguments)| Part::ToolCall {
        id,
        name,
        arguments: arguments.to_owned(),
    })
}

fn result() -> impl Strategy<Value = Part> {
    ("call_[a-z0-9]{4}", prop::collection::vec(text().prop_map(Part::Text), 1..3)).prop_map(|(id, parts)| Part::ToolResult {
        id,
        parts,
        is_error: false,
    })
}

fn message(has_thoughts: bool) -> impl Strategy<Value = Message> {
    let system = prop::collection::vec(text().prop_map(Part::Text), 1..3).prop_map(|parts| Message { role: Role::System, parts });
    let user = prop::collection::vec(user_part(), 1..4).prop_map(|parts| Message { role: Role::User, parts });
    let results = prop::collection::vec(result(), 1..3).prop_map(|parts| Message { role: Role::User, parts });
    let thought = prop::option::of(text().prop_map(|text| Part::Reasoning { text, signature: None }));
    let texts = prop::collection::vec(text().prop_map(Part::Text), 0..3);
    let assistant = (thought, texts, prop::collection::vec(call(), 0..3)).prop_map(move |(thought, texts, calls)| Message {
        role: Role::Assistant,
        parts: thought.filter(|_| has_thoughts).into_iter().chain(texts).chain(calls).collect(),
    });
    prop_oneof![system, user, results, assistant]
}

/// Results of tools that follow one another are one message.
fn merged(messages: Vec<Message>) -> Vec<Message> {
    let is_results = |message: &Message| matches!(message.parts.first(), Some(Part::ToolResult { .. }));
    let mut merged = Vec::<Message>::new();
    for message in messages {
        match merged.last_mut() {
            Some(before) if is_results(before) && is_results(&message) => before.parts.extend(message.parts),
            _ => merged.push(message),
        }
    }
    merged
}

fn schema() -> impl Strategy<Value = Json> {
    select(vec![
        r#"{"type":"object","properties":{"z":{"type":"integer","maximum":9007199254740993},"a":{}}}"#,
        "{ }",
    ])
    .prop_map(|schema| Json::parse(schema).unwrap())
}

fn tool() -> impl Strategy<Value = Tool> {
    (
        "[a-z]{1,6}",
        prop::option::of(text()),
        prop::option::of(schema()),
        any::<Option<bool>>(),
    )
        .prop_map(|(name, description, parameters, strict)| Tool {
            name,
            description,
            parameters,
            strict,
            cache: None,
        })
}

fn number() -> impl Strategy<Value = Option<Number>> {
    prop::option::of(select(vec![
        Number::from(1),
        Number::from(9_007_199_254_740_993_u64),
        Number::from_f64(0.7).unwrap(),
    ]))
}

/// A request that loses nothing; `is_rich`: with thoughts and `top_k`, which only imitators take.
pub(super) fn request(is_rich: bool) -> impl Strategy<Value = Request> {
    let choice = select(vec![
        ToolChoice::Auto,
        ToolChoice::None,
        ToolChoice::Required,
        ToolChoice::Tool("t".to_owned()),
    ]);
    let named = (schema(), any::<Option<bool>>(), prop::option::of(text())).prop_map(|(schema, strict, description)| Format::JsonSchema {
        name: Some("n".to_owned()),
        description,
        schema,
        strict,
    });
    let format = prop_oneof![Just(Format::Text), Just(Format::JsonObject), named];
    let reasoning = select(vec![Reasoning::Off, Reasoning::Effort("low".to_owned())]);
    let asked = (
        prop::collection::vec(message(is_rich), 0..5).prop_map(merged),
        prop::collection::vec(tool(), 0..3),
        prop::option::of(choice),
        format,
        prop::option::of(reasoning),
        prop::collection::vec(text(), 0..3),
    );
    let sampled = (number(), number(), number(), number(), number(), number());
    let others = (
        any::<Option<bool>>(),
        any::<Option<u64>>(),
        prop::option::of(1_u64..5),
        prop::option::of(text()),
        any::<bool>(),
    );
    (asked, sampled, others).prop_map(move |(asked, sampled, others)| {
        let (messages, tools, tool_choice, format, reasoning, stop) = asked;
        let (temperature, top_p, top_k, presence_penalty, frequency_penalty, seed) = sampled;
        let (parallel_tool_calls, max_tokens, choices, user, stream) = others;
        Request {
            messages,
            tools,
            tool_choice,
            parallel_tool_calls,
            max_tokens,
            temperature,
            top_p,
            top_k: top_k.filter(|_| is_rich),
            presence_penalty,
            frequency_penalty,
            seed,
            stop,
            format,
            reasoning,
            choices,
            user,
            stream,
        }
    })
}

fn tokens() -> impl Strategy<Value = Tokens> {
    prop::array::uniform7(0_u64..1000).prop_map(
        |[input, cache_read, cache_write, audio_input, output, reasoning, audio_output]| Tokens {
            input,
            cache_read,
            cache_write,
            cache_write_1h: 0,
            audio_input,
            output,
            reasoning,
            audio_output,
            ..Tokens::default()
        },
    )
}

fn choice() -> impl Strategy<Value = Choice> {
    let thought = prop::option::of(text().prop_map(|text| Part::Reasoning { text, signature: None }));
    let words = prop::option::of(text().prop_map(Part::Text));
    let refusal = prop::option::of(text().prop_map(Part::Refusal));
    let calls = prop::collection::vec(call(), 0..3);
    let stop = select(vec![Stop::End, Stop::Length, Stop::Sequence(Some("s".to_owned())), Stop::Filtered]);
    (thought, words, refusal, calls, stop).prop_map(|(thought, words, refusal, calls, stop)| {
        let is_done = matches!(stop, Stop::End | Stop::Sequence(_));
        Choice {
            stop: if is_done && !calls.is_empty() { Stop::ToolCalls } else { stop },
            parts: thought.into_iter().chain(words).chain(refusal).chain(calls).collect(),
        }
    })
}

/// An answer that loses nothing.
pub(super) fn answer() -> impl Strategy<Value = Answer> {
    (prop::collection::vec(choice(), 1..3), prop::option::of(tokens())).prop_map(|(choices, usage)| Answer {
        id: Some("chatcmpl-x".to_owned()),
        choices,
        usage,
    })
}

/// The answer as a model would stream it, each text in two pieces.
pub(super) fn deltas(answer: &Answer) -> Vec<Delta> {
    let mut deltas = vec![Delta::Begin { id: answer.id.clone() }];
    for (choice, said) in (0..).zip(&answer.choices) {
        let mut index = 0;
        for part in &said.parts {
            let mut pieces = |text: &str, of: &dyn Fn(String) -> Delta| {
                let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
                let (head, tail) = text.split_at(middle);
                let pieces = [head, tail].into_iter().filter(|piece| !piece.is_empty());
                deltas.extend(pieces.map(|piece| of(piece.to_owned())));
            };
            match part {
                Part::Text(text) => pieces(text, &|text| Delta::Text { choice, text }),
                Part::Reasoning { text, .. } => pieces(text, &|text| Delta::Reasoning { choice, text }),
                Part::Refusal(text) => pieces(text, &|text| Delta::Refusal { choice, text }),
                Part::ToolCall { id, name, arguments } => {
                    let (id, name) = (id.clone(), name.clone());
                    deltas.push(Delta::ToolCall { choice, index, id, name });
                    let json = arguments.clone();
                    deltas.push(Delta::Arguments { choice, index, json });
                    index += 1;
                }
                other => panic!("no answer has {other:?}"),
            }
        }
        deltas.push(Delta::stop(choice, said.stop.clone()));
    }
    deltas.extend(answer.usage.map(Delta::Usage));
    deltas.push(Delta::End);
    deltas
}
