//! A self-hosted ModelDeployment and its children.
//!
//! ```text
//! ModelDeployment ──► Deployment NAME-engine ──► pods (restricted profile; leave routing before they stop)
//!                 ├─► Service NAME-engine     ──► EndpointSlices, which the gateways watch
//!                 └─► PodDisruptionBudget     only from two replicas on: with one it would block every node drain
//! ```

mod children;
mod engine;
mod pod;
mod source;
mod status;

pub use children::{Serving, plan};
pub use status::{Observed, status};

#[cfg(test)]
mod tests;
