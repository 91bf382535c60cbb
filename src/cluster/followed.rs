//! Following the Secrets and ConfigMaps that specs name, one watch each, so that a rotated key or certificate rolls through in seconds without
//! any of them ever being listed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc::UnboundedSender;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{WatchEvent, WatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use crate::plan::names::Key;

/// Between two attempts to watch one: a refusal (no rights, no namespace) is not retried hot.
const RETRY: Duration = Duration::from_secs(10);
/// Before each watch is read; what happens meanwhile is in it.
const REOPEN: Duration = Duration::from_millis(200);
/// How long one watch stays open; the server allows up to five minutes.
const OPEN_SECONDS: u32 = 290;

/// The objects of one kind that are followed.
pub struct Followed<K> {
    client: Client,
    moved: UnboundedSender<Key>,
    watches: Mutex<BTreeMap<Key, JoinHandle<()>>>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Followed<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    /// Follows nothing yet; tells the names of those that move.
    #[must_use]
    pub fn new(client: Client, moved: UnboundedSender<Key>) -> Self {
        Self {
            client,
            moved,
            watches: Mutex::default(),
            kind: PhantomData,
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
                .or_insert_with(|| tokio::spawn(follow::<K>(self.client.clone(), key.clone(), self.moved.clone())));
        }
    }
}

/// Needs `watch` on the object.
async fn follow<K>(client: Client, key: Key, moved: UnboundedSender<Key>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let api: Api<K> = Api::namespaced(client, &key.namespace);
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
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object)) => {
                    version = object.resource_version().unwrap_or_default();
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
