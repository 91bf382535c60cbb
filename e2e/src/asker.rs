//! A client that asks at a constant rate while something is done to what answers it, and counts what failed.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::http_client::HttpClient;
use crate::namespace::Namespace;
use crate::portfolio::Portfolio;
use crate::until;

/// How often the client asks.
const EVERY: Duration = Duration::from_millis(200);
/// What the SDKs do by default when a connection fails: so many further attempts, after this pause.
const RETRIES: usize = 2;
const PAUSE: Duration = Duration::from_millis(500);
/// For an image to be imported, a pod to start and a route to open.
const SERVES: Duration = Duration::from_secs(120);

/// What became of the client's requests.
#[derive(Clone, Debug, Default)]
pub struct Count {
    /// How many it sent, further attempts left aside.
    pub asked: usize,
    /// Attempts that failed, each with how: a connection's end or an HTTP status.
    pub attempts_failed: Vec<String>,
    /// Requests that an SDK with its default retries would have reported as failed.
    pub lost: Vec<String>,
    /// The longest that one took, its further attempts included.
    pub slowest: Duration,
}

/// The client.
pub struct Asker {
    client: HttpClient,
    url: String,
    bearer: String,
    body: Value,
}

impl Asker {
    /// A service account of `ns` that asks `model` for two tokens.
    pub async fn new(portfolio: &Portfolio, ns: &Namespace, model: &str) -> Result<Arc<Self>> {
        let token = portfolio.token(ns.name(), "caller").await?;
        Ok(Arc::new(Self {
            client: HttpClient::new(None)?,
            url: format!("{}/v1/chat/completions", portfolio.gateway()),
            bearer: format!("Bearer {token}"),
            body: json!({"model": model, "max_tokens": 2, "messages": [{"role": "user", "content": "Hi"}]}),
        }))
    }

    /// Waits until it is answered.
    pub async fn is_served(&self) -> Result<()> {
        until("the client is answered", SERVES, async || {
            let answer = self.client.post(&self.url, &[("authorization", &self.bearer)], &self.body).await?;
            ensure!(answer.status.is_success(), "{} {}", answer.status, answer.body);
            Ok(Some(()))
        })
        .await
    }

    /// Asks at a constant rate until `until_done` ends, whatever the answers do.
    pub async fn during(self: &Arc<Self>, until_done: impl Future<Output = Result<()>>) -> Result<Count> {
        let count = Arc::new(Mutex::new(Count::default()));
        let mut asking = JoinSet::new();
        let mut ticks = tokio::time::interval(EVERY);
        let mut until_done = std::pin::pin!(until_done);
        loop {
            tokio::select! {
                done = &mut until_done => { done?; break; }
                _ = ticks.tick() => { asking.spawn(Arc::clone(self).ask(Arc::clone(&count))); }
            }
        }
        asking.join_all().await;
        let count = count.lock().map(|count| count.clone());
        count.map_err(|_| anyhow::anyhow!("a request panicked"))
    }

    async fn ask(self: Arc<Self>, count: Arc<Mutex<Count>>) {
        let since = Instant::now();
        let mut failures = vec![];
        for attempt in 0..=RETRIES {
            match self.client.post(&self.url, &[("authorization", &self.bearer)], &self.body).await {
                Ok(answer) if answer.status.is_success() => break,
                Ok(answer) => failures.push(format!("{} {}", answer.status, answer.body)),
                Err(error) => failures.push(format!("{error:#}")),
            }
            if attempt < RETRIES {
                tokio::time::sleep(PAUSE).await;
            }
        }
        if let Ok(mut count) = count.lock() {
            count.asked += 1;
            count.slowest = count.slowest.max(since.elapsed());
            if failures.len() > RETRIES {
                count.lost.extend(failures.last().cloned());
            }
            count.attempts_failed.extend(failures);
        }
    }
}
