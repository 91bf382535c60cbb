//! A look at what the nodes have and what takes it, for the rare decision that needs it. Reads every pod, so reconciles that decide at the
//! same time share one look, and of each pod only what they ask about is kept.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Container, Node, Pod, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use super::apply::{Cluster, Error, failed};
use crate::plan::names::Key;

/// A settings change moves every model within a second or two.
const FRESH: Duration = Duration::from_secs(3);
/// Objects of one answer to a list.
const PAGE: u32 = 500;

/// The nodes, and the pods that have one and have not ended: their names, labels, containers' resources and conditions.
#[derive(Debug, Default)]
pub struct Look {
    /// Every node.
    pub nodes: Vec<Node>,
    /// Every such pod.
    pub pods: Vec<Pod>,
}

/// The last look, and when it was.
pub(super) type Looks = Mutex<Option<(Instant, Arc<Look>)>>;

impl Cluster {
    /// A look that is some seconds old at most. Needs `list` on nodes and pods.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn look(&self) -> Result<Arc<Look>, Error> {
        let mut last = self.looks.lock().await;
        if let Some((at, look)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            tracing::debug!(age = ?at.elapsed(), "a look at the nodes is shared");
            return Ok(Arc::clone(look));
        }
        let placed = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed";
        let look = Arc::new(Look {
            nodes: self.all(&ListParams::default(), |node| node).await?,
            pods: self.all(&ListParams::default().fields(placed), slim).await?,
        });
        *last = Some((Instant::now(), Arc::clone(&look)));
        Ok(look)
    }

    async fn all<K>(&self, which: &ListParams, keep: impl Fn(K) -> K) -> Result<Vec<K>, Error>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let api = Api::<K>::all(self.client.clone());
        let mut found = Vec::new();
        let mut page = which.clone().limit(PAGE);
        loop {
            let listed = api.list(&page).await.map_err(failed::<K>("listing", &Key::new("", "")))?;
            found.extend(listed.items.into_iter().map(&keep));
            match listed.metadata.continue_.filter(|more| !more.is_empty()) {
                Some(more) => page = page.continue_token(&more),
                None => return Ok(found),
            }
        }
    }
}

/// What is asked about a pod: thousands of them are held for a moment.
fn slim(pod: Pod) -> Pod {
    let resources = |containers: Vec<Container>| {
        let of = |container: Container| Container {
            name: container.name,
            resources: container.resources,
            ..Container::default()
        };
        containers.into_iter().map(of).collect()
    };
    Pod {
        metadata: ObjectMeta {
            name: pod.metadata.name,
            namespace: pod.metadata.namespace,
            labels: pod.metadata.labels,
            ..ObjectMeta::default()
        },
        spec: pod.spec.map(|spec| PodSpec {
            node_name: spec.node_name,
            containers: resources(spec.containers),
            ..PodSpec::default()
        }),
        status: pod.status.map(|status| PodStatus {
            phase: status.phase,
            conditions: status.conditions,
            ..PodStatus::default()
        }),
    }
}
