//! Watches: each keeps a store and tells its subscribers which objects moved, after the store has them. One watch serves both, so that a
//! trigger never outruns what the reconcile will read.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{Stream, StreamExt};
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use crate::plan::names::Key;

use super::Known;

/// How often it is tried whether the server answers again once a watch broke: a watch that is open again says so only when something moves.
const TRY: Duration = Duration::from_secs(5);

/// Spawns a task without which the process must not live on: what it serves would grow stale while everything looks well. Its end, or its panic,
/// ends the process, so that it is started anew.
#[expect(clippy::exit, reason = "there is no way on, and none to hand the error to")]
pub fn vital(what: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    let task = tokio::spawn(task);
    tokio::spawn(async move {
        let ended = task.await;
        tracing::error!(?ended, "{what} ended, and the process with it");
        std::process::exit(1);
    });
}

/// A watch that has not started yet.
pub struct Feed<K: Resource<DynamicType = ()> + Clone + 'static> {
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    writer: Writer<K>,
    store: Store<K>,
    known: Arc<Known<K>>,
    subscribers: Vec<UnboundedSender<Arc<K>>>,
}

impl<K> Feed<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// Over the objects of every namespace that the label selector picks; an empty one picks all.
    #[must_use]
    pub fn everywhere(client: &Client, selector: &str) -> Self {
        Self::over(Api::all(client.clone()), selector)
    }

    fn over(api: Api<DeserializeGuard<K>>, selector: &str) -> Self {
        let (store, writer) = reflector::store();
        let known = Arc::new(Known::new(store.clone()));
        Self {
            api,
            config: watcher::Config::default().labels(selector),
            writer,
            store,
            known,
            subscribers: vec![],
        }
    }

    /// What it will show.
    #[must_use]
    pub fn known(&self) -> Arc<Known<K>> {
        Arc::clone(&self.known)
    }

    /// The store, for a controller.
    #[must_use]
    pub fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// Every object that moves, once the store has it. Unbounded, since its readers only note a name and debounce.
    pub fn subscribe(&mut self) -> UnboundedReceiver<Arc<K>> {
        let (sender, receiver) = unbounded();
        self.subscribers.push(sender);
        receiver
    }

    /// Starts the watch and waits until the store is complete. A watch that ends ends the process.
    pub async fn start(self) {
        let store = self.store.clone();
        let mut feed = self;
        vital("a watch", async move { feed.run(|| {}, |_| false).await });
        // An error here means the writer is gone, which is only so when the process ends.
        store.wait_until_ready().await.ok();
    }

    /// Watches until an error of which `ends` says that there is nothing to watch any more; then nothing is known. `on_listed` is called
    /// when the store is complete.
    pub(super) async fn run(&mut self, on_listed: impl Fn(), ends: impl Fn(&watcher::Error) -> bool) {
        let mut events = watch(self.api.clone(), self.config.clone()).default_backoff().boxed();
        // Objects of a (re)list, told once the store has been swapped.
        let mut listed: Vec<Arc<K>> = vec![];
        while let Some(event) = next(&mut events, &self.known, &self.api, &self.config).await {
            self.known.has_news(event.is_err());
            match event {
                Ok(event) => {
                    let is_complete = matches!(event, Event::InitDone);
                    self.take(event, &mut listed);
                    if is_complete {
                        on_listed();
                    }
                }
                Err(error) if ends(&error) => {
                    listed.clear();
                    self.take(Event::Init, &mut listed);
                    return self.take(Event::InitDone, &mut listed);
                }
                Err(error) => tracing::warn!(kind = %K::kind(&()), %error, "the watch broke and is opened anew"),
            }
        }
    }

    /// Keeps the store, and tells what moved once the store has it.
    fn take(&mut self, event: Event<DeserializeGuard<K>>, listed: &mut Vec<Arc<K>>) {
        let Some(event) = understood(event) else { return };
        let before = if matches!(event, Event::InitDone) {
            self.store.state()
        } else {
            vec![]
        };
        self.writer.apply_watcher_event(&event);
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => listed.push(Arc::new(object)),
            Event::InitDone => {
                let here: std::collections::HashSet<_> = listed.iter().map(|o| o.uid()).collect();
                before
                    .into_iter()
                    .filter(|o| !here.contains(&o.uid()))
                    .for_each(|gone| self.tell(&gone, true));
                std::mem::take(listed).iter().for_each(|object| self.tell(object, false));
            }
            Event::Apply(object) => self.tell(&Arc::new(object), false),
            Event::Delete(object) => self.tell(&Arc::new(object), true),
        }
    }

    fn tell(&self, object: &Arc<K>, is_gone: bool) {
        if is_gone {
            self.known.forget(&Key::of(&**object));
        }
        for subscriber in &self.subscribers {
            // A subscriber that ended has no more interest.
            subscriber.unbounded_send(Arc::clone(object)).ok();
        }
    }
}

impl<K> Feed<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// Over the objects of one namespace that the label selector picks.
    #[must_use]
    pub fn within(client: &Client, namespace: &str, selector: &str) -> Self {
        let api: Api<K> = Api::namespaced(client.clone(), namespace);
        Self::over(guarded(client, &api, namespace), selector)
    }
}

/// The next event. While the watch is broken it is tried whether the server answers.
async fn next<E, K>(
    events: &mut (impl Stream<Item = E> + Unpin),
    known: &Known<K>,
    api: &Api<DeserializeGuard<K>>,
    config: &watcher::Config,
) -> Option<E>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + 'static,
{
    loop {
        tokio::select! {
            event = events.next() => return event,
            () = sleep(TRY), if !known.is_current() => {
                let one = ListParams {
                    limit: Some(1),
                    label_selector: config.label_selector.clone(),
                    ..ListParams::default()
                };
                if let Ok(Ok(_)) = timeout(TRY, api.list(&one)).await {
                    known.has_news(false);
                }
            }
        }
    }
}

fn guarded<K>(client: &Client, _: &Api<K>, namespace: &str) -> Api<DeserializeGuard<K>>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), namespace)
}

/// One stored object that no longer parses must not stop the others: it is left out, loudly. Managed fields are half of an object's metadata and
/// nothing here reads them.
fn understood<K: Resource<DynamicType = ()>>(event: Event<DeserializeGuard<K>>) -> Option<Event<K>> {
    let parsed = |guard: DeserializeGuard<K>| match guard.0 {
        Ok(mut object) => {
            object.meta_mut().managed_fields = None;
            Some(object)
        }
        Err(invalid) => {
            let name = invalid.metadata.name.unwrap_or_default();
            let namespace = invalid.metadata.namespace.unwrap_or_default();
            tracing::error!(kind = %K::kind(&()), %namespace, %name, error = %invalid.error, "a stored object cannot be read and is left out");
            None
        }
    };
    Some(match event {
        Event::Apply(object) => Event::Apply(parsed(object)?),
        Event::Delete(object) => Event::Delete(parsed(object)?),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(parsed(object)?),
        Event::InitDone => Event::InitDone,
    })
}
