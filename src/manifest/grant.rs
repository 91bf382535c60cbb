//! ReferenceGrants of the Gateway API in the files: which policies may name models of other namespaces.

use serde::Deserialize;

use super::finding::Severity;
use super::{Other, Portfolio};
use crate::plan::Invalid;
use crate::plan::reference_grant::v1::ReferenceGrantSpec;
use crate::plan::reference_grant::{GROUP, KIND};

/// Whether it is one, of whatever version.
pub(super) fn is_one(other: &Other) -> bool {
    let version = other.value.get("apiVersion").and_then(serde_json::Value::as_str);
    let group = version.and_then(|version| version.split_once('/')).map(|(group, _)| group);
    other.kind == KIND && group == Some(GROUP)
}

/// What it says.
pub(super) fn read(other: &Other) -> Result<ReferenceGrantSpec, serde_json::Error> {
    ReferenceGrantSpec::deserialize(&other.value["spec"])
}

/// Adds what keeps a grant from being understood.
pub(super) fn check(portfolio: &mut Portfolio) {
    let unread = portfolio.others.iter().filter(|other| is_one(other)).filter_map(|other| {
        let problem = read(other).err()?.to_string();
        let remedy = "write it like {from: [{group: llmportfolio.dev, kind: RoutingPolicy, namespace: claims}], \
                      to: [{group: llmportfolio.dev, kind: ModelDeployment, name: llama}]}";
        Some(other.origin.finding(Severity::Error, Invalid::new("spec", problem, remedy)))
    });
    let unread: Vec<_> = unread.collect();
    portfolio.findings.extend(unread);
}
