//! The fake provider says what real ones say, and fails as told.

use std::time::Duration;

use e2e::http_client::HttpClient;
use e2e::provider::{Behaviour, Provider, Stall};
use e2e::until;
use futures::TryStreamExt;
use serde_json::{Value, json};

const ANTHROPIC: (&str, &str) = ("anthropic-version", "2023-06-01");

async fn provider() -> (Provider, HttpClient) {
    let provider = Provider::start().await.expect("a free port");
    provider.set(|script| script.keys = vec!["sk-good".to_owned()]);
    let client = HttpClient::new(provider.ca()).expect("its own certificate");
    (provider, client)
}

fn chat(question: &str, stream: bool) -> Value {
    json!({"model": "any", "max_tokens": 100, "stream": stream, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": question}]})
}

/// All bytes of a stream as text, or what broke it.
async fn whole(client: &HttpClient, url: &str, headers: &[(&str, &str)], body: &Value) -> anyhow::Result<String> {
    let (_, bytes) = client.stream(url, headers, body).await?;
    let all: Vec<bytes::Bytes> = bytes.try_collect().await?;
    Ok(String::from_utf8(all.concat())?)
}

#[tokio::test]
async fn openai_chat_is_answered_plain_and_streamed() {
    let (provider, client) = provider().await;
    provider.set(|script| drop(script.answers.insert("capital of France".to_owned(), "It is Paris.".to_owned())));
    let url = format!("{}/v1/chat/completions", provider.url());
    let key = [("authorization", "Bearer sk-good")];

    let plain = client
        .post(&url, &key, &chat("What is the capital of France?", false))
        .await
        .unwrap();
    let streamed = whole(&client, &url, &key, &chat("What is the capital of France?", true))
        .await
        .unwrap();

    assert_eq!(plain.body["choices"][0]["message"]["content"], "It is Paris.");
    assert_eq!(plain.body["usage"]["total_tokens"], 9);
    let events: Vec<&str> = streamed
        .trim()
        .split("\n\n")
        .map(|event| event.strip_prefix("data: ").unwrap())
        .collect();
    let parsed: Vec<Value> = events[..events.len() - 1]
        .iter()
        .map(|event| serde_json::from_str(event).unwrap())
        .collect();
    let text: String = parsed
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(text, "It is Paris.");
    assert_eq!(parsed.last().unwrap()["usage"]["completion_tokens"], 3);
    assert_eq!(events.last(), Some(&"[DONE]"));
    assert_eq!(provider.count(), 2);
    assert_eq!(provider.last().unwrap().body["model"], "any");
}

#[tokio::test]
async fn anthropic_messages_are_answered_plain_and_streamed() {
    let (provider, client) = provider().await;
    let url = format!("{}/v1/messages", provider.url());
    let key = [("x-api-key", "sk-good"), ANTHROPIC];

    let plain = client.post(&url, &key, &chat("Hello", false)).await.unwrap();
    let streamed = whole(&client, &url, &key, &chat("Hello", true)).await.unwrap();

    assert_eq!(plain.body["content"][0]["text"], "Hello from the fake provider.");
    let kinds: Vec<&str> = streamed.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(kinds[..3], ["message_start", "content_block_start", "ping"]);
    assert_eq!(kinds[kinds.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
}

#[tokio::test]
async fn a_wrong_key_is_refused_in_the_shape_of_the_protocol() {
    let (provider, client) = provider().await;

    let openai = client
        .post(
            &format!("{}/v1/chat/completions", provider.url()),
            &[("authorization", "Bearer no")],
            &chat("Hello", false),
        )
        .await
        .unwrap();
    let anthropic = client
        .post(&format!("{}/v1/messages", provider.url()), &[ANTHROPIC], &chat("Hello", false))
        .await
        .unwrap();
    let models = client
        .get(&format!("{}/v1/models", provider.url()), &[("authorization", "Bearer sk-good")])
        .await
        .unwrap();

    assert_eq!(
        (openai.status.as_u16(), &openai.body["error"]["code"]),
        (401, &json!("invalid_api_key"))
    );
    assert_eq!(
        (anthropic.status.as_u16(), &anthropic.body["error"]["type"]),
        (401, &json!("authentication_error"))
    );
    assert_eq!(models.status, 200);
}

#[tokio::test]
async fn a_scripted_status_comes_once_with_its_retry_after() {
    let (provider, client) = provider().await;
    provider.set(|script| script.next.push(Behaviour::rate_limited(7)));
    let url = format!("{}/v1/chat/completions", provider.url());
    let key = [("authorization", "Bearer sk-good")];

    let first = client.post(&url, &key, &chat("Hello", false)).await.unwrap();
    let second = client.post(&url, &key, &chat("Hello", false)).await.unwrap();

    assert_eq!((first.status.as_u16(), first.headers["retry-after"].as_str()), (429, "7"));
    assert_eq!(second.status, 200);
}

#[tokio::test]
async fn a_cut_stream_breaks_and_an_unread_stall_is_noted_as_abandoned() {
    let (provider, client) = provider().await;
    let url = format!("{}/v1/chat/completions", provider.url());
    let key = [("authorization", "Bearer sk-good")];

    provider.set(|script| script.next.push(Behaviour::cut_after(2)));
    let cut = whole(&client, &url, &key, &chat("Hello", true)).await;
    provider.set(|script| script.next.push(Behaviour::stall(Stall::MidStream)));
    let stalled = tokio::time::timeout(Duration::from_millis(500), whole(&client, &url, &key, &chat("Hello", true))).await;

    assert!(cut.is_err(), "{cut:?}");
    assert!(stalled.is_err(), "{stalled:?}");
    until("the record says so", Duration::from_secs(5), async || {
        Ok(provider.last().filter(|r| r.abandoned))
    })
    .await
    .unwrap();
}
