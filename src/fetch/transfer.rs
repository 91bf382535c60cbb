//! Getting the bytes. Files are cut into parts; a few connections take one part after another, write what comes, and try again where one
//! breaks off. Whoever finishes the last part of a file verifies it.
//!
//! ```text
//! absent ──► NAME.part grows ──► whole ──► right ──► NAME
//!              ▲      ▲            │ wrong
//!              │      └────────────┘ once, from its first byte; the second time it is ChecksumMismatch
//!              └ killed, or the network: the next attempt asks for the bytes that are missing
//! ```

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::blocking;
use super::failure::{Failure, Reason};
use super::folder::Folder;
use super::ledger::{Ledger, Segment};
use super::listing::{Check, Listing};
use super::meter::Meter;
use super::pace::{Pace, Patience};
use super::source::Source;
use super::verify;

/// What is to be got, from where, and into which folder.
pub(super) struct Job {
    pub(super) source: Source,
    pub(super) listing: Arc<Listing>,
    pub(super) folder: Folder,
    pub(super) pace: Pace,
    pub(super) meter: Arc<Meter>,
}

/// A fetch into a folder that it has the lock of.
pub(super) struct Transfer {
    job: Job,
    segments: Vec<Segment>,
    ledger: Arc<Ledger>,
    parts: Vec<Part>,
    next: AtomicUsize,
}

/// A file on its way.
#[derive(Default)]
struct Part {
    /// Open while it is written.
    file: Mutex<Option<Arc<File>>>,
    /// Parts of it that are not whole.
    left: AtomicUsize,
    /// It was there and right when the fetch began.
    is_kept: bool,
}

impl Transfer {
    /// `kept` says which files are right already.
    pub(super) fn new(job: Job, segments: Vec<Segment>, ledger: Ledger, kept: &[bool]) -> Self {
        let part = |&is_kept: &bool| Part {
            is_kept,
            ..Part::default()
        };
        let mut parts: Vec<Part> = kept.iter().map(part).collect();
        for segment in &segments {
            *parts[segment.file].left.get_mut() += 1;
        }
        Self {
            job,
            segments,
            ledger: Arc::new(ledger),
            parts,
            next: AtomicUsize::new(0),
        }
    }

    /// Counts what is there of files that are not whole. Says how many bytes the volume must have room for.
    pub(super) fn count(&self) -> Result<u64, Failure> {
        let mut needed: u64 = 0;
        let missing = self
            .job
            .listing
            .files
            .iter()
            .enumerate()
            .filter(|(index, _)| !self.parts[*index].is_kept);
        for (index, file) in missing {
            let (length, taken) = self.job.folder.part_size(file);
            let mut there = 0;
            for (number, segment) in of_file(&self.segments, index) {
                let done = self.ledger.done(number);
                if done > 0 && segment.start + done > length {
                    self.note(number, 0)?;
                }
                there += self.ledger.done(number);
            }
            self.job.meter.found(there);
            let reused = if there > 0 { taken } else { 0 };
            needed = needed.saturating_add(file.size.saturating_sub(reused));
        }
        Ok(needed)
    }

    /// Gets everything that is missing over so many connections.
    pub(super) async fn run(self, parallel: usize) -> Result<(), Failure> {
        self.job.meter.working();
        let this = Arc::new(self);
        let mut connections = JoinSet::new();
        for _ in 0..parallel.clamp(1, this.segments.len().max(1)) {
            let this = Arc::clone(&this);
            connections.spawn(async move { this.connection().await });
        }
        while let Some(ended) = connections.join_next().await {
            // One that cannot go on ends all: dropping the set stops the others.
            ended.map_err(|error| Failure::internal(format!("a connection's task ended: {error}")))??;
        }
        Ok(())
    }

    async fn connection(&self) -> Result<(), Failure> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(segment) = self.segments.get(number) else { return Ok(()) };
            let part = &self.parts[segment.file];
            if part.is_kept {
                continue;
            }
            self.fetch(number).await?;
            if part.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.finish(segment.file).await?;
            }
        }
    }

    /// Verifies a whole file. If it is wrong, gets it once more.
    async fn finish(&self, index: usize) -> Result<(), Failure> {
        let file = &self.job.listing.files[index];
        for is_last_chance in [false, true] {
            // A file of no bytes was never opened.
            self.opened(index)?;
            *self.parts[index].file.lock().unwrap_or_else(PoisonError::into_inner) = None;
            let path = file.path.part_within(self.job.folder.path());
            if verify::is_right(path, file.size, file.check.clone()).await? {
                let (folder, file) = (self.job.folder.clone(), file.clone());
                blocking(move || folder.keep(&file)).await??;
                self.job.meter.file_done();
                return Ok(());
            }
            // What is wrong is not kept for a later attempt either.
            for (number, segment) in of_file(&self.segments, index) {
                self.note(number, 0)?;
                self.job.meter.lost(segment.bytes());
            }
            if is_last_chance {
                break;
            }
            tracing::warn!(file = %file.path, "the bytes are not those of the revision: getting the file again");
            for (number, _) in of_file(&self.segments, index) {
                self.fetch(number).await?;
            }
        }
        Err(Failure::new(
            Reason::ChecksumMismatch,
            format!("twice, {} was not what {} says of it", file.path, self.job.listing.revision),
            "look for a proxy that changes content, or a failing disk; else tell the owner of the source",
        ))
    }

    /// Gets the missing bytes of a part.
    async fn fetch(&self, number: usize) -> Result<(), Failure> {
        let segment = self.segments[number];
        let mut patience = Patience::new(&self.job.pace);
        loop {
            let before = self.ledger.done(number);
            if before == segment.bytes() {
                return Ok(());
            }
            let Err(failure) = self.attempt(number, segment).await else {
                continue;
            };
            if self.ledger.done(number) - before >= self.job.pace.buffer_bytes as u64 {
                patience.restore();
            }
            patience.after(failure).await?;
        }
    }

    /// Asks for the missing bytes of a part, once. What comes is written even if it breaks off.
    async fn attempt(&self, number: usize, segment: Segment) -> Result<(), Failure> {
        let file = &self.job.listing.files[segment.file];
        let range = segment.start + self.ledger.done(number)..segment.end;
        let mut left = range.end - range.start;
        let mut content = self.job.source.open(&self.job.listing.revision, file, range).await?;
        let mut buffer: Vec<Bytes> = Vec::new();
        let mut buffered = 0;
        let buffer_time = self.job.pace.buffer_time;
        let mut full_by = Instant::now() + buffer_time;
        while left > 0 {
            let next = timeout_at(full_by, content.next()).await;
            let (bytes, ended) = match next {
                Ok(Some(Ok(bytes))) => (bytes, None),
                Ok(Some(Err(failure))) => (Bytes::new(), Some(failure)),
                Err(_) => {
                    let problem = format!("{} comes too slowly: {buffered} bytes in {buffer_time:?}", file.path);
                    (Bytes::new(), Some(Failure::unreachable(problem)))
                }
                Ok(None) => (
                    Bytes::new(),
                    Some(Failure::unreachable(format!("{} broke off {left} bytes early", file.path))),
                ),
            };
            let wanted = bytes.slice(..usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len()));
            left -= wanted.len() as u64;
            buffered += wanted.len();
            buffer.push(wanted);
            if buffered >= self.job.pace.buffer_bytes || left == 0 || ended.is_some() {
                self.write(number, std::mem::take(&mut buffer)).await?;
                buffered = 0;
                full_by = Instant::now() + buffer_time;
            }
            if let Some(failure) = ended {
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Writes the next bytes of a part, and then counts them.
    async fn write(&self, number: usize, buffer: Vec<Bytes>) -> Result<(), Failure> {
        let segment = self.segments[number];
        let file = &self.job.listing.files[segment.file];
        let path = file.path.part_within(self.job.folder.path());
        let (open, ledger) = (self.opened(segment.file)?, Arc::clone(&self.ledger));
        let is_unchecked = file.check == Check::Size;
        let before = ledger.done(number);
        let written = blocking(move || {
            let mut done = before;
            for bytes in buffer {
                open.write_all_at(&bytes, segment.start + done)?;
                done += bytes.len() as u64;
            }
            if is_unchecked && done > before {
                // Nothing would find bytes that a lost machine took with it.
                open.sync_data()?;
            }
            ledger.note(number, done).map(|()| done - before)
        });
        let written = written.await?.map_err(|error| Failure::io("writing", &path, &error))?;
        self.job.meter.fetched(written);
        Ok(())
    }

    /// The open part of a file; begun anew unless bytes of it count.
    fn opened(&self, index: usize) -> Result<Arc<File>, Failure> {
        let mut open = self.parts[index].file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*open {
            return Ok(Arc::clone(file));
        }
        let anew = of_file(&self.segments, index).all(|(number, _)| self.ledger.done(number) == 0);
        let file = Arc::new(self.job.folder.part(&self.job.listing.files[index], anew)?);
        *open = Some(Arc::clone(&file));
        Ok(file)
    }

    fn note(&self, number: usize, done: u64) -> Result<(), Failure> {
        let noted = self.ledger.note(number, done);
        noted.map_err(|error| Failure::io("writing the progress in", self.job.folder.path(), &error))
    }
}

/// The parts of a file, with their places among all.
fn of_file(segments: &[Segment], index: usize) -> impl Iterator<Item = (usize, Segment)> {
    let first = segments.partition_point(|segment| segment.file < index);
    let of = move |(_, segment): &(usize, Segment)| segment.file == index;
    segments.iter().copied().enumerate().skip(first).take_while(of)
}
