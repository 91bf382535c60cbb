//! Which of a route's rules a request falls under, and how a route is called towards a person.

use http::HeaderMap;

use crate::plan::routing::{Route, Rule};

/// The first rule whose headers the request has.
pub(super) fn rule<'a>(route: &'a Route, headers: &HeaderMap) -> Option<&'a Rule> {
    let has = |(name, value): &(String, String)| headers.get_all(name.as_str()).iter().any(|given| given == value.as_str());
    route.rules.iter().find(|rule| rule.headers.iter().all(has))
}

/// The route's name for a person.
pub(super) fn called(route: &Route) -> String {
    match &route.policy {
        Some(policy) => format!("RoutingPolicy {policy}"),
        None => route.name.clone(),
    }
}
