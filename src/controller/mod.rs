//! Effects: each controller reads, lets a plan decide, writes, and reports, and its `reconcile` reads as the story of its object. Only the
//! holder of the lease runs them.

mod adapters;
mod ask;
mod asker;
mod autoscaler;
mod cache;
mod context;
mod decided;
mod drivers;
mod eval_job;
mod external_scaler;
mod gateways;
mod metrics;
mod model_deployment;
mod moves;
mod orphans;
mod probe;
mod progress;
mod routing_policy;
mod run;

pub use context::{Context, Error};
pub use metrics::Metrics;
pub use run::{Setup, run};

#[cfg(test)]
mod tests;
