//! A Kubernetes operator and gateway that runs language models as one portfolio: commercial APIs, open models on our own accelerators and
//! custom models, described by three custom resources and reached through one gateway.

pub mod api;
pub mod cluster;
pub mod command;
pub mod controller;
pub mod evaluator;
pub mod fetch;
pub mod gateway;
pub mod manifest;
pub mod plan;
pub mod protocol;
pub mod tls;

#[cfg(test)]
mod arrows;
#[cfg(test)]
mod charts;
#[cfg(test)]
mod testing;
