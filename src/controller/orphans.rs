//! Chores over all ModelDeployments at once: removing backend Secrets whose model is gone and caches that nobody uses, and following the
//! Secrets and ConfigMaps that specs name.
//!
//! Needs: what `cache` does; secrets, configmaps watch (named); in the gateway's namespace secrets list, watch, delete.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use crate::api::ModelDeployment;
use crate::api::model_deployment::{ApiSource, KeyRef};
use crate::cluster::followed::Followed;
use crate::plan::backend;
use crate::plan::names::Key;

use super::{Context, cache};

/// When what could not be removed is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// The objects that specs name and that are followed.
pub(super) struct Named {
    /// Credentials.
    pub(super) secrets: Followed<Secret>,
    /// Certificates of authorities.
    pub(super) maps: Followed<ConfigMap>,
}

/// Does the chores whenever something that they are about moves, until the stream of moves ends.
pub(super) async fn run(cx: Arc<Context>, named: Named, moves: impl Stream<Item = ()> + Send) {
    let mut moves = std::pin::pin!(moves);
    loop {
        let mut is_done = true;
        let models = cx.cluster.stores.models.all();
        let names: BTreeSet<Key> = models.iter().map(|md| Key::of(&**md)).collect();
        cx.adapters.retain(|model| names.contains(model));
        named.secrets.set(&all_of(&models, credentials));
        named.maps.set(&all_of(&models, certificates));
        for orphan in backend::orphans(&cx.cluster.stores.backends.all(), &models) {
            if let Err(error) = cx.cluster.prune::<Secret>(&orphan).await {
                is_done = false;
                tracing::warn!(%error, "a backend Secret whose model is gone could not be removed; it is tried again");
            }
        }
        is_done &= cache::sweep(&cx).await;
        // Not sooner than something moves, or time may have healed what failed.
        let moved = match is_done {
            true => moves.next().await,
            false => tokio::time::timeout(AGAIN, moves.next()).await.unwrap_or(Some(())),
        };
        if moved.is_none() {
            return;
        }
    }
}

/// The reference of a spec to its credentials.
pub(super) fn credentials(api: &ApiSource) -> Option<&KeyRef> {
    api.credentials.as_ref().map(|credentials| &credentials.secret_ref)
}

/// The reference of a spec to the certificates that it trusts.
pub(super) fn certificates(api: &ApiSource) -> Option<&KeyRef> {
    api.ca_bundle.as_ref().map(|bundle| &bundle.config_map_ref)
}

/// What a model's spec refers to.
pub(super) fn named(md: &ModelDeployment, reference: fn(&ApiSource) -> Option<&KeyRef>) -> Option<Key> {
    let named = reference(md.spec.api.as_ref()?)?;
    Some(Key::new(Key::of(md).namespace, &named.name))
}

fn all_of(models: &[Arc<ModelDeployment>], reference: fn(&ApiSource) -> Option<&KeyRef>) -> BTreeSet<Key> {
    models.iter().filter_map(|md| named(md, reference)).collect()
}
