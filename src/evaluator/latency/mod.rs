//! The suite `latency`: how long a model takes under a load of so many requests a second, by the times to the first token, between tokens and to
//! the end of the answer.
//!
//! ```text
//! schedule ──► load ──► stream ──► timing ──► summary
//! when due     sends    one each    its times   of a load
//! prompt ──────┘
//! ```
//!
//! - An open loop: requests are sent when they are due, whatever became of those before them, and none is tried again, which would be one more
//!   than was asked for. What a retry would heal (429, 503) is what the load has found out.
//! - One request goes before the load, by the client that tries again, and counts for nothing: it learns how the model wants to be asked
//!   ([`super::client`]), opens a connection, and has an engine load what it loads at the first request. Whether the gateway can be reached
//!   at all is its to find out too.
//! - What is measured is what a user of the gateway sees: the gateway, the network, and new connections where too few are open.
//! - A load that is killed in the middle is no measurement, and cannot go on as one: the pause has emptied the queues. The caller begins it
//!   anew, under another name ([`prompt::Prompts`]), and counts what was spent.

pub mod load;
pub mod prompt;
pub mod schedule;
pub mod stream;
pub mod summary;
pub mod timing;

#[cfg(test)]
mod tests;
