//! What evaluators of users' may still ask: the limits of the run, held before each request as they are for its own questions, and noted down so that
//! whoever goes on, and the run itself, knows what was spent.

use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::sync::Notify;

use super::{count, count_own, digest, invalid, noted_as, notes, stopped};
use crate::evaluator::files::Places;
use crate::evaluator::progress::{Asked, End, Entry, Progress, Reserved, Stopped};
use crate::evaluator::run::unpriced;
use crate::evaluator::tally::{Room, Tally, most_of};
use crate::plan::evaluation::report::{Limit, Report};
use crate::plan::evaluation::run::{Evaluation, Target};
use crate::protocol::usage::Tokens;

/// The most requests of one run: a program that never ends, and whose requests cost nothing, is not to fill the disk with what is noted of them.
const MOST_REQUESTS: usize = 500_000;

/// The books of one run.
pub(super) struct Books {
    run: Evaluation,
    clock: fn() -> Timestamp,
    /// In seconds since 1970.
    deadline: i64,
    /// Why a limit cannot be kept, so that nothing is asked.
    unpriced: Option<String>,
    now: Mutex<Now>,
    /// Told of each request that ends, and of a limit that is reached.
    changed: Notify,
}

struct Now {
    progress: Progress,
    tally: Tally,
    /// What the next request is called.
    next: usize,
    under_way: usize,
    stopped: Option<Limit>,
    /// Whether the limit was reached by this process, and not by one before it.
    is_news: bool,
}

/// Why a request is not sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A limit of the run is reached.
    Limit(Limit),
    /// There is no telling what it would cost.
    Unpriced(String),
    /// There were more than any evaluation needs.
    TooMany,
    /// It could not be noted down.
    Unnoted(String),
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    /// Whether an answer was passed on.
    pub(super) is_answered: bool,
    /// What it used, when known.
    pub(super) tokens: Option<Tokens>,
    /// Whether an answer may have been given, and paid for, that nobody can tell the cost of.
    pub(super) is_lost: bool,
}

impl Books {
    /// Opens the books of `run`, with all that earlier processes and pods of it have spent.
    ///
    /// # Errors
    /// When they cannot be read or written.
    pub(super) fn open(run: Evaluation, places: &Places) -> anyhow::Result<Self> {
        let now = (places.clock)().as_second();
        let (lines, noted) = Progress::open(&notes(&places.progress), &digest(&run), now)?;
        let progress = Progress::Here(lines);
        let own = Progress::read_any(&places.progress)?;
        let asked: Vec<&Target> = run.asked().collect();
        let mut tally = Tally::default();
        count(&noted, &asked, &mut tally);
        count_own(&run, &own, &asked, &mut tally);
        let begun = if own.begun > 0 { noted.begun.min(own.begun) } else { noted.begun };
        let known = noted
            .ended
            .iter()
            .map(|entry| entry.asked)
            .chain(noted.lost.iter().map(|lost| lost.asked));
        let next = known.map(|asked| asked.question + 1).max().unwrap_or(0);
        let deadline = begun.saturating_add(i64::try_from(run.limits.seconds).unwrap_or(i64::MAX));
        Ok(Self {
            unpriced: unpriced(&run),
            run,
            clock: places.clock,
            deadline,
            now: Mutex::new(Now {
                progress,
                tally,
                next,
                under_way: 0,
                stopped: noted.stopped,
                is_news: false,
            }),
            changed: Notify::new(),
        })
    }

    pub(super) fn run(&self) -> &Evaluation {
        &self.run
    }

    /// Whether the cost or the tokens are capped, so that what answers use must be known.
    pub(super) fn is_limited(&self) -> bool {
        self.run.limits.tokens.is_some() || self.run.limits.cost.is_some()
    }

    /// Keeps room for a request to the model at that place, of that suite's evaluator, of so many bytes and of so many tokens of answers at most, once there is some.
    ///
    /// # Errors
    /// Why it is not to be sent.
    pub(super) async fn reserve(&self, target: usize, suite: &str, bytes: u64, answers: u64) -> Result<Reserved, Refusal> {
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on, so that no request ends unseen between the look and the wait.
            changed.as_mut().enable();
            if let Some(decided) = self.try_reserve(target, suite, bytes, answers) {
                return decided;
            }
            changed.await;
        }
    }

    /// None where a request under way may use less than it might.
    fn try_reserve(&self, target: usize, suite: &str, bytes: u64, answers: u64) -> Option<Result<Reserved, Refusal>> {
        let mut now = self.now();
        if let Some(why) = &self.unpriced {
            return Some(Err(Refusal::Unpriced(why.clone())));
        }
        if let Some(limit) = now.stopped {
            return Some(Err(Refusal::Limit(limit)));
        }
        if now.next >= MOST_REQUESTS {
            return Some(Err(Refusal::TooMany));
        }
        let model = self.run.asked().nth(target)?;
        let asked = Asked {
            target,
            suite: noted_as(&self.run, suite)?,
            question: now.next,
            repeat: 0,
        };
        let most = most_of(asked, model, bytes, answers);
        let room = if self.is_late() {
            Room::No(Limit::Duration)
        } else {
            now.tally.room(&self.run.limits, &most, now.under_way > 0)
        };
        match room {
            Room::Wait => None,
            Room::No(limit) => {
                now.stopped = Some(limit);
                now.is_news = true;
                if let Err(error) = now.progress.note(&Stopped { stopped: limit }) {
                    tracing::warn!("that {} is reached cannot be noted: {error:#}", limit.field());
                }
                self.changed.notify_waiters();
                Some(Err(Refusal::Limit(limit)))
            }
            Room::Yes => Some(match now.progress.note(&most) {
                Ok(()) => {
                    now.tally.reserve(&most);
                    now.next += 1;
                    now.under_way += 1;
                    Ok(most)
                }
                Err(error) => Err(Refusal::Unnoted(format!("{error:#}"))),
            }),
        }
    }

    /// Notes down how a request ended, and gives back the room that it did not use.
    pub(super) fn end(&self, reserved: &Reserved, outcome: Outcome) {
        let mut now = self.now();
        now.under_way = now.under_way.saturating_sub(1);
        now.tally.release(reserved);
        let entry = Entry {
            asked: reserved.asked,
            end: if outcome.is_answered { End::Right } else { End::Error },
            score: 0.0,
            tokens: outcome.tokens.filter(|_| outcome.is_answered),
            lost: u32::from(outcome.is_lost),
            text: None,
            judge: None,
            reason: None,
            timed: None,
        };
        if outcome.is_lost {
            now.tally.lose(reserved);
        }
        if let Some(target) = self.run.asked().nth(reserved.asked.target) {
            now.tally.relay(target, &entry);
        }
        // What is not noted counts at its most, to whoever reads the file.
        if let Err(error) = now.progress.note(&entry) {
            tracing::warn!("what a request used cannot be noted: {error:#}");
        }
        drop(now);
        self.changed.notify_waiters();
    }

    /// The report of the run once a limit is reached, by this process, and nothing is under way any more.
    pub(super) async fn stopped(&self) -> Report {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(report) = self.report() {
                return report;
            }
            let left = self.deadline.saturating_sub((self.clock)().as_second());
            let left = Duration::from_secs(u64::try_from(left).unwrap_or(0));
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(left), if self.is_open() => self.expire(),
            }
        }
    }

    fn is_late(&self) -> bool {
        (self.clock)().as_second() >= self.deadline
    }

    fn is_open(&self) -> bool {
        self.now().stopped.is_none()
    }

    /// Ends the relay at the deadline, also where nobody asks. It is not noted: the run itself may be all that goes on, and is then to judge what it
    /// has. Where an evaluator does, it is the end of the relay that tells.
    fn expire(&self) {
        let mut now = self.now();
        if self.is_late() && now.stopped.is_none() {
            now.stopped = Some(Limit::Duration);
            now.is_news = true;
        }
    }

    fn report(&self) -> Option<Report> {
        let now = self.now();
        if let Some(why) = &self.unpriced {
            return Some(invalid(&self.run, &now.tally, why.clone()));
        }
        let limit = now.stopped.filter(|_| now.is_news && now.under_way == 0)?;
        Some(stopped(&self.run, &now.tally, limit))
    }

    /// Tokens and cost so far, as a report has them.
    #[cfg(test)]
    pub(super) fn spent(&self) -> Report {
        super::invalid(&self.run, &self.now().tally, String::new())
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
