//! Writing: apply, prune, status and events, each silent when nothing would change.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::resource::v1::ResourceClaimTemplate;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Status;
use kube::core::object::HasStatus;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::{EvalJob, ModelDeployment, RoutingPolicy};
use crate::plan::fingerprint::digest;
use crate::plan::leader_worker_set::LeaderWorkerSet;
use crate::plan::names::{APPLIED_ANNOTATION, FIELD_MANAGER, Key, MANAGED_BY};
use crate::plan::scaled_object::ScaledObject;

use super::look::Looks;
use super::{Known, Optional, gate};

/// What can go wrong at the door.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or could not be reached.
    #[error("{action} {kind} {key}")]
    Api {
        /// What was attempted.
        action: &'static str,
        /// The kind of object.
        kind: String,
        /// Which object.
        key: Key,
        /// What the server or the connection said.
        source: kube::Error,
    },
    /// The API server understands what is asked and does not want it: invalid, over quota, against a policy, not permitted.
    #[error("the API server refuses {kind} {key}: {message}")]
    Refused {
        /// The kind of object.
        kind: String,
        /// Which object.
        key: Key,
        /// Its words.
        message: String,
    },
    /// The namespace is being deleted.
    #[error("{kind} {key} cannot be made: its namespace is being deleted")]
    Terminating {
        /// The kind of object.
        kind: String,
        /// Which object.
        key: Key,
    },
    /// The name of a child is taken by an object that is not ours; it is left alone.
    #[error("{kind} {key} exists and does not belong to this object; rename or delete it")]
    NameTaken {
        /// The kind of object.
        kind: String,
        /// Which object.
        key: Key,
    },
}

/// A kind that we write.
pub trait Owned:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Serialize + DeserializeOwned + Debug + Send + Sync + 'static
{
    /// What is known of it.
    fn known(stores: &Stores) -> &Known<Self>;
}

macro_rules! stores {
    ($($(#[$doc:meta])* $field:ident: $kind:ty,)*; $($(#[$read_doc:meta])* $read:ident: $read_kind:ty,)*) => {
        /// What the watches show.
        pub struct Stores {
            $($(#[$doc])* pub $field: Arc<Known<$kind>>,)*
            $($(#[$read_doc])* pub $read: Arc<Known<$read_kind>>,)*
        }
        $(impl Owned for $kind {
            fn known(stores: &Stores) -> &Known<Self> {
                &stores.$field
            }
        })*
    };
}

stores! {
    /// Every ModelDeployment.
    models: ModelDeployment,
    /// Every RoutingPolicy.
    policies: RoutingPolicy,
    /// Every EvalJob.
    evaluations: EvalJob,
    /// Deployments of ours.
    deployments: Deployment,
    /// Services of ours.
    services: Service,
    /// Network policies of ours.
    networks: NetworkPolicy,
    /// Disruption budgets of ours.
    budgets: PodDisruptionBudget,
    /// Templates of claims for devices, of ours.
    claims: ResourceClaimTemplate,
    /// Claims for volumes, of ours.
    volumes: PersistentVolumeClaim,
    /// Groups of pods, of ours.
    groups: LeaderWorkerSet,
    /// HorizontalPodAutoscalers of ours, and of KEDA for us.
    autoscalers: HorizontalPodAutoscaler,
    /// ScaledObjects of ours.
    scaled_objects: ScaledObject,
    /// Jobs of ours.
    jobs: Job,
    /// Pods of ours.
    pods: Pod,
    /// The addresses behind our Services.
    slices: EndpointSlice,
    /// Backend Secrets, in the gateway's namespace.
    backends: Secret,
    ;
    // Only read.
    /// Namespaces with a class of data.
    namespaces: Namespace,
    /// ConfigMaps with terms that policies may block.
    terms: ConfigMap,
    /// All that scale something, whoever's they are.
    scalers: HorizontalPodAutoscaler,
}

/// The door.
pub struct Cluster {
    pub(super) client: Client,
    recorder: Recorder,
    pub(super) looks: Looks,
    /// Whether there are LeaderWorkerSets.
    pub groups: Optional,
    /// Whether there are ScaledObjects.
    pub keda: Optional,
    /// What the watches show.
    pub stores: Stores,
}

impl Cluster {
    /// Over a client and what its watches show.
    #[must_use]
    pub fn new(client: Client, stores: Stores) -> Self {
        let reporter = Reporter {
            controller: format!("{MANAGED_BY}.dev/operator"),
            instance: std::env::var("HOSTNAME").ok(),
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            looks: Looks::default(),
            groups: Optional::new(client.clone()),
            keda: Optional::new(client.clone()),
            client,
            stores,
        }
    }

    /// Whether the API server has LeaderWorkerSets: asked for as long as it has not.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn serves_groups(&self) -> Result<bool, Error> {
        let served = self.groups.is_served::<LeaderWorkerSet>().await;
        served.map_err(failed::<LeaderWorkerSet>("looking for the kind", &Key::new("", "")))
    }

    pub(super) fn api<K: Owned>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Makes the live object hold `desired`, and returns it as the server has it. Sends nothing when it already does.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached, or when the name belongs to somebody else.
    pub async fn apply<K: Owned>(&self, desired: &K) -> Result<Arc<K>, Error> {
        let key = Key::of(desired);
        let known = K::known(&self.stores);
        let mut body = serde_json::to_value(desired).map_err(|e| failed::<K>("writing", &key)(kube::Error::SerdeError(e)))?;
        let hash = digest(&body);
        let live = match known.get(&key) {
            Some(live) => Some(live),
            // Not among ours: either new, or the name is somebody else's.
            None => self
                .api::<K>(&key.namespace)
                .get_opt(&key.name)
                .await
                .map_err(failed::<K>("reading", &key))?
                .map(Arc::new),
        };
        if let Some(live) = live {
            if !is_ours(&*live, desired) {
                return Err(Error::NameTaken {
                    kind: K::kind(&()).into_owned(),
                    key,
                });
            }
            let same_hash = live.annotations().get(APPLIED_ANNOTATION) == Some(&hash);
            if same_hash && serde_json::to_value(&*live).is_ok_and(|live| gate::covers(&live, &body)) {
                return Ok(live);
            }
        }
        body["metadata"]["annotations"][APPLIED_ANNOTATION] = Value::String(hash);
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let applied = self
            .api::<K>(&key.namespace)
            .patch(&key.name, &parameters, &Patch::Apply(&body))
            .await;
        let applied = applied.map_err(refusal::<K>("applying", &key))?;
        tracing::info!(kind = %K::kind(&()), %key, "applied");
        Ok(known.remember(applied))
    }

    /// Makes an object that never changes afterwards, unless one of its name is there already, and returns it.
    ///
    /// # Errors
    /// As `apply`.
    pub async fn make_once<K: Owned>(&self, desired: &K) -> Result<Arc<K>, Error> {
        let key = Key::of(desired);
        let known = K::known(&self.stores);
        if let Some(live) = known.get(&key) {
            return Ok(live);
        }
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let api = self.api::<K>(&key.namespace);
        let made = match api.create(&parameters, desired).await {
            // Made by a reconcile whose write has not come back, or by somebody else.
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {
                let live = api.get(&key.name).await.map_err(failed::<K>("reading", &key))?;
                if !is_ours(&live, desired) {
                    return Err(Error::NameTaken {
                        kind: K::kind(&()).into_owned(),
                        key,
                    });
                }
                live
            }
            made => made.map_err(refusal::<K>("making", &key))?,
        };
        tracing::info!(kind = %K::kind(&()), %key, "made");
        Ok(known.remember(made))
    }

    /// Applies the object, or removes the one of that name when there should be none.
    ///
    /// # Errors
    /// As `apply` and `prune`.
    pub async fn apply_or_prune<K: Owned>(&self, desired: Option<&K>, key: &Key) -> Result<(), Error> {
        match desired {
            Some(desired) => self.apply(desired).await.map(drop),
            None => self.prune::<K>(key).await,
        }
    }

    /// Removes an object of ours. Sends nothing when there is none.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn prune<K: Owned>(&self, key: &Key) -> Result<(), Error> {
        let known = K::known(&self.stores);
        let Some(live) = known.get(key).filter(|live| live.meta().deletion_timestamp.is_none()) else {
            return Ok(());
        };
        let exactly_this = Preconditions {
            uid: live.uid(),
            resource_version: None,
        };
        let parameters = DeleteParams {
            preconditions: Some(exactly_this),
            ..DeleteParams::background()
        };
        match self.api::<K>(&key.namespace).delete(&key.name, &parameters).await {
            Ok(_) => tracing::info!(kind = %K::kind(&()), %key, "removed"),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(source) => return Err(failed::<K>("removing", key)(source)),
        }
        known.forget(key);
        Ok(())
    }

    /// Writes the status of an object, with an event when `Ready` changed its mind. Sends nothing when it is equal.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn set_status<K>(&self, object: &K, status: K::Status) -> Result<(), Error>
    where
        K: Owned + HasStatus,
        K::Status: Serialize + PartialEq,
    {
        if object.status() == Some(&status) {
            return Ok(());
        }
        let key = Key::of(object);
        let before = ready(&serde_json::to_value(object.status()).unwrap_or_default());
        let body = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": { "name": key.name, "namespace": key.namespace, "uid": object.uid() },
            "status": status,
        });
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let written = self
            .api::<K>(&key.namespace)
            .patch_status(&key.name, &parameters, &Patch::Apply(&body))
            .await;
        let written = written.map_err(failed::<K>("writing the status of", &key))?;
        K::known(&self.stores).remember(written);
        let after = ready(&body["status"]);
        if let Some((status, reason, message)) = after
            .as_ref()
            .filter(|after| before.as_ref().map(|b| (&b.0, &b.1)) != Some((&after.0, &after.1)))
        {
            tracing::info!(kind = %K::kind(&()), %key, ready = %status, %reason, "{message}");
            self.note(object, status != "False", reason, message).await;
        }
        Ok(())
    }

    /// Notes an event on an object. A lost event is not worth a retry: the status says the same.
    pub async fn note<K: Owned>(&self, object: &K, is_normal: bool, reason: &str, message: &str) {
        let event = Event {
            type_: if is_normal { EventType::Normal } else { EventType::Warning },
            reason: reason.to_owned(),
            note: Some(message.chars().take(900).collect()),
            // Events of one action and reason are counted as one, with the words of the first: another message is another action.
            action: format!("Reconcile-{}", digest(&json!(message))),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &object.object_ref(&())).await {
            tracing::debug!(%error, "an event was not recorded");
        }
    }

    /// Reads one named Secret. Needs `get` on it; Secrets are never listed.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn secret(&self, key: &Key) -> Result<Option<Secret>, Error> {
        self.api::<Secret>(&key.namespace)
            .get_opt(&key.name)
            .await
            .map_err(failed::<Secret>("reading", key))
    }

    /// Reads one named ConfigMap.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn config_map(&self, key: &Key) -> Result<Option<ConfigMap>, Error> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &key.namespace);
        api.get_opt(&key.name).await.map_err(failed::<ConfigMap>("reading", key))
    }
}

/// Whether the server refuses because the namespace is going.
fn is_terminating(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// Whether a live object is the child that `desired` means: by its controller, or, where owner references do not reach, by our labels.
fn is_ours<K: Resource>(live: &K, desired: &K) -> bool {
    let controller = |o: &K| {
        o.owner_references()
            .iter()
            .find(|r| r.controller == Some(true))
            .map(|r| r.uid.clone())
    };
    match controller(desired) {
        Some(owner) => controller(live) == Some(owner),
        None => desired.labels().iter().all(|(name, value)| live.labels().get(name) == Some(value)),
    }
}

/// The status, reason and message of `Ready` in a status.
fn ready(status: &Value) -> Option<(String, String, String)> {
    let ready = status["conditions"].as_array()?.iter().find(|c| c["type"] == "Ready")?;
    let text = |field: &str| ready[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason"), text("message")))
}

/// What a write that the server did not carry out means.
pub(super) fn refusal<K: Resource<DynamicType = ()>>(action: &'static str, key: &Key) -> impl FnOnce(kube::Error) -> Error {
    let key = key.clone();
    let kind = K::kind(&()).into_owned();
    move |error| match error {
        kube::Error::Api(status) if is_terminating(&status) => Error::Terminating { kind, key },
        kube::Error::Api(status) if [400, 403, 422].contains(&status.code) => Error::Refused {
            kind,
            key,
            message: status.message.clone(),
        },
        error => failed::<K>(action, &key)(error),
    }
}

pub(super) fn failed<K: Resource<DynamicType = ()>>(action: &'static str, key: &Key) -> impl FnOnce(kube::Error) -> Error {
    let key = key.clone();
    move |source| Error::Api {
        action,
        kind: K::kind(&()).into_owned(),
        key,
        source,
    }
}
