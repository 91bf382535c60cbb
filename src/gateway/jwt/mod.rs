//! Tokens of identity providers (JWT): whose they are, by the keys of issuers that some policy names. A token says which issuer, key and
//! algorithm it wants; it is believed in none of them: other issuers are not asked, the addresses and keys that its header may name (`jku`,
//! `x5u`, `jwk`) are not read, and a key decides by its kind what it is for.

mod issuer;
mod keys;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderValue, StatusCode};
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::refusal::Refusal;
use super::upstream::Upstream;
use crate::plan::names::TOKEN_AUDIENCE;
use crate::plan::routing::{Client, Issuers, Looks, is_for};
use issuer::{Issuer, NoKeys};
use keys::{Algorithm, Signed};

/// How far clocks may be apart.
const LEEWAY: Duration = Duration::from_secs(30);
/// The longest name of whom a token is about; OpenID Connect allows 255 bytes.
const SUBJECT_LIMIT: usize = 255;

/// The tokens of all issuers.
pub(super) struct Jwts {
    upstream: Arc<Upstream>,
    now: fn() -> Timestamp,
    /// Those that were asked, of those that some policy names.
    asked: Mutex<HashMap<String, Arc<Issuer>>>,
}

/// What a token says, which nobody has confirmed yet.
pub(super) struct Claimed<'a> {
    issuer: String,
    claims: Map<String, Value>,
    looks: &'a Looks,
}

impl<'a> Claimed<'a> {
    /// What a token says that claims to be of one of these issuers. Tokens for the audience of service accounts are for Kubernetes to judge,
    /// whoever issued them: no policy can take them over by naming the cluster's own issuer.
    pub(super) fn of(token: &str, issuers: &'a Issuers) -> Option<Self> {
        if issuers.is_empty() {
            return None;
        }
        let claims: Map<String, Value> = decoded(token.split('.').nth(1)?)?;
        let issuer = claims.get("iss")?.as_str()?.to_owned();
        let looks = issuers.get(&issuer)?;
        (!is_for(&claims, TOKEN_AUDIENCE)).then_some(Self { issuer, claims, looks })
    }
}

impl Jwts {
    pub(super) fn new(upstream: Arc<Upstream>, now: fn() -> Timestamp) -> Self {
        let asked = Mutex::default();
        Self { upstream, now, asked }
    }

    /// Whose a token is.
    ///
    /// # Errors
    /// What is wrong with it, or that the issuer's keys cannot be had.
    pub(super) async fn client(&self, token: &str, claimed: Claimed<'_>, issuers: &Issuers) -> Result<Client, Refusal> {
        let Claimed { issuer, claims, looks } = claimed;
        let signed = signed(token)?;
        // What the token itself says comes first: nobody is asked for the sake of one that is of no use.
        in_time(&claims, (self.now)())?;
        let source = self.source(&issuer, issuers);
        let keys = source.keys().await.map_err(|NoKeys| unavailable())?;
        let is_good = keys.have_signed(&signed)
            || match source.other_than(&keys).await {
                Some(others) => others.have_signed(&signed),
                None => false,
            };
        if !is_good {
            return Err(Wrong::Signature.into());
        }
        let audiences = looks.audiences(&claims);
        if audiences.is_empty() {
            return Err(Wrong::Audience.into());
        }
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        if subject.is_empty() || subject.len() > SUBJECT_LIMIT {
            return Err(Wrong::Subject.into());
        }
        Ok(looks.client(&issuer, subject, audiences, &claims))
    }

    fn source(&self, issuer: &str, issuers: &Issuers) -> Arc<Issuer> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = asked.get(issuer) {
            return known.clone();
        }
        asked.retain(|name, _| issuers.get(name).is_some());
        let new = Arc::new(Issuer::new(issuer.to_owned(), self.upstream.clone()));
        asked.insert(issuer.to_owned(), new.clone());
        new
    }
}

/// How a token says that it is signed. Of its header nothing else is read.
fn signed(token: &str) -> Result<Signed<'_>, Wrong> {
    #[derive(Deserialize)]
    struct Header {
        alg: String,
        kid: Option<String>,
        crit: Option<IgnoredAny>,
    }
    let (content, signature) = token.rsplit_once('.').ok_or(Wrong::Unreadable)?;
    let header = content.split('.').next().and_then(decoded::<Header>).ok_or(Wrong::Unreadable)?;
    // Extensions that must be understood: none is.
    if header.crit.is_some() {
        return Err(Wrong::Unreadable);
    }
    Ok(Signed {
        token,
        key: header.kid,
        algorithm: Algorithm::named(&header.alg).ok_or(Wrong::Algorithm)?,
        content,
        signature: BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| Wrong::Unreadable)?,
    })
}

fn decoded<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Whether a token is good now by what it says of its times. It must say when it ends.
fn in_time(claims: &Map<String, Value>, now: Timestamp) -> Result<(), Wrong> {
    let time = |name: &str| match claims.get(name) {
        None => Ok(None),
        // Some issuers write fractions of seconds.
        Some(value) => match value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64)) {
            Some(seconds) => Ok(Some(seconds)),
            None => Err(Wrong::Times),
        },
    };
    let leeway = LEEWAY.as_secs() as i64;
    let end = time("exp")?.ok_or(Wrong::Times)?;
    if end.saturating_add(leeway) <= now.as_second() {
        return Err(Wrong::Expired(end));
    }
    match time("nbf")? {
        Some(begin) if begin.saturating_sub(leeway) > now.as_second() => Err(Wrong::NotYet(begin)),
        _ => Ok(()),
    }
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Unreadable,
    Algorithm,
    Times,
    Expired(i64),
    NotYet(i64),
    Signature,
    Audience,
    Subject,
}

impl fmt::Display for Wrong {
    /// For whoever sent it: what they can see in their token, and nothing of what would be admitted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |seconds: i64| Timestamp::from_second(seconds).map_or_else(|_| "a time beyond all".to_owned(), |time| time.to_string());
        match self {
            Self::Unreadable => f.write_str("it is no signed JSON web token that can be read"),
            Self::Algorithm => {
                f.write_str("its algorithm (alg) is not taken: sign with RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA")
            }
            Self::Times => f.write_str("it must say when it ends (exp), and say its times (exp, nbf) as numbers"),
            Self::Expired(end) => write!(f, "it expired at {}: get another", at(*end)),
            Self::NotYet(begin) => write!(f, "it is not good before {} (nbf)", at(*begin)),
            Self::Signature => f.write_str("its signature was made by none of its issuer's keys"),
            Self::Audience => f.write_str("it is for another audience (aud): get one that is for this gateway"),
            Self::Subject => f.write_str("it must say whom it is about (sub), in 255 bytes at most"),
        }
    }
}

impl From<Wrong> for Refusal {
    fn from(wrong: Wrong) -> Self {
        Self::unauthenticated(format!("the token was refused: {wrong}"))
    }
}

fn unavailable() -> Refusal {
    let message = "the token cannot be checked now, since the keys of its issuer cannot be had: try again later";
    let soon = Some(HeaderValue::from_static("5"));
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "authentication_unavailable", message).retry_after(soon)
}
