//! Who sends a request: the holder of an API key, a Kubernetes service account, the holder of
//! a token of an identity provider, or anyone where that is allowed.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, header};
use k8s_openapi::jiff::Timestamp;

use super::Options;
use super::feed::{ApiKeys, Feed, Holder};
use super::jwt::{Claimed, Jwts};
use super::refusal::Refusal;
use super::tokens::{TokenReview, Tokens};
use super::upstream::Upstream;
use crate::plan::api_key::{self, Expires};
use crate::plan::names::TOKEN_AUDIENCE;
use crate::plan::routing::Client;

/// The longest token read; service-account tokens have about 1 KiB.
const TOKEN_LIMIT: usize = 16 << 10;

/// Where SDKs put a key that is no bearer token.
const KEYS: [HeaderName; 2] = [HeaderName::from_static("x-api-key"), HeaderName::from_static("api-key")];

pub(super) struct Identities {
    tokens: Option<Tokens>,
    jwts: Jwts,
    /// Which issuers are trusted.
    feed: Feed,
    allow_anonymous: bool,
    now: fn() -> Timestamp,
}

impl Identities {
    pub(super) fn new(reviewer: Option<Arc<dyn TokenReview>>, feed: Feed, upstream: Arc<Upstream>, options: &Options) -> Self {
        let now = options.now;
        Self {
            tokens: reviewer.map(|reviewer| Tokens::new(reviewer, now)),
            jwts: Jwts::new(upstream, now),
            feed,
            allow_anonymous: options.allow_anonymous,
            now,
        }
    }

    /// The client, as proved by `Authorization: Bearer`, or by `x-api-key` or `api-key`, as the SDKs of Anthropic and Azure send it. SDKs insist
    /// on sending some key: one that nobody knows makes its sender anonymous where anonymous clients are allowed. One that has expired never
    /// does, nor does a token that is refused.
    pub(super) async fn of<'a>(&self, headers: &HeaderMap, api_keys: &'a ApiKeys) -> Result<Cow<'a, Client>, Refusal> {
        let token = match headers.get(header::AUTHORIZATION) {
            Some(header) => header.to_str().ok().and_then(bearer),
            None => match KEYS.iter().find_map(|name| headers.get(name)) {
                Some(header) => header.to_str().ok().and_then(fit),
                None => return self.anonymous("this gateway needs credentials"),
            },
        };
        let Some(token) = token else {
            return Err(Refusal::unauthenticated(format!(
                "the credentials are not understood: {}",
                self.how_to()
            )));
        };
        if let Some(holder) = api_keys.find(token) {
            return self.in_time(holder);
        }
        let table = self.feed.routes().filter(|_| looks_signed(token));
        let issuers = table.as_ref().map(|table| &table.issuers).filter(|issuers| !issuers.is_empty());
        if let Some((issuers, claimed)) = issuers.and_then(|issuers| Some((issuers, Claimed::of(token, issuers)?))) {
            return Box::pin(self.jwts.client(token, claimed, issuers)).await.map(Cow::Owned);
        }
        match &self.tokens {
            Some(tokens) if looks_signed(token) => match Box::pin(tokens.client(token)).await {
                Ok(Some(client)) => Ok(Cow::Owned(client)),
                Ok(None) => Err(Refusal::unauthenticated(format!(
                    "the token was refused: it is expired, or not a service account's token for the audience {TOKEN_AUDIENCE}{}",
                    if issuers.is_some() {
                        ", nor one of an issuer that a policy names"
                    } else {
                        ""
                    }
                ))),
                Err(unavailable) => Err(unavailable.into()),
            },
            _ if issuers.is_some() => self.anonymous("the token is of no issuer that a policy names"),
            _ if api_key::is_mistyped(token) => {
                self.anonymous("the API key is not known, and its check digits do not fit: it is mistyped or cut off")
            }
            _ => self.anonymous("the API key is not known"),
        }
    }

    fn in_time<'a>(&self, holder: &'a Holder) -> Result<Cow<'a, Client>, Refusal> {
        match holder.expires {
            Expires::At(time) if time <= (self.now)() => Err(Refusal::unauthenticated(format!(
                "the API key expired at {time}: ask for another where it came from"
            ))),
            Expires::Unreadable => Err(Refusal::unauthenticated(
                "the API key may not be used, since it cannot be read until when it is good: its Secret's annotation llmportfolio.dev/expires \
                 must be a time, such as 2027-01-31T00:00:00Z",
            )),
            Expires::At(_) | Expires::Never => Ok(Cow::Borrowed(&holder.client)),
        }
    }

    fn anonymous<'a>(&self, problem: &str) -> Result<Cow<'a, Client>, Refusal> {
        if self.allow_anonymous {
            Ok(Cow::Owned(Client::Anonymous))
        } else {
            Err(Refusal::unauthenticated(format!("{problem}: {}", self.how_to())))
        }
    }

    fn how_to(&self) -> String {
        // Service accounts are a cluster's.
        let token = match &self.tokens {
            Some(_) => format!(", or a service account's token for the audience {TOKEN_AUDIENCE}"),
            None => String::new(),
        };
        format!("send `Authorization: Bearer` (or `x-api-key`) with an API key{token}")
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    fit(token).filter(|_| scheme.eq_ignore_ascii_case("bearer"))
}

fn fit(token: &str) -> Option<&str> {
    let token = token.trim();
    (!token.is_empty() && token.len() <= TOKEN_LIMIT).then_some(token)
}

/// Whether it has the three parts of a JSON web token.
fn looks_signed(token: &str) -> bool {
    token.split('.').filter(|part| !part.is_empty()).count() == 3 && token.matches('.').count() == 2
}
