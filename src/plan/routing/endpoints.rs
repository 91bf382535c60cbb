//! EndpointSlices → where the ready pods of each model answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use crate::plan::names::{Key, MODEL_LABEL, PORT_NAME};

/// The base URLs, such as `http://198.19.0.7:8080`, of every ready address that is not about to go, for each model, sorted.
#[must_use]
pub fn endpoints(slices: &[Arc<EndpointSlice>]) -> BTreeMap<Key, Vec<String>> {
    let mut found: BTreeMap<Key, Vec<String>> = BTreeMap::new();
    for slice in slices {
        let Some(model) = slice.metadata.labels.as_ref().and_then(|labels| labels.get(MODEL_LABEL)) else {
            continue;
        };
        let Some(namespace) = &slice.metadata.namespace else { continue };
        found.entry(Key::new(namespace, model)).or_default().extend(urls(slice));
    }
    for urls in found.values_mut() {
        urls.sort();
        urls.dedup();
    }
    found
}

/// The base URLs of every ready address of a Service, whose slices these are.
#[must_use]
pub fn addresses(slices: &[Arc<EndpointSlice>]) -> BTreeSet<String> {
    slices.iter().flat_map(|slice| urls(slice)).collect()
}

fn urls(slice: &EndpointSlice) -> impl Iterator<Item = String> {
    let port = slice.ports.iter().flatten().find(|p| p.name.as_deref() == Some(PORT_NAME));
    let port = port.and_then(|p| p.port);
    let ready = slice.endpoints.iter().flatten().filter(|e| takes_requests(e));
    let addresses = ready.flat_map(|e| &e.addresses);
    addresses.filter_map(move |address| match (slice.address_type.as_str(), port?) {
        ("IPv4", port) => Some(format!("http://{address}:{port}")),
        ("IPv6", port) => Some(format!("http://[{address}]:{port}")),
        _ => None,
    })
}

/// An absent `ready` counts as ready, as the API's documentation asks of its readers.
fn takes_requests(endpoint: &Endpoint) -> bool {
    let Some(conditions) = &endpoint.conditions else {
        return true;
    };
    conditions.ready != Some(false) && conditions.terminating != Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(yaml: &str) -> Arc<EndpointSlice> {
        Arc::new(serde_saphyr::from_str(yaml).unwrap())
    }

    #[test]
    fn only_ready_addresses_that_stay_get_requests() {
        let slices = [
            slice(
                "
                metadata: {name: llama-engine-x, namespace: claims, labels: {llmportfolio.dev/model: llama}}
                addressType: IPv4
                ports: [{name: metrics, port: 9}, {name: http, port: 8080}]
                endpoints:
                - {addresses: [10.0.0.2], conditions: {ready: true, serving: true, terminating: false}}
                - {addresses: [10.0.0.1], conditions: {}}
                - {addresses: [10.0.0.3], conditions: {ready: false, serving: true, terminating: true}}
                - {addresses: [10.0.0.4], conditions: {ready: true, terminating: true}}
                - {addresses: [10.0.0.5], conditions: {ready: false}}",
            ),
            slice(
                "
                metadata: {name: llama-engine-y, namespace: claims, labels: {llmportfolio.dev/model: llama}}
                addressType: IPv6
                ports: [{name: http, port: 8080}]
                endpoints: [{addresses: ['fd00::1'], conditions: {ready: true}}]",
            ),
            slice(
                "
                metadata: {name: other, namespace: claims}
                addressType: IPv4
                ports: [{name: http, port: 8080}]
                endpoints: [{addresses: [10.0.0.9], conditions: {ready: true}}]",
            ),
        ];
        let expected = ["http://10.0.0.1:8080", "http://10.0.0.2:8080", "http://[fd00::1]:8080"];
        assert_eq!(
            endpoints(&slices),
            BTreeMap::from([(Key::new("claims", "llama"), expected.map(str::to_owned).to_vec())])
        );
    }
}
