//! One evaluation run, to completion: reads the questions, asks the models through the gateway, scores the answers and counts them into a
//! report. Every answer is noted down, so that a run that is killed goes on where it stopped.

pub mod client;
pub mod dataset;
pub mod display;
pub mod extract;
pub mod progress;
pub mod prompt;
pub mod recorded;
pub mod run;
pub mod score;
mod tally;

#[cfg(test)]
mod tests;
