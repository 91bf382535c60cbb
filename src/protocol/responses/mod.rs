//! OpenAI's responses (`POST /v1/responses`) as a client's protocol: read into the common form, written from it, and looked at where it
//! passes to OpenAI itself. Nothing is stored: an answer says `store: false`, and what needs an earlier answer is refused. The names are those
//! of <https://platform.openai.com/docs/api-reference/responses>, in the types of OpenAI's SDKs.

mod answer;
mod content;
mod echo;
mod error;
mod event;
mod input;
mod item;
mod read;
mod request;
mod response;
mod seal;
mod tools;
mod watch;
mod writer;

pub use answer::write_answer;
pub use echo::{Echo, read_echo};
pub use error::{error_event, write_error};
pub use request::read_request;
pub use watch::{Watch, tokens};
pub use writer::Writer;

#[cfg(test)]
mod tests;
