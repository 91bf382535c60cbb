//! What a fetch leaves for whoever started it: a status file while it runs, and one small object at its end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use super::failure::{Failure, Reason};
use super::folder::{Marker, write_atomically};
use super::listing::Listing;
use super::meter::Standing;

const BETWEEN_WRITES: Duration = Duration::from_secs(1);
/// The kubelet reads 4096 bytes of a termination message; the rest of the object and escapes need some.
const LONGEST_MESSAGE: usize = 2000;

/// How a fetch ended, as JSON.
#[derive(Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Ending {
    /// Only the plan was asked for.
    Planned {
        /// The source, without credentials.
        source: String,
        /// What a fetch would be pinned to.
        revision: String,
        /// Bytes of all files.
        bytes: u64,
        /// How many files.
        files: usize,
    },
    /// The model is there.
    Complete {
        /// The source, without credentials.
        source: String,
        /// What it was pinned to.
        revision: String,
        /// Bytes of all files.
        bytes: u64,
        /// How many files.
        files: usize,
        /// Bytes that came by this fetch; 0 when everything was there.
        bytes_fetched: u64,
    },
    /// It is not.
    Failed {
        /// The kind.
        reason: Reason,
        /// What is wrong and what to do.
        message: String,
        /// Whether trying again may help without anybody changing anything.
        time_may_heal: bool,
    },
}

impl Ending {
    /// Of a plan.
    #[must_use]
    pub fn planned(listing: &Listing) -> Self {
        Self::Planned {
            source: listing.source.clone(),
            revision: listing.revision.clone(),
            bytes: listing.bytes(),
            files: listing.files.len(),
        }
    }

    /// Of a fetch that is complete.
    #[must_use]
    pub fn complete(marker: &Marker, standing: &Standing) -> Self {
        Self::Complete {
            source: marker.listing.source.clone(),
            revision: marker.listing.revision.clone(),
            bytes: marker.bytes,
            files: marker.listing.files.len(),
            bytes_fetched: standing.bytes_fetched,
        }
    }

    /// Of one that is not.
    #[must_use]
    pub fn failed(failure: &Failure) -> Self {
        Self::Failed {
            reason: failure.reason,
            message: failure.message.chars().take(LONGEST_MESSAGE).collect(),
            time_may_heal: failure.reason.time_may_heal(),
        }
    }
}

/// Writes the ending to a file that exists, such as a container's `/dev/termination-log`, or makes it.
///
/// # Errors
/// When the file cannot be written.
pub fn write_termination(path: &Path, ending: &Ending) -> io::Result<()> {
    // In place: the kubelet mounts the file itself, and a mount cannot be renamed over.
    fs::write(path, serde_json::to_vec(ending)?)
}

/// A file that says how far a fetch is.
pub struct StatusFile {
    path: PathBuf,
    clock: fn() -> Timestamp,
    written: Option<(Instant, Standing)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    #[serde(flatten)]
    standing: &'a Standing,
    updated_at: Timestamp,
    #[serde(flatten)]
    ending: Option<Ending>,
}

impl StatusFile {
    /// At `path`, which others may read at any moment: each sees one state whole.
    #[must_use]
    pub fn new(path: PathBuf, clock: fn() -> Timestamp) -> Self {
        Self {
            path,
            clock,
            written: None,
        }
    }

    /// Writes how far it is, unless it just has. A failure is logged once: it is no reason to end a fetch.
    pub fn tell(&mut self, standing: &Standing, now: Instant) {
        let is_soon = |(at, what): &(Instant, Standing)| {
            what == standing || (what.phase == standing.phase && now.duration_since(*at) < BETWEEN_WRITES)
        };
        if !self.written.as_ref().is_some_and(is_soon) {
            self.write(standing, None);
            self.written = Some((now, standing.clone()));
        }
    }

    /// Writes how it ended.
    pub fn end(self, standing: &Standing, failure: Option<&Failure>) {
        self.write(standing, failure.map(Ending::failed));
    }

    fn write(&self, standing: &Standing, ending: Option<Ending>) {
        let status = Status {
            standing,
            updated_at: (self.clock)(),
            ending,
        };
        let written = serde_json::to_vec(&status).map_err(io::Error::from);
        if let Err(error) = written.and_then(|bytes| write_atomically(&self.path, &bytes))
            && self.written.is_none()
        {
            tracing::warn!(%error, "the status file {} cannot be written", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::meter::Phase;
    use super::*;
    use crate::fetch::tests::{Scratch, now};

    fn standing(bytes_done: u64) -> Standing {
        Standing {
            phase: Phase::Fetching,
            source: "hf://org/name@main".into(),
            revision: None,
            bytes_total: 10,
            bytes_done,
            bytes_fetched: bytes_done,
            files: 1,
            files_done: 0,
            started_at: now(),
        }
    }

    #[test]
    fn the_status_file_is_written_no_more_often_than_once_a_second() {
        let scratch = Scratch::new();
        let path = scratch.path().join("status.json");
        let read = || serde_json::from_slice::<Value>(&fs::read(&path).unwrap()).unwrap();
        let mut file = StatusFile::new(path.clone(), now);
        let begin = Instant::now();
        file.tell(&standing(1), begin);
        file.tell(&standing(2), begin + Duration::from_millis(999));
        assert_eq!(read()["bytesDone"], 1);
        file.tell(&standing(3), begin + Duration::from_secs(1));
        assert_eq!(read()["bytesDone"], 3);

        let failure = Failure::new(Reason::GatedModel, "no", "ask");
        file.end(&standing(3).ended(false), Some(&failure));
        let status = read();
        assert_eq!((&status["phase"], &status["reason"]), (&json!("Failed"), &json!("GatedModel")));
        assert_eq!(status["updatedAt"], json!(now().to_string()));
    }

    #[test]
    fn a_long_message_fits_a_termination_message() {
        let failure = Failure::new(Reason::Unreachable, "x".repeat(10_000), "wait");
        let json = serde_json::to_value(Ending::failed(&failure)).unwrap();
        assert!(json.to_string().len() < 4096);
        assert_eq!((&json["reason"], &json["timeMayHeal"]), (&json!("Unreachable"), &json!(true)));
    }
}
