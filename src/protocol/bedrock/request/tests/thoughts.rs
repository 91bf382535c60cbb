//! How much a model is told to think.

use super::*;

#[test]
fn how_a_model_thinks_is_said_in_its_own_words() {
    let enabled = |budget: u64| json!({ "type": "enabled", "budget_tokens": budget });
    let adaptive = || json!({ "type": "adaptive" });
    let none = Value::Null;
    let effort = |level: &str| Reasoning::Effort(level.to_owned());
    let old = "anthropic.claude-3-haiku-20240307-v1:0";
    let fable = "anthropic.claude-fable-5";
    let effort_lost: &[&str] = &["reasoning_effort"];
    for (model, reasoning, max_tokens, thinking, level, expected_lost) in [
        (CLAUDE, effort("low"), None, enabled(1024), none.clone(), &[] as &[&str]),
        (CLAUDE, effort("high"), Some(64_000), enabled(16_384), none.clone(), &[]),
        (CLAUDE, effort("high"), Some(4096), enabled(2048), none.clone(), &[]),
        (CLAUDE, effort("high"), Some(2000), none.clone(), none.clone(), effort_lost),
        (CLAUDE, effort("colossal"), None, none.clone(), none.clone(), effort_lost),
        (CLAUDE, Reasoning::Budget(2000), Some(4000), enabled(2000), none.clone(), &[]),
        (CLAUDE, Reasoning::Adaptive, None, enabled(16_384), none.clone(), &[]),
        (CLAUDE, Reasoning::Off, None, none.clone(), none.clone(), &[]),
        (
            "anthropic.claude-opus-4-6-v1",
            effort("minimal"),
            None,
            adaptive(),
            json!("low"),
            &[],
        ),
        (
            "anthropic.claude-opus-4-6-v1",
            Reasoning::Budget(2000),
            None,
            enabled(2000),
            none.clone(),
            &[],
        ),
        (
            "anthropic.claude-opus-4-6-v1",
            Reasoning::Off,
            None,
            none.clone(),
            none.clone(),
            &[],
        ),
        (NEW_CLAUDE, effort("max"), None, adaptive(), json!("max"), &[]),
        (NEW_CLAUDE, Reasoning::Adaptive, None, adaptive(), none.clone(), &[]),
        (
            NEW_CLAUDE,
            Reasoning::Budget(2000),
            None,
            adaptive(),
            none.clone(),
            &["thinking.budget_tokens"],
        ),
        (NEW_CLAUDE, Reasoning::Off, None, json!({ "type": "disabled" }), none.clone(), &[]),
        (fable, Reasoning::Off, None, none.clone(), none.clone(), effort_lost),
        (old, Reasoning::Off, None, none.clone(), none.clone(), &[]),
        (old, effort("low"), None, none.clone(), none.clone(), effort_lost),
        (NOVA, effort("low"), None, none.clone(), none.clone(), effort_lost),
        (LLAMA, Reasoning::Off, None, none.clone(), none, effort_lost),
    ] {
        let (body, lost) = write(
            &Request {
                reasoning: Some(reasoning.clone()),
                max_tokens,
                ..hello()
            },
            model,
        );
        let said = (&body["additionalModelRequestFields"]["thinking"], &body["outputConfig"]["effort"]);
        assert_eq!(
            (said, lost.as_slice()),
            (
                (&thinking, &level),
                &expected_lost.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..]
            ),
            "{model} {reasoning:?}"
        );
    }
}

#[test]
fn a_model_that_may_not_think_now_is_not_told_to() {
    let effort = Some(Reasoning::Effort("low".to_owned()));
    let forced = Request {
        tools: vec![tool()],
        tool_choice: Some(ToolChoice::Required),
        reasoning: effort.clone(),
        ..hello()
    };
    let called = |parts: Vec<Part>| Request {
        messages: vec![
            Message::text(Role::User, "Look."),
            says(Role::Assistant, parts),
            says(Role::User, vec![result("1", vec![], false)]),
        ],
        tools: vec![tool()],
        reasoning: effort.clone(),
        ..Request::default()
    };
    let thoughts = || Part::Reasoning {
        text: "Hm.".to_owned(),
        signature: Some("s".to_owned()),
    };
    for (request, model, thinks) in [
        (forced, CLAUDE, false),
        (called(vec![call("1", "{}")]), CLAUDE, false),
        (called(vec![thoughts(), call("1", "{}")]), CLAUDE, true),
        (called(vec![call("1", "{}")]), NEW_CLAUDE, true),
    ] {
        let (body, lost) = write(&request, model);
        assert_eq!(body["additionalModelRequestFields"]["thinking"].is_object(), thinks, "{request:?}");
        assert_eq!(lost.contains(&"reasoning_effort".to_owned()), !thinks);
    }
}
