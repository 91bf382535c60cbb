//! Log lines of requests do not wait for whoever reads stderr: they go through a queue that is bounded in lines and bytes, and what does not fit is lost
//! and counted.
//! All other lines are written at once, so that the last words of a process that ends are not lost. (`tracing-appender` does the same with
//! four more crates, and for all lines or none.)

use std::io::{self, Stderr, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use crate::gateway::{ACCESS, CONTENT};

/// Lines that wait at most.
const ROOM: usize = 8192;
/// Bytes that wait at most: those with what was asked and answered are long.
const BYTES: usize = 16 << 20;
/// How long the last lines may take.
const FLUSH: Duration = Duration::from_secs(1);
/// Between two looks at a full queue.
const PAUSE: Duration = Duration::from_millis(5);

enum Entry {
    Line(Vec<u8>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

/// Where log lines go.
#[derive(Clone)]
pub(super) struct Lines {
    queue: SyncSender<Entry>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Bytes that wait.
    waiting: AtomicUsize,
    /// Lines that are lost, and nobody was told of yet.
    lost: AtomicU64,
}

impl Lines {
    /// To stderr.
    pub(super) fn to_stderr() -> io::Result<Self> {
        Self::to(io::stderr(), ROOM)
    }

    fn to(out: impl Write + Send + 'static, room: usize) -> io::Result<Self> {
        let (queue, entries) = sync_channel(room);
        let counts = Arc::<Counts>::default();
        let lines = Self {
            queue,
            counts: counts.clone(),
        };
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write(&entries, out, &counts))?;
        Ok(lines)
    }

    /// Waits until what was logged so far is written, for a moment at most.
    pub(super) fn flush(&self) {
        let (written, wait) = sync_channel(1);
        let until = Instant::now() + FLUSH;
        let mut entry = Entry::Flush(written);
        // A full queue becomes less so, unless nobody reads stderr any more.
        while let Err(TrySendError::Full(back)) = self.queue.try_send(entry) {
            if Instant::now() >= until {
                return;
            }
            entry = back;
            thread::sleep(PAUSE);
        }
        wait.recv_timeout(FLUSH).ok();
    }

    fn queue(&self, line: &[u8]) {
        let Counts { waiting, lost } = &*self.counts;
        let before = waiting.fetch_add(line.len(), Ordering::Relaxed);
        if before + line.len() > BYTES || self.queue.try_send(Entry::Line(line.to_vec())).is_err() {
            waiting.fetch_sub(line.len(), Ordering::Relaxed);
            lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write(entries: &Receiver<Entry>, mut out: impl Write, counts: &Counts) {
    for entry in entries {
        match entry {
            // Who reads it is gone: there is nobody to tell.
            Entry::Line(line) => {
                out.write_all(&line).unwrap_or_default();
                counts.waiting.fetch_sub(line.len(), Ordering::Relaxed);
            }
            Entry::Flush(written) => written.try_send(()).unwrap_or_default(),
        }
        let lost = counts.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lost, "log lines of requests are lost: they come faster than stderr is read");
        }
    }
}

/// Takes one line.
pub(super) enum Line<'a> {
    Direct(Stderr),
    Queued(&'a Lines),
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Direct(stderr) => stderr.write(bytes),
            Self::Queued(lines) => {
                lines.queue(bytes);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Direct(stderr) => stderr.flush(),
            Self::Queued(_) => Ok(()),
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line::Direct(io::stderr())
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Line<'a> {
        if of.target() == ACCESS || of.target() == CONTENT {
            Line::Queued(self)
        } else {
            self.make_writer()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use super::*;

    /// Takes a line only when the test says so.
    struct Slow(Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().ok();
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_read_makes_nobody_wait_and_lines_are_lost_and_counted() {
        let (go, gate) = channel();
        let written: Arc<Mutex<Vec<u8>>> = Arc::default();
        let lines = Lines::to(Slow(gate, written.clone()), 2).unwrap();
        for number in 0..100 {
            Line::Queued(&lines).write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        // One or none is with the reader, two wait.
        let lost = lines.counts.lost.load(Ordering::Relaxed);
        assert!((97..=98).contains(&lost), "{lost}");
        drop(go);
        lines.flush();
        assert!(written.lock().unwrap().starts_with(b"0\n1\n"));
    }

    #[test]
    fn long_lines_are_lost_before_they_take_all_memory() {
        let (go, gate) = channel();
        let written: Arc<Mutex<Vec<u8>>> = Arc::default();
        let lines = Lines::to(Slow(gate, written.clone()), ROOM).unwrap();
        let long = vec![b'x'; BYTES / 8];
        for _ in 0..10 {
            Line::Queued(&lines).write_all(&long).unwrap();
        }
        // The one that is being written counts until it is.
        assert_eq!(lines.counts.lost.load(Ordering::Relaxed), 2);
        drop(go);
        lines.flush();
        assert_eq!(written.lock().unwrap().len(), 8 * long.len());
        assert_eq!(lines.counts.waiting.load(Ordering::Relaxed), 0);
    }
}
