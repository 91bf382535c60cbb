//! A kind of another project that the API server may lack, come to have and lose while we run. It is looked for by who needs it, and watched
//! from the moment that it is there until it is gone, so that nobody has to restart the operator.
//!
//! ```text
//!            is_served: discovery knows it               the list is complete
//!   Lacking ──────────────────────────────► Listing ─────────────────────────► Watched
//!      ▲                                       │                                  │
//!      └───────────────────────────────────────┴── the API server answers 404 ────┘
//! ```

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use kube::runtime::watcher;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};

use super::watch::{Feed, vital};

/// How long a list may take before a reconcile rather comes again.
const LIST: Duration = Duration::from_secs(20);
/// How often a kind is looked for that is wanted and not there.
const LOOK: Duration = Duration::from_secs(30);

/// Whether a kind is there, and since when everything of it is known.
pub struct Optional {
    client: Client,
    is_watched: Arc<watch::Sender<bool>>,
    found: Arc<Notify>,
}

impl Optional {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            is_watched: Arc::new(watch::Sender::new(false)),
            found: Arc::default(),
        }
    }

    /// Whether the API server has the kind, and the store everything of it. Asks the server only as long as it has not.
    ///
    /// # Errors
    /// When the server cannot be asked, or does not answer the watch.
    pub async fn is_served<K: Resource<DynamicType = ()>>(&self) -> Result<bool, kube::Error> {
        let mut is_watched = self.is_watched.subscribe();
        if *is_watched.borrow() {
            return Ok(true);
        }
        if !super::serves::<K>(&self.client).await? {
            return Ok(false);
        }
        self.found.notify_one();
        let listed = tokio::time::timeout(LIST, is_watched.wait_for(|is_watched| *is_watched)).await;
        // The sender lives as long as this does.
        listed
            .map(|_| true)
            .map_err(|_| kube::Error::Service("the watch of a kind that was found is not answered".into()))
    }

    /// Looks for the kind again and again, while `is_wanted` and it is not there. Never ends.
    pub async fn seek<K: Resource<DynamicType = ()>>(&self, is_wanted: impl Fn() -> bool) {
        let mut changes = self.changes();
        loop {
            if is_wanted()
                && let Err(error) = self.is_served::<K>().await
            {
                tracing::warn!(kind = %K::kind(&()), %error, "it is not known whether the API server has the kind, which is asked again");
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = changes.wait_for(|is_watched| !is_watched), if *changes.borrow() => {}
            }
        }
    }

    /// Watches the kind whenever it has been found.
    pub fn follow<K>(&self, mut feed: Feed<K>)
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let (found, is_watched) = (Arc::clone(&self.found), Arc::clone(&self.is_watched));
        vital("the watch of an optional kind", async move {
            loop {
                found.notified().await;
                tracing::info!(kind = %K::kind(&()), "the API server has the kind");
                let on_listed = || {
                    is_watched.send_replace(true);
                };
                feed.run(on_listed, is_unknown).await;
                is_watched.send_replace(false);
                tracing::info!(kind = %K::kind(&()), "the API server has the kind no longer");
            }
        });
    }

    /// Whether everything of it is known.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        *self.is_watched.borrow()
    }

    /// Tells when that changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<bool> {
        self.is_watched.subscribe()
    }

    /// Takes it for watched.
    #[cfg(test)]
    pub(crate) fn assume(&self) {
        self.is_watched.send_replace(true);
    }
}

/// Whether the API server says that there is no such kind.
fn is_unknown(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status)) => status.code == 404,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::StreamExt;
    use http::{Request, Response, StatusCode};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// An API server that has ConfigMaps, or not.
    fn client(is_there: &Arc<Mutex<bool>>) -> Client {
        let is_there = Arc::clone(is_there);
        let service = tower::service_fn(move |request: Request<Body>| {
            let is_there = *is_there.lock().unwrap();
            async move {
                let listed =
                    json!({ "metadata": { "resourceVersion": "1" }, "items": [{ "metadata": { "name": "a", "namespace": "n" } }] });
                let kinds = json!({ "groupVersion": "v1", "resources": [{ "name": "configmaps", "kind": "ConfigMap", "singularName": "", "namespaced": true, "verbs": [] }] });
                let (status, body): (_, Value) = match request.uri() {
                    _ if !is_there => (
                        StatusCode::NOT_FOUND,
                        json!({ "status": "Failure", "message": "", "reason": "NotFound", "code": 404 }),
                    ),
                    uri if uri.path() == "/apis/v1" => (StatusCode::OK, kinds),
                    uri if uri.query().is_some_and(|query| query.contains("watch=true")) => (StatusCode::OK, Value::Null),
                    _ => (StatusCode::OK, listed),
                };
                let body = if body.is_null() {
                    Vec::new()
                } else {
                    serde_json::to_vec(&body).unwrap()
                };
                Ok::<_, std::io::Error>(Response::builder().status(status).body(Body::from(body)).unwrap())
            }
        });
        Client::new(service, "default")
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_is_known_from_the_moment_it_is_there_until_it_is_gone_and_again() {
        let is_there = Arc::new(Mutex::new(false));
        let client = client(&is_there);
        let optional = Optional::new(client.clone());
        let mut feed = Feed::<ConfigMap>::everywhere(&client, "");
        let (known, mut moved) = (feed.known(), feed.subscribe());
        optional.follow(feed);
        assert!(!optional.is_served::<ConfigMap>().await.unwrap());
        for _ in 0..2 {
            *is_there.lock().unwrap() = true;
            assert!(optional.is_served::<ConfigMap>().await.unwrap());
            assert_eq!(known.all().len(), 1);
            assert!(moved.next().await.is_some());

            *is_there.lock().unwrap() = false;
            optional.is_watched.subscribe().wait_for(|is_watched| !is_watched).await.unwrap();
            assert_eq!(known.all().len(), 0, "what went with its kind is forgotten");
            assert!(moved.next().await.is_some(), "who depends on it is told");
            assert!(!optional.is_served::<ConfigMap>().await.unwrap());
        }
    }
}
