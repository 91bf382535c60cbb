//! Where weights come from: the URI of a source, and what it means for a pod.

use crate::api::model_deployment::{SelfHosted, Source};
use crate::fetch::Location;
use crate::plan::Invalid;

use super::{engine, oci};

/// What a source means for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Weights {
    /// The image holds the model.
    InImage,
    /// The engine downloads it from the hub.
    Hub { repository: String, revision: Option<String> },
    /// A volume claim, mounted read-only.
    Volume { claim: String, path: String },
    /// It is fetched: by an init container into the pod, or by a Job into a cache.
    Fetched { uri: String, path: String },
    /// An image, mounted or copied out of.
    Image(oci::Image),
}

/// Where the volume of the weights is mounted.
pub(super) const MODELS: &str = "/models";

/// Reads the source of the model.
pub(super) fn weights(own: &SelfHosted) -> Result<Weights, Invalid> {
    let Some(source) = &own.source else { return Ok(Weights::InImage) };
    let field = "spec.selfHosted.source.uri";
    let weights = parse(source, field, MODELS)?;
    let kind = own.engine.kind;
    if !engine::takes_weights(kind) {
        return Err(Invalid::new(
            field,
            format!("the operator cannot tell a {kind} engine where its model is"),
            "remove spec.selfHosted.source and put the location into spec.selfHosted.engine.args",
        ));
    }
    let weights = match weights {
        // What the engine cannot be told is fetched for it, and what is to be kept.
        Weights::Hub { revision: Some(_), .. } if !engine::takes_revision(kind) => fetched(source, field)?,
        Weights::Hub { .. } if own.cache.is_some() => fetched(source, field)?,
        weights => weights,
    };
    match (&weights, engine::traits(kind).file) {
        (Weights::Image(image), Some(ending)) if !image.path.ends_with(ending) => Err(Invalid::new(
            field,
            format!("{:?} names no {ending} file, and the engine {kind} serves one", shown(&source.uri)),
            format!("name the file in the image, such as oci://{}#models/model{ending}", image.reference),
        )),
        (Weights::Fetched { uri, path }, Some(ending)) if !path.ends_with(ending) => Err(Invalid::new(
            field,
            format!("{:?} names no {ending} file, and the engine {kind} serves one", shown(uri)),
            format!("name the file, such as hf://organization/name@revision/model{ending}"),
        )),
        _ => Ok(weights),
    }
}

/// A URI without its query, which may hold a signature: messages are shown to everybody who may see the resource.
pub(super) fn shown(uri: &str) -> &str {
    uri.split('?').next().unwrap_or(uri)
}

/// What an init container fetches; checked by the reader that it will use.
fn fetched(source: &Source, field: &str) -> Result<Weights, Invalid> {
    let location = Location::parse(&source.uri).map_err(|failure| Invalid::new(field, failure.message, ""))?;
    // Below a prefix of a bucket the objects lie at the top, unless it is the key of one: engines serve those of one ending only.
    let is_prefix = |path: &String| matches!(location, Location::Bucket { .. }) && !path.ends_with(".gguf");
    let below = location.lands().filter(|path| !is_prefix(path));
    Ok(Weights::Fetched {
        uri: source.uri.clone(),
        path: below.map_or_else(|| MODELS.to_owned(), |below| format!("{MODELS}/{below}")),
    })
}

/// Reads a source that is mounted at `mount`, if it is.
pub(super) fn parse(source: &Source, field: &str, mount: &str) -> Result<Weights, Invalid> {
    let invalid = |problem: &str, remedy: &str| Err(Invalid::new(field, format!("{:?} {problem}", shown(&source.uri)), remedy));
    match source.uri.split_once("://") {
        Some(("hf", _)) => {
            let location = Location::parse(&source.uri).map_err(|failure| Invalid::new(field, failure.message, ""))?;
            match location {
                Location::Hub {
                    repository,
                    revision,
                    path: None,
                } => Ok(Weights::Hub {
                    repository,
                    revision: source.uri.contains('@').then_some(revision),
                }),
                _ => fetched(source, field),
            }
        }
        Some(("pvc", rest)) => {
            let (claim, path) = rest.split_once('/').unwrap_or((rest, ""));
            if claim.is_empty() || path.split('/').any(|part| part == "..") {
                return invalid("is not a path in a volume claim", "write it as pvc://claim/path/to/the/model");
            }
            let path = path.trim_end_matches('/');
            let path = if path.is_empty() {
                mount.to_owned()
            } else {
                format!("{mount}/{path}")
            };
            Ok(Weights::Volume {
                claim: claim.to_owned(),
                path,
            })
        }
        Some(("oci", rest)) => oci::Image::read(rest, field).map(Weights::Image),
        Some(("s3" | "gs" | "az" | "https", _)) => fetched(source, field),
        _ => invalid(
            "is a kind of source that is not served",
            "use hf://, s3://, gs://, az://, https://, oci:// or pvc://",
        ),
    }
}
