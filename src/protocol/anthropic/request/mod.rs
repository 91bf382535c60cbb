//! Requests for a message: read from clients, written for models.

mod effort;
mod messages;
mod read;
mod write;

pub use read::read_request;
pub(super) use read::{Purpose, read};
pub use write::write_request;
