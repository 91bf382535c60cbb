//! Reports of tokens, as providers and engines send them.

use super::*;
use proptest::prelude::*;

fn of(usage: &str) -> Option<Tokens> {
    tokens(format!(r#"{{"usage":{usage}}}"#).as_bytes())
}

fn counted(input: u64, cache_read: u64, output: u64, reasoning: u64) -> Option<Tokens> {
    Some(Tokens {
        input,
        cache_read,
        output,
        reasoning,
        ..Tokens::default()
    })
}

#[test]
fn every_shape_of_report_puts_each_token_in_one_place() {
    for (usage, expected) in [
        // OpenAI: cached tokens are among those of the prompt, reasoning among those of the answer.
        (
            r#"{"prompt_tokens":1117,"completion_tokens":46,"total_tokens":1163,"prompt_tokens_details":{"cached_tokens":1024,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":40,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#,
            counted(93, 1024, 6, 40),
        ),
        // vLLM with nulls, llama-server, DeepSeek.
        (
            r#"{"prompt_tokens":37,"total_tokens":45,"completion_tokens":8,"prompt_tokens_details":null,"completion_tokens_details":null}"#,
            counted(37, 0, 8, 0),
        ),
        (
            r#"{"completion_tokens":24,"prompt_tokens":37,"total_tokens":61,"prompt_tokens_details":{"cached_tokens":24}}"#,
            counted(13, 24, 24, 0),
        ),
        (
            r#"{"prompt_tokens":20,"completion_tokens":5,"total_tokens":25,"prompt_cache_hit_tokens":12,"prompt_cache_miss_tokens":8,"completion_tokens_details":{"reasoning_tokens":3}}"#,
            counted(8, 12, 2, 3),
        ),
        // Details that claim more than there is.
        (
            r#"{"prompt_tokens":3,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":9},"completion_tokens_details":{"reasoning_tokens":9}}"#,
            counted(0, 3, 0, 5),
        ),
        // xAI: reasoning is counted beside the answer.
        (
            r#"{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,"completion_tokens_details":{"reasoning_tokens":94}}"#,
            counted(32, 0, 9, 94),
        ),
        // Embeddings; figures that are none.
        (r#"{"prompt_tokens":8,"total_tokens":8}"#, counted(8, 0, 0, 0)),
        (
            r#"{"prompt_tokens":8.0,"completion_tokens":-1,"prompt_tokens_details":{"cached_tokens":"many","audio_tokens":[1]}}"#,
            counted(8, 0, 0, 0),
        ),
        ("null", None),
        ("{}", None),
        (r#"{"prompt_tokens":null,"completion_tokens":null}"#, None),
    ] {
        assert_eq!(of(usage), expected, "{usage}");
    }
    assert_eq!((tokens(b"{}"), tokens(b"[DONE]")), (None, None));
    let audio = of(
        r#"{"prompt_tokens":10,"completion_tokens":7,"prompt_tokens_details":{"audio_tokens":4,"cached_tokens":1,"cache_write_tokens":2},"completion_tokens_details":{"audio_tokens":5}}"#,
    );
    let expected = Tokens {
        input: 3,
        cache_read: 1,
        cache_write: 2,
        audio_input: 4,
        output: 2,
        audio_output: 5,
        ..Tokens::default()
    };
    assert_eq!(audio, Some(expected));
}

#[test]
fn of_each_figure_the_last_one_counts() {
    let mut report = Report::default();
    for later in [
        r#"{"prompt_tokens":37,"total_tokens":37,"completion_tokens":0,"prompt_tokens_details":{"cached_tokens":30}}"#,
        r#"{"prompt_tokens":37,"total_tokens":38,"completion_tokens":1,"prompt_tokens_details":null}"#,
        r#"{"prompt_tokens":null,"completion_tokens":2}"#,
    ] {
        report.update(&serde_json::from_str(later).unwrap());
    }
    assert_eq!(report.tokens(), counted(7, 30, 2, 0));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(figures in prop::array::uniform7(0_u64..1 << 40)) {
        let [input, cache_read, cache_write, audio_input, output, reasoning, audio_output] = figures;
        let tokens = Tokens { input, cache_read, cache_write, cache_write_1h: 0, audio_input, output, reasoning, audio_output, ..Tokens::default() };
        prop_assert_eq!(of(&serde_json::to_string(&Written::from(&tokens)).unwrap()), Some(tokens));
    }

    #[test]
    fn details_never_add_up_to_more_than_the_whole(figures in prop::array::uniform7(prop::option::of(any::<u64>()))) {
        let [prompt, answer, total, cached, audio, reasoning, spoken] = figures.map(Count);
        let report = Report {
            prompt_tokens: prompt,
            completion_tokens: answer,
            total_tokens: total,
            prompt_tokens_details: PromptDetails { cached_tokens: cached, audio_tokens: audio, ..PromptDetails::default() },
            completion_tokens_details: AnswerDetails { reasoning_tokens: reasoning, audio_tokens: spoken },
            ..Report::default()
        };
        if let Some(tokens) = report.tokens() {
            prop_assert_eq!(tokens.prompt(), prompt.or_zero());
            prop_assert!(tokens.answer() >= answer.or_zero());
        }
    }
}

#[test]
fn one_look_finds_answers_and_their_reports_and_leaves_the_rest_to_others() {
    let usage = r#""usage":{"prompt_tokens":3,"completion_tokens":2}"#;
    for (body, found) in [
        (
            format!(r#"{{"object":"chat.completion","error":null,"choices":[ {{}}],{usage}}}"#),
            Some(counted(3, 0, 2, 0)),
        ),
        (r#"{"choices":[],"usage":null}"#.to_owned(), Some(None)),
        (format!(r#"{{"object":"chat.completion",{usage}}}"#), None),
        (format!(r#"{{"choices":"x",{usage}}}"#), None),
        (r#"{"choices":[[]]}"#.to_owned(), None),
        (r#"{"data":[]}"#.to_owned(), None),
        (format!(r#"{{"error":{{"message":"no"}},{usage}}}"#), None),
        (format!(r#"{{{usage},{usage}}}"#), None),
        (format!("{{{usage}}} and more"), None),
        ("[]".to_owned(), None),
        (String::new(), None),
    ] {
        assert_eq!(answered(body.as_bytes(), false), found, "{body}");
        let vectors = body.replace("data", "x").replace("choices", "data");
        assert_eq!(answered(vectors.as_bytes(), true).is_some(), found.is_some(), "{vectors}");
    }
}
