//! Chores over all ModelDeployments at once: removing backend Secrets whose model is gone and caches that nobody uses, and following the
//! Secrets that specs name.
//!
//! Needs: what `cache` does; secrets watch (named); in the gateway's namespace secrets list, watch, delete.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Secret;

use crate::cluster::secrets::Followed;
use crate::plan::backend;
use crate::plan::names::Key;

use super::{Context, cache};

/// When what could not be removed is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// Does the chores whenever something that they are about moves, until the stream of moves ends.
pub(super) async fn run(cx: Arc<Context>, followed: Followed, moves: impl Stream<Item = ()> + Send) {
    let mut moves = std::pin::pin!(moves);
    loop {
        let mut is_done = true;
        let models = cx.cluster.stores.models.all();
        let named = |md: &Arc<crate::api::ModelDeployment>| {
            let credentials = md.spec.api.as_ref()?.credentials.as_ref()?;
            Some(Key::new(Key::of(&**md).namespace, &credentials.secret_ref.name))
        };
        let names: BTreeSet<Key> = models.iter().map(|md| Key::of(&**md)).collect();
        cx.adapters.retain(|model| names.contains(model));
        followed.set(&models.iter().filter_map(named).collect::<BTreeSet<_>>());
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
