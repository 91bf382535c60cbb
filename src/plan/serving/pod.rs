//! The inference pod: under the restricted Pod Security profile, probed by what the engine answers, out of routing before it stops.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EmptyDirVolumeSource, EnvVar, HTTPGetAction, ImageVolumeSource, Lifecycle, LifecycleHandler,
    PersistentVolumeClaimVolumeSource, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SleepAction, TopologySpreadConstraint,
    Volume, VolumeMount,
};
use k8s_openapi::api::resource::v1::ResourceClaimTemplate;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use crate::api::model_deployment::SelfHosted;
use crate::api::placement::Spread;
use crate::api::settings::AcceleratorProfile;
use crate::api::{ModelDeployment, Settings};
use crate::plan::cache::Held;
use crate::plan::fetcher::{self, Fetch};
use crate::plan::hub;
use crate::plan::names::{self, FETCHER, PORT_NAME, WEIGHTS};
use crate::plan::{Invalid, restricted};

use super::children::Installation;
use super::source::{self, MODELS, Weights};
use super::startup::Deadlines;
use super::{adapters, claim, engine, oci, split, template};

/// How often a starting pod is asked, in seconds: often, because a model that could answer and does not is idle hardware.
const STARTUP_PERIOD: i32 = 2;

/// The name of the engine's container.
pub(super) const CONTAINER: &str = "engine";
/// Where engines keep what they download.
const CACHE: &str = "/cache";

pub(super) fn template(
    md: &ModelDeployment,
    own: &SelfHosted,
    installation: Installation<'_>,
    held: Option<&Held>,
    profile: AcceleratorProfile,
    claim: Option<&ResourceClaimTemplate>,
    labels: BTreeMap<String, String>,
) -> Result<PodTemplateSpec, Invalid> {
    let own = &hub::named(own, installation.settings);
    let weights = source::weights(own)?;
    let adapters = adapters::read(&md.name_any(), own)?;
    let modules = adapters::list(&adapters);
    let installed = installation.settings.engines.get(&own.engine.kind);
    let port = engine::port(&own.engine)?;
    let deadline = Deadlines::of(own, held, installation.settings).engine;
    let engine::Traits {
        command, health, drain, ..
    } = engine::traits(own.engine.kind);

    let split = split::of(own, &profile)?;
    let mut args = engine::arguments(own.engine.kind, &md.name_any(), port, &split, &weights, &modules);
    args.extend(installed.into_iter().flat_map(|e| e.args.clone()));
    args.extend(own.engine.args.clone());

    let mut storage = Storage::default();
    storage.scratch("tmp", "/tmp", None);
    storage.scratch("cache", CACHE, None);
    // Engines share tensors between processes through it; the runtime's default of 64 MiB is too small.
    storage.scratch("shm", "/dev/shm", Some("Memory"));
    if let Weights::Volume { claim, .. } = &weights {
        storage.claim("models", claim, MODELS);
    }
    let mut init = Vec::new();
    let token = own.source.as_ref().and_then(fetcher::token);
    match (&weights, held, &own.source) {
        (Weights::Fetched { .. }, Some(held), _) => storage.held(held),
        (Weights::Fetched { uri, .. }, None, Some(source)) => {
            let fetch = Fetch {
                name: FETCHER.to_owned(),
                source,
                env: &own.engine.env,
                image: installation.image,
            };
            let args = fetcher::arguments(&["fetch", uri, "--to", MODELS]);
            init.push(fetch.container(args, vec![storage.fetched(WEIGHTS, MODELS)], None));
        }
        (Weights::Image(image), ..) if installation.mounts_images => storage.image(&image.reference),
        (Weights::Image(image), ..) => {
            storage.fetched(WEIGHTS, &image.parent());
            init.push(oci::copier(image, "spec.selfHosted.source.uri")?);
        }
        _ => {}
    }
    for (name, claim, path) in adapters::claims(&adapters, own) {
        storage.claim(&name, &claim, &path);
    }
    if adapters::are_fetched(&adapters) {
        let mount = storage.fetched(adapters::VOLUME, adapters::FETCHED);
        init.extend(adapters::fetches(&adapters, own, installation.image, &mount));
    }
    // What is fetched for the engine needs no token of the engine's; what it downloads itself may.
    let downloads = !matches!(weights, Weights::Fetched { .. }) || adapters::are_downloaded(own);

    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some(engine::image(&own.engine, installed.and_then(|e| e.image.as_deref()))?),
        command: (!command.is_empty()).then(|| command.iter().map(|&word| word.to_owned()).collect()),
        args: Some(args),
        env: Some(environment(
            own,
            token.filter(|_| downloads),
            engine::environment(own.engine.kind, &modules),
        )),
        ports: Some(vec![ContainerPort {
            name: Some(PORT_NAME.to_owned()),
            container_port: port.into(),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        resources: Some(ResourceRequirements {
            claims: claim.map(|_| vec![claim::of_container()]),
            ..resources(own, &profile)
        }),
        // Time to load; then readiness leaves routing after 10 s of silence and liveness restarts after two minutes of it, so that
        // an engine that is merely busy is not killed.
        startup_probe: Some(probe(health, STARTUP_PERIOD, (deadline - 1) / STARTUP_PERIOD + 1, 5)),
        readiness_probe: Some(probe(health, 5, 2, 5)),
        liveness_probe: Some(probe(health, 10, 12, 10)),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction {
                    seconds: drain.before_stop,
                }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        // The end of the log goes into the pod's status when the engine ends badly, and from there into ours.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        security_context: Some(restricted::container()),
        volume_mounts: Some(storage.mounts),
        ..Container::default()
    };

    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            security_context: Some(restricted::pod()),
            runtime_class_name: profile.runtime_class_name,
            resource_claims: claim.map(|template| vec![claim::of_pod(template)]),
            priority_class_name: own.priority_class_name.clone(),
            scheduler_name: own.scheduler_name.clone(),
            topology_spread_constraints: spread(own, &md.name_any()),
            node_selector: (!profile.node_selector.is_empty()).then_some(profile.node_selector),
            tolerations: (!profile.tolerations.is_empty()).then_some(profile.tolerations),
            termination_grace_period_seconds: Some(drain.before_stop + drain.after_stop),
            init_containers: (!init.is_empty()).then_some(init),
            containers: vec![container],
            volumes: Some(storage.volumes),
            ..PodSpec::default()
        }),
    };
    match &own.pod_template {
        Some(written) => template::merge(&template, written),
        None => Ok(template),
    }
}

/// The accelerator profile that the spec names, or one that asks for nothing.
pub(super) fn profile(own: &SelfHosted, settings: &Settings) -> Result<AcceleratorProfile, Invalid> {
    let Some(name) = own.accelerator.as_ref().and_then(|accelerator| accelerator.profile.as_ref()) else {
        return Ok(AcceleratorProfile::default());
    };
    let found = settings.accelerator_profiles.get(name).cloned().ok_or_else(|| {
        let known: Vec<&str> = settings.accelerator_profiles.keys().map(String::as_str).collect();
        let remedy = if known.is_empty() {
            "ask the installer to add it to acceleratorProfiles of the settings, which has none".to_owned()
        } else {
            format!(
                "use one of {}, or ask the installer to add it to acceleratorProfiles of the settings",
                known.join(", ")
            )
        };
        Invalid::new(
            "spec.selfHosted.accelerator.profile",
            format!("there is no profile {name:?}"),
            remedy,
        )
    })?;
    let shares = own.scaling.as_ref().is_some_and(|scaling| scaling.sharing.is_some());
    if shares && found.resource.is_none() {
        return Err(Invalid::new(
            "spec.selfHosted.scaling.sharing",
            format!("the profile {name:?} has no resource that could be shared"),
            "name a profile with one in accelerator.profile, or remove sharing",
        ));
    }
    Ok(found)
}

/// What is odd about how a model shares accelerators, if anything is.
#[must_use]
pub fn doubtful(own: &SelfHosted, settings: &Settings) -> Option<Invalid> {
    own.scaling.as_ref()?.sharing.as_ref()?;
    let name = own.accelerator.as_ref()?.profile.as_ref()?;
    let profile = settings.accelerator_profiles.get(name)?;
    profile.node_selector.is_empty().then(|| {
        let problem = format!(
            "the profile {name:?} has no nodeSelector: nodes without any of its accelerators say that they have too few, also where pods wait for \
             something else, and others make room in vain"
        );
        let remedy = format!("ask the installer to set acceleratorProfiles.{name}.nodeSelector of the settings");
        Invalid::new("spec.selfHosted.scaling.sharing", problem, remedy)
    })
}

fn spread(own: &SelfHosted, name: &str) -> Option<Vec<TopologySpreadConstraint>> {
    let constraint = |spread: &Spread| TopologySpreadConstraint {
        max_skew: spread.max_skew,
        topology_key: spread.topology_key.clone(),
        when_unsatisfiable: format!("{:?}", spread.when_unsatisfiable),
        label_selector: Some(LabelSelector {
            match_labels: Some(names::engine_selector(name)),
            ..LabelSelector::default()
        }),
        ..TopologySpreadConstraint::default()
    };
    let all: Vec<_> = own.topology_spread_constraints.iter().map(constraint).collect();
    (!all.is_empty()).then_some(all)
}

/// What the profile requests, the user's own over it, and the devices. The profile's memory is a limit unless the user asks for memory: the
/// two must not contradict each other.
fn resources(own: &SelfHosted, profile: &AcceleratorProfile) -> ResourceRequirements {
    let theirs = own.resources.clone().unwrap_or_default();
    let mut limits = theirs.limits.unwrap_or_default();
    let mut requests = profile.resources.clone();
    let their_requests = theirs.requests.unwrap_or_default();
    if let Some(memory) = profile.resources.get("memory").filter(|_| !their_requests.contains_key("memory")) {
        limits.entry("memory".to_owned()).or_insert_with(|| memory.clone());
    }
    // A request that the user only limits follows the limit, as Kubernetes has it.
    requests.retain(|name, _| !limits.contains_key(name) || profile.resources.get(name) == limits.get(name));
    requests.extend(their_requests);
    if let (Some(resource), Some(accelerator)) = (&profile.resource, &own.accelerator) {
        limits.insert(resource.clone(), Quantity(accelerator.count.to_string()));
    }
    ResourceRequirements {
        requests: (!requests.is_empty()).then_some(requests),
        limits: (!limits.is_empty()).then_some(limits),
        ..ResourceRequirements::default()
    }
}

/// Home and cache are where the pod may write; `adapters` is what the engine is told of them. The user's own variables win.
fn environment(own: &SelfHosted, token: Option<EnvVar>, adapters: Option<(&str, String)>) -> Vec<EnvVar> {
    let value = |name: &str, value: &str| EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        ..EnvVar::default()
    };
    let mut all = vec![value("HOME", "/tmp"), value("HF_HOME", CACHE), value("LLAMA_CACHE", CACHE)];
    all.extend(token);
    all.extend(adapters.map(|(name, list)| value(name, &list)));
    all.retain(|ours| own.engine.env.iter().all(|theirs| theirs.name != ours.name));
    all.extend(own.engine.env.clone());
    all
}

fn probe(path: &str, period_seconds: i32, failure_threshold: i32, timeout_seconds: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(PORT_NAME.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failure_threshold),
        timeout_seconds: Some(timeout_seconds),
        ..Probe::default()
    }
}

#[derive(Default)]
struct Storage {
    volumes: Vec<Volume>,
    mounts: Vec<VolumeMount>,
}

impl Storage {
    fn scratch(&mut self, name: &str, path: &str, medium: Option<&str>) {
        let empty_dir = EmptyDirVolumeSource {
            medium: medium.map(str::to_owned),
            ..EmptyDirVolumeSource::default()
        };
        self.add(
            Volume {
                name: name.to_owned(),
                empty_dir: Some(empty_dir),
                ..Volume::default()
            },
            path,
            None,
        );
    }

    /// The engine only reads what was fetched or copied, by another mount: that of a fetch is returned.
    fn fetched(&mut self, name: &str, path: &str) -> VolumeMount {
        let volume = Volume {
            name: name.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        };
        self.add(volume, path, Some(true));
        VolumeMount {
            name: name.to_owned(),
            mount_path: path.to_owned(),
            ..VolumeMount::default()
        }
    }

    fn image(&mut self, reference: &str) {
        let image = ImageVolumeSource {
            reference: Some(reference.to_owned()),
            ..ImageVolumeSource::default()
        };
        let volume = Volume {
            name: WEIGHTS.to_owned(),
            image: Some(image),
            ..Volume::default()
        };
        self.add(volume, MODELS, Some(true));
    }

    /// The folder of a cache that holds them.
    fn held(&mut self, held: &Held) {
        self.claim(WEIGHTS, &held.claim, MODELS);
        if let Some(mount) = self.mounts.last_mut() {
            mount.sub_path = Some(held.folder.clone());
        }
    }

    fn claim(&mut self, name: &str, claim: &str, path: &str) {
        let claim = PersistentVolumeClaimVolumeSource {
            claim_name: claim.to_owned(),
            read_only: Some(true),
        };
        self.add(
            Volume {
                name: name.to_owned(),
                persistent_volume_claim: Some(claim),
                ..Volume::default()
            },
            path,
            Some(true),
        );
    }

    fn add(&mut self, volume: Volume, path: &str, read_only: Option<bool>) {
        self.mounts.push(VolumeMount {
            name: volume.name.clone(),
            mount_path: path.to_owned(),
            read_only,
            ..VolumeMount::default()
        });
        self.volumes.push(volume);
    }
}
