//! Why a fetch ended: a reason for machines, a sentence with its remedy for people, and whether time alone may heal it.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

/// The kinds of failure. Their names are stable: conditions of resources carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Reason {
    /// The URI, a filter or a setting cannot be understood, or is not for fetching.
    InvalidSource,
    /// There is no such repository, bucket, object or file, or none that these credentials may see.
    SourceNotFound,
    /// The repository has no such branch, tag or commit.
    RevisionNotFound,
    /// Credentials are missing, wrong, or lack the right.
    Unauthorized,
    /// The model's owner grants access one by one, and has not granted it to these credentials.
    GatedModel,
    /// The source names a file in a way that could leave the folder, or that no file can have.
    UnsafeName,
    /// The volume is too small.
    NoSpace,
    /// The folder holds another model, another revision, or files of somebody else.
    FolderInUse,
    /// The folder cannot be read or written.
    FolderUnusable,
    /// Twice in a row the bytes were not the ones that the revision consists of.
    ChecksumMismatch,
    /// The source changed between its listing and its last byte.
    SourceChanged,
    /// The source could not be reached, or kept failing.
    Unreachable,
    /// This program is at fault.
    Internal,
    /// The fetch was told to stop; a later one goes on where it was.
    Stopped,
}

impl Reason {
    /// Whether trying again later may help without anybody changing anything.
    #[must_use]
    pub fn time_may_heal(self) -> bool {
        matches!(self, Self::SourceChanged | Self::Unreachable | Self::Stopped)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Why a fetch ended.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Failure {
    /// The kind.
    pub reason: Reason,
    /// What is wrong and what to do, for a person. Holds no credentials.
    pub message: String,
    /// How long the source asks to be left alone.
    pub(super) wait: Option<Duration>,
}

impl Failure {
    /// What is wrong, and what to do about it.
    pub(super) fn new(reason: Reason, problem: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self {
            reason,
            message: format!("{problem}; {remedy}"),
            wait: None,
        }
    }

    /// The source cannot be reached, or does not do what it should. Trying again may help.
    pub(super) fn unreachable(problem: impl fmt::Display) -> Self {
        Self {
            reason: Reason::Unreachable,
            message: problem.to_string(),
            wait: None,
        }
    }

    /// This program does not do what it should.
    pub(super) fn internal(problem: impl fmt::Display) -> Self {
        Self::new(
            Reason::Internal,
            problem,
            "this is a fault of the program: please report it with its log",
        )
    }

    /// The folder does not do what it should.
    pub(super) fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let problem = format!("{doing} {}: {error}", path.display());
        match error.kind() {
            StorageFull | QuotaExceeded => Self::new(Reason::NoSpace, problem, "make room, or use a larger volume"),
            FileTooLarge => Self::new(Reason::NoSpace, problem, "use a file system that holds files of this size"),
            _ => Self::new(Reason::FolderUnusable, problem, "let --to name a folder that this user may write"),
        }
    }

    /// It was told to stop.
    #[must_use]
    pub fn stopped() -> Self {
        Self {
            reason: Reason::Stopped,
            message: "it was stopped before its end; run it again, and it goes on where it was".to_owned(),
            wait: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_volume_is_told_from_one_that_cannot_be_written() {
        let of = |kind| Failure::io("writing", Path::new("/cache/a"), &io::Error::from(kind)).reason;
        assert_eq!(of(io::ErrorKind::StorageFull), Reason::NoSpace);
        assert_eq!(of(io::ErrorKind::QuotaExceeded), Reason::NoSpace);
        assert_eq!(of(io::ErrorKind::PermissionDenied), Reason::FolderUnusable);
    }

    #[test]
    fn the_network_heals_with_time_and_a_wrong_revision_does_not() {
        assert!(Reason::Unreachable.time_may_heal());
        assert!(!Reason::RevisionNotFound.time_may_heal());
        assert!(!Reason::NoSpace.time_may_heal());
        assert_eq!(Reason::GatedModel.to_string(), "GatedModel");
    }
}
