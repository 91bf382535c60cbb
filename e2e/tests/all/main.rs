//! The tests that need a cluster, as one program: those that share it ([`e2e::Cluster::connect`]) run side by side, and those that break parts of
//! it or measure it whole ([`e2e::Cluster::alone`]) wait for the others. One of them: `cargo test -p e2e --test all settled`.

mod adapters;
mod affinity;
mod bad_input;
mod budgets;
mod cache;
mod charts;
mod closed_loop;
mod cluster;
mod credentials;
mod evaluation;
mod external;
mod faults;
mod fetch;
mod grant;
mod group;
mod image_source;
mod kept;
mod ledger;
mod lies;
mod network;
mod owners;
mod provider;
mod reasons;
mod replay;
mod rollout;
mod rules;
mod scaling;
mod sdks;
mod settled;
mod sharing;
mod status;
mod suites;
mod warmup;
