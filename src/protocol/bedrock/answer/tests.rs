use super::*;
use proptest::prelude::*;

fn part(block: &str) -> Vec<Part> {
    let answer = format!(r#"{{"output":{{"message":{{"role":"assistant","content":[{block}]}}}},"stopReason":"end_turn"}}"#);
    read_answer(answer.as_bytes()).unwrap().choices.remove(0).parts
}

/// The example of <https://docs.aws.amazon.com/bedrock/latest/userguide/tool-use-inference-call.html>, with what it came with.
const TOOL_USE: &str = r#"{"metrics":{"latencyMs":1275},"output":{"message":{"content":[{"text":"I'll look."},{"toolUse":{"input":{"sign": "WZPZ", "n": 9007199254740993},"name":"top_song","toolUseId":"tooluse_hbTgdi0CSLq_hM4P8csZJA"}}],"role":"assistant"}},"stopReason":"tool_use","usage":{"cacheReadInputTokens":1000,"cacheWriteInputTokens":500,"inputTokens":30,"outputTokens":60,"totalTokens":1590}}"#;

#[test]
fn an_answer_that_calls_a_tool_keeps_its_words_and_digits() {
    let usage = Tokens {
        input: 30,
        cache_read: 1000,
        cache_write: 500,
        output: 60,
        ..Tokens::default()
    };
    let call = Part::ToolCall {
        id: "tooluse_hbTgdi0CSLq_hM4P8csZJA".to_owned(),
        name: "top_song".to_owned(),
        arguments: r#"{"sign": "WZPZ", "n": 9007199254740993}"#.to_owned(),
    };
    let choice = Choice {
        parts: vec![Part::Text("I'll look.".to_owned()), call],
        stop: Stop::ToolCalls,
    };
    let expected = Answer {
        id: None,
        choices: vec![choice],
        usage: Some(usage),
    };
    assert_eq!(read_answer(TOOL_USE.as_bytes()), Some(expected));
}

#[test]
fn every_block_that_has_a_place_is_read() {
    let reasoning = |signature: Option<&str>| Part::Reasoning {
        text: "hm".to_owned(),
        signature: signature.map(str::to_owned),
    };
    let image = Media::Inline {
        media_type: "image/png".to_owned(),
        data: "iVBO".to_owned(),
    };
    for (block, expected) in [
        (r#"{"text":"a\u00e9"}"#, Some(Part::Text("aé".to_owned()))),
        (
            r#"{"reasoningContent":{"reasoningText":{"text":"hm","signature":"EqQB"}}}"#,
            Some(reasoning(Some("EqQB"))),
        ),
        (r#"{"reasoningContent":{"reasoningText":{"text":"hm"}}}"#, Some(reasoning(None))),
        (
            r#"{"reasoningContent":{"redactedContent":"c2VjcmV0"}}"#,
            Some(Part::RedactedReasoning("c2VjcmV0".to_owned())),
        ),
        (
            r#"{"citationsContent":{"content":[{"text":"It "},{"text":"is."}],"citations":[{"title":"t"}]}}"#,
            Some(Part::Text("It is.".to_owned())),
        ),
        (
            r#"{"image":{"format":"png","source":{"bytes":"iVBO"}}}"#,
            Some(Part::Image {
                media: image,
                detail: None,
            }),
        ),
        (r#"{"guardContent":{"text":{"text":"x"}}}"#, None),
    ] {
        assert_eq!(part(block), Vec::from_iter(expected), "{block}");
    }
}

#[test]
fn every_reason_to_end_is_understood() {
    let sequence: &RawValue = serde_json::from_str(r#"{"stop_sequence":"SELECT"}"#).unwrap();
    for (reason, expected) in [
        ("end_turn", Some(Stop::End)),
        ("tool_use", Some(Stop::ToolCalls)),
        ("max_tokens", Some(Stop::Length)),
        ("model_context_window_exceeded", Some(Stop::Length)),
        ("stop_sequence", Some(Stop::Sequence(None))),
        ("guardrail_intervened", Some(Stop::Filtered)),
        ("content_filtered", Some(Stop::Filtered)),
        ("malformed_model_output", None),
        ("malformed_tool_use", None),
        ("what comes next year", Some(Stop::End)),
    ] {
        assert_eq!(stop(reason, None), expected, "{reason}");
    }
    assert_eq!(
        stop("stop_sequence", Some(sequence)),
        Some(Stop::Sequence(Some("SELECT".to_owned())))
    );
}

#[test]
fn every_token_is_counted_once() {
    for (usage, expected) in [
        (
            r#"{"inputTokens":3,"outputTokens":4,"totalTokens":7}"#,
            Some(Tokens {
                input: 3,
                output: 4,
                ..Tokens::default()
            }),
        ),
        (
            r#"{"inputTokens":3,"outputTokens":4,"totalTokens":57,"cacheReadInputTokens":20,"cacheWriteInputTokens":30,
                "cacheDetails":[{"ttl":"1h","inputTokens":10},{"ttl":"5m","inputTokens":20}]}"#,
            Some(Tokens {
                input: 3,
                cache_read: 20,
                cache_write: 20,
                cache_write_1h: 10,
                output: 4,
                ..Tokens::default()
            }),
        ),
        (
            r#"{"inputTokens":1,"cacheWriteInputTokens":null,"cacheDetails":[{"ttl":"1h","inputTokens":10}],"serverToolUsage":{}}"#,
            Some(Tokens {
                input: 1,
                cache_write_1h: 10,
                ..Tokens::default()
            }),
        ),
        (r#"{"inputTokens":-1}"#, None),
        ("null", None),
    ] {
        assert_eq!(read_usage(usage), expected, "{usage}");
    }
}

#[test]
fn what_is_no_answer_of_converse_is_none() {
    for body in [
        "",
        "{}",
        r#"{"message":"no"}"#,
        r#"{"choices":[]}"#,
        r#"{"output":{},"stopReason":"end_turn"}"#,
        r#"{"output":{"message":{"content":[]}}}"#,
        r#"{"output":{"message":{"content":[]}},"stopReason":"malformed_tool_use"}"#,
    ] {
        assert_eq!(read_answer(body.as_bytes()), None, "{body}");
    }
    let uncounted = r#"{"output":{"message":{"content":[]}},"stopReason":"end_turn","usage":"many"}"#;
    assert_eq!(read_answer(uncounted.as_bytes()).unwrap().usage, None);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut damaged = TOOL_USE.as_bytes().to_vec();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        for body in [bytes.as_slice(), &damaged, &damaged[..at]] {
            let _ = read_answer(body);
        }
    }
}
