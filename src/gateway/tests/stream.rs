//! Streamed answers: bytes as they come, and an honest end.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::sync::Semaphore;

use super::drain::{drain, serve, until};
use super::engine::{DONE, Do, Engine, OPENING, WORD, answers, chunk, chunked, paris, stream_end, stream_head, streams};
use super::world::{Answer, World, post, post_to};
use super::{A_THEN_B, ASK, ONLY_A, STREAM, WEB};

const IN_BAND: &str = "data: {\"error\":{";
const MESSAGE: &str = r#"{"model":"assistant","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;

#[tokio::test]
async fn a_stream_passes_byte_for_byte() {
    let engine = Engine::start(streams(&[
        OPENING,
        ": note\r\n\r\n",
        "data: {\"choi",
        "ces\":[{\"delta\":{\"content\":\"é\"}}]}\r\n\r",
        "\n",
        DONE,
    ]))
    .await;
    let answer = World::over(&[&engine], ONLY_A).ask(STREAM).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!(
        answer.text,
        format!("{OPENING}: note\r\n\r\ndata: {{\"choices\":[{{\"delta\":{{\"content\":\"é\"}}}}]}}\r\n\r\n{DONE}")
    );
    let asked = STREAM
        .replace("assistant", "a")
        .replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1);
    assert_eq!(String::from_utf8(engine.last().body).unwrap(), asked);
}

#[tokio::test]
async fn each_event_passes_when_it_comes() {
    let gate = Arc::new(Semaphore::new(0));
    let engine = Engine::start(vec![stream_head(), chunk(WORD), Do::Wait(gate.clone()), chunk(DONE), stream_end()]).await;
    let world = World::over(&[&engine], ONLY_A);
    let mut body = world.call(post(&WEB, STREAM)).await.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), WORD);
    gate.add_permits(1);
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), DONE);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_stream_that_breaks_after_its_first_content_says_so_and_is_not_asked_of_another_model() {
    let short = "timeouts: {idle: 500ms}";
    // An error that comes with the first content is no break yet: nothing was shown.
    let failing = |event: &str| {
        let mut script = streams(&[WORD, event, DONE]);
        script.insert(2, Do::Wait(Arc::new(Semaphore::new(0))));
        script
    };
    let cases: Vec<(&str, &str, Vec<Do>)> = vec![
        ("cut", short, vec![stream_head(), chunk(WORD), Do::Close]),
        ("cut", short, vec![stream_head(), chunk(WORD), chunk("data: {\"cho"), Do::Close]),
        ("cut", short, vec![stream_head(), chunk(WORD), stream_end()]),
        ("stalled", short, vec![stream_head(), chunk(WORD), Do::Hang]),
        (
            "out_of_time",
            "timeouts: {total: 500ms}",
            vec![stream_head(), chunk(WORD), Do::Hang],
        ),
        ("failed", short, failing("data: {\"error\":{\"message\":\"oom at 10.0.0.1\"}}\n\n")),
        ("garbled", short, failing("data: {not json\n\n")),
        (
            "failed",
            short,
            failing("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"abort\"}]}\n\n"),
        ),
    ];
    let cases = cases.into_iter().map(async |(outcome, timeouts, script)| {
        let (a, b) = (Engine::start(script.clone()).await, Engine::start(paris()).await);
        let world = World::over(&[&a, &b], &format!("{timeouts}, {A_THEN_B}"));
        let begun = world.call(post(&WEB, STREAM)).await;
        for step in &script {
            if let Do::Wait(gate) = step {
                gate.add_permits(1);
            }
        }
        let answer = Answer::read(begun).await;
        assert_eq!(answer.status, 200);
        let end = answer
            .text
            .strip_prefix(WORD)
            .unwrap_or_else(|| panic!("{script:?}: {}", answer.text));
        assert!(
            end.starts_with(IN_BAND) && end.ends_with("}}\n\n") && end.matches("data:").count() == 1,
            "{script:?}: {end}"
        );
        assert!(!answer.text.contains("[DONE]") && !answer.text.contains("10.0.0.1"));
        assert_eq!(b.requests(), 0);
        let line = format!("portfolio_gateway_broken_answers_total{{model=\"claims/a\",outcome=\"{outcome}\"}}");
        assert_eq!(world.metric(&line).await as u32, 1, "{outcome}");
    });
    futures::future::join_all(cases).await;
}

#[tokio::test]
async fn what_came_before_a_break_in_the_same_read_passes_first() {
    let error = "data: {\"error\":{\"message\":\"m\"}}\n\n";
    let cases = [
        ("an error of the model", chunked(&[WORD, error].concat())),
        ("something that is no chunk", format!("{}what?", chunked(WORD))),
    ];
    for (name, together) in cases {
        let gate = Arc::new(Semaphore::new(0));
        let engine = Engine::start(vec![
            stream_head(),
            chunk(WORD),
            Do::Wait(gate.clone()),
            Do::Send(together),
            Do::Close,
        ])
        .await;
        for (path, asked) in [("/v1/chat/completions", STREAM), ("/v1/messages", MESSAGE)] {
            let world = World::over(&[&engine], ONLY_A);
            let begun = world.call(post_to(path, &WEB, asked)).await;
            gate.add_permits(1);
            let answer = Answer::read(begun).await;
            assert_eq!(answer.text.matches("Paris").count(), 2, "{name}: {}", answer.text);
            let (_, end) = answer.text.rsplit_once("Paris").unwrap();
            assert!(
                end.contains("\"error\":{") && end.contains("the answer is not whole"),
                "{name}: {end}"
            );
        }
    }
}

#[tokio::test]
async fn an_error_after_half_an_event_is_an_event_of_its_own() {
    // Longer than what is kept of an event, so that its beginning passes.
    let half = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}", "x".repeat(3 << 20));
    let engine = Engine::start(vec![stream_head(), chunk(WORD), chunk(&half), Do::Close]).await;
    let answer = World::over(&[&engine], ONLY_A).ask(STREAM).await;
    let (before, error) = answer.text.rsplit_once(IN_BAND).unwrap();
    assert!(before.ends_with("x\n\n"), "it would be read as a part of the event before");
    assert!(error.ends_with("}}\n\n"), "{error}");
}

#[tokio::test]
async fn an_event_too_long_to_be_translated_is_a_failure() {
    let long = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
        "x".repeat(1 << 20)
    );
    let gate = Arc::new(Semaphore::new(1));
    for (script, is_begun) in [
        (vec![stream_head(), chunk(&long), chunk(DONE), stream_end()], false),
        (
            vec![stream_head(), chunk(WORD), Do::Wait(gate), chunk(&long), chunk(DONE), stream_end()],
            true,
        ),
    ] {
        let (a, b) = (Engine::start(script).await, Engine::start(streams(&[WORD, DONE])).await);
        let world = World::over(&[&a, &b], A_THEN_B);
        let answer = world.ask_at("/v1/messages", MESSAGE).await;
        assert_eq!((answer.status.as_u16(), b.requests()), (200, usize::from(!is_begun)));
        assert_eq!(answer.text.contains("event: error"), is_begun, "{}", answer.text);
        assert_eq!(answer.text.contains("message_stop"), !is_begun, "{}", answer.text);
    }
}

#[tokio::test]
async fn a_stream_that_is_done_is_whole_however_it_ends() {
    for end in [Do::Close, Do::Hang] {
        let engine = Engine::start(vec![stream_head(), chunk(WORD), chunk(DONE), end]).await;
        let answer = World::over(&[&engine], ONLY_A).ask(STREAM).await;
        assert_eq!((answer.text, answer.is_whole), (format!("{WORD}{DONE}"), true));
    }
}

#[tokio::test]
async fn a_stream_that_says_why_it_ended_is_whole_without_its_mark() {
    let stop = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let engine = Engine::start(streams(&[WORD, stop])).await;
    let world = World::over(&[&engine], ONLY_A);
    let answer = world.ask(STREAM).await;
    assert_eq!((answer.text, answer.is_whole), (format!("{WORD}{stop}{DONE}"), true));
    let broken = "portfolio_gateway_broken_answers_total{model=\"claims/a\",outcome=\"cut\"}";
    assert_eq!(world.metric(broken).await as u32, 0);
}

#[tokio::test]
async fn a_large_plain_answer_that_breaks_is_visibly_incomplete() {
    let body = "x".repeat(2 << 20);
    let head = |length| {
        Do::Send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        ))
    };
    let whole = Engine::start(vec![head(body.len()), Do::Send(body.clone())]).await;
    let answer = World::over(&[&whole], ONLY_A).ask(ASK).await;
    assert_eq!((answer.text.len(), answer.is_whole), (body.len(), true));
    let cut = Engine::start(vec![head(body.len() + 1), Do::Send(body.clone()), Do::Close]).await;
    let answer = World::over(&[&cut], ONLY_A).ask(ASK).await;
    assert_eq!((answer.text.len(), answer.is_whole), (body.len(), false));
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_the_models_work() {
    let engine = Engine::start(vec![stream_head(), chunk(WORD), Do::Hang]).await;
    let world = World::over(&[&engine], ONLY_A);
    let mut body = world.call(post(&WEB, STREAM)).await.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    engine.until(|counts| counts.hung_up == 1).await;
    let gone = "portfolio_gateway_requests_total{policy=\"claims/assistant\",model=\"claims/a\",class=\"gone\"}";
    assert_eq!(world.metric(gone).await as u32, 1);
    assert_eq!(world.metric("portfolio_gateway_requests_in_flight").await as u32, 0);
}

#[tokio::test]
async fn a_client_that_closes_after_the_mark_of_the_end_has_had_its_answer() {
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n";
    let engine = Engine::start(vec![stream_head(), chunk(WORD), chunk(usage), chunk(DONE), Do::Hang]).await;
    let world = World::over(&[&engine], ONLY_A);
    let mut body = world.call(post(&WEB, STREAM)).await.into_body();
    let mut taken = Vec::new();
    while !taken.ends_with(DONE.as_bytes()) {
        taken.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    drop(body);
    for (class, count) in [("2xx", 1), ("gone", 0)] {
        let line = format!("portfolio_gateway_requests_total{{policy=\"claims/assistant\",model=\"claims/a\",class=\"{class}\"}}");
        assert_eq!(world.metric(&line).await as u32, count, "{class}");
    }
    let estimated = "portfolio_gateway_estimated_requests_total{policy=\"claims/assistant\",model=\"claims/a\"}";
    assert_eq!(world.metric(estimated).await as u32, 0);
}

#[tokio::test]
async fn tokens_are_counted_where_answers_report_them() {
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n";
    let engine = Engine::start(streams(&[WORD, usage, DONE])).await;
    let world = World::over(&[&engine], ONLY_A);
    assert!(!world.ask(STREAM).await.text.contains(usage), "it was not asked for");
    let asking = STREAM.replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1);
    assert!(world.ask(&asking).await.text.contains(usage));
    engine.now_does(paris());
    world.ask(ASK).await;
    let tokens = |kind| format!("portfolio_gateway_tokens_total{{policy=\"claims/assistant\",model=\"claims/a\",kind=\"{kind}\"}}");
    assert_eq!(world.metric(&tokens("input")).await as u32, 9);
    assert_eq!(world.metric(&tokens("output")).await as u32, 9);
}

#[tokio::test]
async fn a_read_answer_leaves_its_connection_for_the_next() {
    let engine = Engine::start(streams(&[WORD, DONE])).await;
    let world = World::over(&[&engine], ONLY_A);
    for _ in 0..3 {
        let answer: Answer = world.ask(STREAM).await;
        assert!(answer.is_whole);
    }
    assert_eq!(engine.connections(), 1);
}

#[tokio::test]
async fn what_a_model_was_asked_in_vain_is_charged_as_an_estimate() {
    let price = "price: {inputPer1M: '1000000', outputPer1M: '1000000'}";
    let silent = Engine::start(vec![Do::Hang]).await;
    let failing = Engine::start(answers(500, "", "{}")).await;
    let b = Engine::start(paris()).await;
    let cost = |model: &str| format!("portfolio_gateway_cost_usd_total{{policy=\"claims/assistant\",model=\"claims/{model}\"}}");
    let world_with = |engine: &Engine| {
        let world = World::new();
        world.pod_with("a", &engine.url, price);
        world.pod_with("b", &b.url, price);
        world.route(&format!("timeouts: {{firstToken: 300ms}}, {A_THEN_B}"));
        world
    };
    // One that is not waited for by us.
    let world = world_with(&silent);
    // What it thought before it was given up is not known: it may be all of the answer.
    let body = STREAM.replacen('{', r#"{"max_tokens":100,"#, 1);
    let asked = body.len() as f64 / 4.0 + 100.0;
    assert_eq!(world.ask(&body).await.header("x-portfolio-model"), "claims/b");
    let charged = world.metric(&cost("a")).await;
    assert!((charged - asked).abs() < 10.0, "{charged} for about {asked} tokens");
    // One that is not waited for by the client.
    let world = world_with(&silent);
    let asking = world.ask(&body);
    tokio::select! {
        biased;
        _ = asking => panic!("nobody answers"),
        () = silent.until(|counts| counts.requests == 2) => {}
    }
    assert!((world.metric(&cost("a")).await - charged).abs() < f64::EPSILON, "the same");
    let gone = "portfolio_gateway_requests_total{policy=\"claims/assistant\",model=\"claims/a\",class=\"gone\"}";
    assert_eq!(world.metric(gone).await as u32, 1);
    // What is refused costs nothing.
    let world = world_with(&failing);
    assert_eq!(world.ask(STREAM).await.header("x-portfolio-model"), "claims/b");
    assert!(world.metric(&cost("a")).await == 0.0);
}

#[tokio::test]
async fn what_a_stream_cost_follows_it_for_a_client_that_takes_trailers() {
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":1000}}\n\n";
    let engine = Engine::start(streams(&[WORD, usage, DONE])).await;
    let broken = Engine::start(vec![stream_head(), chunk(WORD), Do::Close]).await;
    let stop = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let unmarked = Engine::start(streams(&[WORD, stop, usage])).await;
    let price = "price: {inputPer1M: '2', outputPer1M: '3'}";
    for (engine, price, expected) in [
        (&engine, price, "x-portfolio-cost-usd: 0.005\r\n\r\n"),
        (&unmarked, price, "x-portfolio-cost-usd: 0.005\r\n\r\n"),
        (&engine, "", "x-portfolio-cost-usd: unknown\r\n\r\n"),
        (&broken, price, "x-portfolio-estimated: true\r\n\r\n"),
    ] {
        let world = World::new();
        world.pod_with("a", &engine.url, price);
        world.route(ONLY_A);
        let served = serve(&world, drain(Duration::from_secs(30))).await;
        let mut taking = served.send_with("te: trailers\r\n", STREAM).await;
        let answer = until(&mut taking, expected).await;
        assert!(answer.contains("trailer: x-portfolio-cost-usd"), "{answer}");
        let mut other = served.send(STREAM).await;
        let answer = until(&mut other, "0\r\n\r\n").await;
        assert!(!answer.contains("trailer") && !answer.contains("cost-usd"), "{answer}");
    }
}
