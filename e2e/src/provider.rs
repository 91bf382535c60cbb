//! A commercial API that does as it is told: OpenAI's and Anthropic's wire formats over TLS or plain HTTP, with keys, known answers,
//! and faults on demand.
//!
//! - in a test: [`Provider::start`], or [`Provider::start_in`] where pods are to reach it; script it through [`Provider::set`]
//! - as a process: `e2e provider`, scripted by `PUT /_control` with the same [`Script`] as JSON
//!
//! `anthropic`, `openai`: the formats. `script`: what tests say. `server`: sockets, keys, faults.

mod anthropic;
mod openai;
mod script;
mod server;

pub use script::{Behaviour, Metrics, Record, Script, Stall};
pub use server::{Options, Provider};
