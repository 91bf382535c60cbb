//! What a Secret holds for Bedrock: one of its own API keys, or an access key of AWS.

use std::fmt;

use crate::protocol::sigv4::{self, BadCredentials, Credentials};

/// How requests say who sends them. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// An API key of Bedrock, sent as `Authorization: Bearer`.
    Bearer(String),
    /// An access key, with which requests are signed.
    Keys(Credentials),
}

/// Why a text is no credential for Bedrock. Says nothing of what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCredential {
    /// It begins like an API key of Bedrock, and cannot be a header.
    #[error("it begins like an API key of Bedrock and holds white space, or characters other than ASCII's")]
    ApiKey,
    /// It is no access key either.
    #[error("it is no API key of Bedrock (ABSK…, bedrock-api-key-…), and as an access key of AWS: {0}")]
    Keys(#[from] BadCredentials),
}

impl Credential {
    /// Reads an API key of Bedrock (`ABSK…` lives long, `bedrock-api-key-…` for hours), or what [`Credentials::read`] takes.
    ///
    /// # Errors
    /// When it is neither.
    pub fn read(text: &str) -> Result<Self, BadCredential> {
        let text = text.trim();
        if !["ABSK", "bedrock-api-key-"].iter().any(|prefix| text.starts_with(prefix)) {
            return Ok(Self::Keys(Credentials::read(text)?));
        }
        match text.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Self::Bearer(text.to_owned())),
            false => Err(BadCredential::ApiKey),
        }
    }

    /// The headers that make `request` one of whoever has this credential; `region` and `now` (in seconds since 1970) go into a signature.
    #[must_use]
    pub fn headers(&self, request: &sigv4::Request<'_>, region: &str, now: u64) -> Vec<(&'static str, String)> {
        let scope = sigv4::Scope {
            region,
            service: super::SERVICE,
        };
        match self {
            Self::Bearer(key) => vec![("authorization", format!("Bearer {key}"))],
            Self::Keys(keys) => sigv4::sign(request, &scope, keys, now),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bearer(_) => f.write_str("Bearer(..)"),
            Self::Keys(keys) => f.debug_tuple("Keys").field(keys).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(text: &str) -> Vec<(&'static str, String)> {
        let request = sigv4::Request {
            method: "POST",
            host: "h",
            path: "/",
            query: "",
            headers: &[],
            body: b"",
        };
        Credential::read(text).unwrap().headers(&request, "eu-west-1", 0)
    }

    #[test]
    fn an_api_key_is_sent_and_an_access_key_signs() {
        for key in ["ABSKQmVkcm9ja0FQSUtleS1leGFtcGxl+/=", "bedrock-api-key-YmVkcm9jay5hbWF6b25hd3M="] {
            assert_eq!(headers(&format!(" {key}\n")), [("authorization", format!("Bearer {key}"))]);
        }
        let signed = headers("AKIDEXAMPLE:secret:token");
        let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["x-amz-date", "x-amz-security-token", "authorization"]);
        let expected = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/19700101/eu-west-1/bedrock/aws4_request, ";
        assert!(signed[2].1.starts_with(expected), "{}", signed[2].1);
    }

    #[test]
    fn what_is_neither_is_refused_and_debug_shows_no_secret() {
        assert_eq!(Credential::read("ABSK a"), Err(BadCredential::ApiKey));
        assert_eq!(Credential::read("sk-1"), Err(BadCredential::Keys(BadCredentials::Form)));
        assert_eq!(format!("{:?}", Credential::read("ABSKsecret").unwrap()), "Bearer(..)");
        assert!(!format!("{:?}", Credential::read("id:hidden:hidden").unwrap()).contains("hidden"));
    }
}
