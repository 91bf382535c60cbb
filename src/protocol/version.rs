//! Which version of its model a provider says that it answered with: `gpt-4o-2024-08-06` where `gpt-4o` was asked for.

/// It stands among the first members of an answer, or of Gemini's among the last.
const NEAR: usize = 16 << 10;
/// The longest that is a name.
const LONGEST: usize = 128;

/// The version that an answer names, or the first events of one: in `model` in the protocols of OpenAI and Anthropic, in `modelVersion` in Gemini's.
/// `None` where none of the two is near an end of `answer`.
///
/// Inside of a text the quotes are escaped, so what a model writes is never taken for it.
#[must_use]
pub fn of_answer(answer: &[u8]) -> Option<&str> {
    let head = &answer[..answer.len().min(NEAR)];
    let tail = &answer[answer.len().saturating_sub(NEAR)..];
    let gemini = || member(head, br#""modelVersion""#).or_else(|| member(tail, br#""modelVersion""#));
    member(head, br#""model""#).or_else(gemini)
}

/// The text of the first member of that name.
fn member<'a>(json: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let places = json.windows(name.len()).enumerate().filter(|(_, window)| *window == name);
    places.map(|(place, _)| &json[place + name.len()..]).find_map(text)
}

/// The text behind a colon, where it is a name.
fn text(rest: &[u8]) -> Option<&str> {
    let rest = rest.trim_ascii_start().strip_prefix(b":")?;
    let rest = rest.trim_ascii_start().strip_prefix(b"\"")?;
    let name = &rest[..rest.iter().position(|byte| *byte == b'"')?];
    let is_name = (1..=LONGEST).contains(&name.len()) && name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'\\');
    std::str::from_utf8(name).ok().filter(|_| is_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        ] {
            assert_eq!(of_answer(answer.as_bytes()), version, "{answer}");
        }
    }

    proptest! {
        #[test]
        fn what_a_model_writes_is_never_taken_for_it(said in r#"["model: x\\]{0,40}"#) {
            let answer = serde_json::json!({"choices": [{"message": {"content": said}}]}).to_string();
            prop_assert_eq!(of_answer(answer.as_bytes()), None);
        }
    }
}
