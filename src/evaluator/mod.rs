//! One evaluation run, to completion: reads the questions, asks the models through the gateway, scores the answers and counts them into a
//! report. Every answer is noted down, so that a run that is killed goes on where it stopped.

mod allowance;
pub mod client;
mod connector;
mod dataset;
pub mod display;
mod drift;
mod export;
pub mod external;
pub mod extract;
pub mod files;
mod judge;
pub mod latency;
pub mod lm_eval;
mod loads;
mod mmlu_pro;
mod numbers;
mod outline;
mod overview;
pub mod page;
mod progress;
pub mod prompt;
pub mod recorded;
mod reports;
mod rows;
pub mod run;
mod sample;
pub mod score;
mod scorers;
mod scoring;
mod shipping;
pub mod store;
mod suite;
mod tally;
mod webhook;

pub use outline::outline;
pub use suite::check;

#[cfg(test)]
mod coverage;
#[cfg(test)]
mod tests;
