//! A real Kubernetes with real engines on one machine, started and controlled from Rust.
//!
//! - [`Cluster::connect`] is the door for tests: the cluster of `KUBECONFIG`, else ours, started when needed.
//! - [`Cluster::alone`] is for tests that break parts; the others wait meanwhile.
//! - [`provider::Provider`] is a commercial API that does as it is told.
//! - [`bucket::Bucket`] is a bucket over the protocol of S3, and fails as told.
//! - [`hub::Hub`] is the hub of Hugging Face over a folder, and fails as told.
//! - [`vllm::run`] is vLLM without a model: what it says about adapters is what the real one says.
//! - [`fake_nodes::FakeNodes`] makes pods Ready on nodes that do not exist.
//! - [`lws::Controller`] is the real controller of LeaderWorkerSets, and [`stand_in`] an engine over several pods.
//! - [`keda::Keda`] is the real operator of KEDA, which scales by what it is told.
//! - [`gateway_api::ReferenceGrants`] is the kind of the Gateway API by which namespaces let others name what they have.
//! - [`redis::Redis`] is a real Redis that can be killed, frozen and started again.
//! - [`replicas::Replicas`] is how many there are of something over time, every number that anybody gave it.
//! - [`portfolio::Portfolio::install`] installs the product as users do.
//! - [`bench::run`] measures the gateway beside nginx; it needs no cluster.
//! - [`evaluator::run`] is an evaluator as users bring them, in an image.
//! - [`Cluster::local`] stops, kills, freezes and restarts the parts of our own cluster.

pub mod asker;
pub mod assets;
pub mod audit;
pub mod bench;
pub mod benchmark;
pub mod bucket;
pub mod cluster;
pub mod command;
pub mod demo;
pub mod devices;
pub mod evaluator;
mod fake_engines;
pub mod fake_nodes;
pub mod gateway_api;
pub mod http_client;
pub mod hub;
pub mod image;
pub mod images;
pub mod keda;
pub mod kubectl;
pub mod local;
pub mod lws;
pub mod namespace;
pub mod policies;
pub mod portfolio;
mod process;
pub mod provider;
pub mod redis;
pub mod replicas;
pub mod scale;
mod skip;
pub mod stand_in;
pub mod vllm;
pub mod volume;
pub mod wait;
pub mod weights;

pub use cluster::Cluster;
pub use skip::skip;
pub use wait::until;
