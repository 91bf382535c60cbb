//! What an engine is told, from the table of the engines.

mod table;

use std::fmt::Display;

use kube::ResourceExt;

use crate::api::ModelDeployment;
use crate::api::model_deployment::{Engine, EngineKind, SelfHosted};
use crate::plan::Invalid;

use super::source::Weights;

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
    /// Before the number of devices, when there are several; `None`: it uses what it finds.
    devices: Option<&'static str>,
}

/// How an engine is given an adapter over the base model.
pub(super) struct Lora {
    listed: Listed,
    /// Whether the list may name a repository of the hub, under a name of ours.
    pub(super) from_hub: bool,
    /// Whether the adapter is also known by its own name, besides the ModelDeployment's.
    has_own_name: bool,
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
    devices: i32,
    weights: &Weights,
    adapters: &[(String, String)],
) -> Vec<String> {
    let Traits { flags, lora, .. } = traits(kind);
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
        // With an adapter, the name that clients are routed by means the adapter, not its base.
        let name = if adapters.is_empty() { served.to_owned() } else { base(served) };
        args.option(flag, name);
    }
    args.option(flags.host, "0.0.0.0");
    args.option(flags.port, port);
    flags.always.iter().for_each(|flag| args.flag(flag));
    if let Some(flag) = flags.devices.filter(|_| devices > 1) {
        args.option(flag, devices);
    }
    if let Some(lora) = lora.filter(|_| !adapters.is_empty())
        && let Listed::After(flags) = lora.listed
    {
        flags.iter().for_each(|flag| args.flag(flag));
        lora.list(served, adapters).iter().for_each(|entry| args.flag(entry));
    }
    args.0
}

/// The environment variables that the engine needs for the adapters.
pub(super) fn environment(kind: EngineKind, served: &str, adapters: &[(String, String)]) -> Option<(&'static str, String)> {
    let lora = traits(kind).lora.filter(|_| !adapters.is_empty())?;
    match lora.listed {
        Listed::In(variable) => Some((variable, lora.list(served, adapters).join(","))),
        Listed::After(_) => None,
    }
}

/// What a request to the engine of `md` must name so that the model answers it.
#[must_use]
pub fn model_name(md: &ModelDeployment, own: &SelfHosted) -> String {
    let served = md.name_any();
    let has_adapter = own.custom.as_ref().is_some_and(|custom| !custom.adapters.is_empty());
    match traits(own.engine.kind).lora.filter(|_| has_adapter) {
        Some(Lora {
            asked: Asked::BaseAndName, ..
        }) => format!("{}:{served}", base(&served)),
        Some(Lora { asked: Asked::Name, .. }) | None => served,
    }
}

/// What the base model of `served` answers to, where it has a name.
fn base(served: &str) -> String {
    format!("{served}-base")
}

impl Lora {
    fn list(&self, served: &str, adapters: &[(String, String)]) -> Vec<String> {
        let entries = adapters.iter().flat_map(|(name, path)| {
            let own = self.has_own_name.then(|| format!("{name}={path}"));
            own.into_iter().chain([format!("{served}={path}")])
        });
        entries.collect()
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
