//! An API ModelDeployment: its credentials, the backend Secret that the gateway reads, and what the provider said to them.
//!
//! ```text
//! Secret (the user's, same namespace) ──► checked with the provider ──► Secret backend.NAMESPACE.NAME (the gateway's namespace)
//! ```
//! The backend Secret is in another namespace than its owner, where owner references do not reach: `orphans` finds what must go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use crate::api::ModelDeployment;
use crate::api::condition::{Claim, Kind, Status};
use crate::api::model_deployment::{ApiSource, ModelDeploymentStatus, Provider};

use super::names::{self, Key};
use super::{Invalid, fingerprint, model};

/// The key of a backend Secret that holds the credential.
pub const CREDENTIAL: &str = "credential";

/// What the credentials Secret holds.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// The spec names none.
    NotNeeded,
    /// It is there.
    Found(Vec<u8>),
    /// It cannot be used, and why.
    Unusable(Invalid),
}

/// What the provider said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It accepts the credentials.
    Accepted,
    /// It refuses them, with this HTTP status.
    Rejected(u16),
    /// It could not be asked, or answered something else; the text says what, without addresses of ours.
    Unreachable(String),
}

/// Where the provider's API is: the user's endpoint or the provider's own, without a slash at the end.
#[must_use]
pub fn base_url(api: &ApiSource) -> String {
    let own = match api.provider {
        Provider::OpenAI => "https://api.openai.com/v1",
        Provider::Anthropic => "https://api.anthropic.com/v1",
        // The schema's rule requires an endpoint; without one nothing resolves, and the status says so.
        Provider::OpenAICompatible => "",
    };
    api.endpoint.as_deref().unwrap_or(own).trim_end_matches('/').to_owned()
}

/// A digest of where requests to `api` go and which Secret they are allowed with. A credential is sent only where this is unchanged since it
/// was confirmed: after an edit of both, the new endpoint must not see the old key.
#[must_use]
pub fn destination(api: &ApiSource) -> String {
    fingerprint::digest(&(api.provider, base_url(api), &api.credentials))
}

/// Whether the provider has confirmed the credentials of `md` for where it points now.
#[must_use]
pub fn is_confirmed(md: &ModelDeployment, api: &ApiSource) -> bool {
    md.status.as_ref().and_then(|status| status.confirmed_for.as_deref()) == Some(destination(api).as_str())
}

/// The request that shows whether a provider accepts a credential: its URL, and its headers.
#[must_use]
pub fn probe(api: &ApiSource, credential: &str) -> (String, Vec<(&'static str, String)>) {
    let headers = match api.provider {
        _ if credential.is_empty() => vec![],
        Provider::Anthropic => vec![("x-api-key", credential.to_owned()), ("anthropic-version", "2023-06-01".to_owned())],
        Provider::OpenAI | Provider::OpenAICompatible => vec![("authorization", format!("Bearer {credential}"))],
    };
    (format!("{}/models", base_url(api)), headers)
}

/// What the named Secret holds for `api`.
#[must_use]
pub fn credential(api: &ApiSource, namespace: &str, secret: Option<&Secret>) -> Credential {
    let Some(reference) = api.credentials.as_ref().map(|c| &c.secret_ref) else {
        return Credential::NotNeeded;
    };
    let named = format!("Secret {namespace}/{}", reference.name);
    let unusable = |field: &str, problem: String, remedy: String| {
        Credential::Unusable(Invalid::new(format!("spec.api.credentials.secretRef.{field}"), problem, remedy))
    };
    let Some(secret) = secret else {
        return unusable("name", format!("{named} does not exist"), "create it, or name another".to_owned());
    };
    match secret.data.as_ref().and_then(|data| data.get(&reference.key)) {
        None => {
            let keys: Vec<&str> = secret.data.iter().flatten().map(|(k, _)| k.as_str()).collect();
            let has = if keys.is_empty() {
                "no keys".to_owned()
            } else {
                format!("only {}", keys.join(", "))
            };
            unusable(
                "key",
                format!("{named} has no key {:?}", reference.key),
                format!("add it or change the reference; the Secret has {has}"),
            )
        }
        Some(ByteString(value)) => {
            let trimmed = value.trim_ascii();
            if trimmed.is_empty() || !trimmed.iter().all(u8::is_ascii_graphic) {
                let problem = format!("the value of {:?} in {named} is not a credential", reference.key);
                return unusable("key", problem, "store the key as one line of printable characters".to_owned());
            }
            Credential::Found(trimmed.to_vec())
        }
    }
}

/// The gateway's copy of a credential.
#[must_use]
pub fn secret(md: &ModelDeployment, credential: Vec<u8>, gateway_namespace: &str) -> Secret {
    let key = Key::of(md);
    let mut labels = names::labels("backend", names::MODEL_LABEL, &key.name);
    labels.insert(names::BACKEND_LABEL.to_owned(), key.namespace.clone());
    Secret {
        metadata: ObjectMeta {
            name: Some(names::backend_secret(&key)),
            namespace: Some(gateway_namespace.to_owned()),
            labels: Some(labels),
            annotations: md
                .spec
                .api
                .as_ref()
                .map(|api| BTreeMap::from([(names::DESTINATION_ANNOTATION.to_owned(), destination(api))])),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".to_owned()),
        data: Some(BTreeMap::from([(CREDENTIAL.to_owned(), ByteString(credential))])),
        ..Secret::default()
    }
}

/// Where the credential of a backend Secret may be sent.
#[must_use]
pub fn destination_of(secret: &Secret) -> Option<String> {
    secret.metadata.annotations.as_ref()?.get(names::DESTINATION_ANNOTATION).cloned()
}

/// The model that a backend Secret is for.
#[must_use]
pub fn model_of(secret: &Secret) -> Option<Key> {
    let labels = secret.metadata.labels.as_ref()?;
    Some(Key::new(labels.get(names::BACKEND_LABEL)?, labels.get(names::MODEL_LABEL)?))
}

/// The backend Secrets whose model is gone or no longer has credentials.
#[must_use]
pub fn orphans(secrets: &[Arc<Secret>], models: &[Arc<ModelDeployment>]) -> Vec<Key> {
    let with_credentials = |md: &&Arc<ModelDeployment>| md.spec.api.as_ref().is_some_and(|api| api.credentials.is_some());
    let wanted: BTreeSet<Key> = models.iter().filter(with_credentials).map(|md| Key::of(&**md)).collect();
    let unwanted = |secret: &&Arc<Secret>| model_of(secret).is_some_and(|model| !wanted.contains(&model));
    secrets.iter().filter(unwanted).map(|secret| Key::of(&**secret)).collect()
}

/// The status of `md`, an API model, from its credential and the provider's answer; `None` while the provider has not been asked.
///
/// A model that was confirmed stays `Ready` while its destination is the same and its key is not refused: an edit of its price or a provider
/// that does not answer one check is no reason to take it out of traffic. The gateway falls back by itself.
#[must_use]
pub fn status(
    md: &ModelDeployment,
    api: &ApiSource,
    credential: &Credential,
    answer: Option<&Answer>,
    now: Timestamp,
) -> ModelDeploymentStatus {
    let mut claims = vec![Claim::new(Kind::Accepted, true, "Valid", "the specification can be carried out")];
    let provider = api.provider;
    let confirmed = is_confirmed(md, api) && !matches!(credential, Credential::Unusable(_));
    let mut both = |status: Status, reason: &'static str, message: String, aside: Kind| {
        claims.push(Claim {
            kind: Kind::CredentialsResolved,
            status,
            reason,
            message: message.clone(),
        });
        claims.push(Claim {
            kind: Kind::Ready,
            status,
            reason,
            message: message.clone(),
        });
        if status != Status::True {
            claims.push(Claim::new(aside, true, reason, message));
        }
    };
    match (credential, answer) {
        // It may be about to be made: everything can be applied in any order.
        (Credential::Unusable(why), _) => both(Status::False, "CredentialsNotFound", why.to_string(), Kind::Reconciling),
        (_, None) if confirmed => both(
            Status::True,
            "ProviderAnswers",
            format!("{provider} accepts the credentials"),
            Kind::Stalled,
        ),
        (_, Some(Answer::Unreachable(why))) if confirmed => {
            let message = format!("{provider} accepts the credentials; its latest check got no answer: {why}");
            both(Status::True, "ProviderAnswers", message, Kind::Stalled);
        }
        (_, None) => both(
            Status::Unknown,
            "AskingProvider",
            format!("asking {provider} whether it accepts the credentials"),
            Kind::Reconciling,
        ),
        (_, Some(Answer::Accepted)) => both(
            Status::True,
            "ProviderAnswers",
            format!("{provider} accepts the credentials"),
            Kind::Stalled,
        ),
        (_, Some(Answer::Rejected(code))) => {
            let named = api.credentials.as_ref().map_or_else(
                || "spec.api.credentials: none are given; name a Secret with a key".to_owned(),
                |c| {
                    format!(
                        "correct the key {:?} of Secret {:?} (spec.api.credentials.secretRef)",
                        c.secret_ref.key, c.secret_ref.name
                    )
                },
            );
            both(
                Status::False,
                "CredentialsRejected",
                format!("{provider} refuses the credentials with HTTP {code}; {named}"),
                Kind::Stalled,
            );
        }
        (_, Some(Answer::Unreachable(why))) => {
            let message = format!(
                "{provider} does not answer at {}: {why}; check spec.api.endpoint and the network. It is asked again",
                base_url(api)
            );
            both(Status::False, "ProviderUnreachable", message, Kind::Reconciling);
        }
    }
    let is_ready = claims.iter().any(|claim| claim.kind == Kind::Ready && claim.status == Status::True);
    ModelDeploymentStatus {
        confirmed_for: is_ready.then(|| destination(api)),
        ..model::described(md, &claims, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn md(yaml: &str) -> ModelDeployment {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn gpt() -> ModelDeployment {
        md("
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: gpt, namespace: claims, generation: 3}
spec: {api: {provider: OpenAI, model: gpt-5, credentials: {secretRef: {name: openai, key: api-key}}}}
")
    }

    fn holding(key: &str, value: &str) -> Secret {
        Secret {
            data: Some(BTreeMap::from([(key.to_owned(), ByteString(value.into()))])),
            ..Secret::default()
        }
    }

    fn why(secret: Option<&Secret>) -> String {
        match credential(gpt().spec.api.as_ref().unwrap(), "claims", secret) {
            Credential::Unusable(invalid) => invalid.to_string(),
            _ => String::new(),
        }
    }

    #[test]
    fn an_unusable_secret_is_named_with_what_to_do() {
        assert_eq!(
            why(None),
            "spec.api.credentials.secretRef.name: Secret claims/openai does not exist; create it, or name another"
        );
        let other = holding("token", "x");
        let expected = "spec.api.credentials.secretRef.key: Secret claims/openai has no key \"api-key\"; add it or change the reference; the Secret has only token";
        assert_eq!(why(Some(&other)), expected);
        assert!(why(Some(&holding("api-key", " \n"))).contains("is not a credential"));
        assert!(why(Some(&holding("api-key", "a\nb"))).contains("is not a credential"));
    }

    #[test]
    fn the_newline_that_editors_add_is_not_part_of_the_key() {
        let found = credential(gpt().spec.api.as_ref().unwrap(), "claims", Some(&holding("api-key", "sk-1\n")));
        assert!(found == Credential::Found(b"sk-1".to_vec()));
    }

    #[test]
    fn a_rejected_key_stalls_and_an_unreachable_provider_is_asked_again() {
        let gpt = gpt();
        let api = gpt.spec.api.as_ref().unwrap();
        let status = |answer: Option<Answer>| super::status(&gpt, api, &Credential::NotNeeded, answer.as_ref(), Timestamp::UNIX_EPOCH);
        let words = |s: &ModelDeploymentStatus| {
            s.conditions
                .iter()
                .map(|c| format!("{}={} {}", c.type_, c.status, c.reason))
                .collect::<Vec<_>>()
                .join(", ")
        };
        assert_eq!(
            words(&status(Some(Answer::Rejected(401)))),
            "Accepted=True Valid, CredentialsResolved=False CredentialsRejected, Ready=False CredentialsRejected, Stalled=True CredentialsRejected"
        );
        assert_eq!(
            words(&status(Some(Answer::Unreachable("connection refused".into())))),
            "Accepted=True Valid, CredentialsResolved=False ProviderUnreachable, Ready=False ProviderUnreachable, Reconciling=True ProviderUnreachable"
        );
        assert_eq!(
            words(&status(Some(Answer::Accepted))),
            "Accepted=True Valid, CredentialsResolved=True ProviderAnswers, Ready=True ProviderAnswers"
        );
        assert!(words(&status(None)).contains("Ready=Unknown AskingProvider"));
    }

    #[test]
    fn a_confirmed_model_keeps_its_traffic_unless_it_points_elsewhere_or_is_refused() {
        let mut confirmed = gpt();
        let ready = |md: &ModelDeployment, answer: Option<Answer>| {
            let status = super::status(
                md,
                md.spec.api.as_ref().unwrap(),
                &Credential::Found(b"sk".to_vec()),
                answer.as_ref(),
                Timestamp::UNIX_EPOCH,
            );
            let ready = status.conditions.iter().find(|c| c.type_ == "Ready").unwrap().status.clone();
            (status, ready)
        };
        let silent = || Some(Answer::Unreachable("timed out".to_owned()));
        assert_eq!(ready(&confirmed, silent()).1, "False", "never confirmed");
        confirmed.status = Some(ready(&confirmed, Some(Answer::Accepted)).0);
        confirmed.spec.tier = crate::api::model_deployment::Tier::Regulated;
        assert_eq!(
            (ready(&confirmed, None).1, ready(&confirmed, silent()).1),
            ("True".to_owned(), "True".to_owned())
        );
        assert_eq!(ready(&confirmed, Some(Answer::Rejected(401))).1, "False");
        let mut elsewhere = confirmed.clone();
        elsewhere.spec.api.as_mut().unwrap().endpoint = Some("https://elsewhere.example.com/v1".to_owned());
        assert_eq!(ready(&elsewhere, None).1, "Unknown");
        let held = secret(&confirmed, b"sk".to_vec(), "llm");
        assert_eq!(destination_of(&held), confirmed.spec.api.as_ref().map(destination));
        let new = elsewhere.spec.api.as_ref().map(destination);
        assert_ne!(destination_of(&held), new, "the new endpoint must not see the old key");
    }

    #[test]
    fn a_backend_secret_goes_with_its_model_or_with_its_need() {
        let gpt = Arc::new(gpt());
        let held = Arc::new(secret(&gpt, b"sk".to_vec(), "llm"));
        assert!(orphans(std::slice::from_ref(&held), std::slice::from_ref(&gpt)).is_empty());
        assert_eq!(orphans(std::slice::from_ref(&held), &[]), [Key::new("llm", "backend.claims.gpt")]);
        let mut own = (*gpt).clone();
        own.spec.api = None;
        assert_eq!(orphans(&[held], &[Arc::new(own)]).len(), 1);
    }
}
