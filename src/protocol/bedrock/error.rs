//! Bedrock's errors: of answers that are none, and of streams that fail.

use serde::Deserialize;

use crate::protocol::error::{Error, Kind};

/// The longest message kept, in bytes.
const MESSAGE_LIMIT: usize = 1024;

/// What models of Bedrock say of a prompt that they cannot hold, in lower case; the exception is a `ValidationException` like any other.
const TOO_LONG: &[&str] = &[
    "input is too long",
    "prompt is too long",
    "exceed context limit",
    "too many total text bytes",
    "maximum context length",
    "context window",
    "too many input tokens",
    "number of input tokens exceeds maximum length",
];

/// How messages begin that say that there is no such model here, or not for our account, in lower case: exceptions like any other, too. Only
/// their beginning counts, as the rest may repeat what the client wrote.
const NO_MODEL: &[(&str, Kind)] = &[
    ("the provided model identifier is invalid", Kind::NotFound),
    ("invocation of model id ", Kind::NotFound),
    ("operation not allowed", Kind::Permission),
    ("your account is not authorized", Kind::Permission),
    ("access to anthropic models is not allowed", Kind::Permission),
];

/// Reads an answer that is an error. `error_type` is its header `x-amzn-errortype`.
#[must_use]
pub fn read_error(status: u16, error_type: Option<&str>, body: &[u8]) -> Error {
    let written: Option<Written> = serde_json::from_slice(body).ok();
    let in_body = written.as_ref().and_then(|written| written.kind.as_deref());
    let name = error_type.or(in_body).map(short);
    let words = written.as_ref().and_then(Written::words).map(str::to_owned);
    let words = words.unwrap_or_else(|| match name {
        Some(name) => format!("Bedrock answered {name} (status {status}) without a message"),
        None => format!("Bedrock answered with status {status}"),
    });
    named(name.unwrap_or_default(), Kind::of_status(status), &words)
}

/// The error of that name, or of kind `otherwise` where the name says nothing.
pub(super) fn named(name: &str, otherwise: Kind, words: &str) -> Error {
    let lower = name.to_ascii_lowercase();
    let kind = match lower.strip_suffix("exception").unwrap_or(&lower) {
        "validation" | "validationerror" => Kind::InvalidRequest,
        "accessdenied" | "notauthorized" | "optinrequired" => Kind::Permission,
        "unrecognizedclient" | "invalidsignature" | "incompletesignature" | "expiredtoken" | "requestexpired" => Kind::Authentication,
        "missingauthenticationtoken" | "invalidclienttokenid" => Kind::Authentication,
        "resourcenotfound" => Kind::NotFound,
        "throttling" | "toomanyrequests" | "servicequotaexceeded" => Kind::RateLimit,
        "modelnotready" | "serviceunavailable" => Kind::Overloaded,
        "modeltimeout" => Kind::Timeout,
        "internalserver" | "internalfailure" | "modelerror" | "modelstreamerror" => Kind::Server,
        _ => otherwise,
    };
    let said = words.to_ascii_lowercase();
    let kind = match kind {
        Kind::InvalidRequest if TOO_LONG.iter().any(|phrase| said.contains(phrase)) => Kind::ContextLength,
        Kind::InvalidRequest if said.contains("content filter") => Kind::ContentFilter,
        Kind::InvalidRequest => {
            let found = NO_MODEL.iter().find(|(words, _)| said.starts_with(words));
            found.map_or(Kind::InvalidRequest, |(_, kind)| *kind)
        }
        other => other,
    };
    Error::new(kind, cut(without_arns(words)))
}

/// What the payload of an exception says: its message, or all of it.
pub(super) fn words(payload: &[u8]) -> String {
    let written: Option<Written> = serde_json::from_slice(payload).ok();
    let said = written.as_ref().and_then(Written::words).map(str::to_owned);
    said.unwrap_or_else(|| String::from_utf8_lossy(&payload[..payload.len().min(MESSAGE_LIMIT)]).into_owned())
}

/// Without the namespace before it (`com.amazon.coral.service#`) and the address behind it (`:http://internal.amazon.com/…`).
fn short(name: &str) -> &str {
    let name = name.split_once('#').map_or(name, |(_, name)| name);
    name.split(':').next().unwrap_or(name).trim()
}

/// ARNs name the account that pays, and its users: no business of clients.
fn without_arns(words: &str) -> String {
    let mut kept = String::new();
    let mut rest = words;
    while let Some(at) = rest.find("arn:aws") {
        kept.push_str(&rest[..at]);
        kept.push_str("arn:…");
        let arn = &rest[at..];
        let end = arn.find(|c: char| c.is_whitespace() || "\"',;()".contains(c));
        rest = end.map_or("", |end| &arn[end..]);
    }
    kept + rest
}

fn cut(mut words: String) -> String {
    let end = (0..=MESSAGE_LIMIT.min(words.len())).rev().find(|at| words.is_char_boundary(*at));
    words.truncate(end.unwrap_or(0));
    words
}

#[derive(Deserialize)]
struct Written {
    #[serde(rename = "__type", default)]
    kind: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(rename = "Message", default)]
    capital: Option<String>,
    #[serde(rename = "originalMessage", default)]
    original: Option<String>,
}

impl Written {
    fn words(&self) -> Option<&str> {
        let said = [&self.message, &self.capital, &self.original];
        said.into_iter()
            .flatten()
            .map(String::as_str)
            .find(|words| !words.trim().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_exception_is_of_its_kind() {
        for (status, name, body, kind, message) in [
            (
                400,
                "ValidationException",
                r#"{"message":"The model returned the following errors: Input is too long for requested model."}"#,
                Kind::ContextLength,
                "The model returned the following errors: Input is too long for requested model.",
            ),
            (
                400,
                "ValidationException",
                r#"{"message":"prompt is too long: 200049 tokens > 200000 maximum"}"#,
                Kind::ContextLength,
                "prompt is too long: 200049 tokens > 200000 maximum",
            ),
            (
                400,
                "ValidationException",
                r#"{"message":"input length and `max_tokens` exceed context limit: 1 + 2 > 2"}"#,
                Kind::ContextLength,
                "input length and `max_tokens` exceed context limit: 1 + 2 > 2",
            ),
            (
                400,
                "ValidationException",
                r#"{"message":"Input Tokens Exceeded: Number of input tokens exceeds maximum length. Please update the input to try again."}"#,
                Kind::ContextLength,
                "Input Tokens Exceeded: Number of input tokens exceeds maximum length. Please update the input to try again.",
            ),
            (
                400,
                "ValidationException",
                r#"{"message":"This model's maximum context length is 131072 tokens."}"#,
                Kind::ContextLength,
                "This model's maximum context length is 131072 tokens.",
            ),
            (
                400,
                "ValidationException:http://internal.amazon.com/coral/com.amazon.bedrock/",
                r#"{"message":"The provided model identifier is invalid."}"#,
                Kind::NotFound,
                "The provided model identifier is invalid.",
            ),
            (
                400,
                "ValidationException",
                r#"{"message":"Operation not allowed"}"#,
                Kind::Permission,
                "Operation not allowed",
            ),
            (
                400,
                "ValidationException",
                r#"{"message":"toolConfig: Operation not allowed"}"#,
                Kind::InvalidRequest,
                "toolConfig: Operation not allowed",
            ),
            (
                400,
                "ValidationException",
                r#"{"message":"Output blocked by content filtering policy"}"#,
                Kind::ContentFilter,
                "Output blocked by content filtering policy",
            ),
            (
                429,
                "ThrottlingException",
                r#"{"message":"Too many tokens, please wait before trying again."}"#,
                Kind::RateLimit,
                "Too many tokens, please wait before trying again.",
            ),
            (400, "ServiceQuotaExceededException", r#"{"message":"q"}"#, Kind::RateLimit, "q"),
            (429, "ModelNotReadyException", r#"{"message":"m"}"#, Kind::Overloaded, "m"),
            (408, "ModelTimeoutException", r#"{"message":"m"}"#, Kind::Timeout, "m"),
            (
                424,
                "ModelErrorException",
                r#"{"message":"m","originalStatusCode":500,"resourceName":"r"}"#,
                Kind::Server,
                "m",
            ),
            (503, "ServiceUnavailableException", r#"{"message":"m"}"#, Kind::Overloaded, "m"),
            (500, "InternalServerException", r#"{"message":"m"}"#, Kind::Server, "m"),
            (404, "ResourceNotFoundException", r#"{"message":"m"}"#, Kind::NotFound, "m"),
            (
                403,
                "UnrecognizedClientException",
                r#"{"message":"The security token included in the request is invalid."}"#,
                Kind::Authentication,
                "The security token included in the request is invalid.",
            ),
            (
                403,
                "AccessDeniedException",
                r#"{"Message":"User: arn:aws:iam::123456789012:user/llm is not authorized to perform: bedrock:InvokeModel on resource: \"arn:aws:bedrock:us-east-1::foundation-model/a.b\""}"#,
                Kind::Permission,
                r#"User: arn:… is not authorized to perform: bedrock:InvokeModel on resource: "arn:…""#,
            ),
        ] {
            let error = read_error(status, Some(name), body.as_bytes());
            assert_eq!((error.kind, error.message.as_str()), (kind, message), "{name}");
        }
    }

    #[test]
    fn the_name_is_found_in_the_body_too_and_the_status_says_the_rest() {
        for (status, body, kind, message) in [
            (
                400,
                r#"{"__type":"com.amazon.coral.service#ThrottlingException","message":"slow"}"#,
                Kind::RateLimit,
                "slow",
            ),
            (
                404,
                r#"{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}"#,
                Kind::NotFound,
                "Bedrock answered with status 404",
            ),
            (503, "<html>", Kind::Overloaded, "Bedrock answered with status 503"),
            (
                403,
                r#"{"__type":"MissingAuthenticationTokenException"}"#,
                Kind::Authentication,
                "Bedrock answered MissingAuthenticationTokenException (status 403) without a message",
            ),
        ] {
            let error = read_error(status, None, body.as_bytes());
            assert_eq!((error.kind, error.message.as_str()), (kind, message), "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic_and_no_message_is_long(
            status in any::<u16>(), name in prop::option::of(".{0,20}"), words in "(arn:aws|é|日| |\"|x){0,90}", times in 1..12usize, bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let body = serde_json::json!({ "message": words.repeat(times) }).to_string();
            for body in [body.as_bytes(), &bytes] {
                let error = read_error(status, name.as_deref(), body);
                prop_assert!(error.message.len() <= MESSAGE_LIMIT && !error.message.contains("arn:aws"));
            }
            prop_assert!(super::words(&bytes).len() <= 3 * MESSAGE_LIMIT);
        }
    }
}
