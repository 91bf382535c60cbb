//! How far a fetch is. The fetch writes it, whoever shows it reads snapshots.

use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use super::folder::Marker;
use super::listing::Listing;

/// What a fetch is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Phase {
    /// Asking the source what there is.
    Resolving,
    /// Another fetch is at work in the folder.
    Waiting,
    /// Hashing what an earlier fetch left.
    Checking,
    /// Getting bytes.
    Fetching,
    /// All bytes are there; the last files are hashed.
    Verifying,
    /// Everything is there.
    Complete,
    /// It ended before that.
    Failed,
}

/// How far a fetch is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// What it is doing.
    pub phase: Phase,
    /// The source, without credentials.
    pub source: String,
    /// The revision, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Bytes of all files.
    pub bytes_total: u64,
    /// Bytes that are there.
    pub bytes_done: u64,
    /// Those of them that came by this fetch.
    pub bytes_fetched: u64,
    /// All files.
    pub files: usize,
    /// Files that are there and verified.
    pub files_done: usize,
    /// When it began.
    pub started_at: Timestamp,
}

impl Standing {
    /// At its end, which may also be that of a fetch that was stopped.
    #[must_use]
    pub fn ended(&self, is_complete: bool) -> Self {
        let phase = if is_complete { Phase::Complete } else { Phase::Failed };
        Self { phase, ..self.clone() }
    }
}

/// A standing that changes.
pub struct Meter(Mutex<Standing>);

impl Meter {
    /// Of a fetch that begins now.
    #[must_use]
    pub fn new(source: String, started_at: Timestamp) -> Self {
        Self(Mutex::new(Standing {
            phase: Phase::Resolving,
            source,
            revision: None,
            bytes_total: 0,
            bytes_done: 0,
            bytes_fetched: 0,
            files: 0,
            files_done: 0,
            started_at,
        }))
    }

    /// How far it is.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.lock().clone()
    }

    pub(super) fn phase(&self, phase: Phase) {
        self.lock().phase = phase;
    }

    /// Getting begins, unless all bytes are there.
    pub(super) fn working(&self) {
        let mut standing = self.lock();
        let is_whole = standing.bytes_done == standing.bytes_total;
        standing.phase = if is_whole { Phase::Verifying } else { Phase::Fetching };
    }

    /// Everything is there.
    pub(super) fn complete(&self, marker: &Marker) {
        self.listed(&marker.listing);
        let mut standing = self.lock();
        standing.phase = Phase::Complete;
        standing.bytes_done = standing.bytes_total;
        standing.files_done = standing.files;
    }

    /// The source has answered.
    pub(super) fn listed(&self, listing: &Listing) {
        let mut standing = self.lock();
        standing.revision = Some(listing.revision.clone());
        standing.bytes_total = listing.bytes();
        standing.files = listing.files.len();
    }

    /// Bytes are found that an earlier fetch got.
    pub(super) fn found(&self, bytes: u64) {
        self.lock().bytes_done += bytes;
    }

    /// Bytes came.
    pub(super) fn fetched(&self, bytes: u64) {
        let mut standing = self.lock();
        standing.bytes_done += bytes;
        standing.bytes_fetched += bytes;
        if standing.bytes_done == standing.bytes_total {
            standing.phase = Phase::Verifying;
        }
    }

    /// Bytes turned out to be wrong ones.
    pub(super) fn lost(&self, bytes: u64) {
        let mut standing = self.lock();
        standing.bytes_done = standing.bytes_done.saturating_sub(bytes);
        standing.phase = Phase::Fetching;
    }

    /// A file is there and verified.
    pub(super) fn file_done(&self) {
        self.lock().files_done += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
