//! The adapters of a model: what the specification says of each, what it means for a pod, and which of them pods take while they run.
//!
//! ```text
//!   specification ── `read` ──► modules ──► what pods start with: arguments, mounts, fetches
//!                 ── all can be loaded where the pods run ──► the Deployment stays as it is (`started`), and each pod is told the
//!                                                             difference through its engine's API (`live`)
//!                 ── a pod fails to start with what its template lists ──► pods start with what is wanted
//!   pods ── what each has acknowledged ──► the status, and whether requests for an adapter are sent (`status`)
//! ```

mod live;
mod status;

pub use live::{Ask, Has, Told, Verb, asks, can_start, verbs};
pub use status::{assumed, with_adapters};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, VolumeMount};
use kube::ResourceExt;

use crate::api::model_deployment::{Adapter, Custom, SelfHosted};
use crate::plan::Invalid;
use crate::plan::fetcher::{self, Fetch};
use crate::plan::fingerprint::digest;
use crate::plan::names::{ADAPTER_CLAIM, ADAPTERS_ANNOTATION, adapter_fetcher};

use super::engine;
use super::source::{self, MODELS, Weights};

/// The volume that adapters are fetched into, and where it is.
pub(super) const VOLUME: &str = "adapters";
pub(super) const FETCHED: &str = "/adapters";
/// Below which volume claims are mounted, each by its name.
const CLAIMS: &str = "/claims";

/// An adapter as an engine knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// Its folder in the pod, or the repository that the engine downloads.
    pub path: String,
    needs: Needs,
}

/// What must be in a pod for an engine to load an adapter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Needs {
    /// Nothing: it downloads it.
    Nothing,
    /// A volume claim.
    Claim(String),
    /// What an init container has fetched from there.
    Fetched(String),
}

/// The adapters of the specification, in its order; `served` is the model's name.
///
/// # Errors
/// The first that the engine cannot be given.
pub fn read(served: &str, own: &SelfHosted) -> Result<Vec<Module>, Invalid> {
    let wanted = wanted(own);
    let lists = |arg: &String| arg == "--lora-modules" || arg.starts_with("--lora-modules=") || arg == "--lora-paths";
    if let Some(index) = own.engine.args.iter().position(lists).filter(|_| !wanted.is_empty()) {
        return Err(Invalid::new(
            format!("spec.selfHosted.engine.args[{index}]"),
            "would replace spec.selfHosted.custom.adapters",
            "list every adapter there, and remove this",
        ));
    }
    let of = |(index, adapter): (usize, &Adapter)| {
        let field = field(index);
        let is_twice = wanted[..index].iter().any(|earlier| earlier.name == adapter.name);
        if is_twice {
            let problem = format!("{:?} is the name of an earlier one", adapter.name);
            return Err(Invalid::new(format!("{field}.name"), problem, "give each another name"));
        }
        if adapter.name == served || Some(adapter.name.as_str()) == engine::base(own.engine.kind) {
            let problem = format!("{:?} is what the model answers to without an adapter", adapter.name);
            return Err(Invalid::new(format!("{field}.name"), problem, "choose another name"));
        }
        module(adapter, own, &field)
    };
    wanted.iter().enumerate().map(of).collect()
}

/// Where the specification has the adapter of that position.
fn field(index: usize) -> String {
    format!("spec.selfHosted.custom.adapters[{index}]")
}

/// The adapters that the specification lists.
fn wanted(own: &SelfHosted) -> &[Adapter] {
    own.custom.as_ref().map_or(&[], |custom| &custom.adapters)
}

fn module(adapter: &Adapter, own: &SelfHosted, field: &str) -> Result<Module, Invalid> {
    let kind = own.engine.kind;
    let Some(lora) = engine::traits(kind).lora else {
        return Err(Invalid::new(
            field,
            format!("the engine {kind} loads no adapters by name"),
            "use the engine VLLM, SGLang or TGI, or merge the adapter into the weights",
        ));
    };
    let uri = &adapter.source.uri;
    let field = format!("{field}.source");
    let folder = format!("{FETCHED}/{}", adapter.name);
    let (path, needs) = match source::parse(&adapter.source, &format!("{field}.uri"), "")? {
        Weights::Hub { revision: None, .. } if lora.from_hub && adapter.source.secret_ref.is_some() => {
            return Err(Invalid::new(
                format!("{field}.secretRef"),
                format!("the engine {kind} downloads this adapter itself, and has one token for the hub"),
                format!("put it into spec.selfHosted.source.secretRef; or write {uri}@main, and it is fetched with a token of its own"),
            ));
        }
        Weights::Hub {
            repository,
            revision: None,
        } if lora.from_hub => (repository, Needs::Nothing),
        Weights::Hub { .. } => (folder, Needs::Fetched(uri.clone())),
        Weights::Volume { claim, path } => {
            let mount = mount(&claim, own);
            (format!("{mount}{path}"), Needs::Claim(claim))
        }
        Weights::Fetched { .. } if uri.starts_with("https://") => {
            return Err(Invalid::new(
                format!("{field}.uri"),
                format!("{:?} names one file, and an adapter is a folder", source::shown(uri)),
                "put the folder into a bucket, a volume or the hub",
            ));
        }
        // As the weights come below their folder, the adapter comes below its own.
        Weights::Fetched { path, .. } => {
            let below = path.strip_prefix(MODELS).unwrap_or_default();
            (format!("{folder}{below}"), Needs::Fetched(uri.clone()))
        }
        Weights::Image(_) => {
            return Err(Invalid::new(
                format!("{field}.uri"),
                "adapters are not taken out of images",
                "put it into a bucket, a volume or the hub",
            ));
        }
        Weights::InImage => (String::new(), Needs::Nothing),
    };
    let name = adapter.name.clone();
    Ok(Module { name, path, needs })
}

/// Where a claim is mounted: once, whoever uses it.
fn mount(claim: &str, own: &SelfHosted) -> String {
    match source::weights(own) {
        Ok(Weights::Volume { claim: weights, .. }) if weights == claim => MODELS.to_owned(),
        _ => format!("{CLAIMS}/{claim}"),
    }
}

/// As the engine is told of them: the name and the path of each.
pub(super) fn list(modules: &[Module]) -> Vec<(String, String)> {
    modules.iter().map(|module| (module.name.clone(), module.path.clone())).collect()
}

/// The volumes of the claims that are mounted for adapters alone: name, claim, path.
pub(super) fn claims(modules: &[Module], own: &SelfHosted) -> Vec<(String, String, String)> {
    let mut claims: Vec<&String> = modules
        .iter()
        .filter_map(|module| match &module.needs {
            Needs::Claim(claim) => Some(claim),
            Needs::Nothing | Needs::Fetched(_) => None,
        })
        .collect();
    claims.sort();
    claims.dedup();
    let volume = |claim: &String| {
        let path = mount(claim, own);
        // A claim's name may be longer than a volume's.
        (path != MODELS).then(|| (format!("{ADAPTER_CLAIM}{}", digest(claim)), claim.clone(), path))
    };
    claims.into_iter().filter_map(volume).collect()
}

/// Whether any of them is fetched into the pod.
pub(super) fn are_fetched(modules: &[Module]) -> bool {
    modules.iter().any(|module| matches!(module.needs, Needs::Fetched(_)))
}

/// The init containers that fetch adapters to where `mount` is, one for each, so that one that fails is told from the others.
pub(super) fn fetches(modules: &[Module], own: &SelfHosted, image: &str, mount: &VolumeMount) -> Vec<Container> {
    let fetched = wanted(own)
        .iter()
        .zip(modules)
        .filter(|(_, module)| matches!(module.needs, Needs::Fetched(_)));
    let container = |(adapter, module): (&Adapter, &Module)| {
        let fetch = Fetch {
            name: adapter_fetcher(&module.name),
            source: &adapter.source,
            env: &own.engine.env,
            image,
        };
        let to = format!("{}/{}", mount.mount_path, module.name);
        let args = fetcher::arguments(&["fetch", &adapter.source.uri, "--to", &to]);
        fetch.container(args, vec![mount.clone()], None)
    };
    fetched.map(container).collect()
}

/// Whether the engine may download adapters: those of the specification, or while it runs others.
pub(super) fn are_downloaded(own: &SelfHosted) -> bool {
    !wanted(own).is_empty() && engine::traits(own.engine.kind).lora.is_some_and(|lora| lora.from_hub)
}

/// What a Deployment remembers of the adapters that its pods start with.
pub(super) fn mark(own: &SelfHosted) -> Option<(String, String)> {
    let adapters = wanted(own);
    let text = serde_json::to_string(adapters).ok()?;
    (!adapters.is_empty()).then_some((ADAPTERS_ANNOTATION.to_owned(), text))
}

/// `own` with the adapters that the pods of `live` start with, where they take what is wanted beyond those while they run. `None`: the
/// pods start with what is wanted.
pub(super) fn started(served: &str, own: &SelfHosted, live: &Deployment) -> Option<SelfHosted> {
    if !engine::is_live(&own.engine) {
        return None;
    }
    let adapters: Vec<Adapter> = serde_json::from_str(live.annotations().get(ADAPTERS_ANNOTATION)?).ok()?;
    let started = SelfHosted {
        custom: Some(Custom {
            adapters,
            ..own.custom.clone()?
        }),
        ..own.clone()
    };
    let there = read(served, &started).ok()?;
    let modules = read(served, own).ok()?;
    let is_there = |(adapter, module): (&Adapter, &Module)| match &module.needs {
        Needs::Nothing => true,
        Needs::Claim(claim) => mount(claim, own) == MODELS || there.iter().any(|other| other.needs == module.needs),
        // With the same credentials too.
        Needs::Fetched(_) => wanted(&started).contains(adapter),
    };
    let are_there = wanted(own).iter().zip(&modules).all(is_there);
    are_there.then_some(started)
}

#[cfg(test)]
mod tests;
