//! Which bytes are there. A part of a file is written in order, so its progress is one number; all of them are in one small file, next to a
//! digest of what they belong to.
//!
//! A number is written after the bytes that it counts, so a process that is killed at any moment leaves it too small, never too large. A
//! machine that loses power may lose bytes that were counted; checksums find that, and where a source has none, bytes are forced to the disk
//! before they are counted.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::listing::RemoteFile;

const HEADER: usize = 32;
const NUMBER: usize = 8;

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The file's place in the listing.
    pub(super) file: usize,
    pub(super) start: u64,
    /// One beyond its last byte.
    pub(super) end: u64,
}

impl Segment {
    pub(super) fn bytes(self) -> u64 {
        self.end - self.start
    }
}

/// All files in parts, in their order. An empty file has one, which is empty.
pub(super) fn segments(files: &[RemoteFile], segment_bytes: u64) -> Vec<Segment> {
    let of = |(file, size): (usize, u64)| {
        (0..size.div_ceil(segment_bytes).max(1)).map(move |index| {
            let start = index * segment_bytes;
            Segment {
                file,
                start,
                end: start.saturating_add(segment_bytes).min(size),
            }
        })
    };
    files.iter().map(|file| file.size).enumerate().flat_map(of).collect()
}

/// The progress of each part.
pub(super) struct Ledger {
    file: File,
    done: Vec<AtomicU64>,
}

impl Ledger {
    /// Opens the ledger of `segments`, which belong to what `digest` is the digest of. That of anything else is begun anew.
    pub(super) fn open(path: &Path, digest: &[u8; HEADER], segments: &[Segment]) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        let length = HEADER + NUMBER * segments.len();
        Read::by_ref(&mut file).take(length as u64 + 1).read_to_end(&mut bytes)?;
        let is_ours = bytes.len() == length && bytes.starts_with(digest);
        if !is_ours {
            // The digest comes last: until it is there, the zeros belong to nothing.
            file.set_len(0)?;
            file.set_len(length as u64)?;
            file.write_all_at(digest, 0)?;
        }
        let number = |index: usize| {
            let at = HEADER + NUMBER * index;
            let bytes = bytes
                .get(at..at + NUMBER)
                .and_then(|bytes| bytes.try_into().ok())
                .filter(|_| is_ours);
            bytes.map_or(0, u64::from_le_bytes)
        };
        let done = segments
            .iter()
            .enumerate()
            .map(|(index, segment)| AtomicU64::new(number(index).min(segment.bytes())));
        Ok(Self {
            done: done.collect(),
            file,
        })
    }

    /// Bytes of a part that are there.
    pub(super) fn done(&self, segment: usize) -> u64 {
        self.done[segment].load(Ordering::Acquire)
    }

    /// So many bytes of a part are there.
    pub(super) fn note(&self, segment: usize, done: u64) -> io::Result<()> {
        self.file.write_all_at(&done.to_le_bytes(), (HEADER + NUMBER * segment) as u64)?;
        self.done[segment].store(done, Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::listing::{Check, FilePath};
    use super::*;
    use crate::fetch::tests::Scratch;

    fn files(sizes: &[u64]) -> Vec<RemoteFile> {
        let file = |(index, size): (usize, &u64)| RemoteFile {
            path: FilePath::new(&format!("f{index}")).unwrap(),
            size: *size,
            check: Check::Size,
            etag: None,
        };
        sizes.iter().enumerate().map(file).collect()
    }

    #[test]
    fn progress_is_found_again_and_that_of_something_else_is_not() {
        let scratch = Scratch::new();
        let path = scratch.path().join("progress");
        let segments = segments(&files(&[10, 0]), 4);
        let ledger = Ledger::open(&path, &[7; 32], &segments).unwrap();
        ledger.note(1, 3).unwrap();
        drop(ledger);

        let again = Ledger::open(&path, &[7; 32], &segments).unwrap();
        assert_eq!((0..4).map(|index| again.done(index)).collect::<Vec<_>>(), [0, 3, 0, 0]);
        let other = Ledger::open(&path, &[8; 32], &segments).unwrap();
        assert_eq!(other.done(1), 0);
    }

    #[test]
    fn a_number_beyond_its_part_is_not_believed() {
        let scratch = Scratch::new();
        let path = scratch.path().join("progress");
        let segments = segments(&files(&[10]), 4);
        Ledger::open(&path, &[7; 32], &segments).unwrap().note(2, u64::MAX).unwrap();
        assert_eq!(Ledger::open(&path, &[7; 32], &segments).unwrap().done(2), 2);
    }

    proptest! {
        #[test]
        fn parts_cover_every_byte_once(sizes in prop::collection::vec(0u64..50, 0..5), bytes in 1u64..20) {
            let files = files(&sizes);
            for (index, file) in files.iter().enumerate() {
                let mut at = 0;
                for segment in segments(&files, bytes).into_iter().filter(|segment| segment.file == index) {
                    prop_assert_eq!(segment.start, at);
                    prop_assert!(segment.bytes() <= bytes);
                    at = segment.end;
                }
                prop_assert_eq!(at, file.size);
            }
        }
    }
}
