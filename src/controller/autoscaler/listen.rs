//! Asks each gateway again and again; one that has nothing new keeps its answer back for two seconds, and one whose model is called answers at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Autoscaler;
use crate::cluster;
use crate::controller::ask::Ask;
use crate::plan::scaling::demand::Told;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between an answer and the next question: a flood of calls is no flood of questions.
const PAUSE: Duration = Duration::from_millis(200);
/// Between a failure and the next question.
const RETRY: Duration = Duration::from_secs(1);
/// The largest answer that is read: some ten thousand models.
const BODY_LIMIT: usize = 4 << 20;

/// One task for each gateway, ended when dropped.
#[derive(Default)]
pub(super) struct Listeners(BTreeMap<String, JoinSet<()>>);

impl Listeners {
    /// There are gateways at these URLs, and nowhere else.
    pub(super) fn are_at(&mut self, urls: &BTreeSet<String>, autoscaler: &Arc<Autoscaler>) {
        self.0.retain(|url, _| urls.contains(url));
        for url in urls {
            self.0.entry(url.clone()).or_insert_with(|| {
                let mut task = JoinSet::new();
                task.spawn(listen(url.clone(), autoscaler.clone()));
                task
            });
        }
    }

    pub(super) fn stop(&mut self) {
        self.0.clear();
    }
}

async fn listen(url: String, autoscaler: Arc<Autoscaler>) {
    let client = Ask::new(Some(PATIENCE));
    let mut seen = None;
    loop {
        match ask(&client, &url, seen).await {
            Ok(told) => {
                seen = Some(told.calls);
                if autoscaler.demand().note(&url, told, cluster::now()) {
                    autoscaler.called.notify_one();
                }
                sleep(PAUSE).await;
            }
            Err(why) => {
                tracing::debug!(url, why, "a gateway does not say what demand there is");
                seen = None;
                sleep(RETRY).await;
            }
        }
    }
}

async fn ask(client: &Ask, url: &str, seen: Option<u64>) -> Result<Told, String> {
    let of = match seen {
        Some(seen) => format!("{url}/demand?seen={seen}"),
        None => format!("{url}/demand"),
    };
    let asked = client.ask(Method::GET, &of, Bytes::new(), BODY_LIMIT);
    let (status, body) = timeout(PATIENCE, asked)
        .await
        .map_err(|_| "it does not answer in time".to_owned())??;
    match status {
        StatusCode::OK => serde_json::from_slice(&body).map_err(|error| error.to_string()),
        other => Err(format!("it answers HTTP {other}")),
    }
}
