//! Following the Secrets that specs name, one watch each, so that a rotated key rolls through in seconds without Secrets ever being listed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc::UnboundedSender;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{WatchEvent, WatchParams};
use kube::{Api, Client};
use tokio::task::JoinHandle;

use crate::plan::names::Key;

/// Between two attempts to watch a Secret: a refusal (no rights, no namespace) is not retried hot.
const RETRY: Duration = Duration::from_secs(10);
/// Before each watch is read; what happens meanwhile is in it.
const REOPEN: Duration = Duration::from_millis(200);
/// How long one watch stays open; the server allows up to five minutes.
const OPEN_SECONDS: u32 = 290;

/// The Secrets that are followed.
pub struct Followed {
    client: Client,
    moved: UnboundedSender<Key>,
    watches: Mutex<BTreeMap<Key, JoinHandle<()>>>,
}

impl Followed {
    /// Follows nothing yet; tells the names of those that move.
    #[must_use]
    pub fn new(client: Client, moved: UnboundedSender<Key>) -> Self {
        Self {
            client,
            moved,
            watches: Mutex::default(),
        }
    }

    /// Follows exactly these.
    pub fn set(&self, wanted: &BTreeSet<Key>) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|key, watch| {
            let keep = wanted.contains(key);
            if !keep {
                watch.abort();
            }
            keep
        });
        for key in wanted {
            watches
                .entry(key.clone())
                .or_insert_with(|| tokio::spawn(follow(self.client.clone(), key.clone(), self.moved.clone())));
        }
    }
}

/// Needs `watch` on the Secret.
async fn follow(client: Client, key: Key, moved: UnboundedSender<Key>) {
    let api: Api<Secret> = Api::namespaced(client, &key.namespace);
    let only_this = WatchParams::default()
        .fields(&format!("metadata.name={}", key.name))
        .timeout(OPEN_SECONDS);
    let mut version = "0".to_owned();
    loop {
        let Ok(stream) = api.watch(&only_this, &version).await else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        // A watch that is closed at once must not be opened hot.
        tokio::time::sleep(REOPEN).await;
        let mut stream = stream.boxed();
        while let Some(event) = stream.next().await {
            match event {
                Ok(WatchEvent::Bookmark(bookmark)) => version = bookmark.metadata.resource_version,
                Ok(WatchEvent::Added(secret) | WatchEvent::Modified(secret) | WatchEvent::Deleted(secret)) => {
                    version = secret.metadata.resource_version.unwrap_or_default();
                    if moved.unbounded_send(key.clone()).is_err() {
                        return;
                    }
                }
                // The version is too old: begin anew from what is there.
                Ok(WatchEvent::Error(_)) | Err(_) => {
                    "0".clone_into(&mut version);
                    tokio::time::sleep(RETRY).await;
                    break;
                }
            }
        }
    }
}
