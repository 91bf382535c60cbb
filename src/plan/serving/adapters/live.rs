//! What each pod has of the adapters, what it lacks, and what its engine is told about that. Which pods are asked is decided here; whether
//! one has been asked before, its asker remembers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};
use kube::ResourceExt;

use crate::api::model_deployment::{EngineKind, SelfHosted};
use crate::plan::names::{PORT_NAME, adapter_fetcher};
use crate::plan::serving::engine;
use crate::plan::serving::pod::CONTAINER;

use super::{Module, Needs, read};

/// The adapters that an engine has: the path of each, by name.
pub type Has = BTreeMap<String, String>;

/// What one pod is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The pod's uid.
    pub uid: String,
    /// How often its engine has been restarted, after which it has what it starts with.
    pub restarts: i32,
    /// Where the engine answers, such as `http://198.19.0.7:8000`.
    pub url: String,
    /// What it is to have.
    pub wanted: Vec<Module>,
    /// Names that are left as they are: what they mean now, only a pod that comes after this one can have.
    pub left: Vec<String>,
}

/// What an engine said to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What it was asked.
    pub ask: Ask,
    /// What it has, by its own list, read after the last verb.
    pub has: Has,
    /// Its words about the adapters that it refused, by name.
    pub refused: BTreeMap<String, String>,
    /// Why it could not be asked at all.
    pub unanswered: Option<String>,
}

impl Told {
    /// Whether it has what it is to have. Its list decides, no status and no words.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.unanswered.is_none() && verbs(&self.ask, &self.has).is_empty()
    }
}

/// One thing to tell an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Load this one.
    Load {
        /// Which.
        module: Module,
        /// It has one of that name from elsewhere, which goes.
        in_place: bool,
    },
    /// Unload the one of that name.
    Unload(String),
}

impl Verb {
    /// The name that it is about.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Load { module, .. } => &module.name,
            Self::Unload(name) => name,
        }
    }
}

/// What makes an engine that has `has` have what it is asked. What goes goes first, to make room.
#[must_use]
pub fn verbs(ask: &Ask, has: &Has) -> Vec<Verb> {
    let is_known = |name: &String| ask.left.contains(name) || ask.wanted.iter().any(|module| module.name == *name);
    let unload = has.keys().filter(|name| !is_known(name)).cloned().map(Verb::Unload);
    let load = ask.wanted.iter().filter(|module| has.get(&module.name) != Some(&module.path));
    let load = load.map(|module| Verb::Load {
        module: module.clone(),
        in_place: has.contains_key(&module.name),
    });
    unload.chain(load).collect()
}

/// What the pods of the model are to have that take adapters while they run, and run.
#[must_use]
pub fn asks(served: &str, own: &SelfHosted, pods: &[Arc<Pod>]) -> Vec<Ask> {
    let Ok(modules) = read(served, own) else { return vec![] };
    if !engine::is_live(&own.engine) {
        return vec![];
    }
    pods.iter().filter_map(|pod| ask(pod, &modules)).collect()
}

fn ask(pod: &Pod, modules: &[Module]) -> Option<Ask> {
    let takes_them = arguments(pod).any(|argument| argument == "--enable-lora");
    if !takes_them || !is_up(pod) {
        return None;
    }
    let (wanted, left): (Vec<&Module>, Vec<&Module>) = modules.iter().partition(|module| can_have(pod, module));
    Some(Ask {
        uid: pod.uid()?,
        restarts: restarts(pod),
        url: url(pod)?,
        wanted: wanted.into_iter().cloned().collect(),
        left: left.into_iter().map(|module| module.name.clone()).collect(),
    })
}

/// So many restarts are no accident.
const FAILS: i32 = 2;

/// Whether no pod fails to start. One that does may do so for an adapter that its template lists and that is wanted no more: then what the
/// others have is no reason to keep the template.
#[must_use]
pub fn can_start(pods: &[Arc<Pod>]) -> bool {
    let has_failed = |status: &ContainerStatus| {
        let states = [status.state.as_ref(), status.last_state.as_ref()];
        let mut ended = states.into_iter().flatten().filter_map(|state| state.terminated.as_ref());
        // One crash may have any cause, and a restart heals most.
        !status.ready && status.restart_count >= FAILS && ended.any(|ended| ended.exit_code != 0)
    };
    let fails = |pod: &&Arc<Pod>| {
        let Some(status) = &pod.status else { return false };
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten()).any(has_failed)
    };
    !pods.iter().filter(|pod| is_there(pod) && !is_up(pod)).any(|pod| fails(&pod))
}

/// Whether the pod's engine answers: its probes say so, whatever else keeps the pod from being ready.
pub(super) fn is_up(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_true = conditions
        .into_iter()
        .any(|c| (c.type_ == "ContainersReady" || c.type_ == "Ready") && c.status == "True");
    is_true && is_there(pod)
}

/// Whether the pod stays: not one that is being deleted or has ended.
pub(super) fn is_there(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Failed" | "Succeeded"))
}

/// Whether what an adapter needs is in the pod.
pub(super) fn can_have(pod: &Pod, module: &Module) -> bool {
    let Some(spec) = &pod.spec else { return false };
    match &module.needs {
        Needs::Nothing => true,
        Needs::Claim(claim) => {
            let volumes = spec.volumes.iter().flatten();
            let claims = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
            claims.into_iter().any(|volume| volume.claim_name == *claim)
        }
        Needs::Fetched(uri) => {
            let fetcher = adapter_fetcher(&module.name);
            let mut init = spec.init_containers.iter().flatten();
            init.any(|container| container.name == fetcher && container.args.iter().flatten().any(|argument| argument == uri))
        }
    }
}

/// What the pod's engine was started with, of `modules`; not what it has made of them.
pub(super) fn starts_with(pod: &Pod, kind: EngineKind, modules: &[Module]) -> Has {
    let variables = container(pod).into_iter().flat_map(|engine| engine.env.iter().flatten());
    let variables = variables.filter(|variable| engine::is_list(kind, &variable.name));
    let listed: Vec<&str> = variables
        .filter_map(|variable| variable.value.as_deref())
        .flat_map(|list| list.split(','))
        .chain(arguments(pod).map(String::as_str))
        .collect();
    let path_of = |name: &str| listed.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='));
    let has = modules
        .iter()
        .filter_map(|module| Some((module.name.clone(), path_of(&module.name)?.to_owned())));
    has.collect()
}

fn container(pod: &Pod) -> Option<&Container> {
    let mut containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.find(|container| container.name == CONTAINER)
}

fn arguments(pod: &Pod) -> impl Iterator<Item = &String> {
    container(pod).into_iter().flat_map(|engine| engine.args.iter().flatten())
}

fn restarts(pod: &Pod) -> i32 {
    let mut statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses
        .find(|status| status.name == CONTAINER)
        .map_or(0, |status| status.restart_count)
}

fn url(pod: &Pod) -> Option<String> {
    let address: IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    let ports = container(pod)?.ports.iter().flatten();
    let port = ports
        .into_iter()
        .find(|port| port.name.as_deref() == Some(PORT_NAME))?
        .container_port;
    Some(match address {
        IpAddr::V4(address) => format!("http://{address}:{port}"),
        IpAddr::V6(address) => format!("http://[{address}]:{port}"),
    })
}
