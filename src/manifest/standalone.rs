//! The objects of some files as a gateway without a cluster sees them: with the statuses that nobody else gives them, the endpoints that
//! annotations name, and the keys that were given. Whatever is not given keeps a model out, and says which flag gives it.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::Portfolio;
use crate::api::condition::{Claim, Kind};
use crate::api::model_deployment::{ApiSource, ModelDeploymentStatus};
use crate::api::{EvalJob, ModelDeployment, RoutingPolicy};
use crate::plan::backend::{self, Credential};
use crate::plan::names::{API_KEY_LABEL, ENDPOINT_ANNOTATION, Key};
use crate::plan::{model, serving};

/// Values of Secrets from elsewhere than the files, by Secret and key.
pub type GivenSecrets = BTreeMap<(Key, String), String>;

/// What a gateway without a cluster is fed with.
#[derive(Clone, Default)]
pub struct Standalone {
    /// The models, with a status.
    pub models: Vec<Arc<ModelDeployment>>,
    /// The policies.
    pub policies: Vec<Arc<RoutingPolicy>>,
    /// The evaluations, none of which has run.
    pub evaluations: Vec<Arc<EvalJob>>,
    /// Where the engines of self-hosted models answer.
    pub endpoints: BTreeMap<Key, Vec<String>>,
    /// The credential of each API model that has one.
    pub credentials: Vec<(Key, String, String)>,
    /// Clients' keys: the name and labels of each Secret, and the hash in it.
    pub api_keys: Vec<(String, BTreeMap<String, String>, String)>,
}

impl Portfolio {
    /// These objects without a cluster.
    #[must_use]
    pub fn standalone(&self, given: &GivenSecrets, now: Timestamp) -> Standalone {
        let mut seen = Standalone {
            policies: self.policies.iter().map(|p| Arc::new(p.object.clone())).collect(),
            evaluations: self.evaluations.iter().map(|e| Arc::new(e.object.clone())).collect(),
            ..Standalone::default()
        };
        for written in &self.models {
            let mut md = written.object.clone();
            let key = Key::of(&md);
            let claim = match (&md.spec.api, md.annotations().get(ENDPOINT_ANNOTATION)) {
                (Some(api), _) => self
                    .credential(api, &key, given)
                    .map(|found| seen.credentials.extend(found.map(|c| (key.clone(), backend::destination(api), c)))),
                (None, Some(url)) => {
                    seen.endpoints.insert(key, vec![url.clone()]);
                    Ok(())
                }
                (None, None) => Err(Claim::new(
                    Kind::Ready,
                    false,
                    "NoEndpoint",
                    format!(
                        "start its engine, and say where it answers: metadata.annotations: {{{ENDPOINT_ANNOTATION}: \"http://127.0.0.1:8081\"}}"
                    ),
                )),
            };
            let claim = claim.map_or_else(
                |claim| claim,
                |()| Claim::new(Kind::Ready, true, "Given", "what it needs was given"),
            );
            md.status = Some(ModelDeploymentStatus {
                // Nobody is asked here: what was given counts as confirmed.
                confirmed_for: md.spec.api.as_ref().map(backend::destination),
                adapters: md.spec.self_hosted.as_ref().map(serving::adapters::assumed).unwrap_or_default(),
                ..model::described(&md, &[claim], now)
            });
            seen.models.push(Arc::new(md));
        }
        let secrets = self
            .others
            .iter()
            .filter(|o| o.kind == "Secret")
            .filter_map(|o| self.secret(&o.key));
        for secret in secrets.filter(|s| s.labels().get(API_KEY_LABEL).is_some_and(|value| value == "true")) {
            let hash = secret
                .data
                .as_ref()
                .and_then(|data| data.get("sha256"))
                .map(|hash| String::from_utf8_lossy(&hash.0).into_owned());
            seen.api_keys
                .extend(hash.map(|hash| (secret.name_any(), secret.labels().clone(), hash)));
        }
        seen
    }

    /// The credential that an API model's spec names, or why there is none.
    fn credential(&self, api: &ApiSource, key: &Key, given: &GivenSecrets) -> Result<Option<String>, Claim> {
        let Some(reference) = api.credentials.as_ref().map(|c| &c.secret_ref) else {
            return Ok(None);
        };
        let name = Key::new(&key.namespace, &reference.name);
        let mut secret = self.secret(&name);
        if let Some(value) = given.get(&(name.clone(), reference.key.clone())) {
            let data = secret.get_or_insert_default().data.get_or_insert_default();
            data.insert(reference.key.clone(), ByteString(value.clone().into_bytes()));
        }
        match backend::credential(api, &key.namespace, secret.as_ref()) {
            Credential::NotNeeded => Ok(None),
            Credential::Found(value) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
            Credential::Unusable(_) => Err(Claim::new(
                Kind::Ready,
                false,
                "KeyNotGiven",
                format!(
                    "give its key: --secret-from-env {name}:{}=VARIABLE, with the key in that environment variable",
                    reference.key
                ),
            )),
        }
    }

    /// A Secret of the files, with `stringData` as data, as the API server would keep it.
    fn secret(&self, key: &Key) -> Option<Secret> {
        let other = self.others.iter().find(|o| o.kind == "Secret" && o.key == *key)?;
        let mut secret: Secret = serde_json::from_value(other.value.clone()).ok()?;
        for (name, value) in secret.string_data.take().unwrap_or_default() {
            secret.data.get_or_insert_default().insert(name, ByteString(value.into_bytes()));
        }
        Some(secret)
    }

    /// One key of a ConfigMap of the files.
    pub(super) fn config(&self, map: &Key, key: &str) -> Option<Vec<u8>> {
        let other = self.others.iter().find(|o| o.kind == "ConfigMap" && o.key == *map)?;
        let map: ConfigMap = serde_json::from_value(other.value.clone()).ok()?;
        let text = map.data.and_then(|mut data| data.remove(key)).map(String::into_bytes);
        text.or_else(|| map.binary_data.and_then(|mut data| data.remove(key)).map(|bytes| bytes.0))
    }
}
