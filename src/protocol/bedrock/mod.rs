//! Bedrock's Converse and ConverseStream, as AWS's service model of `bedrock-runtime` (2023-09-30) has them: one form for the models of all
//! vendors. A stream is binary: bytes go through [`frames::Frames`], and what comes out of it into [`Reader`].

mod answer;
mod credential;
mod document;
mod error;
pub mod frames;
mod model;
mod request;
mod stream;
mod written;

pub use answer::read_answer;
pub use credential::{BadCredential, Credential};
pub use error::read_error;
pub use request::write_request;
pub use stream::Reader;

use super::sigv4;

/// The name that requests are signed with, of which the host `bedrock-runtime.REGION.amazonaws.com` says nothing.
pub const SERVICE: &str = "bedrock";

/// The path of a request to `model`, which may be an ID (`eu.anthropic.claude-sonnet-4-5-20250929-v1:0`) or an ARN with slashes in it.
#[must_use]
pub fn path(model: &str, is_stream: bool) -> String {
    let operation = if is_stream { "converse-stream" } else { "converse" };
    format!("/model/{}/{operation}", sigv4::encode(model.as_bytes()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_models_name_is_one_segment_of_the_path() {
        for (model, is_stream, expected) in [
            ("amazon.nova-lite-v1:0", false, "/model/amazon.nova-lite-v1%3A0/converse"),
            (
                "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.meta.llama3-3-70b-instruct-v1:0",
                true,
                "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.meta.llama3-3-70b-instruct-v1%3A0/converse-stream",
            ),
        ] {
            assert_eq!(super::path(model, is_stream), expected);
        }
    }
}
