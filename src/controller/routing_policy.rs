//! The RoutingPolicy controller: the same decision that the gateways take, written down as statuses, with what they say of their traffic. A
//! policy has no children.
//!
//! Needs: routingpolicies, modeldeployments, evaljobs, endpointslices, namespaces, configmaps, referencegrants get, list, watch; routingpolicies/status patch; events create, patch.

use std::sync::Arc;

use kube::runtime::controller::Action;

use crate::api::RoutingPolicy;
use crate::plan::names::Key;
use crate::plan::routing;

use super::context::{Context, Error, resync_by};

/// Says in the status what the gateways do with one RoutingPolicy.
pub(super) async fn reconcile(policy: Arc<RoutingPolicy>, cx: Arc<Context>) -> Result<Action, Error> {
    let policy = cx.cluster.stores.policies.latest(&policy);
    let now = cx.now();
    let verdicts = cx.decided.now(&cx, now);
    let mut next = None;
    if let Some(verdict) = verdicts.get(&Key::of(&*policy)) {
        let seen = cx.gateways.figures(&Key::of(&*policy));
        let status = routing::status(&policy, verdict, seen.as_ref(), now);
        cx.cluster.set_status(&*policy, status).await?;
        next = verdict.next;
    }
    // A verdict of an evaluation grows too old by itself.
    Ok(resync_by(next, now))
}
