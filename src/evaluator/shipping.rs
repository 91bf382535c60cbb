//! Brings what is noted down into a bucket while it is noted: objects that are never changed, one after the other.
//!
//! ```text
//! noted ──► cut, when it is time or there is much of it ──► created as progress/000007.jsonl ──► up
//!                                                                │
//!                                                                └─ another pod has created it: this one ends
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use super::allowance::{Ahead, Allowance, Amount};
use super::files::Flaw;
use super::progress::{Granted, Lines, Reserved, line_of};
use super::store::flaw;
use crate::fetch::{Created, Objects};

/// When a segment is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rhythm {
    /// So long after the one before, where there is anything.
    pub(super) every: Duration,
    /// No sooner after the one before, unless somebody waits for it.
    pub(super) least: Duration,
    /// When there is so much.
    pub(super) bytes: u64,
}

impl Default for Rhythm {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(5),
            least: Duration::from_secs(1),
            bytes: 256 << 10,
        }
    }
}

/// Where segments go, and which is the next.
pub(super) struct To {
    pub(super) objects: Arc<Objects>,
    /// The folder of the run.
    pub(super) run: String,
    pub(super) rhythm: Rhythm,
    /// The number of the next one.
    pub(super) number: u32,
    /// What is up of the file.
    pub(super) up: u64,
}

/// The path of a segment in the folder of its run.
pub(super) fn name(number: u32) -> String {
    format!("{number:06}.jsonl")
}

/// What brings segments up, for as long as it lives.
pub(super) struct Shipping {
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

struct Shared {
    state: Mutex<State>,
    /// The file, to be read while others write.
    file: File,
    /// Something is to be done before its time.
    wake: Notify,
    /// Something has changed.
    told: watch::Sender<()>,
    objects: Arc<Objects>,
    run: String,
    rhythm: Rhythm,
    /// Tells the segments of this process from those of any other.
    writer: String,
}

struct State {
    lines: Lines,
    /// What is up of the file.
    up: u64,
    /// The number of the next segment.
    number: u32,
    allowance: Allowance,
    phase: Phase,
    /// Somebody waits until all that is noted is up.
    is_settling: bool,
    /// When the last one was cut.
    cut: Option<Instant>,
    /// When it was up.
    since: Option<Instant>,
    /// Why nothing goes up any more.
    failure: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Closing,
    Closed,
}

/// What there is to do now.
enum Next {
    Ship(Segment),
    /// Nothing for so long, unless something is noted.
    Wait(Duration),
}

struct Segment {
    number: u32,
    content: Bytes,
    end: u64,
    /// The same, and its last line once more: it says nothing else.
    other: Bytes,
    /// Nothing is asked after it.
    is_last: bool,
}

impl Shipping {
    /// Brings up what is there already, which shows whether the store takes it, and then what is noted.
    ///
    /// # Errors
    /// What the store says to it.
    pub(super) async fn begin(to: To, lines: Lines) -> Result<Self, Flaw> {
        let To {
            objects,
            run,
            rhythm,
            number,
            up,
        } = to;
        let shared = Arc::new(Shared {
            file: lines.reader().map_err(|error| broken(&error))?,
            state: Mutex::new(State {
                lines,
                up,
                number,
                allowance: Allowance::default(),
                phase: Phase::Open,
                is_settling: false,
                cut: None,
                since: None,
                failure: None,
            }),
            wake: Notify::new(),
            told: watch::Sender::new(()),
            objects,
            run,
            rhythm,
            writer: format!("{:016x}", fastrand::u64(..)),
        });
        let first = shared.cut(true).map_err(|error| broken(&error))?;
        if let Next::Ship(segment) = first {
            let (path, content, other) = (shared.path(&segment), segment.content.clone(), segment.other.clone());
            shared.ship(segment).await?;
            // Two pods that write are told apart by what they may not create.
            let learned = shared.objects.learn(&path, &content, &other).await;
            learned.map_err(|failure| flaw(shared.objects.uri(), &failure))?;
        }
        let task = tokio::spawn(Arc::clone(&shared).run());
        Ok(Self {
            shared,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// Notes down a line.
    pub(super) fn note(&self, line: &[u8]) -> anyhow::Result<()> {
        let mut state = self.shared.lock();
        state.lines.write(line)?;
        if state.lines.length() - state.up >= self.shared.rhythm.bytes {
            self.shared.wake.notify_one();
        }
        Ok(())
    }

    /// Notes down what is about to be asked; false where it must wait for a segment that grants it.
    ///
    /// # Errors
    /// That the file cannot be written, or nothing goes up any more.
    pub(super) fn reserve(&self, most: &Reserved, line: &[u8], ahead: &Ahead) -> anyhow::Result<bool> {
        let mut state = self.shared.lock();
        if let Some(why) = &state.failure {
            anyhow::bail!("{why}");
        }
        let is_granted = state.allowance.take(Amount::of(most), ahead);
        if is_granted {
            state.lines.write(line)?;
        }
        if state.allowance.is_wanted || state.allowance.is_awaited {
            self.shared.wake.notify_one();
        }
        Ok(is_granted)
    }

    /// Counts answers that were lost on the way, of a question that is asked again.
    pub(super) fn lose(&self, most: &Reserved, times: u32) {
        self.shared.lock().allowance.lose(Amount::of(most).times(times));
    }

    /// Hears of every change.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.shared.told.subscribe()
    }

    /// Waits until all that is noted now is up.
    ///
    /// # Errors
    /// Why it does not go up.
    pub(super) async fn settle(&self) -> Result<(), String> {
        let length = {
            let mut state = self.shared.lock();
            state.is_settling = true;
            state.lines.length()
        };
        self.until(|state| state.up >= length).await
    }

    /// Brings up what is left, with nothing granted after it.
    ///
    /// # Errors
    /// Why it does not go up.
    pub(super) async fn close(&self) -> Result<(), String> {
        {
            let mut state = self.shared.lock();
            if state.phase == Phase::Open {
                state.phase = Phase::Closing;
            }
        }
        self.until(|state| state.phase == Phase::Closed).await
    }

    async fn until(&self, holds: impl Fn(&State) -> bool) -> Result<(), String> {
        let mut told = self.subscribe();
        self.shared.wake.notify_one();
        loop {
            {
                let state = self.shared.lock();
                if holds(&state) {
                    return Ok(());
                }
                if let Some(why) = &state.failure {
                    return Err(why.clone());
                }
            }
            // Its sender lives as long as this does.
            told.changed().await.ok();
        }
    }
}

/// Another pod goes on with the run.
pub(super) fn is_taken_over(uri: &str) -> Flaw {
    Flaw::Passing(format!("another pod of this run writes to {uri}; it is tried again"))
}

fn broken(error: &io::Error) -> Flaw {
    Flaw::Passing(format!("the progress file: {error}"))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>) {
        let mut wait = self.rhythm.every;
        loop {
            // Woken or not: what there is decides.
            tokio::time::timeout(wait, self.wake.notified()).await.ok();
            wait = self.rhythm.every;
            let shipped = match self.cut(false) {
                Ok(Next::Wait(longer)) => {
                    wait = longer;
                    continue;
                }
                Ok(Next::Ship(segment)) => self.ship(segment).await,
                Err(error) => Err(broken(&error)),
            };
            let is_over = match shipped {
                Ok(is_last) => is_last,
                Err(Flaw::Lasting(why) | Flaw::Passing(why)) => {
                    self.lock().failure = Some(why);
                    true
                }
            };
            self.told.send_replace(());
            if is_over {
                return;
            }
        }
    }

    /// What is to go up next, if anything is.
    fn cut(&self, is_first: bool) -> io::Result<Next> {
        let (number, range, is_last, line) = {
            let mut state = self.lock();
            let is_closing = state.phase == Phase::Closing;
            let now = Instant::now();
            let for_some = |since: Option<Instant>| since.map_or(Duration::MAX, |since| now.duration_since(since));
            let since_cut = for_some(state.cut);
            if !(is_first || is_closing || state.is_settling || state.allowance.is_awaited) {
                let fresh = state.lines.length() - state.up;
                let is_due = fresh > 0 && since_cut >= self.rhythm.every;
                if !(is_due || state.allowance.is_wanted || fresh >= self.rhythm.bytes) {
                    let left = self.rhythm.every.saturating_sub(since_cut);
                    return Ok(Next::Wait(if fresh > 0 { left } else { self.rhythm.every }));
                }
                if since_cut < self.rhythm.least {
                    return Ok(Next::Wait(self.rhythm.least.saturating_sub(since_cut)));
                }
            }
            let granted = if is_closing {
                state.allowance.end()
            } else {
                let since = for_some(state.since);
                state.allowance.cut(since)
            };
            state.cut = Some(now);
            state.is_settling = false;
            let line = line_of(&Granted {
                granted,
                by: self.writer.clone(),
            })?;
            state.lines.write(&line)?;
            (state.number, state.up..state.lines.length(), is_closing, line)
        };
        let mut content = vec![0; usize::try_from(range.end - range.start).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut content, range.start)?;
        Ok(Next::Ship(Segment {
            number,
            other: [content.as_slice(), &line].concat().into(),
            content: content.into(),
            end: range.end,
            is_last,
        }))
    }

    fn path(&self, segment: &Segment) -> String {
        format!("{}/progress/{}", self.run, name(segment.number))
    }

    /// Brings it up; whether it is the last.
    async fn ship(&self, segment: Segment) -> Result<bool, Flaw> {
        let uri = self.objects.uri();
        let path = self.path(&segment);
        match self.objects.create(&path, &segment.content).await {
            Ok(Created::There) => {
                let mut state = self.lock();
                state.up = segment.end;
                state.number = segment.number.saturating_add(1);
                state.allowance.up();
                state.since = Some(Instant::now());
                if segment.is_last {
                    state.phase = Phase::Closed;
                }
                Ok(segment.is_last)
            }
            Ok(Created::Otherwise) => Err(is_taken_over(uri)),
            Err(failure) => Err(flaw(uri, &failure)),
        }
    }
}
