//! The kind LeaderWorkerSet of another project, as far as we write and read it: replicas that are groups of pods, one of each the leader.
//! Source: <https://lws.sigs.k8s.io/docs/reference/leaderworkerset.v1/>

use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

/// What a LeaderWorkerSet asks for.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "leaderworkerset.x-k8s.io",
    version = "v1",
    kind = "LeaderWorkerSet",
    namespaced,
    status = "LeaderWorkerSetStatus",
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq",
    doc = "Replicas that are groups of pods."
)]
#[serde(rename_all = "camelCase")]
pub struct LeaderWorkerSetSpec {
    /// How many groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// What each group is.
    pub leader_worker_template: LeaderWorkerTemplate,
    /// How groups of a changed template replace those there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout_strategy: Option<RolloutStrategy>,
    /// Whether workers wait until their leader is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_policy: Option<String>,
    /// How pods of a group are named in the cluster's DNS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_config: Option<NetworkConfig>,
}

/// The pods of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaderWorkerTemplate {
    /// How many pods a group is, its leader among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i32>,
    /// Whether a group is made anew when one of its pods ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<String>,
    /// The leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_template: Option<PodTemplateSpec>,
    /// The others.
    pub worker_template: PodTemplateSpec,
}

/// How groups are replaced.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStrategy {
    /// Always `RollingUpdate`.
    #[serde(rename = "type")]
    pub type_: String,
    /// How many at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling_update_configuration: Option<RollingUpdateConfiguration>,
}

/// How many groups are replaced at a time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollingUpdateConfiguration {
    /// Groups above `replicas` meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<IntOrString>,
    /// Groups that may be missing meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
}

/// How pods of a group find each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkConfig {
    /// `Shared`: one headless Service named after the set; `UniquePerReplica`: one for each group, named after its leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subdomain_policy: Option<String>,
}

/// What its controller observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaderWorkerSetStatus {
    /// The generation that this describes.
    pub observed_generation: Option<i64>,
    /// Groups there are, of whatever template.
    pub replicas: i32,
    /// Groups of which every pod is ready.
    pub ready_replicas: i32,
    /// Groups of the present template.
    pub updated_replicas: i32,
}
