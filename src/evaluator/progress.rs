//! What has been answered so far, one JSON line a question. A run that is killed and started again reads it and asks only what is missing.
//! Each line is handed to the kernel whole before the next question counts as done; the file lives as long as its pod, so nothing is gained
//! by forcing it to the disk. Where reports go to a bucket, so does what is noted, and what is not there yet is bounded by an allowance.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::allowance::{Ahead, Amount};
use super::judge::Judged;
use super::latency::stream::Ended;
use super::shipping::Shipping;
use crate::plan::evaluation::report::Limit;
use crate::protocol::usage::Tokens;

/// One question to one model, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Asked {
    /// The model's place among those that are asked.
    #[serde(rename = "t")]
    pub(super) target: usize,
    /// The suite's place.
    #[serde(rename = "s")]
    pub(super) suite: usize,
    /// The question's place in its dataset.
    #[serde(rename = "q")]
    pub(super) question: usize,
    /// Which time it is asked, from 0.
    #[serde(rename = "r", default, skip_serializing_if = "is_none")]
    pub(super) repeat: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_none(count: &u32) -> bool {
    *count == 0
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// What was asked.
    #[serde(flatten)]
    pub(super) asked: Asked,
    /// How it ended.
    #[serde(rename = "e")]
    pub(super) end: End,
    /// From 0 to 1.
    #[serde(rename = "x")]
    pub(super) score: f64,
    /// What it used, when known.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub(super) tokens: Option<Tokens>,
    /// How many answers may have been given, and paid for, that never came.
    #[serde(rename = "l", default, skip_serializing_if = "is_none")]
    pub(super) lost: u32,
    /// What was said, thoughts aside, where the run keeps it.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    /// What a judge said of it.
    #[serde(rename = "j", default, skip_serializing_if = "Option::is_none")]
    pub(super) judge: Option<Box<Judgements>>,
    /// Why a program scored it so, where the run keeps it.
    #[serde(rename = "y", default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<Box<str>>,
    /// How long it took, of a request of a load.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub(super) timed: Option<Box<Ended>>,
}

/// What a judge said of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Judgements {
    /// Both verdicts; none where one of them could not be read.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub(super) verdicts: Option<Judged>,
    /// What each judgement that came used, when known: each has its own price, which may depend on how long a prompt is.
    #[serde(rename = "u")]
    pub(super) tokens: Vec<Option<Tokens>>,
    /// What was said, where the run keeps it.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) texts: Vec<String>,
}

/// The ends that a question can come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum End {
    /// Right.
    Right,
    /// Wrong.
    Wrong,
    /// As good as its score says.
    Graded,
    /// The answer was withheld.
    Refused,
    /// The answer was cut off, and none was found in it.
    Truncated,
    /// No answer was found in what was said.
    Unparsed,
    /// What the judge said of the answer could not be read.
    Unjudged,
    /// There was no answer.
    Error,
}

/// The most that a question may use, noted before it is asked: what a run that is killed has spent is then known to be no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reserved {
    /// What is asked.
    #[serde(flatten)]
    pub(super) asked: Asked,
    /// The most tokens.
    #[serde(rename = "n")]
    pub(super) tokens: u64,
    /// The most nano-dollars.
    #[serde(rename = "c")]
    pub(super) cost: u64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    run: String,
    /// When the first question was about to be asked, in seconds since 1970.
    begun: i64,
}

/// The limit that kept a program beside the run from asking on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stopped {
    /// The limit.
    pub(super) stopped: Limit,
}

/// The end of a segment in the store: what may be asked after it.
#[derive(Serialize, Deserialize)]
pub(super) struct Granted {
    #[serde(rename = "g")]
    pub(super) granted: Amount,
    /// Who wrote it.
    pub(super) by: String,
}

/// What a pod that was lost may have spent beyond what it brought up.
#[derive(Serialize, Deserialize)]
struct Gone {
    gone: Amount,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Ended(Entry),
    Reserved(Reserved),
    Stopped(Stopped),
    Granted(Granted),
    Gone(Gone),
}

/// What an earlier attempt left.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Noted {
    /// When the first question was about to be asked, in seconds since 1970.
    pub(super) begun: i64,
    /// What ended.
    pub(super) ended: Vec<Entry>,
    /// What was asked and has not ended: its answer is lost, and paid for.
    pub(super) lost: Vec<Reserved>,
    /// The limit at which it stopped.
    pub(super) stopped: Option<Limit>,
    /// What was spent beside, at most, on what nobody knows.
    pub(super) gone: Amount,
    /// What the last segment grants.
    pub(super) granted: Amount,
    /// Who wrote it.
    pub(super) by: Option<String>,
}

/// The file.
pub(super) struct Lines {
    file: File,
    length: u64,
}

impl Lines {
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        // Over what is left of one of which a full disk took a part only.
        self.file.write_all_at(line, self.length)?;
        self.length += line.len() as u64;
        Ok(())
    }

    /// Its bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The same, to be read at places.
    pub(super) fn reader(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

/// A value as its line.
pub(super) fn line_of<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// Where it is noted down.
pub(super) enum Progress {
    /// In the file.
    Here(Lines),
    /// There, and in a bucket; with what tells of its changes.
    Shipped(Arc<Shipping>, watch::Receiver<()>),
}

impl Progress {
    /// Opens the file of the run with this digest, and reads what it has. A file of another run is begun anew, at `now` in seconds since 1970, and
    /// a last line that was cut off is taken back.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub(super) fn open(path: &Path, run: &str, now: i64) -> anyhow::Result<(Lines, Noted)> {
        let context = || format!("the progress file {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(context)?;
        // A pod on a node that is only thought to be lost may still be writing.
        let locked = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
        // A file system that knows no locks is no reason not to evaluate.
        anyhow::ensure!(
            locked != Err(rustix::io::Errno::WOULDBLOCK),
            "another pod of this run still writes {}; it is tried again",
            path.display()
        );
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(context)?;
        let (noted, kept) = parse(&bytes, run);
        file.set_len(u64::try_from(kept).unwrap_or(0)).with_context(context)?;
        let mut lines = Lines { file, length: kept as u64 };
        if kept > 0 {
            return Ok((lines, noted));
        }
        let header = Header {
            run: run.to_owned(),
            begun: now,
        };
        line_of(&header).and_then(|line| lines.write(&line)).with_context(context)?;
        let noted = Noted {
            begun: now,
            ..Noted::default()
        };
        Ok((lines, noted))
    }

    /// What is noted in the file of the run with this digest.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(path: &Path, run: &str) -> anyhow::Result<Noted> {
        let bytes = std::fs::read(path).with_context(|| format!("the progress file {}", path.display()))?;
        Ok(parse(&bytes, run).0)
    }

    /// What is noted in the file, of whichever run it is. Nothing where there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read_any(path: &Path) -> anyhow::Result<Noted> {
        if !path.exists() {
            return Ok(Noted::default());
        }
        let bytes = std::fs::read(path).with_context(|| format!("the progress file {}", path.display()))?;
        let header = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let run = serde_json::from_slice::<Header>(header).map(|header| header.run);
        Ok(run.map(|run| parse(&bytes, &run).0).unwrap_or_default())
    }

    /// Goes on in a bucket too.
    pub(super) fn shipped(shipping: Arc<Shipping>) -> Self {
        let changes = shipping.subscribe();
        Self::Shipped(shipping, changes)
    }

    /// Notes down one end, or that one more answer was lost.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn note<T: Serialize>(&mut self, value: &T) -> anyhow::Result<()> {
        let line = line_of(value).context(WRITING)?;
        match self {
            Self::Here(lines) => lines.write(&line).context(WRITING),
            Self::Shipped(shipping, _) => shipping.note(&line).context(WRITING),
        }
    }

    /// Notes down what is about to be asked, where it is known that the next pod will count it; else false, and [`Self::changed`] tells when to
    /// try again.
    ///
    /// # Errors
    /// When the file cannot be written, or nothing reaches the bucket any more.
    pub(super) fn try_reserve(&mut self, most: &Reserved, ahead: &Ahead) -> anyhow::Result<bool> {
        let line = line_of(most).context(WRITING)?;
        match self {
            Self::Here(lines) => lines.write(&line).context(WRITING).map(|()| true),
            Self::Shipped(shipping, _) => shipping.reserve(most, &line, ahead),
        }
    }

    /// The same, and waits for it.
    ///
    /// # Errors
    /// Likewise.
    pub(super) async fn reserve(&mut self, most: &Reserved, ahead: &Ahead) -> anyhow::Result<()> {
        while !self.try_reserve(most, ahead)? {
            self.changed().await;
        }
        Ok(())
    }

    /// Counts answers that were lost on the way and are asked for again, so that no more is asked before the bucket knows of them.
    pub(super) fn lose(&self, most: &Reserved, times: u32) {
        if let Self::Shipped(shipping, _) = self {
            shipping.lose(most, times);
        }
    }

    /// Waits for a change of what may be asked.
    pub(super) async fn changed(&mut self) {
        match self {
            Self::Here(_) => std::future::pending().await,
            // Its sender lives as long as the other.
            Self::Shipped(_, changes) => changes.changed().await.unwrap_or_default(),
        }
    }

    /// Waits until the next pod would know of all this.
    ///
    /// # Errors
    /// When nothing reaches the bucket any more.
    pub(super) async fn settle(&self) -> anyhow::Result<()> {
        match self {
            Self::Here(_) => Ok(()),
            Self::Shipped(shipping, _) => shipping.settle().await.map_err(anyhow::Error::msg),
        }
    }
}

const WRITING: &str = "writing the progress file";

/// The line of what a pod that was lost may have spent.
pub(super) fn line_of_gone(gone: Amount) -> io::Result<Vec<u8>> {
    line_of(&Gone { gone })
}

/// What is noted of this run, and how many bytes hold it.
pub(super) fn parse(bytes: &[u8], run: &str) -> (Noted, usize) {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let header = lines.next().and_then(|line| {
        let header: Header = serde_json::from_slice(line).ok()?;
        (header.run == run).then_some((header.begun, line.len()))
    });
    let Some((begun, mut kept)) = header else {
        return (Noted::default(), 0);
    };
    let mut ended = Vec::new();
    let mut open: BTreeMap<Asked, Reserved> = BTreeMap::new();
    let mut lost = Vec::new();
    let mut stopped = None;
    let (mut gone, mut granted, mut by) = (Amount::default(), Amount::default(), None);
    for line in lines {
        match serde_json::from_slice(line) {
            Ok(Line::Ended(entry)) => {
                if let Some(reserved) = open.remove(&entry.asked) {
                    lost.extend((0..entry.lost).map(|_| reserved));
                }
                ended.push(entry);
            }
            // One that is asked anew was lost before.
            Ok(Line::Reserved(reserved)) => lost.extend(open.insert(reserved.asked, reserved)),
            Ok(Line::Stopped(at)) => stopped = stopped.or(Some(at.stopped)),
            Ok(Line::Granted(line)) => (granted, by) = (line.granted, Some(line.by)),
            Ok(Line::Gone(line)) => gone = gone.plus(line.gone),
            Err(_) => break,
        }
        kept += line.len();
    }
    lost.extend(open.into_values());
    let noted = Noted {
        begun,
        ended,
        lost,
        stopped,
        gone,
        granted,
        by,
    };
    (noted, kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(question: usize) -> Entry {
        Entry {
            asked: asked(question),
            end: End::Right,
            score: 1.0,
            tokens: Some(Tokens {
                input: 12,
                output: 3,
                ..Tokens::default()
            }),
            lost: 0,
            text: None,
            judge: None,
            reason: None,
            timed: None,
        }
    }

    fn asked(question: usize) -> Asked {
        Asked {
            target: 0,
            suite: 1,
            question,
            repeat: 0,
        }
    }

    fn reserved(question: usize) -> Reserved {
        Reserved {
            asked: asked(question),
            tokens: 100,
            cost: 7,
        }
    }

    fn file(run: &str, count: usize) -> Vec<u8> {
        let mut bytes = format!("{{\"run\":{run:?},\"begun\":17}}\n").into_bytes();
        for question in 0..count {
            bytes.extend(serde_json::to_vec(&reserved(question)).unwrap());
            bytes.push(b'\n');
            bytes.extend(serde_json::to_vec(&entry(question)).unwrap());
            bytes.push(b'\n');
        }
        bytes
    }

    #[test]
    fn what_another_run_noted_is_not_taken_over() {
        assert_eq!(parse(&file("a", 3), "b"), (Noted::default(), 0));
        let (noted, _) = parse(&file("a", 3), "a");
        assert_eq!((noted.ended.len(), noted.lost.len(), noted.begun), (3, 0, 17));
    }

    #[test]
    fn what_was_asked_and_never_answered_is_lost_each_time() {
        let mut bytes = file("a", 1);
        for _ in 0..2 {
            bytes.extend(serde_json::to_vec(&reserved(5)).unwrap());
            bytes.push(b'\n');
        }
        assert_eq!(parse(&bytes, "a").0.lost, [reserved(5), reserved(5)]);
        bytes.extend(serde_json::to_vec(&entry(5)).unwrap());
        bytes.push(b'\n');
        assert_eq!(parse(&bytes, "a").0.lost, [reserved(5)]);
    }

    #[test]
    fn a_line_that_was_written_in_part_is_written_over() {
        use std::io::Write;
        let path = std::env::temp_dir().join(format!("portfolio-progress-{}-{}", std::process::id(), fastrand::u64(..)));
        let (mut lines, _) = Progress::open(&path, "a", 17).unwrap();
        // What a disk took of a line before it was full.
        let line = line_of(&entry(1)).unwrap();
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(&line[..line.len() - 1])
            .unwrap();
        lines.write(&line_of(&reserved(0)).unwrap()).unwrap();
        lines.write(&line).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(bytes.len() as u64, lines.length());
        let (noted, kept) = parse(&bytes, "a");
        assert_eq!((noted.ended, noted.lost, kept), (vec![entry(1)], vec![reserved(0)], bytes.len()));
    }

    proptest! {
        #[test]
        fn a_file_cut_anywhere_keeps_its_whole_lines(count in 0usize..6, cut in 0usize..800) {
            let bytes = file("a", count);
            let cut = cut.min(bytes.len());
            let whole = bytes[..cut].iter().filter(|byte| **byte == b'\n').count();
            let (noted, kept) = parse(&bytes[..cut], "a");
            let lines = whole.saturating_sub(1);
            prop_assert_eq!(noted.ended, (0..lines / 2).map(entry).collect::<Vec<_>>());
            prop_assert_eq!(noted.lost.len(), lines % 2);
            prop_assert!(kept <= cut && (kept == 0 || bytes[kept - 1] == b'\n'));
        }
    }
}
