//! What answers are charged for, where that takes more than reading a report.

use http_body_util::BodyExt;

use super::engine::{Do, Engine, WORD, answers, chunk, paris, stream_head};
use super::world::{Answer, World, post_to};
use super::{A_THEN_B, ONLY_A, WEB};

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
