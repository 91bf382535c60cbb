//! What answers take, and what is told of it: 1, 2, 3, 18.

use http_body_util::BodyExt;

use super::super::engine::{DONE, Do, Engine, WORD, answers, chunk, stream_head, streams};
use super::super::world::{World, post, post_to};
use super::super::{ASK, ONLY_A, STREAM, WEB};
use super::{ONLY_M, provider, tokens};
use crate::gateway::ApiKeys;
use crate::plan::api_key::ApiKey;

#[tokio::test]
async fn pitfall_01_usage_on_streams() {
    let usage = |choices: &str, answer: u32| {
        format!("data: {{\"choices\":[{choices}],\"usage\":{{\"prompt_tokens\":7,\"completion_tokens\":{answer}}}}}\n\n")
    };
    let word = "{\"index\":0,\"delta\":{\"content\":\"Paris\"},\"finish_reason\":null}";
    let stop = "{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}";
    let (alone, beside, one, two) = (usage("", 5), usage(stop, 5), usage(word, 1), usage(stop, 5));
    // A report of its own, one beside the reason to stop, one in every part: the last counts, and only the first kind is left out.
    for (name, events, passes) in [
        ("alone", vec![WORD, &alone, DONE], vec![WORD, DONE]),
        ("beside", vec![WORD, &beside, DONE], vec![WORD, &beside, DONE]),
        ("everywhere", vec![&one, &two, &alone, DONE], vec![&one, &two, DONE]),
    ] {
        let engine = Engine::start(streams(&events)).await;
        let world = World::over(&[&engine], ONLY_A);
        let answer = world.ask(STREAM).await;
        assert_eq!(answer.text, passes.concat(), "{name}");
        assert!(
            String::from_utf8(engine.last().body)
                .unwrap()
                .contains(r#""stream_options":{"include_usage":true}"#)
        );
        assert_eq!(
            (tokens(&world, "a", "input").await, tokens(&world, "a", "output").await),
            (7, 5),
            "{name}"
        );
    }
    let never = Engine::start(streams(&[WORD, DONE])).await;
    let world = World::over(&[&never], ONLY_A);
    world.ask(STREAM).await;
    assert!(
        tokens(&world, "a", "input").await > 5 && tokens(&world, "a", "output").await > 0,
        "an estimate"
    );
    // Anthropic's begins with the prompt's and ends with all: not added up, wherever they stand.
    let start = |usage: &str| {
        format!(
            "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"x\",\"usage\":{usage}}}}}\n\n"
        )
    };
    let rest = |usage: &str| {
        format!(
            "event: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{{\"type\":\"text\",\"text\":\"\"}}}}\n\n\
             event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"Paris\"}}}}\n\n\
             event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":0}}\n\n\
             event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\"}},\"usage\":{usage}}}\n\n\
             event: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
        )
    };
    for (first, last) in [
        (r#"{"input_tokens":7,"output_tokens":1}"#, r#"{"output_tokens":5}"#),
        (r#"{"input_tokens":7,"output_tokens":1}"#, r#"{"input_tokens":7,"output_tokens":5}"#),
        (r#"{"input_tokens":0,"output_tokens":0}"#, r#"{"input_tokens":7,"output_tokens":5}"#),
    ] {
        let engine = Engine::start(streams(&[&start(first), &rest(last)])).await;
        let world = provider("Anthropic", &engine, "", ONLY_M);
        let ask = r#"{"model":"assistant","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
        let passed = world
            .call(post_to("/v1/messages", &WEB, ask))
            .await
            .into_body()
            .collect()
            .await
            .unwrap();
        assert!(passed.to_bytes().ends_with(b"data: {\"type\":\"message_stop\"}\n\n"));
        assert!(
            world
                .ask(STREAM.replace("[]", r#"[{"role":"user","content":"hi"}]"#).as_str())
                .await
                .is_whole
        );
        let counted = (tokens(&world, "m", "input").await, tokens(&world, "m", "output").await);
        assert_eq!(counted, (14, 10), "once as it is, once translated: {first} {last}");
    }
}

#[tokio::test]
async fn pitfall_02_tokens_mean_different_things() {
    let price = ", price: {inputPer1M: '2', outputPer1M: '8'}";
    let cached = ", price: {inputPer1M: '2', outputPer1M: '8', cacheReadPer1M: '0.5'}";
    let of_openai = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Paris"},"finish_reason":"stop"}],"usage":{"prompt_tokens":16,"completion_tokens":8,"prompt_tokens_details":{"cached_tokens":6},"completion_tokens_details":{"reasoning_tokens":3}}}"#;
    let of_anthropic = r#"{"id":"m","type":"message","role":"assistant","model":"x","content":[{"type":"text","text":"Paris"}],"stop_reason":"end_turn","usage":{"input_tokens":10,"cache_read_input_tokens":6,"output_tokens":8,"output_tokens_details":{"thinking_tokens":3}}}"#;
    let of_gemini = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Paris"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":16,"cachedContentTokenCount":6,"candidatesTokenCount":5,"thoughtsTokenCount":3,"totalTokenCount":24}}"#;
    for (name, said) in [("OpenAI", of_openai), ("Anthropic", of_anthropic), ("Gemini", of_gemini)] {
        let engine = Engine::start(answers(200, "", said)).await;
        let world = provider(name, &engine, cached, ONLY_M);
        let answer = world.ask(ASK).await;
        assert_eq!(
            answer.header("x-portfolio-cost-usd"),
            "0.000087",
            "{name}: 10 × 2 + 6 × 0.5 + 8 × 8 per million"
        );
        let mut counted = Vec::new();
        for kind in ["input", "cache_read", "output", "reasoning"] {
            counted.push(tokens(&world, "m", kind).await);
        }
        assert_eq!(counted, [10, 6, 5, 3], "{name}");
        // A rate that is not known is not zero.
        let world = provider(name, &engine, price, ONLY_M);
        assert_eq!(world.ask(ASK).await.header("x-portfolio-cost-usd"), "unknown", "{name}");
    }
}

#[tokio::test]
async fn pitfall_03_clients_that_hang_up() {
    let engine = Engine::start(vec![stream_head(), chunk(WORD), Do::Hang]).await;
    let world = World::over(&[&engine], ONLY_A);
    let mut body = world.call(post(&WEB, STREAM)).await.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    engine.until(|counts| counts.hung_up == 1).await;
    let estimated = (tokens(&world, "a", "input").await, tokens(&world, "a", "output").await);
    assert!(estimated.0 > 5 && estimated.1 > 0, "{estimated:?}");
}

#[tokio::test]
async fn pitfall_18_labels_without_bounds() {
    let engine = Engine::start(super::super::engine::paris()).await;
    let world = World::over(
        &[&engine],
        &format!("clients: [{{apiKeys: {{matchLabels: {{team: claims}}}}}}], {ONLY_A}"),
    );
    let keys = (0..50).map(|index| {
        let key = ApiKey {
            name: format!("key-{index}"),
            labels: [("team".to_owned(), "claims".to_owned())].into(),
            ..ApiKey::default()
        };
        (super::super::hash(&format!("sk-{index}")), key)
    });
    world.source.api_keys.send_replace(ApiKeys::new(keys).into());
    let mut lines = Vec::new();
    for index in 0..50 {
        let headers = [
            ("authorization", format!("Bearer sk-{index}")),
            ("x-request-id", format!("session-{index}")),
            ("user-agent", format!("agent-{index}")),
        ];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let body = ASK.replacen('{', &format!(r#"{{"user":"user-{index}","#), 1);
        assert_eq!(world.ask_with(&headers, &body).await.status, 200);
        let unknown = ASK.replace("assistant", &format!("model-{index}"));
        assert_eq!(world.ask_with(&headers, &unknown).await.status, 404);
        lines.push(world.get("/metrics", &[]).await.text.lines().count());
    }
    assert_eq!(lines[1], lines[49], "as many lines for fifty clients as for two");
    let text = world.get("/metrics", &[]).await.text;
    for private in ["key-", "sk-", "session-", "agent-", "user-", "model-"] {
        assert!(!text.contains(private), "{private}");
    }
}
