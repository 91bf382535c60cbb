//! ReferenceGrants of the Gateway API, which a cluster may lack, come to have, lose, and have in one version or another: read in the best
//! one that it has, from the moment that it has one.
//!
//! Needs: referencegrants list, watch.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, select_all};
use futures::{Stream, StreamExt};
use kube::{Client, Resource};
use tokio::sync::watch;

use super::watch::Feed;
use super::{Known, Optional};
use crate::plan::reference_grant::{GrantFrom, GrantTo, v1, v1beta1};
use crate::plan::routing;

/// How often the kind is looked for while something needs it that is not there. Looking costs two requests.
const LOOK: Duration = Duration::from_secs(15);

/// The grants there are.
pub struct Grants {
    v1: Version<v1::ReferenceGrant>,
    v1beta1: Version<v1beta1::ReferenceGrant>,
}

/// The kind in one version.
struct Version<K: Resource<DynamicType = ()> + Clone + 'static> {
    optional: Optional,
    known: Arc<Known<K>>,
}

impl Grants {
    /// Follows them, once they have been found, for as long as the process lives. The stream tells when what they permit may have changed.
    #[must_use]
    pub fn follow(client: &Client) -> (Self, BoxStream<'static, ()>) {
        let mut v1 = Feed::<v1::ReferenceGrant>::everywhere(client, "");
        let mut v1beta1 = Feed::<v1beta1::ReferenceGrant>::everywhere(client, "");
        let grants = Self {
            v1: Version::new(client, v1.known()),
            v1beta1: Version::new(client, v1beta1.known()),
        };
        let moves = select_all([
            v1.subscribe().map(drop).boxed(),
            v1beta1.subscribe().map(drop).boxed(),
            // Where the kind comes without any grants, other advice is given than where there is none.
            changes(grants.v1.optional.changes()).boxed(),
            changes(grants.v1beta1.optional.changes()).boxed(),
        ]);
        grants.v1.optional.follow(v1);
        grants.v1beta1.optional.follow(v1beta1);
        (grants, moves.boxed())
    }

    /// Whether the API server has the kind in some version, and all grants are known. Asks the server only as long as it has not.
    ///
    /// # Errors
    /// When the server cannot be asked, or does not answer the watch.
    pub async fn are_served(&self) -> Result<bool, kube::Error> {
        if self.version().is_some() {
            return Ok(true);
        }
        Ok(self.v1.optional.is_served::<v1::ReferenceGrant>().await?
            || self.v1beta1.optional.is_served::<v1beta1::ReferenceGrant>().await?)
    }

    /// Looks for the kind, now and again and again, while `is_needed` and it is not there. Never ends.
    pub async fn seek(&self, is_needed: impl Fn() -> bool) {
        let (mut v1, mut v1beta1) = (self.v1.optional.changes(), self.v1beta1.optional.changes());
        loop {
            if is_needed()
                && let Err(error) = self.are_served().await
            {
                tracing::warn!(%error, "ReferenceGrants are not known, and are looked for again: what only they permit is refused");
            }
            // When one version goes, the other may be there.
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = v1.wait_for(|is_watched| !is_watched), if *v1.borrow() => {}
                _ = v1beta1.wait_for(|is_watched| !is_watched), if *v1beta1.borrow() => {}
            }
        }
    }

    /// The version that they are read in.
    fn version(&self) -> Option<&'static str> {
        let versions = [(&self.v1.optional, "v1"), (&self.v1beta1.optional, "v1beta1")];
        versions
            .into_iter()
            .find(|(optional, _)| optional.is_watched())
            .map(|(_, version)| version)
    }

    /// Whether their watch works, if there is one.
    #[must_use]
    pub fn are_current(&self) -> bool {
        self.v1.known.is_current() && self.v1beta1.known.is_current()
    }

    /// What they permit together.
    #[must_use]
    pub fn all(&self) -> routing::Grants {
        let mut all = routing::Grants::none(self.version());
        for grant in self.v1.known.all() {
            add(&mut all, &*grant, &grant.spec.from, &grant.spec.to);
        }
        for grant in self.v1beta1.known.all() {
            add(&mut all, &*grant, &grant.spec.from, &grant.spec.to);
        }
        all
    }

    /// Those of a store, taken for all there are.
    #[cfg(test)]
    pub(crate) fn known(client: &Client, v1: Arc<Known<v1::ReferenceGrant>>, v1beta1: Arc<Known<v1beta1::ReferenceGrant>>) -> Self {
        let grants = Self {
            v1: Version::new(client, v1),
            v1beta1: Version::new(client, v1beta1),
        };
        grants.v1.optional.assume();
        grants
    }
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Version<K> {
    fn new(client: &Client, known: Arc<Known<K>>) -> Self {
        Self {
            optional: Optional::new(client.clone()),
            known,
        }
    }
}

/// One that is about to go permits nothing any more.
fn add<K: Resource>(all: &mut routing::Grants, grant: &K, from: &[GrantFrom], to: &[GrantTo]) {
    let metadata = grant.meta();
    if let (Some(namespace), None) = (&metadata.namespace, &metadata.deletion_timestamp) {
        all.add(namespace, from, to);
    }
}

fn changes(receiver: watch::Receiver<bool>) -> impl Stream<Item = ()> + Send {
    stream::unfold(receiver, async |mut receiver| {
        receiver.changed().await.ok()?;
        Some(((), receiver))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use http::{Request, Response, StatusCode};
    use kube::client::Body;
    use serde_json::json;

    use super::*;
    use crate::plan::names::Key;

    /// An API server that has the kind in some versions, with one grant. It says how often it was asked.
    #[derive(Clone, Default)]
    struct Server(Arc<Mutex<(BTreeSet<&'static str>, usize)>>);

    impl Server {
        fn now_has(&self, versions: &[&'static str]) {
            self.0.lock().unwrap().0 = versions.iter().copied().collect();
        }

        fn asked(&self) -> usize {
            std::mem::take(&mut self.0.lock().unwrap().1)
        }

        fn client(&self) -> Client {
            let server = self.clone();
            let service = tower::service_fn(move |request: Request<Body>| {
                let server = server.clone();
                async move { Ok::<_, std::io::Error>(server.answer(&request)) }
            });
            Client::new(service, "default")
        }

        fn answer(&self, request: &Request<Body>) -> Response<Body> {
            let mut state = self.0.lock().unwrap();
            state.1 += 1;
            let path = request.uri().path().strip_prefix("/apis/gateway.networking.k8s.io/").unwrap();
            let (version, rest) = path.split_once('/').unwrap_or((path, ""));
            let is_there = state.0.contains(version);
            let grant = json!({
                "metadata": { "name": "a", "namespace": "models", "uid": "u" },
                "spec": {
                    "from": [{ "group": "llmportfolio.dev", "kind": "RoutingPolicy", "namespace": "claims" }],
                    "to": [{ "group": "llmportfolio.dev", "kind": "ModelDeployment" }],
                },
            });
            // The group is there for its other kinds.
            let others = json!({ "name": "gateways", "kind": "Gateway", "singularName": "", "namespaced": true, "verbs": [] });
            let ours = json!({ "name": "referencegrants", "kind": "ReferenceGrant", "singularName": "", "namespaced": true, "verbs": [] });
            let kinds = if is_there { vec![others, ours] } else { vec![others] };
            let (status, body) = match rest {
                "" => (StatusCode::OK, json!({ "groupVersion": path, "resources": kinds })),
                _ if !is_there => (
                    StatusCode::NOT_FOUND,
                    json!({ "status": "Failure", "message": "", "reason": "NotFound", "code": 404 }),
                ),
                _ if request.uri().query().is_some_and(|query| query.contains("watch=true")) => (StatusCode::OK, json!(null)),
                _ => (StatusCode::OK, json!({ "metadata": { "resourceVersion": "1" }, "items": [grant] })),
            };
            let body = if body.is_null() {
                Vec::new()
            } else {
                serde_json::to_vec(&body).unwrap()
            };
            Response::builder().status(status).body(Body::from(body)).unwrap()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn grants_are_read_in_whatever_version_there_is_and_forgotten_with_it() {
        let server = Server::default();
        let (grants, mut moves) = Grants::follow(&server.client());
        let grants = Arc::new(grants);
        let seeking = tokio::spawn({
            let grants = Arc::clone(&grants);
            async move { grants.seek(|| true).await }
        });
        let llama = Key::new("models", "llama");
        let mut comes_to = async |version: Option<&str>| {
            let moved = async {
                loop {
                    let all = grants.all();
                    if grants.version() == version && all.permits("claims", &llama) == version.is_some() {
                        return all;
                    }
                    moves.next().await.unwrap();
                }
            };
            let all = tokio::time::timeout(Duration::from_secs(60), moved).await.expect("within a minute");
            let is_advised = all.remedy("claims", &llama).contains("install the CRDs");
            assert_eq!(is_advised, version.is_none());
        };
        comes_to(None).await;
        for (versions, read) in [
            (&["v1beta1"][..], Some("v1beta1")),
            (&["v1", "v1beta1"], Some("v1beta1")),
            (&["v1"], Some("v1")),
            (&[], None),
            (&["v1", "v1beta1"], Some("v1")),
            (&["v1beta1"], Some("v1beta1")),
        ] {
            server.now_has(versions);
            comes_to(read).await;
        }
        seeking.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_is_not_there_is_looked_for_seldom_and_only_where_it_is_needed() {
        let server = Server::default();
        let (grants, _moves) = Grants::follow(&server.client());
        let minute = Duration::from_secs(60);
        tokio::time::timeout(minute, grants.seek(|| false)).await.unwrap_err();
        assert_eq!(server.asked(), 0);
        tokio::time::timeout(minute, grants.seek(|| true)).await.unwrap_err();
        let asked = server.asked();
        assert!((2..=10).contains(&asked), "{asked} in a minute");
    }
}
