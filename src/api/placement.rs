//! Where and when the pods of a model run, as far as Kubernetes decides it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The form of an object's name.
pub(crate) const NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// The form of a name that is also the value of a label.
pub(super) const LABEL: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// The form of a label's name.
pub(crate) const LABEL_NAME: &str = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";

/// How the pods of a model are spread over nodes or zones.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// By how many pods the fullest place may exceed the emptiest. Default: 1. Limit: 1000.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_skew: i32,
    /// The label of nodes whose values are the places, such as `topology.kubernetes.io/zone` or `kubernetes.io/hostname`.
    #[schemars(length(min = 1, max = 317), regex(pattern = LABEL_NAME))]
    pub topology_key: String,
    /// What to do with a pod that would be one too many: ScheduleAnyway (where it does the least harm) or DoNotSchedule (it waits).
    /// Default: ScheduleAnyway, because a model that answers from one zone is better than one that does not.
    #[serde(default)]
    pub when_unsatisfiable: WhenUnsatisfiable,
}

/// Devices by Dynamic Resource Allocation: each pod gets a ResourceClaim of its own.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The DeviceClass that the devices are of, which the installer of their driver made. Example: `gpu.nvidia.com`.
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME))]
    pub device_class_name: String,
    /// How many devices each pod gets. Default: 1. Limit: 32.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 32))]
    pub count: i32,
    /// CEL expressions over `device` that must all hold for each device. Default: any device of the class. Limit: 16.
    /// Example: `device.capacity["gpu.nvidia.com"].memory.compareTo(quantity("40Gi")) >= 0`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 10240)))]
    pub selectors: Vec<String>,
}

/// How pods of a changed specification replace those there are, one at a time in any case.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Surge: the new pod answers before the old one goes, which needs a free accelerator. Replace: the old pod goes first; with one replica
    /// the model does not answer until the new one does. Auto: Surge where the pods take no accelerators or a node has enough of them free
    /// when the change is made, else Replace; the status says which and why. Devices of `accelerator.claim` cannot be counted: Auto replaces.
    /// For groups of `parallelism.nodes` pods, a group is what is said here of a pod, and the nodes must have room for all of its pods.
    /// Default: Auto.
    #[serde(default)]
    pub strategy: RolloutStrategy,
}

/// Which pod comes first in a rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolloutStrategy {
    /// Surge where accelerators are free, else Replace.
    #[default]
    Auto,
    /// The new pod before the old one goes.
    Surge,
    /// The old pod goes before the new one comes.
    Replace,
}

fn one() -> i32 {
    1
}

/// What happens to a pod that breaks the spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenUnsatisfiable {
    /// It runs where it does the least harm.
    #[default]
    ScheduleAnyway,
    /// It waits.
    DoNotSchedule,
}
