//! What answers are charged for, where that takes more than reading a report.

use http_body_util::BodyExt;

use super::engine::{DONE, Do, Engine, WORD, answers, chunk, paris, stream_head, streams};
use super::world::{Answer, World, post_to};
use super::{A_THEN_B, ONLY_A, WEB};
use crate::gateway::Credentials;

/// Tokens of this kind so far, of a model that was asked.
async fn tokens(world: &World, model: &str, kind: &str) -> u32 {
    let line = format!("portfolio_gateway_tokens_total{{policy=\"claims/assistant\",model=\"claims/{model}\",kind=\"{kind}\"}}");
    world.metric(&line).await as u32
}

/// A request with a picture of 400 KiB, which would be 100,000 tokens if it were text.
fn with_a_picture(fields: &str) -> String {
    let data = "iVBORw0KGgoA".repeat((400 << 10) / 12);
    format!(
        r#"{{"model":"assistant",{fields}"messages":[{{"role":"user","content":[{{"type":"text","text":"What is this?"}},{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{data}"}}}}]}}]}}"#
    )
}

#[tokio::test]
async fn a_picture_is_not_charged_as_the_text_that_carries_it() {
    let as_a_picture = 1_500..1_700;
    let hangs = Engine::start(vec![stream_head(), chunk(WORD), Do::Hang]).await;
    let world = World::over(&[&hangs], ONLY_A);
    let request = post_to("/v1/chat/completions", &WEB, &with_a_picture(r#""stream":true,"#));
    let mut body = world.call(request).await.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    hangs.until(|counts| counts.hung_up == 1).await;
    let prompt = tokens(&world, "a", "input").await;
    assert!(as_a_picture.contains(&prompt), "the client hung up: {prompt}");

    let silent = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"A cat."}}]}"#;
    let world = World::over(&[&Engine::start(answers(200, "", silent)).await], ONLY_A);
    world.ask(&with_a_picture("")).await;
    let prompt = tokens(&world, "a", "input").await;
    assert!(as_a_picture.contains(&prompt), "no report: {prompt}");

    let cut = vec![Do::Send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_owned()), Do::Close];
    let world = World::over(&[&Engine::start(cut).await, &Engine::start(paris()).await], A_THEN_B);
    world.ask(&with_a_picture("")).await;
    let prompt = tokens(&world, "a", "input").await;
    assert!(as_a_picture.contains(&prompt), "an attempt in vain: {prompt}");
}

#[tokio::test]
async fn vectors_that_come_without_a_report_are_no_tokens_of_an_answer() {
    let vectors = format!(
        r#"{{"object":"list","data":[{{"index":0,"embedding":[{}1]}}]}}"#,
        "0.25,".repeat(1000)
    );
    let world = World::over(&[&Engine::start(answers(200, "", &vectors)).await], ONLY_A);
    let asked = post_to("/v1/embeddings", &WEB, r#"{"model":"assistant","input":"a text of some length"}"#);
    let answer = Answer::read(world.call(asked).await).await;
    assert_eq!(answer.header("x-portfolio-estimated"), "true");
    assert_eq!(tokens(&world, "a", "output").await, 0);
    assert!((5..20).contains(&tokens(&world, "a", "input").await));
}

/// A plain answer of 3 MiB with these fields, before and after what makes it so large.
fn large(before: &str, after: &str) -> String {
    let text = r#"\",\"usage\":{\"prompt_tokens\":999,\"input_tokens\":999}, "#;
    let text = text.repeat((3 << 20) / text.len());
    format!(r#"{{{before}"object":"x","data":[{{"usage":{{"prompt_tokens":999}},"text":"{text}","embedding":[0.25,1]}}]{after}}}"#)
}

#[tokio::test]
async fn an_answer_too_large_to_be_held_is_charged_by_its_own_report() {
    let openai = r#""usage":{"prompt_tokens":7,"completion_tokens":5}"#;
    let others = r#""usage":{"input_tokens":7,"output_tokens":5}"#;
    for (path, provider, usage) in [
        ("/v1/chat/completions", "OpenAI", openai),
        ("/v1/completions", "OpenAI", openai),
        ("/v1/responses", "OpenAI", others),
        ("/v1/messages", "Anthropic", others),
        ("/v1/embeddings", "OpenAI", r#""usage":{"prompt_tokens":7,"total_tokens":7}"#),
    ] {
        for answer in [large("", &format!(",{usage}")), large(&format!("{usage},"), "")] {
            let engine = Engine::start(answers(200, "", &answer)).await;
            let world = World::new();
            world.api_with_key("a", provider, &engine.url);
            world.route(ONLY_A);
            let asked = r#"{"model":"assistant","max_tokens":9,"messages":[],"input":"x"}"#;
            let headers = [WEB[0], ("te", "trailers")];
            let shown = world.call(post_to(path, &headers, asked)).await;
            let shown = Answer::read(shown).await;
            assert_eq!(shown.text.len(), answer.len(), "{path}");
            let counted = (tokens(&world, "a", "input").await, tokens(&world, "a", "output").await);
            assert_eq!(counted, (7, if path.ends_with("embeddings") { 0 } else { 5 }), "{path}");
            let estimated = "portfolio_gateway_estimated_requests_total{policy=\"claims/assistant\",model=\"claims/a\"}";
            assert_eq!(world.metric(estimated).await as u32, 0, "{path}");
        }
    }
}

#[tokio::test]
async fn all_that_came_of_a_large_answer_is_estimated_when_it_has_no_report() {
    let answer = format!(
        r#"{{"choices":[{{"message":{{"content":"{}"}}}}]}}"#,
        "a word or so ".repeat(200_000)
    );
    let world = World::over(&[&Engine::start(answers(200, "", &answer)).await], ONLY_A);
    world.ask(super::ASK).await;
    assert_eq!(tokens(&world, "a", "output").await as usize, answer.len().div_ceil(4));
}

#[tokio::test]
async fn a_picture_in_a_large_answer_is_not_charged_as_the_text_that_carries_it() {
    let data = "iVBORw0KGgoA".repeat((3 << 20) / 12);
    let answer = format!(
        r#"{{"choices":[{{"message":{{"content":"A cat.","images":[{{"image_url":{{"url":"data:image/png;base64,{data}"}}}}]}}}}]}}"#
    );
    let world = World::over(&[&Engine::start(answers(200, "", &answer)).await], ONLY_A);
    assert_eq!(world.ask(super::ASK).await.text.len(), answer.len());
    let output = tokens(&world, "a", "output").await;
    assert!((1_500..1_700).contains(&output), "{output}");
}

/// What an answer costs by its header, from a provider's model with a price: 7 tokens of prompt, 5 of answer.
async fn cost(provider: &str, path: &str, asked: &str, answer: &str) -> String {
    let engine = Engine::start(answers(200, "", answer)).await;
    let spec = format!(
        "{{api: {{provider: {provider}, model: x, endpoint: '{}/v1', credentials: {{secretRef: {{name: s, key: k}}}}}}, price: {{inputPer1M: '1', outputPer1M: '1'}}}}",
        engine.url
    );
    let world = World::new();
    world.api_with_key("a", provider, &engine.url);
    world.provider("a", &spec);
    let held = world.credential("a", "sk-1");
    let credentials = Credentials::new([held], &Credentials::default());
    world.source.credentials.send_replace(credentials.into());
    world.route(ONLY_A);
    let shown = Answer::read(world.call(post_to(path, &WEB, asked)).await).await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    let counted = (tokens(&world, "a", "input").await, tokens(&world, "a", "output").await);
    assert_eq!(counted, (7, 5), "tokens count whatever they cost: {answer}");
    let unknown = "portfolio_gateway_unpriced_requests_total{policy=\"claims/assistant\",model=\"claims/a\",reason=\"special_terms\"}";
    let cost = shown.header("x-portfolio-cost-usd").to_owned();
    assert_eq!(world.metric(unknown).await as u32, u32::from(cost == "unknown"), "{answer}");
    cost
}

#[tokio::test]
async fn what_was_on_other_terms_than_the_price_lists_has_no_known_cost() {
    const KNOWN: &str = "0.000012";
    let chat = r#""choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":5}"#;
    for (asks, tells, expected) in [
        ("", "", KNOWN),
        ("", r#""service_tier":null,"#, KNOWN),
        (r#""service_tier":"auto","#, r#""service_tier":"default","#, KNOWN),
        (r#""service_tier":"flex","#, r#""service_tier":"default","#, KNOWN),
        (r#""service_tier":"auto","#, "", KNOWN),
        ("", r#""service_tier":"on_demand","#, KNOWN),
        (r#""service_tier":"flex","#, r#""service_tier":"flex","#, "unknown"),
        ("", r#""service_tier":"priority","#, "unknown"),
        (r#""service_tier":"priority","#, "", "unknown"),
    ] {
        let asked = format!(r#"{{"model":"assistant",{asks}"messages":[{{"role":"user","content":"x"}}]}}"#);
        let answer = format!("{{{tells}{chat}}}");
        assert_eq!(
            cost("OpenAI", "/v1/chat/completions", &asked, &answer).await,
            expected,
            "{asks} {tells}"
        );
    }

    // A search has a fee of its own, and no report tells of it.
    for (asks, expected) in [(r#""web_search_options":{},"#, "unknown"), (r#""web_search_options":null,"#, KNOWN)] {
        let asked = format!(r#"{{"model":"assistant",{asks}"messages":[{{"role":"user","content":"x"}}]}}"#);
        for answer in [format!("{{{chat}}}"), format!(r#"{{"service_tier":"default",{chat}}}"#)] {
            assert_eq!(cost("OpenAI", "/v1/chat/completions", &asked, &answer).await, expected, "{asks}");
        }
    }

    let asked = r#"{"model":"assistant","max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#;
    for (more, expected) in [
        ("", KNOWN),
        (
            r#","service_tier":"standard","server_tool_use":null,"inference_geo":"global","speed":"standard""#,
            KNOWN,
        ),
        (r#","server_tool_use":{"web_search_requests":0,"web_fetch_requests":2}"#, KNOWN),
        (r#","service_tier":"priority""#, "unknown"),
        (r#","server_tool_use":{"web_search_requests":1}"#, "unknown"),
        (r#","inference_geo":"us""#, "unknown"),
        (r#","speed":"fast""#, "unknown"),
    ] {
        let answer = format!(
            r#"{{"id":"m","type":"message","role":"assistant","model":"x","content":[{{"type":"text","text":"x"}}],"stop_reason":"end_turn","usage":{{"input_tokens":7,"output_tokens":5{more}}}}}"#
        );
        for path in ["/v1/messages", "/v1/chat/completions"] {
            assert_eq!(cost("Anthropic", path, asked, &answer).await, expected, "{path} {more}");
        }
    }

    let asked = r#"{"model":"assistant","input":"x"}"#;
    for (more, expected) in [
        (
            r#""service_tier":"default","output":[{"type":"message"}],"tools":[{"type":"web_search"}]"#,
            KNOWN,
        ),
        (r#""service_tier":"flex","output":[]"#, "unknown"),
        (r#""output":[{"type":"web_search_call"},{"type":"message"}]"#, "unknown"),
    ] {
        let answer = format!(r#"{{"object":"response",{more},"usage":{{"input_tokens":7,"output_tokens":5}}}}"#);
        assert_eq!(cost("OpenAI", "/v1/responses", asked, &answer).await, expected, "{more}");
    }
}

#[tokio::test]
async fn an_engine_of_our_own_costs_the_same_at_any_tier() {
    let answer = r#"{"choices":[],"service_tier":"flex","usage":{"prompt_tokens":7,"completion_tokens":5}}"#;
    let engine = Engine::start(answers(200, "", answer)).await;
    let world = World::new();
    world.pod_with("a", &engine.url, "price: {inputPer1M: '1', outputPer1M: '1'}");
    world.route(ONLY_A);
    assert_eq!(world.ask(super::ASK).await.header("x-portfolio-cost-usd"), "0.000012");
}

#[tokio::test]
async fn a_report_that_cannot_be_true_is_no_report() {
    let chat = |usage: &str| {
        format!(
            r#"{{"choices":[{{"index":0,"message":{{"role":"assistant","content":"x"}},"finish_reason":"stop"}}],"usage":{{{usage}}}}}"#
        )
    };
    let message = |usage: &str| {
        format!(
            r#"{{"id":"m","type":"message","role":"assistant","model":"x","content":[{{"type":"text","text":"x"}}],"stop_reason":"end_turn","usage":{{{usage}}}}}"#
        )
    };
    let response = |usage: &str| format!(r#"{{"object":"response","output":[],"usage":{{{usage}}}}}"#);
    let vectors = |usage: &str| format!(r#"{{"data":[{{"index":0,"embedding":[0.5]}}],"usage":{{{usage}}}}}"#);
    let openai = r#""prompt_tokens":1000000000000000000,"completion_tokens":9223372036854775807"#;
    let half = r#""prompt_tokens":3,"completion_tokens":100000001"#;
    let others = r#""input_tokens":1000000000000000000,"output_tokens":5"#;
    let large = |answer: String| format!(r#"{{"padding":"{}",{}"#, "x".repeat(2 << 20), &answer[1..]);
    for (provider, path, answer) in [
        ("OpenAI", "/v1/chat/completions", chat(openai)),
        ("OpenAI", "/v1/chat/completions", chat(half)),
        ("OpenAI", "/v1/chat/completions", large(chat(openai))),
        ("OpenAI", "/v1/messages", chat(openai)),
        ("OpenAI", "/v1/responses", response(others)),
        ("OpenAI", "/v1/embeddings", vectors(openai)),
        ("Anthropic", "/v1/messages", message(others)),
        ("Anthropic", "/v1/chat/completions", message(others)),
    ] {
        let engine = Engine::start(answers(200, "", &answer)).await;
        let world = World::new();
        world.api_with_key("a", provider, &engine.url);
        world.route(ONLY_A);
        let asked = r#"{"model":"assistant","max_tokens":9,"input":"x","messages":[{"role":"user","content":"x"}]}"#;
        let shown = Answer::read(world.call(post_to(path, &WEB, asked)).await).await;
        assert_eq!(shown.status, 200, "{path}: {}", shown.text);
        let counted = tokens(&world, "a", "input").await;
        assert!((1..1000).contains(&counted), "{provider} {path}: {counted}");
        let estimated = "portfolio_gateway_estimated_requests_total{policy=\"claims/assistant\",model=\"claims/a\"}";
        assert_eq!(world.metric(estimated).await as u32, 1, "{provider} {path}");
    }
    let usage = format!("data: {{\"choices\":[],\"usage\":{{{openai}}}}}\n\n");
    let end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    for path in ["/v1/chat/completions", "/v1/messages"] {
        let engine = Engine::start(streams(&[WORD, end, &usage, DONE])).await;
        let world = World::over(&[&engine], ONLY_A);
        let asked = r#"{"model":"assistant","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"x"}]}"#;
        let shown = Answer::read(world.call(post_to(path, &WEB, asked)).await).await;
        assert!(!shown.text.contains("9223372036854775807"), "{path}: {}", shown.text);
        assert!((1..100).contains(&tokens(&world, "a", "input").await), "{path}");
        assert_eq!(tokens(&world, "a", "output").await, 2, "{path}");
    }
}
