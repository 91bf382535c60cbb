//! Fetching a model's weights into a folder, once and whole: the size is known before the first byte, every byte is verified against the
//! pinned revision, and a fetch that is killed goes on where it was.
//!
//! - what is asked: `location` (URIs), `selection` (which files), [`Options`]
//! - who answers: `hub`, `bucket`, `web`, over `wire`; as one they are a `source`, which says what it has in a `listing`
//! - what is written: `folder`, `survey` (what is there), `ledger` (which bytes are there), `transfer` (getting the rest), `verify`
//! - what is kept in a bucket by others: `objects`
//! - what is told: `meter` (how far), `display` and `report` (to people and machines), `failure` (why not, and what to do)
//!
//! Two fetches into one folder take turns; the second finds the folder complete. Nothing here deletes or overwrites a file that is not of
//! this model: one that is, whoever put it there, is verified and kept as if it had been fetched.

mod bucket;
mod display;
mod evict;
mod failure;
mod folder;
mod hub;
mod ledger;
mod listing;
mod location;
mod meter;
mod objects;
mod pace;
mod report;
mod selection;
mod source;
mod survey;
mod transfer;
mod verify;
mod web;
mod wire;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use ring::digest;

pub use display::{Display, Style};
pub use evict::evict;
pub use failure::{Failure, Reason};
pub use folder::{Marker, free_bytes};
pub use listing::{Check, FilePath, Listing, RemoteFile};
pub use location::{Location, Store};
pub use meter::{Meter, Phase, Standing};
pub use objects::{Created, Objects};
pub use pace::Pace;
pub use report::{Ending, StatusFile, write_termination};
pub use selection::Selection;

use folder::{Folder, Manifest};
use ledger::Ledger;
use source::Source;
use transfer::{Job, Transfer};

/// More connections than any source serves faster than these.
pub const MOST_CONNECTIONS: usize = 64;

/// The variables that endpoints and credentials come from. Never shown.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// A variable that is set to something. Secrets often end in a line break.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The variables with this prefix, their names in small letters.
    fn under(&self, prefix: &'static str) -> impl Iterator<Item = (String, &str)> {
        let names = self.0.keys().filter(move |name| name.starts_with(prefix));
        names.filter_map(|name| Some((name.to_ascii_lowercase(), self.get(name)?)))
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// How to fetch.
#[derive(Clone)]
pub struct Options {
    /// Which files.
    pub selection: Selection,
    /// Connections at once.
    pub parallel: usize,
    /// Certificates of the authorities to trust instead of the system's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Endpoints and credentials.
    pub environment: Environment,
    /// Sizes and patience.
    pub pace: Pace,
    /// The clock.
    pub clock: fn() -> Timestamp,
    /// How much room there is: [`free_bytes`].
    pub free_bytes: fn(&Path) -> io::Result<u64>,
}

impl Options {
    /// Everything, over eight connections.
    #[must_use]
    pub fn new(environment: Environment, clock: fn() -> Timestamp) -> Self {
        Self {
            selection: Selection::default(),
            parallel: 8,
            ca_file: None,
            environment,
            pace: Pace::default(),
            clock,
            free_bytes,
        }
    }
}

/// What would be fetched. Gets no content.
///
/// # Errors
/// When the source cannot be asked or does not have it.
pub async fn plan(location: &Location, options: &Options) -> Result<Listing, Failure> {
    Source::new(location, options)?.list(location, options, None).await
}

/// Fills the folder `to`, and says what is in it then. A folder that holds it already is left as it is; when the URI pins a commit or a
/// checksum, without asking anybody.
///
/// # Errors
/// When that cannot be done now. What came until then is kept for the next attempt.
pub async fn run(location: &Location, to: &Path, options: &Options, meter: &Arc<Meter>) -> Result<Marker, Failure> {
    let filled = fill(location, Folder::new(to), options, meter).await;
    match &filled {
        Ok(marker) => meter.complete(marker),
        Err(_) => meter.phase(Phase::Failed),
    }
    filled
}

async fn fill(location: &Location, folder: Folder, options: &Options, meter: &Arc<Meter>) -> Result<Marker, Failure> {
    let selection = &options.selection;
    // Before anything is written: the volume may be mounted read-only.
    if let Some(marker) = complete(&folder).await?
        && marker.is_pinned(location, selection)
    {
        return Ok(marker);
    }
    let source = Source::new(location, options)?;
    let _lock = folder.lock(|| meter.phase(Phase::Waiting)).await?;
    meter.phase(Phase::Resolving);
    // Again: the fetch that was waited for may have got it.
    let there = complete(&folder).await?;
    if let Some(marker) = there.as_ref().filter(|marker| marker.is_pinned(location, selection)) {
        return Ok(marker.clone());
    }
    let listing = match (source.list(location, options, there.as_ref()).await, there) {
        (Ok(listing), Some(marker)) => return decided(marker, location, &listing),
        (Err(failure), Some(marker)) if failure.reason == Reason::Unreachable && marker.is_as_asked(location, selection) => {
            tracing::warn!(
                revision = marker.listing.revision,
                "whether the source has moved on is unknown: {}",
                failure.message
            );
            return Ok(marker);
        }
        (listed, _) => Arc::new(listed?),
    };
    meter.listed(&listing);

    let ours = folder.ours()?;
    let kept = survey::survey(&folder, &listing, &ours, meter).await?;
    let manifest = Manifest {
        listing: Listing::clone(&listing),
        segment_bytes: options.pace.segment_bytes,
    };
    let progress = folder.begin(&manifest, &ours)?;
    let segments = ledger::segments(&listing.files, manifest.segment_bytes);
    let ledger = Ledger::open(&progress, &fingerprint(&manifest)?, &segments);
    let ledger = ledger.map_err(|error| Failure::io("opening", &progress, &error))?;
    let job = Job {
        source,
        listing: Arc::clone(&listing),
        folder: folder.clone(),
        pace: options.pace.clone(),
        meter: Arc::clone(meter),
    };
    let transfer = Transfer::new(job, segments, ledger, &kept);
    let needed = transfer.count()?;
    let free = (options.free_bytes)(folder.path()).map_err(|error| Failure::io("asking for the free space of", folder.path(), &error))?;
    folder::fits(needed, free, folder.path())?;
    transfer.run(options.parallel).await?;

    let marker = Marker {
        bytes: listing.bytes(),
        listing: Listing::clone(&listing),
        selection: selection.clone(),
        finished_at: (options.clock)().to_string(),
    };
    let finished = marker.clone();
    blocking(move || folder.finish(&finished)).await??;
    Ok(marker)
}

async fn complete(folder: &Folder) -> Result<Option<Marker>, Failure> {
    let folder = folder.clone();
    blocking(move || folder.complete()).await?
}

/// A complete folder and what the source has now.
fn decided(marker: Marker, location: &Location, listing: &Listing) -> Result<Marker, Failure> {
    if marker.holds(location, listing) {
        return Ok(marker);
    }
    let Marker { listing: there, .. } = marker;
    // Others may be reading it: a model that changes under an engine is worse than none.
    Err(Failure::new(
        Reason::FolderInUse,
        format!(
            "the folder holds {} files of {} at {}, and {} files of {} at {} were asked for",
            there.files.len(),
            there.source,
            there.revision,
            listing.files.len(),
            listing.source,
            listing.revision
        ),
        "fetch into a folder of its own, or ask for what is there",
    ))
}

fn fingerprint(manifest: &Manifest) -> Result<[u8; 32], Failure> {
    let bytes = serde_json::to_vec(manifest).map_err(|error| Failure::internal(format!("writing the manifest: {error}")))?;
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest::digest(&digest::SHA256, &bytes).as_ref());
    Ok(fingerprint)
}

/// Runs what waits for disks where it holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::internal(format!("a task of the disk ended: {error}")))
}
