//! The credentials of a service account of Google's, the part without a network: the key file, the signed statement with which a token is
//! asked for (<https://developers.google.com/identity/protocols/oauth2/service-account#httprest>), and the answer.
//!
//! A key file names the address that its statement is sent to. Whoever can write the file could so make the gateway call any address from
//! inside of its network. So that address must be Google's (https, a host under `googleapis.com`, the usual port), or else, where the model
//! has an endpoint of its own, that very scheme, host and port: which the gateway calls anyway.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::Uri;
use http::uri::Scheme;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a token is to be good for.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// How long a statement is valid, in seconds; the most that Google takes.
const VALID: i64 = 3600;
/// How long a token lasts when the answer does not say.
const SHORT_LIFE: u64 = 300;
/// Tokens last an hour, or twelve where an organisation allows it.
const LONG_LIFE: u64 = 12 * 3600;
/// Of what the answer says went wrong, so many letters are told.
const WORDS: usize = 256;

/// A service account that can prove who it is.
pub struct ServiceAccount {
    email: String,
    project: Option<String>,
    key_id: Option<String>,
    key: RsaKeyPair,
    token_uri: String,
}

/// Never the key.
impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut account = f.debug_struct("ServiceAccount");
        account.field("email", &self.email).finish_non_exhaustive()
    }
}

/// Why a text is not the key file of a service account. Holds nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeyFile {
    /// Not JSON.
    #[error("it is not JSON (line {line}, column {column}); expected the key file of a Google service account")]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// Other credentials of Google's, such as a user's.
    #[error("its type is not service_account; make a JSON key for a service account")]
    OtherType,
    /// A field is missing.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// No private key in PKCS#8.
    #[error("its private_key is not a private key in PEM (PKCS#8)")]
    NotPem,
    /// A private key, but not one that can sign.
    #[error("its private_key is not an RSA key of at least 2048 bits")]
    NotRsa,
}

/// The address in a key file is not one that the gateway may call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its token_uri is not an https address under googleapis.com, nor at the model's own endpoint")]
pub struct ForbiddenAddress;

/// The statement could not be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the private key cannot sign")]
pub struct CannotSign;

impl ServiceAccount {
    /// Reads a key file.
    ///
    /// # Errors
    /// When it is not one of a service account.
    pub fn read(file: &[u8]) -> Result<Self, BadKeyFile> {
        // Values of any type, since an error of the reader would repeat what it found.
        #[derive(Deserialize)]
        struct File {
            #[serde(rename = "type", default)]
            kind: Value,
            #[serde(default)]
            client_email: Value,
            #[serde(default)]
            private_key: Value,
            #[serde(default)]
            private_key_id: Value,
            #[serde(default)]
            token_uri: Value,
            #[serde(default)]
            project_id: Value,
        }
        let file: File = serde_json::from_slice(file).map_err(|error| BadKeyFile::NotJson {
            line: error.line(),
            column: error.column(),
        })?;
        if file.kind.as_str().is_some_and(|kind| kind != "service_account") {
            return Err(BadKeyFile::OtherType);
        }
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let email = text(&file.client_email).ok_or(BadKeyFile::Missing("client_email"))?;
        let pem = text(&file.private_key).ok_or(BadKeyFile::Missing("private_key"))?;
        let token_uri = text(&file.token_uri).ok_or(BadKeyFile::Missing("token_uri"))?;
        let key = RsaKeyPair::from_pkcs8(&pkcs8(&pem).ok_or(BadKeyFile::NotPem)?).map_err(|_| BadKeyFile::NotRsa)?;
        Ok(Self {
            email,
            project: text(&file.project_id),
            key_id: text(&file.private_key_id),
            key,
            token_uri,
        })
    }

    /// The project that it belongs to, which pays unless another is named.
    #[must_use]
    pub fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    /// Where to ask for a token: the file's own address, if it is one of Google's or has the scheme, host and port of `endpoint`, the address
    /// that the model was given instead of the provider's own.
    ///
    /// # Errors
    /// When it is neither.
    pub fn token_address(&self, endpoint: Option<&Uri>) -> Result<Uri, ForbiddenAddress> {
        let address: Uri = self.token_uri.parse().map_err(|_| ForbiddenAddress)?;
        let has_user = address.authority().is_none_or(|authority| authority.as_str().contains('@'));
        if has_user || !(is_googles(&address) || endpoint.is_some_and(|endpoint| origin(endpoint) == origin(&address))) {
            return Err(ForbiddenAddress);
        }
        Ok(address)
    }

    /// The body with which a token is asked for, in the form of a web page's form. `now` in seconds since 1970.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn form(&self, now: i64) -> Result<String, CannotSign> {
        // Nothing in the statement needs escaping: it is base64url and dots.
        let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
        Ok(format!("grant_type={grant}&assertion={}", self.statement(now)?))
    }

    /// The signed statement, a JSON web token.
    fn statement(&self, now: i64) -> Result<String, CannotSign> {
        #[derive(Serialize)]
        struct Header<'a> {
            alg: &'static str,
            typ: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            kid: Option<&'a str>,
        }
        #[derive(Serialize)]
        struct Claims<'a> {
            iss: &'a str,
            scope: &'static str,
            aud: &'a str,
            iat: i64,
            exp: i64,
        }
        let header = Header {
            alg: "RS256",
            typ: "JWT",
            kid: self.key_id.as_deref(),
        };
        let claims = Claims {
            iss: &self.email,
            scope: SCOPE,
            aud: &self.token_uri,
            iat: now,
            exp: now.saturating_add(VALID),
        };
        let signed = format!("{}.{}", encoded(&header), encoded(&claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        let random = SystemRandom::new();
        self.key
            .sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature)
            .map_err(|_| CannotSign)?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn encoded(part: &impl Serialize) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).expect("strings and numbers are JSON"))
}

fn pkcs8(pem: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (key, _) = rest.split_once("-----END PRIVATE KEY-----")?;
    let key: String = key.split_ascii_whitespace().collect();
    BASE64_STANDARD.decode(key).ok()
}

/// Whether whoever vouches for a model at `endpoint` vouches for `address` too: it is the same server, or both are Google's.
#[must_use]
pub fn is_of(address: &Uri, endpoint: &Uri) -> bool {
    origin(address) == origin(endpoint) || (is_googles(address) && is_googles(endpoint))
}

fn is_googles(address: &Uri) -> bool {
    let host = address.host().unwrap_or_default().to_ascii_lowercase();
    let is_usual = matches!(address.port_u16(), None | Some(443));
    address.scheme() == Some(&Scheme::HTTPS) && is_usual && (host == "googleapis.com" || host.ends_with(".googleapis.com"))
}

fn origin(address: &Uri) -> Option<(bool, String, u16)> {
    let is_https = address.scheme() == Some(&Scheme::HTTPS);
    let is_http = address.scheme() == Some(&Scheme::HTTP);
    let port = address.port_u16().unwrap_or(if is_https { 443 } else { 80 });
    (is_https || is_http).then_some((is_https, address.host()?.to_ascii_lowercase(), port))
}

/// A token of Google's.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Itself: printable, without spaces.
    pub secret: String,
    /// How long it lasts from when it was asked for.
    pub life: Duration,
}

/// Never the token.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("life", &self.life).finish_non_exhaustive()
    }
}

/// Google gave no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotGiven {
    /// And says why.
    #[error("Google refuses a token: {0}")]
    Refused(String),
    /// And says nothing that can be understood.
    #[error("the answer to the request for a token, with status {0}, is none of Google's")]
    Unreadable(u16),
}

/// Reads the answer to `ServiceAccount::form`.
///
/// # Errors
/// When it holds no token that can be sent.
pub fn read_token(status: u16, body: &[u8]) -> Result<Token, NotGiven> {
    #[derive(Deserialize)]
    struct Answer {
        access_token: Option<String>,
        expires_in: Option<u64>,
        error: Option<Value>,
        error_description: Option<String>,
    }
    let unreadable = NotGiven::Unreadable(status);
    let answer: Answer = serde_json::from_slice(body).map_err(|_| unreadable.clone())?;
    if let Some(error) = answer.error {
        let error = error.as_str().map(str::to_owned).unwrap_or_else(|| error.to_string());
        let words = [Some(error), answer.error_description]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(": ");
        let words: String = words.chars().filter(|c| !c.is_control()).take(WORDS).collect();
        return Err(NotGiven::Refused(words));
    }
    let is_sendable = |token: &String| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let secret = answer
        .access_token
        .filter(is_sendable)
        .filter(|_| status == 200)
        .ok_or(unreadable)?;
    let life = Duration::from_secs(answer.expires_in.unwrap_or(SHORT_LIFE).min(LONG_LIFE));
    Ok(Token { secret, life })
}

#[cfg(test)]
mod tests;
