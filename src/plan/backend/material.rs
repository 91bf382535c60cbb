//! What a provider's model needs from objects that its spec names: a credential from a Secret, certificates of authorities from a ConfigMap.
//! Each is checked before anything is sent, so that a mistake is named with its remedy. No value is ever part of a message.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde::Deserialize;

use crate::api::model_deployment::{ApiSource, KeyRef, Provider};
use crate::plan::Invalid;
use crate::tls;

/// What one named object holds.
#[derive(Clone, PartialEq, Eq)]
pub enum Material {
    /// The spec names none.
    NotNeeded,
    /// It is there.
    Found(Vec<u8>),
    /// It cannot be used, and why.
    Unusable(Invalid),
}

impl Material {
    /// The value, if there is one.
    #[must_use]
    pub fn found(&self) -> Option<&[u8]> {
        match self {
            Self::Found(value) => Some(value),
            Self::NotNeeded | Self::Unusable(_) => None,
        }
    }
}

/// Everything that a provider's model needs.
#[derive(Clone, PartialEq, Eq)]
pub struct Materials {
    /// What the provider wants to see.
    pub credential: Material,
    /// The authorities to trust instead of the system's, in PEM.
    pub authorities: Material,
}

impl Materials {
    /// What the spec of a model in `namespace` names, in the objects of that name.
    #[must_use]
    pub fn of(api: &ApiSource, namespace: &str, secret: Option<&Secret>, map: Option<&ConfigMap>) -> Self {
        Self {
            credential: credential(api, namespace, secret),
            authorities: authorities(api, namespace, map),
        }
    }

    /// Whether something that the spec names cannot be used: then nothing is sent.
    #[must_use]
    pub fn are_unusable(&self) -> bool {
        self.unusable().is_some()
    }

    /// What cannot be used, with a word for machines.
    pub(super) fn unusable(&self) -> Option<(&'static str, &Invalid)> {
        match (&self.credential, &self.authorities) {
            (Material::Unusable(why), _) => Some(("CredentialsNotFound", why)),
            (_, Material::Unusable(why)) => Some(("CertificatesNotFound", why)),
            _ => None,
        }
    }
}

/// What the named Secret holds for `api`.
#[must_use]
pub fn credential(api: &ApiSource, namespace: &str, secret: Option<&Secret>) -> Material {
    let Some(credentials) = &api.credentials else {
        return Material::NotNeeded;
    };
    let source = Source {
        kind: "Secret",
        namespace,
        field: "spec.api.credentials.secretRef",
        reference: &credentials.secret_ref,
    };
    let values = secret.map(|secret| {
        let data = secret.data.iter().flatten();
        data.map(|(key, value)| (key.as_str(), value.0.as_slice())).collect()
    });
    let checked = source.value(values).and_then(|value| {
        let value = value.trim_ascii();
        match unfit(api.provider, value) {
            None => Ok(value.to_vec()),
            Some((problem, remedy)) => Err(source.unfit(&problem, remedy)),
        }
    });
    checked.map_or_else(Material::Unusable, Material::Found)
}

/// The authorities that the named ConfigMap holds for `api`.
#[must_use]
pub fn authorities(api: &ApiSource, namespace: &str, map: Option<&ConfigMap>) -> Material {
    let Some(bundle) = &api.ca_bundle else { return Material::NotNeeded };
    let source = Source {
        kind: "ConfigMap",
        namespace,
        field: "spec.api.caBundle.configMapRef",
        reference: &bundle.config_map_ref,
    };
    let values = map.map(|map| {
        let texts = map.data.iter().flatten().map(|(key, value)| (key.as_str(), value.as_bytes()));
        let bytes = map.binary_data.iter().flatten();
        texts.chain(bytes.map(|(key, value)| (key.as_str(), value.0.as_slice()))).collect()
    });
    let checked = source.value(values).and_then(|value| match tls::authorities(value) {
        Ok(_) => Ok(value.to_vec()),
        Err(why) => Err(source.unfit(
            &format!("holds no certificates of authorities: {why}"),
            "store them in PEM, each between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----",
        )),
    });
    checked.map_or_else(Material::Unusable, Material::Found)
}

/// One key of an object that a spec names.
struct Source<'a> {
    kind: &'static str,
    namespace: &'a str,
    field: &'static str,
    reference: &'a KeyRef,
}

impl Source<'_> {
    fn named(&self) -> String {
        format!("{} {}/{}", self.kind, self.namespace, self.reference.name)
    }

    fn unfit(&self, problem: &str, remedy: &str) -> Invalid {
        let problem = format!("the value of {:?} in {} {problem}", self.reference.key, self.named());
        Invalid::new(format!("{}.key", self.field), problem, remedy)
    }

    /// The value, from all values of the object if it is there.
    fn value<'v>(&self, values: Option<BTreeMap<&str, &'v [u8]>>) -> Result<&'v [u8], Invalid> {
        let named = self.named();
        let Some(values) = values else {
            let problem = format!("{named} does not exist");
            return Err(Invalid::new(format!("{}.name", self.field), problem, "create it, or name another"));
        };
        values.get(self.reference.key.as_str()).copied().ok_or_else(|| {
            let keys: Vec<&str> = values.keys().copied().collect();
            let has = match keys[..] {
                [] => "no keys".to_owned(),
                _ => format!("only {}", keys.join(", ")),
            };
            let problem = format!("{named} has no key {:?}", self.reference.key);
            let remedy = format!("add it or change the reference; the {} has {has}", self.kind);
            Invalid::new(format!("{}.key", self.field), problem, remedy)
        })
    }
}

/// Why a value is none that `provider` takes, and the remedy.
fn unfit(provider: Provider, value: &[u8]) -> Option<(String, &'static str)> {
    match provider {
        Provider::VertexAI => no_service_account_key(value).map(|why| {
            let remedy = "store the JSON file that Google Cloud makes for a key of a service account, as it is";
            (format!("is no service-account key: {why}"), remedy)
        }),
        Provider::Bedrock => no_aws_key(value).map(|why| {
            let remedy = "store ACCESS_KEY_ID:SECRET_ACCESS_KEY, with :SESSION_TOKEN behind it if there is one, or AWS's JSON with \
                          accessKeyId and secretAccessKey, or a Bedrock API key";
            (format!("is no key of AWS: {why}"), remedy)
        }),
        _ if is_one_line(value) => None,
        _ => Some((
            "is not a credential".to_owned(),
            "store the key as one line of printable characters",
        )),
    }
}

/// What fits into a header.
fn is_one_line(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(u8::is_ascii_graphic)
}

/// The fields without which a key of a service account is none; what it has besides is not needed.
#[derive(Deserialize)]
struct ServiceAccountKey {
    #[serde(rename = "type")]
    kind: Option<String>,
    client_email: Option<String>,
    private_key: Option<String>,
    token_uri: Option<String>,
}

fn no_service_account_key(value: &[u8]) -> Option<String> {
    let Ok(key) = serde_json::from_slice::<ServiceAccountKey>(value) else {
        return Some("it is no JSON object of texts".to_owned());
    };
    if key.kind.as_deref() != Some("service_account") {
        return Some("its type is not service_account".to_owned());
    }
    let needed = [
        ("client_email", &key.client_email),
        ("private_key", &key.private_key),
        ("token_uri", &key.token_uri),
    ];
    let missing = needed.iter().find(|(_, value)| value.as_deref().is_none_or(str::is_empty));
    let is_key = |text: &String| text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----");
    match missing {
        Some((name, _)) => Some(format!("it has no {name}")),
        None if !key.private_key.as_ref().is_some_and(is_key) => Some("its private_key is not in PEM".to_owned()),
        None => None,
    }
}

/// AWS's keys as its tools print them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AwsKeys {
    #[serde(alias = "AccessKeyId")]
    access_key_id: Option<String>,
    #[serde(alias = "SecretAccessKey")]
    secret_access_key: Option<String>,
}

fn no_aws_key(value: &[u8]) -> Option<&'static str> {
    if value.starts_with(b"{") {
        let keys = serde_json::from_slice::<AwsKeys>(value);
        let has = |text: &Option<String>| text.as_ref().is_some_and(|text| is_one_line(text.trim().as_bytes()));
        return match keys {
            Ok(keys) if has(&keys.access_key_id) && has(&keys.secret_access_key) => None,
            Ok(_) => Some("it has no accessKeyId or no secretAccessKey"),
            Err(_) => Some("it is no JSON object of texts"),
        };
    }
    if !is_one_line(value) {
        return Some("it is not one line of printable characters");
    }
    let mut parts = value.splitn(3, |byte| *byte == b':');
    let (id, secret) = (parts.next(), parts.next());
    match (id, secret) {
        (Some([]), _) | (_, Some([])) => Some("one of the two keys is missing"),
        _ => None,
    }
}
