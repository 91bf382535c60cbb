//! Which version of its model a provider says that it answered with: `gpt-4o-2024-08-06` where `gpt-4o` was asked for.

use super::scan::{Scan, Value};

/// The longest that is a name.
const LONGEST: usize = 128;

/// The version that an answer names, or the first event of one, as far as it has come: in `model` in the protocols of OpenAI and Anthropic, in
/// `modelVersion` in Gemini's. Bedrock's answers name none.
///
/// It is a member of the answer itself, or of the `message` or `response` that an event begins with. Deeper there are members of that name too, such as
/// arguments of tools, which are what the model wrote.
#[must_use]
pub fn of_answer(answer: &[u8]) -> Option<&str> {
    let mut named = None;
    // What is cut off ends the walk; what came before that is known.
    let _: Option<()> = Scan::new(document(answer)?).object(|scan, key| {
        match key {
            b"model" | b"modelVersion" => named = named.or(name(scan.value()?)),
            b"message" | b"response" if scan.is_at(b'{') => {
                return scan.object(|scan, key| {
                    match key {
                        b"model" => named = named.or(name(scan.value()?)),
                        _ => scan.skip()?,
                    }
                    Some(())
                });
            }
            _ => scan.skip()?,
        }
        Some(())
    });
    named
}

/// The JSON of an answer, or of the first event of a stream.
fn document(answer: &[u8]) -> Option<&[u8]> {
    let answer = answer.trim_ascii_start();
    if answer.starts_with(b"{") {
        return Some(answer);
    }
    let mut lines = answer.split(|byte| *byte == b'\n');
    lines.find_map(|line| line.strip_prefix(b"data:")).map(<[u8]>::trim_ascii)
}

fn name(value: Value<'_>) -> Option<&str> {
    let Value::Text(name) = value else { return None };
    let is_name = (1..=LONGEST).contains(&name.len()) && name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'\\');
    std::str::from_utf8(name).ok().filter(|_| is_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn each_protocol_names_the_version_in_its_place() {
        for (answer, version) in [
            (
                r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o-2024-08-06","choices":[]}"#,
                Some("gpt-4o-2024-08-06"),
            ),
            (
                "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"model\" : \"gpt-4o-2024-08-06\",\"choices\":[]}\n\n",
                Some("gpt-4o-2024-08-06"),
            ),
            (
                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"role\":\"assistant\",\"model\":\"claude-sonnet-4-5-20250929\"}}",
                Some("claude-sonnet-4-5-20250929"),
            ),
            (
                r#"data: {"type":"response.created","response":{"id":"r","model":"gpt-5-2025-08-07","instructions":"cut o"#,
                Some("gpt-5-2025-08-07"),
            ),
            (
                r#"{"candidates":[{"content":{"parts":[{"text":"\"model\": \"x\""}],"role":"model"}}],"modelVersion": "gemini-2.0-flash-001"}"#,
                Some("gemini-2.0-flash-001"),
            ),
            (
                r#"{"output":{"message":{"content":[{"text":"hi"}]}},"stopReason":"end_turn"}"#,
                None,
            ),
            (r#"{"model":""}"#, None),
            (r#"{"model":"a b"}"#, None),
            (r#"{"model":"cut"#, None),
            (r#"{"model":7,"choices":[]}"#, None),
            ("", None),
        ] {
            assert_eq!(of_answer(answer.as_bytes()), version, "{answer}");
        }
    }

    #[test]
    fn what_a_model_calls_a_tool_with_is_never_taken_for_it() {
        let called = json!({"model": "jane.doe@bank.example", "modelVersion": "x", "response": {"model": "y"}});
        for answer in [
            json!({"candidates": [{"content": {"parts": [{"functionCall": {"name": "lookup", "args": called}}]}}]}),
            json!({"output": {"message": {"content": [{"toolUse": {"name": "lookup", "input": called}}]}}}),
            json!({"content": [{"type": "tool_use", "name": "lookup", "input": called}]}),
        ] {
            assert_eq!(of_answer(answer.to_string().as_bytes()), None, "{answer}");
        }
    }

    proptest! {
        #[test]
        fn what_a_model_writes_is_never_taken_for_it(said in r#"["model: x\\]{0,40}"#, cut in 0usize..200) {
            let answer = json!({"choices": [{"message": {"content": said, "tool_calls": [{"model": said}]}}]}).to_string();
            prop_assert_eq!(of_answer(&answer.as_bytes()[..cut.min(answer.len())]), None);
        }
    }
}
