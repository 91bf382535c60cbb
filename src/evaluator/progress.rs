//! What has been answered so far, one JSON line a question. A run that is killed and started again reads it and asks only what is missing.
//! Each line is handed to the kernel whole before the next question counts as done; the file lives as long as its pod, so nothing is gained
//! by forcing it to the disk.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::protocol::usage::Tokens;

/// How one question to one model ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The model's place among the targets.
    #[serde(rename = "t")]
    pub target: usize,
    /// The suite's place.
    #[serde(rename = "s")]
    pub suite: usize,
    /// The question's place in its dataset.
    #[serde(rename = "q")]
    pub question: usize,
    /// How it ended.
    #[serde(rename = "e")]
    pub end: End,
    /// What it used, when known.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
}

/// The ends that a question can come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// Right.
    Right,
    /// Wrong.
    Wrong,
    /// No answer was found in what was said.
    Unparsed,
    /// There was no answer.
    Error,
}

#[derive(Serialize, Deserialize)]
struct Header {
    run: String,
}

/// The file.
pub struct Progress {
    file: File,
}

impl Progress {
    /// Opens the file of the run with this digest, and reads what it has. A file of another run is begun anew, and a last line that was cut
    /// off is taken back.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(path: &Path, run: &str) -> anyhow::Result<(Self, Vec<Entry>)> {
        let context = || format!("the progress file {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(context)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(context)?;
        let (entries, kept) = parse(&bytes, run);
        file.set_len(u64::try_from(kept).unwrap_or(0)).with_context(context)?;
        file.seek(SeekFrom::End(0)).with_context(context)?;
        let mut progress = Self { file };
        if kept == 0 {
            progress.line(&Header { run: run.to_owned() }).with_context(context)?;
        }
        Ok((progress, entries))
    }

    /// Notes down one end.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn note(&mut self, entry: &Entry) -> anyhow::Result<()> {
        self.line(entry).context("writing the progress file")
    }

    fn line<T: Serialize>(&mut self, value: &T) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

/// The entries of this run, and how many bytes hold them.
fn parse(bytes: &[u8], run: &str) -> (Vec<Entry>, usize) {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let header = lines
        .next()
        .filter(|line| serde_json::from_slice::<Header>(line).is_ok_and(|header| header.run == run));
    let Some(header) = header else { return (Vec::new(), 0) };
    let mut kept = header.len();
    let mut entries = Vec::new();
    for line in lines {
        let Ok(entry) = serde_json::from_slice(line) else { break };
        entries.push(entry);
        kept += line.len();
    }
    (entries, kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(question: usize) -> Entry {
        Entry {
            target: 0,
            suite: 1,
            question,
            end: End::Right,
            tokens: Some(Tokens {
                input: 12,
                output: 3,
                ..Tokens::default()
            }),
        }
    }

    fn file(run: &str, count: usize) -> Vec<u8> {
        let mut bytes = format!("{{\"run\":{run:?}}}\n").into_bytes();
        for question in 0..count {
            bytes.extend(serde_json::to_vec(&entry(question)).unwrap());
            bytes.push(b'\n');
        }
        bytes
    }

    #[test]
    fn what_another_run_noted_is_not_taken_over() {
        assert_eq!(parse(&file("a", 3), "b"), (vec![], 0));
        assert_eq!(parse(&file("a", 3), "a").0.len(), 3);
    }

    proptest! {
        #[test]
        fn a_file_cut_anywhere_keeps_its_whole_lines(count in 0usize..6, cut in 0usize..400) {
            let bytes = file("a", count);
            let cut = cut.min(bytes.len());
            let whole = bytes[..cut].iter().filter(|byte| **byte == b'\n').count();
            let (entries, kept) = parse(&bytes[..cut], "a");
            prop_assert_eq!(entries, (0..whole.saturating_sub(1)).map(entry).collect::<Vec<_>>());
            prop_assert!(kept <= cut && (kept == 0 || bytes[kept - 1] == b'\n'));
        }
    }
}
