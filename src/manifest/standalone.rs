//! The objects of some files as a gateway without a cluster sees them: with the statuses that nobody else gives them, the endpoints that
//! annotations name, and the keys that were given. Whatever is not given keeps a model out, and says which flag gives it.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::{Portfolio, grant};
use crate::api::condition::{Claim, Kind};
use crate::api::model_deployment::{ApiSource, KeyRef, ModelDeploymentStatus};
use crate::api::{EvalJob, ModelDeployment, RoutingPolicy, Settings};
use crate::plan::api_key::{self, ApiKey};
use crate::plan::backend::{self, Held, Material};
use crate::plan::names::{DATA_CLASS_LABEL, ENDPOINT_ANNOTATION, Key, endpoints};
use crate::plan::price::Book;
use crate::plan::routing::{self, Grants, Inputs, Routing, Terms};
use crate::plan::{Invalid, model, serving};

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
    /// What the label `llmportfolio.dev/data-class` of each Namespace says that has one.
    pub namespaces: BTreeMap<String, String>,
    /// Which models of other namespaces policies may name.
    pub grants: Grants,
    /// The terms that policies may block.
    pub terms: Terms,
    /// What the API models need: each that needs anything.
    pub held: Vec<Held>,
    /// Clients' keys: the hash in each Secret, and whose it is.
    pub api_keys: Vec<(String, ApiKey)>,
}

impl Standalone {
    /// Decides which models may answer which names, for whom.
    #[must_use]
    pub fn routing(&self, settings: &Settings, prices: &Book, open_models: bool, now: Timestamp) -> Routing {
        routing::build(&Inputs {
            models: &self.models,
            policies: &self.policies,
            evaluations: &self.evaluations,
            endpoints: &self.endpoints,
            prices,
            namespaces: &self.namespaces,
            grants: &self.grants,
            terms: &self.terms,
            settings,
            open_models,
            now,
        })
    }
}

impl Portfolio {
    /// These objects without a cluster.
    #[must_use]
    pub fn standalone(&self, given: &GivenSecrets, now: Timestamp) -> Standalone {
        let mut seen = Standalone {
            policies: self.policies.iter().map(|p| Arc::new(p.object.clone())).collect(),
            evaluations: self.evaluations.iter().map(|e| Arc::new(e.object.clone())).collect(),
            namespaces: self.labelled_namespaces(),
            grants: self.grants(),
            terms: self.terms(),
            ..Standalone::default()
        };
        for written in &self.models {
            let mut md = written.object.clone();
            let key = Key::of(&md);
            let claim = match (&md.spec.api, md.annotations().get(ENDPOINT_ANNOTATION)) {
                (Some(api), _) => self.held(api, &key, given).map(|held| seen.held.extend(held)),
                (None, Some(urls)) => {
                    seen.endpoints.insert(key, endpoints(urls).map(str::to_owned).collect());
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
        seen.api_keys
            .extend(secrets.filter(api_key::is_one).filter_map(|secret| api_key::read(&secret)));
        seen
    }

    pub(super) fn labelled_namespaces(&self) -> BTreeMap<String, String> {
        let namespaces = self.others.iter().filter(|o| o.kind == "Namespace");
        let said = namespaces.filter_map(|o| {
            let label = o.value.pointer("/metadata/labels")?.get(DATA_CLASS_LABEL)?.as_str()?;
            Some((o.key.name.clone(), label.to_owned()))
        });
        said.collect()
    }

    /// What the ReferenceGrants of the files permit.
    pub(super) fn grants(&self) -> Grants {
        let mut grants = Grants::none(Some("v1beta1"));
        for other in self.others.iter().filter(|other| grant::is_one(other)) {
            if let Ok(spec) = grant::read(other) {
                grants.add(&other.key.namespace, &spec.from, &spec.to);
            }
        }
        grants
    }

    /// The terms of the ConfigMaps that have the label for it.
    pub(super) fn terms(&self) -> Terms {
        let maps = self
            .others
            .iter()
            .filter(|o| o.kind == "ConfigMap")
            .filter_map(|o| self.map(&o.key));
        Terms::of(&maps.collect::<Vec<_>>(), &Terms::default())
    }

    /// What an API model needs, nothing for most that need no credential; or why it is not there.
    fn held(&self, api: &ApiSource, key: &Key, given: &GivenSecrets) -> Result<Option<Held>, Claim> {
        let credential = self.credential(api, key, given)?;
        let authorities = self.authorities(api, key)?;
        Ok((credential.is_some() || authorities.is_some()).then(|| Held {
            model: key.clone(),
            destination: backend::destination(api),
            provider: api.provider,
            credential,
            authorities,
        }))
    }

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
        let is_there = secret.as_ref().is_some_and(|secret| has(secret, &reference.key));
        match backend::credential(api, &key.namespace, secret.as_ref()) {
            Material::NotNeeded => Ok(None),
            Material::Found(value) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
            Material::Unusable(why) if is_there => Err(Claim::new(Kind::Ready, false, "KeyUnusable", why.to_string())),
            Material::Unusable(_) => Err(Claim::new(
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

    fn authorities(&self, api: &ApiSource, key: &Key) -> Result<Option<Vec<u8>>, Claim> {
        let map = api
            .ca_bundle
            .as_ref()
            .and_then(|bundle| self.map(&Key::new(&key.namespace, &bundle.config_map_ref.name)));
        match backend::authorities(api, &key.namespace, map.as_ref()) {
            Material::NotNeeded => Ok(None),
            Material::Found(pem) => Ok(Some(pem)),
            Material::Unusable(why) => {
                let message = format!("{why}; without a cluster the ConfigMap is one of the files");
                Err(Claim::new(Kind::Ready, false, "CertificatesNotGiven", message))
            }
        }
    }

    /// A Secret of the files, with `stringData` as data, as the API server would keep it.
    pub(super) fn secret(&self, key: &Key) -> Option<Secret> {
        let other = self.others.iter().find(|o| o.kind == "Secret" && o.key == *key)?;
        let mut secret: Secret = serde_json::from_value(other.value.clone()).ok()?;
        for (name, value) in secret.string_data.take().unwrap_or_default() {
            secret.data.get_or_insert_default().insert(name, ByteString(value.into_bytes()));
        }
        Some(secret)
    }

    /// A ConfigMap of the files.
    fn map(&self, key: &Key) -> Option<ConfigMap> {
        let other = self.others.iter().find(|o| o.kind == "ConfigMap" && o.key == *key)?;
        serde_json::from_value(other.value.clone()).ok()
    }

    /// One key of a ConfigMap of the files.
    pub(super) fn config(&self, map: &Key, key: &str) -> Option<Vec<u8>> {
        let map = self.map(map)?;
        let text = map.data.and_then(|mut data| data.remove(key)).map(String::into_bytes);
        text.or_else(|| map.binary_data.and_then(|mut data| data.remove(key)).map(|bytes| bytes.0))
    }

    /// What is wrong with the values that an API model's spec names, of those that are in the files.
    pub(super) fn unusable(&self, api: &ApiSource, key: &Key) -> Vec<Invalid> {
        let named = |reference: &KeyRef| Key::new(&key.namespace, &reference.name);
        let credential = api.credentials.as_ref().and_then(|credentials| {
            let reference = &credentials.secret_ref;
            let secret = self.secret(&named(reference)).filter(|secret| has(secret, &reference.key))?;
            Some(backend::credential(api, &key.namespace, Some(&secret)))
        });
        let authorities = api.ca_bundle.as_ref().and_then(|bundle| {
            let reference = &bundle.config_map_ref;
            self.config(&named(reference), &reference.key)?;
            Some(backend::authorities(api, &key.namespace, self.map(&named(reference)).as_ref()))
        });
        let materials = [credential, authorities].into_iter().flatten();
        let why = materials.filter_map(|material| match material {
            Material::Unusable(why) => Some(why),
            Material::NotNeeded | Material::Found(_) => None,
        });
        why.collect()
    }
}

fn has(secret: &Secret, key: &str) -> bool {
    secret.data.as_ref().is_some_and(|data| data.contains_key(key))
}
