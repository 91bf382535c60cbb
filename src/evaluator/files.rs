//! The files of datasets: mounted, in a claim, or fetched, and checked to be those that were meant.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::store::Store;
use crate::api::eval_job::{Dataset, Suite};
use crate::fetch::{self, Environment, Location, Meter, Options};
use crate::plan::evaluation::run::{Place, place};
use crate::plan::fingerprint;

/// Where things are.
#[derive(Clone)]
pub struct Places {
    /// The folder with the datasets from ConfigMaps.
    pub datasets: PathBuf,
    /// The folder with a folder for each claim.
    pub claims: PathBuf,
    /// The folder with a folder for each Secret, of a file for each key.
    pub credentials: PathBuf,
    /// The folder that what is fetched goes to.
    pub fetched: PathBuf,
    /// The folder with what evaluators that users bring have found.
    pub results: PathBuf,
    /// The progress file.
    pub progress: PathBuf,
    /// The file that the verdict is read from, which is written before anything is kept.
    pub message: Option<PathBuf>,
    /// The folder that keeps the report, if any does.
    pub report: Option<PathBuf>,
    /// The bucket that it is kept in instead: then that folder is what the run works in.
    pub store: Option<Arc<Store>>,
    /// The clock.
    pub clock: fn() -> Timestamp,
}

/// Why a dataset cannot be used.
#[derive(Debug)]
pub(super) enum Flaw {
    /// And that is so until a person changes something.
    Lasting(String),
    /// A later attempt may have it.
    Passing(String),
}

/// A file as it was read.
pub(super) struct File {
    /// What messages call it.
    pub(super) name: String,
    /// The name that says what it holds.
    pub(super) file: String,
    /// Its content.
    pub(super) bytes: Vec<u8>,
    /// `sha256:` and 64 hex digits.
    pub(super) digest: String,
}

/// The dataset in that `field` of `suite`.
pub(super) async fn read(suite: &Suite, field: &str, dataset: &Dataset, places: &Places) -> Result<File, Flaw> {
    let lasting = |why: String| Flaw::Lasting(why);
    let Some(place) = place(suite, field, dataset) else {
        return Err(lasting(format!(
            "suite {}: {field} names no dataset; set configMapRef or uri",
            suite.name
        )));
    };
    let (name, file, path) = match place {
        Place::Mounted { path, from: (map, key) } => {
            let path = places.datasets.join(path);
            if !path.exists() {
                return Err(lasting(format!(
                    "ConfigMap {map} has no key {key}; add it, or change the suite {}",
                    suite.name
                )));
            }
            (format!("ConfigMap {map}, {key}"), key.to_owned(), path)
        }
        Place::Claimed { claim, path } => {
            let full = places.claims.join(claim).join(path);
            if !full.is_file() {
                return Err(lasting(format!(
                    "PersistentVolumeClaim {claim} has no file {path}; put it there, or correct the URI"
                )));
            }
            (format!("pvc://{claim}/{path}"), path.to_owned(), full)
        }
        Place::Fetched { uri, secret } => {
            let to = places.fetched.join(&suite.name).join(field);
            let path = fetched(uri, secret, &to, places).await?;
            let file = path
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            (shown(uri).to_owned(), file, path)
        }
    };
    let bytes = tokio::fs::read(&path)
        .await
        .map_err(|error| lasting(format!("{name} cannot be read: {error}; make it readable for everybody")))?;
    let digest = pinned(suite, field, dataset, &name, &bytes).map_err(lasting)?;
    Ok(File { name, file, bytes, digest })
}

/// The digest of a dataset.
///
/// # Errors
/// That it is not the one that was meant.
pub(super) fn pinned(suite: &Suite, field: &str, dataset: &Dataset, name: &str, bytes: &[u8]) -> Result<String, String> {
    let digest = format!("sha256:{}", fingerprint::hex(&Sha256::digest(bytes)));
    match &dataset.digest {
        Some(wanted) if *wanted != digest => Err(format!(
            "{name} is {digest}, and spec.suites[{}].{field}.digest says {wanted}; correct the digest if the file was changed on purpose",
            suite.name
        )),
        _ => Ok(digest),
    }
}

/// A URL's query may hold a signature.
fn shown(uri: &str) -> &str {
    uri.split(['?', '#']).next().unwrap_or(uri)
}

async fn fetched(uri: &str, secret: Option<&str>, to: &Path, places: &Places) -> Result<PathBuf, Flaw> {
    let failed = |failure: fetch::Failure| {
        let why = format!("{}: {}", shown(uri), failure.message);
        if failure.reason.time_may_heal() {
            Flaw::Passing(why)
        } else {
            Flaw::Lasting(why)
        }
    };
    let location = Location::parse(uri).map_err(failed)?;
    let environment = match secret {
        Some(secret) => environment(secret, "the source's credentials, such as HF_TOKEN", places)?,
        None => Environment::of_process(),
    };
    let options = Options::new(environment, places.clock);
    let meter = Arc::new(Meter::new(shown(uri).to_owned(), (places.clock)()));
    fetch::run(&location, to, &options, &meter).await.map_err(failed)?;
    let path = to.join(location.lands().unwrap_or_default());
    if path.is_file() {
        Ok(path)
    } else {
        Err(Flaw::Lasting(format!("{} is a folder; name one file in it", shown(uri))))
    }
}

/// The variables in a Secret, beside those that every pod may have for its proxy.
pub(super) fn environment(secret: &str, holding: &str, places: &Places) -> Result<Environment, Flaw> {
    let folder = places.credentials.join(secret);
    let keys = std::fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
    let variables: Vec<(String, String)> = keys
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok().filter(|name| !name.starts_with('.'))?;
            Some((name, std::fs::read_to_string(entry.path()).ok()?))
        })
        .collect();
    if variables.is_empty() {
        return Err(Flaw::Lasting(format!(
            "Secret {secret} does not exist or has no keys; create it with {holding}"
        )));
    }
    let process = std::env::vars().filter(|(name, _)| name.to_ascii_uppercase().ends_with("_PROXY"));
    Ok(process.chain(variables).collect())
}
