//! Who may call a name.

use std::collections::BTreeMap;

use crate::api::routing_policy::ClientMatch;

/// Who sent a request, as proved by its credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// A Kubernetes service account.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The holder of an API key.
    ApiKey {
        /// The name of the key's Secret.
        name: String,
        /// The labels of that Secret.
        labels: BTreeMap<String, String>,
    },
    /// Without credentials.
    Anonymous,
}

/// Some clients that may call a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Service accounts of some namespaces; an empty list of names means all.
    ServiceAccounts {
        /// Their namespaces.
        namespaces: Vec<String>,
        /// Their names.
        names: Vec<String>,
    },
    /// API keys whose Secrets carry these labels.
    ApiKeys(BTreeMap<String, String>),
    /// Anyone. Never in a table where the installer does not allow it.
    Anyone,
}

impl Admission {
    pub(super) fn admits(&self, client: &Client) -> bool {
        match (self, client) {
            (Self::Anyone, _) => true,
            (Self::ServiceAccounts { namespaces, names }, Client::ServiceAccount { namespace, name }) => {
                namespaces.contains(namespace) && (names.is_empty() || names.contains(name))
            }
            (Self::ApiKeys(wanted), Client::ApiKey { labels, .. }) => {
                !wanted.is_empty() && wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
            }
            (Self::ServiceAccounts { .. } | Self::ApiKeys(_), _) => false,
        }
    }
}

/// The checked form of `spec.clients`.
pub(super) fn admissions(given: &[ClientMatch], own_namespace: &str, allow_anonymous: bool) -> Vec<Admission> {
    let own = || vec![own_namespace.to_owned()];
    if given.is_empty() {
        return vec![Admission::ServiceAccounts {
            namespaces: own(),
            names: Vec::new(),
        }];
    }
    let mut clients = Vec::new();
    for ClientMatch {
        service_accounts,
        api_keys,
        anonymous,
    } in given
    {
        clients.extend(service_accounts.as_ref().map(|accounts| Admission::ServiceAccounts {
            namespaces: if accounts.namespaces.is_empty() {
                own()
            } else {
                accounts.namespaces.clone()
            },
            names: accounts.names.clone(),
        }));
        clients.extend(api_keys.as_ref().map(|keys| Admission::ApiKeys(keys.match_labels.clone())));
        clients.extend(anonymous.as_ref().filter(|_| allow_anonymous).map(|_| Admission::Anyone));
    }
    clients
}
