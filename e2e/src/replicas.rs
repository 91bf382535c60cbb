//! How many replicas a Deployment is to have and has over time, as a watch sees it: every number that anybody gives it, however shortly.

// Looks at the API server from outside; the operator's one door is not this one's.
#![allow(clippy::disallowed_types)]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::namespace::Namespace;
use crate::until;

/// What there was from one moment on.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// When it was seen first.
    pub at: Instant,
    /// How many there are to be.
    pub wanted: i32,
    /// How many are Ready.
    pub ready: i32,
}

/// Follows one Deployment until dropped.
pub struct Replicas {
    looks: Arc<Mutex<Vec<Look>>>,
    task: JoinHandle<()>,
}

impl Replicas {
    /// Follows the Deployment of that name, which may come later.
    #[must_use]
    pub fn follow(cluster: &Cluster, ns: &Namespace, name: &str) -> Self {
        let looks = Arc::default();
        let task = tokio::spawn(watch(cluster.client(), ns.name().to_owned(), name.to_owned(), Arc::clone(&looks)));
        Self { looks, task }
    }

    fn looks(&self) -> MutexGuard<'_, Vec<Look>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is now.
    pub fn now(&self) -> Result<Look> {
        self.looks().last().copied().context("it has not been seen yet")
    }

    /// The numbers that were wanted, from that of `since` on, and when each came.
    #[must_use]
    pub fn numbers(&self, since: Instant) -> Vec<(Instant, i32)> {
        let mut numbers: Vec<(Instant, i32)> = vec![];
        for look in self.looks().iter() {
            match numbers.last_mut() {
                Some((_, number)) if *number == look.wanted => {}
                // What was before is only where it begins.
                Some(last) if look.at <= since => *last = (look.at, look.wanted),
                Some(_) | None => numbers.push((look.at, look.wanted)),
            }
        }
        numbers
    }

    /// Waits until so many are wanted.
    pub async fn reach(&self, wanted: i32, within: Duration) -> Result<()> {
        until(&format!("{wanted} replicas are wanted"), within, async || {
            let now = self.now()?;
            ensure!(now.wanted == wanted, "{now:?}");
            Ok(Some(()))
        })
        .await
    }

    /// Sees to it that so many are wanted all the time until `done` ends, and says what that says.
    pub async fn stay<T>(&self, wanted: i32, done: impl Future<Output = Result<T>>) -> Result<T> {
        let since = Instant::now();
        let said = done.await?;
        let numbers: Vec<i32> = self.numbers(since).into_iter().map(|(_, number)| number).collect();
        ensure!(numbers == [wanted], "it was not {wanted} all the time: {numbers:?}");
        Ok(said)
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(client: Client, namespace: String, name: String, looks: Arc<Mutex<Vec<Look>>>) {
    let of_it = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let all = watcher(Api::<Deployment>::namespaced(client, &namespace), of_it);
    let mut seen = all.default_backoff().applied_objects().boxed();
    while let Some(seen) = seen.next().await {
        // The watch itself reports nothing but retries.
        let Ok(seen) = seen else { continue };
        let wanted = seen.spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let ready = seen.status.and_then(|status| status.ready_replicas).unwrap_or(0);
        let mut looks = looks.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.last().is_none_or(|last| (last.wanted, last.ready) != (wanted, ready)) {
            let at = Instant::now();
            looks.push(Look { at, wanted, ready });
        }
    }
}
