//! Conversations over two replicas of the real engine: their later turns find their beginning in the prefix cache of the replica that has it,
//! counted in the tokens that the engines read from their caches.

use std::fs;

use anyhow::{Context, Result, ensure};
use e2e::http_client::HttpClient;
use e2e::local;
use serde_json::{Value, json};

const CONVERSATIONS: usize = 6;
const TURNS: usize = 3;

/// Tokens of prompts after the first turn, and how many of them came from a cache.
#[derive(Clone, Copy, Debug, Default)]
struct Read {
    prompt: u64,
    cached: u64,
}

impl Read {
    fn percent(self) -> u64 {
        100 * self.cached / self.prompt.max(1)
    }
}

/// Holds conversations turn by turn, one beside the other; `url` says who answers a turn of a conversation.
async fn converse(topic: &str, url: impl Fn(usize, usize) -> String) -> Result<Read> {
    let client = HttpClient::new(None)?;
    let opening = |number: usize| {
        let rules = (0..12).map(|rule| format!("Rule {rule} of {topic} {number} is never broken. "));
        json!([{"role": "system", "content": rules.collect::<String>()}, {"role": "user", "content": "Which rule is first?"}])
    };
    let mut conversations: Vec<Value> = (0..CONVERSATIONS).map(opening).collect();
    let mut read = Read::default();
    for turn in 0..TURNS {
        for (number, messages) in conversations.iter_mut().enumerate() {
            let asked = json!({"model": "smol", "max_tokens": 4, "temperature": 0, "messages": messages});
            let answer = client
                .post(&format!("{}/v1/chat/completions", url(number, turn)), &[], &asked)
                .await?;
            ensure!(answer.status.is_success(), "{} {}", answer.status, answer.body);
            let count = |path: &str| {
                answer
                    .body
                    .pointer(path)
                    .and_then(Value::as_u64)
                    .context("the engine counts tokens")
            };
            if turn > 0 {
                read.prompt += count("/usage/prompt_tokens")?;
                read.cached += count("/usage/prompt_tokens_details/cached_tokens")?;
            }
            let said = answer.body["choices"][0]["message"].clone();
            let messages = messages.as_array_mut().context("a conversation is a list")?;
            messages.extend([said, json!({"role": "user", "content": "And the next?"})]);
        }
    }
    Ok(read)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_stays_with_the_replica_whose_cache_has_its_beginning() -> Result<()> {
    let (one, two) = (local::engine(&[]).await?, local::engine(&[]).await?);
    let portfolio = format!(
        "apiVersion: llmportfolio.dev/v1alpha1\nkind: ModelDeployment\n\
         metadata: {{name: smol, annotations: {{llmportfolio.dev/endpoint: \"{}, {}\"}}}}\n\
         spec: {{selfHosted: {{engine: {{kind: LlamaCpp}}, accelerator: {{profile: cpu}}}}}}\n---\n\
         apiVersion: llmportfolio.dev/v1alpha1\nkind: RoutingPolicy\nmetadata: {{name: smol}}\n\
         spec: {{model: smol, clients: [{{anonymous: {{}}}}], rules: [{{targets: [{{model: smol}}]}}]}}\n",
        one.url, two.url
    );
    let file = std::env::temp_dir().join(format!("llm-portfolio-affinity-{}.yaml", std::process::id()));
    fs::write(&file, portfolio)?;
    let gateway = local::serve(&file, &["--allow-anonymous"], &[]).await;
    fs::remove_file(&file)?;
    let gateway = gateway?;

    let by_gateway = converse("the house", |_, _| gateway.url.clone()).await?;
    let in_turns = converse("the garden", |number, turn| [&one, &two][(number + turn) % 2].url.clone()).await?;
    println!(
        "of the prompts after the first turn came from a cache: {} % by the gateway ({by_gateway:?}), {} % in turns ({in_turns:?})",
        by_gateway.percent(),
        in_turns.percent()
    );
    ensure!(by_gateway.percent() >= 80, "{by_gateway:?}: {}", gateway.said());
    ensure!(by_gateway.percent() >= in_turns.percent() + 20, "it is worth nothing: {in_turns:?}");
    // What the engines read from their caches is what the gateway counts.
    let metrics = HttpClient::new(None)?.get(&format!("{}/metrics", gateway.url), &[]).await?;
    let text = metrics.body.as_str().context("metrics are text")?;
    let line = text
        .lines()
        .find(|line| line.starts_with("portfolio_gateway_tokens_total{") && line.contains("kind=\"cache_read\""));
    let counted: u64 = line
        .and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .context("cache reads are counted")?;
    ensure!(counted >= by_gateway.cached, "{counted} of {by_gateway:?}");
    Ok(())
}
