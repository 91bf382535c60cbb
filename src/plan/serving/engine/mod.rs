//! What an engine is told, from the table of the engines.

mod table;

use std::fmt::Display;

use kube::ResourceExt;

use crate::api::ModelDeployment;
use crate::api::model_deployment::{Engine, EngineKind, SelfHosted};
use crate::plan::Invalid;

use super::source::Weights;
use super::split::Split;

pub(super) use table::traits;

/// An engine as data.
pub(super) struct Traits {
    /// What it runs as, unless the installer or the user says otherwise.
    image: Option<&'static str>,
    /// What it listens on, unless the user says otherwise.
    port: Option<u16>,
    /// What starts the server, where the image's own entry point does not.
    pub(super) command: &'static [&'static str],
    /// The path that answers 200 once the engine can serve.
    pub(super) health: &'static str,
    /// The ending of the one file that it serves; `None`: it takes a folder.
    pub(super) file: Option<&'static str>,
    /// What it is told; `None`: nothing, because nothing is known of it.
    flags: Option<Flags>,
    /// How it is given an adapter; `None`: not under a name that requests can ask for.
    pub(super) lora: Option<Lora>,
    /// How several pods serve one replica together; `None`: they cannot.
    pub(super) group: Option<Group>,
    pub(super) drain: Drain,
}

/// The names of the arguments, in the order in which they are given.
struct Flags {
    /// Before the name of a repository of the hub; `None`: it comes first and alone.
    repository: Option<&'static str>,
    /// Before the revision of the repository; `None`: it cannot be told one.
    revision: Option<&'static str>,
    /// Before the path of weights in a volume; `None`: it comes first and alone.
    path: Option<&'static str>,
    /// Before the name it serves the model under; `None`: it does not look at the name in requests.
    name: Option<&'static str>,
    /// Before the address it listens on.
    host: &'static str,
    /// Before the port it listens on.
    port: &'static str,
    /// What it is always told.
    always: &'static [&'static str],
    /// Before the number of parts of each layer, when there are several; `None`: it uses what devices it finds.
    tensor: Option<&'static str>,
    /// Before the number of stages, when there are several; `None`: it has none.
    pipeline: Option<&'static str>,
}

/// How the pods of a group find each other. The controller of LeaderWorkerSets gives each of them the variables `LWS_GROUP_SIZE`,
/// `LWS_WORKER_INDEX` (0 for the leader) and `LWS_LEADER_ADDRESS`, which Kubernetes puts into arguments.
pub(super) struct Group {
    /// What each pod is told, with those variables.
    each: &'static [&'static str],
    /// What only the workers are told, so that they do not answer requests.
    pub(super) worker: &'static [&'static str],
}

/// How an engine is given an adapter over the base model.
pub(super) struct Lora {
    listed: Listed,
    /// What makes room for them; `live` ones come later, so it does not depend on how many there are.
    room: &'static [&'static str],
    /// Whether the list may name a repository of the hub, under a name of ours.
    pub(super) from_hub: bool,
    /// Whether it takes them while it runs, and what it must be allowed by for that.
    live: Option<(&'static str, &'static str)>,
    /// What the base model answers to beside adapters, where that is not the ModelDeployment's name.
    base: Option<&'static str>,
    asked: Asked,
}

/// Where the adapters are listed, as `NAME=PATH`.
enum Listed {
    /// After these arguments.
    After(&'static [&'static str]),
    /// In this environment variable.
    In(&'static str),
}

/// What a request names to be answered by the adapter.
enum Asked {
    /// The adapter's name.
    Name,
    /// The base model's and the adapter's, with a colon between.
    BaseAndName,
}

/// How long pods stay after they leave routing, so that open answers can end.
pub(super) struct Drain {
    /// Seconds between leaving the endpoints and SIGTERM.
    pub(super) before_stop: i64,
    /// Seconds the engine gets after SIGTERM.
    pub(super) after_stop: i64,
}

/// The image: the user's, the installer's, or the engine's own.
pub(super) fn image(engine: &Engine, installed: Option<&str>) -> Result<String, Invalid> {
    engine
        .image
        .as_deref()
        .or(installed)
        .or(traits(engine.kind).image)
        .map(str::to_owned)
        .ok_or_else(|| {
            Invalid::new(
                "spec.selfHosted.engine.image",
                format!("the engine {} has no image of its own", engine.kind),
                "set it to the image that serves the model",
            )
        })
}

/// The port: the user's or the engine's own.
pub(super) fn port(engine: &Engine) -> Result<u16, Invalid> {
    engine.port.or(traits(engine.kind).port).ok_or_else(|| {
        Invalid::new(
            "spec.selfHosted.engine.port",
            format!("the engine {} has no port of its own", engine.kind),
            "set it to the port the image listens on",
        )
    })
}

/// Whether the operator can tell the engine where its model is.
pub(super) fn takes_weights(kind: EngineKind) -> bool {
    traits(kind).flags.is_some()
}

/// Whether the engine can be told into how many parts it splits a layer, and into how many stages a model.
pub(super) fn takes_split(kind: EngineKind) -> (bool, bool) {
    let flags = traits(kind).flags;
    flags.map_or((false, false), |flags| (flags.tensor.is_some(), flags.pipeline.is_some()))
}

/// Whether the engine can be told a revision of the hub.
pub(super) fn takes_revision(kind: EngineKind) -> bool {
    traits(kind).flags.is_some_and(|flags| flags.revision.is_some())
}

/// The argument that names what the engine serves its model as.
pub(super) fn name_flag(kind: EngineKind) -> Option<&'static str> {
    traits(kind).flags.and_then(|flags| flags.name)
}

/// The arguments that make the engine serve `weights` under the name `served`, before the installer's and the user's own.
pub(super) fn arguments(
    kind: EngineKind,
    served: &str,
    port: u16,
    split: &Split,
    weights: &Weights,
    adapters: &[(String, String)],
) -> Vec<String> {
    let Traits { flags, lora, group, .. } = traits(kind);
    let mut args = Args::default();
    let Some(flags) = flags else { return args.0 };
    match weights {
        Weights::InImage => {}
        Weights::Hub { repository, revision } => {
            args.maybe(flags.repository, repository);
            if let (Some(flag), Some(revision)) = (flags.revision, revision) {
                args.option(flag, revision);
            }
        }
        Weights::Volume { path, .. } | Weights::Fetched { path, .. } => args.maybe(flags.path, path),
        Weights::Image(image) => args.maybe(flags.path, image.place()),
    }
    if let Some(flag) = flags.name {
        args.option(flag, served);
    }
    args.option(flags.host, "0.0.0.0");
    args.option(flags.port, port);
    flags.always.iter().for_each(|flag| args.flag(flag));
    if let Some(flag) = flags.tensor.filter(|_| split.tensor > 1) {
        args.option(flag, split.tensor);
    }
    if let Some(flag) = flags.pipeline.filter(|_| split.pipeline > 1) {
        args.option(flag, split.pipeline);
    }
    if let Some(group) = group.filter(|_| split.nodes > 1) {
        group.each.iter().for_each(|flag| args.flag(flag));
    }
    if let Some(lora) = lora.filter(|_| !adapters.is_empty())
        && let Listed::After(flags) = lora.listed
    {
        flags.iter().for_each(|flag| args.flag(flag));
        entries(adapters).for_each(|entry| args.flag(entry));
        lora.room.iter().for_each(|word| args.flag(word));
    }
    args.0
}

/// The environment variables that the engine needs for the adapters.
pub(super) fn environment(kind: EngineKind, adapters: &[(String, String)]) -> Option<(&'static str, String)> {
    let lora = traits(kind).lora.filter(|_| !adapters.is_empty())?;
    match lora.listed {
        Listed::In(variable) => Some((variable, entries(adapters).collect::<Vec<_>>().join(","))),
        Listed::After(_) => lora.live.map(|(variable, value)| (variable, value.to_owned())),
    }
}

/// Whether adapters are listed in the environment variable of that name.
pub(super) fn is_list(kind: EngineKind, variable: &str) -> bool {
    matches!(traits(kind).lora, Some(Lora { listed: Listed::In(name), .. }) if name == variable)
}

/// How an adapter is listed, in arguments and variables.
pub(super) fn entry(name: &str, path: &str) -> String {
    format!("{name}={path}")
}

fn entries(adapters: &[(String, String)]) -> impl Iterator<Item = String> + '_ {
    adapters.iter().map(|(name, path)| entry(name, path))
}

/// Whether the engine takes adapters while it runs: it can, and the user's own variables do not forbid it.
pub(super) fn is_live(engine: &Engine) -> bool {
    let Some((variable, value)) = traits(engine.kind).lora.and_then(|lora| lora.live) else {
        return false;
    };
    let theirs = engine.env.iter().filter(|theirs| theirs.name == variable);
    theirs.into_iter().all(|theirs| theirs.value.as_deref() == Some(value))
}

/// What the base model answers to beside adapters, where that is not the ModelDeployment's name.
pub(super) fn base(kind: EngineKind) -> Option<&'static str> {
    traits(kind).lora.and_then(|lora| lora.base)
}

/// What a request to the engine of `md` must name so that the model itself answers it, without an adapter.
#[must_use]
pub fn model_name(md: &ModelDeployment, own: &SelfHosted) -> String {
    let has_adapter = own.custom.as_ref().is_some_and(|custom| !custom.adapters.is_empty());
    let base = base(own.engine.kind).filter(|_| has_adapter);
    base.map_or_else(|| md.name_any(), str::to_owned)
}

/// What a request to the engine of `md` must name so that an adapter answers it.
#[must_use]
pub fn adapter_name(md: &ModelDeployment, own: &SelfHosted, adapter: &str) -> String {
    match traits(own.engine.kind).lora {
        Some(Lora {
            asked: Asked::BaseAndName, ..
        }) => format!("{}:{adapter}", model_name(md, own)),
        Some(Lora { asked: Asked::Name, .. }) | None => adapter.to_owned(),
    }
}

#[derive(Default)]
struct Args(Vec<String>);

impl Args {
    fn flag(&mut self, flag: impl Display) {
        self.0.push(flag.to_string());
    }

    fn option(&mut self, name: &str, value: impl Display) {
        self.flag(name);
        self.flag(value);
    }

    fn maybe(&mut self, name: Option<&str>, value: impl Display) {
        if let Some(name) = name {
            self.flag(name);
        }
        self.flag(value);
    }
}
