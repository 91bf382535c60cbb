//! Anthropic's Messages, as a protocol of clients and as a dialect of models: requests and answers, whole and streamed, read into the common
//! form and written from it, and what a gateway must know of an answer that passes unchanged.
//! Wire forms are those of Anthropic's API reference and of its own SDK; llama-server and vLLM speak a part of them.

mod answer;
mod block;
pub mod count_tokens;
mod error;
mod model;
mod reader;
mod request;
mod usage;
mod watch;
mod writer;

pub use answer::{read_answer, tokens, write_answer};
pub use error::{error_event, read_error, write_error};
pub use reader::Reader;
pub use request::{read_request, write_request};
pub use watch::Watch;
pub use writer::Writer;

#[cfg(test)]
mod tests;
