//! The backend Secret: the gateway's copy of what one provider's model needs, in the gateway's namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};

use super::address::destination;
use super::material::Materials;
use crate::api::ModelDeployment;
use crate::api::model_deployment::{ApiSource, Provider};
use crate::plan::names::{self, Key};

/// The key of a backend Secret that holds the credential.
pub const CREDENTIAL: &str = "credential";
/// The key of a backend Secret that holds the authorities to trust, in PEM.
pub const AUTHORITIES: &str = "ca.crt";

/// What a gateway holds for one provider's model. Not printed: it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Held {
    /// The ModelDeployment.
    pub model: Key,
    /// Where it may be used: the [`destination`] that it was made for.
    pub destination: String,
    /// Whose it is, which decides how it is shown: see `authorization`.
    pub provider: Provider,
    /// What the provider wants to see.
    pub credential: Option<String>,
    /// The authorities to trust instead of the system's, in PEM.
    pub authorities: Option<Vec<u8>>,
}

/// The gateway's copy of what `md` needs; `None` where it needs nothing, or where something cannot be used.
#[must_use]
pub fn secret(md: &ModelDeployment, api: &ApiSource, materials: &Materials, gateway_namespace: &str) -> Option<Secret> {
    let values = [(CREDENTIAL, &materials.credential), (AUTHORITIES, &materials.authorities)];
    let values = values
        .into_iter()
        .filter_map(|(key, material)| Some((key.to_owned(), ByteString(material.found()?.to_vec()))));
    let data: BTreeMap<String, ByteString> = values.collect();
    (!materials.are_unusable() && !data.is_empty()).then(|| Secret {
        data: Some(data),
        ..empty(md, api, gateway_namespace)
    })
}

/// The backend Secret of `md` without its values.
#[must_use]
pub fn empty(md: &ModelDeployment, api: &ApiSource, gateway_namespace: &str) -> Secret {
    let key = Key::of(md);
    let mut labels = names::labels("backend", names::MODEL_LABEL, &key.name);
    labels.insert(names::BACKEND_LABEL.to_owned(), key.namespace.clone());
    let annotations = [
        (names::DESTINATION_ANNOTATION.to_owned(), destination(api)),
        (names::PROVIDER_ANNOTATION.to_owned(), api.provider.to_string()),
    ];
    Secret {
        metadata: ObjectMeta {
            name: Some(names::backend_secret(&key)),
            namespace: Some(gateway_namespace.to_owned()),
            labels: Some(labels),
            annotations: Some(annotations.into()),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

/// What a backend Secret holds; `None` when it is none.
#[must_use]
pub fn held(secret: &Secret) -> Option<Held> {
    let annotation = |name: &str| secret.metadata.annotations.as_ref()?.get(name).map(String::as_str);
    let value = |key: &str| Some(secret.data.as_ref()?.get(key)?.0.clone());
    let provider = |name: &str| {
        let name: StrDeserializer<'_, Error> = name.into_deserializer();
        Provider::deserialize(name).ok()
    };
    Some(Held {
        model: model_of(secret)?,
        destination: annotation(names::DESTINATION_ANNOTATION)?.to_owned(),
        // Earlier releases did not write it, and showed every key as a bearer token.
        provider: annotation(names::PROVIDER_ANNOTATION).map_or(Some(Provider::OpenAICompatible), provider)?,
        credential: value(CREDENTIAL).map(String::from_utf8).transpose().ok()?,
        authorities: value(AUTHORITIES),
    })
}

/// The model that a backend Secret is for.
#[must_use]
pub fn model_of(secret: &Secret) -> Option<Key> {
    let labels = secret.metadata.labels.as_ref()?;
    Some(Key::new(labels.get(names::BACKEND_LABEL)?, labels.get(names::MODEL_LABEL)?))
}

/// The backend Secrets whose model is gone or no longer needs one.
#[must_use]
pub fn orphans(secrets: &[Arc<Secret>], models: &[Arc<ModelDeployment>]) -> Vec<Key> {
    let needs_one = |md: &&Arc<ModelDeployment>| {
        let api = md.spec.api.as_ref();
        api.is_some_and(|api| api.credentials.is_some() || api.ca_bundle.is_some())
    };
    let wanted: BTreeSet<Key> = models.iter().filter(needs_one).map(|md| Key::of(&**md)).collect();
    let unwanted = |secret: &&Arc<Secret>| model_of(secret).is_some_and(|model| !wanted.contains(&model));
    secrets.iter().filter(unwanted).map(|secret| Key::of(&**secret)).collect()
}
