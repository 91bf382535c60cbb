//! What a gateway is fed with: route tables, its own credentials, its clients' API keys. Each is replaced whole; a request reads the one
//! that was current when it began.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::plan::fingerprint::hex;
use crate::plan::names::Key;
use crate::plan::routing::RouteTable;

/// The end that a cluster's watches or a reader of files writes to.
#[derive(Debug)]
pub struct Source {
    /// `None` until the first table is known: the gateway is not ready before.
    pub routes: watch::Sender<Option<Arc<RouteTable>>>,
    /// The credentials of API models.
    pub credentials: watch::Sender<Arc<Credentials>>,
    /// The API keys of clients.
    pub api_keys: watch::Sender<Arc<ApiKeys>>,
}

/// The end that a gateway reads.
#[derive(Clone, Debug)]
pub struct Feed {
    routes: watch::Receiver<Option<Arc<RouteTable>>>,
    credentials: watch::Receiver<Arc<Credentials>>,
    api_keys: watch::Receiver<Arc<ApiKeys>>,
}

/// Both ends of an empty feed.
#[must_use]
pub fn feed() -> (Source, Feed) {
    let (routes, routes_out) = watch::channel(None);
    let (credentials, credentials_out) = watch::channel(Arc::default());
    let (api_keys, api_keys_out) = watch::channel(Arc::default());
    let source = Source {
        routes,
        credentials,
        api_keys,
    };
    let feed = Feed {
        routes: routes_out,
        credentials: credentials_out,
        api_keys: api_keys_out,
    };
    (source, feed)
}

impl Feed {
    pub(super) fn routes(&self) -> Option<Arc<RouteTable>> {
        self.routes.borrow().clone()
    }

    pub(super) fn credentials(&self) -> Arc<Credentials> {
        self.credentials.borrow().clone()
    }

    pub(super) fn api_keys(&self) -> Arc<ApiKeys> {
        self.api_keys.borrow().clone()
    }
}

/// What providers want to see, for each API model. Never printed.
#[derive(Clone, Default)]
pub struct Credentials(HashMap<(Key, String), HeaderValue>);

impl Credentials {
    /// From each model, where its secret key may be sent (see `backend::destination`), and the key, which is sent as a bearer token. One that
    /// cannot be sent (it has a control character) is left out; white space at its ends, as files and `echo` leave it, is not part of it.
    pub fn bearer(secrets: impl IntoIterator<Item = (Key, String, String)>) -> Self {
        let header = |secret: &str| {
            let mut value = HeaderValue::try_from(format!("Bearer {}", secret.trim())).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        let entry = |(model, destination, secret): (Key, String, String)| Some(((model, destination), header(&secret)?));
        Self(secrets.into_iter().filter_map(entry).collect())
    }

    pub(super) fn of(&self, model: &Key, destination: &str) -> Option<&HeaderValue> {
        self.0.get(&(model.clone(), destination.to_owned()))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} models)", self.0.len())
    }
}

/// Who holds an API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// The name of its Secret.
    pub name: String,
    /// The labels of its Secret.
    pub labels: BTreeMap<String, String>,
}

/// The API keys of clients, by the lower-case hexadecimal SHA-256 of the key.
#[derive(Clone, Debug, Default)]
pub struct ApiKeys(HashMap<String, ApiKey>);

impl ApiKeys {
    /// From the hash of each key.
    pub fn new(keys: impl IntoIterator<Item = (String, ApiKey)>) -> Self {
        Self(
            keys.into_iter()
                .map(|(hash, key)| (hash.trim().to_ascii_lowercase(), key))
                .collect(),
        )
    }

    pub(super) fn find(&self, key: &str) -> Option<&ApiKey> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&hex(&Sha256::digest(key)))
    }
}
