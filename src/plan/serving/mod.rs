//! A self-hosted ModelDeployment and its children.
//!
//! ```text
//! ModelDeployment ──► Deployment NAME-engine ──► pods (restricted profile; leave routing before they stop)
//!                 ├─► or LeaderWorkerSet NAME-engine ──► groups of such pods     only for parallelism.nodes
//!                 ├─► Service NAME-engine     ──► EndpointSlices, which the gateways watch
//!                 ├─► ResourceClaimTemplate NAME-engine-DIGEST     only for accelerator.claim
//!                 ├─► NetworkPolicy NAME-engine     only gateways, the operator and scrapers reach the pods
//!                 └─► PodDisruptionBudget     only from two replicas on: with one it would block every node drain
//! ```

pub mod adapters;
mod answer;
mod children;
mod claim;
mod cost;
mod engine;
mod group;
mod network;
mod oci;
mod pod;
mod rollout;
mod scaled;
mod source;
mod split;
mod startup;
mod status;
mod template;
mod upgrade;
pub mod usage;
mod workload;

pub use answer::{Inquiry, Meaning, OPERATIONS, Question, Reply, Said, What, inquire, meaning, request, routed};
pub use children::{Installation, Serving, place, plan, plan_over};
pub use claim::outdated;
pub use cost::{counted, price_of_replica, with_cost};
pub use engine::{adapter_name, model_name};
pub use pod::doubtful;
pub use rollout::{Decision, Devices, Rollout, Takes, decide, first, room, switch};
pub use scaled::{ASLEEP, Moved, as_it_is, is_scaled, leave_to_others, with_scaling};
pub use split::nodes;
pub use status::{Observed, answers, is_stuck, status};
pub use upgrade::{keep, stay};
pub use workload::{Pods, Seen, Workload};

#[cfg(test)]
pub(in crate::plan) mod tests;
