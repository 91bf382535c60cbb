//! A model whose replicas are groups of pods, as a LeaderWorkerSet.
//!
//! ```text
//!   LeaderWorkerSet NAME-engine ──► group 0: NAME-engine-0 (leader: answers), NAME-engine-0-1, … (workers)
//!                               ├─► group 1: NAME-engine-1, NAME-engine-1-1, …
//!                               └─► a headless Service for each group, by which its pods find the leader
//! ```

mod ended;
mod worker;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use crate::api::ModelDeployment;
use crate::api::model_deployment::SelfHosted;
use crate::plan::leader_worker_set::{LeaderWorkerSet, LeaderWorkerSetSpec, LeaderWorkerTemplate, NetworkConfig};
use crate::plan::{Invalid, names};

use super::split;

pub(super) use ended::as_they_ended;

/// The longest name: a group's workers are pods with a label of `NAME-engine-GROUP-`, a number of four digits, and ten more characters,
/// which may have 63.
const LONGEST_NAME: usize = 40;

/// The groups, without a rollout strategy, if replicas are such. `leader` is what a single pod would be.
pub(super) fn set(
    md: &ModelDeployment,
    own: &SelfHosted,
    annotations: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    leader: &PodTemplateSpec,
) -> Result<Option<LeaderWorkerSet>, Invalid> {
    let size = split::nodes(own);
    if size <= 1 {
        return Ok(None);
    }
    if md.name_any().len() > LONGEST_NAME {
        // The CRD's rule says it first; an object may be older than the rule.
        return Err(Invalid::new(
            "metadata.name",
            format!("has more than {LONGEST_NAME} characters, and the pods of groups are named after it"),
            "choose a shorter one, or set spec.selfHosted.parallelism.nodes to 1",
        ));
    }
    let metadata = ObjectMeta {
        annotations: Some(annotations),
        ..names::child(md, names::engine(&md.name_any()), labels)
    };
    let spec = LeaderWorkerSetSpec {
        replicas: Some(own.replicas),
        leader_worker_template: LeaderWorkerTemplate {
            size: Some(size),
            // An engine that lost one of its pods hangs or fails until all of them begin anew.
            restart_policy: Some("RecreateGroupOnPodRestart".to_owned()),
            leader_template: Some(leader.clone()),
            worker_template: worker::template(leader, own.engine.kind),
        },
        rollout_strategy: None,
        // A leader is ready only once its workers have joined it.
        startup_policy: Some("LeaderCreated".to_owned()),
        // The shared one would be a Service of the name that the model's own has.
        network_config: Some(NetworkConfig {
            subdomain_policy: Some("UniquePerReplica".to_owned()),
        }),
    };
    Ok(Some(LeaderWorkerSet {
        metadata,
        spec,
        status: None,
    }))
}

#[cfg(test)]
mod tests;
