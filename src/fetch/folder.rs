//! The folder that is filled, and what we keep in it beside the model.
//!
//! | file | what | until |
//! |---|---|---|
//! | `.portfolio-complete.json` | everything is here: source, revision, files | for good |
//! | `.portfolio-fetch.json` | what a fetch that has not ended is getting | the end |
//! | `.portfolio-fetch.progress` | how many bytes of each part are here | the end |
//! | `.portfolio-fetch.lock` | held by the fetch at work | for good: removing it would race |
//! | `NAME.part` | a file that is not whole | it is verified |

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::failure::{Failure, Reason};
use super::listing::{Listing, RemoteFile};
use super::location::Location;
use super::selection::Selection;

const COMPLETE: &str = ".portfolio-complete.json";
const MANIFEST: &str = ".portfolio-fetch.json";
const PROGRESS: &str = ".portfolio-fetch.progress";
const LOCK: &str = ".portfolio-fetch.lock";
/// Between two looks at a lock that another holds. It cannot be waited for: a thread that does could not be stopped.
const LOOK: Duration = Duration::from_millis(200);

/// What says that a folder holds a whole model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Marker {
    /// The source and revision, and what each file is.
    #[serde(flatten)]
    pub listing: Listing,
    /// The patterns that chose the files.
    #[serde(default)]
    pub selection: Selection,
    /// Bytes of all files.
    pub bytes: u64,
    /// When it was complete.
    pub finished_at: String,
}

impl Marker {
    /// Whether this is, beyond doubt and without asking anybody, what `location` means.
    pub(super) fn is_pinned(&self, location: &Location, selection: &Selection) -> bool {
        let source = Location::parse(&self.listing.source);
        source.is_ok_and(|source| source.place() == location.place())
            && self.selection == *selection
            && location.pinned() == Some(&self.listing.revision)
    }

    /// Whether just this was asked for when it was fetched.
    pub(super) fn is_as_asked(&self, location: &Location, selection: &Selection) -> bool {
        // Queries are not written down, as they may be secret, and another query may mean another file.
        let is_whole = !matches!(location, Location::Web { url, sha256: None } if url.query().is_some());
        is_whole && self.listing.source == location.to_string() && self.selection == *selection
    }

    /// Whether this is what was listed.
    pub(super) fn holds(&self, location: &Location, listing: &Listing) -> bool {
        let source = Location::parse(&self.listing.source);
        source.is_ok_and(|source| source.place() == location.place())
            && self.listing.revision == listing.revision
            && self.listing.files == listing.files
    }
}

/// What a fetch that has not ended is getting.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    #[serde(flatten)]
    pub(super) listing: Listing,
    /// The size of the parts that the progress counts.
    pub(super) segment_bytes: u64,
}

/// The folder.
#[derive(Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The marker, if every file of it is there with its size. Only reads.
    pub(super) fn complete(&self) -> Result<Option<Marker>, Failure> {
        let marker: Option<Marker> = self.read(COMPLETE)?;
        let is_there =
            |file: &RemoteFile| fs::metadata(file.path.within(&self.0)).is_ok_and(|found| found.is_file() && found.len() == file.size);
        Ok(marker.filter(|marker| marker.listing.files.iter().all(is_there)))
    }

    /// The lock, when no other fetch is at work here.
    pub(super) async fn lock(&self, mut waiting: impl FnMut()) -> Result<File, Failure> {
        fs::create_dir_all(&self.0).map_err(|error| Failure::io("making the folder", &self.0, &error))?;
        let path = self.0.join(LOCK);
        let open = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(|error| Failure::io("opening", &path, &error))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => {
                    waiting();
                    tokio::time::sleep(LOOK).await;
                }
                Err(TryLockError::Error(error)) => return Err(Failure::io("locking", &path, &error)),
            }
        }
    }

    /// The files that earlier fetches put here or began: theirs to replace and to remove.
    pub(super) fn ours(&self) -> Result<Vec<RemoteFile>, Failure> {
        let manifest: Option<Manifest> = self.read(MANIFEST)?;
        let marker: Option<Marker> = self.read(COMPLETE)?;
        let files = manifest
            .into_iter()
            .map(|manifest| manifest.listing)
            .chain(marker.map(|marker| marker.listing));
        Ok(files.flat_map(|listing| listing.files).collect())
    }

    /// A fetch begins: no longer complete, and what was left of files that are not listed any more goes.
    pub(super) fn begin(&self, manifest: &Manifest, ours: &[RemoteFile]) -> Result<PathBuf, Failure> {
        self.remove(&self.0.join(COMPLETE))?;
        let listed: HashSet<&str> = manifest.listing.files.iter().map(|file| file.path.as_str()).collect();
        for file in ours.iter().filter(|file| !listed.contains(file.path.as_str())) {
            self.remove(&file.path.within(&self.0))?;
            self.remove(&file.path.part_within(&self.0))?;
        }
        self.write(MANIFEST, manifest)?;
        Ok(self.0.join(PROGRESS))
    }

    /// Everything is here.
    pub(super) fn finish(&self, marker: &Marker) -> Result<(), Failure> {
        let mut folders: Vec<PathBuf> = Vec::new();
        for file in &marker.listing.files {
            folders.extend(file.path.within(&self.0).parent().map(Path::to_owned));
        }
        folders.sort();
        folders.dedup();
        // The names of the files reach the disk before the marker that promises them.
        for folder in folders {
            let synced = File::open(&folder).and_then(|folder| folder.sync_all());
            synced.map_err(|error| Failure::io("writing", &folder, &error))?;
        }
        self.write(COMPLETE, marker)?;
        self.remove(&self.0.join(MANIFEST))?;
        self.remove(&self.0.join(PROGRESS))
    }

    /// Opens the part of a file for writing, anew or as it is.
    pub(super) fn part(&self, file: &RemoteFile, anew: bool) -> Result<File, Failure> {
        let path = file.path.part_within(&self.0);
        let parent = path.parent().unwrap_or(&self.0);
        fs::create_dir_all(parent).map_err(|error| Failure::io("making the folder", parent, &error))?;
        let open = OpenOptions::new().write(true).create(true).truncate(anew).open(&path);
        open.map_err(|error| Failure::io("opening", &path, &error))
    }

    /// Makes a verified part the file.
    pub(super) fn keep(&self, file: &RemoteFile) -> Result<(), Failure> {
        let (part, whole) = (file.path.part_within(&self.0), file.path.within(&self.0));
        let synced = File::open(&part).and_then(|part| part.sync_all());
        let renamed = synced.and_then(|()| fs::rename(&part, &whole));
        renamed.map_err(|error| Failure::io("finishing", &whole, &error))
    }

    /// The length of the part of a file, and what it takes of the volume.
    pub(super) fn part_size(&self, file: &RemoteFile) -> (u64, u64) {
        // Blocks are of 512 bytes, whatever the file system uses.
        fs::metadata(file.path.part_within(&self.0)).map_or((0, 0), |part| (part.len(), part.blocks().saturating_mul(512)))
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Failure> {
        let path = self.0.join(name);
        match fs::read(&path) {
            // One that cannot be understood says nothing: the fetch finds out what is there.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::io("reading", &path, &error)),
        }
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), Failure> {
        let path = self.0.join(name);
        let bytes = serde_json::to_vec_pretty(value).map_err(io::Error::from);
        let written = bytes.and_then(|bytes| write_atomically(&path, &bytes));
        written.map_err(|error| Failure::io("writing", &path, &error))
    }

    fn remove(&self, path: &Path) -> Result<(), Failure> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::io("removing", path, &error)),
            _ => Ok(()),
        }
    }
}

/// Whether a fetch was at work in a folder: its lock stays.
pub(super) fn is_filled_by_fetches(path: &Path) -> bool {
    path.join(LOCK).is_file()
}

/// Readers see the old content or the new one, and nothing else.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use io::Write;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let aside = path.with_file_name(name);
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&aside, path)
}

/// Free bytes of the volume that a folder is on, for users that are not root.
///
/// # Errors
/// When the system does not say.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let volume = rustix::fs::statvfs(folder)?;
    Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
}

/// Whether so many bytes fit.
pub(super) fn fits(needed: u64, free: u64, folder: &Path) -> Result<(), Failure> {
    if needed <= free {
        return Ok(());
    }
    Err(Failure::new(
        Reason::NoSpace,
        format!("{needed} bytes are to come, and {} has {free} free", folder.display()),
        format!("free {} bytes there, or use a larger volume", needed - free),
    ))
}
