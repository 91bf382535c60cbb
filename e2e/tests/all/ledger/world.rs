//! Three gateways, processes of `portfolio serve`, before a fake provider and a Redis; and clients of them all.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::http_client::{Answer, HttpClient};
use e2e::local::{self, Server};
use e2e::provider::{Options, Provider};
use e2e::redis::{PASSWORD, Redis};
use e2e::until;
use futures::future::try_join_all;
use serde_json::{Value, json};
use tokio::sync::RwLock;

/// Gateways before one provider and one Redis.
pub(super) struct World {
    pub(super) provider: Provider,
    pub(super) redis: RwLock<Redis>,
    folder: PathBuf,
    pub(super) variables: Vec<(String, String)>,
    pub(super) gateways: Vec<RwLock<Option<Server>>>,
    pub(super) client: HttpClient,
}

/// What has become of requests.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) answered: AtomicU64,
    pub(super) exhausted: AtomicU64,
    pub(super) unavailable: AtomicU64,
    /// Of answers and of refusals because the store does not answer, the slowest, in milliseconds.
    pub(super) slowest: AtomicU64,
    pub(super) slowest_unavailable: AtomicU64,
}

/// Dollars for a token of a prompt, and of an answer. All answers have one token, by what is asked for.
pub(super) const BY_ANSWER: (u64, u64) = (0, 1);
pub(super) const BY_PROMPT: (u64, u64) = (1, 0);

impl World {
    pub(super) async fn start(redis: Redis, budget: u64, price: (u64, u64), on_failure: &str) -> Result<Self> {
        let options = Options {
            tls: false,
            ..Options::default()
        };
        let provider = Provider::on(std::net::TcpListener::bind("127.0.0.1:0")?, options).await?;
        provider.set(|script| script.answer = "yes".to_owned());
        let folder = std::env::temp_dir().join(format!(
            "llm-portfolio-ledger-{}-{}",
            std::process::id(),
            redis.url().rsplit(':').next().unwrap_or_default()
        ));
        std::fs::create_dir_all(&folder)?;
        let (input, output) = price;
        let portfolio = format!(
            "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: gpt, annotations: {{llmportfolio.dev/endpoint: '{}'}}}}
spec:
  selfHosted: {{engine: {{kind: LlamaCpp}}, accelerator: {{profile: cpu}}}}
  price: {{inputPer1M: '{input}000000', outputPer1M: '{output}000000'}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {{name: assistant}}
spec:
  model: assistant
  clients: [{{anonymous: {{}}}}]
  rules: [{{targets: [{{model: gpt}}]}}]
  budgets: [{{per: Policy, usd: '{budget}', window: Month}}]
",
            provider.url()
        );
        std::fs::write(folder.join("portfolio.yaml"), portfolio)?;
        let settings = format!(
            "{{acceleratorProfiles: {{cpu: {{}}}}, ledger: {{redis: {{url: '{}', onFailure: {on_failure}}}}}}}",
            redis.url()
        );
        std::fs::write(folder.join("settings.yaml"), settings)?;
        let mut variables = vec![("PORTFOLIO_LEDGER_PASSWORD".to_owned(), PASSWORD.to_owned())];
        if redis.ca_file().exists() {
            variables.push(("SSL_CERT_FILE".to_owned(), redis.ca_file().display().to_string()));
        }
        let mut world = Self {
            provider,
            redis: RwLock::new(redis),
            folder,
            variables,
            gateways: vec![],
            client: HttpClient::new(None)?,
        };
        for _ in 0..3 {
            let gateway = world.gateway().await?;
            world.gateways.push(RwLock::new(Some(gateway)));
        }
        Ok(world)
    }

    pub(super) async fn gateway(&self) -> Result<Server> {
        let settings = self.folder.join("settings.yaml").display().to_string();
        let variables: Vec<(&str, &str)> = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let arguments = ["--allow-anonymous", "--settings", &settings];
        local::serve(&self.folder.join("portfolio.yaml"), &arguments, &variables).await
    }

    pub(super) async fn url(&self, at: usize) -> Option<String> {
        let gateway = self.gateways[at].read().await;
        gateway.as_ref().map(|gateway| gateway.url.clone())
    }

    /// One request at one of the gateways; none where that is gone.
    pub(super) async fn ask(&self, at: usize, body: &Value) -> Option<Answer> {
        let url = self.url(at).await?;
        self.client.post(&format!("{url}/v1/chat/completions"), &[], body).await.ok()
    }

    /// So many clients at each gateway, one request after the other, until told to stop, or until the budget is used up where nobody tells.
    pub(super) async fn load(&self, clients: usize, body: &Value, stop: Option<&AtomicBool>) -> Result<Tally> {
        let tally = Tally::default();
        let client = async |at: usize| -> Result<()> {
            while !stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                let began = Instant::now();
                let Some(answer) = self.ask(at, body).await else {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                };
                let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                match (answer.status.as_u16(), answer.body["error"]["code"].as_str()) {
                    (200, _) => {
                        tally.answered.fetch_add(1, Ordering::Relaxed);
                        tally.slowest.fetch_max(millis, Ordering::Relaxed);
                    }
                    (429, Some("budget_exhausted")) => {
                        tally.exhausted.fetch_add(1, Ordering::Relaxed);
                        // What requests in flight hold may come free.
                        if stop.is_none() && answer.headers.contains_key("x-should-retry") {
                            return Ok(());
                        }
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    (503, Some("ledger_unavailable")) => {
                        let message = answer.body["error"]["message"].as_str().unwrap_or_default();
                        ensure!(message.contains("the store of what was spent does not answer"), "{message}");
                        tally.unavailable.fetch_add(1, Ordering::Relaxed);
                        tally.slowest_unavailable.fetch_max(millis, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    // A gateway that was killed, or is not yet there.
                    (502..=504, _) => tokio::time::sleep(Duration::from_millis(20)).await,
                    (status, _) => bail!("{status} {}", answer.body),
                }
            }
            Ok(())
        };
        try_join_all((0..self.gateways.len() * clients).map(|number| client(number % self.gateways.len()))).await?;
        Ok(tally)
    }

    /// Load for a while.
    pub(super) async fn load_for(&self, clients: usize, body: &Value, time: Duration) -> Result<Tally> {
        let stop = AtomicBool::new(false);
        let (tally, ()) = tokio::join!(self.load(clients, body, Some(&stop)), async {
            tokio::time::sleep(time).await;
            stop.store(true, Ordering::Relaxed);
        });
        tally
    }

    /// Waits until one of the gateways says in its metrics that the store answers (`1`), or does not (`0`).
    pub(super) async fn until_told(&self, at: usize, answers: &str) -> Result<()> {
        let line = format!("portfolio_gateway_ledger_answers {answers}\n");
        until(&format!("gateway {at} says {line}"), Duration::from_secs(8), async || {
            let url = self.url(at).await.context("it runs")?;
            let metrics = self.client.get(&format!("{url}/metrics"), &[]).await?;
            Ok(metrics.body.as_str().is_some_and(|text| text.contains(&line)).then_some(()))
        })
        .await
    }

    /// Ends all gateways, which give back what they have not used; what the Redis then says was spent.
    pub(super) async fn stop(&self) -> Result<u64> {
        for gateway in &self.gateways {
            if let Some(gateway) = gateway.write().await.take() {
                gateway.stop().await?;
            }
        }
        self.redis.read().await.taken().await.map(|nanos| nanos / DOLLAR)
    }

    /// What the provider would bill, where every request costs so many dollars.
    pub(super) fn billed(&self, each: u64) -> u64 {
        self.provider.count() as u64 * each
    }

    pub(super) async fn taken(&self) -> Result<u64> {
        Ok(self.redis.read().await.taken().await? / DOLLAR)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// In nano-dollars.
const DOLLAR: u64 = 1_000_000_000;

/// A request whose answer may have so many tokens.
pub(super) fn ask(most: u64) -> Value {
    json!({"model": "assistant", "max_tokens": most, "messages": [{"role": "user", "content": "Is it so?"}]})
}

/// A random number that is the same each time (SplitMix64).
pub(super) struct Seeded(pub(super) u64);

impl Seeded {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}
