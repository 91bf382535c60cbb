//! How a route is called towards a person.

use crate::plan::routing::Route;

/// The route's name for a person.
pub(super) fn called(route: &Route) -> String {
    match &route.policy {
        Some(policy) => format!("RoutingPolicy {policy}"),
        None => route.name.clone(),
    }
}
