//! What a gateway is fed with: route tables, its own credentials, its clients' API keys. Each is replaced whole; a request reads the one
//! that was current when it began.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::upstream::Upstream;
use crate::api::model_deployment::Provider;
use crate::plan::api_key::{self, ApiKey, Expires};
use crate::plan::backend::{self, Authorization};
use crate::plan::names::Key;
use crate::plan::routing::{Client, RouteTable};
use crate::protocol::bedrock;
use crate::tls;

/// The end that a cluster's watches or a reader of files writes to.
#[derive(Debug)]
pub struct Source {
    /// `None` until the first table is known: the gateway is not ready before.
    pub routes: watch::Sender<Option<Arc<RouteTable>>>,
    /// The credentials of API models.
    pub credentials: watch::Sender<Arc<Credentials>>,
    /// The API keys of clients.
    pub api_keys: watch::Sender<Arc<ApiKeys>>,
    /// Whether all this is as it is now, rather than as it was when its origin was last heard of.
    pub is_current: watch::Sender<bool>,
}

/// The end that a gateway reads.
#[derive(Clone, Debug)]
pub struct Feed {
    routes: watch::Receiver<Option<Arc<RouteTable>>>,
    credentials: watch::Receiver<Arc<Credentials>>,
    api_keys: watch::Receiver<Arc<ApiKeys>>,
    is_current: watch::Receiver<bool>,
}

/// Both ends of an empty feed.
#[must_use]
pub fn feed() -> (Source, Feed) {
    let (routes, routes_out) = watch::channel(None);
    let (credentials, credentials_out) = watch::channel(Arc::default());
    let (api_keys, api_keys_out) = watch::channel(Arc::default());
    let (is_current, is_current_out) = watch::channel(true);
    let source = Source {
        routes,
        credentials,
        api_keys,
        is_current,
    };
    let feed = Feed {
        routes: routes_out,
        credentials: credentials_out,
        api_keys: api_keys_out,
        is_current: is_current_out,
    };
    (source, feed)
}

impl Feed {
    pub(super) fn routes(&self) -> Option<Arc<RouteTable>> {
        self.routes.borrow().clone()
    }

    /// The route tables from now on.
    pub(super) fn follow_routes(&self) -> watch::Receiver<Option<Arc<RouteTable>>> {
        self.routes.clone()
    }

    pub(super) fn is_current(&self) -> bool {
        *self.is_current.borrow()
    }

    pub(super) fn credentials(&self) -> Arc<Credentials> {
        self.credentials.borrow().clone()
    }

    pub(super) fn api_keys(&self) -> Arc<ApiKeys> {
        self.api_keys.borrow().clone()
    }
}

/// What is held for each provider's model. Never printed.
#[derive(Clone, Default)]
pub struct Credentials(HashMap<(Key, String), Arc<Held>>);

/// What is held for one model.
pub(super) struct Held {
    /// What its provider wants to see.
    pub(super) shown: Option<Shown>,
    /// The way to it, where only some authorities may vouch for it.
    pub(super) authorities: Option<Arc<Upstream>>,
    /// What that was made from.
    bundle: Option<Vec<u8>>,
}

/// What a provider wants to see.
pub(super) enum Shown {
    /// A header.
    Header(HeaderName, HeaderValue),
    /// A token, for which this key file of a service account is exchanged.
    Account(String),
    /// A signature, made with these.
    Keys(bedrock::Credential),
}

impl Held {
    /// What its provider is shown, or is not to see. A token of an account is longer than what is ever told of an error.
    pub(super) fn secrets(&self) -> Vec<&str> {
        match &self.shown {
            None | Some(Shown::Account(_)) => Vec::new(),
            Some(Shown::Header(_, value)) => {
                let value = value.to_str().unwrap_or_default();
                vec![value.strip_prefix("Bearer ").unwrap_or(value)]
            }
            Some(Shown::Keys(bedrock::Credential::Bearer(key))) => vec![key],
            Some(Shown::Keys(bedrock::Credential::Keys(keys))) => {
                let token = keys.session_token.as_deref();
                [&keys.access_key_id, &keys.secret_access_key]
                    .map(String::as_str)
                    .into_iter()
                    .chain(token)
                    .collect()
            }
        }
    }
}

impl Credentials {
    /// From what is held for each model. What cannot be used is left out, and the model gets no requests: a key that is no header, keys that
    /// cannot be read, a bundle without certificates. Connections of bundles that `before` had too are kept.
    pub fn new(held: impl IntoIterator<Item = backend::Held>, before: &Self) -> Self {
        let ways: HashMap<&[u8], &Arc<Upstream>> = before
            .0
            .values()
            .filter_map(|held| Some((held.bundle.as_deref()?, held.authorities.as_ref()?)))
            .collect();
        let entry = |held: backend::Held| {
            let authorities = held.authorities.as_deref().and_then(|bundle| match ways.get(bundle) {
                Some(way) => Some(Arc::clone(way)),
                None => Some(Arc::new(Upstream::trusting(tls::authorities(bundle).ok()?))),
            });
            let shown = held.credential.as_deref().and_then(|credential| shown(held.provider, credential));
            let entry = Held {
                shown,
                authorities,
                bundle: held.authorities,
            };
            ((held.model, held.destination), Arc::new(entry))
        };
        Self(held.into_iter().map(entry).collect())
    }

    pub(super) fn of(&self, model: &Key, destination: &str) -> Option<Arc<Held>> {
        self.0.get(&(model.clone(), destination.to_owned())).cloned()
    }
}

fn shown(provider: Provider, credential: &str) -> Option<Shown> {
    match backend::authorization(provider, credential) {
        Authorization::Header(name, value) => {
            let mut value = HeaderValue::try_from(value).ok()?;
            value.set_sensitive(true);
            Some(Shown::Header(HeaderName::from_static(name), value))
        }
        Authorization::ServiceAccount(key_file) => Some(Shown::Account(key_file)),
        Authorization::SigV4(keys) => bedrock::Credential::read(&keys).ok().map(Shown::Keys),
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} models)", self.0.len())
    }
}

/// The API keys of clients, by the SHA-256 of the key.
#[derive(Clone, Debug, Default)]
pub struct ApiKeys(HashMap<[u8; 32], Holder>);

/// Who holds a key, and until when.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) client: Client,
    pub(super) expires: Expires,
}

impl ApiKeys {
    /// From the hash of each key in hexadecimal. What is no such hash is the hash of no key.
    pub fn new(keys: impl IntoIterator<Item = (String, ApiKey)>) -> Self {
        let holder = |ApiKey { name, labels, expires }| Holder {
            client: Client::ApiKey { name, labels },
            expires,
        };
        let keys = keys.into_iter();
        Self(
            keys.filter_map(|(hash, key)| Some((api_key::digest(hash.trim())?, holder(key))))
                .collect(),
        )
    }

    pub(super) fn find(&self, key: &str) -> Option<&Holder> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(Sha256::digest(key).as_slice())
    }
}
