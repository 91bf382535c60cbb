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
