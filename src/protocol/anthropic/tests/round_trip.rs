//! What is written is read back.

use proptest::prelude::*;

use super::super::super::chat::{
    Answer, CachePoint, Choice, Delta, Format, Json, Media, Message, Part, Reasoning, Request, Role, Stop, Tool, ToolChoice,
};
use super::super::super::usage::Tokens;
use super::super::{read_answer, read_request, write_answer, write_request};
use super::{changes, said, written};

fn words() -> impl Strategy<Value = String> {
    "[a-zé\"\\\\\n ]{0,11}x"
}

fn id() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_-]{1,12}"
}

fn object() -> impl Strategy<Value = String> {
    prop::collection::vec(
        (
            "[a-c]",
            prop_oneof![Just("1.0"), Just("9007199254740993"), Just("\"\\u00e9\""), Just("[ ]")],
        ),
        0..3,
    )
    .prop_map(|fields| {
        let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
        format!("{{{}}}", fields.join(" ,"))
    })
}

fn media(media_type: &'static str) -> impl Strategy<Value = Media> {
    prop_oneof![
        words().prop_map(Media::Url),
        Just(Media::Inline {
            media_type: media_type.to_owned(),
            data: "SMOp".to_owned()
        }),
    ]
}

fn shown() -> impl Strategy<Value = Part> {
    prop_oneof![
        3 => words().prop_map(Part::Text),
        1 => media("image/png").prop_map(|media| Part::Image { media, detail: None }),
        1 => (media("application/pdf"), prop::option::of(words())).prop_map(|(media, name)| Part::Document { media, name }),
        1 => Just(Part::Document { media: Media::Inline { media_type: "text/plain".to_owned(), data: "SMOp".to_owned() }, name: None }),
    ]
}

fn results() -> impl Strategy<Value = Part> {
    (id(), prop::collection::vec(shown(), 0..3), any::<bool>()).prop_map(|(id, parts, is_error)| Part::ToolResult { id, parts, is_error })
}

fn own() -> impl Strategy<Value = Part> {
    prop_oneof![
        3 => words().prop_map(Part::Text),
        1 => (words(), id()).prop_map(|(text, seal)| Part::Reasoning { text, signature: Some(seal) }),
        1 => id().prop_map(Part::RedactedReasoning),
        1 => (id(), id(), object()).prop_map(|(id, name, arguments)| Part::ToolCall { id, name, arguments }),
    ]
}

/// A conversation as Anthropic has it: in turn, results first, ended by the user.
fn messages() -> impl Strategy<Value = Vec<Message>> {
    let instructions = prop::option::of((words(), any::<bool>()).prop_map(|(text, is_kept)| {
        let point = CachePoint {
            ttl: Some("1h".to_owned()),
        };
        let parts = [Some(Part::Text(text)), is_kept.then_some(Part::CachePoint(point))];
        Message {
            role: Role::System,
            parts: parts.into_iter().flatten().collect(),
        }
    }));
    let user = || {
        (prop::collection::vec(results(), 0..2), prop::collection::vec(shown(), 1..3)).prop_map(|(results, shown)| Message {
            role: Role::User,
            parts: [results, shown].concat(),
        })
    };
    let own = prop::collection::vec(own(), 1..4).prop_map(|parts| Message {
        role: Role::Assistant,
        parts,
    });
    (instructions, user(), prop::collection::vec((own, user()), 0..3)).prop_map(|(instructions, first, turns)| {
        let turns = turns.into_iter().flat_map(|(own, user)| [own, user]);
        instructions.into_iter().chain([first]).chain(turns).collect()
    })
}

fn tools() -> impl Strategy<Value = Vec<Tool>> {
    let tool = (
        id(),
        prop::option::of(words()),
        object(),
        prop::option::of(any::<bool>()),
        any::<bool>(),
    );
    prop::collection::vec(tool, 1..3).prop_map(|tools| {
        let tool = |(name, description, parameters, strict, is_kept): (_, _, String, _, bool)| Tool {
            name,
            description,
            parameters: Some(Json::parse(parameters).unwrap()),
            strict,
            cache: is_kept.then(CachePoint::default),
        };
        tools.into_iter().map(tool).collect()
    })
}

/// What a model that thinks adaptively is asked.
fn request() -> impl Strategy<Value = Request> {
    let choice = prop_oneof![Just(None), Just(Some(ToolChoice::None)), Just(Some(ToolChoice::Auto)),];
    let format = prop_oneof![
        Just(Format::Text),
        object().prop_map(|schema| Format::JsonSchema {
            name: None,
            description: None,
            schema: Json::parse(schema).unwrap(),
            strict: Some(true)
        }),
    ];
    let reasoning = prop::option::of(prop_oneof![
        Just(Reasoning::Off),
        Just(Reasoning::Adaptive),
        prop::sample::select(vec!["low", "medium", "high", "max"]).prop_map(|effort| Reasoning::Effort(effort.to_owned())),
        (1024_u64..4096).prop_map(Reasoning::Budget),
    ]);
    let rest = (prop::collection::vec(words(), 0..3), prop::option::of(words()), any::<bool>());
    (messages(), tools(), choice, 4096_u64..99_999, format, reasoning, rest).prop_map(
        |(messages, tools, tool_choice, max_tokens, format, reasoning, (stop, user, stream))| {
            let is_result = |part: &Part| matches!(part, Part::ToolResult { .. });
            let has_results = messages.iter().any(|message| message.parts.iter().any(is_result));
            Request {
                messages,
                tools,
                tool_choice,
                max_tokens: Some(max_tokens),
                format,
                // Within a turn of calls a budget needs the turn's own thoughts, which these may lack.
                reasoning: if has_results { None } else { reasoning },
                stop,
                user,
                stream,
                ..Request::default()
            }
        },
    )
}

fn answer() -> impl Strategy<Value = Answer> {
    let stop = prop_oneof![
        Just(Stop::End),
        Just(Stop::Length),
        Just(Stop::ToolCalls),
        Just(Stop::Filtered),
        prop::option::of(words()).prop_map(Stop::Sequence),
    ];
    let usage = any::<[u32; 6]>().prop_map(|n| {
        let [input, cache_read, cache_write, cache_write_1h, output, reasoning] = n.map(u64::from);
        Tokens {
            input,
            cache_read,
            cache_write,
            cache_write_1h,
            output,
            reasoning,
            ..Tokens::default()
        }
    });
    (id(), prop::collection::vec(own(), 0..5), stop, usage).prop_map(|(id, parts, stop, usage)| Answer {
        id: Some(id),
        choices: vec![Choice { parts, stop }],
        usage: Some(usage),
    })
}

/// The answer as it would have been made.
fn made(answer: &Answer) -> Vec<Delta> {
    let mut changes = vec![Delta::Begin { id: answer.id.clone() }];
    let mut calls = 0;
    for part in &answer.choices[0].parts {
        match part.clone() {
            Part::Text(text) => changes.push(Delta::Text { choice: 0, text }),
            Part::Reasoning { text, signature } => {
                changes.push(Delta::Reasoning { choice: 0, text });
                changes.extend(signature.map(|signature| Delta::ReasoningSignature { choice: 0, signature }));
            }
            Part::RedactedReasoning(data) => changes.push(Delta::RedactedReasoning { choice: 0, data }),
            Part::ToolCall { id, name, arguments } => {
                changes.push(Delta::ToolCall {
                    choice: 0,
                    index: calls,
                    id,
                    name,
                });
                changes.push(Delta::Arguments {
                    choice: 0,
                    index: calls,
                    json: arguments,
                });
                calls += 1;
            }
            _ => {}
        }
    }
    changes.push(Delta::Stop {
        choice: 0,
        stop: answer.choices[0].stop.clone(),
    });
    changes.extend(answer.usage.map(Delta::Usage));
    changes.push(Delta::End);
    changes
}

proptest! {
    #[test]
    fn a_request_is_read_as_it_was_written(request in request()) {
        let (body, lost) = write_request(&request, "claude-opus-4-6", 1).unwrap();
        prop_assert!(lost.is_empty(), "{lost:?}");
        let (read, lost) = read_request(&body).unwrap();
        prop_assert!(lost.is_empty(), "{lost:?}");
        prop_assert_eq!(read, request);
    }

    #[test]
    fn an_answer_is_read_as_it_was_written(answer in answer()) {
        prop_assert_eq!(read_answer(&write_answer(&answer, &said())), Some(answer));
    }

    #[test]
    fn a_stream_is_read_as_it_was_written(answer in answer()) {
        let made = made(&answer);
        let read = changes([written(&made).as_bytes()]);
        // Tokens are told at the start too, as far as they are known by then.
        let is_report = |change: &&Delta| matches!(change, Delta::Usage(_));
        prop_assert_eq!(read.iter().rfind(is_report), made.iter().rfind(is_report));
        let rest = |changes: &[Delta]| changes.iter().filter(|change| !is_report(change)).cloned().collect::<Vec<_>>();
        prop_assert_eq!(rest(&read), rest(&made));
    }
}
