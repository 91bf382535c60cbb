//! How one replica of a model is split over accelerators and nodes.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How one replica of a model is split over its accelerators: `tensor` times `pipeline` is the number of all of them, those of one pod times
/// `nodes`. Example, for a model over two nodes with eight accelerators each: `{nodes: 2}`, which is `{tensor: 8, pipeline: 2, nodes: 2}`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parallelism {
    /// Into how many parts each layer is split; they talk for every token, so keep them on one node where it has accelerators enough. The
    /// engines VLLM, SGLang and TGI are told it. Default: what `pipeline` leaves, and without that the accelerators of one pod.
    /// Limit: from 1 to 2048. Example: `8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2048))]
    pub tensor: Option<i32>,
    /// Into how many stages of consecutive layers the model is split. The engines VLLM and SGLang are told it. Default: what `tensor` leaves,
    /// and without that `nodes`. Limit: from 1 to 2048. Example: `2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2048))]
    pub pipeline: Option<i32>,
    /// How many pods serve one replica together, each with its own accelerators, usually on a node of its own: `spec.selfHosted.replicas`
    /// then counts groups of so many. From 2 on they are a LeaderWorkerSet, whose controller the cluster must have; the engines VLLM, SGLang
    /// and Custom can do it, and the name of the ModelDeployment must be at most 40 characters. The first pod of a group is its leader and
    /// the only one that is asked. When one of them ends, or is deleted, its whole group is made anew. An engine of the kind Custom runs the same
    /// in each pod and tells them apart by LWS_WORKER_INDEX, LWS_GROUP_SIZE and LWS_LEADER_ADDRESS. Probes in `podTemplate`, and
    /// `topologySpreadConstraints`, are for the leader alone. Where it changes between 1 and more, the rollout's strategy says whether what there was
    /// stays until a group answers (Surge) or goes first (Replace). Default: 1. Limit: from 1 to 32. Example: `2`.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 32))]
    pub nodes: i32,
}

fn one() -> i32 {
    1
}

/// Whether every accelerator of a replica gets its part, as far as the specification says itself how many there are.
pub(super) const SHARES_OUT: &str = "!has(self.parallelism) || [self.parallelism.nodes * \
    (!has(self.accelerator) ? 1 : has(self.accelerator.claim) ? self.accelerator.claim.count : self.accelerator.count)].all(all, \
    has(self.parallelism.tensor) && has(self.parallelism.pipeline) ? self.parallelism.tensor * self.parallelism.pipeline == all : \
    has(self.parallelism.tensor) ? all % self.parallelism.tensor == 0 : \
    !has(self.parallelism.pipeline) || all % self.parallelism.pipeline == 0)";

/// What is said where it does not. By `format`: the API server takes texts that are joined of numbers for too dear.
pub(super) const SHARES_OUT_MESSAGE: &str = "'tensor %s times pipeline %s does not share out the accelerators: nodes %s times %s of a pod; \
    make tensor times pipeline as many, leave one of them out, or change nodes or the accelerators of a pod'.format([\
    has(self.parallelism.tensor) ? string(self.parallelism.tensor) : '(absent)', \
    has(self.parallelism.pipeline) ? string(self.parallelism.pipeline) : '(absent)', string(self.parallelism.nodes), \
    string(!has(self.accelerator) ? 1 : has(self.accelerator.claim) ? self.accelerator.claim.count : self.accelerator.count)])";
