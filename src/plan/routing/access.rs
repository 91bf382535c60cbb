//! Who may call a name.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::api::routing_policy::ClientMatch;
use crate::plan::names::TEAM_LABEL;

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
    /// The holder of a token of an identity provider.
    Jwt {
        /// Who issued it.
        issuer: String,
        /// Whom it is about: its claim `sub`.
        subject: String,
        /// Whom it is for, as far as policies name that.
        audiences: Vec<String>,
        /// The claims that policies look at, each with those of its values that they look for.
        claims: BTreeMap<String, Vec<String>>,
        /// Its claim `team`.
        team: Option<String>,
    },
    /// Without credentials.
    Anonymous,
}

impl Client {
    /// What no other client is called: `sa:namespace/name`, `key:name`, `jwt:issuer#subject` or `anonymous`.
    #[must_use]
    pub fn id(&self) -> Cow<'static, str> {
        match self {
            Self::ServiceAccount { namespace, name } => format!("sa:{namespace}/{name}").into(),
            Self::ApiKey { name, .. } => format!("key:{name}").into(),
            // Unique: an issuer has no fragment.
            Self::Jwt { issuer, subject, .. } => format!("jwt:{issuer}#{subject}").into(),
            Self::Anonymous => "anonymous".into(),
        }
    }

    /// The team that it belongs to: of an API key what the label `llmportfolio.dev/team` of its Secret says, or else `team`; of a token its
    /// claim `team`; of a service account its namespace.
    #[must_use]
    pub fn team(&self) -> Option<&str> {
        match self {
            Self::ServiceAccount { namespace, .. } => Some(namespace),
            Self::ApiKey { labels, .. } => labels.get(TEAM_LABEL).or_else(|| labels.get("team")).map(String::as_str),
            Self::Jwt { team, .. } => team.as_deref(),
            Self::Anonymous => None,
        }
    }
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
    /// Holders of tokens of an issuer.
    Jwt {
        /// Who issued them.
        issuer: String,
        /// Whom they are for: one of these.
        audiences: Vec<String>,
        /// What each of these claims is, or contains.
        claims: BTreeMap<String, String>,
    },
    /// Anyone. Never in a table where the installer does not allow it.
    Anyone,
}

impl Admission {
    /// What no client is: what is left of a list whose every entry is one that the installer does not allow.
    pub(super) fn nobody() -> Self {
        Self::ServiceAccounts {
            namespaces: Vec::new(),
            names: Vec::new(),
        }
    }

    pub(super) fn admits(&self, client: &Client) -> bool {
        match (self, client) {
            (Self::Anyone, _) => true,
            (Self::ServiceAccounts { namespaces, names }, Client::ServiceAccount { namespace, name }) => {
                namespaces.contains(namespace) && (names.is_empty() || names.contains(name))
            }
            (Self::ApiKeys(wanted), Client::ApiKey { labels, .. }) => {
                !wanted.is_empty() && wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
            }
            (
                Self::Jwt { issuer, audiences, claims },
                Client::Jwt {
                    issuer: by,
                    audiences: of,
                    claims: said,
                    ..
                },
            ) => {
                let says = |(name, value): (&String, &String)| said.get(name).is_some_and(|values| values.contains(value));
                issuer == by && audiences.iter().any(|audience| of.contains(audience)) && claims.iter().all(says)
            }
            (Self::ServiceAccounts { .. } | Self::ApiKeys(_) | Self::Jwt { .. }, _) => false,
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
        jwt,
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
        clients.extend(jwt.as_ref().map(|jwt| Admission::Jwt {
            issuer: jwt.issuer.clone(),
            audiences: jwt.audiences.clone(),
            claims: jwt.claims.clone(),
        }));
        clients.extend(anonymous.as_ref().filter(|_| allow_anonymous).map(|_| Admission::Anyone));
    }
    clients
}
